import os
import signal

# Parallel workers share the processors: with one thread each they do not wait for one another's. This has to stand
# before torch is imported, which reads it, as do the commands that tests start in processes of their own.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import pyro
import pytest
import torch


@pytest.fixture(autouse=True)
def clean_state():
    """Each test starts from one seed and an empty param store, and has to leave global settings as they were."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    assert torch.get_default_dtype() == torch.float32
    assert pyro.distributions.Normal(0.0, 1.0)._validate_args
    pyro.clear_param_store()


@pytest.fixture
def interrupts_are_taken():
    """Also where the tests were started in the background, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
