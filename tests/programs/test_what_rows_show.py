"""Shapes of values, supports and masks are looked at in rows from all over the data."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from normal_pairs import pair_of, standard_normal
from pyro import poutine

from pyrovae import check_pair, compare_bounds, fit_svi
from pyrovae.data import StreamedRows
from pyrovae.programs import inspect_pair, probe_rows


def test_values_that_would_be_repeated_are_refused():
    """A density over three channels of one channel counts it three times."""
    three = pair_of(
        standard_normal, standard_normal, lambda x, z: dist.Normal(torch.zeros(len(x), 3, 4), 1.0).to_event(2)
    )
    with pytest.raises(
        ValueError, match=r"'x' of the model has a distribution over values of shape \(3, 4\), and a value"
    ):
        inspect_pair(*three, torch.randn(10, 1, 4))
    wide = pair_of(standard_normal, lambda x: dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
    with pytest.raises(ValueError, match=r"latent 'z' of the model has a distribution over values of shape \(4,\)"):
        inspect_pair(*wide, torch.randn(10, 4))


@pytest.mark.parametrize(
    "posterior",
    [
        lambda x: dist.LogNormal(torch.zeros(len(x), 4), 1.0).to_event(1),
        lambda x: dist.Uniform(-torch.ones(len(x), 4), 1.0).to_event(1),
        lambda x: dist.TransformedDistribution(
            dist.Uniform(torch.zeros(len(x), 4), 1.0), [dist.transforms.AffineTransform(-1.0, 2.0)]
        ).to_event(1),
    ],
)
def test_draws_that_do_not_reach_all_values_are_refused(posterior):
    """The weights of those that are reached say nothing of the others: more draws would agree on a wrong number."""
    with pytest.raises(
        ValueError, match=r"latent 'z' has values from -inf to inf in the model and from .* in the guide"
    ):
        inspect_pair(*pair_of(standard_normal, posterior), torch.randn(10, 4))
    inspect_pair(*pair_of(posterior, standard_normal), torch.randn(10, 4))


def test_the_same_support_in_other_words_is_taken():
    positive = pair_of(
        lambda x: dist.Gamma(torch.ones(len(x), 4), 1.0).to_event(1),
        lambda x: dist.LogNormal(torch.zeros(len(x), 4), 1.0).to_event(1),
    )
    inspect_pair(*positive, torch.randn(10, 4))
    shares = pair_of(
        lambda x: dist.Uniform(torch.zeros(len(x), 4), 1.0).to_event(1),
        lambda x: dist.Beta(torch.ones(len(x), 4), 1.0).to_event(1),
    )
    inspect_pair(*shares, torch.randn(10, 4))


def streamed(model, guide, x, tmp_path):
    np.save(tmp_path / "x.npy", x.numpy())
    compare_bounds(model, guide, StreamedRows(tmp_path / "x.npy"), num_samples=2)


JUDGES = {
    "check_pair": lambda model, guide, x, _: check_pair(model, guide, x),
    "compare_bounds": lambda model, guide, x, _: compare_bounds(model, guide, x, num_samples=2),
    "streamed rows": streamed,
    "fit_svi": lambda model, guide, x, _: fit_svi(model, guide, x, batch_size=20, progress=False),
}


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("from_end", [False, True])
def test_a_forgotten_mask_is_refused_in_any_order_of_the_rows(judge, from_end, tmp_path):
    """Of 100 rows half are masked in the guide alone, the first or the last of them."""
    guide = pair_of(standard_normal, lambda x: standard_normal(x).mask(x[:, 0] > 0))[1]
    model = pair_of(standard_normal, standard_normal)[0]
    x = torch.ones(100, 4)
    x[50:] = -1
    with pytest.raises(ValueError, match="latent 'z' is masked in one program and not in the other"):
        JUDGES[judge](model, guide, x.flip(0) if from_end else x, tmp_path)


@pytest.mark.parametrize(("rows", "of_three", "of_five"), [(1, [0] * 3, [0] * 5), (4, [0, 1, 2], [0, 1, 2, 3, 0])])
def test_few_rows_are_looked_at_more_than_once(rows, of_three, of_five):
    assert probe_rows(torch.arange(rows), 3).tolist() == of_three
    assert probe_rows(torch.arange(rows), 5).tolist() == of_five


def test_rows_that_are_looked_at_are_at_equal_distances():
    assert probe_rows(torch.arange(1000), 5).tolist() == [0, 200, 400, 600, 800]
    assert probe_rows(torch.arange(5), 5).tolist() == [0, 1, 2, 3, 4]


def test_masks_have_to_be_the_same():
    def first_rows(x):
        return torch.arange(len(x)) < 2

    def masked(x):
        return standard_normal(x).mask(first_rows(x))

    inspect_pair(*pair_of(masked, masked), torch.randn(10, 4))
    for programs in (pair_of(masked, standard_normal), pair_of(standard_normal, masked)):
        with pytest.raises(ValueError, match="latent 'z' is masked in one program and not in the other"):
            inspect_pair(*programs, torch.randn(10, 4))

    def model(x):
        with pyro.plate("data", len(x)), poutine.mask(mask=first_rows(x)):
            z = pyro.sample("z", standard_normal(x))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    with pytest.raises(ValueError, match="latent 'z' is masked"):
        inspect_pair(model, pair_of(standard_normal, standard_normal)[1], torch.randn(10, 4))
    inspect_pair(model, pair_of(standard_normal, masked)[1], torch.randn(10, 4))
