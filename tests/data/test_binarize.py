import pickle

import numpy as np
import pytest
import torch

from pyrovae.data import load_data

ROWS = 1000


@pytest.fixture
def grey(tmp_path):
    path = tmp_path / "grey.npy"
    np.save(path, np.tile(np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4), (ROWS, 1, 1)))
    return path


def parts(splits):
    return splits.train, splits.validation, splits.test


def is_binary(values):
    return bool(((values == 0) | (values == 1)).all())


def test_threshold_is_one_above_a_half(tmp_path):
    path = tmp_path / "values.npy"
    np.save(path, np.tile(np.array([[0, 0.49, 0.5, 0.51, 1]]), (6, 1)))
    splits = load_data(path, binarize="threshold")
    for part in parts(splits):
        assert part.dtype == torch.float32
        assert part[0].tolist() == [0, 0, 0, 1, 1]
    assert splits.support == "binary"
    assert splits.variant == "thresholded at 0.5"
    assert splits.train_transform is None


def test_static_draws_have_the_intensity_as_their_mean(grey):
    splits = load_data(grey, binarize="static", seed=4)
    assert all(is_binary(part) for part in parts(splits))
    assert splits.support == "binary"
    assert splits.variant == "binarised once, seed 4"
    assert splits.train_transform is None
    intensity = torch.linspace(0, 1, 12).reshape(1, 3, 4)
    error = (torch.cat(parts(splits)).mean(0) - intensity).abs()
    assert (error <= 5 * (intensity * (1 - intensity) / ROWS).sqrt() + 1e-6).all()


def test_static_draws_depend_on_the_seed_alone(grey):
    first = load_data(grey, binarize="static")
    torch.manual_seed(99)
    assert load_data(grey, binarize="static").checksum == first.checksum
    assert load_data(grey, binarize="static", seed=1).checksum != first.checksum


def test_dynamic_keeps_training_intensities_and_draws_them_anew(grey):
    plain, splits = load_data(grey), load_data(grey, binarize="dynamic", seed=0)
    assert torch.equal(splits.train, plain.train)
    assert is_binary(splits.validation)
    assert is_binary(splits.test)
    assert splits.support == "binary"
    assert splits.variant == "binarised anew at every step; validation and test once, seed 0"

    torch.manual_seed(7)
    batch = splits.train[:20]
    first, second = splits.train_transform(batch), splits.train_transform(batch)
    assert first.shape == batch.shape
    assert is_binary(first)
    assert not torch.equal(first, second)
    torch.manual_seed(7)
    assert torch.equal(splits.train_transform(batch), first)

    draws = 2000
    mean = sum(splits.train_transform(batch) for _ in range(draws)) / draws
    assert ((mean - batch).abs() <= 5 * (batch * (1 - batch) / draws).sqrt() + 1e-6).all()


def test_static_and_dynamic_share_their_held_out_bits(grey):
    static, dynamic = load_data(grey, binarize="static"), load_data(grey, binarize="dynamic")
    assert torch.equal(static.validation, dynamic.validation)
    assert torch.equal(static.test, dynamic.test)


def test_every_way_uses_the_same_split():
    ways = [load_data("digits", binarize=way) for way in ("none", "threshold", "static", "dynamic")]
    assert all(torch.equal(way.test_labels, ways[0].test_labels) for way in ways)
    assert torch.equal(ways[1].test, (ways[0].test > 0.5).float())


def test_the_transform_can_be_pickled(grey):
    transform = load_data(grey, binarize="dynamic").train_transform
    assert pickle.loads(pickle.dumps(transform)) is transform


@pytest.mark.parametrize("binarize", ["none", "threshold", "static", "dynamic"])
def test_binary_data_stay_as_they_are(tmp_path, binarize):
    path = tmp_path / "bits.npy"
    np.save(path, np.random.default_rng(0).integers(0, 2, (50, 6)).astype(bool))
    plain, splits = load_data(path), load_data(path, binarize=binarize)
    assert plain.support == splits.support == "binary"
    assert splits.checksum == plain.checksum
    if splits.train_transform is not None:
        assert torch.equal(splits.train_transform(splits.train), plain.train)


@pytest.mark.parametrize("binarize", ["none", "threshold", "static", "dynamic"])
def test_the_global_random_state_is_untouched(binarize):
    torch.manual_seed(5)
    np.random.seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_data("digits", binarize=binarize)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize("binarize", ["threshold", "static", "dynamic"])
@pytest.mark.parametrize(("low", "high"), [(0, 255), (-0.5, 1)])
def test_values_outside_the_unit_interval(tmp_path, binarize, low, high):
    path = tmp_path / "wide.npy"
    np.save(path, np.array([[low, high]] * 5, dtype=np.float32))
    match = rf"wide.npy: binarize='{binarize}' needs values in \[0, 1\], but they run from {low} to {high}; scale"
    with pytest.raises(ValueError, match=match):
        load_data(path, binarize=binarize)


def test_an_unknown_way():
    with pytest.raises(ValueError, match=r"binarize='often' is unknown; use one of 'none', 'threshold', 'static'"):
        load_data("digits", binarize="often")
