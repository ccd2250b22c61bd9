"""Checkpoints on disk: whole or not at all, damaged ones passed over, nothing executed."""

import resource
import signal
import zlib

import numpy as np
import pytest
import torch

from pyrovae.checkpoints import Checkpoints, fingerprint, whole_file, write_whole
from pyrovae.data import StreamedRows


def write(folder, *steps, **options):
    checkpoints = Checkpoints(folder, **options)
    for step in steps:
        checkpoints.write({"step": step, "weights": torch.full((3,), float(step))}, step)
    return checkpoints


def test_the_newest_is_read_and_the_oldest_go(tmp_path):
    checkpoints = write(tmp_path / "not" / "there" / "yet", 5, 1200, 30, keep=3)
    assert [int(path.name.split("-")[1]) for path in checkpoints.files()] == [1200, 30, 5]
    checkpoints.write({"step": 31}, 31)
    assert [int(path.name.split("-")[1]) for path in checkpoints.files()] == [1200, 31, 30]
    assert checkpoints.newest()["weights"].tolist() == [1200.0] * 3
    assert Checkpoints(tmp_path / "empty").newest() is None


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "other bytes"])
def test_a_damaged_one_is_passed_over(tmp_path, damage):
    checkpoints = write(tmp_path, 1, 2)
    path = checkpoints.files()[0]
    contents = bytearray(path.read_bytes())
    if damage == "one bit":
        contents[len(contents) // 2] ^= 4
    path.write_bytes({"truncated": contents[:-7], "empty": b"", "one bit": contents}.get(damage, b"\0" * 1000))
    with pytest.warns(UserWarning, match=f"{path.name} is damaged: the fit goes on from what was before it"):
        assert checkpoints.newest()["step"] == 1
    assert path.with_suffix(".damaged").exists()
    assert checkpoints.newest()["step"] == 1


def test_a_damaged_one_is_not_in_the_way_of_earlier_steps(tmp_path):
    checkpoints = write(tmp_path, 100, keep=1)
    checkpoints.files()[0].write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged"):
        assert checkpoints.newest() is None
    checkpoints.write({"step": 7}, 7)
    assert checkpoints.newest()["step"] == 7


@pytest.mark.parametrize("bit", range(0, 8000, 331))
def test_each_bit_counts(tmp_path, bit):
    checkpoints = write(tmp_path, 1)
    (path,) = checkpoints.files()
    contents = bytearray(path.read_bytes())
    contents[bit // 8] ^= 1 << bit % 8
    path.write_bytes(contents)
    with pytest.warns(UserWarning, match="is damaged"):
        assert checkpoints.newest() is None


def test_a_later_format_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write({"format": 2}, 1)
    with pytest.raises(ValueError, match="has format 2, and this version of pyrovae reads 1: go on with the version"):
        checkpoints.newest()


def test_a_state_that_only_code_could_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match="without executing code: its optimizer keeps something"):
        Checkpoints(tmp_path).write({"optimizer": pytest.raises}, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"before")

    def half_of_it():
        with whole_file(path) as part:
            part.write_bytes(b"half of it")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_of_it()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(OSError, match="too large"):
            write_whole(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert path.read_bytes() == b"before"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_what_a_dead_process_left_is_removed(tmp_path):
    (tmp_path / ".step-000000001-0123456789abcdef.pt.4711.part").write_bytes(b"half")
    write(tmp_path, 1)
    assert [path.suffix for path in tmp_path.iterdir()] == [".pt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_seconds": -1.0}, "every_seconds is -1.0; expected seconds, zero or more"),
        ({"every_seconds": float("nan")}, "every_seconds is nan"),
        ({"keep": 0}, "keep is 0; expected how many of the newest stay, 1 or more"),
        ({"keep": True}, "keep is True"),
    ],
)
def test_numbers_out_of_range(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, **options)


def test_fingerprints():
    rows = torch.arange(12.0).reshape(6, 2)
    other = rows.clone()
    other[5, 1] = 11.5
    texts = [
        fingerprint(given) for given in (rows, rows.clone(), other, rows.double(), rows.reshape(6, 1, 2), rows[:5])
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 5
    assert fingerprint(StreamedRows(rows.numpy())) == texts[0]
    assert fingerprint(StreamedRows(other.numpy())) == texts[2]


def test_the_last_of_so_many_streamed_rows_that_float32_rounds_their_number():
    stored = np.broadcast_to(np.float32(1.0), (2**24 + 4, 1))
    assert fingerprint(StreamedRows(stored)).startswith("torch.float32 (16777220, 1) ")


def test_the_rows_of_a_fingerprint_are_those_of_earlier_versions():
    rows = torch.arange(2002.0)[:, None]
    # There float64 would take another row than float32.
    before = rows[torch.linspace(0, 2001, 1000).long()]
    checksum = zlib.crc32(before.numpy().tobytes())
    assert fingerprint(StreamedRows(rows.numpy())) == f"torch.float32 (2002, 1) {checksum:08x}"
