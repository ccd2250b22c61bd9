"""The variational autoencoder as a pair of Pyro programs."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.data import AnyRows
from pyrovae.models.interpolation import line
from pyrovae.models.looking import TRAVERSED, check_scale, mean_of, mean_or_draws, moved, plane, quantiles
from pyrovae.models.shapes import check_over_rows, shape_repair
from pyrovae.programs import check_positive, check_rows, evaluating, initialize_modules


class VAE(nn.Module):
    r"""A variational autoencoder: a Pyro ``model`` and ``guide`` made of a prior, a likelihood and a posterior.

    For each row of data the model draws :math:`z \sim p(z)` and :math:`x \sim p(x \mid z)`; the guide draws
    :math:`z \sim q(z \mid x)`. Fitting maximises the evidence lower bound

    .. math:: \mathrm{ELBO}(x) = E_{q(z|x)}[\log p(x|z)] - KL(q(z|x)\ \|\ p(z)) \le \log p(x)

    (Kingma and Welling, 2014; Rezende, Mohamed and Wierstra, 2014).

    ======================  =================================  ==========================
    symbol                  meaning                            name in code
    ======================  =================================  ==========================
    :math:`z`               latent variables of a row          site ``"z"``
    :math:`x`               a row of data                      site ``"x"``
    :math:`p(z)`            prior                              ``prior()``
    :math:`p(x|z)`          likelihood                         ``likelihood(z)``
    :math:`q(z|x)`          approximate posterior              ``posterior(x)``
    :math:`\log p(x)`       log marginal likelihood, nats      ``compare_bounds(...).log_px``
    ======================  =================================  ==========================

    Args:
        prior: module; ``prior()`` has batch shape () and event shape ``(latent_dim,)``.
        likelihood: module; ``likelihood(z)`` has the batch shape of z and event shape ``data_shape``.
        posterior: module; ``posterior(x)`` has the batch shape of x and event shape ``(latent_dim,)``.

    Raises:
        ValueError: the prior is not one distribution over a vector.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Bernoulli(networks.MLP(2, (1, 8, 8))),
        ...     posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 2 * 2)),
        ... )
        >>> vae.sample(5).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module, posterior: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood
        self.posterior = posterior
        for slot, part in (("prior", prior), ("likelihood", likelihood), ("posterior", posterior)):
            if isinstance(part, type):
                raise ValueError(f"the {slot} is the class {part.__name__}; expected a module, made by calling it")
        try:
            p_z = _of_pyro(prior(), "prior()")
        except TypeError as error:
            raise ValueError(
                f"the prior {_name(prior)} cannot be called without arguments ({error}): the order is "
                "VAE(prior, likelihood, posterior)"
            ) from error
        if p_z.batch_shape or len(p_z.event_shape) != 1:
            raise ValueError(
                f"the prior {_name(prior)} has batch shape {tuple(p_z.batch_shape)} and event shape "
                f"{tuple(p_z.event_shape)}; expected () and (latent_dim,): use .to_event(1) for independent dimensions"
            )
        self.latent_dim: int = p_z.event_shape[0]

    @torch.no_grad()
    def initialize(self, rows: AnyRows) -> None:
        """Start from the data: every part that has a method ``initialize(rows)`` is given the rows.

        The built-in likelihoods then start at the mean and the scale of each entry, a VampPrior at rows of the data.
        Training starts better; call it before the fit, never after.

        Args:
            rows: training rows ``(rows, *data_shape)``. Of ``data.StreamedRows`` 10,000 at equal distances are taken,
                or as many as fit in 256 MiB.

        Raises:
            ValueError: rows that a part cannot start from.
        """
        initialize_modules(self, rows)

    def model(self, x: Tensor) -> Tensor:
        """The generative program: z from the prior, x from the likelihood, one plate over the rows."""
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.prior())
            p_x = self.decode(z)
            check_over_rows(self.likelihood, p_x, x)
            pyro.sample("x", p_x, obs=x)
        return z

    def guide(self, x: Tensor) -> Tensor:
        """The inference program: z from the posterior, one plate over the rows."""
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", self.encode(x))

    def encode(self, x: Tensor) -> dist.TorchDistribution:
        """q(z|x), one distribution for each row of x ``(*batch, *data_shape)``.

        It runs in the mode that the module is in: call ``.eval()`` first, after a fit too; ``load`` does so by itself.
        """
        q_z = _of_pyro(self.posterior(x), "posterior(x)")
        if q_z.event_shape != (self.latent_dim,):
            repair = shape_repair(q_z, (self.latent_dim,), "give both the same latent_dim, and an encoder made for it")
            raise ValueError(
                f"the posterior {_name(self.posterior)} is over {tuple(q_z.event_shape)}, the prior "
                f"{_name(self.prior)} over ({self.latent_dim},): {repair}"
            )
        return q_z

    def decode(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z), one distribution for each z ``(*batch, latent_dim)``.

        It runs in the mode that the module is in, as ``encode``.
        """
        return _of_pyro(self.likelihood(z), "likelihood(z)")

    @evaluating
    def reconstruct(self, x: Tensor, num_samples: int | None = None) -> Tensor:
        """The mean of p(x|z), at the mean of q(z|x) or at draws from it.

        Args:
            x: rows of data ``(rows, *data_shape)``.
            num_samples: None decodes the posterior mean; a number decodes that many draws of z.

        Returns:
            ``(rows, *data_shape)``, or ``(num_samples, rows, *data_shape)``.

        Raises:
            ValueError: the mean of q(z|x) is not known, as that of a flow; ``num_samples`` is no positive integer.
        """
        # Some means are computed once and kept, with a gradient even where none is asked for.
        return self.decode(mean_or_draws(self.encode(x), self.posterior, num_samples)).mean.detach()

    def _posterior_mean(self, x: Tensor, otherwise: str) -> Tensor:
        return mean_of(self.encode(x), self.posterior, otherwise)

    @evaluating
    def interpolate(self, start: Tensor, end: Tensor, num_steps: int = 10) -> Tensor:
        """The mean of p(x|z) on the straight line between the posterior means of two batches of rows.

        Args:
            start: rows ``(rows, *data_shape)``.
            end: as many rows.
            num_steps: points on each line, the ends among them.

        Returns:
            ``(num_steps, rows, *data_shape)``.

        Raises:
            ValueError: fewer than two steps, batches of different sizes; a posterior without a mean in closed form.
        """
        first, last = (self._posterior_mean(x, "decode a line between draws from it") for x in (start, end))
        return self.decode(line(first, last, num_steps)).mean.detach()

    @evaluating
    def sample(self, num_samples: int, *, mean: bool = False) -> Tensor:
        """New rows of data: z from the prior, then a draw from p(x|z), or its mean.

        The mean looks smoother than a draw; only draws have the distribution of the model.

        Args:
            num_samples: number of rows.
            mean: give the mean of p(x|z) in place of a draw.

        Returns:
            ``(num_samples, *data_shape)``.

        Raises:
            ValueError: ``num_samples`` is no positive integer.
        """
        check_positive(num_samples=num_samples)
        p_x = self.decode(self.prior().sample((num_samples,)))
        return p_x.mean.detach() if mean else p_x.sample()

    @torch.no_grad()
    def prior_quantiles(self, probabilities: Tensor) -> Tensor:
        r"""The values :math:`v_{di}` of each latent dimension with :math:`p(z_d \le v_{di}) = P_i`.

        Exact where the prior has independent dimensions whose quantiles have a closed form (normal, Laplace); else
        those of 10,000 draws from it, always the same ones.

        Args:
            probabilities: P ``(num_values,)``, strictly between 0 and 1.

        Returns:
            ``(latent_dim, num_values)``, of the type of the weights.

        Raises:
            ValueError: probabilities of another shape, or that are not between 0 and 1.
        """
        # A VAE need not have parameters.
        numbers = (tensor for tensor in chain(self.parameters(), self.buffers()) if tensor.is_floating_point())
        like = next(numbers, probabilities)
        return quantiles(self.prior(), probabilities.to(like.device)).detach().to(like.dtype)

    @evaluating
    def traverse(
        self, x: Tensor | None = None, dims: Sequence[int] | None = None, values: Tensor | None = None
    ) -> Tensor:
        r"""The mean of p(x|z) while one latent dimension at a time moves and the others stay.

        Args:
            x: one row of data ``data_shape``, at whose posterior mean the others stay; without it they stay at the
                medians of the prior.
            dims: the dimensions that are moved; all if None.
            values: where to, ``(num_values,)``, or a line for each dimension ``(len(dims), num_values)``. None is nine
                quantiles of the prior (``prior_quantiles``) at the probabilities :math:`\Phi(-2), \Phi(-1.5), ...,
                \Phi(2)`, which for a standard normal are -2, -1.5, ..., 2.

        Returns:
            ``(len(dims), num_values, *data_shape)``.

        Raises:
            ValueError: no such dimension; a posterior without a mean in closed form.

        Example:
            >>> import torch
            >>> from pyrovae import likelihoods, networks, posteriors, priors
            >>> vae = VAE(
            ...     priors.StandardNormal(2),
            ...     likelihoods.Bernoulli(networks.MLP(2, (1, 8, 8))),
            ...     posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 2 * 2)),
            ... )
            >>> vae.traverse(torch.zeros(1, 8, 8)).shape
            torch.Size([2, 9, 1, 8, 8])
        """
        if dims is not None and not isinstance(dims, Iterable):
            raise ValueError(f"dims is {dims!r}; expected several dimensions, such as [{dims!r}]")
        median = self.prior_quantiles(torch.tensor([0.5]))[:, 0]
        start = median
        if x is not None:
            start = self._posterior_mean(x[None], "leave x out")[0]
            if start.dim() != 1:
                raise ValueError(f"x has shape {tuple(x.shape)}, which is that of several rows; expected one, x[0]")
        chosen = list(range(self.latent_dim)) if dims is None else list(dims)
        if values is None:
            values = self.prior_quantiles(TRAVERSED)[[dim for dim in chosen if 0 <= dim < self.latent_dim]]
        elif values.dim() == 1:
            values = values.expand(len(chosen), -1)
        return self.decode(moved(start, chosen, values)).mean.detach()

    @evaluating
    def manifold(self, size: int = 20) -> Tensor:
        """The mean of p(x|z) on a grid over two latent dimensions (Kingma and Welling, 2014, figure 4).

        The values of each dimension are the quantiles of the prior (``prior_quantiles``) at the probabilities 0.5/size,
        1.5/size, ..., so where its dimensions are independent every point stands for an equal part of the prior.

        Args:
            size: values of each dimension.

        Returns:
            ``(size, size, *data_shape)``; the first index is that of z[0], the second that of z[1].

        Raises:
            ValueError: a latent of more or fewer than two dimensions.
        """
        check_positive(size=size)
        if self.latent_dim != 2:
            raise ValueError(
                f"the latent has {self.latent_dim} dimensions; a manifold is drawn of two: fit with latent_dim 2, or "
                "use traverse"
            )
        return self.decode(plane(self.prior_quantiles((torch.arange(size) + 0.5) / size))).mean.detach()

    @evaluating
    def variants(self, x: Tensor, num_variants: int = 10, *, scale: float = 1.0) -> Tensor:
        r"""Rows like each given one: the mean of p(x|z) at draws of z around the posterior mean.

        .. math:: z = m + s\,(z' - m), \qquad z' \sim q(z|x), \quad m = E_q[z]

        With s = 1 z is a draw from q(z|x), as in ``reconstruct(x, num_variants)``; for a Gaussian q, z is drawn with
        its standard deviations times s.

        Args:
            x: rows ``(rows, *data_shape)``.
            num_variants: variants of each.
            scale: s; above 1 the variants differ more.

        Returns:
            ``(num_variants, rows, *data_shape)``.

        Raises:
            ValueError: numbers that are not positive; a ``scale`` and a posterior without a mean in closed form.
        """
        check_positive(num_variants=num_variants)
        check_scale(scale)
        z = self.encode(x).sample((num_variants,))
        if scale != 1:
            z = torch.lerp(self._posterior_mean(x, "use scale=1").expand_as(z), z, float(scale))
        return self.decode(z).mean.detach()

    @evaluating
    def sample_like(self, x: Tensor, num_samples: int, *, mean: bool = False) -> Tensor:
        r"""New rows like a group of rows: z from the group's aggregated posterior, then a draw from p(x|z).

        .. math:: z \sim \frac1N \sum_{i=1}^N q(z|x_i)

        With the rows of one class they are rows like those of the class. This is no p(x|class) of the model, which
        knows of no classes.

        Args:
            x: the group, ``(rows, *data_shape)``.
            num_samples: number of new rows.
            mean: give the mean of p(x|z) in place of a draw.

        Returns:
            ``(num_samples, *data_shape)``.

        Raises:
            ValueError: ``num_samples`` is no positive integer, or a group without rows.
        """
        check_positive(num_samples=num_samples)
        check_rows(x, "x")
        chosen = torch.randint(len(x), (num_samples,)).to(x.device)
        p_x = self.decode(self.encode(x[chosen]).sample())
        return p_x.mean.detach() if mean else p_x.sample()


def _of_pyro(returned: Any, call: str) -> Any:
    """What a part returned, if it is a distribution of Pyro: those of torch fail only where one draws from them."""
    if isinstance(returned, TorchDistributionMixin):
        return returned
    repair = "return one, such as dist.Normal(loc, scale).to_event(1)"
    if isinstance(returned, torch.distributions.Distribution):
        repair = "take the same class from pyro.distributions"
    module = type(returned).__module__.split(".")[0]
    raise ValueError(f"{call} is a {type(returned).__name__} of {module}; expected a Pyro distribution: {repair}")


def _name(part: nn.Module) -> str:
    return type(part).__name__
