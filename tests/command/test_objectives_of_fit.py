"""Objectives as options of ``python -m pyrovae.fit``: what reaches the fit, what is stored, what is refused."""

import csv
import json
import re

import pyro
import pytest
import torch
import yaml
from fit_runs import run

from pyrovae import fit_svi, load, load_data, plots
from pyrovae.compare import main as compare_main
from pyrovae.evaluate import main as evaluate_main
from pyrovae.fit import make_parser
from pyrovae.objectives import (
    IWAE,
    Cosine,
    Cyclical,
    DReG,
    Linear,
    Renyi,
    ReweightedWakeSleep,
    ScoreFunction,
    Sigmoid,
    StickingTheLanding,
    Trace_ELBO,
    TraceMeanField_ELBO,
)
from pyrovae.objectives.named import OBJECTIVES
from pyrovae.runs import OBJECTIVE_OPTIONS, build_objective, build_pair, describe_objective

SMALL = [
    *("--epochs", "2", "--batch-size", "500", "--num-samples", "5", "--no-report", "--quiet"),
    *("--encoder.hidden_dims", "[8]", "--decoder.hidden_dims", "[8]", "--latent-dim", "4"),
]

# The options, the same objective in Python, and what a report calls it.
GIVEN = {
    "reconstructions": (
        "--num-particles 2 --objective.num_reconstructions 1",
        lambda: TraceMeanField_ELBO(2, num_reconstructions=1),
        "TraceMeanField_ELBO(num_particles=2, num_reconstructions=1)",
    ),
    "capacity": (
        "--capacity 3 --beta 5",
        lambda: TraceMeanField_ELBO(beta=5.0, capacity=Linear(0, 3, 0.5)),
        "TraceMeanField_ELBO(num_particles=1), beta 5, capacity Linear(start=0, end=3, length=0.5)",
    ),
    "constant capacity": (
        "--objective TraceMeanField_ELBO --capacity 3 --capacity-length 0",
        lambda: TraceMeanField_ELBO(capacity=3.0),
        "TraceMeanField_ELBO(num_particles=1), capacity 3",
    ),
    "free bits": (
        "--objective Trace_ELBO --free-bits 0.3 --free-bits-per 2",
        lambda: Trace_ELBO(free_bits=0.3, free_bits_per=2),
        "Trace_ELBO(num_particles=1), free bits 0.3 per 2 dimensions",
    ),
    "IWAE": (
        "--objective IWAE --num-particles 3 --beta-schedule linear",
        lambda: IWAE(3, beta=Linear(0, 1, 0.25)),
        "IWAE(num_particles=3), beta Linear(start=0, end=1, length=0.25)",
    ),
    "Renyi": (
        "--objective Renyi --objective.alpha 0.3 --beta 2 --beta-schedule cosine --beta-length 0.5",
        lambda: Renyi(alpha=0.3, beta=Cosine(0, 2, 0.5)),
        "Renyi(num_particles=5, alpha=0.3), beta Cosine(start=0, end=2, length=0.5)",
    ),
    "DReG": ("--objective DReG", DReG, "DReG(num_particles=5)"),
    "StickingTheLanding": (
        "--objective StickingTheLanding --beta-schedule cyclical --beta-cycles 2 --beta-start 0.1",
        lambda: StickingTheLanding(beta=Cyclical(0.1, 1, 1.0, 2)),
        "StickingTheLanding(num_particles=1), beta Cyclical(start=0.1, end=1, length=1, cycles=2, rise=0.5)",
    ),
    "ReweightedWakeSleep": (
        "--objective ReweightedWakeSleep --objective.insomnia 0.5",
        lambda: ReweightedWakeSleep(insomnia=0.5),
        "ReweightedWakeSleep(num_particles=5, insomnia=0.5)",
    ),
    "ScoreFunction": (
        "--objective ScoreFunction --objective.baseline other_draws --num-particles 2 --beta-schedule sigmoid",
        lambda: ScoreFunction(2, "other_draws", beta=Sigmoid(0, 1, 0.25)),
        "ScoreFunction(num_particles=2, baseline=other_draws), beta Sigmoid(start=0, end=1, length=0.25, steepness=10)",
    ),
}


def parsed(*tokens):
    return make_parser().parse(tokens)


