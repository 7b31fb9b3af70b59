"""The picture of what a ship risks: operation levels of the worse case, and RIO of both, for whoever plans a voyage.

The large panel has the colours of the operation levels; where the better case is of a milder level it is hatched, since
there the level hangs on what the radar does not tell. The small panels show RIO itself, worse and better case.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.charts.colours import LAND, SHELF
from frazil.charts.page import projection_of
from frazil.charts.polaris import LEVEL_COLOURS, LEVELS, NO_LEVEL, NO_RIO, Ship
from frazil.errors import OptionError
from frazil.files import whole_output
from frazil.maps.areas import PixelAreas
from frazil.maps.page import period_text, sensor_name
from frazil.maps.panels import (
    FAINT,
    INK,
    area_text,
    commonest,
    draw_graticule,
    draw_north,
    draw_scale,
    hatch_nodata,
    key_axes,
    swatch,
)
from frazil.marks import WRITTEN_BY
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOT_FOR_NAVIGATION = "Not for navigation"
_WIDE, _COLUMN, _LEFT, _GAP, _RIGHT = 12.6, 3.5, 0.75, 0.75, 0.35  # inches: page, right column, margins
_HEAD, _FOOT, _TALLEST = 1.45, 0.7, 8.0  # inches: above the panels without notes, below them, the large panel at most
_NOTE = 0.19  # inches: a line of a note
_PIXELS = 1000  # of the wider side of what is drawn
_STEPS = (-20, -10, 0, 10, 20)  #: of RIO, and their colours: reds ask for special consideration, greens are normal
_RIO_COLOURS = ("#7f1d1d", "#d23232", "#ffc83c", "#c9e8b4", "#78c878", "#2e7d46")
_RIO_WORDS = ("below −20", "−20 to −10", "−10 to 0", "0 to 10", "10 to 20", "20 and more")
_LAND_CODE, _SHELF_CODE = 4, 5
_COLOURS = {**dict(enumerate(LEVEL_COLOURS)), _LAND_CODE: LAND.colour, _SHELF_CODE: SHELF.colour}


def draw_risk(
    risk: xr.Dataset | gpd.GeoDataFrame,
    path: str | os.PathLike[str],
    *,
    warning: str = NOT_FOR_NAVIGATION,
    dpi: float = 130,
    overwrite: bool = False,
) -> Path:
    """Draw what `frazil.risk_of_map` or `frazil.risk_of_chart` found as a PNG.

    A large panel: the operation level of the worse case, hatched where the better case is milder, grey with dots where
    there is no RIO, hatched grey where nothing was observed. Two small ones: RIO, worse and better. The legend has the
    ground area of each level, in both cases. The ship, what was told of the ice, the time of the scene and the note on
    the values stand above.

    Args:
        risk: of a map, or of a chart in any CRS.
        path: the PNG.
        warning: printed in red.
        dpi: dots per inch; the page is 12.6 inches wide.
        overwrite: replace the file if it exists.

    Raises:
        OptionError: a resolution outside 20 to 1200 dpi.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    import geopandas as gpd

    if not 20 <= dpi <= 1200:
        raise OptionError(f"dpi is {dpi}; it must lie between 20 and 1200.")
    view = _of_chart(risk) if isinstance(risk, gpd.GeoDataFrame) else _of_map(risk)
    figure = _page(view, risk.attrs, warning)
    with whole_output(path, overwrite=overwrite) as part:
        figure.savefig(part, dpi=dpi, format="png", metadata={"Software": WRITTEN_BY})
    return Path(path)


@dataclass(frozen=True)
class _View:
    """What is drawn, on a grid of at most about `_PIXELS` a side.

    Attributes:
        grid: of the arrays.
        worse, better: RIO, float (y, x), NaN where there is none.
        level: uint8 (y, x): levels of the worse case, `NO_RIO`, land, ice shelf, `NO_LEVEL` where not observed.
        milder: bool (y, x): the better case is of a milder level.
        area: km² by level of the worse case, `NO_RIO` the last; of the better case; and where that is milder.
        outlines: of polygons, lines of x and y.
    """

    grid: MapGrid
    worse: np.ndarray
    better: np.ndarray
    level: np.ndarray
    milder: np.ndarray
    area: tuple[np.ndarray, np.ndarray, float]
    outlines: list[np.ndarray]


