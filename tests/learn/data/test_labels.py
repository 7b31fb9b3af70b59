"""Choosing labels: nested, even, by class, scene or polygon; what cannot be drawn is said in a line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from frazil.cli import cli
from frazil.conventions import FIVE_CLASSES
from frazil.errors import LabelError, OptionError, OutputExistsError
from frazil.labels.patch_set import make_patches, save_patches
from frazil.learn.config import (
    FixMatchConfig,
    LabelsConfig,
    ModelConfig,
    OptimConfig,
    PatchData,
    PropagationConfig,
    RunConfig,
    TeacherStudentConfig,
    override,
)
from frazil.learn.data.labels import choose_labels, drawing_order, empty
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.load import load_data
from frazil.learn.data.patches import Patches
from frazil.learn.evaluate import evaluate
from frazil.learn.log import read_log
from frazil.learn.run import train
from frazil.learn.run_folder import read_run
from frazil.recipes import find_recipe, recipe_names

SIZE = 12


def patch_set(
    path: Path,
    *,
    n: int = 120,
    scenes: int = 6,
    seed: int = 0,
    size: int = SIZE,
    labelled: float = 1.0,
    prefix: str = "scene",
    channels: tuple[str, ...] = ("hh", "hv"),
    polygons: bool = True,
) -> Path:
    """Two classes of patches that differ in HH, ten to a polygon; a share of them without a label."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    image = rng.normal(-20, 1.5, (n, len(channels), size, size))
    image[:, 0] += (6.0 * truth - 3)[:, None, None]
    label = np.where(rng.random(n) < labelled, truth, 255).astype(np.uint8)
    scene = np.array([f"{prefix}-{i // 2 % scenes}" for i in range(n)])
    at = rng.uniform(0, 5000, (2, n))
    patches = make_patches(
        image,
        label,
        channels=channels,
        units=("dB",) * len(channels),
        scheme=FIVE_CLASSES,
        scene=scene,
        line=at[0],
        pixel=at[1],
        polygon=np.arange(n) // 10 if polygons else np.full(n, -1),
        attrs={"spacing_m": 40.0, "denoise": "esa", "boxcar": 1},
    )
    return save_patches(patches, path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return patch_set(tmp_path_factory.mktemp("set") / "toy.zarr")


def run_of(store: Path, count: int | None = 10, **data: object) -> RunConfig:
    return RunConfig(
        name="few",
        model=ModelConfig(architecture="adhoc", settings={"widths": (4,), "hidden": (), "dropout": 0.1}),
        data=PatchData(patches=(str(store),), augment=("rotate",), **data),  # type: ignore[arg-type]
        labels=LabelsConfig(count=count),
        strategy=TeacherStudentConfig(labelled=4, first_steps=6, propagation=PropagationConfig(k=5)),
        optim=OptimConfig(optimiser="sgd", epochs=2, batch=16, lr=2e-3, warmup=0),
    )


def some(label: np.ndarray, scene: np.ndarray, seed: int = 0) -> Patches:
    image = np.random.default_rng(seed).random((label.size, 1, 3, 3)).astype(np.float16)
    names = np.array([f"s{k}" for k in scene])
    return Patches(image, label.astype(np.uint8), names, np.arange(label.size), ("hh",), FIVE_CLASSES, {})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=60),
    st.sampled_from(["class", "scene", "polygon"]),
    st.integers(0, 5),
)
def test_an_order_holds_every_patch_once_and_depends_on_the_seed_alone(
    rows: list[tuple[int, int]], by: str, seed: int
) -> None:
    label, scene = np.array(rows).T
    patches, polygon = some(label, scene), (label + scene) % 3
    config = LabelsConfig(by=by, seed=seed)  # type: ignore[arg-type]
    order = drawing_order(patches, config, polygon)
    assert sorted(order.tolist()) == list(range(label.size))
    np.testing.assert_array_equal(order, drawing_order(patches, replace(config, count=3), polygon))
    if by == "class":  # as even as the numbers allow, however many are drawn
        total = np.bincount(label, minlength=5)
        for n in range(1, label.size + 1):
            got = np.bincount(label[order[:n]], minlength=5)
            unfinished = got[got < total]
            assert unfinished.size == 0 or got.max() - unfinished.min() <= 1
    else:  # all of one group, then all of another
        group = scene if by == "scene" else scene * 10 + polygon
        changes = np.count_nonzero(np.diff(group[order])) + 1
        assert changes == np.unique(group).size


