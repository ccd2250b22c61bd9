"""What a pair of Pyro programs owes, checked before any number is taken from it."""

import inspect
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyrovae.programs.explanations import NO_OBS_MASK
from pyrovae.programs.latent_values import values_left_out
from pyrovae.programs.modules import Program, called_modules
from pyrovae.programs.reachable import reachable
from pyrovae.programs.site_checks import (
    Site,
    check_draws,
    check_latent,
    check_parameters,
    check_site,
    is_point_mass,
    kind_of,
)
from pyrovae.programs.structure import PairStructure, check_same_latents
from pyrovae.programs.traces import PROBE_ROWS, probe_rows, sample_sites, trace_few_rows

# What Pyro's autoguides add to the names of latents.
_OF_AUTOGUIDES = ("_unconstrained", "_aux")


@torch.no_grad()
def inspect_pair(model: Program, guide: Program, x: Tensor, all_rows: int | None = None) -> PairStructure:
    """Run the pair on a few rows, and refuse it by name where it breaks the contract of ``check_pair``.

    The programs run as they are; ``borrowed`` puts back what they change.

    Args:
        model: Pyro program of the rows, observing them.
        guide: Pyro program of the rows, drawing the model's latents.
        x: rows of data ``(rows, *data_shape)``; a few at equal distances are used.
        all_rows: how many rows there are, where x has some of them; None is ``len(x)``.

    Raises:
        ValueError: what breaks the contract, with the name of the site and the repair.
    """
    for program, given in (("model", model), ("guide", guide)):
        if not callable(given):
            raise ValueError(f"the {program} is a {type(given).__name__}; expected a Pyro program over a batch of rows")
        _check_call(program, given, x)
    _check_pyro_params(model, guide)
    first_latents = None
    for num_rows in PROBE_ROWS:
        rows = probe_rows(x, num_rows)
        with called_modules() as modules:
            model_trace, guide_trace = trace_few_rows(model, guide, rows, all_rows or len(x))
        model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
        latents = [name for name, site in guide_sites.items() if not site["is_observed"]]
        model_latents = [name for name, site in model_sites.items() if not site["is_observed"]]
        known = [name for name, site in model_sites.items() if site["is_observed"]]
        # Pyro's reparameterisations leave a value that is certain in place of a latent.
        observed = [name for name in known if not is_point_mass(model_sites[name]["fn"])] or known
        _check_guide(guide_sites)
        # Before the names: a latent of the whole model is none that the guide should draw.
        _check_sites("model", model_sites, num_rows)
        enumerated = [name for name in model_latents if (model_sites[name]["infer"] or {}).get("enumerate")]
        _check_names(latents, model_latents, observed, enumerated)
        check_same_latents(first_latents or latents, set(latents))
        first_latents = latents
        _check_sites("guide", guide_sites, num_rows)
        for name in latents:
            check_latent(name, model_sites[name], guide_sites[name])
    left_out = [values_left_out(name, model_sites[name]["fn"], guide_sites[name]["fn"]) for name in latents]
    return PairStructure(
        latent_event_dims={name: guide_sites[name]["fn"].event_dim for name in latents},
        latent_supports={name: guide_sites[name]["fn"].support for name in latents},
        model_latents=tuple(model_latents),
        observed=tuple(observed),
        values_left_out=tuple(filter(None, left_out)),
        not_reparameterized=tuple(name for name in latents if not guide_sites[name]["fn"].has_rsample),
        max_plate_nesting=max(
            -frame.dim
            for site in (*model_sites.values(), *guide_sites.values())
            for frame in site["cond_indep_stack"]
            if frame.vectorized
        ),
        model_params=_param_names(model_trace),
        guide_params=_param_names(guide_trace),
        modules=tuple(modules),
    )


def _check_call(program: str, given: Program, x: Tensor) -> None:
    """Refuse a module that is no program itself, and a program of other arguments than the rows."""
    called: Any = given
    if isinstance(given, nn.Module) and type(given).__call__ is nn.Module.__call__:
        called = given.forward
        if getattr(called, "__func__", None) is nn.Module.forward:
            raise ValueError(
                f"the {program} is a {type(given).__name__}, a module and no program: give its methods, as vae.model "
                "and vae.guide"
            )
    try:
        # A decorator may give what the function inside needs.
        signature = inspect.signature(called, follow_wrapped=False)
    except ValueError:
        # Handlers of Pyro around a program do not say what it takes.
        return
    try:
        signature.bind(x)
    except TypeError as error:
        raise ValueError(
            f"the {program} cannot be called with the rows alone ({error}): a program takes one tensor of rows; put "
            "what else is known of each row behind it, as ConditionalVAE.join does"
        ) from error


