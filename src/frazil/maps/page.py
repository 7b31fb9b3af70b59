"""The page around a map: title, large panel, legend, a small panel with doubts, graticule, scale and north arrow.

Drawn on matplotlib's Agg canvas without pyplot, so that no global state changes and any thread may draw.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.maps.panels import (
    FAINT,
    INK,
    Drawing,
    Style,
    doubts_of,
    draw_doubt_key,
    draw_graticule,
    draw_north,
    draw_panel,
    draw_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _COLUMN, _LEFT, _GAP, _RIGHT = 12.6, 3.3, 0.75, 0.75, 0.35  # inches: page, right column, margins
_TALLEST, _BETWEEN = 8.2, 0.5  # inches: the large panel at most, legend to small panel


@dataclass(frozen=True, kw_only=True)
class Page:
    """What stands on a page besides the panels.

    Attributes:
        title: of the page.
        key: draws the legend into axes that are given to it.
        key_height: inches that it takes.
        small_title: of the small panel.
        ramp: what the small panel's shades mean.
    """

    title: str
    key: Callable[[Axes], None]
    key_height: float
    small_title: str
    ramp: str = "Confidence, 0 to 100 %"


def draw_page(
    drawing: Drawing, page: Page, style: Style, other: Style, background: np.ndarray | None, dpi: float
) -> Figure:
    """The page: a large panel in one style, its legend, a small panel in the other, doubts; the note in a band.

    Args:
        drawing: the map; its attrs ``product``, ``model``, ``start_time``, ``stop_time`` and ``note`` are printed.
        page: what stands around it.
        style: of the large panel.
        other: of the small panel.
        background: see `frazil.maps.figures.draw_map`.
        dpi: dots per inch, by which the panels are reduced.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    note = " ".join(str(drawing.ice_map.attrs.get("note") or "").split())
    note_lines = textwrap.wrap(note, 170, max_lines=7, placeholder=" …", break_on_hyphens=False)
    rows, columns = drawing.grid.shape
    widest = _WIDTH - _LEFT - _GAP - _COLUMN - _RIGHT
    width = min(widest, _TALLEST * columns / rows)
    height = width * rows / columns
    key = page.key_height
    doubts = doubts_of(drawing.ice_map)
    below = 0.62 + 0.2 * max(len(doubts), 1)
    row_height = max(height, key + _BETWEEN + min(_COLUMN * rows / columns, _COLUMN) + below)
    head = 1.3 + (0.13 + 0.19 * len(note_lines) if note_lines else 0.0)
    foot = 0.8
    total = head + row_height + foot
    figure = Figure(figsize=(_WIDTH, total), facecolor="white")
    FigureCanvasAgg(figure)

    def place(left: float, bottom: float, wide: float, tall: float) -> Axes:
        """Axes at inches from the lower left corner of the page."""
        return figure.add_axes((left / _WIDTH, bottom / total, wide / _WIDTH, tall / total))

    top = foot + row_height
    main = place(_LEFT + (widest - width) / 2, top - height, width, height)
    draw_panel(main, drawing, style, width * dpi, background)
    draw_graticule(main, drawing.grid, width_inches=width)
    draw_scale(main, drawing.grid, width)
    draw_north(main, drawing.grid, width)

    left = _LEFT + widest + _GAP
    page.key(place(left, top - key, _COLUMN, key))
    tall = min(row_height - key - _BETWEEN - below, _COLUMN * rows / columns)
    wide = tall * columns / rows
    bottom = top - key - _BETWEEN - tall
    small = place(left, bottom, wide, tall)
    draw_panel(small, replace(drawing, edge=None), other, wide * dpi, None)
    draw_graticule(small, drawing.grid)
    small.set_title(page.small_title, loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=6)
    draw_doubt_key(place(left, bottom - below, _COLUMN, below - 0.08), doubts, page.ramp)
    _write_head(figure, drawing, page.title, note_lines, total)
    return figure


def _write_head(figure: Figure, drawing: Drawing, title: str, note_lines: list[str], total: float) -> None:
    """Title, time, product and model; the note in its band; the foot line."""
    from matplotlib.patches import Rectangle

    from frazil import __version__

    attrs = drawing.ice_map.attrs
    x = _LEFT / _WIDTH

    def write(inches_from_top: float, text: str, **style: object) -> None:
        figure.text(x, 1 - inches_from_top / total, text, va="baseline", parse_math=False, **style)  # type: ignore[arg-type]

    sensor = sensor_name(attrs)
    when = period_text(str(attrs["start_time"]), str(attrs.get("stop_time", attrs["start_time"])))
    write(0.42, title, fontsize=17, fontweight="bold", color=INK)
    write(0.68, " · ".join(part for part in (sensor, when) if part), fontsize=11, color=INK)
    write(0.89, f"Product {attrs['product']}   ·   Model {attrs['model']}", fontsize=8, color=FAINT)
    if note_lines:
        tall = 0.12 + 0.19 * len(note_lines)
        bottom = 1 - (1.02 + tall) / total
        band = Rectangle(
            (x, bottom),
            1 - (_LEFT + _RIGHT) / _WIDTH,
            tall / total,
            transform=figure.transFigure,
            facecolor="#fff3cd",
            edgecolor="#d9a400",
            linewidth=0.8,
        )
        figure.add_artist(band)
        for number, line in enumerate(note_lines):
            figure.text(
                x + 0.1 / _WIDTH,
                1 - (1.02 + 0.155 + 0.19 * number) / total,
                line,
                fontsize=9,
                color="#5c4300",
                va="center",
                parse_math=False,
            )
    grid = drawing.grid
    crs = grid.crs if len(grid.crs) < 30 else grid.pyproj_crs.name
    foot = f"{crs} · {grid.spacing_m:g} m pixels · ground areas on the ellipsoid · frazil {__version__}"
    figure.text(x, 0.24 / total, foot, fontsize=7.5, color=FAINT, va="baseline")
    if attrs.get("attribution"):
        figure.text(x, 0.08 / total, str(attrs["attribution"]), fontsize=6, color=FAINT, va="baseline")


def sensor_name(attrs: Mapping[Any, Any]) -> str:
    """``Sentinel-1A EW`` or ``RADARSAT-2 SCWA``, from the attributes of a map; empty where they tell no sensor."""
    found = re.match(r"S1([A-D])_([A-Z0-9]{2})_", str(attrs["product"]))
    if found:
        return f"Sentinel-1{found[1]} {found[2]}"
    return f"{attrs['sensor']} {attrs.get('mode', '')}".rstrip() if attrs.get("sensor") else ""


def period_text(start: str, stop: str) -> str:
    """``16 January 2018, 07:54:30–07:55:30 UTC``; the text as it is where it is no ISO time."""
    try:
        first, last = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (start, stop))
        first, last = (t if t.tzinfo is None else t.astimezone(UTC) for t in (first, last))
    except (ValueError, OverflowError):
        return start
    until = "" if last == first else f"–{last:%H:%M:%S}"
    return f"{first.day} {first:%B %Y}, {first:%H:%M:%S}{until} UTC"
