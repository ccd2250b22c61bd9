"""``python -m pyrovae.fit``: fit a VAE, one of its kin, or a Pyro model of your own, and say how good it is."""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pyrovae.checkpoints.stopping import ending_when_terminated
from pyrovae.command_line import (
    EXIT_BAD_INPUT,
    EXIT_FILES,
    EXIT_INTERRUPTED,
    EXIT_PROCESS_ENDED,
    EXIT_TERMINATED,
    CommandParser,
    Prepared,
    RunKeeper,
    check_resumable,
    check_seed,
    choose_device,
    claim_run,
    described_file_error,
    fit_pair,
    fit_parser,
    fit_reconstructions,
    lack_of_memory_said,
    prepare_run,
    print_error,
    resumed_options,
    run_command,
    system_asked,
)
from pyrovae.processes import ProcessEndedError, processes_now
from pyrovae.report import write_cut_short
from pyrovae.runs import (
    DEFAULT_OBJECTIVE,
    PARTS,
    as_option,
    build_objective,
    check_system,
    describe_objective,
    describe_parts,
    factory_takes,
    in_options,
    system_of,
)

_NAME = "pyrovae.fit"


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
    prepared = prepare_run(config, choose_device(config["device"]))
    keeper, undo = claim_run(config, Path(prepared.rows.data.name).stem)
    if config["stream"]:
        processes_now().from_first(partial(keeper.check_rows, prepared.rows.data.checksum))
    seconds = {"prepare": time.perf_counter() - start}
    _print_header(config, prepared, keeper)
    return _fit_in_folder(prepared, keeper, undo, seconds)


def _fit_in_folder(prepared: Prepared, keeper: RunKeeper, undo: Callable[[], None], seconds: dict[str, float]) -> int:
    """Fit, score and write; whatever ends that, the folder is left as it was or with what the run can go on from."""
    try:
        with ending_when_terminated(), lack_of_memory_said():
            return _fit_by_kind(prepared, keeper, seconds)
    except ValueError as error:
        said = in_options(str(error))
        if keeper.has_any():
            # Steps were done with this input: memory that ran out, for example, after hours.
            said += keeper.to_go_on(_NAME)
        else:
            undo()
        raise ValueError(said) from error
    except OSError as error:
        print_error(f"{described_file_error(error)}{keeper.to_go_on(_NAME)}")
        return EXIT_FILES
    except ProcessEndedError as error:
        print_error(f"{error}{keeper.to_go_on(_NAME)}")
        return EXIT_PROCESS_ENDED
    except (KeyboardInterrupt, SystemExit) as stop:
        if not keeper.has_any():
            # All of the run is there, or nothing but what it was resumed from, or what is undone.
            undo()
            raise
        print_error(f"interrupted{keeper.to_go_on(_NAME)}")
        # Where there are several processes, torchrun does not wait for it.
        if not processes_now().several:
            _leave_report(prepared, keeper, seconds)
        return EXIT_INTERRUPTED if isinstance(stop, KeyboardInterrupt) else EXIT_TERMINATED


def _fit_by_kind(prepared: Prepared, keeper: RunKeeper, seconds: dict[str, float]) -> int:
    autoencoder = prepared.run.autoencoder
    # An autoencoder out of a factory of the user's own is refused as any pair without a density.
    if autoencoder is not None and prepared.run.config["model"] is None:
        return fit_reconstructions(prepared, autoencoder, keeper, seconds)
    return fit_pair(prepared, keeper, seconds)


def _leave_report(prepared: Prepared, keeper: RunKeeper, seconds: dict[str, float]) -> None:
    """Say in a report how far the run had come, unless another interrupt leaves that out too."""
    run, rows, folder = prepared.run, prepared.rows, keeper.run_folder
    try:
        write_cut_short(folder, run, rows, keeper.of("fit").newest(), seconds=seconds, device=prepared.device)
    except OSError as error:
        print_error(described_file_error(error))
    except KeyboardInterrupt:
        print_error("interrupted again, so there is no report")


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
    check_seed(config["seed"])
    check_system(config, defaults)
    if system.default_objective is not None:
        build_objective(config)


def _say_ended(folder: str, status: str) -> int:
    if status != "complete":
        raise ValueError(f"--resume {folder}: its fit ended so: {status}. It would again; begin another run")
    print(f"the run in {folder} is complete: there is nothing to go on with")
    return 0


def _print_header(config: dict[str, Any], prepared: Prepared, keeper: RunKeeper) -> None:
    described = describe_parts(config)
    usual = system_of(config).default_objective
    if usual is not None and describe_objective(config) != describe_objective({"objective": DEFAULT_OBJECTIVE}):
        described["objective"] = describe_objective(config)
    parts = (f"{slot:<12}{part}" for slot, part in described.items())
    print(prepared.rows.summary(), *parts, f"{'device':<12}{prepared.device}", sep="\n", flush=True)
    for remark in prepared.remarks:
        print(remark, flush=True)
    if config["resume"] is not None:
        print(f"{'resumed':<12}{keeper.reached()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
