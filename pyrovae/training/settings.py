"""What makes a fit what it is, as text, to be compared with what it began with."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from pyrovae.checkpoints import fingerprint
from pyrovae.data import AnyRows
from pyrovae.objectives import Objective, Schedule


def settings_of(
    train: Sequence[AnyRows], validation: Sequence[AnyRows | None] | None, **arguments: Any
) -> dict[str, str]:
    """The arguments of a fit as text, by name; of rows a fingerprint.

    Args:
        train: what a batch is taken of, each ``(rows, ...)``.
        validation: the like, where there is any.
        **arguments: the others, by name.

    Example:
        >>> import torch
        >>> settings_of([torch.zeros(3, 2)], None, lr=0.1)
        {'train': 'torch.float32 (3, 2) a3c1ca20', 'validation': 'None', 'lr': '0.1'}
    """
    return {
        "train": _of_rows(train),
        "validation": _of_rows(validation or ()),
        **{name: _as_text(value) for name, value in arguments.items()},
    }


def _of_rows(given: Sequence[AnyRows | None]) -> str:
    return ", ".join(fingerprint(rows) for rows in given if rows is not None) or "None"


def _as_text(value: Any) -> str:
    if isinstance(value, Objective):
        options = [f"{name}={_as_text(option)}" for name, option in sorted(vars(value).items())]
        return f"{value.name}({', '.join(options)})"
    if isinstance(value, np.generic | np.ndarray):
        return _as_text(value.tolist())
    if value is None or isinstance(value, bool | int | float | str | Schedule):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_text, value))}]"
    if isinstance(value, partial):
        given = [_as_text(each) for each in value.args]
        given += [f"{name}={_as_text(each)}" for name, each in sorted(value.keywords.items())]
        return f"{_as_text(value.func)}({', '.join(given)})"
    text = " ".join(repr(value).split())
    if type(value).__module__.startswith("pyrovae.") and " at 0x" not in text:
        return text
    # Of anything else the text may hold an address in memory, or numbers that change.
    return getattr(value, "__name__", type(value).__name__)
