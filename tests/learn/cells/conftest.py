"""A small scene looked at by the bundled network."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from frazil.learn.cells.cells import Cells
from frazil.learn.cells.look import look_at
from frazil.learn.checkpoint import load_model
from frazil.learn.predict.scene import open_for


@pytest.fixture(scope="session")
def scene(small_safe: Path) -> xr.Dataset:
    return open_for(small_safe, load_model("ice-measured").card).compute()


@pytest.fixture(scope="session")
def looked(scene: xr.Dataset) -> tuple[xr.Dataset, Cells]:
    return look_at(scene)


@pytest.fixture(scope="session")
def ice_map(looked: tuple[xr.Dataset, Cells]) -> xr.Dataset:
    return looked[0]


@pytest.fixture(scope="session")
def cells(looked: tuple[xr.Dataset, Cells]) -> Cells:
    return looked[1]
