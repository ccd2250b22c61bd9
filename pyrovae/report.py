"""The files of a run: tables, pictures and a summary."""

import platform
from pathlib import Path
from typing import Any

import pyro
import torch

from pyrovae import plots
from pyrovae.data import DataSplits
from pyrovae.evaluation import BoundComparison, reconstruct_rows, sample_rows
from pyrovae.pictures import PICTURE_FILES
from pyrovae.runs import Run, describe_objective, describe_parts, save, write_summary
from pyrovae.training import FitResult

_PICTURE_ROWS = 24
_TABLES_AND_PICTURES = ("metrics.csv", "evaluation.csv", "learning_curves.png", "reconstructions.png", "samples.png")


def write_run(
    folder: Path,
    run: Run,
    data: DataSplits,
    result: FitResult,
    bounds: BoundComparison | None,
    *,
    status: str,
    seconds: dict[str, float],
    device: torch.device,
) -> None:
    """Write everything that a run leaves behind.

    ``config.yaml`` and ``weights.pt`` (see ``save``), ``metrics.csv`` with a line for each epoch, ``evaluation.csv``
    with a line for each test row, ``learning_curves.png``, ``reconstructions.png``, ``samples.png``, and
    ``summary.json``. Tables, pictures (in their metadata) and summary name the data variant, its seed and its checksum.

    Args:
        folder: an existing folder.
        run: the pair with its fitted weights.
        data: what it was fitted to.
        result: how the fit went.
        bounds: the test rows' numbers; None where the fit broke off.
        status: one phrase, ``"complete"`` or why not.
        seconds: time spent, by what it was spent on.
        device: where the weights are.
    """
    import pandas as pd

    # What an overwritten run had and this one will not have must not stay beside it.
    scored = [path.name for pattern in ("evaluation-*.csv", "evaluation-*.csv.json") for path in folder.glob(pattern)]
    for name in (*_TABLES_AND_PICTURES, *PICTURE_FILES, *scored):
        (folder / name).unlink(missing_ok=True)
    # The weights first: whatever fails after them, they are there.
    save(run, folder, _summary(run, data, result, bounds, status, seconds, "not drawn yet"))
    provenance = data.provenance()
    columns: dict[str, Any] = {f"data_{key}": provenance[key] for key in ("name", "variant", "seed", "checksum")}
    pd.DataFrame(result.history).assign(**columns).to_csv(folder / "metrics.csv", index=False)
    about = plots.picture_metadata(provenance)
    curves = plots.learning_curves(result.history, result.best_epoch)
    curves.savefig(folder / "learning_curves.png", metadata=about)
    if bounds is not None:
        frame = bounds.to_frame().assign(num_samples=bounds.num_samples)
        if data.test_labels is not None:
            frame["label"] = data.test_labels.numpy()
        frame.assign(**columns).to_csv(folder / "evaluation.csv")
    pictures = _pictures(folder, run, data, device, about) if bounds is not None else "not drawn: the fit broke off"
    write_summary(run, folder, _summary(run, data, result, bounds, status, seconds, pictures))


def _pictures(folder: Path, run: Run, data: DataSplits, device: torch.device, about: dict[str, str]) -> str:
    """Draw what the model says the data look like; the outcome in a phrase."""
    x = data.test[:_PICTURE_ROWS]
    try:
        means = reconstruct_rows(run.model, run.guide, x.to(device)).cpu()
        new_means, draws = sample_rows(run.model, run.guide, x.to(device))
    except (ValueError, RuntimeError) as error:
        return f"not drawn: {error}"
    plots.reconstructions(x, means).savefig(folder / "reconstructions.png", metadata=about)
    plots.samples(x, new_means.cpu(), draws.cpu()).savefig(folder / "samples.png", metadata=about)
    return "drawn"


def _summary(
    run: Run,
    data: DataSplits,
    result: FitResult,
    bounds: BoundComparison | None,
    status: str,
    seconds: dict[str, float],
    pictures: str,
) -> dict[str, Any]:
    evaluation: dict[str, Any] | None = None
    if bounds is not None:
        evaluation = {
            "rows": len(bounds.elbo),
            "num_samples": bounds.num_samples,
            "nats_per_row": {
                name: {"mean": mean, "standard_error_rows": rows, "standard_error_draws": draws}
                for name, (mean, rows, draws) in bounds.means().items()
            },
            "k_hat_limit": bounds.k_hat_limit,
            "unreliable_rows": bounds.unreliable_rows.tolist(),
            "bound_by_draws": dict(zip(map(str, bounds.sweep), bounds.sweep_bounds.mean(1).tolist(), strict=True)),
            "verdict": bounds.verdict(),
        }
    return {
        "status": status,
        "parts": describe_parts(run.config),
        "objective": describe_objective(run.config),
        "data": data.provenance(),
        "training": {
            "epochs": len(result.history),
            "best_epoch": result.best_epoch,
            "stopped_early": result.stopped_early,
            "kl": result.kl_forms,
            "signs_of_trouble": list(result.signs_of_trouble),
            "last_epoch": result.history[-1] if result.history else None,
        },
        "evaluation": evaluation,
        "pictures": pictures,
        "seconds": seconds,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "pyro": pyro.__version__,
        },
    }
