"""Runs from patch sets: every network trains, resumes, evaluates and maps; what cannot work is refused in a line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from frazil.conventions import FIVE_CLASSES, check_map
from frazil.errors import LabelError, ModelError, OptionError, OutputExistsError
from frazil.labels.patch_set import make_patches, save_patches
from frazil.labels.splits import split_patches
from frazil.learn.checkpoint import load_model
from frazil.learn.config import ModelConfig, OptimConfig, PatchData, RunConfig, override, run_config
from frazil.learn.data.load import evenly, load_data, split_sides
from frazil.learn.data.patches import Patches, PatchSampler, read_patches
from frazil.learn.evaluate import evaluate
from frazil.learn.log import read_log
from frazil.learn.predict.ice import predict
from frazil.learn.run import train
from frazil.learn.run_folder import read_run
from frazil.recipes import find_recipe, recipe_names

LARGE = [
    "mobilenet_v2",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("vgg16", "modified_vgg16", "resnet50", "densenet121", "efficientnet_lite0")
    ),
]


def toy_set(path: Path, *, n: int = 240, size: int = 32, scenes: int = 6, seed: int = 0, classes: int = 2) -> Path:
    """Patches whose class is their HH backscatter, of some scenes; easy to learn."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % classes
    image = rng.normal(0, 1.0, (n, 3, size, size)).astype(np.float32)
    image[:, 0] += (-26 + 10.0 * label)[:, None, None]
    image[:, 1] -= 28
    image[:, 2] = rng.uniform(22, 44, (n, 1, 1))
    patches = make_patches(
        image,
        label.astype(np.uint8),
        channels=("hh", "hv", "incidence_angle"),
        units=("dB", "dB", "degree"),
        scheme=FIVE_CLASSES,
        scene=np.array([f"scene-{i // classes % scenes}" for i in range(n)]),
        attrs={"spacing_m": 40.0, "denoise": "esa", "boxcar": 1},
    )
    return save_patches(patches, path)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("set") / "toy.zarr")


