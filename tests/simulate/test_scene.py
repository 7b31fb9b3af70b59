from typing import Any

import numpy as np
import pytest
import xarray as xr

from frazil.conventions import check_scene
from frazil.errors import OptionError
from frazil.simulate.instrument import NoiseError
from frazil.simulate.scene import simulate_scene
from frazil.simulate.signatures import SIGNATURES
from frazil.simulate.world import WorldConfig

CROP: dict[str, Any] = {"lines": (1000, 1600), "pixels": (2800, 3500)}
NO_ERROR = NoiseError()


def db(power: Any) -> np.ndarray:
    return 10 * np.log10(power)


@pytest.fixture(scope="module")
def crop() -> xr.Dataset:
    return simulate_scene(seed=11, world=WorldConfig(seed=0, ice_fraction=0.6, season="winter"), **CROP)


def test_it_is_a_scene_with_truth(crop: xr.Dataset) -> None:
    check_scene(crop)
    assert crop.ice_class.dims == ("line", "pixel")
    assert list(crop.polarization.values) == ["HH", "HV"]
    assert crop.sizes["line"] == 200
    assert crop.attrs["spacing_m"] == 120.0
    assert crop.line.values[0] == 1001.0  # centre of lines 1000, 1001, 1002
    assert crop.sigma0.dtype == np.float32
    assert set(np.unique(crop.ice_class)) <= {0, 1, 2, 3, 4}


def test_the_same_seed_gives_the_same_scene(crop: xr.Dataset) -> None:
    again = simulate_scene(seed=11, world=WorldConfig(seed=0, ice_fraction=0.6, season="winter"), **CROP)
    xr.testing.assert_identical(crop, again)
    other = simulate_scene(seed=12, **CROP)
    assert other.attrs["product"] != crop.attrs["product"]
    assert other.attrs["start_time"] != crop.attrs["start_time"]


def test_seasons_have_their_dates() -> None:
    for season, months in (("winter", {12, 1, 2, 3, 4}), ("melt", {6, 7, 8, 9})):
        scene = simulate_scene(
            seed=3, world=WorldConfig(seed=0, season=season), lines=(1000, 1050), pixels=(4000, 4050)
        )
        assert int(scene.attrs["start_time"][5:7]) in months


def test_truth_and_backscatter_lie_upon_each_other(crop: xr.Dataset) -> None:
    """Shifted truth explains the picture less well than truth in place."""
    hv = db(np.maximum(crop.sigma0.sel(polarization="HV").values, 1e-4))
    old = (crop.ice_class.values == 4).astype(float)

    def agreement(dy: int, dx: int) -> float:
        return np.corrcoef(hv[20:-20, 20:-20].ravel(), np.roll(old, (dy, dx), (0, 1))[20:-20, 20:-20].ravel())[0, 1]

    shifts = [(dy, dx) for dy in (-2, -1, 0, 1, 2) for dx in (-2, -1, 0, 1, 2)]
    assert max(shifts, key=lambda s: agreement(*s)) == (0, 0)
    assert agreement(0, 0) > 0.3


def test_outside_the_sub_swaths_nothing_is_seen() -> None:
    scene = simulate_scene(seed=1, lines=(0, 300), pixels=(2900, 3500))
    first_line_of_ew2 = 128
    before = (scene.line < first_line_of_ew2 - 1.5) & (scene.pixel > 3131)
    seen = np.isfinite(scene.sigma0).all("polarization")
    assert not seen.where(before, False).any()
    assert (scene.ice_class.where(before, 255) == 255).all()
    assert seen.where(~before, True).mean() > 0.99
    np.testing.assert_array_equal(scene.valid, seen)


def test_denoising_takes_away_what_the_product_states() -> None:
    with_noise, without = (simulate_scene(seed=2, denoise=d, **CROP) for d in ("none", "esa"))
    np.testing.assert_allclose(with_noise.sigma0 - without.sigma0, with_noise.nesz, rtol=1e-3, atol=1e-6)


def test_denoised_sigma0_is_unbiased_and_often_negative_over_calm_water() -> None:
    calm = WorldConfig(seed=0, ice_fraction=0.0, wind_speed_ms=2.0)
    scene = simulate_scene(seed=4, world=calm, noise_error=NO_ERROR, spread=0.0, **CROP)
    hv = scene.sigma0.sel(polarization="HV").where(scene.ice_class == 0)
    assert (hv < 0).mean() > 0.1
    assert 10 ** (-4.2) < float(hv.mean()) < 10 ** (-3.2)


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_wrong_noise_leaves_a_band_of_the_known_height(scale: float) -> None:
    calm = WorldConfig(seed=0, ice_fraction=0.0, wind_speed_ms=5.0)
    kwargs: dict[str, Any] = {"seed": 5, "world": calm, "spread": 0.0, "polarizations": ("HV",), **CROP}
    right = simulate_scene(noise_error=NO_ERROR, **kwargs)
    wrong = simulate_scene(noise_error=NoiseError(scale={("HV", "EW2"): scale}), **kwargs)
    step = (wrong.sigma0 - right.sigma0).mean(("polarization", "line"))
    stated = right.nesz.mean(("polarization", "line"))
    ew2 = step.pixel > 3125
    np.testing.assert_allclose(step[~ew2][:100], 0, atol=1e-7)
    assert float((step[ew2] / stated[ew2]).mean()) == pytest.approx(scale - 1, abs=0.02)


