"""Where a pixel of the radar grid lies on Earth, and the reverse.

Tie points are interpolated as Earth-centred coordinates (ECEF): smooth everywhere, at the pole and across the
antimeridian too, where longitude is not. The reverse is Newton's method on the same surface, seen in a projection.

Tie points over land carry the height of the land, which displaces them by h / tan θ towards the sensor; a smooth
surface through them would carry that displacement far out to sea (tie points are 20 km apart). So they are first
reduced to sea level, along range. For the bundled Severnaya Zemlya product this lowers the error at left-out tie points
from 141 to 28 m (rms). Pixels of land are shown where sea level would be: this is a map of the sea.

References:
    S1-RS-MDA-52-7441 (Sentinel-1 Product Specification), section 3.2.7: geolocationGrid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from pyproj import CRS, Geod, Transformer
from scipy.interpolate import RectBivariateSpline
from scipy.spatial import cKDTree

from frazil.errors import OptionError

if TYPE_CHECKING:
    import xarray as xr

_GEODETIC = CRS.from_epsg(4979)
_GEOCENTRIC = CRS.from_epsg(4978)
_TOLERANCE = 1e-4  # pixels, of Newton's method
_STEPS = 25
_POLAR_LATITUDE = 60.0  # degrees
_BEYOND_AREA = 15.0  # degrees that a scene may lie outside the area of use of a CRS
_MOST_STRETCHED = 1.5  # factor on lengths


@lru_cache(maxsize=32)
def _transformer(source: CRS, target: CRS) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


@dataclass(frozen=True, kw_only=True)
class TiePoints:
    """The geolocation grid. Arrays of dims (tie_line, tie_pixel); `line` and `pixel` are one-dimensional.

    Latitude and longitude in degrees (WGS 84), height in metres above the ellipsoid, angles in degrees.
    """

    line: np.ndarray
    pixel: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    height: np.ndarray
    incidence_angle: np.ndarray
    elevation_angle: np.ndarray


@dataclass(frozen=True, eq=False)
class Geolocation:
    """The tie points of a product as a smooth surface over (line, pixel).

    Attributes:
        line, pixel: tie positions in the full-resolution image, ascending.
        latitude, longitude: degrees, WGS 84, of dims (tie_line, tie_pixel).
        height: metres above the ellipsoid, same dims.
    """

    line: np.ndarray
    pixel: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    height: np.ndarray

    @classmethod
    def of(cls, scene: xr.Dataset) -> Geolocation:
        """The geolocation of a scene Dataset, at sea level."""
        names = ("tie_line", "tie_pixel", "tie_latitude", "tie_longitude", "tie_height")
        raw = cls(*(scene[name].values for name in names))
        return raw.at_sea_level(scene["tie_incidence_angle"].values) if "tie_incidence_angle" in scene else raw

    @classmethod
    def of_ties(cls, ties: TiePoints) -> Geolocation:
        """The geolocation of the tie points of a product, at sea level."""
        raw = cls(ties.line, ties.pixel, ties.latitude, ties.longitude, ties.height)
        return raw.at_sea_level(ties.incidence_angle)

    def at_sea_level(self, incidence_angle: np.ndarray) -> Geolocation:
        """The same with tie points moved to the place at height 0 that has their slant range.

        Args:
            incidence_angle: degrees, of dims (tie_line, tie_pixel).
        """
        geod = Geod(ellps="WGS84")
        lon, lat = self.longitude, self.latitude
        azimuth = np.empty_like(lon)
        azimuth[:, :-1], back, _ = geod.inv(lon[:, :-1], lat[:, :-1], lon[:, 1:], lat[:, 1:])
        azimuth[:, -1] = back[:, -1] + 180.0  # the last column looks along the cell before it
        outwards = np.where(incidence_angle[:, -1:] < incidence_angle[:, :1], -1.0, 1.0)  # pixels may count inwards
        to_far_range = outwards * -self.height / np.tan(np.radians(incidence_angle))
        moved_lon, moved_lat, _ = geod.fwd(lon, lat, azimuth, to_far_range)
        return Geolocation(self.line, self.pixel, moved_lat, moved_lon, np.zeros_like(self.height))

    @cached_property
    def _ecef(self) -> tuple[RectBivariateSpline, RectBivariateSpline, RectBivariateSpline]:
        xyz = _transformer(_GEODETIC, _GEOCENTRIC).transform(self.longitude, self.latitude, self.height)
        order = min(3, len(self.line) - 1), min(3, len(self.pixel) - 1)
        x, y, z = (RectBivariateSpline(self.line, self.pixel, component, kx=order[0], ky=order[1]) for component in xyz)
        return x, y, z

    def _transform(self, line: np.ndarray, pixel: np.ndarray, target: CRS) -> tuple[np.ndarray, np.ndarray]:
        xyz = (surface(line, pixel, grid=False) for surface in self._ecef)
        first, second, _ = _transformer(_GEOCENTRIC, target).transform(*xyz)
        return np.asarray(first), np.asarray(second)

    def lonlat(self, line: ArrayLike, pixel: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Longitude (−180…180) and latitude, degrees, of image positions (broadcast together; fractions welcome)."""
        line, pixel = np.broadcast_arrays(np.asarray(line, float), np.asarray(pixel, float))
        return self._transform(line, pixel, _GEODETIC)

    def xy(self, line: ArrayLike, pixel: ArrayLike, crs: CRS) -> tuple[np.ndarray, np.ndarray]:
        """Projected x and y, in the units of the CRS, of image positions (broadcast together)."""
        line, pixel = np.broadcast_arrays(np.asarray(line, float), np.asarray(pixel, float))
        return self._transform(line, pixel, crs.to_3d())

    def line_pixel(self, x: np.ndarray, y: np.ndarray, crs: CRS) -> tuple[np.ndarray, np.ndarray]:
        """Image line and pixel, fractional, of projected positions; the reverse of `xy`.

        Positions outside the tie grid by more than a tenth of its size give NaN; just outside, the surface goes on.

        Raises:
            OptionError: the scene is torn in this CRS (it crosses the seam of the projection).
        """
        plane = self._plane(crs)
        return plane.invert(np.asarray(x, float), np.asarray(y, float))

    def _plane(self, crs: CRS) -> _Plane:
        planes = self.__dict__.setdefault("_planes", {})
        key = crs.to_wkt()
        if key not in planes:
            planes[key] = _Plane.make(self, crs)
        plane: _Plane = planes[key]
        return plane

    def outline(self, crs: CRS, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
        """X and y along the border of the tie grid, once round."""
        l0, l1, p0, p1 = self.line[0], self.line[-1], self.pixel[0], self.pixel[-1]
        t = np.linspace(0, 1, points)
        line = np.concatenate([l0 + 0 * t, l0 + (l1 - l0) * t, l1 + 0 * t, l1 + (l0 - l1) * t])
        pixel = np.concatenate([p0 + (p1 - p0) * t, p1 + 0 * t, p1 + (p0 - p1) * t, p0 + 0 * t])
        return self.xy(line, pixel, crs)

    def shortest_side(self, crs: CRS) -> float:
        """Length of the shortest side of the tie grid in a projection, metres."""
        corners = np.ix_([0, -1], [0, -1])
        line, pixel = (v[corners] for v in np.meshgrid(self.line, self.pixel, indexing="ij"))
        x, y = self.xy(line, pixel, crs)
        place = x + 1j * y
        return float(min(np.abs(np.diff(place, axis=0)).min(), np.abs(np.diff(place, axis=1)).min()))

    def footprint(self, points: int = 12) -> list[tuple[float, float]]:
        """Longitude and latitude along the border, once round, closed."""
        lon, lat = self.outline(_GEODETIC, points)
        ring = list(zip(lon.tolist(), lat.tolist(), strict=True))
        return [*ring, ring[0]]

    def polar_crs(self) -> str:
        """``"EPSG:3413"`` for a scene of the northern hemisphere, ``"EPSG:3031"`` for the southern."""
        return "EPSG:3413" if float(np.mean(self.latitude)) >= 0 else "EPSG:3031"

    def default_crs(self) -> str:
        """The CRS of maps unless another is asked for.

        Polar stereographic beyond 60° of latitude (see `polar_crs`); elsewhere, where that would stretch the scene, the
        UTM zone of its centre.
        """
        middle = (self.line[0] + self.line[-1]) / 2, (self.pixel[0] + self.pixel[-1]) / 2
        lon, lat = (float(v) for v in self.lonlat(*middle))
        if abs(lat) >= _POLAR_LATITUDE:
            return self.polar_crs()
        zone = int((lon + 180) // 6) % 60 + 1
        return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"

    def check_crs(self, crs: CRS) -> None:
        """Raise unless a projected CRS fits the scene.

        It fits where the scene lies in its area of use, or within 15 degrees of it, and where lengths on the map are
        true to a factor of 1.5: elsewhere pixels are not of the size they claim, and a map has many times as many.

        Raises:
            OptionError: saying how far off it is; or the scene is torn in this CRS.
        """
        use = crs.area_of_use
        if use is not None:
            middle, half = (use.west + use.east) / 2, (use.east - use.west) / 2
            if use.west > use.east:  # across the antimeridian
                middle, half = middle + 180, half + 180
            sideways = np.abs((self.longitude - middle + 180) % 360 - 180) - half
            sideways = np.where(np.abs(self.latitude) > 85, 0, sideways)  # longitudes meet
            beyond = max(sideways.max(), (use.south - self.latitude).max(), (self.latitude - use.north).max())
            if beyond > _BEYOND_AREA:
                raise OptionError(
                    f"The scene lies up to {beyond:.0f}° outside the area where {crs.name!r} is used ({use.name}). "
                    f"Use {self.default_crs()} or another CRS made for its place."
                )
        self._plane(crs)
        line, pixel = np.meshgrid(self.line, self.pixel, indexing="ij")
        x, y = self.xy(line, pixel, crs)
        lon, lat = self.lonlat(line, pixel)
        geod = Geod(ellps="WGS84")
        scales = []
        pairs: tuple[tuple[Any, Any], ...] = ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:]))
        for a, b in pairs:
            length = geod.inv(lon[a], lat[a], lon[b], lat[b])[2]
            scales.append((np.hypot(x[b] - x[a], y[b] - y[a]) / np.maximum(length, 1.0)).ravel())
        scale = np.concatenate(scales)
        worst = float(np.exp(np.abs(np.log(np.maximum(scale, 1e-9))).max())) if np.isfinite(scale).all() else np.inf
        if worst > _MOST_STRETCHED:
            raise OptionError(
                f"{crs.name!r} stretches lengths of this scene by a factor of {worst:.1f}. "
                f"Use {self.default_crs()} or another CRS made for its place."
            )


