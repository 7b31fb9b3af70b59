"""Opening scenes: the contract, laziness, options, damage; agreement with other libraries."""

from __future__ import annotations

import gc
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frazil import open_scene
from frazil.conventions import check_scene
from frazil.errors import ContractError, OptionError, ProductError, UnsupportedProductError
from frazil.sentinel1.product import open_product


@pytest.fixture(scope="module")
def scene(small_safe: Path) -> xr.Dataset:
    return open_scene(small_safe)


def test_contract(scene: xr.Dataset, small_safe: Path) -> None:
    check_scene(scene)
    check_scene(open_scene(small_safe, looks=3))
    assert dict(scene.sizes) | {"line": 900, "pixel": 1500, "polarization": 2} == dict(scene.sizes)
    assert scene.sigma0.dtype == np.float32
    assert scene.attrs["noise"] == "HH: removed, HV: removed"
    with pytest.raises(ContractError, match=r"sigma0.*open_scene"):
        check_scene(xr.Dataset())
    with pytest.raises(ContractError, match="dims"):
        check_scene(scene.transpose("pixel", "line", ...))


def test_zip_read_in_place_gives_the_same_pixels(scene: xr.Dataset, small_zip: Path) -> None:
    np.testing.assert_array_equal(open_scene(small_zip).sigma0.values, scene.sigma0.values)


