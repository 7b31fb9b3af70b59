"""The numbers of a report, arranged in tables; runs side by side, and which difference is more than chance.

The standard error of a score is that of the delete-one jackknife over scenes: each test scene is left out in turn, the
counts of the others are added up, and the score is taken anew; the standard error is the root of (n − 1)/n times the
sum of squares of these n scores about their mean. Scenes are the unit since patches of one scene are alike. Of two
runs that were judged on the same samples the difference itself is jackknifed, scene by scene, so that what makes a
scene hard for both does not count; otherwise the squares of the two standard errors are added.

References:
    Efron, B., Stein, C. (1981), The jackknife estimate of variance. Annals of Statistics 9, 586–596.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from frazil.metrics import scores
from frazil.reports.record import RunRecord
from frazil.reports.scores import ClassScores

MIN_SCENES = 3  #: fewer test scenes have no standard error
Score = Callable[[np.ndarray], float]


def _overall(name: Literal["accuracy", "balanced_accuracy", "macro_f1"]) -> Score:
    return lambda counts: scores(counts)[name]


def _two_classes(counts: np.ndarray) -> np.ndarray:
    """Water against all ice classes together."""
    return np.array([[counts[0, 0], counts[0, 1:].sum()], [counts[1:, 0].sum(), counts[1:, 1:].sum()]])


def _ice_water(counts: np.ndarray) -> float:
    return scores(_two_classes(counts))["accuracy"]


def _f1_of(code: int) -> Score:
    return lambda counts: scores(counts)["f1"][code]


def _noted_f1(code: int) -> Callable[[ClassScores], float | None]:
    return lambda side: side.f1[code]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number in a table.

    Attributes:
        text: as it is shown.
        error: its standard error, as shown; empty without one.
        best: whether it is better than that of every other run by more than the standard error of the difference.
    """

    text: str
    error: str = ""
    best: bool = False


