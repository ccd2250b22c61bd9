"""``python -m pyrovae.label_efficiency``: how right classifiers are, by the number of labels."""

import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.checkpoints import whole_file, write_whole
from pyrovae.checkpoints.stopping import ending_when_terminated
from pyrovae.command_line import (
    EXIT_BAD_INPUT,
    EXIT_FILES,
    EXIT_INTERRUPTED,
    EXIT_NON_FINITE,
    EXIT_TERMINATED,
    CommandParser,
    RunKeeper,
    check_same_options,
    choose_device,
    claim_run,
    described_file_error,
    print_error,
    resumed_options,
    run_command,
)
from pyrovae.command_line.label_options import label_parser
from pyrovae.data import BINARIZED, DataSplits, UnusableValuesError, load_data, trouble_of_scale
from pyrovae.semi_supervised.comparison import Comparison, fit_name
from pyrovae.semi_supervised.comparison_settings import Settings
from pyrovae.semi_supervised.label_draws import count_labels, draw_labels
from pyrovae.semi_supervised.labels import UNLABELLED
from pyrovae.semi_supervised.scores import METHODS, Result, mean_scores, read_results, score_table, write_results
from pyrovae.training import NonFiniteLossError

TABLE_FILE = "label_efficiency.csv"
PLOT_FILE = "label_efficiency.png"
ROWS_FILE = "rows.txt"
# Convolutions of stride 2 leave little of smaller images.
_LEAST_PIXELS = 16
_NAME = "pyrovae.label_efficiency"


