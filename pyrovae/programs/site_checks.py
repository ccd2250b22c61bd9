"""What every random site of a pair owes, and every latent in both programs."""

import copy
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pyrovae.distributions import LKJCholesky
from pyrovae.distributions.layers import innermost, layers
from pyrovae.programs.latent_values import check_values

Site = dict[str, Any]
"""A sample site of a trace."""


def check_site(program: str, name: str, site: Site, num_rows: int) -> None:
    """Refuse a random site whose log-densities are not those of the rows.

    Args:
        program: model or guide.
        name: of the site.
        site: as traced with so many rows.
        num_rows: of the trace.

    Raises:
        ValueError: a wrong plate, scale or shape, with the repair.
    """
    kind = f"{kind_of(name, site)} of the {program}"
    plates = {frame.dim: frame for frame in site["cond_indep_stack"] if frame.vectorized}
    if -1 not in plates:
        inside = "move it inside `with pyro.plate('data', len(x), dim=-1):`, or make it a parameter with pyro.param"
        raise ValueError(
            f"{kind} is outside the data plate, so it belongs to no row and log p(x) of a row is not defined: "
            f"{_of_rows_elsewhere(plates, num_rows) or inside}"
        )
    if plates[-1].size != num_rows:
        of_rows = "the data plate has to be pyro.plate('data', len(x), dim=-1), and other plates left of it"
        raise ValueError(
            f"plate {plates[-1].name!r} at dim -1 has size {plates[-1].size} for {num_rows} rows of data ({kind}): "
            f"{_of_rows_elsewhere(plates, num_rows) or of_rows}"
        )
    # Plates that are looped over have no dim.
    for frame in site["cond_indep_stack"]:
        if frame.dim != -1 and frame.size != frame.full_size:
            raise ValueError(
                f"plate {frame.name!r} takes {frame.size} of its {frame.full_size} entries ({kind}), so the "
                "log-densities of a row would be estimates: only the data plate at dim -1 may be larger than its batch"
            )
    check_scale(program, name, site)
    shape = site["log_prob"].shape
    for dim in range(-1, -len(shape) - 1, -1):
        if shape[dim] != (plates[dim].size if dim in plates else 1):
            raise ValueError(
                f"{kind} has log-densities of shape {tuple(shape)} for {num_rows} rows, and their dim {dim} is no "
                "plate: add .to_event(n) to the distribution, n being the number of dimensions of one value (3 for "
                "images), and check that the shapes of the distribution and of the observed rows agree"
            )
    event, value = tuple(site["fn"].event_shape), tuple(site["value"].shape)
    if value[len(value) - len(event) :] != event:
        raise ValueError(
            f"{kind} has a distribution over values of shape {event}, and a value of shape {value}, which would be "
            "repeated and scored several times: build the network for the shape of the value"
        )


def check_scale(program: str, name: str, site: Site) -> None:
    """Refuse a site that counts more or less than once.

    Raises:
        ValueError: its scale, and what it is not for.
    """
    (plate,) = (frame for frame in site["cond_indep_stack"] if frame.vectorized and frame.dim == -1)
    # A data plate larger than the batch multiplies by their ratio, which is no part of a row's log-density.
    scale = torch.as_tensor(site["scale"]) * (plate.size / plate.full_size)
    wrong = (scale - 1).abs() >= 1e-6
    if bool(wrong.any()):
        raise ValueError(
            f"{kind_of(name, site)} of the {program} has a scale of {scale[wrong].flatten()[0].item():g}, so its "
            "numbers would not be log-densities of the rows: use no poutine.scale; a weight of the KL term is the "
            "argument beta of fit_svi"
        )


def _of_rows_elsewhere(plates: dict[int, Any], num_rows: int) -> str:
    """What to do about a plate with the size of the rows at another dim than -1; empty where there is none."""
    for frame in plates.values():
        if frame.size == num_rows:
            return (
                f"plate {frame.name!r} is at dim {frame.dim}: put it at dim -1, other plates left of it, and observe "
                "x.T inside them"
            )
    return ""


