"""``map.qgz``: a QGIS project of all files of a map, styled, in groups, with paths from where it lies.

A project is a zip file around one XML file. Whoever moves the folder moves all of it; nothing in it names a place.

References:
    QGIS documentation, "QGIS project file (QGS/QGZ)"; written as QGIS 3.22 reads it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from frazil.conventions import check_map
from frazil.maps.layers import TITLES, VECTORS, layers_of
from frazil.maps.qgis_rasters import VERSION, views_of
from frazil.maps.qgis_vectors import map_styles
from frazil.maps.times import span_of_texts
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    from collections.abc import Collection

    import xarray as xr

    from frazil.maps.layers import MapLayer

#: Groups from the top, which is drawn last, to the bottom.
GROUPS = ("Vectors", "Classes", "Doubts", "Probabilities", "Radar")
_SHOWN = {"ice_edge", "class", "dominant", "quicklook"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of zip files: equal maps give equal projects
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """One layer of the project: where it is listed, what it reads, how it is drawn, and whether it is shown."""

    group: str
    id: str
    title: str
    source: str
    provider: str
    renderer: ET.Element
    shown: bool
    geometry: str = ""


def write_project(ds: xr.Dataset, path: Path, files: Collection[str]) -> Path:
    """Write a project of the files of a map; classes, edge and the colours of the radar are shown, the rest is ready.

    Args:
        ds: a map, see `frazil.conventions.check_map`, on a projected grid.
        path: the project; the files lie beside it.
        files: names of the GeoTIFFs and GeoPackages that are there.

    Raises:
        ContractError: not a map. OSError: the file could not be written.
    """
    scheme, grid = check_map(ds), MapGrid.of(ds)
    layers = [made for layer in layers_of(ds, scheme.kind) if layer.file in files for made in _rasters(layer, ds)]
    layers += _vectors(ds, files)
    root = ET.Element("qgis", version=VERSION, projectname=TITLES[scheme.kind].format(product=ds.attrs["product"]))
    ET.SubElement(root, "title").text = root.get("projectname")
    _crs(ET.SubElement(root, "projectCrs"), grid)
    tree = ET.SubElement(root, "layer-tree-group")
    for group in GROUPS:
        _add_group(tree, group, [layer for layer in layers if layer.group == group])
    canvas = ET.SubElement(root, "mapcanvas", name="theMapCanvas", annotationsVisible="1")
    ET.SubElement(canvas, "units").text = "meters"
    _extent(ET.SubElement(canvas, "extent"), grid)
    _crs(ET.SubElement(canvas, "destinationsrs"), grid)
    listed = ET.SubElement(root, "projectlayers")
    for layer in layers:
        _add_times(_add_layer(listed, layer, grid), ds)
    properties = ET.SubElement(root, "properties")
    ET.SubElement(ET.SubElement(properties, "Paths"), "Absolute", type="bool").text = "false"
    # without it QGIS does not read the projection of the project
    ET.SubElement(ET.SubElement(properties, "SpatialRefSys"), "ProjectionsEnabled", type="int").text = "1"
    ET.indent(root)
    text = _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{path.stem}.qgs", _EPOCH), text.encode(), zipfile.ZIP_DEFLATED)
    return path


def _rasters(layer: MapLayer, ds: xr.Dataset) -> list[_Layer]:
    """A layer for each way to draw a raster; of those the first is shown, if any is."""
    scheme = check_map(ds)
    group = {"code": "Classes", "percent": "Probabilities", "bits": "Classes", "radar": "Radar"}[layer.holds]
    if layer.asset in ("flags", "confidence"):
        group = "Doubts"
    return [
        _Layer(
            group=group,
            id=f"raster_{layer.asset}_{number}",  # QGIS gives layers new ids whose own has ten characters or less
            title=view.title,
            source=f"./{layer.file}",
            provider="gdal",
            renderer=view.renderer,
            shown=layer.asset in _SHOWN and number == 0,
        )
        for number, view in enumerate(views_of(layer, ds, scheme))
    ]


def _vectors(ds: xr.Dataset, files: Collection[str]) -> list[_Layer]:
    scheme = check_map(ds)
    file, *_ = VECTORS[scheme.kind]["geopackage"]["vectors"]
    if file not in files:
        return []
    return [
        _Layer(
            group="Vectors",
            id=f"vector_{style.layer}",
            title=style.description,
            source=f"./{file}|layername={style.layer}",
            provider="ogr",
            renderer=style.renderer,
            shown=style.layer in _SHOWN,
            geometry="Line" if style.layer == "ice_edge" else "Polygon",
        )
        for style in map_styles(scheme)
    ]


def _add_group(tree: ET.Element, name: str, layers: list[_Layer]) -> None:
    if not layers:
        return
    group = ET.SubElement(tree, "layer-tree-group", name=name, checked="Qt::Checked", expanded="1")
    for layer in layers:
        ET.SubElement(
            group,
            "layer-tree-layer",
            id=layer.id,
            name=layer.title,
            source=layer.source,
            providerKey=layer.provider,
            checked="Qt::Checked" if layer.shown else "Qt::Unchecked",
            expanded="1" if layer.shown else "0",
        )


def _add_layer(listed: ET.Element, layer: _Layer, grid: MapGrid) -> ET.Element:
    kind = {"gdal": "raster", "ogr": "vector"}[layer.provider]
    element = ET.SubElement(listed, "maplayer", type=kind)
    if layer.geometry:
        element.set("geometry", layer.geometry)
    for tag, text in (("id", layer.id), ("datasource", layer.source), ("layername", layer.title)):
        ET.SubElement(element, tag).text = text
    _crs(ET.SubElement(element, "srs"), grid)
    provider = ET.SubElement(element, "provider")
    provider.text = layer.provider
    if kind == "raster":
        ET.SubElement(element, "pipe").append(layer.renderer)
    else:
        provider.set("encoding", "UTF-8")
        element.append(layer.renderer)
        ET.SubElement(element, "layerOpacity").text = "1"
    ET.SubElement(element, "blendMode").text = "0"
    return element


def _add_times(layer: ET.Element, ds: xr.Dataset) -> None:
    """For QGIS's temporal controller: a raster is of the time of the scene, a shape of that in its ``start_time``."""
    span = span_of_texts(ds.attrs["start_time"], ds.attrs.get("stop_time"))
    if span is None:
        return
    if layer.get("type") == "vector":
        how = {"enabled": "1", "mode": "1", "startField": "start_time", "durationUnit": "min", "accumulate": "0"}
        ET.SubElement(layer, "temporal", how | {"fixedDuration": "0", "endField": "", "durationField": ""})
        return
    whole = ET.SubElement(ET.SubElement(layer, "temporal", enabled="1", mode="0", fetchMode="0"), "fixedRange")
    for tag, time in (("start", span.start), ("end", span.stop)):
        ET.SubElement(whole, tag).text = f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _crs(parent: ET.Element, grid: MapGrid) -> None:
    system = ET.SubElement(parent, "spatialrefsys")
    ET.SubElement(system, "wkt").text = grid.pyproj_crs.to_wkt()
    authority = grid.pyproj_crs.to_authority()
    if authority:
        ET.SubElement(system, "authid").text = ":".join(authority)


def _extent(parent: ET.Element, grid: MapGrid) -> None:
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), grid.bounds, strict=True):
        ET.SubElement(parent, name).text = repr(float(value))