@dataclass(frozen=True, eq=False)
class _Plane:
    """The surface in one projection, with what Newton's method needs."""

    sx: RectBivariateSpline
    sy: RectBivariateSpline
    tree: cKDTree
    start: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def make(cls, geo: Geolocation, crs: CRS) -> _Plane:
        """Densify the tie grid fourfold in ECEF, project it, and fit splines in the plane."""
        line = _densify(geo.line)
        pixel = _densify(geo.pixel)
        ll, pp = np.meshgrid(line, pixel, indexing="ij")
        x, y = geo.xy(ll, pp, crs)
        if not (np.isfinite(x).all() and np.isfinite(y).all()) or _torn(x, y):
            raise OptionError(
                f"The scene crosses the seam of {crs.name!r}, where it has no single place. "
                f"Use {geo.default_crs()} or another CRS centred near the scene."
            )
        span = np.array([line[-1] - line[0], pixel[-1] - pixel[0]])
        low = np.array([line[0], pixel[0]])
        return cls(
            sx=RectBivariateSpline(line, pixel, x),
            sy=RectBivariateSpline(line, pixel, y),
            tree=cKDTree(np.column_stack([x.ravel(), y.ravel()])),
            start=np.column_stack([ll.ravel(), pp.ravel()]),
            lower=low - 0.1 * span,
            upper=low + 1.1 * span,
        )

    def invert(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = np.broadcast(x, y).shape
        x, y = (np.broadcast_to(v, shape).ravel() for v in (x, y))
        _, nearest = self.tree.query(np.column_stack([x, y]))
        at = self.start[nearest].copy()
        inner_low = self.start[0]
        inner_high = self.start[-1]
        for _ in range(_STEPS):
            # Splines are only good inside the tie grid: outside, go on from its border along the tangent.
            inside = np.clip(at, inner_low, inner_high)
            l, p = inside.T  # noqa: E741
            jxl, jxp = self.sx(l, p, dx=1, grid=False), self.sx(l, p, dy=1, grid=False)
            jyl, jyp = self.sy(l, p, dx=1, grid=False), self.sy(l, p, dy=1, grid=False)
            d = at - inside
            ex = x - (self.sx(l, p, grid=False) + jxl * d[:, 0] + jxp * d[:, 1])
            ey = y - (self.sy(l, p, grid=False) + jyl * d[:, 0] + jyp * d[:, 1])
            det = jxl * jyp - jxp * jyl
            step = np.column_stack([(jyp * ex - jxp * ey) / det, (jxl * ey - jyl * ex) / det])
            at = np.clip(at + step, self.lower - 1, self.upper + 1)
            if np.abs(step).max(initial=0) < _TOLERANCE:
                break
        outside = ((at < self.lower) | (at > self.upper)).any(axis=1)
        at[outside] = np.nan
        return at[:, 0].reshape(shape), at[:, 1].reshape(shape)


def _densify(ties: np.ndarray, factor: int = 4) -> np.ndarray:
    index = np.arange(len(ties))
    dense: np.ndarray = np.interp(np.linspace(0, len(ties) - 1, factor * (len(ties) - 1) + 1), index, ties)
    return dense


def _torn(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether neighbouring grid points jump: the grid's cells must all have the same orientation."""
    dx0, dy0 = np.diff(x, axis=0)[:, :-1], np.diff(y, axis=0)[:, :-1]
    dx1, dy1 = np.diff(x, axis=1)[:-1], np.diff(y, axis=1)[:-1]
    cross = dx0 * dy1 - dy0 * dx1
    return bool(cross.min() <= 0 <= cross.max())