@pytest.fixture(scope="module")
def tiny_safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product of 300 × 420 pixels."""
    from frazil.simulate.product import simulate_product

    return simulate_product(tmp_path_factory.mktemp("tiny"), seed=7, lines=(5200, 5500), pixels=(2400, 2820))


def tiny_run(patches: Path, architecture: str = "adhoc", **optim: Any) -> RunConfig:
    settings = {"widths": (8, 8, 8), "hidden": (32,), "dropout": 0.1} if architecture == "adhoc" else {}
    return RunConfig(
        name="tiny",
        model=ModelConfig(architecture=architecture, settings=settings),
        data=PatchData(patches=(str(patches),), augment=("flip", "rotate")),
        optim=OptimConfig(**{"steps": 30, "batch": 16, "lr": 2e-3, "warmup": 3, **optim}),
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def test_a_run_learns_and_says_what_it_saw(patches: Path, tmp_path: Path) -> None:
    model = train(tiny_run(patches, steps=90, lr=5e-3), tmp_path / "run")
    assert model.card.scores["accuracy"] > 0.95
    assert model.card.scores["data"].endswith("split by scene")
    assert (model.card.spacing_m, model.card.boxcar, model.card.denoise) == (40.0, True, "esa")
    low, high = model.card.incidence_range
    assert 22 <= low < 24
    assert 42 < high <= 44
    learnt = set(model.card.training["data"]["train"]["scenes"])
    assert not learnt & set(model.card.training["data"]["test"]["scenes"])
    rows = read_log(tmp_path / "run")
    assert [r["step"] for r in rows if "loss" in r] == list(range(90))
    assert any("validation_macro_f1" in r for r in rows)
    assert list((tmp_path / "run" / "events").iterdir())
    scores = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert np.sum(scores["test"]["confusion"]) == sum(model.card.training["data"]["test"]["patches"].values())
    assert not (tmp_path / "run" / "state.safetensors").exists()


def test_same_run_same_weights_and_a_finished_run_is_returned(patches: Path, tmp_path: Path) -> None:
    config = tiny_run(patches)
    train(config, tmp_path / "a")
    train(config, tmp_path / "b")
    one, two = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(one[k], two[k]) for k in one)
    stamp = (tmp_path / "a" / "model" / "model.safetensors").stat().st_mtime_ns
    train(config, tmp_path / "a")
    assert (tmp_path / "a" / "model" / "model.safetensors").stat().st_mtime_ns == stamp


@pytest.mark.slow  # test_state kills after any step, bit for bit, and distributed/test_ddp the command itself
def test_killed_at_any_moment_the_same_command_ends_in_the_same_weights(patches: Path, tmp_path: Path) -> None:
    changes = {"data.patches": str(patches), "optim.epochs": "12", "optim.warmup": "2", "optim.patience": "0"}
    changes |= {"model.settings.widths": "[8,8,8]", "model.settings.hidden": "[16]", "optim.batch": "16"}
    sets = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]

    def start(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "frazil", "train", "patches:adhoc", *sets, "-o", str(folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    assert start(tmp_path / "whole").wait() == 0
    killed = 0
    for _ in range(2):
        process = start(tmp_path / "cut")
        log = tmp_path / "cut" / "log.jsonl"
        seen = log.stat().st_size if log.exists() else 0
        while process.poll() is None:  # however long a busy machine takes
            if log.exists() and log.stat().st_size > seen + 900:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.01)
        process.wait()
        process.communicate()
    last = start(tmp_path / "cut")
    assert last.wait() == 0, last.communicate()
    assert killed >= 2
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "cut")


@pytest.mark.parametrize("architecture", LARGE)
def test_every_network_trains_evaluates_and_maps(
    architecture: str, patches: Path, tiny_safe: Path, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from frazil.cli import cli

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    run(
        "train",
        f"patches:{architecture}",
        "--set",
        f"data.patches={patches}",
        "--set",
        "optim.steps=2",
        "--set",
        "optim.epochs=null",
        "--set",
        "optim.batch=4",
        "-o",
        tmp_path / "run",
    )
    scores = json.loads(run("evaluate", tmp_path / "run" / "model", patches, "--json"))
    learnt = load_model(tmp_path / "run" / "model").card.training["data"]["train"]["patches"]
    assert scores["left_out"]["patches"] == sum(learnt.values())
    assert np.sum(scores["confusion"]) == 240 - sum(learnt.values())
    stride = 16
    paths = json.loads(
        run(
            "map",
            tiny_safe,
            "--model",
            tmp_path / "run" / "model",
            "--stride",
            stride,
            "--spacing",
            640,
            "-o",
            tmp_path / "map",
            "--json",
        )
    )
    assert all(Path(p).exists() for p in paths.values())


def test_a_patch_classifier_maps_what_it_was_taught(patches: Path, small_safe: Path, tmp_path: Path) -> None:
    """The toy's classes are levels of HH: its map must follow them, whatever the function, stride or tile."""
    from frazil import open_scene

    model = train(tiny_run(patches, steps=90, lr=5e-3), tmp_path / "run")
    scene = open_scene(small_safe, boxcar=True).isel(line=slice(0, 500)).load()
    level = np.where(np.arange(scene.sizes["pixel"]) < 750, 10**-2.6, 10**-1.6).astype(np.float32)
    scene["sigma0"][0] = np.broadcast_to(level, scene["sigma0"].shape[1:])
    scene["sigma0"][1] = np.float32(10**-2.8)
    scene["sigma0"][:, :100] = np.nan
    maps = [
        predict(scene, model, crs=None, function=function, stride=stride, tile=tile)
        for function, stride, tile in (("dense", 8, 256), ("dense", 8, 4096), ("patchwise", 8, 512))
    ]
    for ice_map in maps:
        check_map(ice_map)
        assert (ice_map.sizes["line"], ice_map.sizes["pixel"]) == (62, 187)
        codes = ice_map["ice_class"].values
        assert (codes[:12] == 255).all()
        assert (codes[20:, :88] == 0).mean() > 0.99
        assert (codes[20:, 100:] == 1).mean() > 0.99
    np.testing.assert_array_equal(maps[0]["probability"], maps[1]["probability"])
    projected = predict(scene, model)
    assert float(abs(projected["x"][1] - projected["x"][0])) == 120.0


