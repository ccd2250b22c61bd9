"""What the semi-supervised models share: the interface of a scikit-learn classifier."""

from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from pyrovae.programs import check_positive
from pyrovae.semi_supervised.labels import as_labels
from pyrovae.semi_supervised.rows import as_rows, check_shape

Array = npt.NDArray[Any]


class SemiSupervisedClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from rows with and without labels; a subclass has ``fit`` and ``predict_proba``."""

    classes_: Array
    data_shape_: tuple[int, ...]

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
            ValueError: labels out of range or for another number of rows, or no label at all.
        """
        rows = self._rows(x, missing=True)
        labels = as_labels(y, len(rows), len(self.classes_))
        known = labels >= 0
        if not bool(known.any()):
            raise ValueError(f"none of the {len(labels)} rows has a label; expected some to compare predictions with")
        if sample_weight is not None and np.shape(sample_weight) != (len(rows),):
            raise ValueError(
                f"sample_weight has shape {np.shape(sample_weight)}; expected one weight for each row, ({len(rows)},)"
            )
        right = self.predict(rows[known.to(rows.device)]) == labels[known].numpy()
        return float(np.average(right, weights=None if sample_weight is None else np.asarray(sample_weight)[known]))

    def _rows(self, x: Any, *, missing: bool = False) -> Tensor:
        """Rows to be scored, by a fitted model."""
        check_is_fitted(self)
        rows = as_rows(x, "x", missing=missing)
        check_shape(rows, self.data_shape_)
        return rows


def check_schedule(rows: int, epochs: int, batch_size: int, lr: float, **counts: int) -> None:
    """Refuse numbers that no training can go by.

    Raises:
        ValueError: the number, by its name.
    """
    check_positive(epochs=epochs, batch_size=batch_size, **counts)
    if not isinstance(lr, Real) or not 0 < lr < float("inf"):
        raise ValueError(f"lr is {lr!r}; expected a positive number")
    if batch_size > rows:
        raise ValueError(f"batch_size is {batch_size}, more than the {rows} training rows: give at most {rows}")


def device_of(device: str | torch.device | None, x: Tensor) -> torch.device:
    """Where the networks are to be: where was asked for, else where the rows are."""
    return x.device if device is None else torch.device(device)
