"""A chart as an S-411 dataset: what electronic chart systems show as ice. Version 1.1.0, or the draft 1.2.1.

Land and what was not observed have no feature. A dataset may not cross the antimeridian: such a chart is two. The
datasets are not signed: they are no products of a hydrographic office.

References:
    See `frazil.charts.s411_operational` for 1.1.0 and `frazil.charts.s411_draft` for 1.2.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.charts import s411_draft, s411_operational
from frazil.charts.fgdc import Issuer
from frazil.charts.s411_features import Part
from frazil.charts.sigrid3_files import checked_names, placed, time_of
from frazil.errors import OptionError, OutputError
from frazil.labels.polygons import find_crs

if TYPE_CHECKING:
    import geopandas as gpd

VERSIONS = (s411_operational.VERSION, s411_draft.VERSION)
_HALF = 180.0


def write_s411(
    chart: gpd.GeoDataFrame,
    folder: Path,
    *,
    version: str = s411_operational.VERSION,
    edge: gpd.GeoDataFrame | None = None,
    region: str = "scene",
    issuer: Issuer | None = None,
) -> list[Path]:
    """Write a chart into a folder that is there: one dataset, or two where it crosses the antimeridian.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`, in any CRS.
        folder: is filled.
        version: of `VERSIONS`.
        edge: lines of the ice edge.
        region: for the name: letters, digits and hyphens.
        issuer: likewise, its code.

    Returns:
        The files, ``.gml`` of 1.1.0 and ``.GML`` of 1.2.1.

    Raises:
        OptionError: another version, or as `frazil.charts.sigrid3_files.write_sigrid3`.
        LabelError: a code that S-411 does not have.
        OutputError: no polygon of the chart is sea, so that there is nothing to write.
    """
    if version not in VERSIONS:
        raise OptionError(f"S-411 version {version!r} is not one of {list(VERSIONS)}.")
    issuer = issuer or Issuer()
    checked_names(region, issuer)
    observed = time_of(chart.attrs.get("start_time"))
    made = []
    for part in _parts(chart, edge):
        if version == s411_draft.VERSION:
            name = s411_draft.file_name(issuer.code, region, observed, part.side)
            title = f"Sea ice, {region}, {observed:%Y-%m-%d %H:%M}"
            content = s411_draft.dataset(part, name=name, title=title, day=f"{observed:%Y-%m-%d}")
        else:
            name = f"S411_{issuer.code}_{region}-{observed:%Y%m%d}{part.side and f'-{part.side}'}.gml"
            content = s411_operational.dataset(part)
        path = folder / name
        path.write_bytes(content)
        made.append(path)
    return made


def _parts(chart: gpd.GeoDataFrame, edge: gpd.GeoDataFrame | None) -> list[Part]:
    """The chart in longitude and latitude, in single shapes: one part, or one on each side of the antimeridian."""
    import shapely

    crs = find_crs("EPSG:4326")
    shapes, owner = placed(chart, crs)
    rows = chart.to_dict("records")
    kinds = np.array([rows[k]["POLY_TYPE"] for k in owner], dtype=object)
    if not np.isin(kinds, ["I", "W"]).any():
        raise OutputError("The chart has no polygons of the sea, and S-411 holds no others. Nothing is written.")
    lines = np.empty(0, dtype=object) if edge is None or not len(edge) else placed(edge, crs)[0]
    west, _, east, _ = shapely.bounds(shapes).T
    line_east = shapely.bounds(lines).reshape(-1, 4)[:, 2]
    everywhere = np.ones(len(shapes), bool), np.ones(len(lines), bool)
    crosses = (west == -_HALF).any() and (east == _HALF).any() and not ((west < 0) & (east > 0)).any()
    sides = {"E": (east > 0, line_east > 0), "W": (east <= 0, line_east <= 0)} if crosses else {"": everywhere}
    found = []
    for side, (here, drawn) in sides.items():
        sea = here & np.isin(kinds, ["I", "W"])
        if sea.any():
            areas = [(shape, rows[k]) for shape, k in zip(shapes[sea], owner[sea], strict=True)]
            found.append(Part(side, areas, list(lines[drawn]), shapes[here & (kinds != "N")]))
    return found
