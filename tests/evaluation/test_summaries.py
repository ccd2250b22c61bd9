"""How summaries write numbers: of one row, of few draws, of what rounds to zero."""

import re

from problems import ExactPosterior, LinearGaussian, bits, small_vae

from pyrovae import ais, bits_per_dim, compare_bounds


def test_one_row_is_one_and_has_no_error_over_rows():
    vae = small_vae()
    bounds = compare_bounds(vae.model, vae.guide, bits(1), num_samples=40)
    found = bounds.summary()
    assert re.search(r"\n1 row, 40 draws each; effective draws: median ", found)
    assert all(line.split()[-2] == "unknown" for line in found.splitlines()[1:4])
    assert "nan" not in found
    assert " rows" not in found.split("\n", 1)[1].replace("other rows", "").replace("these rows", "")
    of_bits = bits_per_dim(vae.model, vae.guide, bits(1), bounds).summary()
    assert "\n1 row of " in of_bits
    assert "nan" not in of_bits


def test_few_draws_leave_k_hat_unknown():
    vae = small_vae()
    found = compare_bounds(vae.model, vae.guide, bits(3), num_samples=1).summary()
    assert re.search(r"\n3 rows, 1 draw each; .*; k-hat unknown\n", found)
    assert "nan" not in found


def test_what_rounds_to_zero_has_no_sign():
    problem = LinearGaussian.random(4, 2, 0)
    vae = problem.vae(ExactPosterior(problem))
    bounds = compare_bounds(vae.model, vae.guide, problem.rows(5), num_samples=200)
    # Weights are alike but for rounding, which makes some means negative.
    assert bounds.gap.abs().max() < 1e-9
    assert "-0.000" not in bounds.summary()


def test_one_chain():
    vae = small_vae()
    found = ais(vae.model, vae.guide, bits(2), num_temperatures=20, num_chains=1).summary()
    assert "\n2 rows, 1 chain of 20 temperatures" in found
