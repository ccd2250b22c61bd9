"""Functions of a pair's densities that are called often, by recorded operations."""

from functools import partial

import pyro
from torch import Tensor

from pyrovae.programs import Sampler, has_numbers, owned_modules
from pyrovae.recording import Replay, TensorFunction

# A compiler rounds exponentials otherwise; of 100 nats this is a thousandth of one.
_ROUNDING = 1e-5

# Without an optimiser's part, compiling gains a third.
_ARITHMETIC_WORTH_COMPILING = 3e12


def recorded(sampler: Sampler, function: TensorFunction, calls: int) -> Replay:
    """The function, by its operations where so many calls are worth it.

    Args:
        sampler: of the pair whose densities it takes.
        function: of tensors to tensors; the first is finite where all is well.
        calls: how many are to come.
    """
    return Replay(
        function,
        partial(_weights, sampler),
        "auto",
        calls,
        rounding=_ROUNDING,
        owners=(sampler.model, sampler.guide),
        worth_compiling=_ARITHMETIC_WORTH_COMPILING,
    )


def _weights(sampler: Sampler) -> list[Tensor]:
    """All that a density depends on beside its arguments."""
    modules = (*owned_modules(sampler.model, sampler.guide), *sampler.structure.modules)
    of_modules = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return list(filter(has_numbers, of_modules)) + [value for _, value in pyro.get_param_store().named_parameters()]
