"""Probabilistic principal component analysis: the linear VAE whose posterior and maximum are known."""

import math
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions.gaussian import gaussian_entropy
from pyrovae.likelihoods import Normal
from pyrovae.models.expectation_maximisation import EMHistory, EMStep, first_noise, regression, whitened
from pyrovae.models.vae import VAE
from pyrovae.networks import MLP
from pyrovae.priors import StandardNormal
from pyrovae.programs import check_not_negative, check_positive, check_rows, check_seed


@dataclass(frozen=True)
class ProbabilisticPCA:
    r"""A linear generative model with Gaussian noise of one scale (Tipping and Bishop, 1999).

    .. math:: z \sim N(0, I), \qquad x \mid z \sim N(W z + b, \sigma^2 I), \qquad x \sim N(b, W W^T + \sigma^2 I)

    Attributes:
        weight: W ``(data_dim, latent_dim)``.
        bias: b ``(data_dim,)``.
        scale: sigma, a standard deviation.

    Example:
        >>> import torch
        >>> x = torch.randn(200, 1) @ torch.randn(1, 4) + torch.randn(200, 4)
        >>> exact = ProbabilisticPCA.maximum_likelihood(x, latent_dim=1)
        >>> fitted, history = ProbabilisticPCA.fit_em(x, latent_dim=1)
        >>> bool((fitted.log_prob(x) - exact.log_prob(x)).mean().abs() < 1e-8)
        True
    """

    weight: Tensor
    bias: Tensor
    scale: float

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return self.weight.shape[1]

    @property
    def covariance(self) -> Tensor:
        """Covariance of x, ``(data_dim, data_dim)``."""
        return self.weight @ self.weight.T + self.scale**2 * torch.eye(len(self.bias)).to(self.weight)

    @classmethod
    def maximum_likelihood(cls, x: Tensor, latent_dim: int) -> "ProbabilisticPCA":
        r"""The maximum of log p(x), from the eigenvalues of the rows' covariance.

        .. math:: W = U (\Lambda - \sigma^2 I)^{1/2}, \qquad \sigma^2 = \frac{1}{D - d} \sum_{j > d} \lambda_j

        Args:
            x: rows ``(rows, data_dim)``.
            latent_dim: d, dimensions of z, fewer than those of x.

        Raises:
            ValueError: no rows of vectors, as many latents as dimensions, rows without noise outside the latents.
        """
        mean, covariance = _moments(x, latent_dim)
        eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
        check_noise(eigenvalues, latent_dim)
        eigenvalues, eigenvectors = eigenvalues.flip(0), eigenvectors.flip(1)
        variance = eigenvalues[latent_dim:].mean()
        # Of equal eigenvalues rounding may put the mean above the others.
        weight = eigenvectors[:, :latent_dim] * (eigenvalues[:latent_dim] - variance).clamp(min=0).sqrt()
        return cls(weight, mean, variance.sqrt().item())

    @classmethod
    def fit_em(
        cls, x: Tensor, latent_dim: int, *, max_steps: int = 10_000, tolerance: float = 1e-11, seed: int = 0
    ) -> tuple["ProbabilisticPCA", EMHistory]:
        r"""Climb to the maximum by expectation-maximisation, from a random start.

        The E step sets q(z|x) to the posterior, so the bound becomes log p(x); the M step takes the parameters that
        maximise the bound of this q. Neither can lower log p(x), but by rounding (Dempster, Laird and Rubin, 1977; Neal
        and Hinton, 1998). A VAE does the same by gradients, with one encoder for all rows in place of the E step.

        The M step takes z's covariance R too, which is then moved into the weights: with :math:`A A^T = R` the model of
        :math:`A^{-1} z` is :math:`N(0, I)` and W A (Liu, Rubin and Wu, 1998). Plain EM changes the size of W by a part
        :math:`\sigma^2 / |W|^2` in a step, next to nothing where the noise is small beside the signal.

        Args:
            x: rows ``(rows, data_dim)``.
            latent_dim: dimensions of z, fewer than those of x.
            max_steps: iterations of an E and an M step, at most.
            tolerance: stop when an iteration changes sigma by no more than this part of it, and no entry of the model's
                covariance by more than this part of the standard deviations of its two columns.
            seed: of the start.

        Returns:
            The model, and every half step; ``history.converged`` is False where ``max_steps`` came first.

        Raises:
            ValueError: no rows of vectors, as many latents as dimensions, numbers out of range, rows without noise
                outside the latents.
        """
        check_positive(max_steps=max_steps)
        check_not_negative(tolerance=tolerance)
        check_seed(seed)
        mean, covariance = _moments(x, latent_dim)
        check_noise(torch.linalg.eigvalsh(covariance), latent_dim)
        # As many rows as columns, of the same covariance; small noise keeps the digits that it has lost there.
        rows = torch.linalg.qr((x.double() - mean) / len(x) ** 0.5).R
        variances = covariance.diagonal()
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(len(mean), latent_dim, generator=generator, dtype=covariance.dtype).to(covariance)
        model = cls(variances.sqrt()[:, None] * start, mean, first_noise(variances, latent_dim).item())
        # Noise this small is far from the data, and the regression on random directions is not.
        model, _, _ = model._m_step(rows, *model._posterior_map())
        history = EMHistory()
        log_px = _mean_log_px(model, rows)
        for _ in range(max_steps):
            slope, posterior_covariance = model._posterior_map()
            history.append(EMStep("E", _bound(model, rows, slope, posterior_covariance), log_px))
            previous = model
            model, slope, posterior_covariance = previous._m_step(rows, slope, posterior_covariance)
            log_px = _mean_log_px(model, rows)
            history.append(EMStep("M", _bound(model, rows, slope, posterior_covariance), log_px))
            if largest_change(previous, model) <= tolerance:
                history.converged = True
                break
        return model, history

    def log_prob(self, x: Tensor) -> Tensor:
        r"""Exact log p(x) of rows ``(rows, data_dim)``, in nats.

        With m the mean of ``posterior(x)``, the squared distance of x from b is

        .. math:: (x - b)^T (W W^T + \sigma^2 I)^{-1} (x - b) = |x - b - W m|^2 / \sigma^2 + |m|^2
        """
        return self._log_density(self._squared_distance(x.double() - self.bias.double()))

    def posterior(self, x: Tensor) -> dist.MultivariateNormal:
        r"""The exact posterior of rows ``(rows, data_dim)``.

        .. math:: p(z|x) = N(M^{-1} W^T (x - b),\ \sigma^2 M^{-1}), \qquad M = W^T W + \sigma^2 I
        """
        slope, covariance = self._posterior_map()
        return dist.MultivariateNormal((x - self.bias) @ slope.T, covariance)

    def vae(self) -> VAE:
        """The same model as a ``VAE`` with the exact posterior as its guide: ELBO and log p(x) are equal."""
        data_dim, latent_dim = self.weight.shape
        decoder = MLP(latent_dim, data_dim, ()).to(self.weight)
        linear = decoder.layers[0]
        assert isinstance(linear, nn.Linear)
        with torch.no_grad():
            linear.weight.copy_(self.weight)
            assert linear.bias is not None
            linear.bias.copy_(self.bias)
        return VAE(StandardNormal(latent_dim).to(self.weight), Normal(decoder, scale=self.scale), _ExactPosterior(self))

    def _squared_distance(self, difference: Tensor) -> Tensor:
        """That of x from b in the metric of the covariance, by x - b."""
        weight = self.weight.double()
        z = difference @ torch.linalg.solve(self._matrix(), weight.T).T
        # A sum of squares, as a difference of two large ones would lose small noise in rounding.
        return (difference - z @ weight.T).square().sum(-1) / self.scale**2 + z.square().sum(-1)

    def _log_density(self, squared_distance: Tensor) -> Tensor:
        data_dim, latent_dim = self.weight.shape
        log_determinant = torch.logdet(self._matrix()) + 2 * (data_dim - latent_dim) * math.log(self.scale)
        return -0.5 * (data_dim * math.log(2 * math.pi) + log_determinant + squared_distance)

    def _matrix(self) -> Tensor:
        """M, in double precision."""
        weight = self.weight.double()
        return weight.T @ weight + self.scale**2 * torch.eye(self.latent_dim).to(weight)

    def _posterior_map(self) -> tuple[Tensor, Tensor]:
        """The matrix from x - b to the posterior mean, and the posterior covariance, which no row changes."""
        identity = torch.eye(self.latent_dim).to(self.weight)
        inverse = torch.linalg.inv(self.weight.T @ self.weight + self.scale**2 * identity)
        return inverse @ self.weight.T, self.scale**2 * inverse

    def _m_step(
        self, rows: Tensor, slope: Tensor, posterior_covariance: Tensor
    ) -> tuple["ProbabilisticPCA", Tensor, Tensor]:
        """The model that maximises the bound of a posterior, and this posterior's map in the new latents."""
        weight, variance, root = regression(rows, rows @ slope.T, posterior_covariance)
        model = ProbabilisticPCA(weight, self.bias, variance.sqrt().item())
        return model, torch.linalg.solve(root, slope), whitened(posterior_covariance, root)