def test_nothing_is_read_before_it_is_asked_for(small_safe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frazil.scene.measurement import Measurement

    read: list[tuple[int, int]] = []
    original = Measurement.lines

    def noted(self: Measurement, first: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        read.append((first, stop))
        return original(self, first, stop, out)

    monkeypatch.setattr(Measurement, "lines", noted)
    opened = open_scene(small_safe)
    repr(opened)
    assert read == []
    opened.sigma0[1, 100:120, 5:9].values  # noqa: B018
    assert read == [(100, 120)]


def test_opening_and_reading_load_no_dask(small_safe: Path) -> None:
    """xarray loads it to look at bare arrays, in a third of the time that a scene takes."""
    code = (
        "import sys; from frazil import open_scene; open_scene(sys.argv[1]).sigma0[:, :300].values; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, small_safe], capture_output=True, text=True, check=True)
    assert "xarray" in done.stdout.split()
    assert "dask" not in done.stdout.split()


def test_the_garbage_collector_runs_on_after_success_and_failure(copy: Path) -> None:
    opened = open_scene(copy)
    opened.sigma0.load()
    assert gc.isenabled()
    next((copy / "annotation" / "calibration").glob("noise-*-hv-*")).write_bytes(b"<noise>")
    with pytest.raises(ProductError):
        open_scene(copy)
    assert gc.isenabled()


def xarray_takes(index: slice) -> bool:
    """xarray itself stumbles over empty backward slices."""
    return index.step > 0 or len(range(*index.indices(90))) > 0


INDEX = st.one_of(
    st.integers(0, 89),
    st.tuples(st.integers(0, 89), st.integers(0, 89), st.sampled_from([1, 2, 7, -1, -3]))
    .map(lambda t: slice(*t))
    .filter(xarray_takes),
)


@settings(max_examples=60, deadline=None)
@given(line=INDEX, pixel=INDEX, plane=st.sampled_from([0, 1, slice(None), slice(None, None, -1)]))
def test_any_index_equals_indexing_the_loaded_array(
    scene: xr.Dataset, line: Any, pixel: Any, plane: int | slice
) -> None:
    corner = scene.isel(line=slice(0, 90), pixel=slice(0, 90))
    whole = test_any_index_equals_indexing_the_loaded_array.__dict__.setdefault("whole", {})
    for name in ("sigma0", "nesz", "incidence_angle", "valid"):
        if name not in whole:
            whole[name] = corner[name].load().values.copy()
        fresh = scene.isel(line=slice(0, 90), pixel=slice(0, 90))[name]
        key = (plane, line, pixel) if name in ("sigma0", "nesz") else (line, pixel)
        np.testing.assert_array_equal(fresh[key].values, whole[name][key])


def test_dask_chunks_give_the_same(scene: xr.Dataset, small_safe: Path) -> None:
    chunked = open_scene(small_safe, chunks={"line": 200})
    assert chunked.sigma0.chunks is not None
    np.testing.assert_array_equal(chunked.sigma0.values, scene.sigma0.values)


def test_boxcar_across_strip_borders_is_seamless(small_safe: Path, scene: xr.Dataset) -> None:
    power = scene.sigma0.sel(polarization="HV").values.astype(np.float64)
    smooth = open_scene(small_safe, boxcar=True).sigma0.sel(polarization="HV")
    padded = np.pad(power, 1, constant_values=np.nan)
    stack = np.stack([padded[i : i + 900, j : j + 1500] for i in range(3) for j in range(3)])
    expected = np.where(np.isnan(power), np.nan, np.nanmean(stack, axis=0))
    np.testing.assert_allclose(smooth.values, expected, rtol=1e-4, atol=1e-8)
    window = smooth[505:520, 10:20].values  # straddles the strip border at 512
    np.testing.assert_array_equal(window, smooth.values[505:520, 10:20])


def test_looks_average_in_power_and_move_the_coordinates(small_safe: Path, scene: xr.Dataset) -> None:
    coarse = open_scene(small_safe, looks=4)
    assert coarse.line.values[:2].tolist() == [1.5, 5.5]
    assert coarse.attrs["spacing_m"] == 160.0
    one = scene.sigma0[0, 40:44, 80:84].values
    assert float(coarse.sigma0[0, 10, 20]) == pytest.approx(float(one.mean(dtype=np.float64)), rel=1e-5)


def test_denoise_options(small_safe: Path) -> None:
    none, esa, balanced = (open_scene(small_safe, denoise=d, looks=5) for d in ("none", "esa", "balanced"))
    gap = none.sigma0.values - esa.sigma0.values
    # Noise inside a 5 × 5 block is nearly that at its centre, except where a sub-swath border runs through it.
    close = np.isclose(gap, esa.nesz.values, rtol=2e-2)
    assert close.mean() > 0.98
    assert "balance_HV" in balanced.attrs
    assert balanced.attrs["denoise"] == "balanced"
    assert np.isfinite(balanced.sigma0.values).mean() == np.isfinite(esa.sigma0.values).mean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"polarizations": ("VV",)}, r"'VV' is not in S1.*\['HH', 'HV'\]"),
        ({"denoise": "snap"}, r"denoise 'snap' is not one of"),
        ({"looks": 0}, "looks must be 1 or more"),
        ({"looks": 3, "boxcar": True}, "looks=3, boxcar=True"),
        ({"looks": 2000}, "exceeds the image of 900 × 1500"),
        ({"image": "EW9"}, r"'EW9' is not in .*\['EW'\]"),
    ],
)
def test_impossible_options(small_safe: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        open_scene(small_safe, **options)


@pytest.fixture
def copy(small_safe: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_safe, tmp_path / small_safe.name))


def measurement(folder: Path, pol: str = "hv") -> Path:
    return next((folder / "measurement").glob(f"*-{pol}-*"))


def test_truncated_measurement(copy: Path) -> None:
    tiff = measurement(copy)
    tiff.write_bytes(tiff.read_bytes()[: tiff.stat().st_size // 3])
    with pytest.raises(ProductError, match=r"hv.*(truncated|damaged)"):
        open_scene(copy).sigma0.values  # noqa: B018


def test_measurement_of_another_product(copy: Path) -> None:
    tiff = measurement(copy)
    with rasterio.open(tiff) as file:
        data = file.read(1)
        gcps = file.gcps
    tiff.unlink()
    with rasterio.open(
        tiff, "w", driver="GTiff", width=700, height=500, count=1, dtype="uint16", gcps=gcps[0], crs=gcps[1]
    ) as file:
        file.write(data[:500, :700], 1)
    with pytest.raises(ProductError, match=r"500 × 700 pixels, but its annotation says 900 × 1500"):
        open_scene(copy)


def test_measurement_that_is_no_tiff_or_of_other_type(copy: Path) -> None:
    tiff = measurement(copy)
    tiff.write_bytes(b"not a tiff at all")
    with pytest.raises(ProductError, match="cannot be read"):
        open_scene(copy)
    tiff.unlink()
    from rasterio.transform import from_origin

    profile = {"driver": "GTiff", "width": 1500, "height": 900, "count": 3, "dtype": "uint8"}
    with rasterio.open(tiff, "w", **profile, transform=from_origin(5, 5, 2, 2)) as file:
        file.write(np.zeros((3, 900, 1500), np.uint8))
    with pytest.raises(ProductError, match=r"3 band\(s\) of uint8"):
        open_scene(copy)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 400), value=st.binary(min_size=1, max_size=12))
