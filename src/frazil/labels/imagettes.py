"""A set of imagettes: square images of the sea of equal size, with what is known of each.

Every reader and cutter gives this Dataset, on the dims ``imagette, line, pixel`` and, where something was drawn,
``class, mask_line, mask_pixel``:

- ``image(imagette, line, pixel)``: float16 in [0, 1], see ``attrs["scaling"]``; NaN where not observed;
- ``category(imagette)``: uint8, code of the one class that the image is called; 255 without;
- ``present(imagette, class)``: uint8, 1 where a class is in the image, 0 where it is not, 255 where nobody said;
- ``mask(imagette, class, mask_line, mask_pixel)``: uint8, likewise, on cells of ``attrs["cell"]`` pixels (400 m at
  100 m); absent if no image of the set has any;
- coordinates on ``imagette``: ``name``, ``group`` (what must not be split: scene, orbit, block of neighbours),
  ``incidence_angle`` (degrees, NaN unknown), ``longitude``, ``latitude``;
- attrs ``class_scheme``, ``spacing_m``, ``cell``, ``scaling``, ``low_db`` and ``high_db`` (of roughness), ``source``.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, section 2: 100 m for images, 400 m for masks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil import __version__
from frazil.conventions import METOCEAN, PHENOMENA_SCHEMES, ClassScheme
from frazil.errors import ContractError, LabelError, OptionError
from frazil.files import whole_output
from frazil.labels.sample_set import UNKNOWN, damaged, open_store, refuse_other_codes, refuse_other_kind
from frazil.seeds import check_seed
from frazil.zarr_stores import DAMAGED_STORE, sealed_codec
from frazil.zarr_writing import quiet_zarr, writable_store

if TYPE_CHECKING:
    import xarray as xr

LOW_DB, HIGH_DB = -18.0, 6.0  #: roughness that becomes 0 and 1
RESOLUTIONS_M = (50.0, 100.0, 200.0, 340.0)  #: those of the source
SIDE_M = 20_000.0  #: of an imagette
MASK_M = 400.0  #: of a cell of the masks
_COMMAND = "frazil imagettes"
_JOINED_BY = {"class_scheme": "classes", "spacing_m": "spacing", "cell": "cells of their masks", "scaling": "scaling"}
_WORDS = frozenset(("class", "name", "group"))  # arrays of a store
_NUMBERS = frozenset(("image", "category", "present", "mask", "incidence_angle", "longitude", "latitude"))
_MASK_SHARE = 0.35  # of a cell that must be covered; below a half, so that narrow things stay


@dataclass(frozen=True, kw_only=True, eq=False)
class Imagette:
    """One image before it enters a set.

    Attributes:
        name: of the image.
        image: float (line, pixel) in [0, 1]; NaN where not observed.
        group: what must stay together when a set is split.
        category: class code, None without.
        present: uint8 (class), None: only what category or mask say.
        mask: bool (class, any lines, any pixels) over the same area, None without.
        incidence_angle, longitude, latitude: of the centre.
    """

    name: str
    image: np.ndarray
    group: str = ""
    category: int | None = None
    present: np.ndarray | None = None
    mask: np.ndarray | None = None
    incidence_angle: float = float("nan")
    longitude: float = float("nan")
    latitude: float = float("nan")


def phenomena_scheme(name: str) -> ClassScheme:
    """A scheme of phenomena by name; raises OptionError."""
    if name not in PHENOMENA_SCHEMES:
        raise OptionError(f"class_scheme {name!r} is not one of {sorted(PHENOMENA_SCHEMES)}.")
    return PHENOMENA_SCHEMES[name]


def scaled(roughness: np.ndarray) -> np.ndarray:
    """Linear roughness (see `frazil.scene.ocean`) to [0, 1], float32; NaN stays NaN."""
    db = 10 * np.log10(np.maximum(roughness, 1e-6))
    return np.clip((db - LOW_DB) / (HIGH_DB - LOW_DB), 0, 1).astype(np.float32)


def resample(image: np.ndarray, shape: tuple[int, int], *, nearest: bool = False) -> np.ndarray:
    """An image on another number of lines and pixels over the same area: area means, or the nearest pixel.

    NaN is left out of the means; a pixel less than half observed is NaN. float32.
    """
    from PIL import Image

    if image.shape == shape:
        return np.asarray(image, np.float32)
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BOX
    enlarged = not nearest and (shape[0] > image.shape[0] or shape[1] > image.shape[1])
    how = Image.Resampling.BILINEAR if enlarged else how

    def resize(values: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(np.asarray(values, np.float32)).resize(shape[::-1], how), np.float32)

    seen = np.isfinite(image)
    if seen.all():
        return resize(image)
    weight = resize(seen)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = resize(np.where(seen, image, 0)) / weight
    return np.where(weight >= 0.5, mean, np.nan).astype(np.float32)


def centred(values: np.ndarray, size: int, fill: float) -> np.ndarray:
    """The last two axes cut or widened to `size` about their centre."""
    for axis in (-2, -1):
        n = values.shape[axis]
        if n > size:
            values = np.take(values, np.arange((n - size) // 2, (n - size) // 2 + size), axis)
        elif n < size:
            pad = [(0, 0)] * values.ndim
            pad[axis] = ((size - n) // 2, size - n - (size - n) // 2)
            values = np.pad(values, pad, constant_values=fill)
    return values


def sizes_for(resolution_m: float, side_m: float = SIDE_M) -> tuple[int, int]:
    """Pixels of a side and pixels of a mask cell at a resolution; the side is a multiple of the cell.

    Raises:
        OptionError: a resolution of 0 or less, or so coarse that nothing is left.
    """
    if not 0 < resolution_m <= side_m / 16:
        raise OptionError(f"resolution {resolution_m:g} m must be above 0 and at most {side_m / 16:g} m.")
    cell = max(round(MASK_M / resolution_m), 1)
    return max(round(side_m / resolution_m / cell), 1) * cell, cell


def coarser(ds: xr.Dataset, resolution_m: float) -> xr.Dataset:
    """The set at a coarser resolution: roughness averaged in linear power, grey values as they are; masks stay.

    Raises:
        OptionError: a finer resolution, or one at which the cells of the masks hold no whole pixels.
    """
    here = float(ds.attrs["spacing_m"])
    if resolution_m < here:
        raise OptionError(
            f"Imagettes of {here:g} m cannot be made finer, {resolution_m:g} m. Choose a coarser resolution."
        )
    n, cell = sizes_for(resolution_m, ds.sizes["line"] * here)
    side = ds.sizes["line"] // int(ds.attrs["cell"])
    if "mask" in ds and n != side * cell:
        n = side * cell  # 340 m: one pixel a cell, a little coarser than asked for
    values = ds["image"].values.astype(np.float32)
    low, high = float(ds.attrs["low_db"]), float(ds.attrs["high_db"])
    rough = ds.attrs["scaling"] == "roughness"
    power = np.asarray(10 ** ((low + values * (high - low)) / 10) if rough else values)
    made = np.stack([resample(image, (n, n)) for image in power])
    made = scaled(made) if rough else made
    out = ds.drop_vars("image").assign(image=(("imagette", "line", "pixel"), made.astype(np.float16), {"units": "1"}))
    return out.assign_attrs(spacing_m=ds.sizes["line"] * here / n, cell=n // side if "mask" in ds else cell)


def quarters(ds: xr.Dataset) -> xr.Dataset:
    """Every imagette cut into four; what each shows is what its masks say, and so is its category (255: nothing).

    Raises:
        OptionError: sides that are no whole number of pairs of mask cells. LabelError: images without masks.
    """
    import xarray as xr

    n, cell = ds.sizes["line"], int(ds.attrs["cell"])
    if n % (2 * cell):
        raise OptionError(f"Imagettes of {n} pixels with mask cells of {cell} cannot be cut in four.")
    if "mask" not in ds or (ds["mask"].values == UNKNOWN).any():
        raise LabelError("Only imagettes with masks can be cut in four: else nobody knows what a part shows.")
    half, parts = n // 2, []
    for row in (0, 1):
        for column in (0, 1):
            line, pixel = (slice(k * half, (k + 1) * half) for k in (row, column))
            part = ds.isel(
                line=line,
                pixel=pixel,
                mask_line=slice(line.start // cell, line.stop // cell),
                mask_pixel=slice(pixel.start // cell, pixel.stop // cell),
            )
            parts.append(part.assign_coords(name=("imagette", [f"{v} {row}{column}" for v in ds["name"].values])))
    out = xr.concat(parts, "imagette", combine_attrs="override")
    area = (out["mask"].values == 1).sum((2, 3))
    out = out.assign(present=(("imagette", "class"), (area > 0).astype(np.uint8)))
    return out.assign(category=("imagette", np.where(area.any(1), area.argmax(1), UNKNOWN).astype(np.uint8)))


def parts_of_split(parts: Sequence[float]) -> dict[str, float]:
    """The sides of a split, ``train``, ``validation`` and ``test``, with their parts; a side of 0 parts is left out.

    Raises:
        OptionError: not three parts of 0 or more, or nothing to learn from.
    """
    if len(parts) != 3 or not all(0 <= part < float("inf") for part in parts) or not parts[0] > 0:
        raise OptionError(f"A split is three parts of 0 or more, the first above 0, such as 7,1,3; got {list(parts)}.")
    sides = zip(("train", "validation", "test"), parts, strict=True)
    return {side: float(part) for side, part in sides if part}


def split_imagettes(ds: xr.Dataset, parts: Sequence[float], seed: int | None = None) -> dict[str, xr.Dataset]:
    """Sets to learn from and to be judged by: ``train``, ``validation``, ``test``; groups stay whole.

    Args:
        ds: a set.
        parts: relative numbers of groups of the three, see `parts_of_split`.
        seed: draw groups at random; None: in the order of the set, so that neighbouring groups stay together.

    Raises:
        OptionError: parts that are none. LabelError: fewer groups than sides, or a category that a split in order would
            leave one of the sides without.
    """
    sides = parts_of_split(parts)
    groups = list(dict.fromkeys(ds["group"].values.tolist()))
    if seed is not None:
        groups = [groups[i] for i in np.random.default_rng(check_seed(seed)).permutation(len(groups))]
    share = np.array(list(sides.values()))
    # Halves up: rounded to even, a side that is due a whole group could get none.
    ends = np.floor(np.cumsum(share) / share.sum() * len(groups) + 0.5 + 1e-9).astype(int)[:-1]
    everything = set(ds["category"].values.tolist()) - {UNKNOWN}
    out = {}
    for side, mine in zip(sides, np.split(np.array(groups), ends), strict=True):
        if not mine.size:
            raise LabelError(f"{len(groups)} groups are too few for the parts {list(parts)}: {side} would be empty.")
        out[side] = ds.isel(imagette=np.flatnonzero(np.isin(ds["group"].values, mine)))
        lacking = everything - set(out[side]["category"].values.tolist())
        if lacking and seed is None:
            name = check_imagettes(ds).names[min(lacking)]
            raise LabelError(
                f"{side} would have no image of category {name}. Draw groups at random (--split-seed 0), or choose "
                "other parts."
            )
    return out


def make_imagettes(
    items: Iterable[Imagette],
    *,
    scheme: ClassScheme = METOCEAN,
    size: int,
    cell: int,
    spacing_m: float,
    source: str,
    scaling: str,
    attrs: dict[str, Any] | None = None,
) -> xr.Dataset:
    """A set of images, each cut or widened to `size` about its centre.

    Args:
        items: one by one; images without any signal (all not observed, or constant) are left out and counted.
        scheme: the classes.
        size: pixels of a side.
        cell: pixels of a side of a mask cell; divides `size`.
        spacing_m: of a pixel.
        source: product, folder or simulator.
        scaling: ``"roughness"`` (dB from ``low_db`` to ``high_db``) or ``"8-bit"`` (grey values over 255).
        attrs: further attributes.

    Raises:
        LabelError: nothing is left.
        OptionError: a cell that does not divide the size.
    """
    if size % cell:
        raise OptionError(f"A mask cell of {cell} pixels does not divide imagettes of {size} pixels.")
    classes, side = len(scheme.classes), size // cell
    columns: dict[str, list[Any]] = {k: [] for k in ("image", "category", "present", "mask", "name", "group", "place")}
    empty = 0
    for item in items:
        known = item.image[np.isfinite(item.image)]
        if known.size == 0 or known.min() == known.max():
            empty += 1
            continue
        present = np.full(classes, UNKNOWN, np.uint8) if item.present is None else np.asarray(item.present, np.uint8)
        if item.mask is not None:
            if item.mask.shape[0] != classes:
                raise LabelError(f"{item.name}: the mask has {item.mask.shape[0]} classes, {scheme.name} {classes}.")
            full = np.stack([resample(m, item.image.shape, nearest=True) for m in item.mask])  # type: ignore[arg-type]
            full = centred(full, size, 0)
            mask = full.reshape(classes, side, cell, side, cell).mean((2, 4)) >= _MASK_SHARE
            present = np.asarray(mask.any((1, 2)), np.uint8) if item.present is None else present
        elif item.category is not None and item.present is None:
            present[item.category] = 1
        columns["image"].append(centred(item.image, size, np.nan).astype(np.float16))
        columns["mask"].append(np.full((classes, side, side), UNKNOWN, np.uint8) if item.mask is None else mask)
        columns["category"].append(UNKNOWN if item.category is None else item.category)
        columns["present"].append(present)
        columns["name"].append(item.name)
        columns["group"].append(item.group or item.name)
        columns["place"].append((item.incidence_angle, item.longitude, item.latitude))
    if not columns["image"]:
        raise LabelError(f"No imagette of {source} holds any signal ({empty} are empty). Check the product or folder.")
    return _dataset(
        columns,
        scheme,
        cell,
        {
            "spacing_m": float(spacing_m),
            "source": source,
            "scaling": scaling,
            "low_db": LOW_DB,
            "high_db": HIGH_DB,
            "left_out_empty": empty,
            **(attrs or {}),
        },
    )


def _dataset(columns: dict[str, list[Any]], scheme: ClassScheme, cell: int, attrs: dict[str, Any]) -> xr.Dataset:
    import xarray as xr

    masks = np.stack(columns["mask"]).astype(np.uint8)
    place = np.asarray(columns["place"], np.float64)
    data: dict[str, Any] = {
        "image": (("imagette", "line", "pixel"), np.stack(columns["image"]), {"units": "1"}),
        "category": ("imagette", np.asarray(columns["category"], np.uint8)),
        "present": (("imagette", "class"), np.stack(columns["present"])),
    }
    if (masks != UNKNOWN).any():
        data["mask"] = (("imagette", "class", "mask_line", "mask_pixel"), masks)
    coords = {
        "class": list(scheme.names),
        "name": ("imagette", np.asarray(columns["name"], str)),
        "group": ("imagette", np.asarray(columns["group"], str)),
        "incidence_angle": ("imagette", place[:, 0]),
        "longitude": ("imagette", place[:, 1]),
        "latitude": ("imagette", place[:, 2]),
    }
    about = {"title": "Imagettes of the sea", "class_scheme": scheme.name, "cell": cell, "frazil_version": __version__}
    return xr.Dataset(data, coords, {**about, **attrs})


def check_imagettes(ds: xr.Dataset) -> ClassScheme:
    """The class scheme of a set; raise ContractError unless the Dataset is one (see the module)."""
    want = {"image": ("imagette", "line", "pixel"), "category": ("imagette",), "present": ("imagette", "class")}
    for name, dims in want.items():
        if name not in ds or ds[name].dims != dims:
            raise ContractError(f"This Dataset is no set of imagettes: {name!r} {dims} is missing.")
    if ds.attrs.get("class_scheme") not in PHENOMENA_SCHEMES:
        raise ContractError(f"class_scheme {ds.attrs.get('class_scheme')!r} is not one of {sorted(PHENOMENA_SCHEMES)}.")
    return PHENOMENA_SCHEMES[ds.attrs["class_scheme"]]


def save_imagettes(ds: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a set as a ``.zarr`` store, whole or not at all.

    Raises:
        OptionError: another suffix. OutputExistsError: it is there already.
    """
    check_imagettes(ds)
    if Path(path).suffix != ".zarr":
        raise OptionError(f"Imagettes are written as .zarr, not {Path(path).name!r}.")
    with whole_output(path, overwrite=overwrite) as part, writable_store(part) as store:
        chunked = {
            k: {"chunks": (min(64, ds.sizes["imagette"]), *ds[k].shape[1:])} for k in ("image", "mask") if k in ds
        }
        sealed = {str(k): {"compressors": (sealed_codec(),), **chunked.get(str(k), {})} for k in ds.variables}
        with quiet_zarr():
            ds.to_zarr(store, mode="w", encoding=sealed, consolidated=False, zarr_format=3, write_empty_chunks=True)
    return Path(path)


