"""Everything that frazil reads from strangers."""

from __future__ import annotations

import importlib

from benchmarks.fuzzing import geography, learning, products
from benchmarks.fuzzing.mutations import BYTES, MEANING, TREES
from benchmarks.fuzzing.payloads import DISGUISES
from benchmarks.fuzzing.target import Target

#: What readers load when they are first called: loaded once, before children are forked.
LOADED = (
    "geopandas",
    "h5netcdf",
    "h5py",
    "numcodecs",
    "pyogrio",
    "rasterio",
    "rasterio.features",
    "scipy.io",
    "xarray",
    "zarr",
    "frazil.labels.chart",
    "frazil.labels.datasets.ai4arctic",
    "frazil.labels.datasets.masks",
    "frazil.labels.imagettes",
    "frazil.labels.patch_set",
    "frazil.labels.patches",
    "frazil.labels.sources",
    "frazil.labels.splits",
    "frazil.learn.checkpoint",
    "frazil.learn.distributed.watch",
    "frazil.reports.gather",
    "frazil.learn.data.patches",
    "frazil.learn.predict.scene",
    "frazil.learn.propagation.files",
    "frazil.maps.compare",
    "frazil.maps.edges",
    "frazil.maps.netcdf",
    "frazil.sentinel1.scene",
    "frazil.sentinel1.info",
    "tests.reference_files",
    "tests.labels.test_datasets",
    "xarray.backends.h5netcdf_",
    "xarray.backends.scipy_",
    "xarray.backends.zarr",
    "pandas",
)


def targets() -> list[Target]:
    """All of them."""
    for name in LOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)  # threads of the parent do not live on in its children
    geography.polygons()  # once, for all children: the scene, and the data of PROJ
    bytewise, everything = BYTES + DISGUISES, BYTES + TREES + MEANING + DISGUISES
    foreign = (products.foreign_file, products.foreign_file)
    return [
        Target(
            "product", products.make_attacked, products.read_product, everything + foreign, 0.7, seal=products.reseal
        ),
        Target("product-zip", products.make_zip, products.read_product, bytewise, 0.1),
        Target(
            "product-real-metadata",
            products.make_real_product,
            products.read_metadata,
            everything + foreign,
            0.2,
            seal=products.reseal,
        ),
        Target("labels-gpkg", geography.vector_maker(".gpkg"), geography.read_labels, bytewise),
        Target("labels-geojson", geography.vector_maker(".geojson"), geography.read_labels, bytewise + MEANING),
        Target("labels-fgb", geography.vector_maker(".fgb"), geography.read_labels, bytewise),
        Target("labels-tif", geography.make_class_raster, geography.read_labels, bytewise),
        Target("chart-shp", geography.vector_maker(".shp"), geography.read_chart_numbers, everything),
        Target("chart-zip", geography.make_chart_zip, geography.read_chart_numbers, bytewise),
        Target("reference-nc3", geography.make_reference_nc3, geography.read_reference, bytewise),
        Target("ai4arctic", learning.make_ai4arctic, learning.read_ai4arctic, bytewise),
        Target("masks", learning.make_masks, learning.read_masks, everything),
        Target("reference-nc", geography.make_reference, geography.read_reference, bytewise),
        Target("reference-tif", geography.make_reference_tif, geography.read_reference, bytewise),
        Target("map-folder", geography.make_map_folder, geography.read_map_folder, everything),
        Target("patch-set", learning.make_patches, learning.read_patch_set, everything),
        Target("imagettes", learning.make_imagettes, learning.read_imagettes, everything),
        Target("model", learning.make_model, learning.read_model, everything),
        Target(
            "exchange-manifests",
            learning.make_store,
            learning.read_store,
            everything,
            inside=lambda p: p / "run/workers/bad",
        ),
        Target(
            "exchange-weights",
            learning.make_store,
            learning.read_store,
            everything,
            inside=lambda p: p / "run/weights/bad",
        ),
        Target("split", learning.make_split, learning.read_split, bytewise + MEANING),
        Target("run-folder", learning.make_run, learning.read_run_folder, bytewise + MEANING),
        Target("features", learning.make_features, learning.read_features, bytewise),
    ]
