import copy
import re

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import bits, small_vae
from pyro import poutine
from torch import nn

from pyrovae import VAE, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.evaluation import reconstruct_rows, sample_rows


def test_model_and_guide_are_the_programs_that_they_say():
    vae, x = small_vae(), bits(5)
    guide_trace = poutine.trace(vae.guide).get_trace(x)
    model_trace = poutine.trace(poutine.replay(vae.model, trace=guide_trace)).get_trace(x)
    for trace, names in ((guide_trace, {"z"}), (model_trace, {"z", "x"})):
        sites = {n: s for n, s in trace.nodes.items() if s["type"] == "sample" and n != "data"}
        assert set(sites) == names
        for site in sites.values():
            (frame,) = site["cond_indep_stack"]
            assert (frame.name, frame.dim, frame.size) == ("data", -1, 5)
    z = guide_trace.nodes["z"]["value"]
    guide_trace.compute_log_prob()
    model_trace.compute_log_prob()
    torch.testing.assert_close(guide_trace.nodes["z"]["log_prob"], vae.encode(x).log_prob(z))
    torch.testing.assert_close(model_trace.nodes["z"]["log_prob"], vae.prior().log_prob(z))
    torch.testing.assert_close(model_trace.nodes["x"]["log_prob"], vae.decode(z).log_prob(x))


def test_reconstruct():
    vae, x = small_vae(), bits(5)
    mean = torch.sigmoid(vae.likelihood.decoder(vae.encode(x).mean))
    torch.testing.assert_close(vae.reconstruct(x), mean)
    many = vae.reconstruct(x, num_samples=4000)
    assert many.shape == (4000, *x.shape)
    # Means over 4,000 draws, against the mean over other draws: 5 standard errors of a difference.
    other = vae.decode(vae.encode(x).sample((4000,))).mean
    error = ((many.var(0) + other.var(0)) / 4000).sqrt()
    assert ((many.mean(0) - other.mean(0)).abs() < 5 * error + 1e-6).all()
    assert not many.requires_grad


def test_sample():
    vae = small_vae()
    draws, means = vae.sample(20_000), vae.sample(20_000, mean=True)
    assert draws.shape == means.shape == (20_000, 1, 8, 8)
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert ((means > 0) & (means < 1)).all()
    # 64 pixels at 5 standard errors: a false alarm in about 1 of 25,000 seeds.
    error = ((draws.var(0) + means.var(0)) / 20_000).sqrt()
    assert ((draws.mean(0) - means.mean(0)).abs() < 5 * error).all()


def test_programs_leave_nothing_in_the_param_store():
    vae, x = small_vae(), bits(3)
    vae.model(x)
    vae.guide(x)
    assert not pyro.get_param_store().keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vae: vae.model(bits(3, (64,))), r"rows of shape \(64,\): build the decoder"),
        (lambda vae: vae.guide(bits(3, (64,))), "MLP got an input of shape"),
        (
            lambda vae: VAE(priors.StandardNormal(3), vae.likelihood, vae.posterior).guide(bits(3)),
            r"the posterior DiagonalNormal is over \(2,\), the prior StandardNormal over \(3,\): give",
        ),
        (
            lambda vae: VAE(priors.StandardNormal(3), vae.likelihood, vae.posterior).model(bits(3)),
            "MLP got an input of shape",
        ),
    ],
)
def test_parts_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(small_vae())


def test_a_forgotten_to_event_is_named():
    vae, x = small_vae(), bits(3)

    class Likelihood(torch.nn.Module):
        def forward(self, z):
            return pyro.distributions.Bernoulli(logits=vae.likelihood.decoder(z))

    class Posterior(torch.nn.Module):
        def forward(self, x):
            return pyro.distributions.Normal(vae.posterior.encoder(x)[..., :2], 1.0)

    with pytest.raises(ValueError, match=r"add .to_event\(3\) to the distribution$"):
        VAE(vae.prior, Likelihood(), vae.posterior).model(x)
    with pytest.raises(ValueError, match=r"add .to_event\(1\) to the distribution$"):
        VAE(vae.prior, vae.likelihood, Posterior()).guide(x)


def test_a_prior_without_to_event():
    class Independent(torch.nn.Module):
        def forward(self):
            return pyro.distributions.Normal(torch.zeros(2), 1.0)

    with pytest.raises(ValueError, match=r"batch shape \(2,\).*use .to_event\(1\)"):
        VAE(Independent(), likelihoods.Bernoulli(networks.MLP(2, 3)), posteriors.DiagonalNormal(networks.MLP(3, 4)))


