"""Two radar scenes on one grid, in decibels, ready to be compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from pyproj import CRS, Transformer

from frazil.conventions import Check, Denoise
from frazil.errors import OptionError
from frazil.motion.rasters import RadarRaster, is_raster, read_raster
from frazil.products import Product, open_product
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid, plan_warp
from frazil.scene.land import land_on
from frazil.scene.scaling import to_db

MOST_DAYS = 10.0
_MOST_PIXELS = 200_000_000  # of one image on the common grid
_LEAST_PIXELS = 99  # of the side of the common area
_DARKEST = 2.0  # percent of pixels that are set to the darkest among the others


class _Source(Protocol):
    """A scene that can be put on a grid."""

    @property
    def name(self) -> str: ...
    @property
    def time(self) -> datetime: ...
    @property
    def polarizations(self) -> tuple[str, ...]: ...
    @property
    def attribution(self) -> str: ...
    def lonlat(self) -> tuple[np.ndarray, np.ndarray]: ...
    def on(self, grid: MapGrid, polarizations: tuple[str, ...]) -> np.ndarray: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagePair:
    """Two scenes on one grid.

    Attributes:
        grid: north-up, projected.
        first, second: σ0 in dB, NaN where land or not observed; float32 (polarization, y, x).
        polarizations: that both have.
        names: of the products.
        times: UTC, the middle of each scene.
        land: True on land, bool (y, x).
        attribution: whose data they are.
    """

    grid: MapGrid
    first: np.ndarray
    second: np.ndarray
    polarizations: tuple[str, ...]
    names: tuple[str, str]
    times: tuple[datetime, datetime]
    land: np.ndarray
    attribution: str

    @property
    def days(self) -> float:
        """Between the scenes."""
        return (self.times[1] - self.times[0]) / timedelta(days=1)


def open_pair(
    first: str | os.PathLike[str] | Product,
    second: str | os.PathLike[str] | Product,
    *,
    times: tuple[str | None, str | None] = (None, None),
    spacing_m: float = 80.0,
    max_speed_ms: float = 0.5,
    polarizations: tuple[str, ...] | None = None,
    denoise: Denoise = "esa",
    check: Check = "quick",
    progress: Callable[[float, str], None] = lambda _f, _w: None,
) -> ImagePair:
    """Put two scenes on one polar grid.

    The grid holds what both observed, and around it what ice may have reached; its edges lie on multiples of the
    spacing.

    Args:
        first: a product, as `frazil.open_product` takes it, or a calibrated GeoTIFF, see
            `frazil.motion.rasters.read_raster`.
        second: likewise, of a later time.
        times: ISO 8601, UTC, of GeoTIFFs that do not tell their own.
        spacing_m: of the grid.
        max_speed_ms: faster than this no ice is expected.
        polarizations: which ones; None for those that both have.
        denoise: of products, see `frazil.open_scene`.
        check: likewise.
        progress: is told the share done, and what is being done.

    Raises:
        ProductNotFoundError, ProductError, UnsupportedProductError: as `frazil.open_scene`.
        OptionError: one scene twice; the first is later than the second, or more than ten days earlier; a time that is
            missing or that is given for a product; different hemispheres; no overlap; no common polarisation.
    """
    if not 20 <= spacing_m <= 2000:
        raise OptionError(f"spacing_m is {spacing_m:g}; pixels of 20 to 2000 m are matched.")
    progress(0.0, "opening")
    looks = (denoise, check)
    pair = [_open(path, time, spacing_m, *looks) for path, time in zip((first, second), times, strict=True)]
    a, b = pair
    _check_times(a, b)
    common = tuple(p for p in a.polarizations if p in b.polarizations)
    wanted = tuple(polarizations or common)
    missing = [p for p in wanted if p not in common]
    if missing or not wanted:
        raise OptionError(
            f"{a.name} has {', '.join(a.polarizations)}, {b.name} has {', '.join(b.polarizations)}; "
            + (f"both should have {missing[0]}." if missing else "they have none in common.")
            + " Choose scenes or polarisations that go together."
        )
    reach = max_speed_ms * (b.time - a.time).total_seconds()
    grid = _common_grid(a, b, spacing_m, reach)
    land = land_on(grid)[0]
    images = []
    for number, source in enumerate(pair):
        progress(0.05 + 0.45 * number, f"reading {source.name}")
        image = source.on(grid, wanted)
        for band in image:
            _clip_dark(band, land)
        images.append(image)
    if not (np.isfinite(images[0]) & np.isfinite(images[1])).any():
        raise OptionError(f"{a.name} and {b.name} share no sea that both observed. Choose scenes of the same place.")
    for image, source in zip(images, pair, strict=True):
        if not np.isfinite(image).any():
            raise OptionError(f"No sea of {source.name} was observed where the scenes overlap.")
    both = dict.fromkeys(text for source in pair if (text := source.attribution))
    return ImagePair(
        grid=grid,
        first=images[0],
        second=images[1],
        polarizations=wanted,
        names=(a.name, b.name),
        times=(a.time, b.time),
        land=land,
        attribution=" ".join(both),
    )


def _clip_dark(band: np.ndarray, land: np.ndarray) -> None:
    """Mask land, and lift the darkest pixels, whose decibels are noise, to the darkest among the others; in place."""
    band[land] = np.nan
    seen = band[::4, ::4]
    seen = seen[np.isfinite(seen)]
    if seen.size:
        np.maximum(band, np.percentile(seen, _DARKEST), out=band)  # NaN stays


def _check_times(a: _Source, b: _Source) -> None:
    if a.name == b.name and a.time == b.time:
        raise OptionError(f"Both scenes are {a.name}. Drift needs two scenes of the same ice at different times.")
    if a.time >= b.time:
        raise OptionError(
            f"The first scene ({a.time:%Y-%m-%dT%H:%M:%S}) is not earlier than the second "
            f"({b.time:%Y-%m-%dT%H:%M:%S}). Give the earlier one first."
        )
    days = (b.time - a.time) / timedelta(days=1)
    if days > MOST_DAYS:
        raise OptionError(
            f"The scenes are {days:.1f} days apart; patterns of ice are matched over at most {MOST_DAYS:g}. Choose "
            "scenes that are closer."
        )


def _common_grid(a: _Source, b: _Source, spacing_m: float, reach_m: float) -> MapGrid:
    places = [source.lonlat() for source in (a, b)]
    north = [float(np.mean(latitude)) >= 0 for _, latitude in places]
    if north[0] != north[1]:
        names = [("northern" if n else "southern") for n in north]
        raise OptionError(f"{a.name} is in the {names[0]} and {b.name} in the {names[1]} hemisphere.")
    crs = "EPSG:3413" if north[0] else "EPSG:3031"
    change = Transformer.from_crs("EPSG:4326", CRS.from_user_input(crs), always_xy=True)
    boxes = []
    for place in places:
        x, y = (np.asarray(v) for v in change.transform(*place))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise OptionError(f"A scene has corners that {crs} has no place for.")
        boxes.append((x.min(), y.min(), x.max(), y.max()))
    low, high = np.maximum(boxes[0][:2], boxes[1][:2]), np.minimum(boxes[0][2:], boxes[1][2:])
    if (high - low < _LEAST_PIXELS * spacing_m).any():
        gap = max(float((low - high).max()) / 1000, 0.0)
        how = f"lie {gap:.0f} km apart" if gap > 0 else f"overlap by less than {_LEAST_PIXELS} pixels"
        raise OptionError(f"{a.name} and {b.name} {how}. Choose scenes of the same place.")
    around = np.array(boxes)
    left, bottom = np.floor(np.maximum(low - reach_m, around[:, :2].min(axis=0)) / spacing_m)
    right, top = np.ceil(np.minimum(high + reach_m, around[:, 2:].max(axis=0)) / spacing_m)
    shape = int(top - bottom), int(right - left)
    if shape[0] * shape[1] > _MOST_PIXELS:
        raise OptionError(
            f"The common grid would have {shape[0]} × {shape[1]} pixels of {spacing_m:g} m, more than "
            f"{_MOST_PIXELS:.0e}. Choose a larger spacing."
        )
    return MapGrid(
        crs=crs, left=float(left * spacing_m), top=float(top * spacing_m), spacing_m=float(spacing_m), shape=shape
    )


def _open(
    given: str | os.PathLike[str] | Product, time: str | None, spacing_m: float, denoise: Denoise, check: Check
) -> _Source:
    if isinstance(given, (str, os.PathLike)) and is_raster(given):
        return _OfRaster(read_raster(given), time)
    if time is not None:
        raise OptionError(f"A time ({time}) is given for a product, which tells its own. Leave it out.")
    product = open_product(given, check=check) if isinstance(given, (str, os.PathLike)) else given
    if len({image.image for image in product.images}) > 1:
        raise OptionError(f"{product.name} is a series of images; drift needs one scene.")
    return _OfProduct(product, spacing_m, denoise)


class _OfRaster:
    """A calibrated raster as a source."""

    def __init__(self, raster: RadarRaster, time: str | None) -> None:
        from frazil.motion.rasters import time_of_text

        found = time_of_text(time) if time is not None else raster.time
        if found is None:
            raise OptionError(
                f"{raster.name} does not tell its time, neither by tags nor by its name. Pass --time-a or --time-b "
                "(times=) as 2020-01-23T12:06:18."
            )
        self.raster, self.time, self.name = raster, found, raster.name
        self.polarizations = tuple(raster.bands)
        self.attribution = ""

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        return self.raster.lonlat()

    def on(self, grid: MapGrid, polarizations: tuple[str, ...]) -> np.ndarray:
        return np.stack([_decibels(self.raster.on(grid, p)) for p in polarizations])


class _OfProduct:
    """A product of any sensor as a source."""

    def __init__(self, product: Product, spacing_m: float, denoise: Denoise) -> None:
        self.product, self.denoise = product, denoise
        self.looks = max(1, round(spacing_m / product.spacing_m))
        self.name = product.name
        self.polarizations = tuple(product.polarizations)
        image = product.images[0]
        span = [t.astype("datetime64[us]").item().replace(tzinfo=UTC) for t in (image.start_time, image.stop_time)]
        self.time: datetime = span[0] + (span[1] - span[0]) / 2
        self._attribution = ""

    @property
    def attribution(self) -> str:
        return self._attribution

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        return Geolocation.of_ties(self.product.images[0].ties).outline(CRS.from_epsg(4326))

    def on(self, grid: MapGrid, polarizations: tuple[str, ...]) -> np.ndarray:
        scene = self.product.open_scene(polarizations=polarizations, denoise=self.denoise, looks=self.looks)
        self._attribution = str(scene.attrs.get("attribution") or "")
        warp = plan_warp(scene, grid)
        out = np.empty((len(polarizations), *grid.shape), np.float32)
        for k in range(len(polarizations)):
            out[k] = _decibels(warp.bilinear(np.asarray(scene["sigma0"][k].values)))
        return out


def _decibels(power: np.ndarray) -> np.ndarray:
    return np.asarray(to_db(power), np.float32)
