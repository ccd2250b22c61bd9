"""Signal-to-noise ratios of gradients against the number of draws K, for objectives from several draws.

    python tests/benchmarks/gradients.py [--pair both] [--repeats 500] [--rows 256] [--most-draws 300] \
        [--output-dir gradients]

The pair is the Gaussian model of Rainforth et al. (2018), in 20 dimensions and 0.01 away from its optimum, or a small
VAE of the handwritten digits that come with scikit-learn after a few epochs of training. A slope is fitted to log SNR
against log K from --fit-from draws on, by least squares with the standard errors of the single points. Rainforth et al.
(2018) derive -1/2 for the encoder's gradient of IWAE, +1/2 for the model's; Tucker et al. (2019) +1/2 for the encoder's
of DReG, as K grows: dotted in the picture. Where points bend the error of a slope says nothing of it. Points that are
within two standard errors of no signal at all are left out of fit and picture; bars are two standard errors.
"""

import argparse
import math
from pathlib import Path

import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Tensor, nn

from pyrovae import VAE, compare_gradients, fit_svi, likelihoods, load_data, networks, posteriors, priors
from pyrovae.objectives import IWAE, DReG, ReweightedWakeSleep

OBJECTIVES = {kind.__name__: kind for kind in (IWAE, DReG, ReweightedWakeSleep)}
DRAWS = (1, 2, 5, 10, 30, 100, 300, 1000)
# Okabe and Ito's colours, told apart with any colour vision; the markers tell them apart without any.
STYLES = {"IWAE": ("#D55E00", "o"), "DReG": ("#0072B2", "s"), "ReweightedWakeSleep": ("#009E73", "^")}
TITLES = {
    "gaussian": "Gaussian model of Rainforth et al. (2018)",
    "digits": "small VAE of digits",
}
PARTS = {"guide": "encoder", "model": "model"}


class GaussianModel(nn.Module):
    """z ~ N(loc, I), x|z ~ N(z, I), q(z|x) = N(weight x + bias, 2/3 I), a little away from the optimum for the rows."""

    def __init__(self, x: Tensor, offset: float) -> None:
        super().__init__()
        dim, loc = x.shape[1], x.mean(0)
        self.loc = nn.Parameter(loc + offset * torch.randn(dim))
        self.weight = nn.Parameter(0.5 * torch.eye(dim) + offset * torch.randn(dim, dim))
        self.bias = nn.Parameter(0.5 * loc + offset * torch.randn(dim))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ self.weight.T + self.bias, (2 / 3) ** 0.5).to_event(1))


def gaussian(rows: int) -> tuple[nn.Module, Tensor]:
    x = torch.randn(20) + 2**0.5 * torch.randn(rows, 20)
    return GaussianModel(x, offset=0.01), x


def digits(rows: int) -> tuple[nn.Module, Tensor]:
    data = load_data("digits", binarize="threshold")
    vae = VAE(
        priors.StandardNormal(8),
        likelihoods.Bernoulli(networks.MLP(8, (1, 8, 8), (64,))),
        posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 16, (64,))),
    )
    fit_svi(vae.model, vae.guide, data.train, epochs=10, batch_size=64, objective=IWAE(5), progress=False)
    return vae, data.train[:rows]


def measure(name: str, options: argparse.Namespace) -> pd.DataFrame:
    """A line for each objective, number of draws and part."""
    torch.manual_seed(options.seed)
    pair, x = {"gaussian": gaussian, "digits": digits}[name](options.rows)
    tables = []
    for number, draws in enumerate(k for k in DRAWS if k <= options.most_draws):
        chosen = {label: OBJECTIVES[label](draws) for label in OBJECTIVES}
        # Points of their own draws, so that the errors of a slope hold.
        compared = compare_gradients(pair.model, pair.guide, x, chosen, num_repeats=options.repeats, seed=number)
        tables.append(compared.to_frame().reset_index().assign(pair=name, draws=draws))
        for label in chosen:
            snr = {part: getattr(compared[label], part) for part in PARTS}
            numbers = "".join(f"{PARTS[part]:>10} {n.snr:8.4f} ({n.snr_standard_error:.4f})" for part, n in snr.items())
            print(f"{name:<10}{label:<21}{draws:>5}{numbers}{1000 * compared[label].seconds:>10.1f}", flush=True)
    return pd.concat(tables)


def clear(table: pd.DataFrame) -> pd.DataFrame:
    """The points whose SNR is told from 0."""
    return table[table.snr > 2 * table.snr_standard_error]


