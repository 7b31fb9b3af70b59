"""A scene of RADARSAT images: every window of it is a part of the whole, and the whole is what brute force makes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.conventions import VARIABLES, check_scene
from frazil.errors import OptionError
from frazil.radarsat.annotation import parse_radarsat2
from frazil.radarsat.scene import make_scene, noise_state, tie_points
from frazil.radarsat.tables import Profile
from frazil.scene.measurement import Measurement
from tests.radarsat.radarsat_files import Made, made_up

SHAPE = (150, 37)


class Written:
    """A product in a folder: its annotation, and its images with the calibration that they were made with."""

    def __init__(self, folder: Path, made: Made) -> None:
        self.made = made
        path = made.write_radarsat2(folder)
        self.annotation = parse_radarsat2((path / "product.xml").read_bytes(), "product.xml")
        self.measurements = [Measurement(str(path / f"imagery_{p}.tif"), made.shape, p) for p in made.dn]
        self.profile = Profile(offset=made.offset, gain=made.sigma_gain, incidence_angle=made.incidence, nesz=made.nesz)

    def scene(self, *, denoise: str = "none", looks: int = 1, average: bool = False, **changes: Any) -> xr.Dataset:
        """Of both polarisations; some of the annotation or the profile changed."""
        profile = replace(self.profile, nesz=changes.pop("nesz")) if "nesz" in changes else self.profile
        a = replace(self.annotation, **changes)
        names, both = tuple(self.made.dn), [profile] * len(self.made.dn)
        return make_scene("X", a, names, both, self.measurements, denoise=denoise, looks=looks, average=average)


def gappy(shape: tuple[int, int] = SHAPE) -> Made:
    """With a band that was not observed, so that blocks and averages meet its rim."""
    made = made_up(shape, offset=12.5)
    for plane in made.dn.values():
        plane[40:47] = 0
        plane[60:90, :11] = 0
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("scene"), gappy())


def same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-9)


def blocks_by_hand(full: np.ndarray, looks: int) -> np.ndarray:
    n = full.shape[0] // looks, full.shape[1] // looks
    out = np.full(n, np.nan)
    for y in range(n[0]):
        for x in range(n[1]):
            part = full[y * looks : (y + 1) * looks, x * looks : (x + 1) * looks]
            seen = part[np.isfinite(part)]
            if 2 * seen.size >= looks**2:
                out[y, x] = seen.mean()
    return out


@pytest.mark.parametrize("looks", [1, 2, 3, 7, 37])
@pytest.mark.parametrize("denoise", ["none", "esa"])
def test_blocks_are_means_of_what_was_observed(looks: int, denoise: str, written: Written) -> None:
    """Block by block in float64; what is left over at the ends is no block."""
    scene = written.scene(denoise=denoise, looks=looks)
    check_scene(scene)
    for p in ("HH", "HV"):
        full = written.made.sigma0(p, denoise=denoise == "esa")
        same(scene["sigma0"].sel(polarization=p).values, full if looks == 1 else blocks_by_hand(full, looks))
    assert scene.attrs["spacing_m"] == 50.0 * looks


def test_a_moving_average_is_one_of_the_observed_neighbours(written: Written) -> None:
    full = written.made.sigma0("HH", denoise=False)
    expected = np.full(SHAPE, np.nan)
    for y, x in np.argwhere(np.isfinite(full)):
        expected[y, x] = np.nanmean(full[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2])
    found = written.scene(average=True)
    same(found["sigma0"].values[0], expected)
    assert found.attrs["boxcar"] == 1
    assert found.attrs["looks"] == 1


def windows_of(n: int) -> st.SearchStrategy[slice]:
    """That hold something: of an empty one that runs backwards, xarray itself says IndexError for every lazy array."""
    return st.slices(n).filter(lambda s: len(range(*s.indices(n))) > 0)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), how=st.sampled_from([{}, {"looks": 3}, {"average": True}, {"denoise": "esa", "looks": 2}]))
def test_any_window_is_part_of_the_whole(data: st.DataObject, how: dict[str, Any], written: Written) -> None:
    """Also across the strips of lines that are read at a time, backwards, and with steps."""
    scene, whole = written.scene(**how), written.scene(**how).load()
    n = scene.sizes
    window = {dim: data.draw(windows_of(n[dim]), label=dim) for dim in ("polarization", "line", "pixel")}
    for name in ("sigma0", "nesz", "valid", "incidence_angle", "noise_missing"):
        mine = {dim: s for dim, s in window.items() if dim in scene[name].dims}
        np.testing.assert_array_equal(scene[name].isel(mine).values, whole[name].isel(mine).values)


@pytest.mark.parametrize("looks", [1, 2, 5])
@pytest.mark.parametrize("late_first", [False, True])
def test_places_are_those_of_the_middle_of_a_block(looks: int, late_first: bool, tmp_path: Path) -> None:
    """Lines, pixels, metres and times are means over the block, whichever way time runs."""
    w = Written(tmp_path, made_up((31, 23), late_first=late_first))
    scene = w.scene(looks=looks)
    lines, pixels = scene.sizes["line"], scene.sizes["pixel"]
    index = np.arange(31)[: lines * looks].reshape(lines, looks).mean(1)
    np.testing.assert_array_equal(scene["line"].values, index)
    across = np.arange(23)[: pixels * looks].reshape(pixels, looks).mean(1)
    np.testing.assert_array_equal(scene["pixel"].values, across)
    np.testing.assert_allclose(scene["ground_range"].values, across * 50.0)
    since = (scene["azimuth_time"].values - w.annotation.first_line_time) / np.timedelta64(1, "s")
    np.testing.assert_allclose(since, (-6.0 if late_first else 6.0) * index / 30, atol=1e-9)
    np.testing.assert_allclose(
        scene["incidence_angle"].values[0], np.interp(across, np.arange(23), w.made.incidence), rtol=1e-6
    )
    assert (scene["incidence_angle"].values == scene["incidence_angle"].values[0]).all()


def test_valid_is_where_every_polarisation_was_seen(written: Written) -> None:
    scene = written.scene(denoise="esa")
    seen = np.isfinite(scene["sigma0"].values)
    np.testing.assert_array_equal(scene["valid"].values, seen.all(0))
    assert 0 < scene["valid"].values.mean() < 1


def test_valid_needs_all_where_they_differ(tmp_path: Path) -> None:
    made = made_up((20, 16))
    made.dn["HH"][:, :5] = 0
    made.dn["HV"][10:] = 0
    valid = Written(tmp_path, made).scene()["valid"].values
    assert not valid[:, :5].any()
    assert not valid[10:].any()
    assert valid[2:9, 6:9].all()


def test_noise_is_told_where_it_is_known(written: Written) -> None:
    nesz = written.made.nesz.copy()
    nesz[20:] = np.nan
    scene = written.scene(denoise="esa", nesz=nesz)
    missing = scene["noise_missing"].values
    assert not missing[:, :20].any()
    assert missing[:, 20:].all()
    np.testing.assert_allclose(scene["nesz"].values[1, 3], nesz, rtol=1e-6)
    plain = written.made.sigma0("HV", denoise=False)
    same(scene["sigma0"].values[1][:, 20:], plain[:, 20:])
    same(scene["sigma0"].values[1][:, :20], written.made.sigma0("HV", denoise=True)[:, :20])


@pytest.mark.parametrize(
    ("removed", "denoise", "known", "words", "subtracted"),
    [
        (False, "esa", True, "the product's reference noise level along range, removed", True),
        (False, "none", True, "the product's reference noise level along range, not removed", False),
        (True, "esa", True, "removed by the processor", False),
        (True, "none", False, "removed by the processor", False),
        (False, "esa", False, "unknown in the product, not removed", False),
        (False, "none", False, "unknown in the product, not removed", False),
    ],
)
def test_what_is_told_of_noise_is_what_was_done(
    removed: bool, denoise: str, known: bool, words: str, subtracted: bool, written: Written
) -> None:
    """The sum of both polarisations before and after differs by the noise, or by nothing."""
    changes: dict[str, Any] = {"noise_removed": removed} | ({} if known else {"nesz": np.full(SHAPE[1], np.nan)})
    scene = written.scene(denoise=denoise, **changes)
    assert scene.attrs["noise"] == f"HH: {words}, HV: {words}"
    taken = np.nanmean(written.made.sigma0("HH", denoise=False) - scene["sigma0"].values[0])
    assert taken == pytest.approx(written.made.nesz.mean() if subtracted else 0.0, rel=0.05, abs=1e-7)
    a = replace(written.annotation, noise_removed=removed)
    profile = replace(written.profile, nesz=written.made.nesz if known else np.full(SHAPE[1], np.nan))
    assert noise_state(a, profile, denoise == "esa" and not removed) == words


def test_tie_points_take_the_angle_of_their_pixel(written: Written) -> None:
    a = written.annotation
    ties = tie_points(a, written.made.incidence)
    expected = written.made.incidence_at(a.ties.pixel)
    np.testing.assert_allclose(ties.incidence_angle, np.tile(expected, (a.ties.line.size, 1)), atol=1e-4)
    ties.incidence_angle[0, 0] = 7.0  # of its own memory: nothing else moves with it
    assert ties.incidence_angle[1, 0] != 7.0
    assert np.isnan(ties.elevation_angle).all()
    assert ties.latitude.shape == ties.elevation_angle.shape


@pytest.mark.parametrize("looks", [38, 151, 10**9])
def test_more_looks_than_pixels(looks: int, written: Written) -> None:
    with pytest.raises(OptionError, match=f"looks {looks} exceeds the image of 150 × 37 pixels") as caught:
        written.scene(looks=looks)
    assert "\n" not in str(caught.value)


def test_black_images_are_named_and_others_are_not(tmp_path: Path) -> None:
    for i, black in enumerate([(), ("HV",), ("HH", "HV")]):
        made = made_up((20, 16))
        for p in black:
            made.dn[p][:] = 0
        scene = Written(tmp_path / str(i), made).scene()
        expected = f"No pixel of {', '.join(black)} holds an observation." if black else None
        assert scene.attrs.get("note") == expected


def test_the_owner_is_named_with_the_year_of_the_image(written: Written) -> None:
    """In the order of the licence; around New Year it is the year in which the image began."""
    change: dict[str, Any] = {
        "first_line_time": np.datetime64("2020-01-01T00:00:02", "us"),
        "last_line_time": np.datetime64("2019-12-31T23:59:58", "us"),
    }
    line = written.scene(**change).attrs["attribution"]
    assert line.startswith("RADARSAT-2 Data and Products © MDA Geospatial Services Inc. (2019) – All Rights Reserved.")
    line = written.scene(sensor="RADARSAT Constellation", **change).attrs["attribution"]
    assert line.startswith("RADARSAT Constellation Mission Imagery © Government of Canada (2019)")
    assert line.endswith("RADARSAT is an official mark of the Canadian Space Agency.")


def test_attributes_can_be_written_to_a_file(written: Written, tmp_path: Path) -> None:
    """NetCDF knows texts and numbers, no dates, no None."""
    scene = written.scene(looks=5)
    assert {type(v) for v in scene.attrs.values()} <= {str, int, float}
    for name in ("sigma0", "nesz", "incidence_angle", "valid"):
        assert scene[name].attrs == VARIABLES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scene.drop_vars("valid").to_netcdf(tmp_path / "s.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "s.nc", engine="h5netcdf") as again:
        np.testing.assert_array_equal(again["sigma0"].values, scene["sigma0"].values)
        np.testing.assert_array_equal(again["azimuth_time"].values, scene["azimuth_time"].values)


def test_times_to_the_nanosecond_for_long_images(written: Written) -> None:
    """The last line has the last time whatever the interval does not divide."""
    scene = written.scene(last_line_time=written.annotation.first_line_time + np.timedelta64(6_999_999, "us"))
    last = scene["azimuth_time"].values[-1]
    assert abs(last - written.annotation.first_line_time - np.timedelta64(6_999_999, "us")) <= np.timedelta64(1, "ns")
    steps = np.diff(scene["azimuth_time"].values)
    assert steps.max() - steps.min() <= np.timedelta64(1, "ns")
