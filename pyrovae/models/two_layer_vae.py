"""A VAE with two layers of latents."""

import pyro
import torch
from torch import Tensor, nn

from pyrovae.data import AnyRows
from pyrovae.models.looking import mean_or_draws
from pyrovae.models.shapes import check_over_rows
from pyrovae.programs import check_positive, evaluating, evaluation_mode, initialize_modules, isolated_rng


class TwoLayerVAE(nn.Module):
    r"""A VAE with two stochastic layers, the guide climbing up and the model coming down (Burda et al., 2016).

    .. math::

        p(x, z_1, z_2) = p(z_2)\, p(z_1|z_2)\, p(x|z_1), \qquad q(z_1, z_2|x) = q(z_1|x)\, q(z_2|z_1)

    Guide and model draw the latents in opposite orders, so ``TraceMeanField_ELBO`` is not right for it: fit it with
    ``objective="Trace_ELBO"``, ``"IWAE"``, ``"DReG"`` or ``"StickingTheLanding"``.

    ======================  =====================================  ==============================
    symbol                  meaning                                name in code
    ======================  =====================================  ==============================
    :math:`z_1`             latents next to the data               site ``"z1"``
    :math:`z_2`             latents above them                     site ``"z2"``
    :math:`p(z_2)`          prior                                  ``prior()``
    :math:`p(z_1|z_2)`      transition, a likelihood over z1       ``transition(z2)``
    :math:`p(x|z_1)`        likelihood                             ``likelihood(z1)``
    :math:`q(z_1|x)`        posterior                              ``posterior(x)``
    :math:`q(z_2|z_1)`      posterior of the upper layer           ``upper_posterior(z1)``
    ======================  =====================================  ==============================

    Args:
        prior: module; ``prior()`` has event shape ``(upper_dim,)``.
        transition: module; ``transition(z2)`` has event shape ``(latent_dim,)``.
        likelihood: module; ``likelihood(z1)`` has event shape ``data_shape``.
        posterior: module; ``posterior(x)`` has event shape ``(latent_dim,)``.
        upper_posterior: module; ``upper_posterior(z1)`` has event shape ``(upper_dim,)``.

    Raises:
        ValueError: parts of sizes that do not fit one another.

    Example:
        >>> from pyrovae import likelihoods, networks, posteriors, priors
        >>> vae = TwoLayerVAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, (2, 4)), scale="predicted"),
        ...     likelihoods.Bernoulli(networks.MLP(4, (1, 8, 8))),
        ...     posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 2 * 4)),
        ...     posteriors.DiagonalNormal(networks.MLP(4, 2 * 2)),
        ... )
        >>> vae.sample(3).shape
        torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        prior: nn.Module,
        transition: nn.Module,
        likelihood: nn.Module,
        posterior: nn.Module,
        upper_posterior: nn.Module,
    ) -> None:
        super().__init__()
        self.prior, self.transition, self.likelihood = prior, transition, likelihood
        self.posterior, self.upper_posterior = posterior, upper_posterior
        example = next(self.parameters(), torch.empty(0))
        with torch.no_grad(), evaluation_mode(self.model, self.guide), isolated_rng(0, example.device):
            z2 = prior().sample((2,))
            z1 = transition(z2).sample()
            upper_shape = upper_posterior(z1).event_shape
        self.latent_dim: int = z1.shape[-1]
        if upper_shape != z2.shape[1:]:
            raise ValueError(
                f"upper_posterior is over {tuple(upper_shape)}, the prior over {tuple(z2.shape[1:])}: give both the "
                "same size of z2"
            )

    @torch.no_grad()
    def initialize(self, rows: AnyRows) -> None:
        """Start from the data: likelihood and posterior are given the rows, for their methods ``initialize(rows)``.

        Args:
            rows: training rows ``(rows, *data_shape)``.
        """
        for part in (self.likelihood, self.posterior):
            initialize_modules(nn.ModuleList([part]), rows)

    def model(self, x: Tensor) -> Tensor:
        """The generative program, from the upper latents down to the row."""
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", self.prior())
            z1 = pyro.sample("z1", self.transition(z2))
            p_x = self.likelihood(z1)
            check_over_rows(self.likelihood, p_x, x)
            pyro.sample("x", p_x, obs=x)
        return z1

    def guide(self, x: Tensor) -> Tensor:
        """The inference program, from the row up to the upper latents."""
        with pyro.plate("data", len(x), dim=-1):
            q_z1 = self.posterior(x)
            if q_z1.event_shape != (self.latent_dim,):
                raise ValueError(
                    f"posterior is over {tuple(q_z1.event_shape)}, the transition over ({self.latent_dim},): give both "
                    "the same size of z1"
                )
            z1 = pyro.sample("z1", q_z1)
            return pyro.sample("z2", self.upper_posterior(z1))

    @evaluating
    def reconstruct(self, x: Tensor, num_samples: int | None = None) -> Tensor:
        """The mean of p(x|z1), at the mean of q(z1|x) or at draws from it.

        Args:
            x: rows ``(rows, *data_shape)``.
            num_samples: None decodes the posterior mean; a number decodes that many draws of z1.

        Returns:
            ``(rows, *data_shape)``, or ``(num_samples, rows, *data_shape)``.

        Raises:
            ValueError: the mean of q(z1|x) is not known, as that of a flow; ``num_samples`` is no positive integer.
        """
        return self.likelihood(mean_or_draws(self.posterior(x), self.posterior, num_samples)).mean.detach()

    @evaluating
    def sample(self, num_samples: int, *, mean: bool = False) -> Tensor:
        """New rows of data, drawn from the top down; with ``mean`` the mean of p(x|z1) at the end.

        Args:
            num_samples: number of rows.
            mean: give the mean of p(x|z1) in place of a draw.

        Returns:
            ``(num_samples, *data_shape)``.

        Raises:
            ValueError: ``num_samples`` is no positive integer.
        """
        check_positive(num_samples=num_samples)
        z1 = self.transition(self.prior().sample((num_samples,))).sample()
        p_x = self.likelihood(z1)
        return p_x.mean.detach() if mean else p_x.sample()
