"""A guide with free parameters for each row, in the guide's own family."""

import inspect
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import constraints, transform_to

from pyrovae.programs import Program

Offsets = dict[str, Tensor]
"""Offsets of parameters in unconstrained space, by ``site.parameter``, each with the rows of one block."""


# A distribution takes one of these; what was asked for is kept beside what it was made from.
_ALTERNATIVES = (("scale_tril", "covariance_matrix", "precision_matrix"), ("logits", "probs"))


class LocalGuide:
    """A guide whose distributions' parameters are moved by offsets that each row has for itself.

    Where the parameters of a site depend on the rows only, the offsets reach every member of its family; where they
    also depend on an earlier latent, or a flow follows, every shift of the parameters that the guide gives. A flow's
    own weights are shared by all rows and stay: its family is this one flow after every member of the base's family.

    Args:
        guide: Pyro program of the latents.
        latents: names of its latent sites.
    """

    def __init__(self, guide: Program, latents: tuple[str, ...]) -> None:
        self.guide, self.latents = guide, latents
        self.offsets: Offsets = {}

    def __call__(self, x: Tensor) -> Any:
        """Run the guide on the rows, or on several copies of them in order."""
        with _MoveParameters(self):
            return self.guide(x)

    def moved(self, fn: Any, name: str) -> Any:
        """The distribution with its parameters moved.

        Raises:
            ValueError: they cannot be moved: the distribution has none, or its support moves with them.
        """
        if isinstance(fn, torch.distributions.Independent):
            return self.moved(fn.base_dist, name).to_event(fn.reinterpreted_batch_ndims)
        if isinstance(fn, dist.MaskedDistribution):
            return self.moved(fn.base_dist, name).mask(fn._mask)
        # A family of its own, such as LogNormal, has parameters in its transforms too, or a density of its own.
        if type(fn) in (torch.distributions.TransformedDistribution, dist.TransformedDistribution):
            return dist.TransformedDistribution(self.moved(fn.base_dist, name), fn.transforms)
        if isinstance(fn, torch.distributions.MixtureSameFamily):
            return dist.MixtureSameFamily(
                self.moved(fn.mixture_distribution, f"{name}.mixture"),
                self.moved(fn.component_distribution, f"{name}.component"),
            )
        try:
            return self._rebuilt(fn, name)
        except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
            raise ValueError(
                f"inference_gap: the {type(fn).__name__} of latent {name.split('.')[0]!r} in the guide has no "
                "parameters that can be moved for each row: it needs a distribution that is made from its "
                "arg_constraints and whose support does not depend on them, such as Normal, Gamma, Beta or LogNormal"
            ) from error

    def _rebuilt(self, fn: Any, name: str) -> Any:
        if isinstance(inspect.getattr_static(type(fn), "support"), constraints._DependentProperty):
            raise TypeError("draws at the border of a support have no gradient")
        accepted = inspect.signature(type(fn).__init__).parameters
        names = [key for key in fn.arg_constraints if key in accepted]
        # Of alternative parameters (probs or logits, covariance or Cholesky factor) those that it was made from.
        given = [key for key in names if key in vars(fn)] or names
        for first, *others in _ALTERNATIVES:
            if first in given:
                given = [key for key in given if key not in others]
        if not given:
            raise TypeError("there is no argument with a constraint")
        # What has none, a temperature for example, stays as it is.
        rest = accepted.keys() - fn.arg_constraints.keys() - {"self", "validate_args"}
        fixed = {key: getattr(fn, key) for key in rest if hasattr(fn, key)}
        moved = {key: self._moved(getattr(fn, key), fn.arg_constraints[key], f"{name}.{key}") for key in given}
        return type(fn)(**moved, **fixed)

    def _moved(self, value: Tensor, constraint: Any, name: str) -> Tensor:
        to_constrained = transform_to(constraint)
        unconstrained = to_constrained.inv(value)
        if name not in self.offsets:
            self.offsets[name] = torch.zeros_like(unconstrained)
        return to_constrained(unconstrained + _repeated(self.offsets[name], unconstrained))


class _MoveParameters(Messenger):
    def __init__(self, local: LocalGuide) -> None:
        super().__init__()
        self.local = local

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.local.latents:
            msg["fn"] = self.local.moved(msg["fn"], msg["name"])


def _repeated(offset: Tensor, value: Tensor) -> Tensor:
    """The offsets for rows that stand several times, one copy of the block after the other."""
    for dim in range(-1, -offset.dim() - 1, -1):
        if offset.shape[dim] != value.shape[dim]:
            repeats = [1] * offset.dim()
            repeats[dim] = value.shape[dim] // offset.shape[dim]
            return offset.repeat(repeats)
    return offset
