"""How fast the package trains and scores, beside hand-written PyTorch, Pyro's idiom, NumPyro and pythae, in turns.

    python tests/benchmarks/speed.py [--cases mlp-128 iwae ...] [--turns 7] [--seconds 0.4] [--threads 2] \
        [--after 0] [--output speed.json]

Every side is a process of its own that works a short slice at a time, one side after the other, again and again; a
ratio is the median over turns of the ratios within a turn, with its quartiles. The package's steps are counted inside
one call of ``fit_svi`` or ``M2.fit``, from batch to batch, so that its preparations are left out and its work between
epochs is not; ``first-step`` has the preparations, in fresh processes. Before the clock runs, every side is checked to
compute the same as the hand-written one. "Of processors" is the time of all threads, which other work on the machine
disturbs less where there is one. Sides that are not installed are left out. Rows are MNIST's, thresholded,
where $PYROVAE_DATA_ROOT is set, else bits that are one where MNIST's are, about.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from turns import Side, aside, circumstances, first_steps, installed, ratios, spread, take_turns, write

BY_HAND = "by hand"
# As many as fill batches of 32, of 128 and of 256.
NUM_ROWS = 59_904
PEERS = {
    "Pyro": ("pyro-ppl", "pyro_idiom"),
    "NumPyro": ("numpyro", "numpyro_idiom"),
    "pythae": ("pythae", "pythae_idiom"),
}
KINDS = {
    "mlp-32": ("mlp", 32),
    "mlp-128": ("mlp", 128),
    "mlp-256": ("mlp", 256),
    "convolutional": ("convolutional", 128),
    "iwae": ("iwae", 128),
}
CASES = {
    "mlp-32": "a step of the VAE 784-400-50-400-784, softplus, 32 rows",
    "mlp-128": "the same, 128 rows",
    "mlp-256": "the same, 256 rows",
    "convolutional": "a step of the VAE of two convolutions each way, 128 rows",
    "iwae": "a step of the MLP by the bound of 50 draws, 128 rows",
    "bf16-mixed": "a step of mlp-128 in either precision",
    "streaming": "a step of mlp-128, from rows in memory and from rows that are read as they are needed",
    "m2": "a step of M2, 10 classes summed over, 96 rows with labels and 128 without",
    "scoring": "a draw of a row: log weights of 64 rows at a time, 1,000 draws each; pythae 4 rows at a time",
    "ais": "log p(x) of 64 rows, 16 chains, 2,717 gradients each",
    "first-step": "the first step of mlp-128 in a fresh process",
}


# By itself a run records after a hundred steps, and compiles then if it is long.
STEPS_TO_RECORD = {"auto": 110}


def sides_of(case: str, data: str, known: dict[str, list[str]], peers: list[str]) -> list[Side]:
    """What takes turns in a case."""
    if case in (*KINDS, "first-step"):
        kind, batch_size = KINDS.get(case, KINDS["mlp-128"])
        options: dict[str, Any] = {"data": data, "batch_size": batch_size}
        package = [
            Side(
                f"pyrovae, {step}",
                "sides.package:train",
                {**options, "kind": kind, "step": step},
                STEPS_TO_RECORD.get(step, 1),
            )
            for step in known["fit_svi"]
        ]
        others = [Side(peer, f"sides.{PEERS[peer][1]}:train", options) for peer in peers if kind == "mlp"]
        return [*package, Side(BY_HAND, "sides.plain:train", {**options, "kind": kind}), *others]
    if case == "bf16-mixed":
        kind, batch_size = KINDS["mlp-128"]
        options = {"data": data, "batch_size": batch_size, "kind": kind}
        package = [
            Side(
                f"pyrovae, {step}, {precision}",
                "sides.package:train",
                {**options, "step": step, "precision": precision},
            )
            for step in ("plain", "recorded")
            for precision in ("32", "bf16-mixed")
        ]
        return [*package, Side(BY_HAND, "sides.plain:train", options)]
    if case == "streaming":
        kind, batch_size = KINDS["mlp-128"]
        options = {"data": data, "batch_size": batch_size, "kind": kind}
        package = [
            Side(
                f"pyrovae, {where}",
                "sides.package:train",
                {**options, "step": "auto", "streamed": streamed},
                STEPS_TO_RECORD["auto"],
            )
            for where, streamed in (("in memory", False), ("streamed", True))
        ]
        return [*package, Side(BY_HAND, "sides.plain:train", options)]
    if case == "m2":
        options = {"data": data, "batch_size": 128}
        package = [
            Side(f"pyrovae, {step}", "sides.package:train_m2", {**options, "step": step}, STEPS_TO_RECORD.get(step, 1))
            for step in known["M2"]
        ]
        return [*package, Side(BY_HAND, "sides.plain:train_m2", options)]
    if case == "ais":
        return [
            Side("pyrovae, ais", "sides.package:anneal", {"data": data}),
            Side(BY_HAND, "sides.plain_annealing:anneal", {"data": data}),
        ]
    package = [
        Side(f"pyrovae, {how}", "sides.package:score", {"data": data, "how": how, "num_rows": 64, "draws": 1000})
        for how in ("log_weights", "compare_bounds")
    ]
    limit = Side("matrix multiplications", "sides.plain:multiply")
    nll = Side("pythae, get_nll", "sides.pythae_idiom:score", {"data": data, "num_rows": 4, "draws": 1000})
    return [*package, limit, *([nll] if "pythae" in peers else [])]


def check(case: str, known: dict[str, list[str]], peers: list[str]) -> tuple[str, dict[str, Any]]:
    """What finds out whether the sides of a case compute the same."""
    if case in (*KINDS, "first-step", "bf16-mixed", "streaming"):
        kind = KINDS.get(case, KINDS["mlp-128"])[0]
        return "sides.checks:training", {
            "kind": kind,
            "steps": known["fit_svi"],
            "peers": peers if kind == "mlp" and case not in ("bf16-mixed", "streaming") else [],
        }
    if case == "m2":
        return "sides.checks:m2", {"steps": known["M2"]}
    if case == "scoring":
        return "sides.checks:scoring", {"peers": peers}
    return "sides.checks:annealing", {}


def text(numbers: dict[str, float], digits: int = 2) -> str:
    """A median with its quartiles."""
    return "{median:.{d}f} [{quartile_1:.{d}f}, {quartile_3:.{d}f}]".format(**numbers, d=digits)


def compare(case: str, sides: list[Side], options: argparse.Namespace) -> dict[str, Any]:
    """The turns of a case, as a table on the terminal and for the file."""
    settings = {"threads": options.threads, "turns": options.turns}
    if case == "first-step":
        table = first_steps(sides, threads=options.threads, turns=min(options.turns, 3))
        print(f"  {'seconds':<26}{'from the start of the process':>32}{'from the call':>24}")
        found = {}
        for side in (side.name for side in sides):
            whole, call = (spread([turn[side][part] for turn in table]) for part in (0, 1))
            found[side] = {"seconds_of_process": whole, "seconds_of_call": call}
            print(f"  {side:<26}{text(whole):>32}{text(call):>24}")
        return found
    sides = [replace(side, prepared_after=max(side.prepared_after, options.after)) for side in sides]
    works = take_turns(sides, seconds=options.seconds, warm_up=3 * options.seconds, **settings)
    turns = [{side: work.seconds / work.done for side, work in turn.items()} for turn in works]
    of_each_other = ratios(turns)
    of_processors = ratios(
        [{side: work.processor_seconds / work.done for side, work in turn.items()} for turn in works]
    )
    others = [side.name for side in sides if not side.name.startswith("pyrovae")]
    unit, per_second = ("microseconds", 1e6) if case == "scoring" else ("milliseconds", 1e3)
    print(f"  {unit:<26}{'':>24}{'of processors':>24}" + "".join(f"{'/ ' + other:>26}" for other in others))
    found = {}
    for side in (side.name for side in sides):
        times = spread([per_second * turn[side] for turn in turns])
        processors = spread([per_second * turn[side].processor_seconds / turn[side].done for turn in works])
        cells = [text(of_each_other[side][other]) if other != side else "1" for other in others]
        print(f"  {side:<26}{text(times):>24}{text(processors):>24}" + "".join(f"{cell:>26}" for cell in cells))
        found[side] = {unit: times, "ratio_to": of_each_other[side]}
        found[side] |= {f"{unit}_of_processors": processors, "ratio_of_processors_to": of_processors[side]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a slice, at least")
    parser.add_argument(
        "--after", type=int, default=0, help="steps before the clock runs: a fit's later ones are timed"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", default=None, help="JSON file")
    options = parser.parse_args()

    peers = [name for name, (distribution, _) in PEERS.items() if installed(distribution)]
    result = circumstances(options.threads) | {"left_out": sorted(set(PEERS) - set(peers)), "cases": {}}
    print(f"{result['processor']}, {options.threads} threads; {result['versions']}")
    print(f"left out, as not installed: {', '.join(result['left_out']) or 'none'}")
    checked: list[tuple[str, dict[str, Any]]] = []
    checks: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder, aside(options.threads) as call:
        data = str(Path(folder) / "rows.npy")
        result["rows"] = call("sides.data:store", path=data, num_rows=NUM_ROWS)
        known = call("sides.package:known_steps")
        for case in options.cases:
            print(f"\n{case}: {CASES[case]}", flush=True)
            how, arguments = check(case, known, peers)
            if (how, arguments) not in checked:
                checked.append((how, arguments))
                checks.append(call(how, data=data, **arguments))
            said = checks[checked.index((how, arguments))]
            for line in said:
                print(f"  same: {line}", flush=True)
            sides = compare(case, sides_of(case, data, known, peers), options)
            result["cases"][case] = {"what": CASES[case], "checks": said, "sides": sides}
    write(result, options.output)


if __name__ == "__main__":
    main()
