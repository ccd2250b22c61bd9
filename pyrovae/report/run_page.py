"""``report.html`` of a run."""

import time
from collections.abc import Mapping
from pathlib import Path

import torch

from pyrovae.checkpoints import write_whole
from pyrovae.evaluation import BoundComparison, ReconstructionErrors
from pyrovae.pictures import LatentOverview
from pyrovae.report.files.folder import REPORT_FILE
from pyrovae.report.page import Answer, Block, Missing, Page, Section
from pyrovae.report.sections.answers import (
    INTERRUPTED,
    answers_of_autoencoder,
    can_it_be_believed,
    did_it_train,
    errors_of,
    how_good,
    means_of,
)
from pyrovae.report.sections.belief import belief_section
from pyrovae.report.sections.gap import gap_section
from pyrovae.report.sections.latents import INTERPOLATION, LATENTS, latent_sections
from pyrovae.report.sections.learning_curves import learning_curves, loss_curves
from pyrovae.report.sections.rows import RECONSTRUCTIONS, SAMPLES, autoencoder_rows, reconstructions, samples
from pyrovae.report.sections.what_was_run import what_was_run
from pyrovae.runs import ModelRows, Run
from pyrovae.training import FitResult, LossResult

_BROKE_OFF = "the fit broke off"
_NO_EPOCH = "no epoch was finished"
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
    sections = _sections_of_pair(folder, run, rows, result, bounds, status, device)
    told = what_was_run(folder, run, rows, _spent(seconds, start), str(device), status)
    _write(folder, run, rows, answers, means_of(run, result, bounds), [told, *sections])


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
    device = torch.device("cpu") if run.autoencoder is None else next(run.autoencoder.parameters()).device
    sections = _sections_of_autoencoder(run, rows, pretraining, result, errors, status, device)
    answers = answers_of_autoencoder(run, result, errors, status)
    told = what_was_run(folder, run, rows, _spent(seconds, start), str(device), status)
    _write(folder, run, rows, answers, errors_of(errors), [told, *sections])


def _sections_of_pair(
    folder: Path,
    run: Run,
    rows: ModelRows,
    result: FitResult,
    bounds: BoundComparison | None,
    status: str,
    device: torch.device,
) -> list[Section]:
    """Curves, gap and belief, and what the model has learned, from top to bottom."""
    why_not = _CUT_SHORT if status == INTERRUPTED else _BROKE_OFF
    numbers = [
        learning_curves(result),
        gap_section(folder, run, bounds, why_not),
        belief_section(run, rows, bounds, device, why_not),
    ]
    if bounds is None and status != INTERRUPTED:
        return numbers + _nothing_learned(_BROKE_OFF)
    if not result.history:
        return numbers + _nothing_learned(_NO_EPOCH)
    pictures = [reconstructions(run, rows, device), samples(run, rows, device)]
    return numbers + pictures + latent_sections(LatentOverview(run, rows, device, run.config["seed"]))


def _sections_of_autoencoder(
    run: Run,
    rows: ModelRows,
    pretraining: list[LossResult],
    result: LossResult | None,
    errors: ReconstructionErrors | None,
    status: str,
    device: torch.device,
) -> list[Section]:
    """The like, but for what needs a density."""
    no_density = f"{run.system.no_density}"
    why_not = _NO_EPOCH if status == INTERRUPTED else _BROKE_OFF
    numbers = [
        loss_curves(pretraining, result, None if errors is None else errors.unit, why_not),
        Section("The gap and which rows to believe", [Missing("gap, k-hat and the bound against K", no_density)]),
    ]
    if errors is None:
        return numbers + _nothing_learned(why_not)
    pictures = autoencoder_rows(rows, errors, no_density)
    return numbers + pictures + latent_sections(LatentOverview(run, rows, device, run.config["seed"]))


def _nothing_learned(why: str) -> list[Section]:
    """The sections with pictures of the model, where there are none."""
    titles = (RECONSTRUCTIONS, SAMPLES, INTERPOLATION, LATENTS)
    return [Section(title, [Missing("pictures of the model", why)]) for title in titles]


def _spent(seconds: Mapping[str, float], start: float) -> dict[str, float]:
    """The seconds of a run, with those of the report so far."""
    return {**seconds, "this report": time.perf_counter() - start}


def _write(
    folder: Path, run: Run, rows: ModelRows, answers: list[Answer], first: list[Block], sections: list[Section]
) -> None:
    page = Page(f"Run {folder.resolve().name}", _about(run, rows), answers, first, sections)
    write_whole(folder / REPORT_FILE, page.render().encode())


def _about(run: Run, rows: ModelRows) -> str:
    """What was fitted to which data, in a line."""
    if run.config["model"] is not None:
        return f"{run.config['model']}, of {rows.data.name}, {rows.data.variant}"
    called = run.system.called(run.config)
    return f"{called[0].upper()}{called[1:]} of {rows.data.name}, {rows.data.variant}"
