"""A scene and a model to a map, whatever its classes: inference in tiles, flags, and the warp to a projected grid.

The scene goes through the network tile by tile; tiles overlap by more than the receptive field, so that the map does
not depend on them, and no more than one row of tiles is held at a time. What the network's scores mean, and what a map
makes of them, its `Answers` say: `frazil.learn.predict.ice`, `frazil.learn.predict.phenomena`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import numpy as np
import xarray as xr

from frazil import __version__
from frazil.conventions import Denoise, check_scene, sensor_of
from frazil.dates import date_made
from frazil.errors import ModelError, OptionError
from frazil.learn.checkpoint import Model, ModelCard, load_model
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.tiles import Part, tile_logits
from frazil.learn.infer.wide import wide_view
from frazil.learn.predict.fit import Sample, check_fit, check_logits, outside_training, wanted_denoise
from frazil.learn.predict.flags import BIT, FlagSettings, Holds, border_cells, flag_border, flags_of_cells, n_cells
from frazil.learn.predict.part import MapPart, part_of
from frazil.memory import require_memory
from frazil.products import Product, open_product
from frazil.scene.box import Box
from frazil.scene.discovery import WHOSE
from frazil.scene.grid import MapGrid, Warp, grid_for, plan_warp
from frazil.scene.land import add_land, land_on
from frazil.scene.lazy import is_lazy
from frazil.scene.quicklook import QuickLook, looks_of
from frazil.scene.scaling import network_input
from frazil.scene.tiles import TileGrid, Window

_STRIP = 512  # lines that are read at a time
#: What scores are on the radar grid where nothing was observed; elsewhere they are at most 200.
SCORE_NODATA = 255

#: Called with the fraction done, 0…1, and what is being done.
Progress = Callable[[float, str], None]
PathOrScene = xr.Dataset | Product | str | os.PathLike[str]
#: West, south, east, north in degrees; west above east across 180°.
BoxLike = Sequence[float] | str | Box


class Answers(Protocol):
    """What a map makes of a network's scores."""

    @property
    def title(self) -> str:
        """Of the map, without the sensor."""
        ...

    @property
    def doing(self) -> str:
        """What the network does, for progress."""
        ...

    @property
    def holds(self) -> Holds:
        """What a cell of several pixels is a result of."""
        ...

    @property
    def flags(self) -> FlagSettings:
        """Thresholds."""
        ...

    def spacing_m(self, card: ModelCard, cell: int) -> float:
        """Pixel size of the map that nobody asked for."""
        ...

    def engine(self, model: Model) -> Engine:
        """What runs the network; refuses a model that gives no such map, and settings that do not fit it."""
        ...

    def tiles(self, engine: Engine, shape: tuple[int, int]) -> TileGrid:
        """How a scene of so many lines and pixels is cut."""
        ...

    def keep(self, logits: np.ndarray, engine: Engine, card: ModelCard, out: np.ndarray) -> None:
        """Logits float32 (class, row, column) as scores uint8, 0 to 200, into `out`."""
        ...

    def refine(self, radar: RadarMap, scene: xr.Dataset, on: xr.Dataset, card: ModelCard) -> dict[str, object]:
        """Change scores on the radar grid by what the scene or the place tells; returns attributes of the map."""
        ...

    def finish(
        self,
        scores: np.ndarray,
        flags: np.ndarray,
        land: np.ndarray,
        distance: np.ndarray,
        coords: dict[str, object],
        dims: tuple[str, str],
        card: ModelCard,
    ) -> dict[str, tuple[Any, ...]]:
        """The variables of the map from scores and flags on its grid; arrays may be used up."""
        ...

    def attrs(self, card: ModelCard) -> dict[str, object]:
        """Attributes of the map that only this kind has, and its ``note`` without that of the scene."""
        ...


@dataclass(frozen=True, eq=False)
class RadarMap:
    """What the network says, on the radar grid, one value for each of the engine's cells.

    Attributes:
        scores: uint8 (class, line, pixel), as `Answers.keep` has it; 255 where not observed.
        flags: uint16 (line, pixel), without land and coast.
        sample: of what the network was shown.
    """

    scores: np.ndarray
    flags: np.ndarray
    sample: Sample


