"""``python -m pyrovae.evaluate``: score the test rows of a stored run, with more draws or by more methods."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse.typing import NonNegativeInt, PositiveInt

from pyrovae.command_line import CommandParser, check_seed, choose_device, rows_of_run, run_command
from pyrovae.evaluation.hamiltonian import Start, TemperatureSchedule
from pyrovae.evaluation.summaries import counted
from pyrovae.processes import processes_now
from pyrovae.runs import (
    ScoringOptions,
    as_option,
    load,
    refuse_without_density,
    score_rows,
    summary_of,
    weights_checksum,
)


def make_parser() -> CommandParser:
    """The options of the command, each with its reason."""
    parser = CommandParser(
        prog="python -m pyrovae.evaluate",
        description="Score the test rows of a stored run. Rows are written as they are done; the same command goes on "
        "after an interruption where it stopped.",
    )
    add = parser.add_argument
    add("run", type=str, metavar="RUN", help="the run folder")
    add(
        "--data",
        type=str | None,
        default=None,
        help="score rows of other data: their test rows where they bring some, else a part drawn as that of the run "
        "was (--test-fraction of python -m pyrovae.fit), or --all-rows; without it the test rows of the run",
    )
    add("--all-rows", action="store_true", help="score all rows of --data, in their order, and not a part of them")
    add("--data-root", type=str | None, default=None, help="folder of the data, as in python -m pyrovae.fit")
    add("--num-samples", type=PositiveInt, default=5000, help="importance draws for each row; more come closer")
    add("--chunk-size", type=PositiveInt | None, default=None, help="draws scored at once; small saves memory")
    add("--gap", action="store_true", help="split the gap into its halves: the family of q, and the encoder")
    add("--ais", action="store_true", help="annealed importance sampling too, a check that does not lean on q")
    add("--ais-temperatures", type=PositiveInt, default=1000, help="steps of annealing; more are slower and closer")
    add("--ais-chains", type=PositiveInt, default=16, help="chains for each row")
    add(
        "--ais-start",
        type=Start,
        default="prior",
        help="prior owes nothing to q, so its value is a check of q; guide starts from q and comes closer with fewer "
        "temperatures where q is good",
    )
    add(
        "--ais-schedule",
        type=TemperatureSchedule,
        default="sigmoid",
        help="of the temperatures: sigmoid goes slowly at both ends, where the densities change most; linear has equal "
        "steps",
    )
    add("--ais-leapfrog", type=PositiveInt, default=10, help="steps of a trajectory; more go further and cost more")
    add("--ais-warm-up", type=PositiveInt, default=200, help="temperatures of the chains that find the step sizes")
    add("--seed", type=NonNegativeInt, default=0, help="of all draws")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--output", type=str | None, default=None, help="the CSV file; without it RUN/evaluation-K.csv")
    add("--overwrite", action="store_true", help="start a table again that is there for other options")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status.

    0 if all went well, 2 for bad input, 4 for files, 5 if another of several processes ended, 130 for an interrupt.
    """
    kept = "the rows that were scored are kept, the same command goes on"
    return run_command(make_parser(), arguments, _evaluate, kept, shared=True)


def _check(options: dict[str, Any]) -> None:
    """Refuse what has no effect, before anything is read."""
    defaults = make_parser().get_defaults().as_dict()
    given = [name for name in options if name.startswith("ais_") and options[name] != defaults[name]]
    if given and not options["ais"]:
        idle = ", ".join(map(as_option, given))
        raise ValueError(f"{idle} would be ignored, as there is no --ais: add it, or leave {idle} out")
    if options["all_rows"] and options["data"] is None:
        raise ValueError("--all-rows scores rows that the run was not fitted to: add --data, or leave --all-rows out")
    check_seed(options["seed"])


def _evaluate(options: dict[str, Any]) -> int:
    _check(options)
    device = choose_device(options["device"])
    run = load(options["run"], device=device)
    refuse_without_density(options["run"])
    rows = rows_of_run(
        run, options["run"], data=options["data"], root=options["data_root"], all_rows=options["all_rows"]
    )
    scoring = ScoringOptions(
        num_samples=options["num_samples"],
        chunk_size=options["chunk_size"],
        gap=options["gap"],
        ais=options["ais"],
        ais_temperatures=options["ais_temperatures"],
        ais_chains=options["ais_chains"],
        ais_start=options["ais_start"],
        ais_schedule=options["ais_schedule"],
        ais_leapfrog=options["ais_leapfrog"],
        ais_warm_up=options["ais_warm_up"],
        seed=options["seed"],
    )
    other = "" if options["data"] is None else f"-{Path(rows.data.name).stem}{'-all' * options['all_rows']}"
    table = Path(options["output"] or Path(options["run"]) / f"evaluation-{scoring.num_samples}{other}.csv")
    if options["overwrite"] and table.is_file() and not table.with_name(f"{table.name}.json").is_file():
        raise ValueError(
            f"--overwrite: {table} is no table of this command, as no {table.name}.json is beside it: give another name"
        )
    if options["overwrite"]:
        for path in (table, table.with_name(f"{table.name}.json")):
            processes_now().from_first(partial(path.unlink, missing_ok=True))
    print(rows.summary(), flush=True)
    if options["all_rows"]:
        print(f"{'scored':<12}all {counted(len(rows.test), 'row')} of {rows.data.name}", flush=True)
    weights = weights_checksum(options["run"])
    provenance = rows.provenance() | ({"all_rows": True} if options["all_rows"] else {})
    frame = score_rows(run, rows.test.to(device), scoring, table, provenance, weights, progress=not options["quiet"])
    lines = [run.system.in_words(summary_of(frame, scoring)), run.system.remark(run.config), f"table: {table}"]
    print("", *(line for line in lines if line is not None), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