def metrics_of(folder):
    """Each epoch's numbers, but for the time that it took."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items() if not re.match("data_|seconds", name)} for row in rows]


def contents(objective):
    """All that an objective holds, with schedules and groups opened."""
    return {name: value if not hasattr(value, "__dict__") else vars(value) for name, value in vars(objective).items()}


def history_in_python(config, objective, **options):
    """The history of the same fit without the command."""
    data = load_data("digits", binarize="dynamic")
    pyro.set_rng_seed(0)
    model, guide = build_pair(config, data.data_shape)
    model.__self__.initialize(data.train)
    history = fit_svi(
        *(model, guide, data.train),
        validation=data.validation,
        train_transform=data.train_transform,
        epochs=2,
        batch_size=500,
        objective=objective,
        progress=False,
        **options,
    ).history
    return [{name: value for name, value in terms.items() if name != "seconds"} for terms in history]


@pytest.mark.parametrize("case", GIVEN)
def test_options_give_the_fit_that_python_gives(case, in_tmp, capsys):
    options, in_python, described = GIVEN[case]
    assert run(*SMALL, *options.split(), "--output-dir", "out") == 0
    assert f"\nobjective   {described}\n" in capsys.readouterr().out
    stored = yaml.safe_load((in_tmp / "out" / "config.yaml").read_text())
    assert contents(build_objective(stored)) == contents(in_python())
    assert metrics_of(in_tmp / "out") == history_in_python(stored, in_python())
    assert json.loads((in_tmp / "out" / "summary.json").read_text())["objective"] == described


def test_the_learning_rate_falls_to_its_end(in_tmp):
    assert run(*SMALL, "--lr", "0.01", "--lr-end", "0", "--output-dir", "out") == 0
    stored = yaml.safe_load((in_tmp / "out" / "config.yaml").read_text())
    falling, constant = (
        history_in_python(stored, build_objective(stored), lr=lr) for lr in (Cosine(0.01, 0, length=1), 0.01)
    )
    assert metrics_of(in_tmp / "out") == falling != constant


def test_every_objective_has_a_case():
    names = {describe.split("(")[0] for _, _, describe in GIVEN.values()}
    assert names == set(OBJECTIVES)


@pytest.mark.parametrize("case", GIVEN)
def test_a_file_says_what_options_say(case, in_tmp):
    by_option = parsed(*GIVEN[case][0].split())
    name = by_option["objective"]["class_path"].rsplit(".", 1)[1]
    told = {key: value for key in OBJECTIVE_OPTIONS if (value := by_option[key]) is not None}
    told["objective"] = {"class_path": name, "init_args": by_option["objective"].get("init_args", {})}
    (in_tmp / "run.yaml").write_text(yaml.safe_dump(told))
    by_file = parsed("--config", "run.yaml")
    assert {key: by_file[key] for key in OBJECTIVE_OPTIONS} == {key: by_option[key] for key in OBJECTIVE_OPTIONS}


def test_a_name_alone_and_the_full_path_are_the_same(in_tmp):
    (in_tmp / "run.yaml").write_text("objective: IWAE\n")
    by_file = parsed("--config", "run.yaml")["objective"]
    assert by_file == parsed("--objective", "IWAE")["objective"] == parsed("--objective=IWAE")["objective"]
    assert by_file["class_path"] == "pyrovae.objectives.IWAE"
    assert parsed("--objective", "pyrovae.objectives.IWAE")["objective"] == by_file
    assert parsed("--config", "run.yaml", "--objective", "DReG")["objective"]["class_path"] == "pyrovae.objectives.DReG"


def test_a_stored_configuration_gives_the_same_fit(in_tmp):
    options = "--objective Renyi --objective.alpha 0.3 --num-particles 2 --beta 2 --beta-schedule cosine"
    assert run(*SMALL, *options.split(), "--output-dir", "a") == 0
    assert run("--config", "a/config.yaml", "--output-dir", "b") == 0
    assert metrics_of(in_tmp / "a") == metrics_of(in_tmp / "b")
    configs = [yaml.safe_load((in_tmp / name / "config.yaml").read_text()) for name in ("a", "b")]
    assert {**configs[0], "output_dir": "b", "config": None} == {**configs[1], "config": None}


def test_the_default_needs_no_line_and_draws_no_panel(in_tmp, capsys):
    assert run(*SMALL, "--output-dir", "out") == 0
    text = capsys.readouterr().out
    assert "\nobjective " not in text
    assert "still improving" in text
    summary = json.loads((in_tmp / "out" / "summary.json").read_text())
    assert summary["objective"] == "TraceMeanField_ELBO(num_particles=1)"
    history = metrics_of(in_tmp / "out")
    assert all(terms["train_objective"] == terms["train_elbo"] for terms in history)
    assert len(plots.learning_curves(history, 2).axes) == 3


def test_curves_of_another_objective_show_it_beside_the_true_elbo(in_tmp):
    assert run(*SMALL, "--objective", "IWAE", "--output-dir", "out") == 0
    history = metrics_of(in_tmp / "out")
    assert all(terms["train_objective"] > terms["train_elbo"] for terms in history)
    panels = {axes.get_title(): axes for axes in plots.learning_curves(history, 2).axes}
    assert list(panels) == ["ELBO", "reconstruction", "KL", "objective"]
    for title, term in (("ELBO", "elbo"), ("objective", "objective")):
        for line, split in zip(panels[title].lines, ("train", "validation"), strict=False):
            assert line.get_ydata().tolist() == [terms[f"{split}_{term}"] for terms in history]


def test_the_last_epoch_is_no_news_while_beta_moves(in_tmp, capsys):
    assert run(*SMALL, "--beta-schedule", "linear", "--beta-length", "1", "--output-dir", "b") == 0
    assert "still improving" not in capsys.readouterr().out


def as_stored_before(folder):
    """The configuration as it was when an objective was a name, and nothing but particles was an option."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config = {name: value for name, value in config.items() if name not in OBJECTIVE_OPTIONS}
    config |= {"objective": "Trace_ELBO", "num_particles": 1}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def test_runs_of_before_are_loaded_scored_compared_and_run_again(in_tmp, capsys):
    for name in ("before", "now"):
        assert run(*SMALL, "--objective", "Trace_ELBO", "--output-dir", name) == 0
    as_stored_before(in_tmp / "before")
    assert load("before").config["objective"] == "Trace_ELBO"
    assert evaluate_main(["before", "--num-samples", "6", "--quiet"]) == 0
    assert run("--config", "before/config.yaml", "--output-dir", "again") == 0
    assert metrics_of(in_tmp / "again") == metrics_of(in_tmp / "now")
    capsys.readouterr()
    assert compare_main(["before", "now"]) == 0
    # The same objective, told in two ways.
    assert "objective" not in capsys.readouterr().out
    assert run(*SMALL, "--objective", "DReG", "--beta", "2", "--output-dir", "other") == 0
    capsys.readouterr()
    assert compare_main(["before", "other"]) == 0
    text = capsys.readouterr().out
    assert "before: objective Trace_ELBO(num_particles=1)\n" in text
    assert "other: objective DReG(num_particles=5), beta 2\n" in text


