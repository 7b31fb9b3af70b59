"""Whether a file can serve as prior knowledge of a scene: what it is, how far away in time, whether it tells of it.

Known from the file and the place and time of the scene alone, so that a bad one is told before a network runs.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta
from numbers import Real
from typing import TYPE_CHECKING, cast

import numpy as np
from pyproj import Transformer

from frazil.errors import LabelError, OptionError
from frazil.maps.rasters import RasterReference
from frazil.maps.references import (
    PolygonReference,
    Reference,
    ReferenceOptions,
    map_time,
    open_reference,
    shown_name,
)
from frazil.maps.times import TimeSpan
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from frazil.labels.classes import LabelOptions

MAX_AGE_DAYS = 7.0  #: older priors are refused if nobody asks for them


def open_prior(
    source: str | os.PathLike[str] | xr.Dataset | gpd.GeoDataFrame,
    place: xr.Dataset,
    *,
    weight: float = 1.0,
    kind: str | None = None,
    labels: LabelOptions | None = None,
    variable: str | None = None,
    max_age_days: float | None = MAX_AGE_DAYS,
) -> Reference:
    """A prior, opened and found good for a scene before the network runs; for `frazil.fuse_prior`.

    Args:
        source: see `frazil.fuse_prior`.
        place: a coarse projected grid that holds the scene, with the attributes ``product``, ``start_time`` and
            ``stop_time`` of it.
        weight: see `frazil.fuse_prior`, as all that follow.
        kind: of the prior.
        labels: how polygons and class rasters are read.
        variable: of a NetCDF file.
        max_age_days: the largest distance in time.

    Raises:
        LabelNotFoundError, LabelError, OptionError: see `frazil.fuse_prior`.
    """
    check_numbers(weight, max_age_days)
    reference = as_reference(source, place, kind, labels, variable)
    check_age(reference, place, max_age_days)
    if not (_tells(reference, place) or _tells(reference, _finer(place))):
        raise nothing_told(reference, place)
    return reference


def _tells(reference: Reference, like: xr.Dataset) -> bool:
    return bool(np.isfinite(reference.concentration_on(like)).any())


def _finer(place: xr.Dataset, times: int = 5) -> xr.Dataset:
    """The same place in smaller pixels: small polygons lie between the larger ones."""
    import xarray as xr

    grid = MapGrid.of(place)
    shape = (grid.shape[0] * times, grid.shape[1] * times)
    return xr.Dataset(coords=replace(grid, spacing_m=grid.spacing_m / times, shape=shape).coords(), attrs=place.attrs)


def check_age(reference: Reference, like: xr.Dataset, max_age_days: float | None = MAX_AGE_DAYS) -> float | None:
    """Hours between a prior and a scene, None where one of the times is not known.

    Of a prior that is a mean over a span it is the mean distance to the moments of the span.

    Raises:
        LabelError: more days than ``max_age_days``.
    """
    scene, span = map_time(like), reference.time
    if scene is None or span is None:
        return None
    age_h = _mean_distance_h(scene.middle, span)
    if max_age_days is not None and age_h > 24 * max_age_days:
        raise LabelError(
            f"{shown_name(reference)} ({span}) lies {age_h / 24:.1f} days from the scene ({scene}); a prior may lie "
            f"{max_age_days:g} days from it. Pass a nearer one, or max_age_days=None (--prior-any-age)."
        )
    return age_h


def as_reference(
    prior: str | os.PathLike[str] | xr.Dataset | gpd.GeoDataFrame | Reference,
    like: xr.Dataset,
    kind: str | None,
    labels: LabelOptions | None,
    variable: str | None,
) -> Reference:
    """A prior opened, of several times the nearest to a scene; one that is a reference already, as it is."""
    from frazil.labels.classes import LabelOptions

    if hasattr(prior, "concentration_on"):
        return cast(Reference, prior)
    when = map_time(like)
    near = None if when is None else when.middle
    options = ReferenceOptions(labels=labels or LabelOptions(), variable=variable, near=near)
    return open_reference(prior, kind=kind, options=options)


def check_numbers(weight: float, max_age_days: float | None) -> None:
    """Raise OptionError unless a weight and an age are possible."""
    if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 <= weight <= 4:
        raise OptionError(f"The weight of a prior is {weight!r}; pass a number from 0 (it does not count) to 4.")
    if max_age_days is not None and not (isinstance(max_age_days, Real) and max_age_days > 0):
        raise OptionError(f"max_age_days is {max_age_days!r}; pass a number above 0, or None for any age.")


def _mean_distance_h(moment: datetime, span: TimeSpan) -> float:
    before, after = ((moment - span.start) / timedelta(hours=1), (span.stop - moment) / timedelta(hours=1))
    if before <= 0 or after <= 0:
        return abs(before - after) / 2
    return (before**2 + after**2) / (2 * (before + after))


def nothing_told(reference: Reference, like: xr.Dataset) -> LabelError:
    """Why a prior tells nothing of a place: it holds nothing, lies on the other hemisphere, or elsewhere."""
    name, product = shown_name(reference), like.attrs["product"]
    if not _holds_any(reference):
        return LabelError(
            f"{name} holds no concentration anywhere, only flags, land or missing cells; a prior must tell how much "
            "ice there is. Pass another file."
        )
    grid = MapGrid.of(like)
    left, bottom, right, top = grid.bounds
    to_lonlat = Transformer.from_crs(grid.pyproj_crs, "OGC:CRS84", always_xy=True)
    north = to_lonlat.transform((left + right) / 2, (bottom + top) / 2)[1] >= 0
    latitude = _latitudes(reference)
    if latitude.size and (latitude.max() < 0 if north else latitude.min() > 0):
        sides = ("southern", "northern") if north else ("northern", "southern")
        return LabelError(
            f"{name} lies on the {sides[0]} hemisphere, {product} on the {sides[1]}. Pass a prior of its place."
        )
    return LabelError(
        f"{name} tells nothing of the sea of {product}: it lies elsewhere, or has land or missing cells there. Pass a "
        "prior of its place."
    )


def _holds_any(reference: Reference) -> bool:
    if isinstance(reference, PolygonReference):
        return bool(np.isfinite(reference.concentration).any())
    if isinstance(reference, RasterReference):
        values = reference.raster.values if reference.percent is None else reference.percent.values
        if values.dtype != np.uint8:
            return bool(np.isfinite(values).any())
        return bool((values <= (1 if reference.percent is None else 100)).any())
    return True


def _latitudes(reference: Reference) -> np.ndarray:
    """Latitudes of points spread over the extent of a reference, degrees; none where it does not tell it."""
    if isinstance(reference, RasterReference):
        raster, crs = reference.raster, reference.raster.crs
        rows, columns = raster.values.shape
        row, column = np.meshgrid(np.linspace(0, rows, 9), np.linspace(0, columns, 9))
        t = raster.transform
        x, y = t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f
    elif isinstance(reference, PolygonReference):
        crs = reference.frame.crs
        left, bottom, right, top = reference.frame.total_bounds
        x, y = np.meshgrid(np.linspace(left, right, 9), np.linspace(bottom, top, 9))
    else:
        return np.zeros(0)
    latitude = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(x, y)[1]
    return np.asarray(latitude)[np.isfinite(latitude)]
