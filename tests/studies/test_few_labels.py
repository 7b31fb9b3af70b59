"""The study of few labels: fair, resumed, and its page says what its rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from frazil.cli import cli
from frazil.errors import OptionError
from frazil.metrics import student_interval
from frazil.recipes import find_recipe
from frazil.studies.few_labels import (
    run_few_labels,
    study_methods,
    trials,
)
from frazil.studies.few_labels_table import CEILING, CONTROLS, by_draw, pseudo_curves, summarise_few_labels
from tests.learn.data.test_labels import patch_set

TINY = {
    "model.architecture": "adhoc",
    "model.settings": '{"widths":[4],"hidden":[]}',
    "optim.epochs": "1",
    "optim.batch": "20",
    "strategy.labelled": "8",
    "strategy.first_steps": "2",
    "strategy.propagation.k": "5",
}
METHODS = {name: find_recipe(f"few_labels:{name}") for name in ("supervised", "tslp", "fixmatch")}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return patch_set(tmp_path_factory.mktemp("set") / "toy.zarr", n=160, scenes=8)


def test_all_methods_of_a_draw_get_the_same_labels_and_scenes(store: Path) -> None:
    todo = trials(METHODS, patches=(str(store),), labels=[8, 16], draws=2, seeds=2, changes=TINY)
    assert len(todo) == 2 * 2 * (3 * 2 + len(CONTROLS))
    assert len({t.slug for t in todo}) == len(todo)
    for t in todo:
        assert t.config.labels.count in (8, 16)
        assert (t.config.data.split_seed, t.config.data.patches) == (0, (str(store),))  # type: ignore[union-attr]
    one = trials(METHODS, patches=("a",), labels=[8], draws=1, seeds=1, changes={"tslp:optim.lr": "0.5"})
    assert [t.config.optim.lr == 0.5 for t in one] == [t.method == "tslp" for t in one]
    steps = trials(METHODS, patches=("a",), labels=[8], draws=1, seeds=1, changes=TINY | {"tslp:optim.steps": "70"})
    assert {t.method for t in steps if t.config.optim.epochs is None} == {"tslp"}
    more = study_methods(METHODS)
    assert more["tslp at equal rates"].strategy.equal_rates  # type: ignore[union-attr]
    assert more["supervised for long"].optim.steps == 25_000  # 200 epochs of 10 000 patches, 80 a step


def test_a_study_goes_on_and_its_page_says_what_its_rows_say(store: Path, tmp_path: Path) -> None:
    words = ["study", "few-labels", "--data", str(store), "-o", str(tmp_path), "--labels", "8,16", "--draws", "2"]
    words += ["--methods", "supervised,tslp", "--seeds", "1"]
    words += [w for k, v in TINY.items() for w in ("--set", f"{k}={v}")]
    page = ["--page", str(tmp_path / "page.md")]
    done = CliRunner().invoke(cli, [*words, *page], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    file = tmp_path / "few-labels.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 2 * 2 * (2 + len(CONTROLS))
    rows = [row for line in lines for row in json.loads(line)["rows"]]
    older = json.loads(lines[3])
    del older["depends_on"]["config"]["peers"]  # made before there was such a setting
    older["digest"] = "another"
    lines[3] = json.dumps(older) + "\n"
    file.write_text("".join(lines[1:-1]) + lines[-1][:30])  # one is gone, one was cut off by a kill
    again = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    after = file.read_text().splitlines(keepends=True)
    assert after[:-2] == lines[1:-1]
    assert {json.loads(line)["case"] for line in after} == {json.loads(line)["case"] for line in lines}
    other = CliRunner().invoke(cli, [*words, "--set", "optim.lr=0.123"])
    assert isinstance(other.exception, OptionError)
    assert "was made with config.optim.lr=" in str(other.exception)
    key = lambda r: (r["method"], r["config"]["labels"]["count"], r["config"]["labels"]["seed"])  # noqa: E731
    before = {key(r): r["test"] for r in rows}
    for row in json.loads(again.output):
        assert row["test"] == before[key(row)]
        assert "confusion" in row["test"]
    table = summarise_few_labels(rows)
    text = (tmp_path / "page.md").read_text()
    mine = "# Mine\n" + text.partition("\n")[2] + "\n## What it shows\n\nNothing yet.\n"
    (tmp_path / "page.md").write_text(mine)
    CliRunner().invoke(cli, [*words, *page, "--overwrite"], catch_exceptions=False)
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("# Mine\n")
    assert text.count("## What it shows") == 1
    assert text.index("## Before") < text.index("Nothing yet.") < text.index("## Accuracy on held-out")
    line = next(t for t in table if t.method == "tslp" and t.labels == 16)
    assert f"{line.accuracy:.1f} ± {line.interval:.1f}" in text
    assert "70.35" not in text  # 60 labels were not studied
    assert "39.60" not in text
    assert (tmp_path / "page.png").stat().st_size > 5000
    assert str(store) not in json.dumps([r["config"] for r in rows])
    tslp = next(r for r in rows if r["method"] == "tslp")
    assert {"pseudo_accuracy", "pseudo_coverage", "refresh_seconds"} <= set(tslp["curve"][0])
    refused = CliRunner().invoke(cli, [*words, "--methods", "magic"])
    assert "'magic' is not one of" in refused.output


def test_the_ceiling_has_all_labels_and_seeds_are_its_draws(store: Path, tmp_path: Path) -> None:
    known = study_methods(METHODS)
    todo = trials({CEILING: known[CEILING]}, patches=(str(store),), labels=[8], draws=2, seeds=2, changes=TINY)
    mine = [t for t in todo if t.method == CEILING]
    assert [t.config.seed for t in mine] == [0, 1, 2, 3]
    assert {t.config.labels.count for t in mine} == {None}
    student = known["tslp"].optim
    assert (known[CEILING].optim.lr, known[CEILING].optim.epochs) == (student.lr, student.epochs)
    rows = run_few_labels(mine[:2], tmp_path)
    (line,) = summarise_few_labels(rows)
    with_labels = sum(rows[0]["test"]["confusion"][i][j] for i in range(2) for j in range(2))
    assert line.labels + with_labels < 160, "patches of the test and of the validation scenes are not learnt from"
    assert line.labels > 80
    assert line.draws == 2
    assert line.interval > 0 or rows[0]["test"]["accuracy"] == rows[1]["test"]["accuracy"]
    assert line.training_seconds >= 0


def test_curves_of_pseudo_labels_are_of_runs_that_know_the_truth() -> None:
    def row(method: str, *shares: float) -> Any:
        curve = [{"step": i, "pseudo_accuracy": share} for i, share in enumerate(shares)]
        return {"method": method, "config": {"labels": {"count": 8, "seed": 0}}, "curve": curve}

    rows = [row("lp", 0.5, 0.75), row("lp", 0.25), row("lp"), row("tslp", 1.0)]
    np.testing.assert_array_equal(pseudo_curves(rows, "lp", 8), [[50, 75], [25, np.nan]])
    assert pseudo_curves(rows, "lp", 16).size == 0


def test_controls_find_what_the_pixels_tell(store: Path, tmp_path: Path) -> None:
    todo = [t for t in trials({}, patches=(str(store),), labels=[16], draws=1, changes={}) if t.method in CONTROLS]
    rows = run_few_labels(todo, tmp_path)
    for row in rows:
        assert (row["test"]["accuracy"] or 0) > 0.9, row["method"]
        assert (row["pool"] or 0) > 0.9


def test_differences_are_taken_in_pairs() -> None:
    def row(method: str, draw: int, seed: int, accuracy: float) -> Any:
        labels = {"count": 8, "seed": draw}
        test: dict[str, Any] = {"accuracy": accuracy, "macro_f1": accuracy, "balanced_accuracy": accuracy, "ece": None}
        test |= {"precision": [accuracy, None], "recall": [accuracy, 1.0], "f1": [accuracy, None]}
        return {
            "method": method,
            "config": {"labels": labels, "seed": seed},
            "test": test,
            "pool": None,
            "curve": [],
            "seconds": 1.0,
        }

    rng = np.random.default_rng(0)
    ease = rng.uniform(0.4, 0.9, 5)  # draws differ far more than methods do
    rows = [row("supervised", d, s, ease[d] + 0.01 * s) for d in range(5) for s in range(2)]
    rows += [row("lp", d, s, ease[d] + 0.02 + 0.01 * s) for d in range(4) for s in range(2)]
    line = next(t for t in summarise_few_labels(rows) if t.method == "lp")
    assert line.difference == pytest.approx(2.0)
    assert line.difference_interval == pytest.approx(0.0, abs=1e-9)
    assert line.interval > 5
    assert line.draws == 4
    assert line.recall == pytest.approx((line.accuracy, 100.0))
    assert line.precision[0] == pytest.approx(line.accuracy)
    assert np.isnan(line.precision[1]), "no run names that class"
    assert by_draw(rows, "lp", 8)[2] == pytest.approx(100 * (ease[2] + 0.025))
    assert np.isnan(student_interval(np.array([1.0])))
    assert student_interval(np.array([1.0, 3.0])) == pytest.approx(12.7062, rel=1e-4)
