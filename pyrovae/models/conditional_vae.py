"""A VAE of rows given something that is known of them: a class, or covariates."""

from collections.abc import Callable, Sequence
from math import prod

import pyro
import torch
from torch import Tensor, nn

from pyrovae.data import AnyRows, rows_in_memory
from pyrovae.models.looking import mean_or_draws
from pyrovae.models.shapes import check_over_rows
from pyrovae.networks.shapes import as_shape
from pyrovae.programs import check_are_rows, check_positive, evaluating, initialize_modules


class ConditionalVAE(nn.Module):
    r"""A VAE of x given c, a class or covariates (Sohn, Lee and Yan, 2015).

    .. math:: \log p(x|c) \ge E_{q(z|x, c)}[\log p(x|z, c)] - KL(q(z|x, c) \,\|\, p(z))

    The programs take one tensor, the rows that ``join(x, c)`` makes, x flattened with c behind it, so ``fit_svi``,
    ``compare_bounds`` and the other functions of a pair serve them as they are; what these report is log p(x|c). Those
    that draw rows need a model of whole rows, and leave them out (``to_arviz``) or refuse it (``bdmc``, ``impute``,
    ``reconstruct_rows``, ``sample_rows``): ``sample`` and ``reconstruct`` give rows. The likelihood and the posterior
    are those of a VAE, over inputs that c is appended to.

    Missing entries of x, NaN, are taken by ``likelihoods.PartlyObserved`` and a posterior that does, such as
    ``posteriors.PartlyObserved`` over joined rows; c has to be complete.

    The parts get c as it is given: standardise real covariates by the mean and spread of the training rows first, or an
    income of 40,000 drowns z beside it. ``ColumnEncoder`` does so by itself, and in runs of ``python -m pyrovae.fit``
    the other networks of this package do.

    Args:
        prior: module; ``prior()`` has event shape ``(latent_dim,)``.
        likelihood: module; it gets z with c behind it, ``(*batch, latent_dim + covariate_dim)``.
        posterior: module; it gets a row flattened with c behind it, ``(*batch, data numbers + covariate_dim)``.
        data_shape: shape of one row x.
        covariate_dim: numbers in c; for a class, the number of classes.

    Raises:
        ValueError: rows that were not joined, a covariate_dim that is no positive number.

    Example:
        >>> import torch
        >>> from pyrovae import likelihoods, networks, posteriors, priors
        >>> vae = ConditionalVAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Bernoulli(networks.MLP(2 + 10, (1, 8, 8))),
        ...     posteriors.DiagonalNormal(networks.MLP(64 + 10, 2 * 2)),
        ...     data_shape=(1, 8, 8),
        ...     covariate_dim=10,
        ... )
        >>> rows = vae.join(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 9]))
        >>> rows.shape
        torch.Size([3, 74])
        >>> vae.sample(torch.tensor([4, 4])).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        prior: nn.Module,
        likelihood: nn.Module,
        posterior: nn.Module,
        data_shape: Sequence[int],
        covariate_dim: int,
    ) -> None:
        super().__init__()
        check_positive(covariate_dim=covariate_dim)
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior
        self.data_shape, self.covariate_dim = as_shape(data_shape, "data_shape"), covariate_dim

    @torch.no_grad()
    def initialize(self, rows: AnyRows) -> None:
        """Start from the data: every part with a method ``initialize(rows)`` is given them, the likelihood x alone.

        A network that has a method ``initialize_covariates(c)`` is given the covariates of these rows before.

        Args:
            rows: joined training rows ``(rows, data numbers + covariate_dim)``.
        """
        check_are_rows(rows, "rows")
        rows = rows_in_memory(rows)
        x, c = self.split(rows)
        for part in self.modules():
            initialize: Callable[[Tensor], None] | None = getattr(part, "initialize_covariates", None)
            if initialize is not None:
                initialize(c)
        initialize_modules(nn.ModuleList([self.likelihood]), x)
        initialize_modules(nn.ModuleList([self.prior, self.posterior]), rows)

    def join(self, x: Tensor, c: Tensor) -> Tensor:
        """Rows with what is known of them behind each.

        Args:
            x: rows ``(rows, *data_shape)``.
            c: covariates ``(rows, covariate_dim)``; or class numbers ``(rows,)``, whole numbers from 0, which become
                one-hot vectors.

        Returns:
            ``(rows, data numbers + covariate_dim)``.

        Raises:
            ValueError: no tensors, rows or covariates of another shape, class numbers out of range.
        """
        _check_tensor("x", x)
        if tuple(x.shape[1:]) != self.data_shape:
            raise ValueError(f"x has rows of shape {tuple(x.shape[1:])}; expected data_shape, {self.data_shape}")
        covariates = self._covariates(c, "c", len(x))
        # Counts and bits may be whole numbers; covariates may not become such.
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        return torch.cat([x.flatten(1), covariates.to(x)], -1)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows x ``(rows, *data_shape)`` and covariates ``(rows, covariate_dim)`` of joined rows."""
        wanted = prod(self.data_shape) + self.covariate_dim
        if rows.dim() != 2 or rows.shape[1] != wanted:
            raise ValueError(
                f"rows have shape {tuple(rows.shape)}; expected (rows, {wanted}), as join(x, c) makes them"
            )
        return rows[:, : -self.covariate_dim].unflatten(1, self.data_shape), rows[:, -self.covariate_dim :]

    def model(self, rows: Tensor) -> Tensor:
        """The generative program of joined rows: z from the prior, x from the likelihood given z and c."""
        x, c = self.split(rows)
        with pyro.plate("data", len(rows), dim=-1):
            z = pyro.sample("z", self.prior())
            p_x = self.likelihood(_append(z, c))
            check_over_rows(self.likelihood, p_x, x)
            pyro.sample("x", p_x, obs=x)
        return z

    def guide(self, rows: Tensor) -> Tensor:
        """The inference program of joined rows: z from the posterior given x and c."""
        self.split(rows)
        with pyro.plate("data", len(rows), dim=-1):
            return pyro.sample("z", self.posterior(rows))

    @evaluating
    def reconstruct(self, x: Tensor, c: Tensor, num_samples: int | None = None) -> Tensor:
        """The mean of p(x|z, c), at the mean of q(z|x, c) or at draws from it.

        Args:
            x: rows ``(rows, *data_shape)``.
            c: what is known of them, as in ``join``.
            num_samples: None decodes the posterior mean; a number decodes that many draws of z.

        Returns:
            ``(rows, *data_shape)``, or ``(num_samples, rows, *data_shape)``.

        Raises:
            ValueError: the mean of q(z|x, c) is not known, as that of a flow; what ``join`` refuses, or a
                ``num_samples`` that is no positive integer.
        """
        return self.variants(x, c, c, num_samples)

    @evaluating
    def variants(self, x: Tensor, c: Tensor, new: Tensor, num_samples: int | None = None) -> Tensor:
        """The rows with another c: the mean of p(x|z, new), at the mean of q(z|x, c) or at draws from it.

        Args:
            x: rows ``(rows, *data_shape)``.
            c: what is known of them, as in ``join``.
            new: what is to be known of them instead, of the same form.
            num_samples: None decodes the posterior mean; a number decodes that many draws of z.

        Returns:
            ``(rows, *data_shape)``, or ``(num_samples, rows, *data_shape)``.

        Raises:
            ValueError: the mean of q(z|x, c) is not known, as that of a flow; what ``join`` refuses, or a
                ``num_samples`` that is no positive integer.
        """
        z = mean_or_draws(self.posterior(self.join(x, c)), self.posterior, num_samples)
        return self.likelihood(_append(z, self._covariates(new, "new", len(x)).to(z))).mean.detach()

    @evaluating
    def sample(self, c: Tensor, *, mean: bool = False) -> Tensor:
        """New rows, one for each c: z from the prior, then a draw from p(x|z, c), or its mean.

        Args:
            c: covariates ``(rows, covariate_dim)`` or class numbers ``(rows,)``.
            mean: give the mean of p(x|z, c) in place of a draw.

        Returns:
            ``(rows, *data_shape)``.
        """
        covariates = self._covariates(c, "c")
        z = self.prior().sample((len(covariates),))
        p_x = self.likelihood(_append(z, covariates.to(z)))
        return p_x.mean.detach() if mean else p_x.sample()

    def _covariates(self, c: Tensor, name: str, num_rows: int | None = None) -> Tensor:
        """What is known of rows, as numbers ``(rows, covariate_dim)``."""
        _check_tensor(name, c)
        if num_rows is not None and c.shape[:1] not in ((), (num_rows,)):
            raise ValueError(f"{name} is of {len(c)} rows, and x has {num_rows}; expected one c for each row")
        if c.dim() == 1 and not c.is_floating_point():
            if bool(((c < 0) | (c >= self.covariate_dim)).any()):
                raise ValueError(
                    f"{name} has class numbers from {int(c.min())} to {int(c.max())}; expected 0 to "
                    f"{self.covariate_dim - 1}"
                )
            return nn.functional.one_hot(c.long(), self.covariate_dim)
        if c.dim() != 2 or c.shape[1] != self.covariate_dim:
            raise ValueError(
                f"{name} has shape {tuple(c.shape)} and type {c.dtype}; expected covariates (rows, "
                f"{self.covariate_dim}), or whole class numbers (rows,)"
            )
        return c


def _check_tensor(name: str, given: object) -> None:
    if not isinstance(given, Tensor):
        raise ValueError(f"{name} is a {type(given).__name__}; expected a tensor: give torch.as_tensor({name})")


def _append(z: Tensor, c: Tensor) -> Tensor:
    return torch.cat([z, c.expand(*z.shape[:-1], c.shape[-1])], -1)
