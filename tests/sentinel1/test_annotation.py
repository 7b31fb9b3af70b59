"""Metadata: real files are read as they are, damaged and hostile ones are refused in one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frazil.errors import ProductError
from frazil.sentinel1.annotation import (
    parse_annotation,
    parse_calibration,
    parse_header,
    parse_manifest,
    parse_noise,
)
from frazil.sentinel1.product import Product, open_product


@pytest.fixture(scope="module")
def texts(ew_metadata: Product) -> dict[str, bytes]:
    stem = ew_metadata.bands[1].stem
    return {
        "annotation": ew_metadata.read(f"annotation/{stem}.xml"),
        "calibration": ew_metadata.read(f"annotation/calibration/calibration-{stem}.xml"),
        "noise": ew_metadata.read(f"annotation/calibration/noise-{stem}.xml"),
    }


PARSERS = {"annotation": parse_annotation, "calibration": parse_calibration, "noise": parse_noise}


def test_real_extra_wide(texts: dict[str, bytes]) -> None:
    a = parse_annotation(texts["annotation"], "a.xml")
    assert (a.n_lines, a.n_pixels) == (10708, 10487)
    assert (a.header.mode, a.header.polarization, a.header.mission) == ("EW", "HV", "S1A")
    assert a.ties.latitude.shape == (23, 21)
    assert not a.noise_removed
    noise = parse_noise(texts["noise"], "n.xml")
    assert len(noise.azimuth) == 17
    assert not noise.legacy
    assert noise.known


def test_old_noise_layout_is_told_by_its_tags_and_is_all_zero(metadata_products: dict[str, Path]) -> None:
    noise = open_product(metadata_products["iw-2015-ipf236"]).bands[0].noise
    assert noise.legacy
    assert not noise.known


def test_stripmap_has_no_azimuth_noise(metadata_products: dict[str, Path]) -> None:
    noise = open_product(metadata_products["s4-2025-ipf390"]).bands[0].noise
    assert not noise.legacy
    assert noise.known
    assert noise.azimuth == ()


def test_manifest_names_processor_and_orbit(ew_metadata: Product) -> None:
    manifest = parse_manifest(ew_metadata.read("manifest.safe"))
    assert (manifest.ipf_version, manifest.relative_orbit, manifest.orbit) == ("3.52", 20, 46117)
    assert manifest.start_time == ew_metadata.bands[0].header.start_time
    size, md5 = manifest.files[f"annotation/{ew_metadata.bands[0].stem}.xml"]
    assert size == ew_metadata.files[f"annotation/{ew_metadata.bands[0].stem}.xml"]
    assert len(md5) == 32


@pytest.mark.parametrize(
    "bomb",
    [
        b'<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]><product>&lol2;</product>',
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><product>&e;</product>',
        b'<!DOCTYPE x SYSTEM "http://example.invalid/x.dtd"><product/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY e "e">]><product>&e;</product>'.encode("utf-16"),
        '<!DOCTYPE x [<!ENTITY e "e">]><product>&e;</product>'.encode("utf-16-le"),
        b"\xef\xbb\xbf" + b'<!DOCTYPE x [<!ENTITY e "e">]><product>&e;</product>',
    ],
)
@pytest.mark.parametrize("kind", sorted(PARSERS))
def test_entities_and_dtds_are_refused(bomb: bytes, kind: str) -> None:
    with pytest.raises(ProductError, match=r"document type definition|not well-formed"):
        PARSERS[kind](bomb, "bomb.xml")
    with pytest.raises(ProductError, match=r"document type definition|not well-formed"):
        parse_header(bomb, "bomb.xml")


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (rb"<numberOfLines>\d+<", b"<numberOfLines>-4<", "impossible"),
        (rb"<azimuthTimeInterval>[^<]+<", b"<azimuthTimeInterval>nan<", "azimuthTimeInterval"),
        (rb"<polarisation>HV</polarisation>", b"", "polarisation"),
        (rb"<productFirstLineUtcTime>[^<]+<", b"<productFirstLineUtcTime>yesterday<", "yesterday"),
        (rb"<latitude>[^<]+</latitude>", b"<latitude>123.0</latitude>", "impossible coordinates"),
        (rb"<geolocationGridPoint>.*</geolocationGridPoint>", b"", "geolocation grid"),
        (rb"<firstAzimuthLine>\d+<", b"<firstAzimuthLine>99999999<", "reversed"),
    ],
)
def test_damaged_annotation_is_refused_with_the_reason(
    texts: dict[str, bytes], pattern: bytes, replacement: bytes, words: str
) -> None:
    broken = re.sub(pattern, replacement, texts["annotation"], count=1, flags=re.DOTALL)
    assert broken != texts["annotation"]
    with pytest.raises(ProductError, match=words) as caught:
        parse_annotation(broken, "the-file.xml")
    assert "the-file.xml" in str(caught.value)


def test_impossible_gain_is_refused(texts: dict[str, bytes]) -> None:
    for value in (b"-5.0", b"nan", b"1e-30", b"0", b"1e9"):
        bad = re.sub(rb'(<sigmaNought count="264">)\S+', rb"\g<1>" + value, texts["calibration"], count=1)
        with pytest.raises(ProductError, match=r"sigmaNought.*(not positive|impossible|not finite)"):
            parse_calibration(bad, "c.xml")


def test_gain_that_jumps_or_is_of_another_time_is_refused(texts: dict[str, bytes]) -> None:
    bad = re.sub(rb'(<sigmaNought count="264">\S+) \S+', rb"\1 9e3", texts["calibration"], count=1)
    with pytest.raises(ProductError, match="sigmaNought jumps"):
        parse_calibration(bad, "c.xml")
    bad = re.sub(rb"<azimuthTime>2022", b"<azimuthTime>9999", texts["calibration"], count=1)
    with pytest.raises(ProductError, match="life of Sentinel-1"):
        parse_calibration(bad, "c.xml")


def test_odd_noise_tables_are_left_out_and_counted(texts: dict[str, bytes]) -> None:
    """One table of one sub-swath that does not fit together says nothing of the others."""
    good = parse_noise(texts["noise"], "n.xml")
    ragged = parse_noise(re.sub(rb'(<noiseRangeLut count="270">)\S+ ', rb"\1", texts["noise"], count=1), "n.xml")
    assert (ragged.damaged, len(ragged.range)) == (1, len(good.range) - 1)
    nan = parse_noise(re.sub(rb'(<noiseRangeLut count="270">)\S+ ', rb"\1nan ", texts["noise"], count=1), "n.xml")
    assert nan.range[0].lut[0] == 0  # missing
    np.testing.assert_array_equal(nan.range[0].lut[1:], good.range[0].lut[1:])
    block = re.sub(rb"(<noiseAzimuthLut[^>]*>)\S+ ", rb"\1", texts["noise"], count=1)
    odd = parse_noise(block, "n.xml")
    assert odd.damaged == 1
    assert odd.azimuth[0].lut.size == 0
    none = parse_noise(re.sub(rb"(<noiseRangeLut[^>]*>)", rb"\1x ", texts["noise"]), "n.xml")
    assert (none.range, none.damaged, none.known) == ((), len(good.range), False)
    nowhere = parse_noise(texts["noise"].replace(b"<swath>EW1<", b"<swath><", 1), "n.xml")
    assert (len(nowhere.azimuth), nowhere.damaged) == (len(good.azimuth) - 1, 1)


def test_a_leap_second_is_a_time(texts: dict[str, bytes]) -> None:
    leap = re.sub(rb"(<productFirstLineUtcTime>)[^<]+<", rb"\g<1>2016-12-31T23:59:60.250000<", texts["annotation"])
    assert parse_annotation(leap, "a.xml").first_line_time == np.datetime64("2017-01-01T00:00:00.250000")


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (rb"<incidenceAngle>[^<]+<", b"<incidenceAngle>5.0e2<", "incidence angles"),
        (rb"<incidenceAngle>[^<]+<", b"<incidenceAngle>0<", "incidence angles"),
        (rb"<height>[^<]+<", b"<height>9e5<", "heights"),
        (rb"<rangePixelSpacing>[^<]+<", b"<rangePixelSpacing>4000<", "rangePixelSpacing"),
        (rb"<azimuthTimeInterval>[^<]+<", b"<azimuthTimeInterval>6<", "azimuthTimeInterval"),
        (rb"<productFirstLineUtcTime>\d+-", b"<productFirstLineUtcTime>9999-", "life of Sentinel-1"),
        (rb"<startTime>\d+-", b"<startTime>1999-", "life of Sentinel-1"),
        (rb"<stopTime>\d+-", b"<stopTime>2023-", "lasts from"),
        (rb"<missionId>S1A<", b"<missionId>ENV<", "not a Sentinel-1"),
        (rb"<polarisation>HV<", b"<polarisation>XX<", "polarisation"),
    ],
)
def test_what_no_instrument_measures_is_refused(
    texts: dict[str, bytes], pattern: bytes, replacement: bytes, words: str
) -> None:
    broken = re.sub(pattern, replacement, texts["annotation"], count=1)
    assert broken != texts["annotation"]
    with pytest.raises(ProductError, match=words):
        parse_annotation(broken, "a.xml")


def test_metadata_larger_than_any_is_refused_unparsed() -> None:
    for bomb in (b"<a>" + b"<b/>" * 1_300_000 + b"</a>", b"<a " + b'b="" ' * 110_000 + b"/>", b" " * (41 * 2**20)):
        with pytest.raises(ProductError, match="larger than the metadata of any product"):
            parse_noise(bomb, "n.xml")
    table = (
        b"<noise><noiseVectorList><noiseVector><azimuthTime>2015-02-22T17:07:50</azimuthTime><pixel>" + b"1 " * 2**20
    )
    noise = parse_noise(table + b"</pixel></noiseVector></noiseVectorList></noise>", "n.xml")
    assert (noise.range, noise.damaged) == ((), 1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(sorted(PARSERS)))
def test_mutated_real_xml_is_read_or_refused_but_never_crashes(
    texts: dict[str, bytes], data: st.DataObject, kind: str
) -> None:
    """A fuzz test: cut, overwrite, repeat or delete a piece of the real file."""
    text = texts[kind]
    # Work on the first part, where structure changes fast, or anywhere.
    limit = data.draw(st.sampled_from([3000, 30_000, len(text)]))
    at = data.draw(st.integers(0, limit - 1))
    length = data.draw(st.integers(0, 400))
    how = data.draw(st.sampled_from(["cut", "delete", "overwrite", "repeat", "number"]))
    if how == "cut":
        mutated = text[:at]
    elif how == "delete":
        mutated = text[:at] + text[at + length :]
    elif how == "repeat":
        mutated = text[: at + length] + text[at:]
    elif how == "number":
        value = data.draw(st.sampled_from([b"-1", b"1e999", b"nan", b"", b"0", b"99999999999999999999", b"x"]))
        mutated = text[:at] + re.sub(rb">[^<>]+<", b">" + value + b"<", text[at:], count=1)
    else:
        mutated = text[:at] + data.draw(st.binary(max_size=20)) + text[at + length :]
    try:
        record, refused = PARSERS[kind](mutated, "mutated.xml"), None
    except ProductError as error:
        record, refused = None, str(error)
    assert (record is None) != (refused is None)
    assert refused is None or "mutated.xml" in refused


def test_times_are_seconds_after_the_first_line(ew_metadata: Product) -> None:
    a = ew_metadata.bands[0].annotation
    seconds = a.seconds(ew_metadata.bands[0].calibration.time)
    assert seconds[0] == 0.0
    assert np.all(np.diff(seconds) > 0)
    assert a.time_of(10707) == pytest.approx(64.292453, abs=1e-5)  # productLastLineUtcTime − first
