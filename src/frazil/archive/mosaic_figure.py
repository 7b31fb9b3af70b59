"""The picture of a mosaic: what it says, how old it is, and how many maps agree, with parallels and a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.archive.layers import MapFiles
from frazil.archive.mosaic import NO_AGE
from frazil.conventions import (
    CLASS_LAND,
    LAND_COLOUR,
    PERCENT_NODATA,
    UNDECIDED,
    UNDECIDED_COLOUR,
    UNDECIDED_TITLE,
    ClassScheme,
)
from frazil.maps.panels import area_text, draw_graticule
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PIXELS = 1400  # of the wider side
_OUTSIDE = (238, 241, 244)
_INK = "#26323a"


def draw_mosaic(
    folder: Path,
    path: Path,
    maps: Sequence[MapFiles],
    rule: str,
    moment: datetime,
    summary: Mapping[str, Any],
) -> None:
    """Draw a mosaic as a PNG, from the overviews of its rasters.

    Args:
        folder: with the rasters.
        path: the PNG.
        maps: that went into it.
        rule: by which.
        moment: from which ages count.
        summary: of the mosaic.
    """
    from matplotlib.figure import Figure

    scheme = maps[0].scheme
    code, grid = _small(folder / ("class.tif" if scheme.kind == "exclusive" else "dominant.tif"))
    age, _ = _small(folder / "age_hours.tif")
    agreement, _ = _small(folder / "agreement.tif")
    tall = grid.shape[0] / grid.shape[1]
    height = float(np.clip(8.2 * tall, 4.6, 10.0)) + 1.5
    figure = Figure(figsize=(12.6, height), layout="constrained")
    axes = figure.subplot_mosaic([["map", "age"], ["map", "agreement"]], width_ratios=[2.4, 1])
    what = "Sea ice" if scheme.kind == "exclusive" else "Phenomena of sea and air"
    figure.suptitle(
        f"{what}: mosaic of {len(maps)} maps, {maps[0].time:%d %b %Y %H:%M} to {maps[-1].time:%d %b %Y %H:%M} UTC, "
        f"rule {rule}",
        x=0.01,
        ha="left",
        fontsize=13,
        color=_INK,
    )
    _draw_codes(axes["map"], code, grid, scheme, summary)
    hours = np.ma.masked_where(age == NO_AGE, age)
    known = hours.compressed()
    youngest = float(np.floor(known.min())) if known.size else 0.0
    oldest = max(float(np.ceil(known.max())) if known.size else 1.0, youngest + 1)
    shown = axes["age"].imshow(
        hours, extent=_extent(grid), cmap="cividis_r", vmin=youngest, vmax=oldest, interpolation="nearest"
    )
    figure.colorbar(shown, ax=axes["age"], label=f"hours before {moment:%d %b %H:%M} UTC", shrink=0.85)
    axes["age"].set_title("Age", fontsize=10, loc="left")
    percent = np.ma.masked_where(agreement == PERCENT_NODATA, agreement)
    shown = axes["agreement"].imshow(
        percent, extent=_extent(grid), cmap="RdYlGn", vmin=0, vmax=100, interpolation="nearest"
    )
    figure.colorbar(shown, ax=axes["agreement"], label="maps that say the same, %", shrink=0.85)
    several = summary["seen_by_several_km2"]
    share = f": {summary['agreement_percent']:.1f} % of {several:,.0f} km²" if several else ": no place was seen twice"
    axes["agreement"].set_title(f"Agreement{share}", fontsize=10, loc="left")
    for one in axes.values():
        one.set_facecolor(_unit(_OUTSIDE))
        one.set_xticks([])
        one.set_yticks([])
        draw_graticule(one, grid, width_inches=7.0 if one is axes["map"] else None)
        left, bottom, right, top = grid.bounds
        one.set_xlim(left, right)
        one.set_ylim(bottom, top)
    figure.savefig(path, dpi=110, format="png")


def _small(path: Path) -> tuple[np.ndarray, MapGrid]:
    """A raster of at most some pixels a side, and its grid."""
    import rasterio
    from rasterio.enums import Resampling

    with rasterio.open(path) as raster:
        step = max(max(raster.shape) / _PIXELS, 1.0)
        shape = (max(round(raster.height / step), 1), max(round(raster.width / step), 1))
        values = raster.read(1, out_shape=shape, resampling=Resampling.nearest)
        t = raster.transform
        authority = raster.crs.to_authority()
        crs = ":".join(authority) if authority else raster.crs.to_wkt()
        whole = MapGrid(crs=crs, left=t.c, top=t.f, spacing_m=t.a, shape=raster.shape)
        return values, replace(whole, spacing_m=t.a * raster.width / shape[1], shape=shape)


def _draw_codes(axes: Axes, code: np.ndarray, grid: MapGrid, scheme: ClassScheme, summary: Mapping[str, Any]) -> None:
    from matplotlib.patches import Patch

    table = np.full((256, 3), _OUTSIDE, np.uint8)
    entries = [(c.code, c.title, c.colour) for c in scheme.classes]
    entries += [(UNDECIDED, UNDECIDED_TITLE, UNDECIDED_COLOUR), (CLASS_LAND, "Land", LAND_COLOUR)]
    for number, _, colour in entries:
        table[number] = colour
    axes.imshow(table[code], extent=_extent(grid), interpolation="nearest")
    sea = summary["mapped_sea_km2"]
    areas = summary["classes_km2"] if scheme.kind == "exclusive" else summary["dominant_km2"]
    known = {c.code: areas[c.name] for c in scheme.classes} | {UNDECIDED: summary["undecided_km2"]}
    handles = [
        Patch(
            facecolor=_unit(colour),
            edgecolor="#5b6770",
            linewidth=0.6,
            label=title + (f": {area_text(known[number], sea)} km²" if number in known else ""),
        )
        for number, title, colour in entries
    ]
    handles.append(Patch(facecolor=_unit(_OUTSIDE), edgecolor="#5b6770", linewidth=0.6, label="Not observed"))
    columns = 3 if len(handles) > 4 else 2
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.04), ncols=columns, fontsize=8.5, frameon=False
    )


def _extent(grid: MapGrid) -> tuple[float, float, float, float]:
    left, bottom, right, top = grid.bounds
    return left, right, bottom, top


def _unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    return colour[0] / 255, colour[1] / 255, colour[2] / 255
