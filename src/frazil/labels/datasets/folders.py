"""Patches that are image files already: in class folders, or listed in a manifest.

PNG, JPEG, TIFF and NumPy arrays; arrays that need unpickling are refused, since loading them can run code.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, ClassScheme
from frazil.errors import LabelError, LabelNotFoundError
from frazil.gdal_files import open_raster
from frazil.labels.chart import find_scheme
from frazil.labels.classes import meaning_of
from frazil.labels.datasets import table
from frazil.labels.patch_set import gather, make_patches
from frazil.labels.patches import channel_names
from frazil.pictures import read_picture
from frazil.scene.scaling import CHANNELS

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_BATCH = 1024  # files in memory at a time
_NUMBERS = ("polygon", "line", "pixel", "longitude", "latitude")
_STAMP = re.compile(r"(\d{8}T\d{6})", re.IGNORECASE)
_PRODUCT = re.compile(r"S1[A-D]_[A-Z0-9]{2}_[A-Z]{3}[FHM_]_\w{4}_\d{8}T\d{6}_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}")


@dataclass(frozen=True)
class Item:
    """One image file and what is known of it."""

    path: Path
    label: str | None
    scene: str
    part: str = ""
    time: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


def read_folders(
    folder: str | os.PathLike[str],
    *,
    manifest: str | os.PathLike[str] | None = None,
    channels: Sequence[str] = ("hh", "hv", "incidence_angle"),
    scheme: ClassScheme | str = FIVE_CLASSES,
    classes: Mapping[str, str] | None = None,
    decode: Mapping[str, tuple[float, float]] | None = None,
    path: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> xr.Dataset:
    """A patch set from image files.

    Args:
        folder: class folders (``young_ice/0001.png``), or whatever the manifest lists.
        manifest: CSV with the columns ``path`` (from the folder) and ``label`` (name or code of a class, SIGRID-3
            code, empty for none); optional: ``scene``, ``part``, ``time`` (ISO 8601), ``polygon``, ``line``,
            ``pixel``, ``longitude``, ``latitude``. Other columns are passed over.
        channels: of the images, in order.
        scheme: the classes.
        classes: what a label or folder name means: name -> class of the scheme, or ``""`` for no label. If any is
            given, another label is an error.
        decode: channel -> values that the ends of whole numbers stand for: 0 and 255 of 8 bits, 0 and 65535 of 16. By
            default those of 8 bits are those of the thesis (σ0 over the range of `frazil.scene.scaling.CHANNELS`, the
            angle in whole degrees); 16 bits need it. Floats and signed numbers hold dB and degrees as they are.
        path: write to this ``.zarr`` while reading; without it the set is in memory.
        overwrite: replace what is there.

    Returns:
        The patch set. ``scene`` is what the manifest says, else the product name or time in a file's name, else
        ``"unknown"`` — and a set of one unknown scene cannot be split by scene. Images with a value that is not
        finite are left out and counted (``attrs["counts"]``).

    Raises:
        LabelNotFoundError: no folder, no manifest, a listed file that is missing.
        LabelError: names that mean no class, images that cannot be read or differ in size, no image at all.
    """
    root = Path(folder)
    if not root.is_dir():
        raise LabelNotFoundError(f"No folder at {root}. Pass the folder of the patches.")
    items = list(_listed(root, Path(manifest)) if manifest is not None else _in_class_folders(root))
    return read_items(
        items,
        str(root),
        channels=channels,
        scheme=scheme,
        classes=classes,
        decode=decode,
        path=path,
        overwrite=overwrite,
    )


def read_items(
    items: list[Item],
    source: str,
    *,
    channels: Sequence[str],
    scheme: ClassScheme | str,
    classes: Mapping[str, str] | None,
    decode: Mapping[str, tuple[float, float]] | None,
    path: str | os.PathLike[str] | None,
    overwrite: bool,
) -> xr.Dataset:
    """A patch set of files that are known one by one; see `read_folders`."""
    scheme, names = find_scheme(scheme), channel_names(channels)
    if not items:
        raise LabelError(f"No image ({', '.join(SUFFIXES)}) in class folders of {source}. Pass a manifest.")
    meaning = _meanings({i.label for i in items if i.label is not None}, scheme, classes or {}, source)
    skipped = {"left_out_missing": 0, "left_out_land": 0, "patches": 0}

    def parts() -> Iterator[xr.Dataset]:
        shape: tuple[int, ...] | None = None
        for first in range(0, len(items), _BATCH):
            kept: list[Item] = []
            images: list[np.ndarray] = []
            for item in items[first : first + _BATCH]:
                if item.label is not None and meaning[item.label] == CLASS_LAND:
                    skipped["left_out_land"] += 1
                    continue
                image = read_image(item.path, names, decode or {})
                shape = shape or image.shape
                if image.shape != shape:
                    raise LabelError(
                        f"{item.path} is {image.shape[1]} × {image.shape[2]} pixels, others are {shape[1]} × "
                        f"{shape[2]}. A patch set holds one size."
                    )
                if not np.isfinite(image).all():
                    skipped["left_out_missing"] += 1
                    continue
                kept.append(item)
                images.append(image)
            if kept:
                skipped["patches"] += len(kept)
                yield _batch(kept, np.stack(images), meaning, names, scheme)
        if not skipped["patches"]:
            raise LabelError(f"Every image of {source} holds missing values or land. Nothing is left.")

    return gather(parts(), path, overwrite=overwrite, labels=[source], counts=lambda: dict(skipped))


def read_image(path: Path, channels: tuple[str, ...], decode: Mapping[str, Sequence[float]]) -> np.ndarray:
    """An image file as (channel, height, width) in the units of its channels, float32.

    Args:
        path: of the file.
        channels: names, in order.
        decode: see `read_folders`.

    Raises:
        LabelNotFoundError, LabelError: no such file; not an image; another number of channels; a pickled array; whole
            numbers of unknown range, or a range for numbers that are dB and degrees already.
    """
    if not path.is_file():
        raise LabelNotFoundError(f"No image at {path}. Correct the manifest.")
    values = _array(path)
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3:
        raise LabelError(f"{path} has {values.ndim} dimensions; expected height × width × {len(channels)}.")
    if values.shape[2] == len(channels):
        values = np.moveaxis(values, 2, 0)
    elif values.shape[0] != len(channels):
        raise LabelError(
            f"{path} has the shape {values.shape}, which does not hold {len(channels)} channels {list(channels)}. "
            "Name its channels."
        )
    if values.dtype.kind != "u":
        given = [name for name in channels if name in decode]
        if given:
            raise LabelError(
                f"{path} holds {values.dtype} values, which are taken as they are, in dB and degrees. Leave the range "
                f"of {given[0]} out (decode, --range), or save it as uint8 or uint16."
            )
        return values.astype(np.float32)
    known = {**table()["eight_bit"], **decode} if values.dtype == np.uint8 else decode
    top = int(np.iinfo(values.dtype).max)
    out = np.empty(values.shape, np.float32)
    for i, name in enumerate(channels):
        if name not in known:
            raise LabelError(
                f"{path} is {8 * values.dtype.itemsize}-bit; say what 0 and {top} of {name} stand for: "
                f"decode={{{name!r}: (…, …)}} (--range {name}=LOW,HIGH)."
            )
        low, high = known[name]
        out[i] = low + values[i] * ((high - low) / top)
    return out


def _array(path: Path) -> np.ndarray:
    import rasterio

    if path.suffix.lower() not in (".tif", ".tiff"):
        values = read_picture(path)
    else:
        try:
            with open_raster(path, "an image") as file:
                values = np.moveaxis(file.read(), 0, 2)
                if file.nodata is not None and values.dtype.kind == "f":
                    values = np.where(values == file.nodata, np.nan, values)
        except (rasterio.errors.RasterioError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise LabelError(f"{path} cannot be read as an image: {reason}.") from error
    if values.dtype.kind not in "uif":
        raise LabelError(f"{path} holds {values.dtype} values; expected numbers.")
    return np.asarray(values)


def _in_class_folders(root: Path) -> Iterator[Item]:
    for path in image_files(root):
        inside = path.relative_to(root)
        if len(inside.parts) > 1:
            yield Item(path, inside.parts[0], scene_in(path.name), time=time_in(path.name))


def _listed(root: Path, manifest: Path) -> Iterator[Item]:
    if not manifest.is_file():
        raise LabelNotFoundError(f"No manifest at {manifest}. Pass a CSV with the columns path and label.")
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{manifest} cannot be read as a CSV in UTF-8: {error}.") from error
    if not rows or not {"path", "label"} <= set(rows[0]):
        columns = list(rows[0]) if rows else []
        raise LabelError(f"{manifest} needs the columns path and label and at least one row; it has {columns}.")
    for number, row in enumerate(rows, start=2):
        inside = PurePosixPath((row["path"] or "").strip().replace("\\", "/"))
        if not inside.name or inside.is_absolute() or ".." in inside.parts:
            raise LabelError(f"{manifest}, line {number}: path {str(inside)!r} does not lie inside {root}.")
        numbers = {}
        for name in _NUMBERS:
            text = (row.get(name) or "").strip()
            try:
                numbers[name] = float(text) if text else math.nan
            except ValueError as error:
                raise LabelError(f"{manifest}, line {number}: {name} {text!r} is not a number.") from error
        yield Item(
            root / inside,
            (row["label"] or "").strip() or None,
            (row.get("scene") or "").strip() or scene_in(inside.name),
            part=(row.get("part") or "").strip(),
            numbers=numbers,
            time=_checked_time((row.get("time") or "").strip(), f"{manifest}, line {number}") or time_in(inside.name),
        )


def image_files(folder: Path) -> list[Path]:
    """Image files under a folder, in order of their names; hidden ones are passed over."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in found if not any(x.startswith(".") for x in p.relative_to(folder).parts))


