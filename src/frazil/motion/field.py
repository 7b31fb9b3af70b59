"""The displacement field of two scenes as a Dataset."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import Transformer

from frazil.conventions import VARIABLES, Check, Denoise
from frazil.errors import OptionError
from frazil.maps.times import TIME, TimeSpan, seconds_of
from frazil.motion.deformation import deformation
from frazil.motion.images import ImagePair, open_pair
from frazil.motion.pyramid import coarsened
from frazil.motion.quality import STATUS, QualityConfig, standard_error, status
from frazil.motion.tracking import Track, TrackingConfig, track
from frazil.products import Product
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import xarray as xr

_DAY_S = 86_400.0
_MOST_NODES = 1_000_000
_MOST_GREY = 1200  # pixels of the picture of the first scene
VECTOR = ("sea_ice_x_displacement", "sea_ice_y_displacement", "sea_ice_x_velocity", "sea_ice_y_velocity")
_QUALITY = "status_flag correlation standard_error back_distance"
#: Name -> attributes.
ATTRS: dict[str, dict[str, object]] = {
    "sea_ice_x_displacement": {
        "standard_name": "sea_ice_x_displacement",
        "long_name": "displacement along x between the scenes, in the projection",
        "units": "m",
        "ancillary_variables": _QUALITY,
    },
    "sea_ice_y_displacement": {
        "standard_name": "sea_ice_y_displacement",
        "long_name": "displacement along y between the scenes, in the projection",
        "units": "m",
        "ancillary_variables": _QUALITY,
    },
    "sea_ice_x_velocity": {
        "standard_name": "sea_ice_x_velocity",
        "long_name": "mean velocity along x between the scenes, on the ellipsoid",
        "units": "m s-1",
        "ancillary_variables": _QUALITY,
    },
    "sea_ice_y_velocity": {
        "standard_name": "sea_ice_y_velocity",
        "long_name": "mean velocity along y between the scenes, on the ellipsoid",
        "units": "m s-1",
        "ancillary_variables": _QUALITY,
    },
    "sea_ice_speed": {
        "standard_name": "sea_ice_speed",
        "long_name": "geodesic between start and end over the time between the scenes",
        "units": "m s-1",
        "ancillary_variables": _QUALITY,
    },
    "direction": {
        "standard_name": "direction_of_sea_ice_velocity",
        "long_name": "direction into which the ice moved, clockwise from north",
        "units": "degree",
        "ancillary_variables": _QUALITY,
    },
    "rotation": {"long_name": "rotation of the ice between the scenes, anticlockwise", "units": "degree"},
    "correlation": {"long_name": "correlation of the patterns, all polarisations together", "units": "1"},
    "standard_error": {"long_name": "standard error of either component of the displacement", "units": "m"},
    "back_distance": {
        "long_name": "distance of a node from where the way back ends",
        "units": "m",
    },
    "divergence": {
        "standard_name": "divergence_of_sea_ice_velocity",
        "long_name": "divergence of the mean velocity over a cell",
        "units": "day-1",
    },
    "shear": {"long_name": "shear of the mean velocity over a cell", "units": "day-1"},
    "vorticity": {"long_name": "vorticity of the mean velocity over a cell, anticlockwise", "units": "day-1"},
}


def drift(
    first: str | os.PathLike[str] | Product,
    second: str | os.PathLike[str] | Product,
    *,
    step_m: float = 4000.0,
    spacing_m: float = 80.0,
    max_speed_ms: float = 0.5,
    polarizations: tuple[str, ...] | None = None,
    times: tuple[str | None, str | None] = (None, None),
    tracking: TrackingConfig | None = None,
    quality: QualityConfig | None = None,
    keep_doubtful: bool = False,
    denoise: Denoise = "esa",
    check: Check = "quick",
    progress: Callable[[float, str], None] = lambda _f, _w: None,
) -> xr.Dataset:
    """How sea ice moved between two radar scenes: a grid of displacements, with quality and deformation.

    Args:
        first: a product as `frazil.open_product` takes it, or a calibrated GeoTIFF of σ0.
        second: likewise, of a later time.
        step_m: between nodes, a multiple of the spacing; nodes of all pairs lie on one lattice.
        spacing_m: of the pixels that are matched.
        max_speed_ms: displacements are looked for up to this speed.
        polarizations: which ones; None for all that both have.
        times: ISO 8601, UTC, of GeoTIFFs that do not tell their own.
        tracking: how patterns are matched.
        quality: what a good vector is.
        keep_doubtful: keep vectors that are not good; their ``status_flag`` tells.
        denoise: of products, see `frazil.open_scene`.
        check: likewise.
        progress: is told the share done, and what is being done.

    Returns:
        Dataset on ``y, x`` (nodes, where the ice was at the time of the first scene), NaN where there is no good
        vector: displacements in metres of the projection, velocities, speed and direction on the ellipsoid, rotation;
        ``status_flag`` uint8, see `frazil.motion.quality.STATUS`; correlation, standard error and way back of every
        match; and on ``y_cell, x_cell`` divergence, shear and vorticity per day.

    Raises:
        OptionError, ProductError and others: as `frazil.motion.images.open_pair`; steps that are no multiple.

    References:
        Korosov & Rampal (2017), doi:10.3390/rs9030258; Muckenhuber & Sandven (2017), doi:10.5194/tc-11-1835-2017: first
        guess and pattern matching with rotation. This is an implementation of its own, see `frazil.motion.tracking`.
    """
    began = time.perf_counter()
    stride = round(step_m / spacing_m)
    if stride < 1 or abs(stride * spacing_m - step_m) > 1e-6 * step_m:
        raise OptionError(f"step_m is {step_m:g}; a multiple of the spacing, {spacing_m:g} m, is expected.")
    if not 0.01 <= max_speed_ms <= 3:
        raise OptionError(f"max_speed_ms is {max_speed_ms:g}; ice drifts at 0.01 to 3 m/s.")
    pair = open_pair(
        first,
        second,
        times=times,
        spacing_m=spacing_m,
        max_speed_ms=max_speed_ms,
        polarizations=polarizations,
        denoise=denoise,
        check=check,
        progress=lambda f, what: progress(0.4 * f, what),
    )
    field = drift_of_pair(
        pair,
        stride=stride,
        max_speed_ms=max_speed_ms,
        tracking=tracking,
        quality=quality,
        keep_doubtful=keep_doubtful,
        progress=lambda f, what: progress(0.4 + 0.6 * f, what),
    )
    field.attrs["seconds"] = round(time.perf_counter() - began, 1)
    return field


def drift_of_pair(
    pair: ImagePair,
    *,
    stride: int,
    max_speed_ms: float = 0.5,
    tracking: TrackingConfig | None = None,
    quality: QualityConfig | None = None,
    keep_doubtful: bool = False,
    progress: Callable[[float, str], None] = lambda _f, _w: None,
) -> xr.Dataset:
    """As `drift`, of two images on one grid; `stride` is the number of pixels between nodes."""
    tracking = tracking or TrackingConfig()
    row, column, nodes = node_grid(pair.grid, stride)
    rr, cc = (v.ravel() for v in np.meshgrid(row, column, indexing="ij"))
    radius = max_speed_ms * pair.days * _DAY_S / pair.grid.spacing_m
    how: dict[str, Any] = {"radius": max(radius, 4.0), "stride": stride, "config": tracking, "progress": progress}
    found = track(pair.first, pair.second, rr, cc, **how)
    error = standard_error(found.forth, tracking.template)
    code = status(np.column_stack([rr, cc]), found.forth, found.back, error, quality)
    unseen = ~np.isfinite(pair.first[:, rr, cc]).any(axis=0)
    code[(code == 4) & unseen] = 6
    code[pair.land[rr, cc]] = 5
    return _dataset(pair, nodes, found, error, code, keep_doubtful)


def node_grid(grid: MapGrid, stride: int) -> tuple[np.ndarray, np.ndarray, MapGrid]:
    """Rows and columns of nodes on a grid, every `stride` pixels of one lattice for all grids; and the grid they make.

    Raises:
        OptionError: too few or too many nodes.
    """
    x0, y0 = round(grid.left / grid.spacing_m), round(-grid.top / grid.spacing_m)
    row, column = (
        np.arange((stride // 2 - at) % stride, n, stride) for at, n in ((y0, grid.shape[0]), (x0, grid.shape[1]))
    )
    if min(row.size, column.size) < 2 or row.size * column.size > _MOST_NODES:
        raise OptionError(
            f"Nodes every {stride * grid.spacing_m:g} m give {row.size} × {column.size} on an area of "
            f"{grid.shape[0] * grid.spacing_m / 1000:.0f} × {grid.shape[1] * grid.spacing_m / 1000:.0f} km; at least "
            f"2 × 2 and at most {_MOST_NODES:,} are expected. Choose another step."
        )
    step = stride * grid.spacing_m
    left, top = float(grid.x[column[0]]) - step / 2, float(grid.y[row[0]]) + step / 2
    return row, column, MapGrid(crs=grid.crs, left=left, top=top, spacing_m=step, shape=(row.size, column.size))


def _dataset(
    pair: ImagePair, nodes: MapGrid, found: Track, error: np.ndarray, code: np.ndarray, keep_doubtful: bool
) -> xr.Dataset:
    import xarray as xr

    forth, spacing, seconds = found.forth, pair.grid.spacing_m, pair.days * _DAY_S
    good = code == 0
    kept = np.isfinite(forth.peak) & (code < 4) if keep_doubtful else good
    dx, dy = (np.where(kept, v * spacing, np.nan) for v in (forth.d_column, -forth.d_row))
    xx, yy = (v.ravel() for v in np.meshgrid(nodes.x, nodes.y))
    change = Transformer.from_crs(nodes.pyproj_crs, "EPSG:4326", always_xy=True)
    longitude, latitude = (np.asarray(v) for v in change.transform(xx, yy))
    speed, direction = _on_ellipsoid(nodes, (longitude, latitude), (xx + dx, yy + dy), seconds)
    length = np.hypot(dx, dy)
    share = np.where(length > 0, speed / np.where(length > 0, length, 1), 0.0)
    shape = nodes.shape
    flat: dict[str, np.ndarray] = {
        "sea_ice_x_displacement": dx,
        "sea_ice_y_displacement": dy,
        "sea_ice_x_velocity": dx * share,
        "sea_ice_y_velocity": dy * share,
        "sea_ice_speed": speed,
        "direction": direction,
        "rotation": np.where(kept, -forth.turn_deg, np.nan),
        "correlation": np.where(code < 4, forth.peak, np.nan),
        "standard_error": np.where(np.isfinite(error) & (code < 4), error * spacing, np.nan),
        "back_distance": np.where(code < 4, found.back * spacing, np.nan),
    }
    grids = {name: (("y", "x"), v.reshape(shape).astype(np.float32), ATTRS[name]) for name, v in flat.items()}
    u, v = (np.where(good, d, np.nan).reshape(shape) / pair.days for d in (dx, dy))
    rates = deformation(xx.reshape(shape), yy.reshape(shape), u, v)
    cells = {
        name: (("y_cell", "x_cell"), getattr(rates, name).astype(np.float32), ATTRS[name])
        for name in ("divergence", "shear", "vorticity")
    }
    flag: dict[str, Any] = {
        "standard_name": "status_flag",
        "long_name": "what is known of the vector",
        "flag_values": np.array(list(STATUS), np.uint8),
        "flag_meanings": " ".join(name for name, _ in STATUS.values()),
    }
    coords = nodes.coords()
    about = {"units": "m", "long_name": "centre of a cell between four nodes"}
    radar, y_radar, x_radar = grey(pair)
    span = TimeSpan(*pair.times)
    start, _, stop = seconds_of(span)
    return xr.Dataset(
        {**grids, "status_flag": (("y", "x"), code.reshape(shape), flag), **cells, "radar": radar},
        {
            **coords,
            "y_cell": ("y_cell", (nodes.y[1:] + nodes.y[:-1]) / 2, about),
            "x_cell": ("x_cell", (nodes.x[1:] + nodes.x[:-1]) / 2, about),
            "y_radar": y_radar,
            "x_radar": x_radar,
            "latitude": (("y", "x"), latitude.reshape(shape), VARIABLES["latitude"]),
            "longitude": (
                ("y", "x"),
                longitude.reshape(shape),
                VARIABLES["longitude"],
            ),
            "time": ((), stop, TIME),
            "time_bnds": ("bounds", np.array([start, stop])),
        },
        {
            "product": f"{pair.names[0]}, {pair.names[1]}",
            "first_product": pair.names[0],
            "second_product": pair.names[1],
            "start_time": f"{pair.times[0]:%Y-%m-%dT%H:%M:%S}Z",
            "stop_time": f"{pair.times[1]:%Y-%m-%dT%H:%M:%S}Z",
            "days": round(pair.days, 5),
            "polarizations": ", ".join(pair.polarizations),
            "pixel_m": spacing,
            "attribution": pair.attribution,
        },
    )


def grey(pair: ImagePair) -> tuple[Any, Any, Any]:
    """The first scene as a small grey picture, 0 where not observed, and its y and x: variables of a Dataset."""
    import xarray as xr

    block = max(1, -(-max(pair.grid.shape) // _MOST_GREY))
    band = coarsened(pair.first[:1], block)[0]
    seen = np.isfinite(band)
    low, high = np.percentile(band[seen], [1, 99]) if seen.any() else (0.0, 1.0)
    share = np.clip((np.where(seen, band, low) - low) / max(high - low, 1e-6), 0, 1)
    values = np.where(seen, np.rint(1 + 254 * share), 0).astype(np.uint8)
    side = block * pair.grid.spacing_m
    about = {"units": "m", "long_name": "centre of a pixel of the picture"}
    said = {
        "long_name": f"{pair.polarizations[0]} of the first scene as grey, 0 not observed",
        "units": "1",
    }
    return (
        xr.Variable(("y_radar", "x_radar"), values, said),
        xr.Variable("y_radar", pair.grid.top - (np.arange(values.shape[0]) + 0.5) * side, about),
        xr.Variable("x_radar", pair.grid.left + (np.arange(values.shape[1]) + 0.5) * side, about),
    )


def _on_ellipsoid(
    nodes: MapGrid, start: tuple[np.ndarray, np.ndarray], end_xy: tuple[np.ndarray, np.ndarray], seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Speed, m/s, and direction at the start, degrees clockwise from north, 0 to 360; NaN without an end."""
    geod = nodes.pyproj_crs.get_geod()
    assert geod is not None
    speed, direction = (np.full(start[0].shape, np.nan) for _ in range(2))
    known = np.isfinite(end_xy[0])
    change = Transformer.from_crs(nodes.pyproj_crs, "EPSG:4326", always_xy=True)
    longitude, latitude = change.transform(end_xy[0][known], end_xy[1][known])
    azimuth, _, length = geod.inv(start[0][known], start[1][known], longitude, latitude)
    speed[known], direction[known] = np.asarray(length) / seconds, np.asarray(azimuth) % 360
    return speed, direction
