"""Signatures of measured regions: what is drawn lies where real scenes lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from frazil.errors import OptionError
from frazil.learn.config import SimulatedData
from frazil.learn.data.scenes import simulate_labelled
from frazil.simulate import NoiseError, WorldConfig, simulate_scene
from frazil.simulate.backscatter import draw_climate, water_sigma0
from frazil.simulate.instrument import draw_noise_error, template_product
from frazil.simulate.signatures import REGIONS, SIGNATURES, draw_table
from frazil.simulate.thinning import as_quicklook
from frazil.simulate.world import make_world

CROP: dict[str, Any] = {"spacing_m": 480.0, "lines": (2000, 4400), "pixels": (2000, 8000)}


def test_tables_lie_between_the_regions_and_reach_them() -> None:
    tables = [draw_table(np.random.default_rng(i)) for i in range(300)]
    for name, kind in (("level_first_year_ice", "level"), ("deformed_ice", "deformed")):
        for k, pol in ((0, "HH"), (2, "HV")):
            ends = [getattr(r, kind)[k] for r in REGIONS.values()]
            means = [table[name, pol].mean_db for table, _ in tables]
            assert min(ends) - 1e-9 <= min(means) < min(ends) + 0.5
            assert max(ends) - 0.5 < max(means) <= max(ends) + 1e-9
    frost = [f["HH"] for _, f in tables]
    assert 5 < min(frost) < max(frost) < 14
    dark = [t["young_ice", "HH"].mean_db - f["HH"] / 2 for t, f in tables]
    assert min(dark) < -24  # nilas as dark as calm water: no such look was in the literature's table
    assert min(SIGNATURES["young_ice", "HH"].mean_db - 8.5 / 2, min(dark)) == min(dark)


def test_level_ice_of_real_regions_is_darker_in_hv_than_the_literature() -> None:
    drawn = [draw_table(np.random.default_rng(i))[0]["level_first_year_ice", "HV"].mean_db for i in range(200)]
    assert np.median(drawn) < SIGNATURES["level_first_year_ice", "HV"].mean_db - 1.5


def test_vv_and_vh_follow() -> None:
    table, _ = draw_table(np.random.default_rng(3))
    for name in ("young_ice", "level_first_year_ice", "deformed_ice", "brash_pancake"):
        assert table[name, "VH"] == table[name, "HV"]
        lift = SIGNATURES[name, "VV"].mean_db - SIGNATURES[name, "HH"].mean_db
        assert table[name, "VV"].mean_db - table[name, "HH"].mean_db == pytest.approx(lift)


def test_the_literature_is_untouched_by_what_was_measured() -> None:
    """Published studies were made with it: same draws, same table, no seams."""
    old = draw_climate(np.random.default_rng(1), look_deg=0, wet=0)
    assert old.table is SIGNATURES
    annotation = template_product("ew").bands[0].annotation
    assert draw_noise_error(np.random.default_rng(1), annotation).gain == {}
    plain, named = (
        simulate_scene("ew", seed=5, **CROP, world=w) for w in (None, WorldConfig(seed=5, signatures="literature"))
    )
    np.testing.assert_array_equal(plain["sigma0"], named["sigma0"])
    measured = simulate_scene("ew", seed=5, **CROP, world=WorldConfig(seed=5, signatures="measured"))
    assert not np.array_equal(plain["sigma0"], measured["sigma0"])
    with pytest.raises(OptionError, match="signatures='guessed' is unknown"):
        WorldConfig(seed=1, signatures="guessed")


def test_seams_brighten_a_sub_swath_and_leave_its_noise() -> None:
    """By the factor on bright surfaces, in expectation."""
    world = WorldConfig(seed=2, ice_fraction=1.0, season="winter")
    base, seam = (
        simulate_scene("ew", seed=2, **CROP, world=world, noise_error=NoiseError(gain=g), spread=0)
        for g in ({}, {("HH", "EW3"): 1.2})
    )
    ratio = seam["sigma0"][0].values / base["sigma0"][0].values
    bright = base["sigma0"][0].values > 10 * base["nesz"][0].values
    found = np.unique(np.round(ratio[bright & np.isfinite(ratio)], 2))
    assert found.max() <= 1.21
    assert (np.abs(ratio[bright] - 1.2) < 0.03).any()
    assert (ratio[bright] == 1).any()


def test_calm_water_may_be_darker_than_the_law_in_hv_and_never_in_hh() -> None:
    wind = np.array([2.0, 6.0, 7.0, 12.0])
    for polarization, falls in (("HV", [8.0, 4.0, 3.0, 0.0]), ("HH", [0.0] * 4)):
        law, calm = (water_sigma0(wind, np.full(4, 35.0), polarization, calm_db=c) for c in (0.0, 1.0))
        np.testing.assert_allclose(10 * np.log10(law / calm), falls, atol=1e-6)
    drawn = [
        draw_climate(np.random.default_rng(1), look_deg=0, wet=0, region_rng=np.random.default_rng(i)).calm_db
        for i in range(50)
    ]
    assert 0.1 <= min(drawn) < 0.2
    assert 1.1 < max(drawn) <= 1.2


def test_training_scenes_have_further_spacings_in_turn_and_others_do_not() -> None:
    config = SimulatedData(spacing_m=960.0, also_spacing_m=(1920.0,))
    mixed, plain = (simulate_labelled((1, 2, 3, 4), config, mixed=m) for m in (True, False))
    assert [round(s.label.shape[1] / mixed[3].label.shape[1]) for s in mixed] == [2, 2, 2, 1]
    assert len({s.label.shape for s in plain}) == 1


def test_quick_looks_leave_pixels_out_and_clip() -> None:
    """Against the same pixels of the scene: γ0 between the ends as it was, to half a step of 8 bits."""
    scene = simulate_scene("ew", seed=3, **CROP)
    look = as_quicklook(scene, 4, np.random.default_rng(0))
    assert look.attrs["spacing_m"] == 4 * 480.0
    same = scene.isel(line=slice(2, None, 4), pixel=slice(2, None, 4))
    np.testing.assert_array_equal(look["ice_class"], same["ice_class"])
    for k in range(2):
        before, after = ((s["sigma0"][k] + s["nesz"][k]).values for s in (same, look))
        gamma = np.cos(np.radians(same["incidence_angle"].values))
        b, a = (10 * np.log10(v[np.isfinite(v)] / gamma[np.isfinite(v)]) for v in (before, after))
        inside = (a > a.min() + 0.05) & (a < a.max() - 0.05)
        assert inside.mean() > 0.3
        assert np.abs(a - b)[inside].max() < 22 / 255 / 2 + 1e-3
        assert a[b < a.min()] == pytest.approx(a.min(), abs=1e-3)
    with pytest.raises(OptionError, match="pass 2 or more"):
        as_quicklook(scene, 1, np.random.default_rng(0))


def test_training_scenes_are_quick_looks_in_turn() -> None:
    config = SimulatedData(spacing_m=960.0, also_quicklook=(2,))
    mixed = simulate_labelled((1, 2, 3, 4), config, mixed=True)
    assert [round(s.label.shape[1] / mixed[3].label.shape[1]) for s in mixed] == [2, 2, 2, 1]


def test_wide_young_ice_is_grey_and_leads_may_be_dark() -> None:
    """In most worlds young ice outside leads and polynyas has some frost; those of the literature have no such rule."""
    least: dict[str, list[tuple[float, float, float]]] = {"measured": [], "literature": []}
    for kind, found in least.items():
        for seed in range(8):
            config = WorldConfig(seed=seed, signatures=kind, ice_fraction=1.0, season="freeze_up", polynya=False)
            world = make_world(config, (400, 400), 480.0)
            frost = world.frost[world.ice_class == 2]
            found.append((world.parameters.grey, float(np.quantile(frost, 0.05)), float(np.quantile(frost, 0.5))))
    assert {grey for grey, *_ in least["literature"]} == {0.0}
    greys = [grey for grey, *_ in least["measured"]]
    assert sum(grey > 0 for grey in greys) >= 5
    assert all(middle >= grey for grey, _, middle in least["measured"])
    assert any(low < grey for grey, low, _ in least["measured"] if grey > 0)  # leads
