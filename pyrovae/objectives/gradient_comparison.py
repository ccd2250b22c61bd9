"""What ``compare_gradients`` gives."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyrovae.objectives.gradient_moments import GradientNoise, variance_ratio

if TYPE_CHECKING:
    import pandas as pd

Part = Literal["guide", "model"]

_PARTS: tuple[Part, ...] = ("guide", "model")


@dataclass(frozen=True)
class ObjectiveGradients:
    """Signal and noise of one objective's gradients.

    Attributes:
        guide: by the parameters that the guide's density depends on.
        model: by all others.
        seconds: time of one gradient, the median over repeats.
    """

    guide: GradientNoise
    model: GradientNoise
    seconds: float


@dataclass(frozen=True)
class GradientComparison:
    """Signal and noise of the gradients of several objectives, for one pair and the same rows.

    Attributes:
        by_objective: the numbers by label of the objective, in the order that was asked for.
        left_out: why an objective of the default selection is missing, by its label.
        shared: names of the parameters that model and guide both use, and that are counted with the guide's.
        num_rows: rows of the batch.
        num_repeats: gradients of each objective.
    """

    by_objective: dict[str, ObjectiveGradients]
    left_out: dict[str, str]
    shared: tuple[str, ...]
    num_rows: int
    num_repeats: int

    def __getitem__(self, label: str) -> ObjectiveGradients:
        """The numbers of the objective with this label."""
        return self.by_objective[label]

    def variance_ratio(self, label: str, part: Part = "guide", reference: str | None = None) -> tuple[float, float]:
        """The total variance of an objective's gradient as a multiple of another's, and its standard error.

        Args:
            label: of the objective.
            part: whose parameters, ``"guide"`` or ``"model"``.
            reference: label of the objective to compare with; None is the first.
        """
        other = next(iter(self.by_objective)) if reference is None else reference
        return variance_ratio(getattr(self[label], part), getattr(self[other], part))

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each objective and each of ``"guide"`` and ``"model"``."""
        import pandas as pd

        lines = []
        for label, gradients in self.by_objective.items():
            for part in _PARTS:
                noise: GradientNoise = getattr(gradients, part)
                ratio, error = self.variance_ratio(label, part)
                lines.append(
                    {
                        "objective": label,
                        "part": part,
                        "num_parameters": noise.num_parameters,
                        "norm": noise.norm,
                        "norm_standard_error": noise.norm_standard_error,
                        "total_variance": noise.total_variance,
                        "total_variance_standard_error": noise.total_variance_standard_error,
                        "variance_ratio": ratio,
                        "variance_ratio_standard_error": error,
                        "snr": noise.snr,
                        "snr_standard_error": noise.snr_standard_error,
                        "snr_per_parameter": noise.snr_per_parameter,
                        "seconds": gradients.seconds,
                    }
                )
        return pd.DataFrame(lines).set_index(["objective", "part"])

    def summary(self) -> str:
        """A table of the numbers with their standard errors, and what was left out and why."""
        first = next(iter(self.by_objective))
        width = max(len("model, parameters"), *map(len, self.by_objective)) + 4
        heads = ("norm", "(se)", "variance", "(se)", "ratio", "(se)", "SNR", "(se)", "ms each")
        lines = [" " * width + "".join(f"{head:>10}" for head in heads)]
        for part in _PARTS:
            count = getattr(self[first], part).num_parameters
            if not count:
                continue
            lines.append(f"{part}, {count:,} parameters")
            for label, gradients in self.by_objective.items():
                noise: GradientNoise = getattr(gradients, part)
                numbers = (
                    noise.norm,
                    noise.norm_standard_error,
                    noise.total_variance,
                    noise.total_variance_standard_error,
                    *self.variance_ratio(label, part),
                    noise.snr,
                    noise.snr_standard_error,
                    1000 * gradients.seconds,
                )
                lines.append(f"  {label:<{width - 2}}" + "".join(f"{number:>10.3g}" for number in numbers))
        lines += [
            f"gradients of the mean loss of {self.num_rows:,} rows, {self.num_repeats:,} repeats: norm of the expected "
            "gradient in nats per row;",
            f"total variance in its square, and as a multiple of that of {first}; SNR = norm / sqrt(variance)",
        ]
        if self.shared:
            lines.append(f"used by the model too, counted with the guide: {', '.join(self.shared)}")
        lines += [f"left out: {label}: {reason}" for label, reason in self.left_out.items()]
        return "\n".join(lines)
