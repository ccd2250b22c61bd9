"""The joint density of many draws: a chunk at a time, by recorded operations where there are many chunks."""

import math
import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyrovae.evaluation.blocks import evaluations_at_once
from pyrovae.evaluation.recorded import recorded
from pyrovae.programs import Latents, Sampler, generator_states, set_generator_states
from pyrovae.recording import Replay

# A chunk of so many evaluations of the model stays in the processor's cache.
_MOST_IN_A_CHUNK = 2048

MEMORY_GIB = 2.0
"""What the tensors of one chunk may take, where nothing else is said."""


class LogJoint:
    """log p(x, z) of draws ``(draws, rows)``, whatever they are cut into the same.

    Args:
        sampler: of the pair.
        num_draws: how many draws are to come, over all rows and blocks of them.
        chunk_size: draws of a block of rows at once; None takes what stays in the cache and in the memory.
        memory_gib: what the tensors of one chunk may take, in GiB, without ``chunk_size``.
    """

    def __init__(
        self, sampler: Sampler, num_draws: int, chunk_size: int | None = None, memory_gib: float = MEMORY_GIB
    ) -> None:
        self.sampler, self.chunk_size, self.memory_gib = sampler, chunk_size, memory_gib
        self.num_draws = num_draws
        self._bytes: int | None = None
        self._replay: Replay | None = None

    def __call__(self, rows: Tensor, latents: Latents) -> Tensor:
        """log p(x, z) of all draws of a block of rows."""
        # A plate that subsamples draws at each run of the model, and what is drawn next must not depend on the chunks.
        states = generator_states(rows.device)
        log_joint = self._in_chunks(rows, latents)
        set_generator_states(states, rows.device)
        return log_joint

    def _in_chunks(self, rows: Tensor, latents: Latents) -> Tensor:
        step = self.chunk_size or self._draws_at_once(rows, latents)
        num_draws = len(next(iter(latents.values())))
        if self._replay is None:
            chunks = math.ceil(self.num_draws / step)
            self._replay = recorded(self.sampler, partial(_of_chunk, self.sampler), chunks)
        # What the guide has kept for the model is of these rows now.
        self._replay.check_next()
        parts = []
        for start in range(0, num_draws, step):
            log_joint = self._replay(rows, *(value[start : start + step] for value in latents.values()))[0]
            assert log_joint is not None
            parts.append(log_joint)
        return torch.cat(parts)

    def _draws_at_once(self, rows: Tensor, latents: Latents) -> int:
        if self._bytes is None:
            with _allocations() as allocations:
                self.sampler.log_joint(rows, {name: value[:1] for name, value in latents.items()})
            self._bytes = max(1, allocations.bytes // len(rows))
        most = min(_MOST_IN_A_CHUNK, evaluations_at_once(rows), int(self.memory_gib * 2**30) // self._bytes)
        return max(1, most // len(rows))


def _of_chunk(sampler: Sampler, rows: Tensor, *values: Tensor) -> tuple[Tensor]:
    return (sampler.log_joint(rows, dict(zip(sampler.structure.latent_event_dims, values, strict=True))),)


class _Allocations(TorchDispatchMode):
    """Counts the bytes of all tensors that are made: at least what is held at any one time."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch would import its compiler, for seconds, to keep it out of this.
        return False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        # A view has the numbers of another tensor, and so has what is written in place.
        if not any(returned.alias_info for returned in function._schema.returns):
            made = result if isinstance(result, tuple | list) else [result]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in made if isinstance(tensor, Tensor))
        return result


class _AllocationsOfCompiledParts(_Allocations):
    """The same, kept from the compiler, which would compile the counting itself, anew for each number of bytes."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return True

    # Torch keeps the compiler from the method of a class that has one of its own.
    __torch_dispatch__ = _Allocations.__torch_dispatch__


def _allocations() -> _Allocations:
    # Parts that are compiled have the compiler imported already.
    return _AllocationsOfCompiledParts() if "torch._dynamo" in sys.modules else _Allocations()
