"""A scene and a model to a map: dense inference, flags, and the warp to a projected grid.

The scene goes through the network tile by tile; tiles overlap by more than the receptive field, so that the map does
not depend on them, and no more than one row of tiles is held at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
import xarray as xr
from scipy import ndimage

from frazil import __version__
from frazil.answer import CONFIDENCE_PERCENT, answers
from frazil.conventions import (
    BINARY,
    CLASS_LAND,
    CLASS_NODATA,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    VARIABLES,
    check_scene,
    class_attrs,
    flag_attrs,
)
from frazil.errors import ModelError, OptionError
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, ModelCard, load_model
from frazil.learn.infer.choose import engine_for
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.softmax import half_percents
from frazil.learn.infer.wide import wide_view
from frazil.learn.predict.adapt import adapt_to_scene, check_weight
from frazil.learn.predict.fit import Sample, check_fit, check_logits, outside_training
from frazil.memory import require_memory
from frazil.percent import whole_percents
from frazil.scene.grid import MapGrid, Warp, grid_for, plan_warp
from frazil.scene.land import add_land, land_on
from frazil.scene.lazy import is_lazy
from frazil.scene.scaling import network_input
from frazil.scene.tiles import TileGrid, even_core
from frazil.sentinel1.product import Product, open_product
from frazil.sentinel1.radiometry import Denoise
from frazil.sentinel1.scene import open_scene

_COARSEST_M = 120.0  # map spacing that nobody asked for; results of patch classifiers are interpolated to it
_HALF_PERCENT_NODATA = 255  # probabilities on the radar grid are held in half percents, 0…200
_BIT = {name: np.uint16(mask) for name, (mask, _) in QUALITY_FLAGS.items()}
_STRIP = 512  # lines that are read at a time
_UNTOLD = (
    "The model's card does not tell how well it knows ice from open water (it was made before maps could be undecided, "
    "or scored on neither): do not rely on how much is undecided."
)

#: Called with the fraction done, 0…1, and what is being done.
Progress = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class FlagSettings:
    """Thresholds of the quality flags.

    Attributes:
        coast_m: sea closer to land than this is flagged ``coast``.
        border_m: pixels closer than this to the edge of the data are flagged ``border``.
        confidence_percent: where neither ice nor open water is so probable, the map says that it is undecided.
    """

    coast_m: float = 2000.0
    border_m: float = 1000.0
    confidence_percent: float = CONFIDENCE_PERCENT

    def __post_init__(self) -> None:
        for name, most in (("coast_m", np.inf), ("border_m", np.inf), ("confidence_percent", 100.0)):
            value = getattr(self, name)
            if not 0 <= value <= most or value == np.inf:  # NaN neither
                limit = "0 or more, and finite" if most == np.inf else f"between 0 and {most:g}"
                raise OptionError(f"{name} is {value}; it must be {limit}.")


def predict(
    scene: xr.Dataset | Product | str | os.PathLike[str],
    model: Model | str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    crs: str | None = "auto",
    spacing_m: float | None = None,
    flags: FlagSettings | None = None,
    adapt: float | bool = False,
    tile: int | None = None,
    precision: str = "float32",
    device: str | None = None,
    function: str = "auto",
    stride: int | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
) -> xr.Dataset:
    """The ice map of a scene, as `frazil.conventions.check_map` describes it.

    Args:
        scene: a scene at the model's pixel spacing, or the path of a product, which is then opened as the model wants
            it (polarisations, block averaging, denoising).
        model: a loaded model, its folder, or the name of a bundled one.
        crs: of the map, projected in metres; ``"auto"``: see `frazil.scene.grid.grid_for`; None keeps
            the radar grid (line, pixel).
        spacing_m: pixel size of the map; by default that of the model, and for patch classifiers that of their
            results, but not above 120 m.
        flags: thresholds of the quality flags.
        adapt: let the scene teach the model its signatures (`frazil.learn.predict.adapt`): True, or the weight of what
            it teaches against the network, above 0 and at most 1. For models that classify every pixel.
        tile: largest core size of the tiles, pixels; the result does not depend on it. By default 1536, and 1024 for
            patch classifiers.
        precision: ``"float32"`` or ``"bfloat16"``.
        device: ``"cpu"`` or ``"cuda"``; by default CUDA where there is one.
        function: of a patch classifier: ``"dense"``, ``"patchwise"``, or ``"auto"``: what fits the network.
        stride: of a patch classifier: pixels between results.
        engine: ``"torch"``, ``"openvino"`` or ``"auto"``, see `frazil.learn.infer.choose.engine_for`.
        progress: called as work proceeds.

    Returns:
        Dataset. Pixels without an observation are never classified: 255 everywhere, flag ``nodata``. Land has class
        254 and no probability.

    Raises:
        ModelError: the scene lacks a polarisation of the model, or its spacing does not fit.
        ProductError and others: as `frazil.open_scene`.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    card = loaded.card
    report = progress or (lambda _fraction, _what: None)
    if not isinstance(scene, xr.Dataset):
        report(0.0, "opening the product")
        scene = open_for(scene, card)
    check_scene(scene)
    check_fit(scene, card)
    runs = engine_for(loaded, engine=engine, function=function, stride=stride, device=device, precision=precision)
    settings = flags or FlagSettings()
    weight = check_weight(adapt, runs.cell, card.id)
    if weight:
        scene = _in_memory(scene)  # its pixels are wanted twice
    on = _cells(scene, runs.cell)
    usual = max(card.spacing_m, min(card.spacing_m * runs.cell, _COARSEST_M))
    spacing = usual if spacing_m is None else spacing_m
    grid = None if crs is None else grid_for(on, crs=None if crs == "auto" else crs, spacing_m=spacing)
    if grid is not None:
        pixels, planes = grid.shape[0] * grid.shape[1], len(card.scheme.classes)
        require_memory(
            pixels * (planes + 20), f"A map of {grid.shape[0]} × {grid.shape[1]} pixels", "Choose a larger spacing_m."
        )
    with ThreadPoolExecutor(1) as pool:
        # Land and the warp's geometry need no pixels: they are made while the network works.
        place: Future[Any] = pool.submit(_place, on, grid)
        size = tile or (1536 if runs.cell == 1 else 1024)
        radar = classify(
            scene, runs, card, settings, tile=size, progress=lambda f: report(0.05 + 0.75 * f, "classifying")
        )
        report(0.8, "mapping")
        strange = radar.sample.strange(scene, card)
        if strange:
            radar.flags[(radar.flags & _BIT["nodata"]) == 0] |= _BIT["outside_training"]
        land, distance, warp = place.result()
    said: dict[str, Any] = {}
    if weight:
        sea = (radar.probability[0] != _HALF_PERCENT_NODATA) & ~add_land(scene)["land_mask"].values
        said = adapt_to_scene(radar.probability, scene, sea, weight)
    if warp is None:
        maps = _finish(radar.probability, radar.flags, land, distance, settings, ("line", "pixel"))
        tie_names = [str(name) for name in on.variables if str(name).startswith("tie_")]
        coords: dict[str, Any] = {name: on[name] for name in ("line", "pixel", *tie_names)}
    else:
        probability = warp.bilinear_planes(radar.probability, missing=_HALF_PERCENT_NODATA)
        flagged = warp.nearest(radar.flags, fill=_BIT["nodata"])
        maps = _finish(probability, flagged, land, distance, settings, ("y", "x"))
        coords = warp.grid.coords()
    report(1.0, "mapping")
    made = _dataset(maps, coords, scene, card, settings, grid).assign_attrs(said)
    made.attrs["note"] = " ".join(filter(None, [str(said.get("adapted", "")), made.attrs["note"]]))
    return outside_training(made, strange)


