"""Fitting, scoring and writing of a pair of programs, for ``python -m pyrovae.fit``."""

import time

from pyrovae.command_line.execution import EXIT_NON_FINITE, by_first, print_error
from pyrovae.command_line.part_errors import errors_of_parts
from pyrovae.command_line.preparing import Prepared
from pyrovae.command_line.resuming import RunKeeper
from pyrovae.evaluation import BoundComparison, compare_bounds
from pyrovae.evaluation.summaries import counted
from pyrovae.objectives import Cosine, Objective
from pyrovae.programs import borrowed, inspect_pair
from pyrovae.report import write_run
from pyrovae.runs import build_objective, in_options
from pyrovae.training import FitResult, NonFiniteLossError, fit_svi
from pyrovae.training.result import still_improving


def fit_pair(prepared: Prepared, keeper: RunKeeper, seconds: dict[str, float]) -> int:
    """Fit a pair by SVI, score the test rows, write the run folder and print the table.

    Args:
        prepared: the pair and its rows.
        keeper: of the run folder, to go on from what is kept there.
        seconds: time spent until now, by what it was spent on.

    Returns:
        The exit status.

    Raises:
        ValueError: what is wrong with the programs, the rows or the objective, before anything is written.
    """
    run, rows, device, folder = prepared.run, prepared.rows, prepared.device, keeper.run_folder
    objective = build_objective(run.config)
    start = time.perf_counter()
    try:
        result = _fit_programs(prepared, objective, keeper)
    except NonFiniteLossError as error:
        seconds["fit"] = time.perf_counter() - start
        failed, why = error.result, str(error)
        assert isinstance(failed, FitResult)
        by_first(lambda: write_run(folder, run, rows, failed, None, status=why, seconds=seconds, device=device))
        keeper.forget()
        print_error(f"{error}\nrun folder: {folder}")
        return EXIT_NON_FINITE
    seconds["fit"] = time.perf_counter() - start
    start = time.perf_counter()
    bounds = _score(prepared)
    seconds["evaluate"] = time.perf_counter() - start
    by_first(lambda: write_run(folder, run, rows, result, bounds, status="complete", seconds=seconds, device=device))
    keeper.forget()
    _print_results(prepared, objective, result, bounds, seconds["fit"])
    print(f"run folder: {folder}")
    return 0


def _fit_programs(prepared: Prepared, objective: Objective, keeper: RunKeeper) -> FitResult:
    run, rows, config = prepared.run, prepared.rows, prepared.run.config
    lr = config["lr"] if config["lr_end"] is None else Cosine(config["lr"], config["lr_end"], length=1)
    seen = prepared.example if rows.train_transform is None else rows.train_transform(prepared.example)
    with errors_of_parts(run, seen):
        # A fit may have what the scores after it would refuse.
        with borrowed(run.model, run.guide, seen.device):
            inspect_pair(run.model, run.guide, seen.nan_to_num()).check_reach()
        return fit_svi(
            run.model,
            run.guide,
            rows.train.to(prepared.device),
            validation=rows.validation.to(prepared.device),
            train_transform=rows.train_transform,
            epochs=config["epochs"],
            batch_size=config["batch_size"],
            lr=lr,
            objective=objective,
            patience=config["patience"],
            precision=config["precision"],
            step=config["step"],
            clip_norm=config["clip_norm"],
            max_skipped_steps=config["max_skipped_steps"],
            checkpoints=keeper.of("fit"),
            resume=True,
            seed=config["seed"],
            progress=not config["quiet"],
        )


def _score(prepared: Prepared) -> BoundComparison:
    run, config = prepared.run, prepared.run.config
    return compare_bounds(
        run.model,
        run.guide,
        prepared.rows.test.to(prepared.device),
        num_samples=config["num_samples"],
        chunk_size=config["chunk_size"],
        seed=config["seed"],
        progress=not config["quiet"],
    )


def _print_results(
    prepared: Prepared, objective: Objective, result: FitResult, bounds: BoundComparison, seconds: float
) -> None:
    system, config = prepared.run.system, prepared.run.config
    more = " (still improving: more --epochs would help)"
    print(
        f"\nfitted in {seconds:.0f} s, {counted(len(result.history), 'epoch')}, weights of epoch {result.best_epoch} "
        f"kept{more if still_improving(result, config['epochs'], objective) else ''}; KL {_kl(result)}; test rows:\n"
        f"{system.in_words(bounds.summary())}"
    )
    remark = system.remark(config)
    if remark is not None:
        print(remark)
    for sign in result.signs_of_trouble:
        print(f"sign of trouble: {in_options(sign)}")


def _kl(result: FitResult) -> str:
    """How the KL terms were found, in words."""
    forms = set(result.kl_forms.values())
    if len(forms) == 1:
        return "in closed form" if forms == {"analytic"} else "by draws"
    return ", ".join(
        f"of {name} {'in closed form' if form == 'analytic' else 'by draws'}" for name, form in result.kl_forms.items()
    )
