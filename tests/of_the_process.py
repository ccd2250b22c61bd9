"""What belongs to the whole process, and a fit or an evaluation has to leave as it was."""

import random
import threading
import warnings

import numpy as np
import pyro
import torch
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK
from torch.nn.modules import module as torch_modules


def of_the_process():
    """What a fit borrows, or could leave changed."""
    return {
        "torch's generator": torch.get_rng_state().tolist(),
        "NumPy's": np.random.get_state()[1].tolist(),
        "Python's": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "validation": (torch.distributions.Distribution._validate_args, pyro.distributions.Normal(0, 1)._validate_args),
        "param store": dict(pyro.get_param_store().items()),
        "handlers": list(_PYRO_STACK),
        "plates": list(_DIM_ALLOCATOR._stack),
        "hooks": dict(torch_modules._global_forward_pre_hooks),
        "modes": (torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()),
        "warnings": list(warnings.filters),
        "threads": torch.get_num_threads(),
        # tqdm has one thread for all of its bars.
        "running": [thread for thread in threading.enumerate() if thread.name != "tqdm_monitor"],
    }
