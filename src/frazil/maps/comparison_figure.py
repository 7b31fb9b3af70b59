"""The picture of comparisons: a panel for each reference with over- and under-estimation, both ice edges, figures."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import CLASS_LAND, CLASS_NODATA, LAND_COLOUR
from frazil.errors import OptionError
from frazil.files import whole_output
from frazil.maps.compare import CATEGORIES, OVER, UNDER, Comparison
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from frazil.maps.displacement import EdgeLines

_WIDTH, _LEFT, _RIGHT, _GAP = 12.6, 0.75, 0.45, 0.85  # inches
_COLUMN, _TALLEST, _TALLEST_OF_MANY = 3.3, 8.2, 5.6
_HEAD, _FOOT, _TITLE, _ROW = 1.2, 0.75, 0.62, 0.23
_INFO_ROWS, _KEY_CELL = 12, 1.62
MAP_EDGE, REFERENCE_EDGE = "#111a20", "#00857a"


def draw_comparison(
    comparisons: Sequence[Comparison],
    attrs: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    dpi: float = 130,
    overwrite: bool = False,
) -> Path:
    """Draw comparisons of one map as a PNG, a panel for each reference.

    Where both agree the colours are pale (water blue, ice white); over-estimation is orange, under-estimation violet,
    land grey, what is not compared hatched. The edge of the map is black, that of the reference green.

    Args:
        comparisons: of one map.
        attrs: attributes of the map: ``product``, ``model``, ``start_time``.
        path: the PNG.
        dpi: dots per inch; the page is 12.6 inches wide.
        overwrite: replace the file if it exists.

    Raises:
        OptionError: no comparison, or a resolution outside 20 to 1200 dpi.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    if not comparisons:
        raise OptionError("There is no comparison to draw. Pass one or more.")
    if not 20 <= dpi <= 1200:
        raise OptionError(f"dpi is {dpi}; it must lie between 20 and 1200.")
    with whole_output(path, overwrite=overwrite) as part:
        _figure(comparisons, attrs, dpi).savefig(part, dpi=dpi, format="png")
    return Path(path)


