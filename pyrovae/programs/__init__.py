"""Pairs of Pyro programs, a model and a guide: what they owe, their parameters, their random numbers."""

from pyrovae.programs.any_density import check_any_density
from pyrovae.programs.borrowing import borrowed
from pyrovae.programs.check_pair import check_pair
from pyrovae.programs.checks import (
    check_any_rows,
    check_are_rows,
    check_not_negative,
    check_positive,
    check_rows,
    check_seed,
    which_rows,
)
from pyrovae.programs.contract import inspect_pair
from pyrovae.programs.in_training import modules_of_pair, tried_in_training
from pyrovae.programs.inference_mode import for_gradients
from pyrovae.programs.latent_values import bounds_of
from pyrovae.programs.missing import check_missing
from pyrovae.programs.modules import (
    Program,
    buffers_put_back,
    evaluating,
    evaluation_mode,
    has_numbers,
    initialize_modules,
    owned_module,
    owned_modules,
    training_mode,
)
from pyrovae.programs.parameter_use import check_known, check_leaves, named_parameters, used_by_programs
from pyrovae.programs.parameters import (
    Weights,
    keep_params,
    param_values,
    private_param_store,
    share_params,
    warn_of_first_values,
)
from pyrovae.programs.precision import Precision, precision_of_layers
from pyrovae.programs.random_state import RandomState, generator_states, isolated_rng, set_generator_states
from pyrovae.programs.reachable import GENERATORS, is_iterator, named_tensors, plain_values, reachable
from pyrovae.programs.repairs import repair_of_dtype
from pyrovae.programs.sampler_choice import make_sampler
from pyrovae.programs.samplers import Latents, RepeatedSampler, Sampler, VectorizedSampler
from pyrovae.programs.scales import SiteScales
from pyrovae.programs.site_checks import Site, is_masked
from pyrovae.programs.structure import PairStructure
from pyrovae.programs.support import (
    check_support,
    observes,
    observes_bits,
    observing_site,
    site_of_rows,
)
from pyrovae.programs.traces import PROBE_ROWS, is_deterministic, probe_rows, sample_sites, trace_pair
from pyrovae.programs.unconditioned import unconditioned

__all__ = [
    "GENERATORS",
    "PROBE_ROWS",
    "Latents",
    "PairStructure",
    "Precision",
    "Program",
    "RandomState",
    "RepeatedSampler",
    "Sampler",
    "Site",
    "SiteScales",
    "VectorizedSampler",
    "Weights",
    "borrowed",
    "bounds_of",
    "buffers_put_back",
    "check_any_density",
    "check_any_rows",
    "check_are_rows",
    "check_known",
    "check_leaves",
    "check_missing",
    "check_not_negative",
    "check_pair",
    "check_positive",
    "check_rows",
    "check_seed",
    "check_support",
    "evaluating",
    "evaluation_mode",
    "for_gradients",
    "generator_states",
    "has_numbers",
    "initialize_modules",
    "inspect_pair",
    "is_deterministic",
    "is_iterator",
    "is_masked",
    "isolated_rng",
    "keep_params",
    "make_sampler",
    "modules_of_pair",
    "named_parameters",
    "named_tensors",
    "observes",
    "observes_bits",
    "observing_site",
    "owned_module",
    "owned_modules",
    "param_values",
    "plain_values",
    "precision_of_layers",
    "private_param_store",
    "probe_rows",
    "reachable",
    "repair_of_dtype",
    "sample_sites",
    "set_generator_states",
    "share_params",
    "site_of_rows",
    "trace_pair",
    "training_mode",
    "tried_in_training",
    "unconditioned",
    "used_by_programs",
    "warn_of_first_values",
    "which_rows",
]
