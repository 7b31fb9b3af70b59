"""Sea-ice concentration from a map: how much of the sea in each cell of a coarse grid is covered by ice.

A cell's concentration is the mean of its pixels' probabilities of ice, by their ground areas, over what was observed of
its sea: if the probabilities are calibrated it is the expected share of ice, undecided pixels included. Beside it stand
two bounds, with all undecided pixels taken for water and all for ice, and a standard error.

A pixel is ice or water with its probability p, a variance of p (1 − p). Pixels err together: a share c of the variance
is common to all pixels of a cell, as where a model misreads a whole scene, and the correlation of the rest falls as
exp(−distance / L), so that a cell of area A holds about A / (2 π L²) that are independent:

    σ² = mean(p (1 − p)) (c + (1 − c) / max(1, A / (2 π L²)))

c and L were measured on simulated scenes (docs/results/concentration.md), where σ then is the error that was found. On
real scenes, which the bundled model has not learnt from, errors of a whole scene may well be larger.

References:
    CF standard names: sea_ice_area_fraction; modifiers: standard_error.
    OSI SAF, Global sea ice concentration product user manuals, OSI-401: what such files hold.
    Karvonen, J. (2014), Baltic sea ice concentration estimation based on C-band dual-polarized SAR data, IEEE
    TGRS 52, 5558: concentration as the mean of a classification of SAR pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer

from frazil.answer import ICE_PERCENT
from frazil.conventions import CLASS_LAND, UNDECIDED, check_ice_map
from frazil.errors import OptionError
from frazil.maps.areas import PixelAreas
from frazil.maps.rasters import Raster, warps
from frazil.scene.discovery import WHOSE
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import xarray as xr

ERROR_LENGTH_M = 1300.0  #: L of the module's formula
COMMON_ERROR = 0.31  #: c of the module's formula
_EARTH_KM = 6371.0072  # radius of the sphere of equal area
_MOST_CELLS = 50_000_000
STATUS = {
    0: ("sea", "sea, observed"),
    1: ("partly_observed", "less of the sea observed than asked for: no concentration"),
    2: ("mostly_undecided", "more than half of the observed sea undecided"),
    3: ("land", "more than half of the cell is land that the map shows, or all of it"),
    4: ("not_observed", "nothing observed"),
}
"""Values of ``status_flag``: name and meaning. Where several hold, the last."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CellSums:
    """What the pixels of a map add up to in the cells of another grid; every array (cell), areas in km².

    Attributes:
        sea: observed sea.
        land: land that the map shows.
        ice: probability of ice times area.
        doubt: p (1 − p) times area.
        decided_ice: probability of ice times area where the map tells ice from water.
        undecided: sea where it does not.
    """

    sea: np.ndarray
    land: np.ndarray
    ice: np.ndarray
    doubt: np.ndarray
    decided_ice: np.ndarray
    undecided: np.ndarray


def ice_concentration(
    ice_map: xr.Dataset,
    *,
    spacing_m: float = 10_000.0,
    crs: str | None = None,
    min_observed: float = 0.5,
    error_length_m: float = ERROR_LENGTH_M,
    common_error: float = COMMON_ERROR,
) -> xr.Dataset:
    """Sea-ice concentration of a map on a coarse grid, see the module.

    Args:
        ice_map: a map on a projected grid.
        spacing_m: of the cells; their edges lie on multiples of it, so that maps of many scenes fit together.
        crs: projected, in metres; None for that of the map.
        min_observed: share of a cell's sea that must have been observed, above 0 and at most 1; else no concentration.
        error_length_m: distance over which errors of pixels go together, L of the module.
        common_error: share of their variance that goes together however far they are apart, c of the module, 0 to 1.

    Returns:
        Dataset on ``y, x``, float32 in [0, 1] with NaN where there is none: ``sea_ice_area_fraction``, its
        ``standard_error``, ``fraction_low`` and ``fraction_high`` (undecided taken for water, for ice),
        ``undecided_fraction`` (of the observed sea), ``observed_fraction`` (of the cell's sea; 0 on land); and
        ``status_flag`` uint8, see `STATUS`.

    Raises:
        ContractError: not a map of ice on a projected grid.
        OptionError: cells smaller than pixels or larger than 1000 km, or far too many; shares and lengths that are
            none; a CRS that is unknown, not in metres, or not made for the place.
    """
    check_ice_map(ice_map)
    source = MapGrid.of(ice_map)
    if not 0 < min_observed <= 1:
        raise OptionError(f"min_observed is {min_observed}; it is a share above 0 and at most 1.")
    if not 0 <= error_length_m < np.inf:
        raise OptionError(f"error_length_m is {error_length_m}; it is a distance from 0 up.")
    if not 0 <= common_error <= 1:
        raise OptionError(f"common_error is {common_error}; it is a share from 0 to 1.")
    if not source.spacing_m <= spacing_m <= 1e6:
        raise OptionError(
            f"spacing_m is {spacing_m:g}; cells lie between the map's pixels, {source.spacing_m:g} m, and 1000 km."
        )
    grid = _covering(source, crs or source.crs, spacing_m)
    sums = cell_sums(ice_map, grid.pyproj_crs, grid.transform, grid.shape)
    area = PixelAreas(grid).rows(0, grid.shape[0])
    return _dataset(ice_map, grid, sums, area, min_observed, shares(sums, error_length_m, common_error))


