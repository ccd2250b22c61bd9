"""The README's code runs, its commands and those of the pages of commands alone have the options that they name."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from test_docs import OF_COMMANDS

import pyrovae
from pyrovae import command_line, compare, encode, evaluate, fill, fit, label_efficiency, load_data, look

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TEXT = "\n".join([README, *((ROOT / "docs" / page).read_text() for page in OF_COMMANDS)])
COMMANDS = {
    "fit": fit,
    "evaluate": evaluate,
    "encode": encode,
    "fill": fill,
    "compare": compare,
    "label_efficiency": label_efficiency,
    "look": look,
}


def test_thirty_lines_of_python_run(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(block.splitlines()) <= 35
    exec(compile(block, "README.md", "exec"), {})
    assert "log p(x)" in capsys.readouterr().out


def anchors(page):
    """Of the headings of a page: in small letters, without punctuation, with dashes between words."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_pages_and_tutorials_link_to_is_there():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    notebooks = list((ROOT / "tutorials").glob("*.ipynb"))
    linked = set()
    for page in pages + notebooks:
        for link, anchor in re.findall(r"\]\((?!https?:|attachment:|data:)([^)#\s]*)(?:#([^)]*))?\)", page.read_text()):
            to = (page.parent / link).resolve() if link else page
            assert to.exists(), (page.name, link)
            if anchor:
                assert anchor in anchors(to), (page.name, link, anchor)
            if page.name == "README.md":
                linked.add(to)
    assert {path.resolve() for path in pages[1:] + notebooks} <= linked


def test_the_citation_names_this_version():
    assert f"version = {{{pyrovae.__version__}}}" in README


@pytest.mark.parametrize(("command", "line"), re.findall(r"python -m pyrovae\.(\w+)([^\n`]*)", TEXT))
def test_commands_have_the_options_they_name(command, line):
    known = {option for action in COMMANDS[command].make_parser()._actions for option in action.option_strings}
    for option in re.findall(r"--[\w-]+", line):
        assert option in known


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_named_on_a_page_or_in_a_tutorial(command):
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "tutorials").glob("*.ipynb")]
    named = {option for page in pages for option in re.findall(r"--[a-z][\w-]*", page.read_text())}
    options = {
        option
        for action in COMMANDS[command].make_parser()._actions
        for option in action.option_strings
        # Help on a part, as in --prior.help, is that of all parts; a + adds to a list.
        if option.startswith("--") and not option.endswith((".help", "+"))
    }
    assert len(options) > 2
    assert sorted(options - named) == []


def test_every_exit_status_is_in_the_table_of_long_runs():
    shown = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "long_runs.md").read_text(), re.MULTILINE)
    statuses = [value for name, value in vars(command_line).items() if name.startswith("EXIT_")]
    assert list(map(int, shown)) == sorted([0, *statuses])


# Of the commands that need no files from elsewhere: what makes them short.
SHORT = {
    "fit": "--epochs 1 --no-report --quiet",
    "evaluate": "--num-samples 20 --ais-temperatures 3 --ais-chains 2 --ais-warm-up 2 --quiet",
}
OWN_FILES = {
    "my_module.py": """
from pyrovae import priors


class MyPrior(priors.StandardNormal):
    pass
""",
    "my_parts.py": """
import pyro.distributions as dist
from torch import nn
from torch.nn.functional import softplus


class Gamma(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    @classmethod
    def decoder_shape(cls, data_shape):
        return (2, *data_shape)

    def forward(self, z):
        concentration, rate = (softplus(numbers) + 1e-3 for numbers in self.decoder(z).unbind(-2))
        return dist.Gamma(concentration, rate).to_event(1)
""",
    "my_model.py": """
from pyrovae import VAE, likelihoods, networks, posteriors, priors


def make_model_and_guide(data_shape):
    encoder, decoder = networks.MLP(data_shape, 4), networks.MLP(2, data_shape)
    vae = VAE(priors.StandardNormal(2), likelihoods.Normal(decoder), posteriors.DiagonalNormal(encoder))
    return vae.model, vae.guide
""",
}


@pytest.mark.slow
def test_commands_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    np.save("faces.npy", load_data("digits").train[:200].numpy())
    rows = np.random.default_rng(0).normal(size=(200, 2)).tolist()
    np.save("table.npy", np.random.default_rng(0).gamma(2.0, size=(200, 3)))
    lines = [f"{age},{income},{number % 5},{number % 3}" for number, (age, income) in enumerate(rows)]
    Path("table.csv").write_text("\n".join(["age,income,visits,group", *lines]))
    for name, code in OWN_FILES.items():
        Path(name).write_text(code)
    assert fit.main(shlex.split(f"--output-dir runs/other {SHORT['fit']}")) == 0
    blocks = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")
    commands = re.findall(r"^python -m pyrovae\.(\w+) ?([^\n>]*)(?:> (\S+))?$", blocks, re.MULTILINE)
    ran = 0
    for command, options, target in commands:
        if re.search(r"--data-root|runs/(standard|vamp|fashion|dreg)|--help|RUN", options):
            continue
        capsys.readouterr()
        short = "" if target else SHORT.get(command, "")
        try:
            status = COMMANDS[command].main(shlex.split(f"{options} {short}"))
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        assert status == 0, (command, options, printed.err)
        if target:
            Path(target).write_text(printed.out)
        ran += 1
    assert ran >= 15
    assert fit.main(["--resume", "runs/mine"]) == 0
