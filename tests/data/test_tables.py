import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae.data import KnownColumns, load_data


def write(folder, text):
    path = folder / "table.csv"
    path.write_bytes(text.encode())
    return path


def rows(splits):
    return sorted(tuple(row.tolist()) for part in (splits.train, splits.validation, splits.test) for row in part)


EXPECTED = [(1, 2.5), (3, -4), (5, 6), (7, 8e3)]
BODY = "1,2.5\n3,-4\n5,6\n7,8e3\n"


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        BODY.rstrip("\n"),
        BODY.replace("\n", "\r\n"),
        BODY.replace(",", ", "),
        "width,height\n" + BODY,
        '"width","height"\n' + BODY,
        "\ufeffwidth,height\n" + BODY,
        "\ufeff" + BODY,
        "0,height\n" + BODY,
    ],
)
def test_header_is_found(tmp_path, text):
    splits = load_data(write(tmp_path, text))
    assert rows(splits) == EXPECTED
    assert splits.data_shape == (2,)
    assert splits.name == "table.csv"
    assert splits.variant == "values as stored"
    assert splits.train_labels is None


@pytest.mark.parametrize("column", ["labels", "class", "target"])
def test_other_columns_are_data(tmp_path, column):
    splits = load_data(write(tmp_path, f"width,{column}\n" + BODY))
    assert splits.data_shape == (2,)
    assert splits.train_labels is None


def test_a_column_named_label_holds_the_labels(tmp_path):
    pd.DataFrame({"a": range(10), "label": range(10, 20), "b": range(20, 30)}).to_csv(
        tmp_path / "table.csv", index=False
    )
    splits = load_data(tmp_path / "table.csv")
    assert splits.data_shape == (2,)
    assert splits.support == "count"
    for part, labels in (
        (splits.train, splits.train_labels),
        (splits.validation, splits.validation_labels),
        (splits.test, splits.test_labels),
    ):
        assert labels.dtype == torch.int64
        assert torch.equal(part, torch.stack([labels - 10, labels + 10], dim=1).float())


def test_truth_values_are_zeros_and_ones(tmp_path):
    splits = load_data(write(tmp_path, "True,False\nFalse,True\nTrue,True\n"))
    assert rows(splits) == [(0, 1), (1, 0), (1, 1)]
    assert splits.support == "binary"


def test_many_rows_are_read_as_written(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float32)
    pd.DataFrame(values, columns=list("abcdefg")).to_csv(tmp_path / "table.csv", index=False)
    assert rows(load_data(tmp_path / "table.csv")) == sorted(map(tuple, values.tolist()))


@pytest.mark.parametrize(
    ("text", "row", "column", "wrong"),
    [
        ("a,b\n1,2\n3,x\n5,6\n", 3, "b", "holds 'x', which is not a finite number"),
        ("1,2\n3,x\n5,6\n", 2, "2", "holds 'x', which is not a finite number"),
        ("a,b\n1,2\n,4\n5,6\n", 3, "a", "is missing"),
        ("a,b\n1,2\n3,\n5,6\n", 3, "b", "is missing"),
        ("a,b\n1,2\n3,NA\n5,6\n", 3, "b", "is missing"),
        ("a,b\n1,2\n3,inf\n5,6\n", 3, "b", "holds 'inf', which is not a finite number"),
        ("a,b\n1,2\n\n5,6\n", 3, "a", "is missing"),
        ("a, b\n1, 2\n3, \n5, 6\n", 3, "b", "is missing"),
        ("a,label\n1,0\n3,\t\n5,1\n", 3, "label", "is missing"),
        ("1,\n3,4\n5,6\n", 1, "2", "is missing"),
        ("0.5,high\n1,2\n3,4\n", 1, "2", "holds 'high', which is not a finite number"),
        ("a,label\n1,cat\n2,dog\n3,cat\n", 2, "label", "holds 'cat', which is not a finite number"),
        ("a,b\nTrue,2\nno,4\nTrue,6\n", 2, "a", "holds 'True', which is not a finite number"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, text, row, column, wrong):
    match = rf"table.csv: the cell in row {row} \(line of the file\), column '{column}' {re.escape(wrong)}"
    with pytest.raises(ValueError, match=match):
        load_data(write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "a,b\n", "1,2\n3,4,5\n6,7\n"])
def test_a_file_that_is_no_table(tmp_path, text):
    with pytest.raises(ValueError, match=r"table.csv cannot be read as a table .*same number of comma-separated"):
        load_data(write(tmp_path, text))


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "table.csv").write_bytes(bytes(range(128, 256)) * 10)
    with pytest.raises(ValueError, match=r"cannot be read as a table .*expected UTF-8 text"):
        load_data(tmp_path / "table.csv")


