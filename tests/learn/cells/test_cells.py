"""Cells of a map: what is known of each, against a slow account of the same in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from frazil.conventions import CLASS_LAND
from frazil.errors import ContractError
from frazil.learn.cells.cells import SIDE, Cells, cells_of, load_cells, save_cells
from frazil.scene.grid import MapGrid, plan_warp


def raw(cells: Cells, name: str, values: np.ndarray) -> np.ndarray:
    """A feature as standardisation should leave it, from values of all cells."""
    k = cells.names.index(name)
    np.testing.assert_allclose(cells.features[:, k].mean(), 0, atol=1e-4)
    np.testing.assert_allclose(cells.features[:, k].std(), 1, atol=1e-3)
    return (values - values.mean()) / values.std()


def by_hand(ice_map: xr.Dataset, cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HH in dB and its spread, (row, column), and where there are cells: pixel by pixel."""
    look, code = ice_map["quicklook"].values[0].astype(float), ice_map["ice_class"].values
    rows, columns = cells.grid.shape
    mean, spread = np.zeros((rows, columns)), np.zeros((rows, columns))
    there = np.zeros((rows, columns), bool)
    for i in range(rows):
        for j in range(columns):
            here = slice(i * SIDE, (i + 1) * SIDE), slice(j * SIDE, (j + 1) * SIDE)
            sea = (code[here] < CLASS_LAND) & (look[here] > 0)
            there[i, j] = sea.sum() >= 13
            if there[i, j]:
                db = -30 + (look[here][sea] - 1) * 30 / 254
                mean[i, j] = 10 * np.log10(np.mean(10 ** (db / 10)))
                spread[i, j] = db.std()
    return mean, spread, there


def test_backscatter_of_cells_is_what_pixels_say(ice_map: xr.Dataset, cells: Cells) -> None:
    mean, spread, there = by_hand(ice_map, cells)
    np.testing.assert_array_equal(cells.number >= 0, there)
    np.testing.assert_array_equal(np.sort(cells.number[there]), np.arange(len(cells)))
    for name, values in (("HH", mean), ("HH spread", spread)):
        expected = raw(cells, name, values[there])
        np.testing.assert_allclose(cells.features[:, cells.names.index(name)], expected, atol=2e-3)


@pytest.mark.parametrize("width", [3, 9])
def test_surroundings_are_means_over_squares_of_cells(ice_map: xr.Dataset, cells: Cells, width: int) -> None:
    mean, _, there = by_hand(ice_map, cells)
    around, spread = np.zeros_like(mean), np.zeros_like(mean)
    half = width // 2
    for i, j in zip(*np.nonzero(there), strict=True):
        part = slice(max(i - half, 0), i + half + 1), slice(max(j - half, 0), j + half + 1)
        known = mean[part][there[part]]
        around[i, j], spread[i, j] = known.mean(), known.std()
    for word, values in (("mean", around), ("spread", spread)):
        name = f"HH {word} {width}"
        np.testing.assert_allclose(
            cells.features[:, cells.names.index(name)], raw(cells, name, values[there]), atol=5e-3
        )


def test_probabilities_are_means_of_pixels(ice_map: xr.Dataset, cells: Cells) -> None:
    row, column = np.argwhere(cells.number >= 0)[len(cells) // 2]
    here = slice(row * SIDE, (row + 1) * SIDE), slice(column * SIDE, (column + 1) * SIDE)
    sea = (ice_map["ice_class"].values[here] < CLASS_LAND) & (ice_map["quicklook"].values[0][here] > 0)
    p = ice_map["probability"].values[:, here[0], here[1]][:, sea].astype(float).mean(axis=1)
    log = np.log(np.maximum(p / p.sum(), 0.005))
    np.testing.assert_allclose(cells.log_probability[cells.number[row, column]], log - log.mean(), atol=1e-4)


def test_places_and_numbers_belong_together(ice_map: xr.Dataset, cells: Cells) -> None:
    x, y = cells.places()
    np.testing.assert_array_equal(cells.at(x, y), np.arange(len(cells)))
    left, bottom, right, top = MapGrid.of(ice_map).bounds
    outside = cells.at(np.array([left - 1, right + 1, left + 1]), np.array([top - 1, bottom + 1, bottom - 1]))
    np.testing.assert_array_equal(outside, -1)
    values = np.arange(len(cells), dtype=np.float32)
    on_grid = cells.on_grid(values)
    np.testing.assert_array_equal(on_grid[cells.number >= 0], values)
    assert np.isnan(on_grid[cells.number < 0]).all()


def test_angle_and_noise_are_those_of_the_scene(scene: xr.Dataset, cells: Cells) -> None:
    assert cells.angle is not None
    assert cells.nesz_db is not None
    warp = plan_warp(scene, cells.grid)
    np.testing.assert_allclose(cells.angle, warp.bilinear(scene["incidence_angle"].values), atol=1e-5)
    noise = 10 * np.log10(warp.bilinear(scene["nesz"].values[1]))
    np.testing.assert_allclose(cells.nesz_db[1], noise, atol=1e-3)


def test_the_rim_is_where_the_map_says_border(ice_map: xr.Dataset, cells: Cells) -> None:
    rim = cells.on_grid(cells.rim.astype(np.float32), 0) > 0
    assert rim.any()
    assert not rim.all()
    flags = ice_map["quality_flags"].values & (4 | 8 | 16)
    inside = flags[: rim.shape[0] * SIDE, : rim.shape[1] * SIDE].reshape(rim.shape[0], SIDE, rim.shape[1], SIDE)
    np.testing.assert_array_equal(rim, inside.any(axis=(1, 3)) & (cells.number >= 0))


def test_without_a_scene_there_is_no_angle(ice_map: xr.Dataset, cells: Cells) -> None:
    found = cells_of(ice_map)
    assert found.angle is None
    assert set(cells.names) - set(found.names) == {"angle", *(n for n in cells.names if n.startswith("seen"))}
    np.testing.assert_array_equal(found.number, cells.number)


def test_a_file_of_cells_comes_back_as_it_was(cells: Cells, tmp_path: Path) -> None:
    save_cells(cells, tmp_path / "cells.npz")
    back = load_cells(tmp_path / "cells.npz")
    assert back.grid == cells.grid
    assert (back.names, back.side, back.class_scheme) == (cells.names, cells.side, cells.class_scheme)
    for name in ("number", "features", "log_probability", "rim", "angle", "nesz_db"):
        np.testing.assert_array_equal(getattr(back, name), getattr(cells, name))


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "missing"])
def test_another_file_is_refused(cells: Cells, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cells.npz"
    save_cells(cells, path)
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        np.savez(path, a=np.zeros(3))
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:1000])
    with pytest.raises(ContractError, match="holds no cells"):
        load_cells(path)


def test_maps_that_cannot_be_cut_are_refused(ice_map: xr.Dataset) -> None:
    with pytest.raises(ContractError, match="no radar image"):
        cells_of(ice_map.drop_vars("quicklook"))
    with pytest.raises(ContractError, match="no sea"):
        cells_of(ice_map.assign(ice_class=ice_map["ice_class"] * 0 + np.uint8(CLASS_LAND)))
    with pytest.raises(ContractError, match="holds no cell"):
        cells_of(ice_map.isel(y=slice(0, 4), x=slice(0, 4)))
    assert replace(cells_of(ice_map), names=("a",)).names == ("a",)