def slope(table: pd.DataFrame) -> tuple[float, float]:
    """Of log SNR against log K, by weighted least squares, and its standard error."""
    log_draws, log_snr = (torch.tensor(table[name].to_numpy()).double().log() for name in ("draws", "snr"))
    weights = torch.tensor((table.snr / table.snr_standard_error).to_numpy()).square()
    apart = log_draws - (weights @ log_draws) / weights.sum()
    information = (weights @ apart.square()).item()
    return ((weights * apart) @ log_snr).item() / information, 1 / math.sqrt(information)


def picture(table: pd.DataFrame, slopes: dict[tuple[str, str, str], tuple[float, float]], fit_from: int) -> Figure:
    pairs = list(dict.fromkeys(table.pair))
    figure = Figure(figsize=(10, 4.2 * len(pairs)), layout="constrained", dpi=120)
    grid = figure.subplots(len(pairs), 2, squeeze=False, sharey="row")
    for line, name in zip(grid, pairs, strict=True):
        for axes, part in zip(line, PARTS, strict=True):
            of_part = table[(table.pair == name) & (table.part == part)]
            # The model's gradient is one and the same in all three.
            shown = {label: label for label in STYLES} if part == "guide" else {"IWAE": "all three objectives"}
            for label, legend in shown.items():
                draw_curve(
                    axes, clear(of_part[of_part.objective == label]), label, legend, slopes.get((name, part, label))
                )
                if label != "ReweightedWakeSleep":
                    expected = -0.5 if (label, part) == ("IWAE", "guide") else 0.5
                    draw_expected(axes, clear(of_part[of_part.objective == label]), expected, fit_from)
            axes.set(xscale="log", yscale="log", title=f"{TITLES[name]}: {PARTS[part]}", xlabel="draws K for each row")
            axes.set_xticks(sorted(set(table.draws)), minor=False)
            axes.xaxis.set_minor_locator(NullLocator())
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter("{x:g}")
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.plot([], [], color="#777777", linestyle=":", label="slopes in theory: ±1/2")
            axes.legend(frameon=False, fontsize=8)
        line[0].set_ylabel("signal-to-noise ratio of the gradient")
    return figure


def draw_curve(axes: Axes, points: pd.DataFrame, label: str, legend: str, fitted: tuple[float, float] | None) -> None:
    colour, marker = STYLES[label] if legend == label else ("#333333", "D")
    said = "" if fitted is None else f", slope {fitted[0]:+.3f} ± {fitted[1]:.3f}".replace("-", "\N{MINUS SIGN}")
    axes.errorbar(
        points.draws,
        points.snr,
        yerr=2 * points.snr_standard_error,
        color=colour,
        marker=marker,
        markersize=5,
        capsize=3,
        label=legend + said,
    )


def draw_expected(axes: Axes, points: pd.DataFrame, expected: float, fit_from: int) -> None:
    """A dotted line of the expected slope through the last point."""
    last, first = points.iloc[-1], min(fit_from, points.draws.iloc[-1])
    ends = [first, last.draws]
    axes.plot(ends, [last.snr * (k / last.draws) ** expected for k in ends], color="#777777", linestyle=":", zorder=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=[*TITLES, "both"], default="both")
    parser.add_argument("--repeats", type=int, default=500, help="gradients of each point")
    parser.add_argument("--rows", type=int, default=256, help="rows of the batch")
    parser.add_argument("--most-draws", type=int, default=300)
    parser.add_argument("--fit-from", type=int, default=30, help="fewest draws of a point that the slope is fitted to")
    parser.add_argument("--seed", type=int, default=0, help="of the rows and the parameters")
    parser.add_argument("--output-dir", type=Path, default=Path("gradients"))
    options = parser.parse_args()

    names = list(TITLES) if options.pair == "both" else [options.pair]
    print(f"{'pair':<10}{'objective':<21}{'draws':>5}{'SNR by part (standard error)':>30}{'ms each':>37}")
    table = pd.concat([measure(name, options) for name in names])
    slopes = {}
    print(f"\n{'slope of log SNR against log K':<34}{'slope':>8}{'se':>8}{'points':>8}")
    for key, points in clear(table[table.draws >= options.fit_from]).groupby(["pair", "part", "objective"], sort=False):
        if len(points) > 1:
            slopes[key] = slope(points)
            name, part, label = key
            print(f"{name:<10}{PARTS[part]:<9}{label:<21}{slopes[key][0]:>+8.3f}{slopes[key][1]:>8.3f}{len(points):>8}")
    options.output_dir.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output_dir / "gradients.csv", index=False)
    picture(table, slopes, options.fit_from).savefig(options.output_dir / "gradients.png")
    print(f"\nwritten: {options.output_dir / 'gradients.csv'}, {options.output_dir / 'gradients.png'}")


if __name__ == "__main__":
    main()