def open_imagettes(path: str | os.PathLike[str], *, images: bool = True) -> xr.Dataset:
    """A set in memory.

    Args:
        path: of the store.
        images: False leaves images and masks on the disk, and out of the Dataset: for counting what is in archives.

    Raises:
        LabelNotFoundError: nothing there. LabelError, ContractError: something else is there, a store of Zarr 2, or
            one that frazil would not write (see `frazil.zarr_stores`); categories outside its classes.
    """
    kind = "a set of imagettes"
    raw = open_store(path, kind, _COMMAND, arrays=_NUMBERS | _WORDS, words=_WORDS)
    scheme = check_imagettes(raw)
    try:
        loaded = (raw if images else raw.drop_vars(("image", "mask"), errors="ignore")).load()
    except DAMAGED_STORE as error:
        raise damaged(path, kind, _COMMAND, error) from error
    refuse_other_codes(loaded, path, scheme, _COMMAND, classes="category", presences=("present", "mask"))
    return loaded


def join_imagettes(sets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Several sets of the same classes, size and resolution as one; masks are unknown where a set has none.

    Raises:
        LabelError: sets that do not fit together, or none.
    """
    import xarray as xr

    if not sets:
        raise LabelError("No set of imagettes was named.")
    first = sets[0]
    for other in sets[1:]:
        refuse_other_kind(first, other, _JOINED_BY)
    if any("mask" in ds for ds in sets):
        sets = [ds if "mask" in ds else _without_masks(ds) for ds in sets]
    return xr.concat(list(sets), "imagette", combine_attrs="override") if len(sets) > 1 else sets[0]


def _without_masks(ds: xr.Dataset) -> xr.Dataset:
    side = ds.sizes["line"] // int(ds.attrs["cell"])
    shape = (ds.sizes["imagette"], ds.sizes["class"], side, side)
    return ds.assign(mask=(("imagette", "class", "mask_line", "mask_pixel"), np.full(shape, UNKNOWN, np.uint8)))
