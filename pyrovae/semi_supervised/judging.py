"""What an epoch is judged by: predictions for held-out rows."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyrovae.training import EpochTerms


def judge_by(class_probs: Callable[[Tensor], Tensor], rows: Tensor, labels: Tensor) -> Callable[[], EpochTerms]:
    """Accuracy and cross-entropy, in nats, of the predictions for held-out rows, of those that have labels.

    Args:
        class_probs: from rows to probabilities ``(rows, num_classes)``, by the weights as they are.
        rows: ``(rows, *data_shape)``.
        labels: theirs ``(rows,)``, -1 for none, on the CPU.

    Raises:
        ValueError: no row has a label.
    """
    known = labels >= 0
    if not bool(known.any()):
        raise ValueError("no row of validation has a label; expected some to judge each epoch by, or None")
    rows, labels = rows[known.to(rows.device)], labels[known]

    def terms() -> EpochTerms:
        probabilities = class_probs(rows).cpu()
        of_label = probabilities[torch.arange(len(labels)), labels]
        return {
            "validation_accuracy": float((probabilities.argmax(1) == labels).double().mean()),
            "validation_cross_entropy": float(-of_label.clamp(min=torch.finfo(of_label.dtype).tiny).log().mean()),
        }

    return terms
