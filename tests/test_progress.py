"""Progress is a bar on a terminal and in a notebook, lines elsewhere, and nothing where it is not wanted."""

import itertools
import re
import time

import nbformat
import pytest
from incomplete import exact_vae, incomplete
from notebooks import run
from problems import bits, small_vae
from terminals import run_on_a_terminal, standard_error_on_a_terminal

from pyrovae import (
    ais,
    bdmc,
    compare_bounds,
    compare_gradients,
    fit_alternating,
    fit_svi,
    impute,
    inference_gap,
    latent_summary,
    ood_scores,
    posterior_samples,
    prior_log_px,
)
from pyrovae.progress import Progress, _Lines

# More than a second in one epoch, so that terms are shown within it.
LONG_EPOCH = """
import time
import torch
from pyrovae import VAE, fit_svi, likelihoods, networks, posteriors, priors

vae = VAE(
    priors.StandardNormal(1),
    likelihoods.Normal(networks.MLP(1, 3, ())),
    posteriors.DiagonalNormal(networks.MLP(3, 2, ())),
)


def slowly(x):
    time.sleep(0.05)
    return x


x = torch.randn(450, 3)
result = fit_svi(
    vae.model, vae.guide, x[:400], validation=x[400:], epochs=2, batch_size=10, train_transform=slowly
)
print(result.history[-1])
"""


@pytest.fixture(scope="module")
def wide():
    return run_on_a_terminal(["-c", LONG_EPOCH], 100)


def test_a_terminal_shows_one_bar_with_the_terms_and_the_time_left(wide):
    lines = [line for line in wide if line.startswith("fitting")]
    number = r"-?\d+\.\d+"
    within = re.compile(
        rf"fitting +(\d+)%\|[^|]+\| \d\d:\d\d left, epoch 2/2, ELBO {number}, validation {number}, KL {number} nats"
    )
    parts = [int(found[1]) for line in lines if (found := within.match(line))]
    assert min(parts) < 90
    assert max(parts) == 100
    assert parts == sorted(parts)
    # Before the first validation there is the bound of the rows so far.
    assert any(re.search(rf"epoch 1/2, ELBO {number}, KL {number} nats", line) for line in lines)
    assert max(map(len, lines)) <= 100
    assert "steps" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "bars"), [([], {"fitting", "scoring"}), (["--quiet"], set())])
def test_one_flag_makes_the_command_quiet(options, bars, tmp_path):
    command = ["-m", "pyrovae.fit", "--epochs", "2", "--no-report", "--output-dir", str(tmp_path / "run"), *options]
    lines = run_on_a_terminal(command, 100)
    assert {line.split(" ")[0] for line in lines if re.search(r"\d%\|", line)} == bars
    assert any(line.startswith("log p(x)") for line in lines)


def impute_incomplete_rows(**how):
    problem, vae = exact_vae()
    return impute(vae.model, vae.guide, incomplete(problem, 10), num_samples=2, num_proposals=10, **how)


