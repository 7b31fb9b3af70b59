"""What every kind of data, every held-out set and every way to learn must hold, whoever claims to be one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import geopandas as gpd
import numpy as np
import pytest
import torch
from shapely.geometry import Polygon
from torch import nn

from frazil.labels.imagettes import save_imagettes
from frazil.learn.check import check_run
from frazil.learn.config import (
    Cifar10Data,
    Data,
    ImagetteData,
    ModelConfig,
    PatchData,
    RunConfig,
    SceneData,
    StrategyConfig,
    run_config,
)
from frazil.learn.data.learning_data import HeldOut, LearningData
from frazil.learn.data.load import load_data
from frazil.learn.models import create_model
from frazil.learn.run import train
from frazil.learn.strategies import STRATEGIES, make_plan, make_strategy
from frazil.learn.train import Strategy, make_optimiser, seed_everything
from frazil.products import open_scene
from frazil.recipes import find_recipe
from frazil.scene.geolocation import Geolocation
from frazil.simulate.imagettes import simulated_imagettes
from tests.learn.data import test_cifar10 as cifar10
from tests.learn.data import test_imagettes as imagettes
from tests.learn.test_run import tiny_run, toy_set

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = ("patches", "imagettes", "cifar10", "simulated", "scenes")
CPU = torch.device("cpu")
TEACHER = "teacher"  # the run that taught


@dataclass(frozen=True, eq=False)
class Loaded:
    config: RunConfig
    data: LearningData
    again: LearningData


def of_scenes(safe: Path, folder: Path) -> RunConfig:
    """A product whose one half is said to be water and the other ice."""
    line, pixel = (open_scene(safe, looks=3)[name].values for name in ("line", "pixel"))
    place = Geolocation.of(open_scene(safe, looks=3))
    halves, middle = [], (pixel[0] + pixel[-1]) / 2
    for first, last in ((pixel[0], middle), (middle, pixel[-1])):
        corners = [(line[0], first), (line[0], last), (line[-1], last), (line[-1], first)]
        lon, lat = place.lonlat(*np.array(corners, float).T)
        halves.append(Polygon(np.column_stack([lon, lat])))
    frame = gpd.GeoDataFrame({"kind": ["open_water", "young_ice"]}, geometry=halves, crs="EPSG:4326")
    frame.to_file(folder / "halves.gpkg")
    data = SceneData(
        train=(str(safe),),
        labels=str(folder / "halves.gpkg"),
        class_column="kind",
        mask_land=False,
        crop=64,
        looks=3,
        channels=("hh", "hv"),
    )
    run = find_recipe("scenes:unet")
    model = replace(run.model, architecture="unet", settings={"widths": (4, 8)})
    return replace(run, data=data, model=model, optim=replace(run.optim, steps=2, epochs=None, batch=2))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, small_safe: Path) -> dict[str, RunConfig]:
    folder = tmp_path_factory.mktemp("contracts")
    sets = {
        name: save_imagettes(
            simulated_imagettes(imagettes.CLASSES, seed=seed, config=imagettes.SMALL), folder / f"{name}.zarr"
        )
        for name, seed in (("train", 0), ("test", 1000))
    }
    photographs = cifar10.write(folder / "cifar10", "folders")
    shrunk = Cifar10Data(path=str(photographs), validation=0.2, per_class=6, test_per_class=2)
    adhoc = tiny_run(toy_set(folder / "set.zarr"))
    train(adhoc, folder / TEACHER)
    return {
        "patches": adhoc,
        "imagettes": imagettes.run("metocean:unet", sets, data__validation=str(sets["test"]), data__test="[]"),
        "cifar10": replace(adhoc, data=shrunk),
        "simulated": find_recipe("ice_simulated:tiny"),
        "scenes": of_scenes(small_safe, folder),
    }


@pytest.fixture(scope="module")
def loaded(runs: dict[str, RunConfig]) -> Callable[[str], Loaded]:
    known: dict[str, Loaded] = {}

    def get(kind: str) -> Loaded:
        if kind not in known:
            known[kind] = Loaded(runs[kind], load_data(runs[kind]), load_data(runs[kind]))
        return known[kind]

    return get


def network_of(one: Loaded) -> nn.Module:
    torch.manual_seed(0)
    model, data = one.config.model, one.data
    settings = dict(model.settings)
    if one.config.data.learnt_by == "patch":
        settings["patch"] = int(np.asarray(data.train.batch(0, 1)[0]).shape[-1])
    made = create_model(
        model.architecture, n_channels=len(data.channels), n_classes=len(data.scheme.classes), settings=settings
    )
    return made.eval()


def test_no_kind_of_data_is_forgotten() -> None:
    known = {kind.kind for kind in get_args(get_args(Data)[0])}
    assert known == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_survive_json(kind: str, runs: dict[str, RunConfig]) -> None:
    config = runs[kind]
    values = json.loads(json.dumps(config.to_json()))
    assert json.loads(json.dumps(run_config(values).to_json())) == values
    assert check_run(config) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_functions_of_seed_and_step_alone(kind: str, loaded: Callable[[str], Loaded]) -> None:
    one = loaded(kind)
    first, other = one.data.train, one.again.train
    other.batch(5, 2)  # what was asked for before does not count
    for step in (0, 3):
        (image, label), (same, alike) = first.batch(step, 4), other.batch(step, 4)
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (image, same)), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(label, alike)
    images = first.batch(0, 4)[0]
    image = images[0] if isinstance(images, tuple) else images
    assert image.dtype == np.float32
    assert image.shape[:2] == (4, len(one.data.channels))
    assert np.isfinite(image).all()
    assert not np.array_equal(image, (lambda x: x[0] if isinstance(x, tuple) else x)(first.batch(1, 4)[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_shares_of_classes_are_shares(kind: str, loaded: Callable[[str], Loaded]) -> None:
    data = loaded(kind).data
    share = data.train.class_frequency(len(data.scheme.classes))
    assert share.shape == (len(data.scheme.classes),)
    assert (share >= 0).all()
    assert data.train.n_samples > 0
    if data.scheme.kind == "exclusive":
        assert share.sum() == pytest.approx(1)
    else:
        assert share.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_data_is_json_and_holds_every_side(kind: str, loaded: Callable[[str], Loaded]) -> None:
    one = loaded(kind)
    said = json.loads(json.dumps(one.data.description))
    assert said == json.loads(json.dumps(one.again.description))
    assert "train" in said
    assert isinstance(said["leaks"], bool)
    for side, held_out in (("validation", one.data.validation), ("test", one.data.test)):
        if held_out is not None:
            assert side in said
            assert one.data.words(side)


def held_out_of(one: Loaded) -> list[HeldOut]:
    return [held for held in (one.data.validation, one.data.test) if held is not None]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "scenes"])
def test_held_out_sets_score_alike(kind: str, loaded: Callable[[str], Loaded]) -> None:
    """Shares lie in [0, 1], the same network gets the same scores, and a temperature changes no class."""
    one = loaded(kind)
    network = network_of(one)
    assert held_out_of(one)
    for held in held_out_of(one):
        assert held.unit in ("patches", "pixels", "images")
        assert held.n_scored >= 1
        scores = held.score(network)
        figures = scores.figures()
        assert "macro_f1" in figures
        shares = {k: v for k, v in figures.items() if k not in ("nll", "loss")}
        assert all(0 <= v <= 1 or math.isnan(v) for v in shares.values()), shares
        told = json.loads(json.dumps(scores.to_json()))
        assert told["classes"] == list(one.data.scheme.names)
        assert held.score(network).to_json() == scores.to_json()
        warm = held.score(network, temperature=3.0).to_json()
        assert warm["confusion"] == scores.to_json()["confusion"]


# ---- ways to learn


def names_of_strategies() -> list[str]:
    return [settings.name for settings in get_args(get_args(StrategyConfig)[0])]


def settings_of(name: str) -> Any:
    kinds = {settings.name: settings for settings in get_args(get_args(StrategyConfig)[0])}
    small = {"labelled": 4} if kinds[name].learns_from == "pool" else {}
    if hasattr(kinds[name], "first_epochs"):
        small["first_steps"] = 2
    return kinds[name](**small)


#: Ways to learn, and a network without batch norm and one with it where both can be.
CASES = [
    (name, network)
    for name in sorted(STRATEGIES)
    for network in (("adhoc", "cnn13") if settings_of(name).learns_from != "imagettes" else ("",))
]


def run_of(name: str, architecture: str, runs: dict[str, RunConfig]) -> RunConfig:
    settings = settings_of(name)
    if settings.learns_from == "imagettes":
        recipe = {"segmentation": "unet", "categorisation": "categoriser", "im2px": "im2px"}[name]
        base = runs["imagettes"].data
        assert isinstance(base, ImagetteData)
        sets = {"train": Path(base.train[0]), "test": Path(base.validation[0])}
        return imagettes.run(f"metocean:{recipe}", sets)
    config = runs["patches"]
    assert isinstance(config.data, PatchData)
    if architecture == "cnn13":
        config = replace(config, model=ModelConfig(architecture="cnn13", settings={"width": 4}))
    if name == "distillation":
        taught = runs["patches"].data
        assert isinstance(taught, PatchData)
        settings = replace(settings, teacher=str(Path(taught.patches[0]).parent / TEACHER / "model"))
    optim = replace(config.optim, steps=8, epochs=None, batch=12)
    labels = replace(config.labels, count=16) if settings.learns_from == "pool" else config.labels
    return replace(config, strategy=settings, optim=optim, labels=labels)


def built(config: RunConfig) -> Strategy:
    seed_everything(config.seed)
    data = load_data(config)
    one = Loaded(config, data, data)
    config = replace(config, optim=replace(config.optim, steps=make_plan(config, data).steps, epochs=None))
    return make_strategy(config, network_of(one).train(), data, CPU)


def test_every_strategy_can_be_built() -> None:
    assert set(names_of_strategies()) == set(STRATEGIES)


@pytest.mark.parametrize(("name", "architecture"), CASES)
def test_strategies_step_alike(name: str, architecture: str, runs: dict[str, RunConfig]) -> None:
    """Losses are finite and can be descended, logs are numbers, the same seed gives the same steps."""
    config = run_of(name, architecture, runs)
    check_run(config)
    seen = []
    for _ in range(2):
        strategy = built(config)
        assert isinstance(strategy.result, nn.Module)
        optimiser = make_optimiser(strategy.networks, config.optim)
        losses = []
        for step in range(4):
            for network in strategy.networks.values():
                network.train()
            rates = strategy.rates(step, config.optim)
            assert set(rates) == set(strategy.networks)
            assert all(0 <= rate < 10 for rate in rates.values())
            loss, logs = strategy.step(step)
            assert loss.ndim == 0
            assert torch.isfinite(loss)
            assert all(isinstance(value, (int, float)) for value in logs.values()), logs
            assert "loss" in logs
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            strategy.after_step(step)
            losses.append(float(loss.detach()))
        seen.append(losses)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(("name", "architecture"), CASES)
def test_what_strategies_keep_is_enough_to_go_on(name: str, architecture: str, runs: dict[str, RunConfig]) -> None:
    """Tensors, networks and random state of one, put into another, give the same next step."""
    config = run_of(name, architecture, runs)
    strategy = built(config)
    for step in range(3):
        strategy.step(step)
        strategy.after_step(step)
    other = built(config)
    other.load_tensors({key: value.clone() for key, value in strategy.tensors().items()})
    for key, network in strategy.networks.items():
        other.networks[key].load_state_dict(network.state_dict())
    other.result.load_state_dict(strategy.result.state_dict())
    torch.manual_seed(5)
    expected = float(strategy.step(3)[0].detach())
    torch.manual_seed(5)
    assert float(other.step(3)[0].detach()) == expected
