"""When two computations of the same numbers are taken to agree."""

import math

import pytest
import torch

from pyrovae.recording.agreement import SINGLE, agree

VALUES, GRADIENT = torch.tensor([3.0, -2.0]), torch.tensor([1.0, 0.0, -4.0])


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_agrees_with_its_like_alone(number):
    odd = torch.tensor([1.0, number, -4.0])
    assert agree([VALUES, odd], [VALUES, odd.clone()], SINGLE)
    assert agree([odd, VALUES], [odd.clone(), VALUES], SINGLE)
    for other in (GRADIENT, torch.tensor([1.0, -math.inf if number > 0 else math.inf, -4.0])):
        assert not agree([VALUES, odd], [VALUES, other], SINGLE)
        assert not agree([VALUES, other], [VALUES, odd], SINGLE)
        assert not agree([odd, VALUES], [other, VALUES], SINGLE)
        assert not agree([other, VALUES], [odd, VALUES], SINGLE)


def test_beside_an_infinity_the_others_are_still_compared():
    ours, theirs = torch.tensor([1.0, -math.inf, -4.0]), torch.tensor([1.1, -math.inf, -4.0])
    assert not agree([VALUES, ours], [VALUES, theirs], SINGLE)
    assert not agree([ours, VALUES], [theirs, VALUES], SINGLE)


def test_rounding_is_no_difference():
    assert agree([VALUES, GRADIENT], [VALUES * (1 + SINGLE / 2), GRADIENT * (1 - SINGLE / 2)], SINGLE)
    assert not agree([VALUES, GRADIENT], [VALUES * (1 + 3 * SINGLE), GRADIENT], SINGLE)
    assert not agree([VALUES, GRADIENT], [VALUES, GRADIENT * (1 - 3 * SINGLE)], SINGLE)


def test_numbers_are_as_exact_as_the_largest_beside_them():
    large, small = torch.tensor([1e3, 1e-9]), torch.tensor([1e-9])
    assert agree([large], [torch.tensor([1e3, 2e-9])], SINGLE)
    assert not agree([large], [torch.tensor([1e3, 3e-3])], SINGLE)
    assert agree([VALUES, large, small], [VALUES, large, 2 * small], SINGLE)
    assert not agree([VALUES, small], [VALUES, 2 * small], SINGLE)
