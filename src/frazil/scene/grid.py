"""Projected grids: where the pixels of a map lie, and how a radar scene is warped onto them.

Rests on `frazil.scene.geolocation` for line/pixel <-> x/y and on PROJ for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange
from pyproj import CRS
from pyproj.exceptions import CRSError

from frazil.errors import ContractError, OptionError
from frazil.jit import njit
from frazil.scene.geolocation import Geolocation

if TYPE_CHECKING:
    import xarray as xr
    from affine import Affine


@dataclass(frozen=True, kw_only=True)
class MapGrid:
    """A north-up grid of square pixels in a projected CRS.

    Attributes:
        crs: anything PROJ understands, as text (``"EPSG:3413"``); must be projected, in metres.
        left: x of the left edge of the first column, metres.
        top: y of the upper edge of the first row, metres.
        spacing_m: pixel size, metres.
        shape: rows, columns.
    """

    crs: str
    left: float
    top: float
    spacing_m: float
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if self.spacing_m <= 0 or min(self.shape) < 1:
            raise OptionError(
                f"A map grid needs spacing_m > 0 and at least one pixel; got {self.spacing_m} m, shape {self.shape}."
            )
        crs = self.pyproj_crs
        if not crs.is_projected or crs.axis_info[0].unit_name != "metre":
            raise OptionError(f"CRS {self.crs!r} is not projected in metres. Pass for instance EPSG:3413.")

    @cached_property
    def pyproj_crs(self) -> CRS:
        """The CRS as PROJ knows it."""
        try:
            return CRS.from_user_input(self.crs)
        except CRSError as error:
            raise OptionError(f"CRS {self.crs!r} is unknown to PROJ. Pass for instance EPSG:3413.") from error

    @property
    def transform(self) -> Affine:
        """Column, row (at pixel corners) -> x, y."""
        from affine import Affine

        return Affine(self.spacing_m, 0.0, self.left, 0.0, -self.spacing_m, self.top)

    @property
    def x(self) -> np.ndarray:
        """X of the pixel centres, metres, ascending."""
        return self.left + (np.arange(self.shape[1]) + 0.5) * self.spacing_m

    @property
    def y(self) -> np.ndarray:
        """Y of the pixel centres, metres, descending."""
        return self.top - (np.arange(self.shape[0]) + 0.5) * self.spacing_m

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top, metres."""
        rows, columns = self.shape
        return (
            self.left,
            self.top - rows * self.spacing_m,
            self.left + columns * self.spacing_m,
            self.top,
        )

    def part(self, rows: slice, columns: slice) -> MapGrid:
        """Some rows and columns of the grid, as a grid."""
        return replace(
            self,
            left=self.left + columns.start * self.spacing_m,
            top=self.top - rows.start * self.spacing_m,
            shape=(rows.stop - rows.start, columns.stop - columns.start),
        )

    def coords(self) -> dict[str, object]:
        """The coordinates ``y``, ``x`` and ``spatial_ref`` of a Dataset on this grid (CF grid mapping and GDAL's)."""
        import xarray as xr

        from frazil.conventions import VARIABLES

        t = self.transform
        attrs = self.pyproj_crs.to_cf()
        if attrs.get("grid_mapping_name") == "polar_stereographic":  # CF wants the pole, PROJ leaves it out
            south = attrs.get("standard_parallel", 90.0) < 0
            attrs.setdefault("latitude_of_projection_origin", -90.0 if south else 90.0)
        attrs["GeoTransform"] = f"{t.c!r} {t.a!r} {t.b!r} {t.f!r} {t.d!r} {t.e!r}"
        return {
            "y": ("y", self.y, VARIABLES["y"]),
            "x": ("x", self.x, VARIABLES["x"]),
            "spatial_ref": xr.Variable((), np.int32(0), attrs),
        }

    @classmethod
    def of(cls, ds: xr.Dataset) -> MapGrid:
        """The grid of a Dataset with coordinates ``y``, ``x`` and ``spatial_ref``.

        Raises:
            ContractError: a coordinate is missing or unevenly spaced.
        """
        missing = [name for name in ("y", "x", "spatial_ref") if name not in ds.variables]
        if missing:
            raise ContractError(
                f"This Dataset is not on a projected grid: {missing} missing. Use predict() with a crs."
            )
        x, y = ds["x"].values, ds["y"].values
        if x.size < 2 or y.size < 2:
            raise ContractError(f"A projected grid needs at least 2 × 2 pixels; got {y.size} × {x.size}.")
        spacing = float(x[-1] - x[0]) / (x.size - 1)
        if not (np.allclose(np.diff(x), spacing, rtol=1e-6) and np.allclose(np.diff(y), -spacing, rtol=1e-6)):
            raise ContractError("The y, x coordinates are not evenly spaced square pixels with y descending.")
        crs = CRS.from_wkt(ds["spatial_ref"].attrs["crs_wkt"])
        authority = crs.to_authority()
        return cls(
            crs=":".join(authority) if authority else crs.to_wkt(),
            left=float(x[0]) - spacing / 2,
            top=float(y[0]) + spacing / 2,
            spacing_m=spacing,
            shape=(y.size, x.size),
        )


