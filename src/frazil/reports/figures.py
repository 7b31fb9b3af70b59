"""Figures of a report: curves of training, reliability, a map beside its truth. Runs are told apart by number.

Drawn on matplotlib's Agg canvas without pyplot; names of runs and scenes stay out of the figures and stand in the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    LAND_COLOUR,
    UNDECIDED,
    UNDECIDED_COLOUR,
    UNDECIDED_TITLE,
    ClassScheme,
)
from frazil.maps.compare import OVER, UNDER, Comparison
from frazil.maps.panels import FAINT, INK, commonest, draw_graticule, draw_scale
from frazil.reports.record import Mistake, RunRecord
from frazil.reports.scores import Bins

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 160
#: Okabe and Ito's colours, told apart without red and green; lines of more runs are dashed.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("-", "--", ":", "-.")
Panels = tuple[tuple[str, tuple[str, ...]], ...]  #: title, and what of the log is drawn
_SMOOTH = 40  # a smoothed curve averages over a 40th of the run
#: Where a chart tells of ice but of no prevailing kind.
ICE_OF_NO_KIND = (205, 205, 225)
_CODE_ICE_OF_NO_KIND = 250


def draw_curves(runs: Sequence[RunRecord], path: Path, shown: Panels, numbers: Sequence[int] | None = None) -> bool:
    """Three numbers over the steps, the kept step dotted; False where nothing was logged.

    Args:
        runs: whose logs.
        path: of the PNG.
        shown: title and names in the log of each of three panels.
        numbers: of the runs, where several stand side by side; from 1 by default.
    """
    if not any(run.log for run in runs):
        return False
    several = len(runs) > 1
    called = numbers or range(1, len(runs) + 1)
    figure, panels = _figure(3, 10.2, 3.3)
    for axes, (title, names) in zip(panels, shown, strict=True):
        for number, run in enumerate(runs):
            for what in names:
                _draw_curve(axes, run.log, what, number if several else None, called[number])
        drawn = bool(axes.lines)
        for number, run in enumerate(runs):
            if run.kept_step is not None and drawn:
                colour = COLOURS[number % len(COLOURS)] if several else INK
                axes.axvline(run.kept_step, color=colour, linestyle=(0, (1, 2)), linewidth=1)
        if drawn:
            axes.legend(fontsize=8, frameon=False)
        else:
            axes.text(0.5, 0.5, "not looked at", transform=axes.transAxes, ha="center", color=FAINT, fontsize=9)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
        axes.set_xlabel("step", fontsize=9)
        if "loss" in names:
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if drawn else 0.0)
        else:
            axes.set_ylim(-0.02, 1.02)
    _save(figure, path)
    return True


def _draw_curve(axes: Axes, log: list[dict[str, float]], what: str, number: int | None, called: int) -> None:
    """A number of the log: what is noted at every step smoothed, over its raw values where a run stands alone."""
    x, y = _series(log, what)
    if not x.size:
        return
    held_out = what.startswith("validation_")
    colour = COLOURS[int(held_out) if number is None else number % len(COLOURS)]
    dash = _DASHES[(number or 0) // len(COLOURS) % len(_DASHES)]
    label = ("validation" if held_out else "training, smoothed") if number is None else f"run {called}"
    if held_out:
        axes.plot(x, y, dash, color=colour, linewidth=1.4, marker="o", markersize=3, label=label)
        return
    if number is None:
        axes.plot(x, y, color=colour, alpha=0.18, linewidth=0.7)
    axes.plot(x, _smoothed(y), dash, color=colour, linewidth=1.4, label=label)


def draw_reliability(bins: Bins, path: Path, unit: str) -> bool:
    """Accuracy against stated confidence, and how many samples stated it; False without a sample."""
    total, confidence, correct = (np.array(getattr(bins, k), float) for k in ("total", "confidence", "correct"))
    used = total > 0
    if not used.any():
        return False
    figure, (axes, below) = _figure(2, 4.6, 4.9, rows=2, heights=(3, 1))
    width = 1 / total.size
    left = np.arange(total.size) * width
    said, right = confidence[used] / total[used], correct[used] / total[used]
    error = np.sqrt(right * (1 - right) / total[used])
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle="--", label="as stated")
    axes.errorbar(
        said, right, yerr=error, fmt="o-", color=COLOURS[0], markersize=4, linewidth=1.2, capsize=2, label="observed"
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="auto")
    axes.set_ylabel("share that is right", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    below.bar(left, total, width=width, align="edge", color="#9fb6c6", edgecolor="white", linewidth=0.5)
    below.set(xlim=(0, 1))
    below.set_xlabel("stated confidence", fontsize=9)
    below.set_ylabel(unit, fontsize=9)
    _save(figure, path)
    return True


def write_picture(mistake: Mistake, path: Path, side: int = 128) -> None:
    """A patch as a PNG, every pixel a square."""
    from PIL import Image

    factor = max(side // max(mistake.picture.shape[:2]), 1)
    whole = np.repeat(np.repeat(mistake.picture, factor, axis=0), factor, axis=1)
    Image.fromarray(whole).save(path, format="PNG")


def draw_map_and_truth(
    ice_map: xr.Dataset, scheme: ClassScheme, comparison: Comparison, truth_codes: np.ndarray | None, path: Path
) -> list[tuple[str, tuple[int, int, int]]]:
    """The classes of a map beside those of its truth, and the legend: title and colour of all that is shown.

    Args:
        ice_map: the map.
        scheme: its classes.
        comparison: of the map with the truth.
        truth_codes: uint8 (y, x), classes of the truth, 255 where it tells of no single class; None where it tells only
            of ice and water.
        path: of the PNG.
    """
    grid = comparison.grid
    truth = _truth(comparison, truth_codes)
    ours = ice_map["ice_class"].values
    colours = {c.code: (c.title, c.colour) for c in scheme.classes}
    colours |= {
        UNDECIDED: (UNDECIDED_TITLE, UNDECIDED_COLOUR),
        CLASS_LAND: ("Land", LAND_COLOUR),
        _CODE_ICE_OF_NO_KIND: ("Ice, kind not told", ICE_OF_NO_KIND),
    }
    rows, columns = grid.shape
    wide = 4.6
    tall = min(wide * rows / columns, 7.0)
    figure, panels = _figure(2, 2 * wide + 1.2, tall + 0.9)
    width = min(wide, tall * columns / rows)
    for axes, codes, title in zip(panels, (ours, truth), ("a) Map", "b) Truth"), strict=True):
        _class_panel(axes, codes, colours, comparison, width)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    draw_scale(panels[0], grid, width)
    _save(figure, path)
    shown = np.union1d(np.unique(ours), np.unique(truth)).tolist()
    return [colours[code] for code in colours if code in shown]


def _truth(comparison: Comparison, codes: np.ndarray | None) -> np.ndarray:
    """Classes of the truth where it tells them, else water and ice, and land of the map."""
    compared = comparison.categories
    ice, water = np.isin(compared, (1, UNDER)), np.isin(compared, (0, OVER))
    truth = np.full(compared.shape, CLASS_NODATA, np.uint8)
    truth[compared == CLASS_LAND] = CLASS_LAND
    truth[water], truth[ice] = 0, _CODE_ICE_OF_NO_KIND
    if codes is not None:
        told = (codes < CLASS_LAND) & (water | ice)
        truth[told] = codes[told]
    return truth


def _class_panel(
    axes: Axes,
    codes: np.ndarray,
    colours: dict[int, tuple[str, tuple[int, int, int]]],
    comparison: Comparison,
    width: float,
) -> None:
    from matplotlib.patches import Rectangle

    grid = comparison.grid
    left, bottom, right, top = grid.bounds
    step = max(1, int(grid.shape[1] / (width * _DPI)))
    table = np.zeros((256, 4), np.uint8)
    for code, (_, colour) in colours.items():
        table[code] = (*colour, 255)
    axes.set_facecolor("#f4f5f6")
    hatch = Rectangle((left, bottom), right - left, top - bottom, hatch="////", facecolor="none", edgecolor="#d5d9dc")
    hatch.set_linewidth(0)
    axes.add_patch(hatch)
    picture = table[commonest(codes, step)]
    block = step * grid.spacing_m
    axes.imshow(
        picture,
        extent=(left, left + picture.shape[1] * block, top - picture.shape[0] * block, top),
        zorder=2,
        interpolation="nearest" if step == 1 else "antialiased",
    )
    draw_graticule(axes, grid)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(edgecolor=INK, linewidth=0.8)


def _series(log: list[dict[str, float]], what: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps done, and a number of the log that is finite."""
    pairs = [(row["step"] + 1, row[what]) for row in log if what in row and np.isfinite(row[what])]
    x, y = np.array(pairs, float).reshape(-1, 2).T
    return x, y


def _smoothed(y: np.ndarray) -> np.ndarray:
    """Mean over a window about each step, narrower at the ends."""
    half = max(y.size // _SMOOTH // 2, 1)
    total = np.concatenate([[0.0], np.cumsum(y)])
    at = np.arange(y.size)
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, y.size)
    return np.asarray((total[high] - total[low]) / (high - low))


def _figure(
    n: int, width: float, height: float, rows: int = 1, heights: tuple[float, ...] | None = None
) -> tuple[Figure, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    made = figure.subplots(rows, n // rows, squeeze=False, height_ratios=heights)
    panels = list(made.ravel())
    for axes in panels:
        axes.tick_params(labelsize=8, colors=INK)
        axes.grid(visible=True, color="#e6e9eb", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, panels


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DPI, format="png")
