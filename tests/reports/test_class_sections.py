"""What pages say of a run, from numbers that can be counted by hand; and why a run has no examples to show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frazil.conventions import BINARY, METOCEAN
from frazil.learn.config import ModelConfig, PatchData, RunConfig
from frazil.recipes import find_recipe
from frazil.reports import class_sections, mask_sections
from frazil.reports.examples import examples_of
from frazil.reports.html import FIGURES
from frazil.reports.record import DataSide, Mistake, Mistakes, RunRecord
from frazil.reports.scores import Bins, ClassScores, MaskScores

TABLES: dict[str, tuple[tuple[int, ...], ...]] = {"a": ((30, 2), (1, 7)), "b": ((10, 8), (0, 42))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / FIGURES).mkdir()
    return tmp_path


def class_scores(tables: dict[str, tuple[tuple[int, ...], ...]] = TABLES) -> ClassScores:
    """Of two classes, counted anew."""
    counts = np.sum([np.array(t) for t in tables.values()], axis=0)
    precision = np.diag(counts) / np.maximum(counts.sum(0), 1)
    recall = np.diag(counts) / np.maximum(counts.sum(1), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return ClassScores(
        classes=BINARY.names,
        accuracy=float(np.trace(counts) / counts.sum()),
        balanced_accuracy=float(recall.mean()),
        macro_f1=float(f1.mean()),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        f1=tuple(f1.tolist()),
        ece=0.05,
        nll=0.3,
        accuracy_per_scene={n: float(np.trace(np.array(t)) / np.array(t).sum()) for n, t in tables.items()},
        confusion=tuple(tuple(int(v) for v in row) for row in counts),
        confusion_per_scene=tables,
        reliability=Bins(total=(40, 60), confidence=(16.0, 54.0), correct=(20, 69 - 20)),
        ece_before_temperature=0.1,
    )


def record(**changes: Any) -> RunRecord:
    made: dict[str, Any] = {
        "folder": "runs/a",
        "name": "a",
        "unit": "patches",
        "scheme": BINARY,
        "finished": True,
        "scores": {"test": class_scores()},
        "data": {
            "train": DataSide(scenes=("x", "y"), counts={BINARY.names[0]: 12_345, BINARY.names[1]: 0}),
            "test": DataSide(scenes=("a", "b"), counts=dict.fromkeys(BINARY.names, 50)),
        },
    }
    return RunRecord(**made | changes)


def described(run: RunRecord, n: int, folder: Path) -> Any:
    return class_sections.described(run, n, folder)


def described_masks(run: RunRecord, n: int, folder: Path) -> Any:
    return mask_sections.described(run, n, folder)


def test_the_worst_confusion_is_the_largest_off_the_diagonal(folder: Path) -> None:
    (side,) = described(record(), 1, folder)["sides"]
    worst = side["worst_confusion"]
    titles = [t.lower() for t in BINARY.titles]
    assert (worst["truth"], worst["said"]) == (titles[0], titles[1])
    assert (worst["count"], worst["of"], worst["share"]) == ("10", "50", "20 %")
    right: dict[str, tuple[tuple[int, ...], ...]] = {"a": ((5, 0), (0, 7))}
    (side,) = described(record(scores={"test": class_scores(right)}), 1, folder)["sides"]
    assert side["worst_confusion"] is None
    assert side["scores"]["accuracy"] == "100.00 %"


def test_numbers_of_a_side_are_those_of_its_tables(folder: Path) -> None:
    (side,) = described(record(), 3, folder)["sides"]
    assert (side["samples"], side["scenes"]) == ("100", 2)
    assert [c["true"] for c in side["classes"]] == ["50", "50"]
    assert [c["said"] for c in side["classes"]] == ["41", "59"]
    assert side["scores"]["accuracy"] == "89.00 %"
    assert side["classes"][0]["recall"] == "80.00 %"
    assert side["classes"][0]["precision"] == f"{100 * 40 / 41:.2f} %"
    assert (side["over"], side["over_confident"]) == ("1.0", True), "70 of 100 stated, 69 right"
    assert side["reliability"] == f"{FIGURES}/run-3-reliability.png"
    assert (folder / side["reliability"]).stat().st_size > 1000
    assert side["never"] == []
    assert [c["colour"] for c in side["classes"]] == ["#{:02x}{:02x}{:02x}".format(*c.colour) for c in BINARY.classes]


def test_classes_that_were_never_there_are_named(folder: Path) -> None:
    only: dict[str, tuple[tuple[int, ...], ...]] = {"a": ((5, 1), (0, 0))}
    made = described(record(scores={"test": class_scores(only)}), 1, folder)
    assert made["sides"][0]["never"] == [BINARY.titles[1].lower()]
    train, validation, test = made["data"]
    assert train["counts"] == ["12\u202f345", "0"]
    assert train["missing"] == [BINARY.titles[1]]
    assert validation["total"] == "0"
    assert (test["total"], test["missing"]) == ("100", [])


def test_the_test_side_comes_first_and_has_the_picture(folder: Path) -> None:
    both = record(scores={"validation": class_scores(), "test": class_scores()})
    first, second = described(both, 1, folder)["sides"]
    assert (first["side"], second["side"]) == ("test", "validation")
    assert first["reliability"]
    assert not second["reliability"]


@pytest.mark.parametrize("leaks", [False, True])
def test_a_scene_on_two_sides_is_a_leak(leaks: bool, folder: Path) -> None:
    """Told by the run, or seen in the names: of one product, however its files end."""
    fair = described(record(leaks=leaks), 1, folder)["split"]
    assert fair["leaks"] == leaks
    assert fair["shared"] == []
    name = "S1A_EW_GRDM_1SDH_20180116T075430_20180116T075530_020177_0226B9_9FE3"
    data = {"train": DataSide(scenes=(f"{name}.SAFE", "y")), "test": DataSide(scenes=(name,))}
    shared = described(record(data=data), 1, folder)["split"]
    assert shared["leaks"]
    assert len(shared["shared"]) == 1


def test_mistakes_are_shown_as_they_are(folder: Path) -> None:
    picture = np.full((8, 8, 3), 200, np.uint8)
    one = Mistake(picture=picture, truth=0, said=1, confidence=0.987, scene="<b>x", line=12.4, pixel=7.6)
    nowhere = replace(one, line=float("nan"))
    found = Mistakes(side="test", judged=1234, wrong=2, legend="HH", worst=(one, nowhere))
    made = described(record(mistakes=found), 2, folder)["mistakes"]
    assert (made["judged"], made["wrong"]) == ("1\u202f234", "2")
    first, second = made["shown"]
    assert first["confidence"] == "98.7 %"
    assert first["where"] == "line 12, pixel 8"
    assert second["where"] == "place not told"
    assert first["picture"] != second["picture"]
    assert all((folder / m["picture"]).is_file() for m in made["shown"])
    assert described(record(), 1, folder)["mistakes"] is None


def test_runs_side_by_side_say_whether_they_were_judged_alike(folder: Path) -> None:
    other: dict[str, tuple[tuple[int, ...], ...]] = {"c": ((9, 1), (2, 8))}
    runs = [record(), record(name="b", scores={"test": class_scores(other)}), record(name="c", scores={})]
    made: Any = class_sections.overview(runs, [1, 2, 3], folder)
    assert not made["same"]
    assert [row["judged"] for row in made["rows"]] == [
        "100 patches of 2 test scenes",
        "20 patches of 1 test scenes",
        "not judged",
    ]
    assert class_sections.overview(runs[:1] * 2, [1, 2], folder)["same"]
    assert made["curves"] is None, "nothing was logged"


def mask_scores(**changes: Any) -> MaskScores:
    n = len(METOCEAN.classes)
    confusion = np.diag(np.arange(1, n + 1))
    made: dict[str, Any] = {
        "classes": METOCEAN.names,
        "images": int(confusion.sum()),
        "accuracy": 0.75,
        "presence_accuracy": None,
        "f1_by_category": tuple([0.5] * n),
        "confusion": tuple(tuple(int(v) for v in row) for row in confusion),
        "set_dice": tuple([0.25] * (n - 1) + [None]),
        "mean_set_dice": 0.25,
        **{k: tuple([0.1] * n) for k in ("pixel_dice", "precision", "recall", "iou")},
    }
    return MaskScores(**made | changes)


def test_pages_of_masks_show_what_is_known_and_dashes_for_the_rest(folder: Path) -> None:
    run = record(scheme=METOCEAN, kind="multilabel", unit="images", scores={"test": mask_scores()})
    made = described_masks(run, 1, folder)
    (side,) = made["sides"]
    assert side["images"] == "55"
    assert side["masks"]
    assert [value for _, value in side["overall"]] == ["25.00 %", "75.00 %"], "what is not known is left out"
    assert side["classes"][0]["set_dice"] == "25.00 %"
    assert side["classes"][-1]["set_dice"] == "–"
    assert len(side["confusion"]) == len(METOCEAN.classes)
    rows = dict(made["data"]["rows"])
    assert rows["All"] == ["–", "–", "–"]
    none = dict.fromkeys(("set_dice", "pixel_dice", "precision", "recall", "iou"), ())
    run = replace(run, scores={"test": mask_scores(**none, mean_set_dice=None)})
    (side,) = described_masks(run, 1, folder)["sides"]
    assert not side["masks"]
    assert side["classes"][0]["set_dice"] == "–"


NO_RUN = RunConfig(name="a", data=PatchData(patches=("nowhere.zarr",)), model=ModelConfig(architecture="adhoc"))


@pytest.mark.parametrize(
    ("scores", "settings", "words"),
    [
        ({}, {}, "Nothing was held out"),
        ({"test": class_scores()}, {"name": "a", "colour": 3}, "another version of frazil"),
        ({"test": class_scores()}, find_recipe("scenes:unet").to_json(), "pixel by pixel"),
        ({"test": class_scores()}, NO_RUN.to_json(), "are not there any more"),
        ({"test": class_scores()}, find_recipe("metocean:unet").to_json(), "are not there any more"),
    ],
)
def test_why_there_are_no_examples_is_told_in_a_line(
    scores: dict[str, Any], settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """A report is written all the same."""
    found = examples_of(record(scores=scores), {"config": settings}, tmp_path)
    assert words in found.no_examples
    assert "\n" not in found.no_examples
    assert found.mistakes is None
    assert found.imagettes == ()
