"""``report.html`` of a run."""

import time
from collections.abc import Mapping
from pathlib import Path

import torch

from pyrovae.checkpoints import write_whole
from pyrovae.evaluation import BoundComparison, ReconstructionErrors
from pyrovae.pictures import LatentOverview
from pyrovae.report.answers import (
    INTERRUPTED,
    answers_of_autoencoder,
    can_it_be_believed,
    did_it_train,
    errors_of,
    how_good,
    means_of,
)
from pyrovae.report.files import REPORT_FILE
from pyrovae.report.modelled import (
    autoencoder_rows,
    latent_sections,
    missing_sections,
    reconstructions,
    samples,
)
from pyrovae.report.page import Answer, Block, Missing, Page, Section
from pyrovae.report.scored import belief_section, gap_section
from pyrovae.report.told import what_was_run
from pyrovae.report.trained import learning_curves, loss_curves
from pyrovae.runs import ModelRows, Run
from pyrovae.training import FitResult, LossResult

_BROKE_OFF = "the fit broke off"
_CUT_SHORT = "the run was interrupted before its test rows were scored"


def report_of_pair(
    folder: Path,
    run: Run,
    rows: ModelRows,
    result: FitResult,
    bounds: BoundComparison | None,
    *,
    status: str,
    seconds: Mapping[str, float],
    device: torch.device,
) -> None:
    """Write ``report.html`` of a pair of programs, unless it is not wanted; ``write_run`` says of the arguments.

    Raises:
        OSError: it cannot be written.
    """
    if run.config.get("no_report"):
        return
    start = time.perf_counter()
    answers = [did_it_train(run, result, status), how_good(run, bounds), can_it_be_believed(run, bounds)]
    why_not = _CUT_SHORT if status == INTERRUPTED else _BROKE_OFF
    sections = [learning_curves(result), gap_section(folder, run, bounds, why_not)]
    sections.append(belief_section(run, rows, bounds, device, why_not))
    if bounds is None and status != INTERRUPTED:
        sections += missing_sections(_BROKE_OFF)
    elif not result.history:
        sections += missing_sections("no epoch was finished")
    else:
        sections += [reconstructions(run, rows, device), samples(run, rows, device)]
        sections += latent_sections(LatentOverview(run, rows, device, run.config["seed"]))
    first = means_of(run, result, bounds)
    _write(folder, run, rows, answers, first, sections, status, seconds, device, start)


def report_of_autoencoder(
    folder: Path,
    run: Run,
    rows: ModelRows,
    pretraining: list[LossResult],
    result: LossResult | None,
    errors: ReconstructionErrors | None,
    *,
    status: str,
    seconds: Mapping[str, float],
) -> None:
    """Write ``report.html`` of an autoencoder, unless it is not wanted; ``write_autoencoder`` says of the arguments.

    Raises:
        OSError: it cannot be written.
    """
    if run.config.get("no_report"):
        return
    start = time.perf_counter()
    no_density = f"{run.system.no_density}"
    device = torch.device("cpu") if run.autoencoder is None else next(run.autoencoder.parameters()).device
    why_not = "no epoch was finished" if status == INTERRUPTED else _BROKE_OFF
    sections = [loss_curves(pretraining, result, None if errors is None else errors.unit, why_not)]
    what = "gap, k-hat and the bound against K"
    sections.append(Section("The gap and which rows to believe", [Missing(what, no_density)]))
    if errors is None:
        sections += missing_sections(why_not)
    else:
        sections += autoencoder_rows(rows, errors, no_density)
        sections += latent_sections(LatentOverview(run, rows, device, run.config["seed"]))
    answers = answers_of_autoencoder(run, result, errors, status)
    _write(folder, run, rows, answers, errors_of(errors), sections, status, seconds, device, start)


def _write(
    folder: Path,
    run: Run,
    rows: ModelRows,
    answers: list[Answer],
    first: list[Block],
    sections: list[Section],
    status: str,
    seconds: Mapping[str, float],
    device: torch.device,
    start: float,
) -> None:
    spent = {**seconds, "this report": time.perf_counter() - start}
    about = f"{run.system.title[0].upper()}{run.system.title[1:]} of {rows.data.name}, {rows.data.variant}"
    if run.config["model"] is not None:
        about = f"{run.config['model']}, of {rows.data.name}, {rows.data.variant}"
    page = Page(
        title=f"Run {folder.resolve().name}",
        about=about,
        answers=answers,
        first=first,
        sections=[what_was_run(folder, run, rows, spent, str(device), status), *sections],
    )
    write_whole(folder / REPORT_FILE, page.render().encode())
