"""Calibration of RADARSAT images against its definition in float64, and against the geometry of a round Earth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frazil.errors import ProductError
from frazil.radarsat.annotation import Annotation, Levels, parse_constellation, parse_radarsat2
from frazil.radarsat.tables import (
    Profile,
    Table,
    check_angles,
    constellation_profile,
    parse_angles,
    parse_noise,
    parse_table,
    radarsat2_profile,
)
from tests.radarsat.radarsat_files import Made, made_up

SHAPE = (12, 60)
NAMES = ("lutSigma.xml", "lutBeta.xml")


def annotation(folder: Path, made: Made | None = None, *, constellation: bool = False) -> Annotation:
    made = made_up(SHAPE) if made is None else made
    if constellation:
        path = made.write_constellation(folder) / "metadata" / "product.xml"
        return parse_constellation(path.read_bytes(), "product.xml")
    return parse_radarsat2((made.write_radarsat2(folder) / "product.xml").read_bytes(), "product.xml")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Annotation:
    return annotation(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def constellation(tmp_path_factory: pytest.TempPathFactory) -> Annotation:
    return annotation(tmp_path_factory.mktemp("rcm"), constellation=True)


def tables(made: Made) -> tuple[Table, Table]:
    sigma = Table(offset=made.offset, gain=made.sigma_gain, pixel=None)
    return sigma, Table(offset=made.offset, gain=made.beta_gain, pixel=None)


def sigma0_by_hand(dn: np.ndarray, profile: Profile, *, denoise: bool) -> np.ndarray:
    """Pixel by pixel, in Python numbers."""
    out = np.full(dn.shape, np.nan)
    for y, row in enumerate(dn.tolist()):
        for x, d in enumerate(row):
            if not any(row[: x + 1]) or not any(row[x:]):
                continue
            value = (d**2 + profile.offset) / float(profile.gain[x])
            noise = float(profile.nesz[x])
            out[y, x] = value - (noise if denoise and noise == noise else 0.0)
    return out


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    width=st.integers(1, 12),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    offset=st.sampled_from([0.0, 321.5, -40.0]),
    denoise=st.booleans(),
)
def test_sigma0_is_what_it_is_defined_as(
    data: st.DataObject, width: int, dtype: type, offset: float, denoise: bool
) -> None:
    """Also of the largest digital numbers, whose square fits neither their own type nor float32."""
    most = int(np.iinfo(dtype).max)
    dn = data.draw(arrays(dtype, (3, width), elements=st.sampled_from([0, 0, 0, 1, 255, most])))
    nesz = data.draw(arrays(np.float64, width, elements=st.sampled_from([1e-3, 2e-3, np.nan])))
    gain = data.draw(arrays(np.float64, width, elements=st.floats(1e3, 1e9)))
    profile = Profile(offset=offset, gain=gain, incidence_angle=np.full(width, 30.0), nesz=nesz)
    before = dn.copy()
    found = profile.sigma0(dn, denoise=denoise)
    expected = sigma0_by_hand(dn, profile, denoise=denoise)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(dn, before)


def test_twice_the_amplitude_is_six_decibels() -> None:
    profile = Profile(offset=0.0, gain=np.array([2e5]), incidence_angle=np.array([30.0]), nesz=np.array([np.nan]))
    one, two = (float(profile.sigma0(np.array([[d]], np.uint16), denoise=False)[0, 0]) for d in (300, 600))
    assert 10 * np.log10(two / one) == pytest.approx(20 * np.log10(2), abs=1e-5)
    assert one == pytest.approx(300**2 / 2e5)


@pytest.mark.parametrize("far_first", [False, True])
@pytest.mark.parametrize("time_order", [False, True])
def test_the_ratio_of_two_tables_is_the_angle_of_the_triangle(
    far_first: bool, time_order: bool, tmp_path: Path
) -> None:
    """sin θ = β gain / σ gain against the angle from orbit, Earth and slant range, in either order of a table."""
    made = made_up(SHAPE, far_first=far_first, time_order=time_order, spacing_m=400.0)
    a = annotation(tmp_path, made)
    sigma, beta = tables(made)
    if far_first and time_order:
        sigma, beta = replace(sigma, gain=sigma.gain[::-1]), replace(beta, gain=beta.gain[::-1])
    profile = radarsat2_profile(a, sigma, beta, NAMES)
    np.testing.assert_allclose(profile.incidence_angle, made.incidence, atol=1e-5)
    np.testing.assert_allclose(profile.gain, made.sigma_gain, rtol=1e-12)
    np.testing.assert_allclose(profile.nesz, made.nesz, rtol=1e-8)


def test_brighter_is_beta_and_its_ratio_to_sigma_is_the_sine(two: Annotation) -> None:
    made = made_up(SHAPE)
    sigma, beta = tables(made)
    profile = radarsat2_profile(two, sigma, beta, NAMES)
    beta_profile = replace(profile, gain=beta.gain)
    dn = np.full((1, SHAPE[1]), 700, np.uint16)
    ratio = profile.sigma0(dn, denoise=False) / beta_profile.sigma0(dn, denoise=False)
    np.testing.assert_allclose(ratio[0], np.sin(np.radians(made.incidence)), rtol=1e-6)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("more", [-1, 1])
def test_tables_of_another_length(which: int, more: int, two: Annotation) -> None:
    both = dict(enumerate(tables(made_up(SHAPE))))
    both[which] = replace(both[which], gain=np.resize(both[which].gain, SHAPE[1] + more))
    with pytest.raises(ProductError, match=f"{NAMES[which]} has {SHAPE[1] + more} gains, but the image has {SHAPE[1]}"):
        radarsat2_profile(two, both[0], both[1], NAMES)


def test_tables_that_are_mixed_up_tell_no_angle(two: Annotation) -> None:
    """σ0 below β0 is physics: the other way round a sine would exceed 1."""
    sigma, beta = tables(made_up(SHAPE))
    with pytest.raises(ProductError, match="tell no angle"):
        radarsat2_profile(two, beta, sigma, NAMES)
    with pytest.raises(ProductError, match="tell no angle"):
        radarsat2_profile(two, sigma, sigma, NAMES)


@pytest.mark.parametrize("factor", [0.7, 1.3, 2.0])
@pytest.mark.parametrize("at", [0, 1, 30, 58, 59])
def test_a_damaged_gain_is_found_wherever_it_stands(at: int, factor: float, two: Annotation) -> None:
    """One of sixty; at the ends and in the middle. Angles grow with range, as those of every radar do."""
    sigma, beta = tables(made_up(SHAPE))
    radarsat2_profile(two, sigma, beta, NAMES)
    gain = sigma.gain.copy()
    gain[at] *= factor
    with pytest.raises(ProductError, match="tell (no angle|incidence angles)") as caught:
        radarsat2_profile(two, replace(sigma, gain=gain), beta, NAMES)
    assert "Download the product again." in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rounding_of_gains_is_no_damage(two: Annotation) -> None:
    """Tables of four digits: neighbours may stand in the wrong order by some hundredths of a degree."""
    made = made_up(SHAPE)
    sigma, beta = (replace(t, gain=np.array([float(f"{g:.3e}") for g in t.gain])) for t in tables(made))
    profile = radarsat2_profile(two, sigma, beta, NAMES)
    assert (np.diff(profile.incidence_angle) < 0).any()
    np.testing.assert_allclose(profile.incidence_angle, made.incidence, atol=0.05)


@pytest.mark.parametrize("far_first", [False, True])
def test_angles_may_differ_by_a_degree_and_no_more(far_first: bool, two: Annotation) -> None:
    near, far = two.incidence
    a = replace(two, far_range_first=far_first)
    for change, fits in ((0.0, True), (0.99, True), (-0.99, True), (1.01, False), (-1.01, False)):
        for ends in ((near + change, far), (near, far + change)):
            angle = np.linspace(*ends, 60)
            angle = angle[::-1] if far_first else angle
            if fits and ends[0] < ends[1]:
                check_angles(a, angle, "x")
            elif not fits:
                with pytest.raises(ProductError, match="x tell incidence angles from"):
                    check_angles(a, angle, "x")


def test_a_table_in_the_wrong_direction(two: Annotation) -> None:
    wide = replace(two, incidence=(20.0, 45.0))
    rising = np.linspace(20.0, 45.0, 60)
    check_angles(wide, rising, "x")
    check_angles(replace(wide, far_range_first=True), rising[::-1], "x")
    for a, angle in ((wide, rising[::-1]), (replace(wide, far_range_first=True), rising)):
        with pytest.raises(ProductError, match="mixed"):
            check_angles(a, angle, "x")


def sparse(made: Made, step: int, first: int, turned: bool = False) -> tuple[Table, Levels]:
    """Gains and angles of every so many pixels, from a first one until the line is covered."""
    at = np.arange(first, SHAPE[1] - 1 + step, step, dtype=np.float64)
    at = at[::-1] if turned else at
    return (
        Table(offset=0.0, gain=made.sigma_gain_at(at), pixel=at),
        Levels(pixel=at, value=made.incidence_at(at)),
    )


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("step", [1, 2, 7, 30])
def test_the_constellation_is_linear_between_its_values(step: int, turned: bool, constellation: Annotation) -> None:
    """By two points and a straight line for each pixel; the direction of the table is of no account."""
    made = made_up(SHAPE)
    table, angles = sparse(made, step, 0, turned)
    profile = constellation_profile(constellation, table, angles, None, "lutSigma_HH.xml")
    for x in range(SHAPE[1]):
        low = x // step * step
        share = (x - low) / step
        ends = made.sigma_gain_at(np.array([low, low + step], np.float64))
        assert profile.gain[x] == pytest.approx((1 - share) * ends[0] + share * ends[1], rel=1e-12)
    np.testing.assert_allclose(profile.incidence_angle, made.incidence, atol=1e-3)
    assert np.isnan(profile.nesz).all()


@settings(max_examples=60, deadline=None)
@given(first=st.integers(-80, 80), step=st.integers(1, 40), n=st.integers(1, 40))
def test_a_table_covers_the_line_or_is_refused(first: int, step: int, n: int, constellation: Annotation) -> None:
    """Up to one step at either end; what is taken never differs from the truth by more than that step tells."""
    made = made_up(SHAPE)
    at = np.arange(n, dtype=np.float64) * step + first
    table = Table(offset=0.0, gain=np.full(n, 3e6), pixel=at)
    angles = Levels(pixel=np.arange(SHAPE[1], dtype=np.float64), value=made.incidence)
    width = step if n > 1 else 1
    covers = at[0] < width and at[-1] > SHAPE[1] - 1 - width
    if covers:
        assert (constellation_profile(constellation, table, angles, None, "t.xml").gain == 3e6).all()
        return
    with pytest.raises(ProductError, match=r"t\.xml is of pixels .* but the image has pixels 0 to 59"):
        constellation_profile(constellation, table, angles, None, "t.xml")


def test_gains_without_positions_are_not_the_constellations(constellation: Annotation) -> None:
    made = made_up(SHAPE)
    _, angles = sparse(made, 7, 0)
    with pytest.raises(ProductError, match=r"t\.xml does not say which pixels"):
        constellation_profile(constellation, Table(offset=0.0, gain=made.sigma_gain, pixel=None), angles, None, "t.xml")


@settings(max_examples=60, deadline=None)
@given(near=st.floats(-40, -20), far=st.floats(-40, -20), step=st.integers(3, 100), turned=st.booleans())
def test_noise_is_linear_in_decibels(
    near: float, far: float, step: int, turned: bool, constellation: Annotation
) -> None:
    """Halfway between two values it is their geometric mean; beyond the last it stays."""
    made = made_up(SHAPE)
    table, angles = sparse(made, 7, 0)
    at, value = np.array([10.0, 10.0 + step]), np.array([near, far])
    noise = Levels(pixel=at[::-1], value=value[::-1]) if turned else Levels(pixel=at, value=value)
    nesz = constellation_profile(constellation, table, angles, noise, "t.xml").nesz
    np.testing.assert_allclose(nesz[:11], 10 ** (near / 10), rtol=1e-12)
    if 10 + step < SHAPE[1]:
        np.testing.assert_allclose(nesz[10 + step :], 10 ** (far / 10), rtol=1e-12)
    if step % 2 == 0 and 10 + step // 2 < SHAPE[1]:
        mean = np.sqrt(10 ** (near / 10) * 10 ** (far / 10))
        assert nesz[10 + step // 2] == pytest.approx(mean, rel=1e-10)
    low, high = sorted((10 ** (near / 10), 10 ** (far / 10)))
    assert ((nesz >= low * (1 - 1e-12)) & (nesz <= high * (1 + 1e-12))).all()


def lut(gains: str, more: str = "", offset: str = "0") -> bytes:
    return f"<lut>{more}<offset>{offset}</offset><gains>{gains}</gains></lut>".encode()


def test_both_kinds_of_look_up_table() -> None:
    dense = parse_table(lut(" 1e6\n2.5e6 3e6 ", offset="-7.25"), "t.xml")
    assert dense.pixel is None
    assert dense.gain.tolist() == [1e6, 2.5e6, 3e6]
    assert dense.offset == -7.25
    for first in ("pixelFirstLutValue", "pixelFirstAnglesValue"):
        more = f"<{first}>20</{first}><stepSize>-10</stepSize><numberOfValues>3</numberOfValues>"
        found = parse_table(lut("1e6 2.5e6 3e6", more), "t.xml").pixel
        assert found is not None
        assert found.tolist() == [20.0, 10.0, 0.0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lut(""), "<gains>"),
        (lut("1e6 0 1e6"), "<gains> leaves"),
        (lut("1e6 -1e6"), "<gains> leaves"),
        (lut("1e6 1e16"), "<gains> leaves"),
        (lut("1e6 inf"), "not finite"),
        (lut("1e6 1,5"), "<gains> holds something else than numbers"),
        (lut("1e6", offset="nan"), "<offset>"),
        (lut("1e6", offset="1e13"), "<offset>"),
        (lut("1e6 1e6", "<stepSize>1</stepSize>"), "pixelFirstAnglesValue"),
        (
            lut(
                "1e6 1e6",
                "<stepSize>1</stepSize><pixelFirstLutValue>0</pixelFirstLutValue><numberOfValues>3</numberOfValues>",
            ),
            "<numberOfValues> is 3",
        ),
        (b"<incidenceAngles><offset>0</offset><gains>1e6</gains></incidenceAngles>", "its root is <incidenceAngles>"),
        (b"<lut><gains>1e6</gains></lut>", "<offset>"),
        (b"<lut><offset>0</offset><gains>1e6</gains>", "not well-formed"),
        (b"", "not well-formed"),
        (b"<!DOCTYPE lut [<!ENTITY a '1e6'>]>" + lut("1e6"), "document type definition"),
    ],
)
def test_look_up_tables_that_cannot_be(data: bytes, words: str) -> None:
    with pytest.raises(ProductError, match=words) as caught:
        parse_table(data, "t.xml")
    assert str(caught.value).startswith("t.xml ")
    assert "\n" not in str(caught.value)


def angles_xml(values: list[str], first: int = 0, step: int = 1, count: int | None = None) -> bytes:
    each = "".join(f"<angles units='deg'>{v}</angles>" for v in values)
    n = sum(len(v.split()) for v in values) if count is None else count
    return (
        f"<incidenceAngles><pixelFirstAnglesValue>{first}</pixelFirstAnglesValue><stepSize>{step}</stepSize>"
        f"<numberOfValues>{n}</numberOfValues>{each}</incidenceAngles>"
    ).encode()


def test_angles_stand_in_one_element_each_or_in_one() -> None:
    """Products of both makes are about."""
    for values in (["20.5", "21.5", "22.5"], ["20.5 21.5 22.5"]):
        found = parse_angles(angles_xml(values, 59, -10), "a.xml")
        assert found.value.tolist() == [20.5, 21.5, 22.5]
        assert found.pixel.tolist() == [59.0, 49.0, 39.0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (angles_xml([]), "there is none"),
        (angles_xml(["20", "1.9"]), "leave 2 … 80"),
        (angles_xml(["20", "80.1"]), "leave 2 … 80"),
        (angles_xml(["20", "nan"]), "leave 2 … 80"),
        (angles_xml(["20", "x"]), "angles"),
        (angles_xml(["20", "21"], count=5), "there are 2 values"),
        (angles_xml(["20", "21"], step=0), "<stepSize> 0"),
        (angles_xml(["20", ""]), "missing or empty"),
    ],
)
def test_angles_that_cannot_be(data: bytes, words: str) -> None:
    with pytest.raises(ProductError, match=words):
        parse_angles(data, "a.xml")


def noise_xml(*kinds: str) -> bytes:
    each = "".join(
        f"<referenceNoiseLevel><sarCalibrationType>{kind}</sarCalibrationType><pixelFirstNoiseValue>5"
        f"</pixelFirstNoiseValue><stepSize>10</stepSize><numberOfValues>2</numberOfValues><noiseLevelValues>"
        f"{-30 - i} {-31 - i}</noiseLevelValues></referenceNoiseLevel>"
        for i, kind in enumerate(kinds)
    )
    return f"<noiseLevels>{each}</noiseLevels>".encode()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_noise_of_sigma_is_found_among_the_others(place: int) -> None:
    kinds = ["Beta Nought", "Gamma"]
    kinds.insert(place, "Sigma Nought")
    found = parse_noise(noise_xml(*kinds), "n.xml")
    assert found is not None
    assert found.value.tolist() == [-30 - place, -31 - place]
    assert found.pixel.tolist() == [5.0, 15.0]


def test_no_noise_of_sigma_is_no_noise() -> None:
    assert parse_noise(noise_xml("Beta Nought", "Gamma"), "n.xml") is None
    assert parse_noise(b"<noiseLevels/>", "n.xml") is None
    with pytest.raises(ProductError, match="<sarCalibrationType>"):
        parse_noise(noise_xml(""), "n.xml")


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=60), at=st.integers(0, 200))
def test_any_bytes_give_a_table_or_one_line(data: bytes, at: int) -> None:
    whole = lut("1e6 2e6 3e6", "<pixelFirstLutValue>0</pixelFirstLutValue><stepSize>1</stepSize>")
    for parse in (parse_table, parse_angles, parse_noise):
        for torn in (data, whole[:at] + data + whole[at:]):
            try:
                parse(torn, "t.xml")  # type: ignore[operator]
            except ProductError as error:
                assert "\n" not in str(error)  # noqa: PT017
