"""A VampPrior against a standard normal, one layer of 40 latents, static bits, after Tomczak and Welling (2018).

python tests/reproductions/vamp_prior.py --prior VampPrior --epochs 100
"""

import time

import torch
from reproducing import Rows, fit, hours, one_layer_vae, options, published, scores, write

from pyrovae import compare_bounds, networks, posteriors, priors
from pyrovae.objectives import Linear

LATENT_DIM, PSEUDO_INPUTS, EPOCHS, WARM_UP_EPOCHS = 40, 500, 2000, 100
PUBLISHED = {"StandardNormal": ("second-hand", 88.56), "VampPrior": ("Tomczak and Welling (2018)", 85.57)}


def main() -> None:
    """Fit, score, and write the result."""
    parser = options(__doc__)
    parser.add_argument("--prior", choices=tuple(PUBLISHED), default="VampPrior")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of at most 2,000, where the authors stop early")
    parser.add_argument("--num-samples", type=int, default=5000, help="importance draws of each test row")
    given = parser.parse_args()
    name = f"{given.prior.lower()}_{given.epochs}_epochs_seed_{given.seed}"

    rows = Rows.load("mnist", given.data_root, "static", given.seed)
    shape = tuple(rows.train.shape[1:])
    torch.manual_seed(given.seed)
    posterior = posteriors.DiagonalNormal(networks.MLP(shape, 2 * LATENT_DIM, hidden_dims=(300, 300)))
    prior = (
        priors.StandardNormal(LATENT_DIM)
        if given.prior == "StandardNormal"
        else priors.VampPrior(posterior, shape, num_pseudo_inputs=PSEUDO_INPUTS)
    )
    vae = one_layer_vae(shape, rows.train, LATENT_DIM, "relu", hidden_dims=(300, 300), prior=prior, posterior=posterior)
    result = fit(
        vae,
        rows,
        given.work_dir / name,
        epochs=given.epochs,
        seed=given.seed,
        batch_size=100,
        lr=5e-4,
        optimizer=None,
        objective="TraceMeanField_ELBO",
        beta=Linear(0, 1, min(0.5, WARM_UP_EPOCHS / given.epochs)),
    )
    start = time.monotonic()
    test = rows.test[: given.test_rows]
    bounds = compare_bounds(vae.model, vae.guide, test, num_samples=given.num_samples, seed=given.seed, progress=True)
    write(
        given.results / f"{name}.json",
        row=f"{given.prior}, one layer of {LATENT_DIM} latents, static binarisation",
        protocol="784-300-300-40 relu where the authors have gated layers, batches of 100, Adam 5e-4, KL warm-up of "
        "100 epochs or half of a shorter run, 500 pseudo-inputs",
        published=published(PUBLISHED[given.prior]),
        ours=scores(bounds),
        epochs=given.epochs,
        epochs_of_the_protocol=EPOCHS,
        seed=given.seed,
        hours=hours(result.history, time.monotonic() - start),
    )


if __name__ == "__main__":
    main()
