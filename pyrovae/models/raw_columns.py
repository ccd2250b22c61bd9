"""Tables whose columns are too large, or too far apart in scale, for parts that take them as they are."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from pyrovae.data import trouble_of_scale
from pyrovae.likelihoods import (
    Binomial,
    FullCovarianceNormal,
    Laplace,
    LowRankNormal,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from pyrovae.networks import MLP, ResidualMLP

# The decoder gives locations in the units of the columns.
_IN_UNITS = (Normal, StudentT, Laplace, LowRankNormal, FullCovarianceNormal)
# The decoder gives logarithms, or log-odds, and rare entries are small by nature; the encoder sees the counts.
_OF_COUNTS = (NegativeBinomial, Poisson, Binomial, ZeroInflatedNegativeBinomial, ZeroInflatedPoisson)
_LARGE_COUNT = 1000
_PLAIN = (MLP, ResidualMLP)


@dataclass(frozen=True)
class RawColumns:
    """Columns that give a pair of programs trouble.

    Attributes:
        trouble: what is said of them.
        slots: the parts that take them as they are, ``"likelihood"`` or ``"encoder"``.
        kind: of the columns, ``"real"`` or ``"count"``.
    """

    trouble: str
    slots: tuple[str, ...]
    kind: str

    def in_python(self) -> str:
        """What to do in Python, with the reason."""
        parts = {"likelihood": "likelihoods.Columns", "encoder": "networks.ColumnEncoder"}
        takes = "takes" if len(self.slots) == 1 else "take"
        logarithms = ", which takes log(1 + x) of columns of the kind 'count'" if self.kind == "count" else ""
        return (
            f"{self.trouble}, and {' and '.join(self.slots)} {takes} them as they are: use "
            f"{' and '.join(parts[slot] for slot in self.slots)}{logarithms}, and call vae.initialize(train)"
        )


def raw_columns(modules: Iterable[nn.Module], x: Tensor) -> RawColumns | None:
    """What gives trouble where these modules take the columns of a table as they are; None where nothing does.

    Networks of the user's own may scale the columns, so only those of this package are looked at.

    Args:
        modules: likelihood and posterior, or what holds them.
        x: rows, a table if their shape is ``(rows, columns)``.
    """
    if x.dim() != 2:
        return None
    inside = [part for module in modules for part in module.modules()]
    slots = []
    in_units = [part for part in inside if isinstance(part, _IN_UNITS) and isinstance(part.decoder, _PLAIN)]
    if not all(_starts_in_their_units(part, x) for part in in_units):
        slots.append("likelihood")
    if any(isinstance(getattr(part, "encoder", None), _PLAIN) for part in inside):
        slots.append("encoder")
    if not slots:
        return None
    if any(isinstance(part, _OF_COUNTS) for part in inside):
        most = x.nan_to_num(nan=0.0).max().item()
        trouble = f"columns have counts up to {most:,.0f}" if most > _LARGE_COUNT else None
        kind = "count"
    else:
        trouble, kind = trouble_of_scale(x), "real"
    return None if trouble is None else RawColumns(trouble, tuple(slots), kind)


def _starts_in_their_units(part: nn.Module, x: Tensor) -> bool:
    """Whether ``initialize`` gives a likelihood with heavy tails, which ``Columns`` has not, the columns' scales."""
    if not isinstance(part, StudentT | Laplace) or part.choices["scale"].number is not None:
        return False
    if not part.pooled("scale"):
        return True
    centred = x - x.nanmean(0)
    return trouble_of_scale(centred / centred.square().nanmean().sqrt()) is None
