"""A linear VAE by SVI against the maximum of probabilistic PCA, after Lucas, Tucker, Grosse and Norouzi (2019).

python tests/reproductions/linear_vae.py
"""

import time

import torch
from reproducing import hours, options, published, write

from pyrovae import VAE, ProbabilisticPCA, compare_bounds, fit_svi, likelihoods, load_data, networks, posteriors, priors
from pyrovae.objectives import Cosine

LATENT_DIM, EPOCHS = 10, 100


def main() -> None:
    """Fit, compare with the closed form, and write the result."""
    parser = options(__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    name = f"linear_vae_{given.epochs}_epochs_seed_{given.seed}"
    x = load_data("mnist", root=given.data_root, binarize="none", seed=given.seed).train.flatten(1).double()
    exact = ProbabilisticPCA.maximum_likelihood(x, LATENT_DIM)
    size = x.shape[1]
    torch.manual_seed(given.seed)
    vae = VAE(
        priors.StandardNormal(LATENT_DIM),
        likelihoods.Normal(networks.MLP(LATENT_DIM, size, ()), scale="shared"),
        posteriors.DiagonalNormal(networks.MLP(size, 2 * LATENT_DIM, ())),
    ).double()
    vae.initialize(x)
    result = fit_svi(
        vae.model,
        vae.guide,
        x,
        epochs=given.epochs,
        batch_size=500,
        lr=Cosine(3e-3, 0, length=1),
        patience=None,
        seed=given.seed,
        checkpoints=given.work_dir / name,
        resume=True,
    )
    start = time.monotonic()
    layer, scale = vae.likelihood.decoder.layers[0], vae.likelihood.scale.item()
    fitted = ProbabilisticPCA(layer.weight.detach(), layer.bias.detach(), scale)
    elbo = compare_bounds(vae.model, vae.guide, x[: given.test_rows], num_samples=100, seed=given.seed).means()["elbo"]
    maximum = exact.log_prob(x).mean().item()
    write(
        given.results / f"{name}.json",
        row=f"linear VAE and probabilistic PCA, {LATENT_DIM} latents, grey MNIST",
        protocol="54,000 training rows in double precision, batches of 500, Adam from 3e-3 to 0 by half a cosine",
        published=published(("Lucas et al. (2019)", "equal at the optimum")),
        ours={
            "mean log p(x) of the training rows at the maximum": maximum,
            "the linear VAE below it, by its exact log p(x)": maximum - fitted.log_prob(x).mean().item(),
            "its ELBO below its exact log p(x), first rows": [
                (fitted.log_prob(x[: given.test_rows]).mean() - elbo[0]).item(),
                elbo[2],
            ],
            "scale, of the VAE and at the maximum": [scale, exact.scale],
        },
        epochs=given.epochs,
        epochs_of_the_protocol=EPOCHS,
        seed=given.seed,
        hours=hours(result.history, time.monotonic() - start),
    )


if __name__ == "__main__":
    main()
