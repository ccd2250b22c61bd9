"""The files of a run that was interrupted, which its checkpoints let go on."""

from pathlib import Path

import torch

from pyrovae import plots
from pyrovae.checkpoints import State
from pyrovae.data import all_in_memory
from pyrovae.evaluation import reconstruction_errors
from pyrovae.report.files.folder import clear_folder, write_curves
from pyrovae.report.run_page import report_of_autoencoder, report_of_pair
from pyrovae.report.sections.answers import INTERRUPTED
from pyrovae.runs import CONFIG_FILE, SUMMARY_FILE, WEIGHTS_FILE, ModelRows, Run
from pyrovae.training import FitResult, LossResult


def write_cut_short(
    folder: Path, run: Run, rows: ModelRows, state: State | None, *, seconds: dict[str, float], device: torch.device
) -> None:
    """Write what a run that was interrupted can show: ``metrics.csv``, ``learning_curves.png``, ``report.html``.

    The report has the curves of the epochs that were finished and what the weights of the best of them make of rows; it
    says that nothing was scored, and how to go on.

    Args:
        folder: of the run, with its checkpoints.
        run: the model with the weights of its best epoch.
        rows: what it was fitted to.
        state: the newest checkpoint of the fit; None where that had not begun.
        seconds: time spent before the fit, by what it was spent on.
        device: where the weights are.
    """
    clear_folder(folder)
    # Those of a run that this one was to overwrite are of another model; its own come at the end.
    for name in (CONFIG_FILE, WEIGHTS_FILE, SUMMARY_FILE):
        (folder / name).unlink(missing_ok=True)
    history = [] if state is None else state["history"]
    best, stopped_early = (0, False) if state is None else (state["best_epoch"], state["stopped_early"])
    spent = {**seconds, "fit": sum(terms["seconds"] for terms in history)}
    if run.autoencoder is None or run.config["model"] is not None:
        said = () if state is None else tuple(state["trouble"]["said"].values())
        result = FitResult(history, best, stopped_early, {}, {}, said)
        write_curves(folder, rows, history, plots.learning_curves(history, best))
        report_of_pair(folder, run, rows, result, None, status=INTERRUPTED, seconds=spent, device=device)
        return
    losses, errors = None, None
    if history:
        losses = LossResult(history, best, stopped_early)
        # It takes a moment, as it needs no draws.
        test = all_in_memory(rows.test, "the rows").to(device)
        errors = reconstruction_errors(run.autoencoder, test, seed=run.config["seed"])
        write_curves(folder, rows, history, plots.loss_curves(history, best, errors.unit))
    report_of_autoencoder(folder, run, rows, [], losses, errors, status=INTERRUPTED, seconds=spent)
