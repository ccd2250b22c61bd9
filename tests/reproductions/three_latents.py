"""Log p(x) of a VAE with three latents by quadrature, importance draws and annealing.

Figure 3 of Kingma and Welling (2014) has Hamiltonian draws in the place of the exact value, which a grid gives. The
encoder of so small a VAE misses the posterior of some rows by far, so that draws from a mixture of it and the prior
(Hesterberg, 1995) stand beside its own.

    python tests/reproductions/three_latents.py
"""

import math
import time
from functools import partial

import pyro
import pyro.distributions as dist
import torch
from reproducing import Rows, error_of_rows, fit, hours, one_layer_vae, options, published, write
from torch import Tensor

from pyrovae import VAE, ais, compare_bounds

LATENT_DIM, EPOCHS = 3, 100
HALF_WIDTH = 6.0
GRID_AT_ONCE = 40_000


@torch.no_grad()
def exact_log_px(vae: VAE, x: Tensor, spacing: float) -> Tensor:
    """By the trapezoidal rule on a cube, which errs by some exp(-2 pi^2 s^2 / spacing^2) for a posterior of scale s."""
    axis = torch.arange(-HALF_WIDTH, HALF_WIDTH + spacing / 2, spacing)
    rows, total = x.flatten(1), torch.full((len(x),), -math.inf, dtype=torch.float64)
    plane = torch.cartesian_prod(axis, axis)
    for first in axis:
        for part in plane.split(GRID_AT_ONCE):
            z = torch.cat([first.expand(len(part), 1), part], dim=1)
            logits = vae.likelihood.decoder(z).flatten(1)
            log_joint = rows @ logits.T - torch.nn.functional.softplus(logits).sum(1) + vae.prior().log_prob(z)
            total = torch.logaddexp(total, log_joint.double().logsumexp(1))
    return total + LATENT_DIM * math.log(spacing)


def mixture_guide(vae: VAE, x: Tensor) -> None:
    """Half of the draws from q(z|x), half from the standard normal prior, wherever the posterior may be."""
    with pyro.plate("data", len(x), dim=-1):
        q = vae.posterior(x).base_dist
        loc = torch.stack([q.loc, torch.zeros_like(q.loc)], dim=-2)
        scale = torch.stack([q.scale, torch.ones_like(q.scale)], dim=-2)
        halves = dist.Categorical(logits=torch.zeros(loc.shape[:-1]))
        pyro.sample("z", dist.MixtureSameFamily(halves, dist.Normal(loc, scale).to_event(1)))


def main() -> None:
    """Fit, compare with the grid, and write the result."""
    parser = options(__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--num-samples", type=int, default=20_000, help="importance draws of each test row")
    parser.add_argument("--spacing", type=float, default=0.05, help="of the grid, and half of that of the check")
    parser.add_argument("--mixture-samples", type=int, default=500_000, help="those from the mixture")
    parser.add_argument("--num-temperatures", type=int, default=500)
    parser.add_argument("--num-chains", type=int, default=64)
    parser.set_defaults(test_rows=100)
    given = parser.parse_args()
    name = f"three_latents_{given.epochs}_epochs_seed_{given.seed}"
    rows = Rows.load("mnist", given.data_root, "static", given.seed)
    torch.manual_seed(given.seed)
    vae = one_layer_vae(tuple(rows.train.shape[1:]), rows.train, LATENT_DIM, "tanh", hidden_dims=(100,))
    result = fit(
        vae, rows, given.work_dir / name, epochs=given.epochs, seed=given.seed, batch_size=100, lr=1e-3, optimizer=None
    )
    start, x = time.monotonic(), rows.test[: given.test_rows]
    exact, coarser = exact_log_px(vae, x, given.spacing), exact_log_px(vae, x, 2 * given.spacing)
    draws = partial(compare_bounds, vae.model, x=x, seed=given.seed, progress=True)
    bounds = draws(vae.guide, num_samples=given.num_samples)
    mixture = draws(partial(mixture_guide, vae), num_samples=given.mixture_samples)
    annealed = ais(
        vae.model,
        vae.guide,
        x,
        num_temperatures=given.num_temperatures,
        num_chains=given.num_chains,
        seed=given.seed,
        progress=True,
    )
    trusted = bounds.reliable
    differences = {
        "annealing from the prior": annealed.log_px - exact,
        f"{given.mixture_samples:,} draws from the mixture": mixture.log_px - exact,
        f"{given.num_samples:,} draws from q, rows with k-hat in its limit": (bounds.log_px - exact)[trusted],
        f"{given.num_samples:,} draws from q, other rows": (bounds.log_px - exact)[~trusted],
    }
    write(
        given.results / f"{name}.json",
        row="marginal likelihood with three latents, static binarisation",
        protocol=f"784-100-3 tanh; a grid on [-6, 6]^3 with steps of {given.spacing:g}, and twice that as the check",
        published=published(("Kingma and Welling (2014), figure 3", "replaced by the exact value")),
        ours={
            "negative log p(x), exact": [-exact.mean().item(), error_of_rows(exact)],
            "largest difference between the two grids": (exact - coarser).abs().max().item(),
            **{
                f"{by}: mean difference to the exact value": [value.mean().item(), error_of_rows(value)]
                for by, value in differences.items()
                if len(value)
            },
            **{
                f"{by}: largest difference of a row": value.abs().max().item()
                for by, value in differences.items()
                if len(value)
            },
            "rows": len(x),
            "rows whose k-hat is above its limit": int((~trusted).sum()),
            "temperatures": given.num_temperatures,
            "chains": given.num_chains,
        },
        epochs=given.epochs,
        epochs_of_the_protocol=EPOCHS,
        seed=given.seed,
        hours=hours(result.history, time.monotonic() - start),
    )


if __name__ == "__main__":
    main()
