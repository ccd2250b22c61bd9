"""Each breach of what a pair owes is refused by name, in training and in evaluation alike."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from normal_pairs import X, correlated_pair, correlation_matrix_guide, good_model, guide, normal
from pyro import poutine

from pyrovae import compare_bounds, fit_svi
from pyrovae.distributions import LKJCholesky


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


def model_without_to_event_on_columns(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x[:, :1])


def other_plate_first(x):
    """A plate of three where the rows should be; three rows are not enough to tell."""
    with pyro.plate("rows", len(x), dim=-2), pyro.plate("groups", 3, dim=-1):
        z = pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x[:, :3])


def other_plate_first_guide(x):
    scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
    with pyro.plate("rows", len(x), dim=-2), pyro.plate("groups", 3, dim=-1):
        pyro.sample("z", normal(torch.zeros(2), scale))


def point_mass_guide(x):
    loc = pyro.param("scale", torch.zeros(2))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(loc).to_event(1))


def expandless_model(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.LKJ(4, torch.tensor(2.0)))


def enumerating_model(x):
    with pyro.plate("data", len(x)):
        pyro.sample("kind", dist.Categorical(torch.ones(3)), infer={"enumerate": "parallel"})
        z = pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", normal(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 4)), obs=x)


def model_of_some_columns(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", normal(torch.zeros(2)))
        for column in pyro.plate("columns", 4, subsample_size=2):
            pyro.sample(f"x{column}", dist.Normal(z.sum(-1), 1.0), obs=x[:, column])


def model_with_obs_mask(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", normal(torch.zeros(4)), obs=x, obs_mask=x[:, 0] > 0)


def model_with_obs_mask_of_entries(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", normal(torch.zeros(4)), obs=x, obs_mask=x > 0)


def guide_with_param_by_row(x):
    loc = pyro.param("loc", lambda: torch.zeros(len(x), 2))
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(loc))


def rows_left_of_items(x):
    with pyro.plate("rows", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0))
        with pyro.plate("items", 4, dim=-1):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def rows_left_of_items_guide(x):
    with pyro.plate("rows", len(x), dim=-2):
        pyro.sample("z", dist.Normal(x.sum(-1, keepdim=True) / 5, 0.2**0.5))


BREACHES = [
    (
        enumerating_model,
        guide,
        r"only in the model: 'kind'.*'kind', which infer says to enumerate, is not summed out here: let the model sum "
        r"it out by dist.MixtureSameFamily; or let the guide draw it too, .*'Trace_ELBO' or 'ReweightedWakeSleep'",
    ),
    (model_of_some_columns, guide, r"plate 'columns' takes 2 of its 4 entries \(observed site 'x\d' of the model\)"),
    (
        model_with_obs_mask,
        guide,
        r"the model draws 'x_unobserved', as obs_mask does .*PartlyObserved\(distribution\) with obs=x, NaN marking.*"
        r"distribution.mask\(obs_mask\)",
    ),
    (
        model_with_obs_mask_of_entries,
        guide,
        r"Invalid obs_mask shape \(3, 4\).*PartlyObserved\(distribution\) with obs=x",
    ),
    (good_model, guide_with_param_by_row, r"a batch has 5 rows, .* 3, as many as the batch before .*by an encoder"),
    (
        rows_left_of_items,
        rows_left_of_items_guide,
        r"plate 'rows' is at dim -2: put it at dim -1, .* observe x\.T inside",
    ),
    (model_with_other_name, guide, r"only in the model: 'w'; only in the guide: 'z'.*same name"),
    (model_with_global_latent, guide, r"latent 'w' of the model is outside the data plate.*parameter with pyro.param"),
    (model_with_global_latent, guide_with_global_latent, r"latent 'w' of the (model|guide) is outside the data plate"),
    (model_observing_outside, guide, r"observed site 'x' of the model is outside the data plate"),
    (model_without_to_event, guide, r"(?s)Shape mismatch inside plate.*add .to_event\(n\)"),
    (fixed_size_model, fixed_size_guide, r"plate 'data' at dim -1 has size 60 for 3 rows of data \(latent 'z'"),
    (
        model_without_to_event_on_columns,
        guide,
        r"'x' of the model has log-densities of shape \(3, 3\) for 3 rows.*to_event",
    ),
    (
        other_plate_first,
        other_plate_first_guide,
        r"plate 'groups' at dim -1 has size 3 for 5 rows.*other plates left of it",
    ),
    (good_model, point_mass_guide, r"latent 'z' of the guide is a point mass \(Delta\), which has no density"),
    (
        *correlated_pair(LKJCholesky, dist.LKJCholesky),
        r"latent 'z' of the guide has an LKJCholesky, whose draws.*do not have its density.*pyrovae.distributions",
    ),
    (*correlated_pair(dist.LKJCholesky, LKJCholesky), r"latent 'z' of the model has an LKJCholesky, whose draws"),
    (expandless_model, correlation_matrix_guide, r"define a custom .expand\(\) method; in a plate it needs one"),
    (unobserving_model, guide, r"the model observes nothing"),
    (latentless_model, empty_guide, r"the guide draws no latent site"),
    (
        poutine.scale(good_model, 0.5),
        guide,
        r"latent 'z' of the model has a scale of 0.5.*no poutine.scale.*beta",
    ),
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
