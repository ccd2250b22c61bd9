"""What a pair owes: each breach is refused by name, in training and in evaluation alike."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae import compare_bounds, fit_svi

X = torch.randn(6, 4)


def normal(loc, scale=1.0):
    return dist.Normal(loc, scale).to_event(1)


def guide(x):
    scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(torch.zeros(2), scale))


def good_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", normal(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 4)), obs=x)


def model_with_other_name(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("w", normal(torch.zeros(2)))
        pyro.sample("x", normal(z.sum(-1, keepdim=True).expand(-1, 4)), obs=x)


def model_with_global_latent(x):
    w = pyro.sample("w", normal(torch.zeros(4)))
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", normal(w), obs=x)


def guide_with_global_latent(x):
    pyro.sample("w", normal(torch.zeros(4)))
    guide(x)


def model_observing_outside(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(torch.zeros(2)))
    pyro.sample("x", dist.Normal(torch.zeros(6, 4), 1.0).to_event(2), obs=x[:6] if len(x) >= 6 else x.repeat(2, 1))


def model_without_to_event(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True).expand(-1, 4), 1.0), obs=x)


def subsampling_model(x):
    with pyro.plate("data", 60, subsample_size=len(x)):
        z = pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", normal(z.sum(-1, keepdim=True).expand(-1, 4)), obs=x)


def subsampling_guide(x):
    scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
    with pyro.plate("data", 60, subsample_size=len(x)):
        pyro.sample("z", normal(torch.zeros(2), scale))


def fixed_size_model(x):
    with pyro.plate("data", 60):
        z = pyro.sample("z", normal(torch.zeros(2)))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", normal(z[: len(x)].sum(-1, keepdim=True).expand(-1, 4)), obs=x)


def fixed_size_guide(x):
    scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
    with pyro.plate("data", 60):
        pyro.sample("z", normal(torch.zeros(2), scale))


def unobserving_model(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(torch.zeros(2)))


def empty_guide(x):
    pyro.param("scale", torch.ones(2))


def latentless_model(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", normal(torch.zeros(4)), obs=x)


BREACHES = [
    (model_with_other_name, guide, r"only in the model: 'w'; only in the guide: 'z'.*same name"),
    (model_with_global_latent, guide, r"only in the model: 'w'"),
    (model_with_global_latent, guide_with_global_latent, r"latent 'w' of the (model|guide) is outside the data plate"),
    (model_observing_outside, guide, r"observed site 'x' of the model is outside the data plate"),
    (model_without_to_event, guide, r"(?s)Shape mismatch inside plate.*add .to_event\(n\)"),
    (subsampling_model, subsampling_guide, r"latent 'z' of the model has a scale of 20"),
    (fixed_size_model, fixed_size_guide, r"plate 'data' at dim -1 of the model has size 60 for 3 rows"),
    (unobserving_model, guide, r"the model observes nothing"),
    (latentless_model, empty_guide, r"the guide draws no latent site"),
    (poutine.scale(good_model, 0.5), guide, r"latent 'z' of the model has a scale of 0.5.*no poutine.scale"),
    (good_model, poutine.scale(guide, 0.5), r"latent 'z' of the guide has a scale of 0.5"),
]


@pytest.mark.parametrize(("model", "guide", "message"), BREACHES, ids=[case[2] for case in BREACHES])
def test_breaches_are_refused(model, guide, message):
    with pytest.raises(ValueError, match=message):
        compare_bounds(model, guide, X, num_samples=5)
    with pytest.raises(ValueError, match=message):
        fit_svi(model, guide, X, epochs=1, batch_size=3, progress=False)
    assert not pyro.get_param_store().keys()


def test_the_good_pair_is_taken():
    fit_svi(good_model, guide, X, epochs=1, batch_size=3, progress=False)
    assert compare_bounds(good_model, guide, X, num_samples=50).log_px.shape == (6,)
