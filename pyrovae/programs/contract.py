"""What a pair of Pyro programs owes, checked before any number is taken from it."""

import inspect
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from pyrovae.data import AnyRows
from pyrovae.programs.explanations import NO_OBS_MASK, explained_plate, explained_sizes, explained_value
from pyrovae.programs.latent_values import values_left_out
from pyrovae.programs.modules import Program, called_modules, owned_modules
from pyrovae.programs.repairs import repair_of_dtype
from pyrovae.programs.site_checks import (
    Site,
    check_draws,
    check_latent,
    check_parameters,
    check_site,
    is_point_mass,
    kind_of,
)

PROBE_ROWS = (3, 5)
"""Numbers of rows that a pair is tried on: few show its structure, and two tell the rows from any other dimension."""

# What Pyro's autoguides add to the names of latents.
_OF_AUTOGUIDES = ("_unconstrained", "_aux")
_OF_SHAPES = re.compile("shape|size|channels|dimension")


@dataclass(frozen=True)
class PairStructure:
    """What traces of the pair show.

    Attributes:
        latent_event_dims: names of the latent sites, in the order of the guide, with the number of dimensions of
            one value that are not plates.
        latent_supports: what values each of them takes.
        model_latents: the same names, in the order of the model.
        observed: names of the observed sites.
        values_left_out: what to say of latents with bounds in the guide that lie inside those of the model.
        not_reparameterized: names of the latents that carry no gradient through the draw of the guide, as discrete ones
            and angles.
        max_plate_nesting: number of plate dimensions, the data plate among them.
        model_params: names of the param sites of the model.
        guide_params: names of the param sites of the guide.
        modules: the modules that the programs call.
    """

    latent_event_dims: dict[str, int]
    latent_supports: dict[str, Any]
    model_latents: tuple[str, ...]
    observed: tuple[str, ...]
    values_left_out: tuple[str, ...]
    not_reparameterized: tuple[str, ...]
    max_plate_nesting: int
    model_params: frozenset[str]
    guide_params: frozenset[str]
    # They take a page where the others take a few lines.
    modules: tuple[nn.Module, ...] = field(repr=False)

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent sites, in the order of the guide."""
        return tuple(self.latent_event_dims)

    @property
    def params(self) -> set[str]:
        """Names of the param sites of both programs."""
        return set(self.model_params | self.guide_params)

    def check_reach(self) -> None:
        """Refuse a guide whose draws leave out values of the model between its bounds and their own.

        An ELBO does not ask for them, log p(x) does.

        Raises:
            ValueError: the first of such latents, with its bounds in both programs.
        """
        for said in self.values_left_out:
            raise ValueError(said)

    def check_run(self, trace: poutine.Trace) -> None:
        """Refuse a run of either program whose latents are others than those of the rows that were looked at.

        Raises:
            ValueError: one of those that are new or missing, with the repair.
        """
        _check_same_latents(self.latents, _drawn_or_given(trace, self.latents))


def sample_sites(trace: poutine.Trace) -> dict[str, Site]:
    """The random sites of a trace by name: not those that plates make for themselves, nor deterministic ones."""
    return {
        name: dict(site)
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site) and not is_deterministic(site)
    }


def is_deterministic(site: Any) -> bool:
    """Whether a site is what ``pyro.deterministic`` keeps, no draw."""
    return bool((site["infer"] or {}).get("_deterministic"))


def _drawn_or_given(trace: poutine.Trace, latents: Iterable[str]) -> set[str]:
    """Names of the sites of a run that are latents, given values or not."""
    return {
        name
        for name, site in sample_sites(trace).items()
        # Draws in place of observed values are no latents.
        if name in latents or not (site["is_observed"] or (site["infer"] or {}).get("was_observed"))
    }


def _check_same_latents(known: Iterable[str], found: set[str]) -> None:
    different = found.symmetric_difference(known)
    if different:
        name = min(different)
        has, have = ("has", "do not have") if name in found else ("lacks", "have")
        raise ValueError(
            f"a batch {has} the latent {name!r}, which other rows {have}, and each row has to have the same latents in "
            "any batch: loop over all steps of the rows (x.shape[1]), not as far as the longest of a batch, and mask "
            "what a row does not have, with poutine.mask in model and guide"
        )


def trace_pair(model: Program, guide: Program, x: Tensor) -> tuple[poutine.Trace, poutine.Trace]:
    """Traces of the model, replayed against the guide, and of the guide."""
    try:
        guide_trace = poutine.trace(guide).get_trace(x)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(x)
    except ValueError as error:
        # Pyro appends a table of shapes, which is not for the reader of one line.
        raise ValueError(explained_value(str(error))) from error
    return model_trace, guide_trace


def compute_log_probs(trace: poutine.Trace) -> None:
    """Put the log-densities of all sites of a run into it.

    Raises:
        ValueError: a value outside the support of its distribution, in one line.
    """
    try:
        trace.compute_log_prob()
    except ValueError as error:
        raise ValueError(explained_value(str(error))) from error


def probe_rows(x: AnyRows, num_rows: int) -> Tensor:
    """So many rows at equal distances over the data, taken again from the start where there are fewer."""
    # Rows in an order, such as complete ones first, may be alike where they are neighbours.
    return x[torch.arange(num_rows, device=x.device) * max(len(x), num_rows) // num_rows % len(x)]


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
    first_latents = None
    for num_rows in PROBE_ROWS:
        rows = probe_rows(x, num_rows)
        with called_modules() as modules:
            model_trace, guide_trace = _traces_of_few_rows(model, guide, rows, all_rows or len(x))
        model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
        latents = [name for name, site in guide_sites.items() if not site["is_observed"]]
        model_latents = [name for name, site in model_sites.items() if not site["is_observed"]]
        known = [name for name, site in model_sites.items() if site["is_observed"]]
        # Pyro's reparameterisations leave a value that is certain in place of a latent.
        observed = [name for name in known if not is_point_mass(model_sites[name]["fn"])] or known
        _check_guide(guide_sites)
        enumerated = [name for name in model_latents if (model_sites[name]["infer"] or {}).get("enumerate")]
        _check_names(latents, model_latents, observed, enumerated)
        _check_same_latents(first_latents or latents, set(latents))
        first_latents = latents
        for program, sites in (("model", model_sites), ("guide", guide_sites)):
            for name, site in sites.items():
                check_site(program, name, site, num_rows)
                kind = f"{kind_of(name, site)} of the {program}"
                check_parameters(kind, site["fn"])
                check_draws(kind, site["fn"])
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


def _traces_of_few_rows(
    model: Program, guide: Program, rows: Tensor, all_rows: int
) -> tuple[poutine.Trace, poutine.Trace]:
    # Pyro only warns of what is refused here; and whether values are inside a support is checked on all rows.
    with warnings.catch_warnings(), pyro.validation_enabled(False):
        warnings.simplefilter("ignore")
        try:
            with called_modules() as modules:
                traces = trace_pair(model, guide, rows)
            for trace in traces:
                trace.compute_log_prob()
        except ValueError as error:
            raise ValueError(
                explained_plate(explained_value(str(error)), len(rows), all_rows, PROBE_ROWS[0])
            ) from error
        except NotImplementedError as error:
            unsaid = "a distribution has no log_prob, as one whose transform has no inverse, AbsTransform for example"
            reason = (str(error) or unsaid).splitlines()[0].rstrip(".")
            repair = "in a plate it needs one" if ".expand" in reason else "use a distribution with a density"
            raise ValueError(f"the programs ask for what is not implemented: {reason}; {repair}") from error
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            explained = explained_sizes(reason, len(rows), all_rows, PROBE_ROWS[0])
            if explained:
                raise ValueError(f"{explained} ({reason})") from error
            parts = [*owned_modules(model, guide), *modules]
            kinds = {parameter.dtype for module in parts for parameter in module.parameters()}
            if kinds and rows.dtype not in kinds:
                needed = min(kinds, key=str)
                raise ValueError(
                    f"the rows are of type {rows.dtype} and the parameters of {needed}, and the programs fail on them "
                    f"({reason}): {repair_of_dtype('x', rows.dtype, needed)}"
                ) from error
            # A module's own error says more, to those who know its parts.
            if owned_modules(model, guide) or not _OF_SHAPES.search(reason):
                raise
            raise ValueError(
                f"the programs fail on {len(rows)} rows of shape {tuple(rows.shape[1:])} ({reason}): build the "
                "networks for rows of this shape, and give rows as (rows, *data_shape)"
            ) from error
    return traces


def _param_names(trace: poutine.Trace) -> frozenset[str]:
    return frozenset(name for name, site in trace.nodes.items() if site["type"] == "param")


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