@pytest.fixture(scope="module")
def full_swath() -> list[xr.Dataset]:
    """A band of 600 lines over all five sub-swaths, at the published means and without noise errors."""
    pack = WorldConfig(seed=0, ice_fraction=1.0, season="winter", polynya=False)
    kwargs: dict[str, Any] = {"world": pack, "noise_error": NO_ERROR, "spread": 0.0, "lines": (2000, 2900)}
    return [simulate_scene(seed=s, **kwargs) for s in (21, 22)]


@pytest.mark.parametrize(("code", "name"), [(3, "level_first_year_ice"), (4, "deformed_ice")])
@pytest.mark.parametrize("polarization", ["HH", "HV"])
def test_regression_on_angle_gives_the_class_signature_back(
    full_swath: list[xr.Dataset], code: int, name: str, polarization: str
) -> None:
    """Through speckle, noise and denoising: mean within 1 dB, slope within 0.05 dB/°."""
    power, angle = [], []
    for scene in full_swath:
        sigma0 = scene.sigma0.sel(polarization=polarization).values
        theta = scene.incidence_angle.values
        chosen = (scene.ice_class.values == code) & scene.valid.values
        for low in range(20, 46, 2):
            part = chosen & (theta >= low) & (theta < low + 2)
            if part.sum() > 2000:
                power.append(sigma0[part].mean())
                angle.append(low + 1)
    slope, mean = np.polyfit(np.array(angle) - 30, db(np.array(power)), 1)
    signature = SIGNATURES[name, polarization]
    assert slope == pytest.approx(signature.slope_db, abs=0.05)
    assert mean == pytest.approx(signature.mean_db, abs=1.0)


def test_classes_are_not_separable_by_a_threshold(full_swath: list[xr.Dataset]) -> None:
    """Level and young ice overlap in HH: the best threshold on the two is wrong for many pixels."""
    scene = full_swath[0]
    hh = db(np.maximum(scene.sigma0.sel(polarization="HH").values, 1e-4)) + 0.25 * (scene.incidence_angle.values - 30)
    level, old = (hh[(scene.ice_class.values == c) & scene.valid.values] for c in (3, 4))
    threshold = np.arange(-20, -8, 0.2)
    errors = [((level > t).mean() + (old < t).mean()) / 2 for t in threshold]
    assert 0.01 < min(errors) < 0.25


def test_ice_outshines_calm_water_in_cross_polarisation(crop: xr.Dataset) -> None:
    hv = crop.sigma0.sel(polarization="HV")
    water, old = (float(hv.where(crop.ice_class == c).mean()) for c in (0, 4))
    assert db(old) - db(max(water, 1e-5)) > 4


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"spacing_m": 100.0}, "multiple of the pixel spacing 40"),
        ({"polarizations": ("VV",)}, "'VV' is not in the template"),
        ({"lines": (5, 5)}, "not a window"),
        ({"lines": (0, 30), "pixels": (0, 30)}, "at least 16 × 16"),
        ({"denoise": "snap"}, "'snap' is unknown"),
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        simulate_scene(seed=1, **wrong)


def test_other_spacings_keep_the_statistics() -> None:
    """Coarser pixels of the same open sea: same mean, less speckle."""
    sea = WorldConfig(seed=0, ice_fraction=0.0, wind_speed_ms=10.0)
    fine, coarse = (
        simulate_scene(seed=6, spacing_m=s, world=sea, spread=0.0, noise_error=NO_ERROR, polarizations=("HH",), **CROP)
        for s in (80.0, 200.0)
    )
    means = [db(float(s.sigma0.where(s.ice_class == 0).mean())) for s in (fine, coarse)]
    assert means[0] == pytest.approx(means[1], abs=1.0)

    def roughness(scene: xr.Dataset) -> float:
        values = scene.sigma0.values[0]
        return np.nanstd(np.diff(values, axis=1)) / np.nanmean(values)

    assert roughness(coarse) < 0.9 * roughness(fine)


def test_real_shorelines_are_those_that_the_reader_masks() -> None:
    from frazil.scene.land import add_land

    scene = simulate_scene(seed=1, land="gshhg", lines=(3000, 5000), pixels=(2000, 4400))
    masked = add_land(scene).land_mask.values
    land = scene.ice_class.values == 254
    assert 0.02 < land.mean() < 0.6
    assert (land == masked)[scene.valid.values].mean() > 0.97
    hv = scene.sigma0.sel(polarization="HV").values
    assert hv[land].mean() > 3 * hv[~land & scene.valid.values].mean()