def map_scene(
    scene: PathOrScene,
    model: Model | str | os.PathLike[str],
    answers: Answers,
    *,
    crs: str | None,
    spacing_m: float | None,
    bbox: BoxLike | None = None,
    denoise: Denoise | None = None,
    twice: bool = False,
    progress: Progress | None = None,
) -> xr.Dataset:
    """The map of a scene.

    Args:
        scene: see `frazil.predict`.
        model: likewise.
        answers: what scores mean.
        crs: see `frazil.predict`.
        spacing_m: likewise.
        bbox: likewise.
        denoise: likewise.
        twice: whether the scene's pixels are wanted again after the network.
        progress: see `frazil.predict`.

    Raises:
        OptionError: a box of the radar grid, that is none, or that does not touch the scene.
    """
    box = None if bbox is None else Box.of(bbox)
    if box is not None and crs is None:
        raise OptionError("A bbox is of a map on a projected grid. Name a crs, or cut the scene's lines and pixels.")
    loaded = model if isinstance(model, Model) else load_model(model)
    card = loaded.card
    report = progress or (lambda _fraction, _what: None)
    engine = answers.engine(loaded)
    if not isinstance(scene, xr.Dataset):
        report(0.0, "opening the product")
        scene = open_for(scene, card, denoise)
    check_scene(scene)
    check_fit(scene, card, denoise)
    if twice:
        scene = in_memory(scene)
    on = _cells(scene, engine.cell, answers.holds)
    spacing = answers.spacing_m(card, engine.cell) if spacing_m is None else spacing_m
    grid = None if crs is None else grid_for(on, crs=None if crs == "auto" else crs, spacing_m=spacing)
    part = window = None
    if box is not None and grid is not None:
        part = part_of(on, grid, box)
        grid = part.grid
        size = scene.sizes["line"], scene.sizes["pixel"]
        border = border_cells(answers.flags.border_m, float(on.attrs["spacing_m"]))
        border = max(border, 2 + -(-2 * looks_of(scene, grid.spacing_m) // engine.cell))
        window = part.window(size, answers.tiles(engine, size), engine.cell, engine.margin, border)
    if grid is not None:
        pixels, planes = grid.shape[0] * grid.shape[1], len(card.scheme.classes)
        require_memory(
            pixels * (planes + 23), f"A map of {grid.shape[0]} × {grid.shape[1]} pixels", "Choose a larger spacing_m."
        )
    with ThreadPoolExecutor(1) as pool:
        # Land and the warp's geometry need no pixels: they are made while the network works.
        place = pool.submit(_place, on, grid, part, answers.flags.coast_m)
        look = None if grid is None else QuickLook(scene, grid.spacing_m, window)
        radar = classify(
            scene, engine, card, answers, look, window=window, progress=lambda f: report(0.05 + 0.75 * f, answers.doing)
        )
        report(0.8, "mapping")
        strange = radar.sample.strange(scene, card)
        if strange:
            radar.flags[(radar.flags & BIT["nodata"]) == 0] |= BIT["outside_training"]
        land, distance, warp = place.result()
    if part is not None and window is not None:
        scores, flags = (part.cells(values, window, engine.cell) for values in (radar.scores, radar.flags))
        radar, on = RadarMap(scores, flags, radar.sample), on.isel(line=part.lines, pixel=part.pixels)
    said = answers.refine(radar, scene, on, card)
    if warp is None:
        coords: dict[str, object] = {str(name): on[name] for name in _PLACE if name in on.variables}
        coords |= {str(name): on[name] for name in on.variables if str(name).startswith("tie_")}
        maps = answers.finish(radar.scores, radar.flags, land, distance, coords, ("line", "pixel"), card)
    else:
        scores = warp.bilinear_planes(radar.scores, missing=SCORE_NODATA)
        flags = warp.nearest(radar.flags, fill=BIT["nodata"])
        if part is not None:
            scores, flags, said = part.on_grid(scores), part.on_grid(flags), {"bbox": str(box), **said}
        coords = (grid or warp.grid).coords()
        maps = answers.finish(scores, flags, land, distance, coords, ("y", "x"), card)
        if look is not None:
            if part is not None:
                image = part.image(look, scene)
            else:
                image = look.on(warp if on is scene else plan_warp(scene, warp.grid))
            maps["quicklook"] = (("look", "y", "x"), image, look.attrs())
    report(1.0, "mapping")
    return outside_training(_dataset(maps, coords, scene, card, answers, said, grid), strange)


_PLACE = ("line", "pixel")


def open_for(path: str | os.PathLike[str] | Product, card: ModelCard, denoise: Denoise | None = None) -> xr.Dataset:
    """The scene of a product as a model wants it, but for a noise removal that was asked for.

    Raises:
        ModelError: the product lacks a polarisation, its pixels do not divide the model's spacing, or the noise removal
            is none for the model.
    """
    chosen = wanted_denoise(card, denoise)
    product = open_product(path) if isinstance(path, (str, os.PathLike)) else path
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
    looks = max(round(card.spacing_m / product.spacing_m), 1)
    boxcar = card.boxcar and looks == 1
    return product.open_scene(
        polarizations=card.polarizations,
        looks=looks,
        boxcar=boxcar,
        denoise=chosen,  # type: ignore[arg-type]
    )


def classify(
    scene: xr.Dataset,
    engine: Engine,
    card: ModelCard,
    answers: Answers,
    look: QuickLook | None = None,
    *,
    window: Window | None = None,
    progress: Callable[[float], None] | None = None,
) -> RadarMap:
    """Scores and flags of a scene on its own grid, row of tiles by row of tiles; of a window of it, those of its cells.

    The quick-look, of the same window, takes in each row. `RadarMap.sample` is of the whole scene in any case.
    """
    cell, holds = engine.cell, answers.holds
    size = (scene.sizes["line"], scene.sizes["pixel"]) if window is None else (window.n_lines, window.n_pixels)
    shape = tuple(n_cells(n, cell, holds) for n in size)
    if min(shape) < 1:
        raise ModelError(f"A scene of {size[0]} × {size[1]} pixels holds no cell of {cell}.")
    scores = np.full((len(card.scheme.classes), *shape), SCORE_NODATA, np.uint8)
    flags = np.full(shape, BIT["nodata"], np.uint16)
    sample = Sample.of(scene) if window is None else sampled(scene, card)
    for part in scene_parts(scene, engine, card, answers.tiles(engine, size), progress, window):
        first, inputs, arrays = part.read
        if window is None:
            sample.add(inputs, first)
        if look is not None:
            look.add(first, arrays["sigma0"], arrays["valid"])
        here = tuple(slice(s.start, min(s.stop, n)) for s, n in zip(part.cells, shape, strict=True))
        rows, columns = (s.stop - s.start for s in here)
        if min(rows, columns) < 1:
            continue
        logits = part.logits[:, :rows, :columns]
        check_logits(logits, card)
        line, pixel = part.lines.start, part.core.pixel
        to = (
            ...,
            slice(line, min(line + rows * cell, part.lines.stop)),
            slice(pixel, min(pixel + columns * cell, pixel + part.core.n_pixels)),
        )
        flags[here], observed = flags_of_cells(
            {name: values[to] for name, values in arrays.items()}, cell, holds, card.incidence_range
        )
        kept = scores[(slice(None), *here)]
        answers.keep(logits, engine, card, kept)
        kept |= np.where(observed, np.uint8(0), np.uint8(SCORE_NODATA))
    flag_border(flags, answers.flags.border_m, float(scene.attrs["spacing_m"]) * cell)
    return RadarMap(scores, flags, sample)


def sampled(scene: xr.Dataset, card: ModelCard) -> Sample:
    """What a network would be shown of a whole scene, of which lines far apart alone are read."""
    sample, polarizations = Sample.of(scene), list(scene["polarization"].values)
    for line in range(0, scene.sizes["line"], sample.step):
        sample.add(network_input(_arrays(scene, slice(line, line + 1)), polarizations, card.channels), line)
    return sample


def scene_parts(
    scene: xr.Dataset,
    engine: Engine,
    card: ModelCard,
    tiles: TileGrid,
    progress: Callable[[float], None] | None = None,
    window: Window | None = None,
) -> Iterator[Part[tuple[int, np.ndarray, dict[str, np.ndarray]]]]:
    """What an engine makes of a scene, tile by tile, with the first line read, the network's input, and the arrays.

    Of a window of the scene, into which `tiles` cuts, lines and pixels count from its corner.
    """
    if engine.view > 1:
        if window is None:
            scene = in_memory(scene)  # the network looks at all of it before the first tile: read once, not twice
        step, end = 64 * engine.view, scene.sizes["line"]
        strips = (_arrays(scene, slice(i, min(i + step, end))) for i in range(0, end, step))
        engine.look(wide_view(strips, list(scene["polarization"].values), card.channels, engine.view))
    corner = (0, 0)
    if window is not None:
        corner = window.line, window.pixel
        scene = scene.isel(line=window.slices[0], pixel=window.slices[1])

    def read(lines: slice) -> tuple[np.ndarray, tuple[int, np.ndarray, dict[str, np.ndarray]]]:
        arrays = _arrays(scene, lines)
        inputs = network_input(arrays, list(scene["polarization"].values), card.channels)
        return inputs, (lines.start, inputs, arrays)

    return tile_logits(engine, tiles, read, progress, corner)


def _cells(scene: xr.Dataset, cell: int, holds: Holds) -> xr.Dataset:
    """A Dataset at the middles of the cells that results come in."""
    if cell == 1:
        return scene
    spacing_m = float(scene.attrs["spacing_m"]) * cell
    if holds == "middle":
        middle = slice(cell // 2, None, cell)
        return scene.isel(line=middle, pixel=middle).assign_attrs(spacing_m=spacing_m)
    of = {d: n_cells(scene.sizes[d], cell, holds) for d in _PLACE}
    middles = {d: (d, scene[d].values[: n * cell].reshape(n, cell).mean(1)) for d, n in of.items()}
    ties = {k: scene[k] for k in scene.variables if str(k).startswith("tie_")}
    return xr.Dataset(
        {k: v for k, v in ties.items() if k in scene.data_vars},
        middles | {k: v for k, v in ties.items() if k in scene.coords},
        scene.attrs | {"spacing_m": spacing_m},
    )


def in_memory(scene: xr.Dataset) -> xr.Dataset:
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
    """The variables that inputs and flags need, of full-width lines."""
    part = scene[["sigma0", "nesz", "incidence_angle"]].isel(line=lines)
    arrays = {str(name): part[name].values for name in part.data_vars}
    missing = scene["noise_missing"].isel(line=lines).values if "noise_missing" in scene else False
    arrays["noise_missing"] = np.broadcast_to(missing, arrays["incidence_angle"].shape)
    arrays["valid"] = np.isfinite(arrays["sigma0"]).all(axis=0) & np.isfinite(arrays["incidence_angle"])
    if "valid" in scene and not is_lazy(scene["valid"]):  # as it was opened it says no more than sigma0 does
        arrays["valid"] &= scene["valid"].isel(line=lines).values.astype(bool)
    return arrays


def _place(
    scene: xr.Dataset, grid: MapGrid | None, part: MapPart | None, coast_m: float
) -> tuple[np.ndarray, np.ndarray, Warp | None]:
    if part is not None:
        return (*part.land(coast_m), part.warp)
    if grid is None:
        with_land = add_land(scene)
        return with_land["land_mask"].values, with_land["coast_distance"].values, None
    return (*land_on(grid), plan_warp(scene, grid))


def _dataset(
    maps: dict[str, tuple[Any, ...]],
    coords: dict[str, object],
    scene: xr.Dataset,
    card: ModelCard,
    answers: Answers,
    said: dict[str, object],
    grid: MapGrid | None,
) -> xr.Dataset:
    kept = (
        "product",
        "mission",
        "sensor",
        "mode",
        "orbit_pass",
        "orbit",
        "start_time",
        "stop_time",
        "source",
        "denoise",
        *WHOSE,
    )
    sensor = sensor_of(scene.attrs)
    if scene.attrs["denoise"] != card.denoise:
        other = f"Noise was removed as {scene.attrs['denoise']!r}; the model learnt from {card.denoise!r}."
        said = {"model_denoise": card.denoise, "other_denoise": other, **said}
    own = answers.attrs(card)
    notes = (said.pop("other_denoise", ""), said.get("adapted", ""), scene.attrs.get("note", ""), own.pop("note", ""))
    attrs = {k: scene.attrs[k] for k in kept if k in scene.attrs} | {
        "note": " ".join(str(note) for note in notes if note),
        "Conventions": "CF-1.11",
        "title": f"{answers.title} from {sensor}" if sensor else answers.title,
        "class_scheme": card.class_scheme,
        "model": card.id,
        "model_card": card.id,
        "model_statement": card.statement,
        "model_incidence_range": list(card.incidence_range),
        "coast_m": answers.flags.coast_m,
        "border_m": answers.flags.border_m,
        **own,
        "frazil_version": __version__,
        "history": f"{date_made():%Y-%m-%dT%H:%M:%SZ} frazil {__version__} map",
        **said,
    }
    ds = xr.Dataset(maps, coords | {"category": ("category", list(card.scheme.names))}, attrs)
    if grid is not None:
        for name in ds.data_vars:
            ds[name].attrs["grid_mapping"] = "spatial_ref"
    return ds
