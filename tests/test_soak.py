"""Many fits and evaluations in one process leave nothing behind."""

import gc
from pathlib import Path

import pytest
import torch
from jobs import JOBS

STATUS = Path("/proc/self/status")


def resident_mib():
    """Resident memory of this process after collection."""
    gc.collect()
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def living_tensors():
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def soak(fits):
    """Memory after each fit with its evaluation, of all kinds of systems in turn; and tensors, after each round."""
    memory, tensors = [], []
    for number in range(fits):
        list(JOBS.values())[number % len(JOBS)](number)
        memory.append(resident_mib())
        if number % len(JOBS) == fits % len(JOBS) - 1:
            tensors.append(living_tensors())
    return memory, tensors


@pytest.mark.skipif(not STATUS.exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("fits", [pytest.param(10, marks=pytest.mark.ci), pytest.param(50, marks=pytest.mark.slow)])
def test_memory_stays_flat(fits):
    """Within 5 percent of what it was after the fifth fit; and no tensor more from round to round."""
    memory, tensors = soak(fits)
    print(f"resident after the fifth fit {memory[4]:.1f} MiB, largest after it {max(memory[5:]):.1f} MiB")
    assert max(memory[5:]) <= 1.05 * memory[4]
    assert len(set(tensors)) == 1
