from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from frazil.errors import OptionError
from frazil.simulate.world import SEASONS, World, WorldConfig, make_world

SHAPE = (400, 380)


def fraction(world: World, *codes: int) -> float:
    return np.isin(world.ice_class, codes).mean()


def test_the_same_seed_gives_the_same_world() -> None:
    one, two = (make_world(WorldConfig(seed=7), SHAPE, 120.0) for _ in range(2))
    for name in ("ice_class", "wind_ms", "anomaly", "frost"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    other = make_world(WorldConfig(seed=8), SHAPE, 120.0)
    assert (one.ice_class != other.ice_class).mean() > 0.05


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(16, 150), columns=st.integers(16, 150))
def test_every_world_is_sound(seed: int, rows: int, columns: int) -> None:
    world = make_world(WorldConfig(seed=seed), (rows, columns), 120.0)
    assert world.ice_class.max() <= 4
    assert np.isfinite(world.anomaly).all()
    assert world.wind_ms.min() > 0.1
    assert 0 <= world.frost.min() <= world.frost.max() <= 1


def test_one_setting_changes_nothing_else() -> None:
    free = asdict(make_world(WorldConfig(seed=3), SHAPE, 120.0).parameters)
    windy = asdict(make_world(WorldConfig(seed=3, wind_speed_ms=20.0), SHAPE, 120.0).parameters)
    assert {k for k in free if free[k] != windy[k]} == {"wind_ms"}


@pytest.mark.parametrize("wanted", [0.2, 0.5, 0.8])
def test_ice_fraction_is_met(wanted: float) -> None:
    found = [
        1 - fraction(make_world(WorldConfig(seed=s, ice_fraction=wanted, season="winter"), SHAPE, 120.0), 0)
        for s in range(4)
    ]
    assert np.mean(found) == pytest.approx(wanted, abs=0.12)


def test_extremes_of_ice_fraction() -> None:
    water = make_world(WorldConfig(seed=1, ice_fraction=0.0), SHAPE, 120.0)
    assert fraction(water, 0) > 0.97
    pack = make_world(WorldConfig(seed=1, ice_fraction=1.0, season="winter", polynya=False), SHAPE, 120.0)
    assert fraction(pack, 0) < 0.15


def test_scenes_differ_strongly() -> None:
    """Some worlds are nearly all ice, some mostly water: what by-scene splits must cope with."""
    ice = [1 - fraction(make_world(WorldConfig(seed=s), (120, 120), 900.0), 0) for s in range(24)]
    assert min(ice) < 0.25
    assert max(ice) > 0.9
    assert np.std(ice) > 0.25


def test_the_ice_edge_is_rough_at_every_scale() -> None:
    """The length of the edge grows as the ruler shrinks (box-counting dimension between 1.1 and 1.6)."""
    sizes = np.array([8, 16, 32, 64])
    dimensions = []
    for seed in (5, 6, 7):
        world = make_world(WorldConfig(seed=seed, ice_fraction=0.5, season="winter"), (768, 768), 200.0)
        parts, _ = ndimage.label(world.ice_class > 0)
        pack = ndimage.binary_fill_holes(parts == np.bincount(parts[parts > 0]).argmax())
        boxes = []
        for size in sizes:
            share = pack.reshape(768 // size, size, 768 // size, size).mean(axis=(1, 3))
            boxes.append(((share > 0) & (share < 1)).sum())
        dimensions.append(-np.polyfit(np.log(sizes), np.log(boxes), 1)[0])
    assert 1.1 < np.mean(dimensions) < 1.6


def test_seasons_mix_the_classes_differently() -> None:
    def mix(season: str) -> np.ndarray:
        worlds = [make_world(WorldConfig(seed=s, season=season, ice_fraction=0.9), SHAPE, 120.0) for s in range(3)]
        return np.mean([[fraction(w, c) for c in range(5)] for w in worlds], axis=0)

    mixes = {season: mix(season) for season in SEASONS}
    assert mixes["freeze_up"][2] > mixes["winter"][2] > mixes["melt"][2]
    assert mixes["melt"][0] > mixes["winter"][0]


def test_wind_over_open_water_is_the_one_asked_for() -> None:
    world = make_world(WorldConfig(seed=2, ice_fraction=0.0, wind_speed_ms=10.0), SHAPE, 120.0)
    assert world.wind_ms.mean() == pytest.approx(10, rel=0.15)
    assert world.wind_ms.std() > 0.4


def test_calm_patches_open_in_light_wind() -> None:
    world = make_world(WorldConfig(seed=2, ice_fraction=0.0, wind_speed_ms=4.0), SHAPE, 120.0)
    assert (world.wind_ms < 2).mean() > 0.03
    assert (world.wind_ms > 3.5).mean() > 0.1


def test_land_masks_are_kept() -> None:
    land = np.zeros(SHAPE, bool)
    land[100:200, 50:150] = True
    world = make_world(WorldConfig(seed=4), SHAPE, 120.0, land=land)
    np.testing.assert_array_equal((world.ice_class == 254)[land], True)
    assert (world.ice_class == 254).mean() == pytest.approx(land.mean(), abs=0.05)


def test_a_fictitious_coast_has_the_area_asked_for() -> None:
    world = make_world(WorldConfig(seed=4, land_fraction=0.2), SHAPE, 120.0)
    assert (world.ice_class == 254).mean() == pytest.approx(0.2, abs=0.03)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(OptionError, match=r"summer.*freeze_up"):
        WorldConfig(seed=1, season="summer")
    with pytest.raises(OptionError, match="wind_speed_ms=99"):
        WorldConfig(seed=1, wind_speed_ms=99)
    with pytest.raises(OptionError, match="16 × 16"):
        make_world(WorldConfig(seed=1), (8, 8), 120.0)
    with pytest.raises(OptionError, match="land mask has shape"):
        make_world(WorldConfig(seed=1), (32, 32), 120.0, land=np.zeros((3, 3), bool))
