"""A pair of programs and its draws as an ArviZ object."""

from typing import Any

import torch
from torch import Tensor

from pyrovae.evaluation.arviz_interface import make_arviz
from pyrovae.evaluation.opening import open_sampler
from pyrovae.evaluation.rows_after_draws import name_of_rows, rows_after_draws
from pyrovae.programs import Program, check_positive, check_rows, site_of_rows


def to_arviz(model: Program, guide: Program, x: Tensor, *, num_draws: int = 500, seed: int = 0) -> Any:
    r"""Draws of a fitted pair as an ArviZ object: ``InferenceData`` from ArviZ 0.23, ``DataTree`` from ArviZ 1.

    Its groups, each variable with the dimensions ``(chain, draw, row, ...)`` and one chain, a latent's other plates
    behind the row:

    - ``posterior``: draws of the latents from q(z|x). They are independent draws of the guide, no Markov chain: R-hat
      and the effective sample size of a chain say nothing here.
    - ``sample_stats``: ``log_weight``, :math:`\log p(x, z) - \log q(z|x)` of each draw, to weigh the draws by.
    - ``log_likelihood``: ``x``, :math:`\log p(x|z)` of each row and draw.
    - ``prior`` and ``prior_predictive``: draws of the latents from p(z), and of the rows given them.
    - ``posterior_predictive``: draws of the rows, each given a draw of z from q(z|x).
    - ``observed_data``: the rows.

    Where no site of the model observes the rows as they are, as of a ``ConditionalVAE``, draws of rows are left out.
    The rows are ``x``, or ``x_observed`` where a latent is called x. As each row has a z of its own, ``arviz.loo``,
    and with it ``arviz.compare``, gives a harmonic mean of p(x|z), which its own k-hat warns of: log p(x) of a pair is
    that of ``compare_bounds``.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters. All draws are kept in memory, and
            predictive draws are as large as the rows: choose rows and draws accordingly.
        num_draws: draws of each row.
        seed: of the draws.

    Raises:
        ValueError: numbers out of range, a latent with the name of a dimension or, under ArviZ 1, with a slash in its
            name, a pair that breaks the contract of ``check_pair``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, networks, posteriors, priors, to_arviz
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> result = to_arviz(vae.model, vae.guide, torch.randn(3, 5), num_draws=10)
        >>> result["posterior"]["z"].shape, result["posterior_predictive"]["x"].shape
        ((1, 10, 3, 2), (1, 10, 3, 5))
    """
    check_positive(num_draws=num_draws)
    check_rows(x, "x")
    with open_sampler(model, guide, x, seed=seed) as sampler:
        data = name_of_rows(sampler.structure)
        latents, log_q = sampler.draw(x, num_draws)
        log_prior, log_likelihood = sampler.log_terms(x, latents)
        prior, _, _ = sampler.draw_prior(x, num_draws)
        site = site_of_rows(sampler.model, sampler.guide, x)
        predictive = {}
        if site is not None:
            for group, z in (("posterior_predictive", latents), ("prior_predictive", prior)):
                predictive[group] = sampler.draw_observed(x, z, site).reshape(num_draws, *x.shape)
        latents, prior = (rows_after_draws(z, sampler.structure) for z in (latents, prior))
    arrays = {
        "posterior": latents,
        "sample_stats": {"log_weight": log_prior + log_likelihood - log_q},
        "log_likelihood": {data: log_likelihood},
        "prior": prior,
        **{group: {data: value} for group, value in predictive.items()},
    }
    groups = {
        group: {name: value.cpu().numpy()[None] for name, value in variables.items()}
        for group, variables in arrays.items()
    }
    dims = {name: ["row", *(f"{name}_dim_{d}" for d in range(value.dim() - 2))] for name, value in latents.items()}
    dims |= {
        data: ["row", *(f"{data}_dim_{d}" for d in range(x.dim() - 1))],
        "sample_stats.log_weight": ["row"],
        f"log_likelihood.{data}": ["row"],
    }
    groups["observed_data"] = {data: x.detach().cpu().numpy()}
    coords = {"row": torch.arange(len(x)).tolist()}
    return make_arviz(groups, dims, coords)
