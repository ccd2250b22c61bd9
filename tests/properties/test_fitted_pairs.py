"""Fits and scores of VAEs of any parts, sizes and rows: results that keep the invariants, or an own error."""

import copy
import math

import numpy as np
import torch
from hostile import examples, global_state_kept, lengths, own_errors
from hypothesis import given
from hypothesis import strategies as st

from pyrovae import compare_bounds, fit_svi, load_data, log_weights
from pyrovae.data import StreamedRows
from pyrovae.objectives.named import OBJECTIVES
from pyrovae.runs import build_pair

KINDS = ("real", "count", "binary", "categorical(3)")


def numbers(draw, shape):
    return draw.normal(size=shape)


def counts(draw, shape):
    return draw.poisson(2.0, shape)


LIKELIHOODS = {
    "Bernoulli": (lambda draw, shape: draw.integers(0, 2, shape), {}),
    "ContinuousBernoulli": (lambda draw, shape: draw.random(shape), {}),
    "Beta": (lambda draw, shape: 0.01 + 0.98 * draw.random(shape), {}),
    "Normal": (numbers, {"scale": "predicted"}),
    "Laplace": (numbers, {}),
    "StudentT": (numbers, {"scale": "per_dimension"}),
    "LogNormal": (lambda draw, shape: np.exp(draw.normal(size=shape)), {}),
    "FullCovarianceNormal": (numbers, {}),
    "LowRankNormal": (numbers, {"rank": 1}),
    "Poisson": (counts, {}),
    "NegativeBinomial": (counts, {}),
    "ZeroInflatedPoisson": (counts, {}),
    "ZeroInflatedNegativeBinomial": (counts, {"gate": "predicted"}),
    "Binomial": (lambda draw, shape: draw.integers(0, 8, shape), {"total_count": 7}),
    "Categorical": (lambda draw, shape: draw.integers(0, 5, shape), {"num_levels": 5}),
    "DiscretizedLogistic": (lambda draw, shape: draw.integers(0, 256, shape) / np.float32(255), {}),
    "DiscretizedLogisticMixture": (
        lambda draw, shape: draw.integers(0, 9, shape) / np.float32(8),
        {"num_levels": 9, "num_components": 2},
    ),
    "Columns": (
        lambda draw, shape: np.stack([draw.integers(0, 2 + column % 2, shape[0]) for column in range(shape[1])], 1),
        {},
    ),
}
SHAPES = st.sampled_from([(1,), (2,), (5,), (1, 3, 3), (3, 4, 4), (1, 8, 8), (1, 1, 1)])
# What is done to rows that fit the likelihood: most stay as they are.
MISCHIEF = st.sampled_from(
    [None] * 6
    + ["huge", "tiny", "constant", "nan", "inf", "negative", "half", "one dimension less", "integers", "complex"]
)


def spoilt(x, mischief):
    """Rows after mischief."""
    changed = x.clone()
    match mischief:
        case "huge":
            return x * 1e15
        case "tiny":
            return x * 1e-15
        case "constant":
            return x[:1].expand_as(x).clone()
        case "nan":
            changed[0] = math.nan
        case "inf":
            changed[-1] = math.inf
        case "negative":
            return -x - 0.5
        case "half":
            return x.half()
        case "one dimension less":
            return x[..., 0]
        case "integers":
            return x.long()
        case "complex":
            return x + 1j
    return changed


PAIRS = st.fixed_dictionaries(
    {
        "likelihood": st.sampled_from(sorted(LIKELIHOODS)),
        "prior": st.sampled_from(
            ["StandardNormal", "DiagonalNormal", "Laplace", "StudentT", "GaussianMixture", "VampPrior", "Flow"]
        ),
        "posterior": st.sampled_from(
            ["DiagonalNormal", "FullCovarianceNormal", "LowRankNormal", "MixtureOfNormals", "Flow"]
        ),
        "shape": SHAPES,
        "latent_dim": st.integers(1, 4),
        "hidden_dims": st.lists(st.integers(1, 6), max_size=2),
        "activation": st.sampled_from(["relu", "tanh", "softplus"]),
        "normalization": st.sampled_from(["none", "none", "batch", "layer"]),
        "dtype": st.sampled_from([torch.float32, torch.float32, torch.float64]),
        "rows": st.integers(1, 12),
        "seed": st.integers(0, 2**16),
    }
)
FITS = st.fixed_dictionaries(
    {
        "objective": st.sampled_from(sorted(OBJECTIVES)),
        "epochs": st.integers(1, 3),
        "batch_size": st.integers(1, 13),
        "lr": st.sampled_from([1e-3, 1e-2, 1.0, 1e6]),
        "seed": st.integers(0, 2**32),
        "step": st.sampled_from(["auto", "plain", "recorded"]),
    },
    optional={
        "num_particles": st.integers(0, 4),
        "beta": st.sampled_from([0.0, 0.5, 4.0, -1.0, math.inf]),
        "precision": st.sampled_from(["32", "bf16-mixed"]),
        "trained": st.sampled_from(["all", "model", "guide"]),
        "patience": st.sampled_from([1, None]),
    },
)