_MAX_PIXELS = 2_000_000_000  # of a map: an Interferometric Wide scene at 10 m has 1 · 10⁹
_NOWHERE = -1e12  # NaN would spread to neighbours of weight 0


@dataclass(frozen=True, eq=False)
class Warp:
    """Where each pixel of a map grid lies in a radar array, ready to sample.

    Attributes:
        grid: the map grid.
        row, column: fractional index into the radar array, on the nodes of a coarse lattice over the map grid
            (every `step` pixels); far from the array where the scene has no place.
        step: pixels between lattice nodes.
        shape: of the radar array.
    """

    grid: MapGrid
    row: np.ndarray
    column: np.ndarray
    step: int
    shape: tuple[int, int]

    def part(self, rows: slice, columns: slice) -> tuple[Warp | None, slice, slice]:
        """The warp of a part of the map, and the lines and pixels of the radar array that it needs.

        Args:
            rows: of the map; they begin on nodes of the lattice.
            columns: likewise.

        Returns:
            The warp from the radar window, or None where the part lies outside; lines; pixels.
        """
        nodes = tuple(slice(s.start // self.step, -(-s.stop // self.step) + 1) for s in (rows, columns))
        row, column = self.row[nodes], self.column[nodes]
        near = (row > _NOWHERE / 2) & (column > _NOWHERE / 2)
        window = []
        for at, n in ((row, self.shape[0]), (column, self.shape[1])):
            low, high = (int(np.floor(at[near].min())) - 1, int(np.ceil(at[near].max())) + 2) if near.any() else (0, 0)
            window.append(slice(min(max(low, 0), n), max(min(high, n), 0)))
        lines, pixels = window
        if lines.stop <= lines.start or pixels.stop <= pixels.start:
            return None, lines, pixels
        grid = self.grid.part(rows, columns)
        shape = lines.stop - lines.start, pixels.stop - pixels.start
        return Warp(grid, row - lines.start, column - pixels.start, self.step, shape), lines, pixels

    def nearest(self, values: np.ndarray, fill: Any) -> np.ndarray:
        """A radar array (line, pixel) on the map grid by nearest neighbour, `fill` outside: for classes and flags."""
        out = np.empty(self.grid.shape, values.dtype)
        _sample_nearest(values, self.row, self.column, self.step, values.dtype.type(fill), out)
        return out

    def bilinear(self, values: np.ndarray, missing: float = np.nan) -> np.ndarray:
        """A radar array (line, pixel) on the map grid by bilinear interpolation: for continuous quantities. float32.

        NaN outside and where the nearest radar pixel is missing (NaN, or the value given); other missing neighbours do
        not spread, they get no weight.
        """
        out = np.empty(self.grid.shape, np.float32)
        _sample_bilinear(np.ascontiguousarray(values), self.row, self.column, self.step, float(missing), out)
        return out

    def bilinear_planes(self, planes: np.ndarray, missing: int) -> np.ndarray:
        """Radar arrays uint8 (plane, line, pixel) on the map grid as `bilinear` gives them, rounded; uint8.

        What is missing (the value given) must be so in all planes alike: one pass finds where to take it from.
        """
        out = np.empty((len(planes), *self.grid.shape), np.uint8)
        _sample_planes(np.ascontiguousarray(planes), self.row, self.column, self.step, np.uint8(missing), out)
        return out


def plan_warp(scene: xr.Dataset, grid: MapGrid) -> Warp:
    """The warp of a scene onto a map grid.

    Newton's method finds line and pixel at every 32nd map pixel, at more of them where 32 would be a large part of
    the scene; between, they are interpolated linearly, which errs by less than a hundredth of a pixel.
    """
    geo = Geolocation.of(scene)
    # A node beyond a tenth of the scene outside it has no place and takes its whole block along.
    step = int(np.clip(0.05 * geo.shortest_side(grid.pyproj_crs) / grid.spacing_m, 1, 32))
    rows, columns = (-(-n // step) + 1 for n in grid.shape)
    x = grid.left + (np.arange(columns) * step + 0.5) * grid.spacing_m
    y = grid.top - (np.arange(rows) * step + 0.5) * grid.spacing_m
    xx, yy = np.meshgrid(x, y)
    line, pixel = geo.line_pixel(xx, yy, grid.pyproj_crs)
    at = scene["line"].values, scene["pixel"].values
    (l0, dl), (p0, dp) = ((c[0], (c[-1] - c[0]) / max(c.size - 1, 1)) for c in at)
    row, column = (np.nan_to_num(v, nan=_NOWHERE) for v in ((line - l0) / dl, (pixel - p0) / dp))
    return Warp(grid, row, column, step, (at[0].size, at[1].size))


def grid_for(scene: xr.Dataset, *, crs: str | None = None, spacing_m: float) -> MapGrid:
    """The map grid that holds a whole scene; its edges lie on multiples of the spacing, so that neighbours align.

    Args:
        scene: a scene.
        crs: projected, in metres; by default EPSG:3413 in the north and EPSG:3031 in the south, and below 60° of
            latitude the UTM zone of the scene's centre.
        spacing_m: pixel size, metres.

    Raises:
        OptionError: the CRS is unknown, not in metres, not made for the place of the scene, or tears it; the spacing is
            not positive or absurd; the grid has more than 2 · 10⁹ pixels.
    """
    geo = Geolocation.of(scene)
    name = crs or geo.default_crs()
    if not 1.0 <= spacing_m <= 100_000.0:
        raise OptionError(f"spacing_m must lie between 1 and 100 000 m; got {spacing_m}.")
    probe = MapGrid(crs=name, left=0.0, top=0.0, spacing_m=spacing_m, shape=(1, 1))
    geo.check_crs(probe.pyproj_crs)
    x, y = geo.outline(probe.pyproj_crs)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise OptionError(f"CRS {name!r} has no place for this scene. Use {geo.default_crs()}.")
    left, right = np.floor(x.min() / spacing_m), np.ceil(x.max() / spacing_m)
    bottom, top = np.floor(y.min() / spacing_m), np.ceil(y.max() / spacing_m)
    shape = (int(top - bottom), int(right - left))
    if shape[0] * shape[1] > _MAX_PIXELS:
        raise OptionError(
            f"A map of this scene at {spacing_m:g} m has {shape[0]} × {shape[1]} pixels, more than {_MAX_PIXELS:.0e}. "
            f"Choose a larger spacing; the scene itself has {scene.attrs.get('spacing_m', 0):g} m."
        )
    return MapGrid(
        crs=name, left=float(left * spacing_m), top=float(top * spacing_m), spacing_m=float(spacing_m), shape=shape
    )


@njit(inline="always")
def _position(row, column, step, i, j):  # type: ignore[no-untyped-def]
    """Fractional radar index of map pixel (i, j), bilinear in the lattice."""
    a, b = i // step, j // step
    u, v = (i - a * step) / step, (j - b * step) / step
    r = (1 - u) * ((1 - v) * row[a, b] + v * row[a, b + 1]) + u * ((1 - v) * row[a + 1, b] + v * row[a + 1, b + 1])
    c = (1 - u) * ((1 - v) * column[a, b] + v * column[a, b + 1]) + u * (
        (1 - v) * column[a + 1, b] + v * column[a + 1, b + 1]
    )
    return r, c


@njit(parallel=True)
def _sample_nearest(values, row, column, step, fill, out):  # type: ignore[no-untyped-def]
    n, m = values.shape
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            r, c = _position(row, column, step, i, j)
            out[i, j] = fill
            if r > -0.5 and c > -0.5 and r < n - 0.5 and c < m - 0.5:
                out[i, j] = values[int(np.floor(r + 0.5)), int(np.floor(c + 0.5))]


@njit(parallel=True)
def _sample_bilinear(values, row, column, step, missing, out):  # type: ignore[no-untyped-def]
    n, m = values.shape
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            r, c = _position(row, column, step, i, j)
            out[i, j] = np.nan
            if not (r > -0.5 and c > -0.5 and r < n - 0.5 and c < m - 0.5):
                continue
            nearest = float(values[int(np.floor(r + 0.5)), int(np.floor(c + 0.5))])
            if nearest != nearest or nearest == missing:
                continue
            r = min(max(r, 0.0), n - 1.0)
            c = min(max(c, 0.0), m - 1.0)
            a, b = int(r), int(c)
            total = 0.0
            weight = 0.0
            for k in range(2):
                for h in range(2):
                    if a + k < n and b + h < m:
                        value = float(values[a + k, b + h])
                        w = (r - a if k else 1.0 - (r - a)) * (c - b if h else 1.0 - (c - b))
                        if value == value and value != missing:
                            total += w * value
                            weight += w
            if weight > 0.0:
                out[i, j] = total / weight


@njit(parallel=True)
def _sample_planes(values, row, column, step, missing, out):  # type: ignore[no-untyped-def]
    n, m = values.shape[1:]
    for i in prange(out.shape[1]):
        for j in range(out.shape[2]):
            r, c = _position(row, column, step, i, j)
            inside = r > -0.5 and c > -0.5 and r < n - 0.5 and c < m - 0.5
            if not inside or values[0, int(np.floor(r + 0.5)), int(np.floor(c + 0.5))] == missing:
                for k in range(out.shape[0]):
                    out[k, i, j] = missing
                continue
            r = min(max(r, 0.0), n - 1.0)
            c = min(max(c, 0.0), m - 1.0)
            a, b = int(r), int(c)
            a1, b1 = min(a + 1, n - 1), min(b + 1, m - 1)
            w00 = (1.0 - (r - a)) * (1.0 - (c - b)) * (values[0, a, b] != missing)
            w01 = (1.0 - (r - a)) * (c - b) * (values[0, a, b1] != missing)
            w10 = (r - a) * (1.0 - (c - b)) * (values[0, a1, b] != missing)
            w11 = (r - a) * (c - b) * (values[0, a1, b1] != missing)
            total = w00 + w01 + w10 + w11
            for k in range(out.shape[0]):
                value = (
                    w00 * values[k, a, b] + w01 * values[k, a, b1] + w10 * values[k, a1, b] + w11 * values[k, a1, b1]
                )
                out[k, i, j] = np.uint8(np.rint(value / total))
