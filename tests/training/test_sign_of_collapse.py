"""A posterior that collapses is said."""

import pytest
import torch
from problems import LinearGaussian
from torch import nn
from troubled_fits import Steady, fit

from pyrovae import VAE, likelihoods, networks, posteriors, priors
from pyrovae.objectives import Linear, TraceMeanField_ELBO


def collapsing_vae(latent_dim=4, posterior=posteriors.DiagonalNormal):
    """Nothing rewards its latents, so that the KL goes to zero in all of them."""
    return VAE(
        priors.StandardNormal(latent_dim),
        likelihoods.Normal(Steady((3,)), scale=1.0),
        posterior(networks.MLP(3, posterior.encoder_shape(latent_dim), ())),
    )


@pytest.mark.parametrize("with_validation", [True, False])
def test_collapse_is_said_once(with_validation, capsys):
    vae, x = collapsing_vae(), torch.randn(200, 3)
    result = fit(vae, x, validation=x if with_validation else None, epochs=40, lr=0.03)
    (sign,) = result.signs_of_trouble
    assert sign.startswith("Posterior collapse: the KL is below 0.01 nats in 4 of 4 latent dimensions after epoch ")
    fixed = "a learned scale of the likelihood Normal (scale='shared'; it is fixed at 1)"
    for repair in ("beta=Linear()", "free_bits=", "fewer dimensions", "weaker decoder", fixed):
        assert repair in sign
    assert "smaller beta" not in sign
    assert capsys.readouterr() == ("", "")


def test_collapse_waits_for_a_quarter_of_the_run_and_for_the_schedule():
    """Under beta = 0 and a pull of nothing the KL stays where it starts; collapse is a matter of the later weights."""
    vae, x = collapsing_vae(), torch.randn(200, 3)
    epochs = []
    for beta in (1.0, Linear(0, 1, 0.6)):
        sign = fit(vae, x, epochs=40, lr=0.03, objective=TraceMeanField_ELBO(beta=beta)).signs_of_trouble[-1]
        epochs.append(int(sign.split("after epoch ")[1].split(".")[0]))
    # Twice in a row: at a quarter and a half; and, from 0.6 on, at three quarters and the end.
    assert epochs == [20, 40]


def test_a_scale_that_is_learned_is_no_reason_for_collapse():
    vae = collapsing_vae()
    vae.likelihood = likelihoods.Normal(Steady((3,)))
    (sign,) = fit(vae, torch.randn(200, 3), epochs=40, lr=0.03).signs_of_trouble
    assert "Posterior collapse" in sign
    assert "scale" not in sign


def test_a_sharp_beta_is_named():
    x = torch.randn(200, 3)
    sign = fit(collapsing_vae(), x, epochs=40, lr=0.03, objective=TraceMeanField_ELBO(beta=4.0)).signs_of_trouble[0]
    assert "a smaller beta (it is 4)" in sign


def test_a_latent_that_does_not_factorise_counts_whole():
    x = torch.randn(200, 3)
    vae = collapsing_vae(posterior=posteriors.FullCovarianceNormal)
    (sign,) = fit(vae, x, epochs=60, lr=0.03).signs_of_trouble
    assert "in 1 of 1 latent sites and dimensions" in sign


def test_half_of_the_dimensions_unused_is_no_collapse():
    """The decoder reads two of four latents, and two is not more than half."""

    class ReadsTwo(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 6)

        def forward(self, z):
            return self.layer(z[..., :2])

    def signs(latent_dim):
        x = LinearGaussian.random(6, 2, seed=0).rows(300).float()
        vae = VAE(
            priors.StandardNormal(latent_dim),
            likelihoods.Normal(ReadsTwo(), scale=0.5),
            posteriors.DiagonalNormal(networks.MLP(6, 2 * latent_dim, ())),
        )
        return fit(vae, x, epochs=40, lr=0.03).signs_of_trouble

    assert signs(4) == ()
    (sign,) = signs(5)
    assert "in 3 of 5 latent dimensions" in sign


def test_collapse_is_taken_back_where_the_kept_weights_have_none(capsys):
    """The decoder begins to look at z late, so that two looks find no use of it and the last one does."""

    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(2, 6), 0

        def forward(self, z):
            self.calls += self.training
            return self.layer(z) if self.calls > 0.55 * 240 else self.layer(0 * z)

    x = LinearGaussian.random(6, 2, seed=0).rows(300).float()
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(Late(), scale=0.5),
        posteriors.DiagonalNormal(networks.MLP(6, 4, ())),
    )
    result = fit(vae, x, epochs=40, lr=0.03, progress=True)
    assert "in 2 of 2 latent dimensions after epoch 20" in capsys.readouterr().err
    assert result.signs_of_trouble == ()
