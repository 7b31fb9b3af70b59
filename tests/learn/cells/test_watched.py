"""What a network sees: as if all of the scene had gone through it at once, whatever the tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from frazil import predict
from frazil.errors import ModelError
from frazil.learn.cells.cells import Cells
from frazil.learn.cells.look import look_at
from frazil.learn.cells.watched import POOL, Watched, can_be_watched
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.infer.torch_engine import TorchEngine
from frazil.learn.map_shapes import UNetConfig
from frazil.learn.models.unet import UNet


@pytest.fixture(scope="module")
def network() -> UNet:
    torch.manual_seed(3)
    return UNet(2, 3, UNetConfig(widths=(4, 6), patch=2)).eval()


def whole(network: UNet, image: np.ndarray) -> np.ndarray:
    """Features before the last layer of the whole image at once, averaged over cells."""
    kept: list[torch.Tensor] = []
    handle = network.head.register_forward_pre_hook(lambda _m, inputs: kept.append(inputs[0]))
    with torch.inference_mode():
        network(torch.from_numpy(image)[None])
    handle.remove()
    return nn.functional.avg_pool2d(kept[0], POOL // network.patch)[0].numpy()


def test_tiles_that_overlap_give_what_one_look_gives(network: UNet) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 96, 128)).astype(np.float32)
    engine = Watched(TorchEngine(network), (96, 128))
    margin, step = engine.margin, 32
    assert margin < 32
    for line in range(0, 96, step):
        for pixel in range(0, 128, step):
            top, left = max(line - 32, 0), max(pixel - 32, 0)
            engine(np.ascontiguousarray(image[:, top : line + step + 32, left : pixel + step + 32]), (top, left))
    np.testing.assert_allclose(engine.features.astype(float), whole(network, image), atol=2e-3)


def test_watching_changes_no_logit(network: UNet) -> None:
    image = np.random.default_rng(1).normal(size=(2, 64, 64)).astype(np.float32)
    plain, watched = TorchEngine(network), Watched(TorchEngine(network), (64, 64))
    np.testing.assert_array_equal(plain(image), watched(image))


def test_the_map_of_a_look_is_that_of_predict(scene: xr.Dataset, ice_map: xr.Dataset) -> None:
    made = predict(scene, engine="torch")
    for name in ("probability", "ice_class", "quality_flags", "quicklook"):
        np.testing.assert_array_equal(made[name].values, ice_map[name].values)


def test_cells_hold_what_the_network_sees(cells: Cells) -> None:
    seen = [n for n in cells.names if n.startswith("seen")]
    assert len(seen) == 24
    index = [cells.names.index(n) for n in seen]
    assert (cells.features[:, index].std(axis=0) > 0.5).sum() > 12  # some of 24 may be dead after ReLU


def test_networks_without_such_a_layer_are_not_watched(network: UNet) -> None:
    assert can_be_watched(network)
    assert not can_be_watched(nn.Sequential(nn.Conv2d(1, 1, 1)))


def test_models_of_phenomena_are_refused(scene: xr.Dataset) -> None:
    from dataclasses import replace

    model = load_model("ice-measured")
    other = Model(model.network, replace(model.card, class_scheme="metocean"))
    with pytest.raises(ModelError, match="phenomena"):
        look_at(scene, other)
