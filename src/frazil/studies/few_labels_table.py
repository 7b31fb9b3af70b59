"""What rows of the study of few labels hold, and the table of them: means, intervals over draws, pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict, cast

import numpy as np

from frazil.learn.data.class_scores import Evaluation, Figures
from frazil.metrics import student_interval

#: Methods without a network: what any other must beat.
CONTROLS = ("nearest label", "raw propagation", "raw propagation with chosen k")
#: The network of all others with all labels: what more labels would give.
CEILING = "all labels"
_LEFT_OUT = ("confusion_per_scene", "reliability")


Score = Literal["accuracy", "balanced_accuracy", "macro_f1", "ece"]
ClassFigure = Literal["precision", "recall", "f1"]
_BY_CLASS: tuple[ClassFigure, ...] = ("precision", "recall", "f1")


class Key(TypedDict):
    """What makes a row one trial's: the method's name, and the run as `RunConfig.to_json` has it, without folders."""

    method: str
    config: dict[str, Any]


class TestScores(Figures):
    """On the test scenes, see `frazil.learn.data.class_scores.ScoresJson`; controls have no probabilities."""

    classes: list[str]
    binary: NotRequired[Figures]
    ice_water: NotRequired[dict[str, object]]
    ece: float | None
    ece_before_temperature: float
    nll: float | None
    accuracy_per_scene: dict[str, float]
    confusion: list[list[int]]


class Found(TypedDict):
    """What a method did; controls have neither parameters nor a time of training."""

    test: TestScores
    pool: float | None
    curve: list[dict[str, float]]
    steps: int
    training_seconds: NotRequired[float]
    parameters: NotRequired[int]


class Row(Key, Found):
    """A trial, what it did, on what, and how it went."""

    labels: dict[str, object]
    scenes: dict[str, int]
    patches: dict[str, int]
    seconds: float
    threads: int
    commit: str
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class MethodLine:
    """A method at a number of labels, see `summarise_few_labels`; percent but for seconds, NaN where unknown.

    ``precision``, ``recall`` and ``f1`` are of each class, means over runs.
    """

    method: str
    labels: int
    draws: int
    runs: int
    accuracy: float
    interval: float
    difference: float
    difference_interval: float
    macro_f1: float
    balanced_accuracy: float
    ece: float
    pool: float
    pseudo_accuracy: float
    seconds: float
    training_seconds: float = math.nan
    precision: tuple[float, ...] = ()
    recall: tuple[float, ...] = ()
    f1: tuple[float, ...] = ()


def count_of(row: Row) -> int:
    """How many labels a row's method had; rows of all labels say how many these were."""
    count = row["config"]["labels"]["count"]
    return int(row["patches"]["train"] if count is None else count)


def by_draw(rows: list[Row], method: str, count: int, score: Score = "accuracy") -> dict[int, float]:
    """A score in percent for each draw, mean over its seeds; draws differ more than seeds do.

    Of all labels there is one draw: there it is a score for each seed.
    """
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["method"] == method and count_of(row) == count and (value := row["test"][score]) is not None:
            draw = row["config"]["seed"] if method == CEILING else row["config"]["labels"]["seed"]
            found.setdefault(draw, []).append(100 * value)
    return {draw: float(np.mean(values)) for draw, values in sorted(found.items())}


def summarise_few_labels(rows: list[Row], against: str = "supervised") -> list[MethodLine]:
    """A line for each method and number of labels: means, intervals over draws, and differences pair by pair.

    ``difference`` is the mean over the draws that both methods have, in points of accuracy.
    """
    out = []
    for count in sorted({count_of(row) for row in rows}):
        for method in dict.fromkeys(row["method"] for row in rows):
            some = [row for row in rows if row["method"] == method and count_of(row) == count]
            mine = by_draw(rows, method, count)
            if not mine:
                continue
            values, other = np.array(list(mine.values())), by_draw(rows, against, count)
            pairs = np.array([mine[d] - other[d] for d in mine if d in other])
            ends = [r["curve"][-1] for r in some if r["curve"]]
            each = {name: _by_class(some, name) for name in _BY_CLASS}
            out.append(
                MethodLine(
                    method=method,
                    labels=count,
                    draws=len(mine),
                    runs=len(some),
                    accuracy=float(values.mean()),
                    interval=student_interval(values),
                    difference=_mean(pairs),
                    difference_interval=student_interval(pairs),
                    macro_f1=_mean(by_draw(rows, method, count, "macro_f1").values()),
                    balanced_accuracy=_mean(by_draw(rows, method, count, "balanced_accuracy").values()),
                    ece=_mean(by_draw(rows, method, count, "ece").values()),
                    pool=_mean(100 * r["pool"] for r in some if r["pool"] is not None),
                    pseudo_accuracy=_mean(100 * end["pseudo_accuracy"] for end in ends if "pseudo_accuracy" in end),
                    seconds=_mean(r["seconds"] for r in some),
                    training_seconds=_mean(r["training_seconds"] for r in some if "training_seconds" in r),
                    precision=each["precision"],
                    recall=each["recall"],
                    f1=each["f1"],
                )
            )
    return out


def _by_class(rows: list[Row], figure: ClassFigure) -> tuple[float, ...]:
    """A figure of each class in percent, mean over runs; NaN where no run has it."""
    found = [[math.nan if v is None else 100 * v for v in row["test"][figure]] for row in rows]
    return tuple(_mean(v for v in column if not math.isnan(v)) for column in zip(*found, strict=True))


def propagates(row: Row) -> bool:
    """Whether a row tells how many propagated labels are right; Noisy Student tells of those it is sure of alone."""
    return "propagation" in row["config"]["strategy"] and any("pseudo_accuracy" in note for note in row["curve"])


def pseudo_curves(rows: list[Row], method: str, count: int) -> np.ndarray:
    """Share of pseudo-labels that are right, percent (run, propagation), of the runs that know the truth.

    Runs that ended early, or are of another length, end in NaN.
    """
    found = [
        [100 * note["pseudo_accuracy"] for note in row["curve"] if "pseudo_accuracy" in note]
        for row in rows
        if row["method"] == method and count_of(row) == count
    ]
    found = [curve for curve in found if curve]
    longest = max(map(len, found), default=0)
    return np.array([curve + [math.nan] * (longest - len(curve)) for curve in found], float).reshape(
        len(found), longest
    )


def _mean(values: Iterable[float]) -> float:
    found = np.array(list(values), float)
    return float(found.mean()) if found.size else math.nan


def scores_of(found: Evaluation) -> TestScores:
    """What rows keep of an evaluation: all but what is long."""
    return cast(TestScores, {k: v for k, v in found.to_json().items() if k not in _LEFT_OUT})
