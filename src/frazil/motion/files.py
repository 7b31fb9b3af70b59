"""A displacement field as files: NetCDF, vectors for GIS, S-411, a picture and a summary."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import Transformer

from frazil.charts.s411_drift import write_drift
from frazil.errors import ContractError
from frazil.files import refuse_existing, whole_output
from frazil.marks import WRITTEN_BY
from frazil.motion.field import ATTRS, VECTOR
from frazil.motion.quality import STATUS
from frazil.scene.discovery import border, discovery_attrs
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

NAMES = ("drift.nc", "drift.gpkg", "drift.gml", "drift.png", "summary.json")
_KNOT = 0.514444  # m/s


def save_drift(
    field: xr.Dataset,
    folder: str | os.PathLike[str],
    *,
    s411: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a displacement field into a new folder; it appears whole or not at all.

    ``drift.nc`` (CF 1.11), ``drift.gpkg`` (arrows and their starting points, good vectors alone), ``drift.gml`` (S-411
    1.1.0, two files where the field crosses the antimeridian; none without a good vector), ``drift.png`` and
    ``summary.json``.

    Args:
        field: of `frazil.drift`.
        folder: to write.
        s411: whether to write the dataset of S-411.
        overwrite: replace what is there.

    Raises:
        ContractError: no displacement field.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    from frazil.maps.export import as_output_error
    from frazil.motion.figure import draw

    grid = check_drift(field)
    target = refuse_existing(folder, overwrite=overwrite)
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        part.mkdir()
        _write_netcdf(field, grid, part / "drift.nc")
        arrows = vectors(field)
        _write_geopackage(arrows, part / "drift.gpkg")
        if s411 and len(arrows):
            write_drift(
                arrows["longitude"].to_numpy(),
                arrows["latitude"].to_numpy(),
                arrows["speed_ms"].to_numpy(),
                arrows["direction_deg"].to_numpy(),
                part,
            )
        draw(field, part / "drift.png")
        text = json.dumps(summary(field), indent=2, ensure_ascii=False)
        (part / "summary.json").write_text(text + "\n", encoding="utf-8")
    return target


def check_drift(field: xr.Dataset) -> MapGrid:
    """The grid of a displacement field; raises ContractError for anything else."""
    missing = [name for name in (*ATTRS, "status_flag", "radar") if name not in field]
    if missing:
        raise ContractError(f"This Dataset is no displacement field: {missing[0]!r} is missing. Use frazil.drift().")
    return MapGrid.of(field)


def summary(field: xr.Dataset) -> dict[str, Any]:
    """What a displacement field amounts to, ready for JSON."""
    code = field["status_flag"].values
    good = code == 0
    tried = code < 4
    attrs = field.attrs

    def middle(name: str, digits: int) -> float | None:
        values = field[name].values
        values = values[np.isfinite(values)] if values.shape != good.shape else values[good & np.isfinite(values)]
        return round(float(np.median(values)), digits) if values.size else None

    speed = middle("sea_ice_speed", 4)
    return {
        "first_product": attrs["first_product"],
        "second_product": attrs["second_product"],
        "start_time": attrs["start_time"],
        "stop_time": attrs["stop_time"],
        "days": attrs["days"],
        "polarizations": attrs["polarizations"],
        "spacing_km": MapGrid.of(field).spacing_m / 1000,
        "nodes": {name: int((code == value).sum()) for value, (name, _) in STATUS.items()},
        "share_good": round(float(good.sum() / tried.sum()), 4) if tried.any() else None,
        "median_speed_ms": speed,
        "median_speed_km_per_day": None if speed is None else round(speed * 86.4, 3),
        "median_standard_error_m": middle("standard_error", 1),
        "median_back_distance_m": middle("back_distance", 1),
        "median_correlation": middle("correlation", 3),
        "median_divergence_per_day": middle("divergence", 5),
        "median_shear_per_day": middle("shear", 5),
        "seconds": attrs.get("seconds"),
        "attribution": attrs.get("attribution") or None,
        "written_by": WRITTEN_BY,
    }


def vectors(field: xr.Dataset) -> gpd.GeoDataFrame:
    """Every good vector as a line from where the ice was to where it came, in the CRS of the field."""
    import geopandas as gpd
    import shapely

    grid = MapGrid.of(field)
    row, column = np.nonzero((field["status_flag"].values == 0) & np.isfinite(field[VECTOR[0]].values))
    x, y = grid.x[column], grid.y[row]
    values = {
        name: field[name].values[row, column].astype(np.float64) for name in ATTRS if field[name].dims == ("y", "x")
    }
    ends = np.stack([np.column_stack([x, y]), np.column_stack([x + values[VECTOR[0]], y + values[VECTOR[1]]])], axis=1)
    change = Transformer.from_crs(grid.pyproj_crs, "EPSG:4326", always_xy=True)
    longitude, latitude = (np.asarray(v) for v in change.transform(x, y))
    table = {
        "longitude": longitude,
        "latitude": latitude,
        "x_displacement_m": values[VECTOR[0]],
        "y_displacement_m": values[VECTOR[1]],
        "speed_ms": values["sea_ice_speed"],
        "speed_knots": values["sea_ice_speed"] / _KNOT,
        "direction_deg": values["direction"],
        "rotation_deg": values["rotation"],
        "correlation": values["correlation"],
        "standard_error_m": values["standard_error"],
        "back_distance_m": values["back_distance"],
        "start_time": [field.attrs["start_time"]] * len(x),
        "stop_time": [field.attrs["stop_time"]] * len(x),
    }
    return gpd.GeoDataFrame(table, geometry=shapely.linestrings(ends), crs=grid.crs)


def _write_geopackage(arrows: gpd.GeoDataFrame, path: Path) -> None:
    arrows.to_file(
        path,
        layer="drift",
        driver="GPKG",
        engine="pyogrio",
        geometry_type="LineString",
        layer_metadata={"WRITTEN_BY": WRITTEN_BY},
    )


def _write_netcdf(field: xr.Dataset, grid: MapGrid, path: Path) -> None:
    from frazil.maps.netcdf import write_dataset

    ds = field.copy().reset_coords("spatial_ref")  # as a coordinate, readers would look for its axis
    for axis in ("y", "x"):
        ds[axis].attrs["axis"] = axis.upper()
    names: list[str] = [*ATTRS, "status_flag"]
    for name in names:
        ds[name].attrs["grid_mapping"] = "spatial_ref"
        ds[name].attrs["cell_methods"] = "time: mean"
    for name in ("status_flag", "correlation", "standard_error", "back_distance", "rotation"):
        del ds[name].attrs["cell_methods"]
    left, bottom, right, top = grid.bounds
    x, y = np.meshgrid(np.linspace(left, right, 101), np.linspace(top, bottom, 101))
    place = Transformer.from_crs(grid.pyproj_crs, "EPSG:4326", always_xy=True).transform(border(x), border(y))
    ds.attrs = {k: v for k, v in ds.attrs.items() if v not in ("", None)} | _discovery(field.attrs, place)
    how: dict[Any, dict[str, Any]] = {
        n: {"zlib": True, "complevel": 4, "_FillValue": np.float32(np.nan)} for n in ATTRS
    }
    how |= {n: {"zlib": True, "complevel": 4, "_FillValue": None} for n in ("status_flag", "radar")}
    how["time_bnds"] = {"_FillValue": None}
    write_dataset(ds, path, how)


def _discovery(attrs: Mapping[Any, Any], place: tuple[np.ndarray, np.ndarray]) -> dict[str, object]:
    from frazil import __version__

    sentence = f"Displacement of sea ice between {attrs['first_product']} and {attrs['second_product']}."
    found = discovery_attrs(
        dict(attrs),
        place,
        summary=sentence,
        keywords="sea ice, drift, displacement, deformation, synthetic aperture radar",
        level="Level-3: on a projected grid",
    )
    return found | {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": "Sea-ice drift from two radar scenes",
        "source": f"synthetic aperture radar, patterns matched by frazil {__version__}",
        "history": WRITTEN_BY,
    }
