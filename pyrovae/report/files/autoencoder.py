"""The files of a run of an autoencoder, which has reconstructions and no p(x)."""

from pathlib import Path
from typing import Any

from pyrovae import plots
from pyrovae.evaluation import ReconstructionErrors
from pyrovae.report.files.folder import clear_folder, versions, write_curves
from pyrovae.report.run_page import report_of_autoencoder
from pyrovae.runs import ModelRows, Run, data_columns, describe_parts, store, write_table
from pyrovae.training import LossResult


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
) -> None:
    """Write everything that a run of an autoencoder leaves behind.

    ``config.yaml`` and ``weights.pt`` (see ``save``), ``metrics.csv`` with a line for each epoch, ``losses.csv`` with a
    line for each test row, ``learning_curves.png``, ``reconstructions.png``, for a denoising one ``denoising.png``,
    ``summary.json`` and last ``report.html``, which shows them all.

    Args:
        folder: an existing folder.
        run: the autoencoder with its fitted weights.
        rows: what it was fitted to.
        pretraining: how the layers were fitted, if they were one by one first.
        result: how the fit went; None where it broke off.
        errors: the test rows' numbers; None where the fit broke off.
        status: one phrase, ``"complete"`` or why not.
        seconds: time spent, by what it was spent on.
    """
    import pandas as pd

    clear_folder(folder)
    store(run, folder, _summary(run, rows, pretraining, result, errors, status, seconds))
    if result is None or errors is None:
        report_of_autoencoder(folder, run, rows, pretraining, result, errors, status=status, seconds=seconds)
        return
    columns, about = data_columns(rows.provenance()), plots.picture_metadata(rows.provenance())
    write_curves(folder, rows, result.history, plots.loss_curves(result.history, result.best_epoch, errors.unit))
    per_row = {"loss": errors.loss, "corrupted": errors.corrupted, "restored": errors.restored}
    per_row["label"] = rows.data.test_labels
    frame = pd.DataFrame({name: values.numpy() for name, values in per_row.items() if values is not None})
    write_table(frame.rename_axis("row").assign(**columns), folder / "losses.csv")
    x, names = rows.test[: len(errors.reconstructed)], rows.data.column_names
    pictures = {"reconstructions.png": plots.reconstructions(x, errors.reconstructed, entry_names=names)}
    if errors.example is not None:
        pictures["denoising.png"] = plots.denoising(x, *errors.example, entry_names=names)
    for name, figure in pictures.items():
        figure.savefig(folder / name, dpi=plots.FILE_DPI, metadata=about)
    report_of_autoencoder(folder, run, rows, pretraining, result, errors, status=status, seconds=seconds)


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
