"""Each thing that can be wrong with a VAE is named by check_vae, with its repair."""

import pyro.distributions as dist
import pytest
import torch
from parts_to_check import Kept, Network, Undrawn, X, likelihood, make, posterior, with_prior, with_weight_of_a_closure
from torch import nn

from pyrovae import check_vae, networks, priors


class FixedPrior(nn.Module):
    def __init__(self, distribution):
        super().__init__()
        self.distribution = distribution

    def forward(self):
        return self.distribution


def with_weight(name, value):
    vae = make()
    with torch.no_grad():
        vae.get_parameter(name).view(-1)[3] = value
    return vae


def unused():
    vae = make()
    vae.likelihood.extra = nn.Linear(3, 3)
    return vae


class NoDensity(dist.Normal):
    def log_prob(self, value):
        return super().log_prob(value) * float("nan")


class PerPixel(dist.Normal):
    def log_prob(self, value):
        return super().log_prob(value).unsqueeze(-1)


def independent(loc):
    return dist.Normal(loc, 1.0).to_event(1)


# What is broken: the VAE, the batch, and what the report has to say.
BROKEN = {
    "batch is no tensor": (make, X.numpy(), "batch is a ndarray; expected a tensor"),
    "no rows": (make, X[:0], r"batch has shape \(0, 1, 8, 8\)"),
    "infinity in the batch": (make, X / 0, "NaN or infinite values in 5 of 5 rows"),
    "NaN in the batch": (
        make,
        torch.where(X > 0, torch.nan, X),
        "^batch has NaN or infinite values in 5 of 5 rows.*wrap the likelihood and the posterior in",
    ),
    "a batch without values": (make, X.to("meta"), "reading the batch raised"),
    "float64 data": (make, X.double(), r"weight is float32, the batch float64: give batch.to\(torch.float32\)"),
    "float64 network": (lambda: make().double(), X, "weight is float64, the batch float32"),
    "float64 decoder": (lambda: make(decoder=networks.MLP(2, (1, 8, 8)).double()), X, "^likelihood.decoder.*float64"),
    "integer data": (make, X.long(), "posterior.encoder.*Linear.*it was given int64 numbers and has float32 ones"),
    "another device": (lambda: make().to("meta"), X, r"^posterior.*is on meta, the batch on cpu.*vae.to\(device\)"),
    "prior on another device": (lambda: with_prior(priors.StandardNormal(2).to("meta")), X, "^prior.loc is on meta"),
    "lazy network": (lambda: make(nn.Sequential(nn.Flatten(), nn.LazyLinear(4))), X, "has no shape yet: run vae.guide"),
    "weights of NaN": (
        lambda: with_weight("posterior.encoder.layers.0.weight", float("nan")),
        X,
        r"^posterior.encoder.layers.0.weight has NaN or infinite values: start from fresh weights",
    ),
    "encoder for other data": (
        lambda: make(nn.Sequential(nn.Flatten(), nn.Linear(63, 4))),
        X,
        r"^posterior\(x\) raised RuntimeError in posterior.encoder.1 \(Linear\): "
        r".*5x64 and 63x4.*shape \(5, 1, 8, 8\)",
    ),
    "encoder gives NaN": (
        lambda: make(Network(networks.MLP((1, 8, 8), 4), torch.log)),
        X,
        r"^the output of posterior.encoder\(x\) has .* NaN or infinite values among 20, the first of them at \(\d",
    ),
    "encoder too wide": (
        lambda: make(networks.MLP((1, 8, 8), 6)),
        X,
        r"^posterior\(x\) has .* event shape \(3,\); expected \(5,\) and \(2,\): the prior is over \(2,\): give both "
        r"the same latent_dim.*posterior.encoder\(x\) gives shape \(6,\)",
    ),
    "encoder of odd width": (lambda: make(networks.MLP((1, 8, 8), 5)), X, "the encoder gave 5 numbers for each row"),
    "posterior returns a tensor": (
        lambda: posterior(lambda h: h),
        X,
        "returned a Tensor; expected a Pyro distribution",
    ),
    "posterior of torch": (
        lambda: posterior(lambda h: torch.distributions.Independent(torch.distributions.Normal(h, 1.0), 1)),
        X,
        "take the same class from pyro.distributions",
    ),
    "posterior is a function": (lambda: make(posterior=lambda x: dist.Normal(x, 1)), X, "expected an nn.Module"),
    "posterior without to_event": (lambda: posterior(lambda h: dist.Normal(h, 1.0)), X, r"^post.*add .to_event\(1\)"),
    "posterior, to_event(2)": (
        lambda: posterior(lambda h: dist.Normal(h, 1.0).to_event(2)),
        X,
        "^posterior.*only the last 1 dimensions are one value: give .to_event 1 less",
    ),
    "posterior forgets the rows": (
        lambda: posterior(lambda h: independent(h.mean(0))),
        X,
        r"^posterior\(x\) has batch shape \(\).*keep the leading dimensions of the input",
    ),
    "posterior cannot be drawn from": (
        lambda: posterior(lambda h: Undrawn(h, 1.0).to_event(1)),
        X,
        r"^posterior\(x\) cannot be drawn from, so there is no z",
    ),
    "prior has a batch shape": (
        lambda: with_prior(FixedPrior(dist.Normal(torch.zeros(2), 1.0))),
        X,
        r"^prior\(\) has batch shape \(2,\) and event shape \(\).*add .to_event\(1\)",
    ),
    "prior of another size": (lambda: with_prior(priors.StandardNormal(3)), X, r"^prior\(\).*make a new VAE with it"),
    "prior of other support": (
        lambda: with_prior(FixedPrior(dist.Exponential(torch.ones(2)).to_event(1))),
        X,
        "^prior.*log_prob.*raised ValueError.*prior and posterior need the same support",
    ),
    "decoder for another z": (
        lambda: make(decoder=networks.MLP(3, (1, 8, 8))),
        X,
        r"^likelihood\(z\) raised ValueError in likelihood.decoder \(MLP\): MLP got an input of shape \(5, 2\)",
    ),
    "decoder gives infinity": (
        lambda: make(decoder=Network(networks.MLP(2, (1, 8, 8)), lambda h: h / 0)),
        X,
        r"^the output of likelihood.decoder\(z\) has 320 NaN or infinite values",
    ),
    "decoder for other data": (
        lambda: make(decoder=networks.MLP(2, (1, 8, 7))),
        X,
        r"^likelihood.*expected \(5,\) and \(1, 8, 8\): build the decoder for the data, with output_shape .*8\)",
    ),
    "flat decoder": (lambda: make(decoder=networks.MLP(2, 64)), X, r"or reshape the data, x.reshape\(-1, 64\)$"),
    "likelihood without to_event": (
        lambda: likelihood(lambda h: dist.Bernoulli(logits=h)),
        X,
        r"^likelihood.*add .to_event\(3\)",
    ),
    "likelihood without one to_event": (
        lambda: likelihood(lambda h: dist.Bernoulli(logits=h).to_event(1)),
        X,
        r"^likelihood.*add .to_event\(2\)",
    ),
    "decoder mixes up the rows": (
        lambda: make(decoder=nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)), nn.Flatten(0, 1))),
        X,
        r"^likelihood\(z\) has batch shape \(5,\) and event shape \(8, 8\)",
    ),
    "grey pixels": (make, X * 0.5, "Bernoulli at site 'x' is no density.*value 0.5"),
    "a density that is NaN": (
        lambda: likelihood(lambda h: NoDensity(h, 1.0).to_event(3)),
        X,
        r"^likelihood\(z\).log_prob\(x\) has 5 NaN or infinite values among 5",
    ),
    "a density for each pixel": (
        lambda: likelihood(lambda h: PerPixel(h, 1.0).to_event(3)),
        X,
        r"^likelihood\(z\).log_prob\(x\) has shape .*expected \(5,\), one number for each row",
    ),
    "parameter not used": (
        unused,
        X,
        r"the parameter 'likelihood.extra.weight' nor 1 more, so it would never be trained",
    ),
    "encoder detached": (
        lambda: make(Network(networks.MLP((1, 8, 8), 4), torch.detach)),
        X,
        "no gradient reaches the parameter 'posterior.encoder.network.layers.0.weight'",
    ),
    "a gradient that is NaN": (
        lambda: posterior(lambda h: independent(h + (h - h).sqrt())),
        X,
        "^the gradient of the parameter 'posterior.network.*NaN",
    ),
    "a decoder in a list": (
        lambda: make(decoder=Kept([networks.MLP(2, (1, 8, 8))])),
        X,
        r"^a Linear .* trainable weights \('weight'\) that would not be trained: .* nn.ModuleList or nn.ModuleDict",
    ),
    "a decoder in a dict": (
        lambda: make(decoder=Kept({"decoder": networks.MLP(2, (1, 8, 8))})),
        X,
        r"^a Linear .* trainable weights \('weight'\) that would not be trained: .* nn.ModuleList or nn.ModuleDict",
    ),
    "a weight of a closure": (
        lambda: with_weight_of_a_closure(requires_grad=True),
        X,
        r"^the programs use a parameter of shape \(1, 8, 8\) that is in none of their modules, and would",
    ),
    "rows that share a mean": (
        lambda: make(Network(networks.MLP((1, 8, 8), 4), lambda h: h - 3 * h.mean(0))),
        X,
        r"^posterior\(x\[:1\]\) gives the first row the log-density .*no row may depend on another",
    ),
    "noise in the decoder": (
        lambda: make(decoder=Network(networks.MLP(2, (1, 8, 8)), lambda h: h + torch.randn_like(h))),
        X,
        r"^likelihood\(z\[:1\]\) gives the first row .*nor on random numbers",
    ),
    "squeeze": (
        lambda: make(Network(networks.MLP((1, 8, 8), 4), torch.squeeze)),
        X,
        r"^posterior\(x\[:1\]\), one row alone, has batch shape \(\); expected \(1,\): keep the batch dimension",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_first_thing_wrong_is_named(name):
    factory, batch, message = BROKEN[name]
    check = check_vae(factory(), batch)
    assert not check.ok
    assert check.problem == check.problem.strip()
    assert "\n" not in check.problem
    with pytest.raises(ValueError, match=message):
        raise ValueError(check.problem)
    assert f"\nwrong: {check.problem}" in str(check)
