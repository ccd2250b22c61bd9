"""Random numbers that leave the caller's generators alone."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Run with the global generators seeded, and put back their states afterwards.

    Pyro draws from torch's global generators and takes no other, so they are borrowed: torch's (the CPU's and that of
    ``device``), NumPy's and Python's.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    accelerators = [] if device.type == "cpu" else [device]
    device_type = "cuda" if device.type == "cpu" else device.type
    with torch.random.fork_rng(devices=accelerators, device_type=device_type):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            # Not torch.manual_seed, which also reseeds accelerators that were not saved.
            torch.default_generator.manual_seed(seed)
            if accelerators:
                with torch.get_device_module(device).device(device):
                    torch.get_device_module(device).manual_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
