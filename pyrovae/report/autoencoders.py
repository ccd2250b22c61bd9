"""The files of a run of an autoencoder, which has reconstructions and no p(x)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.models import Autoencoder
from pyrovae.programs import isolated_rng
from pyrovae.report.files import PICTURE_ROWS, clear_folder, data_columns, versions
from pyrovae.runs import ModelRows, Run, describe_parts, save
from pyrovae.training import LossResult

_BLOCK = 4096
_UNITS = {"squared_error": "squared error per row", "cross_entropy": "cross-entropy, nats per row"}


@dataclass(frozen=True)
class ReconstructionErrors:
    """How well an autoencoder reconstructs rows, a number for each.

    Attributes:
        loss: its own loss on whole rows ``(rows,)``.
        unit: of the loss, in words.
        corrupted: squared error of corrupted rows to clean ones ``(rows,)``; None without a corruption.
        restored: squared error of the reconstructions of corrupted rows to clean rows ``(rows,)``.
        example: some corrupted rows, and their reconstructions.
    """

    loss: Tensor
    unit: str
    corrupted: Tensor | None = None
    restored: Tensor | None = None
    example: tuple[Tensor, Tensor] | None = None

    def means(self) -> dict[str, tuple[float, float]]:
        """The mean over rows and its standard error, of each that there is."""
        found = {"loss": self.loss, "corrupted": self.corrupted, "restored": self.restored}
        return {
            name: (values.mean().item(), (values.std() / len(values) ** 0.5).item())
            for name, values in found.items()
            if values is not None
        }

    def summary(self) -> str:
        """The means as an aligned table."""
        titles = {
            "loss": self.unit,
            "corrupted": "squared error of corrupted rows",
            "restored": "squared error of their reconstructions",
        }
        lines = [f"{'':<40}{'mean':>10}{'se (rows)':>12}"]
        lines += [f"{titles[name]:<40}{mean:>10.4f}{error:>12.4f}" for name, (mean, error) in self.means().items()]
        return "\n".join(lines)


@torch.no_grad()
def reconstruction_errors(autoencoder: Autoencoder, x: Tensor, *, seed: int) -> ReconstructionErrors:
    """The loss of each row, and for a denoising autoencoder what it makes of corrupted rows.

    Args:
        autoencoder: with its fitted weights.
        x: clean rows ``(rows, *data_shape)``, on its device.
        seed: of the corruption.
    """
    autoencoder.eval()
    loss = torch.cat([autoencoder.losses(rows) for rows in x.split(_BLOCK)]).double().cpu()
    unit = _UNITS[autoencoder.loss]
    if autoencoder.corruption is None:
        return ReconstructionErrors(loss, unit)
    with isolated_rng(seed, x.device):
        damaged = autoencoder.corruption(x)
    restored = torch.cat([autoencoder.reconstruct(rows) for rows in damaged.split(_BLOCK)])
    corrupted_error, restored_error = (
        (rows - x).double().square().flatten(1).sum(1).cpu() for rows in (damaged, restored)
    )
    example = damaged[:PICTURE_ROWS].cpu(), restored[:PICTURE_ROWS].cpu()
    return ReconstructionErrors(loss, unit, corrupted_error, restored_error, example)


def write_autoencoder(
    folder: Path,
    run: Run,
    rows: ModelRows,
    pretraining: list[LossResult],
    result: LossResult | None,
    errors: ReconstructionErrors | None,
    *,
    status: str,
    seconds: dict[str, float],
    device: torch.device,
) -> None:
    """Write everything that a run of an autoencoder leaves behind.

    ``config.yaml`` and ``weights.pt`` (see ``save``), ``metrics.csv`` with a line for each epoch, ``losses.csv`` with a
    line for each test row, ``learning_curves.png``, ``reconstructions.png``, for a denoising one ``denoising.png``, and
    ``summary.json``.

    Args:
        folder: an existing folder.
        run: the autoencoder with its fitted weights.
        rows: what it was fitted to.
        pretraining: how the layers were fitted, if they were one by one first.
        result: how the fit went; None where it broke off.
        errors: the test rows' numbers; None where the fit broke off.
        status: one phrase, ``"complete"`` or why not.
        seconds: time spent, by what it was spent on.
        device: where the weights are.
    """
    import pandas as pd

    clear_folder(folder)
    save(run, folder, _summary(run, rows, pretraining, result, errors, status, seconds))
    if result is None or errors is None:
        return
    columns, about = data_columns(rows), plots.picture_metadata(rows.provenance())
    pd.DataFrame(result.history).assign(**columns).to_csv(folder / "metrics.csv", index=False)
    per_row = {"loss": errors.loss, "corrupted": errors.corrupted, "restored": errors.restored}
    per_row["label"] = rows.data.test_labels
    frame = pd.DataFrame({name: values.numpy() for name, values in per_row.items() if values is not None})
    frame.rename_axis("row").assign(**columns).to_csv(folder / "losses.csv")
    curves = plots.loss_curves(result.history, result.best_epoch, errors.unit)
    curves.savefig(folder / "learning_curves.png", metadata=about)
    x = rows.test[:PICTURE_ROWS]
    if run.autoencoder is not None:
        means = run.autoencoder.reconstruct(x.to(device)).cpu()
        plots.reconstructions(x, means).savefig(folder / "reconstructions.png", metadata=about)
    if errors.example is not None:
        plots.denoising(x, *errors.example).savefig(folder / "denoising.png", metadata=about)


def _summary(
    run: Run,
    rows: ModelRows,
    pretraining: list[LossResult],
    result: LossResult | None,
    errors: ReconstructionErrors | None,
    status: str,
    seconds: dict[str, float],
) -> dict[str, Any]:
    reconstruction: dict[str, Any] | None = None
    if errors is not None:
        reconstruction = {"rows": len(errors.loss), "unit": errors.unit}
        reconstruction |= {name: {"mean": m, "standard_error_rows": e} for name, (m, e) in errors.means().items()}
    training: dict[str, Any] | None = None
    if result is not None:
        training = {
            "pretraining": [layer.history[-1]["train_loss"] for layer in pretraining],
            "epochs": len(result.history),
            "best_epoch": result.best_epoch,
            "stopped_early": result.stopped_early,
            "last_epoch": result.history[-1],
        }
    return {
        "status": status,
        "parts": describe_parts(run.config),
        "data": rows.provenance(),
        "training": training,
        "evaluation": None,
        "no_evaluation": run.system.no_density,
        "reconstruction": reconstruction,
        "seconds": seconds,
        "versions": versions(),
    }
