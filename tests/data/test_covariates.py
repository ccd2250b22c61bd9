"""What is known of each row: labels and columns of a table."""

import dataclasses

import pytest
import torch

from pyrovae.data import column_covariates, label_covariates, load_data

TABLE = "age,town,a,b\n" + "".join(f"{n},{'xyz'[n % 3]},{n / 2},{-n}\n" for n in range(20))


def table(folder):
    (folder / "table.csv").write_text(TABLE)
    return load_data(folder / "table.csv", columns={"town": "categorical", "age": "count"})


def test_labels_are_one_hot_in_their_order():
    data = load_data("digits")
    known = label_covariates(data)
    assert list(known.kinds) == [f"label={number}" for number in range(10)]
    for c, labels in ((known.train, data.train_labels), (known.test, data.test_labels)):
        assert torch.equal(c.argmax(1), labels)
        assert torch.equal(c.sum(1), torch.ones(len(c)))
    # Those of a model, of which these data may lack some.
    more = label_covariates(data, [*known.kinds, "label=12"])
    assert more.test.shape == (180, 11)
    with pytest.raises(ValueError, match="digits has rows with the label 9, which no training row has"):
        label_covariates(data, list(known.kinds)[:-1])


def test_classes_with_names_are_those_of_their_names():
    whole = load_data("digits")
    data = dataclasses.replace(whole, label_names=tuple("abcdefghij"))
    known = label_covariates(data)
    assert list(known.kinds) == [f"label={name}" for name in "abcdefghij"]
    assert torch.equal(known.test, label_covariates(whole).test)
    # The number 0 is the model's second class here, and the number 9 its first.
    other = dataclasses.replace(data, label_names=("y", *"bcdefghi", "x"))
    found = label_covariates(other, [f"label={name}" for name in "xybcdefghi"])
    place = torch.tensor([1, *range(2, 10), 0])
    assert torch.equal(found.test.argmax(1), place[data.test_labels])
    with pytest.raises(ValueError, match=r"the label x, which no training row has \(a, y, b\)"):
        label_covariates(dataclasses.replace(other, label_names=(*"yaaaaaaaa", "x")), ["label=a", "label=y", "label=b"])


def test_columns_leave_the_rows_and_categories_become_one_hot(tmp_path):
    data = table(tmp_path)
    left, known = column_covariates(data, ["town", "age"])
    assert known.kinds == {"town=x": "binary", "town=y": "binary", "town=z": "binary", "age": "count"}
    assert left.column_names == ("a", "b")
    assert left.column_kinds == ("real", "real")
    assert left.support == "real"
    assert left.checksum != data.checksum
    assert not left.categories
    for name in ("train", "validation", "test"):
        rows, x, c = (getattr(one, name) for one in (data, left, known))
        assert torch.equal(x, rows[:, 2:])
        assert torch.equal(c[:, 3], rows[:, 0])
        assert torch.equal(c[:, :3].argmax(1).float(), rows[:, 1])


def test_the_checksum_is_of_names_and_numbers(tmp_path):
    data = table(tmp_path)
    checksums = {column_covariates(data, names)[1].checksum for names in (["age"], ["town"], ["a"], ["a", "b"])}
    assert len(checksums) == 4
    assert column_covariates(data, ["a"])[1].checksum in checksums


@pytest.mark.parametrize("name", ["town", "age"])
def test_cells_that_are_missing_are_no_covariates(tmp_path, name):
    (tmp_path / "table.csv").write_text(TABLE.replace("4,y,", "4,,").replace("7,y,", ",y,"))
    kinds = {"town": "categorical", "age": "count"}
    data = load_data(tmp_path / "table.csv", columns=kinds, missing="keep")
    with pytest.raises(ValueError, match=rf"table.csv lacks 1 cell of column '{name}', .*leave such rows out, or fill"):
        column_covariates(data, ["a", name])
