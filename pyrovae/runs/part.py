"""A part of a configuration: a class by its import path, with the arguments that the user gave."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from pyrovae.runs.imports import find_class, users_errors

PARTS = ("prior", "likelihood", "posterior", "encoder", "decoder")
"""What a VAE is made of, in a configuration: each has ``class_path`` and ``init_args``."""


def class_name(path: str) -> str:
    """The class's own name at the end of an import path."""
    return re.split(r"[.:]", path)[-1]


class Part:
    """A part of the configuration, found by its import path.

    Args:
        config: of the run.
        slot: one of ``PARTS``.

    Raises:
        ValueError: it cannot be found.
    """

    def __init__(self, config: Mapping[str, Any], slot: str) -> None:
        path = config[slot]["class_path"]
        self.name = f"--{slot} {class_name(path)}"
        self.arguments = config[slot].get("init_args", {})
        with users_errors(self.name):
            self.part = find_class(path, nn.Module)

    @property
    def is_built_in(self) -> bool:
        """Whether it is of this package, and no class of the user's own."""
        return self.part.__module__.startswith("pyrovae.")

    def takes(self, argument: str) -> bool:
        """Whether the part has an argument of this name."""
        return argument in inspect.signature(self.part).parameters

    def check_kinds(self, known: Mapping[str, Any]) -> None:
        """Refuse a part that needs the kinds of the columns where the data do not say them."""
        kinds = inspect.signature(self.part).parameters.get("column_kinds")
        if kinds is not None and kinds.default is inspect.Parameter.empty and "column_kinds" not in known:
            raise ValueError(
                f"{self.name} needs to know of what kind each column is: give --columns, by name as in "
                "--columns '{age: count, smoker: binary}' or in their order; those not named are real, and "
                "one word stands for all columns, as in --columns real or --columns count"
            )

    def build(self, known: Mapping[str, Any]) -> nn.Module:
        """The module, with the user's arguments and those of the known ones that it names."""
        with users_errors(self.name):
            return self.part(**{**self.arguments, **accepted(self.part, known)})

    def size(self, method: str, known: Mapping[str, Any], otherwise: Any) -> Any:
        """What the part says that its network has to give."""
        if not hasattr(self.part, method):
            return otherwise
        function = getattr(self.part, method)
        with users_errors(self.name):
            return function(**accepted(function, {**self.arguments, **known}))


def accepted(function: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the known arguments that a function names."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in known.items() if name in names}