class _ExactPosterior(nn.Module):
    bias: Tensor
    slope: Tensor
    scale_tril: Tensor

    def __init__(self, model: ProbabilisticPCA) -> None:
        super().__init__()
        slope, covariance = model._posterior_map()
        self.register_buffer("bias", model.bias)
        self.register_buffer("slope", slope)
        self.register_buffer("scale_tril", torch.linalg.cholesky(covariance))

    def forward(self, x: Tensor) -> dist.MultivariateNormal:
        return dist.MultivariateNormal((x - self.bias) @ self.slope.T, scale_tril=self.scale_tril)


def rows_of_vectors(x: Tensor, latent_dim: int) -> Tensor:
    """The rows in float64.

    Raises:
        ValueError: no rows of vectors, missing entries, as many latents as dimensions.
    """
    check_rows(x, "x")
    check_positive(latent_dim=latent_dim)
    if x.dim() != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected rows of vectors: use x.flatten(1)")
    if latent_dim >= x.shape[1]:
        raise ValueError(f"latent_dim is {latent_dim} for rows of {x.shape[1]} numbers; expected fewer")
    if bool(x.isnan().any()):
        raise ValueError("x has missing entries, NaN, which these closed forms do not take: remove or fill them")
    return x.double()


def _moments(x: Tensor, latent_dim: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the rows, which are all that the model sees of them."""
    x = rows_of_vectors(x, latent_dim)
    mean = x.mean(0)
    return mean, (x - mean).T @ (x - mean) / len(x)


def check_noise(eigenvalues: Tensor, latent_dim: int) -> None:
    """Refuse rows whose covariance, by its eigenvalues from the smallest on, leaves no noise outside the latents."""
    # As small as the rounding of the eigenvalues.
    least = len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * eigenvalues[-1]
    if eigenvalues[:-latent_dim].mean() <= least:
        raise ValueError(
            f"the rows lie in {latent_dim} or fewer dimensions, so the noise is zero and log p(x) has no maximum: "
            "give a smaller latent_dim"
        )


def largest_change(before: ProbabilisticPCA, after: ProbabilisticPCA) -> float:
    """The largest relative change of sigma, and of means and covariances in the standard deviations of columns."""
    deviations = after.covariance.diagonal().sqrt()
    of_covariance = (after.covariance - before.covariance).abs() / deviations / deviations[:, None]
    of_mean = (after.bias - before.bias).abs() / deviations
    return max(of_covariance.max().item(), of_mean.max().item(), abs(1 - before.scale / after.scale))


def _bound(model: ProbabilisticPCA, rows: Tensor, slope: Tensor, posterior_covariance: Tensor) -> float:
    r"""Mean over rows, each times the root of its share, of :math:`E_q[\log p(x|z)] + E_q[\log p(z)] + H(q)`."""
    (data_dim, latent_dim), z = model.weight.shape, rows @ slope.T
    error = (rows - z @ model.weight.T).square().sum()
    error = error + (model.weight @ posterior_covariance @ model.weight.T).trace()
    reconstruction = -0.5 * (data_dim * math.log(2 * math.pi * model.scale**2) + error / model.scale**2)
    prior = -0.5 * (latent_dim * math.log(2 * math.pi) + z.square().sum() + posterior_covariance.trace())
    return (reconstruction + prior + gaussian_entropy(posterior_covariance)).item()


def _mean_log_px(model: ProbabilisticPCA, rows: Tensor) -> float:
    return model._log_density(model._squared_distance(rows).sum()).item()
