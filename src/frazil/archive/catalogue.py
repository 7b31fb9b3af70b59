"""What an archive holds, as one table: STAC items as GeoParquet, which geopandas, DuckDB, QGIS and GDAL read.

The table is always written whole, in one step, from the items beside the maps; items that it holds already and that
have not changed are taken from it, so that a hundred thousand maps are not read again for one that is new. Beside what
an item tells, a row has the folder of its map, its figures (areas, edge) from ``summary.json``, and the corners of the
map in its own projection: across 180° and round the pole, where boxes of longitudes mislead, they do not.

References:
    STAC GeoParquet specification 1.1.0. GeoParquet 1.1.0 (OGC), covering.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil.archive.folder import Archive, open_archive
from frazil.errors import MissingDependencyError, ProductNotFoundError
from frazil.extras import installed
from frazil.files import replaced_file
from frazil.maps.collection import collection_file
from frazil.maps.stac import COLLECTIONS, ITEM_FILE
from frazil.marks import WRITTEN_BY
from frazil.providers.times import span
from frazil.scene.box import Box
from frazil.untrusted import read_json

if TYPE_CHECKING:
    import geopandas as gpd

ITEMS_FILE = "items.parquet"
_BYTES = 16 * 2**20
_ROWS = 20_000  # of a group that readers can leave out
_SURE_S = 2.0  # an item that is not older than the table by this is read again: clocks of file systems are coarse
_NEEDS = "pip install 'frazil[archive]'"
#: Columns that most questions need: without the assets a table of a hundred thousand maps is read in a second.
SHORT = (
    "id",
    "folder",
    "datetime",
    "start_datetime",
    "end_datetime",
    "platform",
    "proj:code",
    "gsd",
    "map:left",
    "map:bottom",
    "map:right",
    "map:top",
    "map:mapped_sea_km2",
    "map:ice_extent_km2",
    "map:undecided_km2",
    "map:ice_edge_km",
    "geometry",
)
_FIGURES = ("mapped_sea_km2", "ice_extent_km2", "undecided_km2", "ice_edge_km")


def write_catalogue(archive: Archive | str | os.PathLike[str]) -> tuple[Path, int]:
    """Write ``items.parquet`` of an archive anew.

    Args:
        archive: it, or its folder.

    Returns:
        The file, and how many maps it holds.

    Raises:
        MissingDependencyError: pyarrow or stac-geoparquet is not there.
        ProductNotFoundError: no map is there.
        OutputError: it cannot be written.
    """
    _require()
    import pyarrow as pa
    import stac_geoparquet.arrow as stac
    from pyarrow import parquet

    archive = archive if isinstance(archive, Archive) else open_archive(archive)
    target = archive.root / ITEMS_FILE
    there = {path.parent.name: path for path in archive.maps.glob(f"*/{ITEM_FILE}")}
    old = _kept(target, there)
    known = set(old["folder"].to_pylist()) if old is not None else set()
    items = [item for name, path in sorted(there.items()) if name not in known and (item := _item(path, archive))]
    tables = [] if old is None or not old.num_rows else [old]
    if items:
        tables.append(stac.parse_stac_items_to_arrow(items).read_all())
    if not tables:
        raise ProductNotFoundError(f"{archive.root} holds no maps yet. Fill it by `frazil batch`.")
    table = pa.concat_tables(tables, promote_options="permissive")
    table = table.sort_by([("datetime", "ascending"), ("id", "ascending")])
    with replaced_file(target) as part:
        collection = _collection(archive)
        batches = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=_ROWS))
        stac.to_parquet(batches, part, collections={collection["id"]: collection} if collection else None)
        _ = parquet.read_metadata(part)  # what cannot be read back is not put in place
    return target, table.num_rows


def open_catalogue(
    archive: str | os.PathLike[str],
    *,
    time: str | None = None,
    bbox: str | Sequence[float] | None = None,
    columns: Sequence[str] | None = SHORT,
) -> gpd.GeoDataFrame:
    """The maps of an archive, or those of a time and place, a row each.

    Args:
        archive: the folder, or its ``items.parquet``.
        time: ``"2025-02-01"``, ``"2025-02-01/03"``, ``"2025-02"`` … UTC, see `frazil.providers.times.span`.
        bbox: west, south, east, north, degrees; west above east across 180°. Maps whose outline meets it.
        columns: to read; None: all, with the assets.

    Returns:
        GeoDataFrame in longitude and latitude, by time.

    Raises:
        ProductNotFoundError: there is no table.
        OptionError: a time or box that is none.
        MissingDependencyError: pyarrow is not there.
    """
    _require()
    import geopandas as gpd
    from pyarrow import ArrowException, parquet

    place = Path(archive)
    path = place / ITEMS_FILE if place.is_dir() else place
    filters: list[Any] = []
    if time is not None:
        wanted_time = span(time)
        filters = [("datetime", ">=", wanted_time.start), ("datetime", "<", wanted_time.stop)]
    try:
        have = set(parquet.read_schema(path).names)
        wanted = None if columns is None else [name for name in columns if name in have]
        frame = gpd.read_parquet(path, columns=wanted, filters=filters or None)
    except FileNotFoundError:
        raise ProductNotFoundError(f"{path} is not there. `frazil catalogue {place}` writes it.") from None
    except (ArrowException, ValueError, KeyError, TypeError, OSError) as error:
        words = " ".join(str(error).split())[:200]
        raise ProductNotFoundError(
            f"{path} is no table of maps ({words}). `frazil catalogue` writes it anew."
        ) from error
    if bbox is not None:
        frame = frame[frame.intersects(_box(bbox))]
    return frame.sort_values(["datetime", "id"]).reset_index(drop=True)


def _box(bbox: str | Sequence[float]) -> Any:
    import shapely

    box = Box.of(bbox)
    if box.west <= box.east:
        return shapely.box(box.west, box.south, box.east, box.north)
    halves = shapely.box([box.west, -180], box.south, [180, box.east], box.north)
    return shapely.union_all(halves)


def _kept(target: Path, there: dict[str, Path]) -> Any:
    """Rows of the table that is there whose maps are there and older than it; None where it cannot be used."""
    import pyarrow as pa
    from pyarrow import ArrowException, parquet

    try:
        written = target.stat().st_mtime
        table = parquet.read_table(target)
        names = table["folder"].to_pylist()
    except (OSError, ArrowException, KeyError):
        return None
    fresh = [name in there and there[name].stat().st_mtime < written - _SURE_S for name in names]
    return table.filter(pa.array(fresh, pa.bool_()))


def _item(path: Path, archive: Archive) -> dict[str, Any] | None:
    """The item of a map with its folder and figures; None of what is no item of the archive's kind."""
    try:
        item = read_json(path, _BYTES)
        properties = item["properties"]
        if item.get("collection") != COLLECTIONS[archive.kind]:
            return None
        left, bottom, right, top = (float(v) for v in properties["proj:bbox"])
        summary = path.with_name("summary.json")
        told = read_json(summary, _BYTES) if summary.is_file() else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    figures = {f"map:{n}": float(told[n]) for n in _FIGURES if isinstance(told.get(n), (int, float))}
    corners = {"map:left": left, "map:bottom": bottom, "map:right": right, "map:top": top}
    base = f"./maps/{path.parent.name}"
    for asset in item["assets"].values():
        asset["href"] = f"{base}/{str(asset['href']).removeprefix('./')}"
    for link in item["links"]:
        if "://" not in str(link["href"]):
            link["href"] = f"{base}/{str(link['href']).removeprefix('./')}"
    item["properties"] = {**properties, **figures, **corners, "folder": path.parent.name, "written_by": WRITTEN_BY}
    item.pop("written_by", None)
    return dict(item)


def _collection(archive: Archive) -> dict[str, Any] | None:
    try:
        told = json.loads((archive.maps / collection_file(archive.kind)).read_text(encoding="utf-8"))
        return dict(told)
    except (OSError, ValueError):
        return None


def _require() -> None:
    lacking = [name for name in ("pyarrow", "stac_geoparquet") if not installed(name)]
    if lacking:
        raise MissingDependencyError(f"The table of maps needs {', '.join(lacking)}, not installed: {_NEEDS}.")
