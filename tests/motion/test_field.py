"""Known motions of simulated ice, through files and the public function: errors, coverage, and what is not believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import frazil
from frazil.motion.quality import STATUS
from frazil.simulate.moved import Motion, PlacedPair, simulate_pair, write_pair
from frazil.simulate.world import WorldConfig

PIXEL = 80.0
MOTIONS = {
    "shift": Motion(shift_m=(3100.0, -2230.0)),
    "turn": Motion(shift_m=(400.0, 300.0), turn_deg=-10.0),
    "shear": Motion(shift_m=(-900.0, 500.0), shear=0.06, divergence=-0.03),
    "wave": Motion(shift_m=(1000.0, 0.0), wave_m=300.0, wave_length_m=30_000.0),
}


def placed(folder: Path, motion: Motion, *, seed: int = 2, size: int = 448, lost: bool = False) -> PlacedPair:
    where = np.zeros((size, size), bool)
    where[size // 4 : 3 * size // 4, size // 2 :] = lost
    world = WorldConfig(seed=seed, signatures="measured", season="winter", ice_fraction=1.0)
    pair = simulate_pair(motion, seed=seed, size=size, margin=96, world=world, lost=where)
    return write_pair(pair, motion, folder)


def errors(field: xr.Dataset, pair: PlacedPair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Error in metres, whether good, and whether the ice of the node is in both images, template and all."""
    xx, yy = np.meshgrid(field["x"].values, field["y"].values)
    dx, dy = pair.displacement(xx, yy)
    off = np.hypot(field["sea_ice_x_displacement"].values - dx, field["sea_ice_y_displacement"].values - dy)
    rows, columns = pair.lost.shape
    inside = np.ones(xx.shape, bool)
    for x, y in ((xx, yy), (xx + dx, yy + dy)):
        row, column = pair.position(x, y)
        inside &= (row > 34) & (row < rows - 35) & (column > 34) & (column < columns - 35)
    return off, field["status_flag"].values == 0, inside


@pytest.mark.parametrize("name", MOTIONS)
def test_good_vectors_err_by_less_than_a_pixel(name: str, tmp_path: Path) -> None:
    pair = placed(tmp_path, MOTIONS[name])
    field = frazil.drift(pair.first, pair.second, step_m=1600)
    off, good, inside = errors(field, pair)
    assert np.median(off[good]) < 0.4 * PIXEL
    assert np.quantile(off[good], 0.95) < PIXEL
    assert good[inside].mean() > 0.85
    # the stated errors are those that are found: two components, so that the mean square is twice theirs
    stated = field["standard_error"].values[good]
    assert 0.6 < np.sqrt(np.mean((off[good] / stated) ** 2) / 2) < 1.6


def test_ice_without_a_partner_is_not_believed(tmp_path: Path) -> None:
    """The second image shows other ice in a quarter: errors there are kilometres, and none is good."""
    pair = placed(tmp_path, MOTIONS["turn"], lost=True, size=560)
    field = frazil.drift(pair.first, pair.second, step_m=1600, keep_doubtful=True)
    off, good, inside = errors(field, pair)
    xx, yy = np.meshgrid(field["x"].values, field["y"].values)
    dx, dy = pair.displacement(xx, yy)
    share = ndimage.uniform_filter(pair.lost.astype(float), 67)
    row, column = (np.clip(np.rint(v).astype(int), 0, pair.lost.shape[0] - 1) for v in pair.position(xx + dx, yy + dy))
    lost, kept = share[row, column] > 0.99, share[row, column] < 0.01
    assert (inside & lost).sum() >= 20
    assert not good[inside & lost].any()
    assert good[inside & kept].mean() > 0.85
    tried = np.isfinite(off)
    assert np.median(off[tried & inside & ~good]) > 10 * np.median(off[good])  # the quality is not reversed
    codes = field["status_flag"].values[inside & lost]
    names = {STATUS[int(c)][0] for c in codes}
    assert names <= {"weak", "not_found_back", "neighbours_differ"}


def test_the_way_back_and_the_neighbours_each_catch_what_strength_does_not(tmp_path: Path) -> None:
    from frazil.motion.quality import QualityConfig

    pair = placed(tmp_path, MOTIONS["shift"], lost=True, size=560)
    lax = QualityConfig(min_peak=0.05, max_error=50.0)
    field = frazil.drift(pair.first, pair.second, step_m=1600, keep_doubtful=True, quality=lax)
    off, good, inside = errors(field, pair)
    code = field["status_flag"].values
    wrong = inside & np.isfinite(off) & (off > 5 * PIXEL)
    assert wrong.sum() >= 20
    assert (code[wrong] == 2).sum() >= 5
    assert (code[wrong] == 3).sum() >= 5
    assert good[wrong].mean() < 0.1
    assert good[inside & (off < PIXEL)].mean() > 0.85


def test_swapped_scenes_give_the_motion_reversed(tmp_path: Path) -> None:
    import rasterio

    pair = placed(tmp_path, MOTIONS["shift"])
    forth = frazil.drift(pair.first, pair.second, step_m=1600)
    for path, time in ((pair.first, "2020-01-03T12:00:00Z"), (pair.second, "2020-01-02T12:00:00Z")):
        with rasterio.open(path, "r+") as file:
            file.update_tags(start_time=time)
    back = frazil.drift(pair.second, pair.first, step_m=1600)
    for axis in "xy":
        name = f"sea_ice_{axis}_displacement"
        assert float(forth[name].median() + back[name].median()) == pytest.approx(0, abs=0.1 * PIXEL)
        assert abs(float(forth[name].median())) > 10 * PIXEL
    turned = (back["direction"].median() - forth["direction"].median()) % 360
    assert float(turned) == pytest.approx(180, abs=3)


def test_ice_that_rests_has_no_drift_and_speed_is_that_of_the_ellipsoid(tmp_path: Path) -> None:
    pair = placed(tmp_path, Motion())
    field = frazil.drift(pair.first, pair.second, step_m=1600)
    assert float(field["sea_ice_speed"].quantile(0.9)) * 86400 < 0.7 * PIXEL
    assert float(np.abs(field["divergence"]).median()) < 0.03
    again = placed(tmp_path, MOTIONS["shift"])
    field = frazil.drift(again.first, again.second, step_m=1600)
    length = np.hypot(field["sea_ice_x_displacement"], field["sea_ice_y_displacement"])
    # EPSG:3413 is true at 70° N and shrinks lengths by 2.98 % at the pole
    ratio = field["sea_ice_speed"] * 86400 / length
    assert float(ratio.median()) == pytest.approx(1 / 0.9702, abs=0.0015)


def test_nodes_of_all_pairs_lie_on_one_lattice(tmp_path: Path) -> None:
    from frazil.motion.field import node_grid
    from frazil.scene.grid import MapGrid

    for stride in (20, 25):
        phases = set()
        for left, top in ((0, 0), (1600, -80), (-4080, 12_320), (80 * 7, 80 * 13)):
            grid = MapGrid(crs="EPSG:3413", left=left, top=top, spacing_m=80.0, shape=(300, 310))
            row, column, nodes = node_grid(grid, stride)
            assert np.allclose(nodes.x, grid.x[column])
            assert np.allclose(nodes.y, grid.y[row])
            phases.add((nodes.x[0] % (stride * 80), nodes.y[0] % (stride * 80)))
        assert len(phases) == 1
