"""Whether a scene and a model fit: refused in one line that says what to do, or flagged with numbers that are true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil import open_scene
from frazil.errors import ModelError
from frazil.learn.checkpoint import ModelCard
from frazil.learn.predict.fit import Sample, check_fit, check_logits, outside_training, wanted_denoise
from frazil.learn.seen import Seen
from frazil.scene.geolocation import Geolocation
from frazil.scene.land import land_mask
from frazil.scene.scaling import Channel, network_input
from frazil.testing import make_map

CHANNELS = (
    Channel(name="hh", low=-50.0, high=0.0),
    Channel(name="hv", low=-60.0, high=-5.0),
    Channel(name="incidence_angle", low=15.0, high=50.0),
)


def card(**changes: object) -> ModelCard:
    made = ModelCard(
        id="made-up",
        architecture="unet",
        settings={},
        class_scheme="five_classes",
        channels=CHANNELS,
        spacing_m=80.0,
        denoise="esa",
        incidence_range=(18.0, 48.0),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene(small_safe) -> xr.Dataset:  # type: ignore[no-untyped-def]
    return open_scene(small_safe, looks=2)


def test_a_scene_that_fits_is_let_through(scene: xr.Dataset) -> None:
    check_fit(scene, card())


@pytest.mark.parametrize("ratio", [0.5, 0.79, 1.21, 2.0, 0.0, -1.0, np.nan, np.inf])
def test_other_pixels_are_refused(scene: xr.Dataset, ratio: float) -> None:
    with pytest.raises(ModelError, match="looks=") as error:
        check_fit(scene.assign_attrs(spacing_m=80.0 * ratio), card())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ratio", [0.81, 1.0, 1.19])
def test_nearly_equal_pixels_are_let_through(scene: xr.Dataset, ratio: float) -> None:
    check_fit(scene.assign_attrs(spacing_m=80.0 * ratio), card())


@pytest.mark.parametrize(("looks", "wanted_m"), [(1, 80.0), (2, 200.0), (4, 40.0), (3, 40.0)])
def test_the_advice_of_a_refusal_works(small_safe, looks: int, wanted_m: float) -> None:  # type: ignore[no-untyped-def]
    """Opening the scene with so many looks gives pixels that fit."""
    made = open_scene(small_safe, looks=looks)
    with pytest.raises(ModelError) as error:
        check_fit(made, card(spacing_m=wanted_m))
    advised = int(str(error.value).split("looks=")[1].rstrip("."))
    check_fit(open_scene(small_safe, looks=advised), card(spacing_m=wanted_m))


def test_missing_polarizations_and_other_noise_are_refused_in_one_line(scene: xr.Dataset) -> None:
    with pytest.raises(ModelError, match=r"needs \['HH', 'HV'\]") as error:
        check_fit(scene.isel(polarization=[0]), card())
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="denoise='none'"):
        check_fit(scene, card(denoise="none"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_logit_that_is_no_number_is_enough(bad: float) -> None:
    logits = np.zeros((5, 30, 40), np.float32)
    check_logits(logits, card())
    logits[3, 29, 39] = bad
    with pytest.raises(ModelError, match="not finite") as error:
        check_logits(logits, card())
    assert "\n" not in str(error.value)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.lists(st.integers(1, 200), min_size=1, max_size=8), st.data())
def test_a_sample_is_the_lattice_of_the_whole_image_however_it_is_passed(
    height: int, width: int, heights: list[int], data: st.DataObject
) -> None:
    """In strips that overlap or not: the values are those of every step-th line and pixel, each once."""
    image = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    blank = xr.Dataset(coords={"line": np.arange(height), "pixel": np.arange(width)})
    sample = Sample.of(blank)
    first, k = 0, 0
    while True:
        stop = min(first + heights[k % len(heights)], height)
        sample.add(image[:, first:stop], first)
        if stop == height:
            break
        first = max(stop - data.draw(st.integers(0, 3)), first + 1)
        k += 1
    assert sample.lines == list(range(0, height, sample.step))
    np.testing.assert_array_equal(np.stack(sample.values, axis=1), image[:, :: sample.step, :: sample.step])
    assert min(height, width) / sample.step < 320


def test_what_was_sampled_is_no_view_of_what_may_change() -> None:
    image = np.zeros((1, 50, 60), np.float32)
    sample = Sample.of(xr.Dataset(coords={"line": np.arange(50), "pixel": np.arange(60)}))
    sample.add(image, 0)
    image += 1
    assert max(float(v.max()) for v in sample.values) == 0


def sampled(scene: xr.Dataset, shift_db: float = 0.0) -> tuple[Sample, np.ndarray]:
    arrays = {name: scene[name].values for name in ("sigma0", "incidence_angle", "valid")}
    image = network_input(arrays, [str(p) for p in scene.polarization.values], CHANNELS)
    for number, channel in enumerate(CHANNELS[:2]):
        plane = image[number]
        plane[plane > 0] = np.clip(plane[plane > 0] + shift_db / (channel.high - channel.low), 0.001, 1)
    sample = Sample.of(scene)
    sample.add(image, 0)
    return sample, image


def seen_of(scene: xr.Dataset) -> Seen:
    """What a model would have seen that learnt from this scene's sea alone, straight from its backscatter."""
    medians = {}
    lon, lat = Geolocation.of(scene).lonlat(scene.line.values[:, None], scene.pixel.values[None, :])
    sea = ~land_mask(np.asarray(lon), np.asarray(lat))
    for channel in CHANNELS[:2]:
        power = scene["sigma0"].sel(polarization=channel.name.upper()).values
        power = power[sea & np.isfinite(power)]
        db = 10 * np.log10(np.maximum(power, 10 ** (channel.low / 10)))
        medians[channel.name] = float(np.median(np.clip(db, channel.low, channel.high)))
    difference = medians["hh"] - medians["hv"]
    return Seen(
        scenes=1,
        medians={k: (v, v) for k, v in medians.items()},
        differences={"hh-hv": (difference, difference)},
        modes=("EW",),
    )


