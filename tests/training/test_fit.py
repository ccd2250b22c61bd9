"""``fit_svi``: terms, gradients, seeds, the best epoch, modes."""

import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import bits, make_samplers, small_vae
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from short_fits import fit
from torch import nn

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.objectives import Linear, as_objective
from pyrovae.objectives import TraceMeanField_ELBO as MeanField
from pyrovae.training import FitResult
from pyrovae.training.result import still_improving


def drawn_z(vae, x, seed):
    pyro.set_rng_seed(seed)
    return vae.encode(x).rsample()


@pytest.mark.parametrize("objective", ["TraceMeanField_ELBO", "Trace_ELBO"])
def test_terms_and_gradients_are_those_of_plain_torch(objective):
    vae, x = small_vae().double(), bits(7).double()
    sampler = make_samplers(vae.model, vae.guide, x)["vectorized"]
    pyro.set_rng_seed(3)
    terms = as_objective(objective).terms(sampler, x, 1.0)
    terms.loss.backward()
    ours = [p.grad.clone() for p in vae.parameters()]

    vae.zero_grad()
    z = drawn_z(vae, x, 3)
    q = vae.encode(x).base_dist
    reconstruction = -nn.functional.binary_cross_entropy_with_logits(vae.likelihood.decoder(z), x, reduction="sum")
    if objective == "TraceMeanField_ELBO":
        kl = 0.5 * (q.loc**2 + q.scale**2 - 1 - 2 * q.scale.log()).sum()
    else:
        kl = (q.log_prob(z) + 0.5 * z**2 + 0.5 * math.log(2 * math.pi)).sum()
    (kl - reconstruction).backward()
    torch.testing.assert_close(terms.reconstruction, reconstruction.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(terms.kl, kl.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(terms.elbo, (reconstruction - kl).detach(), rtol=1e-12, atol=0)
    for mine, parameter in zip(ours, vae.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-9, atol=1e-10)


def test_particles_are_averaged():
    vae, x = small_vae().double(), bits(7).double()
    samplers = make_samplers(vae.model, vae.guide, x)
    objective = as_objective("TraceMeanField_ELBO", num_particles=3)
    pyro.set_rng_seed(3)
    one_by_one = objective.terms(samplers["repeated"], x, 1.0)
    pyro.set_rng_seed(3)
    draws = [vae.decode(vae.encode(x).rsample()).log_prob(x).sum() for _ in range(3)]
    torch.testing.assert_close(one_by_one.reconstruction, torch.stack(draws).mean().detach())
    pyro.set_rng_seed(3)
    at_once = objective.terms(samplers["vectorized"], x, 1.0)
    pyro.set_rng_seed(3)
    draws = vae.decode(vae.encode(x).rsample((3,))).log_prob(x).mean(0).sum()
    torch.testing.assert_close(at_once.reconstruction, draws.detach())


def test_history_holds_the_terms_of_every_epoch():
    vae = small_vae()
    result = fit(vae, bits(50), validation=bits(10, seed=1), epochs=3)
    assert [terms["epoch"] for terms in result.history] == [1, 2, 3]
    for terms in result.history:
        for split in ("train", "validation"):
            assert terms[f"{split}_elbo"] == pytest.approx(terms[f"{split}_reconstruction"] - terms[f"{split}_kl"])
            assert -200 < terms[f"{split}_elbo"] < 0
            assert terms[f"{split}_kl"] >= 0
    without = fit(small_vae(), bits(50))
    assert not any(name.startswith("validation") for name in without.history[0])
    assert without.best_epoch == 2


def test_means_over_rows_are_not_means_of_batch_means():
    """Two kinds of rows in batches of 20 and 5; with a tiny step the model stands still."""
    x = torch.cat([torch.zeros(20, 1, 8, 8), torch.ones(5, 1, 8, 8)])
    vae = small_vae()
    with torch.no_grad():
        vae.likelihood.decoder.layers[-1].bias.fill_(-1.0)
    result = fit(vae, x, validation=x, epochs=1, lr=1e-12)
    exact = compare_bounds(vae.model, vae.guide, x, num_samples=4000)
    error = 5 * exact.elbo_standard_error.norm() * 4000**0.5 / 25
    for split in ("train", "validation"):
        assert abs(result.history[0][f"{split}_elbo"] - exact.elbo.mean()) < error
    # The mean of the two batch means would be off by more.
    assert abs(0.5 * (exact.elbo[:20].mean() + exact.elbo[20:].mean()) - exact.elbo.mean()) > error


def test_same_seed_same_fit_and_the_callers_generator_stays():
    x = bits(50)
    first, second, third = small_vae(), None, None
    second, third = copy.deepcopy(first), copy.deepcopy(first)
    state = torch.get_rng_state()
    a = fit(first, x, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    b = fit(second, x, seed=5)
    fit(third, x, seed=6)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert [t["train_elbo"] for t in a.history] == [t["train_elbo"] for t in b.history]
    assert not torch.equal(first.likelihood.decoder.layers[0].weight, third.likelihood.decoder.layers[0].weight)


def test_best_weights_are_kept_and_training_stops():
    x, validation = bits(30), bits(30, seed=1)  # noise: the fit learns the rows by heart
    vae = VAE(
        priors.StandardNormal(8),
        likelihoods.Bernoulli(networks.MLP(8, (1, 8, 8), (200,))),
        posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 16, (200,))),
    )
    result = fit(vae, x, validation=validation, epochs=400, lr=3e-3, patience=5)
    scores = [terms["validation_elbo"] for terms in result.history]
    assert result.stopped_early
    assert len(scores) == result.best_epoch + 5 < 400
    assert scores[result.best_epoch - 1] == max(scores)
    # The model as it stands has the best epoch's score, not the last one's.
    again = fit(vae, x, validation=validation, epochs=1, lr=1e-12)
    assert again.history[0]["validation_elbo"] == pytest.approx(max(scores), abs=1e-3)
    assert scores[-1] < max(scores) - 1e-3
    assert fit(vae, x, validation=validation, epochs=8, lr=3e-3, patience=None).stopped_early is False


def test_training_modes_are_put_back_and_used():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(self.training)
            return x

    vae = small_vae()
    vae.posterior.encoder = nn.Sequential(Spy(), vae.posterior.encoder)
    vae.eval()
    fit(vae, bits(20), validation=bits(20), epochs=1)
    assert not vae.training
    assert True in seen
    assert seen[0] is False
    assert seen[-1] is False


def test_train_transform_sees_every_batch():
    grey = torch.rand(40, 1, 8, 8)
    batches = []

    def transform(x):
        batches.append(x)
        return torch.bernoulli(x)

    with pytest.raises(ValueError, match="Bernoulli at site 'x' is no density"):
        fit(small_vae(), grey)
    fit(small_vae(), grey, train_transform=transform, epochs=3)
    assert sum(len(batch) == 20 for batch in batches) == 6


def test_discrete_latents_train_by_the_score_function_only():
    probs = nn.Parameter(torch.zeros(3))
    locs = torch.tensor([-5.0, 0.0, 5.0])

    class Discrete(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = probs

        def model(self, x):
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Categorical(torch.ones(3)))
                pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("k", dist.Categorical(logits=self.logits))

    pair, x = Discrete(), torch.full((20,), 5.0)
    with pytest.raises(ValueError, match="use objective='Trace_ELBO'"):
        fit(pair, x)
    fit(pair, x, objective="Trace_ELBO", epochs=200, lr=0.1)
    assert probs.softmax(0)[2] > 0.95


def test_elbo_objects_of_pyro_are_taken_and_left_alone():
    elbo = Trace_ELBO(num_particles=2)
    assert fit(small_vae(), bits(20), objective=elbo).best_epoch == 2
    assert vars(elbo) == vars(Trace_ELBO(num_particles=2))
    taken = as_objective(TraceMeanField_ELBO(num_particles=3), beta=2.0)
    assert (taken.name, taken.num_particles, taken.beta) == ("TraceMeanField_ELBO", 3, 2.0)


def test_the_result_says_how_the_kl_was_found():
    x = torch.randn(20, 3)
    for prior, objective, form in (
        (priors.StandardNormal(2), "TraceMeanField_ELBO", "analytic"),
        (priors.StandardNormal(2), "Trace_ELBO", "Monte Carlo"),
        (priors.GaussianMixture(2), "TraceMeanField_ELBO", "Monte Carlo"),
    ):
        vae = VAE(prior, likelihoods.Normal(networks.MLP(2, 3, ())), posteriors.DiagonalNormal(networks.MLP(3, 4, ())))
        result = fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=10, objective=objective, progress=False)
        assert result.kl_forms == {"z": form}


@pytest.mark.parametrize(
    ("best_epoch", "epochs", "settled", "expected"),
    [(100, 100, 0.0, True), (91, 100, 0.0, True), (90, 100, 0.0, False), (2, 2, 0.0, True), (100, 100, 1.0, False)],
)
def test_still_improving_means_that_the_best_epoch_is_among_the_last_tenth(best_epoch, epochs, settled, expected):
    objective = MeanField(beta=Linear(0, 1, settled) if settled else 1.0)
    result = FitResult([], best_epoch, False, {}, {})
    assert still_improving(result, epochs, objective) is expected