def _of_map(risk: xr.Dataset) -> _View:
    grid = MapGrid.of(risk)
    level, high = risk["level"].values, risk["level_high"].values
    pixels = PixelAreas(grid)
    milder = high < level
    area = tuple(pixels.by_code(codes)[: NO_RIO + 1] for codes in (level, high))
    doubtful = float(pixels.by_code(milder.astype(np.uint8))[1])
    level = np.where(risk["land_mask"].values, np.uint8(_LAND_CODE), level)
    step = max(1, -(-max(grid.shape) // _PIXELS))
    small = commonest(level, step)
    rows, columns = small.shape
    reduced = MapGrid(
        crs=grid.crs, left=grid.left, top=grid.top, spacing_m=grid.spacing_m * step, shape=(rows, columns)
    )
    worse, better = (_means(risk[name].values, step, (rows, columns)) for name in ("rio_low", "rio_high"))
    share = _means(milder.astype(np.float32), step, (rows, columns))
    return _View(reduced, worse, better, small, share >= 0.5, (area[0], area[1], doubtful), [])


def _of_chart(risk: gpd.GeoDataFrame) -> _View:
    import shapely
    from rasterio.features import rasterize
    from rasterio.transform import from_origin

    crs = projection_of(risk, None)
    placed = risk.to_crs(crs)
    left, bottom, right, top = placed.total_bounds
    spacing = max(right - left, top - bottom) / _PIXELS
    shape = max(int(np.ceil((top - bottom) / spacing)), 1), max(int(np.ceil((right - left) / spacing)), 1)
    grid = MapGrid(crs=crs.to_wkt(), left=float(left), top=float(top), spacing_m=float(spacing), shape=shape)
    ship = Ship(ice_class=str(risk.attrs["ship"]))
    levels = [ship.levels(risk[name].to_numpy(float)) for name in ("rio_low", "rio_high")]
    kind = risk["POLY_TYPE"].to_numpy()
    sea = np.isin(kind, ["I", "W"])
    low, high = (np.where(sea & (codes == NO_LEVEL), np.uint8(NO_RIO), codes) for codes in levels)
    km2 = (risk["area_km2"] if "area_km2" in risk.columns else placed.geometry.area / 1e6).to_numpy(float)
    area = [np.bincount(codes[sea], weights=km2[sea], minlength=NO_RIO + 1) for codes in (low, high)]
    milder = sea & (high < low)
    code = np.where(kind == "L", _LAND_CODE, np.where(kind == "S", _SHELF_CODE, low)).astype(np.uint8)
    owner = np.asarray(
        rasterize(
            ((polygon, k + 1) for k, polygon in enumerate(placed.geometry)),
            out_shape=shape,
            transform=from_origin(left, top, spacing, spacing),
            fill=0,
            dtype="int32",
        )
    )
    worse, better = (np.append(np.nan, risk[name].to_numpy(float))[owner] for name in ("rio_low", "rio_high"))
    rings = shapely.get_rings(shapely.simplify(shapely.get_parts(placed.geometry.values), spacing / 2))
    return _View(
        grid,
        worse,
        better,
        np.append(np.uint8(NO_LEVEL), code)[owner],
        np.append(False, milder)[owner],
        (area[0], area[1], float(km2[milder].sum())),
        [np.asarray(ring.coords) for ring in rings],
    )


def _means(values: np.ndarray, step: int, shape: tuple[int, int]) -> np.ndarray:
    """Means of blocks of pixels; of what is no number nothing is counted, and NaN stays where nothing else is."""
    full = np.full((shape[0] * step, shape[1] * step), np.nan, np.float32)
    full[: values.shape[0], : values.shape[1]] = values
    blocks = full.reshape(shape[0], step, shape[1], step)
    known = np.isfinite(blocks)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, blocks, 0).sum(axis=(1, 3)) / known.sum(axis=(1, 3)))