def make(pair):
    """A VAE of small networks and rows that its likelihood takes."""
    rows, options = LIKELIHOODS[pair["likelihood"]]
    networks = {name: pair[name] for name in ("hidden_dims", "activation", "normalization")}
    arguments = {"likelihood": options, "encoder": networks, "decoder": networks}
    parts = {"prior": "priors", "likelihood": "likelihoods", "posterior": "posteriors"}
    paths = {slot: f"pyrovae.{package}.{pair[slot]}" for slot, package in parts.items()}
    paths |= dict.fromkeys(("encoder", "decoder"), "pyrovae.networks.MLP")
    config = {slot: {"class_path": path, "init_args": arguments.get(slot, {})} for slot, path in paths.items()}
    config |= {"latent_dim": pair["latent_dim"], "model": None, "missing": "refuse", "missing_indicators": False}
    kinds = None
    if pair["likelihood"] == "Columns":
        kinds = [("binary", "categorical(3)")[column % 2] for column in range(pair["shape"][0])]
    torch.manual_seed(pair["seed"])
    model, _ = build_pair(config, pair["shape"], kinds)
    vae = model.__self__.to(pair["dtype"])
    x = rows(np.random.default_rng(pair["seed"]), (pair["rows"], *pair["shape"]))
    return vae, torch.tensor(np.asarray(x, dtype=np.float64)).to(pair["dtype"])


def check_scores(vae, x, num_samples, seed, chunk_size):
    """What holds of every score of every row."""
    state = {name: value.clone() for name, value in vae.state_dict().items()}
    weights = log_weights(vae.model, vae.guide, x, num_samples, seed=seed)
    assert weights.shape == (num_samples, len(x))
    again = log_weights(vae.model, vae.guide, x, num_samples, seed=seed, chunk_size=chunk_size)
    torch.testing.assert_close(again, weights, rtol=1e-4, atol=1e-4, equal_nan=True)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=num_samples, seed=seed)
    for name in ("elbo", "log_px", "gap", "ess", "k_hat"):
        assert getattr(bounds, name).shape == (len(x),)
    finite = weights.isfinite().all(0)
    assert bounds.elbo[finite].isfinite().all()
    assert bounds.log_px[finite].isfinite().all()
    # Of the same draws the log of the mean is never below the mean of the logs, but for rounding.
    slack = 1e-6 * (1 + bounds.elbo[finite].abs())
    assert (bounds.log_px[finite] >= bounds.elbo[finite] - slack).all()
    assert (bounds.sweep_bounds[-1][finite] >= bounds.sweep_bounds[0][finite] - slack).all()
    assert ((bounds.ess[finite] >= 1 - 1e-6) & (bounds.ess[finite] <= num_samples + 1e-6)).all()
    assert bounds.summary()
    for name, value in vae.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0, equal_nan=True)


@lengths(12, 400)
def test_scores_of_any_pair_and_rows(count):
    @examples(count)
    @given(PAIRS, MISCHIEF, st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**40))
    def holds(pair, mischief, num_samples, chunk_size, seed):
        with own_errors():
            vae, x = make(pair)
            x = spoilt(x, mischief)
            with global_state_kept():
                check_scores(vae, x, num_samples, seed, chunk_size)

    holds()


@lengths(8, 300)
def test_fits_of_any_pair_and_rows(count):
    @examples(count)
    @given(PAIRS, FITS, MISCHIEF, st.booleans())
    def holds(pair, options, mischief, streamed):
        with own_errors():
            vae, x = make(pair)
            x = spoilt(x, mischief)
            twin = copy.deepcopy(vae)
            rows = StreamedRows(x.numpy()) if streamed and x.dtype == torch.float32 else x
            with global_state_kept(), own_errors():
                result = fit_svi(vae.model, vae.guide, rows, validation=x[:3], progress=False, **options)
                assert 1 <= len(result.history) <= options["epochs"]
                assert 0 <= result.best_epoch <= len(result.history)
                kept = [terms[name] for terms in result.history for name in ("train_elbo", "validation_elbo")]
                assert all(map(math.isfinite, kept))
                assert all(value.isfinite().all() for value in vae.state_dict().values() if value.is_floating_point())
                check_scores(vae, x, 6, 0, 4)
                same = fit_svi(twin.model, twin.guide, rows, validation=x[:3], progress=False, **options)
                without_time = [[{**terms, "seconds": 0} for terms in one.history] for one in (result, same)]
                assert without_time[0] == without_time[1]
                for name, value in twin.state_dict().items():
                    assert torch.equal(value, vae.state_dict()[name])

    holds()


def test_the_digits_are_as_they_were():
    """Rows that were given to a fit are the caller's."""
    data = load_data("digits", binarize="threshold")
    pair = {"likelihood": "Bernoulli", "prior": "StandardNormal", "posterior": "DiagonalNormal", "shape": (1, 8, 8)}
    sizes = {"latent_dim": 2, "hidden_dims": [4], "activation": "relu", "normalization": "none", "rows": 1, "seed": 0}
    vae, _ = make({**pair, **sizes, "dtype": torch.float32})
    before = data.checksum
    fit_svi(vae.model, vae.guide, data.train[:100], epochs=1, batch_size=50, progress=False)
    compare_bounds(vae.model, vae.guide, data.test[:10], num_samples=10)
    assert data.checksum == before
