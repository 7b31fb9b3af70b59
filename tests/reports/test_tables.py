"""Runs side by side: standard errors against the textbook, and no mark that chance could set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from frazil.conventions import BINARY
from frazil.metrics import scores
from frazil.reports.record import RunRecord, flatten, record_of
from frazil.reports.scores import Bins, ClassScores, TwoClassScores
from frazil.reports.tables import (
    class_table,
    comparison_table,
    difference_error,
    differing_settings,
    jackknife,
    scene_rows,
    score_errors,
    standard_error,
)


def side_of(tables: dict[str, list[list[int]]]) -> ClassScores:
    """Scores of two classes from a confusion matrix a scene."""
    total = np.sum(list(tables.values()), axis=0)
    got: dict[str, Any] = {
        k: tuple(None if x != x else x for x in v) if isinstance(v, list) else v for k, v in scores(total).items()
    }
    return ClassScores(
        classes=BINARY.names,
        **got,
        binary=TwoClassScores(**got),
        ece=0.1,
        nll=1.0,
        accuracy_per_scene={k: float(np.trace(v) / np.sum(v)) for k, v in tables.items()},
        confusion=tuple(map(tuple, total.tolist())),
        confusion_per_scene={k: tuple(map(tuple, v)) for k, v in tables.items()},
        reliability=Bins(total=(1.0,), confidence=(1.0,), correct=(1.0,)),
    )


def run_of(tables: dict[str, list[list[int]]] | None, name: str = "run", **settings: object) -> RunRecord:
    return RunRecord(
        folder=name,
        name=name,
        settings=flatten(settings),
        scheme=BINARY,
        unit="patches",
        finished=tables is not None,
        scores={} if tables is None else {"test": side_of(tables)},
    )


def table(right: int, n: int = 100) -> list[list[int]]:
    """Half of each class, as many right."""
    half = n // 2
    first = right // 2
    return [[first, half - first], [half - (right - first), right - first]]


def accuracy(counts: np.ndarray) -> float:
    return float(scores(counts)["accuracy"])  # type: ignore[arg-type]


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    """With scenes of one size accuracy is the mean of theirs, whose standard error is s/√n."""
    right = [60, 70, 90, 84, 76]
    side = side_of({f"s{i}": table(r) for i, r in enumerate(right)})
    expected = np.std(np.array(right) / 100, ddof=1) / math.sqrt(5)
    assert standard_error(jackknife(side.scene_counts, accuracy)) == pytest.approx(expected, rel=1e-9)
    assert score_errors(side)["accuracy"] == f"{100 * expected:.2f}"


def test_fewer_than_three_scenes_have_no_error() -> None:
    side = side_of({"a": table(60), "b": table(90)})
    assert math.isnan(standard_error(jackknife(side.scene_counts, accuracy)))
    assert set(score_errors(side).values()) == {""}


def test_paired_differences_do_not_count_what_is_hard_for_both() -> None:
    hard = [50, 60, 70, 80, 98]
    one = side_of({f"s{i}": table(r) for i, r in enumerate(hard)})
    other = side_of({f"s{i}": table(r - 4) for i, r in enumerate(hard)})
    assert difference_error(one, other, accuracy) == pytest.approx(0, abs=1e-12)
    elsewhere = side_of({f"t{i}": table(r - 4) for i, r in enumerate(hard)})
    alone = [standard_error(jackknife(s.scene_counts, accuracy)) for s in (one, elsewhere)]
    assert difference_error(one, elsewhere, accuracy) == pytest.approx(math.hypot(*alone))


def marks(*runs: RunRecord) -> list[bool]:
    headings, cells = comparison_table(runs)
    return [row[headings.index("Accuracy")].best for row in cells]


def test_only_a_clear_best_is_marked() -> None:
    base = [50, 60, 70, 80, 98]
    worse = run_of({f"s{i}": table(r - 4) for i, r in enumerate(base)})
    best = run_of({f"s{i}": table(r) for i, r in enumerate(base)})
    assert marks(worse, best) == [False, True]
    mixed = run_of({f"s{i}": table(r + d) for i, (r, d) in enumerate(zip(base, [10, -12, 10, -8, -2], strict=True))})
    assert marks(mixed, best) == [False, False]
    assert marks(worse, best, mixed) == [False, False, False]  # one rival within chance is enough
    assert marks(best) == [False]
    assert marks(best, best) == [False, False]
    two = run_of({"a": table(20), "b": table(30)})
    assert marks(two, best) == [False, False]  # no standard error, no mark
    assert marks(best, run_of(None)) == [False, False]
    headings, cells = comparison_table([best, worse])
    assert cells[0][headings.index("ECE")].best is False
    assert comparison_table([run_of(None)])[1][0][0].text == "–"


def test_f1_of_each_class_and_a_class_that_never_occurs() -> None:
    only_ice = {f"s{i}": [[0, 0], [i, 10]] for i in range(4)}
    headings, cells = class_table([run_of(only_ice), run_of({f"s{i}": table(90) for i in range(4)})])
    assert headings == list(BINARY.titles)
    assert cells[1][0].text == "90.00 %"
    nothing = {f"s{i}": [[0, 0], [0, 10]] for i in range(4)}
    assert class_table([run_of(nothing)])[1][0][0].text == "–"
    assert class_table([run_of(None)]) == ([], [[]])


def test_scenes_stand_worst_first() -> None:
    rows = scene_rows(side_of({"good": table(90), "bad": table(20), "fair": table(60)}))
    assert [row.scene for row in rows] == ["bad", "fair", "good"]
    assert rows[0].ice_called_water == "40 of 50"


def test_settings_that_differ_are_listed() -> None:
    runs = [run_of(None, optim={"lr": 1e-3}, seed=0), run_of(None, optim={"lr": 1e-4}, seed=0, extra="x")]
    assert differing_settings(runs) == [("extra", ["–", "x"]), ("optim.lr", ["0.001", "0.0001"])]
    assert flatten({"a": {"b": {}}, "c": [1]}) == {"a.b": "{}", "c": "[1]"}
    odd = record_of("x", "x", {"config": "odd"}, [])
    assert differing_settings([run_of(None), odd]) == []
