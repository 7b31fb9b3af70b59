"""The quick-look against decibels worked out pixel by pixel, and whatever strips its lines come in."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.scene.grid import grid_for, plan_warp
from frazil.scene.quicklook import Band, QuickLook, attrs_of, bands_of, bands_told
from tests.scene.test_geolocation import PLACES, around
from tests.scene.test_grid import scene_at


def scene_of(sigma0: np.ndarray, polarizations: tuple[str, ...] = ("HH", "HV")) -> xr.Dataset:
    return xr.Dataset(
        {"sigma0": (("polarization", "line", "pixel"), sigma0)},
        {"polarization": list(polarizations)},
        {"spacing_m": 40.0},
    )


def speckled(lines: int, pixels: int, seed: int = 0) -> np.ndarray:
    """Backscatter with negative values, as noise subtraction leaves them, and a corner that was not observed."""
    rng = np.random.default_rng(seed)
    power = 10 ** (rng.uniform(-45, 5, (2, lines, pixels)) / 10) - 1e-3
    power[:, : lines // 3, : pixels // 4] = np.nan
    return power.astype(np.float32)


def look_at(sigma0: np.ndarray, spacing_m: float, cuts: tuple[int, ...] = ()) -> QuickLook:
    look = QuickLook(scene_of(sigma0), spacing_m)
    valid = np.isfinite(sigma0).all(0)
    edges = [0, *sorted(cuts), sigma0.shape[1]]
    for start, stop in pairwise(edges):
        first = max(start - 3, 0)  # as tiles overlap
        look.add(first, sigma0[:, first:stop], valid[first:stop])
        look.add(first, sigma0[:, first:stop], valid[first:stop])  # every tile of a row tells of its lines
    return look


@pytest.mark.parametrize("looks", [1, 3])
def test_a_grey_value_is_a_backscatter(looks: int) -> None:
    """By the definition, block by block, with the standard library's logarithm."""
    sigma0 = speckled(20, 17)
    found = look_at(sigma0, 40.0 * looks).values
    limits = ((-30, 0), (-35, -10), (-25, 0))
    assert found.shape == (3, 20 // looks, 17 // looks)
    for i, j in np.ndindex(found.shape[1:]):
        block = sigma0[:, i * looks : (i + 1) * looks, j * looks : (j + 1) * looks].astype(float).reshape(2, -1)
        seen = block[:, np.isfinite(block).all(0)]
        if not seen.size:
            assert not found[:, i, j].any()
            continue
        hh, hv = (10 * math.log10(max(float(p), 1e-5)) for p in seen.mean(1))
        for value, db, (low, high) in zip(found[:, i, j], (hh, hv, hv - hh), limits, strict=True):
            grey = 1 + 254 * (min(max(db, low), high) - low) / (high - low)
            assert value == pytest.approx(grey, abs=0.51)  # half a step, and rounding of float32


@settings(max_examples=30, deadline=None)
@given(cuts=st.sets(st.integers(1, 399), max_size=5), looks=st.integers(1, 7))
def test_strips_do_not_show(cuts: set[int], looks: int) -> None:
    sigma0 = speckled(400, 11, seed=1)
    whole = look_at(sigma0, 40.0 * looks).values
    np.testing.assert_array_equal(look_at(sigma0, 40.0 * looks, tuple(cuts)).values, whole)


def test_bands_of_what_there_is() -> None:
    names = {p: [band.name for band in bands_of(p.split())] for p in ("HH HV", "HV HH", "VV VH", "VV", "HH VV")}
    assert names["HH HV"] == names["HV HH"] == ["HH", "HV", "HV/HH"]
    assert names["VV VH"] == ["VV", "VH", "VH/VV"]
    assert (names["VV"], names["HH VV"]) == (["VV"], ["HH", "VV"])


def test_the_stretch_is_told_and_understood() -> None:
    bands = (Band(name="HH", low_db=-30.5, high_db=0), Band(name="HV/HH", low_db=-25, high_db=1))
    assert bands_told(attrs_of(bands)) == bands


@pytest.mark.parametrize("spacing_m", [1300.0, 2000.0, 5000.0])
def test_it_lies_where_the_scene_lies(spacing_m: float) -> None:
    """A ramp of decibels along the lines, on a map: the grey of each pixel is that of its line by Newton's answer."""
    latitude, longitude, _ = PLACES[min(PLACES)]
    geo = around(latitude, longitude)
    scene = scene_at(geo)
    ramp = -30 + 30 * scene["line"].values / 10000
    sigma0 = np.broadcast_to((10 ** (ramp / 10))[:, None], scene["sigma0"].shape[1:])[None].astype(np.float32)
    scene = scene.drop_vars("sigma0").assign(sigma0=(("polarization", "line", "pixel"), sigma0))
    scene = scene.assign_coords(polarization=["HH"])
    look = QuickLook(scene, spacing_m)
    look.add(0, sigma0, np.ones(sigma0.shape[1:], bool))
    grid = grid_for(scene, spacing_m=spacing_m)
    found = look.on(plan_warp(scene, grid))[0]
    x, y = np.meshgrid(grid.x, grid.y)
    line, pixel = geo.line_pixel(x, y, grid.pyproj_crs)
    inside = (np.abs(line - 5000) < 4900) & (np.abs(pixel - 5000) < 4900)
    assert inside.mean() > 0.4
    grey = 1 + 254 * line[inside] / 10000
    assert np.abs(found[inside] - grey).max() < 1.6  # a step of the ramp is 64 lines, three pixels of the scene
    assert not found[~np.isfinite(line)].any()