OWN = '''
import pyro
import pyro.distributions as dist
from torch import nn

from pyrovae.objectives import IWAE, Objective


class Halved(IWAE):
    """The bound of draws, with a share of its beta.

    Args:
        share: of beta.
    """

    def __init__(self, num_particles: int = 3, share: float = 0.5, beta: float = 1.0):
        super().__init__(num_particles, beta=share * beta)


class NoTerms(Objective):
    pass


class Plain:
    pass


class Misspelt(Objective):
    def terms(self, sampler, x, progress):
        return sampler.darw(x, 1)


class Untyped(IWAE):
    def __init__(self, width):
        super().__init__()


def discrete(data_shape):
    decoder, encoder = nn.Linear(2, 64), nn.Linear(64, 2)

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("code", dist.Bernoulli(x.new_full((2,), 0.5)).to_event(1))
            logits = decoder(z).unflatten(-1, data_shape)
            pyro.sample("obs", dist.Bernoulli(logits=logits).to_event(3), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("code", dist.Bernoulli(logits=encoder(x.flatten(1))).to_event(1))

    return model, guide
'''


@pytest.mark.parametrize("path", ["own_objectives.Halved", "own_objectives:Halved", "own_objectives.py:Halved"])
def test_an_objective_of_ones_own(path, in_tmp, capsys):
    (in_tmp / "own_objectives.py").write_text(OWN)
    config = parsed("--objective", path, "--objective.share", "0.25", "--num-particles", "4", "--beta", "2")
    assert config["objective"] == {"class_path": path, "init_args": {"share": 0.25}}
    built = build_objective(config)
    assert (type(built).__name__, built.num_particles, built.beta) == ("Halved", 4, 0.5)
    assert describe_objective(config) == "Halved(share=0.25, num_particles=4), beta 2"
    with pytest.raises(SystemExit):
        parsed("--objective.help", path)
    text = capsys.readouterr().out
    assert text.startswith(
        f"{path}\n\nThe bound of draws, with a share of its beta.\n\narguments:\n  --objective.share"
    )
    assert "options for any objective that it takes: --num-particles, --beta\n" in text


