"""What is read of a run: equal to what the run wrote, whatever has become of it since."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frazil.errors import OptionError
from frazil.labels.patch_set import open_patches
from frazil.learn.checkpoint import load_model
from frazil.learn.config import PatchData, RunConfig
from frazil.learn.data.patches import read_patches
from frazil.learn.run import train
from frazil.reports.gather import read_record
from tests.learn.test_run import tiny_run, toy_set


def hasty(*stores: Path, **data: object) -> RunConfig:
    """A run of few steps on patches of few scenes, so that some mistakes are left."""
    config = tiny_run(stores[0], steps=6, batch=8)
    return replace(config, data=PatchData(patches=tuple(map(str, stores)), augment=(), **data))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two sets of three classes and four scenes each; the scenes of the second have the same names."""
    folder = tmp_path_factory.mktemp("sets")
    return toy_set(folder / "a.zarr", n=90, scenes=5, classes=3), toy_set(folder / "b.zarr", n=60, scenes=5, seed=4)


@pytest.fixture(scope="module")
def run(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(hasty(*stores, allow_missing=True), folder)
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


def test_findings_are_what_the_run_wrote(run: Path) -> None:
    found = read_record(run)
    written = json.loads((run / "evaluation.json").read_text())
    assert found.finished
    assert (found.name, found.unit, found.steps, found.planned) == ("tiny", "patches", 6, 6)
    assert found.scheme is not None
    assert found.scheme.name == "five_classes"
    assert set(found.scores) == {"validation", "test"}
    for side, scores in found.class_scores.items():
        assert scores.counts.tolist() == written[side]["confusion"]
        assert scores.ece == written[side]["ece"]
        assert sum(scores.scene_counts.values()).tolist() == written[side]["confusion"]  # type: ignore[union-attr]
    assert found.judged == "test"
    assert found.seconds is not None


def test_mistakes_are_those_of_the_model_and_lead_back_to_their_place(run: Path, stores: tuple[Path, Path]) -> None:
    found = read_record(run, worst=1000)
    assert found.mistakes is not None
    counts = found.class_scores["test"].counts
    wrong = int(counts.sum() - np.trace(counts))
    assert (found.mistakes.side, found.mistakes.judged) == ("test", int(counts.sum()))
    assert found.mistakes.wrong == len(found.mistakes.worst) == wrong > 3
    confidence = [m.confidence for m in found.mistakes.worst]
    assert confidence == sorted(confidence, reverse=True)
    off = np.zeros_like(counts)
    for m in found.mistakes.worst:
        off[m.truth, m.said] += 1
        assert m.picture.shape == (32, 32, 3)
        assert m.picture.dtype == np.uint8
        assert m.truth != m.said
    np.testing.assert_array_equal(off, counts - np.diag(np.diag(counts)))
    few = read_record(run, worst=2).mistakes
    assert few is not None
    assert [m.confidence for m in few.worst] == confidence[:2]


def test_line_pixel_and_picture_are_of_the_same_patch(tmp_path: Path) -> None:
    """Each patch carries its number as line and pixel, and as its own brightness."""
    made = []
    for k, name in enumerate("ab"):
        store = toy_set(tmp_path / f"{name}.zarr", n=60, scenes=5, seed=k)
        patches = open_patches(store).load()
        mark = np.arange(60, dtype=np.float64) + 100 * k
        patches["line"], patches["pixel"] = ("patch", mark), ("patch", 10 * mark)
        shutil.rmtree(store)
        from frazil.labels.patch_set import save_patches

        made.append(save_patches(patches, store))
    train(hasty(*made), tmp_path / "run")
    found = read_record(tmp_path / "run", worst=100)
    assert found.mistakes is not None
    whole, _ = read_patches(tuple(map(str, made)))
    logits = whole.logits(load_model(tmp_path / "run" / "model").network)
    for m in found.mistakes.worst:
        index = int(m.line) if m.line < 100 else int(m.line) - 100 + 60
        assert m.pixel == 10 * m.line
        assert (whole.label[index], whole.scene[index]) == (m.truth, m.scene)
        assert logits[:, index].argmax() == m.said


def test_a_killed_run_is_told_as_far_as_it_got(copy: Path) -> None:
    shutil.rmtree(copy / "model")
    (copy / "evaluation.json").unlink()
    with (copy / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "loss": 0.')
    found = read_record(copy)
    assert not found.finished
    assert (found.steps, found.planned, found.scores, found.mistakes) == (6, 6, {}, None)
    assert found.judged is None
    assert found.scheme is not None
    assert found.kept_step == 6
    (copy / "log.jsonl").unlink()
    assert read_record(copy).steps == 0


def test_scores_without_a_model_are_of_a_run_that_has_not_ended(copy: Path) -> None:
    shutil.rmtree(copy / "model")
    found = read_record(copy)
    assert not found.finished
    assert found.scores == {}


@pytest.mark.parametrize(("shares", "sides"), [({"validation": 0.0}, ["test"]), ({"test": 0.0}, ["validation"])])
def test_a_side_that_is_missing(
    shares: dict[str, float], sides: list[str], stores: tuple[Path, Path], tmp_path: Path
) -> None:
    train(hasty(*stores, allow_missing=True, **shares), tmp_path / "run")
    found = read_record(tmp_path / "run")
    assert list(found.scores) == sides
    assert found.mistakes is not None
    assert found.mistakes.side == sides[0]


def test_data_that_has_gone_or_changed_leaves_the_rest(tmp_path: Path) -> None:
    store = toy_set(tmp_path / "set.zarr", n=60, scenes=4)
    train(hasty(store), tmp_path / "run")
    shutil.rmtree(store)
    gone = read_record(tmp_path / "run")
    assert gone.mistakes is None
    assert "There is no patch set at" in gone.no_examples
    toy_set(store, n=60, scenes=4, seed=8)
    changed = read_record(tmp_path / "run")
    assert changed.mistakes is None
    assert changed.no_examples == "The patch set has changed since the run."
    assert gone.scores == changed.scores != {}


def test_nothing_is_computed_where_no_mistake_was_asked_for(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil.reports.examples.load_model", None)
    assert read_record(run, worst=0).mistakes is None


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("evaluation.json", "{", "is damaged"),
        ("evaluation.json", "[1]", "not a JSON object"),
        ("evaluation.json", '{"test": {"accuracy": "high"}}', "holds no scores"),
        ("model/card.json", "nonsense", "is damaged"),
        ("run.json", "[]", "No training run"),
    ],
)
def test_damaged_files_are_named(copy: Path, file: str, text: str, words: str) -> None:
    (copy / file).write_text(text)
    with pytest.raises(OptionError, match=words):
        read_record(copy)


@pytest.mark.parametrize("key", ["data", "optim", "model"])
def test_settings_that_are_no_settings(copy: Path, key: str) -> None:
    run = json.loads((copy / "run.json").read_text())
    run["config"][key] = "x"
    (copy / "run.json").write_text(json.dumps(run))
    with contextlib.suppress(OptionError):
        read_record(copy)


def test_scores_of_other_shape_or_classes_are_refused(copy: Path) -> None:
    path = copy / "evaluation.json"
    scores = json.loads(path.read_text())
    scores["test"]["confusion"] = [[1, 2], [3, 4]]
    path.write_text(json.dumps(scores))
    with pytest.raises(OptionError, match="confusion matrix is not of its 5 classes"):
        read_record(copy)
    scores = {"test": json.loads(json.dumps(scores["validation"]))}
    scores["test"]["classes"][1] = "slush"
    path.write_text(json.dumps(scores))
    with pytest.raises(OptionError, match="slush"):
        read_record(copy)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="No training run"):
        read_record(tmp_path)
    with pytest.raises(OptionError, match="worst is -1"):
        read_record(tmp_path, worst=-1)
