"""Several scales against slow references: block means pixel by pixel, one pass a scale, means of scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from scipy.special import expit

from frazil.cli import cli
from frazil.errors import OptionError
from frazil.labels.imagettes import save_imagettes
from frazil.learn.checkpoint import Model, ModelCard, save_model
from frazil.learn.infer.scales import ManyScales, at_scale, check_scales, onto_cells
from frazil.learn.models import create_model
from frazil.learn.predict.imagettes import SegmentOptions, segment
from frazil.scene.scaling import CHANNELS
from frazil.simulate.imagettes import simulated_imagettes
from frazil.simulate.wave_mode import WaveModeConfig

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = {"widths": [2, 3, 4, 5]}


def unet() -> Model:
    torch.manual_seed(3)
    network = create_model("metocean_unet", n_channels=1, n_classes=10, settings=SETTINGS).eval()
    card = ModelCard(
        id="random",
        architecture="metocean_unet",
        settings=SETTINGS,
        class_scheme="metocean",
        channels=(CHANNELS["roughness_vv"],),
        spacing_m=100.0,
        denoise="esa",
        incidence_range=(20.0, 45.0),
        temperature=1.4,
    )
    return Model(network, card)


def slow_mean(image: np.ndarray, k: int) -> np.ndarray:
    out = np.zeros((image.shape[0] // k, image.shape[1] // k), np.float64)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for a in range(k):
                for b in range(k):
                    out[i, j] += image[i * k + a, j * k + b] / k**2
    return out


def slow(model: Model, image: np.ndarray, blocks: tuple[int, ...]) -> np.ndarray:
    """Mean over scales of one over a whole number, cell by cell."""
    found = np.zeros((10, image.shape[0] // 4, image.shape[1] // 4))
    for k in blocks:
        seen = torch.from_numpy(slow_mean(image, k).astype(np.float32))[None, None]
        with torch.inference_mode():
            score = expit(model.network(seen)[0].numpy() / model.card.temperature)
        for i in range(found.shape[1]):
            for j in range(found.shape[2]):
                found[:, i, j] += score[:, i // k, j // k] / len(blocks)
    return found


@pytest.fixture(scope="module")
def images() -> xr.Dataset:
    return simulated_imagettes({"rain_cells": 1, "wind_streaks": 1}, seed=2, config=WaveModeConfig(side_m=6400))


def test_the_mean_over_scales_of_an_imagette(images: xr.Dataset) -> None:
    model = unet()
    found = segment(images, model, options=SegmentOptions(scales=(1.0, 0.5, 0.25)))
    assert found.attrs["scales"] == [1.0, 0.5, 0.25]
    for i in range(2):
        expected = slow(model, images["image"].values[i].astype(np.float32), (1, 2, 4))
        np.testing.assert_allclose(found["score"].values[i], expected, atol=2e-3)  # float16


def test_one_scale_is_what_it_was(images: xr.Dataset) -> None:
    plain = segment(images, unet())
    one = segment(images, unet(), options=SegmentOptions(scales=(1.0,)))
    assert plain.identical(one)
    other = segment(images, unet(), options=SegmentOptions(scales=(1.0, 0.5)))
    assert not np.array_equal(plain["score"].values, other["score"].values)


class Cells:
    """An engine whose logits are the means of its cells of 4 pixels, in two classes."""

    stride, margin, cell, output, view = 4, 4, 4, "softmax", 1

    def look(self, wide: np.ndarray) -> None:
        """Nothing."""

    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:  # noqa: ARG002
        h, w = (-(-n // 4) for n in image.shape[1:])
        padded = np.pad(image[0], ((0, h * 4 - image.shape[1]), (0, w * 4 - image.shape[2])), mode="edge")
        mean = padded.reshape(h, 4, w, 4).mean(axis=(1, 3))
        return np.stack([mean, -mean]).astype(np.float32)


def test_an_engine_of_several_scales_gives_logits_of_the_mean() -> None:
    image = np.random.default_rng(0).normal(size=(1, 24, 40)).astype(np.float32)
    many = ManyScales(Cells(), (1.0, 0.5), temperature=2.0)
    assert (many.stride, many.cell) == (8, 4)
    assert many.margin % many.stride == 0
    assert many.margin >= 8
    z = many(image) / 2.0
    p = np.exp(z) / np.exp(z).sum(0)
    expected = np.zeros((2, 6, 10))
    for i in range(6):
        for j in range(10):
            fine = image[0, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean() / 2
            a, b = i // 2 * 8, j // 2 * 8
            coarse = image[0, a : a + 8, b : b + 8].mean() / 2
            for k, sign in enumerate((1, -1)):
                expected[k, i, j] = np.mean([expit(sign * 2 * fine), expit(sign * 2 * coarse)])
    np.testing.assert_allclose(p, expected, atol=1e-5)


def test_images_that_no_block_divides_keep_their_cells() -> None:
    image = np.random.default_rng(0).normal(size=(1, 21, 30)).astype(np.float32)
    assert ManyScales(Cells(), (1.0, 0.5, 0.25), temperature=1.0)(image).shape == (2, 6, 8)


def test_there_and_back() -> None:
    image = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    np.testing.assert_allclose(at_scale(image, 0.5)[0], slow_mean(image[0], 2))
    assert at_scale(image, 2.0).shape == (1, 16, 16)
    assert at_scale(image, 1.0) is image
    score = np.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_allclose(onto_cells(score, 2.0, (2, 2))[0], slow_mean(score[0], 2))
    np.testing.assert_array_equal(onto_cells(score, 0.5, (7, 8))[0], np.kron(score[0], np.ones((2, 2)))[:7])


@pytest.mark.parametrize("scales", [(0.3,), (1.5,), (0.0,), (-1.0,), (1.0, 1.0), (), (32.0,)])
def test_scales_that_cannot_be(scales: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match="scale"):
        check_scales(scales)


def test_scales_that_do_not_divide_are_one_line(images: xr.Dataset, tmp_path: Path) -> None:
    store = save_imagettes(images, tmp_path / "set.zarr")
    model, folder = unet(), tmp_path / "model"
    save_model(model.network, model.card, folder)
    words = ["segment", str(store), "--model", str(folder), "-o", str(tmp_path / "out.zarr")]
    for scales, said in (("1,0.2", "does not divide images of 64 pixels"), ("0.3", "neither a whole number")):
        with pytest.raises(OptionError, match=said):
            CliRunner().invoke(cli, [*words, "--scales", scales], catch_exceptions=False)
    done = CliRunner().invoke(cli, [*words, "--scales", "1,x"])
    assert done.exit_code == 2
    assert "no list of numbers" in done.output
    assert not (tmp_path / "out.zarr").exists()
