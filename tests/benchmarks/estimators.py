"""How much gradient estimators of the ELBO vary, on a small VAE of digits: the table of docs/objectives.md.

Run it with ``python tests/benchmarks/estimators.py``; it takes half a minute on one core.
"""

import torch

from pyrovae import VAE, compare_gradients, fit_svi, likelihoods, load_data, networks, posteriors, priors


def main() -> None:
    data = load_data("digits", binarize="dynamic")
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(10),
        likelihoods.Bernoulli(networks.MLP(10, data.data_shape)),
        posteriors.DiagonalNormal(networks.MLP(data.data_shape, 2 * 10)),
    )
    fit_svi(vae.model, vae.guide, data.train, train_transform=data.train_transform, epochs=20, progress=False)
    print(compare_gradients(vae.model, vae.guide, data.test[:64], num_repeats=200).summary())


if __name__ == "__main__":
    main()
