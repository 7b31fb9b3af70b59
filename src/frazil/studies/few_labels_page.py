"""The page of the study of few labels: how big it was, caveats, tables, pictures, and how to run it again."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.studies.few_labels_pictures import draw_accuracy, draw_pseudo_labels
from frazil.studies.few_labels_table import CEILING, CONTROLS, propagates
from frazil.studies.page import SIMULATED, another, write_page

if TYPE_CHECKING:
    from frazil.studies.few_labels_table import MethodLine, Row

_PSEUDO = "pseudo"
#: Table III of the second paper, validation accuracy in percent by number of labels.
PUBLISHED = {
    "supervised": {15: 39.60, 30: 52.0, 40: 55.67, 60: 70.35, 100: 88.72, 500: 91.50, 1000: 92.06},
    "semi_gan": {40: 71.96, 60: 88.14, 100: 89.23, 500: 90.5, 1000: 90.04},
    "mixmatch": {60: 86.28, 100: 85.88, 500: 88.19, 1000: 91.02},
    "lp": {15: 55.62, 30: 75.34, 40: 75.23, 60: 89.97, 100: 90.42, 500: 91.73, 1000: 91.24},
    "tslp": {15: 88.03, 30: 86.96, 40: 90.87, 60: 90.47, 100: 91.21, 500: 91.07, 1000: 91.94},
}
#: The same network with all labels, section IV-C.
PUBLISHED_CEILING = 91.57
_MOST_COUNTS = 3  # numbers of labels whose classes are shown one by one


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
        lambda part: draw_accuracy(table, part),
        lambda picture: _markdown(rows, table, Path(picture), command, simulated),
        overwrite=overwrite,
        more={_PSEUDO: lambda part: draw_pseudo_labels(rows, part)} if any(map(propagates, rows)) else None,
    )


def _markdown(rows: list[Row], table: list[MethodLine], picture: Path, command: str, simulated: bool) -> str:
    first, draws = rows[0], _draws(table)
    classes = first["test"]["classes"]
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    parts = [
        "# Few labels, many patches without",
        (
            "Methods of the second paper (its Tables III to V), those that came after it, and controls without a "
            "network, at the same labels, the same pool and the same held-out scenes."
        ),
        _size(rows, table),
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
        f"![Accuracy by number of labels]({picture.name})",
        "## Against labels alone, points of accuracy",
        _grid(table, lambda line: _pm(line.difference, line.difference_interval, sign=True)),
        "## Macro-F1 on held-out scenes, %",
        _grid(table, lambda line: f"{line.macro_f1:.1f}"),
        "## Accuracy on the pool itself, and of the last pseudo-labels, %",
        _grid(table, lambda line: " / ".join(_number(share) for share in (line.pool, line.pseudo_accuracy))),
        *(
            [
                "## Pseudo-labels, propagation by propagation",
                (
                    "Against the hidden truth of the pool, mean over runs; the band is the least and the largest of "
                    "them. A propagation is an epoch."
                ),
                f"![Pseudo-labels that are right]({another(picture, _PSEUDO).name})",
            ]
            if any(map(propagates, rows))
            else []
        ),
        "## Precision / recall / F1 of each class, %",
        *(_by_class(table, n, classes) for n in _some(sorted({x.labels for x in table if x.method != CEILING}))),
        "## Expected calibration error, before any temperature",
        _grid(table, lambda line: _number(line.ece / 100, 3)),
        "## Published, other data",
        _published(table),
        "## Seconds of training",
        (
            "One run beside others on a shared machine, so that only large differences mean anything. The thesis "
            "(Table 4.2) took hours on one GPU with 60 labels and 10,000 patches without: LP 2 to 3, TSLP 6, MixMatch "
            "10, the GAN 1."
        ),
        _grid(table, lambda line: _number(line.training_seconds, 0)),
        "## How it was made",
        (
            f"Page of {datetime.now(UTC):%d %B %Y}; rows of commit {commits}, {platform.machine()}, {os.cpu_count()} "
            f"cores, shared, {first['threads']} thread{'s' if first['threads'] > 1 else ''} a run; torch "
            f"{first['versions']['torch']}. The settings of every run stand in its row."
        ),
        f"Command: `{command}`",
    ]
    return "\n\n".join(parts) + "\n"


def _size(rows: list[Row], table: list[MethodLine]) -> str:
    """How big the study was, from its rows, and what the paper had."""
    counts = [str(n) for n in sorted({line.labels for line in table if line.method != CEILING})]
    ceiling = next((f", and all {line.labels} once" for line in table if line.method == CEILING), "")
    seeds = len({row["config"]["seed"] for row in rows if row["method"] not in (CEILING, *CONTROLS)})
    trained = sorted({row["parameters"] for row in rows if "parameters" in row})
    settings = [row["config"] for row in rows if row["method"] not in CONTROLS]
    learnt = max(row["scenes"]["train"] for row in rows)  # a row counts those its labels are of; the pool has more
    sides = sorted({c["data"]["size"] for c in settings if c["data"].get("size")})
    stages = [_stages(c) for c in settings if "first_epochs" in c["strategy"] and c["optim"]["epochs"] is not None]
    networks = " to ".join(f"{n:,}" for n in dict.fromkeys((trained[0], trained[-1]))) if trained else ""
    parts = [
        f"{_listed(counts)} labels{ceiling}; {_draws(table)} of labels, {seeds} seed{'s' if seeds != 1 else ''} each",
        f"networks of {networks} parameters" if networks else "",
        f"patches of {' or '.join(f'{n} × {n}' for n in sides)} pixels" if sides else "",
        max(set(stages), key=stages.count) if stages else "",
        f"{learnt} scenes to learn from and {rows[0]['scenes']['test']} that judge",
    ]
    return (
        f"**How big this is**: {'; '.join(part for part in parts if part)}. The paper: one draw of labels, 3.1 million "
        "parameters, 32 × 32 pixels, 100 epochs on the labels and 200 with the pool."
    )


def _stages(config: dict[str, Any]) -> str:
    """How long both stages of a run are."""
    strategy, steps = config["strategy"], config["strategy"]["first_steps"]
    first = f"{strategy['first_epochs']:g} epochs" if steps is None else f"{steps} steps"
    return f"{first} on the labels and {config['optim']['epochs']:g} epochs with the pool"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _counts(table: list[MethodLine]) -> list[int]:
    return sorted({line.labels for line in table})


def _some(counts: list[int]) -> list[int]:
    """The least, the most, and one between."""
    return counts if len(counts) <= _MOST_COUNTS else [counts[0], counts[len(counts) // 2], counts[-1]]


def _head(table: list[MethodLine]) -> list[str]:
    """The heads of a table with a column for each number of labels; that of the ceiling says that these are all."""
    few = {line.labels for line in table if line.method != CEILING}
    heads = [str(n) if n in few else f"all {n}" for n in _counts(table)]
    return ["| labels | " + " | ".join(heads) + " |", "|" + "---|" * (len(heads) + 1)]


def _grid(table: list[MethodLine], cell: Callable[[MethodLine], str]) -> str:
    counts, lines = _counts(table), _head(table)
    for method in dict.fromkeys(line.method for line in table):
        mine = {line.labels: line for line in table if line.method == method}
        lines.append(f"| {method} | " + " | ".join(cell(mine[c]) if c in mine else "" for c in counts) + " |")
    return "\n".join(lines)


def _by_class(table: list[MethodLine], count: int, classes: list[str]) -> str:
    """As Table IV of the second paper: a row a method, a column a class, and their mean; the ceiling beside them."""
    lines = [f"| {count} labels | " + " | ".join(classes) + " | macro |", "|" + "---|" * (len(classes) + 2)]
    for line in table:
        if (line.labels != count and line.method != CEILING) or not line.recall:
            continue
        each = list(zip(line.precision, line.recall, line.f1, strict=True))
        each.append((float(np.mean(line.precision)), line.balanced_accuracy, line.macro_f1))
        lines.append(f"| {line.method} | " + " | ".join(" / ".join(map(_number, cell)) for cell in each) + " |")
    return "\n".join(lines)


def _published(table: list[MethodLine]) -> str:
    counts, lines = _counts(table), _head(table)
    for method, known in PUBLISHED.items():
        lines.append(f"| {method} | " + " | ".join(f"{known[c]:.2f}" if c in known else "" for c in counts) + " |")
    ceiling = [line.labels for line in table if line.method == CEILING]
    if ceiling:
        cells = [f"{PUBLISHED_CEILING:.2f}" if c in ceiling else "" for c in counts]
        lines.append(f"| {CEILING} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _pm(value: float, half: float, *, sign: bool = False) -> str:
    if math.isnan(value):
        return ""
    return (f"{value:+.1f}" if sign else f"{value:.1f}") + ("" if math.isnan(half) else f" ± {half:.1f}")


def _number(value: float, digits: int = 1) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _draws(table: list[MethodLine]) -> str:
    """How many draws there are, and where fewer: a study may still be under way."""
    drawn = [line for line in table if line.method != CEILING]
    fewest = {n: min(line.draws for line in drawn if line.labels == n) for n in {line.labels for line in drawn}}
    most = max((line.draws for line in drawn), default=0)
    text = f"{most} draw{'s' if most != 1 else ''}"
    fewer = [f"{n} labels: {d}" for n, d in sorted(fewest.items()) if d < most]
    return f"{text} ({', '.join(fewer)} for some)" if fewer else text
