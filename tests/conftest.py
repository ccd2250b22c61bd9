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
