"""How long ``import pyrovae`` takes beside ``import torch, pyro``, which it needs: fresh processes, in turns.

    python tests/benchmarks/imports.py [--turns 10] [--output imports.json]

The ratio is the median over turns, with its quartiles. ``tests/test_import.py`` holds what must not be loaded.
"""

import argparse
import subprocess
import sys

from turns import circumstances, ratios, seconds_of, spread, write

IMPORTS = {"pyrovae": "import pyrovae", "torch and pyro": "import torch, pyro"}


def import_once(statement: str) -> None:
    subprocess.run([sys.executable, "-c", statement], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--output", default=None, help="JSON file")
    options = parser.parse_args()

    for statement in IMPORTS.values():
        import_once(statement)
    turns = []
    for turn in range(options.turns):
        order = list(IMPORTS) if turn % 2 else list(reversed(IMPORTS))
        turns.append({name: seconds_of(lambda name=name: import_once(IMPORTS[name])) for name in order})
    result = circumstances(threads=1) | {name: spread([turn[name] for turn in turns]) for name in IMPORTS}
    result["ratio"] = ratios(turns)["pyrovae"]["torch and pyro"]
    for name in (*IMPORTS, "ratio"):
        print("{:<16}{median:6.2f} [{quartile_1:.2f}, {quartile_3:.2f}]".format(name, **result[name]))
    write(result, options.output)


if __name__ == "__main__":
    main()