def test_an_objective_of_ones_own_is_fitted_and_its_run_fitted_again(in_tmp):
    (in_tmp / "own_objectives.py").write_text(OWN)
    assert run(*SMALL, "--objective", "own_objectives.py:Halved", "--output-dir", "a") == 0
    assert run("--config", "a/config.yaml", "--output-dir", "b") == 0
    assert metrics_of(in_tmp / "a") == metrics_of(in_tmp / "b")
    # Half the weight of the KL term, and the same draws.
    halved = ["--objective", "IWAE", "--num-particles", "3", "--beta", "0.5"]
    assert run(*SMALL, *halved, "--output-dir", "c") == 0
    assert metrics_of(in_tmp / "a") == metrics_of(in_tmp / "c")


@pytest.mark.parametrize("objective", ["ReweightedWakeSleep", "ScoreFunction"])
def test_discrete_latents_by_option(objective, in_tmp):
    (in_tmp / "own.py").write_text(OWN)
    quick = SMALL[: SMALL.index("--encoder.hidden_dims")]
    assert run(*quick, "--model", "own.py:discrete", "--objective", objective, "--output-dir", "out") == 0
    assert all(torch.isfinite(torch.tensor(list(terms.values()))).all() for terms in metrics_of(in_tmp / "out"))


def test_the_help_of_each_objective(capsys):
    for name in OBJECTIVES:
        with pytest.raises(SystemExit) as stop:
            parsed("--objective.help", name)
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith(f"pyrovae.objectives.{name}\n\n")
        assert "--num-particles" in text
        assert ("--beta" in text) == (name != "ReweightedWakeSleep")


