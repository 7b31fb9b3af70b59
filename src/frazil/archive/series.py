"""What an archive's maps amount to, day by day and region by region.

Each day's maps are combined as `frazil.archive.mosaic` does, so that what two scenes saw counts once; areas are ground
areas on the ellipsoid. The length of the ice edge is that of the mosaic averaged to pixels of about a kilometre: a
coastline has no length but at a scale, and a finer one would measure floes. What nobody observed on a day counts as
nothing: look at ``observed_percent`` before two days are compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.answer import CONFIDENCE_PERCENT
from frazil.archive.layers import MapFiles, common_grid, maps_in
from frazil.archive.mosaic import BLOCK, MosaicBlock, Rule, check_maps, mosaic_blocks
from frazil.conventions import CLASS_LAND, CLASS_NODATA, UNDECIDED
from frazil.errors import LabelError, MissingDependencyError, OptionError
from frazil.extras import installed
from frazil.files import refuse_existing, whole_output
from frazil.maps.areas import PixelAreas, geodesic_lengths_km
from frazil.maps.edges import edge_between
from frazil.providers.times import span
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

Progress = Callable[[float, str], None]
WHOLE = "all"  #: the region of everything that was mapped
EDGE_M = 1000.0
_EDGE_KM2 = 10.0
_ENDINGS = (".csv", ".parquet", ".png")


def series(
    maps: Sequence[str | os.PathLike[str]],
    *,
    time: str | None = None,
    regions: str | os.PathLike[str] | gpd.GeoDataFrame | None = None,
    name_column: str | None = None,
    rule: Rule = "latest",
    crs: str | None = None,
    confidence_percent: float = CONFIDENCE_PERCENT,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Areas, concentration and edge of an archive's maps by day and region.

    Args:
        maps: an archive, or folders of maps.
        time: day, month or span, UTC; all by default.
        regions: polygons (a vector file or a table), which may overlap; without them one region, ``"all"``.
        name_column: of the regions' names; by default ``name``, else their number.
        rule: of the mosaic of a day.
        crs: projection of the mosaics; by default that of most maps.
        confidence_percent: of ``"fused"``.
        progress: called as days are done.

    Returns:
        A row a day and region, by day: ``date``, ``region``, ``maps`` (that met it), ``region_km2`` (NaN of ``"all"``),
        ``observed_percent`` of the region, ``mapped_sea_km2``, ``land_km2``, ``undecided_km2``; of ice
        ``ice_extent_km2``, ``concentration_percent`` (ice of the decided sea), ``ice_edge_km``, and ``NAME_km2`` of
        each class; of phenomena ``NAME_km2``, where each was found.

    Raises:
        ProductNotFoundError, ProductError: no maps, or damaged ones.
        OptionError: no map of that time, or maps that do not go together.
        LabelError, LabelNotFoundError: regions that cannot be read.
    """
    import pandas as pd

    report = progress or (lambda _fraction, _what: None)
    found = maps_in(maps)
    if time is not None:
        asked = span(time)
        found = [m for m in found if asked.start <= m.time < asked.stop]
        if not found:
            raise OptionError(f"No map of {', '.join(map(str, maps))} is of {time}.")
    kind = check_maps(found, rule)
    grid = common_grid(found, crs=crs)
    known = _regions(regions, name_column, grid.crs)
    days: dict[date, list[MapFiles]] = {}
    for one in found:
        days.setdefault(one.time.date(), []).append(one)
    rows: list[dict[str, Any]] = []
    for n, (day, theirs) in enumerate(sorted(days.items())):
        report(n / len(days), f"{day}")
        rows += _day(day, theirs, known, rule, grid, confidence_percent, is_ice=kind == "exclusive")
    report(1.0, "done")
    return pd.DataFrame(rows)