def test_draws_nest_through_a_whole_run(store: Path) -> None:
    drawn = [load_data(run_of(store, n)).train.patches for n in (15, 30, 40)]  # type: ignore[attr-defined]
    places = [set(p.index.tolist()) for p in drawn]
    assert [len(p) for p in places] == [15, 30, 40]
    assert places[0] < places[1] < places[2]
    assert sorted(drawn[0].counts().values())[-2:] == [7, 8]
    other = load_data(override(run_of(store, 15), {"labels.seed": "1"})).train.patches  # type: ignore[attr-defined]
    assert set(other.index.tolist()) != places[0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(1, 6),
    st.integers(0, 5),
)
def test_so_many_of_each_class_or_a_line_that_names_the_class(rows: list[tuple[int, int]], n: int, seed: int) -> None:
    """Of the classes that are there; draws nest; where all have enough, they are those of `count` too."""
    label, scene = np.array(rows).T
    patches = some(label, scene)
    have = np.bincount(label, minlength=5)
    config = LabelsConfig(per_class=n, seed=seed)
    short = [c for c in range(5) if 0 < have[c] < n]
    if short:
        name = FIVE_CLASSES.names[short[0]]
        with pytest.raises(LabelError, match=rf"per_class is {n}, but {have[short[0]]} training patches of '{name}'"):
            choose_labels(patches, config, allow_missing=True)
        return
    chosen, said = choose_labels(patches, config)
    assert np.bincount(label[chosen], minlength=5).tolist() == np.where(have > 0, n, 0).tolist()
    assert (np.diff(chosen) > 0).all()
    assert said["drawn"] == patches.take(chosen).counts()
    if n > 1:
        assert set(choose_labels(patches, replace(config, per_class=n - 1))[0]) < set(chosen)
    total = n * int((have > 0).sum())
    np.testing.assert_array_equal(choose_labels(patches, LabelsConfig(count=total, seed=seed))[0], chosen)


def test_labels_of_each_class_through_a_whole_run(store: Path, tmp_path: Path) -> None:
    data = load_data(override(run_of(store, None), {"labels.per_class": "6"}))
    few = data.train.patches  # type: ignore[attr-defined]
    assert sorted(few.counts().values()) == [0, 0, 0, 6, 6]
    assert data.unlabelled is not None
    assert not set(few.index) & set(data.unlabelled.index)
    assert data.description["labels"]["drawn"] == few.counts()
    train(override(run_of(store, None), {"labels.per_class": "6", "optim.epochs": "1"}), tmp_path / "run")
    from frazil.learn.checkpoint import load_model
    from frazil.learn.propagation.files import drawn_labels

    again = drawn_labels(str(store), load_model(tmp_path / "run" / "model").card)
    assert again is not None
    assert set(again.tolist()) == set(few.index.tolist())
    with pytest.raises(LabelError, match=r"labels.per_class is 1000, but \d+ training patches of"):
        load_data(override(run_of(store, None), {"labels.per_class": "1000"}))
    with pytest.raises(OptionError, match="count 10 and labels.per_class 6 both say how many labels"):
        override(run_of(store, 10), {"labels.per_class": "6"})
    for by in ("scene", "polygon"):
        with pytest.raises(OptionError, match=f"per_class draws class by class, not by {by}"):
            LabelsConfig(per_class=3, by=by)
    with pytest.raises(OptionError, match="per_class 0 must be 1 or more"):
        LabelsConfig(per_class=0)
    with pytest.raises(OptionError, match="labels.per_class and strategy 'supervised' are for patches"):
        load_data(override(find_recipe("ice_simulated:" + simulated_recipe()), {"labels.per_class": "3"}))


