"""Which sampler is right for a pair of programs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyro
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pyrovae.programs.modules import Program, owned_modules
from pyrovae.programs.random_state import isolated_rng
from pyrovae.programs.samplers import RepeatedSampler, Sampler, VectorizedSampler
from pyrovae.programs.structure import PairStructure
from pyrovae.programs.traces import PROBE_ROWS, probe_rows

# Below it, what a number multiplies is too small to see whether draws and rows are mixed there.
_CLOSE_TO_ZERO = 0.01
_PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def make_sampler(model: Program, guide: Program, x: Tensor, structure: PairStructure) -> Sampler:
    """The vectorised sampler where it gives the densities of the plain programs, else the one that repeats rows.

    Programs need not be written for a leading dimension of draws (convolutions are not, for example), so it is
    tried on a few rows; once more with other numbers in place of those that are close to zero, as training may move
    these.
    """
    vectorized = VectorizedSampler(model, guide, structure)
    repeated = RepeatedSampler(model, guide, structure)
    few, more = (probe_rows(x, num_rows) for num_rows in PROBE_ROWS)
    agree = _agree(vectorized, repeated, few)
    with isolated_rng(0, x.device):
        agree = agree and _agree(vectorized, repeated, more)
        if agree:
            modules = (*owned_modules(model, guide), *structure.modules)
            with _none_close_to_zero(_numbers(modules, x.device)) as moved:
                # A scale that is small may be none any more.
                agree = not moved or not _plain_programs_run(repeated, few) or _agree(vectorized, repeated, few)
    return vectorized if agree else repeated


def _numbers(modules: Iterable[nn.Module], device: torch.device) -> Iterator[Tensor]:
    """All that a program multiplies by and that may change over a fit: weights, buffers and params."""
    for module in modules:
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        plain = [buffer for buffer in module.buffers() if _is_plain(buffer, device)]
        yield from (tensor for tensor in (*trained, *plain) if not is_lazy(tensor))
    yield from (unconstrained for _, unconstrained in pyro.get_param_store().named_parameters())


def _is_plain(buffer: Tensor, device: torch.device) -> bool:
    """Whether its numbers can be looked at and changed: not of a sparse one, or one without memory, for example."""
    known = buffer.dtype in _PLAIN and buffer.layout is torch.strided and buffer.device == device
    return known and not buffer.is_inference()


@contextmanager
def _none_close_to_zero(tensors: Iterable[Tensor]) -> Iterator[bool]:
    """Let tensors that are all close to zero have other values for now; gives whether there are any."""
    close = [tensor for tensor in tensors if tensor.numel() and bool((tensor.detach().abs() < _CLOSE_TO_ZERO).all())]
    # A tensor that two modules share is met twice.
    kept = [(tensor, tensor.data) for tensor in {id(tensor): tensor for tensor in close}.values()]
    try:
        for tensor, data in kept:
            # Not written: a graph of the caller's may hold them.
            tensor.data = 0.1 * torch.randn_like(data)
        yield bool(kept)
    finally:
        for tensor, data in kept:
            tensor.data = data


def _plain_programs_run(repeated: Sampler, rows: Tensor) -> bool:
    try:
        latents, log_q = repeated.draw(rows, 1)
        return all(bool(values.isfinite().all()) for values in (log_q, repeated.log_joint(rows, latents)))
    except Exception:  # whatever a program raises whose numbers were moved
        return False


def _agree(vectorized: Sampler, repeated: Sampler, rows: Tensor) -> bool:
    """Whether both samplers give the same densities."""
    try:
        latents, log_q = vectorized.draw(rows, 2)
        log_joint = vectorized.log_joint(rows, latents)
        one_by_one = [{name: value[k : k + 1] for name, value in latents.items()} for k in range(2)]
        plain_q = torch.cat([repeated.log_guide(rows, one) for one in one_by_one])
        plain_joint = torch.cat([repeated.log_joint(rows, one) for one in one_by_one])
    except Exception:  # whatever a program raises that was not written for draws
        return False
    # Loose enough for sums over many pixels in float32; a program that mixes draws and rows is far off.
    return all(
        torch.allclose(ours, plain, rtol=1e-4, atol=1e-3, equal_nan=True)
        for ours, plain in ((log_q, plain_q), (log_joint, plain_joint))
    )
