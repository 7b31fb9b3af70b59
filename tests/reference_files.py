"""Concentration files in the layouts that OSI SAF, Bremen and NSIDC document, filled with a field that is known.

The field is no symmetric one: a file read upside down, mirrored, in the wrong unit or with another pole disagrees.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from pyproj import CRS, Transformer

from frazil.conventions import CLASS_LAND, CLASS_NODATA
from frazil.scene.grid import MapGrid
from frazil.testing import make_map

HUGHES = "+proj=stere +a=6378273 +b=6356889.44891 +lat_0=90 +lat_ts=70 +lon_0=-45"
LAEA = "+proj=laea +lon_0=0 +datum=WGS84 +ellps=WGS84 +lat_0=90.0"
CENTRE = (5.0, 79.0)


def percent_at(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Concentration, percent: more to the north-west, some tens of kilometres from 0 to 100."""
    return np.clip(15 + 40 * (latitude - 79) - 6 * (longitude - 5), 0, 100)


def percent_on(crs: str | CRS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    longitude, latitude = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(*np.meshgrid(x, y))
    return percent_at(longitude, latitude)


def true_map(spacing_m: float = 500.0, **attrs: Any) -> xr.Dataset:
    """A map that is ice where the field is 15 % or more."""
    blank = make_map(codes=np.zeros((160, 200), np.uint8), centre=CENTRE, spacing_m=spacing_m)
    grid = MapGrid.of(blank)
    codes = np.where(percent_on(grid.crs, grid.x, grid.y) >= 15, 3, 0).astype(np.uint8)
    return make_map(codes=codes, centre=CENTRE, spacing_m=spacing_m, **attrs)


def window(crs: str, cell_m: float, cells: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Cell centres around the map: x ascending, y descending, on multiples of the cell."""
    x, y = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(*CENTRE)
    x0, y0 = (round(v / cell_m) * cell_m + cell_m / 2 for v in (x, y))
    steps = (np.arange(cells) - cells // 2) * cell_m
    return x0 + steps, (y0 + steps)[::-1]


def osisaf_polar(path: Path, *, land: bool = False, hours: float = 12.0) -> Path:
    """OSI-401: kilometres, y descending, hundredths of percent as int32, flags as values."""
    x, y = window(HUGHES, 10_000)
    raw = np.rint(percent_on(HUGHES, x, y) * 100).astype(np.int32)[None]
    status = np.zeros(raw.shape, np.int16)
    if land:
        raw[:, :, :20], status[:, :, :20] = -999, 100
    seconds = (np.datetime64("2018-01-16T00", "s") - np.datetime64("1978-01-01", "s")).astype(float)
    units = {"units": "seconds since 1978-01-01 00:00:00"}
    crs = {"grid_mapping_name": "polar_stereographic", "proj4_string": HUGHES, "latitude_of_projection_origin": 90.0}
    conc = {"units": "%", "scale_factor": 0.01, "add_offset": 0.0, "grid_mapping": "Polar_Stereographic_Grid"}
    conc["_FillValue"] = np.int32(-999)
    flags = {"flag_values": np.array([0, 100, 101], np.int16), "flag_meanings": "nominal land lake"}
    dims = ("time", "yc", "xc")
    xr.Dataset(
        {
            "ice_conc": (dims, raw, conc),
            "status_flag": (dims, status, flags),
            "Polar_Stereographic_Grid": ((), np.int32(0), crs),
            "time_bnds": (("time", "nv"), [[seconds + (hours - 12) * 3600, seconds + (hours + 12) * 3600]]),
        },
        {
            "time": ("time", [seconds + hours * 3600], {**units, "bounds": "time_bnds"}),
            "yc": ("yc", y / 1000, {"units": "km"}),
            "xc": ("xc", x / 1000, {"units": "km"}),
        },
    ).to_netcdf(path, engine="h5netcdf", encoding={"ice_conc": {}})
    return path


def osisaf_ease(path: Path, *, days: int = 1) -> Path:
    """OSI-450: kilometres on a Lambert azimuthal grid, flags as bits, one or several days."""
    x, y = window(LAEA, 25_000, 16)
    field = percent_on(LAEA, x, y)
    raw = np.stack([np.rint(field * 100 * (day == days // 2)).astype(np.int32) for day in range(days)])
    crs = {"grid_mapping_name": "lambert_azimuthal_equal_area", "proj4_string": LAEA}
    conc = {
        "units": "%",
        "scale_factor": 0.01,
        "grid_mapping": "Lambert_Azimuthal_Grid",
        "_FillValue": np.int32(-32767),
    }
    masks = {
        "flag_masks": np.array([1, 2, 4, 8], np.int16),
        "flag_meanings": "land lake open_water_filtered land_spill_over",
    }
    status = np.full(raw.shape, 8, np.int16)  # spill-over has been corrected: no land
    start = (np.datetime64("2018-01-16T12", "s") - np.datetime64("1978-01-01", "s")).astype(float) - 86400 * (days // 2)
    dims = ("time", "yc", "xc")
    xr.Dataset(
        {"ice_conc": (dims, raw, conc), "status_flag": (dims, status, masks), "Lambert_Azimuthal_Grid": ((), 0, crs)},
        {
            "time": ("time", start + 86400.0 * np.arange(days), {"units": "seconds since 1978-01-01 00:00:00"}),
            "yc": ("yc", y / 1000, {"units": "km"}),
            "xc": ("xc", x / 1000, {"units": "km"}),
        },
    ).to_netcdf(path, engine="h5netcdf")
    return path


def bremen_netcdf(path: Path, *, engine: str = "h5netcdf", crs: bool = True) -> Path:
    """Bremen ASI: ``z`` in percent, NaN for missing, metres, y ascending, the CRS as WKT in ``spatial_ref``."""
    x, y = window("EPSG:3413", 6250, 60)
    z = percent_on("EPSG:3413", x, y).astype(np.float32)[::-1]
    mapping = {"polar_stereographic": ((), np.int32(0), {"spatial_ref": CRS("EPSG:3413").to_wkt("WKT1_GDAL")})}
    attrs = {"grid_mapping": "polar_stereographic"} if crs else {}
    xr.Dataset(
        {"z": (("y", "x"), z, attrs), **(mapping if crs else {})},
        {"y": ("y", y[::-1], {"units": "m"}), "x": ("x", x, {"units": "m"})},
    ).to_netcdf(path, engine=engine)  # type: ignore[call-overload]
    return path


def write_tiff(path: Path, values: np.ndarray, crs: str | None, transform: Affine, **tags: str) -> Path:
    nodata = tags.pop("nodata", None)
    bands = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(bands),
        height=bands.shape[1],
        width=bands.shape[2],
        dtype=bands.dtype,
        crs=crs,
        transform=transform,
        nodata=None if nodata is None else float(nodata),
    ) as file:
        file.write(bands)
        file.update_tags(**tags)
    return path


def raster(path: Path, layout: str, crs: str = "EPSG:3411") -> Path:
    """A GeoTIFF of the field as one of the layouts of `frazil.maps.geotiff_reference`."""
    cell = 6250.0 if layout == "bremen" else 10_000.0
    x, y = window(crs, cell, 60 if layout == "bremen" else 40)
    percent = percent_on(crs, x, y)
    tags: dict[str, str] = {}
    if layout == "nsidc16":
        values = np.rint(percent * 10).astype(np.uint16)
        values[0, :4] = 2510, 2530, 2540, 2550
    elif layout == "nsidc8":
        values = np.rint(percent * 2.5).astype(np.uint8)
        values[0, :5] = 251, 252, 253, 254, 255
    elif layout == "extent":
        values = (percent >= 15).astype(np.uint8)
        values[0, :4] = 210, 253, 254, 255
    elif layout == "bremen":
        values = np.rint(percent).astype(np.uint8)
        values[0, :9] = 120
    elif layout == "float":
        values = percent.astype(np.float32)
        values[0, :3] = -999, np.nan, -999
        tags = {"nodata": "-999"}
    else:
        values = np.where(percent >= 15, 4, 0).astype(np.uint8)
        values[0, :2] = CLASS_LAND, CLASS_NODATA
        tags = {"class_scheme": "five_classes"}
    return write_tiff(path, values, crs, Affine(cell, 0, x[0] - cell / 2, 0, -cell, y[0] + cell / 2), **tags)
