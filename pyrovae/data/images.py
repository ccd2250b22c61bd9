"""Reading a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyrovae.data.source import Rows, Source

if TYPE_CHECKING:
    from PIL import Image

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

# Pillow opens 16-bit grey images in one of these, depending on its version and the format.
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L")


def read_image_folder(folder: Path) -> Source:
    """Read all images of a folder, in the order of their paths.

    Args:
        folder: Holds the images, or one folder of images for every class; classes are numbered from 0 in the
            order of their names, which are kept. Transparency is dropped, and photos are turned as their camera noted.

    Raises:
        ValueError: If there is no image, one cannot be read, holds several, or lies deeper, or their sizes differ.
    """
    paths, labels, names = _find_images(folder)
    arrays: list[NDArray[np.float32]] = []
    for path in paths:
        array = _read_image(path)
        if arrays and array.shape[:2] != arrays[0].shape[:2]:
            raise ValueError(
                f"{folder}: all images must have one size, but {paths[0]} is {_size(arrays[0])} and {path} "
                f"is {_size(array)} pixels (width x height); resize or crop them to one size."
            )
        arrays.append(array)
    # One colour image makes all of them colour; grey ones then repeat their channel.
    channels = max(array.shape[2] for array in arrays)
    values = np.stack([np.broadcast_to(array, (*array.shape[:2], channels)) for array in arrays])
    rows = torch.from_numpy(np.moveaxis(values, -1, 1).copy())
    return Source(folder.resolve().name, "pixels scaled to [0, 1]", Rows(rows, labels), label_names=names, divided=True)


def _find_images(folder: Path) -> tuple[list[Path], torch.Tensor | None, tuple[str, ...]]:
    """The images, and the class of each with the names of the classes where there is a folder for every class."""
    direct = _images_in(folder)
    folders = _folders_in(folder)
    classes = [images for child in folders if (images := _images_in(child))]
    if direct and classes:
        raise ValueError(
            f"{folder} holds images both directly ({direct[0].name}) and in folders "
            f"({classes[0][0].parent.name}); put them all directly into it, or all into "
            "one folder for every class."
        )
    if deeper := next((path for child in folders for below in _folders_in(child) for path in _all_in(below)), None):
        raise ValueError(
            f"{folder} holds images in folders inside of folders ({deeper.relative_to(folder)}), which are not read; "
            "put all images directly into it, or into one folder for every class."
        )
    if not direct and not classes:
        raise ValueError(
            f"{folder} holds no image; expected files ending in {', '.join(ENDINGS)}, directly or in one "
            "folder for every class."
        )
    if direct:
        return direct, None, ()
    labels = [label for label, images in enumerate(classes) for _ in images]
    names = tuple(images[0].parent.name for images in classes)
    for name in names:
        if any(0xD800 <= ord(letter) < 0xE000 for letter in name):
            raise ValueError(f"the name {name!r} of a folder is not UTF-8, so that no report can give it; rename it.")
    return [path for images in classes for path in images], torch.tensor(labels), names


def _folders_in(folder: Path) -> list[Path]:
    return [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]


def _all_in(folder: Path) -> Iterator[Path]:
    """The images in a folder, and in those inside of it."""
    yield from _images_in(folder)
    for child in _folders_in(folder):
        yield from _all_in(child)


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def _read_image(path: Path) -> NDArray[np.float32]:
    """Return one image as (height, width, 1 or 3) in [0, 1]."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            # Cameras add a small picture to a photo, in the format called MPO.
            if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
                raise ValueError(
                    f"it holds {frames} pictures, of which one would be read; save each as a file of its own"
                )
            array = _pixels(ImageOps.exif_transpose(image))
    except Exception as error:  # a damaged file fails in any way, depending on its format
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image ({reason}); repair or remove it.") from error
    return np.atleast_3d(array)


def _pixels(image: Image.Image) -> NDArray[np.float32]:
    if image.mode in SIXTEEN_BIT_MODES:
        deep = np.asarray(image, dtype=np.float32)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("it has more than 16 bits a pixel, so its range is unknown; save it with 8 or 16")
        return deep / np.float32(65535)
    if image.mode == "F":
        raise ValueError("its pixels are floats, so their range is unknown; save it with 8 or 16 bits a pixel")
    grey = image.mode in ("1", "L", "LA", "La")
    # By way of RGBA, since Pillow warns when a palette's transparency is dropped at once.
    plain = image.convert("L") if grey else image.convert("RGBA").convert("RGB")
    return np.asarray(plain, dtype=np.float32) / np.float32(255)


def _size(array: NDArray[Any]) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
