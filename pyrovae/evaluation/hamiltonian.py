"""Hamiltonian transitions along a path of densities, for many rows and chains at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from pyrovae.evaluation.latent_space import LatentSpace
from pyrovae.evaluation.recorded import recorded
from pyrovae.programs import Sampler, for_gradients

Start = Literal["prior", "guide"]
TemperatureSchedule = Literal["sigmoid", "linear"]

# Acceptance at which Hamiltonian Monte Carlo costs least in many dimensions (Beskos et al., 2013).
_TARGET_ACCEPTANCE = 0.65
# How far one transition's acceptance moves the log step size in the warm-up.
_ADAPTATION_RATE = 0.3
_FIRST_STEP_SIZE = 0.3
# Each transition's step size is drawn from this range around the adapted one, lest trajectories close on themselves.
_JITTER = 0.2
# Temperatures over which step sizes are smoothed after the warm-up.
_SMOOTHING = 9


@dataclass
class State:
    """Where the chains are.

    Attributes:
        vectors: unconstrained latents ``(chains, rows, numbers)``.
        base: log density of the start of the path at them ``(chains, rows)``.
        tilt: log density of its end minus ``base``, ``(chains, rows)``.
    """

    vectors: Tensor
    base: Tensor
    tilt: Tensor

    def log_density(self, beta: float) -> Tensor:
        """The path's log density at inverse temperature ``beta``; minus infinity where there is none."""
        return _or_nothing(self.base + beta * self.tilt)


class Path:
    r"""Densities of the latents from the prior or the guide to the joint density, for some rows.

    .. math:: \log f_\beta(z) = (1 - \beta) \log f_0(z) + \beta \log p(x, z), \qquad f_0 = p(z) \text{ or } q(z|x)

    It is kept as a base :math:`\log f_0` and a tilt :math:`\log p(x, z) - \log f_0`, which from the prior is
    :math:`\log p(x|z)`. Numbers of a latent that a mask leaves out say nothing of the rows, so that their posterior is
    their prior. They have it all along the path: without a density they would be free to go anywhere.

    Args:
        sampler: of the pair.
        space: of its latents.
        rows: of data.
        start: the prior or the guide.
        gradients: how many are to come: many are worth recording the operations of one.
    """

    def __init__(self, sampler: Sampler, space: LatentSpace, rows: Tensor, start: Start, gradients: int) -> None:
        self.sampler, self.space, self.rows, self.start = sampler, space, for_gradients(rows), start
        self._with_gradient = recorded(sampler, partial(_with_gradient, sampler, space, start), gradients)

    def draw(self, num_chains: int) -> State:
        """Exact draws from the start of the path."""
        if self.start == "prior":
            latents = self.sampler.draw_prior(self.rows, num_chains)[0]
        else:
            latents = self.sampler.draw_left_out(self.rows, self.sampler.draw(self.rows, num_chains)[0])
        return self.at(self.space.vectors(latents))

    def at(self, vectors: Tensor) -> State:
        """The densities at the vectors."""
        return State(vectors, *_densities(self.sampler, self.space, self.start, self.rows, vectors))

    def with_gradient(self, vectors: Tensor, beta: float) -> tuple[State, Tensor]:
        """The densities, and the gradient of the path's log density, for the latents alone."""
        # A trajectory that has left the numbers is rejected at its end; the programs need not see it.
        safe = torch.where(vectors.isfinite(), vectors, 0.0)
        _, base, tilt, gradient = self._with_gradient(self.rows, safe, safe.new_tensor(beta))
        assert base is not None
        assert tilt is not None
        assert gradient is not None
        return State(vectors, base, tilt), gradient