def percent(value: float | None) -> str:
    """A share as percent with two decimals; a dash for None and NaN."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.2f} %"


def number(value: int) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def jackknife(scene_counts: Mapping[str, np.ndarray], score: Score) -> np.ndarray:
    """The score without each of the scenes in turn, in the order of their names."""
    tables = np.stack([scene_counts[name] for name in sorted(scene_counts)])
    whole = tables.sum(axis=0)
    return np.array([score(whole - table) for table in tables])


def standard_error(left_out: np.ndarray) -> float:
    """Of what was left out in turn; NaN for fewer than `MIN_SCENES`, or where a score is not defined."""
    n = left_out.size
    if n < MIN_SCENES or not np.isfinite(left_out).all():
        return math.nan
    return float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))


def same_samples(one: ClassScores, other: ClassScores) -> bool:
    """Whether two runs were judged on the same scenes with as many samples of each class."""
    a, b = one.scene_counts, other.scene_counts
    return a.keys() == b.keys() and all(np.array_equal(a[k].sum(axis=1), b[k].sum(axis=1)) for k in a)


def difference_error(one: ClassScores, other: ClassScores, score: Score) -> float:
    """Standard error of the difference of a score between two runs; NaN where it cannot be told."""
    left = [jackknife(side.scene_counts, score) for side in (one, other)]
    if same_samples(one, other):
        return standard_error(left[0] - left[1])
    return math.hypot(*(standard_error(each) for each in left))


def _column(sides: Sequence[ClassScores | None], score: Score, of: Callable[[ClassScores], float | None]) -> list[Cell]:
    """A score of each run, with its standard error, the best one marked if it is clearly so."""
    said = [None if side is None else of(side) for side in sides]
    errors = [math.nan if side is None else standard_error(jackknife(side.scene_counts, score)) for side in sides]
    known = [i for i, value in enumerate(said) if value is not None and math.isfinite(value)]
    best = max(known, key=lambda i: said[i] or 0.0, default=None)
    if best is not None:
        for i in known:
            if i == best:
                continue
            one, other = sides[best], sides[i]
            assert one is not None
            assert other is not None
            gap = (said[best] or 0.0) - (said[i] or 0.0)
            if not gap > difference_error(one, other, score):
                best = None
                break
    alone = len(known) < 2
    return [
        Cell(
            text=percent(value),
            error=f"{100 * error:.2f}" if math.isfinite(error) else "",
            best=i == best and not alone,
        )
        for i, (value, error) in enumerate(zip(said, errors, strict=True))
    ]


def comparison_table(runs: Sequence[RunRecord]) -> tuple[list[str], list[list[Cell]]]:
    """Headings, and the cells of each run: overall scores and calibration."""
    sides = [run.class_scores.get(run.judged or "") for run in runs]
    columns = [
        ("Accuracy", _column(sides, _overall("accuracy"), lambda s: s.accuracy)),
        ("Balanced accuracy", _column(sides, _overall("balanced_accuracy"), lambda s: s.balanced_accuracy)),
        ("Macro-F1", _column(sides, _overall("macro_f1"), lambda s: s.macro_f1)),
    ]
    if all(side is None or side.binary for side in sides):
        columns.append(
            ("Ice against water", _column(sides, _ice_water, lambda s: s.binary.accuracy if s.binary else None))
        )
    columns.append(("ECE", [Cell(text="–" if s is None else percent(s.ece)) for s in sides]))
    return _by_run(columns, len(runs))


def class_table(runs: Sequence[RunRecord]) -> tuple[list[str], list[list[Cell]]]:
    """Headings, and F1 of each class in each run; nothing where the runs have different classes."""
    sides = [run.class_scores.get(run.judged or "") for run in runs]
    schemes = {run.scheme.name: run.scheme for run in runs if run.scheme is not None and run.judged}
    columns = []
    for c in next(iter(schemes.values())).classes if len(schemes) == 1 else ():
        columns.append((c.title, _column(sides, _f1_of(c.code), _noted_f1(c.code))))
    return _by_run(columns, len(runs))


def _by_run(columns: list[tuple[str, list[Cell]]], n: int) -> tuple[list[str], list[list[Cell]]]:
    return [title for title, _ in columns], [[cells[i] for _, cells in columns] for i in range(n)]


def score_errors(side: ClassScores) -> dict[str, str]:
    """Standard errors of the overall scores in percent points, as shown; empty where there is none."""
    functions = {
        "accuracy": _overall("accuracy"),
        "balanced_accuracy": _overall("balanced_accuracy"),
        "macro_f1": _overall("macro_f1"),
        "binary": _ice_water,
    }
    errors = {name: standard_error(jackknife(side.scene_counts, score)) for name, score in functions.items()}
    return {name: f"{100 * error:.2f}" if math.isfinite(error) else "" for name, error in errors.items()}


@dataclass(frozen=True, kw_only=True)
class SceneRow:
    """A scene in a table, see `scene_rows`."""

    scene: str
    samples: int
    accuracy: float
    accuracy_text: str
    binary_text: str
    ice_called_water: str
    water_called_ice: str


@dataclass(frozen=True, kw_only=True)
class CountCell:
    """Of a confusion matrix, see `confusion_rows`."""

    count: str
    share: str
    shade: float
    right: bool


def scene_rows(side: ClassScores) -> list[SceneRow]:
    """A row a scene, worst first: samples, accuracy, ice against water, ice called water, water called ice."""
    rows = []
    for name, counts in side.scene_counts.items():
        two = _two_classes(counts)
        accuracy = side.accuracy_per_scene[name]
        rows.append(
            SceneRow(
                scene=name,
                samples=int(counts.sum()),
                accuracy=accuracy,
                accuracy_text=percent(accuracy),
                binary_text=percent(_ice_water(counts) if counts.sum() else None),
                ice_called_water=f"{number(int(two[1, 0]))} of {number(int(two[1].sum()))}",
                water_called_ice=f"{number(int(two[0, 1]))} of {number(int(two[0].sum()))}",
            )
        )
    return sorted(rows, key=lambda row: (row.accuracy if math.isfinite(row.accuracy) else -1.0, row.scene))


def confusion_rows(counts: np.ndarray) -> list[list[CountCell]]:
    """Cells of a confusion matrix: count, share of its row, and that share as a number for shading."""
    total = counts.sum(axis=1)
    return [
        [
            CountCell(
                count=number(int(n)),
                share=f"{100 * n / total[i]:.1f} %" if total[i] else "–",
                shade=round(float(n / total[i]), 3) if total[i] else 0.0,
                right=i == j,
            )
            for j, n in enumerate(row)
        ]
        for i, row in enumerate(counts)
    ]


def duration(seconds: float) -> str:
    """In seconds, minutes or hours."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"


def differing_settings(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Settings in which runs differ: the name, and the value in each run."""
    names = sorted(set().union(*(run.settings for run in runs)))
    rows = [(name, [run.settings.get(name, "–") for run in runs]) for name in names]
    return [(name, row) for name, row in rows if any(a != b for a, b in pairwise(row))]
