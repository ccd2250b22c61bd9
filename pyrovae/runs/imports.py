"""Finding what the user brought, in modules and in files."""

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from pyrovae.objectives import Objective

_PACKAGE = Path(__file__).resolve().parents[1]
# What a class of each kind is, and where its base is.
_KINDS: dict[type, tuple[str, str]] = {
    nn.Module: ("a part", "torch.nn.Module"),
    Objective: ("an objective", "pyrovae.objectives.Objective"),
}


def find_class(path: str, base: type) -> type[Any]:
    """The class of a part or an objective by its path: ``module.Class``, ``module:Class`` or ``file.py:Class``.

    Args:
        path: where it is.
        base: what it derives from, ``nn.Module`` or ``Objective``.

    Raises:
        ValueError: there is no such thing, it is no ``base``, or its module cannot be imported.
    """
    place, _, name = path.rpartition(":" if ":" in path else ".")
    if not place or not name:
        raise ValueError(f"{path!r} is no import path; expected module.Class or file.py:Class")
    found = find(place, name)
    if not (isinstance(found, type) and issubclass(found, base)):
        kind, origin = _KINDS[base]
        what = f"class that is no {origin.split('.', 1)[1]}" if isinstance(found, type) else type(found).__name__
        raise ValueError(
            f"{name} in {place} is a {what}; {kind} is a class: derive it from {origin}, and call super().__init__() "
            "first in its __init__"
        )
    lacking = sorted(getattr(found, "__abstractmethods__", ()))
    if lacking:
        raise ValueError(f"{name} in {place} has no method {', '.join(lacking)}: define it, as every objective does")
    return found


def find(place: str, name: str, *, again: bool = False) -> Any:
    """What has this name in a module, or in a file.

    Args:
        place: name of the module, or path of the file.
        name: of what is in it.
        again: run a file even if it was run before, so that networks made outside of functions are new ones.

    Raises:
        ValueError: there is no such module, file or name.
    """
    module = import_place(place, again=again)
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        near = difflib.get_close_matches(name, own, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(own)}" if own else ""
        raise ValueError(f"{place} has no {name!r}{hint}")
    return getattr(module, name)


def import_place(place: str, *, again: bool = False) -> ModuleType:
    """The module of a name or of a file; a file that has changed is run again.

    Raises:
        ValueError: there is no such module or file.
    """
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
                raise ValueError(
                    f"there is no module {error.name!r}, neither in the current folder nor installed; give a file as "
                    "file.py:name"
                ) from error
            raise
    path = Path(place).resolve()
    if not path.is_file():
        raise ValueError(
            f"there is no file {place!r} in {Path.cwd()}; import paths count from the current folder: go to the folder "
            "that holds it (for a run, that in which it was fitted)"
        )
    # A name of its own, so that a file called random.py takes no other module's place.
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()
    stem = re.sub(r"\W", "_", path.stem)
    name = f"{stem}_{digest[:12]}"
    if name in sys.modules and not again:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its own classes and functions are looked up by the module's name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def users_errors(what: str) -> Iterator[None]:
    """Errors of code that the user brought, as one line that says where they came from."""
    try:
        yield
    except ValueError as error:
        # Parts name themselves; once is enough.
        raise ValueError(f"{what}: {str(error).removeprefix(f'{what.split()[-1]}: ')}") from error
    except Exception as error:
        raise ValueError(f"{what}: {described_error(error)}") from error


def described_error(error: Exception) -> str:
    """The class of an error, what it says in its first line, and the last line of the user's own code before it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    said = next(iter(str(error).strip().splitlines()), "").rstrip(":")
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}: {said}"


def _is_users(file: str) -> bool:
    """Whether a file is no part of Python, of this package or of an installed one."""
    path = Path(file)
    return path.is_file() and not ({"site-packages", "dist-packages"} & set(path.parts) or _PACKAGE in path.parents)
