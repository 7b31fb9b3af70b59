"""Figures of the metocean studies: intervals, the power law, tables; and that a study goes on where it stopped."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from frazil.errors import LabelError, OptionError
from frazil.labels.imagettes import coarser, save_imagettes
from frazil.learn.checkpoint import load_model
from frazil.simulate.imagettes import simulated_imagettes
from frazil.simulate.wave_mode import WaveModeConfig
from frazil.studies.phenomena import PhenomenaStudy, changed, run_study
from frazil.studies.phenomena_page import write_phenomena_page
from frazil.studies.phenomena_tables import (
    annotation_table,
    class_table,
    draw_annotations,
    interval,
    method_table,
    power_law,
    power_laws,
    resolution_table,
)


def test_interval_by_hand() -> None:
    mean, half = interval([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3)
    assert half == pytest.approx(4.303 * np.std([1, 2, 4], ddof=1) / math.sqrt(3), rel=1e-3)
    assert math.isnan(interval([1.0])[1])


def test_power_law_is_found_again() -> None:
    n = np.array([3, 10, 30, 100])
    a, b = power_law(n.tolist(), (1 - 0.9 * n**-0.2).tolist())
    assert (a, b) == pytest.approx((0.9, 0.2))
    with pytest.raises(OptionError):
        power_law([3, 3], [0.5, 0.6])
    with pytest.raises(OptionError):
        power_law([3, 4], [0.5, 1.0])


def test_a_small_study_from_end_to_end(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    small = WaveModeConfig(side_m=8000)
    sets = {}
    for name, seed in (("train", 0), ("validation", 500), ("test", 900)):
        made = simulated_imagettes({"sea_ice": 3, "low_wind_area": 3}, seed=seed, config=small)
        sets[name] = str(save_imagettes(made, tmp_path / f"{name}.zarr"))
        save_imagettes(coarser(made, 200), tmp_path / f"coarse-{name}.zarr")
    study = PhenomenaStudy(
        train=(sets["train"],),
        validation=(sets["validation"],),
        test=(sets["test"],),
        seeds=2,
        steps=(2, 2, 2),
        batch=2,
        unet={"widths": (2, 3, 4, 5)},
        im2px={"widths": (2, 3)},
        categoriser={"width": 0.05},
        numbers=(1, 3),
        weightings=("code",),
        tiles=(75,),
        mask_side=40,
        mask_stride=40,
        resolutions={
            100.0: (sets["train"], sets["test"]),
            200.0: (str(tmp_path / "coarse-train.zarr"), str(tmp_path / "coarse-test.zarr")),
        },
    )
    rows = run_study("weak-vs-full", study, tmp_path / "study")
    assert [r["case"] for r in rows[:7]] == [
        "U-Net, weights reversed",
        "IM2PX",
        "MASK, v = mean",
        "MASK, v = 0",
        "PART, 75 px",
        "PART, 75 px, dense",
        "CAM",
    ]
    assert len(rows) == 2 * 7
    file = tmp_path / "study" / "weak-vs-full.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[1:]))
    again = run_study("weak-vs-full", study, tmp_path / "study")
    assert file.read_text().splitlines(keepends=True)[:-1] == lines[1:]
    key = [(r["case"], r["seed"], r["mean_set_dice"], r["tuned_dice"]) for r in rows]
    assert json.dumps(key) == json.dumps([(r["case"], r["seed"], r["mean_set_dice"], r["tuned_dice"]) for r in again])
    table = method_table(rows)
    assert table.count("\n") == 2 + 7 - 1
    kept = load_model(tmp_path / "study/weak-vs-full/models/unet-code-0")
    assert kept.card.training["config"]["seed"] == 0
    with pytest.raises(
        OptionError, match=r"was made with settings.steps=\[2, 2, 2\], and \[3, 2, 2\] is asked for now"
    ):
        run_study("weak-vs-full", replace(study, steps=(3, 2, 2)), tmp_path / "study")
    assert "±" in table
    assert "low wind area" in class_table(rows)
    with pytest.raises(LabelError, match="stands in validation and test"):  # thresholds would be chosen on the judges
        run_study("weak-vs-full", replace(study, validation=study.test), tmp_path / "other")
    page = write_phenomena_page("weak-vs-full", rows, tmp_path / "a.md", command="frazil x", simulated=True)
    words = page.read_text(encoding="utf-8")
    assert "**Simulated**" in words
    assert "MASK with squares of 40 pixels every 40; PART with tiles of 75 pixels" in words
    assert "![Masks or labels of images: five methods](a.png)" in words
    page.write_text(words.replace("## Result", "## What it shows\n\nNothing.\n\n## Result"), encoding="utf-8")
    write_phenomena_page("weak-vs-full", rows, page, command="frazil y", simulated=True, overwrite=True)
    assert "\nNothing.\n" in page.read_text(encoding="utf-8")
    noted = run_study("annotations", study, tmp_path / "study")
    assert {r["annotated"] for r in noted} == {2, 6}
    for row in noted:  # networks of two steps know nothing: the law needs something above 0
        row["mean_tuned_dice"] = 0.2 + 0.1 * (row["a_category"] or 0) + 0.01 * row["seed"]
    text = annotation_table(noted)
    assert text.count("\n") == 3 + 2 + 2
    assert "| 30 | | not measured |" in text
    laws, said = power_laws(noted, [1, 30])
    assert laws.shape == said.shape == (2, 2)
    assert ((laws > 0) & (laws < 1)).all()
    np.testing.assert_allclose(said[:, 0], [0.3, 0.31])  # two numbers lie on their law
    draw_annotations(noted, tmp_path / "law.png", weak=0.3)
    page = write_phenomena_page("annotations", noted, tmp_path / "b.md", command="frazil x", simulated=False)
    assert "**Simulated**" not in page.read_text(encoding="utf-8")
    accuracy = run_study("resolution", study, tmp_path / "study")
    assert "| 100 | 80 |" in resolution_table(accuracy)
    assert {r["pixels"] for r in accuracy} == {80, 40}  # 40 pixels were mirrored to the 75 that the network needs
    assert all(r["texture_accuracy"] >= 0.5 for r in accuracy)
    page = write_phenomena_page("resolution", accuracy, tmp_path / "c.md", command="frazil x", simulated=True)
    assert "| 100 m |" in page.read_text(encoding="utf-8")
    assert "labels of all images of each category" in page.read_text(encoding="utf-8")
    assert not [p for p in (tmp_path / "study").iterdir() if p.name.startswith(".")]
    with pytest.raises(OptionError, match="no metocean study"):
        run_study("magic", study, tmp_path / "study")


def test_settings_of_a_study_from_the_command_line() -> None:
    study = changed(PhenomenaStudy(), {"steps": "[3, 2, 1]", "precision": "bfloat16", "unet": '{"widths": [2, 3]}'})
    assert (study.steps, study.precision, study.unet) == ((3, 2, 1), "bfloat16", {"widths": [2, 3]})
    assert study.tiles == PhenomenaStudy().tiles
    for wrong in ({"step": "3"}, {"train": "x"}, {"seeds": "0"}, {"precision": "float16"}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            changed(PhenomenaStudy(), wrong)
