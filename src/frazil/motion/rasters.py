"""Calibrated GeoTIFFs as radar images: σ0 with a transform, or with ground control points.

Control points are brought into the plane of the result first, and a polynomial of the third degree through them there
gives line and pixel: in degrees, near a pole, no polynomial would do.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer

from frazil.errors import (
    ContractError,
    LabelError,
    LabelNotFoundError,
    OptionError,
    ProductError,
    ProductNotFoundError,
)
from frazil.gdal_files import open_raster
from frazil.georeference import is_placed, refuse_unplaced
from frazil.maps.times import moment_of, span_of_name, span_of_texts
from frazil.scene.grid import MapGrid, Warp

_POLARIZATION = re.compile(r"(?<![A-Za-z])(HH|HV|VV|VH)(?![A-Za-z])", re.IGNORECASE)
_MOST_PIXELS = 500_000_000
_MOST_OFF = 3.0  # pixels between a control point and the polynomial
_DEGREE = 3
_STEP = 16  # pixels of the map between the nodes of a warp


@dataclass(frozen=True, eq=False, kw_only=True)
class RadarRaster:
    """A calibrated raster, read.

    Attributes:
        name: of the file, without suffix.
        time: when it was observed; None where neither tags nor name tell.
        bands: linear power by polarisation, or by ``"band 1"`` …; NaN where missing; float32 (row, column).
        crs: of the control points, or of the transform.
        control: row, column, x and y of control points; rows and columns count pixel corners.
        transform: in place of control points.
    """

    name: str
    time: datetime | None
    bands: dict[str, np.ndarray]
    crs: CRS
    control: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None
    transform: Affine | None

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude, degrees, of the border or the control points."""
        if self.control is not None:
            x, y = self.control[2:]
        else:
            assert self.transform is not None
            rows, columns = next(iter(self.bands.values())).shape
            t = np.linspace(0, 1, 21)
            u = np.concatenate([t, 0 * t + 1, 1 - t, 0 * t]) * columns
            v = np.concatenate([0 * t, t, 0 * t + 1, 1 - t]) * rows
            x, y = (
                self.transform.a * u + self.transform.b * v + self.transform.c,
                (self.transform.d * u + self.transform.e * v + self.transform.f),
            )
        longitude, latitude = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True).transform(x, y)
        return np.asarray(longitude), np.asarray(latitude)

    def place(self, crs: CRS) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """A function from x and y of a CRS to row and column, counted in pixel corners.

        Raises:
            ProductError: the control points do not lie on a smooth surface.
        """
        change = Transformer.from_crs(self.crs, crs, always_xy=True)
        if self.control is None:
            assert self.transform is not None
            inverse, back = ~self.transform, Transformer.from_crs(crs, self.crs, always_xy=True)

            def straight(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                u, v = back.transform(x, y)
                return inverse.d * u + inverse.e * v + inverse.f, inverse.a * u + inverse.b * v + inverse.c

            return straight
        row, column, *at = self.control
        x, y = change.transform(at[0], at[1])
        middle, half = (x.mean(), y.mean()), max(np.ptp(x), np.ptp(y)) / 2
        known = _terms((x - middle[0]) / half, (y - middle[1]) / half)
        weights = [np.linalg.lstsq(known, v, rcond=None)[0] for v in (row, column)]
        off = max(float(np.abs(known @ w - v).max()) for w, v in zip(weights, (row, column), strict=True))
        if not off <= _MOST_OFF:
            raise ProductError(
                f"The control points of {self.name} lie up to {off:.1f} pixels off a smooth surface; at most "
                f"{_MOST_OFF:g} are expected. Geocode the file, or get it again."
            )

        def curved(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            inside = _terms((x - middle[0]) / half, (y - middle[1]) / half)
            return inside @ weights[0], inside @ weights[1]

        return curved

    def on(self, grid: MapGrid, band: str) -> np.ndarray:
        """A band on a grid: blocks of pixels about as large as the grid's are averaged, then interpolated; float32."""
        rows, columns = (np.arange(-(-n // _STEP) + 1) * _STEP + 0.5 for n in grid.shape)
        xx, yy = np.meshgrid(grid.left + columns * grid.spacing_m, grid.top - rows * grid.spacing_m)
        row, column = self.place(grid.pyproj_crs)(xx, yy)
        steps = np.hypot(np.diff(row, axis=1), np.diff(column, axis=1)) / _STEP
        typical = float(np.median(steps[np.isfinite(steps)])) if np.isfinite(steps).any() else 1.0
        looks = int(np.clip(round(typical), 1, min(self.bands[band].shape)))
        values = averaged(self.bands[band], looks)
        # far outside a polynomial may come back to the image
        span = max(self.bands[band].shape)
        outside = (np.abs(row - span / 2) > 2 * span) | (np.abs(column - span / 2) > 2 * span)
        row, column = (np.where(outside, -1e12, v / looks - 0.5) for v in (row, column))
        return Warp(grid, row, column, _STEP, values.shape).bilinear(values)


def averaged(power: np.ndarray, looks: int) -> np.ndarray:
    """Means of looks × looks pixels, of which half were observed; incomplete blocks at the far ends are dropped."""
    if looks == 1:
        return power
    rows, columns = (n // looks for n in power.shape)
    blocks = power[: rows * looks, : columns * looks].reshape(rows, looks, columns, looks)
    seen = np.isfinite(blocks)
    count = seen.sum(axis=(1, 3))
    total = np.where(seen, blocks, 0.0).sum(axis=(1, 3), dtype=np.float64)
    return np.where(2 * count >= looks * looks, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _terms(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.stack([u**i * v**j for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)], axis=-1)


def is_raster(path: str | os.PathLike[str]) -> bool:
    """Whether a path is named as a GeoTIFF; one in the folder of a product belongs to its product."""
    place = Path(path)
    return place.suffix.lower() in (".tif", ".tiff") and place.is_file() and place.parent.name != "measurement"


def read_raster(path: str | os.PathLike[str]) -> RadarRaster:
    """A calibrated GeoTIFF: σ0 in linear power or in decibels, with a transform or control points.

    Bands are of the polarisations that their descriptions name, or the file's tags; else by number. Decibels are known
    by a median below 0.

    Raises:
        ProductNotFoundError: nothing there.
        ProductError: no GeoTIFF, a damaged one, one without a place, or one that is not calibrated.
    """
    from rasterio.errors import RasterioError

    file = Path(path)
    try:
        with open_raster(file, "a GeoTIFF of sigma nought") as raster:
            if raster.width * raster.height * raster.count > _MOST_PIXELS:
                raise ProductError(f"{file} has {raster.width} × {raster.height} × {raster.count} pixels, too many.")
            if np.dtype(raster.dtypes[0]).kind != "f":
                raise ProductError(
                    f"{file} holds {raster.dtypes[0]}, not calibrated sigma nought as floating point. Pass the product "
                    "itself, or a calibrated file (`frazil scene PRODUCT -o FILE.tif`)."
                )
            tags = {str(k).lower(): str(v) for k, v in raster.tags().items()}
            values = raster.read(masked=True).filled(np.nan).astype(np.float32)
            said = [[d or "", *raster.tags(i).values()] for i, d in enumerate(raster.descriptions, 1)]
            words = [" ".join(map(str, each)) for each in said]
            points, where = raster.gcps
            transform, crs = raster.transform, raster.crs
    except LabelNotFoundError as error:
        raise ProductNotFoundError(str(error)) from error
    except (LabelError, RasterioError, OSError) as error:
        raise ProductError(f"{file} cannot be read as a GeoTIFF of sigma nought: {error}") from error
    control, known = _control(file, points), where if points else crs
    if known is None or not is_placed(known.to_wkt()):
        raise ProductError(f"{file} does not say where it lies. Pass a GeoTIFF with a CRS, or with control points.")
    placed = CRS.from_wkt(known.to_wkt())
    if control is None:
        try:
            refuse_unplaced(file, placed, transform)
        except LabelError as error:
            raise ProductError(str(error)) from error
    return RadarRaster(
        name=file.stem,
        time=_time(file, tags),
        bands=_bands(file, values, words),
        crs=placed,
        control=control,
        transform=None if control is not None else transform,
    )


def _control(file: Path, points: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    if not points:
        return None
    table = np.array([(p.row, p.col, p.x, p.y) for p in points], float)
    least = math.comb(_DEGREE + 2, 2)
    if len(table) < least or not np.isfinite(table).all():
        raise ProductError(f"{file} has {len(table)} control points; at least {least}, all finite, are expected.")
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def _bands(file: Path, values: np.ndarray, words: list[str]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for number, (band, said) in enumerate(zip(values, words, strict=True), start=1):
        band[~np.isfinite(band)] = np.nan
        band[band == 0] = np.nan  # what was not observed, in products
        if not np.isfinite(band).any():
            continue
        if np.nanmedian(band) < 0:
            band = np.power(np.float32(10), np.clip(band, -90, 60) / 10)
        named = _POLARIZATION.search(said.replace("_", " "))
        name = named.group(1).upper() if named else f"band {number}"
        found.setdefault(name, band)
    if not found:
        raise ProductError(f"{file} holds no observed pixel.")
    return found


def _time(file: Path, tags: dict[str, str]) -> datetime | None:
    for first, last in (("time_coverage_start", "time_coverage_end"), ("start_time", "stop_time")):
        if first in tags:
            span = span_of_texts(tags[first][:26], tags.get(last, tags[first])[:26])
            if span is not None:
                return span.middle
    named = span_of_name(file.stem)
    return named.start if named is not None and named.hours == 0 else None


def time_of_text(text: str) -> datetime:
    """A time that somebody gave, ISO 8601, UTC.

    Raises:
        OptionError: it is none.
    """
    try:
        return moment_of(text)
    except ContractError:
        raise OptionError(f"Time {text!r} is not ISO 8601, as 2020-01-23T12:06:18.") from None
