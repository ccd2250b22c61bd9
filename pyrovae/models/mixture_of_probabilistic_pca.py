"""A mixture of probabilistic PCAs: several linear models, each for a part of the data."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.distributions.gaussian import gaussian_entropy
from pyrovae.models.probabilistic_pca import EMStep, ProbabilisticPCA, rows_of_vectors
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
        tolerance: float = 1e-8,
        seed: int = 0,
    ) -> tuple["MixtureOfProbabilisticPCA", list[EMStep]]:
        r"""Climb log p(x) by expectation-maximisation over the component and z of each row.

        The E step sets q(k, z|x) to the posterior; the M step shares out the rows and fits each component to its part,
        a weighted regression of x on z. Neither can lower log p(x). What is reached is a local maximum, which depends
        on the start.

        Args:
            x: rows ``(rows, data_dim)``.
            latent_dim: dimensions of z, fewer than those of x.
            num_components: number of components.
            max_steps: iterations of an E and an M step, at most.
            tolerance: stop when an iteration raises log p(x) by less, in nats per row.
            seed: of the start, whose centres are spread-out rows (k-means++).

        Returns:
            The model, and every half step.

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
        least = _LEAST_NOISE * x.var(0, correction=0).mean()
        mixture = cls._start(x, latent_dim, num_components, seed)
        history: list[EMStep] = []
        log_px = mixture.log_prob(x).mean().item()
        for _ in range(max_steps):
            shares = mixture.responsibilities(x)
            history.append(EMStep("E", _bound(mixture, mixture, shares, x), log_px))
            previous, mixture = mixture, _m_step(mixture, shares, x, least)
            before, log_px = log_px, mixture.log_prob(x).mean().item()
            history.append(EMStep("M", _bound(mixture, previous, shares, x), log_px))
            if log_px - before < tolerance:
                break
        components = (ProbabilisticPCA(part.weight, part.bias + mean, part.scale) for part in mixture.components)
        return cls(mixture.weights, tuple(components)), history

    @classmethod
    def _start(cls, x: Tensor, latent_dim: int, num_components: int, seed: int) -> "MixtureOfProbabilisticPCA":
        # Here, because the package is light to import without it.
        from sklearn.cluster import kmeans_plusplus

        centres, _ = kmeans_plusplus(x.cpu().numpy(), num_components, random_state=seed % 2**32)
        generator = torch.Generator().manual_seed(seed)
        spread = x.var(0).mean().sqrt()
        components = []
        for centre in torch.as_tensor(centres).to(x):
            weight = torch.randn(x.shape[1], latent_dim, generator=generator, dtype=x.dtype).to(x)
            components.append(ProbabilisticPCA(0.1 * spread * weight, centre, 0.5 * spread.item()))
        return cls(torch.full((num_components,), 1 / num_components).to(x), tuple(components))

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log p(x) of rows ``(rows, data_dim)``, in nats."""
        return self._log_joint(x).logsumexp(-1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """The posterior of the component, p(k|x), ``(rows, components)``."""
        return self._log_joint(x).softmax(-1)

    def _log_joint(self, x: Tensor) -> Tensor:
        return torch.stack([part.log_prob(x) for part in self.components], -1) + self.weights.log()


def _m_step(mixture: MixtureOfProbabilisticPCA, shares: Tensor, x: Tensor, least: Tensor) -> MixtureOfProbabilisticPCA:
    """The parameters that maximise the bound of the posterior under the present ones."""
    components = []
    for part, share in zip(mixture.components, shares.T, strict=True):
        weights = share / share.sum()
        posterior = part.posterior(x)
        # A regression of x on z and 1, with the means of their products under q.
        regressors = torch.cat([posterior.mean, torch.ones_like(x[:, :1])], 1)
        second_moment = regressors.T @ (weights[:, None] * regressors)
        second_moment[:-1, :-1] += posterior.covariance_matrix[0]
        cross = x.T @ (weights[:, None] * regressors)
        coefficients = torch.linalg.solve(second_moment, cross.T).T
        variance = ((weights[:, None] * x * x).sum() - (coefficients * cross).sum()) / x.shape[1]
        if not variance > least:
            latent_dim, num_rows = part.latent_dim, (share > 0.5).sum().item()
            raise ValueError(
                f"a component has shrunk to {num_rows} rows that lie in {latent_dim} or fewer dimensions, so its noise "
                "goes to zero and log p(x) has no maximum: give fewer components, a smaller latent_dim or another "
                "seed, and look for repeated rows"
            )
        components.append(ProbabilisticPCA(coefficients[:, :-1], coefficients[:, -1], variance.sqrt().item()))
    return MixtureOfProbabilisticPCA(shares.mean(0), tuple(components))


def _bound(mixture: MixtureOfProbabilisticPCA, previous: MixtureOfProbabilisticPCA, shares: Tensor, x: Tensor) -> float:
    """The mean bound of a mixture, for q the posterior under the previous one."""
    terms = []
    for part, old in zip(mixture.components, previous.components, strict=True):
        q = old.posterior(x)
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
