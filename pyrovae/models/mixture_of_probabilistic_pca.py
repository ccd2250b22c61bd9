"""A mixture of probabilistic PCAs: several linear models, each for a part of the data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrovae.distributions.gaussian import gaussian_entropy
from pyrovae.models.expectation_maximisation import EMHistory, EMStep, first_noise, regression, whitened
from pyrovae.models.probabilistic_pca import ProbabilisticPCA, check_noise, largest_change, rows_of_vectors
from pyrovae.programs import check_not_negative, check_positive, check_seed

# Of the mean variance of the rows: with less noise a component's density is lost in rounding, on its way to infinity.
_LEAST_NOISE = 1e-12


@dataclass(frozen=True)
class MixtureOfProbabilisticPCA:
    r"""A mixture of probabilistic PCAs (Tipping and Bishop, 1999).

    .. math:: p(x) = \sum_k \pi_k \, N(x; b_k, W_k W_k^T + \sigma_k^2 I)

    Attributes:
        weights: pi, the share of each component ``(components,)``.
        components: the models.

    Example:
        >>> import torch
        >>> x = torch.cat([torch.randn(100, 3), torch.randn(100, 3) + 10])
        >>> mixture, history = MixtureOfProbabilisticPCA.fit_em(x, latent_dim=1, num_components=2)
        >>> mixture.weights
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    weights: Tensor
    components: tuple[ProbabilisticPCA, ...]

    @classmethod
    def fit_em(
        cls,
        x: Tensor,
        latent_dim: int,
        num_components: int,
        *,
        max_steps: int = 1000,
        tolerance: float = 1e-6,
        seed: int = 0,
    ) -> tuple["MixtureOfProbabilisticPCA", EMHistory]:
        r"""Climb log p(x) by expectation-maximisation over the component and z of each row.

        The E step sets q(k, z|x) to the posterior; the M step shares out the rows and fits each component to its part,
        a weighted regression of x on z, with the covariance of z free as in ``ProbabilisticPCA.fit_em``. Neither can
        lower log p(x), but by rounding. What is reached is a local maximum, which depends on the start, and on the
        units of the columns: the noise is the same for all of them.

        Args:
            x: rows ``(rows, data_dim)``.
            latent_dim: dimensions of z, fewer than those of x.
            num_components: number of components.
            max_steps: iterations of an E and an M step, at most.
            tolerance: stop when an iteration changes no component's sigma and share by more than this part of it, and
                no entry of its mean and covariance by more than this part of the standard deviations of the columns.
            seed: of the start, whose centres are spread-out rows (k-means++).

        Returns:
            The model, and every half step; ``history.converged`` is False where ``max_steps`` came first.

        Raises:
            ValueError: no rows of vectors, as many latents as dimensions, numbers out of range, fewer rows than
                components, a component without noise.
        """
        check_positive(num_components=num_components, max_steps=max_steps)
        check_not_negative(tolerance=tolerance)
        check_seed(seed)
        x = rows_of_vectors(x, latent_dim)
        if num_components > len(x):
            raise ValueError(f"num_components is {num_components} for {len(x)} rows; expected at most as many")
        if bool((x == x[0]).all()):
            raise ValueError("all rows are equal, so that log p(x) has no maximum: give other rows")
        # Far from zero the M step would lose its digits.
        mean = x.mean(0)
        x = x - mean
        check_noise(torch.linalg.eigvalsh(x.T @ x / len(x)), latent_dim)
        least = _LEAST_NOISE * x.var(0, correction=0).mean()
        mixture = cls._start(x, latent_dim, num_components, seed)
        history = EMHistory()
        log_px = mixture.log_prob(x).mean().item()
        for _ in range(max_steps):
            shares = mixture.responsibilities(x)
            posteriors = [part.posterior(x) for part in mixture.components]
            history.append(EMStep("E", _bound(mixture, posteriors, shares, x), log_px))
            previous = mixture
            mixture, posteriors = _m_step(posteriors, shares, x, least)
            log_px = mixture.log_prob(x).mean().item()
            history.append(EMStep("M", _bound(mixture, posteriors, shares, x), log_px))
            if _largest_change(previous, mixture) <= tolerance:
                history.converged = True
                break
        components = (ProbabilisticPCA(part.weight, part.bias + mean, part.scale) for part in mixture.components)
        return cls(mixture.weights, tuple(components)), history

    @classmethod
    def _start(cls, x: Tensor, latent_dim: int, num_components: int, seed: int) -> "MixtureOfProbabilisticPCA":
        # Here, because the package is light to import without it.
        from sklearn.cluster import kmeans_plusplus

        centres, _ = kmeans_plusplus(x.cpu().numpy(), num_components, random_state=seed % 2**32)
        generator = torch.Generator().manual_seed(seed)
        variances = x.var(0, correction=0)
        noise = first_noise(variances, latent_dim).item()
        components = []
        for centre in torch.as_tensor(centres).to(x):
            weight = torch.randn(x.shape[1], latent_dim, generator=generator, dtype=x.dtype).to(x)
            components.append(ProbabilisticPCA(variances.sqrt()[:, None] * weight, centre, noise))
        return cls(torch.full((num_components,), 1 / num_components).to(x), tuple(components))

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log p(x) of rows ``(rows, data_dim)``, in nats."""
        return self._log_joint(x).logsumexp(-1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """The posterior of the component, p(k|x), ``(rows, components)``."""
        return self._log_joint(x).softmax(-1)

    def _log_joint(self, x: Tensor) -> Tensor:
        return torch.stack([part.log_prob(x) for part in self.components], -1) + self.weights.log()


def _m_step(
    posteriors: Sequence[dist.MultivariateNormal], shares: Tensor, x: Tensor, least: Tensor
) -> tuple[MixtureOfProbabilisticPCA, list[dist.MultivariateNormal]]:
    """The parameters that maximise the bound of posteriors of z and shares, and these posteriors in their latents."""
    components, same = [], []
    for q, share in zip(posteriors, shares.T, strict=True):
        weights = share / share.sum()
        bias, centre = weights @ x, weights @ q.mean
        root_weights, covariance = weights.sqrt()[:, None], q.covariance_matrix[0]
        weight, variance, root = regression(root_weights * (x - bias), root_weights * (q.mean - centre), covariance)
        if not variance > least:
            latent_dim, num_rows = weight.shape[1], (share > 0.5).sum().item()
            raise ValueError(
                f"a component has shrunk to {num_rows} rows that lie in {latent_dim} or fewer dimensions, so its noise "
                "goes to zero and log p(x) has no maximum: give fewer components, a smaller latent_dim or another "
                "seed, and look for repeated rows"
            )
        components.append(ProbabilisticPCA(weight, bias, variance.sqrt().item()))
        mean = torch.linalg.solve(root, (q.mean - centre).T).T
        same.append(dist.MultivariateNormal(mean, whitened(covariance, root)))
    return MixtureOfProbabilisticPCA(shares.mean(0), tuple(components)), same


def _largest_change(before: MixtureOfProbabilisticPCA, after: MixtureOfProbabilisticPCA) -> float:
    """Of the parameters of all components, and of the shares in parts of them."""
    of_components = map(largest_change, before.components, after.components)
    return max(*of_components, (1 - before.weights / after.weights).abs().max().item())


def _bound(
    mixture: MixtureOfProbabilisticPCA, posteriors: Sequence[dist.MultivariateNormal], shares: Tensor, x: Tensor
) -> float:
    """The mean bound of a mixture, for given posteriors of z and shares."""
    terms = []
    for part, q in zip(mixture.components, posteriors, strict=True):
        error = (x - q.mean @ part.weight.T - part.bias).square().sum(-1)
        error = error + (part.weight @ q.covariance_matrix[0] @ part.weight.T).trace()
        data_dim, latent_dim = part.weight.shape
        reconstruction = -0.5 * (data_dim * math.log(2 * math.pi * part.scale**2) + error / part.scale**2)
        second_moment = q.mean.square().sum(-1) + q.covariance_matrix[0].trace()
        prior = -0.5 * (latent_dim * math.log(2 * math.pi) + second_moment)
        terms.append(reconstruction + prior + gaussian_entropy(q.covariance_matrix[0]))
    # A share of zero has an entropy of zero.
    entropy = -torch.special.xlogy(shares, shares)
    return (shares * (torch.stack(terms, -1) + mixture.weights.log()) + entropy).sum(-1).mean().item()
