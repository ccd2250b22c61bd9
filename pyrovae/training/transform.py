"""What becomes of a batch on its way to the programs."""

from collections.abc import Callable

from torch import Tensor


def transformed(rows: Tensor, transform: Callable[[Tensor], Tensor] | None) -> Tensor:
    """A batch as ``train_transform`` gives it.

    Args:
        rows: of the batch ``(rows, *data_shape)``.
        transform: None leaves them as they are.

    Raises:
        ValueError: it gave no tensor, or another number of rows, by which the terms of an epoch would be wrong.
    """
    if transform is None:
        return rows
    given = transform(rows)
    if not isinstance(given, Tensor) or given.shape[:1] != rows.shape[:1]:
        what = f"rows of shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(
            f"train_transform gave {what} for a batch of shape {tuple(rows.shape)}; it has to return a tensor of as "
            "many rows"
        )
    return given
