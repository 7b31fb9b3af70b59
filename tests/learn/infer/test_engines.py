"""What every engine must hold: one result a cell, images of any size, the same function whatever it is cut from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from frazil.learn.infer.dense import DenseEngine, EnsembleEngine, PatchwiseEngine
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.openvino_engine import OpenVINOEngine
from frazil.learn.infer.softmax import percents
from frazil.learn.infer.tiles import tile_logits, tiles_for
from frazil.learn.infer.torch_engine import TorchEngine
from frazil.learn.models import create_model
from frazil.scene.tiles import TileGrid
from tests.learn.predict.test_scene import random_model

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"widths": (4, 6, 8), "patch": 2}


def network(name: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    made = create_model(name, n_channels=3, n_classes=5, settings=settings)
    for module in made.modules():  # batch norm that has seen something
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return made.eval()


ENGINES: dict[str, Callable[[], Engine]] = {
    "unet": lambda: TorchEngine(network("unet", **SMALL)),
    "metocean_unet": lambda: TorchEngine(network("metocean_unet", widths=(4, 6, 8), output=1)),
    "im2px": lambda: TorchEngine(network("im2px", widths=(4, 6), convolutions=1)),
    "dense": lambda: DenseEngine(network("adhoc", patch=20), stride=4),
    "patchwise": lambda: PatchwiseEngine(network("adhoc", patch=20), stride=5),
    "ensemble": lambda: EnsembleEngine([TorchEngine(network("unet", **SMALL)) for _ in range(2)]),
    "openvino": lambda: OpenVINOEngine(random_model()),
}


def engine_of(name: str) -> Engine:
    return ENGINES[name]()


def image_of(lines: int, pixels: int) -> np.ndarray:
    return np.random.default_rng(3).random((3, lines, pixels), np.float32)


@pytest.mark.parametrize("name", ENGINES)
def test_one_result_for_each_cell_of_an_image_of_any_size(name: str) -> None:
    engine = engine_of(name)
    assert engine.stride % engine.cell == 0
    assert engine.margin % engine.stride == 0
    assert engine.output in ("softmax", "sigmoid")
    for lines, pixels in ((64, 96), (61, 83), (engine.stride, 3 * engine.stride + 1)):
        logits = engine(image_of(lines, pixels))
        assert logits.dtype == np.float32
        assert logits.shape == (5, -(-lines // engine.cell), -(-pixels // engine.cell))
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", ENGINES)
def test_tiles_do_not_change_what_an_engine_says(name: str) -> None:
    engine, image = engine_of(name), image_of(150, 201)
    whole = engine(image)
    for tile in (32, 64):
        out = np.full_like(whole, np.nan)
        for part in tile_logits(engine, tiles_for(engine, (150, 201), tile), lambda lines: (image[:, lines], None)):
            out[(slice(None), *part.cells)] = part.logits
        np.testing.assert_allclose(out, whole, rtol=1e-4, atol=1e-4)


def test_tiles_with_other_cores_and_margins() -> None:
    engine = engine_of("metocean_unet")
    tiles = tiles_for(engine, (300, 200), 4096, core=128, margin=64)
    assert tiles == TileGrid(shape=(300, 200), core=(128, 128), margin=64, multiple=engine.stride)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_scores_in_percent(output: str) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (4, 30, 20)).astype(np.float32)
    found = np.empty(logits.shape, np.uint8)
    percents(logits, 1.7, output, found)
    z = torch.from_numpy(logits.astype(np.float64)) / 1.7
    expected = 100 * (z.softmax(0) if output == "softmax" else z.sigmoid()).numpy()
    assert np.abs(found - expected).max() <= 0.5 + 1e-4
