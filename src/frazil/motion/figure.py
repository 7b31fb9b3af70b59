"""A displacement field as a picture: arrows over the first scene, and divergence of the cells beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import LAND_COLOUR
from frazil.maps.panels import FAINT, INK, draw_graticule, draw_north, draw_scale, hatch_nodata
from frazil.maps.times import moment_of
from frazil.motion.quality import STATUS
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]
_ACROSS = 42  # arrows along the longer side
_WIDTH, _PANEL = 13.6, 5.5  # inches
_SPEED = ("#3b0f70", "#8c2981", "#de4968", "#fe9f6d", "#fcfdbf")
_CLOSING_TO_OPENING = ("#7f0d1f", "#d6604d", "#f7f7f7", "#4393c3", "#08306b")


def draw(field: xr.Dataset, path: Path, *, dpi: float = 130) -> None:
    """Write the picture of a displacement field as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = MapGrid.of(field)
    rows, columns = grid.shape
    wide = min(_PANEL, 7.0 * columns / rows)
    tall = wide * rows / columns
    total = tall + 2.35
    figure = Figure(figsize=(_WIDTH, total), facecolor="white")
    FigureCanvasAgg(figure)
    for number, panel in enumerate((_arrows, _divergence)):
        left = 0.75 + number * (_PANEL + 1.25) + (_PANEL - wide) / 2
        axes = figure.add_axes((left / _WIDTH, 0.95 / total, wide / _WIDTH, tall / total))
        box = (left / _WIDTH, 0.42 / total, min(wide, 2.6) / _WIDTH, 0.12 / total)
        hatch_nodata(axes, grid.bounds)
        panel(figure, axes, field, grid, box)
        bounds = grid.bounds
        axes.set(xlim=(bounds[0], bounds[2]), ylim=(bounds[1], bounds[3]), xticks=[], yticks=[], aspect="equal")
        draw_graticule(axes, grid, width_inches=wide)
        if number == 0:
            draw_scale(axes, grid, wide)
            draw_north(axes, grid, wide)
    _head(figure, field, grid, total)
    figure.savefig(path, dpi=dpi, format="png")


def _arrows(figure: Figure, axes: Axes, field: xr.Dataset, grid: MapGrid, box: Box) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    radar = field["radar"].values
    x, y = field["x_radar"].values, field["y_radar"].values
    half = (x[1] - x[0]) / 2
    extent = (x[0] - half, x[-1] + half, y[-1] - half, y[0] + half)
    shown = np.ma.masked_equal(radar, 0)
    axes.imshow(shown, extent=extent, cmap="gray", vmin=1, vmax=255, interpolation="antialiased", zorder=1)
    _land(axes, field, grid)
    stride = max(1, round(max(grid.shape) / _ACROSS))
    part: Any = (slice(stride // 2, None, stride),) * 2
    u, v = (field[f"sea_ice_{axis}_velocity"].values[part] for axis in "xy")
    speed = 100 * np.hypot(u, v)
    known = np.isfinite(speed)
    if not known.any():
        return
    top = max(float(np.percentile(speed[known], 98)), 0.1)
    spacing = stride * grid.spacing_m
    xx, yy = np.meshgrid(grid.x[part[1]], grid.y[part[0]])
    quiver = axes.quiver(
        xx[known],
        yy[known],
        u[known],
        v[known],
        speed[known],
        cmap=LinearSegmentedColormap.from_list("speed", _SPEED),
        angles="xy",
        scale_units="xy",
        scale=top / 100 / (1.5 * spacing),
        width=0.0034,
        headwidth=4.2,
        edgecolor="black",
        linewidth=0.35,
        clim=(0, top),
        zorder=3,
    )
    _ramp(figure, box, quiver, "Mean speed, cm/s")


def _divergence(figure: Figure, axes: Axes, field: xr.Dataset, grid: MapGrid, box: Box) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    values = 100 * field["divergence"].values
    known = np.isfinite(values)
    _land(axes, field, grid)
    left, bottom, right, top = grid.bounds
    half = grid.spacing_m / 2
    most = max(float(np.percentile(np.abs(values[known]), 98)), 0.1) if known.any() else 1.0
    image = axes.imshow(
        np.ma.masked_invalid(values),
        extent=(left + half, right - half, bottom + half, top - half),
        cmap=LinearSegmentedColormap.from_list("divergence", _CLOSING_TO_OPENING),
        vmin=-most,
        vmax=most,
        interpolation="nearest",
        zorder=2,
    )
    _ramp(figure, box, image, "Divergence, % per day (red closing, blue opening)")


def _land(axes: Axes, field: xr.Dataset, grid: MapGrid) -> None:
    codes = {name: code for code, (name, _) in STATUS.items()}
    left, bottom, right, top = grid.bounds
    picture = np.zeros((*grid.shape, 4), np.uint8)
    picture[field["status_flag"].values == codes["land"]] = (*LAND_COLOUR, 255)
    axes.imshow(picture, extent=(left, right, bottom, top), interpolation="nearest", zorder=1.5)


def _ramp(figure: Figure, box: Box, shown: Any, title: str) -> None:
    axes = figure.add_axes(box)
    bar = figure.colorbar(shown, cax=axes, orientation="horizontal")
    bar.ax.tick_params(labelsize=7.5, length=2, colors=INK)
    axes.set_title(title, fontsize=9, loc="left", color=INK, pad=3)


def _head(figure: Figure, field: xr.Dataset, grid: MapGrid, total: float) -> None:
    from frazil import __version__

    attrs, x = field.attrs, 0.75 / _WIDTH

    def write(inches_from_top: float, text: str, **style: object) -> None:
        figure.text(x, 1 - inches_from_top / total, text, va="baseline", parse_math=False, **style)  # type: ignore[arg-type]

    code = field["status_flag"].values
    tried, good = int((code < 4).sum()), int((code == 0).sum())
    write(0.42, "Sea-ice drift", fontsize=17, fontweight="bold", color=INK)
    first, last = (moment_of(attrs[name]) for name in ("start_time", "stop_time"))
    when = f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    hours = 24 * float(attrs["days"])
    apart = f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
    about = f"{attrs['first_product']}   →   {attrs['second_product']}   ·   {attrs['polarizations']}"
    write(0.68, f"{when} · {apart}", fontsize=11, color=INK)
    write(
        0.89,
        about,
        fontsize=7.5,
        color=FAINT,
    )
    step = f"{grid.crs} · nodes every {grid.spacing_m / 1000:g} km · {good} of {tried} vectors good, others not drawn"
    foot = f"{step} · grey ground: first scene · hatched: none · frazil {__version__}"
    figure.text(x, 0.1 / total, foot, fontsize=7.5, color=FAINT, va="baseline")
