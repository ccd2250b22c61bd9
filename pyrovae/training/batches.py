"""The batches of an epoch: of rows in memory, or of rows that a thread reads ahead."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor

from pyrovae.data import AnyRows

# Batches are read several at once, 4 MiB at most, so that the two threads seldom wait for each other; so many reads are
# ahead, which hide one that is late.
_NUMBERS_AT_ONCE, _BATCHES_AT_ONCE, _READS_AHEAD = 2**20, 8, 3

# Matrix products round in another order where the first number is at no multiple of so many bytes.
_ALIGNED = 16


@contextmanager
def batches_of(rows: AnyRows, batch_size: int, order: Tensor | None = None) -> Iterator[Iterator[Tensor]]:
    """The rows in batches, in the same order wherever they are kept.

    Streamed rows are read by one thread, a few batches ahead; it has ended when the context is left, for whatever
    reason. An error of reading comes out of the iterator, in place of the batch.

    Args:
        rows: rows ``(rows, *data_shape)``.
        batch_size: rows of a batch; the last has what is left.
        order: numbers of the rows, in the order in which they come, or none; None is 0, 1, 2, ...

    Raises:
        OSError: streamed rows that cannot be read.
        ValueError: an item of a data set that is not like the others.
    """
    if order is not None and not len(order):
        yield iter(())
        return
    if isinstance(rows, Tensor):
        yield iter(rows.split(batch_size)) if order is None else _gathered(rows, batch_size, order)
        return
    numbers_of_batch = batch_size * rows.shape[1:].numel()
    at_once = max(1, min(_BATCHES_AT_ONCE, _NUMBERS_AT_ONCE // numbers_of_batch))
    if order is None and numbers_of_batch % 4:
        # In memory such batches begin anywhere; here every fourth begins a read, so the others begin as there.
        at_once = 4 * -(-at_once // 4)
    numbers = iter((torch.arange(len(rows)) if order is None else order).split(at_once * batch_size))
    with ThreadPoolExecutor(1, "reading ahead") as reader:
        ahead = deque(reader.submit(rows.__getitem__, part) for part in islice(numbers, _READS_AHEAD))

        def read() -> Iterator[Tensor]:
            while ahead:
                x = ahead.popleft().result()
                ahead.extend(reader.submit(rows.__getitem__, part) for part in islice(numbers, 1))
                for batch in x.split(batch_size):
                    # Batches that are gathered in memory begin where they can be computed with fastest.
                    yield batch if order is None or batch.data_ptr() % _ALIGNED == 0 else batch.clone()

        try:
            yield read()
        finally:
            reader.shutdown(wait=False, cancel_futures=True)


def _gathered(rows: Tensor, batch_size: int, order: Tensor) -> Iterator[Tensor]:
    # It copies whole rows, and takes half the time of rows[batch].
    return (rows.index_select(0, batch) for batch in order.to(rows.device).split(batch_size))
