"""A chart as a GeoPackage that QGIS opens in the colours of the WMO, without a step by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from frazil.charts.colours import COLOUR_CODES, entry_of
from frazil.maps.qgis_vectors import LayerStyle, coloured_by, heavy_line, write_layer_styles
from frazil.marks import WRITTEN_BY

if TYPE_CHECKING:
    import geopandas as gpd

LAYER, EDGE = "ice_chart", "ice_edge"
_COLUMNS = {"concentration": "colour_ct", "stage": "colour_sod"}


def write_geopackage(chart: gpd.GeoDataFrame, path: Path, edge: gpd.GeoDataFrame | None = None) -> None:
    """Write the polygons, with the colours of both codes as columns, and the ice edge; a style for each code.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`.
        path: ending in ``.gpkg``.
        edge: lines of the ice edge.
    """
    frame = chart.copy()
    rows = chart.to_dict("records")
    for code in COLOUR_CODES:
        entries = [entry_of(row, code) for row in rows]
        frame[_COLUMNS[code]] = ["#{:02x}{:02x}{:02x}".format(*entry.colour) for entry in entries]
    frame["meaning"] = [entry_of(row, "concentration").text for row in rows]
    frame.to_file(path, layer=LAYER, engine="pyogrio", layer_metadata={"WRITTEN_BY": WRITTEN_BY})
    styles = [
        LayerStyle(
            layer=LAYER,
            name=f"WMO {code}",
            description=f"WMO colour code: {code}",
            renderer=coloured_by(_COLUMNS[code]),
            default=code == "concentration",
        )
        for code in COLOUR_CODES
    ]
    if edge is not None and len(edge):
        edge.to_file(path, layer=EDGE, engine="pyogrio", mode="a")
        styles.append(LayerStyle(layer=EDGE, name="Ice edge", description="Ice edge", renderer=heavy_line()))
    write_layer_styles(path, styles)
