"""The rasters of maps, one line each: what GeoTIFFs, NetCDF, STAC items and summaries are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import xarray as xr

#: Kinds of class schemes, see `frazil.conventions.ClassScheme`.
Kind = Literal["exclusive", "multilabel"]


@dataclass(frozen=True, kw_only=True)
class MapLayer:
    """One raster of a map.

    Attributes:
        variable: of the Dataset.
        file: the GeoTIFF in the map's folder.
        asset: its name among the STAC assets.
        holds: ``"code"``: codes of classes, 253 undecided, 254 land, 255 nodata; ``"percent"``: 0 to 100, 255 nodata, a
            band a class where the variable has dimension ``category``; ``"bits"``; ``"radar"``: grey values 1 to 255,
            0 nodata, of maps that were made from a scene; other maps have no such file.
        title: for people.
        overviews: how GDAL makes them.
    """

    variable: str
    file: str
    asset: str
    holds: Literal["code", "percent", "bits", "radar"]
    title: str
    overviews: Literal["MODE", "AVERAGE", "NEAREST"]


#: What a map is called in its files.
TITLES: dict[Kind, str] = {
    "exclusive": "Sea-ice map of {product}",
    "multilabel": "Phenomena of sea and air in {product}",
}
FLAGS = MapLayer(
    variable="quality_flags", file="flags.tif", asset="flags", holds="bits", title="Quality flags", overviews="NEAREST"
)
RADAR = MapLayer(
    variable="quicklook", file="quicklook.tif", asset="quicklook", holds="radar", title="Radar", overviews="AVERAGE"
)


def _percent(variable: str, title: str) -> MapLayer:
    return MapLayer(
        variable=variable, file=f"{variable}.tif", asset=variable, holds="percent", title=title, overviews="AVERAGE"
    )


LAYERS: dict[Kind, tuple[MapLayer, ...]] = {
    "exclusive": (
        MapLayer(
            variable="ice_class", file="class.tif", asset="class", holds="code", title="Ice classes", overviews="MODE"
        ),
        _percent("probability", "Probability of each class"),
        _percent("ice_probability", "Probability of ice of any class"),
        _percent("confidence", "Confidence of the class shown"),
        FLAGS,
        RADAR,
    ),
    "multilabel": (
        MapLayer(
            variable="dominant",
            file="dominant.tif",
            asset="dominant",
            holds="code",
            title="Phenomenon of the highest score found",
            overviews="MODE",
        ),
        _percent("score", "Score of each phenomenon"),
        MapLayer(
            variable="phenomena",
            file="phenomena.tif",
            asset="phenomena",
            holds="bits",
            title="Phenomena found, a bit each",
            overviews="MODE",
        ),
        FLAGS,
        RADAR,
    ),
}

#: Vector files: name of the choice -> asset -> (file, title, media type).
VECTORS: dict[Kind, dict[str, dict[str, tuple[str, str, str]]]] = {
    "exclusive": {
        "geopackage": {
            "vectors": ("ice.gpkg", "Ice edge and class polygons, GeoPackage", "application/geopackage+sqlite3")
        },
        "geojson": {
            "ice_edge": ("ice_edge.geojson", "Ice edge, GeoJSON", "application/geo+json"),
            "ice_classes": ("ice_classes.geojson", "Class polygons, GeoJSON", "application/geo+json"),
        },
    },
    "multilabel": {
        "geopackage": {
            "vectors": ("phenomena.gpkg", "Polygons of phenomena, GeoPackage", "application/geopackage+sqlite3")
        },
        "geojson": {
            "phenomena_areas": ("phenomena.geojson", "Polygons of phenomena, GeoJSON", "application/geo+json"),
        },
    },
}
FORMATS = ("geotiff", "netcdf", "geopackage", "geojson", "png", "qgis", "stac", "summary")


def layers_of(ds: xr.Dataset, kind: Kind) -> tuple[MapLayer, ...]:
    """The rasters that a map holds: of a map that was not made from a scene all but the radar image."""
    return tuple(layer for layer in LAYERS[kind] if layer.variable in ds)


def files_of(ds: xr.Dataset, kind: Kind) -> dict[str, dict[str, str]]:
    """What can be written of a map: name of the choice -> asset -> file."""
    return {
        "geotiff": {layer.asset: layer.file for layer in layers_of(ds, kind)},
        "netcdf": {"netcdf": "map.nc"},
        **{choice: {asset: told[0] for asset, told in files.items()} for choice, files in VECTORS[kind].items()},
        "png": {"figure": "map.png"},
        "qgis": {"project": "map.qgz"},
        "stac": {"stac": "stac_item.json", "collection": "collection.json"},
        "summary": {"summary": "summary.json"},
    }
