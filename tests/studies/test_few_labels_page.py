"""The page of the study of few labels: its tables are its numbers, gaps are gaps, and the picture shows them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frazil.errors import FrazilError
from frazil.studies.few_labels_page import PUBLISHED, write_few_labels_page
from frazil.studies.few_labels_table import MethodLine

NAN = math.nan


def row(**changes: Any) -> dict[str, Any]:
    strategy = {"first_epochs": 100.0, "first_steps": 300, "propagation": {"k": 50}}
    made: dict[str, Any] = {
        "method": "tslp",
        "config": {
            "labels": {"count": 15, "seed": 0},
            "seed": 0,
            "data": {"size": 20},
            "strategy": strategy,
            "optim": {"epochs": 8.0},
        },
        "curve": [],
        "parameters": 12506,
        "test": {"classes": ["open_water", "sea_ice"]},
        "commit": "abc1234",
        "patches": {"test": 1234},
        "scenes": {"train": 22, "test": 7},
        "threads": 1,
        "versions": {"torch": "2.1.0"},
    }
    return made | changes


def line(method: str, labels: int, accuracy: float, **changes: Any) -> MethodLine:
    made: dict[str, Any] = {
        "method": method,
        "labels": labels,
        "draws": 5,
        "accuracy": accuracy,
        "interval": 1.25,
        "difference": accuracy - 60,
        "difference_interval": 0.75,
        "macro_f1": accuracy - 1,
        "pool": accuracy - 2,
        "pseudo_accuracy": NAN,
        "ece": 12.345,
        "seconds": 90.0,
        "training_seconds": 75.4,
        "precision": (accuracy - 3, NAN),
        "recall": (accuracy - 4, accuracy + 4),
        "f1": (accuracy - 5, accuracy + 5),
        "runs": 5,
        "balanced_accuracy": accuracy,
    }
    return MethodLine(**made | changes)


TABLE = [
    line("supervised", 15, 60.0, difference=NAN, difference_interval=NAN),
    line("tslp", 15, 71.5, pseudo_accuracy=80.26),
    line("supervised", 100, 80.0, difference=NAN),
    line("tslp", 100, 78.25, draws=3, interval=NAN, difference=-1.75, difference_interval=NAN),
    line("raw propagation", 100, 40.0),
]


def write(path: Path, table: list[MethodLine] = TABLE, rows: list[Any] | None = None, **how: Any) -> str:
    given: dict[str, Any] = {"command": "frazil study few-labels a.zarr", "simulated": False} | how
    return write_few_labels_page(rows or [row()], table, path, **given).read_text(encoding="utf-8")


def tables(text: str) -> dict[str, dict[str, list[str]]]:
    """Heading -> first cell -> the other cells, read as Markdown tables are."""
    out: dict[str, dict[str, list[str]]] = {}
    heading = ""
    for each in text.splitlines():
        if each.startswith("## "):
            heading = each.removeprefix("## ")
        elif each.startswith("| "):
            first, *cells = [c.strip() for c in each.strip("|").split("|")]
            out.setdefault(heading, {})[first] = cells
    return out


def test_each_number_stands_in_its_place(tmp_path: Path) -> None:
    found = tables(write(tmp_path / "page.md"))
    accuracy = found["Accuracy on held-out scenes, %"]
    assert accuracy == {
        "labels": ["15", "100"],
        "supervised": ["60.0 ± 1.2", "80.0 ± 1.2"],
        "tslp": ["71.5 ± 1.2", "78.2"],
        "raw propagation": ["", "40.0 ± 1.2"],
    }
    against = found["Against labels alone, points of accuracy"]
    assert against["supervised"] == ["", ""], "nothing is compared with itself"
    assert against["tslp"] == ["+11.5 ± 0.8", "-1.8"]
    assert found["Macro-F1 on held-out scenes, %"]["tslp"] == ["70.5", "77.2"]
    assert found["Accuracy on the pool itself, and of the last pseudo-labels, %"]["tslp"] == ["69.5 / 80.3", "76.2 / –"]
    assert found["Expected calibration error, before any temperature"]["tslp"] == ["0.123", "0.123"]
    assert found["Seconds of training"]["tslp"] == ["75", "75"]


def test_classes_stand_beside_their_mean_as_in_table_iv(tmp_path: Path) -> None:
    found = tables(write(tmp_path / "page.md"))["Precision / recall / F1 of each class, %"]
    assert found["15 labels"] == ["open_water", "sea_ice", "macro"]
    # One table follows the other: what stands under a method is the last, of 100 labels.
    assert found["tslp"] == ["75.2 / 74.2 / 73.2", "– / 82.2 / 83.2", "– / 78.2 / 77.2"]


def test_the_ceiling_is_a_column_of_its_own_and_a_line(tmp_path: Path) -> None:
    table = [*TABLE, line("all labels", 3000, 92.5, difference=NAN)]
    text = write(tmp_path / "page.md", table)
    found = tables(text)
    assert found["Accuracy on held-out scenes, %"]["labels"] == ["15", "100", "all 3000"]
    assert found["Accuracy on held-out scenes, %"]["all labels"] == ["", "", "92.5 ± 1.2"]
    assert found["Published, other data"]["all labels"] == ["", "", "91.57"]
    assert "15 and 100 labels, and all 3000 once; 5 draws" in text


def test_pseudo_labels_get_a_picture_where_their_truth_is_known(tmp_path: Path) -> None:
    notes = [{"step": 300 + i, "pseudo_accuracy": 0.7 + 0.02 * i} for i in range(5)]
    text = write(tmp_path / "page.md", rows=[row(curve=notes), row(curve=notes[:1])])
    assert "![Pseudo-labels that are right](page-pseudo.png)" in text
    picture = np.asarray(Image.open(tmp_path / "page-pseudo.png").convert("RGB"))
    assert (picture == np.array((0x0B, 0x5F, 0xA5))).all(-1).sum() > 20
    with pytest.raises(FrazilError):
        write(tmp_path / "page.md", rows=[row(curve=notes)])
    sure = row(curve=notes, config={**row()["config"], "strategy": {"name": "noisy_student"}})
    assert "Pseudo-labels, propagation" not in write(tmp_path / "other.md", rows=[sure]), "it propagates nothing"


def test_the_size_stands_before_everything(tmp_path: Path) -> None:
    text = write(tmp_path / "page.md", rows=[row(), row(parameters=3_120_770)])
    size = text.index("**How big this is**")
    assert text.startswith("# ")
    assert size < text.index("\n## ")
    for part in (
        "12,506 to 3,120,770 parameters",
        "20 × 20 pixels",
        "300 steps on the labels and 8 epochs",
        "22 scenes",
    ):
        assert part in text[size : text.index("\n## ")], part
    (tmp_path / "page.md").write_text(text.replace("## Before", "## The data\n\nReal slicks.\n\n## Before"))
    again = write(tmp_path / "page.md", overwrite=True)
    assert again.index("**How big") < again.index("Real slicks.") < again.index("## Before"), "what is written stays"


def test_every_table_has_a_cell_for_each_number_of_labels(tmp_path: Path) -> None:
    for heading, rows in tables(write(tmp_path / "page.md")).items():
        if heading.startswith("Precision"):
            continue
        assert {len(cells) for cells in rows.values()} == {2}, heading
        assert rows["labels"] == ["15", "100"]


def test_published_numbers_are_those_of_the_paper_at_these_counts(tmp_path: Path) -> None:
    """Table III at 15 and 100 labels; a dash of the paper is a gap here."""
    found = tables(write(tmp_path / "page.md"))["Published, other data"]
    assert found["supervised"] == ["39.60", "88.72"]
    assert found["tslp"] == ["88.03", "91.21"]
    assert found["mixmatch"] == ["", "85.88"]
    assert all(0 < v <= 100 for known in PUBLISHED.values() for v in known.values())


def test_caveats_come_before_numbers(tmp_path: Path) -> None:
    text = write(tmp_path / "page.md")
    before = text.index("## Before you read the numbers")
    assert before < text.index("| labels |")
    assert "1234 patches of 7 scenes" in text
    assert "5 draws (100 labels: 3 for some)" in text
    assert "abc1234" in text
    assert "1 thread a run" in text
    assert "simulated" not in text[:before]
    assert "simulated" in write(tmp_path / "other.md", simulated=True)
    many = write(tmp_path / "many.md", rows=[row(threads=2), row(commit="def5678"), row()])
    assert "abc1234, def5678, " in many, "each commit once"
    assert "2 threads a run" in many


def test_a_single_draw_has_no_plural(tmp_path: Path) -> None:
    one = [line("supervised", 15, 60.0, draws=1, interval=NAN)]
    assert "over 1 draw of labels" in write(tmp_path / "page.md", one)


def test_the_picture_lies_beside_the_page_and_shows_something(tmp_path: Path) -> None:
    text = write(tmp_path / "page.md")
    name = text.partition("![Accuracy by number of labels](")[2].partition(")")[0]
    picture = np.asarray(Image.open(tmp_path / name).convert("RGB"))
    for colour in ((0x55, 0x55, 0x55), (0x0B, 0x5F, 0xA5), (0xD1, 0x73, 0x0F)):
        assert (picture == np.array(colour)).all(-1).sum() > 20, "a colour a method"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["page.md", name])


def test_a_page_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("mine")
    with pytest.raises(FrazilError):
        write(tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["page.md"]