def _check_pyro_params(model: Program, guide: Program) -> None:
    """Refuse two values of one name, of which Pyro would put the first in place of the second."""
    values: dict[str, Tensor] = {}
    for module in reachable([model, guide]):
        if not isinstance(module, PyroModule):
            continue
        for key in module._pyro_params:
            name = f"{module._pyro_name}.{key}".removeprefix(".")
            value = getattr(module, f"{key}_unconstrained")
            if values.setdefault(name, value) is not value:
                raise ValueError(
                    f"two PyroParams are called {name!r}, one of a {type(module).__name__}, and Pyro would put the "
                    "value of one in place of the other: give each PyroModule a name, super().__init__('model') and "
                    "super().__init__('guide'), and keep PyroModules in a PyroModule or PyroModule[nn.ModuleList]"
                )


def _param_names(trace: poutine.Trace) -> frozenset[str]:
    return frozenset(name for name, site in trace.nodes.items() if site["type"] == "param")


def _check_sites(program: str, sites: dict[str, Site], num_rows: int) -> None:
    for name, site in sites.items():
        check_site(program, name, site, num_rows)
        kind = f"{kind_of(name, site)} of the {program}"
        check_parameters(kind, site["fn"])
        check_draws(kind, site["fn"])


def _check_guide(sites: dict[str, Site]) -> None:
    for name, site in sites.items():
        # Pyro's reparameterisations leave a value that is certain, and counts nothing.
        if site["is_observed"] and not is_point_mass(site["fn"]):
            what = "has a factor" if isinstance(site["fn"], pyro.distributions.Unit) else "observes"
            raise ValueError(
                f"the guide {what} {name!r}, which would count as a part of q(z|x): observe in the model alone, and "
                "put other losses into an objective of one's own"
            )


def _check_names(
    guide_latents: list[str], model_latents: list[str], observed: list[str], enumerated: list[str]
) -> None:
    of_autoguide = [name for name in guide_latents if name.startswith("_Auto") or name.endswith(_OF_AUTOGUIDES)]
    only_guide = [name for name in guide_latents if name not in model_latents]
    if only_guide and only_guide == of_autoguide[: len(only_guide)]:
        raise ValueError(
            f"the guide draws {', '.join(map(repr, only_guide))}, as Pyro's autoguides do, which learn numbers for the "
            "rows that they know: write a guide with an encoder, q(z|x), over the model's own latents "
            f"({', '.join(map(repr, model_latents))})"
        )
    only_model = [name for name in model_latents if name not in guide_latents]
    by_mask = [
        name
        for name in only_model
        if name.endswith("_unobserved") and f"{name.removesuffix('_unobserved')}_observed" in observed
    ]
    if by_mask:
        raise ValueError(
            f"the model draws {', '.join(map(repr, by_mask))}, as obs_mask does for what is missing, and the guide "
            f"does not: {NO_OBS_MASK}"
        )
    if only_guide or only_model:
        parts = [
            f"only in the {program}: {', '.join(map(repr, names))}"
            for program, names in (("model", only_model), ("guide", only_guide))
            if names
        ]
        asked = [name for name in only_model if name in enumerated]
        hint = (
            f". {' and '.join(map(repr, asked))}, which infer says to enumerate, is not summed out here: let the model "
            "sum it out by dist.MixtureSameFamily; or let the guide draw it too, from a Categorical, and fit with "
            "objective='Trace_ELBO' or 'ReweightedWakeSleep'"
            if asked
            else ""
        )
        raise ValueError(
            f"model and guide have different latent sites ({'; '.join(parts)}): give each latent the same name "
            f"in both programs, and observe the data in the model with obs=x{hint}"
        )
    if not guide_latents:
        raise ValueError("the guide draws no latent site; expected at least one pyro.sample without obs")
    if not observed:
        raise ValueError("the model observes nothing; expected pyro.sample(..., obs=x) on the rows of data")
