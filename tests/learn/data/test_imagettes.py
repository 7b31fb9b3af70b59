"""Metocean segmentation end to end: networks, runs that can be killed, scores against slow ones, the verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner, Result

from frazil.cli import cli
from frazil.errors import FrazilError, LabelError, ModelError, OptionError, OutputExistsError
from frazil.labels.imagettes import open_imagettes, save_imagettes
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.config import PeersConfig, RunConfig, override, run_config
from frazil.learn.data.imagettes import (
    ImagetteSampler,
    crop,
    drawn,
    fit_mask_temperature,
    image_labels,
    masked,
    on_side,
    turn,
)
from frazil.learn.distributed.losses import output_distillation
from frazil.learn.log import read_log
from frazil.learn.models import create_model
from frazil.learn.predict.imagettes import SegmentOptions, dominant, segment
from frazil.learn.run import train
from frazil.mask_counts import THRESHOLDS, MaskCounts
from frazil.recipes import find_recipe
from frazil.simulate.imagettes import simulated_imagettes
from frazil.simulate.wave_mode import WaveModeConfig
from tests.learn.distributed.test_ddp import torchrun
from tests.learn.distributed.test_peers import PATIENCE_S, still_running

SMALL = WaveModeConfig(side_m=8000)
CLASSES = {"sea_ice": 3, "low_wind_area": 3, "wind_streaks": 3}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    made = {}
    for name, seed in (("train", 0), ("test", 1000)):
        made[name] = save_imagettes(simulated_imagettes(CLASSES, seed=seed, config=SMALL), folder / f"{name}.zarr")
    return made


def as_validation(sets: dict[str, Path]) -> dict[str, str]:
    """Settings of a run that is validated on the test set."""
    return {"data__validation": str(sets["test"]), "data__test": "[]"}


def run(recipe: str, sets: dict[str, Path], **changes: str) -> RunConfig:
    base = {"data.train": str(sets["train"]), "data.test": str(sets["test"]), "optim.steps": "4", "optim.batch": "3"}
    small = {
        "metocean:unet": {"model.settings.widths": "[2,3,4,5]"},
        "metocean:categoriser": {"model.settings.width": "0.05", "optim.steps": "3"},
        "metocean:im2px": {"model.settings.widths": "[2,3,4]", "model.settings.convolutions": "1"},
    }[recipe]
    config = find_recipe(recipe)
    config = replace(config, optim=replace(config.optim, epochs=None, warmup=1))
    return override(config, {**base, **small, **{k.replace("__", "."): v for k, v in changes.items()}})


@pytest.mark.parametrize("size", [(256, 256), (200, 200), (75, 90)])
def test_unet_gives_a_cell_for_sixteen_pixels(size: tuple[int, int]) -> None:
    network = create_model("metocean_unet", n_channels=1, n_classes=10, settings={"widths": (2, 2, 2, 2, 2)}).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 1, *size)).shape == (1, 10, -(-size[0] // 4), -(-size[1] // 4))


def test_unet_sees_its_margin_and_no_more() -> None:
    torch.manual_seed(0)
    network = (
        create_model("metocean_unet", n_channels=1, n_classes=1, settings={"widths": (2, 2, 2, 2)}).double().eval()
    )
    for parameter in network.parameters():
        parameter.data.abs_().add_(0.01)
    x = torch.rand(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[0, 0, 32, 32], x)
    rows = np.flatnonzero(gradient[0, 0].numpy().any(1))
    assert 128 - rows[0] <= network.margin
    assert rows[-1] - 131 <= network.margin
    assert rows[-1] - rows[0] > 40


@pytest.mark.parametrize("settings", [{"widths": (4,)}, {"widths": (4, 0)}, {"output": 4}, {"dropout": 1.0}])
def test_impossible_unets(settings: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        create_model("metocean_unet", n_channels=1, n_classes=1, settings=settings)


@pytest.mark.parametrize("recipe", ["metocean:unet", "metocean:categoriser", "metocean:im2px"])
def test_a_run_trains_scores_and_segments(recipe: str, sets: dict[str, Path], tmp_path: Path) -> None:
    config = run(recipe, sets, **({"data__size": "80"} if "cat" in recipe else {}))
    train(config, tmp_path / "run")
    model = load_model(tmp_path / "run" / "model")
    assert model.card.class_scheme == "metocean"
    assert not list((tmp_path / "run").rglob("*.pt"))
    scores = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]
    assert ("mean_set_dice" in scores) == ("cat" not in recipe)
    assert 0 <= scores["accuracy"] <= 1
    low, high = model.card.incidence_range
    assert low < 24.6
    assert high > 36.0 or low > 20
    made = segment(sets["test"], model, options=SegmentOptions(tile=75, mask_side=20, mask_stride=20))
    assert made["score"].shape == (9, 10, 20, 20)
    assert made.attrs["method"] == {"u": "unet", "c": "cam", "i": "im2px"}[recipe.split(":")[1][0]]
    assert run_config(config.to_json()) == config
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) >= config.optim.steps


@pytest.mark.parametrize("recipe", ["metocean:unet", "metocean:im2px"])
def test_a_killed_run_ends_in_the_same_weights(recipe: str, sets: dict[str, Path], tmp_path: Path) -> None:
    config = run(recipe, sets, optim__validate_every="2", data__validation=str(sets["test"]), data__test="[]")
    whole = train(config, tmp_path / "whole")
    steps: list[str] = []

    class KilledError(Exception):
        pass

    def kill(_fraction: float, what: str) -> None:
        steps.append(what)
        if "step 3 of" in what:
            raise KilledError

    with pytest.raises(KilledError):
        train(config, tmp_path / "torn", progress=kill)
    assert (tmp_path / "torn" / "state.safetensors").is_file()
    again = train(config, tmp_path / "torn")
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    with pytest.raises(OutputExistsError, match=r"optim\.lr"):
        train(override(config, {"optim.lr": "0.5"}), tmp_path / "torn")


def test_learning_lowers_the_loss(sets: dict[str, Path], tmp_path: Path) -> None:
    config = run("metocean:unet", sets, optim__steps="30", strategy__weighting="none", optim__lr="0.01")
    train(config, tmp_path / "run")
    loss = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert np.mean(loss[-5:]) < 0.8 * np.mean(loss[:5])


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("metocean:unet", {"model__architecture": "im2px", "model__settings": "{}"}, "cells of 8"),
        ("metocean:unet", {"model__architecture": "inception_v3", "model__settings": "{}"}, "metocean:unet"),
        ("metocean:im2px", {"model__architecture": "unet", "model__settings": "{}"}, "Recipes that fit"),
        ("metocean:unet", {"strategy__rarity": "[1,2]"}, "2 numbers for 10"),
        ("metocean:unet", {"data__train": "nowhere.zarr"}, "nowhere"),
        ("metocean:unet", {"data__train": "[]"}, "data.train"),
        ("metocean:unet", {"data__size": "90"}, "size 90"),
    ],
)
def test_runs_that_cannot_be(
    recipe: str, changes: dict[str, str], message: str, sets: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(FrazilError, match=message):
        train(run(recipe, sets, **changes), tmp_path / "run")


def from_command_line(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("recipe", ["metocean:unet", "metocean:categoriser", "metocean:im2px"])
def test_train_and_evaluate_from_the_command_line(recipe: str, sets: dict[str, Path], tmp_path: Path) -> None:
    of_recipe: dict[str, dict[str, Any]] = {
        "metocean:unet": {"model.settings.widths": "[2,3,4,5]"},
        "metocean:categoriser": {"model.settings.width": 0.05},
        "metocean:im2px": {"model.settings.widths": "[2,3,4]"},
    }
    changes = {"data.train": sets["train"], "data.test": sets["test"], "optim.steps": 2, "optim.batch": 3}
    changes |= of_recipe[recipe]
    words = ["train", recipe, "-o", tmp_path / "run"]
    done = from_command_line(*words, *(w for k, v in changes.items() for w in ("--set", f"{k}={v}")))
    assert done.exit_code == 0
    assert "steps     2 in" in done.output
    assert "of the images named right" in done.output
    assert ("set Dice  per-pixel Dice" in done.output) is (recipe != "metocean:categoriser")
    model = tmp_path / "run" / "model"
    card = load_model(model).card
    again = from_command_line("evaluate", model, sets["test"], "-o", tmp_path / "scores.json")
    assert again.exit_code == 0
    assert again.output.splitlines()[1:] == done.output.splitlines()[-len(again.output.splitlines()) + 1 :]
    assert card.statement == "The model was trained on simulated images; it has seen no real ones."
    scores = json.loads((tmp_path / "scores.json").read_text())
    own = {"data", "leaks"}
    assert {k: v for k, v in scores.items() if k in card.scores and k not in own} == {
        k: v for k, v in card.scores.items() if k not in own
    }
    with pytest.raises(LabelError, match="has learnt from"):
        from_command_line("evaluate", model, sets["train"])
    both = json.loads(from_command_line("evaluate", model, *sets.values(), "--json").output)
    assert (both["images"], both["left_out"]["imagettes"]) == (9, 9)
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="Device 'cuda' is not available"):
            from_command_line("evaluate", model, sets["test"], "--device", "cuda")
    with pytest.raises(OptionError, match=r"Pass a set \(.zarr\)"):
        from_command_line("evaluate", model, tmp_path / "x.SAFE")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels__count": "60"}, "Set data.annotated"),
        ({"model__pretrained": "weights.pth"}, "no published weights for 'metocean_unet'"),
        ({"strategy__name": "supervised"}, "does not learn from imagettes"),
        ({"model__architecture": "unet", "model__settings": "{}"}, "does not learn by 'segmentation' from imagettes"),
    ],
)
def test_settings_that_imagettes_do_not_have_are_refused(
    change: dict[str, str], message: str, sets: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        train(run("metocean:unet", sets, **change), tmp_path / "run")


def test_a_run_is_calibrated_and_says_which_step_it_kept(sets: dict[str, Path], tmp_path: Path) -> None:
    changes = {"optim__steps": "6", "optim__validate_every": "2", "optim__keep": "best", **as_validation(sets)}
    model = train(run("metocean:unet", sets, **changes), tmp_path / "run")
    looks = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines() if "validation_" in x]
    best = max(looks, key=lambda row: row["validation_macro_f1"])
    assert model.card.training["kept_step"] == best["step"] + 1
    assert model.card.training["stopped_early"] is False
    assert 0 < model.card.temperature != 1.0


def test_the_temperature_is_that_by_which_a_network_is_too_sure(sets: dict[str, Path]) -> None:
    class TooSure(torch.nn.Module):
        """Says 2.5 times the log odds of what its image holds: the probability of the first class."""

        output = "sigmoid"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            p = torch.nn.functional.avg_pool2d(x, 4).clamp(0.01, 0.99)
            return 2.5 * torch.log(p / (1 - p)).expand(-1, 10, -1, -1)

    ds = open_imagettes(sets["test"]).load()
    rng = np.random.default_rng(0)
    side, cell = ds.sizes["line"] // int(ds.attrs["cell"]), int(ds.attrs["cell"])
    p = rng.uniform(0.05, 0.95, (ds.sizes["imagette"], 1, side, side))
    ds["image"].values[:] = np.repeat(np.repeat(p[:, 0], cell, 1), cell, 2)
    ds["mask"].values[:] = rng.random(ds["mask"].shape) < p
    assert fit_mask_temperature(TooSure(), ds) == pytest.approx(2.5, rel=0.05)
    ds["mask"].values[:] = 255
    assert fit_mask_temperature(TooSure(), ds) == 1.0  # nobody drew anything


def test_temperature_changes_scores_but_no_mask(sets: dict[str, Path], tmp_path: Path) -> None:
    model = train(run("metocean:unet", sets, **as_validation(sets)), tmp_path / "run")
    plain, made = (segment(sets["test"], Model(model.network, replace(model.card, temperature=t))) for t in (1.0, 3.0))
    np.testing.assert_array_equal(plain["found"].values, made["found"].values)
    odds = [np.log(x / (1 - x)) for x in (d["score"].values.astype(np.float64) for d in (plain, made))]
    np.testing.assert_allclose(odds[0] / 3, odds[1], atol=0.02)


@pytest.mark.parametrize(("method", "loss"), [("afsd", "loss_feature"), ("codistillation", "loss_output")])
def test_runs_on_imagettes_learn_with_peers(method: str, loss: str, sets: dict[str, Path], tmp_path: Path) -> None:
    config = run("metocean:unet", sets, optim__steps="6")
    peers = PeersConfig(path=str(tmp_path / "x"), worker="a", every=3, log_every=1, lockstep=1, method=method)  # type: ignore[arg-type]
    train(replace(config, peers=peers), tmp_path / "a")
    still_running(tmp_path / "x" / config.name, 3)
    train(replace(config, peers=replace(peers, worker="b")), tmp_path / "b")
    rows = [row for row in read_log(tmp_path / "b") if row.get("peers")]
    assert [row["step"] for row in rows] == [3, 4, 5]
    assert all(row[loss] > 0 for row in rows)


def test_what_peers_say_of_masks_is_compared_class_by_class() -> None:
    rng = np.random.default_rng(0)
    own, others = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 2, 3, 4, 4))
    target = (1 / (1 + np.exp(-others))).mean(0)
    p = 1 / (1 + np.exp(-own))
    by_hand = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    logits, *teachers = (torch.from_numpy(x.astype(np.float32)) for x in (own, *others))
    assert float(output_distillation(logits, teachers, "sigmoid")) == pytest.approx(by_hand, rel=1e-5)
    assert float(output_distillation(logits, [], "sigmoid")) == 0.0


@pytest.mark.slow
def test_runs_on_imagettes_train_in_step(sets: dict[str, Path], tmp_path: Path) -> None:
    config = run("metocean:unet", sets, **as_validation(sets), optim__validate_every="2")
    process = torchrun(config, tmp_path / "two")
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    rows = read_log(tmp_path / "two")
    assert len([row for row in rows if "loss" in row]) == 4
    assert len([row for row in rows if "validation_macro_f1" in row]) == 2
    assert load_model(tmp_path / "two" / "model").card.training["steps"] == 4


def test_a_categoriser_begins_with_published_weights(sets: dict[str, Path], tmp_path: Path) -> None:
    settings = {"width": 0.05}
    published = create_model("inception_v3", n_channels=3, n_classes=1000, settings=settings).state_dict()
    torch.save(published, tmp_path / "weights.pth")
    changes = {"model__pretrained": str(tmp_path / "weights.pth"), "optim__steps": "1", "optim__lr": "1e-9"}
    begun = train(run("metocean:categoriser", sets, **changes), tmp_path / "run").network.state_dict()
    name = "Mixed_7c.branch1x1.conv.weight"
    torch.testing.assert_close(begun[name], published[name], atol=1e-6, rtol=1e-3)


def test_training_and_test_must_not_share_groups(sets: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(sets["train"], tmp_path / "same.zarr")
    with pytest.raises(LabelError, match="too good"):
        train(run("metocean:unet", sets, data__test=str(tmp_path / "same.zarr")), tmp_path / "run")
    with pytest.raises(OptionError, match="twice"):
        run("metocean:unet", sets, data__test=str(sets["train"]))


def test_metocean_strategies_are_for_imagettes() -> None:
    config = override(find_recipe("patches:adhoc"), {"strategy.name": "segmentation"})
    assert config.strategy.name == "segmentation"


def test_draws_are_nested_and_even() -> None:
    category = np.repeat([0, 3, 7], [5, 9, 2])
    few, many = drawn(category, 2, 1), drawn(category, 4, 1)
    assert set(few) < set(many)
    assert np.bincount(category[many])[[0, 3, 7]].tolist() == [4, 4, 2]


def test_sampler_turns_masks_with_images() -> None:
    image = np.random.default_rng(0).random((5, 8, 8)).astype(np.float16)
    label = (image > 0.5).astype(np.uint8)[:, None]
    sampler = ImagetteSampler(image, label, seed=1, augment=True)
    x, y = sampler.batch(3, 4)
    np.testing.assert_array_equal(y[:, 0], x[:, 0] > 0.5)
    again = sampler.batch(3, 4)
    np.testing.assert_array_equal(x, again[0])
    eight = {turn(image[0], way).tobytes() for way in range(8)}
    assert len(eight) == 8
    seen = np.concatenate([ImagetteSampler(image, label, seed=1, augment=False).batch(s, 1)[0] for s in range(5)])
    assert sorted(seen.sum((1, 2, 3))) == pytest.approx(sorted(image.astype(float).sum((1, 2))), rel=1e-3)


def slow(score: list[np.ndarray], mask: list[np.ndarray], c: int) -> tuple[float, float]:
    """Set Dice and per-pixel Dice of one class, cell by cell."""
    both = said = there = 0.0
    ratios = []
    for s, m in zip(score, mask, strict=True):
        for i, j in np.ndindex(s.shape[1:]):
            x, y = float(s[c, i, j]), float(m[c, i, j])
            both += (x >= 0.5) * y
            said += x >= 0.5
            there += y
            if x + y > 0:
                ratios.append(2 * x * y / (x + y))
    return 2 * both / (said + there), float(np.mean(ratios))


def test_scores_cell_by_cell() -> None:
    rng = np.random.default_rng(0)
    score = [rng.random((3, 5, 4)) for _ in range(4)]
    mask = [rng.random((3, 5, 4)) < 0.4 for _ in range(4)]
    scores = MaskCounts(3)
    for s, m in zip(score, mask, strict=True):
        scores.add(s, m)
    made = scores.result()
    for c in range(3):
        dice, pixel = slow(score, mask, c)
        assert made["set_dice"][c] == pytest.approx(dice)
        assert made["pixel_dice"][c] == pytest.approx(pixel)
        p, r = made["precision"][c], made["recall"][c]
        assert made["set_dice"][c] == pytest.approx(2 * p * r / (p + r))
    at = scores.dice_at()
    assert at[list(THRESHOLDS).index(0.5)] == pytest.approx(made["set_dice"])


def test_per_pixel_dice_of_masks_is_the_iou() -> None:
    rng = np.random.default_rng(1)
    scores = MaskCounts(2)
    scores.add((rng.random((2, 9, 9)) < 0.5).astype(float), rng.random((2, 9, 9)) < 0.5)
    made = scores.result()
    assert made["pixel_dice"] == pytest.approx(made["iou"])
    assert made["pixel_dice"][0] < made["set_dice"][0]


def test_a_class_that_is_nowhere_has_no_score() -> None:
    scores = MaskCounts(2)
    mask = np.zeros((2, 3, 3), bool)
    mask[0] = True
    scores.add(mask.astype(float), mask, category=0)
    made = scores.result()
    assert np.isnan(made["set_dice"][1])
    assert made["mean_set_dice"] == 1.0
    assert made["accuracy"] == 1.0
    with pytest.raises(OptionError, match="does not fit"):
        scores.add(np.zeros((2, 3, 3)), np.zeros((2, 4, 4), bool))


def test_cutting_keeps_masks_in_place(sets: dict[str, Path]) -> None:
    from frazil.labels.imagettes import open_imagettes

    ds = open_imagettes(sets["train"])
    cut = crop(ds, 48)
    np.testing.assert_array_equal(cut["image"].values, ds["image"].values[:, 16:64, 16:64])
    np.testing.assert_array_equal(cut["mask"].values, ds["mask"].values[..., 4:16, 4:16])
    with pytest.raises(LabelError, match="size"):
        crop(ds, 500)


def test_dominant_class_and_undecided() -> None:
    score = np.array([[[0.6, 0.2]], [[0.7, 0.4]]])
    assert dominant(score, 0.5).tolist() == [[1, 255]]
    assert on_side(np.arange(4.0).reshape(1, 2, 2), 4)[0, 0].tolist() == [0, 0, 1, 1]


def test_models_that_do_not_fit(sets: dict[str, Path], tmp_path: Path) -> None:
    from frazil.labels.imagettes import coarser, open_imagettes

    model = train(run("metocean:unet", sets, optim__steps="1"), tmp_path / "run")
    ds = open_imagettes(sets["test"])
    for wrong, message in (
        (coarser(ds, 400), "pixels of 100 m"),
        (ds.assign_attrs(scaling="8-bit"), "roughness images"),
        (ds.isel({"class": [0]}).assign_attrs(class_scheme="slicks"), "knows the classes"),
    ):
        with pytest.raises(ModelError, match=message):
            segment(wrong, model)
    with pytest.raises(ModelError, match="cannot use"):
        segment(ds, model, method="cam")
    with pytest.raises(OptionError, match="not one of"):
        segment(ds, model, method="magic")
    holes = ds.copy(deep=True)
    holes["image"].values[0, :40] = np.nan
    made = segment(holes, model)
    assert np.isnan(made["score"].values[0, :, :9]).all()
    assert np.isfinite(made["score"].values[0, :, 11:]).all()
    assert (made["dominant"].values[0, :9] == 255).all()


def test_labels_of_images(sets: dict[str, Path]) -> None:
    from frazil.conventions import METOCEAN
    from frazil.labels.imagettes import open_imagettes

    ds = open_imagettes(sets["train"])
    assert masked(ds).all()
    label = image_labels(ds, METOCEAN, "category")
    assert (label.sum(1) == 1).all()
    ds["category"].values[0] = 255
    assert image_labels(ds, METOCEAN, "category")[0].sum() == 0
    assert isinstance(ds, xr.Dataset)


def test_skips_beside_equal_skips_added_where_their_weights_are_alike() -> None:
    """A convolution over both halves with the same weights is one over their sum."""
    torch.manual_seed(0)
    added, beside = (
        create_model("metocean_unet", n_channels=1, n_classes=2, settings={"widths": (3, 4, 5, 6), "skips": how})
        for how in ("add", "concatenate")
    )
    mine, theirs = added.state_dict(), beside.state_dict()
    twice = {k: torch.cat((v, v), 1) if v.shape != theirs[k].shape else v for k, v in mine.items()}
    assert sum(v.shape != theirs[k].shape for k, v in mine.items()) == len(added.decoder)  # type: ignore[arg-type]
    beside.load_state_dict(twice)
    image = torch.rand(2, 1, 40, 56)
    with torch.no_grad():
        torch.testing.assert_close(beside.eval()(image), added.eval()(image), atol=1e-5, rtol=1e-5)
    with pytest.raises(OptionError, match="skips 'maybe' must be one of"):
        create_model("metocean_unet", n_channels=1, n_classes=2, settings={"skips": "maybe"})
