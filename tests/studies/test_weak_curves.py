"""Learning curves of the weak methods in the study of annotations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frazil.errors import OptionError
from frazil.labels.imagettes import save_imagettes
from frazil.learn.checkpoint import load_model
from frazil.simulate.imagettes import simulated_imagettes
from frazil.simulate.wave_mode import WaveModeConfig
from frazil.studies.phenomena import PhenomenaStudy, changed, run_study
from frazil.studies.phenomena_page import write_phenomena_page
from frazil.studies.phenomena_tables import Row, of_labels, of_masks, weak_curve_table

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = ["MASK, v = mean", "MASK, v = 0", "PART, 75 px", "PART, 75 px, dense", "CAM"]


@pytest.mark.slow
def test_a_study_with_curves_of_weak_methods(tmp_path: Path) -> None:
    sets = {}
    for name, seed in (("train", 0), ("validation", 500), ("test", 900)):
        made = simulated_imagettes({"sea_ice": 3, "low_wind_area": 3}, seed=seed, config=WaveModeConfig(side_m=8000))
        sets[name] = (str(save_imagettes(made, tmp_path / f"{name}.zarr")),)
    study = PhenomenaStudy(
        **sets,  # type: ignore[arg-type]
        seeds=1,
        steps=(2, 2, 2),
        batch=2,
        unet={"widths": (2, 3, 4, 5)},
        categoriser={"width": 0.05},
        numbers=(1, 3),
        weightings=("code",),
        tiles=(75,),
        mask_side=40,
        mask_stride=40,
    )
    before = run_study("annotations", study, tmp_path / "study")
    assert of_labels(before) == {}
    rows = run_study("annotations", replace(study, weak_numbers=(1, 2)), tmp_path / "study")
    assert of_masks(rows) == before  # trainings that were done are not done again
    curves = of_labels(rows)
    assert list(curves) == METHODS
    assert all([r["labelled"] for r in mine] == [1, 2] for mine in curves.values())
    for n in (1, 2):
        card = load_model(tmp_path / "study" / "annotations" / "models" / f"weak-{n}-0").card
        assert set(card.training["data"]["train"]["categories"].values()) == {0, n}
    for row in rows:  # networks of two steps know nothing: the law needs something above 0
        row["mean_tuned_dice"] = 0.3 + 0.01 * (row.get("a_category") or 0)
    page = write_phenomena_page("annotations", rows, tmp_path / "a.md", command="frazil x", simulated=True)
    words = page.read_text(encoding="utf-8")
    assert "InceptionV3 at 0.05 of its width: 2 steps of 2, behind MASK, PART and CAM" in words
    assert "| 2 | " in words.partition("labelled a category")[2]
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_table_of_curves_by_hand() -> None:
    def row(method: str, labelled: int, seed: int, dice: float, accuracy: float) -> Row:
        return {
            "case": f"{method}, {labelled} labelled",
            "method": method,
            "labelled": labelled,
            "seed": seed,
            "mean_tuned_dice": dice,
            "categoriser_accuracy": accuracy,
        }

    rows = [row("CAM", 3, 0, 0.1, 0.5), row("PART", 3, 0, 0.2, 0.5), row("CAM", 10, 0, 0.3, 0.8)]
    rows += [row("PART", 10, 0, 0.5, 0.8)]
    assert weak_curve_table(rows).splitlines()[2:] == [
        "| 3 | 50.0 | 10.0 | 20.0 | 1 |",
        "| 10 | 80.0 | 30.0 | 50.0 | 1 |",
    ]
    both = [*rows, row("CAM", 10, 1, 0.4, 0.9), row("PART", 10, 1, 0.7, 0.9)]
    half = 12.706 * np.std([30, 40], ddof=1) / np.sqrt(2)
    assert f"35.0 ± {half:.1f}" in weak_curve_table(both)
    assert weak_curve_table(both).splitlines()[3].endswith("| 2 |")


def test_numbers_are_set_on_the_command_line() -> None:
    assert changed(PhenomenaStudy(), {"weak_numbers": "[3,10]"}).weak_numbers == (3, 10)
    with pytest.raises(OptionError, match="1 image or more"):
        changed(PhenomenaStudy(), {"weak_numbers": "[0]"})
