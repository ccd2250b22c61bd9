"""What a system is: how it is built from a configuration, and what it makes of the rows of data."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

from torch import Tensor, nn

from pyrovae.data import AnyRows, Covariates, DataSplits
from pyrovae.programs import Program, observes_bits
from pyrovae.runs.objective_options import DEFAULT_OBJECTIVE, OBJECTIVE_OPTIONS
from pyrovae.runs.part import PARTS
from pyrovae.runs.systems.corruptions import make_corruption

DENSITY_OPTIONS = (
    *("prior", "likelihood", "posterior"),
    *OBJECTIVE_OPTIONS,
    *("lr_end", "precision", "step", "clip_norm", "max_skipped_steps", "num_samples", "chunk_size"),
)
"""Options of systems that have a p(x)."""


@dataclass(frozen=True)
class Sizes:
    """What the data say of a system's sizes.

    Attributes:
        latent_dim: dimensions of z.
        data_shape: shape of one row x.
        column_kinds: what the columns of a table are, where the data say so.
        covariates: what is known of each row beside it, the kinds of numbers by name.
    """

    latent_dim: int
    data_shape: tuple[int, ...]
    column_kinds: tuple[str, ...] | None = None
    covariates: dict[str, str] = field(default_factory=dict)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row as the programs take it: with covariates flattened, and these behind it."""
        return (prod(self.data_shape) + len(self.covariates),) if self.covariates else self.data_shape

    def known(self) -> dict[str, Any]:
        """Arguments that any part may have."""
        known: dict[str, Any] = {"latent_dim": self.latent_dim, "data_shape": self.data_shape}
        return known if self.column_kinds is None else {**known, "column_kinds": self.column_kinds}


@dataclass(frozen=True, eq=False)
class ModelRows:
    """Rows as the programs of a system take them.

    Attributes:
        data: the rows x that have a density, their labels and where they come from.
        train: training rows, ``(rows, *row_shape)``, in memory or streamed.
        validation: validation rows.
        test: test rows.
        train_transform: applied to each training batch, or None.
        covariates: what is known of each row beside x, where the system takes it.
    """

    data: DataSplits[AnyRows]
    train: AnyRows
    validation: AnyRows
    test: AnyRows
    train_transform: Callable[[Tensor], Tensor] | None
    covariates: Covariates | None = None

    @property
    def covariate_kinds(self) -> dict[str, str]:
        """Kinds of the covariates by name; empty where there are none."""
        return {} if self.covariates is None else self.covariates.kinds

    def summary(self) -> str:
        """The data in a few aligned lines."""
        lines = [self.data.summary()]
        if self.covariates is not None:
            lines.append(f"{'given c':<12}{', '.join(self.covariates.kinds)}")
        return "\n".join(lines)

    def provenance(self) -> dict[str, object]:
        """``DataSplits.provenance()``, with the covariates and their checksum."""
        if self.covariates is None:
            return self.data.provenance()
        known = {"covariates": self.covariates.kinds, "covariates_checksum": self.covariates.checksum}
        return {**self.data.provenance(), **known}


class System(ABC):
    """One kind of model that ``python -m pyrovae.fit`` fits.

    Attributes:
        name: what ``--system`` calls it.
        title: what it is, in a few words.
        slots: the parts that it is made of.
        options: options that not every system has, and this one takes.
        default_objective: what it maximises if nothing is said; None where it minimises a loss.
        target: what its reports estimate.
        given: what its other densities are given besides, as it stands in their names: p(x|z) with it is p(x|z, c).
        no_density: why it has no p(x); None where it has one.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    slots: ClassVar[tuple[str, ...]] = PARTS
    options: ClassVar[tuple[str, ...]] = DENSITY_OPTIONS
    default_objective: ClassVar[str | None] = DEFAULT_OBJECTIVE
    target: ClassVar[str] = "log p(x)"
    given: ClassVar[str] = ""
    no_density: ClassVar[str | None] = None

    @abstractmethod
    def build(self, config: Mapping[str, Any], sizes: Sizes) -> nn.Module:
        """The module that owns the programs, with fresh weights; ``build_pair`` says how its parts are sized."""

    def check(self, config: Mapping[str, Any]) -> None:  # noqa: B027
        """Refuse options that contradict one another.

        Raises:
            ValueError: their names and the repair.
        """

    def why_not(self, option: str) -> str:
        """Why an option of other systems has no place here, to stand behind its name."""
        return ", which it has no use for"

    def rows(
        self, config: Mapping[str, Any], data: DataSplits[AnyRows], covariates: Mapping[str, str] | None = None
    ) -> ModelRows:
        """The rows as the system's programs take them.

        Args:
            config: of the run.
            data: as they were loaded.
            covariates: those that the stored run was fitted with; None for a new one.

        Raises:
            ValueError: data that lack what the system needs.
        """
        return ModelRows(data, data.train, data.validation, data.test, data.train_transform)

    def observes_bits(self, model: Program, guide: Program, rows: Tensor) -> bool:
        """Whether grey values of the named data sets have to be made bits."""
        return observes_bits(model, guide, rows)

    def called(self, config: Mapping[str, Any]) -> str:
        """Its title, with what the options make of it."""
        return self.title

    def describe(self, config: Mapping[str, Any]) -> dict[str, str]:
        """What a report says of the system before its parts."""
        corruption = make_corruption(config)
        return {"system": self.called(config), **({} if corruption is None else {"corruption": repr(corruption)})}

    def in_words(self, text: str) -> str:
        """A report with what it estimates by its right name, its columns as they were."""
        return text.replace(f"{'log p(x)':<{len(self.target)}}", self.target).replace("log p(x) ", f"{self.target} ")

    def remark(self, config: Mapping[str, Any]) -> str | None:
        """One line on what was maximised, where that is not the bound that is reported."""
        if config.get("corruption") is None:
            return None
        return (
            "trained on corrupted rows x~ with the clean row x as target: the mean over x~ of the bound of q(z|x~), a "
            f"bound of {self.target} too; the numbers above are of q(z|x), on clean rows"
        )