def make_parser() -> CommandParser:
    """The options of the command, each with its reason."""
    return label_parser()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status.

    0 if all went well, 2 for bad input, 3 for a loss that is not finite, 4 for files, 130 for Ctrl-C, 143 for SIGTERM.
    """
    try:
        tokens = resumed_options(sys.argv[1:] if arguments is None else arguments)
    except ValueError as error:
        print_error(str(error))
        return EXIT_BAD_INPUT
    return run_command(make_parser(), tokens, _compare, "what was finished before is in the output folder")


def _compare(config: dict[str, Any]) -> int:
    config.pop("config")
    if config["seed"] + config["seeds"] > 2**32:
        raise ValueError(f"--seed {config['seed']}: expected a whole number below 2**32, with --seeds")
    resumes = config["resume"] is not None
    under_way = resumes and check_same_options(config, "Another comparison takes another folder")
    device = choose_device(config["device"])
    try:
        data = load_data(
            config["data"],
            root=config["data_root"],
            binarize="dynamic" if config["data"] in BINARIZED else "none",
            seed=config["seed"],
            validation_fraction=config["validation_fraction"],
            test_fraction=config["test_fraction"],
        )
    except UnusableValuesError as error:
        raise ValueError(
            f"{error.wrong}; this command takes tables of complete numbers only, with classes numbered from 0"
        ) from error
    settings = _settings(config, data.data_shape, device)
    comparison = Comparison(data, settings)
    if config["batch_size"] > len(data.train):
        raise ValueError(f"--batch-size {config['batch_size']}: give at most {len(data.train)}, the training rows")
    try:
        counts = list(dict.fromkeys(count_labels(asked, comparison.labels) for asked in config["labels"]))
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    keeper, undo = claim_run(config, f"labels-{Path(data.name).stem}")
    if under_way:
        _check_rows(config, data, keeper)
    # In the folder of a run that is under way a table of an earlier one may be.
    results = read_results((keeper.folder if under_way else keeper.run_folder) / TABLE_FILE) if resumes else []
    finished = {(result.method, result.labels, result.seed) for result in results}
    runs = [run for run in _runs(counts, config) if run not in finished]
    if not runs and not under_way:
        keeper.forget()
        print(f"the comparison in {keeper.run_folder} is complete: there is nothing to go on with")
        return 0
    if not under_way:
        if resumes:
            keeper.begin()
        write_whole(keeper.folder / ROWS_FILE, "\n".join(_checksums(data).values()).encode())
        write_results(results, keeper.folder / TABLE_FILE)
    if not config["quiet"]:
        moved = f", images moved by up to {settings.translation} pixels" if settings.translation else ""
        print(
            data.summary(),
            f"{'networks':<12}{settings.network}{moved}",
            f"{'device':<12}{device}",
            sep="\n",
            flush=True,
        )
        if trouble := trouble_of_scale(data.train) if data.train.dim() == 2 else None:
            print(
                f"{trouble}, and all but logistic regression on pixels take them as they are: give columns of one "
                "scale, (column - mean) / standard deviation",
                flush=True,
            )
        if resumes:
            print(f"{'resumed':<12}after {len(finished)} of {len(finished) + len(runs)} runs", flush=True)
    return _compare_in_folder(comparison, runs, results, keeper, undo)


def _checksums(data: DataSplits[Tensor]) -> dict[str, str]:
    """Checksums of what accuracies are of, by name."""
    labels = [split for split in (data.train_labels, data.test_labels) if split is not None]
    return {"rows": data.checksum, "labels": sha256(torch.cat(labels).numpy().data).hexdigest()}


def _check_rows(config: dict[str, Any], data: DataSplits[Tensor], keeper: RunKeeper) -> None:
    """Refuse to go on with other rows or labels."""
    path = keeper.folder / ROWS_FILE
    # Cut off before it was written, the comparison has nothing to go on with but its options.
    kept = path.read_text(encoding="utf-8").split() if path.exists() else []
    for (what, now), before in zip(_checksums(data).items(), kept, strict=False):
        if before != now:
            raise ValueError(
                f"--data {config['data']}: the checksum of its {what} is {now[:12]}, and was {before[:12]} when the "
                f"comparison in {keeper.run_folder} began: give the same {what}, or begin another in another folder"
            )


def _compare_in_folder(
    comparison: Comparison,
    runs: Sequence[tuple[str, int, int]],
    results: list[Result],
    keeper: RunKeeper,
    undo: Callable[[], None],
) -> int:
    """Do the runs that are left; whatever ends that, the folder has what was finished and what it can go on from."""
    try:
        with ending_when_terminated():
            for run in runs:
                _do(run, comparison, results, keeper)
            # Again: the last time may have been cut off.
            _write(results, keeper)
            _plot(results, keeper)
            keeper.forget()
    except NonFiniteLossError as error:
        _leave_plot(results, keeper, undo)
        keeper.forget()
        print_error(f"{error}\nfinished before: {len(results)} runs, in {keeper.run_folder}")
        return EXIT_NON_FINITE
    except ValueError:
        _leave_plot(results, keeper, undo)
        raise
    except OSError as error:
        print_error(f"{described_file_error(error)}{keeper.to_go_on(_NAME)}")
        return EXIT_FILES
    except (KeyboardInterrupt, SystemExit) as stop:
        if not _leave_plot(results, keeper, undo):
            raise
        print_error(f"interrupted{keeper.to_go_on(_NAME)}")
        return EXIT_INTERRUPTED if isinstance(stop, KeyboardInterrupt) else EXIT_TERMINATED
    num_scored = int((comparison.test_labels != UNLABELLED).sum())
    print(f"\n{score_table(mean_scores(results))}")
    seeds = len({result.seed for result in results})
    print(f"mean over {seeds} draws of the labels (standard error), {num_scored:,} test rows")
    print(f"folder: {keeper.run_folder}")
    return 0


def _do(run: tuple[str, int, int], comparison: Comparison, results: list[Result], keeper: RunKeeper) -> None:
    """Train and score one classifier, and write its result down."""
    method, count, seed = run
    accuracy, seconds = comparison.score(method, draw_labels(comparison.labels, count, seed), seed, keeper.of)
    results.append(Result(method, count, seed, 100 * accuracy, seconds))
    # After each result: what cuts the command off costs nothing that was finished.
    _write(results, keeper)
    keeper.forget_fit(fit_name(method, count, seed))
    if comparison.settings.progress:
        print(
            f"seed {seed}, {count:,} labels, {METHODS[method]}: {100 * accuracy:.1f} % ({seconds:.0f} s)",
            flush=True,
        )


def _write(results: Sequence[Result], keeper: RunKeeper) -> None:
    for folder in (keeper.folder, keeper.run_folder):
        write_results(results, folder / TABLE_FILE)
    keeper.write_options()


def _plot(results: Sequence[Result], keeper: RunKeeper) -> None:
    with whole_file(keeper.run_folder / PLOT_FILE) as part:
        plots.accuracy_by_labels(mean_scores(results)).savefig(part, dpi=plots.FILE_DPI, format="png")


def _leave_plot(results: Sequence[Result], keeper: RunKeeper, undo: Callable[[], None]) -> bool:
    """Show what was finished before the end came; without anything to go on from undo the beginning, and say so."""
    if results:
        try:
            _plot(results, keeper)
        except OSError as error:
            print_error(described_file_error(error))
    elif not keeper.has_any():
        undo()
        return False
    return True


def _runs(counts: Sequence[int], config: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Method, number of labels and seed of each run, those of one seed before those of the next."""
    for seed in range(config["seed"], config["seed"] + config["seeds"]):
        for count in counts:
            for method in dict.fromkeys(config["methods"]):
                yield method, count, seed


def _settings(config: dict[str, Any], data_shape: tuple[int, ...], device: torch.device) -> Settings:
    """What the options say, with what they leave to the data."""
    is_image = len(data_shape) == 3
    network, translation = config["network"], config["translation"]
    if network == "auto":
        network = "conv" if is_image and min(data_shape[1:]) >= _LEAST_PIXELS else "mlp"
    if network == "conv" and (not is_image or min(data_shape[1:]) < 4):
        raise ValueError(f"--network conv: rows have shape {data_shape}, and two convolutions need images: use mlp")
    if translation is None:
        translation = 2 if network == "conv" else 0
    if translation and not is_image:
        raise ValueError(
            f"--translation {translation}: rows have shape {data_shape}, and only images move: leave it out"
        )
    names = (
        "latent_dim",
        "m2_latent_dim",
        "second_latent_dim",
        "hidden_dims",
        "second_hidden_dims",
        "epochs",
        "second_epochs",
        "batch_size",
        "lr",
        "classification_weight",
        "second_classification_weight",
        "fine_tune_epochs",
        "multiplier",
    )
    given = {name: config[name] for name in names}
    return Settings(**given, network=network, translation=translation, device=device, progress=not config["quiet"])


if __name__ == "__main__":
    sys.exit(main())