def test_mutated_tiff_headers_are_read_or_refused(copy: Path, at: int, value: bytes) -> None:
    """A fuzz test: bytes of the TIFF header and its directory are overwritten."""
    tiff = measurement(copy)
    good = test_mutated_tiff_headers_are_read_or_refused.__dict__.setdefault("good", tiff.read_bytes())
    with rasterio.open(measurement(copy, "hh")):
        pass
    tiff.write_bytes(good[:at] + value + good[at + len(value) :])
    refused = None
    try:
        values = open_scene(copy, polarizations=("HV",)).sigma0[0, ::100, :10].values
    except ProductError as error:
        refused = str(error)
    else:
        assert values.shape == (9, 10)
    assert refused is None or copy.name.removesuffix(".SAFE") in refused


def test_tops_slc_says_what_to_take_instead(copy: Path) -> None:
    for xml in (copy / "annotation").glob("*.xml"):
        xml.write_bytes(xml.read_bytes().replace(b"<productType>GRD<", b"<productType>SLC<", 1))
    (copy / "manifest.safe").unlink()
    assert open_product(copy).bands[0].header.product_type == "SLC"
    with pytest.raises(UnsupportedProductError, match=r"EW SLC.*GRD"):
        open_scene(copy)


def test_wave_mode_imagettes_are_images_of_their_own(copy: Path) -> None:
    """Two imagettes made of the two images of a GRD: complex pixels, one polarisation, numbers 001 and 002."""
    for folder in ("annotation", "annotation/calibration"):
        for xml in (copy / folder).glob("*.xml"):
            text = xml.read_bytes()
            for old, new in (
                (b"<productType>GRD<", b"<productType>SLC<"),
                (b"<mode>EW<", b"<mode>WV<"),
                (b"<swath>EW<", b"<swath>WV1<"),
                (b"<polarisation>HH<", b"<polarisation>VV<"),
                (b"<polarisation>HV<", b"<polarisation>VV<"),
                (b"<pixelValue>Detected<", b"<pixelValue>Complex<"),
            ):
                text = text.replace(old, new)
            xml.write_bytes(text)
    (copy / "manifest.safe").unlink()
    amplitude = {}
    for pol in ("hh", "hv"):
        tiff = measurement(copy, pol)
        with rasterio.open(tiff) as file:
            dn, gcps = file.read(1), file.gcps
        tiff.unlink()
        phase = np.exp(2j * np.pi * np.random.default_rng(0).random(dn.shape))
        with rasterio.open(
            tiff, "w", driver="GTiff", width=1500, height=900, count=1, dtype="complex_int16", gcps=gcps[0], crs=gcps[1]
        ) as file:
            file.write((dn * phase).astype(np.complex64), 1)
        with rasterio.open(tiff) as file:
            amplitude[pol] = np.abs(file.read(1))
    with pytest.raises(OptionError, match=r"2 images \(001 … 002\)"):
        open_scene(copy)
    opened = open_scene(copy, image="002", denoise="none")
    assert opened.polarization.values.tolist() == ["VV"]
    gain = open_product(copy).bands[1].calibration.sigma_nought[0, 0]
    expected = (amplitude["hv"][0, 0] / gain) ** 2
    assert float(opened.sigma0[0, 0, 0]) == pytest.approx(expected, rel=1e-4)


