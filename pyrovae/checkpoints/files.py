"""Files that are there whole or not at all, whatever cuts off the process that writes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write a file at, which then takes its name in one step; an error leaves what was there.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_whole(path: Path, contents: bytes | memoryview) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    with whole_file(path) as part:
        part.write_bytes(contents)


def _sync_folder(folder: Path) -> None:
    """See that the names in it are on the disk; Windows writes them by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
