"""The latents of a pair as vectors without constraints, for methods that follow gradients."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import biject_to, constraints

from pyrovae.distributions.layers import entry_support, innermost
from pyrovae.programs import Latents, Sampler, check_any_density, sample_sites


@dataclass(frozen=True)
class _Site:
    """One latent: its transform from the unconstrained space, and the shape of one draw there."""

    transform: Any
    row_dim: int
    plates: tuple[int, ...]
    event: tuple[int, ...]


class LatentSpace:
    r"""All latents of a row as one vector u of real numbers.

    Each site is :math:`z = T(u)` with ``T = biject_to(support)``, so that a density of u is that of z times the
    Jacobian :math:`|\det \partial T / \partial u|`.
    """

    def __init__(self, sampler: Sampler, rows: Tensor, *, guide_too: bool) -> None:
        """Take the supports from the model.

        Args:
            sampler: of the pair.
            rows: of which draws are taken to see shapes.
            guide_too: whether the latents also need a density of the guide, at any value, and so the same supports.

        Raises:
            ValueError: a latent that is discrete, whose support moves, or differs between model and guide; a guide
                that can score its own draws alone.
        """
        probe = rows[torch.arange(3) % len(rows)]
        supports = _supports("model", sampler.model, probe, sampler.structure.latents)
        if guide_too:
            sampler.structure.check_reach()
            _check_same(supports, _supports("guide", sampler.guide, probe, sampler.structure.latents))
            check_any_density(
                sampler, probe, "no path can start from it: use start='prior', or a guide with a density everywhere"
            )
        self._sites: dict[str, _Site] = {}
        with torch.no_grad():
            example = sampler.draw_prior(probe, 1)[0]
        for name, event_dim in sampler.structure.latent_event_dims.items():
            transform = biject_to(supports[name])
            row_dim = example[name].dim() - event_dim - 1
            shape = transform.inv(example[name]).shape
            self._sites[name] = _Site(transform, row_dim, tuple(shape[1:row_dim]), tuple(shape[row_dim + 1 :]))

    def vectors(self, latents: Latents) -> Tensor:
        """The vectors u ``(draws, rows, numbers)`` of latents."""
        parts = []
        for name, site in self._sites.items():
            unconstrained = site.transform.inv(latents[name]).movedim(site.row_dim, 1)
            parts.append(unconstrained.reshape(*unconstrained.shape[:2], -1))
        return torch.cat(parts, dim=-1)

    def latents(self, vectors: Tensor) -> tuple[Latents, Tensor]:
        """The latents of vectors ``(draws, rows, numbers)``, and the log Jacobian ``(draws, rows)``."""
        draws, rows = vectors.shape[:2]
        latents, log_jacobian, start = {}, vectors.new_zeros(draws, rows), 0
        for name, site in self._sites.items():
            shape = (*site.plates, *site.event)
            end = start + torch.Size(shape).numel()
            unconstrained = vectors[..., start:end].reshape(draws, rows, *shape).movedim(1, site.row_dim)
            value = site.transform(unconstrained)
            terms = site.transform.log_abs_det_jacobian(unconstrained, value)
            terms = terms.reshape(*unconstrained.shape[: site.row_dim + 1], -1).sum(-1)
            log_jacobian = log_jacobian + terms.reshape(draws, -1, rows).sum(1)
            latents[name], start = value, end
        return latents, log_jacobian


def _supports(program_name: str, program: Any, probe: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    with torch.no_grad():
        sites = sample_sites(poutine.trace(program).get_trace(probe))
    for name in names:
        if _is_angle(sites[name]["fn"]):
            raise ValueError(
                f"latent {name!r} of the {program_name} is an angle, which goes round where steps in real numbers go "
                "on: use compare_bounds or prior_log_px"
            )
    return {name: _fixed_support(program_name, name, sites[name]["fn"].support) for name in names}


def _is_angle(fn: Any) -> bool:
    return isinstance(innermost(fn), torch.distributions.VonMises)


def _fixed_support(program: str, name: str, support: Any) -> Any:
    """The support with plain numbers as bounds."""
    if hasattr(support, "base_constraint"):
        base = _fixed_support(program, name, support.base_constraint)
        return constraints.independent(base, support.event_dim - support.base_constraint.event_dim)
    if support.is_discrete:
        raise ValueError(
            f"latent {name!r} of the {program} is discrete ({support}), and Hamiltonian transitions need a gradient: "
            "use compare_bounds or prior_log_px, or sum the latent out of the model"
        )
    bounds = {key: value for key, value in vars(support).items() if isinstance(value, Tensor) and value.numel()}
    if any(bool((value != value.flatten()[0]).any()) for value in bounds.values()):
        raise ValueError(
            f"the support of latent {name!r} of the {program} differs from row to row or number to number "
            f"({support}): draw it on a fixed support, and scale it in the program"
        )
    fixed = copy.copy(support)
    for key, value in bounds.items():
        setattr(fixed, key, value.flatten()[0])
    try:
        biject_to(fixed)
    except NotImplementedError as error:
        raise ValueError(
            f"the support of latent {name!r} of the {program} ({support}) has no map from the real numbers"
        ) from error
    return fixed


def _check_same(model: dict[str, Any], guide: dict[str, Any]) -> None:
    for name, support in model.items():
        if not _is_same(entry_support(support), entry_support(guide[name])):
            raise ValueError(
                f"latent {name!r} has the support {support} in the model and {guide[name]} in the guide, so there "
                "is no path from one to the other: start from the prior, or give both the same support"
            )


def _is_same(one: Any, other: Any) -> bool:
    # Not every map says of another one that it is the same.
    return (type(one) is type(other) and vars(one) == vars(other)) or biject_to(one) == biject_to(other)
