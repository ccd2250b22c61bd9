"""A fit of few epochs without a bar."""

from pyrovae import fit_svi


def fit(vae, x, **options):
    options = {"epochs": 2, "batch_size": 20, "progress": False} | options
    return fit_svi(vae.model, vae.guide, x, **options)
