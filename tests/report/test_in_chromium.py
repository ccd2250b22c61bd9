"""Pages in a real Chromium, on a phone and on a wide screen."""

import os

import numpy as np
import pytest
from chromium import browser, find_chromium

from pyrovae.compare import main as compare
from pyrovae.fit import main as fit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium to show pages in"),
]
WIDTHS = ((390, 844), (1280, 900))
PICTURES = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
# What stands out of the window to the right without being in a box that moves by itself.
TOO_WIDE = """[...document.querySelectorAll("body *")].filter(
    part => !part.closest(".wide") && part.getBoundingClientRect().right > innerWidth + 1).length"""
SMALLEST = """Math.min(...[...document.querySelectorAll("p, td, th, a")].map(
    part => parseFloat(getComputedStyle(part).fontSize)))"""
KINDS = {
    "digits": ["--data", "digits"],
    "conditional": ["--data", "digits", "--system", "conditional-vae"],
    "autoencoder": ["--data", "digits", "--system", "autoencoder", "--corruption", "masking"],
    "long-names": ["--data", f"{'name' * 40}.csv", "--likelihood", "Normal", "--latent-dim", "200"],
    "broken-off": ["--data", f"{'name' * 40}.csv", "--likelihood", "Normal", "--lr", "1e30"],
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page for each kind of run, and one of two runs."""
    folder, before = tmp_path_factory.mktemp("pages"), os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        header = ",".join("column" * 20 + str(number) for number in range(5))
        rows = "\n".join(",".join(map(str, row)) for row in np.random.default_rng(0).normal(size=(80, 5)))
        (folder / f"{'name' * 40}.csv").write_text(f"{header}\n{rows}\n")
        for name, options in KINDS.items():
            given = [*options, "--epochs", "2", "--quiet", "--output-dir", name]
            assert fit(given) == (3 if name == "broken-off" else 0)
        assert fit(["--data", "digits", "--epochs", "3", "--quiet", "--seed", "0", "--output-dir", "other"]) == 0
        assert compare(["digits", "other", "--html", "two.html"]) == 0
    finally:
        os.chdir(before)
    return {**{name: folder / name / "report.html" for name in KINDS}, "two": folder / "two.html"}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize(("width", "height"), WIDTHS)
@pytest.mark.parametrize("name", [*KINDS, "two"])
def test_a_page_fits_its_window_and_shows_all_its_pictures(pages, tab, name, width, height):
    tab.show(pages[name], width, height)
    assert tab.value("innerWidth") == width
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value(TOO_WIDE) == 0
    assert tab.value(PICTURES)
    assert (tab.value("document.images.length") > 0) == (name != "broken-off")
    assert [url for url in tab.requests if not url.startswith("data:")] == [pages[name].as_uri()]
    # Letters are not too small to read.
    assert tab.value(SMALLEST) >= 14


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_the_first_screen_answers_the_three_questions(pages, tab, width, height):
    tab.show(pages["digits"], width, height)
    bottom = tab.value("document.querySelector('.first table').getBoundingClientRect().bottom")
    assert bottom <= height
