"""Fitting, scoring and writing of a pair of programs, for ``python -m pyrovae.fit``."""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pyrovae.command_line.execution import EXIT_NON_FINITE, by_first, print_error
from pyrovae.command_line.resuming import RunKeeper
from pyrovae.evaluation import compare_bounds
from pyrovae.models import check_vae
from pyrovae.objectives import Cosine
from pyrovae.processes import ProcessEndedError
from pyrovae.report import write_run
from pyrovae.runs import ModelRows, Run, build_objective, described_error, in_options
from pyrovae.training import FitResult, NonFiniteLossError, fit_svi
from pyrovae.training.result import still_improving


def fit_pair(
    run: Run,
    rows: ModelRows,
    keeper: RunKeeper,
    device: torch.device,
    seconds: dict[str, float],
    example: Tensor,
) -> int:
    """Fit a pair by SVI, score the test rows, write the run folder and print the table.

    Args:
        run: the pair and its configuration.
        rows: what it is fitted to.
        keeper: of the run folder, to go on from what is kept there.
        device: of the weights.
        seconds: time spent until now, by what it was spent on.
        example: some training rows on the device, to find what is wrong with parts.

    Returns:
        The exit status.

    Raises:
        ValueError: what is wrong with the programs, the rows or the objective, before anything is written.
    """
    config, folder = run.config, keeper.run_folder
    objective = build_objective(config)
    lr = config["lr"] if config["lr_end"] is None else Cosine(config["lr"], config["lr_end"], length=1)
    start = time.perf_counter()
    try:
        with errors_of_parts(run, example if rows.train_transform is None else rows.train_transform(example)):
            result = fit_svi(
                run.model,
                run.guide,
                rows.train.to(device),
                validation=rows.validation.to(device),
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
    bounds = compare_bounds(
        run.model,
        run.guide,
        rows.test.to(device),
        num_samples=config["num_samples"],
        chunk_size=config["chunk_size"],
        seed=config["seed"],
        progress=not config["quiet"],
    )
    seconds["evaluate"] = time.perf_counter() - start
    by_first(lambda: write_run(folder, run, rows, result, bounds, status="complete", seconds=seconds, device=device))
    keeper.forget()
    more = " (still improving: more --epochs would help)"
    print(
        f"\nfitted in {seconds['fit']:.0f} s, {len(result.history)} epochs, weights of epoch {result.best_epoch} kept"
        f"{more if still_improving(result, config['epochs'], objective) else ''}; KL {_kl(result)}; test rows:\n"
        f"{run.system.in_words(bounds.summary())}"
    )
    remark = run.system.remark(config)
    if remark is not None:
        print(remark)
    for sign in result.signs_of_trouble:
        print(f"sign of trouble: {in_options(sign)}")
    print(f"run folder: {folder}")
    return 0


@contextmanager
def errors_of_parts(run: Run, rows: Tensor) -> Iterator[None]:
    """What goes wrong in parts of the user's own, as one line: what ``check_vae`` finds, or else where it was."""
    try:
        yield
    except (NonFiniteLossError, ProcessEndedError):
        raise
    except ValueError as error:
        # The package's own say enough; of one of Python or torch in a part of the user's own ``check_vae`` says more.
        problem = None if run.vae is None or _of_package(error) else check_vae(run.vae, rows).problem
        if problem is None:
            raise
        raise ValueError(problem) from error
    except Exception as error:
        problem = None if run.vae is None else check_vae(run.vae, rows).problem
        raise ValueError(problem or described_error(error)) from error


def _of_package(error: BaseException) -> bool:
    """Whether this package raised it, or had more to say of it than whoever did."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    frame = list(traceback.walk_tb(root.__traceback__))[-1][0]
    return frame.f_globals.get("__name__", "").startswith("pyrovae.") or str(root) != str(error)


def _kl(result: FitResult) -> str:
    """How the KL terms were found, in words."""
    forms = set(result.kl_forms.values())
    if len(forms) == 1:
        return "in closed form" if forms == {"analytic"} else "by draws"
    return ", ".join(
        f"of {name} {'in closed form' if form == 'analytic' else 'by draws'}" for name, form in result.kl_forms.items()
    )
