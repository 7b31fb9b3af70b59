"""Labels, charts, references and maps: what lies on the ground."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.fuzzing.target import Numbers, digest, some


@functools.cache
def simulated_scene() -> Any:
    from frazil.simulate.scene import simulate_scene

    return simulate_scene("ew", seed=1, spacing_m=480.0, lines=(4000, 6000), pixels=(3000, 6000), land=None).load()


def polygons() -> Any:
    import geopandas as gpd
    import shapely

    from frazil.scene.geolocation import Geolocation

    scene = simulated_scene()
    lon, lat = Geolocation.of(scene).lonlat(
        scene["line"].values[[20, -20]][:, None], scene["pixel"].values[[20, -20]][None]
    )
    (x0, x1), (y0, y1) = (float(lon.min()), float(lon.max())), (float(lat.min()), float(lat.max()))
    boxes, rows = [], []
    codes = [("02", "", "", "W"), ("91", "83", "04", "I"), ("92", "95", "06", "I"), ("50", "86", "05", "I")]
    for i, (ct, sa, fa, kind) in enumerate(codes):
        boxes.append(shapely.box(x0 + i * (x1 - x0) / 4, y0, x0 + (i + 0.9) * (x1 - x0) / 4, y1))
        rows.append({"CT": ct, "CA": "", "SA": sa, "FA": fa, "POLY_TYPE": kind, "kind": kind, "number": i})
    return gpd.GeoDataFrame(rows, geometry=boxes, crs=4326)


def vector_maker(suffix: str) -> Callable[[Path], Path]:
    """A file of polygons."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        target = folder / f"labels{suffix}"
        if suffix == ".shp":
            (folder / "labels").mkdir()
            target = folder / "labels" / "labels.shp"
        polygons().to_file(target, engine="pyogrio")
        return target.parent if suffix == ".shp" else target

    return make


def make_chart_zip(folder: Path) -> Path:
    """A chart as ice services send it: a shapefile in an archive."""
    place = vector_maker(".shp")(folder / "chart")
    return Path(shutil.make_archive(str(folder / "labels"), "zip", place))


def read_labels(path: Path) -> Numbers:
    """Classes on the pixels of a scene."""
    from frazil.conventions import FIVE_CLASSES
    from frazil.labels.sources import open_labels

    path = path / "labels.shp" if path.is_dir() else path
    scene = simulated_scene()
    placed = open_labels(path, FIVE_CLASSES).on(scene)
    regions = placed.regions(slice(0, scene.sizes["line"]))
    codes = np.where(regions >= 0, np.asarray(placed.class_of)[np.clip(regions, 0, None)], 255)
    return {"classes": np.bincount(codes.ravel().astype(int), minlength=256), "where": digest(codes.astype(np.uint8))}


def read_chart_numbers(path: Path) -> Numbers:
    """Concentration and stage on a scene."""
    from frazil.labels.chart import rasterize_chart

    path = path / "labels.shp" if path.is_dir() else path
    found = rasterize_chart(path, like=simulated_scene())
    return {name: some(found[name].values, 200) for name in ("sic", "sic_class", "sod_class", "floe_class")}


def make_class_raster(folder: Path) -> Path:
    """Classes as a GeoTIFF."""
    import rasterio
    from rasterio.transform import from_origin

    folder.mkdir(parents=True)
    box = polygons().to_crs(3413).total_bounds
    values = np.kron((np.arange(6, dtype=np.uint8) % 5).reshape(2, 3), np.ones((40, 40), np.uint8))
    with rasterio.open(
        folder / "labels.tif",
        "w",
        driver="GTiff",
        width=120,
        height=80,
        count=1,
        dtype="uint8",
        crs="EPSG:3413",
        transform=from_origin(box[0], box[3], (box[2] - box[0]) / 120, (box[3] - box[1]) / 80),
        nodata=255,
    ) as file:
        file.write(values, 1)
    return folder / "labels.tif"


def make_reference(folder: Path) -> Path:
    """A concentration map in the layout of OSI SAF."""
    from tests.reference_files import osisaf_polar

    folder.mkdir(parents=True)
    return osisaf_polar(folder / "ice_conc_nh_polstere-100_multi_201801161200.nc", land=True)


def make_reference_nc3(folder: Path) -> Path:
    """A concentration map as classic NetCDF."""
    from tests.reference_files import bremen_netcdf

    folder.mkdir(parents=True)
    return bremen_netcdf(folder / "asi-AMSR2-n6250-20180116-v5.4.nc", engine="scipy")


def make_reference_tif(folder: Path) -> Path:
    """A concentration map in the layout of NSIDC's GeoTIFFs."""
    from tests.reference_files import raster

    folder.mkdir(parents=True)
    return raster(folder / "N_20180116_concentration_v3.0.tif", "nsidc")


def read_reference(path: Path) -> Numbers:
    """Scores of a map against it."""
    from tests.reference_files import true_map

    from frazil.maps.compare import compare

    scores = compare(true_map(spacing_m=4000.0), path).scores
    flat = {k: v for k, v in scores.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return {name: [float(value)] for name, value in sorted(flat.items())}


def make_map_folder(folder: Path) -> Path:
    """A map as frazil writes it."""
    from frazil.maps.export import export
    from frazil.testing import make_map

    export(make_map(shape=(80, 90)), folder / "map", formats=["netcdf", "summary"])
    return folder / "map"


def read_map_folder(path: Path) -> Numbers:
    """Classes and ice edge of a map folder."""
    from frazil.maps.edges import ice_edge
    from frazil.maps.netcdf import open_map

    opened = open_map(path)
    lines = ice_edge(opened)
    return {
        "classes": np.bincount(opened["ice_class"].values.ravel(), minlength=256),
        "confidence": some(opened["confidence"].values, 100),
        "edge km": [float(lines["length_km"].sum())],
    }
