"""What a model makes of rows: reconstructions and new rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.evaluation import sample_rows
from pyrovae.evaluation.predictive import reconstruct_and_draw
from pyrovae.models import ConditionalVAE
from pyrovae.plots.images import are_images
from pyrovae.programs import Program
from pyrovae.runs import ModelRows, Run

_IMAGES, _OTHER_ROWS = 24, 1000
# New images of each class, as many as stand on a line of other pictures.
_EACH_CLASS = 12


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """Rows, and what p(x|z) makes of them at one draw of z from q(z|x); all ``(rows, *data_shape)``, on the CPU.

    Attributes:
        x: the rows.
        means: of p(x|z).
        draws: from p(x|z), at the same z.
    """

    x: Tensor
    means: Tensor
    draws: Tensor


def rows_to_draw(rows: ModelRows) -> Tensor:
    """The first test rows: as many images as are looked at, or as many other rows as make a histogram.

    Args:
        rows: what a run was fitted to.
    """
    return rows.data.test[: _IMAGES if are_images(rows.data.test[:1]) else _OTHER_ROWS]


def pair_of_x(run: Run, rows: ModelRows, chosen: Tensor, device: torch.device) -> tuple[Program, Program]:
    """The programs of x alone; of a conditional VAE those that are given what is known of these test rows.

    Args:
        run: the pair.
        rows: what it was fitted to.
        chosen: numbers of test rows.
        device: where the weights are.
    """
    module = run.module
    if isinstance(module, ConditionalVAE):
        return _given(module, module.split(rows.test[chosen].to(device))[1])
    return run.model, run.guide


def _given(module: ConditionalVAE, c: Tensor) -> tuple[Program, Program]:
    """The programs of as many rows x as c has, or of the first ones: not for scoring, which takes rows in blocks."""
    return (
        lambda x: module.model(module.join(x, c[: len(x)])),
        lambda x: module.guide(module.join(x, c[: len(x)])),
    )


def reconstruct(run: Run, rows: ModelRows, chosen: Tensor, device: torch.device) -> Reconstructed:
    """Reconstruct test rows; ``pair_of_x`` says of the arguments.

    Raises:
        ValueError: no site that observes the rows, or a likelihood without a mean.
    """
    x = rows.data.test[chosen].to(device)
    means, draws = reconstruct_and_draw(*pair_of_x(run, rows, chosen, device), x)
    return Reconstructed(x.cpu(), means.cpu(), draws.cpu())


def of_each_class(module: ConditionalVAE, run: Run, x: Tensor) -> dict[str, Tensor]:
    """New images of each class, means of p(x|z, c), by its name.

    Args:
        module: a conditional VAE that is given the class.
        run: its run.
        x: some rows of x, on its device.
    """
    classes = torch.eye(len(run.covariates), device=x.device).repeat_interleave(_EACH_CLASS, 0)
    shape = (len(classes), *x.shape[1:])
    means, _ = sample_rows(*_given(module, classes), x[:1].expand(shape))
    return dict(zip(run.covariates, means.cpu().split(_EACH_CLASS), strict=True))
