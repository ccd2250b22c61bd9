"""How Sphinx builds the API pages from the docstrings: ``python -m sphinx -W docs/api docs/api/built``."""

import inspect
import sys
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import pyrovae

project = "pyrovae"
author = "The pyrovae developers"
release = version = pyrovae.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["built"]
html_theme = "alabaster"
html_theme_options = {"description": pyrovae.__doc__, "fixed_sidebar": True, "page_width": "70rem"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}

add_module_names = False
autodoc_default_options = {"members": True}
autodoc_member_order = "groupwise"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def of_top_level(package: str, name: str) -> bool:
    """Whether a name of a sub-package is one of ``pyrovae`` too, and described there."""
    value = getattr(sys.modules[package], name)
    return package != "pyrovae" and name in pyrovae.__all__ and getattr(pyrovae, name) is value


def sentence_of(package: str, name: str) -> list[str]:
    """What stands below the assignment of a constant or a type alias, in the module that has it."""
    for module in [m for m in sys.modules if m.startswith(f"{package}.")]:
        documented = ModuleAnalyzer.for_module(module).find_attr_docs()
        if ("", name) in documented:
            return documented["", name]
    raise ValueError(f"{package}.{name} has no docstring: add one below its assignment")


def skip_member(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what is described with ``pyrovae``, and what scikit-learn adds to its classifiers."""
    page = app.env.docname
    if what == "module":
        return True if page != "pyrovae" and of_top_level(f"pyrovae.{page}", name) else None
    return True if getattr(value, "__module__", "").startswith("sklearn.") else None


def add_to_package(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Add links to what is described with ``pyrovae``; and constants, whose docstrings autodoc does not find."""
    if what != "module":
        return
    links = [f":py:obj:`pyrovae.{member}`" for member in value.__all__ if of_top_level(name, member)]
    if links:
        lines += [f"Described with :doc:`pyrovae`: {', '.join(links)}.", ""]
    for member in value.__all__:
        if not any(kind(getattr(value, member)) for kind in (inspect.isclass, inspect.isroutine, inspect.ismodule)):
            lines += [f".. py:data:: {member}", "", *(f"   {line}" for line in sentence_of(name, member))]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", add_to_package)
