"""A table of the shapes in a VAE, and the first thing that is wrong with it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pyrovae.models.check_problems import Problem
from pyrovae.models.check_steps import Walk
from pyrovae.models.check_table import PartShape, shape_table
from pyrovae.models.vae import VAE
from pyrovae.programs import evaluation_mode, isolated_rng, private_param_store


@dataclass(frozen=True)
class VAECheck:
    """What ``check_vae`` found; printing it gives the table, the problem and the notes.

    Attributes:
        parts: the lines of the table, up to the problem.
        problem: the first thing that is wrong, with its repair; None if nothing is.
        notes: what is right and still worth knowing.
    """

    parts: tuple[PartShape, ...]
    problem: str | None
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None

    def __str__(self) -> str:
        verdict = "ok: nothing wrong was found" if self.problem is None else f"wrong: {self.problem}"
        return "\n".join([shape_table(self.parts), verdict, *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__


def check_vae(vae: VAE, batch: Tensor) -> VAECheck:
    """Send a batch through the parts of a VAE, and say what shapes came out and what is the first thing wrong.

    In the order of the table: the batch, the encoder, the posterior q(z|x), the prior p(z), the decoder, the likelihood
    p(x|z), the log-densities of each; then the two Pyro programs, the gradients, and whether a row has the same
    densities alone. Parts for tables that were never given ``vae.initialize(rows)``, and need it, are a note. The
    parts run in evaluation mode. Parameters, buffers, random number generators, the param store and the mode are
    afterwards what they were.

    For a pair of Pyro programs that is no ``VAE``, ``check_pair(model, guide, batch)`` checks what a pair owes.

    Args:
        vae: the model; whatever is wrong with its parts is reported, not raised.
        batch: some rows of data ``(rows, *data_shape)``.

    Returns:
        The table, ``.ok``, ``.problem`` and ``.notes``.

    Raises:
        ValueError: ``vae`` is no ``VAE``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, check_vae, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(3),
        ...     likelihoods.Bernoulli(networks.MLP(3, (1, 8, 8))),
        ...     posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 2 * 2)),
        ... )
        >>> check_vae(vae, torch.zeros(5, 1, 8, 8))
        part         call                  module          returns  batch  event      dtype    device  parameters
        data         batch                                          (5,)   (1, 8, 8)  float32  cpu
          .encoder   posterior.encoder(x)  MLP             Tensor   (5,)   (4,)       float32  cpu         54,004
        posterior    posterior(x)          DiagonalNormal  Normal   (5,)   (2,)       float32  cpu         54,004
        wrong: posterior(x) has batch shape (5,) and event shape (2,); expected (5,) and (3,): ...
    """
    if not isinstance(vae, VAE):
        raise ValueError(
            f"check_vae got a {type(vae).__name__}; expected a VAE(prior, likelihood, posterior): for another pair of "
            "Pyro programs use check_pair(model, guide, batch)"
        )
    walk = Walk(vae, batch)
    problem = None
    with _left_as_it_was(vae, batch):
        try:
            walk.run()
        except Problem as found:
            problem = str(found)
    return VAECheck(tuple(walk.parts), problem, tuple(walk.notes))


@contextmanager
def _left_as_it_was(vae: VAE, batch: Any) -> Iterator[None]:
    tensors = [tensor for tensor in _tensors(vae) if not is_lazy(tensor) and not tensor.is_meta]
    before = [tensor.detach().clone() for tensor in tensors]
    devices = {tensor.device for tensor in (*tensors, *([batch] if isinstance(batch, Tensor) else []))}
    with ExitStack() as stack:
        stack.enter_context(private_param_store(vae.model, vae.guide))
        for device in {torch.device("cpu")} | {device for device in devices if device.type != "meta"}:
            stack.enter_context(isolated_rng(0, device))
        stack.enter_context(evaluation_mode(vae.model, vae.guide))
        stack.enter_context(pyro.validation_enabled(True))
        stack.enter_context(torch.enable_grad())
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, old in zip(tensors, before, strict=True):
                    # Only what changed: writing to a tensor is a change to autograd, too.
                    if not torch.equal(tensor, old):
                        tensor.copy_(old)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
