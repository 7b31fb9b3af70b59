"""Seeds, counts and sizes that cannot be are refused in a line, by commands and by the library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from frazil.cli import cli
from frazil.errors import FrazilError, OptionError
from frazil.learn.config import LabelsConfig, OptimConfig, override
from frazil.learn.predict.imagettes import SegmentOptions
from frazil.learn.predict.phenomena import PhenomenaMapOptions
from frazil.recipes import find_recipe
from frazil.simulate import WorldConfig
from frazil.simulate.wave_mode import simulate_imagette


@pytest.mark.parametrize(
    "words",
    [
        ["simulate", "{}", "--seed=-1", "--lines", "0", "100", "--pixels", "0", "100"],
        ["imagettes", "simulated", "--count", "1", "--seed=-1", "-o", "{}/x.zarr"],
        ["imagettes", "simulated", "--count", "-1", "-o", "{}/x.zarr"],
        ["imagettes", "masks", "X", "--group-size=-4", "-o", "{}/x.zarr"],
        ["imagettes", "product", "X", "--max-land", "5", "-o", "{}/x.zarr"],
        ["study", "channels", "--data", "X", "--workers", "0", "-o", "{}/x"],
        ["study", "few-labels", "--data", "X", "--draws", "0", "-o", "{}/x"],
        ["report", "X", "--worst=-1", "-o", "{}/x"],
    ],
)
def test_commands(words: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, [word.format(tmp_path) for word in words])
    assert isinstance(done.exception, (FrazilError, SystemExit)), done.exception
    assert done.exit_code != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: WorldConfig(seed=-1),
        lambda: simulate_imagette("iceberg", seed=-1),
        lambda: SegmentOptions(mask_stride=0),
        lambda: SegmentOptions(tile=-75),
        lambda: SegmentOptions(threshold=float("nan")),
        lambda: PhenomenaMapOptions(tile=0),
        lambda: PhenomenaMapOptions(threshold=float("nan")),
    ],
)
def test_library(make: Callable[[], Any]) -> None:
    with pytest.raises(OptionError, match="must"):
        make()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["optim.lr", "optim.clip", "optim.weight_decay", "strategy.class_balance"])
def test_settings_of_runs(name: str, value: str) -> None:
    with pytest.raises(OptionError, match=rf"{name}|{name.replace('.', ': ')}"):
        override(find_recipe("patches:adhoc"), {name: value, "data.patches": "x.zarr"})


def test_settings_of_runs_in_python() -> None:
    recipe = find_recipe("patches:adhoc")
    with pytest.raises(OptionError, match=r"optim\.clip nan is not a number"):
        replace(recipe, optim=OptimConfig(clip=float("nan")))
    with pytest.raises(OptionError, match="seed -1 must be 0 or more"):
        replace(recipe, seed=-1)
    with pytest.raises(OptionError, match="seed -2 must be 0 or more"):
        replace(recipe, labels=LabelsConfig(seed=-2))
