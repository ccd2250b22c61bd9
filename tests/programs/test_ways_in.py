"""What a pair is called with: said alike by the fit, by evaluation and by check_pair."""

import pyro
import pytest
import torch
from normal_pairs import X, good_model, guide, normal
from problems import bits, small_vae
from torch import nn

from pyrovae import check_pair, compare_bounds, compare_gradients, fit_svi

every_way_in = pytest.mark.parametrize(
    "use",
    [
        lambda model, guide, x: fit_svi(model, guide, x, epochs=1, batch_size=3, progress=False),
        lambda model, guide, x: compare_bounds(model, guide, x, num_samples=5),
        check_pair,
        lambda model, guide, x: compare_gradients(model, guide, x, num_repeats=3),
    ],
    ids=["fit", "evaluation", "check_pair", "compare_gradients"],
)


@every_way_in
def test_a_vae_in_place_of_its_programs_is_told_from_them(use):
    vae = small_vae((4,))
    for pair in ((vae, vae.guide), (vae.model, vae)):
        with pytest.raises(ValueError, match=r"is a VAE, a module and no program: give its methods, as vae\.model"):
            use(*pair, bits(6, (4,)))


@every_way_in
def test_a_program_of_two_arguments_is_told_where_the_second_belongs(use):
    def with_labels(x, y):
        return good_model(x)

    with pytest.raises(ValueError, match=r"the model cannot be called with the rows alone \(missing.*'y'.*join"):
        use(with_labels, guide, X)
    with pytest.raises(ValueError, match="the guide cannot be called with the rows alone"):
        use(good_model, lambda: guide(X), X)


@every_way_in
@pytest.mark.parametrize("plate", [60, None])
def test_a_number_of_all_rows_in_a_program_is_named(use, plate):
    """As the size of a tensor, and as that of a plate in one of the programs."""

    def guide_of_all(x):
        with pyro.plate("data", plate or len(x)):
            pyro.sample("z", normal(torch.zeros(2) if plate else torch.zeros(60, 2)))

    with pytest.raises(ValueError, match=r"has \d rows, and something in the programs 60, .*from len\(x\), in both"):
        use(good_model, guide_of_all, torch.randn(60, 4))


COVARIATES = torch.randn(60, 4)


def covariates_of_the_prior(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(COVARIATES))
        pyro.sample("x", normal(x.new_zeros(len(x), 4)), obs=x)


def covariates_added(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", normal(x.new_zeros(len(x), 4)))
        pyro.sample("x", normal(z + COVARIATES), obs=x)


def covariates_joined(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", normal(x.new_zeros(len(x), 4)))
        pyro.sample("x", normal(torch.cat([z, COVARIATES], -1)[..., :4]), obs=x)


@every_way_in
@pytest.mark.parametrize("model", [covariates_of_the_prior, covariates_added, covariates_joined])
@pytest.mark.parametrize("rows", [60, 10])
def test_what_is_kept_of_each_row_beside_the_programs_belongs_behind_it(use, model, rows):
    """Covariates of the 60 rows of the data, for them and for others."""
    network = nn.Linear(4, 4)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(network(x)))

    with pytest.raises(ValueError, match=r"put what else is known of each row behind it, as further columns of x"):
        use(model, guide, torch.randn(rows, 4))


@every_way_in
def test_a_plate_with_batches_of_its_own_is_named(use):
    def some_of(x):
        return pyro.plate("data", len(x), subsample_size=16)

    def model(x):
        with some_of(x) as numbers:
            z = pyro.sample("z", normal(x.new_zeros(16, 4)))
            pyro.sample("x", normal(z), obs=x[numbers])

    def guide(x):
        with some_of(x) as numbers:
            pyro.sample("z", normal(x[numbers] / 2))

    with pytest.raises(
        ValueError, match=r"a subsample_size of its own, .*pyro.plate\('rows', len\(x\)\).*fit_svi makes"
    ):
        use(model, guide, torch.randn(60, 4))
