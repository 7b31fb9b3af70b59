"""A map's concentration against another one, cell by cell of the coarser of the two.

A concentration map on a grid of its own is compared there, and not interpolated: the pixels of the map are summed up in
its cells. Charts, class rasters and other maps are brought onto a grid of cells instead.

References:
    Kern, S., et al. (2019), The Cryosphere 13, 3261: bias and spread by concentration, open water and pack apart.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from frazil.errors import LabelError
from frazil.maps.concentration import (
    ERROR_LENGTH_M,
    cell_areas_km2,
    cell_sums,
    ice_concentration,
    observed_share,
    shares,
)
from frazil.maps.rasters import RasterReference
from frazil.maps.references import ReferenceOptions, map_time, open_reference, shown_name

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_RANGES = (("open water", 0.0, 15.0), ("marginal", 15.0, 80.0), ("pack", 80.0, 100.001))


@dataclass(frozen=True, kw_only=True)
class ConcentrationScores:
    """How a map's concentration differs from a reference's; differences are map minus reference, in percent points.

    Attributes:
        reference: its name.
        kind: of it, see `frazil.maps.references.KINDS`.
        cells: that were compared.
        cell_km: side of a cell, km (of one in degrees, from its area).
        bias, rmse, mae: of the differences.
        correlation: of Pearson; None where either has one value only.
        between_bounds_percent: of the cells whose reference lies between the map's bounds.
        by_reference: name of a range of the reference -> cells, bias, rmse; the ranges are below 15 %, below 80 %,
            and above.
        hours: time of the reference minus that of the map; None where not known.
    """

    reference: str
    kind: str
    cells: int
    cell_km: float
    bias: float
    rmse: float
    mae: float
    correlation: float | None
    between_bounds_percent: float
    by_reference: dict[str, tuple[int, float, float]]
    hours: float | None


def score_concentration(
    ice_map: xr.Dataset,
    reference: str | os.PathLike[str] | xr.Dataset | gpd.GeoDataFrame,
    *,
    kind: str | None = None,
    spacing_m: float = 10_000.0,
    min_observed: float = 0.9,
    options: ReferenceOptions | None = None,
) -> ConcentrationScores:
    """Compare the concentration of a map with a reference.

    Args:
        ice_map: a map on a projected grid.
        reference: what `frazil.compare` takes.
        kind: of it; None to find out.
        spacing_m: of the cells, for references without a grid of concentrations.
        min_observed: share of a cell's sea that the map must show, 0 to 1.
        options: how to read the reference.

    Raises:
        LabelError: not readable, or no cell in common.
        ContractError, OptionError: as `frazil.ice_concentration`.
    """
    opened = open_reference(reference, kind=kind, options=options)
    if isinstance(opened, RasterReference) and opened.raster.values.dtype != np.uint8:
        raster = opened.raster
        sums = cell_sums(ice_map, raster.crs, raster.transform, (raster.values.shape[0], raster.values.shape[1]))
        told, area = shares(sums, ERROR_LENGTH_M), cell_areas_km2(raster.crs, raster.transform, raster.values.shape)
        ours, low, high = (100 * told[n] for n in ("sea_ice_area_fraction", "fraction_low", "fraction_high"))
        theirs = raster.values.ravel()
        good = observed_share(sums, area) >= min_observed
        if raster.land is not None:
            good &= ~raster.land.ravel()
        size = float(np.sqrt(np.median(area.ravel()[good]))) if good.any() else float("nan")
    else:
        ds = ice_concentration(ice_map, spacing_m=spacing_m, min_observed=min_observed)
        ours, low, high = (
            100 * ds[n].values.ravel() for n in ("sea_ice_area_fraction", "fraction_low", "fraction_high")
        )
        theirs = opened.concentration_on(ds.assign_attrs(product=ice_map.attrs["product"])).ravel()
        good, size = np.isfinite(ours), spacing_m / 1000
    good &= np.isfinite(theirs)
    if not good.any():
        raise LabelError(
            f"{shown_name(opened)} and the map have no cell in common of which the map shows {100 * min_observed:g} % "
            "of the sea. Choose a reference of this place, or ask for less of each cell."
        )
    ours, theirs, low, high = (values[good].astype(np.float64) for values in (ours, theirs, low, high))
    off = ours - theirs
    here, mine = opened.time, map_time(ice_map)
    spread = float(np.std(ours)) > 1e-9 and float(np.std(theirs)) > 1e-9
    return ConcentrationScores(
        reference=shown_name(opened),
        kind=opened.kind,
        cells=int(off.size),
        cell_km=round(size, 2),
        bias=round(float(off.mean()), 2),
        rmse=_root_mean_square(off),
        mae=round(float(np.abs(off).mean()), 2),
        correlation=round(float(np.corrcoef(ours, theirs)[0, 1]), 3) if spread else None,
        between_bounds_percent=round(100 * float(np.mean((theirs >= low - 0.01) & (theirs <= high + 0.01))), 1),
        by_reference={
            name: (int(some.size), round(float(some.mean()), 2), _root_mean_square(some))
            for name, least, most in _RANGES
            if (some := off[(theirs >= least) & (theirs < most)]).size
        },
        hours=None if here is None or mine is None else round((here.middle - mine.middle).total_seconds() / 3600, 2),
    )


def _root_mean_square(values: np.ndarray) -> float:
    return round(float(np.sqrt(np.mean(values**2))), 2)
