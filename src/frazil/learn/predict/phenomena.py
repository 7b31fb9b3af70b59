"""A wide scene and a metocean network to a map of phenomena: a score for each, on cells of 400 m.

The scene goes through the network in tiles whose central parts are kept. With the network's own margin the result does
not depend on the tiles; with tiles of 256 pixels and half of each overlapping, as the source has it, it depends a
little on them, since such a network sees further than 64 pixels.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, section 5 and figure 5.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy import ndimage

from frazil import __version__
from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    check_scene,
    flag_attrs,
)
from frazil.errors import ModelError, OptionError
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.infer.device import usable_device
from frazil.learn.infer.weak.grid import prepared
from frazil.learn.models.output import activated, output_of
from frazil.learn.predict.fit import Sample, check_fit, check_logits, outside_training
from frazil.learn.predict.scene import FlagSettings, Progress, _read_rows, open_for
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import grid_for, plan_warp
from frazil.scene.land import add_land, land_on
from frazil.scene.tiles import TileGrid, even_core
from frazil.sentinel1.product import Product

HALF_OVERLAP = (128, 64)  #: core and margin, pixels, of tiles of 256 with half of each overlapping
_BIT = {name: np.uint16(mask) for name, (mask, _) in QUALITY_FLAGS.items()}


@dataclass(frozen=True, kw_only=True)
class DropRule:
    """A class that cannot be there.

    Attributes:
        name: of the class.
        equatorward_of: latitude, degrees, on both hemispheres, below which it is dropped; 90 drops it everywhere.
        months: in which it is dropped (1 to 12); all where empty.
    """

    name: str
    equatorward_of: float = 90.0
    months: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.equatorward_of <= 90 or any(not 1 <= m <= 12 for m in self.months):
            raise OptionError(f"drop {self.name!r}: latitude must lie in 0 … 90 and months in 1 … 12.")


@dataclass(frozen=True, kw_only=True)
class PhenomenaMapOptions:
    """How a scene is mapped.

    Attributes:
        threshold: from which a score counts as found.
        tiling: ``"seamless"`` or ``"half-overlap"``, see the module.
        tile: core of seamless tiles, pixels.
        drop: classes that cannot be there.
        precision: ``"float32"`` or ``"bfloat16"``.
        flags: thresholds of the quality flags.
    """

    threshold: float = 0.5
    tiling: str = "seamless"
    tile: int = 1024
    drop: tuple[DropRule, ...] = ()
    precision: str = "float32"
    flags: FlagSettings = field(default_factory=FlagSettings)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold {self.threshold} must lie between 0 and 1.")
        if self.tile < 1:
            raise OptionError(f"tile {self.tile} must be 1 or more.")
        if self.tiling not in ("seamless", "half-overlap"):
            raise OptionError(f"tiling {self.tiling!r} is not 'seamless' or 'half-overlap'.")
        if self.precision not in ("float32", "bfloat16"):
            raise OptionError(f"precision {self.precision!r} is not 'float32' or 'bfloat16'.")


def predict_phenomena(
    scene: xr.Dataset | Product | str | os.PathLike[str], model: Model | str | os.PathLike[str], *,
    crs: str | None = "auto", spacing_m: float | None = None, options: PhenomenaMapOptions | None = None,
    ice: xr.Dataset | None = None, device: str | None = None, progress: Progress | None = None,
) -> xr.Dataset:  # fmt: skip
    """The map of phenomena of a scene.

    Args:
        scene: at the model's spacing, with VV; or the path of a product.
        model: a segmentation model (U-Net or IM2PX) that learnt from de-trended σ0, or its folder.
        crs: of the map, in metres; ``"auto"``: a UTM zone, or polar stereographic beyond 60° of latitude; None keeps
            the radar grid (line, pixel), as in `frazil.predict`.
        spacing_m: of the map; by default that of the cells, 400 m at 100 m.
        options: see `PhenomenaMapOptions`.
        ice: a sea-ice map of the same scene and CRS (`frazil.predict`): where it finds ice, that wins.
        device: ``"cpu"`` or ``"cuda"``.
        progress: called as work proceeds.

    Returns:
        Dataset on (y, x), or (line, pixel): ``score(category)`` (uint8 percent; 255 without), ``phenomena`` (uint16,
        bit k set where class k is found), ``dominant`` (uint8: class code, 253 undecided, 254 land, 255 nodata),
        ``quality_flags``.

    Raises:
        ModelError: a model of another kind, or one that does not fit the scene.
        OptionError: a spacing, or a map of sea ice, for the radar grid.
    """
    if crs is None and (spacing_m is not None or ice is not None):
        raise OptionError("The radar grid (crs=None) has its own spacing, and takes no map of sea ice. Name a CRS.")
    loaded = model if isinstance(model, Model) else load_model(model)
    card, settings = loaded.card, options or PhenomenaMapOptions()
    report = progress or (lambda _fraction, _what: None)
    cell = _check_model(loaded)
    rules = _check_rules(settings.drop, card.scheme.names)
    if not isinstance(scene, xr.Dataset):
        report(0.0, "opening the product")
        scene = open_for(scene, card)
    check_scene(scene)
    check_fit(scene, card)
    sample = Sample.of(scene)
    score, flags = score_scene(
        scene, loaded, settings, device=device, sample=sample,
        progress=lambda f: report(0.05 + 0.75 * f, "segmenting"),
    )  # fmt: skip
    report(0.8, "mapping")
    strange = sample.strange(scene, card)
    if strange:
        flags[(flags & _BIT["nodata"]) == 0] |= _BIT["outside_training"]
    on = _cells(scene, cell, score.shape[1:])
    _drop(score, on, rules, list(card.scheme.names))
    names = list(card.scheme.names)
    if crs is None:
        seen = add_land(on)
        land, distance = seen["land_mask"].values, seen["coast_distance"].values
        coords = {str(name): on[name] for name in on.variables}
        maps = _finish(score, flags, land, distance, settings, None, coords, names, ("line", "pixel"))
        return outside_training(_dataset(maps, coords, scene, loaded, settings, None), strange)
    grid = grid_for(
        on, crs=None if crs == "auto" else crs, spacing_m=on.attrs["spacing_m"] if spacing_m is None else spacing_m
    )
    warp, (land, distance) = plan_warp(on, grid), land_on(grid)
    percent = np.stack([_onto(warp.bilinear(plane, missing=PERCENT_NODATA)) for plane in score])
    flags = warp.nearest(flags, fill=_BIT["nodata"])
    maps = _finish(percent, flags, land, distance, settings, ice, grid.coords(), names)
    report(1.0, "mapping")
    return outside_training(_dataset(maps, grid.coords(), scene, loaded, settings, ice), strange)


def score_scene(
    scene: xr.Dataset, model: Model, options: PhenomenaMapOptions, *, device: str | None = None,
    sample: Sample | None = None, progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Scores uint8 percent (class, rows, columns) and flags uint16 (rows, columns) on cells of the radar grid.

    Cells that stick out of the scene are left out.
    """
    place = usable_device(device)
    network = prepared(model.network, options.precision, place)
    cell, stride = int(model.network.cell), int(model.network.stride)  # type: ignore[arg-type]
    shape = scene.sizes["line"], scene.sizes["pixel"]
    rows, columns = (n // cell for n in shape)
    if min(rows, columns) < 1:
        raise OptionError(f"A scene of {shape[0]} × {shape[1]} pixels holds no cell of {cell}.")
    core, margin = even_core(shape, options.tile, stride), int(model.network.margin)  # type: ignore[arg-type]
    if options.tiling == "half-overlap":
        core, margin = (HALF_OVERLAP[0],) * 2, HALF_OVERLAP[1]
    tiles = TileGrid(shape=shape, core=core, margin=margin, multiple=stride)
    score = np.full((len(model.card.scheme.classes), rows, columns), PERCENT_NODATA, np.uint8)
    flags = np.full((rows, columns), _BIT["nodata"], np.uint16)
    done = 0
    for row in tiles.rows():
        inputs, variables = _read_rows(scene, row[0][1].slices[0], model.card)
        if sample is not None:
            sample.add(inputs, row[0][1].slices[0].start)
        for kept, reach in row:
            part = torch.from_numpy(np.ascontiguousarray(inputs[None, :, :, reach.slices[1]]))
            with torch.inference_mode():
                x = part.to(place, next(network.parameters()).dtype, memory_format=torch.channels_last)
                logits = network(x)[0].float()
                check_logits(logits.cpu().numpy(), model.card)
                made = activated(logits[None] / model.card.temperature, output_of(model.network))[0]
            inner = kept.inside(reach)
            percent = np.rint(100 * made.cpu().numpy()).astype(np.uint8)
            percent = percent[:, inner[0].start // cell :, inner[1].start // cell :]
            to = kept.line // cell, kept.pixel // cell
            n = min(kept.n_lines // cell, rows - to[0]), min(kept.n_pixels // cell, columns - to[1])
            if min(n) > 0:
                here = slice(to[0], to[0] + n[0]), slice(to[1], to[1] + n[1])
                window = {
                    k: v[..., inner[0].start : inner[0].start + n[0] * cell, kept.pixel : kept.pixel + n[1] * cell]
                    for k, v in variables.items()
                }
                flags[here], unseen = _flags(window, cell, model.card.incidence_range)
                score[(slice(None), *here)] = np.where(unseen, PERCENT_NODATA, percent[:, : n[0], : n[1]])
            done += 1
            if progress:
                progress(done / len(tiles))
    border = max(round(options.flags.border_m / (float(scene.attrs["spacing_m"]) * cell)), 0)
    seen = (flags & _BIT["nodata"]) == 0
    if border:
        inside = ndimage.minimum_filter(seen.view(np.uint8), size=2 * border + 1, mode="constant", cval=0)
        flags[seen & (inside == 0)] |= _BIT["border"]
    return score, flags


def _flags(window: dict[str, np.ndarray], cell: int, seen_deg: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Flags of cells, and which are less than half observed."""

    def share(values: np.ndarray) -> np.ndarray:
        h, w = values.shape
        return values.reshape(h // cell, cell, w // cell, cell).mean((1, 3))

    valid = window["valid"]
    unseen = share(valid) < 0.5
    angle = share(window["incidence_angle"].astype(np.float64))
    outside = (angle < seen_deg[0]) | (angle > seen_deg[1])
    out = np.where(unseen, _BIT["nodata"], np.uint16(0))
    for name, where in (
        ("incidence_out_of_range", outside),
        ("noise_missing", share(window["noise_missing"] | ~np.isfinite(window["nesz"][0])) > 0.5),
    ):  # fmt: skip
        out |= np.where(where & ~unseen, _BIT[name], np.uint16(0))
    return out, unseen


def _check_model(model: Model) -> int:
    card = model.card
    if not hasattr(model.network, "cell"):
        raise ModelError(
            f"Model {card.id} ({card.architecture}) gives no map of phenomena. Train one with `frazil train "
            "metocean:unet`, or use `frazil segment` for categorisers."
        )
    if card.training.get("data", {}).get("scaling", "roughness") != "roughness":
        raise ModelError(f"Model {card.id} learnt from grey images, not from σ0; it cannot map a product.")
    cell: int = model.network.cell  # type: ignore[assignment]
    return cell


def _check_rules(rules: Sequence[DropRule], names: Sequence[str]) -> Sequence[DropRule]:
    strange = [rule.name for rule in rules if rule.name not in names]
    if strange:
        raise OptionError(f"drop {strange[0]!r} is not one of {list(names)}.")
    return rules


def _cells(scene: xr.Dataset, cell: int, shape: tuple[int, ...]) -> xr.Dataset:
    """A Dataset that lies at the centres of the cells."""
    line, pixel = (
        scene[d].values[: n * cell].reshape(n, cell).mean(1) for d, n in zip(("line", "pixel"), shape, strict=True)
    )
    ties = {k: scene[k] for k in scene.variables if str(k).startswith("tie_")}
    return xr.Dataset(
        {k: v for k, v in ties.items() if k in scene.data_vars},
        {"line": ("line", line), "pixel": ("pixel", pixel), **{k: v for k, v in ties.items() if k in scene.coords}},
        {**scene.attrs, "spacing_m": float(scene.attrs["spacing_m"]) * cell},
    )


def _places(on: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    lon, lat = Geolocation.of(on).lonlat(on["line"].values[:, None], on["pixel"].values[None, :])
    return np.asarray(lon), np.asarray(lat)


def _drop(score: np.ndarray, on: xr.Dataset, rules: Sequence[DropRule], names: list[str]) -> None:
    """Set scores of classes that cannot be there to 0, in place."""
    if not rules:
        return
    latitude = _places(on)[1]
    month = int(str(on.attrs["start_time"])[5:7])
    for rule in rules:
        if rule.months and month not in rule.months:
            continue
        where = np.abs(latitude) <= rule.equatorward_of
        plane = score[names.index(rule.name)]
        plane[where & (plane != PERCENT_NODATA)] = 0


def _onto(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), PERCENT_NODATA, np.rint(np.nan_to_num(values))).astype(np.uint8)


def _finish(
    percent: np.ndarray, flags: np.ndarray, land: np.ndarray, distance: np.ndarray, settings: PhenomenaMapOptions,
    ice: xr.Dataset | None, coords: dict[str, Any], names: list[str],
    dims: tuple[str, str] = ("y", "x"),
) -> dict[str, tuple[Any, ...]]:  # fmt: skip
    nodata = (percent[0] == PERCENT_NODATA) | ((flags & _BIT["nodata"]) > 0)
    level = round(100 * settings.threshold)
    found = (percent >= level) & (percent != PERCENT_NODATA)
    best = percent.argmax(0).astype(np.uint8)
    dominant = np.where(found.any(0), best, UNDECIDED).astype(np.uint8)
    if ice is not None and "sea_ice" in names:
        at = {
            k: xr.DataArray(np.asarray(coords[k][1] if isinstance(coords[k], tuple) else coords[k]), dims=k)
            for k in "yx"
        }
        step = abs(float(ice["x"].values[1] - ice["x"].values[0]))
        near = ice["ice_probability"].reindex(
            y=at["y"], x=at["x"], method="nearest", tolerance=step, fill_value=PERCENT_NODATA
        )
        iced = (near.values >= 50) & (near.values <= 100) & ~nodata
        code = names.index("sea_ice")
        percent[code][iced] = near.values[iced]
        found[code] |= iced
        dominant[iced] = code
    blank = nodata | land
    percent[:, blank] = PERCENT_NODATA
    found[:, blank] = False
    dominant[nodata] = CLASS_NODATA
    dominant[land] = CLASS_LAND
    flags = np.where(nodata, _BIT["nodata"], flags)
    flags[land] = _BIT["land"]
    flags[~blank & (distance < settings.flags.coast_m)] |= _BIT["coast"]
    bits = np.zeros(dominant.shape, np.uint16)
    for code, plane in enumerate(found):
        bits |= plane.astype(np.uint16) << np.uint16(code)
    return {
        "score": (("category", *dims), percent, {"units": "percent", "long_name": "score of each phenomenon"}),
        "phenomena": (dims, bits, {
            "long_name": "phenomena found", "flag_masks": np.array([1 << i for i in range(len(names))], np.uint16),
            "flag_meanings": " ".join(names),
        }),
        "dominant": (dims, dominant, {
            "long_name": "phenomenon of the highest score found",
            "flag_values": np.array([*range(len(names)), UNDECIDED, CLASS_LAND], np.uint8),
            "flag_meanings": " ".join([*names, "undecided", "land"]),
        }),
        "quality_flags": (dims, flags.astype(np.uint16), flag_attrs()),
    }  # fmt: skip


def _dataset(
    maps: dict[str, tuple[Any, ...]], coords: dict[str, Any], scene: xr.Dataset, model: Model,
    settings: PhenomenaMapOptions, ice: xr.Dataset | None,
) -> xr.Dataset:  # fmt: skip
    card = model.card
    kept = ("product", "mission", "mode", "orbit_pass", "orbit", "start_time", "stop_time", "source", "denoise")
    attrs = {k: scene.attrs[k] for k in kept if k in scene.attrs} | {
        "Conventions": "CF-1.11", "title": "Phenomena of sea and air from Sentinel-1",
        "class_scheme": card.class_scheme,
        "model": card.id, "model_statement": card.statement, "model_incidence_range": list(card.incidence_range),
        "threshold": settings.threshold, "tiling": settings.tiling,
        "dropped": [f"{r.name}:{r.equatorward_of:g}:{','.join(map(str, r.months))}" for r in settings.drop],
        "sea_ice_from": "" if ice is None else str(ice.attrs.get("model", "")), "frazil_version": __version__,
        "note": " ".join(filter(None, [scene.attrs.get("note", ""), card.statement])),
        "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} frazil {__version__} map",
    }  # fmt: skip
    ds = xr.Dataset(maps, coords | {"category": ("category", list(card.scheme.names))}, attrs)
    for name in ds.data_vars:
        if "spatial_ref" in ds.coords and "y" in ds[name].dims:
            ds[name].attrs["grid_mapping"] = "spatial_ref"
    return ds
