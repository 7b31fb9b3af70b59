"""A desk with one small scene, in a folder of each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from frazil.conventions import FIVE_CLASSES
from frazil.desk.labels import LabelStore
from frazil.desk.scenes import DeskScene, open_scene_of_desk
from frazil.desk.session import Session
from frazil.learn.cells.cells import Cells
from frazil.learn.checkpoint import load_model


@pytest.fixture(scope="session")
def prepared(small_safe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DeskScene]:
    """The folder of a desk, and the scene that was prepared in it."""
    folder = tmp_path_factory.mktemp("desk")
    return folder, open_scene_of_desk(small_safe, folder, load_model("ice-measured"))


@pytest.fixture
def scene(prepared: tuple[Path, DeskScene]) -> DeskScene:
    """The scene as it was when it came."""
    first = prepared[1]
    return DeskScene(first.name, first.first, first.cells, first.source)


@pytest.fixture(scope="session")
def ice_map(prepared: tuple[Path, DeskScene]) -> xr.Dataset:
    return prepared[1].first


@pytest.fixture(scope="session")
def cells(prepared: tuple[Path, DeskScene]) -> Cells:
    return prepared[1].cells


@pytest.fixture
def session(scene: DeskScene, tmp_path: Path) -> Iterator[Session]:
    opened = Session(tmp_path, [scene], author="Ada")
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return new_store(tmp_path)


def new_store(folder: Path, scenes: tuple[str, ...] = ("a",)) -> LabelStore:
    return LabelStore(folder, crs="EPSG:3413", scheme=FIVE_CLASSES, scenes=scenes)


def square(x: float = 0.0, y: float = 0.0, half: float = 500.0) -> list[list[list[float]]]:
    return [
        [[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half], [x - half, y - half]]
    ]


def label(name: str = "l1", **more: Any) -> dict[str, Any]:
    return {"id": name, "scene": "a", "code": 0, "rings": square(), **more}
