"""Rows of tables whose columns are of different kinds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from pyrovae.data import check_column_kinds, columns_by_kind, num_categories


class ColumnValues(Constraint):
    """The values that each column of a table may have, by its kind; along the last dimension.

    Args:
        column_kinds: kind of each column.
    """

    event_dim = 0

    def __init__(self, column_kinds: Sequence[str]) -> None:
        self.column_kinds = check_column_kinds(column_kinds)
        self.is_discrete = "real" not in self.column_kinds
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each entry is a value of its column."""
        # What is whole and between these is a value; a real column is neither asked to be whole nor bounded.
        most = [_largest(kind) for kind in self.column_kinds]
        least = [-torch.inf if kind == "real" else 0.0 for kind in self.column_kinds]
        real = value.new_tensor([kind == "real" for kind in self.column_kinds], dtype=torch.bool)
        inside = (value >= value.new_tensor(least)) & (value <= value.new_tensor(most))
        return inside & (real | (value == value.round()))

    def describe(self, position: Sequence[int]) -> str:
        """What an entry may be, for errors."""
        kind = self.column_kinds[position[-1]]
        allowed = {"real": "any number", "count": "0, 1, 2, ...", "binary": "0 or 1"}
        return (
            f"column {position[-1]}, which is {kind!r} and so takes "
            f"{allowed.get(kind, f'0 to {(num_categories(kind) or 0) - 1}')}"
        )

    def __repr__(self) -> str:
        return f"ColumnValues({', '.join(self.column_kinds)})"


class Columns(dist.TorchDistribution):
    r"""Independent columns of different kinds, those of one kind in one distribution.

    .. math:: p(x) = \prod_\mathrm{kind} \prod_{d\ \mathrm{of\ kind}} p_\mathrm{kind}(x_d)

    Rows are one tensor of numbers: binary columns hold 0 and 1, categorical ones the index of the category. The mean
    of a categorical column is the most probable index.

    Args:
        column_kinds: kind of each column: ``"real"``, ``"count"``, ``"binary"`` or ``"categorical(k)"``.
        groups: by kind, the distribution of its columns in their order, batch ``(*batch, columns of the kind)``.

    Raises:
        ValueError: kinds without a distribution, or one for another number of columns.

    Example:
        >>> import torch
        >>> import pyro.distributions as dist
        >>> groups = {"real": dist.Normal(torch.zeros(5, 2), 1.0), "binary": dist.Bernoulli(torch.full((5, 1), 0.5))}
        >>> table = Columns(["real", "binary", "real"], groups)
        >>> table.batch_shape, table.event_shape
        (torch.Size([5]), torch.Size([3]))
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012 the name and the type are torch's
    # Given the parameters, so that missing entries can be drawn without a look at the others.
    independent_entries = True

    def __init__(
        self, column_kinds: Sequence[str], groups: Mapping[str, Any], validate_args: bool | None = None
    ) -> None:
        self.column_kinds = check_column_kinds(column_kinds)
        self.positions = columns_by_kind(self.column_kinds)
        self.groups = dict(groups)
        for kind, positions in self.positions.items():
            found = self.groups[kind].batch_shape[-1:] if kind in self.groups else None
            if found != (len(positions),):
                given = "no distribution" if found is None else f"a distribution with last batch dimensions {found}"
                raise ValueError(
                    f"groups has {given} for the {len(positions)} columns of kind {kind!r}; expected batch shape "
                    f"(*batch, {len(positions)})"
                )
        batch_shape = torch.broadcast_shapes(*(group.batch_shape[:-1] for group in self.groups.values()))
        super().__init__(batch_shape, torch.Size([len(self.column_kinds)]), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        """The values of each column."""
        values: Any = ColumnValues(self.column_kinds)
        return constraints.independent(values, 1)

    @property
    def mean(self) -> Tensor:
        """Means of the columns; of categorical ones the most probable index."""
        return self._join(
            group.mean if num_categories(kind) is None else group.probs.argmax(-1) for kind, group in self._in_order()
        )

    def category_probs(self) -> list[tuple[list[int], Tensor]]:
        """For each number k of categories the columns that have it, and ``(*batch, columns, k)`` probabilities."""
        return [
            (self.positions[kind], group.probs) for kind, group in self._in_order() if num_categories(kind) is not None
        ]

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 torch's own default
        """Draws of rows."""
        return self._join(group.sample(sample_shape) for _, group in self._in_order())

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of rows; minus infinity for what is no category."""
        if self._validate_args:
            self._validate_sample(value)
        return self._sum(value, None)

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        """Log-density of the observed entries of rows; the others hold any number of their column."""
        return self._sum(value, observed)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Columns":
        """The same with another batch shape."""
        groups = {kind: group.expand((*batch_shape, len(self.positions[kind]))) for kind, group in self.groups.items()}
        return type(self)(self.column_kinds, groups, validate_args=self.__dict__.get("_validate_args"))

    def _in_order(self) -> Iterator[tuple[str, Any]]:
        return ((kind, self.groups[kind]) for kind in self.positions)

    def _sum(self, value: Tensor, observed: Tensor | None) -> Tensor:
        total: Any = 0.0
        for kind, group in self._in_order():
            positions = self.positions[kind]
            values, categories = value[..., positions], num_categories(kind)
            if categories is None:
                terms = group.log_prob(values)
            else:
                # Where nothing is validated, an index out of range would raise an error, and stop a GPU for good.
                nearest = values.round().clamp(0, categories - 1)
                terms = torch.where(nearest == values, group.log_prob(nearest), -torch.inf)
            if observed is not None:
                terms = torch.where(observed[..., positions], terms, 0.0)
            total = total + terms.sum(-1)
        return total

    def _join(self, parts: Iterator[Tensor]) -> Tensor:
        """Values of groups in the order of the columns, as floats."""
        dtype = next(group.mean.dtype for group in self.groups.values())
        values = [part.to(dtype) for part in parts]
        batch_shape = torch.broadcast_shapes(*(part.shape[:-1] for part in values))
        joined = torch.cat([part.expand(*batch_shape, -1) for part in values], -1)
        order = [position for positions in self.positions.values() for position in positions]
        return joined[..., sorted(range(len(order)), key=order.__getitem__)]

    def _validate_sample(self, value: Tensor) -> None:
        support = ColumnValues(self.column_kinds)
        if value.shape[-1:] == self.event_shape and not bool((inside := support.check(value)).all()):
            position = tuple(int(index) for index in (~inside).nonzero()[0])
            raise ValueError(f"the value {value[position].item():g} is outside {support.describe(position)}")
        super()._validate_sample(value)


def _largest(kind: str) -> float:
    categories = num_categories(kind)
    return (1.0 if kind == "binary" else torch.inf) if categories is None else categories - 1.0