def simulated_recipe() -> str:
    return next(name for name in recipe_names() if name.startswith("ice_simulated:")).partition(":")[2]


def test_the_rest_of_the_training_scenes_is_the_pool(store: Path, tmp_path: Path) -> None:
    data = load_data(run_of(store))
    assert isinstance(data.test, Patches)
    assert data.unlabelled is not None
    few = data.train.patches  # type: ignore[attr-defined]
    assert not set(few.index) & set(data.unlabelled.index)
    assert set(few.names) | set(data.unlabelled.names) <= set(data.description["train"]["scenes"]) | set(
        data.description["unlabelled"]["scenes"]
    )
    assert not set(data.unlabelled.names) & set(data.test.names)
    assert load_data(replace(run_of(store), strategy=find_recipe("patches:adhoc").strategy)).unlabelled is None
    half = load_data(run_of(patch_set(tmp_path / "half.zarr", labelled=0.5), None))
    assert half.unlabelled is not None
    assert (half.unlabelled.label == 255).all()
    assert half.description["unlabelled"]["patches"]["unknown"] == len(half.unlabelled)


def test_other_regions_may_be_learnt_from_without_labels(store: Path, tmp_path: Path) -> None:
    other = patch_set(tmp_path / "other.zarr", prefix="elsewhere", n=40, seed=3)
    data = load_data(run_of(store, unlabelled=(str(other),)))
    assert data.unlabelled is not None
    assert sum("elsewhere" in name for name in data.unlabelled.names) == 6
    alone = load_data(run_of(store, None, unlabelled=(str(other),)))
    assert alone.unlabelled is not None
    assert len(alone.unlabelled) == 40
    apart = load_data(run_of(store, unlabelled=(str(other),), pool="elsewhere"))
    assert apart.unlabelled is not None
    assert len(apart.unlabelled) == 40
    assert all("elsewhere" in name for name in apart.unlabelled.names)
    with pytest.raises(OptionError, match=r"data\.unlabelled names no patch set"):
        run_of(store, pool="elsewhere")
    same = load_data(run_of(store, unlabelled=(str(store),)))  # scenes that judge are left out
    assert same.unlabelled is not None
    assert isinstance(same.test, Patches)
    assert not set(same.unlabelled.names) & set(same.test.names)
    left = same.description["unlabelled"]["left_out"]["of held-out scenes"]
    assert (
        left == 120 - sum(n in same.description["unlabelled"]["scenes"] for n in [f"scene-{k}" for k in range(6)]) * 20
    )


def test_patches_without_signal_are_neither_drawn_nor_learnt_from(tmp_path: Path) -> None:
    import zarr

    path = patch_set(tmp_path / "blank.zarr")
    images: Any = zarr.open_group(path, mode="r+")["image"]
    images[:30] = -40.0
    for count in (5, 40):
        data = load_data(run_of(path, count))
        assert data.unlabelled is not None
        assert not empty(data.train.patches).any()  # type: ignore[attr-defined]
        assert not empty(data.unlabelled).any()
        assert data.description["unlabelled"]["left_out"]["without signal"] > 5


def refused(config: RunConfig, message: str, error: type[Exception] = LabelError) -> None:
    with pytest.raises(error, match=message) as found:
        load_data(config)
    assert "\n" not in str(found.value)