ELBOS = "TraceMeanField_ELBO, Trace_ELBO"
REFUSED = {
    "--beta -1": "^error: --beta is -1.0; expected a number of at least 0; 1 is the weight in the ELBO$",
    "--beta nan": "--beta: got nan; expected a number or null",
    "--config nan.yaml": "^error: --beta is nan; expected a number of at least 0",
    "--beta -1 --beta-schedule linear": "--beta is -1.0; expected",
    "--beta-schedule linear --beta-start -2": "--beta-start is -2.0; expected a number of at least 0",
    "--beta-schedule linear --beta-length 1.5": r"--beta-length is 1.5; expected a fraction .* would not reach its end",
    "--beta-schedule cosine --beta-length 0": "--beta-length is 0.0; expected a fraction",
    "--beta-schedule cyclical --beta-cycles 0": "--beta-cycles is 0; expected a whole number of at least 1",
    "--beta-schedule linaer": "is linaer; expected one of constant, linear, .*; did you mean linear?",
    "--num-particles 0": "--num-particles is 0; expected a whole number of at least 1",
    "--num-particles 2.5": "--num-particles: got 2.5; expected a whole number or null",
    "--free-bits -0.1": "--free-bits is -0.1; expected a number of nats of at least 0",
    "--free-bits 1 --free-bits-per 0": "--free-bits-per: got 0; expected one of dimension, site, a positive",
    "--free-bits 1 --free-bits-per 3": "--free-bits-per is 3, and the 4 dimensions of latent 'z' cannot be",
    "--capacity -3": "--capacity is -3.0; expected a number of nats of at least 0",
    "--capacity 3 --capacity-length 2": "--capacity-length is 2.0; expected a fraction of the run, from 0",
    "--free-bits 1 --capacity 3": "--free-bits and --capacity both bend the KL term, and only one can: drop one",
    # Without effect.
    "--beta-length 0.5": "--beta-length 0.5 has no effect without --beta-schedule: add it, as in --beta-schedule l",
    "--beta-start 0.5": "--beta-start 0.5 has no effect without --beta-schedule",
    "--beta-cycles 3": "--beta-cycles 3 has no effect without --beta-schedule",
    "--beta-schedule linear --beta-cycles 3": "no effect on a schedule that is linear: take --beta-schedule cyclical",
    "--beta-schedule linear --beta 0": "--beta-schedule linear has no effect from 0 to 0",
    "--free-bits-per site": "--free-bits-per site has no effect without --free-bits: add it, as in --free-bits 0.1",
    "--free-bits 0 --free-bits-per site": "--free-bits-per site has no effect without --free-bits",
    "--capacity-length 0.3": "--capacity-length 0.3 has no effect without --capacity: add it, as in --capacity 10",
    "--objective ReweightedWakeSleep --beta 2": "ReweightedWakeSleep takes no --beta: leave it out, or take one",
    "--objective ReweightedWakeSleep --beta-schedule linear": "WakeSleep takes no --beta-schedule: leave it out",
    "--objective IWAE --free-bits 1": f"IWAE takes no --free-bits: leave it out, or take one of {ELBOS}$",
    "--objective DReG --capacity 1": f"DReG takes no --capacity: leave it out, or take one of {ELBOS}$",
    # Arguments and names.
    "--objective Renyi --objective.alpha 1": "alpha is 1, where the bound is the ELBO: use --objective Trace_ELBO$",
    "--objective Renyi --objective.alpha x": "--objective.alpha is x; expected a number",
    "--objective IWEA": "--objective: there is no objective 'IWEA'; did you mean IWAE. .expected one of TraceMeanField",
    "--objective IWAE --objective.alpha 2": "--objective IWAE has no argument 'alpha': see --objective.help IWAE",
    "--objective IWAE --objective.num_particles 2": "'num_particles', as it is an option of its own, --num-particles",
    "--objective.num_reconstructions 2": "num_reconstructions is 2; expected a whole .* to --num-particles, which is 1",
    "--objective ScoreFunction --objective.baseline mean": "--objective.baseline is mean; expected one of none, other_",
    "--objective ScoreFunction --objective.baseline other_draws": "with 1 particle: give --num-particles of at least 2",
    "--objective ReweightedWakeSleep --objective.insomnia 2": "insomnia is 2.0; expected a number from 0 .only sleep.",
    # Of one's own.
    "--objective own.py:Plain": "Plain in own.py is a class that is no objectives.Objective; an objective is a",
    "--objective own.py:Halve": "own.py has no 'Halve'; did you mean Halved",
    "--objective own.py:NoTerms": "NoTerms in own.py has no method terms: define it, as every objective does",
    "--objective own.py:Untyped": "--objective own.py:Untyped: of what type is its argument 'width'",
    "--objective own.py:Misspelt": r"AttributeError at own.py:\d+: .*'darw'",
    "--objective own.py:Halved --free-bits 1": f"--objective Halved takes no --free-bits: .* one of {ELBOS}$",
    "--objective pyro.infer.Trace_ELBO": "Trace_ELBO in pyro.infer is a class that is no objectives.Objective",
    # Pairs that an objective is not defined for.
    "--free-bits 1 --posterior FullCovarianceNormal": "latent 'z' does not factorise .* use --free-bits-per site$",
    **{
        f"--model own.py:discrete --objective {name}": rf"{name} needs latents .*'code'.*: use --objective {other}"
        for name, other in (
            ("TraceMeanField_ELBO", "Trace_ELBO$"),
            ("IWAE", "ReweightedWakeSleep or ScoreFunction, which"),
            ("DReG", "Trace_ELBO, ReweightedWakeSleep or ScoreFunction$"),
            ("StickingTheLanding", "Trace_ELBO, ReweightedWakeSleep or ScoreFunction$"),
        )
    },
}


@pytest.mark.parametrize("options", REFUSED)
def test_one_clear_error_and_nothing_written(options, in_tmp, capsys):
    (in_tmp / "own.py").write_text(OWN)
    (in_tmp / "nan.yaml").write_text("beta: .nan\n")
    small = SMALL[: SMALL.index("--encoder.hidden_dims")] if "--model" in options else SMALL
    before = {path for path in in_tmp.rglob("*") if "__pycache__" not in path.parts}
    assert run(*small, *options.split()) == 2
    error = capsys.readouterr().err.removesuffix("For all options: python -m pyrovae.fit --help\n")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(REFUSED[options], error.rstrip()), error
    assert {path for path in in_tmp.rglob("*") if "__pycache__" not in path.parts} == before


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["--lr", "-1"], "--lr is -1; expected a positive number"),
        (["--lr", "fast"], "--lr is fast; expected a positive number"),
        (["--epochs", "1.5"], "--epochs is 1.5; expected a positive whole number"),
        (["--seed", "-1"], "--seed is -1; expected a whole number of at least 0"),
        (["--test-fraction", "2"], "--test-fraction is 2; expected a number between 0 and 1"),
        (["--missing", "kep"], "--missing is kep; expected one of refuse, keep; did you mean keep?"),
        (["--chunk-size", "x"], "--chunk-size: got x; expected a positive whole number or null"),
    ],
)
def test_numbers_and_words_of_all_options_in_plain_words(tokens, message, capsys):
    with pytest.raises(SystemExit):
        parsed(*tokens)
    assert f"error: {message}\n" in capsys.readouterr().err