def open_for(path: str | os.PathLike[str] | Product, card: ModelCard) -> xr.Dataset:
    """The scene of a product as a model wants it.

    Raises:
        ModelError: the product lacks a polarisation, or its pixels do not divide the model's spacing.
    """
    product = path if isinstance(path, Product) else open_product(path)
    lacking = [p for p in card.polarizations if p not in product.polarizations]
    if lacking:
        raise ModelError(
            f"Model {card.id} needs {list(card.polarizations)}, but {product.name} holds "
            f"{list(product.polarizations)}. Choose a product with these polarisations, or another model."
        )
    if card.denoise not in get_args(Denoise):
        raise ModelError(
            f"Model {card.id} learnt from scenes whose noise was removed by {card.denoise!r}, which frazil cannot "
            f"repeat on a product. Pass predict() a scene prepared so, or train a model on one of {get_args(Denoise)}."
        )
    spacing = product.bands[0].annotation.range_spacing_m
    looks = max(round(card.spacing_m / spacing), 1)
    boxcar = card.boxcar and looks == 1
    return open_scene(product, polarizations=card.polarizations, looks=looks, boxcar=boxcar, denoise=card.denoise)  # type: ignore[arg-type]


def _cells(scene: xr.Dataset, cell: int) -> xr.Dataset:
    """The scene at the centres of the squares that results come in; a last square that has no centre is left out."""
    if cell == 1:
        return scene
    middle = slice(cell // 2, None, cell)
    return scene.isel(line=middle, pixel=middle).assign_attrs(spacing_m=float(scene.attrs["spacing_m"]) * cell)


@dataclass(frozen=True, eq=False)
class RadarMap:
    """What the network says, on the radar grid, one value for each square of the engine's `cell`.

    Attributes:
        probability: uint8 (class, line, pixel) in half percents, 0…200; 255 where not observed.
        flags: uint16 (line, pixel), without land and coast.
        sample: of what the network was shown.
    """

    probability: np.ndarray
    flags: np.ndarray
    sample: Sample


def classify(
    scene: xr.Dataset,
    engine: Engine,
    card: ModelCard,
    settings: FlagSettings,
    *,
    tile: int = 1536,
    progress: Callable[[float], None] | None = None,
) -> RadarMap:
    """Class probabilities and flags of a scene on its own grid, row of tiles by row of tiles."""
    cell = engine.cell
    shape = tuple(len(range(cell // 2, scene.sizes[d], cell)) for d in ("line", "pixel"))
    probability = np.full((len(card.scheme.classes), *shape), _HALF_PERCENT_NODATA, np.uint8)
    flags = np.zeros(shape, np.uint16)
    sample = Sample.of(scene)
    middle = slice(cell // 2, None, cell)
    for within, logits, window in dense(scene, engine, card, tile=tile, progress=progress, sample=sample):
        logits = logits[:, middle, middle]
        window = {k: v[..., middle, middle] for k, v in window.items()}
        core = tuple(slice(s.start // cell, s.start // cell + n) for s, n in zip(within, logits.shape[1:], strict=True))
        observed = window["valid"]
        check_logits(logits, card)
        half = probability[(slice(None), *core)]
        half_percents(logits, card.temperature, half)
        half |= np.where(observed, np.uint8(0), np.uint8(_HALF_PERCENT_NODATA))
        part = np.where(observed, np.uint16(0), _BIT["nodata"])
        unknown = window["noise_missing"] | ~np.isfinite(window["nesz"]).all(axis=0)
        part |= np.where(unknown & observed, _BIT["noise_missing"], np.uint16(0))
        low, high = card.incidence_range
        angle = window["incidence_angle"]
        part |= np.where(observed & ((angle < low) | (angle > high)), _BIT["incidence_out_of_range"], np.uint16(0))
        flags[core] = part
    reach = max(round(settings.border_m / float(scene.attrs["spacing_m"]) / cell), 0)
    if reach:
        seen = (flags & _BIT["nodata"]) == 0
        inner = ndimage.minimum_filter(seen.view(np.uint8), size=2 * reach + 1, mode="constant", cval=0)
        flags[seen & (inner == 0)] |= _BIT["border"]
    return RadarMap(probability, flags, sample)


def dense(
    scene: xr.Dataset,
    engine: Engine,
    card: ModelCard,
    *,
    tile: int = 1536,
    progress: Callable[[float], None] | None = None,
    sample: Sample | None = None,
) -> Any:
    """Logits of a whole scene: yields (core slices, logits float32 (class, line, pixel), window of scene variables).

    Independent of `tile`: reaches exceed cores by the network's margin, start at multiples of its stride, and are
    padded to such multiples only where the scene ends.
    """
    shape = scene.sizes["line"], scene.sizes["pixel"]
    core = even_core(shape, tile, engine.stride)
    tiles = TileGrid(shape=shape, core=core, margin=engine.margin, multiple=engine.stride)
    done = 0
    rows = list(tiles.rows())
    if engine.view > 1:
        scene = _in_memory(scene)  # the network looks at all of it before the first tile: read once, not twice
        lines = range(0, shape[0], 64 * engine.view)
        strips = (_arrays(scene, slice(i, min(i + lines.step, shape[0]))) for i in lines)
        engine.look(wide_view(strips, list(scene["polarization"].values), card.channels, engine.view))
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(_read_rows, scene, rows[0][0][1].slices[0], card)
        for number, row in enumerate(rows):
            inputs, variables = ahead.result()
            if sample is not None:
                sample.add(inputs, row[0][1].slices[0].start)
            if number + 1 < len(rows):
                ahead = pool.submit(_read_rows, scene, rows[number + 1][0][1].slices[0], card)
            for kept, reach in row:
                part = inputs[:, :, reach.slices[1]]
                pad = [(0, 0), *((0, -n % engine.stride) for n in part.shape[1:])]
                logits = engine(np.pad(part, pad), (reach.slices[0].start, reach.slices[1].start))
                inner = kept.inside(reach)
                line, pixel = inner[0], kept.slices[1]
                window = {k: v[..., line, pixel] for k, v in variables.items()}
                yield kept.slices, logits[(slice(None), *inner)], window
                done += 1
                if progress:
                    progress(done / len(tiles))


def _read_rows(scene: xr.Dataset, lines: slice, card: ModelCard) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Network input (channel, line, pixel) and the variables that flags need, of full-width lines."""
    arrays = _arrays(scene, lines)
    return network_input(arrays, list(scene["polarization"].values), card.channels), arrays


def _in_memory(scene: xr.Dataset) -> xr.Dataset:
    """The scene with the variables that maps are made from in memory, read in strips, each pixel once."""
    names = [n for n in ("sigma0", "nesz", "incidence_angle", "noise_missing") if n in scene and is_lazy(scene[n])]
    if not names:
        return scene
    out = {n: np.empty(scene[n].shape, scene[n].dtype) for n in names}
    for first in range(0, scene.sizes["line"], _STRIP):
        part = slice(first, first + _STRIP)
        strip = scene[names].isel(line=part)
        for n in names:
            out[n][..., part, :] = strip[n].values
    return scene.assign({n: (scene[n].dims, values, scene[n].attrs) for n, values in out.items()})


def _arrays(scene: xr.Dataset, lines: slice) -> dict[str, np.ndarray]:
    """The variables of `_read_rows`."""
    part = scene[["sigma0", "nesz", "incidence_angle"]].isel(line=lines)
    arrays = {str(name): part[name].values for name in part.data_vars}
    missing = scene["noise_missing"].isel(line=lines).values if "noise_missing" in scene else False
    arrays["noise_missing"] = np.broadcast_to(missing, arrays["incidence_angle"].shape)
    arrays["valid"] = np.isfinite(arrays["sigma0"]).all(axis=0) & np.isfinite(arrays["incidence_angle"])
    if "valid" in scene and not is_lazy(scene["valid"]):  # as it was opened it says no more than sigma0 does
        arrays["valid"] &= scene["valid"].isel(line=lines).values.astype(bool)
    return arrays


def _place(scene: xr.Dataset, grid: MapGrid | None) -> tuple[np.ndarray, np.ndarray, Warp | None]:
    if grid is None:
        with_land = add_land(scene)
        return with_land["land_mask"].values, with_land["coast_distance"].values, None
    return (*land_on(grid), plan_warp(scene, grid))


def _finish(
    probability: np.ndarray,
    flags: np.ndarray,
    land: np.ndarray,
    distance: np.ndarray,
    settings: FlagSettings,
    dims: tuple[str, str],
) -> dict[str, tuple[Any, ...]]:
    """The variables of the map from half-percent probabilities on its grid."""
    nodata = (probability[0] == _HALF_PERCENT_NODATA) | ((flags & _BIT["nodata"]) > 0)
    blank = nodata | land
    percent = whole_percents(np.where(nodata, np.uint8(0), probability))
    code, confidence, ice = answers(percent, settings.confidence_percent)
    no_percent = np.where(blank, np.uint8(PERCENT_NODATA), np.uint8(0))
    for plane in (*percent, confidence, ice):
        np.bitwise_or(plane, no_percent, out=plane)  # all bits set: 255
    code[land] = CLASS_LAND
    code[nodata] = CLASS_NODATA
    flags = np.where(nodata, _BIT["nodata"], flags)
    flags[land & ~nodata] = _BIT["land"]
    sea = ~blank
    flags[sea & (distance < settings.coast_m)] |= _BIT["coast"]
    flags[code == UNDECIDED] |= _BIT["undecided"]
    return {
        "probability": (("category", *dims), percent, VARIABLES["probability"]),
        "ice_probability": (dims, ice, VARIABLES["ice_probability"]),
        "ice_class": (dims, code, {}),
        "confidence": (dims, confidence, VARIABLES["confidence"]),
        "quality_flags": (dims, flags.astype(np.uint16), flag_attrs()),
    }


def _dataset(
    maps: dict[str, tuple[Any, ...]],
    coords: dict[str, Any],
    scene: xr.Dataset,
    card: ModelCard,
    settings: FlagSettings,
    grid: MapGrid | None,
) -> xr.Dataset:
    kept = ("product", "mission", "mode", "orbit_pass", "orbit", "start_time", "stop_time", "source", "denoise")
    attrs = {k: scene.attrs[k] for k in kept if k in scene.attrs} | {
        "note": " ".join(filter(None, [scene.attrs.get("note", ""), card.statement, card.figures or _UNTOLD])),
        "Conventions": "CF-1.11",
        "title": "Sea-ice map from Sentinel-1",
        "class_scheme": card.class_scheme,
        "model": card.id,
        "model_card": card.id,
        "model_statement": card.statement,
        "model_incidence_range": list(card.incidence_range),
        "coast_m": settings.coast_m,
        "border_m": settings.border_m,
        "confidence_percent": settings.confidence_percent,
        "frazil_version": __version__,
        "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} frazil {__version__} predict",
    }
    coords = coords | {"category": ("category", list(card.scheme.names))}
    ds = xr.Dataset(maps, coords, attrs)
    ds["ice_class"].attrs = class_attrs(card.scheme, undecided=True)
    if grid is not None:
        for name in ds.data_vars:
            ds[name].attrs["grid_mapping"] = "spatial_ref"
    return ds


def to_binary(ice_map: xr.Dataset) -> xr.Dataset:
    """A map in the binary scheme (water, sea ice) from a map in any other: the ice classes' probabilities added.

    Where ice and water are, and where neither is decided, stays as it is.
    """
    ice = ice_map["ice_probability"]
    blank = ice == PERCENT_NODATA
    both = xr.concat([100 - ice.astype(np.int16), ice], dim="category").where(~blank, PERCENT_NODATA).astype(np.uint8)
    out = ice_map.drop_dims("category")
    out["probability"] = both.assign_coords(category=list(BINARY.names)).assign_attrs(ice_map["probability"].attrs)
    code = ice_map["ice_class"]
    out["ice_class"] = xr.where(code < ice_map.sizes["category"], np.minimum(code, 1), code).astype(np.uint8)
    out["ice_class"].attrs = class_attrs(BINARY, undecided=True)
    for name in ("probability", "ice_class"):
        if "grid_mapping" in ice_map["ice_class"].attrs:
            out[name].attrs["grid_mapping"] = ice_map["ice_class"].attrs["grid_mapping"]
    return out.assign_attrs(ice_map.attrs, class_scheme="binary")
