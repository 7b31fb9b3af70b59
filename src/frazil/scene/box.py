"""Boxes of longitude and latitude, and the part of a map grid that holds one.

A box may cross 180° and reach a pole. On a projected grid it is no rectangle: what is taken is the smallest part of the
grid that holds all of it.

References:
    RFC 7946, section 5: order of west, south, east, north; west above east across the antimeridian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pyproj import CRS, Transformer

from frazil.errors import OptionError, printable
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid

_FORM = "WEST,SOUTH,EAST,NORTH in degrees, for instance 20,76.5,35,80 (across 180°: 170,70,-170,75)"
_POINTS = 4001  # along a side: 10 km of a parallel round the globe, which bends by metres between
_KM_PER_DEGREE = 111.0


@dataclass(frozen=True)
class Box:
    """A box of longitude and latitude.

    Attributes:
        west, east: degrees, −360…360; west above east where the box crosses 180°.
        south, north: degrees, −90…90.
    """

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        numbers = (self.west, self.south, self.east, self.north)
        if not np.isfinite(numbers).all() or max(abs(self.west), abs(self.east)) > 360 or self.east - self.west > 360:
            raise OptionError(f"bbox {self} is not {_FORM}.")
        if max(abs(self.south), abs(self.north)) > 90:
            raise OptionError(f"bbox {self}: latitudes lie in −90 … 90. Give {_FORM}.")
        if self.south >= self.north:
            raise OptionError(f"bbox {self}: south must lie below north. Give {_FORM}.")
        if self.width == 0:
            raise OptionError(f"bbox {self} has no width: west and east are the same. Give {_FORM}.")

    def __str__(self) -> str:
        return ",".join(f"{v:.10g}" for v in (self.west, self.south, self.east, self.north))

    @classmethod
    def of(cls, given: Sequence[float] | str | Box) -> Box:
        """From four numbers, or the same in words with commas between.

        Raises:
            OptionError: anything else.
        """
        if isinstance(given, Box):
            return given
        try:
            west, south, east, north = map(float, given.split(",") if isinstance(given, str) else given)
        except (TypeError, ValueError):
            raise OptionError(f"bbox {printable(str(given))!r} is not {_FORM}.") from None
        return cls(west, south, east, north)

    @cached_property
    def width(self) -> float:
        """From west to east, degrees, above 0 and at most 360."""
        width = self.east - self.west
        return width if width >= 0 else width % 360

    def holds(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        """Whether places lie inside or on the border: bool, of the shape of the arguments; False where NaN."""
        east = (np.asarray(longitude) - self.west) % 360 <= self.width
        return np.asarray(east & (latitude >= self.south) & (latitude <= self.north))

    def wider(self, km: float) -> Box:
        """The box with at least so many kilometres more on every side."""
        south, north = max(self.south - km / _KM_PER_DEGREE, -90.0), min(self.north + km / _KM_PER_DEGREE, 90.0)
        shortest = np.cos(np.radians(max(abs(south), abs(north))))
        more = km / _KM_PER_DEGREE / max(float(shortest), 1e-6)
        if self.width + 2 * more >= 360:
            return Box(-180.0, south, 180.0, north)
        west = (self.west - more + 180) % 360 - 180
        east = (self.west + self.width + more + 180) % 360 - 180
        return Box(west, south, east, north)

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude along the border, degrees."""
        t = np.linspace(0, 1, _POINTS)
        lon, lat = self.west + self.width * t, self.south + (self.north - self.south) * t
        east = self.west + self.width
        return (
            np.concatenate([lon, lon, 0 * t + self.west, 0 * t + east]),
            np.concatenate([0 * t + self.south, 0 * t + self.north, lat, lat]),
        )

    def on(self, grid: MapGrid) -> tuple[slice, slice] | None:
        """Rows and columns of the smallest part of a grid that holds what of the box lies on it; None without any.

        The extent of where the two overlap is that of its border: the box's border on the grid, and the grid's border
        in the box. So no place far from the grid matters, where the projection may have none.
        """
        to_xy = Transformer.from_crs(CRS.from_epsg(4326), grid.pyproj_crs, always_xy=True)
        left, bottom, right, top = grid.bounds
        x, y = (np.asarray(v) for v in to_xy.transform(*self.outline()))
        on = np.isfinite(x) & np.isfinite(y) & (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        x, y = x[on], y[on]
        # Far away, some projections fold places of the other side of the Earth onto the grid.
        back = self.holds_nearly(*to_xy.transform(x, y, direction="INVERSE"))
        across, down = (
            left + np.arange(grid.shape[1] + 1) * grid.spacing_m,
            top - np.arange(grid.shape[0] + 1) * (grid.spacing_m),
        )
        edge_x = np.concatenate([across, across, 0 * down + left, 0 * down + right])
        edge_y = np.concatenate([0 * across + top, 0 * across + bottom, down, down])
        inside = self.holds(*to_xy.transform(edge_x, edge_y, direction="INVERSE"))
        x, y = np.concatenate([x[back], edge_x[inside]]), np.concatenate([y[back], edge_y[inside]])
        if not x.size:
            return None
        parts = []
        for low, high, n in ((top - y.max(), top - y.min(), 0), (x.min() - left, x.max() - left, 1)):
            # A micrometre of rounding is no pixel.
            first = int(np.floor(low / grid.spacing_m + 1e-9))
            last = int(np.ceil(high / grid.spacing_m - 1e-9))
            first = min(first, grid.shape[n] - 1)
            parts.append(slice(first, min(max(last, first + 1), grid.shape[n])))
        return parts[0], parts[1]

    def holds_nearly(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        """As `holds`, of places that rounding, by less than a millimetre, may have moved out."""
        return self.wider(1e-6).holds(longitude, latitude) | (np.abs(latitude) > 90 - 1e-6)


def box_of(geo: Geolocation) -> Box:
    """The box that holds the border of a scene."""
    place = np.array(geo.footprint())
    longitude = place[0, 0] + (place[:, 0] - place[0, 0] + 180) % 360 - 180
    west, east = ((v + 180) % 360 - 180 for v in (longitude.min(), longitude.max()))
    south, north = place[:, 1].min(), place[:, 1].max()
    return Box(*(float(round(v, 2)) for v in (west, south, east, north)))
