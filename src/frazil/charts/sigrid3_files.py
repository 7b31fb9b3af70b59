"""A chart as the sets of files that SIGRID-3 asks for: .shp, .shx, .dbf, .prj and .xml of polygons and of lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.charts.fgdc import Described, Issuer, metadata
from frazil.charts.sigrid3 import LINE_COLUMNS, Column, columns_of, row_of
from frazil.errors import OptionError, OutputError
from frazil.geojson import to_lonlat
from frazil.labels.polygons import find_crs

if TYPE_CHECKING:
    import geopandas as gpd

LONLAT = "EPSG:4326"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,29}")


def write_sigrid3(
    chart: gpd.GeoDataFrame,
    folder: Path,
    *,
    edition: str = "3.1",
    crs: str = LONLAT,
    edge: gpd.GeoDataFrame | None = None,
    region: str = "scene",
    issuer: Issuer | None = None,
    use: str = "",
) -> list[Path]:
    """Write a chart into a folder that is there, under the names of the edition.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`, in any CRS. Its ``attrs`` say ``start_time``, ``product``
            and ``model``, where known.
        folder: is filled.
        edition: ``"3.1"`` or ``"2010"``.
        crs: of the coordinates. In longitude and latitude polygons are cut at the antimeridian.
        edge: lines of the ice edge, for a set of lines.
        region: for names and metadata: letters, digits and hyphens.
        issuer: who issues it.
        use: what it may be used for, a sentence.

    Returns:
        The ``.shp`` files.

    Raises:
        OptionError: an unknown edition, a name that files cannot have.
        LabelError: a code that the edition does not have.
        OutputError: the polygons are no coverage in that CRS, or what was written is not read back.
    """
    issuer = issuer or Issuer()
    checked_names(region, issuer)
    columns = columns_of(edition)
    observed = time_of(chart.attrs.get("start_time"))
    stamp = f"{observed:%Y%m%dT%H%M%S}" if edition == "3.1" else f"{observed:%Y%m%d}"
    target = find_crs(crs)
    shapes, owner = placed(chart, target)
    said = [row_of(row, edition, f"{observed:%Y-%m-%dT%H:%M:%SZ}") for row in chart.to_dict("records")]
    area, length = _measured(shapes, target)
    rows = [{**said[k], "AREA": a, "PERIMETER": p} for k, a, p in zip(owner, area, length, strict=True)]
    sets = [("pl", columns, shapes, rows, "polygons")]
    if edge is not None and len(edge):
        lines, _ = placed(edge, target)
        _, length = _measured(lines, target)
        rows = [{"LENGTH": n, "LINE_TYPE": "ICELNE", "ICE_LOC": "99"} for n in length]
        sets.append(("ln", LINE_COLUMNS, lines, rows, "lines"))
    made = []
    for kind, fields, geometry, table, words in sets:
        path = folder / f"{issuer.code}_{region}_{stamp}_{kind}_a.shp"
        _write_shapes(path, fields, geometry, table)
        described = Described(
            title=path.stem,
            edition=edition,
            bounds=_bounds(geometry, target),
            observed=observed,
            written=datetime.now(UTC),
            products=tuple(dict.fromkeys(chart["product"])) if "product" in chart else ("not told",),
            model=str(chart.attrs.get("model", "not told")),
            crs=target,
            columns=fields,
            shapes=words,
            region=region,
            issuer=issuer,
            use=use or "not told",
            note=" ".join(str(chart.attrs.get("note") or "").split()),
        )
        path.with_suffix(".xml").write_bytes(metadata(described))
        path.with_suffix(".prj").write_text(target.to_wkt("WKT1_ESRI"), encoding="ascii")
        made.append(path)
    return made


def checked_names(region: str, issuer: Issuer) -> None:
    """Raise OptionError for names that cannot be parts of names of files."""
    for what, name in (("region", region), ("issuer", issuer.code)):
        if not _NAME.fullmatch(name):
            raise OptionError(
                f"{what} {name!r} cannot stand in a file name of a chart: take 1 to 30 letters, digits and hyphens."
            )


def placed(frame: gpd.GeoDataFrame, crs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Single shapes of a table in a CRS (pyproj), and the row that each is of.

    Raises:
        OutputError: polygons that were a coverage are none there.
    """
    import shapely

    shapes = frame.geometry.values
    if crs.is_geographic:
        moved = to_lonlat(shapes, frame.crs) if frame.crs.is_projected else np.asarray(shapes)
    else:
        moved = frame.geometry.to_crs(crs).values
    parts, owner = shapely.get_parts(moved, return_index=True)
    if (
        frame.attrs.get("dialect")
        and shapely.coverage_is_valid(shapes)
        and not (shapely.is_valid(parts).all() and shapely.coverage_is_valid(parts))
    ):
        raise OutputError(f"The chart's polygons overlap or leave gaps in {crs.name}. Write it in another CRS.")
    return parts, owner


def _measured(shapes: np.ndarray, crs: Any) -> tuple[list[float], list[float]]:
    """Areas, m², and lengths of all rings or lines, m, on the ellipsoid."""
    import shapely
    from pyproj import Transformer

    geod = crs.get_geod()
    place = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    flat = shapely.transform(shapes, lambda xy: np.column_stack(place.transform(*xy.T)))
    if shapely.get_dimensions(flat[0]) == 1:
        return [0.0] * len(flat), [geod.geometry_length(line) for line in flat]
    found = [geod.geometry_area_perimeter(shape) for shape in shapely.orient_polygons(flat)]
    return [abs(a) for a, _ in found], [abs(p) for _, p in found]


def _bounds(shapes: np.ndarray, crs: Any) -> tuple[float, float, float, float]:
    import shapely
    from pyproj import Transformer

    west, south, east, north = shapely.total_bounds(shapes)
    if not crs.is_geographic:
        west, south, east, north = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform_bounds(
            west, south, east, north, densify_pts=51
        )
    return float(west), float(south), float(east), float(north)


def _write_shapes(path: Path, columns: Sequence[Column], shapes: np.ndarray, rows: Sequence[dict[str, Any]]) -> None:
    """The .shp, .shx and .dbf files, with exactly these columns; outer rings run clockwise."""
    import shapefile
    import shapely

    lines = bool(len(shapes)) and shapely.get_dimensions(shapes[0]) == 1
    kind = shapefile.POLYLINE if lines else shapefile.POLYGON
    with shapefile.Writer(str(path), shapeType=kind, encoding="ascii") as out:
        for c in columns:
            out.field(c.name, c.kind, size=c.width, decimal=c.decimals)
        oriented = shapes if lines else shapely.orient_polygons(shapes, exterior_cw=True)
        for shape, row in zip(oriented, rows, strict=True):
            rings = [shape] if lines else shapely.get_rings(shape)
            parts = [shapely.get_coordinates(ring).tolist() for ring in rings]
            (out.line if lines else out.poly)(parts)
            out.record(*(_cell(c, row.get(c.name)) for c in columns))
    found = shapefile.Reader(str(path), encoding="ascii")
    if len(found) != len(rows):
        raise OutputError(f"Cannot write {path.name}: what was written cannot be read back. Is the disk full?")
    found.close()


def _cell(column: Column, value: Any) -> Any:
    if column.kind == "N":
        return None if value is None or not np.isfinite(value) else round(float(value), column.decimals)
    return "" if value is None else str(value)


def time_of(text: str | None) -> datetime:
    """The time of a scene, UTC; now, where a chart does not say."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