def test_a_posterior_without_a_mean_is_reconstructed_by_draws():
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 3)),
        posteriors.Flow(2, encoder=networks.MLP(3, posteriors.Flow.encoder_shape(2))),
    )
    with pytest.raises(ValueError, match="Flow, has no mean in closed form: decode draws from it with num_samples"):
        vae.reconstruct(torch.zeros(4, 3))
    assert vae.reconstruct(torch.zeros(4, 3), num_samples=5).shape == (5, 4, 3)


def test_means_that_are_computed_once_and_kept_carry_no_gradient():
    likelihood = likelihoods.ZeroInflatedPoisson(networks.MLP(2, 3))
    vae = VAE(priors.StandardNormal(2), likelihood, posteriors.DiagonalNormal(networks.MLP(3, 4)))
    x = torch.ones(5, 3)
    assert not vae.reconstruct(x).requires_grad
    assert not vae.sample(4, mean=True).requires_grad
    assert not reconstruct_rows(vae.model, vae.guide, x).requires_grad
    assert not sample_rows(vae.model, vae.guide, x)[0].requires_grad


def test_distributions_of_torch_are_refused():
    class OfTorch(torch.nn.Module):
        def forward(self, *_):
            return torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), 1.0), 1)

    with pytest.raises(ValueError, match=r"prior\(\) is a Independent of torch; .* from pyro.distributions"):
        VAE(OfTorch(), OfTorch(), OfTorch())
    vae = VAE(priors.StandardNormal(2), OfTorch(), OfTorch())
    with pytest.raises(ValueError, match=r"posterior\(x\) is a Independent"):
        vae.encode(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"likelihood\(z\) is a Independent"):
        vae.decode(torch.zeros(3, 2))


@pytest.mark.parametrize("there", [0, 1, 2])
def test_the_repair_of_an_event_shape_repairs_it(there):
    class Pixels(nn.Module):
        data_shape = (1, 4, 4)

        def __init__(self, event_dims):
            super().__init__()
            self.network, self.event_dims = networks.MLP(2, (1, 4, 4), (5,)), event_dims

        def forward(self, z):
            return dist.Bernoulli(logits=self.network(z)).to_event(self.event_dims)

    def fit(event_dims):
        vae = VAE(
            priors.StandardNormal(2), Pixels(event_dims), posteriors.DiagonalNormal(networks.MLP((1, 4, 4), 4, (5,)))
        )
        fit_svi(vae.model, vae.guide, torch.ones(8, 1, 4, 4), epochs=1, batch_size=4, progress=False)

    with pytest.raises(ValueError, match=r"add \.to_event\(\d\)") as refused:
        fit(there)
    fit(there + int(re.search(r"to_event\((\d)\)", str(refused.value))[1]))


def test_looking_at_a_model_in_training_mode_changes_nothing():
    """A fit leaves modules in the mode that they were in, for a new VAE that of training."""
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 5, (8,), normalization="batch")),
        posteriors.DiagonalNormal(networks.MLP(5, 4, (8,), normalization="batch")),
    )
    x = torch.randn(60, 5)
    fit_svi(vae.model, vae.guide, x, epochs=2, batch_size=20, progress=False)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    looks = {
        "reconstruct": lambda: vae.reconstruct(x[:3]),
        "interpolate": lambda: vae.interpolate(x[:2], x[2:4]),
        "traverse": lambda: vae.traverse(x[0]),
        "manifold": lambda: vae.manifold(3),
    }
    found = {name: look() for name, look in looks.items()}
    vae.sample(3), vae.variants(x[:2], 3), vae.sample_like(x[:2], 3)
    assert vae.training
    assert vae.likelihood.decoder.training
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name]), name
    vae.eval()
    for name, look in looks.items():
        assert torch.equal(look(), found[name]), name


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (bits(5).numpy(), "rows is a ndarray; expected a tensor .*: use torch.as_tensor"),
        (bits(5).tolist(), "rows is a list; expected a tensor"),
        (bits(5)[:0], r"rows has shape \(0, 1, 8, 8\); expected .* with rows in it"),
        (bits(5) / 0, "rows has NaN or infinite values in 5 of 5 rows"),
    ],
    ids=["an array", "a list", "none", "infinite"],
)
def test_what_is_no_rows_is_no_start(rows, message):
    vae = small_vae()
    before = copy.deepcopy(vae.state_dict())
    with pytest.raises(ValueError, match=message):
        vae.initialize(rows)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