def _figure(comparisons: Sequence[Comparison], attrs: Mapping[str, Any], dpi: float) -> Figure:
    """One panel with its figures beside it, or two a row with the figures below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = comparisons[0].grid.shape
    info = _ROW * _INFO_ROWS
    alone = len(comparisons) == 1
    if alone:
        widest, tallest = _WIDTH - _LEFT - _GAP - _COLUMN - _RIGHT, _TALLEST
    else:
        widest, tallest = (_WIDTH - _LEFT - _GAP - _RIGHT) / 2, _TALLEST_OF_MANY
    width = min(widest, tallest * columns / rows)
    height = width * rows / columns
    key = 1.25 if alone else 0.55
    block = _TITLE + (max(height, info + key + 0.3) if alone else height + 0.35 + info)
    lines = 1 if alone else -(-len(comparisons) // 2)
    total = _HEAD + block * lines + (0.0 if alone else key) + _FOOT
    figure = Figure(figsize=(_WIDTH, total), facecolor="white")
    FigureCanvasAgg(figure)

    def place(left: float, top: float, wide: float, tall: float) -> Axes:
        """Axes at inches from the upper left corner of the page."""
        return figure.add_axes((left / _WIDTH, 1 - (top + tall) / total, wide / _WIDTH, tall / total))

    for number, comparison in enumerate(comparisons):
        line, column = divmod(number, 2)
        top, left = _HEAD + line * block, _LEFT + column * (widest + _GAP)
        letter = "" if alone else f"{chr(ord('a') + number % 26)})  "
        _write_title(figure, comparison, letter, left / _WIDTH, 1 - top / total, total)
        axes = place(left + (widest - width) / 2 * alone, top + _TITLE, width, height)
        _draw_panel(axes, comparison, width * dpi)
        draw_graticule(axes, comparison.grid, width_inches=width)
        draw_scale(axes, comparison.grid, width)
        if alone or number == 0:
            draw_north(axes, comparison.grid, width)
        if alone:
            _draw_info(place(left + widest + _GAP, top + _TITLE, _COLUMN, info), comparison)
            _draw_key(place(left + widest + _GAP, top + _TITLE + info + 0.3, _COLUMN, key))
        else:
            _draw_info(place(left, top + _TITLE + height + 0.35, min(widest, 4.6), info), comparison)
    if not alone:
        _draw_key(place(_LEFT, total - _FOOT - key + 0.05, _WIDTH - _LEFT - _RIGHT, key))
    _write_head(figure, comparisons[0], attrs, total)
    return figure


def _draw_panel(axes: Axes, comparison: Comparison, width_pixels: float) -> None:
    grid = comparison.grid
    left, bottom, right, top = grid.bounds
    step = max(1, int(grid.shape[1] / max(width_pixels, 1)))
    hatch_nodata(axes, grid.bounds)
    table = np.zeros((256, 4), np.uint8)
    for c in CATEGORIES.classes:
        table[c.code] = (*c.colour, 255)
    table[CLASS_LAND], table[CLASS_NODATA] = (*LAND_COLOUR, 255), 0
    picture = table[commonest(comparison.categories, step)]
    block = step * grid.spacing_m  # the last blocks may reach beyond the frame, which cuts them
    axes.imshow(
        picture,
        extent=(left, left + picture.shape[1] * block, top - picture.shape[0] * block, top),
        interpolation="nearest" if step == 1 else "antialiased",
        zorder=2,
    )
    tolerance = step * grid.spacing_m / 2
    _draw_edge(axes, comparison.map_edge, MAP_EDGE, 0.9, tolerance)
    _draw_edge(axes, comparison.reference_edge, "white", 1.9, tolerance)  # else lost among leads and floes of the map
    _draw_edge(axes, comparison.reference_edge, REFERENCE_EDGE, 1.2, tolerance)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(edgecolor=INK, linewidth=0.8)


def _draw_edge(axes: Axes, edge: EdgeLines, colour: str, width: float, tolerance_m: float) -> None:
    import shapely
    from matplotlib.collections import LineCollection

    if len(edge.first) < 2:
        return
    lines = shapely.linestrings(edge.xy, indices=np.repeat(np.arange(len(edge.first) - 1), np.diff(edge.first)))
    paths = [shapely.get_coordinates(line) for line in shapely.simplify(lines, tolerance_m)]
    axes.add_collection(LineCollection(paths, colors=colour, linewidths=width, zorder=3))


def _draw_info(axes: Axes, comparison: Comparison) -> None:
    """The figures of one comparison."""
    width, height = key_axes(axes)
    scores = comparison.scores
    compared = scores["compared_km2"]
    y = height - 0.1

    def row(text: str, value: str, unit: str = "", *, code: int | None = None, bold: bool = False) -> None:
        nonlocal y
        style: dict[str, Any] = {"fontsize": 9, "color": INK, "va": "center"}
        style["fontweight"] = "bold" if bold else "normal"
        if code is not None:
            swatch(axes, y, CATEGORIES.classes[code].colour)
        axes.text(0.38 if code is not None else 0.0, y, text, parse_math=False, **style)
        axes.text(width - 0.4, y, value, ha="right", **style)
        axes.text(width - 0.34, y, unit, **style | {"fontsize": 8, "color": FAINT, "fontweight": "normal"})
        y -= _ROW

    row("Over: ice in the map only", area_text(scores["over_km2"], compared), "km²", code=OVER)
    row("Under: ice in the reference only", area_text(scores["under_km2"], compared), "km²", code=UNDER)
    row("Integrated ice-edge error", area_text(scores["iiee_km2"], compared), "km²", bold=True)
    row("   absolute extent error", area_text(scores["absolute_extent_error_km2"], compared), "km²")
    row("   misplacement error", area_text(scores["misplacement_error_km2"], compared), "km²")
    row("Agreement", f"{scores['agreement_percent']:.1f}", "%")
    row("Area compared", area_text(compared, compared), "km²")
    y -= 0.06
    moved = scores["displacement"]
    if moved is None:
        row("Distance of the edges", "no edge in one", bold=True)
    else:
        both = moved["symmetric"]
        row("Distance of the edges, median", f"{both['median_km']:.1f}", "km", bold=True)
        row("   mean", f"{both['mean_km']:.1f}", "km")
        row("   95 % are below", f"{both['p95_km']:.1f}", "km")
    hours = scores["reference_minus_map_h"]
    if hours is None:
        row("Time of the reference" if scores["reference_time"] is None else "Time of the map", "not known")
    else:
        far = abs(hours) > 72
        row("Reference minus map", _signed(hours / 24 if far else hours), "d" if far else "h", bold=abs(hours) > 24)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")


def _signed(hours: float) -> str:
    """With its sign, but for a zero."""
    text = f"{hours:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def _draw_key(axes: Axes) -> None:
    """What the other colours and the lines mean."""
    width, height = key_axes(axes)
    per_row = max(1, int(width / _KEY_CELL))
    entries: list[tuple[str, tuple[int, int, int] | str | None]] = [
        *((c.title, c.colour) for c in CATEGORIES.classes[:2]),
        ("Land", LAND_COLOUR),
        ("Not compared", None),
        ("Ice edge, map", MAP_EDGE),
        ("Ice edge, reference", REFERENCE_EDGE),
    ]
    for number, (text, colour) in enumerate(entries):
        line, column = divmod(number, per_row)
        x, y = column * width / per_row, height - 0.12 - line * 0.26
        if isinstance(colour, str):
            axes.plot([x, x + 0.28], [y, y], color=colour, linewidth=1.6)
        else:
            swatch(axes, y, colour, x=x)
        axes.text(x + 0.38, y, text, fontsize=9, color=INK, va="center")
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")


def _write_title(figure: Figure, comparison: Comparison, letter: str, x: float, top: float, total: float) -> None:
    """Name of the reference, what counts as ice in it, and its time, above the panel."""
    scores = comparison.scores
    name = textwrap.shorten(str(scores["reference"]), 62 if letter else 76, placeholder=" …")
    name = name if len(name) <= 80 else f"{name[:78]}…"
    says = f"Ice: {scores['ice_in_reference']}"
    when = scores["reference_time"] or "time not known"
    figure.text(
        x,
        top - 0.12 / total,
        f"{letter}{name}",
        fontsize=10.5,
        fontweight="bold",
        color=INK,
        va="center",
        parse_math=False,
    )
    figure.text(x, top - 0.32 / total, f"{says}   ·   {when}", fontsize=8.5, color=FAINT, va="center", parse_math=False)


def _write_head(figure: Figure, comparison: Comparison, attrs: Mapping[str, Any], total: float) -> None:
    from frazil import __version__

    x = _LEFT / _WIDTH

    def write(inches_from_top: float, text: str, **style: object) -> None:
        figure.text(x, 1 - inches_from_top / total, text, va="baseline", parse_math=False, **style)  # type: ignore[arg-type]

    when = period_text(str(attrs["start_time"]), str(attrs.get("stop_time", attrs["start_time"])))
    write(0.42, "Sea-ice map against reference", fontsize=17, fontweight="bold", color=INK)
    write(0.68, " · ".join(part for part in (sensor_name(attrs), when) if part), fontsize=11, color=INK)
    write(0.89, f"Product {attrs['product']}   ·   Model {attrs['model']}", fontsize=8, color=FAINT)
    note = " ".join(str(attrs.get("note") or "").split())
    if note:
        write(1.08, textwrap.shorten(note, 190, placeholder=" …"), fontsize=8, color="#8a5a00")
    grid = comparison.grid
    crs = grid.crs if len(grid.crs) < 30 else grid.pyproj_crs.name
    scores = comparison.scores
    flags = ", ".join(scores["excluded_flags"])
    foot = [
        f"Ice in the map: {scores['ice_in_map']}",
        *([f"without pixels flagged {flags}"] if flags else []),
        f"edges of patches of at least {scores['edge_min_area_km2']:g} km²",
        f"{crs}, {grid.spacing_m:g} m pixels",
        "ground areas on the ellipsoid",
        f"frazil {__version__}",
    ]
    figure.text(x, 0.24 / total, " · ".join(foot), fontsize=7.5, color=FAINT, va="baseline")
