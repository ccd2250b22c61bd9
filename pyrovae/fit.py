"""``python -m pyrovae.fit``: fit a VAE, one of its kin, or a Pyro model of your own, and say how good it is."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyro
import torch

from pyrovae.checkpoints.stopping import ending_when_terminated
from pyrovae.command_line import (
    EXIT_BAD_INPUT,
    EXIT_FILES,
    EXIT_INTERRUPTED,
    EXIT_PROCESS_ENDED,
    EXIT_TERMINATED,
    CommandParser,
    RunKeeper,
    check_resumable,
    choose_device,
    claim_folder,
    described_file_error,
    errors_of_parts,
    fit_pair,
    fit_parser,
    fit_reconstructions,
    new_folder,
    print_error,
    resumed_options,
    run_command,
    system_asked,
)
from pyrovae.data import BINARIZED, load_data
from pyrovae.processes import ProcessEndedError, processes_now
from pyrovae.programs import owned_modules
from pyrovae.report import write_cut_short
from pyrovae.runs import (
    DEFAULT_OBJECTIVE,
    PARTS,
    ModelRows,
    Run,
    as_option,
    build_objective,
    build_pair,
    check_categories,
    check_system,
    describe_objective,
    describe_parts,
    factory_takes,
    in_options,
    model_rows,
    start_from,
    system_of,
    users_errors,
)

_CHECKED_ROWS = 8
_BATCH_SIZE = 64


def make_parser(system: str = "vae") -> CommandParser:
    """The options of the command, each with its reason; ``system`` has its own default objective."""
    return fit_parser(system)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status.

    0 if all went well, 2 for bad input, 3 for a loss that is not finite, 4 for a file that cannot be written, 5 if
    another of several processes ended, 130 for Ctrl-C, 143 for SIGTERM.
    """
    try:
        tokens = resumed_options(sys.argv[1:] if arguments is None else arguments)
    except ValueError as error:
        print_error(str(error))
        return EXIT_BAD_INPUT
    return run_command(make_parser(system_asked(tokens)), tokens, _fit, "nothing was written", shared=True)


def _fit(config: dict[str, Any]) -> int:
    start = time.perf_counter()
    config.pop("config")
    _check(config)
    if config["resume"] is not None:
        ended = check_resumable(config)
        if ended is not None:
            return _say_ended(config["resume"], ended)
    device = choose_device(config["device"])
    rows = _load(config, "none" if config["binarize"] == "auto" else config["binarize"])
    _choose_batch_size(config, len(rows.train))
    pyro.set_rng_seed(config["seed"])
    # Leave to overwrite holds for this run, not for the next one that reads its configuration.
    stored = {**config, "overwrite": False, "resume": None}
    data = rows.data
    remark = check_categories(config, data.column_kinds)
    pair = build_pair(config, data.data_shape, data.column_kinds, rows.covariate_kinds)
    run = Run(*pair, stored, data.data_shape, rows.test[:1].to(device), data.column_kinds, rows.covariate_kinds)
    for module in owned_modules(run.model, run.guide):
        module.to(device)
    example = rows.train[:_CHECKED_ROWS].to(device)
    if run.module is not None:
        with users_errors("starting from the data"):
            run.module.initialize(rows.train.to(device))
    with errors_of_parts(run, example):
        if config["binarize"] == "auto":
            # Sets of grey images known by name are binarised for likelihoods of bits; a user's own data never unasked.
            is_named = config["data"] in BINARIZED
            bits = is_named and run.system.observes_bits(run.model, run.guide, example)
            stored["binarize"] = "dynamic" if bits else "none"
            if bits:
                rows = _load(config, "dynamic")
    if config["init_from"] is not None:
        start_from(run, config["init_from"], device)
    unclaim = list[Callable[[], None]]()

    def begin() -> Path:
        folder = Path(config["output_dir"] or new_folder(Path(data.name).stem))
        unclaim.append(claim_folder(folder, overwrite=config["overwrite"]))
        RunKeeper(folder, config).begin()
        return folder

    folder = processes_now().from_first(begin) if config["resume"] is None else Path(config["resume"])
    keeper = RunKeeper(folder, config)

    def undo() -> None:
        for leave in unclaim:
            keeper.forget()
            leave()

    seconds = {"prepare": time.perf_counter() - start}
    _print_header(config, rows, device)
    if remark is not None:
        print(remark, flush=True)
    if config["resume"] is not None:
        print(f"{'resumed':<12}{keeper.reached()}", flush=True)
    try:
        with ending_when_terminated():
            # An autoencoder out of a factory of the user's own is refused as any pair without a density.
            if run.autoencoder is not None and config["model"] is None:
                return fit_reconstructions(run, run.autoencoder, rows, keeper, device, seconds, example)
            return fit_pair(run, rows, keeper, device, seconds, example)
    except ValueError as error:
        undo()
        raise ValueError(in_options(str(error))) from error
    except OSError as error:
        print_error(f"{described_file_error(error)}{_to_go_on(keeper)}")
        return EXIT_FILES
    except ProcessEndedError as error:
        print_error(f"{error}{_to_go_on(keeper)}")
        return EXIT_PROCESS_ENDED
    except (KeyboardInterrupt, SystemExit) as stop:
        if unclaim and not keeper.has_any():
            undo()
            raise
        if not keeper.has_any():
            # All of the run is there, or nothing but what it was resumed from.
            raise
        print_error(f"interrupted{_to_go_on(keeper)}")
        # Where there are several processes, torchrun does not wait for it.
        if not processes_now().several:
            _leave_report(run, rows, keeper, device, seconds)
        return EXIT_INTERRUPTED if isinstance(stop, KeyboardInterrupt) else EXIT_TERMINATED


