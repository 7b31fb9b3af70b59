"""What cells learnt, on the pixels of the map: against a slow account in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from frazil.conventions import CLASS_LAND, CLASS_NODATA, PERCENT_NODATA, UNDECIDED, check_map
from frazil.errors import ContractError
from frazil.learn.cells.cells import Cells
from frazil.learn.cells.pixels import taught_map
from frazil.learn.cells.teach import Taught, teach


def unmoved(cells: Cells) -> Taught:
    return Taught(logits=cells.log_probability.copy(), labelled=np.array([0]))


def test_what_moves_nothing_changes_no_more_than_the_floor_does(ice_map: xr.Dataset, cells: Cells) -> None:
    made = taught_map(ice_map, cells, unmoved(cells))
    before, after = (m["probability"].values.astype(int) for m in (ice_map, made))
    assert np.abs(before - after).max() <= 2  # half a percent for each class that has none
    same = made["ice_class"].values == ice_map["ice_class"].values
    assert same.mean() > 0.98


def test_every_pixel_takes_over_the_change_of_its_place(ice_map: xr.Dataset, cells: Cells) -> None:
    rng = np.random.default_rng(0)
    taught = Taught(
        logits=cells.log_probability + rng.normal(scale=2, size=cells.log_probability.shape).astype(np.float32),
        labelled=np.arange(3),
    )
    made = taught_map(ice_map, cells, taught)
    change = np.stack([cells.on_grid(c) for c in (taught.logits - cells.log_probability).T.astype(float)])
    rows, columns = (np.arange(n) * cells.side + cells.side / 2 for n in cells.grid.shape)
    full = np.isfinite(change[0])
    inner = [
        (i, j)
        for i, j in zip(*np.nonzero(full), strict=True)
        if 0 < i < full.shape[0] - 1 and 0 < j < full.shape[1] - 1 and full[i - 1 : i + 2, j - 1 : j + 2].all()
    ]
    blend = [RegularGridInterpolator((rows, columns), plane) for plane in np.nan_to_num(change)]
    for i, j in inner[:: max(len(inner) // 40, 1)]:
        y, x = i * cells.side + int(rng.integers(cells.side)), j * cells.side + int(rng.integers(cells.side))
        old = ice_map["probability"].values[:, y, x].astype(float)
        if old[0] == PERCENT_NODATA:
            continue
        weight = np.maximum(old, 0.5) * np.exp([float(b((y + 0.5, x + 0.5))[()]) for b in blend])
        found = made["probability"].values[:, y, x].astype(float)
        np.testing.assert_allclose(found, 100 * weight / weight.sum(), atol=1.3)


def test_it_is_a_map_and_what_is_no_sea_stays(ice_map: xr.Dataset, cells: Cells) -> None:
    codes = ice_map["ice_class"].values.copy()
    codes[10:40, 10:60] = CLASS_LAND
    percent = ice_map["probability"].values.copy()
    percent[:, 10:40, 10:60] = PERCENT_NODATA
    other = ice_map.assign(
        ice_class=(("y", "x"), codes, ice_map["ice_class"].attrs),
        probability=(("category", "y", "x"), percent, ice_map["probability"].attrs),
    )
    taught = teach(cells, np.arange(0, len(cells), 50), np.full(len(range(0, len(cells), 50)), 4))
    made = taught_map(other, cells, taught)
    assert check_map(made).name == "five_classes"
    new = made["ice_class"].values
    blank = (codes == CLASS_LAND) | (codes == CLASS_NODATA)
    np.testing.assert_array_equal(new[blank], codes[blank])
    assert (made["probability"].values[:, blank] == PERCENT_NODATA).all()
    assert (made["confidence"].values[blank] == PERCENT_NODATA).all()
    assert (made["probability"].values[:, ~blank].sum(axis=0) == 100).all()
    assert (new[~blank] == 4).mean() > 0.9
    undecided = (made["quality_flags"].values & 512) > 0
    np.testing.assert_array_equal(undecided, new == UNDECIDED)
    assert made.attrs["taught"] == len(taught.labelled)
    assert "Taught by" in made.attrs["note"]
    assert "taught" not in ice_map.attrs


def test_cells_of_another_map_are_refused(ice_map: xr.Dataset, cells: Cells) -> None:
    other = replace(cells, grid=replace(cells.grid, left=cells.grid.left + 600))
    with pytest.raises(ContractError, match="another map"):
        taught_map(ice_map, other, unmoved(cells))
