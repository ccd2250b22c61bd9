"""Every argument of every part is an option and a key of the configuration file, and stands in the part's help."""

import functools
import inspect
import types
import typing
from collections.abc import Mapping, Sequence

import pytest
import yaml

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.command_line import FILLED_IN
from pyrovae.fit import make_parser

PACKAGES = {
    "prior": priors,
    "likelihood": likelihoods,
    "posterior": posteriors,
    "encoder": networks,
    "decoder": networks,
}
# Those around another part of the same slot are no option.
PARTS = [
    (slot, name)
    for slot, package in PACKAGES.items()
    for name in package.__all__
    if slot not in inspect.signature(getattr(package, name)).parameters
]
AROUND = [("likelihood", "PartlyObserved"), ("posterior", "PartlyObserved"), ("posterior", "Denoising")]


def arguments(slot, name):
    parameters = inspect.signature(getattr(PACKAGES[slot], name)).parameters
    return {key: value.annotation for key, value in parameters.items() if key not in FILLED_IN}


def values_of(hint):
    """Values that a type hint allows."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return [value for choice in typing.get_args(hint) for value in values_of(choice)]
    if origin is typing.Literal:
        return list(typing.get_args(hint))
    if origin is Sequence:
        return [[3, 4], []]
    if origin is Mapping:
        return [{"rank": 3}]
    return {int: [3], float: [0.5], bool: [True, False], type(None): [None]}[hint]


@functools.cache
def parser():
    return make_parser()


def parsed(*tokens):
    return parser().parse(tokens)


def test_all_parts_are_here():
    assert set(AROUND) == {(slot, n) for slot, package in PACKAGES.items() for n in package.__all__} - set(PARTS)
    assert len(PARTS) > 40


@pytest.mark.parametrize(("slot", "name"), PARTS)
def test_every_argument_is_an_option_and_a_key(slot, name, tmp_path):
    hints = arguments(slot, name)
    # All arguments at once, in as many goes as the one with the most values needs.
    values = {argument: values_of(hint) for argument, hint in hints.items()}
    for go in range(max(map(len, values.values()), default=1)):
        given = {argument: choices[go % len(choices)] for argument, choices in values.items()}
        tokens = [
            f"--{slot}.{argument}={yaml.safe_dump(value, default_flow_style=True)}" for argument, value in given.items()
        ]
        tokens = [token.removesuffix("\n").removesuffix("\n...") for token in tokens]
        expected = {"class_path": f"{PACKAGES[slot].__name__}.{name}", "init_args": given}
        by_option = parsed(f"--{slot}", name, *tokens)[slot]
        assert {"init_args": {}, **by_option} == expected
        assert all(type(by_option["init_args"][key]) is type(value) for key, value in given.items())
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump({slot: {"class_path": name, "init_args": given}}))
        assert parsed("--config", str(file))[slot] == by_option


@pytest.mark.parametrize(("slot", "name"), PARTS)
def test_the_help_of_a_part_has_its_first_sentence_and_every_argument(slot, name, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(f"--{slot}.help", name)
    assert stop.value.code == 0
    text = capsys.readouterr().out
    first = inspect.getdoc(getattr(PACKAGES[slot], name)).splitlines()[0]
    assert first.replace("``", "") in text
    for argument, hint in arguments(slot, name).items():
        assert f"--{slot}.{argument} " in text
        if typing.get_origin(hint) is Sequence:
            assert "a list is given in brackets and quotes: --" in text
    assert "torch.nn" not in text


@pytest.mark.parametrize(
    ("slot", "name", "said"),
    [
        ("prior", "VampPrior", "number K of pseudo-inputs"),
        ("prior", "Hierarchical", "latent dimensions of the upper level"),
        ("prior", "Flow", "the transformation that each layer is"),
        ("posterior", "Flow", "the transformation that each layer is"),
    ],
)
def test_what_is_said_of_an_argument_is_understood_by_itself(slot, name, said, capsys):
    with pytest.raises(SystemExit):
        parsed(f"--{slot}.help", name)
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("slot", "name"), AROUND)
def test_parts_around_others_are_refused_with_the_option_that_does_it(slot, name, capsys):
    with pytest.raises(SystemExit):
        parsed(f"--{slot}", name)
    assert f"--{slot} {name}: it is put around another {slot}" in capsys.readouterr().err


WRONG = {
    "no list": (["--decoder.hidden_dims", "30"], r"--decoder.hidden_dims is 30; expected a list .* '[200, 200]'"),
    "one of two networks": (
        ["--encoder.hidden_dims", "[5]", "--decoder.hidden_dims", "30"],
        "--decoder.hidden_dims is 30; expected a list",
    ),
    "no such choice": (["--encoder.activation", "rleu"], "--encoder.activation is rleu; expected one of elu, gelu"),
    "a number or a word": (
        ["--likelihood", "Normal", "--likelihood.scale", "sharde"],
        "--likelihood.scale is sharde; expected a number or one of shared, per_dimension",
    ),
    "no number": (
        ["--prior=StudentT", "--prior.degrees_of_freedom=x"],
        "--prior.degrees_of_freedom is x; expected a number",
    ),
    "Python's None": (
        ["--prior", "Hierarchical", "--prior.top_dim", "None"],
        "--prior.top_dim is None; expected a whole number or null",
    ),
    "without a default": (
        ["--likelihood", "Binomial"],
        "--likelihood Binomial needs --likelihood.total_count, a whole number",
    ),
    "filled in": (
        ["--likelihood", "Normal", "--likelihood.data_shape", "[4]"],
        "has no argument 'data_shape', the command fills it in: see",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_refused_by_the_name_of_its_option(case, capsys):
    tokens, message = WRONG[case]
    with pytest.raises(SystemExit) as stop:
        parsed(*tokens)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    before, _, after = message.partition(" .* ")
    assert before in error
    assert after in error


def test_wrong_values_in_a_file(tmp_path, capsys):
    file = tmp_path / "run.yaml"
    for text, message in (
        ("decoder: {class_path: MLP, init_args: {hidden_dims: 3}}", "--decoder.hidden_dims is 3; expected a list"),
        (
            "decoder: {class_path: MLP, init_args: {hiden_dims: [3]}}",
            "no argument 'hiden_dims'; did you mean hidden_dims?",
        ),
        ("prior: {class_path: no_such.Prior}", "--prior no_such.Prior: there is no module 'no_such'"),
    ):
        file.write_text(text)
        with pytest.raises(SystemExit):
            parsed("--config", str(file))
        assert message in capsys.readouterr().err


OWN = '''
from torch import nn


class Mine(nn.Module):
    """My own.

    Args:
        width: of it.
    """

    def __init__(self, latent_dim, width: float = 1.0):
        super().__init__()


class Plain:
    pass


def made(latent_dim):
    return Mine(latent_dim)
'''


@pytest.mark.parametrize("path", ["FOLDER/own-file.py:Mine", "own_file_of_options.Mine", "own_file_of_options:Mine"])
def test_import_paths_of_files_and_modules(path, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("own-file.py", "own_file_of_options.py"):
        (tmp_path / name).write_text(OWN)
    path = path.replace("FOLDER", str(tmp_path))
    expected = {"class_path": path, "init_args": {"width": 3.0}}
    assert parsed("--prior", path, "--prior.width", "3")["prior"] == expected
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"prior": expected}))
    assert parsed("--config", str(file))["prior"] == expected
    with pytest.raises(SystemExit):
        parsed("--config", str(file), "--print_config")
    assert yaml.safe_load(capsys.readouterr().out)["prior"] == expected
    with pytest.raises(SystemExit):
        parsed("--prior.help", path)
    text = capsys.readouterr().out
    assert text.startswith(f"{path}\n\nMy own.\n\narguments:\n  --prior.width WIDTH")
    assert "filled in by the command: latent_dim" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Plain", "Plain in own.py is a class that is no nn.Module; a part is a class: derive it from torch.nn.Module"),
        ("made", "made in own.py is a function; a part is a class"),
        ("Min", "own.py has no 'Min'; did you mean Mine?"),
        ("Other", "own.py has no 'Other'; it has Mine, Plain, made"),
    ],
)
def test_what_is_no_part(name, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(SystemExit):
        parsed("--prior", f"own.py:{name}")
    assert f"--prior own.py:{name}: {message}" in capsys.readouterr().err