def test_agrees_with_xarray_sentinel(small_safe: Path) -> None:
    """An independent reader: σ0 without noise removal."""
    xarray_sentinel = pytest.importorskip("xarray_sentinel")
    ours = open_scene(small_safe, denoise="none").sigma0
    for pol in ("HH", "HV"):
        dn = xarray_sentinel.open_sentinel1_dataset(small_safe, group=f"EW/{pol}")
        calibration = xarray_sentinel.open_sentinel1_dataset(small_safe, group=f"EW/{pol}/calibration")
        theirs = xarray_sentinel.calibrate_intensity(dn.measurement, calibration.sigmaNought).values
        mine = ours.sel(polarization=pol).values
        seen = np.isfinite(mine)
        np.testing.assert_allclose(mine[seen], theirs[seen], rtol=2e-6)


def test_an_image_without_any_observation_says_so(copy: Path) -> None:
    tiff = measurement(copy)
    with rasterio.open(tiff, "r+") as file:
        file.write(np.zeros((900, 1500), np.uint16), 1)
    (copy / "manifest.safe").unlink()
    opened = open_scene(copy)
    assert opened.attrs["note"].endswith("No pixel of HV holds an observation.")
    assert opened.attrs["note"].startswith("SIMULATED")
    assert not opened.valid.values.any()


def test_ground_range_of_slant_range_images(copy: Path) -> None:
    """Of SLC: each pixel covers its spacing over the sine of its incidence angle."""
    for xml in (copy / "annotation").rglob("*.xml"):
        text = xml.read_bytes().replace(b"<mode>EW<", b"<mode>S1<").replace(b"<swath>EW<", b"<swath>S1<")
        xml.write_bytes(text.replace(b"<productType>GRD<", b"<productType>SLC<"))
    (copy / "manifest.safe").unlink()
    opened = open_scene(copy, check="none")
    theta = np.radians(opened.incidence_angle.values[450].astype(float))
    expected = np.concatenate([[0], np.cumsum(40.0 / np.sin((theta[1:] + theta[:-1]) / 2))])
    np.testing.assert_allclose(opened.ground_range.values, expected, rtol=2e-4)
    assert opened.attrs["spacing_m"] == pytest.approx(expected[-1] / 1499, rel=2e-4)
    assert opened.attrs["slant_range_spacing_m"] == 40.0
    coarse = open_scene(copy, check="none", looks=5)
    assert coarse.attrs["spacing_m"] == pytest.approx(5 * opened.attrs["spacing_m"], rel=1e-3)
    np.testing.assert_allclose(coarse.ground_range.values, opened.ground_range.values[2::5], rtol=1e-6)


def test_noise_states_name_what_is_unknown(copy: Path) -> None:
    """One sub-swath whose tables are all zeros."""
    noise = next((copy / "annotation" / "calibration").glob("noise-*-hv-*"))
    text = noise.read_bytes().decode()
    band = open_product(copy).bands[1]
    first = next(b for b in band.annotation.swath_bounds if b.swath == "EW1")

    def zeroed(match: re.Match[str]) -> str:
        pixel = np.array(match.group(2).split(), int)
        lut = np.where(pixel <= first.last_pixel, 0.0, np.array(match.group(4).split(), float))
        return match.group(1) + match.group(2) + match.group(3) + " ".join(f"{v:e}" for v in lut)

    pattern = r"(<pixel[^>]*>)([^<]*)(</pixel>\s*<noiseRangeLut[^>]*>)([^<]*)"
    noise.write_text(re.sub(pattern, zeroed, text))
    (copy / "manifest.safe").unlink()
    opened = open_scene(copy)
    assert opened.attrs["noise"] == "HH: removed, HV: removed; unknown in parts of EW1, not removed there"
    assert np.isnan(opened.nesz.values[1, 450, : first.last_pixel]).all()
    assert opened.noise_missing.values[450, : first.last_pixel].all()


@pytest.mark.parametrize("value", [np.nan, 0.0, 500.0, np.inf])
def test_incidence_angles_that_are_none_are_refused(scene: xr.Dataset, value: float) -> None:
    loaded = scene.load().copy(deep=True)
    check_scene(loaded)
    loaded.incidence_angle[10:20] = value
    with pytest.raises(ContractError, match=r"incidence_angle is not between 0 and 90"):
        check_scene(loaded)
    loaded.valid[10:20] = False
    check_scene(loaded)