def _leave_report(
    run: Run, rows: ModelRows, keeper: RunKeeper, device: torch.device, seconds: dict[str, float]
) -> None:
    """Say in a report how far the run had come, unless another interrupt leaves that out too."""
    try:
        write_cut_short(keeper.run_folder, run, rows, keeper.of("fit").newest(), seconds=seconds, device=device)
    except OSError as error:
        print_error(described_file_error(error))
    except KeyboardInterrupt:
        print_error("interrupted again, so there is no report")


def _to_go_on(keeper: RunKeeper) -> str:
    return f"; to go on: python -m pyrovae.fit --resume {shlex.quote(str(keeper.run_folder))}"


def _check(config: dict[str, Any]) -> None:
    """Refuse what contradicts itself before any data are read."""
    system = system_of(config)
    defaults = make_parser(system.name).get_defaults().as_dict()
    if config["model"] is not None:
        ignored = ("system", "corruption", "missing_indicators", *PARTS)
        given = [as_option(option) for option in ignored if config[option] != defaults[option]]
        if config["latent_dim"] != defaults["latent_dim"] and not factory_takes(config["model"], "latent_dim"):
            given.append("--latent-dim")
        if given:
            raise ValueError(
                f"--model brings a complete pair of programs, and {', '.join(given)} would be ignored: drop one"
            )
    if config["seed"] >= 2**32:
        raise ValueError(f"--seed {config['seed']}: expected a whole number below 2**32")
    check_system(config, defaults)
    if system.default_objective is not None:
        build_objective(config)


def _choose_batch_size(config: dict[str, Any], rows: int) -> None:
    """Put the rows of a step into the options where nothing is said of them, and refuse more than there are."""
    if config["batch_size"] is None:
        config["batch_size"] = min(_BATCH_SIZE, rows)
    elif config["batch_size"] > rows and system_of(config).no_density is None:
        raise ValueError(
            f"--batch-size {config['batch_size']} is more than the {rows} training rows: give at most {rows}"
        )


def _say_ended(folder: str, status: str) -> int:
    if status != "complete":
        raise ValueError(f"--resume {folder}: its fit ended so: {status}. It would again; begin another run")
    print(f"the run in {folder} is complete: there is nothing to go on with")
    return 0


def _print_header(config: dict[str, Any], rows: ModelRows, device: Any) -> None:
    described = describe_parts(config)
    usual = system_of(config).default_objective
    if usual is not None and describe_objective(config) != describe_objective({"objective": DEFAULT_OBJECTIVE}):
        described["objective"] = describe_objective(config)
    parts = (f"{slot:<12}{part}" for slot, part in described.items())
    print(rows.summary(), *parts, f"{'device':<12}{device}", sep="\n", flush=True)


def _load(config: dict[str, Any], binarize: Any) -> ModelRows:
    data = load_data(
        config["data"],
        root=config["data_root"],
        binarize=binarize,
        missing=config["missing"],
        columns=config["columns"],
        seed=config["seed"],
        validation_fraction=config["validation_fraction"],
        test_fraction=config["test_fraction"],
        stream=config["stream"],
    )
    return model_rows(config, data)


if __name__ == "__main__":
    sys.exit(main())