def scene_in(name: str) -> str:
    """The product name, or else the time, in a file name; ``"unknown"`` without."""
    product = _PRODUCT.search(name)
    stamp = _STAMP.search(name)
    return product.group(0) if product else stamp.group(1).upper() if stamp else "unknown"


def time_in(name: str) -> str:
    """The first time in a file name as ISO 8601, ``""`` without."""
    stamp = _STAMP.search(name)
    if not stamp:
        return ""
    t = stamp.group(1).upper()
    try:
        return _checked_time(f"{t[:4]}-{t[4:6]}-{t[6:8]}T{t[9:11]}:{t[11:13]}:{t[13:15]}", name)
    except LabelError:  # digits that are no time
        return ""


def _checked_time(text: str, where: str) -> str:
    try:
        np.datetime64(text.removesuffix("Z") or "NaT")
    except ValueError as error:
        raise LabelError(f"{where}: time {text!r} is not ISO 8601, for instance 2018-01-16T07:54:30.") from error
    return text.removesuffix("Z")


def _meanings(labels: set[str], scheme: ClassScheme, classes: Mapping[str, str], source: str) -> dict[str, int]:
    codes = {label: meaning_of(label, scheme, classes) for label in labels}
    strange = sorted(label for label, code in codes.items() if code is None)
    if strange:
        raise LabelError(
            f"{source} has the labels {', '.join(map(repr, strange[:40]))}, which are no class of {scheme.name} "
            f"{list(scheme.names)}. Say what they mean: classes={{'NAME': 'class'}}; an empty class means no label."
        )
    return {label: int(code) for label, code in codes.items() if code is not None}


def _batch(
    items: list[Item], image: np.ndarray, meaning: dict[str, int], names: tuple[str, ...], scheme: ClassScheme
) -> xr.Dataset:
    numbers: dict[str, Any] = {n: np.array([i.numbers.get(n, math.nan) for i in items]) for n in _NUMBERS}
    numbers["polygon"] = np.where(np.isfinite(numbers["polygon"]), numbers["polygon"], -1)
    if any(i.part for i in items):
        numbers["part"] = np.array([i.part for i in items])
    return make_patches(
        image,
        np.array([CLASS_NODATA if i.label is None else meaning[i.label] for i in items]),
        channels=names,
        units=tuple(CHANNELS[n].units for n in names),
        scheme=scheme,
        scene=np.array([i.scene for i in items]),
        time=np.array([i.time or "NaT" for i in items], "datetime64[ns]"),
        **numbers,
    )
