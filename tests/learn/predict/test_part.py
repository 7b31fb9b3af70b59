"""Maps of a box against maps of the whole scene, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from frazil import open_scene
from frazil.conventions import QUALITY_FLAGS
from frazil.errors import OptionError
from frazil.learn.checkpoint import Model, ModelCard, load_model
from frazil.learn.infer.openvino_engine import OpenVINOEngine
from frazil.learn.models import create_model
from frazil.learn.predict.flags import FlagSettings
from frazil.learn.predict.ice import predict
from frazil.learn.predict.part import part_of
from frazil.learn.predict.phenomena import PhenomenaMapOptions, predict_phenomena
from frazil.scene.box import Box, box_of
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import grid_for
from frazil.scene.scaling import CHANNELS
from frazil.simulate.product import simulate_product
from tests.learn.predict.test_phenomena import model as phenomena_model
from tests.learn.predict.test_scene import random_model

Box4 = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 780 × 940 pixels of 120 m, with islands."""
    folder = tmp_path_factory.mktemp("part")
    return simulate_product(folder, seed=3, lines=(3400, 5740), pixels=(3000, 5820), land="gshhg")


def box_around(product: Path, line: tuple[int, int], pixel: tuple[int, int]) -> Box4:
    """The box of the places of two corners of a scene."""
    scene = open_scene(product)
    lon, lat = Geolocation.of(scene).lonlat(*(v.ravel() for v in np.meshgrid(line, pixel)))
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def assert_same(part: xr.Dataset, whole: xr.Dataset, by: int = 0) -> None:
    """Every variable is what the map of the whole has there; scores to so many percent, `by`."""
    assert part.sizes["x"] < whole.sizes["x"] or part.sizes["y"] < whole.sizes["y"]
    there = whole.sel(x=part["x"], y=part["y"])  # fails unless pixels are the same
    assert part.attrs.get("outside_training") == whole.attrs.get("outside_training")
    assert list(whole.data_vars) == list(part.data_vars)
    for name in part.data_vars:
        a, b = part[name].values, there[name].values
        if by and name != "quicklook":
            off = np.abs(a.astype(int) - b)
            assert (off > 0).mean() < 1e-3, name
            assert name not in ("score", "probability") or off.max() <= by
        else:
            np.testing.assert_array_equal(a, b, err_msg=str(name))


@pytest.fixture(scope="module")
def whole(safe: Path) -> xr.Dataset:
    return predict(safe)


