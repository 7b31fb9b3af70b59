"""What a scene teaches: signatures that are put in come out, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from frazil.conventions import CLASS_LAND, check_map
from frazil.errors import OptionError
from frazil.learn.checkpoint import load_model
from frazil.learn.predict.adapt import CELL, adapt, cell_means, taught
from frazil.learn.predict.ice import predict
from frazil.simulate.scene import simulate_scene


def two_surfaces(n: int = 4000) -> tuple[np.ndarray, ...]:
    """Whether cells are ice, the network's probabilities with a third in doubt, backscatter and angle."""
    rng = np.random.default_rng(0)
    angle, ice = rng.uniform(20, 46, n), rng.random(n) < 0.5
    level = np.where(ice, -14.0, -22.0)
    x = np.stack([level - 0.25 * (angle - 33), level - 14 - 0.1 * (angle - 33)]) + rng.standard_normal((2, n))
    p_ice = np.where(rng.random(n) < 0.3, 0.5, np.where(ice, 0.9, 0.1))
    return ice, np.stack([1 - p_ice, p_ice]), x, angle


def test_cells_that_the_network_doubts_go_where_their_backscatter_belongs() -> None:
    ice, p, x, angle = two_surfaces()
    doubted = p[1] == 0.5
    found = taught(p, x, angle, 1.0)
    assert found is not None
    np.testing.assert_allclose(found.sum(axis=0), 1)
    assert ((found[1] > 0.5) == ice)[doubted].mean() > 0.98
    little = taught(p, x, angle, 1e-6)
    assert little is not None
    np.testing.assert_allclose(little, p, atol=1e-4)


def test_the_guard() -> None:
    ice, p, x, angle = two_surfaces()
    assert taught(p[:, :50], x[:, :50], angle[:50], 1.0) is None  # too few
    assert taught(p[:, ice], x[:, ice], angle[ice], 1.0) is None  # one class alone teaches nothing
    strange = np.where(p[1] == 0.5, x - 25, x)  # what is in doubt lies far from all that is sure
    strange[:, p[1] == 0.9] += 6 * np.random.default_rng(1).standard_normal((2, int((p[1] == 0.9).sum())))
    found = taught(p, strange, angle, 1.0)
    assert found is None or np.isfinite(found).all()


def test_cell_means_leave_out_what_is_not_in_use() -> None:
    values = np.arange(2 * 20 * 17, dtype=np.float32).reshape(2, 20, 17)
    use = np.random.default_rng(0).random((20, 17)) < 0.5
    use[8:16, 8:16] = False
    found = cell_means(values, use)
    assert found.shape == (2, 2, 2)
    for plane, means in zip(values, found, strict=True):
        assert np.isnan(means[1, 1])
        assert means[0, 1] == pytest.approx(plane[:CELL, CELL : 2 * CELL][use[:CELL, CELL : 2 * CELL]].mean(), rel=1e-5)


@pytest.fixture(scope="module")
def scene() -> xr.Dataset:
    return simulate_scene(seed=30001, spacing_m=120.0, lines=(3000, 4800), pixels=(2000, 4400))


def test_a_map_of_a_scene_that_teaches(scene: xr.Dataset) -> None:
    model = load_model()
    plain, off, made = (predict(scene, model, adapt=weight) for weight in (False, 0.0, True))
    check_map(made)
    assert "adapted" not in plain.attrs
    np.testing.assert_array_equal(plain["probability"], off["probability"])
    assert made.attrs["adapt_weight"] in (0.25, 0.0)
    assert made.attrs["note"].startswith(made.attrs["adapted"])
    sea = made["ice_class"].values < CLASS_LAND
    np.testing.assert_array_equal(sea, plain["ice_class"].values < CLASS_LAND)
    assert (made["probability"].values[:, sea].astype(int).sum(axis=0) == 100).all()
    changed = (made["probability"].values != plain["probability"].values).any()
    assert changed == (made.attrs["adapt_weight"] > 0)


def test_classes_of_ice_keep_their_proportions(scene: xr.Dataset) -> None:
    rng = np.random.default_rng(2)
    shape = scene.sizes["line"], scene.sizes["pixel"]
    bright = scene["sigma0"].values[0] > np.nanmedian(scene["sigma0"].values[0])
    ice = np.where(bright, 160, 40) + rng.integers(-20, 21, shape)
    half = np.stack([200 - ice, ice - ice // 8, ice // 8]).astype(np.uint8)
    sea = np.ones(shape, bool)
    sea[:40] = False
    before = half.copy()
    assert adapt(half, scene, sea, 1.0)
    np.testing.assert_array_equal(half[:, :40], before[:, :40])
    assert (half != before).any()
    share = before[2, 40:] / before[1:, 40:].astype(float).sum(axis=0)
    assert np.abs(half[2, 40:] - share * half[1:, 40:].astype(float).sum(axis=0)).max() <= 1  # each was rounded
    assert np.abs(half.astype(int).sum(axis=0) - 200).max() <= 2


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_impossible_weights(scene: xr.Dataset, weight: float) -> None:
    with pytest.raises(OptionError, match="weight from 0 to 1"):
        predict(scene, adapt=weight)
