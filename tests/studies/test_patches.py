"""Studies: what judges was never learnt, interrupted studies go on, and the page says what the rows say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frazil.errors import OptionError, OutputExistsError
from frazil.labels.patch_set import open_patches, patch_statistics
from frazil.learn.config import OptimConfig, PatchData
from frazil.learn.data.patches import read_patches
from frazil.learn.run import train
from frazil.studies.data import TEST, TRAIN, VALIDATION, simulated_patches, simulated_split
from frazil.studies.edge import dense_or_patchwise, run_edge
from frazil.studies.page import write_study_page
from frazil.studies.patches import Trial, run_study, scene_split, sides_of, studies, summarise
from tests.learn.test_run import tiny_run, toy_set

OPTIM = OptimConfig(optimiser="adam", epochs=1, batch=16, lr=1e-3, warmup=2)
SMALL = (("widths", (4, 4)), ("hidden", (8,)))
CASES = (
    Trial(name="HH", channels=("hh",), settings=SMALL, size=16, scheme="five_classes", optim=OPTIM, seeds=2),
    Trial(
        name="all & more",
        settings=SMALL,
        size=20,
        scheme="five_classes",
        optim=OPTIM,
        seeds=2,
        published=98.5,
        augment=("flip", "rotate", "blur", "brightness_contrast", "speckle", "noise_floor"),
        curve=True,
    ),
)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("set") / "toy.zarr", size=20, scenes=8)


def test_sides_of_a_study(patches: Path) -> None:
    stores = (str(patches),)
    split, (some, _) = scene_split(stores), read_patches(stores)
    one, two = sides_of(some, split, 0), sides_of(some, split, 1)
    assert not set(one.scene.names) & set(one.train.names)
    assert set(one.patch.names) <= set(one.train.names)
    assert not set(one.patch.index) & set(one.train.index)
    assert len(one.train) == round(0.8 * (len(one.train) + len(one.patch)))
    np.testing.assert_array_equal(one.scene.index, two.scene.index)
    assert not np.array_equal(one.patch.index, two.patch.index)
    with pytest.raises(OptionError, match="too few scenes"):
        sides_of(some, replace(split, test=()), 0)


def test_a_study_goes_on_and_tells_the_same(patches: Path, tmp_path: Path) -> None:
    stores = (str(patches),)
    rows = run_study("toy", stores, tmp_path / "rows", cases=CASES)
    assert len(rows) == 4
    file = tmp_path / "rows" / "toy.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[1:3]) + '{"case": ')  # one is gone, one was cut off by a kill
    again = run_study("toy", stores, tmp_path / "rows", cases=CASES)
    for a, b in zip(rows, again, strict=True):
        assert a["patch"] == b["patch"]
        assert a["scene"] == b["scene"]
    assert file.read_text().splitlines(keepends=True)[:2] == lines[1:3]
    with pytest.raises(OptionError, match=r"hh-0 in .*toy.jsonl was made with case.size=16, and 12 is asked for"):
        run_study("toy", stores, tmp_path / "rows", cases=(replace(CASES[0], size=12), CASES[1]))
    with pytest.raises(OptionError, match="was made with split="):
        run_study("toy", stores, tmp_path / "rows", cases=CASES, split=replace(scene_split(stores), seed=9))
    more = run_study("toy", stores, tmp_path / "rows", cases=(replace(CASES[0], seeds=3), CASES[1]))
    assert len(more) == 5  # how many seeds there are is no setting of any row
    table = summarise(rows)
    accuracy = 100 * np.array([r["scene"]["accuracy"] for r in rows[:2]])
    assert table[0].scene.mean == pytest.approx(np.mean(accuracy))
    assert table[0].scene.interval == pytest.approx(12.706 * np.std(accuracy, ddof=1) / 2**0.5, rel=1e-3)
    assert len(rows[2]["curve"]) == 1
    assert rows[2]["curve"][0]["scene_nll"] == pytest.approx(rows[2]["scene"]["nll"], rel=1e-3)
    page = write_study_page("toy", rows, table, tmp_path / "toy.md", command="frazil study toy", simulated=True)
    text = page.read_text()
    assert "**simulated** scenes" in text
    assert text.index("How big this is: ") < text.index("## Before")
    assert "1 epoch of" in text
    assert f"| HH | {table[0].patch.mean:.2f} ± {table[0].patch.interval:.2f} |" in text
    assert "98.50" in text
    assert (tmp_path / "toy.png").stat().st_size > 5000
    with pytest.raises(OutputExistsError):
        write_study_page("toy", rows, table, tmp_path / "toy.md", command="", simulated=True)


def test_rows_of_before_a_setting_existed_are_taken(patches: Path, tmp_path: Path) -> None:
    stores, file = (str(patches),), tmp_path / "toy.jsonl"
    rows = run_study("toy", stores, tmp_path, cases=CASES[:1])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        del line["depends_on"]["case"]["optim"]["target"]
        line["digest"] = "of another version"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run_study("toy", stores, tmp_path, cases=CASES[:1]) == rows


@pytest.mark.slow  # test_runner holds that processes share cases, each made once
def test_processes_share_a_study(patches: Path, tmp_path: Path) -> None:
    cases = (replace(CASES[0], seeds=2),)
    seen: list[float] = []
    rows = run_study("toy", (str(patches),), tmp_path, cases=cases, workers=2, progress=lambda f, _: seen.append(f))
    assert [r["seed"] for r in rows] == [0, 1]
    assert seen[-1] == 1.0
    with pytest.raises(OptionError, match="There is no study 'toy'"):
        run_study("toy", (str(patches),), tmp_path)


def test_the_studies_are_those_of_the_paper() -> None:
    known = studies()
    assert set(known) == {"channels", "patch-size", "training", "over-fitting", "models", "classes"}
    assert [c.size for c in known["patch-size"]] == [10, 20, 32, 36, 46]
    assert all(c.seeds >= 5 for c in known["channels"] + known["patch-size"])
    assert len(TRAIN) >= 20
    assert len(TEST) >= 8
    assert len({*TRAIN, *VALIDATION, *TEST}) == len(TRAIN) + len(VALIDATION) + len(TEST)
    assert simulated_split().test[0] == f"simulated-{TEST[0]}"


@pytest.mark.slow
def test_simulated_patches_and_the_edge_study(tmp_path: Path) -> None:
    store = simulated_patches(
        tmp_path / "sim.zarr", seeds=(1, 2, 3), lines=(0, 128), limit=12, size=20, channels=("hh", "hv")
    )
    table = patch_statistics(open_patches(store))["count"]
    assert table.sizes["scene"] == 3
    assert int(table.max()) <= 12
    config = tiny_run(store, steps=4)
    assert isinstance(config.data, PatchData)
    config = replace(config, data=replace(config.data, channels=("hh", "hv"), allow_missing=True))
    model = train(config, tmp_path / "run")
    lines = (3000, 3128)
    rows = run_edge({"toy": tmp_path / "run" / "model"}, tmp_path / "edge", (77,), lines=lines, precision="float32")
    assert {r["reference"] for r in rows} == {"truth", "chart", "10 km"}
    assert all(r["iiee_km2"] == pytest.approx(r["over_km2"] + r["under_km2"], rel=1e-6) for r in rows)
    again: dict[str, Any] = {"lines": lines, "precision": "float32"}
    assert run_edge({"toy": tmp_path / "run" / "model"}, tmp_path / "edge", (77,), **again) == rows
    with pytest.raises(OptionError, match="scene-77 in .*edge.jsonl was made with precision="):
        run_edge({"toy": tmp_path / "run" / "model"}, tmp_path / "edge", (77,), lines=lines)  # bfloat16
    both = dense_or_patchwise(model, (77,), lines=lines, pixels=200, stride=8)
    assert 0 <= both["same_class"] <= 1
    assert both["patches"] > 20
