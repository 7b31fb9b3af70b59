"""What readers of published imagettes share: grey images of any size on disk or in a tar, to [0, 1]."""

from __future__ import annotations

import io
import tarfile
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from frazil.errors import LabelError, LabelNotFoundError

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".npy")


@lru_cache(maxsize=1)
def meanings() -> dict[str, Any]:
    """``frazil/data/imagettes.toml``."""
    with (files("frazil") / "data" / "imagettes.toml").open("rb") as file:
        return tomllib.load(file)


def read_array(name: str, content: bytes) -> np.ndarray:
    """An image or ``.npy`` array as it is; raises LabelError naming it."""
    from PIL import Image, UnidentifiedImageError

    try:
        if name.endswith(".npy"):
            return np.load(io.BytesIO(content), allow_pickle=False)
        with Image.open(io.BytesIO(content)) as opened:
            return np.asarray(opened.convert("L") if opened.mode in ("P", "RGB", "RGBA", "LA", "CMYK") else opened)
    except (OSError, ValueError, UnidentifiedImageError, SyntaxError) as error:
        raise LabelError(f"{name} cannot be read as an image ({str(error).splitlines()[0]}).") from error


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
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path.relative_to(root).as_posix(), path.read_bytes()
        return
    if not root.is_file():
        raise LabelNotFoundError(f"No folder or tar of images at {root}.")
    try:
        with tarfile.open(root) as archive:
            members = sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name)
            for member in members:
                if Path(member.name).suffix.lower() in SUFFIXES:
                    content = archive.extractfile(member)
                    assert content is not None
                    yield member.name, content.read()
    except tarfile.TarError as error:
        raise LabelError(f"{root} cannot be read as a tar ({error}).") from error
