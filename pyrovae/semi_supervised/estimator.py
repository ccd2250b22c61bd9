"""What the semi-supervised models share: the interface of a scikit-learn classifier."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from pyrovae.checkpoints import fingerprint
from pyrovae.distributions.arguments import is_finite_number
from pyrovae.programs import check_positive
from pyrovae.semi_supervised.labels import as_labels
from pyrovae.semi_supervised.rows import as_rows, check_column_names, check_shape
from pyrovae.training.settings import settings_of

Array = npt.NDArray[Any]


class SemiSupervisedClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from rows with and without labels; a subclass has ``fit`` and ``predict_proba``."""

    classes_: Array
    data_shape_: tuple[int, ...]
    column_names_: tuple[str, ...] | None = None

    def predict(self, x: Any) -> Array:
        """The most probable class of each row.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.

        Returns:
            Labels ``(rows,)``.
        """
        probabilities = self.predict_proba(x)
        return self.classes_[probabilities.argmax(1)]

    def predict_proba(self, x: Any) -> Array:
        """The probability of each class for each row ``(rows, num_classes)``."""
        raise NotImplementedError

    def score(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of labelled rows whose class is predicted rightly; rows labelled -1 do not count.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.
            y: labels ``(rows,)``.
            sample_weight: weight of each row ``(rows,)``; None is one for all.

        Raises:
            ValueError: labels out of range or for another number of rows, or no label at all; weights that are
                negative, not finite, all zero or for another number of rows.
        """
        rows = self._rows(x, missing=True)
        labels = as_labels(y, len(rows), len(self.classes_))
        known = labels >= 0
        if not bool(known.any()):
            raise ValueError(f"none of the {len(labels)} rows has a label; expected some to compare predictions with")
        weights = None if sample_weight is None else _weights(sample_weight, len(rows))[known.numpy()]
        if weights is not None and not weights.any():
            raise ValueError("sample_weight is zero for all rows with a label; expected some above zero")
        right = self.predict(rows[known.to(rows.device)]) == labels[known].numpy()
        return float(np.average(right, weights=weights))

    def _rows(self, x: Any, *, missing: bool = False) -> Tensor:
        """Rows to be scored, by a fitted model."""
        check_is_fitted(self)
        check_column_names(x, self.column_names_, "x")
        rows = as_rows(x, "x", missing=missing)
        check_shape(rows, self.data_shape_)
        return rows


def _weights(sample_weight: Any, num_rows: int) -> Array:
    weights = np.asarray(sample_weight, dtype=float)
    if weights.shape != (num_rows,):
        raise ValueError(f"sample_weight has shape {weights.shape}; expected one weight for each row, ({num_rows},)")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("sample_weight has negative, infinite or NaN values; expected numbers, zero or positive")
    return weights


def check_learning_rate(**rates: object) -> None:
    """Refuse learning rates that are no positive numbers.

    Raises:
        ValueError: the rate, by its name.
    """
    for name, lr in rates.items():
        if not is_finite_number(lr) or not lr > 0:
            raise ValueError(f"{name} is {lr!r}; expected a positive number")


def check_training_numbers(rows: int, epochs: int, batch_size: int, lr: float, **counts: int) -> None:
    """Refuse numbers that no training can go by.

    Raises:
        ValueError: the number, by its name.
    """
    check_positive(epochs=epochs, batch_size=batch_size, **counts)
    check_learning_rate(lr=lr)
    if batch_size > rows:
        raise ValueError(f"batch_size is {batch_size}, more than the {rows} training rows: give at most {rows}")


def arguments_of_fit(model: SemiSupervisedClassifier) -> dict[str, Any]:
    """The arguments of a model that change its fit, by name."""
    return {k: v for k, v in model.get_params(deep=False).items() if k not in ("progress", "device")}


def settings_of_labelled(
    x: Tensor, y: Tensor, validation: tuple[Tensor, Tensor] | None, **arguments: Any
) -> dict[str, str]:
    """What a fit to rows and labels goes by, as text, by name.

    Args:
        x: the rows.
        y: their labels.
        validation: the like, where there is any.
        **arguments: the others, by name.
    """
    settings = settings_of((x,), validation, **arguments)
    return {"x": settings.pop("train"), "y": fingerprint(y), **settings}


def device_of(device: str | torch.device | None, x: Tensor) -> torch.device:
    """Where the networks are to be: where was asked for, else where the rows are."""
    return x.device if device is None else torch.device(device)