def cell_sums(ice_map: xr.Dataset, crs: CRS, transform: Affine, shape: tuple[int, int]) -> CellSums:
    """What the pixels of a map add up to in the cells of any grid; a pixel belongs to the cell of its centre.

    Args:
        ice_map: a map on a projected grid.
        crs: of the cells.
        transform: column, row (at cell corners) -> x, y in units of the CRS.
        shape: rows, columns of cells.
    """
    grid, cells = MapGrid.of(ice_map), shape[0] * shape[1]
    areas = PixelAreas(grid)
    index = np.arange(cells, dtype=np.int32).reshape(shape)
    total = np.zeros((6, cells))  # of few cells at a time: those of a hemisphere are millions
    for rows, warp in warps(grid, Raster(crs=crs, transform=transform, values=index)):
        at = warp.nearest(index, -1)
        for start in range(0, at.shape[0], 256):
            part = slice(start, min(start + 256, at.shape[0]))
            here = slice(rows.start + part.start, rows.start + part.stop)
            cell = at[part]
            if (cell >= 0).any():
                least, most = int(cell[cell >= 0].min()), int(cell.max())
                area = areas.rows(here.start, here.stop)
                total[:, least : most + 1] += _added(ice_map.isel(y=here), cell - least, area, most - least + 1)
    return CellSums(sea=total[0], land=total[1], ice=total[2], doubt=total[3], decided_ice=total[4], undecided=total[5])


def _added(part: xr.Dataset, cell: np.ndarray, area: np.ndarray, cells: int) -> np.ndarray:
    code, percent = part["ice_class"].values, part["ice_probability"].values
    inside = cell >= 0
    sea, land = inside & (code < CLASS_LAND), inside & (code == CLASS_LAND)
    undecided, called_ice = sea & (code == UNDECIDED), (code > 0) & (code < UNDECIDED)
    p = np.minimum(percent, 100).astype(np.float64) / 100
    # The class comes first: somebody may have corrected it by hand and left the probabilities.
    p = np.where(called_ice & (percent < ICE_PERCENT), 1.0, np.where((code == 0) & (percent > ICE_PERCENT), 0.0, p))
    rows = ((sea, area), (land, area), (sea, area * p), (sea, area * p * (1 - p)))
    return np.stack(
        [
            np.bincount(cell[where], weights=w[where], minlength=cells)
            for where, w in (*rows, (sea & ~undecided, area * p), (undecided, area))
        ]
    )


def cell_areas_km2(crs: CRS, transform: Affine, shape: tuple[int, int]) -> np.ndarray:
    """Ground area of the cells of any grid, km² (row, column): of one in degrees, on the sphere of equal area.

    Of a projected grid whose cells are no squares: their area in its plane.
    """
    if crs.is_geographic:
        latitude = np.radians(np.clip(transform.f + transform.e * np.arange(shape[0] + 1), -90, 90))
        rows = _EARTH_KM**2 * np.radians(abs(transform.a)) * np.abs(np.diff(np.sin(latitude)))
        return np.broadcast_to(rows[:, None], shape)
    unit = float(crs.axis_info[0].unit_conversion_factor or 1.0)
    if abs(transform.a) == abs(transform.e) and unit == 1.0:
        top = transform.f if transform.e < 0 else transform.f + transform.e * shape[0]
        grid = MapGrid(crs=crs.to_wkt(), left=transform.c, top=top, spacing_m=abs(transform.a), shape=shape)
        area = PixelAreas(grid).rows(0, shape[0])
        return area if transform.e < 0 else area[::-1]
    return np.full(shape, abs(transform.a * transform.e) * (unit / 1000) ** 2)


