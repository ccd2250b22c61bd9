"""What the benchmarks time is what hand-written PyTorch computes: losses of the same steps with the same noise."""

import numpy as np
import pytest
from sides import checks, package


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("benchmarks") / "rows.npy"
    np.save(path, (np.random.default_rng(0).random((1000, 784)) < 0.13).astype("float32"))
    return str(path)


# Compiling takes seconds for each, and a short run by itself takes plain steps.
STEPS = {
    name: [step for step in steps if step not in ("auto", "compiled")] for name, steps in package.known_steps().items()
}


@pytest.mark.parametrize("kind", list(package.OBJECTIVES))
def test_steps_of_fit_svi_are_those_of_a_hand_written_loop(rows, kind):
    checks.training(rows, kind, STEPS["fit_svi"], peers=[])


def test_steps_of_m2_are_those_of_a_hand_written_loop(rows):
    checks.m2(rows, STEPS["M2"])


def test_steps_of_pyro_are_those_of_a_hand_written_loop(rows):
    checks.training(rows, "mlp", [], peers=["Pyro"])
