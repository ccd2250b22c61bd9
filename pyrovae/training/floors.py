"""Scales that have come down to their floor, and scales that cannot move."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from torch import Tensor, nn

from pyrovae.distributions.arguments import SCALE_FLOOR
from pyrovae.distributions.layers import innermost
from pyrovae.likelihoods import Columns
from pyrovae.likelihoods.choices import Positive
from pyrovae.likelihoods.covariance import CovarianceNormal
from pyrovae.likelihoods.elementwise import Elementwise
from pyrovae.posteriors import DiagonalNormal, FullCovarianceNormal, MixtureOfNormals

# The floor is then two thirds of the scale or more. Floor and softplus or exponential: on a constant column the scale
# hangs between 1.0 and 1.2 floors after thousands of steps, and the scales of data that vary are above 20.
_NEAR = 1.5

# Of the rows, where the scale is one for each.
_PART_OF_ROWS = 0.1

_SHOWN = 5


@dataclass(frozen=True)
class OnFloor:
    """The entries of a part whose scale is on its floor.

    Attributes:
        part: name of the part's class.
        floor: in units of the scale; of a column, for ``Columns``.
        positions: of these entries in a row.
        total: number of entries that have a scale.
    """

    part: str
    floor: float
    positions: Sequence[Any]
    total: int

    def where(self) -> str:
        """The entries in words."""
        shown = ", ".join(map(str, self.positions[:_SHOWN])) + (", ..." if len(self.positions) > _SHOWN else "")
        return f"{len(self.positions)} of {self.total} entries ({shown})"


@contextmanager
def outputs_of(modules: Iterable[nn.Module], kinds: tuple[type, ...]) -> Iterator[dict[nn.Module, Any]]:
    """What those of the modules that are of these kinds, or have one below them, give when they are called inside."""
    outputs: dict[nn.Module, Any] = {}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        outputs[module] = output

    parts = {part for module in modules for part in module.modules() if isinstance(part, kinds)}
    handles = [part.register_forward_hook(keep) for part in parts]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


LIKELIHOODS: tuple[type, ...] = (Elementwise, CovarianceNormal, Columns)
# The diagonal of a low rank may well be on its floor, as the factors beside it bear the variance.
POSTERIORS: tuple[type, ...] = (DiagonalNormal, FullCovarianceNormal, MixtureOfNormals)


def likelihoods_on_floor(outputs: dict[Any, Any]) -> list[OnFloor]:
    """The likelihoods with learned scales on their floor, from what they gave."""
    found = []
    for module, p_x in outputs.items():
        if isinstance(module, Columns):
            if "real" in module.positions:
                scale = p_x.groups["real"].scale / module.unit[: module.num_real]
                found.append(_on_floor(module, scale, module.scale_floor, module.positions["real"]))
            continue
        choice = module.scales if isinstance(module, CovarianceNormal) else module.choices.get("scale")
        # Probabilities of levels are at most 1, however small the scale.
        if isinstance(choice, Positive) and choice.number is None and not p_x.support.is_discrete:
            shape = p_x.event_shape
            entries = list(product(*map(range, shape))) if len(shape) > 1 else range(shape[0])
            found.append(_on_floor(module, _scale(p_x), choice.floor, entries))
    return [floor for floor in found if floor.positions]


def fixed_scales(outputs: dict[Any, Any]) -> dict[str, float]:
    """The scales that likelihoods were given as numbers, by the name of the likelihood."""
    parts = [part for part in outputs if isinstance(part, Elementwise) and "scale" in part.choices]
    numbers = [(type(part).__name__, part.choices["scale"].number) for part in parts]
    return {part: number for part, number in numbers if number is not None}


def posteriors_on_floor(outputs: dict[nn.Module, Any]) -> list[OnFloor]:
    """The posteriors whose standard deviations are on their floor, from what they gave."""
    found = [_on_floor(part, _scale(q_z), SCALE_FLOOR, range(q_z.event_shape[0])) for part, q_z in outputs.items()]
    return [floor for floor in found if floor.positions]


def _scale(distribution: Any) -> Tensor:
    """Scales of the single numbers, those that have a floor."""
    distribution = innermost(distribution)
    if hasattr(distribution, "coord_scale"):
        return distribution.coord_scale
    if hasattr(distribution, "scale_tril"):
        return distribution.scale_tril.diagonal(dim1=-2, dim2=-1)
    return distribution.cov_diag.sqrt() if hasattr(distribution, "cov_diag") else distribution.scale


def _on_floor(module: nn.Module, scale: Tensor, floor: float, positions: Sequence[Any]) -> OnFloor:
    near = (scale < _NEAR * floor).reshape(-1, len(positions)).float().mean(0) >= _PART_OF_ROWS
    on_floor = [position for position, is_near in zip(positions, near.tolist(), strict=True) if is_near]
    return OnFloor(type(module).__name__, floor, on_floor, len(positions))
