"""Annealed importance sampling in hand-written PyTorch: from the prior, with Hamiltonian transitions."""

from typing import NamedTuple

import torch
from sides.plain import Networks, log_likelihood, rows
from torch import Tensor, nn


class Path(NamedTuple):
    """How to anneal, by the names of ``ais``."""

    num_temperatures: int
    warm_up: int
    num_leapfrog: int


# What is timed, and what is compared draw by draw: so few gradients are not recorded, and can be counted.
LONG, SHORT = Path(200, 40, 10), Path(20, 6, 5)
CHAINS, ROWS = 16, 64
TARGET_ACCEPTANCE, RATE, FIRST_STEP_SIZE, JITTER = 0.65, 0.3, 0.3, 0.2


def anneal(clock, data: str) -> None:
    """Estimates of log p(x), one call after another."""
    networks, x = Networks(), rows(data)[:ROWS]
    clock.tick(0)
    while True:
        log_weights(networks.decoder, x, LONG)
        clock.tick()


def log_weights(decoder: nn.Module, x: Tensor, path: Path) -> Tensor:
    """``(chains, rows)``, after throw-away chains that set the step sizes."""
    num_temperatures, warm_up_steps, num_leapfrog = path
    curve = torch.linspace(-4, 4, warm_up_steps + 1).sigmoid()
    warm_up = ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()[1:]
    state, log_step, sizes = draw(decoder, x), torch.full((len(x),), FIRST_STEP_SIZE).log(), []
    for beta in warm_up[:1] * ((warm_up_steps + 1) // 5) + warm_up:
        state, probability = transition(decoder, x, *state, beta, log_step.exp(), num_leapfrog)
        log_step = log_step + RATE * (probability.mean(0) - TARGET_ACCEPTANCE)
        sizes.append(log_step.exp())
    sizes = sizes[-warm_up_steps:]
    curve = torch.linspace(-4, 4, num_temperatures + 1).sigmoid()
    betas = ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()
    state = draw(decoder, x)
    weights = torch.zeros(CHAINS, len(x))
    for t in range(num_temperatures):
        weights += (betas[t + 1] - betas[t]) * state[1]
        if t + 1 < num_temperatures:
            size = sizes[min(warm_up_steps, max(1, round((t + 1) / num_temperatures * warm_up_steps))) - 1]
            state, _ = transition(decoder, x, *state, betas[t + 1], size, num_leapfrog)
    return weights


def draw(decoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Latents from the prior, and log p(x|z)."""
    z = torch.randn(CHAINS, len(x), decoder[0].in_features)
    with torch.no_grad():
        return z, log_likelihood(decoder(z), x)


def with_gradient(decoder: nn.Module, x: Tensor, z: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Log p(x|z), and the gradient of log p(z) + beta log p(x|z)."""
    z = z.detach().requires_grad_()
    value = log_likelihood(decoder(z), x)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), beta * gradient - z.detach()


def transition(
    decoder: nn.Module, x: Tensor, z: Tensor, value: Tensor, beta: float, size: Tensor, num_leapfrog: int
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """One Hamiltonian transition: the new latents with their log p(x|z), and the probability of acceptance."""
    step = (size * (1 + JITTER * (2 * torch.rand_like(value) - 1)))[..., None]
    momentum = torch.randn_like(z)
    before = beta * value - 0.5 * (z.square() + momentum.square()).sum(-1)
    new, (_, gradient) = z, with_gradient(decoder, x, z, beta)
    for _ in range(num_leapfrog):
        momentum = momentum + 0.5 * step * gradient
        new = new + step * momentum
        new_value, gradient = with_gradient(decoder, x, new, beta)
        momentum = momentum + 0.5 * step * gradient
    after = beta * new_value - 0.5 * (new.square() + momentum.square()).sum(-1)
    probability = (after - before).clamp(max=0).exp()
    accepted = torch.rand_like(probability) < probability
    return (torch.where(accepted[..., None], new, z), torch.where(accepted, new_value, value)), probability
