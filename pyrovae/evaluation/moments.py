"""Mean and standard deviation of q(z|x), row by row: the codes of rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import VonMises

from pyrovae.data import AnyRows
from pyrovae.distributions.layers import innermost, without_reshaping
from pyrovae.evaluation.blocks import ROWS_PER_BLOCK, draws_at_once
from pyrovae.evaluation.latent_sites import RunningMoments
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import Program, Sampler, check_positive, probe_rows, sample_sites
from pyrovae.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SiteMoments:
    """Where the guide puts one latent for each row, and how widely; float64, in units of the latent.

    Attributes:
        mean: ``(rows, dims)``, of q(z|x).
        standard_deviation: ``(rows, dims)``, of q(z|x).
        mean_standard_error: ``(rows, dims)``, Monte Carlo standard error of ``mean``; zero in closed form.
    """

    mean: Tensor
    standard_deviation: Tensor
    mean_standard_error: Tensor


@dataclass(frozen=True)
class PosteriorMoments:
    """Mean and standard deviation of every latent.

    Attributes:
        sites: by name, in the order of the guide.
        missing: the latents that have none, each with the reason.
    """

    sites: dict[str, SiteMoments]
    missing: dict[str, str]

    def to_frame(self) -> "pd.DataFrame":
        """A line for each row, with columns ``z[0]``, the mean, and ``z[0]_standard_deviation`` for each dimension.

        Where means are drawn there are columns ``z[0]_standard_error`` too.
        """
        import pandas as pd

        columns: dict[str, Any] = {}
        for name, site in self.sites.items():
            parts = {"": site.mean, "_standard_deviation": site.standard_deviation}
            if bool(site.mean_standard_error.any()):
                parts["_standard_error"] = site.mean_standard_error
            for suffix, values in parts.items():
                columns |= {f"{name}[{dim}]{suffix}": column.numpy() for dim, column in enumerate(values.unbind(1))}
        return pd.DataFrame(columns).rename_axis("row")


def posterior_moments(
    model: Program, guide: Program, x: AnyRows, *, num_samples: int = 200, seed: int = 0, progress: bool = False
) -> PosteriorMoments:
    r"""Mean and standard deviation of q(z|x) for each row, the code of the row and how sure the encoder is of it.

    They are in closed form where the guide's distribution has them and depends on no other draw. A latent that is drawn
    given others has

    .. math::
        E[z] = E[m], \qquad Var[z] = E[v] + Var[m],

    with m and v the mean and variance given the others, over draws of these. Where a distribution has no mean of its
    own, that of a flow say, both are those of draws.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)`` on the device of the parameters; or ``data.StreamedRows``.
        num_samples: draws for each row, two at least, where draws are needed.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``check_pair``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, networks, posterior_moments, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> moments = posterior_moments(vae.model, vae.guide, torch.randn(30, 5))
        >>> moments.sites["z"].mean.shape
        torch.Size([30, 2])
        >>> list(moments.to_frame().columns)
        ['z[0]', 'z[1]', 'z[0]_standard_deviation', 'z[1]_standard_deviation']
    """
    check_positive(num_samples=num_samples)
    if num_samples < 2:
        raise ValueError("num_samples is 1; one draw says nothing of a standard deviation: give two or more")
    with (
        open_sampler(model, guide, x, seed=seed) as sampler,
        Progress("codes", len(x), "row", shown=progress) as bar,
    ):
        latents = sampler.structure.latents
        blocks: list[dict[str, _Draws]] = []
        missing: dict[str, str] = {}
        for start in range(0, len(x), ROWS_PER_BLOCK):
            rows = x[start : start + ROWS_PER_BLOCK]
            found = {name: _Draws(first=not place) for place, name in enumerate(latents)}
            step = draws_at_once(rows)
            for done in range(0, num_samples, step):
                draws = min(step, num_samples - done)
                _add(sampler, sampler.trace_guide(rows, draws), draws, found)
                if all(site.exact or site.missing for site in found.values()):
                    break  # nothing depends on a draw
            missing |= {name: site.missing for name, site in found.items() if site.missing}
            blocks.append(found)
            bar.advance(len(rows))
    return PosteriorMoments(
        {name: _joined([block[name] for block in blocks]) for name in latents if name not in missing}, missing
    )


def prior_variances(sampler: Sampler, x: Tensor) -> dict[str, Tensor | None]:
    """The variance of each number of the latents under p(z), ``(dims,)``; None where there is none.

    In closed form where the prior has one, and otherwise from thousands of draws. Of a prior that depends on the rows
    it is the mean over some of them.
    """
    rows, structure = probe_rows(x, ROWS_PER_BLOCK), sampler.structure
    found = {name: _Draws(first=name == structure.model_latents[0]) for name in structure.latents}
    # Two draws show whether more are needed.
    for draws in (2, max(2, draws_at_once(rows))):
        latents = sampler.draw_prior(rows, draws)[0]
        _add(sampler, sampler.trace_prior(rows, latents), draws, found)
        if all(site.exact or site.missing for site in found.values()):
            break
    return {
        name: None if site.missing else site.moments().standard_deviation.square().mean(0)
        for name, site in found.items()
    }


class _Draws:
    """What the draws say of one latent for a block of rows."""

    def __init__(self, *, first: bool) -> None:
        self.first = first
        self.exact = False
        self.missing = ""
        self._means: RunningMoments | None = None
        self._variances: RunningMoments | None = None

    def add(self, mean: Tensor, variance: Tensor | None) -> None:
        """Take means ``(draws, rows, dims)`` given the other latents and their variances; or values alone."""
        if self._means is None:
            self.exact = self.first and variance is not None
            self._means = RunningMoments(exact=self.exact)
            self._variances = None if variance is None else RunningMoments(exact=self.exact)
        self._means.add(mean)
        if self._variances is not None and variance is not None:
            self._variances.add(variance)

    def moments(self) -> SiteMoments:
        """Of all draws."""
        assert self._means is not None
        error = self._means.standard_error
        variance = error.square() * self._means.count
        if self._variances is not None:
            variance = variance + self._variances.mean
        return SiteMoments(self._means.mean, variance.sqrt(), error)


def _add(sampler: Sampler, trace: Trace, num_draws: int, found: dict[str, _Draws]) -> None:
    sites = sample_sites(trace)
    for name, event_dim in sampler.structure.latent_event_dims.items():
        q, value = sites[name]["fn"], sites[name]["value"]
        if not value.is_floating_point():
            found[name].missing = "its values are labels, without a mean"
            continue
        if isinstance(innermost(q), VonMises):
            found[name].missing = "its values are angles, whose mean depends on where they are cut"
            continue
        moments = _moments(q)
        if moments is None:
            found[name].add(sampler.by_row(value, num_draws, event_dim), None)
        elif not all(bool(torch.isfinite(moment).all()) for moment in moments):
            found[name].missing = f"{type(without_reshaping(q)).__name__} has no mean or no variance"
        else:
            found[name].add(*(sampler.by_row(moment.expand(value.shape), num_draws, event_dim) for moment in moments))


def _moments(q: Any) -> tuple[Tensor, Tensor] | None:
    """In closed form; None where there is none, or rounding leaves nothing of the variance."""
    try:
        mean, variance = q.mean.detach(), q.variance.detach()
    except NotImplementedError:
        return None
    return None if bool((variance < 0).any()) else (mean, variance)


def _joined(blocks: list[_Draws]) -> SiteMoments:
    moments = [block.moments() for block in blocks]
    return SiteMoments(
        *(torch.cat([getattr(part, name) for part in moments]) for name in SiteMoments.__dataclass_fields__)
    )
