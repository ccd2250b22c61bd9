"""The files of a run of a pair of programs, which has a p(x)."""

from pathlib import Path
from typing import Any

import torch

from pyrovae import plots
from pyrovae.evaluation import BoundComparison, reconstruct_rows, sample_rows
from pyrovae.evaluation.kind import kind_of_numbers
from pyrovae.models import ConditionalVAE
from pyrovae.pictures.levels import levels_of, levels_of_reconstructions
from pyrovae.report.decoded_rows import of_each_class, pair_of_x, rows_to_draw
from pyrovae.report.files.folder import clear_folder, versions, write_curves
from pyrovae.report.run_page import report_of_pair
from pyrovae.runs import (
    ModelRows,
    Run,
    build_objective,
    data_columns,
    describe_objective,
    describe_parts,
    store,
    write_summary,
    write_table,
)
from pyrovae.training import FitResult
from pyrovae.training.result import still_improving


def write_run(
    folder: Path,
    run: Run,
    rows: ModelRows,
    result: FitResult,
    bounds: BoundComparison | None,
    *,
    status: str,
    seconds: dict[str, float],
    device: torch.device,
) -> None:
    """Write everything that a run leaves behind.

    ``config.yaml`` and ``weights.pt`` (see ``save``), ``metrics.csv`` with a line for each epoch, ``evaluation.csv``
    with a line for each test row, ``learning_curves.png``, ``reconstructions.png``, ``samples.png``, ``summary.json``,
    and last ``report.html``, which shows them all. Tables, pictures (in their metadata) and summary name the data
    variant, its seed and its checksum.

    Args:
        folder: an existing folder.
        run: the pair with its fitted weights.
        rows: what it was fitted to.
        result: how the fit went.
        bounds: the test rows' numbers; None where the fit broke off.
        status: one phrase, ``"complete"`` or why not.
        seconds: time spent, by what it was spent on.
        device: where the weights are.
    """
    clear_folder(folder)
    # The weights first: whatever fails after them, they are there.
    store(run, folder, _summary(run, rows, result, bounds, None, status, seconds, "not drawn yet"))
    kind = None if bounds is None else kind_of_numbers(run.model, run.guide, rows.test[:3].to(device))
    columns, labels = data_columns(rows.provenance()), rows.data.test_labels
    about = plots.picture_metadata(rows.provenance())
    write_curves(folder, rows, result.history, plots.learning_curves(result.history, result.best_epoch))
    if bounds is not None:
        frame = bounds.to_frame().assign(num_samples=bounds.num_samples)
        if labels is not None:
            frame["label"] = labels.numpy()
        write_table(frame.assign(**columns), folder / "evaluation.csv")
    pictures = _pictures(folder, run, rows, device, about) if bounds is not None else "not drawn: the fit broke off"
    write_summary(run, folder, _summary(run, rows, result, bounds, kind, status, seconds, pictures))
    report_of_pair(folder, run, rows, result, bounds, status=status, seconds=seconds, device=device)


def _pictures(folder: Path, run: Run, rows: ModelRows, device: torch.device, about: dict[str, str]) -> str:
    """Draw what the model says the data look like; the outcome in a phrase."""
    x, names = rows_to_draw(rows), rows.data.column_names
    # The programs of x alone, so that pictures are of x.
    pair, module = pair_of_x(run, rows, torch.arange(len(x)), device), run.module
    try:
        means = reconstruct_rows(*pair, x.to(device)).cpu()
        if isinstance(module, ConditionalVAE) and run.config["condition_columns"] is None and x.dim() == 4:
            lines = of_each_class(module, run, x.to(device))
            samples = plots.image_lines("mean of p(x|z, c), z from the prior", lines)
        else:
            new_means, draws = sample_rows(*pair, x.to(device))
            samples = plots.samples(x, new_means.cpu(), draws.cpu(), entry_names=names, levels=levels_of(rows.data))
        levels = levels_of_reconstructions(module, rows.data)
        reconstructions = plots.reconstructions(x, means, entry_names=names, levels=levels)
    except Exception as error:  # a user's own part may raise anything, and the run is not to be lost by a picture
        return f"not drawn: {error}"
    reconstructions.savefig(folder / "reconstructions.png", dpi=plots.FILE_DPI, metadata=about)
    samples.savefig(folder / "samples.png", dpi=plots.FILE_DPI, metadata=about)
    return "drawn"


def _summary(
    run: Run,
    rows: ModelRows,
    result: FitResult,
    bounds: BoundComparison | None,
    kind: str | None,
    status: str,
    seconds: dict[str, float],
    pictures: str,
) -> dict[str, Any]:
    evaluation: dict[str, Any] | None = None
    if bounds is not None:
        evaluation = {
            "rows": len(bounds.elbo),
            "of": run.system.target,
            "numbers": kind,
            "num_samples": bounds.num_samples,
            "nats_per_row": {
                name: {"mean": mean, "standard_error_rows": over_rows, "standard_error_draws": draws}
                for name, (mean, over_rows, draws) in bounds.means().items()
            },
            "k_hat_limit": bounds.k_hat_limit,
            "unreliable_rows": bounds.unreliable_rows.tolist(),
            "bound_by_draws": dict(zip(map(str, bounds.sweep), bounds.sweep_bounds.mean(1).tolist(), strict=True)),
            "verdict": run.system.in_words(bounds.verdict()),
            "remark": run.system.remark(run.config),
        }
    return {
        "status": status,
        "parts": describe_parts(run.config),
        "objective": describe_objective(run.config),
        "data": rows.provenance(),
        "training": {
            "epochs": len(result.history),
            "best_epoch": result.best_epoch,
            "stopped_early": result.stopped_early,
            "still_improving": still_improving(result, run.config["epochs"], build_objective(run.config)),
            "kl": result.kl_forms,
            "signs_of_trouble": list(result.signs_of_trouble),
            "stepping": result.stepping,
            "last_epoch": result.history[-1] if result.history else None,
        },
        "evaluation": evaluation,
        "pictures": pictures,
        "seconds": seconds,
        "versions": versions(),
    }
