"""The exact posterior of a few rows by NUTS, beside the guide's."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.infer.mcmc import NUTS
from torch import Tensor

from pyrovae.distributions.arguments import is_whole_number
from pyrovae.evaluation.arviz_interface import convergence, make_arviz
from pyrovae.evaluation.hamiltonian import Path
from pyrovae.evaluation.latent_space import LatentSpace
from pyrovae.evaluation.opening import open_sampler
from pyrovae.evaluation.rows_after_draws import name_of_rows, rows_after_draws
from pyrovae.programs import Latents, Program, Sampler, check_positive, check_rows
from pyrovae.progress import Progress

# NUTS doubles its trajectories until they turn: seven gradients are a short one.
_GRADIENTS_PER_DRAW = 7


def posterior_samples(
    model: Program,
    guide: Program,
    x: Tensor,
    *,
    rows: Sequence[int] | None = None,
    num_draws: int = 500,
    warm_up: int = 500,
    num_chains: int = 2,
    seed: int = 0,
    progress: bool = False,
) -> Any:
    r"""Draws from p(z|x) of chosen rows by Pyro's NUTS, beside as many from the guide, as an ArviZ object.

    Each row is a run of its own, with chains that start from draws of the guide and move in the unconstrained space
    of the latents (Hoffman and Gelman, 2014). It takes seconds for each row: choose few. Numbers of a latent that a
    mask leaves out are drawn from their prior, which is their posterior too.

    Of the result, ``result["posterior"]["z"]`` holds NUTS's draws of a latent ``z``, ``result["guide"]["z"]`` the
    guide's, both ``(chain, draw, row, *plates, *event)``; ``result["r_hat"]["z"]`` and ``result["ess"]["z"]`` NUTS's
    split R-hat and bulk effective sample size ``(row, *plates, *event)`` (Vehtari et al., 2021), which should be below
    1.01 and above 400; ``result["sample_stats"]["diverging"]`` its divergent transitions ``(chain, draw, row)``; and
    ``result["observed_data"]["x"]`` the rows. ``arviz.summary(result)`` tabulates all but the guide. Of ArviZ's plots
    those that mark divergent transitions of pairs of numbers take one row, ``result.sel(row=4)``.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters.
        rows: which of them, by index, which are also their labels in the result; None takes all.
        num_draws: draws of each chain, after the warm-up.
        warm_up: draws of each chain to adapt step size and mass matrix, thrown away.
        num_chains: chains for each row, one after the other; R-hat needs two or more to see a chain that is stuck.
        seed: of the draws.
        progress: show a progress bar.

    Returns:
        ``InferenceData`` from ArviZ 0.23, ``DataTree`` from ArviZ 1.

    Raises:
        ValueError: numbers out of range, no rows, NaN in the data, a pair that breaks the contract of
            ``check_pair``, a discrete latent, a latent with the name of a dimension, such as ``row``, or, under
            ArviZ 1, with a slash in its name.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, networks, posterior_samples, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> result = posterior_samples(vae.model, vae.guide, torch.randn(9, 5), rows=[4], num_draws=10, warm_up=5)
        >>> result["posterior"]["z"].shape, result["guide"]["z"].shape, result["r_hat"]["z"].shape
        ((2, 10, 1, 2), (2, 10, 1, 2), (1, 2))
    """
    check_positive(num_draws=num_draws, warm_up=warm_up, num_chains=num_chains)
    check_rows(x, "x")
    labels = _row_labels(rows, len(x))
    exact, approximate, diverging = [], [], []
    with (
        open_sampler(model, guide, x, seed=seed) as sampler,
        pyro.validation_enabled(False),
        Progress("sampling", len(labels) * num_chains * (warm_up + num_draws), "step", shown=progress) as bar,
    ):
        data = name_of_rows(sampler.structure)
        for label in labels:
            row = x[label : label + 1]
            space = LatentSpace(sampler, row, guide_too=False)
            gradients = num_chains * (warm_up + num_draws) * _GRADIENTS_PER_DRAW
            path = Path(sampler, space, row, "prior", gradients)
            chains = []
            for _ in range(num_chains):
                draws, divergent = _run_chain(path, num_draws, warm_up, bar)
                chains.append(space.latents(draws)[0])
                diverging.append(divergent)
            exact.append(_stack(sampler, chains))
            approximate.append(_stack(sampler, [sampler.draw(row, num_draws)[0] for _ in range(num_chains)]))
    posterior = {name: torch.cat([part[name] for part in exact], dim=2).cpu().numpy() for name in exact[0]}
    of_guide = {name: torch.cat([part[name] for part in approximate], dim=2).cpu().numpy() for name in posterior}
    statistics = {name: convergence(draws) for name, draws in posterior.items()}
    shape = (len(labels), num_chains, num_draws)
    dims = {name: ["row", *(f"{name}_dim_{k}" for k in range(draws.ndim - 3))] for name, draws in posterior.items()}
    return make_arviz(
        {
            "posterior": posterior,
            "guide": of_guide,
            "r_hat": {name: r_hat for name, (r_hat, _) in statistics.items()},
            "ess": {name: ess for name, (_, ess) in statistics.items()},
            "sample_stats": {"diverging": torch.stack(diverging).reshape(shape).permute(1, 2, 0).numpy()},
            "observed_data": {data: x[labels].detach().cpu().numpy()},
        },
        dims | {"sample_stats.diverging": ["row"], data: ["row", *(f"{data}_dim_{k}" for k in range(x.dim() - 1))]},
        {"row": labels},
    )


def _row_labels(rows: Sequence[int] | None, count: int) -> list[int]:
    indices = torch.arange(count) if rows is None else torch.as_tensor(rows)
    labels = indices.tolist()
    # The truth values of a mask are no indices, and neither are numbers that would be rounded.
    if indices.dim() != 1 or not labels or any(not is_whole_number(n) or not 0 <= n < count for n in labels):
        raise ValueError(f"rows is {rows!r}; expected one or more indices from 0 to {count - 1}")
    return labels


def _run_chain(path: Path, num_draws: int, warm_up: int, bar: Progress) -> tuple[Tensor, Tensor]:
    """Vectors ``(draws, 1, numbers)`` of one chain, and which transitions diverged ``(draws,)``."""

    def potential(values: dict[str, Tensor]) -> Tensor:
        with torch.enable_grad():
            return _Potential.apply(values["u"], path)

    kernel = NUTS(potential_fn=potential)
    kernel.initial_params = {"u": path.space.vectors(path.sampler.draw(path.rows, 1)[0])[0, 0]}
    kernel.setup(warm_up)
    values, draws = kernel.initial_params, []
    for step in range(warm_up + num_draws):
        values = kernel.sample(values)
        bar.advance()
        if step >= warm_up:
            draws.append(values["u"])
    diverging = torch.zeros(num_draws, dtype=torch.bool)
    diverging[kernel.diagnostics()["divergences"]] = True
    return torch.stack(draws).detach()[:, None], diverging


class _Potential(torch.autograd.Function):
    """The negative log posterior of one vector, whose gradient is known with it."""

    @staticmethod
    def forward(context: Any, vector: Tensor, path: Path) -> Tensor:
        state, gradient = path.with_gradient(vector[None, None], 1.0)
        context.save_for_backward(gradient[0, 0])
        energy = -state.log_density(1.0)[0, 0]
        return energy if bool(vector.isfinite().all()) else torch.full_like(energy, torch.inf)

    @staticmethod
    def backward(context: Any, *of_potential: Tensor) -> tuple[Tensor, None]:
        (gradient,) = context.saved_tensors
        return -of_potential[0] * gradient, None


def _stack(sampler: Sampler, chains: list[Latents]) -> Latents:
    """Latents of one row by chain ``(chain, draw, row, *plates, *event)``."""
    arranged = [rows_after_draws(chain, sampler.structure) for chain in chains]
    return {name: torch.stack([chain[name] for chain in arranged]) for name in arranged[0]}
