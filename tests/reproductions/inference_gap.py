"""The gap between log p(x) and the ELBO in two halves, after Cremer, Li and Duvenaud (2018), with annealing as check.

Their protocol is that of the code they published, github.com/lxuechen/inference-suboptimality: ELU, batches of 100,
Fashion-MNIST thresholded, the gap of training rows. With ``--protocol burda`` the fit is that of ``iwae.py`` with
K = 1, taken from its checkpoint where it is done, and the gap that of test rows; annealing and the bound of 5,000 draws
are then also the comparison of Wu, Burda, Salakhutdinov and Grosse (2017).

    python tests/reproductions/inference_gap.py --data fashion-mnist --fraction 0.1
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

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
from pyrovae.networks.activations import Activation

LATENT_DIM = 50


@dataclass(frozen=True)
class Protocol:
    """How the VAE is fitted, and of which rows the gap is split."""

    activation: Activation
    batch_size: int
    binarize: Mapping[str, str]
    of_training_rows: bool
    said: str


PROTOCOLS = {
    "cremer": Protocol(
        "elu",
        100,
        {"mnist": "static", "fashion-mnist": "threshold"},
        True,
        "784-200-200-50 ELU, batches of 100, otherwise the fit of IWAE with K = 1; training rows",
    ),
    "burda": Protocol(
        "tanh",
        20,
        {"mnist": "dynamic", "fashion-mnist": "dynamic"},
        False,
        "the fit of IWAE with K = 1; test rows",
    ),
}
CREMER, WU = "second-hand, Cremer et al. (2018)", "second-hand, Wu et al. (2017)"
PUBLISHED = {
    ("cremer", "mnist", "DiagonalNormal"): (CREMER, "2.77 = 1.43 approximation + 1.34 amortisation"),
    ("cremer", "fashion-mnist", "DiagonalNormal"): (CREMER, "7.28 = 3.06 approximation + 4.22 amortisation"),
    ("burda", "mnist", "DiagonalNormal"): (WU, "annealing 85.68, bound 86.90, on one model"),
}


def main() -> None:
    """Fit, split the gap, anneal, and write the result."""
    parser = options(__doc__)
    parser.add_argument("--data", choices=("mnist", "fashion-mnist"), default="mnist")
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), default="cremer")
    parser.add_argument("--posterior", choices=("DiagonalNormal", "Flow"), default="DiagonalNormal")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the 3,280 epochs")
    parser.add_argument("--num-samples", type=int, default=5000, help="importance draws of each test row")
    parser.add_argument("--num-temperatures", type=int, default=500)
    parser.add_argument("--num-chains", type=int, default=8)
    parser.set_defaults(test_rows=1000)
    given = parser.parse_args()
    protocol = PROTOCOLS[given.protocol]
    figure = given.protocol, given.data, given.posterior
    run = f"of_{given.fraction:g}_seed_{given.seed}"
    name = f"gap_{given.protocol}_{given.data}_{given.posterior.lower()}_{run}"
    fitted = f"iwae_dynamic_1_{run}" if figure == ("burda", "mnist", "DiagonalNormal") else name

    rows = Rows.load(given.data, given.data_root, protocol.binarize[given.data], given.seed)
    shape = tuple(rows.train.shape[1:])
    torch.manual_seed(given.seed)
    parts = {}
    if given.posterior == "Flow":
        encoder = networks.MLP(shape, 2 * LATENT_DIM, hidden_dims=(200, 200), activation=protocol.activation)
        parts["posterior"] = posteriors.Flow(LATENT_DIM, "DiagonalNormal", encoder, kind="coupling")
    vae = one_layer_vae(shape, rows.train, LATENT_DIM, protocol.activation, **parts)
    result = fit(
        vae,
        rows,
        given.work_dir / fitted,
        epochs=epochs_of(given.fraction),
        seed=given.seed,
        objective="IWAE",
        num_particles=1,
        batch_size=protocol.batch_size,
    )
    start = time.monotonic()
    x = (rows.train if protocol.of_training_rows else rows.test)[: given.test_rows]
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
        row=f"inference gap, {given.data}, {given.posterior}, {protocol.binarize[given.data]} binarisation, "
        + ("training rows" if protocol.of_training_rows else "test rows"),
        protocol=f"{protocol.said}; log p(x) of a row is the higher one of annealing and of importance draws "
        "from the guide and the best q of the row",
        published=published(*([PUBLISHED[figure]] if figure in PUBLISHED else [])),
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
        hours=hours(result.history, time.monotonic() - start),
    )


if __name__ == "__main__":
    main()