def _page(view: _View, attrs: Mapping[Any, Any], warning: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = view.grid.shape
    widest = _WIDE - _LEFT - _GAP - _COLUMN - _RIGHT
    width = min(widest, _TALLEST * columns / rows)
    height = width * rows / columns
    key, ramp, title = 2.3, 0.75, 0.38
    wide = min(_COLUMN, 2.2 * columns / rows)
    tall = wide * rows / columns
    room = max(height, key + 2 * (tall + title) + ramp)
    notes = [str(attrs["note"]), *textwrap.wrap(str(attrs.get("source_note") or ""), 165, break_on_hyphens=False)]
    total = _HEAD + _NOTE * len(notes) + room + _FOOT
    figure = Figure(figsize=(_WIDE, total), facecolor="white")
    FigureCanvasAgg(figure)

    def place(left: float, bottom: float, across: float, up: float) -> Axes:
        """Axes at inches from the lower left corner of the page."""
        return figure.add_axes((left / _WIDE, bottom / total, across / _WIDE, up / total))

    top = _FOOT + room
    main = place(_LEFT + (widest - width) / 2, top - height, width, height)
    _draw_levels(main, view, width)
    left = _LEFT + widest + _GAP
    _draw_key(place(left, top - key, _COLUMN, key), view, Ship(ice_class=str(attrs["ship"])))
    bottom = top - key
    for name, rio in (("RIO, worse case", view.worse), ("RIO, better case", view.better)):
        bottom -= tall + title
        _draw_rio(place(left, bottom, wide, tall), view, rio, name)
    _draw_steps(place(left, bottom - ramp, _COLUMN, ramp - 0.1))
    _write_head(figure, attrs, warning, notes, total)
    grid = view.grid
    crs = grid.pyproj_crs.name if len(grid.crs) >= 30 else grid.crs
    _write_foot(figure, attrs, f"{crs} · ground areas", total)
    return figure


def _draw_levels(axes: Axes, view: _View, width: float) -> None:
    from matplotlib.collections import LineCollection

    table = np.zeros((256, 4), np.uint8)
    for code, colour in _COLOURS.items():
        table[code] = (*colour, 255)
    _draw_picture(axes, view, table[view.level])
    _hatch(axes, view, view.milder, "////", "#4a4a4a")
    _hatch(axes, view, view.level == NO_RIO, "..", "#7a7a80")
    axes.add_collection(LineCollection(view.outlines, colors="#333333", linewidths=0.35, zorder=3.5))
    draw_graticule(axes, view.grid, width_inches=width)
    draw_scale(axes, view.grid, width)
    draw_north(axes, view.grid, width)


def _draw_rio(axes: Axes, view: _View, rio: np.ndarray, name: str) -> None:
    from matplotlib.colors import to_rgba

    colours = np.array([to_rgba(colour) for colour in _RIO_COLOURS])
    picture = (255 * colours[np.searchsorted(_STEPS, np.nan_to_num(rio), side="right")]).astype(np.uint8)
    picture[np.isnan(rio)] = (*LEVEL_COLOURS[NO_RIO], 255)
    picture[view.level == NO_LEVEL] = 0
    for code in (_LAND_CODE, _SHELF_CODE):
        picture[view.level == code] = (*_COLOURS[code], 255)
    _draw_picture(axes, view, picture)
    _hatch(axes, view, view.level == NO_RIO, "..", "#7a7a80")
    draw_graticule(axes, view.grid)
    axes.set_title(name, loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=5)


def _draw_picture(axes: Axes, view: _View, picture: np.ndarray) -> None:
    left, bottom, right, top = view.grid.bounds
    hatch_nodata(axes, view.grid.bounds)
    axes.imshow(picture, extent=(left, right, bottom, top), interpolation="nearest", zorder=2)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(edgecolor=INK, linewidth=0.8)


def _hatch(axes: Axes, view: _View, where: np.ndarray, hatch: str, colour: str) -> None:
    if where.any() and min(where.shape) > 1:
        found = axes.contourf(
            view.grid.x, view.grid.y, where.astype(float), levels=[0.5, 1.5], colors="none", hatches=[hatch], zorder=3
        )
        found.set(edgecolor=colour, linewidth=0.0)


def _draw_key(axes: Axes, view: _View, ship: Ship) -> None:
    """Areas of the levels, worse and better case; what hatches and other colours mean."""
    from matplotlib.patches import Rectangle

    width, height = key_axes(axes)
    worse, better, doubtful = view.area
    sea, row = float(worse.sum()), 0.25
    y = height - 0.1
    axes.text(0, y, "Operation level", fontsize=10.5, fontweight="bold", color=INK, va="center")
    right: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "color": FAINT}
    axes.text(width - 0.75, y, "worse case, km²", **right)
    axes.text(width, y, "better", **right)
    speed = f", {ship.speed_knots} kn" if ship.speed_knots is not None else ""
    names = [LEVELS[0].capitalize(), LEVELS[1].capitalize() + speed, LEVELS[2].capitalize(), "No RIO"]
    right |= {"fontsize": 9, "color": INK}
    for code, name in enumerate(names):
        if code == 1 and ship.speed_knots is None:
            continue  # such a ship has no such level
        y -= row
        swatch(axes, y, LEVEL_COLOURS[code])
        if code == NO_RIO:
            _hatched(axes, y, "....", "#7a7a80")
        axes.text(0.38, y, name, fontsize=9, color=INK, va="center")
        axes.text(width - 0.75, y, area_text(worse[code], sea), **right)
        axes.text(width, y, area_text(better[code], sea), **right)
    y -= row
    axes.add_patch(Rectangle((0, y - 0.07), 0.28, 0.14, facecolor="white", edgecolor="#8a949b", linewidth=0.6))
    _hatched(axes, y, "//////", "#4a4a4a")
    axes.text(0.38, y, "Milder in the better case", fontsize=9, color=INK, va="center")
    axes.text(width - 0.75, y, area_text(doubtful, sea), **right)
    y -= row
    swatch(axes, y, LAND.colour)
    axes.text(0.38, y, "Land", fontsize=9, color=INK, va="center")
    swatch(axes, y, None, x=1.05)
    axes.text(1.43, y, "No data", fontsize=9, color=INK, va="center")
    if (view.level == _SHELF_CODE).any():
        swatch(axes, y, SHELF.colour, x=2.2)
        axes.text(2.58, y, "Ice shelf", fontsize=9, color=INK, va="center")
    text = "No RIO: not observed, ice or water could not be told, or ice that has no value. Icebergs are not in it."
    for number, line in enumerate(textwrap.wrap(text, 62)):
        axes.text(0, y - 0.24 - 0.15 * number, line, fontsize=7, color=FAINT, va="center")


