"""Arrays in files."""

import numpy as np
import numpy.lib.recfunctions

RANDOM = np.random.default_rng(0)


def save(folder, array, name="array.npy"):
    np.save(folder / name, array)
    return folder / name


def savez(folder, **arrays):
    np.savez(folder / "arrays.npz", **arrays)
    return folder / "arrays.npz"


def sorted_rows(*parts):
    return sorted(tuple(row.flatten().tolist()) for part in parts for row in part)


def all_values(splits):
    return sorted_rows(splits.train, splits.validation, splits.test)
