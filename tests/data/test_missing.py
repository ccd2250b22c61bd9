"""Missing cells, and columns of different kinds."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae.data import KnownColumns, check_column_kinds, columns_by_kind, load_data, mark_missing, num_categories

TABLE = """age,city,height,smokes,stage
31,Oslo,1.7,yes,1
,Rome,1.8,no,2
45,Oslo,,no,3
52,,1.6,yes,1
7,Lima,1.1,no,2
60,Rome,1.75,NA,3
"""
KINDS = {"age": "count", "city": "categorical", "smokes": "binary", "stage": "categorical"}


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text)
    return path


def joined(splits):
    whole = torch.cat([splits.train, splits.validation, splits.test])
    return sorted(str([round(value, 4) for value in row]) for row in whole.tolist())


def test_kinds_are_parsed():
    assert check_column_kinds(["real", "categorical(12)"]) == ("real", "categorical(12)")
    assert num_categories("categorical(12)") == 12
    assert num_categories("count") is None
    assert list(columns_by_kind(["categorical(10)", "count", "categorical(2)", "real", "count"]).items()) == [
        ("real", [3]),
        ("count", [1, 4]),
        ("categorical(2)", [2]),
        ("categorical(10)", [0]),
    ]
    for wrong in ("categorical", "categorical(0)", "categorical(-2)", "Real", "", None):
        with pytest.raises(ValueError, match=r"for column 1; expected 'real', 'count', 'binary' or\s*'categorical"):
            check_column_kinds(["real", wrong])
    with pytest.raises(ValueError, match="column_kinds is empty"):
        check_column_kinds([])


def test_a_table_with_words_and_missing_cells(tmp_path):
    splits = load_data(write(tmp_path, TABLE), missing="keep", columns=KINDS)
    assert splits.column_kinds == ("count", "categorical(3)", "real", "binary", "categorical(3)")
    assert splits.column_names == ("age", "city", "height", "smokes", "stage")
    assert splits.categories == {"city": ("Lima", "Oslo", "Rome"), "smokes": ("no", "yes"), "stage": ("1", "2", "3")}
    nan = float("nan")
    expected = [
        [31, 1, 1.7, 1, 0],
        [nan, 2, 1.8, 0, 1],
        [45, 1, nan, 0, 2],
        [52, nan, 1.6, 1, 0],
        [7, 0, 1.1, 0, 1],
        [60, 2, 1.75, nan, 2],
    ]
    assert joined(splits) == sorted(str([float(value) for value in row]) for row in expected)
    assert splits.num_missing == 4
    lines = splits.summary().splitlines()
    assert "missing     4 of 30 entries" in lines
    assert "columns     1 count, 2 categorical(3), 1 real, 1 binary" in lines
    assert "support     real, from 0 to 60" in lines
    provenance = splits.provenance()
    assert json.loads(json.dumps(provenance)) == provenance
    assert provenance["missing"] == 4
    assert provenance["column_kinds"] == list(splits.column_kinds)
    assert provenance["categories"]["smokes"] == ["no", "yes"]


def test_a_level_that_only_test_rows_have_is_a_level(tmp_path):
    rows = "\n".join(["a"] * 10 + ["b"] * 10 + ["rare"])
    path = write(tmp_path, f"level\n{rows}\n")
    for seed in range(100):
        splits = load_data(path, columns=["categorical"], seed=seed)
        assert splits.column_kinds == ("categorical(3)",)
        if 2.0 in splits.test:
            return
    raise AssertionError


def test_kinds_in_order_and_beside_labels(tmp_path):
    text = "a,label,b\n0,5,0.5\n1,6,0.25\n2,7,1.5\n"
    splits = load_data(write(tmp_path, text), columns=["categorical(4)", "real"])
    assert splits.column_kinds == ("categorical(4)", "real")
    assert splits.column_names == ("a", "b")
    assert splits.categories == {}
    assert sorted(torch.cat([splits.train_labels, splits.validation_labels, splits.test_labels]).tolist()) == [5, 6, 7]


def test_numbers_without_kinds_keep_missing_cells_too(tmp_path):
    splits = load_data(write(tmp_path, "1,\n2,3\n,4\n5,6\n"), missing="keep")
    assert splits.column_kinds is None
    assert splits.column_names is None
    assert splits.num_missing == 2
    assert splits.support == "count"


def test_truth_values_beside_missing_cells(tmp_path):
    splits = load_data(write(tmp_path, "a,b\nTrue,1\n,2\nFalse,3\nTrue,4\n"), missing="keep", columns={"a": "binary"})
    assert joined(splits) == sorted(map(str, [[1.0, 1.0], [float("nan"), 2.0], [0.0, 3.0], [1.0, 4.0]]))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            TABLE,
            {"columns": KINDS},
            r"row 3 \(line of the file\), column 'age' is missing \(1 such cells, 4 in all columns\); to keep",
        ),
        (TABLE, {}, r"row 2 \(line of the file\), column 'city' holds 'Oslo', which is not a finite number"),
        ("a,b\n1,\n2,3\n3,4\n", {}, r'is missing .* use missing="keep" \(--missing keep\)'),
        ("a,b\n1,2\n,\n3,4\n5,\n", {"missing": "keep"}, r"row 3 .* and all others of the row are missing"),
        ("a,b\n1,2\n\n3,4\n", {"missing": "keep"}, "row 3"),
        ("a,b\n1,2\ninf,3\n3,4\n", {"missing": "keep"}, "row 3 .*'a' holds 'inf', which is not a finite number"),
        ("a\n1\n-2\n3\n", {"columns": {"a": "count"}}, "column 'a' holds '-2', which is not a count 0, 1, 2"),
        ("a\n1\n0\n3\n", {"columns": {"a": "binary"}}, "column 'a' holds '3', which is neither 0 nor 1"),
        ("a\nx\ny\nz\n", {"columns": {"a": "binary"}}, "'a' holds 'x', which is neither 0 nor 1, nor one of two"),
        ("a\n1\n0\n3\n", {"columns": {"a": "categorical(3)"}}, "column 'a' holds '3', which is not one of 0 to 2"),
        ("a\n1\n0\n3\n", {"columns": {"b": "real"}}, "has no column 'b', which columns names; it has a"),
        ("a\n1\n0\n3\n", {"columns": {"a": "ordinal"}}, "'ordinal' for column 'a'; expected 'real', 'count'"),
        ("a\n1\n0\n3\n", {"columns": ["real", "real"]}, "columns has 2 kinds, but .* has 1 columns"),
        ("a,label\n1,0\n,\n3,4\n", {"missing": "keep"}, "column 'label' is missing"),
        ("a\n1\n0\n3\n", {"missing": "drop"}, "missing='drop' is unknown; use one of 'refuse', 'keep'"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        load_data(write(tmp_path, text), **options)


DAYS = np.datetime64("2020-01-30") + np.arange(60) * 7


@pytest.mark.parametrize(
    "form",
    [
        *("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d %H:%M", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y"),
        *("%m/%d/%y %H:%M", "%d/%m/%y %H:%M:%S", "%d.%m.%y %H:%M", "%d.%m.%Y %H:%M:%S"),
    ],
)
def test_dates_are_sent_to_days_and_the_advice_works(tmp_path, form):
    words = pd.Series(DAYS).dt.strftime(form)
    table = pd.DataFrame({"height": np.arange(60.0), "joined": words})
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(ValueError, match=r"row 2 .*'joined' holds .* is not a finite number.*; dates become") as error:
        load_data(tmp_path / "table.csv")
    convert, _, assign = str(error.value).split("since the first: ")[1].removesuffix(".").partition(", and ")
    read = {"pandas": pd, "table": pd.read_csv(tmp_path / "table.csv")}
    exec(f"{convert}\n{assign}", read)
    assert read["table"]["joined"].tolist() == (7.0 * np.arange(60)).tolist()
    read["table"].to_csv(tmp_path / "days.csv", index=False)
    assert load_data(tmp_path / "days.csv").data_shape == (2,)


@pytest.mark.parametrize(
    "form",
    [
        *("{:,.2f}", "{:.2f}%", "${:.2f}", "€ {:,.2f}", "{:.2f} %", "-${:,.2f}"),
        # With other signs between thousands and before decimals.
        *("{:_.2f}|_ |.,", "{:_.2f}|_\xa0|.,", "{:.2f}|.,", "{:_.2f} €|.,|_.", "{:_.2f}|_ "),
    ],
)
def test_numbers_with_signs_become_plain_ones_and_the_advice_works(tmp_path, form):
    pattern, *changes = form.split("|")
    numbers = np.round(900 + 500 * np.random.default_rng(0).random(60), 2)
    words = [pattern.format(number) for number in numbers]
    for old, new in changes:
        words = [word.replace(old, new) for word in words]
    path = tmp_path / "table.csv"
    pd.DataFrame({"cost": words, "b": np.arange(60) / 8}).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"row \d .*'cost' holds .*; numbers with signs become plain ones by") as error:
        load_data(path)
    line = str(error.value).split("plain ones by ")[1].removesuffix(".")
    read = {"pandas": pd, "table": pd.read_csv(path)}
    exec(line, read)
    read["table"].to_csv(path, index=False)
    sign = -1 if pattern.startswith("-") else 1
    np.testing.assert_allclose(load_data(path, test_fraction=1).test[:, 0], sign * numbers, rtol=1e-6)


def test_commas_that_may_be_decimal_are_in_doubt(tmp_path):
    path = write(tmp_path, "a,b\n" + "".join(f'"{n},{500 + n}",{n}.5\n' for n in range(1, 40)))
    with pytest.raises(
        ValueError, match=r"\(',' taken for thousands; where it is before decimals, replace it by '.'\)"
    ):
        load_data(path)


def test_digits_of_other_scripts_get_no_advice_on_signs(tmp_path):
    path = write(tmp_path, "a,b\n" + "\u0663,1\n\u0664,2\n" * 20)
    with pytest.raises(ValueError, match=r"holds '\u0663', .*; every cell must be a number"):
        load_data(path)


@pytest.mark.parametrize("text", ["a,b,c\n1,2,3\n4,5\n", '1,2,3\n"4","5"\n6,,', "1,2,3\n4,5\n6,7,8\n"])
@pytest.mark.parametrize("missing", ["refuse", "keep"])
def test_rows_with_too_few_cells_are_no_missing_cells(tmp_path, text, missing):
    """A file that was cut off, or a cell that was lost: those behind it were taken for others."""
    line = text.splitlines().index(next(row for row in text.splitlines() if "4" in row)) + 1
    with pytest.raises(ValueError, match=rf"row {line} \(line of the file\) has 2 cells, and others have 3; complete"):
        load_data(write(tmp_path, text), missing=missing)


def test_a_column_of_categories_without_any_is_left_out(tmp_path):
    path = write(tmp_path, "a,town\n" + "".join(f"{n}.5,\n" for n in range(9)))
    with pytest.raises(
        ValueError, match=r"row 2 .*, column 'town' and all others of the column are missing, .*leave the"
    ):
        load_data(path, columns={"town": "categorical"}, missing="keep")
    assert load_data(path, missing="keep").num_missing == 9


def test_words_with_signs_and_digits_are_no_numbers(tmp_path):
    path = write(tmp_path, "a,b\n" + "".join(f"10.0.0.{n},{n}.5\n" for n in range(40)))
    with pytest.raises(ValueError, match="leave the column out: nearly all of its words differ"):
        load_data(path)


def test_words_that_nearly_all_differ_are_left_out(tmp_path):
    names = [f"4{number:03d}-{number % 7}" for number in range(100)]
    text = "".join(f"{name},{number % 5}\n" for number, name in enumerate(names))
    with pytest.raises(ValueError, match=r"'barcode' holds '4000-0', .*; leave the column out: nearly all"):
        load_data(write(tmp_path, "barcode,b\n" + text))
    text = "".join(f"{'xyz'[number % 3]},{number % 5}\n" for number in range(100))
    with pytest.raises(ValueError, match=r"'a' holds 'x', .*or a word in a column that columns= \(--columns\) says"):
        load_data(write(tmp_path, "a,b\n" + text))


def test_arrays_with_missing_entries(tmp_path):
    values = np.arange(40, dtype=np.float64).reshape(20, 2)
    values[3, 1] = np.nan
    np.save(tmp_path / "array.npy", values)
    with pytest.raises(ValueError, match=r'or keep NaN as missing entries, with missing="keep" \(--missing keep\)'):
        load_data(tmp_path / "array.npy")
    splits = load_data(tmp_path / "array.npy", missing="keep")
    assert splits.num_missing == 1
    assert splits.support == "count"
    assert repr(splits) == repr(splits)
    values[3, 0] = np.nan
    np.save(tmp_path / "array.npy", values)
    with pytest.raises(ValueError, match=r"has no value in row 3, counted from 0 \(1 such rows\)"):
        load_data(tmp_path / "array.npy", missing="keep")
    values[3, 0] = np.inf
    np.save(tmp_path / "array.npy", values)
    with pytest.raises(ValueError, match="holds 1 values that are NaN, infinite"):
        load_data(tmp_path / "array.npy", missing="keep")


def test_arrays_with_kinds_count_levels_over_all_splits(tmp_path):
    train = np.array([[0.5, 10.0], [1.5, 20.0], [2.5, np.nan]])
    np.savez(tmp_path / "split.npz", train=train, validation=train[:1], test=np.array([[9.0, 30.0]]))
    splits = load_data(tmp_path / "split.npz", missing="keep", columns={"2": "categorical"})
    assert splits.column_kinds == ("real", "categorical(3)")
    assert splits.categories == {"2": ("10", "20", "30")}
    assert splits.train[:, 1].tolist()[:2] == [0, 1]
    assert splits.test.tolist() == [[9, 2]]
    with pytest.raises(ValueError, match=r"array 'train', row 0 \(counted from 0\), column '1' holds '0.5'"):
        load_data(tmp_path / "split.npz", missing="keep", columns={"1": "binary"} | {"2": "real"})


def test_kinds_are_for_tables(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((5, 4, 4)))
    with pytest.raises(ValueError, match=r"columns is for tables, but .*images.npy holds rows of shape \(4, 4\)"):
        load_data(tmp_path / "images.npy", columns=["real"])
    with pytest.raises(ValueError, match="columns is for tables, and digits holds images"):
        load_data("digits", columns=["real"])


@pytest.mark.parametrize("how", ["threshold", "static", "dynamic"])
def test_missing_entries_stay_missing_when_grey_values_become_bits(tmp_path, how):
    values = np.random.default_rng(0).random((30, 3))
    values[::4, 1] = np.nan
    np.save(tmp_path / "grey.npy", values)
    splits = load_data(tmp_path / "grey.npy", missing="keep", binarize=how)
    train = splits.train if splits.train_transform is None else splits.train_transform(splits.train)
    whole = torch.cat([train, splits.validation, splits.test])
    assert int(whole.isnan().sum()) == 8
    assert set(whole[~whole.isnan()].tolist()) == {0.0, 1.0}


def test_mark_missing():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    missing = torch.tensor([[True, False], [False, False]])
    marked = mark_missing(x, missing)
    assert marked.dtype == torch.float64
    assert torch.equal(marked.isnan(), missing)
    assert torch.equal(marked[~missing], x[~missing])
    assert not x.isnan().any()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (torch.zeros(2, 2), "missing is torch.float32; expected a boolean tensor"),
        (np.zeros((2, 2), dtype=bool), "missing is a ndarray; expected a boolean tensor"),
        (torch.zeros(2, dtype=torch.bool), r"missing has shape \(2,\) and x \(2, 2\)"),
        (torch.tensor([[False, False], [True, True]]), r"missing leaves no entry of row 1 \(1 such rows\)"),
    ],
)
def test_masks_that_are_refused(missing, message):
    with pytest.raises(ValueError, match=message):
        mark_missing(torch.ones(2, 2), missing)


def test_refused_cells_are_counted_by_what_is_wrong(tmp_path):
    """Three missing cells, one of them in 'a', beside words in 'b' and a sign in 'c'."""
    text = "a,b,c\n,x,1\n2,y,\n3,z,-\n4,w,\n"
    whole = r"'a' is missing \(1 such cells, 3 in all columns; cells are refused for another reason in 'b', 'c'\)"
    with pytest.raises(ValueError, match=whole):
        load_data(write(tmp_path, text))
    with pytest.raises(ValueError, match=r"'b' holds 'x', .* \(4 such cells, 5 in all columns\); every"):
        load_data(write(tmp_path, text), missing="keep")
    with pytest.raises(ValueError, match=r"row 4 .*'c' holds '-', .* \(1 such cells\); every"):
        load_data(write(tmp_path, text), missing="keep", columns={"b": "categorical"})


def test_a_missing_label_is_not_to_be_kept(tmp_path):
    text = "a,label\n" + "".join(f"{i},{i % 2}\n" for i in range(20))
    with pytest.raises(ValueError, match=r"row 22 .*'label' is missing \(1 such cells\); .* write -1") as caught:
        load_data(write(tmp_path, text + "3,\n"), missing="keep")
    assert "--missing" not in str(caught.value)
    splits = load_data(write(tmp_path, text + "3,-1\n"), missing="keep")
    assert sum(int((part == -1).sum()) for part in (splits.train_labels, splits.validation_labels)) <= 1


KNOWN = KnownColumns(("size", "town", "smoker", "code"), {"town": ("01", "Köln", "x"), "smoker": ("no", "yes")})
KNOWN_KINDS = {"size": "real", "town": "categorical", "smoker": "binary", "code": "categorical(3)"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A level less, and words of one kind alone.
        ("size,town,smoker,code\n1,x,yes,0\n2,x,yes,1\n3,01,yes,2\n", [[1, 2, 1, 0], [2, 2, 1, 1], [3, 0, 1, 2]]),
        # All words of a column look like numbers, and columns stand in another order.
        ("smoker,code,town,size\nno,0,01,1\nno,1,01,2\nno,2,01,3\n", [[1, 0, 0, 0], [2, 0, 0, 1], [3, 0, 0, 2]]),
        (
            "size,town,smoker,code\n1,,no,0\n2,Köln,,1\n3,,,2\n",
            [[1, math.nan, 0, 0], [2, 1, math.nan, 1], [3, math.nan, math.nan, 2]],
        ),
    ],
)
def test_new_rows_mean_what_known_columns_mean(tmp_path, text, expected):
    splits = load_data(write(tmp_path, text), missing="keep", columns=KNOWN_KINDS, known_columns=KNOWN)
    assert joined(splits) == sorted(str([float(value) for value in row]) for row in expected)
    assert splits.column_names == KNOWN.names
    assert splits.column_kinds == ("real", "categorical(3)", "binary", "categorical(3)")
    assert splits.categories == KNOWN.categories


def test_numbers_that_are_known_levels(tmp_path):
    levels = ("-1", "0.5", "3", str(10**18 + 1))
    known, kinds = KnownColumns(("1",), {"1": levels}), ["categorical"]
    splits = load_data(write(tmp_path, "3\n3.0\n0.5\n-1\n3\n"), columns=kinds, known_columns=known)
    assert joined(splits) == sorted(map(str, [[2.0], [2.0], [1.0], [0.0], [2.0]]))
    whole = [3, -1, 10**18 + 1]
    np.save(tmp_path / "array.npy", np.array(whole)[:, None])
    for path in (tmp_path / "array.npy", write(tmp_path, "\n".join(map(str, whole)))):
        splits = load_data(path, columns=kinds, known_columns=known)
        assert joined(splits) == sorted(map(str, [[2.0], [0.0], [3.0]]))
    with pytest.raises(
        ValueError, match=r"row 3 .*'1' holds 'four', which the run does not know; it knows '-1', '0.5'"
    ):
        load_data(write(tmp_path, "3\n03\nfour\n3\n"), columns=kinds, known_columns=known)


def test_kinds_in_a_list_are_in_the_order_of_the_file(tmp_path):
    known = KnownColumns(("a", "c"), {"c": ("1", "5")})
    path = write(tmp_path, "c,a\n1,3\n5,40\n")
    splits = load_data(path, columns=["categorical", "real"], known_columns=known, test_fraction=1)
    assert splits.test.tolist() == [[3.0, 0.0], [40.0, 1.0]]
    assert splits.column_kinds == ("real", "categorical(2)")
    with pytest.raises(
        ValueError, match="column 'a' is to be categorical, and the rows that the run was fitted to have"
    ):
        load_data(path, columns=["categorical", "categorical"], known_columns=known, test_fraction=1)