def save_series(table: pd.DataFrame, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a table of `series` as .csv, .parquet, or as a plot (.png).

    Raises:
        OptionError: another ending.
        MissingDependencyError: pyarrow is not there, which writes parquet.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    target = Path(path)
    if target.suffix not in _ENDINGS:
        raise OptionError(f"{target} ends in none of {', '.join(_ENDINGS)}.")
    if target.suffix == ".parquet" and not installed("pyarrow"):
        raise MissingDependencyError("Parquet needs pyarrow, not installed: pip install 'frazil[archive]'.")
    refuse_existing(target, overwrite=overwrite)
    with whole_output(target, overwrite=overwrite) as part:
        if target.suffix == ".csv":
            table.to_csv(part, index=False)
        elif target.suffix == ".parquet":
            from frazil.marks import WRITTEN_BY

            table = table.copy(deep=False)
            table.attrs = {"written_by": WRITTEN_BY}
            table.to_parquet(part, index=False)
        else:
            draw_series(table, part)
    return target


def draw_series(table: pd.DataFrame, path: Path) -> None:
    """Plot a table of `series`: extent, concentration and edge of ice, or areas of phenomena, and what was observed."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    if "ice_extent_km2" in table:
        shown = [("ice_extent_km2", "Ice extent, km²"), ("concentration_percent", "Ice of the decided sea, %")]
        shown += [("ice_edge_km", "Ice edge, km"), ("observed_percent", "Observed of the region, %")]
    else:
        names = [c for c in table if c.endswith("_km2") and c not in _NOT_FOUND]
        shown = [(c, f"{c.removesuffix('_km2').replace('_', ' ').capitalize()}, km²") for c in names]
    shown = [(c, title) for c, title in shown if table[c].notna().any()]
    figure = Figure(figsize=(10, 1.9 * len(shown) + 0.9), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    regions = list(dict.fromkeys(table["region"]))
    for axes, (column, title) in zip(panels, shown, strict=True):
        for region in regions:
            own = table[table["region"] == region]
            axes.plot(own["date"].to_numpy("datetime64[D]"), own[column], marker="o", markersize=3.5, label=region)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_ylim(0, max(1.08 * float(table[column].max()), 1e-3))
        axes.grid(alpha=0.3)
    locator = AutoDateLocator(minticks=2)
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    if len(regions) > 1 or regions != [WHOLE]:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(regions), 5), frameon=False)
    figure.savefig(path, dpi=110, format="png")


_NOT_FOUND = ("region_km2", "mapped_sea_km2", "land_km2", "undecided_km2")


@dataclass(frozen=True, eq=False)
class _Region:
    name: str
    shape: Any  # in the CRS of the mosaics; None: everything
    area_km2: float


def _regions(given: Any, column: str | None, crs: str) -> list[_Region]:
    if given is None:
        return [_Region(WHOLE, None, float("nan"))]
    import geopandas as gpd
    import shapely
    from pyproj import Geod

    from frazil.labels.polygons import read_polygons

    frame = given if isinstance(given, gpd.GeoDataFrame) else read_polygons(given)
    if frame.crs is None:
        raise LabelError("The regions have no CRS. Give them one.")
    frame = frame[~frame.geometry.is_empty & frame.geometry.notna()]
    if not len(frame):
        raise LabelError("There are no regions in it.")
    if column is not None and column not in frame:
        raise LabelError(f"The regions have no column {column!r}; they have {[c for c in frame if c != 'geometry']}.")
    column = column or ("name" if "name" in frame else None)
    names = [str(v) for v in frame[column]] if column else [str(k + 1) for k in range(len(frame))]
    dense = shapely.segmentize(frame.to_crs("OGC:CRS84").geometry.values, 0.25)  # sides follow parallels as drawn
    there = gpd.GeoSeries(dense, crs="OGC:CRS84").to_crs(crs).make_valid()
    geod = Geod(ellps="WGS84")
    areas = [abs(geod.geometry_area_perimeter(shape)[0]) / 1e6 for shape in dense]
    merged: dict[str, _Region] = {}
    for name, shape, area in zip(names, there, areas, strict=True):
        before = merged.get(name)
        both = shape if before is None else shapely.union(before.shape, shape)
        merged[name] = _Region(name, both, area + (before.area_km2 if before is not None else 0.0))
    return list(merged.values())


def _day(
    day: date,
    maps: list[MapFiles],
    regions: list[_Region],
    rule: Rule,
    grid: MapGrid,
    confidence_percent: float,
    *,
    is_ice: bool,
) -> list[dict[str, Any]]:
    own = common_grid(maps, crs=grid.crs, spacing_m=grid.spacing_m)
    scheme = maps[0].scheme
    n = len(scheme.classes)
    area = np.zeros((len(regions), 256))
    found = np.zeros((len(regions), n))
    met: list[set[int]] = [set() for _ in regions]
    coarse = _Coarse(own)
    moment = span(day.isoformat()).stop
    for block in mosaic_blocks(maps, own, rule, moment, confidence_percent=confidence_percent):
        part = own.part(block.rows, block.columns)
        sizes = PixelAreas(part).rows(0, part.shape[0])
        for k, region in enumerate(regions):
            inside = _inside(region, part)
            if inside is None:
                continue
            area[k] += np.bincount(block.code[inside], weights=sizes[inside], minlength=256)
            if block.bits is not None:
                bits = block.bits[inside]
                found[k] += [float(sizes[inside][(bits >> c) & 1 > 0].sum()) for c in range(n)]
            met[k] |= set(np.unique(block.source[inside]).tolist()) - {0}
        if is_ice:
            coarse.add(block)
    lines = coarse.lines() if is_ice else []
    return [
        _row(
            day,
            region,
            area[k],
            found[k],
            len(met[k]),
            scheme.names,
            _length(lines, region, coarse.grid),
            is_ice=is_ice,
        )
        for k, region in enumerate(regions)
    ]


def _row(
    day: date,
    region: _Region,
    area: np.ndarray,
    found: np.ndarray,
    maps: int,
    names: Sequence[str],
    edge_km: float,
    *,
    is_ice: bool,
) -> dict[str, Any]:
    n = len(names)
    sea, land = float(area[:CLASS_LAND].sum()), float(area[CLASS_LAND])
    ice, water = float(area[1:n].sum()), float(area[0])
    row: dict[str, Any] = {
        "date": day.isoformat(),
        "region": region.name,
        "maps": maps,
        "region_km2": round(region.area_km2, 3),
        "observed_percent": round(100 * (sea + land) / region.area_km2, 2) if region.area_km2 > 0 else float("nan"),
        "mapped_sea_km2": round(sea, 3),
        "land_km2": round(land, 3),
        "undecided_km2": round(float(area[UNDECIDED]), 3),
    }
    if is_ice:
        row |= {
            "ice_extent_km2": round(ice, 3),
            "concentration_percent": round(100 * ice / (ice + water), 2) if ice + water > 0 else float("nan"),
            "ice_edge_km": round(edge_km, 1),
        }
        values: Mapping[str, float] = dict(zip(names, area[:n].tolist(), strict=True))
    else:
        values = dict(zip(names, found.tolist(), strict=True))
    return row | {f"{name}_km2": round(value, 3) for name, value in values.items()}


def _inside(region: _Region, part: MapGrid) -> np.ndarray | None:
    """Pixels of a part of the grid whose middles lie in a region; None of none."""
    if region.shape is None:
        return np.ones(part.shape, bool)
    import shapely
    from rasterio.features import geometry_mask

    if not shapely.intersects(region.shape, shapely.box(*part.bounds)):
        return None
    inside: np.ndarray = ~geometry_mask([region.shape], part.shape, part.transform)
    return inside if inside.any() else None


class _Coarse:
    """Shares of ice and of water on pixels of about a kilometre, and the ice edge between them."""

    def __init__(self, grid: MapGrid) -> None:
        k = max(round(EDGE_M / grid.spacing_m), 1)
        while BLOCK % k:  # blocks hold whole coarse pixels
            k -= 1
        self._k = k
        shape = (-(-grid.shape[0] // k), -(-grid.shape[1] // k))
        self.grid = replace(grid, spacing_m=grid.spacing_m * k, shape=shape)
        self._side = np.full(shape, CLASS_NODATA, np.uint8)

    def add(self, block: MosaicBlock) -> None:
        k = self._k
        rows, columns = block.code.shape
        code = np.pad(block.code, ((0, -rows % k), (0, -columns % k)), constant_values=CLASS_NODATA)
        boxes = code.reshape(code.shape[0] // k, k, code.shape[1] // k, k)
        water = (boxes == 0).sum(axis=(1, 3))
        ice = ((boxes > 0) & (boxes < UNDECIDED)).sum(axis=(1, 3))
        side = np.where(ice >= water, np.uint8(1), np.uint8(0))
        side[2 * (ice + water) < k * k] = CLASS_NODATA  # mostly undecided, land, or not seen
        top, left = block.rows.start // k, block.columns.start // k
        self._side[top : top + side.shape[0], left : left + side.shape[1]] = side

    def lines(self) -> list[np.ndarray]:
        """Of the edge, x and y in metres ``(n, 2)`` each."""
        grid = self.grid
        if min(grid.shape) < 2:
            return []
        found = edge_between(
            np.where(self._side == 1, np.uint8(1), np.uint8(0)), self._side != CLASS_NODATA, grid, _EDGE_KM2
        )
        return [
            np.column_stack([grid.x[0] + line[:, 0] * grid.spacing_m, grid.y[0] - line[:, 1] * grid.spacing_m])
            for line in found
        ]


def _length(lines: list[np.ndarray], region: _Region, grid: MapGrid) -> float:
    """Of lines inside a region, geodesic, km."""
    import shapely

    if not lines:
        return 0.0
    if region.shape is not None:
        cut = shapely.intersection(
            shapely.multilinestrings([shapely.linestrings(line) for line in lines]), region.shape
        )
        parts = shapely.get_parts(cut)
        parts = parts[(shapely.get_dimensions(parts) == 1) & ~shapely.is_empty(parts)]
        lines = [shapely.get_coordinates(one) for one in parts]
        if not lines:
            return 0.0
    first = np.cumsum([0, *(len(line) for line in lines)])[:-1]
    return float(geodesic_lengths_km(grid, np.concatenate(lines), first).sum())
