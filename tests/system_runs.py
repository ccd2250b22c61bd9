"""Options of short fits of other systems, and a table."""

import json

import numpy as np

SMALL = ["--encoder.hidden_dims", "[30]", "--decoder.hidden_dims", "[30]", "--no-report", "--quiet"]


FAST = ["--epochs", "2", *SMALL]


SCORED = [*FAST, "--num-samples", "20"]


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def write_table(path, header="label,age,group,a,b,c", rows=80):
    """x = (a, b, c) around what age and group say; labels 0 and 1."""
    generator = np.random.default_rng(0)
    age, group = generator.normal(size=rows), generator.integers(0, 3, rows)
    x = np.stack([2 * age, -age, group], 1) + 0.3 * generator.normal(size=(rows, 3))
    lines = [f"{row % 2},{age[row]},{'uvw'[group[row]]},{','.join(map(str, x[row]))}".split(",") for row in range(rows)]
    wanted = [["label", "age", "group", "a", "b", "c"].index(name) for name in header.split(",")]
    path.write_text("\n".join([header, *(",".join(line[k] for k in wanted) for line in lines)]) + "\n")