def _densities(
    sampler: Sampler, space: LatentSpace, start: Start, rows: Tensor, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Base and tilt ``(chains, rows)``."""
    latents, log_jacobian = space.latents(vectors)
    trace = sampler.trace_model(rows, latents)
    base, tilt = sampler.log_terms_of(trace, len(vectors), len(rows))
    if start == "guide":
        log_joint, base = base + tilt, sampler.log_guide(rows, latents)
        tilt = log_joint - base
    left_out = sampler.log_left_out_of(trace, len(vectors), len(rows))
    # NaN stays: no trajectory accepts it, and a chain that starts there has a weight that is no number.
    return base + left_out + log_jacobian, tilt.masked_fill(tilt == torch.inf, -torch.inf)


def _with_gradient(
    sampler: Sampler, space: LatentSpace, start: Start, rows: Tensor, vectors: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What can be compared number by number, base, tilt, and the gradient of ``base + beta * tilt``."""
    with torch.enable_grad():
        free = vectors.detach().requires_grad_()
        base, tilt = _densities(sampler, space, start, rows, free)
        log_density = base + beta * tilt
        (gradient,) = torch.autograd.grad(log_density.sum(), free)
    # Chains without a density are no error here.
    comparable = log_density.detach().nan_to_num(0.0, 0.0, 0.0)
    return comparable, base.detach(), tilt.detach(), gradient


def transition(path: Path, state: State, beta: float, step_size: Tensor, num_leapfrog: int) -> tuple[State, Tensor]:
    """One Hamiltonian transition, which leaves the path's density at ``beta`` invariant (Neal, 2011).

    Args:
        path: the densities.
        state: where the chains are.
        beta: inverse temperature.
        step_size: ``(rows,)``; each chain takes one from 20% around it.
        num_leapfrog: steps of a trajectory.

    Returns:
        The new state, and the probability of acceptance ``(chains, rows)``. A trajectory whose energy is not finite
        is rejected.
    """
    jitter = 1 + _JITTER * (2 * torch.rand_like(state.base) - 1)
    step = (step_size * jitter)[..., None]
    momentum = torch.randn_like(state.vectors)
    before = state.log_density(beta) - 0.5 * momentum.square().sum(-1)
    new, gradient = path.with_gradient(state.vectors, beta)
    for _ in range(num_leapfrog):
        momentum = momentum + 0.5 * step * gradient
        new, gradient = path.with_gradient(new.vectors + step * momentum, beta)
        momentum = momentum + 0.5 * step * gradient
    after = new.log_density(beta) - 0.5 * momentum.square().sum(-1)
    usable = after.isfinite() & new.vectors.isfinite().all(-1)
    # From a point without density every usable proposal is an improvement.
    probability = torch.where(usable, (after - before).clamp(max=0).exp(), 0.0)
    accepted = torch.rand_like(probability) < probability
    return (
        State(
            torch.where(accepted[..., None], new.vectors, state.vectors),
            torch.where(accepted, new.base, state.base),
            torch.where(accepted, new.tilt, state.tilt),
        ),
        probability,
    )


def adapt_step_sizes(
    path: Path, betas: Tensor, *, num_chains: int, num_leapfrog: int, tick: Callable[[], object]
) -> Tensor:
    """Step sizes for each temperature and row, by throw-away chains that run once along the path.

    The logarithm of a row's step size moves by 0.3 times the difference of the acceptance, averaged over chains,
    and 0.65, and is smoothed over temperatures.

    Args:
        path: the densities.
        betas: inverse temperatures ``(temperatures + 1,)`` from 0 to 1.
        num_chains: throw-away chains for each row.
        num_leapfrog: steps of a trajectory.
        tick: called after each temperature.

    Returns:
        ``(temperatures, rows)``.
    """
    state = path.draw(num_chains)
    log_step = torch.full_like(state.base[0], math.log(_FIRST_STEP_SIZE))
    # Find the size at the first temperature before following it.
    first = [betas[1].item()] * (len(betas) // 5)
    sizes = []
    for beta in first + betas[1:].tolist():
        state, probability = transition(path, state, beta, log_step.exp(), num_leapfrog)
        log_step = log_step + _ADAPTATION_RATE * (probability.mean(0) - _TARGET_ACCEPTANCE)
        sizes.append(log_step)
        tick()
    table = torch.stack(sizes[len(first) :]).T[:, None]
    margin = min(_SMOOTHING, len(betas) - 1) // 2
    padded = torch.nn.functional.pad(table, (margin, margin), mode="replicate")
    return torch.nn.functional.avg_pool1d(padded, 2 * margin + 1, stride=1)[:, 0].T.exp()


def temperatures(num_temperatures: int, schedule: TemperatureSchedule) -> Tensor:
    r"""Inverse temperatures from 0 to 1, ``(num_temperatures + 1,)`` in float64.

    ``"linear"`` has equal steps; ``"sigmoid"`` takes :math:`\sigma(-4) \dots \sigma(4)`, moved and scaled to end at 0
    and 1, which goes slowly at both ends (Wu, Burda, Salakhutdinov and Grosse, 2017).
    """
    fractions = torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64)
    if schedule == "linear":
        return fractions
    curve = torch.sigmoid(8 * fractions - 4)
    return (curve - curve[0]) / (curve[-1] - curve[0])


def _or_nothing(log_density: Tensor) -> Tensor:
    return torch.where(log_density < torch.inf, log_density, -torch.inf)
