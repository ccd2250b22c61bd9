"""What the latents of a pair hold: KL per row and dimension, active units, mutual information."""

from collections.abc import Iterable

import torch
from torch import Tensor

from pyrovae.distributions.arguments import is_finite_number
from pyrovae.evaluation.aggregate import AggregatedPosterior
from pyrovae.evaluation.blocks import ROWS_PER_BLOCK, draws_at_once
from pyrovae.evaluation.latent_results import LatentSummary, SiteSummary
from pyrovae.evaluation.latent_sites import CLOSED_FORM, RunningMoments, SiteTerms, log_prob, site_terms
from pyrovae.evaluation.log_mean import error_of_mean
from pyrovae.evaluation.moments import prior_variances
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import Program, Sampler, SiteScales, check_positive, check_rows, sample_sites, trace_pair
from pyrovae.progress import Progress

_UNKNOWN_ERROR = "its posterior mean is drawn, and one draw says nothing of its error: num_samples=2 or more"
_NO_VARIANCE = "its prior has no variance that those of its posterior means could be held against"


def latent_summary(
    model: Program,
    guide: Program,
    x: Tensor,
    *,
    num_samples: int = 20,
    threshold: float = 0.01,
    aggregate: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> LatentSummary:
    r"""KL per row and latent dimension, active units, mutual information and marginal KL of a pair.

    The KL term of the ELBO, averaged over N rows, has two parts (Hoffman and Johnson, 2016): what z knows of x, and
    how far the aggregated posterior :math:`q(z) = \frac1N \sum_j q(z|x_j)` is from the prior,

    .. math::
        \frac1N \sum_i KL(q(z|x_i)\ \|\ p(z)) = I(x; z) + KL(q(z)\ \|\ p(z)), \qquad
        I(x; z) = \frac1N \sum_i KL(q(z|x_i)\ \|\ q(z)).

    q(z) is the exact mixture over the given rows, not one over minibatches. So :math:`I(x; z) \le \log N`: as an
    estimate for all possible rows it is too low wherever it comes near log N. There, its distance from log N rests on
    the few draws that fall between posteriors, and its Monte Carlo error may look too small. It is a mean over draws
    from the guide; the marginal KL is mean KL less I, so that the identity holds to rounding.

    A dimension is active if the variance over rows of its posterior mean is above ``threshold`` times the variance of
    its prior: above 0.01 for a prior of unit variance (Burda, Grosse and Salakhutdinov, 2016). Where the mean has
    itself to be drawn, the variance is freed of the draws' part, and a dimension is active only if the variance is
    above this by more than two of its errors from the draws; where the two are nearer, the draws do not tell. The
    variance of a prior without a closed form is that of thousands of draws; where it has none, as a Cauchy
    distribution, active dimensions are not counted.

    With several latent sites the KL of each is given the sites drawn before it (the chain rule), with these taken
    from the draws; they sum to ``kl`` if model and guide draw them in the same order. If they do not, each is the
    mean of log q - log p of the site, and only their sum is a KL. The KL is in closed form wherever
    ``torch.distributions`` or this package has one, that of Gaussians of any covariance against independent
    dimensions.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, two at least, on the device of the parameters.
        num_samples: draws for each row.
        threshold: activity above which a dimension is active, in variances of its prior.
        aggregate: False leaves out mutual information and marginal KL, whose work grows as ``rows**2 * num_samples``.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, fewer than two rows, NaN in the data, a pair that breaks the contract of
            ``check_pair``, a guide that is a point mass; and for the aggregate, a prior that depends on x, or
            a guide that gives the density of its own draws only.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, latent_summary, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> latents = latent_summary(vae.model, vae.guide, torch.randn(30, 5))
        >>> latents.sites["z"].kl_per_dim.shape, latents.sites["z"].kl_method
        (torch.Size([30, 2]), 'closed form')
        >>> bool((latents.kl.mean() - latents.mutual_information - latents.marginal_kl).abs() < 1e-9)
        True
    """
    check_positive(num_samples=num_samples)
    if not (is_finite_number(threshold) and threshold >= 0):
        raise ValueError(f"threshold is {threshold!r}; expected a variance, zero or positive")
    check_rows(x, "x")
    with (
        open_sampler(model, guide, x, seed=seed) as sampler,
        Progress("latents", len(x), "row", shown=progress) as bar,
    ):
        if len(x) < 2:
            raise ValueError("x has one row; active units and mutual information compare rows, so give two or more")
        mixture = AggregatedPosterior(sampler, x) if aggregate else None
        blocks = []
        for rows in x.split(ROWS_PER_BLOCK):
            blocks.append(_Block(sampler, rows, num_samples, mixture))
            bar.advance(len(rows))
        prior = prior_variances(sampler, x)
    columns = _Columns(blocks)
    kl, kl_error = columns("", "kl")
    to_aggregate, to_aggregate_error = columns("", "to_aggregate") if aggregate else (None, None)
    marginal, marginal_error = columns("", "marginal") if aggregate else (None, None)
    return LatentSummary(
        kl=kl,
        kl_standard_error=kl_error,
        kl_to_aggregate=to_aggregate,
        kl_to_aggregate_standard_error=to_aggregate_error,
        marginal_kl=None if marginal is None else marginal.mean(),
        marginal_kl_standard_error=None if marginal_error is None else error_of_mean(marginal_error),
        sites={
            name: _site_summary(name, blocks, columns, num_samples, threshold, prior[name])
            for name in sampler.structure.latents
        },
        num_samples=num_samples,
        threshold=float(threshold),
    )


class _Block:
    """Moments over draws for a block of rows, by site and quantity; those of all sites together have the site ""."""

    def __init__(self, sampler: Sampler, rows: Tensor, num_samples: int, mixture: AggregatedPosterior | None) -> None:
        self.moments: dict[tuple[str, str], RunningMoments] = {}
        self.sites: dict[str, SiteTerms] = {}
        latents = sampler.structure.latents
        chain = latents == sampler.structure.model_latents
        step = draws_at_once(rows)
        for start in range(0, num_samples, step):
            draws = min(step, num_samples - start)
            with SiteScales():
                model_trace, guide_trace = trace_pair(
                    sampler.model, sampler.guide, rows.repeat(draws, *(1 for _ in rows.shape[1:]))
                )
            for trace in (model_trace, guide_trace):
                sampler.structure.check_run(trace)
            p, q = sample_sites(model_trace), sample_sites(guide_trace)
            for position, name in enumerate(latents):
                terms = site_terms(name, q[name], p[name], draws, first=not position, chain=chain)
                self.sites[name] = terms
                exact = terms.kl_method == CLOSED_FORM
                self._add(name, "kl", terms.kl, exact)
                self._add(name, "kl_per_dim", terms.kl_per_dim, exact)
                self._add(name, "mean", terms.mean, terms.mean_exact)
            kl = _total(terms.kl for terms in self.sites.values())
            exact = all(terms.kl_method == CLOSED_FORM for terms in self.sites.values())
            self._add("", "kl", kl, exact)
            if mixture is not None:
                log_q = _total(log_prob(q[name]).reshape(-1, draws * len(rows)).sum(0) for name in latents)
                log_mixture = mixture.log_density({name: q[name]["value"] for name in latents})
                to_aggregate = (log_q - log_mixture.cpu()).reshape(draws, -1)
                self._add("", "to_aggregate", to_aggregate, exact=False)
                self._add("", "marginal", kl - to_aggregate, exact=False)
            elif exact and all(terms.mean is None or terms.mean_exact for terms in self.sites.values()):
                break  # nothing depends on a draw

    def _add(self, site: str, quantity: str, draws: Tensor | None, exact: bool) -> None:
        if draws is not None:
            self.moments.setdefault((site, quantity), RunningMoments(exact=exact)).add(draws)


class _Columns:
    """Mean and standard error of a quantity for all rows."""

    def __init__(self, blocks: list[_Block]) -> None:
        self.blocks = blocks

    def __call__(self, site: str, quantity: str) -> tuple[Tensor, Tensor]:
        moments = [block.moments[site, quantity] for block in self.blocks]
        return torch.cat([m.mean for m in moments]), torch.cat([m.standard_error for m in moments])

    def optional(self, site: str, quantity: str) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """None where some rows do not have it."""
        if not all((site, quantity) in block.moments for block in self.blocks):
            return None, None
        return self(site, quantity)


def _site_summary(
    name: str,
    blocks: list[_Block],
    columns: _Columns,
    num_samples: int,
    threshold: float,
    prior_variance: Tensor | None,
) -> SiteSummary:
    kl, kl_error = columns(name, "kl")
    per_dim, per_dim_error = columns.optional(name, "kl_per_dim")
    mean, mean_error = columns.optional(name, "mean")
    terms = [block.sites[name] for block in blocks]
    activity_missing = next((t.mean_missing for t in terms if t.mean_missing), None)
    activity, activity_error, draws_error, active, undecided = None, None, None, None, None
    if mean is not None and mean_error is not None:
        if mean_error.isnan().any():
            activity_missing = _UNKNOWN_ERROR
        else:
            activity, activity_error, draws_error = _activity(mean, mean_error, num_samples)
            if prior_variance is None:
                activity_missing = _NO_VARIANCE
            else:
                least = threshold * prior_variance
                active = activity - 2 * draws_error > least
                undecided = (activity + 2 * draws_error > least) & ~active
    return SiteSummary(
        kl=kl,
        kl_standard_error=kl_error,
        kl_method=terms[0].kl_method,
        kl_per_dim=per_dim,
        kl_per_dim_standard_error=per_dim_error,
        kl_per_dim_missing=terms[0].kl_per_dim_missing,
        posterior_mean=mean,
        posterior_mean_standard_error=mean_error,
        activity=activity,
        activity_standard_error=activity_error,
        activity_draws_error=draws_error,
        prior_variance=prior_variance,
        active=active,
        undecided=undecided,
        activity_missing=activity_missing,
    )


def _activity(mean: Tensor, error: Tensor, num_samples: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Variance over rows of the posterior mean ``(rows, dims)`` freed of its Monte Carlo part, and its two errors.

    The first error is that of the rows, as a sample from all possible rows, the second that of the draws. With
    :math:`v_i` the variance of the mean of S draws of row i and :math:`m_i` its true mean, the square of the second is

    .. math::
        \frac{2}{N^2} \Big(\frac{S}{S - 1} + \frac{1}{N - 1}\Big) \sum_i v_i^2
        + \frac{4}{(N - 1)^2} \sum_i (m_i - \bar m)^2 v_i

    over N rows, for draws from any distribution, where the :math:`v_i` are equal; elsewhere it is at most that.
    """
    rows = len(mean)
    spread, drawn = mean.var(0), error.square()
    deviation = mean - mean.mean(0)
    # The variance of a sample variance, with the unknown moments replaced by those of the sample.
    variance = (deviation.pow(4).mean(0) - spread.square() * (rows - 3) / (rows - 1)) / rows
    # Free of bias for Gaussian draws, whose estimated variance v has E[v^2] above the square of the true one.
    squares = drawn.square() / (num_samples + 1)
    own = 2 / rows**2 * ((num_samples + (num_samples - 1) / (rows - 1)) * squares).sum(0)
    shared = 4 / (rows - 1) ** 2 * (deviation.square() * drawn - (num_samples - 1) * squares).sum(0)
    return spread - drawn.mean(0), variance.clamp(min=0).sqrt(), (own + shared.clamp(min=0)).sqrt()


def _total(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([tensor.cpu().double() for tensor in tensors]).sum(0)
