"""What a pair of Pyro programs owes, checked before any number is taken from it."""

import warnings
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import constraints

from pyrovae.programs.modules import Program
from pyrovae.programs.parameters import private_param_store
from pyrovae.programs.random_state import isolated_rng

# Few rows are enough to see the structure; more than one, so that a row is told from a broadcast dimension.
_PROBE_ROWS = 3


@dataclass(frozen=True)
class PairStructure:
    """What a trace of the pair shows.

    Attributes:
        latent_event_dims: names of the latent sites, in the order of the guide, with the number of dimensions of
            one value that are not plates.
        latent_supports: what values each of them takes.
        model_latents: the same names, in the order of the model.
        observed: names of the observed sites.
        reparameterized: whether every latent of the guide can carry a gradient through its draw.
        max_plate_nesting: number of plate dimensions, the data plate among them.
        model_params: names of the param sites of the model.
        guide_params: names of the param sites of the guide.
    """

    latent_event_dims: dict[str, int]
    latent_supports: dict[str, Any]
    model_latents: tuple[str, ...]
    observed: tuple[str, ...]
    reparameterized: bool
    max_plate_nesting: int
    model_params: frozenset[str]
    guide_params: frozenset[str]

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent sites, in the order of the guide."""
        return tuple(self.latent_event_dims)

    @property
    def params(self) -> set[str]:
        """Names of the param sites of both programs."""
        return set(self.model_params | self.guide_params)


def sample_sites(trace: poutine.Trace) -> dict[str, Any]:
    """The sample sites of a trace by name, without those that plates make for themselves."""
    return {
        name: site for name, site in trace.nodes.items() if site["type"] == "sample" and not site_is_subsample(site)
    }


def trace_pair(model: Program, guide: Program, x: Tensor) -> tuple[poutine.Trace, poutine.Trace]:
    """Traces of the model, replayed against the guide, and of the guide."""
    guide_trace = poutine.trace(guide).get_trace(x)
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(x)
    return model_trace, guide_trace


def inspect_pair(model: Program, guide: Program, x: Tensor) -> PairStructure:
    """Run the pair once on a few rows, and refuse it by name where it breaks the contract.

    A pair owes: one argument, the rows ``x``; one data plate at dim -1 of size ``len(x)``; every latent and every
    observed site inside it; the same latent sites in model and guide; no scale on any site. Then each row has a
    log weight of its own, and log p(x) of a row can be estimated.

    Args:
        model: Pyro program of the rows, observing them.
        guide: Pyro program of the rows, drawing the model's latents.
        x: rows of data ``(rows, *data_shape)``; a few are used.

    Raises:
        ValueError: what breaks the contract, with the name of the site and the repair.
    """
    rows = x[torch.arange(_PROBE_ROWS) % len(x)]
    with warnings.catch_warnings(), torch.no_grad():
        # Pyro only warns of what is refused below.
        warnings.simplefilter("ignore")
        try:
            model_trace, guide_trace = trace_pair(model, guide, rows)
        except ValueError as error:
            if "Shape mismatch inside plate" not in str(error):
                raise
            raise ValueError(
                f"{error}: dimensions of one row that are not plates belong to the event; add .to_event(n) to the "
                "distribution, n being the number of data dimensions (3 for images)"
            ) from error
    model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
    latents = [name for name, site in guide_sites.items() if not site["is_observed"]]
    model_latents = [name for name, site in model_sites.items() if not site["is_observed"]]
    observed = [name for name, site in model_sites.items() if site["is_observed"]]
    _check_names(latents, model_latents, observed)
    for program, sites in (("model", model_sites), ("guide", guide_sites)):
        for name, site in sites.items():
            _check_site(program, name, site, len(rows))
    return PairStructure(
        latent_event_dims={name: guide_sites[name]["fn"].event_dim for name in latents},
        latent_supports={name: guide_sites[name]["fn"].support for name in latents},
        model_latents=tuple(model_latents),
        observed=tuple(observed),
        reparameterized=all(guide_sites[name]["fn"].has_rsample for name in latents),
        max_plate_nesting=max(
            -frame.dim
            for sites in (model_sites, guide_sites)
            for site in sites.values()
            for frame in site["cond_indep_stack"]
            if frame.vectorized
        ),
        model_params=_param_names(model_trace),
        guide_params=_param_names(guide_trace),
    )


def _param_names(trace: poutine.Trace) -> frozenset[str]:
    return frozenset(name for name, site in trace.nodes.items() if site["type"] == "param")


def _check_names(guide_latents: list[str], model_latents: list[str], observed: list[str]) -> None:
    only_guide = [name for name in guide_latents if name not in model_latents]
    only_model = [name for name in model_latents if name not in guide_latents]
    if only_guide or only_model:
        parts = [
            f"only in the {program}: {', '.join(map(repr, names))}"
            for program, names in (("model", only_model), ("guide", only_guide))
            if names
        ]
        raise ValueError(
            f"model and guide have different latent sites ({'; '.join(parts)}): give each latent the same name "
            "in both programs, and observe the data in the model with obs=x"
        )
    if not guide_latents:
        raise ValueError("the guide draws no latent site; expected at least one pyro.sample without obs")
    if not observed:
        raise ValueError("the model observes nothing; expected pyro.sample(..., obs=x) on the rows of data")


def _check_site(program: str, name: str, site: Any, rows: int) -> None:
    kind = "observed site" if site["is_observed"] else "latent"
    plates = [frame for frame in site["cond_indep_stack"] if frame.dim == -1]
    if not plates:
        raise ValueError(
            f"{kind} {name!r} of the {program} is outside the data plate, so it belongs to no row and log p(x) of "
            "a row is not defined: move it inside `with pyro.plate('data', len(x), dim=-1):`, or make it a "
            "parameter with pyro.param"
        )
    if plates[0].size != rows:
        raise ValueError(
            f"plate {plates[0].name!r} at dim -1 of the {program} has size {plates[0].size} for {rows} rows of "
            f"data ({kind} {name!r}): the data plate has to be pyro.plate('data', len(x), dim=-1)"
        )
    scale = torch.as_tensor(site["scale"])
    if not bool((scale == 1).all()):
        raise ValueError(
            f"{kind} {name!r} of the {program} has a scale of {scale.flatten()[0].item():g}, so its numbers would "
            "not be log-densities of the rows: use pyro.plate('data', len(x), dim=-1) without subsampling, and no "
            "poutine.scale"
        )


def check_rows(x: Tensor, argument: str) -> None:
    """Refuse what cannot be rows of data.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        argument: its name in the caller's signature.

    Raises:
        ValueError: no tensor of numbers, no rows, NaN or infinite values.
    """
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{argument} is a {type(x).__name__}; expected a tensor (rows, *data_shape): use torch.as_tensor, or "
            "load_data(...) and its .train"
        )
    if x.dim() < 1 or x.numel() == 0:
        raise ValueError(f"{argument} has shape {tuple(x.shape)}; expected (rows, *data_shape) with rows in it")
    if not bool(torch.isfinite(x).all()):
        bad_rows = (~torch.isfinite(x)).reshape(len(x), -1).any(dim=1)
        raise ValueError(
            f"{argument} has NaN or infinite values in {int(bad_rows.sum())} of {len(x)} rows, the first of them "
            f"row {int(bad_rows.nonzero()[0, 0])}: remove or fill them"
        )


@torch.no_grad()
def check_support(model: Program, guide: Program, x: Tensor, observed: tuple[str, ...]) -> None:
    """Refuse rows that the likelihood is no density for.

    Supports with bounds that differ from row to row are left to Pyro's own check at each step.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        x: all rows of data ``(rows, *data_shape)``.
        observed: names of the model's observed sites.

    Raises:
        ValueError: values outside the support, with the first of them and the repairs.
    """
    rows = x[:_PROBE_ROWS]
    with pyro.validation_enabled(False):
        sites = sample_sites(trace_pair(model, guide, rows)[0])
    for name in observed:
        site = sites[name]
        support = _elementwise(site["fn"].support)
        if constraints.is_dependent(support) or any(
            isinstance(bound, Tensor) and bound.dim() for bound in vars(support).values()
        ):
            continue
        # Only where the site observes the rows as they are does its support speak of x.
        same_shape = site["value"].shape == rows.shape or (
            not support.event_dim and site["value"].numel() == rows.numel()
        )
        if same_shape and torch.equal(site["value"].reshape(rows.shape), rows):
            _check_values(name, site["fn"], support, x)


@torch.no_grad()
def observes_bits(model: Program, guide: Program, x: Tensor) -> bool:
    """Whether a site that the model observes takes the values 0 and 1 only."""
    with private_param_store(model, guide), isolated_rng(0, x.device), pyro.validation_enabled(False):
        sites = sample_sites(trace_pair(model, guide, x[:_PROBE_ROWS])[0])
    return any(
        site["is_observed"] and _elementwise(site["fn"].support) is constraints.boolean for site in sites.values()
    )


def _elementwise(support: Any) -> Any:
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def _check_values(name: str, distribution: Any, support: Any, x: Tensor) -> None:
    outside = ~support.check(x)
    if not bool(outside.any()):
        return
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    family = type(distribution).__name__
    position = tuple(int(index) for index in outside.nonzero()[0])
    value = x[position]
    shown = f"{value.item():g}" if value.dim() == 0 else str(value.tolist())
    repair = "transform the data into the support, or choose a likelihood whose support holds them"
    if family == "Bernoulli":
        repair = "use a likelihood for real values such as Normal"
        if bool(((x >= 0) & (x <= 1)).all()):
            repair = (
                "binarise the grey values (load_data(..., binarize='dynamic'), 'static' or 'threshold'; --binarize "
                "on the command line), or " + repair
            )
    raise ValueError(
        f"{family} at site {name!r} is no density for these data: row {position[0]} has the value {shown}, outside "
        f"its support {support}; {repair}"
    )
