"""Names from outside stay tellable in pictures, however long they are and whatever their letters."""

import io

import matplotlib
import pytest
import torch

from pyrovae import plots
from pyrovae.plots import letters
from pyrovae.plots.names import short, short_names


@pytest.mark.parametrize("lines", [1, 2])
@pytest.mark.parametrize(
    "name", ["self-employed_person_of_age", "very_satisfied_customer_of_the_shop", "a " + 40 * "b"]
)
def test_a_name_of_one_long_word_is_cut_by_letters(name, lines):
    cut = short(name, 12, lines).split("\n")
    assert len(cut) == lines
    assert max(map(len, cut)) == 12
    assert name.startswith("".join(cut)[:-1])
    assert cut[-1].endswith("…")


@pytest.mark.parametrize("lines", [1, 2])
@pytest.mark.parametrize(
    "names",
    [
        ["customer_lifetime_value_2020", "customer_lifetime_value_2021", "customer_lifetime_value_2022"],
        ["price_of_the_house_in_2020_in_thousands_of_euros", "price_of_the_house_in_2021_in_thousands_of_euros"],
        ["the income of a person before", "the income of a person, after"],
    ],
    ids=["at the end", "in the middle", "words"],
)
def test_names_that_differ_still_do_when_cut(names, lines):
    cut = short_names([*names, "age"], 12, lines)
    assert len(set(cut)) == len(cut)
    assert cut[-1] == "age"
    for text in cut:
        assert max(map(len, text.split("\n"))) <= 12
        assert text.count("\n") < lines
    assert short_names([names[0]] * 2, 12, lines) == [short(names[0], 12, lines)] * 2


def test_pictures_name_levels_and_columns_of_one_long_word():
    x = torch.arange(20.0)[:, None].expand(-1, 2) % 2
    columns = ["systolic_blood_pressure_at_rest_morning", "systolic_blood_pressure_at_rest_evening"]
    levels = {columns[0]: ["self-employed", "not_employed_yet"]}
    for figure in (
        plots.reconstructions(x, x, entry_names=columns, levels=levels),
        plots.samples(x, x, x, entry_names=columns, levels=levels),
    ):
        ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert ticks == ["self-employ…", "not_employe…"]
    figure = plots.interpolation(torch.rand(5, 1, 2), entry_names=columns)
    labels = [label.get_text().split(":")[0] for label in figure.axes[0].get_xticklabels()]
    assert labels == ["systolic_blood…at_rest_morning", "systolic_blood…at_rest_evening"]


def test_letters_that_the_usual_font_lacks_are_taken_from_another():
    x = torch.arange(20.0)[:, None] % 2
    # No warning of a missing glyph.
    with matplotlib.rc_context({"font.family": "cmr10", "axes.formatter.use_mathtext": True}):
        figure = plots.samples(x, x, x, entry_names=["місто"], levels={"місто": ["Київ", "Львів"]})
        figure.savefig(io.BytesIO())
        label = figure.axes[0].xaxis.label
        assert label.get_text() == "місто"
        assert label.get_fontfamily()[0] == "cmr10"
        assert len(label.get_fontfamily()) > 1


def test_letters_that_no_font_has_are_written_as_their_codes(monkeypatch):
    monkeypatch.setattr(letters, "_families", dict)
    x = torch.arange(20.0)[:, None] % 2
    figure = plots.reconstructions(x, x, entry_names=["都市"], levels={"都市": ["東京", "大阪"]})
    figure.savefig(io.BytesIO())
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [r"\u6771\u4eac", r"\u5927\u962a"]
    assert figure.axes[0].get_title() == r"\u90fd\u5e02"
    assert short("東京" * 20, 12, 1) == r"\u6771\u4ea…"
