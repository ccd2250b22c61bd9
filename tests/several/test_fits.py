"""Fits and scores by several processes have the numbers of one."""

import json
from pathlib import Path

import fits_by_processes
import numpy as np
import pytest
from torchrun import Torchrun

SCRIPT = Path(fits_by_processes.__file__)


@pytest.fixture(scope="module")
def by_one():
    return {name: fit() for name, fit in fits_by_processes.KINDS.items()}


def check(by_one, processes):
    status, out, errors = Torchrun(processes, SCRIPT).end()
    assert status == 0, errors
    numbers = json.loads(out)
    assert list(numbers) == list(by_one)
    for name, expected in by_one.items():
        given = dict(numbers[name])
        for what in ("history", "numbers"):
            if what in expected:
                # Sums over rows in another order: far below the 1e-4 nats that are promised for fits.
                limit = {"history": 3e-5, "numbers": 1e-5}[what]
                np.testing.assert_allclose(given.pop(what), expected[what], rtol=0, atol=limit, err_msg=name)
        assert given == {key: value for key, value in expected.items() if key not in ("history", "numbers")}


@pytest.mark.ci
def test_two_processes(by_one):
    check(by_one, 2)


@pytest.mark.slow
def test_three_and_four_processes(by_one):
    check(by_one, 3)
    check(by_one, 4)
