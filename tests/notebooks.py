"""Running notebooks in a kernel that lets nothing pass: ``python tests/notebooks.py tutorials/*.ipynb`` stores outputs.

Warnings are errors in the kernel, and so is every look at the network. Settings and histories of the user's own Jupyter
have no part in it.
"""

import argparse
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
FAST = "PYROVAE_TUTORIAL_FAST"

# Runs in the kernel before the first cell. Warnings are errors inside cells only: between them the kernel is at work,
# and some versions of it warn of their own.
_START = """
import sys
import warnings


def _begin(*_):
    global _filters
    _filters = warnings.catch_warnings()
    _filters.__enter__()
    warnings.simplefilter("error")


def _end(*_):
    _filters.__exit__(None, None, None)


def _refuse_the_network(event, arguments):
    address = arguments[1] if event == "socket.connect" else None
    outside = isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1")
    if outside or event == "socket.getaddrinfo":
        raise OSError(f"a tutorial looks at the network: {event} {arguments}")


get_ipython().events.register("pre_run_cell", _begin)
get_ipython().events.register("post_run_cell", _end)
sys.addaudithook(_refuse_the_network)
"""


def run(notebook: NotebookNode, folder: Path, *, fast: bool, seconds: int) -> NotebookNode:
    """The notebook with the outputs of a run in ``folder``.

    Raises:
        CellExecutionError: a cell raised an error, or warned.
        CellTimeoutError: one cell took longer than ``seconds``.
    """
    done = nbformat.from_dict(notebook)
    with tempfile.TemporaryDirectory() as own:
        startup = Path(own) / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "start.py").write_text(_START)
        settings = {
            "IPYTHONDIR": str(Path(own) / "ipython"),
            "JUPYTER_CONFIG_DIR": str(Path(own) / "config"),
            "JUPYTER_DATA_DIR": str(Path(own) / "data"),
            "JUPYTER_RUNTIME_DIR": str(Path(own) / "runtime"),
            "PYTHONPATH": str(ROOT),
            FAST: "1" if fast else "0",
        }
        before = dict(os.environ)
        os.environ.update(settings)
        try:
            client = NotebookClient(
                done,
                timeout=seconds,
                kernel_name="python3",
                resources={"metadata": {"path": str(folder)}},
                # Without a line that local ports are not encrypted, and without colours in errors.
                extra_arguments=["--log-level=ERROR", "--ZMQInteractiveShell.colors=nocolor"],
                record_timing=False,
                coalesce_streams=True,
            )
            client.execute()
        finally:
            os.environ.clear()
            os.environ.update(before)
    return tidy(done)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Without what differs between machines and says nothing: versions, times, and metadata of cells and outputs."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = NotebookNode()
    return notebook


def read(path: Path) -> NotebookNode:
    """The notebook of a file."""
    return nbformat.read(path, as_version=4)


def main() -> None:
    """Run the named notebooks in full, one after the other, and write their outputs into them."""
    parser = argparse.ArgumentParser(description="Run notebooks in full and store their outputs in them.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        with tempfile.TemporaryDirectory() as folder:
            done = run(read(path), Path(folder), fast=False, seconds=300)
        nbformat.validate(done)
        nbformat.write(done, path)
        print(f"{path}: stored")


if __name__ == "__main__":
    main()