@pytest.mark.parametrize("header", ["a", "a,b,c"])
def test_a_header_of_another_length(tmp_path, header):
    named = len(header.split(","))
    with pytest.raises(ValueError, match=rf"names {named} columns, but the next row has 2; give every column"):
        load_data(write(tmp_path, f"{header}\n{BODY}"))


@pytest.mark.parametrize("separator", [";", "\t", "|", " ", "   "])
@pytest.mark.parametrize("decimal", [",", "."])
@pytest.mark.parametrize("header", ["a b\n", ""])
def test_a_table_with_another_separator_is_to_be_saved_again(tmp_path, separator, decimal, header):
    text = header + "".join(f"{n}.5 {n % 3}\n" for n in range(9))
    path = write(tmp_path, text.replace(".", decimal).replace(" ", separator))
    with pytest.raises(ValueError, match=r"cells are separated by .* here") as said:
        load_data(path)
    repair = re.search(r"save it by (.*)\.$", str(said.value))[1]
    eval(repair, {"pandas": pd, "path": path})
    assert rows(load_data(path)) == [(n + 0.5, float(n % 3)) for n in range(9)]


@pytest.mark.parametrize("header", ["a bc", "2019 2020"])
def test_names_that_numpy_writes_over_spaces_are_kept(tmp_path, header):
    path, values = tmp_path / "table.csv", np.arange(20.0).reshape(10, 2)
    np.savetxt(path, values, header=header)
    with pytest.raises(ValueError, match=r"cells are separated by spaces here") as said:
        load_data(path)
    eval(re.search(r"save it by (.*)\.$", str(said.value))[1], {"pandas": pd, "path": path})
    assert path.read_text().splitlines()[0] == header.replace(" ", ",")
    if header == "a bc":
        data = load_data(path)
        assert (data.column_names, rows(data)) == (("a", "bc"), [tuple(row) for row in values.tolist()])


def test_semicolons_in_names_and_words_separate_no_cells(tmp_path):
    assert load_data(write(tmp_path, "a;b\n" + "1.5\n2.5\n" * 5)).column_names == ("a;b",)
    for name in ("unit price", "unit|price"):
        assert load_data(write(tmp_path, f"{name}\n" + "1.5\n2.5\n" * 5)).column_names == (name,)
    towns = write(tmp_path, "the town\n" + "Den Haag\nNew York\n" * 5)
    assert load_data(towns, columns="categorical").categories == {"the town": ("Den Haag", "New York")}
    assert load_data(write(tmp_path, "1 ,2 ,3\n4 ,5 ,6\n" * 5)).data_shape == (3,)
    words = write(tmp_path, "1.5,x;y\n2.5,z;y\n" * 5)
    assert load_data(words, columns={"2": "categorical"}).categories == {"2": ("x;y", "z;y")}


@pytest.mark.parametrize("delimiter", [",\t", ", \t"])
@pytest.mark.parametrize("number", ["%d", "%.3f"])
@pytest.mark.parametrize("header", ["", "a,\tb,\tc"])
def test_tabs_after_commas_separate_no_cells(tmp_path, delimiter, number, header):
    whole = np.arange(5.0, 35.0).reshape(10, 3)
    np.savetxt(tmp_path / "table.csv", whole, fmt=number, delimiter=delimiter, header=header, comments="")
    assert rows(load_data(tmp_path / "table.csv")) == [tuple(row) for row in whole.tolist()]


def test_a_comment_before_the_header_is_to_be_removed(tmp_path):
    text = "# made by hand\na,b\n" + "1,2\n" * 9
    with pytest.raises(ValueError, match=r"row 1 reads '# made by hand', and the next row has 2 cells; remove the"):
        load_data(write(tmp_path, text))
    assert load_data(write(tmp_path, "#a,b\n" + "1,2\n" * 9)).column_names == ("#a", "b")


