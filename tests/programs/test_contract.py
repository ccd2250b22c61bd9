"""What a pair owes beside its sites: modules, precision, arguments; and that asking leaves all as it was."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from normal_pairs import X, good_model, guide, normal, pair_of, standard_normal
from problems import bits, small_vae
from pyro import poutine
from pyro.infer.autoguide import AutoNormal, AutoStructured
from torch import nn

from pyrovae import check_pair, compare_bounds, fit_svi
from pyrovae.programs import inspect_pair


def test_a_scale_in_training_only_is_found():
    class Pair(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = torch.nn.Parameter(torch.zeros(2))

        def model(self, x):
            with poutine.scale(scale=0.1 if self.training else 1.0):
                good_model(x)

        def guide(self, x):
            with poutine.scale(scale=0.1 if self.training else 1.0), pyro.plate("data", len(x)):
                pyro.sample("z", normal(self.loc))

    pair = Pair().eval()
    with pytest.raises(ValueError, match=r"has a scale of 0.1"):
        fit_svi(pair.model, pair.guide, X, epochs=1, batch_size=3, progress=False)


def test_grey_pixels_are_refused_in_evaluation_too():
    vae = small_vae()
    with pyro.validation_enabled(False), pytest.raises(ValueError, match="binarise the grey values"):
        compare_bounds(vae.model, vae.guide, torch.full((3, 1, 8, 8), 0.5), num_samples=5)


@pytest.mark.parametrize("shape", [(-1, 64), (-1, 1, 8, 8)])
def test_rows_observed_in_another_shape_are_checked_too(shape):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(torch.zeros(2)))
            logits = z.sum(-1).reshape(*z.shape[:-1], *(1 for _ in shape[1:])).expand(*z.shape[:-1], *shape[1:])
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(len(shape) - 1), obs=x.reshape(shape))

    x = bits(6)
    assert compare_bounds(model, guide, x, num_samples=50).log_px.shape == (6,)
    with pytest.raises(ValueError, match="binarise the grey values"):
        compare_bounds(model, guide, 0.5 * x, num_samples=5)


def test_a_plate_of_another_size_is_named():
    def model(x):
        with pyro.plate("rows", 200):
            z = pyro.sample("z", standard_normal(x))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    _, guide = pair_of(standard_normal, standard_normal)
    with pytest.raises(
        ValueError, match=r"plate 'rows' has size 200 for 3 rows: the data plate has to be pyro.plate\('rows', len"
    ):
        inspect_pair(model, guide, torch.randn(200, 4))


def test_networks_for_other_rows_are_named():
    encoder = nn.Linear(4, 4)

    def posterior(x):
        pyro.module("encoder", encoder)
        return dist.Normal(encoder(x), 1.0).to_event(1)

    programs = pair_of(standard_normal, posterior)
    with pytest.raises(
        ValueError,
        match=r"rows are of type torch.float64 and the parameters of torch.float32, .*: give x.to\(torch.float32\), "
        r"or networks of torch.float64, by their .to\(torch.float64\)$",
    ):
        inspect_pair(*programs, torch.randn(10, 4, dtype=torch.float64))
    # Modules take no whole numbers, and do not learn in half precision.
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float16):
        with pytest.raises(ValueError, match=rf"the rows are of type {dtype} .*: give x.to\(torch.float32\)$"):
            inspect_pair(*programs, torch.ones(10, 4, dtype=dtype))
    with pytest.raises(
        ValueError, match=r"the programs fail on 3 rows of shape \(5,\) \(.*mat1 and mat2 shapes.*build the networks"
    ):
        inspect_pair(*programs, torch.randn(10, 5))


def test_a_guide_that_observes_or_has_a_factor_is_refused():
    """What it observes would be taken for a part of q(z|x), and log p(x) be off by as much."""

    def observing(x):
        guide(x)
        with pyro.plate("again", len(x)):
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=x[:, 0])

    def with_factor(x):
        guide(x)
        with pyro.plate("again", len(x)):
            pyro.factor("f", x[:, 0], has_rsample=True)

    for wrong, said in ((observing, "observes 'y'"), (with_factor, "has a factor 'f'")):
        with pytest.raises(ValueError, match=f"the guide {said}, which would count as a part of q"):
            compare_bounds(good_model, wrong, X, num_samples=5)
    with pytest.raises(ValueError, match="the guide observes 'x'"):
        compare_bounds(good_model, good_model, X, num_samples=5)


@pytest.mark.parametrize("of_pyro", [AutoNormal, AutoStructured])
def test_autoguides_and_what_is_no_program_are_named(of_pyro):
    automatic = of_pyro(good_model)
    with pytest.raises(ValueError, match=r"the guide draws .*as Pyro's autoguides do.*write a guide with an encoder"):
        fit_svi(good_model, automatic, X, epochs=1, batch_size=3, progress=False)
    with pytest.raises(ValueError, match="the model is a NoneType; expected a Pyro program"):
        inspect_pair(None, guide, X)


@pytest.mark.parametrize("parts", [{"x": X, "c": X}, (X, X), [X, X]])
def test_rows_in_several_tensors_are_to_be_joined(parts):
    with pytest.raises(ValueError, match=r"expected a tensor .* join its parts by torch.cat as columns of one tensor"):
        compare_bounds(good_model, guide, parts)


def test_a_distribution_without_a_density_is_named():
    def folding(x):
        with pyro.plate("data", len(x)):
            fn = dist.TransformedDistribution(normal(x[:, :2]), [dist.transforms.AbsTransform()])
            pyro.sample("z", fn)

    with pytest.raises(ValueError, match="not implemented: a distribution has no log_prob, as one whose transform"):
        compare_bounds(good_model, folding, X)


def test_networks_of_another_precision_are_named_with_both_repairs():
    encoder = nn.Linear(4, 2).double()

    def encoding(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(encoder(x)))

    said = r"give x.to\(torch.float64\), or networks of torch.float32, by their .to\(torch.float32\)"
    with pytest.raises(ValueError, match=said):
        compare_bounds(good_model, encoding, X)


def test_asking_for_the_contract_leaves_all_as_it_was():
    pyro.clear_param_store()
    norm, layer = nn.BatchNorm1d(4), nn.Linear(4, 3)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(torch.zeros(3)))
            logits = z.sum(-1, keepdim=True).expand(*z.shape[:-1], 4)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x):
        pyro.module("norm", norm)
        pyro.module("layer", layer)
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(layer(norm(x))))

    state = torch.get_rng_state()
    structure = check_pair(model, guide, torch.ones(10, 4))
    assert (structure.latents, structure.observed) == (("z",), ("x",))
    assert torch.equal(torch.get_rng_state(), state)
    assert not pyro.get_param_store().keys()
    assert norm.training
    assert norm.num_batches_tracked == 0
    with pytest.raises(ValueError, match="outside its support"):
        check_pair(model, guide, torch.full((10, 4), 0.3))
    with pytest.raises(ValueError, match="different latent sites"):
        check_pair(model, lambda x: None, torch.ones(10, 4))


def test_what_is_known_of_a_pair_prints_in_a_few_lines():
    vae = small_vae()
    structure = check_pair(vae.model, vae.guide, bits(10))
    assert len(structure.modules) > 5
    assert len(str(structure)) < 500
    assert "\n" not in str(structure)


class Lists(nn.Module):
    """A pair of programs with an encoder and a weight in plain lists: ``parameters()`` has the bias alone."""

    def __init__(self):
        super().__init__()
        self.encoders, self.weights = [nn.Linear(4, 3)], [torch.ones(4, requires_grad=True)]
        self.bias = nn.Parameter(torch.zeros(4))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(torch.zeros(3)))
            pyro.sample("x", normal(z.sum(-1, keepdim=True) * self.weights[0] + self.bias), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(self.encoders[0](x)))


def test_weights_that_no_fit_would_move_are_refused_and_frozen_ones_are_taken():
    pair, x = Lists(), torch.zeros(10, 4)
    uses = (check_pair, lambda *given: fit_svi(*given, epochs=1, batch_size=5, progress=False))
    for freeze, message in (
        (pair.encoders[0].requires_grad_, r"a Linear .* \('weight'\) that would not be trained: .*nn.ModuleList"),
        (pair.weights[0].requires_grad_, r"a parameter of shape \(4,\) that is in none of their modules"),
    ):
        for use in uses:
            with pytest.raises(ValueError, match=message):
                use(pair.model, pair.guide, x)
        freeze(False)
    for use in uses:
        use(pair.model, pair.guide, x)


def shifted(program):
    @functools.wraps(program)
    def given_the_rest(x):
        return program(x, 0.5)

    return given_the_rest


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_programs_that_are_given_the_rest_by_what_is_around_them():
    """A decorator, a module with a __call__ of its own, one with its forward set, a compiled one."""

    @shifted
    def model(x, offset):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(torch.zeros(4)))
            pyro.sample("x", normal(z + offset), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(x / 2))

    class Called(nn.Module):
        def __call__(self, x):
            return guide(x)

    class Forward(nn.Module):
        def forward(self, x):
            return guide(x)

    later = nn.Module()
    later.forward = guide
    for program in (guide, Called(), later, torch.compile(Forward(), backend="eager")):
        assert check_pair(model, program, X).latents == ("z",)