def _hatched(axes: Axes, y: float, hatch: str, colour: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((0, y - 0.07), 0.28, 0.14, facecolor="none", edgecolor=colour, hatch=hatch, linewidth=0))


def _draw_steps(axes: Axes) -> None:
    """The colours of RIO, in two rows of three."""
    from matplotlib.colors import to_rgb

    width, height = key_axes(axes)
    for k, (colour, words) in enumerate(zip(_RIO_COLOURS, _RIO_WORDS, strict=True)):
        x, y = (k // 2) * width / 3, height - 0.2 - 0.22 * (k % 2)
        red, green, blue = (round(255 * band) for band in to_rgb(colour))
        swatch(axes, y, (red, green, blue), x=x)
        axes.text(x + 0.35, y, words, fontsize=8, color=INK, va="center")
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")


def _write_head(figure: Figure, attrs: Mapping[Any, Any], warning: str, notes: list[str], total: float) -> None:
    """Ship, time, what was told of the ice; the warning; the note on the values in its band."""
    from matplotlib.patches import Rectangle

    def write(inches_from_top: float, text: str, x: float = _LEFT, **style: Any) -> None:
        figure.text(x / _WIDE, 1 - inches_from_top / total, text, va="baseline", parse_math=False, **style)

    ship = "without an ice class" if attrs["ship"] == "none" else f"of class {attrs['ship']}"
    helped = ", behind an icebreaker" if attrs.get("escort") else ""
    write(0.42, f"Risk in ice of a ship {ship}{helped}", fontsize=17, fontweight="bold", color=INK)
    if warning:
        red: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "color": "#c00000", "ha": "right"}
        write(0.4, warning.upper(), _WIDE - _RIGHT, **red)
    start = str(attrs.get("start_time", ""))
    when = f"Valid {period_text(start, str(attrs.get('stop_time', start)))}" if start else ""
    sensor = sensor_name(attrs) if "product" in attrs else ""
    write(0.68, " · ".join(filter(None, (when, sensor))) or "Time not told", fontsize=11, color=INK)
    told = [f"level ice: {attrs['level_ice']}", f"old or deformed ice: {attrs['old_ice']}"]
    told += ["decayed ice"] if attrs.get("decayed") else []
    told += [f"averaged over {attrs['window_m'] / 1000:g} km"] if "window_m" in attrs else []
    write(0.89, "POLARIS, IMO MSC.1/Circ.1519 · " + " · ".join(told), fontsize=8.5, color=FAINT)
    high = 0.12 + _NOTE * len(notes)
    bottom = 1 - (1.0 + high) / total
    across = (_WIDE - _LEFT - _RIGHT) / _WIDE
    style: dict[str, Any] = {"facecolor": "#fff3cd", "edgecolor": "#d9a400", "linewidth": 0.8}
    band = Rectangle((_LEFT / _WIDE, bottom), across, high / total, transform=figure.transFigure, **style)
    figure.add_artist(band)
    for number, line in enumerate(notes):
        write(1.17 + _NOTE * number, line, _LEFT + 0.1, fontsize=9, color="#5c4300")


def _write_foot(figure: Figure, attrs: Mapping[Any, Any], place: str, total: float) -> None:
    from frazil import __version__

    parts = [f"{word} {attrs[name]}" for word, name in (("Product", "product"), ("Model", "model")) if name in attrs]
    text = " · ".join([*parts, place, f"frazil {__version__}"])
    figure.text(_LEFT / _WIDE, 0.24 / total, text, fontsize=7.5, color=FAINT, va="baseline", parse_math=False)
    if attrs.get("attribution"):
        words = str(attrs["attribution"])
        figure.text(_LEFT / _WIDE, 0.08 / total, words, fontsize=6, color=FAINT, va="baseline", parse_math=False)