def test_sides_never_share_a_scene_and_a_saved_split_is_kept(patches: Path, tmp_path: Path) -> None:
    sides, split = split_sides(PatchData(patches=(str(patches),)))
    named = [set(sides[s].names) for s in ("train", "validation", "test")]
    assert sum(map(len, named)) == len(set.union(*named)) == 6
    split.save(tmp_path / "split.json")
    again, _ = split_sides(PatchData(patches=(str(patches),), split=str(tmp_path / "split.json"), split_seed=9))
    assert again["test"].names == sides["test"].names
    leaky, split = split_sides(PatchData(patches=(str(patches),), split="patch"))
    assert split.leaks
    assert set(leaky["train"].names) & set(leaky["test"].names)


def test_batches_go_through_every_patch_once_an_epoch(patches: Path) -> None:
    some, _ = read_patches((str(patches),))
    sampler = PatchSampler(some, seed=1)
    places = np.concatenate([sampler.places(step, 16) for step in range(30)])
    for epoch in (places[:240], places[240:480]):
        assert sorted(epoch.tolist()) == list(range(240))
    assert not np.array_equal(places[:240], places[240:480])
    np.testing.assert_array_equal(PatchSampler(some, seed=1).places(17, 16), sampler.places(17, 16))


def test_resampling_evens_out_rare_classes(patches: Path) -> None:
    some, _ = read_patches((str(patches),))
    rare = some.take(np.r_[np.flatnonzero(some.label == 0), np.flatnonzero(some.label == 1)[:6]])
    drawn = rare.label[np.concatenate([PatchSampler(rare, seed=0, resample=True).places(s, 50) for s in range(20)])]
    assert abs((drawn == 1).mean() - 0.5) < 0.06
    plain = rare.label[np.concatenate([PatchSampler(rare, seed=0).places(s, 50) for s in range(20)])]
    assert (plain == 1).mean() < 0.1


def test_channels_and_classes_are_chosen(patches: Path) -> None:
    some, _ = read_patches((str(patches),), channels=("hv", "hh"), scheme="binary")
    whole, _ = read_patches((str(patches),))
    np.testing.assert_array_equal(some.image, whole.image[:, [1, 0]])
    assert some.scheme.name == "binary"
    np.testing.assert_array_equal(some.label, np.minimum(whole.label, 1))


def test_even_draws_nest_and_spread_over_scenes(patches: Path) -> None:
    some, _ = read_patches((str(patches),))
    few, more = evenly(some, 6, 3), evenly(some, 12, 3)
    assert set(few) <= set(more)
    chosen = some.take(few)
    assert chosen.counts()["open_water"] == chosen.counts()["brash_pancake"] == 6
    for code in (0, 1):
        _, n = np.unique(chosen.scene[chosen.label == code], return_counts=True)
        assert n.max() - n.min() == 0


def test_transfer_starts_from_the_file(patches: Path, tmp_path: Path) -> None:
    """One step with a vanishing rate: the trunk must still be the file's."""
    from safetensors.torch import save_file

    from frazil.learn.models import create_model

    source = create_model("mobilenet_v2", n_channels=3, n_classes=1000)
    save_file(source.state_dict(), tmp_path / "published.safetensors")
    config = tiny_run(patches, "mobilenet_v2", steps=1, lr=1e-12, batch=4)
    config = replace(config, model=replace(config.model, pretrained=str(tmp_path / "published.safetensors")))
    train(config, tmp_path / "run")
    name = "features.5.conv.0.0.weight"
    torch.testing.assert_close(weights(tmp_path / "run")[name], source.state_dict()[name], atol=1e-6, rtol=0)


def test_what_cannot_work_is_refused_in_words(patches: Path, tmp_path: Path) -> None:
    config = tiny_run(patches)
    with pytest.raises(OptionError, match="No patch set was named"):
        train(replace(config, data=PatchData()), tmp_path / "a")
    with pytest.raises(OptionError, match="'unet' learns from labelled scenes, not from patches"):
        train(replace(config, model=ModelConfig(architecture="unet")), tmp_path / "b")
    with pytest.raises(ModelError, match="Architecture 'vgg19' is unknown"):
        train(replace(config, model=ModelConfig(architecture="vgg19")), tmp_path / "c")
    with pytest.raises(OptionError, match="settings.patch is 20, but the patches have 32"):
        train(replace(config, model=ModelConfig(architecture="adhoc", settings={"patch": 20})), tmp_path / "d")
    with pytest.raises(LabelError, match="has no channel 'nesz_hv'"):
        train(override(config, {"data.channels": "hh,nesz_hv"}), tmp_path / "e")
    alone = toy_set(tmp_path / "alone.zarr", scenes=1)
    with pytest.raises(LabelError, match="All patches are of one scene"):
        train(tiny_run(alone), tmp_path / "f")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError):
            train(config, tmp_path / "g", overwrite=overwrite)
    assert (tmp_path / "g" / "thesis.tex").exists()


