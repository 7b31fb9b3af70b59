"""σ0 and NESZ against a separate float64 reference, published values, and other libraries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.scene import averages
from frazil.sentinel1.annotation import parse_annotation, parse_noise
from frazil.sentinel1.noise import noise_table
from frazil.sentinel1.product import Band, Product, open_product
from frazil.sentinel1.radiometry import NoiseCorrection, Radiometry, make_radiometry
from tests.reference import Reference


def radiometry_of(band: Band, **options: Any) -> Radiometry:
    options = {"denoise": True, "ipf": band.product.ipf_version} | options
    return make_radiometry(band.annotation, band.calibration, band.noise, **options)


def reference_of(band: Band) -> Reference:
    product = band.product
    return Reference(
        product.read(f"annotation/{band.stem}.xml"),
        product.read(f"annotation/calibration/calibration-{band.stem}.xml"),
        product.read(f"annotation/calibration/noise-{band.stem}.xml"),
    )


@pytest.fixture(scope="module")
def hv(ew_metadata: Product) -> Band:
    return ew_metadata.bands[1]


@pytest.fixture(scope="module")
def hv_radiometry(hv: Band) -> Radiometry:
    return radiometry_of(hv)


@pytest.fixture(scope="module")
def hv_reference(hv: Band) -> Reference:
    return reference_of(hv)


PUBLISHED = [  # line, pixel, A, η, NESZ of the real product, computed elsewhere
    (0, 0, 1908.928000, 43003.246345, 1.18010906e-2),
    (300, 6000, 1412.165000, 1502.664439, 7.53513647e-4),
    (1345, 3112, 1572.838800, 3575.828017, 1.44546704e-3),
    (5000, 5243, 1446.270000, 2545.277186, 1.21684799e-3),
]


@pytest.mark.parametrize(("line", "pixel", "gain", "eta", "nesz"), PUBLISHED)
def test_published_values(
    hv_radiometry: Radiometry, hv_reference: Reference, line: int, pixel: int, gain: float, eta: float, nesz: float
) -> None:
    assert hv_radiometry.amplitude_gain([line], [pixel])[0, 0] == pytest.approx(gain, rel=1e-9)
    assert hv_radiometry.nesz(np.array([line]), np.array([pixel]))[0, 0] == pytest.approx(nesz, rel=1e-6)
    assert hv_reference.eta(line, pixel) == pytest.approx(eta, rel=1e-8)


def test_zeros_of_the_table_mean_missing(hv_radiometry: Radiometry) -> None:
    """At the far edge the table holds zeros: the nearest valid value is taken, and said to be so."""
    at = np.array([5000]), np.array([10486])
    assert hv_radiometry.nesz(*at)[0, 0] == pytest.approx(1.079e-3, rel=1e-3)
    assert hv_radiometry.noise_missing(*at)[0, 0]
    assert not hv_radiometry.noise_missing(np.array([5000]), np.array([10400]))[0, 0]
    # Extrapolating past the zeros would give −5e-2 here.
    assert hv_radiometry.nesz(np.array([79]), np.array([3128]))[0, 0] == pytest.approx(1.65e-3, rel=5e-3)


def edge_positions(band: Band) -> list[tuple[int, int]]:
    """The corners of every noise block, and their neighbours on both sides."""
    n_lines, n_pixels = band.annotation.n_lines, band.annotation.n_pixels
    places = set()
    for vector in band.noise.azimuth:
        b = vector.bounds
        for line in (b.first_line, b.last_line):
            for pixel in (b.first_pixel, b.last_pixel):
                for dl in (-1, 0, 1):
                    places |= {(line + dl, pixel + dp) for dp in (-1, 0, 1)}
    return sorted((y, x) for y, x in places if 0 <= y < n_lines and 0 <= x < n_pixels)


@pytest.mark.parametrize("which", [0, 1])
def test_sigma0_at_every_block_edge_agrees_with_the_reference(ew_metadata: Product, which: int) -> None:
    band = ew_metadata.bands[which]
    radiometry, reference = radiometry_of(band), reference_of(band)
    rng = np.random.default_rng(5)
    places = edge_positions(band)[:: 1 + which]
    assert len(places) > 50
    by_line: dict[int, list[int]] = {}
    for line, pixel in places:
        by_line.setdefault(line, []).append(pixel)
    for line, pixels in by_line.items():
        dn = rng.integers(20, 800, (1, band.annotation.n_pixels)).astype(np.uint16)
        ours = radiometry.sigma0(dn, line)[0]
        for pixel in pixels:
            assert abs(ours[pixel] - reference.sigma0(int(dn[0, pixel]), line, pixel)) < 1e-7


@settings(max_examples=60, deadline=None)
@given(line=st.integers(0, 10707), pixel=st.integers(0, 10486), dn=st.integers(1, 65535))
def test_sigma0_anywhere_agrees_with_the_reference(
    hv_radiometry: Radiometry, hv_reference: Reference, line: int, pixel: int, dn: int
) -> None:
    row = np.full((1, 10487), dn, np.uint16)
    expected = hv_reference.sigma0(dn, line, pixel)
    assert hv_radiometry.sigma0(row, line)[0, pixel] == pytest.approx(expected, rel=2e-7, abs=1e-7)


@pytest.mark.parametrize("key", ["iw-2021-ipf331", "s4-2025-ipf390"])
def test_other_modes_agree_with_the_reference(metadata_products: dict[str, Path], key: str) -> None:
    band = open_product(metadata_products[key]).bands[0]
    radiometry, reference = radiometry_of(band), reference_of(band)
    rng = np.random.default_rng(1)
    n_lines, n_pixels = radiometry.shape
    places = [(0, 0), (n_lines - 1, n_pixels - 1), *rng.integers(0, [n_lines, n_pixels], (30, 2))]
    for line, pixel in places:
        dn = np.full((1, n_pixels), 300, np.uint16)
        assert abs(radiometry.sigma0(dn, int(line))[0, pixel] - reference.sigma0(300, int(line), int(pixel))) < 1e-7


def test_product_without_known_noise_is_not_denoised_and_says_so(metadata_products: dict[str, Path]) -> None:
    band = open_product(metadata_products["iw-2015-ipf236"]).bands[0]
    radiometry = radiometry_of(band)
    assert radiometry.blocks == ()
    assert np.isnan(radiometry.nesz(np.array([100]), np.array([100]))).all()
    assert radiometry.noise_missing(np.array([100]), np.array([5000])).all()
    dn = np.full((1, radiometry.shape[1]), 300, np.uint16)
    gain = radiometry.amplitude_gain([100], [12000])[0, 0]
    assert radiometry.sigma0(dn, 100)[0, 12000] == pytest.approx((300 / gain) ** 2, rel=1e-6)


def test_gain_that_changes_along_azimuth(hv: Band) -> None:
    """In the products at hand it never does: vectors of another gain at every second time, by a few per cent."""
    calibration = hv.calibration
    tilt = 1 + 0.03 * (np.arange(len(calibration.time)) % 2)
    changed = replace(calibration, sigma_nought=calibration.sigma_nought * tilt[:, None])
    radiometry = make_radiometry(hv.annotation, changed, None, denoise=False)
    assert radiometry_of(hv).gain.shape[0] == 1
    assert radiometry.gain.shape[0] == len(calibration.time)
    first = 3000
    dn = np.random.default_rng(2).integers(20, 900, (24, 10487)).astype(np.uint16)
    time = hv.annotation.time_of(np.arange(first, first + 24))
    factor = np.interp(time, hv.annotation.seconds(calibration.time), tilt)
    assert np.ptp(factor) > 0
    plain = np.interp(np.arange(10487), calibration.pixel[0], calibration.sigma_nought[0])
    expected = (dn / (factor[:, None] * plain)) ** 2
    np.testing.assert_allclose(radiometry.sigma0(dn, first), expected, rtol=2e-7)
    blocks = expected[:, :10485].reshape(8, 3, 3495, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(radiometry.sigma0_blocks(dn, first, 3), blocks, rtol=2e-7)


def test_noise_already_removed_by_the_processor_is_not_removed_twice(ew_metadata: Product, hv: Band) -> None:
    text = ew_metadata.read(f"annotation/{hv.stem}.xml")
    tag = b"<thermalNoiseCorrectionPerformed>%s</thermalNoiseCorrectionPerformed>"
    done = parse_annotation(text.replace(tag % b"false", tag % b"true"), "a.xml")
    assert done.noise_removed
    twice = make_radiometry(done, hv.calibration, hv.noise, denoise=True)
    never = radiometry_of(hv, denoise=False)
    dn = np.full((2, 10487), 200, np.uint16)
    np.testing.assert_array_equal(twice.sigma0(dn, 500), never.sigma0(dn, 500))


def test_wave_mode_constant_of_ipf_290(hv: Band) -> None:
    header = replace(hv.annotation.header, mode="WV", swath="WV2", mission="S1B")
    wave = replace(hv.annotation, header=header)
    plain, corrected = (noise_table(wave, hv.noise, ipf=ipf).blocks[0].profile for ipf in ("2.84", "2.90"))
    np.testing.assert_allclose(10 * np.log10(corrected / plain), -37.44, atol=1e-9)


def test_zero_is_nodata_outside_swaths_and_in_long_runs_but_a_dark_target_inside(hv_radiometry: Radiometry) -> None:
    dn = np.full((1, 10487), 100, np.uint16)
    dn[0, 4000] = 0  # one dark pixel
    dn[0, 5000:5100] = 0  # a gap
    row = hv_radiometry.sigma0(dn, 6000)[0]
    assert row[4000] == pytest.approx(-hv_radiometry.nesz(np.array([6000]), np.array([4000]))[0, 0], rel=1e-5)
    assert np.isnan(row[5000:5100]).all()
    assert np.isfinite(np.delete(row, np.arange(5000, 5100))).all()
    above = np.full((1, 10487), 100, np.uint16)
    above[0, 9000:9005] = 0  # EW5 has not begun at line 100
    assert np.isnan(hv_radiometry.sigma0(above, 100)[0, 9000:9005]).all()


def test_large_digital_numbers_do_not_wrap(hv_radiometry: Radiometry) -> None:
    bright = np.full((1, 10487), 65535, np.uint16)
    gain = hv_radiometry.amplitude_gain([3000], [6000])[0, 0]
    assert hv_radiometry.sigma0(bright, 3000)[0, 6000] == pytest.approx((65535 / gain) ** 2, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(looks=st.integers(2, 9), first=st.integers(0, 500), n=st.integers(9, 40), seed=st.integers(0, 9))
def test_fused_block_average_equals_the_plain_mean(
    hv_radiometry: Radiometry, looks: int, first: int, n: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dn = rng.integers(0, 300, (n, 10487)).astype(np.uint16)
    dn[:, :200] = 0
    dn[n // 2, 3000:3100] = 0
    first *= looks
    full = hv_radiometry.sigma0(dn, first).astype(np.float64)
    rows, columns = n // looks, 10487 // looks
    blocks = full[: rows * looks, : columns * looks].reshape(rows, looks, columns, looks).transpose(0, 2, 1, 3)
    cut = blocks.reshape(rows, columns, -1)
    seen = np.isfinite(cut).sum(axis=-1)
    total = np.where(np.isfinite(cut), cut, 0).sum(axis=-1)
    expected = np.where(2 * seen >= looks**2, total / np.maximum(seen, 1), np.nan)
    ours = hv_radiometry.sigma0_blocks(dn, first, looks)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(averages.block_mean(full.astype(np.float32), looks), expected, rtol=1e-5, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(shape=st.tuples(st.integers(1, 12), st.integers(1, 12)), seed=st.integers(0, 99))
def test_boxcar_is_the_mean_of_what_is_there(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    power = rng.random(shape).astype(np.float32)
    power[rng.random(shape) < 0.2] = np.nan
    out = np.empty_like(power)
    averages.boxcar(power, 0, out)
    for y in range(shape[0]):
        for x in range(shape[1]):
            around = power[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if np.isnan(power[y, x]):
                assert np.isnan(out[y, x])
            else:
                assert out[y, x] == pytest.approx(np.nanmean(around), rel=1e-5)


def test_corrections_scale_nesz(hv_radiometry: Radiometry) -> None:
    change = (NoiseCorrection(swath="EW2", scale=1.3),)
    corrected = hv_radiometry.corrected(change)
    at = np.array([5000]), np.array([1000, 4000])
    before, after = hv_radiometry.nesz(*at)[0], corrected.nesz(*at)[0]
    assert after[0] == before[0]  # EW1 untouched
    assert after[1] == pytest.approx(1.3 * before[1], rel=1e-5)
    dn = np.full((1, 10487), 150, np.uint16)
    drop = hv_radiometry.sigma0(dn, 5000)[0] - corrected.sigma0(dn, 5000)[0]
    assert drop[1000] == 0
    assert drop[4000] == pytest.approx(after[1] - before[1], rel=1e-3)


def test_root_of_noise_follows_the_real_quick_look(ew_metadata: Product, hv_radiometry: Radiometry) -> None:
    """A check on real pixels: the G channel of ESA's quick-look is the HV amplitude, whose floor is √η."""
    from io import BytesIO

    from PIL import Image

    green = np.asarray(Image.open(BytesIO(ew_metadata.read("preview/quick-look.png"))))[..., 1].astype(float)
    lines = np.linspace(10, 10697, green.shape[0])
    pixels = np.linspace(10, 10476, green.shape[1])
    eta = hv_radiometry.nesz(lines, pixels) * hv_radiometry.amplitude_gain(np.rint(lines), np.rint(pixels)) ** 2
    quiet = slice(250, 500)  # south of the islands
    seen = green[quiet] > 5
    root = np.sqrt(eta[quiet])
    assert np.corrcoef(green[quiet][seen], root[seen])[0, 1] > 0.8
    assert np.corrcoef(green[quiet].mean(axis=0)[10:], root.mean(axis=0)[10:])[0, 1] > 0.9


def test_noise_vectors_out_of_order_are_sorted(ew_metadata: Product, hv: Band) -> None:
    text = ew_metadata.read(f"annotation/calibration/noise-{hv.stem}.xml").decode()
    head, rest = text.split("<noiseRangeVector>", 1)
    parts = ("<noiseRangeVector>" + rest.split("</noiseRangeVectorList>")[0]).split("</noiseRangeVector>")
    vectors = [p + "</noiseRangeVector>" for p in parts[:-1]]
    shuffled = head + "".join(reversed(vectors)) + "</noiseRangeVectorList>" + rest.split("</noiseRangeVectorList>")[1]
    one = make_radiometry(hv.annotation, hv.calibration, parse_noise(shuffled.encode(), "n"), denoise=True)
    other = radiometry_of(hv)
    at = np.arange(0, 10708, 500), np.arange(0, 10487, 500)
    np.testing.assert_array_equal(one.nesz(*at), other.nesz(*at))
