"""The page of the study of few labels: caveats first, then tables, a picture, and how to run it again."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frazil.studies.page import SIMULATED, write_page

if TYPE_CHECKING:
    from frazil.studies.few_labels_table import MethodLine, Row

#: Table III of the second paper, validation accuracy in percent by number of labels.
PUBLISHED = {
    "supervised": {15: 39.60, 30: 52.0, 40: 55.67, 60: 70.35, 100: 88.72, 500: 91.50, 1000: 92.06},
    "semi_gan": {40: 71.96, 60: 88.14, 100: 89.23, 500: 90.5, 1000: 90.04},
    "mixmatch": {60: 86.28, 100: 85.88, 500: 88.19, 1000: 91.02},
    "lp": {15: 55.62, 30: 75.34, 40: 75.23, 60: 89.97, 100: 90.42, 500: 91.73, 1000: 91.24},
    "tslp": {15: 88.03, 30: 86.96, 40: 90.87, 60: 90.47, 100: 91.21, 500: 91.07, 1000: 91.94},
}


def write_few_labels_page(
    rows: list[Row],
    table: list[MethodLine],
    path: str | os.PathLike[str],
    *,
    command: str,
    simulated: bool,
    overwrite: bool = False,
) -> Path:
    """Write ``path`` and a picture of the same name beside it.

    Args:
        rows: of `frazil.studies.few_labels.run_few_labels`.
        table: of `frazil.studies.few_labels_table.summarise_few_labels`.
        path: ending in ``.md``.
        command: that made the rows.
        simulated: whether the scenes were simulated.
        overwrite: replace what is there, see `frazil.studies.page.write_page`.
    """
    return write_page(
        path,
        lambda part: _picture(table, part),
        lambda picture: _markdown(rows, table, picture, command, simulated),
        overwrite=overwrite,
    )


def _markdown(rows: list[Row], table: list[MethodLine], picture: str, command: str, simulated: bool) -> str:
    first, draws = rows[0], _draws(table)
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    parts = [
        "# Few labels, many patches without",
        (
            "Methods of the second paper (its Tables III to V), those that came after it, and two controls without a "
            "network, at the same labels, the same pool and the same held-out scenes."
        ),
        "## Before you read the numbers",
        *([SIMULATED] if simulated else []),
        (
            f"- Judged on {first['patches']['test']} patches of {first['scenes']['test']} scenes that nothing was "
            "learnt from, labelled or not; the last weights, looked at once.\n"
            f"- ± is the 95 % interval (Student) over {draws} of labels, each the mean of its seeds. It says "
            "nothing about other scenes. One draw has none.\n"
            "- Differences are taken draw by draw: both methods had the same labels.\n"
            "- The paper counts labels per class and judges on validation patches of another region; its figures stand "
            "here for orientation.\n"
            "- A patch that raw propagation does not reach counts as wrong."
        ),
        "## Accuracy on held-out scenes, %",
        _grid(table, lambda line: _pm(line.accuracy, line.interval)),
        f"![Accuracy by number of labels]({picture})",
        "## Against labels alone, points of accuracy",
        _grid(table, lambda line: _pm(line.difference, line.difference_interval, sign=True)),
        "## Macro-F1 on held-out scenes, %",
        _grid(table, lambda line: f"{line.macro_f1:.1f}"),
        "## Accuracy on the pool itself, and of the last pseudo-labels, %",
        _grid(table, lambda line: " / ".join(_number(share) for share in (line.pool, line.pseudo_accuracy))),
        "## Expected calibration error, before any temperature",
        _grid(table, lambda line: _number(line.ece / 100, 3)),
        "## Published, other data",
        _published(sorted({line.labels for line in table})),
        "## Minutes a run",
        _grid(table, lambda line: f"{line.seconds / 60:.1f}"),
        "## How it was made",
        (
            f"{datetime.now(UTC):%d %B %Y}, commit {commits}, {platform.machine()}, {os.cpu_count()} cores, "
            f"shared, {first['threads']} thread{'s' if first['threads'] > 1 else ''} a run; torch "
            f"{first['versions']['torch']}. The settings of every run stand in its row."
        ),
        f"Command: `{command}`",
    ]
    return "\n\n".join(parts) + "\n"


def _grid(table: list[MethodLine], cell: Callable[[MethodLine], str]) -> str:
    counts = sorted({line.labels for line in table})
    lines = ["| labels | " + " | ".join(map(str, counts)) + " |", "|" + "---|" * (len(counts) + 1)]
    for method in dict.fromkeys(line.method for line in table):
        mine = {line.labels: line for line in table if line.method == method}
        lines.append(f"| {method} | " + " | ".join(cell(mine[c]) if c in mine else "" for c in counts) + " |")
    return "\n".join(lines)


def _published(counts: list[int]) -> str:
    lines = ["| labels | " + " | ".join(map(str, counts)) + " |", "|" + "---|" * (len(counts) + 1)]
    for method, known in PUBLISHED.items():
        lines.append(f"| {method} | " + " | ".join(f"{known[c]:.2f}" if c in known else "" for c in counts) + " |")
    return "\n".join(lines)


def _pm(value: float, half: float, *, sign: bool = False) -> str:
    if math.isnan(value):
        return ""
    return (f"{value:+.1f}" if sign else f"{value:.1f}") + ("" if math.isnan(half) else f" ± {half:.1f}")


def _number(value: float, digits: int = 1) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _picture(table: list[MethodLine], path: Path) -> None:
    """Accuracy against the number of labels, a colour a method; controls dashed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, NullLocator

    figure = Figure(figsize=(8.5, 5), layout="constrained", dpi=130)
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(line.method for line in table))
    colours = (
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
    )
    counts = sorted({line.labels for line in table})
    for i, method in enumerate(methods):
        mine = sorted((line for line in table if line.method == method), key=lambda line: line.labels)
        x = np.array([line.labels for line in mine]) * 1.015 ** (i - len(methods) / 2)  # beside each other
        half = [0 if math.isnan(line.interval) else line.interval for line in mine]
        control = method in ("nearest label", "raw propagation")
        axes.errorbar(
            x,
            [line.accuracy for line in mine],
            yerr=half,
            marker="o",
            markersize=4,
            capsize=2,
            elinewidth=0.8,
            color=colours[i % len(colours)],
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


def _draws(table: list[MethodLine]) -> str:
    """How many draws there are, and where fewer: a study may still be under way."""
    fewest = {n: min(line.draws for line in table if line.labels == n) for n in {li.labels for li in table}}
    most = max(line.draws for line in table)
    text = f"{most} draw{'s' if most > 1 else ''}"
    fewer = [f"{n} labels: {d}" for n, d in sorted(fewest.items()) if d < most]
    return f"{text} ({', '.join(fewer)})" if fewer else text
