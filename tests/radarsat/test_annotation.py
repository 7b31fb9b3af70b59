"""What `product.xml` says, against the truth that it was written from, and against everything it might say instead."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import FrazilError, ProductError, UnsupportedProductError
from frazil.radarsat.annotation import (
    POLARIZATIONS,
    Annotation,
    levels,
    parse_constellation,
    parse_radarsat2,
    positions,
)
from tests.radarsat.radarsat_files import Made, made_up

Parse = Callable[[bytes, str], Annotation]
PARSERS: dict[str, Parse] = {"radarsat2": parse_radarsat2, "constellation": parse_constellation}
LAYOUTS = sorted(PARSERS)


def product_xml(made: Made, layout: str, folder: Path) -> str:
    if layout == "radarsat2":
        return (made.write_radarsat2(folder) / "product.xml").read_text()
    return (made.write_constellation(folder) / "metadata" / "product.xml").read_text()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {layout: product_xml(made_up((12, 20)), layout, tmp_path_factory.mktemp(layout)) for layout in LAYOUTS}


def parsed(layout: str, text: str) -> Annotation:
    return PARSERS[layout](text.encode(), "product.xml")


def refused(layout: str, text: str, words: str = "product.xml", error: type[FrazilError] = ProductError) -> str:
    with pytest.raises(error, match=words) as caught:
        parsed(layout, text)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 500
    return said


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("late_first", [False, True])
@pytest.mark.parametrize("far_first", [False, True])
def test_all_that_was_written_is_read(layout: str, late_first: bool, far_first: bool, tmp_path: Path) -> None:
    made = made_up((12, 20), polarizations=("VH", "VV"), late_first=late_first, far_first=far_first, height_m=321.0)
    a = parsed(layout, product_xml(made, layout, tmp_path))
    assert a.shape == (12, 20)
    assert a.polarizations == ("VV", "VH"), "co-polarised first, whatever the order of the file"
    assert set(a.images) == {"VV", "VH"}
    assert (a.azimuth_spacing_m, a.range_spacing_m) == (50.0, 50.0)
    assert a.far_range_first == far_first
    assert not a.noise_removed
    near, far = made.incidence_at(np.array([0.0, 19.0]))
    assert a.incidence == pytest.approx((near, far), abs=1e-6)
    assert (a.last_line_time < a.first_line_time) == late_first
    assert (a.stop_time - a.start_time) / np.timedelta64(1, "s") == 6.0
    assert a.ties.latitude.shape == (5, 6)
    for i, line in enumerate(a.ties.line):
        for j, pixel in enumerate(a.ties.pixel):
            lon, lat = made.lonlat(line, pixel)
            # Positions are written to seven digits and kept to a thousandth of a pixel: 5 cm of 50 m.
            assert a.ties.longitude[i, j] == pytest.approx(lon, abs=3e-6)
            assert a.ties.latitude[i, j] == pytest.approx(lat, abs=1e-6)
    assert (a.ties.height == 321.0).all()
    assert a.copyright.endswith("2022 - All Rights Reserved.")


def test_the_two_formats_say_the_same_of_one_scene(texts: dict[str, str]) -> None:
    two, constellation = (parsed(layout, texts[layout]) for layout in ("radarsat2", "constellation"))
    for name in ("sample_type", "polarizations", "shape", "azimuth_spacing_m", "range_spacing_m", "far_range_first"):
        assert getattr(two, name) == getattr(constellation, name), name
    for name in ("first_line_time", "last_line_time", "noise_removed"):
        assert getattr(two, name) == getattr(constellation, name), name
    assert two.incidence == pytest.approx(constellation.incidence, abs=1e-7)
    for name in ("line", "pixel", "latitude", "longitude", "height"):
        np.testing.assert_array_equal(getattr(two.ties, name), getattr(constellation.ties, name))
    assert (two.sensor, two.mission) == ("RADARSAT-2", "RS2")
    assert (constellation.sensor, constellation.mission) == ("RADARSAT Constellation", "RCM2")
    assert two.noise is not None
    assert constellation.noise is None
    assert two.angle_table is None
    assert constellation.angle_table == "metadata/calibration/incidenceAngles.xml"
    assert constellation.images == {"HH": "imagery/1_1_HH.tif", "HV": "imagery/1_1_HV.tif"}
    assert two.images == {"HH": "imagery_HH.tif", "HV": "imagery_HV.tif"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_format_is_not_taken_for_the_other(layout: str, texts: dict[str, str]) -> None:
    other = next(name for name in LAYOUTS if name != layout)
    refused(layout, texts[other], "element <satellite> is|element <imageAttributes>")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_namespaces_are_of_no_account(layout: str, texts: dict[str, str]) -> None:
    """The same words with a prefix, and without any namespace."""
    root = ET.fromstring(texts[layout])
    space = root.tag.partition("}")[0].lstrip("{")
    ET.register_namespace("any", space)
    prefixed = ET.tostring(root, encoding="unicode")
    assert "<any:productId" in prefixed
    bare = re.sub(r' xmlns="[^"]*"', "", texts[layout])
    expected = parsed(layout, texts[layout])
    for text in (prefixed, bare):
        found = parsed(layout, text)
        assert found.images == expected.images
        np.testing.assert_array_equal(found.ties.latitude, expected.ties.latitude)


#: Without these there is no scene; everything else of a product may be missing.
NEEDED = {
    "radarsat2": {
        "productId", "sourceAttributes", "satellite", "beamModeMnemonic", "orbitAndAttitude", "orbitInformation",
        "passDirection", "imageGenerationParameters", "generalProcessingInformation", "productType",
        "sarProcessingInformation", "zeroDopplerTimeFirstLine", "zeroDopplerTimeLastLine", "incidenceAngleNearRange",
        "incidenceAngleFarRange", "imageAttributes", "rasterAttributes", "dataType", "numberOfSamplesPerLine",
        "numberOfLines", "sampledPixelSpacing", "sampledLineSpacing", "pixelTimeOrdering", "geographicInformation",
        "geolocationGrid", "imageTiePoint", "imageCoordinate", "line", "pixel", "geodeticCoordinate", "latitude",
        "longitude", "height",
    },
    "constellation": {
        "productId", "sourceAttributes", "satellite", "beamModeMnemonic", "orbitAndAttitude", "orbitInformation",
        "passDirection", "imageGenerationParameters", "generalProcessingInformation", "productType",
        "sarProcessingInformation", "zeroDopplerTimeFirstLine", "zeroDopplerTimeLastLine", "imageReferenceAttributes",
        "incidenceAngleFileName", "rasterAttributes", "sampleType", "sampledPixelSpacing", "sampledLineSpacing",
        "pixelTimeOrdering", "geographicInformation", "geolocationGrid", "imageTiePoint", "imageCoordinate", "line",
        "pixel", "geodeticCoordinate", "latitude", "longitude", "height", "sceneAttributes", "imageAttributes",
        "numLines", "samplesPerLine", "incAngNearRng", "incAngFarRng",
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_needed_is_missed_and_nothing_else(layout: str, texts: dict[str, str]) -> None:
    """Every kind of element is taken out once, with all that is below it."""
    tags = {e.tag.rpartition("}")[2] for e in ET.fromstring(texts[layout]).iter()} - {"product"}
    missed = set()
    for tag in sorted(tags):
        root = ET.fromstring(texts[layout])
        parent, child = next((p, c) for p in root.iter() for c in p if c.tag.rpartition("}")[2] == tag)
        parent.remove(child)
        try:
            parsed(layout, ET.tostring(root, encoding="unicode"))
        except (ProductError, UnsupportedProductError) as error:
            missed.add(tag)
            assert "\n" not in str(error)  # noqa: PT017 - which of the two happens is the question
    assert missed == NEEDED[layout]


NUMBERS = {
    "radarsat2": [
        "numberOfSamplesPerLine", "numberOfLines", "sampledPixelSpacing", "sampledLineSpacing",
        "incidenceAngleNearRange", "incidenceAngleFarRange", "line", "pixel", "latitude", "longitude", "height",
    ],
    "constellation": [
        "numLines", "samplesPerLine", "sampledPixelSpacing", "sampledLineSpacing", "incAngNearRng", "incAngFarRng",
        "line", "pixel", "latitude", "longitude", "height",
    ],
}  # fmt: skip


@pytest.mark.parametrize("value", ["nan", "-inf", "1e400", "", " ", "twelve", "-9999999", "9999999", "0x10", "1;2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_number_of_another_world_is_taken(layout: str, value: str, texts: dict[str, str]) -> None:
    for tag in NUMBERS[layout]:
        text = re.sub(rf"(<{tag}\b[^>]*>)[^<]*<", rf"\g<1>{value}<", texts[layout], count=1)
        assert text != texts[layout]
        said = refused(layout, text)
        assert tag in said or "tie points" in said or "incAngNearRng" in said or "incidenceAngleNear" in said, said


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("2022-04-07T18:21:27", "2022-04-07T18:21:27", "first and last line"),
        ("2022-04-07T18:21:27", "2022-04-07T19:21:28", "first and last line"),
        ("2022-04-08T18:21:27", "2022-04-07T18:21:27", "first and last line"),
        ("1970-01-01T00:00:00", "1970-01-01T00:00:06", "outside the life"),
        ("2051-01-01T00:00:00", "2051-01-01T00:00:06", "outside the life"),
        ("NaT", "2022-04-07T18:21:27", "not a time"),
        ("yesterday", "2022-04-07T18:21:27", "yesterday"),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_times_that_no_image_has(layout: str, first: str, last: str, words: str, texts: dict[str, str]) -> None:
    text = texts[layout]
    for which, value in (("First", first), ("Last", last)):
        text = re.sub(rf"(<zeroDopplerTime{which}Line>)[^<]*<", rf"\g<1>{value}<", text)
    refused(layout, text, words)


def test_the_constellation_is_younger_than_radarsat2(texts: dict[str, str]) -> None:
    """An image of 2010 can be of the one and not of the other."""
    old = {layout: text.replace("Line>2022-", "Line>2010-") for layout, text in texts.items()}
    assert parsed("radarsat2", old["radarsat2"]).start_time == np.datetime64("2010-04-07T18:21:27")
    refused("constellation", old["constellation"], "outside the life of RADARSAT Constellation")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_leap_second_is_a_time(layout: str, texts: dict[str, str]) -> None:
    text = texts[layout].replace(">2022-04-07T18:21:27.000000Z<", ">2022-04-07T18:21:60.250000Z<")
    text = text.replace(">2022-04-07T18:21:33.000000Z<", ">2022-04-07T18:22:03.000000Z<")
    assert parsed(layout, text).first_line_time == np.datetime64("2022-04-07T18:22:00.25")


def tie(line: float, pixel: float, latitude: float, longitude: float, height: float = 0.0) -> str:
    return (
        f"<imageTiePoint><imageCoordinate><line>{line}</line><pixel>{pixel}</pixel></imageCoordinate>"
        f"<geodeticCoordinate><latitude>{latitude!r}</latitude><longitude>{longitude!r}</longitude>"
        f"<height>{height!r}</height></geodeticCoordinate></imageTiePoint>"
    )


def with_ties(text: str, points: list[str]) -> str:
    changed = re.sub(
        r"<geolocationGrid>.*</geolocationGrid>", f"<geolocationGrid>{''.join(points)}</geolocationGrid>", text
    )
    assert changed != text
    return changed


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(2, 4), columns=st.integers(2, 4))
def test_tie_points_may_stand_in_any_order(data: st.DataObject, rows: int, columns: int, texts: dict[str, str]) -> None:
    """Each point comes back where it was put; longitudes lie in −180 … 180 whatever the file counts in."""
    lines = data.draw(st.lists(st.integers(0, 9000), min_size=rows, max_size=rows, unique=True).map(sorted))
    pixels = data.draw(st.lists(st.integers(0, 9000), min_size=columns, max_size=columns, unique=True).map(sorted))
    degrees = st.floats(-180, 360, allow_nan=False).filter(lambda v: not 0 < abs(v) < 1e-3)
    places = {
        (i, j): (data.draw(st.floats(-90, 90)), data.draw(degrees), data.draw(st.floats(-500, 5000)))
        for i in range(rows)
        for j in range(columns)
    }
    points = [tie(lines[i], pixels[j], *place) for (i, j), place in places.items()]
    ties = parsed("radarsat2", with_ties(texts["radarsat2"], data.draw(st.permutations(points)))).ties
    assert ties.line.tolist() == lines
    assert ties.pixel.tolist() == pixels
    assert ((ties.longitude >= -180) & (ties.longitude < 180)).all()
    for (i, j), (latitude, longitude, height) in places.items():
        assert ties.latitude[i, j] == latitude
        assert ties.height[i, j] == height
        turns = (ties.longitude[i, j] - longitude) / 360
        assert abs(turns - round(turns)) < 1e-12


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "0 tie points"),
        ([tie(0, 0, 70, 0), tie(0, 9, 70, 1), tie(9, 0, 71, 0)], "3 tie points"),
        ([tie(0, 0, 70, 0), tie(0, 9, 70, 1), tie(9, 0, 71, 0), tie(9, 0, 71, 1)], "no grid"),
        ([tie(0, x, 70, x) for x in range(5)], "one line or pixel"),
        ([tie(y, 3, 70 + y, 0) for y in range(5)], "one line or pixel"),
        ([tie(y, x, 70, 0) for y in (0, 9) for x in (0, 5, 9)][:5], "no grid"),
        ([tie(y, x, 90.001, 0) for y in (0, 9) for x in (0, 9)], "latitude"),
        ([tie(y, x, 70, 360.5) for y in (0, 9) for x in (0, 9)], "longitude"),
        ([tie(y, x, 70, 0, 12_000.0) for y in (0, 9) for x in (0, 9)], "height"),
        ([tie(-2, x, 70, 0) for x in (0, 9)] + [tie(9, x, 70, 0) for x in (0, 9)], "line"),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_tie_points_that_are_no_grid(layout: str, points: list[str], words: str, texts: dict[str, str]) -> None:
    refused(layout, with_ties(texts[layout], points), words)


def test_positions_that_differ_by_rounding_are_one(texts: dict[str, str]) -> None:
    """Real products write 4.9999996 for one point of a line and 5.0000001 for the next."""
    points = [tie(y + e, x, 70 + y, x) for y in (0, 5) for x, e in ((0, 1e-7), (9, -4e-7))]
    ties = parsed("radarsat2", with_ties(texts["radarsat2"], points)).ties
    assert ties.line.tolist() == [0.0, 5.0]
    assert ties.latitude.tolist() == [[70.0, 70.0], [75.0, 75.0]]


NAMES = st.lists(st.sampled_from([*"ab._-+/\\ :%\u00e6~$*", "..", "../", "imagery/"]), min_size=1).map("".join)


@settings(max_examples=150, deadline=None)
@given(name=NAMES, layout=st.sampled_from(LAYOUTS))
def test_no_name_of_a_file_leads_out_of_its_folder(name: str, layout: str, texts: dict[str, str]) -> None:
    """Whatever an image is called, it lies beside the others, or the product is refused."""
    old = "imagery_HH.tif" if layout == "radarsat2" else "../imagery/1_1_HH.tif"
    folder = Path("/p") if layout == "radarsat2" else Path("/p/imagery")
    text = texts[layout].replace(f">{old}<", f">{name}<")
    assert text != texts[layout]
    try:
        found = parsed(layout, text).images["HH"]
    except ProductError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert ".." not in Path(found).parts
        assert (Path("/p") / found).parent == folder
        assert not found.startswith("/")


@pytest.mark.parametrize("poles", ["CH", "CV", "XC"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_compact_polarimetry_is_told_what_to_do(layout: str, poles: str, texts: dict[str, str]) -> None:
    text = texts[layout].replace('pole="HH"', f'pole="{poles}"')
    assert poles in refused(layout, text, "linear polarisations", UnsupportedProductError)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_polarisations_of_no_radar(layout: str, texts: dict[str, str]) -> None:
    refused(layout, texts[layout].replace('pole="HH"', 'pole="HX"'), "'HX' is not one of")
    refused(layout, texts[layout].replace('pole="HH"', ""), "'' is not one of")
    small = parsed(layout, texts[layout].replace('pole="HH"', 'pole=" hh "'))
    assert small.polarizations == ("HH", "HV")
    assert set(small.polarizations) < set(POLARIZATIONS)


@pytest.mark.parametrize("kind", ["SSG", "SPG", "GCC", "GCD"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_are_refused_by_their_kind(layout: str, kind: str, texts: dict[str, str]) -> None:
    text = re.sub(r"<productType>[^<]*<", f"<productType> {kind}\n<", texts[layout])
    refused(layout, text, "projected to a map.*Take the product in it", UnsupportedProductError)


@pytest.mark.parametrize(
    ("said", "removed"),
    [("true", True), (" TRUE ", True), ("false", False), ("", False), ("1", False), ("truely", False)],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whether_noise_was_subtracted(layout: str, said: str, removed: bool, texts: dict[str, str]) -> None:
    element = f"<noiseSubtractionPerformed>{said}</noiseSubtractionPerformed>"
    text = texts[layout].replace("</sarProcessingInformation>", f"{element}</sarProcessingInformation>")
    assert parsed(layout, text).noise_removed == removed


@pytest.mark.parametrize("name", ["RADARSAT-2", "RADARSAT_2", "radarsat-2", "RADARSAT2", "RS2"])
def test_names_of_radarsat2(name: str, texts: dict[str, str]) -> None:
    text = texts["radarsat2"].replace("<satellite>RADARSAT-2<", f"<satellite> {name} <")
    assert parsed("radarsat2", text).mission == "RS2"


@pytest.mark.parametrize("name", ["RADARSAT-1", "SENTINEL-1A", "RADARSAT-22", "RCM", "RCM-0", "RCM-12"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_satellites(layout: str, name: str, texts: dict[str, str]) -> None:
    text = re.sub(r"<satellite>[^<]*<", f"<satellite>{name}<", texts[layout])
    refused(layout, text, "<satellite>")


def test_the_three_satellites_of_the_constellation(texts: dict[str, str]) -> None:
    for number in "123":
        for name in (f"RCM-{number}", f"RCM{number}"):
            text = texts["constellation"].replace("<satellite>RCM-2<", f"<satellite>{name}<")
            assert parsed("constellation", text).mission == f"RCM{number}"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copyright_is_one_short_line(layout: str, texts: dict[str, str]) -> None:
    text = re.sub(r'copyright="[^"]*"', f'copyright="  © A \n\t B{" x" * 4000}"', texts[layout])
    said = parsed(layout, text).copyright
    assert said.startswith("© A B x x")
    assert "\n" not in said
    assert len(said) == 300
    assert parsed(layout, re.sub(r'copyright="[^"]*"', "", texts[layout])).copyright == ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_angles_grow_from_near_to_far(layout: str, texts: dict[str, str]) -> None:
    near, far = ("incidenceAngleNearRange", "incidenceAngleFarRange")
    if layout == "constellation":
        near, far = "incAngNearRng", "incAngFarRng"
    text = re.sub(rf"(<{near}[^>]*>)[^<]*<", r"\g<1>30<", texts[layout])
    for value in ("30", "29.9"):
        refused(layout, re.sub(rf"(<{far}[^>]*>)[^<]*<", rf"\g<1>{value}<", text), near)
    assert parsed(layout, re.sub(rf"(<{far}[^>]*>)[^<]*<", r"\g<1>30.1<", text)).incidence == (30.0, 30.1)


def element(words: str) -> ET.Element:
    return ET.fromstring(f"<e>{words}</e>")


def table_of(first: int, step: int, values: str, count: int | None = None) -> ET.Element:
    n = len(values.split()) if count is None else count
    return element(
        f"<pixelFirstNoiseValue>{first}</pixelFirstNoiseValue><stepSize>{step}</stepSize><n>{n}</n>"
        f"<noiseLevelValues>{values}</noiseLevelValues>"
    )


@settings(max_examples=100, deadline=None)
@given(first=st.integers(-1000, 1000), step=st.integers(-50, 50).filter(bool), n=st.integers(1, 60))
def test_positions_of_a_table_are_counted_one_by_one(first: int, step: int, n: int) -> None:
    found = positions(table_of(first, step, " ".join(["-20"] * n)), "pixelFirstNoiseValue", "n", n)
    at, expected = first, []
    for _ in range(n):
        expected.append(at)
        at += step
    assert found.tolist() == expected
    assert found.dtype == np.float64


@settings(max_examples=100, deadline=None)
@given(first=st.integers(-(10**17), 10**17), step=st.integers(-(10**17), 10**17), n=st.integers(-3, 10**17))
def test_positions_never_lead_far_out(first: int, step: int, n: int) -> None:
    """No count of an element makes an array of that size: what it says is held against what is there."""
    try:
        found = positions(table_of(first, step, "-20 -21 -22", count=n), "pixelFirstNoiseValue", "n", 3)
    except ValueError as error:
        assert "element" in str(error)  # noqa: PT017
    else:
        assert n == 3
        assert step != 0
        assert np.abs(found).max() <= 400_000


def test_noise_lies_within_what_radars_have() -> None:
    found = levels(table_of(0, 10, "-80 -31.5 20"), "n")
    assert found.value.tolist() == [-80.0, -31.5, 20.0]
    assert found.pixel.tolist() == [0.0, 10.0, 20.0]
    for value in ("-80.1", "20.1", "nan", "inf", "-1e9"):
        with pytest.raises(ValueError, match="noiseLevelValues"):
            levels(table_of(0, 10, f"-30 {value} -30"), "n")
    with pytest.raises(ValueError, match="there are 3 values"):
        levels(table_of(0, 10, "-30 -30 -30", count=4), "n")


def test_beta_and_gamma_noise_is_not_taken_for_that_of_sigma(texts: dict[str, str]) -> None:
    """They stand beside it, 3 dB and 1 dB higher, and before it."""
    noise = parsed("radarsat2", texts["radarsat2"]).noise
    made = made_up((12, 20))
    assert noise is not None
    np.testing.assert_allclose(noise.value, made.noise_db_at(noise.pixel), atol=1e-8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_size_of_one_line_is_no_image(layout: str, texts: dict[str, str]) -> None:
    lines, pixels = ("numberOfLines", "numberOfSamplesPerLine") if layout == "radarsat2" else ("numLines", "samplesPer")
    for tag in (lines, pixels):
        for value in ("1", "0", "-5", "200001", "12.0"):
            refused(layout, re.sub(rf"(<{tag}[^>]*>)[^<]*<", rf"\g<1>{value}<", texts[layout]))
