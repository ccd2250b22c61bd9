"""How the cost of a step and of a scored row grows with batch size, latent size, number of draws and number of rows.

    python tests/benchmarks/growth.py [--turns 3] [--seconds 0.1] [--step recorded] [--picture docs/growth.png] \
        [--output growth.json]

One thing at a time moves away from 128 rows a batch, 50 latents, one draw in a step and 100 in scoring, 8,192 rows;
the model is 784-400-50-400-784 with softplus, the rows are random bits. A step is that of ``fit_svi``, by ``IWAE``
where it has several draws, else by the default objective; a row is scored by ``log_weights``. Times are those of one
processor, on one thread, and points medians over turns, each of which goes through all points: so other work on the
machine bends no curve.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sides.package import steps_of
from torch import Tensor
from turns import circumstances, spread, write

from pyrovae import VAE, fit_svi, likelihoods, log_weights, networks, posteriors, priors

PIXELS, HIDDEN_DIM = 784, 400
USUAL = {"batch size": 128, "latent size": 50, "draws": 1, "rows": 8192}
MOVED = {
    "batch size": (16, 32, 64, 128, 256, 512, 1024),
    "latent size": (2, 8, 32, 128, 512),
    "draws": (1, 2, 5, 10, 20, 50),
    "rows": (128, 512, 2048, 8192, 32768),
}
SCORED = {"latent size": MOVED["latent size"], "draws": (1, 3, 10, 30, 100, 300), "rows": (16, 64, 256, 1024)}
SCORED_DRAWS, SCORED_ROWS = 100, 256
# Steps that hold preparations.
FIRST = 3
TITLES = {
    "batch size": "rows of a batch",
    "latent size": "dimensions of z",
    "draws": "draws of z for each row, K",
    "rows": "rows of the data",
}
# Okabe and Ito's colours, told apart with any colour vision; the markers tell them apart without any.
STYLES = {"a step of fit_svi": ("#0072B2", "o"), "a row of log_weights": ("#D55E00", "s")}


class EnoughError(Exception):
    """The steps have taken their time."""


def build(latent_dim: int) -> VAE:
    return VAE(
        priors.StandardNormal(latent_dim),
        likelihoods.Bernoulli(networks.MLP(latent_dim, PIXELS, (HIDDEN_DIM,), "softplus")),
        posteriors.DiagonalNormal(networks.MLP(PIXELS, 2 * latent_dim, (HIDDEN_DIM,), "softplus")),
    )


def step_seconds(x: Tensor, where: dict[str, int], seconds: float, step: str) -> float:
    """The median time between batches of one fit, after the first few."""
    vae, times = build(where["latent size"]), []

    def transform(batch: Tensor) -> Tensor:
        if len(batch) == where["batch size"]:
            times.append(time.process_time())
            if len(times) > FIRST + 3 and times[-1] - times[FIRST] > seconds:
                raise EnoughError
        return batch

    objective = {"objective": "IWAE", "num_particles": where["draws"]} if where["draws"] > 1 else {}
    options = {"epochs": 10_000, "patience": None, "progress": False, **objective, "step": step}
    try:
        fit_svi(
            vae.model,
            vae.guide,
            x[: where["rows"]],
            batch_size=where["batch size"],
            train_transform=transform,
            **options,
        )
    except EnoughError:
        return torch.tensor(times[FIRST:], dtype=torch.float64).diff().median().item()
    raise AssertionError("a fit of 10,000 epochs has ended before its time")


def score_seconds(x: Tensor, where: dict[str, int]) -> float:
    """The time of a row."""
    vae, start = build(where["latent size"]), time.process_time()
    log_weights(vae.model, vae.guide, x[: where["rows"]], where["draws"])
    return (time.process_time() - start) / where["rows"]


def measure(turns: int, seconds: float, step: str) -> dict[str, dict[str, dict[int, list[float]]]]:
    """Seconds of each turn, by what was timed, what moved and its value."""
    x = torch.bernoulli(torch.full((max(MOVED["rows"]), PIXELS), 0.13))
    scored = USUAL | {"draws": SCORED_DRAWS, "rows": SCORED_ROWS}
    found: dict[str, Any] = {what: {} for what in STYLES}
    for turn in range(turns):
        for name in MOVED:
            for value in MOVED[name]:
                times = step_seconds(x, USUAL | {name: value}, seconds, step)
                found["a step of fit_svi"].setdefault(name, {}).setdefault(value, []).append(times)
            for value in SCORED.get(name, ()):
                times = score_seconds(x, scored | {name: value})
                found["a row of log_weights"].setdefault(name, {}).setdefault(value, []).append(times)
            print(f"turn {turn + 1} of {turns}: {name}", flush=True)
    return found


def draw(axes: Axes, name: str, found: dict[str, dict[str, dict[int, list[float]]]]) -> None:
    """One thing that moves: medians, with quartiles as bars."""
    for what, (colour, marker) in STYLES.items():
        points = found[what].get(name, {})
        spreads = [spread([1e3 * seconds for seconds in times]) for times in points.values()]
        medians = [numbers["median"] for numbers in spreads]
        below = [numbers["median"] - numbers["quartile_1"] for numbers in spreads]
        above = [numbers["quartile_3"] - numbers["median"] for numbers in spreads]
        axes.errorbar(list(points), medians, [below, above], color=colour, marker=marker, markersize=4, label=what)
        if name in ("batch size", "draws") and points:
            last, height = list(points)[-1], medians[-1]
            first = list(points)[len(points) // 3]
            axes.plot([first, last], [height * first / last, height], ":", color="grey", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(TITLES[name])
    axes.grid(alpha=0.3, which="major")


def picture(found: dict[str, dict[str, dict[int, list[float]]]]) -> Figure:
    figure = Figure(figsize=(10, 3.2), layout="constrained", dpi=110)
    for axes, name in zip(figure.subplots(1, 4, sharey=True), MOVED, strict=True):
        draw(axes, name, found)
    figure.axes[0].set_ylabel("milliseconds of one processor")
    handles, names = figure.axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.1, help="of steps for each point and turn")
    parser.add_argument("--step", choices=steps_of(fit_svi), default="recorded")
    parser.add_argument("--picture", default="docs/growth.png")
    parser.add_argument("--output", default=None, help="JSON file")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = measure(options.turns, options.seconds, options.step)
    result: dict[str, Any] = circumstances(threads=1) | {"usual": USUAL, "scored_draws": SCORED_DRAWS}
    for what, moved in found.items():
        result[what] = {
            name: [{name: value, "milliseconds": spread([1e3 * s for s in times])} for value, times in points.items()]
            for name, points in moved.items()
        }
        for name, points in result[what].items():
            line = "  ".join(f"{point[name]}: {point['milliseconds']['median']:.3g}" for point in points)
            print(f"{what}, milliseconds by {name}: {line}")
    Path(options.picture).parent.mkdir(parents=True, exist_ok=True)
    picture(found).savefig(options.picture)
    print(f"written: {options.picture}")
    write(result, options.output)


if __name__ == "__main__":
    main()
