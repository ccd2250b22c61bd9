"""One contract for every part: the built-in ones in all their forms, and parts of a user's own.

A part is a module whose one call returns a Pyro distribution. What is tested here holds for all of them, and needs
nothing but the distribution and its support; what is special to a part has a test beside this file.
"""

import copy
import io

import pytest
import torch
from axes import F64, Axis, axis, entry_supports, extremes
from part_makers import LATENT, LIKELIHOODS, PARTS, POSTERIORS, PRIORS, WHOLE_ROWS, call, contexts, make, moved
from scipy import stats
from torch import Tensor
from users_parts import CorrelatedNormal, Gamma, StudentT

from pyrovae import likelihoods, posteriors, priors

# How often the chi-square test of one distribution fails by chance: as rarely as 4 standard errors. For all of them,
# some 150, it is one seed in a hundred; the seeds are fixed.
DRAWS, FALSE_ALARM = 20_000, 6e-5
# By number of dimensions: points of a real axis, and groups of equal mass that they are put into.
POINTS, GROUPS = {1: 4000, 2: 300}, {1: 20, 2: 8}

each_part = pytest.mark.parametrize("name", PARTS)


@pytest.mark.parametrize(
    ("slot", "package", "table"),
    [
        ("likelihood", likelihoods, LIKELIHOODS),
        ("prior", priors, PRIORS),
        ("posterior", posteriors, POSTERIORS),
    ],
)
def test_every_part_is_in_the_table(slot, package, table):
    made = {type(make(f"{slot} {name}")) for name in table}
    assert {getattr(package, name) for name in package.__all__} == made - {Gamma, CorrelatedNormal, StudentT}
    assert len(made & {Gamma, CorrelatedNormal, StudentT}) == 1


