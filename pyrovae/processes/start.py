"""Joining the processes that torchrun started, by Lightning Fabric."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from pyrovae.processes.group import Processes, working_together


@contextmanager
def several_processes(device: str = "auto", *, timeout_minutes: float = 30.0) -> Iterator[Processes]:
    """Within this context fits and evaluations are shared out to the processes that ``torchrun`` started.

    Each takes its part of the rows of every step, draws what one process would draw for them, and
    DistributedDataParallel averages the gradients, so a fit is the same as by one process, to rounding. Every process
    runs the same lines with the same data. ``compare_bounds`` shares out its rows, too; only the process
    ``is_first`` should print and write, as ``fit_svi`` does. A script that was not started by torchrun runs by itself.

    Args:
        device: ``"cpu"``, ``"cuda"`` (one device for each process), or ``"auto"``, which is CUDA where there is one.
        timeout_minutes: how long a process waits for the others.

    Raises:
        ValueError: another device, or Lightning Fabric is not installed.

    Example:
        >>> with several_processes() as processes:
        ...     processes.rank, processes.world_size
        (0, 1)
    """
    if not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield Processes()
        return
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}, and each of several processes has its own: give auto, cpu or cuda")
    fabric = _fabric(device, timedelta(minutes=timeout_minutes))
    fabric.launch()
    try:
        with working_together(Processes(fabric)) as processes:
            yield processes
    finally:
        dist.destroy_process_group()


def _fabric(device: str, timeout: timedelta) -> Any:
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise ValueError(
            "several processes need Lightning Fabric: pip install 'pyrovae[processes]', or start without torchrun"
        ) from error
    # It tells of every process that joins.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    local, nodes = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    strategy = DDPStrategy(timeout=timeout, gradient_as_bucket_view=True)
    return Fabric(accelerator=device, devices=local, num_nodes=nodes, strategy=strategy)
