"""How ``check_vae`` says what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pyrovae.data import column_moments
from pyrovae.likelihoods import Columns
from pyrovae.networks import ColumnEncoder

# Beyond so many units a column is far from what parts take for standardised; of few rows a spread says little.
_FAR, _FEW_ROWS = 10.0, 5


class Problem(Exception):  # noqa: N818
    """The first thing that is wrong, and its repair."""


class NetworkCalls:
    """The networks inside a part that were called: what they returned, and which modules are at work."""

    def __init__(self) -> None:
        self.outputs: dict[str, tuple[nn.Module, Tensor]] = {}
        self.at_work: list[tuple[str, nn.Module]] = []

    def begin(self, name: str, module: nn.Module, _: Any) -> None:
        """A module is called."""
        self.at_work.append((name, module))

    def end(self, name: str, module: nn.Module, _: Any, output: Any) -> None:
        """A module returned; of modules inside one another the outermost that returns a tensor is a network."""
        self.at_work.remove((name, module))
        if not isinstance(output, TorchDistributionMixin):
            for inner in [other for other in self.outputs if other.startswith(f"{name}.")]:
                del self.outputs[inner]
        if isinstance(output, Tensor):
            self.outputs.setdefault(name, (module, output))


@contextmanager
def networks_called(part: nn.Module) -> Iterator[NetworkCalls]:
    """Note the networks of a part that are called inside."""
    calls = NetworkCalls()
    handles = []
    for name, module in part.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(partial(calls.begin, name)))
            handles.append(module.register_forward_hook(partial(calls.end, name)))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def reported(what: str) -> Iterator[None]:
    """What is raised inside, as a problem; the package's own errors say enough by themselves."""
    try:
        yield
    except Problem:
        raise
    except ValueError as error:
        raise Problem(str(error).split("\nTrace Shapes:")[0]) from error
    except Exception as error:  # whatever a part of the user's raises
        raise Problem(f"{what} raised {first_line(error)}") from error


def problem_of_call(
    call: str, error: Exception, slot: str, part: nn.Module, calls: NetworkCalls, given: Tensor
) -> Problem:
    """Why a part raised an error, as far as that can be told."""
    floats = {t.dtype for t in (*part.parameters(), *part.buffers()) if t.is_floating_point()}
    where = ""
    if calls.at_work:
        name, module = calls.at_work[-1]
        where = f" in {slot}.{name} ({type(module).__name__})"
    kind, _, said = first_line(error).partition(": ")
    message = f"{call} raised {kind}{where}: {said}"
    if floats and given.dtype not in floats:
        wanted = " or ".join(sorted(map(plain, floats)))
        message += f"; it was given {plain(given.dtype)} numbers and has {wanted} ones: convert the batch or the part"
    elif "reinterpreted_batch_ndims" in said:
        message += "; .to_event takes the number of dimensions of one row, 1 for a table and 3 for images"
    elif not isinstance(error, ValueError):
        message += f"; it was given shape {tuple(given.shape)}, (rows, *shape of one): build it for this shape"
    elif "unpack" in said and calls.outputs:
        gave = ", ".join(f"{name} gave {tuple(output.shape)}" for name, (_, output) in calls.outputs.items())
        message += (
            f"; its {gave}, (rows, *output_shape): with several numbers for each entry give a classmethod "
            "decoder_shape(cls, data_shape) that returns (2, *data_shape), and take them apart by .unbind(-2)"
        )
    return Problem(message)


def check_tensors(slot: str, part: nn.Module, x: Tensor) -> None:
    """Refuse parameters that cannot be computed with, next to the data."""
    for name, tensor in (*part.named_parameters(), *part.named_buffers()):
        if is_lazy(tensor):
            raise Problem(
                f"{slot}.{name} has no shape yet: run vae.guide(batch) and vae.model(batch) once, as torch's lazy "
                "modules take their shapes from the first data"
            )
        if tensor.device != x.device:
            raise Problem(
                f"{slot}.{name} is on {tensor.device}, the batch on {x.device}: put both on one device, with "
                "vae.to(device) and batch.to(device)"
            )
    for name, parameter in part.named_parameters():
        if parameter.is_floating_point() and x.is_floating_point() and parameter.dtype != x.dtype:
            raise Problem(
                f"{slot}.{name} is {plain(parameter.dtype)}, the batch {plain(x.dtype)}: give "
                f"batch.to(torch.{plain(parameter.dtype)}), or convert all parts with vae.to(torch.{plain(x.dtype)})"
            )
        if not bool(torch.isfinite(parameter).all()):
            raise Problem(
                f"{slot}.{name} has NaN or infinite values: start from fresh weights, or from those of an earlier "
                "epoch with a lower learning rate"
            )


def check_shape(
    call: str,
    distribution: TorchDistributionMixin,
    batch_shape: tuple[int, ...],
    event_shape: tuple[int, ...],
    repair: str,
) -> None:
    """Refuse a distribution of other shapes."""
    if distribution.batch_shape == batch_shape and distribution.event_shape == event_shape:
        return
    missing_dims = len(event_shape) - len(distribution.event_shape)
    if distribution.shape() == (*batch_shape, *event_shape):
        repair = f"the dimensions of one value belong to the event, add .to_event({missing_dims}) to the distribution"
        if missing_dims < 0:
            repair = f"only the last {len(event_shape)} dimensions are one value: give .to_event {-missing_dims} less"
    elif distribution.event_shape == event_shape:
        repair = "keep the leading dimensions of the input, one distribution for each row"
        if not batch_shape:
            repair = "it has to be one distribution"
    raise Problem(
        f"{call} has batch shape {tuple(distribution.batch_shape)} and event shape {tuple(distribution.event_shape)}; "
        f"expected {batch_shape} and {event_shape}: {repair}"
    )


def check_finite(what: str, value: Tensor, repair: str) -> None:
    """Refuse NaN and infinite values."""
    bad = ~torch.isfinite(value)
    if bool(bad.any()):
        index = tuple(bad.nonzero()[0].tolist())
        place = f" the first of them at {index}," if index else ""
        raise Problem(
            f"{what} has {int(bad.sum()):,} NaN or infinite values among {value.numel():,},{place} "
            f"{value[index].item()}: {repair}"
        )


def columns_not_started(module: nn.Module, x: Tensor) -> list[str]:
    """Names of the parts for tables that take columns as standardised, where those of the rows ``x`` are far from it.

    Real columns and logarithms of counts are looked at, as these parts standardise them by ``initialize``.
    """
    names = []
    for name, part in module.named_modules():
        if not isinstance(part, Columns | ColumnEncoder) or x.shape[1:] != (len(part.column_kinds),):
            continue
        if bool((part.center != 0).any()) or bool((part.unit != 1).any()):
            continue
        real, counts = (x[:, part.positions.get(kind, [])] for kind in ("real", "count"))
        mean, spread = column_moments(torch.cat([real, counts.log1p()], -1))
        far = (mean.abs() > _FAR) | (spread > _FAR)
        if len(x) >= _FEW_ROWS:
            far |= (spread > 0) & (spread < 1 / _FAR)
        if bool(far.any()):
            names.append(name)
    return names


def first_line(error: Exception) -> str:
    """The class of an error, and what it says in its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip(':')}" if lines else type(error).__name__


def plain(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")