def shares(
    sums: CellSums, error_length_m: float = ERROR_LENGTH_M, common_error: float = COMMON_ERROR
) -> dict[str, np.ndarray]:
    """Concentration, its bounds and its standard error, and the share undecided: float64 (cell); NaN without sea.

    Args:
        sums: see `cell_sums`.
        error_length_m: L of the module.
        common_error: c of the module.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        independent = np.maximum(1.0, sums.sea / max(2 * np.pi * (error_length_m / 1000) ** 2, 1e-12))
        return {
            "sea_ice_area_fraction": sums.ice / sums.sea,
            "standard_error": np.sqrt(sums.doubt / sums.sea * (common_error + (1 - common_error) / independent)),
            "fraction_low": sums.decided_ice / sums.sea,
            "fraction_high": (sums.decided_ice + sums.undecided) / sums.sea,
            "undecided_fraction": sums.undecided / sums.sea,
        }


def observed_share(sums: CellSums, area_km2: np.ndarray) -> np.ndarray:
    """Observed part of the sea of each cell, 0 to 1 (cell); what the map does not show counts as sea."""
    sea = np.maximum(np.asarray(area_km2).ravel() - sums.land, sums.sea)
    return np.where(sums.sea > 0, sums.sea / np.maximum(sea, 1e-12), 0.0)


def _covering(source: MapGrid, crs: str, spacing_m: float) -> MapGrid:
    """The grid of cells on multiples of their spacing that holds a map; two by two at least, for readers of files."""
    probe = MapGrid(crs=crs, left=0.0, top=0.0, spacing_m=spacing_m, shape=(1, 1))
    change = Transformer.from_crs(source.pyproj_crs, probe.pyproj_crs, always_xy=True)
    bounds = change.transform_bounds(*source.bounds, densify_pts=101) if crs != source.crs else source.bounds
    if not np.isfinite(bounds).all():
        raise OptionError(f"CRS {crs} is not made for the place of this map. Choose another one.")
    left, bottom = (int(np.floor(v / spacing_m + 1e-9)) for v in bounds[:2])
    right, top = (int(np.ceil(v / spacing_m - 1e-9)) for v in bounds[2:])
    right, bottom = max(right, left + 2), min(bottom, top - 2)
    shape = (top - bottom, right - left)
    if shape[0] * shape[1] > _MOST_CELLS:
        raise OptionError(f"{shape[0]} × {shape[1]} cells of {spacing_m:g} m are too many; choose larger ones.")
    return MapGrid(crs=crs, left=left * spacing_m, top=top * spacing_m, spacing_m=spacing_m, shape=shape)


def _dataset(
    ice_map: xr.Dataset,
    grid: MapGrid,
    sums: CellSums,
    area: np.ndarray,
    min_observed: float,
    values: dict[str, np.ndarray],
) -> xr.Dataset:
    import xarray as xr

    observed = observed_share(sums, area)
    told = observed >= min_observed - 1e-9
    land = sums.land > 0.5 * area.ravel()
    status = np.zeros(told.shape, np.uint8)
    status[~told] = 1
    status[told & (values["undecided_fraction"] > 0.5)] = 2
    status[(sums.sea == 0)] = 4
    status[land & ((sums.sea == 0) | ~told)] = 3
    ancillary = "standard_error fraction_low fraction_high undecided_fraction observed_fraction status_flag"
    about: dict[str, dict[str, Any]] = {
        "sea_ice_area_fraction": {
            "standard_name": "sea_ice_area_fraction",
            "long_name": "sea-ice concentration: expected share of ice in the observed sea",
            "ancillary_variables": ancillary,
            "cell_methods": "area: mean where sea",
        },
        "standard_error": {
            "standard_name": "sea_ice_area_fraction standard_error",
            "long_name": "standard error of the concentration, from the probabilities of the map",
            "comment": "as large as errors on simulated scenes; on real ones whole scenes may be further off",
        },
        "fraction_low": {"long_name": "concentration if all undecided sea is water"},
        "fraction_high": {"long_name": "concentration if all undecided sea is ice"},
        "undecided_fraction": {"long_name": "share of the observed sea where the map cannot tell ice from water"},
        "observed_fraction": {"long_name": "share of the sea of the cell that was observed"},
    }
    arrays = {**values, "observed_fraction": observed}
    data: dict[str, Any] = {}
    for name, attrs in about.items():
        shown = np.where(told | (name == "observed_fraction"), arrays[name], np.nan)
        data[name] = (("y", "x"), shown.reshape(grid.shape).astype(np.float32), {**attrs, "units": "1"})
    data["status_flag"] = (
        ("y", "x"),
        status.reshape(grid.shape),
        {
            "standard_name": "status_flag",
            "long_name": "what a cell is",
            "flag_values": np.array(list(STATUS), np.uint8),
            "flag_meanings": " ".join(name for name, _ in STATUS.values()),
        },
    )
    keep = ("product", "sensor", "start_time", "stop_time", "model", "note", *WHOSE)
    attrs = {key: ice_map.attrs[key] for key in keep if ice_map.attrs.get(key)}
    return xr.Dataset(data, grid.coords(), {**attrs, "min_observed": min_observed, "map_spacing_m": _spacing(ice_map)})


def _spacing(ice_map: xr.Dataset) -> float:
    return float(MapGrid.of(ice_map).spacing_m)