def test_what_cannot_be_drawn_is_said(store: Path, tmp_path: Path) -> None:
    refused(run_of(store, 1), "The 1 label drawn by class .* hold none of '.*'. Raise labels.count")
    refused(run_of(store, 5000), "labels.count is 5000, but .* training patches have a label and signal")
    refused(run_of(store, None), "There are no unlabelled patches to learn from")
    refused(
        override(run_of(patch_set(tmp_path / "bare.zarr", polygons=False)), {"labels.by": "polygon"}),
        "does not say of which polygons it is",
    )
    small = patch_set(tmp_path / "small.zarr", size=8, prefix="x")
    refused(run_of(store, unlabelled=(str(small),)), "small.zarr have 8 pixels, the labelled ones 12")
    single = patch_set(tmp_path / "hh.zarr", channels=("hh",), prefix="x")
    refused(run_of(store, unlabelled=(str(single),)), "has no channel 'hv'")
    coarse = tmp_path / "coarse.zarr"
    patch_set(coarse, prefix="x")
    import zarr

    zarr.open_group(coarse, mode="r+").attrs["spacing_m"] = 120.0
    refused(run_of(store, unlabelled=(str(coarse),)), "have spacing_m 120.0, the labelled ones 40.0")
    scenes = replace(find_recipe("scenes:unet"), labels=LabelsConfig(count=5))
    refused(scenes, "are for patches. Cut some with", OptionError)
    with pytest.raises(OptionError, match="count 0 must be 1 or more"):
        LabelsConfig(count=0)


def test_missing_classes_are_refused_unless_allowed_and_then_said() -> None:
    patches = some(np.array([0, 1, 2] * 20), np.zeros(60, int))
    with pytest.raises(LabelError, match=r"hold none of .*data.allow_missing=true"):
        choose_labels(patches, LabelsConfig(count=2))
    chosen, said = choose_labels(patches, LabelsConfig(count=2), allow_missing=True)
    assert chosen.size == 2
    assert said["notes"][0].startswith("The 2 labels drawn by class (seed 0) hold none of")
    assert said["notes"][1].endswith("are all of one scene, s0.")
    with pytest.raises(LabelError, match="hold none of"):  # one class alone teaches nothing
        choose_labels(patches, LabelsConfig(count=1), allow_missing=True)


def test_a_run_from_the_command_line_explained_trained_and_gone_on_with(store: Path, tmp_path: Path) -> None:
    changes = {
        "data.patches": str(store),
        "labels.count": "12",
        "labels.by": "scene",
        "model.architecture": "adhoc",
        "model.settings": '{"widths":[4],"hidden":[]}',
        "strategy.first_epochs": "2",
        "strategy.propagation.k": "5",
        "optim.epochs": "2",
        "optim.batch": "30",
    }
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]

    def run(*more: str) -> str:
        done = CliRunner().invoke(cli, ["train", "few_labels:tslp", *words, "-o", str(tmp_path / "run"), *more])
        assert done.exit_code == 0, done.output
        return done.output

    picture = tmp_path / "drawn.png"
    text = run("--explain", str(picture))
    assert text.startswith("12 labels of ")
    assert "in 1 of " in text
    assert Image.open(picture).size[0] > 1000
    assert not (tmp_path / "run").exists()
    with pytest.raises(OutputExistsError):
        CliRunner().invoke(
            cli, ["train", "few_labels:tslp", *words, "-o", "x", "--explain", str(picture)], catch_exceptions=False
        )
    text = run()
    assert "The 12 labels drawn by scene (seed 0) are all of one scene" in text
    rows = read_log(tmp_path / "run")
    assert {"pseudo_accuracy", "pseudo_coverage", "loss_student", "loss_teacher"} <= set().union(*rows)
    assert read_run(tmp_path / "run")["data"]["labels"]["by"] == "scene"
    assert read_run(tmp_path / "run")["steps"] == sum("loss" in row for row in rows)
    scores = evaluate(tmp_path / "run" / "model", [store])
    seen = read_run(tmp_path / "run")["data"]
    assert not set(scores["accuracy_per_scene"]) & {*seen["train"]["scenes"], *seen["unlabelled"]["scenes"]}


