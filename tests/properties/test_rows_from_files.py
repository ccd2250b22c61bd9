"""``load_data`` on arrays of any kind and damaged files: splits that keep what is promised, or an own error."""

import csv
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from hostile import damaged, examples, global_state_kept, lengths, own_errors
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pyrovae.data import load_data

DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["cut", "flip", "flip", "insert", "remove", "replace"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=12),
    ),
    max_size=3,
)
OPTIONS = st.fixed_dictionaries(
    {"seed": st.integers(-1, 2**32), "missing": st.sampled_from(["refuse", "keep"])},
    optional={
        "binarize": st.sampled_from(["none", "threshold", "static", "dynamic"]),
        "validation_fraction": st.floats(-0.1, 1.1),
        "test_fraction": st.floats(-0.1, 1.1),
        "columns": st.sampled_from(
            [
                None,
                ["real", "count"],
                {"a": "categorical"},
                {"1": "binary"},
                {"b": "categorical(3)"},
                {"a": "words"},
                [],
            ]
        ),
    },
)
ANY_DTYPE = (
    arrays.boolean_dtypes()
    | arrays.integer_dtypes(endianness="?")
    | arrays.unsigned_integer_dtypes(endianness="?")
    | arrays.floating_dtypes(endianness="?")
    | arrays.complex_number_dtypes()
    | arrays.unicode_string_dtypes(max_len=3)
    | arrays.byte_string_dtypes(max_len=3)
    | arrays.datetime64_dtypes()
    | arrays.array_dtypes(max_size=2)
)
ANY_ARRAY = arrays.arrays(ANY_DTYPE, arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6))
CELLS = st.one_of(
    st.integers(-3, 5).map(str),
    st.floats().map(repr),
    st.sampled_from(["", "NA", "nan", "true", "inf", "1e400", "=1+1", "label", "a", "b", '"', "\x00", " 3 ", "0x3"]),
    st.text(max_size=4),
)


def check(path, options):
    """Splits that keep what ``load_data`` promises."""
    with global_state_kept(), own_errors():
        data = load_data(path, **options)
        splits = (data.train, data.validation, data.test)
        for split in splits:
            assert split.dtype == torch.float32
            assert len(split) >= 1 or (options.get("test_fraction") == 1 and split is not data.test)
            assert split.shape[1:] == data.data_shape
            assert not split.isinf().any()
            assert options["missing"] == "keep" or not split.isnan().any()
            assert not split.isnan().flatten(1).all(1).any()
        if data.support in ("binary", "unit_interval"):
            assert all(((split >= 0) & (split <= 1) | split.isnan()).all() for split in splits)
        again = load_data(path, **options)
        assert again.checksum == data.checksum
        assert data.summary()
        assert isinstance(data.provenance()["checksum"], str)
        if Path(path).suffix == ".npy" and not options.get("columns") and options.get("binarize", "none") == "none":
            assert load_data(path, **options, stream=True).checksum == data.checksum


@lengths(30, 400)
def test_arrays_of_any_type_and_shape(count, tmp_path):
    @examples(count)
    @given(ANY_ARRAY, OPTIONS)
    def holds(array, options):
        with warnings.catch_warnings():
            # Names of fields beyond Latin-1 need a newer format of the file.
            warnings.simplefilter("ignore")
            np.save(tmp_path / "x.npy", array)
        check(tmp_path / "x.npy", options)

    holds()


@lengths(30, 400)
def test_damaged_arrays(count, tmp_path):
    rng = np.random.default_rng(0)
    whole = io.BytesIO()
    np.save(whole, rng.random((12, 3)).astype("float32"))

    @examples(count)
    @given(DAMAGE, OPTIONS)
    def holds(damage, options):
        (tmp_path / "x.npy").write_bytes(damaged(whole.getvalue(), damage))
        check(tmp_path / "x.npy", options)

    holds()


@lengths(30, 400)
def test_damaged_archives(count, tmp_path):
    rng = np.random.default_rng(0)

    @examples(count)
    @given(
        st.dictionaries(
            st.sampled_from(["x", "data", "y", "labels", "train", "test", "validation", "train_labels", "z"]),
            st.sampled_from([(9, 3), (6, 3), (9,), (6,), (9, 1, 4, 4), (0, 3)]),
            max_size=4,
        ),
        st.booleans(),
        DAMAGE,
        OPTIONS,
    )
    def holds(shapes, compressed, damage, options):
        whole = io.BytesIO()
        members = {key: rng.integers(0, 3, shape).astype("float32") for key, shape in shapes.items()}
        (np.savez_compressed if compressed else np.savez)(whole, **members)
        (tmp_path / "x.npz").write_bytes(damaged(whole.getvalue(), damage))
        check(tmp_path / "x.npz", options)

    holds()


@lengths(30, 400)
def test_tables_of_any_cells(count, tmp_path):
    @examples(count)
    @given(st.lists(st.lists(CELLS, max_size=4), max_size=8), st.booleans(), DAMAGE, OPTIONS)
    def holds(rows, quoted, damage, options):
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, escapechar="\\").writerows(rows)
        content = text.getvalue().encode("utf-8", "surrogatepass")
        (tmp_path / "x.csv").write_bytes(damaged(content, damage))
        check(tmp_path / "x.csv", options)

    holds()


@lengths(30, 400)
def test_damaged_tables(count, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{a},{'pqr'[b]},{c:.3f},{a % 2}"
        for a, b, c in zip(rng.poisson(3, 9), rng.integers(3, size=9), rng.random(9), strict=True)
    ]
    whole = "\n".join(["a,b,c,label", *rows]).encode()

    @examples(count)
    @given(DAMAGE, OPTIONS, st.sampled_from([None, {"b": "categorical"}, {"a": "count", "b": "categorical"}]))
    def holds(damage, options, columns):
        (tmp_path / "x.csv").write_bytes(damaged(whole, damage))
        check(tmp_path / "x.csv", {**options, "columns": columns})

    holds()


@lengths(15, 200)
def test_damaged_images(count, tmp_path):
    rng = np.random.default_rng(0)

    @examples(count)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["png", "bmp", "gif", "jpg", "pgm", "ppm", "tif", "webp"]),
                st.sampled_from([(5, 4), (5, 4), (6, 4)]),
                st.sampled_from(["L", "RGB", "L"]),
                DAMAGE,
            ),
            min_size=3,
            max_size=4,
        ),
        st.booleans(),
        OPTIONS,
    )
    def holds(images, in_classes, options):
        folder = tmp_path / "images"
        for path in folder.rglob("*.*"):
            path.unlink()
        for number, (ending, size, mode, damage) in enumerate(images):
            whole = io.BytesIO()
            pixels = rng.integers(0, 256, (*size, 3) if mode == "RGB" else size).astype("uint8")
            formats = {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}
            Image.fromarray(pixels).save(whole, formats.get(ending, ending.upper()))
            place = folder / f"class{number % 2}" if in_classes else folder
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.{ending}").write_bytes(damaged(whole.getvalue(), damage))
        check(folder, options)

    holds()
