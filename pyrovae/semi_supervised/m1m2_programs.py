"""M1 and M2 stacked, as one pair of Pyro programs."""

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.models.shapes import check_over_rows
from pyrovae.semi_supervised.m2_programs import M2Programs
from pyrovae.semi_supervised.rows import check_density


class M1M2Programs(nn.Module):
    r"""M2 over the latents of a VAE, all of it one model of the rows.

    .. math::

        p(x, z_1, z_2, y) = p(x|z_1)\, p(z_1|y, z_2)\, p(y)\, p(z_2), \qquad
        q(z_1, y, z_2|x) = q(z_1|x)\, q(y|z_1)\, q(z_2|z_1, y)

    (Kingma, Mohamed, Rezende and Welling, 2014, model M1+M2). What M2 says of its rows it says of :math:`z_1` here: it
    has the place of the VAE's prior.

    ============================  ==============================  ===================================
    symbol                        meaning                         name in code
    ============================  ==============================  ===================================
    :math:`x`                     a row of data                   site ``"x"``
    :math:`z_1`                   latents next to the data        site ``"z1"``
    :math:`y`                     class                           site ``"y"``
    :math:`z_2`                   latents beside the class        site ``"z2"``
    :math:`p(x|z_1)`              likelihood                      ``likelihood(z1)``
    :math:`q(z_1|x)`              posterior                       ``posterior(x)``
    :math:`q(y|z_1)`              classifier                      ``classify(z1)``
    :math:`p(z_1|y, z_2)`         likelihood of M2                ``second.likelihood([z2, y])``
    :math:`q(z_2|z_1, y)`         posterior of M2                 ``second.posterior([z1, y])``
    ============================  ==============================  ===================================

    Args:
        likelihood: module; ``likelihood(z1)`` has event shape ``data_shape``.
        posterior: module; ``posterior(x)`` has event shape ``(latent_dim,)``.
        second: M2 whose rows are z1, ``(latent_dim,)``.

    Example:
        >>> import torch
        >>> from pyrovae import likelihoods, networks, posteriors, priors
        >>> from pyrovae.semi_supervised import M2Programs
        >>> second = M2Programs(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2 + 3, 4)),
        ...     posteriors.DiagonalNormal(networks.MLP(4 + 3, 2 * 2)),
        ...     networks.MLP(4, 3),
        ...     torch.full((3,), 1 / 3),
        ... )
        >>> programs = M1M2Programs(
        ...     likelihoods.Bernoulli(networks.MLP(4, 8)), posteriors.DiagonalNormal(networks.MLP(8, 2 * 4)), second
        ... )
        >>> programs.unlabelled_bounds(torch.zeros(5, 8)).shape
        torch.Size([5])
    """

    def __init__(self, likelihood: nn.Module, posterior: nn.Module, second: M2Programs) -> None:
        super().__init__()
        self.likelihood, self.posterior, self.second = likelihood, posterior, second

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """The generative program, from the class, drawn or observed, down to the row."""
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("y", dist.Categorical(self.second.class_probs), obs=y)
            z2 = pyro.sample("z2", self.second.prior())
            z1 = pyro.sample("z1", self.second.likelihood(self.second.with_class(z2, y)))
            p_x = self.likelihood(z1)
            check_over_rows(self.likelihood, p_x, x)
            pyro.sample("x", p_x, obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """The inference program, from the row up: z1, then y where it is not given, to be enumerated, then z2."""
        with pyro.plate("data", len(x), dim=-1):
            z1 = pyro.sample("z1", self.posterior(x))
            if y is None:
                y = pyro.sample("y", self.classify(z1), infer={"enumerate": "parallel"})
            pyro.sample("z2", self.second.posterior(self.second.with_class(z1, y)))

    def classify(self, z1: Tensor) -> dist.TorchDistribution:
        """q(y|z1), one distribution for each z1 ``(*batch, latent_dim)``."""
        # Networks of rows flatten all dimensions but the first.
        logits = self.second.classifier(z1.flatten(0, -2))
        return dist.Categorical(logits=logits.unflatten(0, z1.shape[:-1]))

    def labelled_bounds(self, x: Tensor, y: Tensor, num_samples: int = 1) -> Tensor:
        r"""Estimates of the bound of each row with its class, in nats.

        .. math::

            L(x, y) = E_{q(z_1|x)}[\log p(x|z_1) - \log q(z_1|x) + L_2(z_1, y)] \le \log p(x, y)

        with :math:`L_2(z_1, y) = E_{q(z_2|z_1, y)}[\log p(z_1|y, z_2) + \log p(y) + \log p(z_2) - \log q(z_2|z_1, y)]`,
        the bound of M2.

        Args:
            x: rows ``(rows, *data_shape)``.
            y: classes ``(rows,)``.
            num_samples: draws of z1, with one of z2 for each.

        Returns:
            ``(rows,)``.

        Raises:
            ValueError: rows that the likelihood is no density for.
        """
        z1, of_row = self._draw(x, num_samples)
        of_latents = self.second.joint_bounds(z1.flatten(0, 1), y.repeat(num_samples))
        return (of_row + of_latents.unflatten(0, of_row.shape)).mean(0)

    def unlabelled_bounds(self, x: Tensor, num_samples: int = 1) -> Tensor:
        r"""Estimates of the bound of each row without its class, in nats: the sum over classes is exact.

        .. math::

            U(x) = E_{q(z_1|x)}\Big[\log p(x|z_1) - \log q(z_1|x)
            + \sum_y q(y|z_1) \left(L_2(z_1, y) - \log q(y|z_1)\right)\Big] \le \log p(x)

        Args:
            x: rows ``(rows, *data_shape)``.
            num_samples: draws of z1, with one of z2 for each and each class.

        Returns:
            ``(rows,)``.

        Raises:
            ValueError: rows that the likelihood is no density for.
        """
        z1, of_row = self._draw(x, num_samples)
        of_latents = self.second.marginal_bounds(z1.flatten(0, 1))
        return (of_row + of_latents.unflatten(0, of_row.shape)).mean(0)

    def _draw(self, x: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draws of z1 ``(draws, rows, latent_dim)``, and log p(x|z1) - log q(z1|x) of each ``(draws, rows)``."""
        check_density(self, x)
        q_z1 = self.posterior(x)
        z1 = q_z1.rsample((num_samples,))
        return z1, self.likelihood(z1).log_prob(x) - q_z1.log_prob(z1)
