"""The weights that a fit keeps."""

from pyrovae.programs import Weights


class Best:
    """The weights of the best epoch, or of the newest where epochs are not judged.

    Args:
        weights: as they are before training.

    Attributes:
        epoch: whose weights are kept, counted from 1; 0 is before training.
        objective: of that epoch, on the validation rows; minus infinity where it was not judged.
        weights: copies of all, buffers too.
    """

    def __init__(self, weights: Weights) -> None:
        self.epoch, self.objective = 0, float("-inf")
        self.weights = weights.copy(of_buffers=True)

    def after_epoch(self, epoch: int, objective: float | None, weights: Weights) -> None:
        """Keep the weights of an epoch, if it is the best.

        Args:
            epoch: counted from 1.
            objective: on the validation rows, higher is better; None where the epoch cannot be judged.
            weights: as they are.
        """
        if objective is None or objective > self.objective:
            self.epoch, self.objective = epoch, float("-inf") if objective is None else objective
            self.weights = weights.copy(of_buffers=True)