def test_a_scene_like_the_training_is_not_strange(scene: xr.Dataset) -> None:
    assert sampled(scene)[0].strange(scene, card(seen=seen_of(scene))) == []


@pytest.mark.parametrize("shift_db", [-8.0, 8.0])
def test_a_wrong_calibration_is_strange_and_told_in_decibels(scene: xr.Dataset, shift_db: float) -> None:
    seen = seen_of(scene)
    said = sampled(scene, shift_db)[0].strange(scene, card(seen=seen))
    told = next(s for s in said if s.startswith("a median hh of"))
    value = float(told.removeprefix("a median hh of ").split(" dB")[0])
    assert value == pytest.approx(seen.medians["hh"][0] + shift_db, abs=1.0)


def test_products_of_another_mode_are_strange_whatever_they_look_like(scene: xr.Dataset) -> None:
    said = sampled(scene)[0].strange(scene, card(seen=replace(seen_of(scene), modes=("IW",))))
    assert len(said) == 1
    assert "mode EW" in said[0]


def test_land_does_not_count(scene: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bright land on three quarters of a scene, with the sea as it was in training."""
    sample, _ = sampled(scene)
    n = scene.sizes["pixel"] // sample.step // 4
    for values in sample.values:
        values[:2, n:] = 1.0
    seen = seen_of(scene)
    assert sample.strange(scene, card(seen=seen)) != []

    def here(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        out = np.zeros(lon.shape, bool)
        out[:, n:] = True
        return out

    monkeypatch.setattr("frazil.learn.predict.fit.land_mask", here)
    said = sample.strange(scene, card(seen=seen))
    assert not [s for s in said if "above" in s]


def test_a_model_that_does_not_tell_what_it_saw_flags_no_median(scene: xr.Dataset) -> None:
    assert not [s for s in sampled(scene, 8.0)[0].strange(scene, card()) if "median" in s]


def test_a_scene_of_which_nothing_was_shown_is_not_strange(scene: xr.Dataset) -> None:
    assert Sample.of(scene).strange(scene, card(seen=seen_of(scene))) == []


def test_a_strange_map_says_so_first_and_keeps_its_own_note() -> None:
    ds = make_map(shape=(10, 10), note="Simulated.")
    made = outside_training(ds, ["one thing", "another"])
    assert made.attrs["note"].startswith("DO NOT TRUST THIS MAP")
    assert made.attrs["note"].endswith("Simulated.")
    assert made.attrs["outside_training"] == "one thing; another"
    assert "outside_training" not in ds.attrs
    assert outside_training(ds, []) is ds


@pytest.mark.parametrize(
    ("learnt", "asked", "given"),
    [
        ("esa", None, "esa"),
        ("esa", "esa", "esa"),
        ("esa", "balanced", "balanced"),
        ("none", "none", "none"),
        ("none", None, "none"),
        ("balanced", "balanced", "balanced"),
    ],
)
def test_noise_removal_that_suits_a_model(learnt: str, asked: str | None, given: str) -> None:
    assert wanted_denoise(card(denoise=learnt), asked) == given


@pytest.mark.parametrize(
    ("learnt", "asked"),
    [("esa", "none"), ("balanced", "esa"), ("balanced", "none"), ("none", "esa"), ("none", "balanced")],
)
def test_noise_removal_that_does_not(learnt: str, asked: str) -> None:
    with pytest.raises(ModelError, match=f"denoise='{learnt}'; with denoise='{asked}' dark places") as raised:
        wanted_denoise(card(denoise=learnt), asked)
    assert "\n" not in str(raised.value)