def test_another_run_in_the_folder_is_named_and_kept(patches: Path, tmp_path: Path) -> None:
    config = tiny_run(patches, steps=2)
    train(config, tmp_path / "run")
    with pytest.raises(OutputExistsError, match=r"holds another run: optim\.steps differs"):
        train(tiny_run(patches, steps=3), tmp_path / "run")
    train(tiny_run(patches, steps=3), tmp_path / "run", overwrite=True)
    assert read_run(tmp_path / "run")["config"]["optim"]["steps"] == 3


def test_changed_data_is_noticed_on_resuming(patches: Path, tmp_path: Path) -> None:
    store = toy_set(tmp_path / "set.zarr")
    train(tiny_run(store, steps=2), tmp_path / "run")
    for path in (tmp_path / "run" / "evaluation.json",):
        path.unlink()
    import shutil

    shutil.rmtree(store)
    toy_set(store, seed=5)
    with pytest.raises(OutputExistsError, match="has changed since it began"):
        train(tiny_run(store, steps=2), tmp_path / "run")


def test_not_finite_patches_are_refused(tmp_path: Path) -> None:
    import zarr

    store = toy_set(tmp_path / "set.zarr", n=20)
    image: Any = zarr.open_group(store, mode="r+")["image"]
    image[7, 0, 3, 3] = np.nan
    with pytest.raises(LabelError, match="Patch 7 of .* holds values that are not finite"):
        read_patches((str(store),))


def test_one_class_is_refused(patches: Path) -> None:
    some, _ = read_patches((str(patches),))
    with pytest.raises(LabelError, match="are of 1 class .open_water."):
        PatchSampler(some.take(np.flatnonzero(some.label == 0)), seed=0)


def test_scoring_leaves_out_what_was_learnt(patches: Path, tmp_path: Path) -> None:
    model = train(tiny_run(patches, steps=5), tmp_path / "run")
    scores = evaluate(model, [patches], output=tmp_path / "scores.json")
    learnt = model.card.training["data"]["train"]
    assert scores["left_out"]["patches"] == sum(learnt["patches"].values())
    assert not set(scores["accuracy_per_scene"]) & set(learnt["scenes"])
    written = json.loads((tmp_path / "scores.json").read_text())
    assert {k: v for k, v in written.items() if k != "written_by"} == scores
    only = some_scenes(patches, learnt["scenes"], tmp_path / "learnt.zarr")
    with pytest.raises(LabelError, match="are of scenes that tiny-[0-9a-f]{8} has learnt from"):
        evaluate(model, [only])
    with pytest.raises(ModelError, match="takes patches of 32 pixels, but these have 20"):
        evaluate(model, [toy_set(tmp_path / "small.zarr", n=20, size=20)])
    with pytest.raises(OptionError, match="Products need labels"):
        evaluate(model, ["product.SAFE"])


def some_scenes(patches: Path, scenes: list[str], path: Path) -> Path:
    from frazil.labels.patch_set import open_patches

    opened = open_patches(patches)
    return save_patches(opened.isel(patch=np.flatnonzero(np.isin(opened["scene"].values, scenes))), path)


