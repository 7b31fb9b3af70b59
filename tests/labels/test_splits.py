"""Splits: disjoint, even, repeatable, and refused where they would say nothing."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.conventions import FIVE_CLASSES
from frazil.errors import LabelError, LabelNotFoundError, OptionError, OutputExistsError
from frazil.labels.patch_set import make_patches
from frazil.labels.splits import SIDES, Split, describe, split_patches


def patch_set(
    counts: list[list[int]], *, places: Any = None, times: Any = None, order: int | None = None
) -> xr.Dataset:
    """Patches of one pixel: row i holds how many of each class scene i has."""
    scene = np.concatenate([np.repeat(f"S{i:02d}", sum(row)) for i, row in enumerate(counts)])
    label = np.concatenate([np.repeat(np.arange(len(row)), row) for row in counts])
    shuffle = np.arange(scene.size) if order is None else np.random.default_rng(order).permutation(scene.size)
    index = np.array([int(s[1:]) for s in scene], int)
    extra = {}
    if places is not None:
        extra = dict(zip(("longitude", "latitude"), np.array(places, float)[index][shuffle].T, strict=True))
    time = None if times is None else np.array(times, "M8[ns]")[index][shuffle]
    return make_patches(
        np.zeros((scene.size, 1, 1, 1)),
        label[shuffle],
        channels=("hh",),
        units=("dB",),
        scheme=FIVE_CLASSES,
        scene=scene[shuffle],
        time=time,
        **extra,
    )


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.lists(st.integers(1, 30), min_size=2, max_size=5), min_size=3, max_size=12),
    seed=st.integers(0, 99),
    order=st.integers(0, 9),
    validation=st.sampled_from([0.0, 0.2]),
)
def test_a_scene_is_on_one_side(counts: list[list[int]], seed: int, order: int, validation: float) -> None:
    counts = [row + [0] * (5 - len(row)) for row in counts]
    patches = patch_set(counts, order=order)
    split = split_patches(patches, test=0.3, validation=validation, seed=seed, allow_missing=True)
    scenes = {side: set(getattr(split, side)) for side in SIDES}
    assert scenes["train"]
    assert scenes["test"]
    assert bool(scenes["validation"]) == (validation > 0)
    assert set.union(*scenes.values()) == set(patches["scene"].values)
    parts = [split.select(patches, side) for side in SIDES]
    assert sum(p.sizes["patch"] for p in parts) == patches.sizes["patch"]
    for side, part in zip(SIDES, parts, strict=True):
        assert set(part["scene"].values) == scenes[side]
        assert split.counts(patches)[side] == {
            c.name: int((part["label"] == c.code).sum()) for c in FIVE_CLASSES.classes
        }
    again = split_patches(patches, test=0.3, validation=validation, seed=seed, allow_missing=True)
    assert again == split
    assert hash(again) == hash(split)


def test_classes_are_as_even_as_scenes_allow() -> None:
    patches = patch_set([[50, 0, 5, 0, 0], [0, 0, 5, 0, 50], [50, 0, 5, 0, 50], [50, 0, 0, 0, 0], [0, 0, 5, 0, 50]] * 3)
    for seed in range(5):
        split = split_patches(patches, test=0.3, validation=0.2, seed=seed)
        counts = split.counts(patches)
        for name in ("open_water", "young_ice", "deformed_ice"):
            total = sum(counts[side][name] for side in SIDES)
            assert counts["test"][name] / total == pytest.approx(0.3, abs=0.15)
            assert counts["validation"][name] / total == pytest.approx(0.2, abs=0.15)
    assert len({split_patches(patches, seed=s).test for s in range(8)}) > 1


def test_one_scene_is_refused() -> None:
    with pytest.raises(LabelError, match="All patches are of one scene.*Add scenes of other days.*would leak"):
        split_patches(patch_set([[10, 0, 10, 0, 0]]))
    with pytest.raises(LabelError, match="2 scenes lie in 2 scenes .S00, S01.; 3 sides need at least 3. Add scenes"):
        split_patches(patch_set([[9, 9], [9, 9]]), validation=0.2)


def test_a_class_on_one_side_only_is_refused() -> None:
    patches = patch_set([[10, 0, 10, 0, 0], [10, 0, 0, 0, 0], [10, 0, 0, 0, 0]])
    with pytest.raises(LabelError, match="Class young_ice is missing on the test side in every split by scene"):
        split_patches(patches)
    split = split_patches(patches, allow_missing=True)
    assert sum(bool(split.counts(patches)[side]["young_ice"]) for side in SIDES) == 1


def test_only_by_patch_leaks() -> None:
    patches = patch_set([[100, 100, 0, 0, 0]])
    split = split_patches(patches, by="patch", test=0.2, validation=0.1)
    assert split.leaks
    side = split.side_of(patches)
    assert np.bincount(side).tolist() == [140, 20, 40]
    assert describe(split, patches)["leaks"] is True
    with pytest.raises(OptionError, match="leaks must be True for a split by patch"):
        Split(by="patch", train=("S00",))
    with pytest.raises(OptionError, match="leaks must be False"):
        Split(by="scene", train=("S00",), leaks=True)
    assert not split_patches(patch_set([[5, 5]] * 4)).leaks


def test_regions_keep_their_distance() -> None:
    places = [(10, 80), (15, 80.2), (-20, 78), (179.5, 72), (-179.5, 72), (-21, 78.3), (0, 89.9), (180, 89.9)]
    patches = patch_set([[5, 5]] * 8, places=places, order=1)
    split = split_patches(patches, by="region", test=0.3)
    group = dict(split.groups)
    assert group["S00"] == group["S01"]
    assert group["S02"] == group["S05"]
    assert group["S03"] == group["S04"]  # across the antimeridian
    assert group["S06"] == group["S07"]  # across the pole
    assert len(set(group.values())) == 4
    sides = [{group[s] for s in getattr(split, side)} for side in SIDES]
    assert not sides[0] & sides[2]
    assert "72.0N 180.0" in group["S03"]
    with pytest.raises(LabelError, match=r"8 scenes lie in 1 region .*make region_km smaller than 20000"):
        split_patches(patches, by="region", region_km=20000)
    with pytest.raises(LabelError, match="have no longitude and latitude.*groups="):
        split_patches(patch_set([[5, 5]] * 3), by="region")
    named = split_patches(patches, by="region", groups={f"S{i:02d}": "AB"[i % 2] for i in range(8)}, test=0.5)
    assert {len(named.train), len(named.test)} == {4}
    with pytest.raises(OptionError, match="groups says nothing about scene S01"):
        split_patches(patches, by="region", groups={"S00": "A"})


def test_seasons_stay_together() -> None:
    times = ["2020-01-05", "2021-12-24", "2020-07-01", "2021-07-20", "2020-04-01"]
    patches = patch_set([[5, 5]] * 5, times=times, order=2)
    split = split_patches(patches, by="season", test=0.3)
    assert dict(split.groups) == {"S00": "DJF", "S01": "DJF", "S02": "JJA", "S03": "JJA", "S04": "MAM"}
    for side in (split.train, split.test):
        assert ("S00" in side) == ("S01" in side)
        assert ("S02" in side) == ("S03" in side)
    with pytest.raises(LabelError, match="2 scenes lie in 1 season .DJF.*another season, or split by scene"):
        split_patches(patch_set([[5, 5]] * 2, times=times[:2]), by="season")
    with pytest.raises(LabelError, match="have no time"):
        split_patches(patch_set([[5, 5]] * 2), by="season")


@given(data=st.data())
def test_json_there_and_back(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    names = data.draw(st.lists(st.text("Sé_-.0", min_size=1, max_size=8), unique=True, min_size=2, max_size=8))
    cut = data.draw(st.integers(1, len(names) - 1))
    split = Split(
        by="region",
        train=tuple(names[:cut]),
        test=tuple(names[cut:]),
        shares=(0.0, 0.25),
        seed=3,
        groups=tuple((n, "here") for n in names),
    )
    path = tmp_path_factory.mktemp("split") / "split.json"
    assert Split.load(split.save(path)) == split


def test_files_that_are_no_split(tmp_path: Path) -> None:
    with pytest.raises(LabelNotFoundError, match="No split at"):
        Split.load(tmp_path / "none.json")
    good = Split(by="scene", train=("a",), test=("b",))
    path = good.save(tmp_path / "s.json")
    with pytest.raises(OutputExistsError):
        good.save(path)
    with pytest.raises(FrozenInstanceError):
        good.seed = 2  # type: ignore[misc]
    for text, words in (
        ("{", "is not a split"),
        ("[]", "should hold the keys"),
        ('{"by": "scene"}', "should hold the keys"),
        (json.dumps({"by": "scene", "train": ["a"], "more": 1}), "should hold the keys"),
        (json.dumps({"by": "scene", "train": 3}), "is not a split"),
    ):
        path.write_text(text)
        with pytest.raises(LabelError, match=words):
            Split.load(path)
    for values, words in (
        ({"by": "moon", "train": ["a"]}, "'moon' is not one of"),
        ({"by": "scene", "train": ["a"], "test": ["a"]}, "Scene a stands on two sides"),
    ):
        path.write_text(json.dumps(values))
        with pytest.raises(OptionError, match=words):
            Split.load(path)


def test_strange_scenes_and_shares() -> None:
    split = Split(by="scene", train=("S00",), test=("S01",))
    with pytest.raises(LabelError, match="Scene S02 is not in the split, which knows 2 scenes"):
        split.side_of(patch_set([[1, 1]] * 3))
    with pytest.raises(OptionError, match="'tset' is not one of"):
        split.select(patch_set([[1, 1]] * 2), "tset")
    impossible: list[dict[str, Any]] = [{"test": 0.0}, {"test": 1.0}, {"test": 0.6, "validation": 0.5}, {"test": -0.1}]
    for shares in impossible:
        with pytest.raises(OptionError, match="must be shares"):
            split_patches(patch_set([[1, 1]] * 3), **shares)
    with pytest.raises(OptionError, match="'moon' is not one of"):
        split_patches(patch_set([[1, 1]] * 3), by="moon")  # type: ignore[arg-type]
