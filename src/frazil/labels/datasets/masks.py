"""Images with drawn masks: pairs in two folders, pairs by suffix, and the segmentation set of Colin et al. (2022).

References:
    Colin, A., et al. (2022), doi:10.3390/rs14040851; data at kaggle.com/rignak/sar-wv-semanticsegmentation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import METOCEAN, ClassScheme
from frazil.errors import LabelError, LabelNotFoundError
from frazil.labels.datasets.imagette_files import grey, read_array, read_mask, walk
from frazil.labels.imagettes import Imagette, make_imagettes, phenomena_scheme, sizes_for

if TYPE_CHECKING:
    import xarray as xr


def read_colin(folder: str | os.PathLike[str], *, part: str = "", resolution_m: float = 100.0) -> xr.Dataset:
    """The published segmentation set: ``train|val/{input,output}/``, PNG or ``.npy``.

    Args:
        folder: of the set, or of one part of it.
        part: ``"train"`` or ``"val"``; both by default.
        resolution_m: of the images on disk, which are taken as they are.

    Returns:
        A set whose groups are the parts. Masks are arrays with an axis of ten classes in the order AF … WS, or grey
        images of codes: 0 for none, 1 to 10.

    Raises:
        LabelNotFoundError: no folder. LabelError: an image without a mask, or a mask that does not fit.
    """
    root = Path(folder)
    return _pairs(root, _by_folder(root, part, "input", "output"), METOCEAN, None, resolution_m, None)


def read_masks(
    source: str | os.PathLike[str],
    *,
    scheme: str = "slicks",
    values: Mapping[int, str] | None = None,
    image_suffix: str = "",
    mask_suffix: str = "",
    images: str = "images",
    masks: str = "masks",
    resolution_m: float = 10.0,
    cell: int = 4,
    group_size: int = 0,
) -> xr.Dataset:
    """A set of images and masks of equal names in two folders, or in one folder or tar with two suffixes.

    Args:
        source: folder or tar.
        scheme: the classes.
        values: what values of a mask mean: value -> class name, ``""`` for none; by default, of a scheme of one class,
            everything but 0 (of JPEG, which is not exact, above 127), and else 1 for the first class and so on.
        image_suffix: end of the names of images, for instance ``"_sat"``.
        mask_suffix: end of the names of masks, for instance ``"_mask"``.
        images: folder of the images, where no suffix is given.
        masks: folder of the masks, where no suffix is given.
        resolution_m: of the images, which are taken as they are; all must be of one size.
        cell: pixels of a side of a mask cell in the set.
        group_size: put so many images with neighbouring numbers in one group (0: each by itself).

    Raises:
        LabelNotFoundError: nothing there. LabelError: see the message.
    """
    root = Path(source)
    pairs = _by_suffix(root, image_suffix, mask_suffix) if mask_suffix else _by_folder(root, "", images, masks)
    return _pairs(root, pairs, phenomena_scheme(scheme), values, resolution_m, (cell, group_size))


def _pairs(
    root: Path,
    pairs: Iterator[tuple[str, str, bytes, str, bytes]],
    scheme: ClassScheme,
    values: Mapping[int, str] | None,
    resolution_m: float,
    how: tuple[int, int] | None,
) -> xr.Dataset:
    items = []
    for number, (name, group, image_bytes, mask_name, mask_bytes) in enumerate(pairs):
        image = grey(name, read_array(name, image_bytes))
        mask = decode_mask(mask_name, read_mask(mask_name, mask_bytes), scheme, values)
        if how:
            group = f"block {number // how[1]:04d}" if how[1] else name
        items.append(Imagette(name=name, image=image, mask=mask, group=group, category=_only(mask)))
    if not items:
        raise LabelError(f"No pair of image and mask in {root}.")
    if how is None:
        size, cell = sizes_for(resolution_m, items[0].image.shape[0] * resolution_m)
    else:
        cell = how[0]
        size = items[0].image.shape[0] // cell * cell
        strange = [i for i in items if i.image.shape != items[0].image.shape]
        if strange:
            raise LabelError(
                f"{strange[0].name} has {strange[0].image.shape} pixels, the first image {items[0].image.shape}. "
                "Cut them alike."
            )
    return make_imagettes(
        items, scheme=scheme, size=size, cell=cell, spacing_m=resolution_m, source=root.name, scaling="8-bit"
    )


def _only(mask: np.ndarray) -> int | None:
    """The class of the largest area; None where nothing is drawn."""
    area = mask.reshape(len(mask), -1).sum(1)
    return int(area.argmax()) if area.any() else None


def decode_mask(
    name: str, values: np.ndarray, scheme: ClassScheme, meaning: Mapping[int, str] | None = None
) -> np.ndarray:
    """A mask on disk as bool (class, line, pixel).

    Args:
        name: for messages.
        values: (line, pixel) codes, or with an axis of classes first or last (above a half is in).
        scheme: the classes.
        meaning: see `read_masks`.

    Raises:
        LabelError: values that mean nothing, or another number of classes.
    """
    n = len(scheme.classes)
    if values.ndim == 3 and values.dtype == np.uint8 and values.shape[2] in (2, 3, 4) and n not in values.shape[::2]:
        values = _without_colour(name, values[..., : 1 if values.shape[2] == 2 else 3], scheme)
    if values.ndim == 3 and n not in (values.shape[0], values.shape[2]):
        raise LabelError(f"{name} has shape {values.shape}; an axis of {n} classes of {scheme.name} was expected.")
    if values.ndim == 3:
        planes = values if values.shape[0] == n else np.moveaxis(values, 2, 0)
        top = 255.0 if planes.dtype == np.uint8 and planes.max(initial=0) > 1 else 1.0
        return np.asarray(planes > 0.5 * top)
    if values.ndim != 2:
        raise LabelError(f"{name} has shape {values.shape}; a mask of lines and pixels was expected.")
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if meaning is None and n == 1:
        lossy = name.lower().endswith((".jpg", ".jpeg"))
        return np.asarray(values > 127 if lossy else values != 0)[None]
    table = dict(meaning) if meaning is not None else {i + 1: c for i, c in enumerate(scheme.names)}
    unknown = sorted({int(v) for v in np.unique(values)} - {0, *table})
    wrong = [c for c in table.values() if c and c not in scheme.names]
    if unknown or wrong:
        what = f"value {unknown[0]}" if unknown else f"class {wrong[0]!r}"
        raise LabelError(f"{name}: {what} of the mask means nothing in {scheme.name} ({', '.join(scheme.names)}).")
    return np.stack([np.isin(values, [v for v, c in table.items() if c == name]) for name in scheme.names])


def _without_colour(name: str, planes: np.ndarray, scheme: ClassScheme) -> np.ndarray:
    """One plane of a mask in colours: of one class where any colour is, of several the grey value."""
    if len(scheme.classes) == 1:
        return np.asarray(planes.max(axis=2))
    if (planes != planes[..., :1]).any():
        raise LabelError(f"{name} is a mask in colours; codes of {scheme.name} in grey, or a palette, were expected.")
    return np.asarray(planes[..., 0])


def _by_folder(root: Path, part: str, images: str, masks: str) -> Iterator[tuple[str, str, bytes, str, bytes]]:
    if not root.is_dir():
        raise LabelNotFoundError(f"No folder at {root}.")
    places = sorted(p for p in root.rglob(images) if p.is_dir() and (not part or part in p.parent.name))
    if not places:
        raise LabelNotFoundError(f"{root} holds no folder {images!r}{f' under {part!r}' if part else ''}.")
    for place in places:
        drawn, used = {Path(n).stem: (n, c) for n, c in walk(place.parent / masks)}, set[str]()
        for name, content in walk(place):
            stem = Path(name).stem
            if stem not in drawn:
                raise LabelError(f"{place / name} has no mask of that name in {place.parent / masks}.")
            yield stem, place.parent.name, content, *drawn[stem]
            used.add(stem)
        if alone := sorted(drawn.keys() - used):
            raise LabelError(f"{place.parent / masks / alone[0]} is a mask without an image of that name in {place}.")


def _by_suffix(root: Path, image: str, mask: str) -> Iterator[tuple[str, str, bytes, str, bytes]]:
    waiting: dict[str, dict[str, tuple[str, bytes]]] = {}
    for name, content in walk(root):
        stem = str(Path(name).with_suffix(""))
        kind = "mask" if stem.endswith(mask) else "image" if stem.endswith(image) else ""
        if not kind:
            continue
        key = stem.removesuffix(mask if kind == "mask" else image)
        both = waiting.setdefault(key, {})
        both[kind] = (name, content)
        if len(both) == 2:
            yield key, key, both["image"][1], *both["mask"]
            waiting[key] = {"done": ("", b"")}
    alone = [key for key, both in waiting.items() if "done" not in both]
    if alone:
        raise LabelError(f"{alone[0]} of {root} is an image without a mask, or a mask without an image.")
