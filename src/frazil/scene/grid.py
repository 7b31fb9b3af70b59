"""Projected grids: where the pixels of a map lie, and how a radar scene is warped onto them.

Rests on `frazil.sentinel1.geolocation` for line/pixel <-> x/y and on PROJ for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from frazil.errors import ContractError, OptionError

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

    def coords(self) -> dict[str, Any]:
        """The coordinates ``y``, ``x`` and ``spatial_ref`` of a Dataset on this grid (CF grid mapping and GDAL's)."""
        import xarray as xr

        from frazil.conventions import VARIABLES

        t = self.transform
        attrs = self.pyproj_crs.to_cf()
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
        if not (
            np.allclose(np.diff(x), spacing, rtol=1e-6) and np.allclose(np.diff(y), -spacing, rtol=1e-6)
        ):
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