def test_a_row_index_without_a_name(tmp_path):
    pd.DataFrame({"a": range(5)}).to_csv(tmp_path / "table.csv")
    with pytest.raises(ValueError, match=r"column 1 has no name in the header; .*index=False"):
        load_data(tmp_path / "table.csv")


def test_column_numbers_as_the_header_are_not_taken_for_data(tmp_path):
    pd.DataFrame(np.ones((5, 4))).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(ValueError, match=r"row 1 reads 0, 1, 2 and so on, .*put a row of column names there"):
        load_data(tmp_path / "table.csv")


DECIMALS = np.random.default_rng(0).normal(size=(40, 3))


@pytest.mark.parametrize("header", [(2019, 2020, 2021), (1, 2, 3), (400, 410, 450), (2010, 2020), (1990,)])
@pytest.mark.parametrize("form", ["%.3f", "%.18e"])
def test_whole_numbers_above_decimals_are_not_taken_for_data(tmp_path, header, form):
    path, rows_below = tmp_path / "table.csv", np.round(DECIMALS[:, : len(header)], 3)
    # Decimals that are whole are written with a point, too.
    rows_below[5] = 2.0
    np.savetxt(path, rows_below, form, ",", header=",".join(map(str, header)), comments="")
    with pytest.raises(ValueError, match=r"row 1 reads .*, which may be column numbers or data; put a row of") as said:
        load_data(path)
    assert f"such as c{header[0]}, or above" in str(said.value)
    np.savetxt(path, rows_below, form, ",", header=",".join(f"c{number}" for number in header), comments="")
    assert load_data(path, test_fraction=1).test.shape == rows_below.shape


@pytest.mark.parametrize(
    "lines",
    [
        # Counts, one column of them, and decimals of which some have no point.
        [f"{n},{n + 1},{n + 2}" for n in range(3, 40)],
        ["7,8,9", *(f"{n},0.5,1.5" for n in range(30))],
        ["2,4", *(f"{n / 2:g},{n / 4:g}" for n in range(30))],
        # Too few to tell, no names that differ, and a movement from its start.
        ["2,4", "0.5,1.5", "2.5,2.5"],
        ["3,3", *(f"{n}.5,0.25" for n in range(30))],
        ["0,5", *(f"{n}.5,0.25" for n in range(30))],
        # Written as decimals themselves.
        ["1.0,2.0,3.0", *(f"{n}.5,0.25,1.5" for n in range(30))],
    ],
)
def test_whole_numbers_that_may_well_be_data_are_data(tmp_path, lines):
    data = load_data(write(tmp_path, "\n".join(lines)), test_fraction=1)
    assert data.test.tolist() == [list(map(float, line.split(","))) for line in lines]


def test_a_name_given_twice(tmp_path):
    with pytest.raises(ValueError, match=r"names 'label' twice"):
        load_data(write(tmp_path, "label,label\n" + BODY))


def test_labels_that_are_not_whole_numbers(tmp_path):
    with pytest.raises(ValueError, match=r"column 'label', holds .* not whole numbers"):
        load_data(write(tmp_path, "a,label\n" + BODY))


def test_only_labels(tmp_path):
    with pytest.raises(ValueError, match=r"holds no value"):
        load_data(write(tmp_path, "label\n1\n2\n3\n"))


def test_too_few_rows(tmp_path):
    with pytest.raises(ValueError, match=r"table.csv: 1 row cannot be split"):
        load_data(write(tmp_path, "a,b\n1,2\n"))


@pytest.mark.parametrize("word", ["NA", "null", "NaN"])
def test_a_first_row_with_a_missing_cell_is_data(tmp_path, word):
    text = f"{word},3,4\n" + "".join(f"{i},{i + 1},{i + 2}\n" for i in range(20))
    splits = load_data(write(tmp_path, text), missing="keep")
    values = torch.cat([splits.train, splits.validation, splits.test])
    assert len(values) == 21
    assert int(values.isnan().sum()) == 1


def test_a_first_row_with_a_sign_for_a_missing_cell_is_no_header(tmp_path):
    with pytest.raises(ValueError, match=r"row 1 .*holds '\?'"):
        load_data(write(tmp_path, "?,3,4\n" + "1,2,3\n" * 20), missing="keep")


