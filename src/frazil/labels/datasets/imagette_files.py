"""What readers of published imagettes share: grey images of any size on disk or in a tar, to [0, 1]."""

from __future__ import annotations

import tarfile
import tomllib
import zlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from frazil.errors import FrazilError, LabelError, LabelNotFoundError
from frazil.pictures import MOST_BYTES, read_picture
from frazil.untrusted import read_bytes

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".npy")
_MOST_OF_A_SET = 2**37  # bytes: the published sets have some gigabytes


@lru_cache(maxsize=1)
def meanings() -> dict[str, Any]:
    """``frazil/data/imagettes.toml``."""
    with (files("frazil") / "data" / "imagettes.toml").open("rb") as file:
        return tomllib.load(file)


def read_array(name: str, content: bytes) -> np.ndarray:
    """An image or ``.npy`` array as it is, colours as grey; raises LabelError naming it."""
    return read_picture(name, content, grey=True)


def read_mask(name: str, content: bytes) -> np.ndarray:
    """A mask as it is: of a palette the numbers, of colours (line, pixel, channel); raises LabelError naming it."""
    return read_picture(name, content, codes=True)


def grey(name: str, values: np.ndarray) -> np.ndarray:
    """One plane in [0, 1], float32: 8 and 16 bits over their largest value, floats as they are.

    A black rim (rows and columns that are wholly 0) is cut off.

    Raises:
        LabelError: several planes, or floats outside [0, 1].
    """
    plane = values.squeeze()
    if plane.ndim != 2 or 0 in plane.shape:
        raise LabelError(f"{name} holds an array of shape {values.shape}; one grey image was expected.")
    if plane.dtype == bool:
        out = plane.astype(np.float32)
    elif plane.dtype.kind in "iu":
        top = 255.0 if plane.dtype.itemsize == 1 else 65535.0
        out = plane.astype(np.float32) / np.float32(top)
    else:
        out = plane.astype(np.float32)
        if np.nanmin(out, initial=0) < 0 or np.nanmax(out, initial=0) > 1:
            raise LabelError(f"{name} holds values from {np.nanmin(out):g} to {np.nanmax(out):g}; expected 0 to 1.")
    return _without_rim(out)


def _without_rim(image: np.ndarray) -> np.ndarray:
    """Wave-mode quick-looks come with a black rim."""
    dark = ~(image > 0)
    for axis in (0, 1):
        lines = dark.all(axis=1 - axis)
        if lines.any() and not lines.all():
            inside = np.flatnonzero(~lines)
            image = np.take(image, np.arange(inside[0], inside[-1] + 1), axis)
            dark = np.take(dark, np.arange(inside[0], inside[-1] + 1), axis)
    return image


def walk(root: Path) -> Iterator[tuple[str, bytes]]:
    """Name (from the root) and content of every image in a folder or tar, by name.

    Raises:
        LabelNotFoundError: nothing there. LabelError: a tar that cannot be read.
    """
    if root.is_dir():
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
                try:
                    yield path.relative_to(root).as_posix(), read_bytes(path, MOST_BYTES)
                except OSError as error:
                    raise LabelError(f"{path} cannot be read: {error.strerror or error}.") from error
        return
    if not root.is_file():
        raise LabelNotFoundError(f"No folder or tar of images at {root}.")
    try:
        with tarfile.open(root) as archive:
            members = list(_bounded(archive, root))
            for member in sorted(members, key=lambda m: m.name):
                content = archive.extractfile(member)
                assert content is not None
                yield member.name, content.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        if isinstance(error, FrazilError):
            raise
        raise LabelError(f"{root} cannot be read as a tar ({error}).") from error


def _bounded(archive: tarfile.TarFile, root: Path) -> Iterator[tarfile.TarInfo]:
    """The images of a tar; raise where one, or all together, would be larger than any set of imagettes."""
    whole = 0
    for member in archive:
        whole += member.size
        if member.size > MOST_BYTES or whole > _MOST_OF_A_SET:
            raise LabelError(f"{root} would unpack to {whole} bytes or more. Unpack it, and pass the folder of images.")
        path = Path(member.name)
        if member.isreg() and path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            yield member
