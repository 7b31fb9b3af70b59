"""A scene on the desk: its map as it is now, the cells it learns on, and the planes that the page shows of it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from pyproj import Transformer

from frazil.conventions import (
    CLASS_LAND,
    LAND_COLOUR,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    UNDECIDED_COLOUR,
    Check,
    ClassScheme,
    check_ice_map,
)
from frazil.desk.folder import make_desk
from frazil.desk.labels import Label
from frazil.desk.tiles import Paint, Pyramid, levels_of, paint_of_codes, paint_of_ramp, png, png_of_colours
from frazil.errors import ContractError, OptionError
from frazil.files import refuse_existing
from frazil.learn.cells.cells import Cells, cells_of, load_cells, save_cells
from frazil.learn.cells.places import next_places, places_by_lot, share_right
from frazil.learn.cells.teach import Taught, softmax, teach
from frazil.learn.propagation.graph import certainty
from frazil.maps.panels import DOUBTS, RAMPS
from frazil.scene.grid import MapGrid
from frazil.scene.quicklook import Band, bands_told

if TYPE_CHECKING:
    from frazil.learn.checkpoint import Model
    from frazil.learn.predict.scene import Progress

CELLS_FILE, MAP_FOLDER = "cells.npz", "map"
_TESTS = 500  # places of a scene that are drawn by lot, in their order
_A_LABEL = 40  # cells of a label that are learnt from at most
_CHANGED = (230, 60, 120)  # another class than the network's
_CERTAINTY = ((34, 30, 60), (90, 70, 150), (120, 160, 200), (240, 245, 220))


class DeskScene:
    """See the module. All methods may be called from several threads.

    Args:
        name: of its folder.
        ice_map: in memory, with ``quicklook``.
        cells: of it.
        source: what it was made from.

    Attributes:
        version: grows when the map changes.
        taught: what it has learnt, None before anything was.
    """

    def __init__(self, name: str, ice_map: xr.Dataset, cells: Cells, source: str) -> None:
        self.name, self.cells, self.source = name, cells, source
        self.first = ice_map  #: as the network has it
        self.now = ice_map
        self.taught: Taught | None = None
        self.version = 0
        self.grid = MapGrid.of(ice_map)
        self.bands: tuple[Band, ...] = bands_told(ice_map["quicklook"].attrs)
        self.tests = places_by_lot(cells, _TESTS)
        self._to_lonlat = Transformer.from_crs(self.grid.pyproj_crs, "OGC:CRS84", always_xy=True)
        self.levels = levels_of(self.grid.shape)
        self._pyramids: dict[tuple[str, int], Pyramid] = {}
        self._lock = RLock()

    @property
    def scheme(self) -> ClassScheme:
        """Of its classes."""
        return self.cells.scheme

    @property
    def layers(self) -> list[str]:
        """Names of what `tile` shows."""
        radar = [band.name for band in self.bands]
        both = ["rgb"] if len(radar) >= 2 else []
        classes = [f"p{c.code}" for c in self.scheme.classes]
        return [*radar, *both, "class", "network", "ice", "confidence", "certainty", *classes, "flags", "changed"]

    def contrast(self, band: Band) -> tuple[float, float]:
        """Limits in dB between which nearly all of the sea lies, in halves of a dB: 1 and 99 % of its pixels."""
        plane = self.first["quicklook"].values[self.bands.index(band)][::8, ::8]
        sea = plane[(self.first["ice_class"].values[::8, ::8] < CLASS_LAND) & (plane > 0)]
        if not sea.size:
            return band.low_db, band.high_db
        low, high = np.percentile(sea, [1, 99])
        step = (band.high_db - band.low_db) / 254
        ends = [np.round(2 * (band.low_db + (v - 1) * step)) / 2 for v in (low, high)]
        return float(max(ends[0] - 1, band.low_db)), float(min(ends[1] + 1, band.high_db))

    def tile(
        self, layer: str, zoom: int, column: int, row: int, stretch: Sequence[tuple[float, float]] = ()
    ) -> bytes | None:
        """A PNG of 256 × 256 pixels; None where there is no such tile.

        Args:
            layer: one of `layers`.
            zoom: see `frazil.desk.tiles.Pyramid.block`.
            column: likewise.
            row: likewise.
            stretch: lower and upper limit in dB of each radar band shown.

        Raises:
            OptionError: an unknown layer.
        """
        if layer not in self.layers:
            raise OptionError(f"Layer {layer!r:.40} is not one of {self.layers}.")
        if layer == "rgb":
            named = [self.bands[1], self.bands[0], self.bands[0]]  # cross-polarised ice red, the sea blue-green
            blocks = [self._pyramid(band.name).block(zoom, column, row) for band in named]
            found = [b for b in blocks if b is not None]
            limits = [
                _grey(band, pair)
                for band, pair in zip(named, [*stretch[1:2], *stretch[:1], *stretch[:1]], strict=False)
            ]
            limits += [_grey(band, None) for band in named[len(limits) :]]
            return png_of_colours(found, limits) if len(found) == 3 else None
        block = self._pyramid(layer).block(zoom, column, row)
        return None if block is None else png(block, self._paint(layer, stretch))

    def _pyramid(self, layer: str) -> Pyramid:
        radar = [band.name for band in self.bands]
        fixed = layer in radar or layer == "network"
        with self._lock:
            key = (layer, 0 if fixed else self.version)
            if key not in self._pyramids:
                self._pyramids = {k: v for k, v in self._pyramids.items() if k[0] != layer or fixed}
                plane = self._plane(layer)
                average = layer in radar or layer in ("ice", "confidence", "certainty") or re.fullmatch(r"p\d+", layer)
                self._pyramids[key] = Pyramid.of(plane, self.levels, average=bool(average))
            return self._pyramids[key]

    def _plane(self, layer: str) -> np.ndarray:
        names = [band.name for band in self.bands]
        if layer in names:
            return np.asarray(self.now["quicklook"].values[names.index(layer)])
        one = np.uint8(1)
        if layer in ("class", "network"):
            return (self.now if layer == "class" else self.first)["ice_class"].values + one
        if layer == "ice":
            return self.now["ice_probability"].values + one
        if layer == "confidence":
            return self.now["confidence"].values + one
        if layer == "changed":
            before, after = self.first["ice_class"].values, self.now["ice_class"].values
            return np.where(after == 255, np.uint8(0), (before != after) + one)
        if layer == "flags":
            return _doubts(self.now["quality_flags"].values)
        if layer == "certainty":
            omega = certainty(softmax(self.cells.log_probability) if self.taught is None else self.taught.probability)
            return self._of_cells(np.rint(100 * omega).astype(np.uint8) + one)
        return self.now["probability"].values[int(layer[1:])] + one

    def _of_cells(self, values: np.ndarray) -> np.ndarray:
        """Values of cells on the pixels of the map; 0 elsewhere."""
        side, shape = self.cells.side, self.grid.shape
        out = np.zeros(shape, np.uint8)
        fine = self.cells.on_grid(values, 0).astype(np.uint8).repeat(side, 0).repeat(side, 1)
        out[: fine.shape[0], : fine.shape[1]] = fine
        out[self.now["ice_class"].values >= CLASS_LAND] = 0
        return out

    def _paint(self, layer: str, stretch: Sequence[tuple[float, float]]) -> Paint:
        for band in self.bands:
            if layer == band.name:
                return paint_of_ramp(((0, 0, 0), (255, 255, 255)), *_grey(band, stretch[0] if stretch else None))
        if layer in ("class", "network"):
            colours = {c.code: c.colour for c in self.scheme.classes}
            return paint_of_codes({**colours, UNDECIDED: UNDECIDED_COLOUR, CLASS_LAND: LAND_COLOUR})
        if layer == "changed":
            return paint_of_codes({1: _CHANGED})
        if layer == "flags":
            return paint_of_codes(dict(enumerate(colour for _, colour in DOUBTS.values())))
        ramp = {"ice": RAMPS["ice"], "certainty": _CERTAINTY}.get(layer, RAMPS["confidence"])
        return paint_of_ramp(ramp, 51 if layer == "confidence" else 1, 101)

    def at(self, x: float, y: float) -> dict[str, Any]:
        """What is known of a place of the map's CRS, metres; empty outside of the map."""
        column = int(np.floor((x - self.grid.left) / self.grid.spacing_m))
        row = int(np.floor((self.grid.top - y) / self.grid.spacing_m))
        if not (0 <= row < self.grid.shape[0] and 0 <= column < self.grid.shape[1]):
            return {}
        now = self.now.isel(y=row, x=column)
        code = int(now["ice_class"])
        radar = {
            band.name: band.low_db + (int(value) - 1) / 254 * (band.high_db - band.low_db)
            for band, value in zip(self.bands, now["quicklook"].values, strict=True)
            if value
        }
        lonlat = [round(float(v), 5) for v in self._to_lonlat.transform(x, y)]
        found: dict[str, Any] = {"lonlat": lonlat, "code": code, "db": {k: round(v, 1) for k, v in radar.items()}}
        percents = now["probability"].values
        if percents[0] != PERCENT_NODATA:
            found["percent"] = [int(p) for p in percents]
            found["confidence"] = int(now["confidence"])
        bits = int(now["quality_flags"])
        found["flags"] = [name for name, (bit, _) in QUALITY_FLAGS.items() if bits & bit]
        cell = row // self.cells.side, column // self.cells.side
        if (
            self.cells.angle is not None
            and min(n - k for n, k in zip(self.cells.grid.shape, cell, strict=True)) > 0
            and np.isfinite(self.cells.angle[cell])
        ):
            found["angle"] = round(float(self.cells.angle[cell]), 2)
            if self.cells.nesz_db is not None:
                found["nesz_db"] = [
                    round(float(v), 1) for v in self.cells.nesz_db[(slice(None), *cell)] if np.isfinite(v)
                ]
        return found

    def learnt_from(self, labels: Sequence[Label]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cells, classes and weights of labels; of cells that several labels hold, the last one's; none of the tests.

        A label of n cells counts as √n, not as n: neighbours are alike.
        """
        tests = {int(c) for label in labels if label.purpose == "test" for c in self.cells_in(label)}
        found: dict[int, tuple[int, float]] = {}
        for label in labels:
            if label.purpose != "learn" or label.scene != self.name:
                continue
            inside = [int(c) for c in self.cells_in(label) if int(c) not in tests]
            if len(inside) > _A_LABEL:
                inside = [inside[i] for i in np.linspace(0, len(inside) - 1, _A_LABEL).astype(int)]
            for cell in inside:
                found.pop(cell, None)
                found[cell] = (label.code, len(inside) ** -0.5)
        where = np.array(list(found), np.int64)
        codes = np.array([code for code, _ in found.values()], np.int64)
        return where, codes, np.array([weight for _, weight in found.values()], float)

    def cells_in(self, label: Label) -> np.ndarray:
        """Numbers of the cells whose middles lie in a label; of one that holds none, that of a place inside it.

        A click and the answer to a question are about the place in the middle: what else the square holds was not told.
        """
        import shapely

        if label.scene != self.name:
            return np.zeros(0, np.int64)
        shape, grid = label.shape, self.cells.grid
        west, south, east, north = shape.bounds
        columns = _range((west - grid.left) / grid.spacing_m, (east - grid.left) / grid.spacing_m, grid.shape[1])
        rows = _range((grid.top - north) / grid.spacing_m, (grid.top - south) / grid.spacing_m, grid.shape[0])
        x, y = np.meshgrid(grid.x[columns], grid.y[rows])
        number = self.cells.number[rows, columns]
        inside = number[(number >= 0) & shapely.contains_xy(shape, x, y)]
        if not inside.size or label.origin in ("click", "queue"):
            point = shape.representative_point()
            inside = self.cells.at(np.array([point.x]), np.array([point.y]))
        return np.asarray(inside[inside >= 0], np.int64)

    def learn(self, labels: Sequence[Label]) -> dict[str, Any]:
        """Map the scene anew from labels, and say how many cells were learnt from; without labels the network's map."""
        from frazil.learn.cells.pixels import taught_map

        where, codes, weights = self.learnt_from(labels)
        taught = teach(self.cells, where, codes, weights) if len(where) else None
        made = taught_map(self.first, self.cells, taught) if taught else self.first
        with self._lock:
            self.now, self.taught = made, taught
            self.version += 1
        unused = sum(not len(self.cells_in(label)) for label in labels if label.scene == self.name)
        return {"cells": len(where), "unused": unused, **self.score(labels)}

    def score(self, labels: Sequence[Label]) -> dict[str, Any]:
        """How many of the places drawn by lot the map has right, now and before it learnt; with the 95 % interval."""
        answers = {int(c): label.code for label in labels if label.purpose == "test" for c in self.cells_in(label)[:1]}
        if self.taught is not None:  # a place answered after it was learnt from tells nothing until it learns anew
            answers = {cell: code for cell, code in answers.items() if cell not in set(self.taught.labelled.tolist())}
        if not answers:
            return {"tests": 0}
        cells, codes = np.array(list(answers)), np.array(list(answers.values()))
        network = self.cells.log_probability[cells].argmax(axis=1)
        now = network if self.taught is None else self.taught.logits[cells].argmax(axis=1)
        share, low, high = share_right(int((now == codes).sum()), len(codes))
        before = share_right(int((network == codes).sum()), len(codes))
        return {
            "tests": len(codes),
            "right": round(share, 3),
            "interval": [round(low, 3), round(high, 3)],
            "network_right": round(before[0], 3),
        }

    def places(self, labels: Sequence[Label], n: int = 8) -> list[dict[str, Any]]:
        """Where to look next: places to learn from, and every fourth one drawn by lot to test the map on."""
        where, _, _ = self.learnt_from(labels)
        asked = {int(c) for label in labels for c in self.cells_in(label) if label.purpose == "test"}
        tests = [int(c) for c in self.tests if int(c) not in asked][: max(n // 4, 1)]
        logits = self.cells.log_probability if self.taught is None else self.taught.logits
        probability = softmax(logits)
        chosen = next_places(self.cells, probability, np.array([*where, *asked, *tests], np.int64), n - len(tests))
        x, y = self.cells.places()
        half = self.cells.grid.spacing_m / 2
        order = [(int(c), "learn") for c in chosen]
        for k, cell in enumerate(tests):
            order.insert(min(4 * k + 3, len(order)), (cell, "test"))
        return [
            {
                "cell": cell,
                "x": round(float(x[cell]), 1),
                "y": round(float(y[cell]), 1),
                "half": half,
                "purpose": purpose,
                "likeliest": int(probability[cell].argmax()),
            }
            for cell, purpose in order
        ]

    def segment(self, x: float, y: float) -> list[list[list[float]]]:
        """The outline of the patch of one class that a place lies in: rings, as of `Label`; none on land or outside."""
        from frazil.desk.shapes import segment_around

        return segment_around(self.now, self.grid, x, y)


def _grey(band: Band, stretch: tuple[float, float] | None) -> tuple[float, float]:
    """Limits in dB as values of the radar image."""
    low, high = stretch or (band.low_db, band.high_db)
    step = (band.high_db - band.low_db) / 254
    return 1 + (low - band.low_db) / step, 1 + (high - band.low_db) / step


def _doubts(flags: np.ndarray) -> np.ndarray:
    """The last of `DOUBTS` at each pixel, counted from 1; 0 without any."""
    out = np.zeros(flags.shape, np.uint8)
    for k, name in enumerate(DOUBTS):
        out[(flags & QUALITY_FLAGS[name][0]) > 0] = k + 1
    return out


def _range(low: float, high: float, n: int) -> slice:
    """Cells whose middles may lie between two places, in cells from the border."""
    first = int(np.clip(np.floor(low - 0.5), 0, n))
    return slice(first, int(np.clip(np.ceil(high + 0.5), first, n)))


def open_scene_of_desk(
    source: str | os.PathLike[str],
    folder: Path,
    model: Model,
    *,
    spacing_m: float | None = None,
    check: Check = "quick",
    progress: Progress | None = None,
) -> DeskScene:
    """A scene from a product or a map; what was made of it before is taken from the folder.

    Args:
        source: a product, a map folder or its ``map.nc``.
        folder: of the desk; is made.
        model: for products.
        spacing_m: of the map of a product; by default the model's.
        check: of the product, see `frazil.open_product`.
        progress: called as work proceeds.

    Raises:
        FrazilError: as `frazil.predict` and `frazil.open_map`.
    """
    from frazil.learn.cells.look import look_at
    from frazil.learn.predict.scene import open_for
    from frazil.maps.export import export
    from frazil.maps.netcdf import open_map
    from frazil.products import open_product

    path = Path(source)
    report = progress or (lambda _fraction, _what: None)
    is_map = path.name == "map.nc" or (path / "map.nc").is_file()
    home = (path.parent if path.name == "map.nc" else path).resolve()
    name = _plain_name(home.name)
    if is_map:  # many folders are called map
        name += "-" + hashlib.sha256(os.fsencode(home)).hexdigest()[:8]
    place = folder / name
    kept, cells_file = place / MAP_FOLDER, place / CELLS_FILE
    if cells_file.is_file() and (is_map or (kept / "map.nc").is_file()):
        with suppress(ContractError):  # of another version: made anew
            return _again(name, open_map(path if is_map else kept).compute(), load_cells(cells_file), str(path))
    if is_map:
        ice_map = open_map(path).compute()
        check_ice_map(ice_map)
        report(0.5, "cutting into cells")
        cells = cells_of(ice_map)
    else:
        opened = open_for(open_product(path, check=check), model.card)
        ice_map, cells = look_at(opened, model, spacing_m=spacing_m, progress=lambda f, what: report(0.8 * f, what))
        report(0.8, "writing")
        refuse_existing(kept, overwrite=True)
        make_desk(folder)
        place.mkdir(exist_ok=True)
        export(ice_map, kept, overwrite=True, formats=("netcdf", "summary"))
    make_desk(folder)
    place.mkdir(exist_ok=True)
    save_cells(cells, cells_file)
    report(1.0, "ready")
    return DeskScene(name, ice_map, cells, str(path))


def _again(name: str, ice_map: xr.Dataset, cells: Cells, source: str) -> DeskScene:
    """A scene that was on the desk before.

    Raises:
        ContractError: the cells are of another map.
    """
    grid = MapGrid.of(ice_map)
    told = (cells.grid.crs, cells.grid.left, cells.grid.top, cells.grid.spacing_m, cells.grid.shape)
    side = cells.side
    if told != (grid.crs, grid.left, grid.top, grid.spacing_m * side, (grid.shape[0] // side, grid.shape[1] // side)):
        raise ContractError("These cells are of another map.")
    return DeskScene(name, ice_map, cells, source)


def _plain_name(name: str) -> str:
    for end in (".zip", ".SAFE", ".safe"):
        name = name.removesuffix(end)
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100] or "scene"
