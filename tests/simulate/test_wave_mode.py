"""The wave-mode simulator against physics: dispersion, transfer, spacing of rolls, damping, speckle, and its masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from frazil.cli import cli
from frazil.conventions import METOCEAN
from frazil.errors import OptionError
from frazil.labels.imagettes import open_imagettes
from frazil.scene.ocean import cmod5n, detrend, reference_db
from frazil.simulate.swell import Swell, swell_modulation, transfer
from frazil.simulate.wave_mode import INCIDENCE_DEG, WaveModeConfig, block_masks, simulate_imagette
from frazil.simulate.wave_mode_fields import Sea, icebergs, low_wind, rain, slicks, wind_streaks


def sea(seed: int = 1, n: int = 256, wind: float = 8.0, towards: float = 0.7) -> Sea:
    return Sea.calm(np.random.default_rng(seed), (n, n), 50.0, wind, towards)


def alone(**more: object) -> WaveModeConfig:
    return WaveModeConfig(companions=0.0, faint=0.0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("category", METOCEAN.names)
def test_each_category_is_where_its_mask_says(category: str) -> None:
    made = simulate_imagette(category, seed=3, config=WaveModeConfig(side_m=10_000))
    assert made["sigma0"].shape == (200, 200)
    assert made["mask"].shape == (10, 200, 200)
    assert bool(made["mask"].sel({"class": category}).any())
    assert np.isfinite(made["sigma0"].values).all()
    assert abs(float(made["incidence_angle"].mean()) - INCIDENCE_DEG[made.attrs["swath"]]) < 0.1
    assert float(np.diff(made["incidence_angle"].values, axis=1).min()) > 0


def test_seed_decides() -> None:
    one, same, other = (simulate_imagette("rain_cells", seed=s, config=WaveModeConfig(side_m=5000)) for s in (4, 4, 5))
    assert one.equals(same)
    assert not np.array_equal(one["sigma0"].values, other["sigma0"].values)


def test_published_angles() -> None:
    small = WaveModeConfig(side_m=1600)
    near = [simulate_imagette("pure_ocean_waves", seed=s, config=small).attrs["swath"] == "WV1" for s in range(60)]
    far = [simulate_imagette("micro_convective_cells", seed=s, config=small).attrs["swath"] == "WV2" for s in range(60)]
    assert 0.8 < np.mean(near) < 1.0
    assert 0.8 < np.mean(far) <= 1.0


def test_mean_of_a_plain_sea_is_cmod() -> None:
    """Waves at 36.8° in one wind: the average over an imagette is that of the wind, within texture and swell."""
    made = simulate_imagette("pure_ocean_waves", seed=2, config=alone(incidence="WV2"))
    wind = made.attrs["wind_ms"]
    looks = [cmod5n(np.array([wind]), d, np.array([36.8])).item() for d in (0, 90, 180)]
    measured = float(made["sigma0"].mean())
    assert 0.6 * min(looks) < measured < 1.6 * max(looks)


def test_speckle_has_the_stated_looks() -> None:
    """Over calm sea at −50 dB only speckle of the noise is left: variance over mean² of signal and noise is 1/looks."""
    made = simulate_imagette("low_wind_area", seed=1, config=alone(looks=20.0, nesz_db=0.0))
    total = made["sigma0"].values + 1.0
    assert total.var() / total.mean() ** 2 == pytest.approx(1 / 20, rel=0.05)


def test_swell_peaks_at_its_wavelength_and_direction() -> None:
    swell = Swell(height_m=3, wavelength_m=400, direction_rad=0.4, spread_rad=0.1, bandwidth=0.1)
    image = swell_modulation(np.random.default_rng(0), (256, 256), 50.0, swell, incidence_deg=23.8, wind_ms=5)
    power = np.abs(np.fft.fft2(image)) ** 2
    ky, kx = (2 * np.pi * np.fft.fftfreq(256, 50.0) for _ in range(2))
    at = np.unravel_index(power.argmax(), power.shape)
    k = np.hypot(kx[at[1]], ky[at[0]])
    assert 2 * np.pi / k == pytest.approx(400, rel=0.2)
    assert np.arctan(ky[at[0]] / kx[at[1]]) == pytest.approx(0.4, abs=0.25)
    assert abs(image.mean()) < 1e-3


def test_transfer_written_by_hand() -> None:
    """Hasselmann & Hasselmann (1991), one wavenumber at a time; and no bunching of waves that travel along range."""
    theta, k = np.radians(23.8), 2 * np.pi / 300
    omega = np.sqrt(9.81 * k)
    tilt = 4j * k * (np.cos(theta) / np.sin(theta)) / (1 + np.sin(theta) ** 2)
    hydro = 4.5 * k * omega * (omega - 0.5j) / (omega**2 + 0.25)
    assert transfer(np.array(k), np.array(0.0), 23.8) == pytest.approx(tilt + hydro)
    bunching = transfer(np.array(0.0), np.array(k), 23.8)
    assert abs(bunching) == pytest.approx(115.0 * k * omega * np.cos(theta))
    assert transfer(np.array(0.0), np.array(0.0), 23.8) == 0


def test_azimuth_cutoff_removes_short_waves_along_the_track() -> None:
    def spread(direction: float) -> float:
        swell = Swell(height_m=2, wavelength_m=120, direction_rad=direction)
        made = swell_modulation(np.random.default_rng(1), (256, 256), 25.0, swell, incidence_deg=23.8, wind_ms=14)
        return float(made.std())

    assert spread(np.pi / 2) < 0.25 * spread(0.0)


def test_rolls_lie_along_the_wind_at_their_spacing() -> None:
    s = sea(seed=5, n=400, towards=0.9)
    wind_streaks(s, np.ones(s.shape), 1.0)
    speed = np.hypot(s.u, s.v)
    power = np.abs(np.fft.fft2(speed - speed.mean())) ** 2
    ky, kx = np.meshgrid(np.fft.fftfreq(400, 50.0), np.fft.fftfreq(400, 50.0), indexing="ij")
    k = np.hypot(kx, ky)
    mean_k = (power * k).sum() / power.sum()
    assert 700 < 1 / mean_k < 3200
    turn = 0.5 * np.angle((power * np.exp(2j * np.arctan2(ky, kx))).sum())  # of the wavenumber: across the wind
    assert abs((turn - 0.9 - np.pi / 2 + np.pi / 2) % np.pi - np.pi / 2) < 0.45


def test_slicks_dampen_by_five_to_ten_decibels_in_thin_lines() -> None:
    s = sea(seed=2)
    slicks(s)
    assert 4 < s.damping_db.max() < 10.01
    assert 0 < (s.damping_db > 2).mean() < 0.4


def test_low_wind_is_below_the_threshold_and_dark() -> None:
    s = sea(seed=3, wind=5.0)
    low_wind(s, 0.5)
    inside = s.masks["low_wind_area"]
    assert 0.2 < inside.mean() < 0.75
    assert np.hypot(s.u, s.v)[inside].max() < 2.31
    made = simulate_imagette("low_wind_area", seed=3, config=alone(incidence="WV2"))
    where = made["mask"].sel({"class": "low_wind_area"}).values
    inner, outer = (float(made["sigma0"].values[w].mean()) for w in (where, ~where))
    assert 10 * np.log10(outer / inner) > 6


def test_rain_spreads_from_its_core() -> None:
    """The outflow diverges: wind away from the centre is faster on the lee side of the ambient wind."""
    s = sea(seed=8, wind=5.0, towards=0.0)
    rain(s, 1)
    assert np.hypot(s.u, s.v).max() > 6.5
    du, dv = np.gradient(s.u, axis=1), np.gradient(s.v, axis=0)
    assert (du + dv)[s.masks["rain_cells"]].sum() > (np.abs(du + dv)[~s.masks["rain_cells"]].sum())


def test_icebergs_are_bright_and_small() -> None:
    s = sea(seed=4)
    icebergs(s, 5, -12.0, 23.8)
    assert 10 * np.log10(s.extra.max()) > -12 + 5
    assert s.masks["iceberg"].mean() < 0.05


def test_masks_on_coarse_cells_by_brute_force() -> None:
    mask = np.random.default_rng(0).random((2, 16, 24)) < 0.3
    made = block_masks(mask, 8, 0.3)
    for c, i, j in np.ndindex(made.shape):
        assert made[c, i, j] == (mask[c, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].mean() >= 0.3)
    with pytest.raises(OptionError, match="blocked"):
        block_masks(mask, 7)


def test_waves_are_only_labelled_where_nothing_else_is() -> None:
    for seed in range(6):
        made = simulate_imagette("pure_ocean_waves", seed=seed, config=WaveModeConfig(companions=1.0, side_m=8000))
        assert int(made["mask"].values.sum(0).max()) <= 1 or not made["mask"].values[6].any()


def test_detrending_flattens_the_reference_sea() -> None:
    angle = np.linspace(20, 46, 200)
    flat = detrend(cmod5n(np.full(200, 10.0), 45.0, angle), angle)
    assert np.abs(10 * np.log10(flat)).max() < 0.02
    assert np.isnan(detrend(np.array([np.nan]), np.array([30.0]))).all()
    assert reference_db(np.array([23.8])) > reference_db(np.array([36.8])) + 4


@pytest.mark.parametrize(
    "settings",
    [{"incidence": "WV3"}, {"companions": 2.0}, {"looks": -1.0}, {"side_m": 100.0}, {"strength": (0.0, 1.0)}],
)
def test_impossible_settings(settings: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        WaveModeConfig(**settings)  # type: ignore[arg-type]


def test_unknown_category() -> None:
    with pytest.raises(OptionError, match="iceberg"):
        simulate_imagette("ships", seed=0)


def test_looks_are_set_on_the_command_line(tmp_path: Path) -> None:
    """The same sea under speckle of 5 and of 500 looks at 50 m: at 100 m the first varies by 1/√20 more, in dB 0.97."""
    made = {}
    for looks in ("5", "500"):
        words = ["imagettes", "simulated", "--count", "1", "--looks", looks, "-o", str(tmp_path / f"{looks}.zarr")]
        assert CliRunner().invoke(cli, words).exit_code == 0
        made[looks] = open_imagettes(tmp_path / f"{looks}.zarr")
    np.testing.assert_array_equal(made["5"]["mask"].values, made["500"]["mask"].values)
    at = METOCEAN.names.index("pure_ocean_waves")  # far above the noise
    few, many = (made[looks]["image"].values[at].astype(float) * 24 for looks in ("5", "500"))  # dB
    assert np.std(few - many) == pytest.approx(10 / np.log(10) / np.sqrt(20), rel=0.1)