def test_runs_are_the_same_whatever_the_hidden_labels_say(store: Path, tmp_path: Path) -> None:
    import shutil

    import zarr

    train(run_of(store), tmp_path / "a")
    data = load_data(run_of(store))
    assert isinstance(data, LearningData)
    assert data.unlabelled is not None
    poisoned = tmp_path / "poisoned.zarr"
    shutil.copytree(store, poisoned)
    label: Any = zarr.open_group(poisoned, mode="r+")["label"]
    values = label[:]
    few = set(data.train.patches.index.tolist())  # type: ignore[attr-defined]
    other = [i for i in data.unlabelled.index.tolist() if i not in few]
    values[other] = 255
    label[:] = values
    # The draw is that of the first run; in the second the pool has no labels at all.
    second = run_of(poisoned, None, split=str(_split(store, tmp_path)))
    train(replace(second, name="few"), tmp_path / "b")
    one, two = (load_file(tmp_path / k / "model" / "model.safetensors") for k in "ab")
    assert one.keys() == two.keys()
    assert read_run(tmp_path / "b")["data"]["unlabelled"]["patches"]["unknown"] == len(other)
    np.testing.assert_array_equal(data.unlabelled.index, load_data(second).unlabelled.index)  # type: ignore[union-attr]
    assert all(torch.equal(one[k], two[k]) for k in one)


def _split(store: Path, folder: Path) -> Path:
    from frazil.learn.data.load import split_sides

    _, split = split_sides(PatchData(patches=(str(store),)))
    return split.save(folder / "split.json") or folder / "split.json"


def test_recipes_have_the_papers_settings() -> None:
    mine = {name for name in recipe_names() if name.startswith("few_labels:")}
    names = ["supervised", "lp", "lp_wrn", "tslp", "mixmatch", "semi_gan", "fixmatch", "mean_teacher"]
    names += ["pi_model", "temporal_ensembling", "remixmatch", "noisy_student", "m1_m2"]
    assert mine == {f"few_labels:{n}" for n in names}
    tslp = find_recipe("few_labels:tslp")
    assert isinstance(tslp.strategy, TeacherStudentConfig)
    assert (tslp.strategy.first_epochs, tslp.strategy.first_lr, tslp.strategy.teacher_lr) == (100, 8e-4, 1e-4)
    assert (tslp.optim.epochs, tslp.optim.lr, tslp.optim.batch, tslp.optim.weight_decay) == (200, 2e-3, 100, 2e-4)
    assert (tslp.optim.optimiser, tslp.optim.momentum, tslp.optim.schedule) == ("sgd", 0.9, "cosine")
    assert isinstance(tslp.data, PatchData)
    assert tslp.data.augment == ("rotate",)
    spread = tslp.strategy.propagation
    assert (spread.k, spread.gamma, spread.alpha, spread.tolerance) == (50, 3.0, 0.99, 1e-6)
    assert 20 <= tslp.strategy.labelled <= 50
    assert tslp.model.architecture == "cnn13"
    mixed = find_recipe("few_labels:mixmatch")
    shown = json.loads(json.dumps(mixed.to_json()))["strategy"]
    assert {k: shown[k] for k in ("guesses", "temperature", "alpha", "weight", "ema")} == {
        "guesses": 2,
        "temperature": 0.5,
        "alpha": 0.75,
        "weight": 75.0,
        "ema": 0.999,
    }
    assert mixed.model.architecture == "wrn28_2"
    assert isinstance(find_recipe("few_labels:fixmatch").strategy, FixMatchConfig)


def test_choosing_another_strategy_brings_its_own_settings() -> None:
    run = override(find_recipe("few_labels:tslp"), {"strategy.name": "fixmatch", "strategy.threshold": "0.9"})
    assert run.strategy == FixMatchConfig(threshold=0.9)
    with pytest.raises(OptionError, match="strategy.threshold is not a setting. strategy has .*'teacher_lr'"):
        override(find_recipe("few_labels:tslp"), {"strategy.threshold": "0.9"})
