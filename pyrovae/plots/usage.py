"""Which latent dimensions a model uses."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.evaluation.summaries import counted
from pyrovae.plots.figures import BLACK, BLUE, GREY, in_style, legend_below, new_figure
from pyrovae.plots.names import literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyrovae.evaluation import LatentSummary

# More names than these do not fit beside one another.
_MOST_NAMES = 24


def kl_per_dimension(latents: "LatentSummary") -> "Figure":
    """The mean KL of each latent dimension, the largest first, with two standard errors over rows.

    Of more than 72 dimensions the bars are too thin for errors. Active dimensions are full bars, the others hatched;
    those whose activity is unknown, or cannot be told from the draws, are grey.

    Args:
        latents: ``latent_summary`` of some rows.

    Raises:
        ValueError: a site that has no KL of single dimensions, and why.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, latent_summary, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> figure = kl_per_dimension(latent_summary(vae.model, vae.guide, torch.randn(30, 5)))
        >>> figure.axes[0].get_ylabel()
        'KL, nats per row'
    """
    means, errors, names = list[Tensor](), list[Tensor](), list[str]()
    active = list[bool | None]()
    for name, site in latents.sites.items():
        if site.kl_per_dim is None:
            raise ValueError(f"latent {name!r} has no KL of single dimensions: {site.kl_per_dim_missing}")
        means.append(site.kl_per_dim.mean(0))
        errors.append(site.kl_per_dim.std(0) / len(site.kl_per_dim) ** 0.5)
        names += [f"{name}[{dim}]" for dim in range(site.kl_per_dim.shape[1])]
        if site.active is None or site.undecided is None:
            active += [None] * site.kl_per_dim.shape[1]
        else:
            told = zip(site.active.tolist(), site.undecided.tolist(), strict=True)
            active += [None if undecided else is_active for is_active, undecided in told]
    mean, error = torch.cat(means), torch.cat(errors)
    order = mean.argsort(descending=True, stable=True).tolist()
    figure = new_figure(4.8, 3.8)
    with_errors = len(order) <= 3 * _MOST_NAMES
    # Counted from 1, as the first of them is.
    ranks = range(1, len(order) + 1)
    axes = figure.subplots()
    kinds = {True: ("active", BLUE, ""), False: ("not active", "none", "////"), None: ("activity unknown", GREY, "")}
    for kind, (label, colour, hatch) in kinds.items():
        places = [place for place, dim in enumerate(order) if active[dim] is kind]
        if places:
            dims = [order[place] for place in places]
            axes.bar(
                [place + 1 for place in places],
                mean[dims].numpy(),
                yerr=2 * error[dims].numpy() if with_errors else None,
                width=0.8 if with_errors else 1.0,
                color=colour,
                edgecolor=GREY if hatch else colour,
                hatch=hatch,
                linewidth=0.5,
                ecolor=in_style([BLACK])[0],
                capsize=2,
                label=f"{label}: {len(places)} of {len(order)}",
            )
    if len(order) <= _MOST_NAMES:
        axes.set_xticks(ranks, [literal(names[dim]) for dim in order], rotation=90 if len(order) > 8 else 0)
        axes.set_xlabel("latent dimension")
    else:
        axes.set_xlabel("latent dimensions in the order of their KL")
    # A bar alone is not as wide as the picture.
    middle, half = (len(order) + 1) / 2, max(len(order), 4) / 2 + 0.1
    axes.set_xlim(middle - half, middle + half)
    axes.set_ylabel("KL, nats per row")
    rows = counted(max(len(site.kl_per_dim) for site in latents.sites.values() if site.kl_per_dim is not None), "row")
    axes.set_title(f"mean KL of {rows}{', bars of two standard errors' if with_errors else ''}", fontsize=10)
    legend_below(figure, axes)
    return figure
