"""Comparisons as a folder of files that GIS programs read: GeoTIFF, GeoPackage, PNG, JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import CLASS_NODATA, check_ice_map
from frazil.errors import OptionError
from frazil.files import refuse_existing, whole_output
from frazil.maps.compare import CATEGORIES, Comparison
from frazil.maps.export import as_output_error
from frazil.maps.netcdf import open_map
from frazil.maps.summary import versions

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from frazil.maps.displacement import EdgeLines


def save_comparison(
    comparisons: Comparison | Sequence[Comparison],
    ice_map: xr.Dataset | str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write comparisons of one map as a folder; it appears whole or not at all.

    ``comparison.json`` (figures of all), ``comparison.png`` (a panel for each reference), and for each reference
    ``difference.tif`` (codes of `frazil.maps.compare.CATEGORIES`, 254 land, 255 not compared; colour table, names, QGIS
    style) and ``edges.gpkg`` (layers ``map_edge`` and ``reference_edge``, in the CRS of the map). With several
    references the names of the last two carry the name of the reference.

    Args:
        comparisons: what `compare` returned, one or several.
        ice_map: the map that was compared, or where it is.
        directory: the folder; made with its parents.
        overwrite: replace the folder if it exists.

    Returns:
        The path of each file: ``"scores"``, ``"figure"``, ``"difference"``, ``"edges"``; the last two numbered
        (``"difference_1"`` …) where there are several references.

    Raises:
        OptionError: no comparison.
        OutputExistsError: the folder exists and ``overwrite`` is not set.
        OutputError: the disk is full or the folder cannot be written.
    """
    from frazil.maps.comparison_figure import draw_comparison

    several = [comparisons] if isinstance(comparisons, Comparison) else list(comparisons)
    if not several:
        raise OptionError("There is no comparison to save. Pass one or more.")
    target = refuse_existing(directory, overwrite=overwrite)
    if isinstance(ice_map, (str, os.PathLike)):
        ice_map = open_map(ice_map)
    check_ice_map(ice_map)
    attrs = {str(key): value for key, value in ice_map.attrs.items()}
    files = {"scores": "comparison.json", "figure": "comparison.png"}
    content: list[dict[str, object]] = []
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        part.mkdir()
        for number, (comparison, ending) in enumerate(zip(several, _endings(several), strict=True), start=1):
            names = {"difference": f"difference{ending}.tif", "edges": f"edges{ending}.gpkg"}
            _write_difference(part / names["difference"], comparison, attrs)
            _write_edges(part / names["edges"], comparison, attrs)
            content.append({**comparison.scores, "files": names})
            files |= {key if len(several) == 1 else f"{key}_{number}": name for key, name in names.items()}
        draw_comparison(several, attrs, part / files["figure"])
        report = {
            "product": str(attrs["product"]),
            "model": str(attrs["model"]),
            "note": attrs.get("note") or None,
            "areas_are": "ground areas on the ellipsoid",
            "comparisons": content,
            "versions": versions(),
        }
        text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
        (part / files["scores"]).write_text(text + "\n", encoding="utf-8")
    return {key: target / name for key, name in files.items()}


def _endings(comparisons: Sequence[Comparison]) -> list[str]:
    """What to add to file names: nothing for one reference, else its number and name."""
    if len(comparisons) == 1:
        return [""]
    names = [re.sub(r"[^A-Za-z0-9-]+", "_", Path(str(c.scores["reference"])).stem)[:60] for c in comparisons]
    return [f"_{number}_{name}".rstrip("_") for number, name in enumerate(names, start=1)]


def _write_difference(path: Path, comparison: Comparison, attrs: Mapping[str, object]) -> None:
    from frazil.maps import geotiff, qgis_rasters

    tags = {key: str(attrs[key]) for key in ("product", "model", "start_time", "note") if attrs.get(key)}
    tags |= {key: str(comparison.scores[key]) for key in ("reference", "kind", "ice_in_map", "ice_in_reference")}
    geotiff.write_cog(
        path,
        comparison.categories[None],
        comparison.grid,
        descriptions=("difference",),
        tags=tags,
        nodata=CLASS_NODATA,
        overviews="MODE",
        colours=geotiff.class_colours(CATEGORIES),
    )
    geotiff.write_category_names(path, CATEGORIES)
    qgis_rasters.write_style(path, qgis_rasters.classes(CATEGORIES))


def _write_edges(path: Path, comparison: Comparison, attrs: Mapping[str, object]) -> None:
    scores = comparison.scores
    layers = (
        ("map_edge", comparison.map_edge, str(attrs["product"]), scores["ice_in_map"]),
        ("reference_edge", comparison.reference_edge, str(scores["reference"]), scores["ice_in_reference"]),
    )
    for number, (layer, edge, source, ice) in enumerate(layers):
        _frame(edge, comparison.grid.crs, source, ice).to_file(
            path, layer=layer, driver="GPKG", engine="pyogrio", geometry_type="LineString", mode="a" if number else "w"
        )


def _frame(edge: EdgeLines, crs: str, source: str, ice: str) -> gpd.GeoDataFrame:
    """One row a line, longest first."""
    import geopandas as gpd
    import shapely

    n = max(len(edge.first) - 1, 0)
    shapes = shapely.linestrings(edge.xy, indices=np.repeat(np.arange(n), np.diff(edge.first))) if n else []
    columns = {
        "length_km": np.round(edge.line_lengths_km(), 3),
        "source": np.full(n, source, object),
        "ice_is": np.full(n, ice, object),
    }
    frame = gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs)
    return frame.sort_values("length_km", ascending=False, kind="stable").reset_index(drop=True)