def test_recipes_are_found_and_strangers_named(tmp_path: Path) -> None:
    names = recipe_names()
    assert {"patches:adhoc", "patches:modified_vgg16", "scenes:unet", "ice_simulated:baseline"} <= set(names)
    for name in names:
        assert run_config(find_recipe(name).to_json()).to_json() == find_recipe(name).to_json()
    assert find_recipe("recipes/patches.py:adhoc") == find_recipe("patches:adhoc")
    own = tmp_path / "own.py"
    own.write_text("from frazil.learn.config import RunConfig\n\n\ndef first():\n    return RunConfig(name='mine')\n")
    assert find_recipe(f"{own}:first").name == "mine"
    (tmp_path / "run.json").write_text(json.dumps({"config": RunConfig(name="saved").to_json()}))
    assert find_recipe(str(tmp_path / "run.json")).name == "saved"
    for wrong in ("patches:alexnet", "nothing", f"{own}:second", str(tmp_path / "no.json")):
        with pytest.raises(OptionError):
            find_recipe(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.spilt": "scene"}, "data.spilt is not a setting. data has .*'split'"),
        ({"optim.lr": "fast"}, "optim.lr: Input should be a valid number"),
        ({"optim.lr": "-1"}, "lr -1.0 must be above 0"),
        ({"data.augment": "mixup"}, "Augmentation 'mixup' is not one of"),
        ({"data.kind": "photos"}, "'photos'"),
        ({"nonsense": "1"}, "nonsense is not a setting"),
        ({"steps": "5"}, r"steps is not a setting. A run has .*Did you mean optim.steps\?"),
        ({"optim.stps": "5"}, r"optim.stps is not a setting. optim has .*Did you mean optim.steps\?"),
        ({"optim.steps": "5", "optim.epochs": "2"}, "Give one of them"),
        ({"data.patches.first": "x"}, "data.patches.first is not a setting"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        override(find_recipe("patches:adhoc"), change)


def test_settings_from_the_command_line_take_their_type() -> None:
    run = override(
        find_recipe("patches:adhoc"),
        {
            "data.patches": "a.zarr,b.zarr",
            "optim.lr": "1e-4",
            "model.settings.padding": "valid",
            "optim.epochs": "null",
        },
    )
    assert isinstance(run.data, PatchData)
    assert run.data.patches == ("a.zarr", "b.zarr")
    assert (run.optim.lr, run.optim.epochs, run.model.settings) == (1e-4, None, {"padding": "valid"})


def test_steps_asked_for_are_the_steps_of_the_run() -> None:
    recipe = find_recipe("patches:adhoc")
    assert recipe.optim.epochs is not None
    asked = override(recipe, {"optim.steps": "5"})
    assert (asked.optim.steps, asked.optim.epochs) == (5, None)
    back = override(asked, {"optim.epochs": "3"})
    assert back.optim.epochs == 3


def test_patches_of_several_sets_are_joined(patches: Path, tmp_path: Path) -> None:
    other = toy_set(tmp_path / "more.zarr", n=30, seed=3)
    both, bare = read_patches((str(patches), str(other)))
    assert isinstance(both, Patches)
    assert len(both) == bare.sizes["patch"] == 270
    assert split_patches(bare, by="scene").train
    with pytest.raises(LabelError, match="differ in size"):
        read_patches((str(patches), str(toy_set(tmp_path / "small.zarr", n=20, size=16))))
    data = load_data(tiny_run(patches))
    assert data.description["train"]["patches"]["open_water"] > 0


def test_disk_that_is_full_or_closed(patches: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = Path("/proc/no-such-folder/run")
    else:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        target = closed / "run"
    with pytest.raises(OSError, match="Cannot write"):
        train(tiny_run(patches, steps=1), target)


@pytest.mark.slow  # test_disk_that_is_full_or_closed, and test_state: a write that fails leaves the state before it
def test_a_disk_that_fills_up_stops_the_run_in_a_line_and_it_goes_on_later(patches: Path, tmp_path: Path) -> None:
    words = ["--set", f"data.patches={patches}", "--set", "model.settings.hidden=[16]", "--set", "optim.epochs=4"]
    command = ["-m", "frazil", "train", "patches:adhoc", *words, "-o", str(tmp_path / "run")]
    limit = "import resource, sys, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
    limit += f"sys.argv = {['frazil', *command[2:]]!r}; runpy.run_module('frazil', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", limit], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Cannot write" in done.stderr
    assert not list((tmp_path / "run").glob("*.part*"))
    assert subprocess.run([sys.executable, *command], check=False).returncode == 0
    assert (tmp_path / "run" / "model" / "card.json").exists()