ANNEALING = {"num_temperatures": 4, "num_chains": 2, "warm_up": 2}
LONG = {
    "fit_svi": lambda model, guide, x, **how: fit_svi(model, guide, x, epochs=2, batch_size=5, **how),
    "compare_bounds": lambda model, guide, x, **how: compare_bounds(model, guide, x, num_samples=10, **how),
    "inference_gap": lambda model, guide, x, **how: inference_gap(model, guide, x, steps=5, num_samples=10, **how),
    "ais": lambda model, guide, x, **how: ais(model, guide, x, **ANNEALING, **how),
    "bdmc": lambda model, guide, x, **how: bdmc(model, guide, like=x, num_rows=3, **ANNEALING, **how),
    "prior_log_px": lambda model, guide, x, **how: prior_log_px(model, guide, x, num_samples=10, **how),
    "posterior_samples": lambda model, guide, x, **how: posterior_samples(
        model, guide, x[:2], num_draws=5, warm_up=5, num_chains=2, **how
    ),
    "latent_summary": lambda model, guide, x, **how: latent_summary(model, guide, x, num_samples=10, **how),
    "ood_scores": lambda model, guide, x, **how: ood_scores(model, guide, x, train=bits(9), num_samples=10, **how),
    "impute": lambda _model, _guide, _x, **how: impute_incomplete_rows(**how),
    "compare_gradients": lambda model, guide, x, **how: compare_gradients(model, guide, x, num_repeats=3, **how),
    "fit_alternating": lambda model, guide, x, **how: fit_alternating(
        model, guide, x, rounds=2, epochs_per_step=1, num_samples=10, batch_size=5, **how
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_each_long_computation_has_one_bar_that_ends_full(name):
    vae, x = small_vae(), bits(10)
    with standard_error_on_a_terminal() as lines:
        LONG[name](vae.model, vae.guide, x, progress=False)
        assert lines() == [""]
        LONG[name](vae.model, vae.guide, x, progress=True)
        shown = [line for line in lines() if re.search(r"\d%\|", line)]
    assert "100%|" in shown[-1]
    assert "left" in shown[-1]
    # One computation, by its name.
    assert len({re.match(r"[a-z ]+", line)[0].strip() for line in shown}) == 1


@pytest.mark.slow
def test_a_narrow_terminal_keeps_each_line_in_its_width():
    lines = [line for line in run_on_a_terminal(["-c", LONG_EPOCH], 60) if line.startswith("fitting")]
    assert 0 < max(map(len, lines)) <= 60


def test_the_last_terms_are_those_of_the_history(wide):
    last = [line for line in wide if line.startswith("fitting")][-1]
    history = dict(re.findall(r"'(\w+)': (-?[\d.e-]+)", wide[-2]))
    shown = re.search(r"ELBO ([-\d.]+), validation ([-\d.]+), KL ([-\d.]+) nats", last)
    expected = [float(history[name]) for name in ("train_elbo", "validation_elbo", "train_kl")]
    assert [float(value) for value in shown.groups()] == pytest.approx(expected, rel=1e-3)


@pytest.mark.ci
def test_a_notebook_shows_the_bar_and_warns_of_nothing(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LONG_EPOCH)])
    outputs = run(notebook, tmp_path, fast=True, seconds=60).cells[0].outputs
    said = "".join(output.text for output in outputs if output.name == "stderr")
    assert "fitting 100%" in said
    assert "Warning" not in said


def test_elsewhere_what_is_done_at_once_says_nothing(capsys):
    with Progress("fitting", 3, "step", shown=True) as bar:
        assert bar.shown
        for _ in range(3):
            bar.advance()
    assert capsys.readouterr() == ("", "")


def test_nothing_is_said_where_it_is_not_wanted_and_no_terms_are_asked_for(capsys):
    asked = []
    with Progress("fitting", 3, "step", shown=False) as bar:
        assert not bar.shown
        bar.tell("loss 1")
        bar.advance(3, terms=lambda: asked.append(True) or "")
    assert capsys.readouterr() == ("", "")
    assert asked == []


def test_elsewhere_lines_come_less_and_less_often_and_say_the_time_left(capsys):
    lines = _Lines("scoring", 3_000, "row", 1_000, first=0.05)
    lines.tell("log p(x) -3.0 nats")
    start = time.monotonic()
    times = []
    for _ in range(1_000):
        time.sleep(0.002)
        lines.advance(2)
        if said := capsys.readouterr().err:
            times.append((time.monotonic() - start, said))
    lines.end(whole=True)
    number, total, percent = re.match(r"scoring: ([\d,]+) of ([\d,]+) rows, (\d+) %,", times[0][1]).groups()
    assert 1_000 < int(number.replace(",", "")) < 1_200
    assert total == "3,000"
    assert int(percent) == round(int(number.replace(",", "")) / 30)
    assert times[0][1].endswith("left, log p(x) -3.0 nats\n")
    moments = [moment for moment, _ in times]
    assert all(later - sooner >= 0.99 * max(0.05, 0.1 * sooner) for sooner, later in itertools.pairwise(moments))
    # Half of the time to come is left in the middle, up to whole seconds and the noise of the machine.
    middle = min(times, key=lambda each: abs(each[0] - moments[-1] / 2))
    minutes, seconds = map(int, re.search(r"(\d\d):(\d\d) left", middle[1]).groups())
    assert 60 * minutes + seconds <= time.monotonic() - start
    assert re.fullmatch(r"scoring: done in \d\d:\d\d, log p\(x\) -3\.0 nats\n", capsys.readouterr().err)


def test_what_was_broken_off_is_not_said_to_be_done(capsys):
    lines = _Lines("scoring", 10, "row", 0, first=0.001)
    time.sleep(0.01)
    lines.advance(1)
    lines.end(whole=False)
    assert capsys.readouterr().err.count("\n") == 1


def test_terms_are_asked_for_once_a_second_at_most():
    asked = []
    with Progress("fitting", 10**6, "step", shown=True) as bar:
        start = time.monotonic()
        while time.monotonic() - start < 1.5:
            bar.advance(terms=lambda: asked.append(True) or "loss 1")
    assert len(asked) == 1
