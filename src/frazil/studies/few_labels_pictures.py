"""Pictures of the study of few labels: accuracy by number of labels, and pseudo-labels epoch by epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.studies.few_labels_table import CEILING, CONTROLS, count_of, propagates, pseudo_curves

if TYPE_CHECKING:
    from frazil.studies.few_labels_table import MethodLine, Row

_COLOURS = (
    "#555555",
    "#0b5fa5",
    "#d1730f",
    "#2a7f4f",
    "#8e4585",
    "#b8a000",
    "#b03a2e",
    "#4f8a8b",
    "#7a6f5d",
    "#111111",
    "#9a9a9a",
    "#6f9bd1",
    "#e0a3c8",
    "#86c06c",
    "#c7a27c",
    "#e8590c",
    "#3b2f8f",
    "#12b5a5",
)
_MOST_PANELS = 4


def draw_accuracy(table: list[MethodLine], path: Path) -> None:
    """Accuracy against the number of labels, a colour a method; controls dashed, the ceiling a line across."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, NullLocator

    figure = Figure(figsize=(8.5, 5), layout="constrained", dpi=130)
    axes = figure.add_subplot()
    methods = [name for name in dict.fromkeys(line.method for line in table) if name != CEILING]
    counts = sorted({line.labels for line in table if line.method != CEILING})
    for line in table:
        if line.method == CEILING:
            axes.axhline(line.accuracy, color="#333333", linewidth=1, linestyle=":", label=CEILING)
    for i, method in enumerate(methods):
        mine = sorted((line for line in table if line.method == method), key=lambda line: line.labels)
        x = np.array([line.labels for line in mine]) * 1.015 ** (i - len(methods) / 2)  # beside each other
        half = [0 if math.isnan(line.interval) else line.interval for line in mine]
        control = method in CONTROLS
        axes.errorbar(
            x,
            [line.accuracy for line in mine],
            yerr=half,
            marker="o",
            markersize=4,
            capsize=2,
            elinewidth=0.8,
            color=_COLOURS[i % len(_COLOURS)],
            linestyle="--" if control else "-",
            label=method,
        )
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(c) for c in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy on held-out scenes, %")
    means = [line.accuracy for line in table]
    axes.set_ylim(max(min(means) - 10, 0), min(max(means) + 5, 100))  # intervals of few draws would hide the rest
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, handlelength=3.5)
    figure.savefig(path, format="png")


def draw_pseudo_labels(rows: list[Row], path: Path) -> None:
    """Share of pseudo-labels that are right, propagation by propagation: a panel a number of labels, a colour a method.

    A line is the mean over runs, its band reaches from the least to the largest of them.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with_curves = [row for row in rows if propagates(row)]
    counts = sorted({count_of(row) for row in with_curves})
    if len(counts) > _MOST_PANELS:
        counts = [counts[round(i * (len(counts) - 1) / (_MOST_PANELS - 1))] for i in range(_MOST_PANELS)]
    methods = list(dict.fromkeys(row["method"] for row in with_curves))
    figure = Figure(figsize=(2.1 + 2.6 * len(counts), 3.6), layout="constrained", dpi=130)
    grid = figure.subplots(1, len(counts), sharey=True, squeeze=False)
    for axes, count in zip(grid[0], counts, strict=True):
        for i, method in enumerate(methods):
            curves = pseudo_curves(with_curves, method, count)
            if not curves.size:
                continue
            whole = curves[~np.isnan(curves).any(axis=1)]  # runs of the full length
            epoch, colour = np.arange(1, whole.shape[1] + 1), _COLOURS[(i + 1) % len(_COLOURS)]
            style = "-" if i < 2 else (0, (3, 3))  # a teacher at equal rates is LP's network: one line over the other
            axes.plot(epoch, whole.mean(axis=0), linestyle=style, color=colour, marker="o", markersize=3, label=method)
            axes.fill_between(epoch, whole.min(axis=0), whole.max(axis=0), color=colour, alpha=0.12, linewidth=0)
        axes.set_title(f"{count} labels", fontsize=10)
        axes.set_xlabel("propagation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].set_ylabel("pseudo-labels that are right, %")
    handles = {name: handle for axes in grid[0] for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(path, format="png")