def test_blank_cells_are_missing_as_those_without_spaces_are(tmp_path):
    words = ["", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null"]
    words += ["None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"]
    plain = ["a,town,sign,n", *(f"{n},{'xyz'[n % 3]},{'+-'[n % 2]},{n % 5}" for n in range(40))]
    spaced = [line.replace(",", ", ") for line in plain]
    for row, word in enumerate(words, start=2):
        # Those without spaces are for pandas to find.
        plain[row], spaced[row] = f"{row},{word},{word},{word}", f"{row}, {word} ,\t{word}, {word}"
    columns = {"town": "categorical", "sign": "binary", "n": "categorical"}
    data = []
    for name, lines in (("plain", plain), ("spaced", spaced)):
        (tmp_path / f"{name}.csv").write_text("\n".join([*lines, ""]))
        data.append(load_data(tmp_path / f"{name}.csv", columns=columns, missing="keep", test_fraction=1))
    assert data[1].categories == {"town": ("x", "y", "z"), "sign": ("+", "-"), "n": ("0", "1", "2", "3", "4")}
    torch.testing.assert_close(data[1].test, data[0].test, equal_nan=True, rtol=0, atol=0)
    assert data[1].num_missing == 3 * len(words)
    with pytest.raises(ValueError, match=r"row 3 .*column 'town' is missing"):
        load_data(tmp_path / "spaced.csv", columns=columns)


@pytest.mark.parametrize("first", ["yes", ""])
@pytest.mark.parametrize("missing", ["refuse", "keep"])
def test_blank_check_boxes_need_a_word(tmp_path, first, missing):
    path = write(tmp_path, "a,paid\n" + f"0,{first}\n" + "1,yes\n2, \n" * 10)
    with pytest.raises(
        ValueError, match=r"'paid' .*; blank cells are missing: where .*, write a word for it into them"
    ):
        load_data(path, columns={"paid": "binary"}, missing=missing)
    path.write_text(path.read_text().replace(",\n", ",no\n").replace(", \n", ",no\n"))
    assert load_data(path, columns={"paid": "binary"}, missing=missing).categories == {"paid": ("no", "yes")}


@pytest.mark.parametrize("other", ["no,maybe", "1", "0"])
def test_other_binary_columns_are_no_check_boxes(tmp_path, other):
    cells = ["", *other.split(","), "7" if other.isdigit() else "yes"]
    path = write(tmp_path, "a,paid\n" + "".join(f"{n},{cells[n % len(cells)]}\n" for n in range(20)))
    with pytest.raises(ValueError, match=r"'paid' holds .* nor one of two words") as said:
        load_data(path, columns={"paid": "binary"}, missing="keep")
    assert "blank cells" not in str(said.value)


def test_a_blank_level_that_a_run_knows_stays_one(tmp_path):
    text = "a,town\n" + "".join(f"{n},{('x', ' ', ' NA', 'y', '')[n % 5]}\n" for n in range(20))
    levels = ("", "NA", "x", "y")
    known = KnownColumns(("a", "town"), {"town": levels})
    data = load_data(
        write(tmp_path, text), columns={"town": "categorical"}, missing="keep", known_columns=known, test_fraction=1
    )
    wanted = [[2.0, 0.0, 1.0, 3.0, math.nan][n % 5] for n in range(20)]
    torch.testing.assert_close(data.test[:, 1], torch.tensor(wanted), equal_nan=True)


def test_classes_in_words_are_to_be_numbered(tmp_path):
    text = "a,label\n" + "".join(f"{i},{'cat' if i % 2 else 'dog'}\n" for i in range(20))
    with pytest.raises(ValueError, match="the column holds classes: number them from 0, or give"):
        load_data(write(tmp_path, text))


def test_categories_that_would_be_merged_are_refused(tmp_path):
    """With a missing cell pandas reads whole numbers as float64."""
    text = "a,b\n" + "".join(f"{i},{10**18 + i % 3}\n" for i in range(20))
    columns = {"b": "categorical"}
    whole = load_data(write(tmp_path, text), columns=columns)
    assert whole.column_kinds == ("real", "categorical(3)")
    with pytest.raises(ValueError, match=r"row 2 .*'b' is a whole number with more digits than float64 has"):
        load_data(write(tmp_path, text + "20,\n"), columns=columns, missing="keep")


@pytest.mark.parametrize("header", ["0-9,10-19", "2020-01,2020-02", "#,%"])
def test_names_of_columns_may_be_without_letters(tmp_path, header):
    splits = load_data(write(tmp_path, header + "\n" + BODY))
    assert splits.column_names == tuple(header.split(","))


def test_words_that_read_as_large_numbers_are_categories(tmp_path):
    text = "a,id\n" + "".join(f"{i},{('7e25', 'ab12', 'inf')[i % 3]}\n" for i in range(21))
    assert load_data(write(tmp_path, text), columns={"id": "categorical"}).categories == {"id": ("7e25", "ab12", "inf")}


@pytest.mark.parametrize("header", ["a,code\n", ""])
@pytest.mark.parametrize("space", ["", " "])
@pytest.mark.parametrize(
    ("cells", "levels"),
    [
        (["01234", "1234"], ("01234", "1234")),
        (["00501", "00602"], ("00501", "00602")),
        (["1.1", "1.10", "1.2"], ("1.1", "1.10", "1.2")),
        (["10", "1E1"], ("10", "1E1")),
        (["+1", "-0", "0"], ("+1", "-0", "0")),
        (["1", "1.0", "-2", "2.5"], ("-2", "1", "2.5")),
        (["10", "9", "1e-07"], ("1e-07", "9", "10")),
        ([f"{number:.18e}" for number in (2, 10)], ("2", "10")),
    ],
)
def test_names_that_look_like_numbers_stay_as_they_are_written(tmp_path, header, space, cells, levels):
    path = write(tmp_path, header + "".join(f"{n}.5,{space}{cells[n % len(cells)]}{space}\n" for n in range(20)))
    name = "code" if header else "2"
    kinds = {name: "categorical"}
    data = load_data(path, columns=kinds, test_fraction=1)
    assert data.categories == {name: levels}
    # New rows mean the same, also where some of the levels are left.
    path.write_text(header + f"0.5,{space}{cells[0]}\n")
    known = KnownColumns(data.column_names, data.categories, kinds)
    assert torch.equal(load_data(path, known_columns=known, test_fraction=1).test, data.test[:1])


def test_known_levels_that_are_numbers_are_those_of_numbers_however_written(tmp_path):
    known = KnownColumns(("a", "code"), {"code": ("1.1", "501", "1234")}, {"a": "real", "code": "categorical"})
    path = write(tmp_path, "a,code\n0.5,00501\n0.5,1.10\n0.5,1234.0\n")
    assert load_data(path, known_columns=known, test_fraction=1).test[:, 1].tolist() == [1.0, 0.0, 2.0]
    known = KnownColumns(("a", "code"), {"code": ("00501", "501")}, {"a": "real", "code": "categorical"})
    with pytest.raises(ValueError, match=r"row 3 .* holds '1.10', which the run does not know; it knows '00501', '50"):
        load_data(path, known_columns=known, test_fraction=1)


def test_one_word_for_all_columns_keeps_their_names(tmp_path):
    path = write(tmp_path, "a,label,code\n" + "1,0,007\n2,1,7\n2,1,\n" * 5)
    data = load_data(path, columns="categorical", missing="keep")
    assert data.categories == {"a": ("1", "2"), "code": ("007", "7")}


@pytest.mark.parametrize("end", ["\n", "\n\n\n", "\r\n", "  \n", "\n\t\n"])
@pytest.mark.parametrize("text", ["width,height\n" + BODY, BODY, "width,height,label\n" + BODY.replace("\n", ",1\n")])
def test_blank_lines_at_the_end_are_left_out(tmp_path, text, end):
    splits = load_data(write(tmp_path, text + end))
    assert rows(splits) == EXPECTED
    assert splits.checksum == load_data(write(tmp_path, text)).checksum


def test_an_empty_row_at_the_end_is_no_blank_line(tmp_path):
    with pytest.raises(ValueError, match=r"row 5 .* column '1' is missing"):
        load_data(write(tmp_path, BODY + ",\n"))


def test_text_in_another_encoding_is_to_be_saved_as_utf_8(tmp_path):
    (tmp_path / "table.csv").write_bytes(("größe,b\n" + BODY).encode("latin-1"))
    with pytest.raises(ValueError, match="expected UTF-8 text: save it as CSV UTF-8"):
        load_data(tmp_path / "table.csv")