def kind_of(name: str, site: Site) -> str:
    """What a site is, with its name."""
    return f"{'observed site' if site['is_observed'] else 'latent'} {name!r}"


def check_parameters(kind: str, fn: Any) -> None:
    """Refuse a scale that is not positive and its like; what is not finite is left to those who know why."""
    fn = innermost(fn)
    for name, constraint in fn.arg_constraints.items():
        value = vars(fn).get(name)
        if not isinstance(value, Tensor) or constraints.is_dependent(constraint) or constraint.event_dim:
            continue
        outside = value[~constraint.check(value) & value.isfinite()]
        if outside.numel():
            raise ValueError(
                f"{kind} has a {type(fn).__name__} with {name} {outside[0].item():g}, outside {constraint}: bring it "
                "there in the part that makes it, for example by softplus or exp where it has to be positive"
            )


def check_draws(kind: str, fn: Any) -> None:
    """Refuse a distribution whose draws do not have its density: estimates from them are of something else."""
    fn = innermost(fn)
    if isinstance(fn, torch.distributions.LKJCholesky) and not isinstance(fn, LKJCholesky) and fn.dim > 2:
        raise ValueError(
            f"{kind} has an LKJCholesky, whose draws in more than two dimensions do not have its density in PyTorch: "
            "take pyrovae.distributions.LKJCholesky"
        )


def check_latent(name: str, model_site: Site, guide_site: Site) -> None:
    """Refuse a latent whose density in the guide is none for that in the model.

    Args:
        name: of the latent.
        model_site: its site in the model.
        guide_site: its site in the guide.

    Raises:
        ValueError: a point mass, a probability against a density, draws that do not reach all values, or other entries
            that count.
    """
    if is_point_mass(guide_site["fn"]) and not is_point_mass(model_site["fn"]):
        raise ValueError(
            f"latent {name!r} of the guide is a point mass (Delta), which has no density: neither an ELBO nor log p(x) "
            "is defined for it; use a distribution with a density, such as Normal"
        )
    check_values(name, model_site["fn"], guide_site["fn"])
    check_same_mask(name, model_site, guide_site)


def check_same_mask(name: str, model_site: Site, guide_site: Site) -> None:
    """Refuse a latent of which other numbers count in the model than in the guide.

    Raises:
        ValueError: what follows from it, and the repair.
    """
    if not torch.equal(*torch.broadcast_tensors(counted_numbers(model_site), counted_numbers(guide_site))):
        raise ValueError(
            f"latent {name!r} is masked in one program and not in the other, or by another mask, so that its density "
            "in the guide is none for what the model counts: mask it in both in the same way"
        )


def counted_numbers(site: Site) -> Tensor:
    """Which numbers of a value count, by poutine.mask and by masked distributions, inside an event or around it."""
    fn, device = site["fn"], site["value"].device
    masks = [(True if site["mask"] is None else site["mask"], fn.event_dim)]
    masks += [(layer._mask, layer.event_dim) for layer in layers(fn) if isinstance(layer, dist.MaskedDistribution)]
    counted = torch.as_tensor(True, device=device)
    for mask, event_dim in masks:
        # What is masked as one event is masked in all its numbers.
        counted = counted & torch.as_tensor(mask, device=device)[(..., *[None] * event_dim)]
    return counted


def is_masked(site: Site) -> bool:
    """Whether a site has a mask, of its own or in a layer of its distribution."""
    return site["mask"] is not None or any(isinstance(layer, dist.MaskedDistribution) for layer in layers(site["fn"]))


def without_masks(fn: Any) -> Any:
    """A distribution of which every number has a density, whatever layer of it had a mask."""
    if isinstance(fn, dist.MaskedDistribution):
        return without_masks(fn.base_dist)
    if not hasattr(fn, "base_dist"):
        return fn
    base = without_masks(fn.base_dist)
    if base is fn.base_dist:
        return fn
    fn = copy.copy(fn)
    fn.base_dist = base
    return fn


def is_point_mass(fn: Any) -> bool:
    """Whether a distribution is a Delta."""
    return isinstance(innermost(fn), dist.Delta)
