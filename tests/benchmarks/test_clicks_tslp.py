"""`benchmarks/clicks_tslp.py`: patches lie around the cells that they are cut for, and stand for what was observed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyproj import CRS

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.clicks_tslp import SIZE, TRAINED, Image, interval, patches_at, settings_of, table

from frazil.learn.cells.cells import Cells
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid
from frazil.scene.scaling import CHANNELS
from frazil.simulate.scene import simulate_scene

SPACING_M = 960.0  # of the scene; cells are five pixels wide, as those of the desk are


@pytest.fixture(scope="module")
def scene() -> xr.Dataset:
    return simulate_scene("ew", seed=3, spacing_m=SPACING_M)


@pytest.fixture(scope="module")
def places(scene: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """X and y of the middles of all pixels, line by line."""
    lines, pixels = np.meshgrid(scene["line"].values, scene["pixel"].values, indexing="ij")
    return Geolocation.of(scene).xy(lines, pixels, CRS("EPSG:3413"))


@pytest.fixture(scope="module")
def cells(places: tuple[np.ndarray, np.ndarray]) -> Cells:
    """Some of them, whose middles are at most half a pixel from that of a pixel, along both sides of the map."""
    x, y = places
    spacing = 5 * SPACING_M
    shape = int(np.ptp(y) / spacing) + 1, int(np.ptp(x) / spacing) + 1
    grid = MapGrid(crs="EPSG:3413", left=float(x.min()), top=float(y.max()), spacing_m=spacing, shape=shape)
    number = np.full(shape, -1, np.int32)
    for row in range(0, shape[0], 5):
        for column in range(0, shape[1], 4):
            near = np.hypot(x - grid.x[column], y - grid.y[row]).min() < SPACING_M / 2
            number[row, column] = 0 if near else -1
    there = int((number == 0).sum())
    number[number == 0] = np.arange(there)
    return Cells(
        grid=grid,
        side=5,
        number=number,
        features=np.zeros((there, 1), np.float32),
        names=("HH",),
        log_probability=np.zeros((there, 5), np.float32),
        class_scheme="five_classes",
        rim=np.zeros(there, bool),
    )


def test_a_patch_is_the_scene_around_the_place_of_its_cell(
    scene: xr.Dataset, places: tuple[np.ndarray, np.ndarray], cells: Cells
) -> None:
    where = np.random.default_rng(0).permutation(len(cells))
    codes = where % 5
    patches = patches_at(Image.of(scene), cells, where, codes)
    assert (patches["label"].values == codes).all()
    inside = np.flatnonzero(np.isfinite(patches["line"].values))
    assert 0.5 * len(cells) < len(inside) < len(cells)  # some reach over the border
    for k in inside:
        here = patches.isel(patch=k)
        lines = slice(first := scene.get_index("line").get_loc(float(here["line"])), first + SIZE)
        pixels = slice(first := scene.get_index("pixel").get_loc(float(here["pixel"])), first + SIZE)
        cut = scene.isel(line=lines, pixel=pixels)
        for band in ("hh", "hv"):
            power = np.maximum(cut["sigma0"].sel(polarization=band.upper()).values, 1e-9)
            seen = CHANNELS[band].scale(10 * np.log10(power))
            expected = np.where(cut["valid"].values & np.isfinite(power), seen, 0)
            np.testing.assert_allclose(CHANNELS[band].scale(_plane(here, band)), expected, atol=1e-5)
        middle = [values[lines, pixels][SIZE // 2 - 1 : SIZE // 2 + 1].T for values in places]
        x, y = (float(v[SIZE // 2 - 1 : SIZE // 2 + 1].mean()) for v in middle)
        of_cell = [v[where[k]] for v in cells.places()]
        assert np.hypot(x - of_cell[0], y - of_cell[1]) < 0.8 * SPACING_M  # half a pixel along each side


def _plane(patch: xr.Dataset, name: str) -> np.ndarray:
    return np.asarray(patch["image"].values[patch["channel"].values.tolist().index(name)])


def test_a_cell_at_the_border_has_the_pixel_of_its_place_in_the_middle(
    scene: xr.Dataset, places: tuple[np.ndarray, np.ndarray], cells: Cells
) -> None:
    patches = patches_at(Image.of(scene), cells, np.arange(len(cells)), np.zeros(len(cells)))
    over = np.flatnonzero(np.isnan(patches["line"].values))
    angle = _plane(patches.isel(patch=0), "incidence_angle")
    assert angle.shape == (SIZE, SIZE)
    half = SIZE // 2
    for k in over[:: max(len(over) // 20, 1)]:
        x, y = (v[k] for v in cells.places())
        at = np.unravel_index(np.hypot(places[0] - x, places[1] - y).argmin(), places[0].shape)
        if not bool(scene["valid"].values[at]):
            continue
        middle = _plane(patches.isel(patch=k), "incidence_angle")[half - 1 : half + 1, half - 1 : half + 1]
        assert np.abs(middle - scene["incidence_angle"].values[at]).min() < 1e-4


def test_every_way_of_training_is_a_run_of_the_library() -> None:
    for method, name in TRAINED:
        config = settings_of(method, name, 612)
        assert config.optim.steps == 612 or method == "tslp"
        assert config.model.settings["width"] == 8


def test_the_table_tells_the_lead_over_scenes() -> None:
    rows = [
        {"scene": s, "method": m, "settings": w, "seed": 0, "clicks": 15, "f1": f, "right": 0.9, "seconds": 1.0}
        for s, a, b in (("1", 0.8, 0.5), ("2", 0.7, 0.6), ("3", 0.9, 0.7))
        for m, w, f in (("kernel", "desk", a), ("tslp", "study", b))
    ]
    told = table(rows)
    assert "| tslp, study | 0.500 | 0.600 | 0.700 | 0.600 | 0.900 | +0.200 ± 0.248 | 3 of 3 | 1.0 |" in told
    assert interval(np.array([0.3, 0.1, 0.2])) == "+0.200 ± 0.248"  # t of 2 degrees of freedom: 4.303