@each_part
@pytest.mark.parametrize("batch_shape", [(), (5,), (4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_shapes_and_dtypes(name, batch_shape, dtype):
    part, event_shape = make(name, dtype=dtype), PARTS[name].event_shape
    if PARTS[name].context_shape is None:
        assert part().batch_shape == ()
    distribution = call(name, part, contexts(name, *batch_shape, dtype=dtype))
    assert distribution.batch_shape == batch_shape
    assert distribution.event_shape == event_shape
    if name.startswith("likelihood"):
        # What reconstructions show.
        assert distribution.mean.shape == (*batch_shape, *event_shape)
        assert distribution.mean.dtype == dtype
    for draws, p in (((), distribution), ((6,), distribution), ((), distribution.expand((6, *batch_shape)))):
        for value in [p.sample(draws), *([p.rsample(draws)] if p.has_rsample else [])]:
            assert value.shape == (*draws, *p.batch_shape, *event_shape)
            assert value.dtype == dtype
            assert p.support.check(value).all()
            log_prob = p.log_prob(value)
            assert log_prob.shape == value.shape[: -len(event_shape)]
            assert log_prob.dtype == dtype
            assert torch.isfinite(log_prob).all()
            # A draw that is known by its noise has the density of any other value.
            torch.testing.assert_close(p.log_prob(value.clone()), log_prob, rtol=1e-4, atol=1e-4)


@each_part
def test_log_prob_and_its_gradient_are_finite_all_over_the_support(name):
    part = make(name)
    distribution = call(name, part, contexts(name, 12))
    values = [extremes(support) for support in entry_supports(distribution)]
    x = torch.tensor([[entry[(row + i) % len(entry)] for i, entry in enumerate(values)] for row in range(12)])
    if "PartlyObserved" in name and "likelihood" in name:
        x[::2, ::2] = torch.nan
    x = x.reshape(12, *distribution.event_shape)
    assert distribution.support.check(x).all()
    log_prob = distribution.log_prob(x)
    assert torch.isfinite(log_prob).all()
    if log_prob.requires_grad:
        log_prob.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in part.parameters())


def group_of(axis: Axis, mass: Tensor, groups: int) -> Tensor:
    """Groups of about the same mass for the points of an axis."""
    return (groups * (mass.cumsum(0) - mass / 2)).long().clamp(0, groups - 1)


@pytest.mark.parametrize(
    ("name", "dim"), [(name, dim) for name, maker in PARTS.items() for dim in (1, 2) if dim >= maker.smallest]
)
def test_normalised_and_drawn_from(name, dim):
    """All values in one and two dimensions: their probabilities sum to one, and draws fall among them by chi-square."""
    part = moved(make(name, (dim,), F64), PARTS[name].step)
    with torch.no_grad():
        p = call(name, part, contexts(name, dtype=F64))
        axes = [axis(support, POINTS[dim]) for support in entry_supports(p)]
        grid = torch.stack(torch.meshgrid(*(a.points for a in axes), indexing="ij"), -1)
        weights = torch.stack(torch.meshgrid(*(a.weights for a in axes), indexing="ij"), -1).prod(-1)
        mass = p.log_prob(grid.flatten(0, -2)).exp().reshape(weights.shape) * weights
        draws = p.sample((DRAWS,))
    assert mass.sum().item() == pytest.approx(1, abs=1e-3 if dim == 2 else 1e-6)
    bins, found = torch.zeros_like(mass, dtype=torch.long), torch.zeros(DRAWS, dtype=torch.long)
    for i, a in enumerate(axes):
        marginal = mass.movedim(i, 0).flatten(1).sum(1) if dim > 1 else mass
        group = group_of(a, marginal, GROUPS[dim])
        bins = bins * GROUPS[dim] + group.reshape([-1 if j == i else 1 for j in range(dim)])
        found = found * GROUPS[dim] + group[a.cell(draws[:, i])]
    expected = torch.zeros(GROUPS[dim] ** dim, dtype=F64).index_add(0, bins.flatten(), mass.flatten())
    expected, seen = expected / mass.sum() * DRAWS, torch.bincount(found, minlength=len(expected)).double()
    # Chi-square needs five expected draws in each bin; those that have fewer are put together.
    rare = expected < 5
    expected, seen = (torch.cat([v[~rare], v[rare].sum()[None]]) for v in (expected, seen))
    expected, seen = expected[expected >= 5], seen[expected >= 5]
    assert len(expected) > 1
    statistic = ((seen - expected).square() / expected).sum().item()
    assert stats.chi2(len(expected) - 1).sf(statistic) > FALSE_ALARM


@each_part
def test_a_gradient_reaches_every_parameter(name):
    """Through densities, and through draws where training sends it that way: those of posteriors."""
    part = make(name)
    p = call(name, part, contexts(name, 6))
    # Draws of a transformed distribution are known by their noise, with no gradient where they have none.
    losses = [p.log_prob(p.sample().clone()).sum()]
    if name.startswith("posterior"):
        losses.append(call(name, part, contexts(name, 6)).rsample().pow(3).sum())
    for loss in losses:
        part.zero_grad()
        assert loss.requires_grad == bool(list(part.parameters()))
        if loss.requires_grad:
            loss.backward()
        for parameter_name, parameter in part.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name


@each_part
def test_training_is_evaluation(name):
    part, context = make(name), contexts(name, 5)
    x = call(name, part, context).sample()
    evaluation, train = (call(name, part.train(mode), context).log_prob(x) for mode in (False, True))
    assert torch.equal(train, evaluation) == (not PARTS[name].train_differs)


@each_part
def test_rows_do_not_depend_on_one_another(name):
    part, context = moved(make(name, dtype=F64), 0.1), contexts(name, 5, dtype=F64)
    x = call(name, part, context).sample()
    rows = [call(name, part, one).log_prob(value) for one, value in zip(context, x, strict=True)]
    torch.testing.assert_close(call(name, part, context).log_prob(x), torch.stack(rows))


@each_part
def test_stored_loaded_and_copied(name):
    """Without pickled code, and with what the part takes from training rows."""
    part, other, context = moved(make(name), 0.1), make(name), contexts(name, 5)
    if hasattr(part, "initialize"):
        part.initialize(call(name, part, context).sample() if "likelihood" in name else torch.randn(9, 2, 4))
    x = call(name, part, context).sample()
    expected = call(name, part, context).log_prob(x.clone())
    file = io.BytesIO()
    torch.save(part.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for same in (other, copy.deepcopy(part)):
        assert torch.equal(call(name, same, context).log_prob(x.clone()), expected)


@each_part
def test_nothing_old_is_found_after_a_step(name):
    part, context = make(name), contexts(name, 5)
    p = call(name, part, context)
    x = p.rsample() if p.has_rsample else p.sample()
    before = p.log_prob(x)
    moved(part, 0.1)
    after = call(name, part, context).log_prob(x)
    assert torch.equal(after, call(name, part, context).log_prob(x.clone()))
    assert torch.equal(after, before) == (not list(part.parameters()))


@each_part
def test_repr_names_the_part(name):
    assert name.split()[1].rstrip(",") == type(make(name)).__name__
    assert repr(make(name)).startswith(f"{type(make(name)).__name__}(")


@pytest.mark.parametrize("name", WHOLE_ROWS)
def test_missing_entries_have_no_part_in_any_likelihood(name):
    part = make(f"likelihood {name}", dtype=F64)
    partly = likelihoods.PartlyObserved(part)
    z = torch.randn(6, LATENT, dtype=F64)
    x = part(z).sample()
    torch.testing.assert_close(partly(z).log_prob(x), part(z).log_prob(x))
    missing = torch.rand(x.shape) < 0.4
    missing[0] = True
    x[missing] = torch.nan
    log_prob = partly(z).log_prob(x)
    assert log_prob[0].abs() < 1e-12
    if isinstance(part(z), torch.distributions.Independent):
        # Each entry by itself, with any value in place of those that are missing.
        independent = part(z).base_dist
        entries = independent.log_prob(torch.where(missing, independent.sample(), x))
        torch.testing.assert_close(log_prob, entries.masked_fill(missing, 0).flatten(1).sum(1))
    log_prob.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in part.parameters())
    filled = partly(z).sample_missing(x)
    assert torch.equal(filled[~missing], x[~missing])
    assert part(z).log_prob(filled).isfinite().all()