@pytest.mark.parametrize(
    ("line", "pixel"),
    [
        ((900, 1200), (900, 1300)),
        ((-900, 400), (2300, 3600)),  # a corner of the scene, and beyond
        ((1000, 1012), (1200, 1230)),  # small
    ],
)
def test_the_bundled_model(
    safe: Path, whole: xr.Dataset, line: tuple[int, int], pixel: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, inner = [], OpenVINOEngine.__call__

    def spy(self: OpenVINOEngine, image: np.ndarray, corner: tuple[int, int] = (0, 0)) -> np.ndarray:
        shown.append(image[0].size)
        return inner(self, image, corner)

    monkeypatch.setattr(OpenVINOEngine, "__call__", spy)
    part = predict(safe, bbox=box_around(safe, line, pixel))
    assert_same(part, whole)
    assert 0 < sum(shown) < 0.6 * 780 * 940  # the margin of this network is wide
    assert np.unique(part["probability"].values).size > 20, "a part of one class compares too little"


def test_a_coarse_map_of_a_part(safe: Path) -> None:
    """The radar image averages blocks of 5 × 5 pixels of 120 m: those of the whole scene."""
    model = random_model()
    part = predict(safe, model, bbox=box_around(safe, (401, 1103), (503, 1309)), spacing_m=600.0)
    assert (part["quicklook"].values > 0).mean() > 0.4
    assert_same(part, predict(safe, model, spacing_m=600.0))


def test_a_wide_border_and_coast(safe: Path) -> None:
    flags, model = FlagSettings(border_m=15_000, coast_m=25_000), random_model()
    part = predict(safe, model, bbox=box_around(safe, (400, 700), (500, 900)), flags=flags)
    assert_same(part, predict(safe, model, flags=flags))
    for name in ("border", "coast"):
        share = (part["quality_flags"].values & QUALITY_FLAGS[name][0] > 0).mean()
        assert share > 0.05, name


def test_a_scene_unlike_the_training_is_unlike_it_in_its_parts(safe: Path) -> None:
    """The scene is judged, not the part: both maps give the same warning, with the same numbers."""
    model = load_model("ice-measured")
    scene = open_scene(safe, looks=3)
    scene = scene.assign(sigma0=scene["sigma0"] * 40).load()
    part = predict(scene, model, bbox=box_around(safe, (900, 1200), (900, 1300)))
    assert "DO NOT TRUST" in part.attrs["note"]
    assert_same(part, predict(scene, model))


@pytest.mark.parametrize("function", ["dense", "patchwise"])
def test_patch_classifiers(small_safe: Path, function: str) -> None:
    torch.manual_seed(1)
    settings = {"patch": 20, "widths": (4, 4, 4), "hidden": (8,)}
    network = create_model("adhoc", n_channels=2, n_classes=2, settings=settings).eval()
    card = ModelCard(
        id="patches-1",
        architecture="adhoc",
        settings=settings,
        class_scheme="binary",
        channels=(CHANNELS["hh"], CHANNELS["hv"]),
        spacing_m=40.0,
        denoise="esa",
        incidence_range=(19.0, 46.0),
    )
    model = Model(network, card)
    part = predict(small_safe, model, bbox=box_around(small_safe, (300, 500), (500, 800)), function=function)
    assert_same(part, predict(small_safe, model, function=function), by=1)


@pytest.fixture(scope="module")
def iw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IW product of 60 × 70 km."""
    return simulate_product(tmp_path_factory.mktemp("iw"), template="iw", seed=1, lines=(0, 6000), pixels=(0, 7000))


@pytest.mark.parametrize(
    "options",
    [
        PhenomenaMapOptions(),
        PhenomenaMapOptions(tiling="half-overlap"),
        PhenomenaMapOptions(scales=(1.0, 0.5)),
    ],
    ids=["seamless", "half-overlap", "scales"],
)
def test_phenomena(iw: Path, options: PhenomenaMapOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = lambda grid: (np.zeros(grid.shape, bool), np.full(grid.shape, np.inf, np.float32))  # noqa: E731
    for name in ("scene", "part"):  # the real metadata lie over land
        monkeypatch.setattr(f"frazil.learn.predict.{name}.land_on", nowhere)
    box, model = box_around(iw, (3000, 4200), (2500, 4500)), phenomena_model()
    part = predict_phenomena(iw, model, bbox=box, options=options)
    assert (part["score"].values != 255).mean() > 0.5
    assert_same(part, predict_phenomena(iw, model, options=options), by=1)


def test_a_box_elsewhere_is_told_where_the_scene_is(iw: Path) -> None:
    home = box_of(Geolocation.of(open_scene(iw)))
    away = f"{home.west:g},{home.south - 20:g},{home.east:g},{home.south - 10:g}"
    with pytest.raises(OptionError, match=f"bbox {away} does not touch the scene, which lies within {home}"):
        predict_phenomena(iw, phenomena_model(), bbox=away)


def test_boxes_beside_a_tilted_scene_do_not_touch_it(safe: Path) -> None:
    """What holds a box on the map, a rectangle of its projection, may hold some of the scene where the box does not."""
    scene, rng = open_scene(safe, looks=3), np.random.default_rng(1)
    grid, geo = grid_for(scene, spacing_m=120.0), Geolocation.of(scene)
    lon, lat = geo.lonlat(scene["line"].values[:, None], scene["pixel"].values[None, :])
    x, y = geo.xy(scene["line"].values[:, None], scene["pixel"].values[None, :], grid.pyproj_crs)
    beside = touching = 0
    for _ in range(60):
        west, south = rng.uniform(lon.min() - 0.5, lon.max()), rng.uniform(lat.min() - 0.1, lat.max())
        box = Box(west, south, west + rng.uniform(0.1, 1.5), south + rng.uniform(0.05, 0.1))
        if box.holds(lon, lat).any():
            part_of(scene, grid, box)
            touching += 1
        elif not box.wider(0.2).holds(lon, lat).any():  # closer than a pixel or two may go either way
            with pytest.raises(OptionError, match="does not touch"):
                part_of(scene, grid, box)
            if (place := box.on(grid)) is not None:
                left, bottom, right, top = grid.part(*place).bounds
                beside += bool(((x > left) & (x < right) & (y > bottom) & (y < top)).any())
    assert touching > 10
    assert beside > 3


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((10.0, 20.0, 11.0, 21.0), "does not touch the scene, which lies within"),
        ((10.0, 80.0, 11.0, 79.0), "south must lie below north"),
        ((10.0, 80.0, 10.0, 81.0), "no width"),
    ],
)
def test_boxes_that_are_refused(safe: Path, box: Box4, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        predict(safe, random_model(), bbox=box)


@pytest.mark.slow
def test_what_does_not_go_with_a_box(safe: Path) -> None:
    lon, lat = (float(v) for v in Geolocation.of(open_scene(safe)).lonlat(1000.0, 1000.0))
    with pytest.raises(OptionError, match="holds 1 × 1 pixels of the map"):
        predict(safe, random_model(), bbox=(lon, lat, lon + 1e-7, lat + 1e-7))
    tiny = predict(safe, random_model(), bbox=(lon, lat, lon + 1e-3, lat + 2e-4), spacing_m=5.0)
    assert tiny.sizes["x"] * tiny.sizes["y"] < 200  # all of it between the middles of pixels
    with pytest.raises(OptionError, match="whole scene that teaches"):
        predict(safe, random_model(), bbox=(0, 70, 10, 80), adapt=True)
    with pytest.raises(OptionError, match="projected grid"):
        predict(safe, random_model(), bbox=(0, 70, 10, 80), crs=None)
