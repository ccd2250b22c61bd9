"""Which KL terms the objective takes in closed form."""

from typing import Literal

from torch import Tensor

from pyrovae.distributions.divergence import closed_form_kl
from pyrovae.programs import (
    Program,
    borrowed,
    check_missing,
    check_rows,
    inspect_pair,
    sample_sites,
    trace_pair,
)

KlForm = Literal["analytic", "Monte Carlo"]
"""How a KL term is found: in closed form, or from draws."""

_PROBE_ROWS = 2


def kl_forms(model: Program, guide: Program, x: Tensor) -> dict[str, KlForm]:
    """How ``TraceMeanField_ELBO`` finds the KL term of each latent site.

    ``"analytic"`` is a closed form of ``torch.distributions.kl``, Pyro or this package, whose gradients vary less;
    ``"Monte Carlo"`` is log q - log p at the draws, where there is none. ``Trace_ELBO`` always draws.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``; a few are used.

    Returns:
        ``"analytic"`` or ``"Monte Carlo"`` by name of the latent site, in the order of the guide.

    Raises:
        ValueError: a pair that breaks the contract of ``check_pair``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, networks, posteriors, priors
        >>> encoder = networks.MLP(5, posteriors.FullCovarianceNormal.encoder_shape(2))
        >>> likelihood, posterior = likelihoods.Normal(networks.MLP(2, 5)), posteriors.FullCovarianceNormal(encoder)
        >>> for prior in (priors.StandardNormal(2), priors.GaussianMixture(2)):
        ...     vae = VAE(prior, likelihood, posterior)
        ...     print(kl_forms(vae.model, vae.guide, torch.zeros(3, 5)))
        {'z': 'analytic'}
        {'z': 'Monte Carlo'}
    """
    check_rows(x, "x")
    check_missing(model, guide, x, "x")
    with borrowed(model, guide, x.device):
        return forms_of_latents(model, guide, x, inspect_pair(model, guide, x).latents)


def forms_of_latents(model: Program, guide: Program, x: Tensor, latents: tuple[str, ...]) -> dict[str, KlForm]:
    """``kl_forms`` of a pair that was inspected, and whose param store is open."""
    p, q = (sample_sites(trace) for trace in trace_pair(model, guide, x[:_PROBE_ROWS]))
    return {
        name: "Monte Carlo" if closed_form_kl(q[name]["fn"], p[name]["fn"]) is None else "analytic" for name in latents
    }
