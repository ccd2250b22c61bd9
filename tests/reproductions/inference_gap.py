"""The gap between log p(x) and the ELBO in two halves, after Cremer, Li and Duvenaud (2018), with annealing as check.

The fit is that of ``iwae.py`` with K = 1, and is taken from its checkpoint where it is done. Annealing and the bound of
5,000 draws are also the comparison of Wu, Burda, Salakhutdinov and Grosse (2017).

    python tests/reproductions/inference_gap.py --posterior Flow --fraction 0.1
"""

import time

import torch
from reproducing import (
    BURDA_EPOCHS,
    Rows,
    epochs_of,
    error_of_rows,
    fit,
    hours,
    one_layer_vae,
    options,
    published,
    write,
)

from pyrovae import ais, compare_bounds, inference_gap, networks, posteriors

LATENT_DIM = 50
PUBLISHED = {
    "mnist": ("second-hand, Cremer et al. (2018)", "2.77 = 1.43 approximation + 1.34 amortisation"),
    "fashion-mnist": ("second-hand, Cremer et al. (2018)", "7.28 = 3.06 approximation + 4.22 amortisation"),
}
WU = ("second-hand, Wu et al. (2017)", "annealing 85.68, bound 86.90, on one model")


def main() -> None:
    """Fit, split the gap, anneal, and write the result."""
    parser = options(__doc__)
    parser.add_argument("--data", choices=tuple(PUBLISHED), default="mnist")
    parser.add_argument("--posterior", choices=("DiagonalNormal", "Flow"), default="DiagonalNormal")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the 3,280 epochs")
    parser.add_argument("--num-samples", type=int, default=5000, help="importance draws of each test row")
    parser.add_argument("--num-temperatures", type=int, default=500)
    parser.add_argument("--num-chains", type=int, default=8)
    parser.set_defaults(test_rows=1000)
    given = parser.parse_args()
    plain = given.data == "mnist" and given.posterior == "DiagonalNormal"
    what = "iwae_dynamic_1" if plain else f"gap_{given.data}_{given.posterior.lower()}"
    fitted = f"{what}_of_{given.fraction:g}_seed_{given.seed}"
    name = f"gap_{given.data}_{given.posterior.lower()}_of_{given.fraction:g}_seed_{given.seed}"

    rows = Rows.load(given.data, given.data_root, "dynamic", given.seed)
    shape = tuple(rows.train.shape[1:])
    torch.manual_seed(given.seed)
    parts = {}
    if given.posterior == "Flow":
        encoder = networks.MLP(shape, 2 * LATENT_DIM, hidden_dims=(200, 200), activation="tanh")
        parts["posterior"] = posteriors.Flow(LATENT_DIM, "DiagonalNormal", encoder, kind="coupling")
    vae = one_layer_vae(shape, rows.train, LATENT_DIM, "tanh", **parts)
    result = fit(
        vae,
        rows,
        given.work_dir / fitted,
        epochs=epochs_of(given.fraction),
        seed=given.seed,
        objective="IWAE",
        num_particles=1,
    )
    start, x = time.monotonic(), rows.test[: given.test_rows]
    pair = vae.model, vae.guide
    bounds = compare_bounds(*pair, x, num_samples=given.num_samples, seed=given.seed, progress=True)
    gap = inference_gap(*pair, x, num_samples=given.num_samples, seed=given.seed, progress=True)
    annealed = ais(
        *pair,
        x,
        start="guide",
        num_temperatures=given.num_temperatures,
        num_chains=given.num_chains,
        seed=given.seed,
        progress=True,
    )
    # Both are too low where they fail: of each row the higher one is the better.
    best = torch.maximum(gap.log_px, annealed.log_px)
    elbo, best_elbo = gap.elbo, gap.best_elbo
    halves = {
        "gap": best - elbo,
        "approximation": best - best_elbo,
        "amortisation": best_elbo - elbo,
        "negative log p(x) by annealing from the guide": -annealed.log_px,
        f"negative bound of {given.num_samples} draws": -bounds.log_px,
        "negative estimate from as many draws of the guide and of the best q of each row": -gap.log_px,
        "annealing above the bound": annealed.log_px - bounds.log_px,
    }
    write(
        given.results / f"{name}.json",
        row=f"inference gap, {given.data}, {given.posterior}",
        protocol="the fit of IWAE with K = 1; log p(x) of a row is the higher one of annealing and of importance draws "
        "from the guide and the best q of the row",
        published=published(
            *([PUBLISHED[given.data]] if given.posterior == "DiagonalNormal" else []), *([WU] if plain else [])
        ),
        ours={
            **{said: [values.mean().item(), error_of_rows(values)] for said, values in halves.items()},
            "rows": len(x),
            "rows whose k-hat is above its limit": int((~bounds.reliable).sum()),
            "temperatures": given.num_temperatures,
            "chains": given.num_chains,
        },
        epochs=epochs_of(given.fraction),
        epochs_of_the_protocol=BURDA_EPOCHS,
        seed=given.seed,
        hours=hours(result, time.monotonic() - start),
    )


if __name__ == "__main__":
    main()
