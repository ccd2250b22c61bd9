"""Pairs of Pyro programs, a model and a guide: what they owe, their parameters, their random numbers."""

from pyrovae.programs.contract import (
    PairStructure,
    check_rows,
    check_support,
    inspect_pair,
    observes_bits,
    sample_sites,
    trace_pair,
)
from pyrovae.programs.modules import Program, module_mode, owned_module
from pyrovae.programs.parameters import Weights, keep_params, param_values, private_param_store
from pyrovae.programs.random_state import isolated_rng

__all__ = [
    "PairStructure",
    "Program",
    "Weights",
    "check_rows",
    "check_support",
    "inspect_pair",
    "isolated_rng",
    "keep_params",
    "module_mode",
    "observes_bits",
    "owned_module",
    "param_values",
    "private_param_store",
    "sample_sites",
    "trace_pair",
]
