"""Random numbers that leave the caller's generators alone."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.programs.checks import check_seed
from pyrovae.programs.turns import TURN


@contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Run with the global generators seeded, and put back their states afterwards.

    Pyro draws from torch's global generators and takes no other, so they are borrowed: torch's (the CPU's and that of
    ``device``), NumPy's and Python's. Threads that borrow them take turns.

    Raises:
        ValueError: a seed that is no whole number.
    """
    check_seed(seed)
    seed = int(seed)
    with TURN, _borrowed(device):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # Not torch.manual_seed, which also reseeds accelerators that were not saved.
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            with torch.get_device_module(device).device(device):
                torch.get_device_module(device).manual_seed(seed)
        yield


@contextmanager
def _borrowed(device: torch.device) -> Iterator[None]:
    """Put back the states of the generators afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    accelerators = [] if device.type == "cpu" else [device]
    device_type = "cuda" if device.type == "cpu" else device.type
    with torch.random.fork_rng(devices=accelerators, device_type=device_type):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def generator_states(device: torch.device) -> list[Tensor]:
    """States of torch's global generators: the CPU's, and that of an accelerator."""
    states = [torch.get_rng_state()]
    return states if device.type == "cpu" else [*states, torch.get_device_module(device).get_rng_state(device)]


def set_generator_states(states: list[Tensor], device: torch.device) -> None:
    """Put back what ``generator_states`` gave."""
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1], device)


@dataclass(frozen=True, eq=False)
class RandomState:
    """The states of all generators that a program may draw from: those of torch, NumPy and Python."""

    device: torch.device
    of_torch: list[Tensor]
    of_numpy: Any
    of_python: Any

    @classmethod
    def now(cls, device: torch.device) -> "RandomState":
        """The present states."""
        return cls(device, generator_states(device), np.random.get_state(), random.getstate())

    def put_back(self) -> None:
        """Make these the present states again."""
        set_generator_states(self.of_torch, self.device)
        np.random.set_state(self.of_numpy)
        random.setstate(self.of_python)

    def as_plain(self) -> dict[str, Any]:
        """The states as tensors, numbers and texts."""
        kind, keys, *rest = self.of_numpy
        version, internal, gauss = self.of_python
        return {
            "torch": self.of_torch,
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
            "python": [version, torch.tensor(internal), gauss],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any], device: torch.device) -> "RandomState":
        """What ``as_plain`` gave."""
        kind, keys, *rest = plain["numpy"]
        version, internal, gauss = plain["python"]
        of_numpy = (kind, keys.numpy().astype(np.uint32), *rest)
        return cls(device, plain["torch"], of_numpy, (version, tuple(internal.tolist()), gauss))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RandomState):
            return NotImplemented
        return (
            all(map(torch.equal, self.of_torch, other.of_torch))
            and all(map(np.array_equal, self.of_numpy, other.of_numpy))
            and self.of_python == other.of_python
        )
