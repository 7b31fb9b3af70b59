"""Recipes: each is a run that can be begun, named for itself; and files of strangers that should be recipes."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from frazil.errors import OptionError
from frazil.learn.config import RunConfig, run_config
from frazil.learn.models import ARCHITECTURES, create_model
from frazil.recipes import cifar10, few_labels, find_recipe, ice_simulated, metocean, patches, recipe_names, scenes
from frazil.scene.scaling import CHANNELS

NAMES = recipe_names()
FILES = (cifar10, few_labels, ice_simulated, metocean, patches, scenes)


def test_all_functions_of_all_files_are_recipes() -> None:
    expected = {
        f"{module.__name__.rpartition('.')[2]}:{name}"
        for module in FILES
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert set(NAMES) == expected
    assert sorted(expected) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_run_that_can_be_written_down_and_begun(name: str) -> None:
    """Its network is one that there is, of the kind that its data are for, and takes its settings."""
    config = find_recipe(name)
    told = config.to_json()
    assert run_config(json.loads(json.dumps(told, allow_nan=False))).to_json() == told
    assert config is not find_recipe(name)
    network: Any = ARCHITECTURES[config.model.architecture][0]
    kind, takes = config.data.kind, network.takes
    if config.strategy.learns_from == "imagettes":
        assert kind == "imagettes"
        assert takes == config.strategy.takes
    else:
        assert takes == ("scene" if kind in ("scenes", "simulated") else "patch")
        assert (config.strategy.learns_from == "pool") == hasattr(config.strategy, "labelled")
    with torch.device("meta"):
        made = create_model(config.model.architecture, n_channels=3, n_classes=5, settings=config.model.settings)
    assert sum(p.numel() for p in made.parameters()) > 1000
    labelled = getattr(config.strategy, "labelled", None)
    assert labelled is None or labelled < config.optim.batch, "room for patches without a label"


@pytest.mark.parametrize("name", NAMES)
def test_names_of_runs_and_docstrings(name: str) -> None:
    """Two recipes that write into folders of one name would be taken for each other."""
    module, _, function = name.partition(":")
    files: dict[str, Any] = {m.__name__.rpartition(".")[2]: m for m in FILES}
    assert getattr(files[module], function).__doc__
    config = find_recipe(name)
    assert config.name
    assert " " not in config.name
    same_file = [find_recipe(n).name for n in NAMES if n.startswith(f"{module}:")]
    assert same_file.count(config.name) == 1


def test_cifar10_is_the_schedule_of_the_paper() -> None:
    """Paper 3: 45,000 images in batches of 128, warm-up of four epochs, a tenth after epochs 45 and 55 (or 50, 60)."""
    for make, drops, epochs in ((cifar10.resnet20, (45, 55), 65), (cifar10.resnet32, (50, 60), 70)):
        optim = make().optim
        steps = 45_000 // 128 + (45_000 % 128 > 0)
        assert optim.warmup == 4 * steps
        assert optim.epochs == epochs
        assert [round(m * epochs, 9) for m in optim.milestones] == list(drops)
        assert (optim.lr, optim.momentum, optim.weight_decay, optim.batch) == (0.1, 0.9, 1e-4, 128)
        assert optim.optimiser == "sgd"


def test_seeds_of_simulated_scenes_are_in_one_side_alone() -> None:
    """The list of seeds is the split."""
    every: set[int] = set()
    for make in (ice_simulated.baseline, ice_simulated.measured):
        data: Any = make().data
        sides = [set(data.train_seeds), set(data.validation_seeds), set(data.test_seeds)]
        assert sum(map(len, sides)) == len(set.union(*sides))
        assert not every & set.union(*sides), "models are not judged on what the other one learnt from"
        every |= set.union(*sides)
        assert set(data.channels) <= set(CHANNELS)
        assert "simulated" in make().statement


def test_a_recipe_in_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from frazil.learn.config import RunConfig\n"
        "from frazil.recipes.ice_simulated import tiny\n"
        "def first():\n    return RunConfig(name='first')\n"
        "def with_argument(x):\n    return RunConfig(name='x')\n"
        "def _hidden():\n    return RunConfig(name='x')\n"
        "def wrong():\n    return {'name': 'x'}\n"
    )
    assert find_recipe(f"{path}:first") == RunConfig(name="first")
    for name in ("with_argument", "_hidden", "tiny", "", "other"):
        with pytest.raises(OptionError, match=r"no recipe .*Choose one of .*mine\.py:first.*mine\.py:wrong"):
            find_recipe(f"{path}:{name}")
    with pytest.raises(OptionError, match="returns dict; it should return a RunConfig"):
        find_recipe(f"{path}:wrong")


@pytest.mark.parametrize("name", ["", "patches", "patches:", ":adhoc", "nowhere:x", "patches:_run", "patches:replace"])
def test_names_that_are_no_recipe_are_told_those_that_there_are(name: str) -> None:
    with pytest.raises(OptionError, match="There is no recipe") as caught:
        find_recipe(name)
    assert "\n" not in str(caught.value)
    assert "patches:adhoc" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "3", "{}", '{"config": 3}', '{"config": {"name": 3}}', "\x00", "[" * 9999]
)
def test_saved_runs_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(OptionError) as caught:
        find_recipe(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match="holds no settings of a run"):
        find_recipe(str(tmp_path / "missing.json"))


def test_a_saved_run_is_itself_again(tmp_path: Path) -> None:
    """As `run.json` of a folder, and as the settings alone."""
    config = find_recipe("few_labels:tslp")
    for values in (config.to_json(), {"config": config.to_json(), "steps": 3}):
        (tmp_path / "run.json").write_text(json.dumps(values))
        assert find_recipe(str(tmp_path / "run.json")) == config


def test_strategies_of_few_labels_are_all_different() -> None:
    made = [find_recipe(n) for n in NAMES if n.startswith("few_labels:")]
    names = [c.strategy.name for c in made]
    assert len(set(names)) == len(names) - 1, "label propagation comes with two networks"
    assert all(isinstance(c, RunConfig) for c in made)
    pools = [c for c in made if c.strategy.learns_from == "pool"]
    assert {c.strategy.name for c in pools} == set(names) - {"supervised"}
