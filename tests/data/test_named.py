import hashlib
import pickle
import struct

import numpy as np
import pytest
import torch
import torchvision.datasets
from sklearn.datasets import load_digits

from pyrovae.data import load_data
from pyrovae.data.named import CIFAR_FILES, RAW_FILES, data_root

FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


def write_idx(path, array):
    header = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_raw(root, name, train_rows=40, test_rows=12):
    random = np.random.default_rng(0)
    raw = root / FOLDERS[name] / "raw"
    raw.mkdir(parents=True)
    images = [random.integers(0, 256, (rows, 28, 28), dtype=np.uint8) for rows in (train_rows, test_rows)]
    labels = [random.integers(0, 10, rows, dtype=np.uint8) for rows in (train_rows, test_rows)]
    for file, array in zip(RAW_FILES, (images[0], labels[0], images[1], labels[1]), strict=True):
        write_idx(raw / file, array)
    return raw, images, labels


def sorted_rows(values, labels=None):
    flat = values.reshape(len(values), -1)
    if labels is not None:
        flat = torch.cat([flat, labels[:, None].float()], dim=1)
    return sorted(map(tuple, flat.tolist()))


def test_digits_are_scaled_and_dealt_once():
    digits = load_data("digits")
    bunch = load_digits()
    assert digits.data_shape == (1, 8, 8)
    assert digits.support == "unit_interval"
    assert digits.variant == "intensities / 16 in [0, 1]"
    assert digits.train_transform is None
    assert [len(part) for part in (digits.train, digits.validation, digits.test)] == [1437, 180, 180]
    assert digits.train.dtype == torch.float32
    assert digits.train_labels.dtype == torch.int64
    values = torch.cat([digits.train, digits.validation, digits.test])
    labels = torch.cat([digits.train_labels, digits.validation_labels, digits.test_labels])
    expected = torch.from_numpy(bunch.images).float() / 16
    assert sorted_rows(values, labels) == sorted_rows(expected, torch.from_numpy(bunch.target))


def test_the_seed_chooses_the_split():
    first, again, other = load_data("digits"), load_data("digits"), load_data("digits", seed=1)
    assert torch.equal(first.train, again.train)
    assert torch.equal(first.test_labels, again.test_labels)
    assert first.checksum == again.checksum
    assert not torch.equal(first.train, other.train)
    assert first.checksum != other.checksum


@pytest.mark.parametrize("name", FOLDERS)
def test_the_official_test_set_is_kept(tmp_path, name):
    _, images, labels = write_raw(tmp_path, name)
    splits = load_data(name, root=tmp_path, download=False, validation_fraction=0.25, test_fraction=0.9)
    assert splits.data_shape == (1, 28, 28)
    assert splits.variant == "intensities / 255 in [0, 1]"
    assert splits.divided
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 10, 12)
    assert torch.equal(splits.test[:, 0], torch.from_numpy(images[1]).float() / 255)
    assert splits.test_labels.tolist() == labels[1].tolist()
    drawn = torch.cat([splits.train, splits.validation])
    drawn_labels = torch.cat([splits.train_labels, splits.validation_labels])
    expected = torch.from_numpy(images[0]).float() / 255
    assert sorted_rows(drawn, drawn_labels) == sorted_rows(expected, torch.from_numpy(labels[0]))


def test_the_root_comes_from_the_environment(tmp_path, monkeypatch):
    write_raw(tmp_path, "mnist")
    monkeypatch.setenv("PYROVAE_DATA_ROOT", str(tmp_path))
    assert len(load_data("mnist", download=False).test) == 12
    monkeypatch.delenv("PYROVAE_DATA_ROOT")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root(None) == tmp_path / ".cache" / "pyrovae"


def test_missing_files_without_download(tmp_path):
    with pytest.raises(ValueError, match=r"MNIST.raw lacks train-images.*download is off.*pass root= \(--data-root\)"):
        load_data("mnist", root=tmp_path, download=False)


def test_one_missing_file_is_named(tmp_path):
    raw, _, _ = write_raw(tmp_path, "mnist")
    (raw / RAW_FILES[3]).unlink()
    with pytest.raises(ValueError, match=r"raw lacks t10k-labels-idx1-ubyte, and"):
        load_data("mnist", root=tmp_path, download=False)


def test_a_failed_download_says_where_why_and_what_to_do(tmp_path):
    # No folder can be made below a file, so the download fails before it reaches the network.
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(
        ValueError, match=r"FashionMNIST.raw lacks .*download failed \(.*file.*\)\. Put train-.*or pass root="
    ):
        load_data("fashion-mnist", root=blocked)


@pytest.mark.parametrize("kept", [0, 3, 10, 200])
def test_a_cut_off_file(tmp_path, kept):
    raw, _, _ = write_raw(tmp_path, "mnist")
    images = raw / RAW_FILES[0]
    images.write_bytes(images.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"MNIST.raw cannot be read .*delete that folder"):
        load_data("mnist", root=tmp_path, download=False)


def test_labels_of_another_file(tmp_path):
    raw, _, _ = write_raw(tmp_path, "mnist")
    write_idx(raw / RAW_FILES[3], np.zeros(11))
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte holds 12 rows, but .* 11 labels"):
        load_data("mnist", root=tmp_path, download=False)


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """Files in the form of CIFAR-10, four images in each batch, whose checksums torchvision is told."""
    random = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    sums, images, labels = {}, [], []
    for file in CIFAR_FILES:
        content = {"label_names": [str(number) for number in range(10)]}
        if file != "batches.meta":
            images.append(random.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8))
            labels.append(random.integers(0, 10, 4).tolist())
            content = {"data": images[-1].reshape(4, -1), "labels": labels[-1]}
        written = pickle.dumps(content)
        (folder / file).write_bytes(written)
        sums[file] = hashlib.md5(written).hexdigest()
    *train, test, meta = CIFAR_FILES
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "train_list", [[file, sums[file]] for file in train])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", [[test, sums[test]]])
    monkeypatch.setattr(
        torchvision.datasets.CIFAR10, "meta", {"filename": meta, "key": "label_names", "md5": sums[meta]}
    )
    return tmp_path, np.stack(images), labels


def test_cifar10_has_three_channels_and_its_own_test_set(small_cifar):
    root, images, labels = small_cifar
    splits = load_data("cifar10", root=root, download=False, validation_fraction=0.25)
    assert splits.data_shape == (3, 32, 32)
    assert splits.support == "unit_interval"
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [15, 5, 4]
    assert torch.equal(splits.test, torch.from_numpy(images[-1]).float() / 255)
    assert splits.test_labels.tolist() == labels[-1]
    drawn = torch.cat([splits.train, splits.validation])
    drawn_labels = torch.cat([splits.train_labels, splits.validation_labels])
    expected = torch.from_numpy(images[:-1]).flatten(0, 1).float() / 255
    assert sorted_rows(drawn, drawn_labels) == sorted_rows(expected, torch.tensor(labels[:-1]).flatten())


def test_a_changed_or_missing_file_of_cifar10(small_cifar):
    root, _, _ = small_cifar
    batch = root / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(batch.read_bytes() + b".")
    with pytest.raises(ValueError, match=r"cifar10: the files in .*cifar-10-batches-py cannot be read .*delete that"):
        load_data("cifar10", root=root, download=False)
    batch.unlink()
    with pytest.raises(ValueError, match=r"lacks data_batch_3, and .*folder that holds cifar-10-batches-py"):
        load_data("cifar10", root=root, download=False)
