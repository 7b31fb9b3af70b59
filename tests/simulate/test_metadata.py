"""The XML of cut products, read here by the standard library: a cut must say of every place what its template says."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from scipy.interpolate import CubicHermiteSpline, RegularGridInterpolator

from frazil.sentinel1.annotation import parse_annotation, parse_calibration, parse_noise
from frazil.sentinel1.product import Band, Product, open_product
from frazil.sentinel1.radiometry import Radiometry, make_radiometry
from frazil.simulate.metadata import (
    Cut,
    band_files,
    band_stem,
    manifest,
    product_name,
    shift_dates,
    with_statistics,
)

#: ESA's rules for the names of products and of their images (S1-RS-MDA-52-7441, section 3.1).
PRODUCT_NAME = re.compile(
    r"S1[A-D]_(S[1-6]|IW|EW|WV)_GRD[FHM]_1S(SH|SV|DH|DV)_(\d{8}T\d{6})_(\d{8}T\d{6})_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}"
)
IMAGE_STEM = re.compile(r"s1[a-d]-(s[1-6]|iw|ew)-grd-(hh|hv|vv|vh)-(\d{8}t\d{6})-(\d{8}t\d{6})-\d{6}-[0-9a-f]{6}-\d{3}")
TEMPLATES = ("ew", "iw-2015-ipf236", "iw-2021-ipf331", "s4-2025-ipf390")
#: Shares of the image: first line, last line, first pixel, last pixel.
WINDOWS = {
    "upper left": (0.0, 0.2, 0.0, 0.3),
    "lower right": (0.7, 1.0, 0.6, 1.0),
    "middle": (0.41, 0.52, 0.37, 0.58),
    "one line of text": (0.5, 0.502, 0.0, 1.0),
}


@dataclass(frozen=True)
class Made:
    """A cut image beside its template."""

    band: Band
    cut: Cut
    files: dict[str, bytes]

    def xml(self, kind: str) -> ET.Element:
        return ET.fromstring(next(data for path, data in self.files.items() if kind in path))

    @property
    def main(self) -> ET.Element:
        return ET.fromstring(next(data for path, data in self.files.items() if path.count("/") == 1))

    @property
    def radiometry(self) -> Radiometry:
        names = {path.rsplit("/", 1)[-1].split("-")[0]: path for path in self.files}
        main = next(path for path in self.files if path.count("/") == 1)
        return make_radiometry(
            parse_annotation(self.files[main], main),
            parse_calibration(self.files[names["calibration"]], "calibration"),
            parse_noise(self.files[names["noise"]], "noise"),
            denoise=True,
        )


@pytest.fixture(scope="module")
def templates(ew_metadata: Product, metadata_products: dict[str, Path]) -> dict[str, Product]:
    return {"ew": ew_metadata} | {key: open_product(path) for key, path in metadata_products.items()}


def cut_of(band: Band, window: str, days: int = 0, turn_deg: float = 0.0) -> Cut:
    a, (top, bottom, left, right) = band.annotation, WINDOWS[window]
    lines, pixels = (
        (round(top * a.n_lines), round(bottom * a.n_lines)),
        (round(left * a.n_pixels), round(right * a.n_pixels)),
    )
    return Cut(
        first_line=lines[0],
        first_pixel=pixels[0],
        n_lines=lines[1] - lines[0],
        n_pixels=pixels[1] - pixels[0],
        days=days,
        code="0A1B",
        turn_deg=turn_deg,
    )


@pytest.fixture(scope="module", params=[(t, w) for t in TEMPLATES for w in WINDOWS], ids=lambda p: " ".join(p))
def made(request: pytest.FixtureRequest, templates: dict[str, Product]) -> Made:
    template, window = request.param
    band = templates[template].bands[0]
    cut = cut_of(band, window, days=400, turn_deg=123.0 if window == "middle" else 0.0)
    return Made(band, cut, band_files(band, cut))


def whole_cut(band: Band, days: int) -> Cut:
    a = band.annotation
    return Cut(first_line=0, first_pixel=0, n_lines=a.n_lines, n_pixels=a.n_pixels, days=days, code="0A1B")


def grid_of(root: ET.Element) -> dict[str, np.ndarray]:
    """The geolocation grid, (line, pixel)."""
    points = root.findall("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
    line, pixel = (np.array([int(p.findtext(n) or "") for p in points]) for n in ("line", "pixel"))
    shape = (np.unique(line).size, np.unique(pixel).size)
    names = ("slantRangeTime", "latitude", "longitude", "incidenceAngle", "elevationAngle")
    values = {n: np.array([float(p.findtext(n) or "") for p in points]).reshape(shape) for n in names}
    time = np.array([np.datetime64(p.findtext("azimuthTime") or "", "us") for p in points]).reshape(shape)
    return {"line": line.reshape(shape)[:, 0], "pixel": pixel.reshape(shape)[0], "azimuthTime": time, **values}


def test_every_angle_and_range_is_the_templates_at_that_place(made: Made) -> None:
    """Its own grid, interpolated cubically: to a thousandth of a degree and a metre of range."""
    old = grid_of(ET.fromstring(made.band.product.read(f"annotation/{made.band.stem}.xml")))
    new = grid_of(made.main)
    assert new["line"][[0, -1]].tolist() == [0, made.cut.n_lines - 1]
    assert new["pixel"][[0, -1]].tolist() == [0, made.cut.n_pixels - 1]
    line, pixel = np.meshgrid(new["line"] + made.cut.first_line, new["pixel"] + made.cut.first_pixel, indexing="ij")
    for name, atol in (("incidenceAngle", 1e-3), ("elevationAngle", 1e-3), ("slantRangeTime", 2 / 299_792_458)):
        there = RegularGridInterpolator((old["line"], old["pixel"]), old[name], method="cubic_legacy")((line, pixel))
        np.testing.assert_allclose(new[name], there, rtol=0, atol=atol, err_msg=name)


def test_every_position_is_where_the_radar_saw_it(made: Made) -> None:
    """The range-Doppler equations, from the orbit in the XML: at the time of its line the satellite is as far from a
    point at sea level as its slant range says, and passes it broadside.
    """
    grid = grid_of(made.main)
    orbit = made.main.findall("generalAnnotation/orbitList/orbit")
    zero = np.datetime64(orbit[0].findtext("time") or "", "us")

    def seconds(time: np.ndarray) -> np.ndarray:
        return (time - zero) / np.timedelta64(1, "us") * 1e-6

    when = seconds(np.array([np.datetime64(o.findtext("time") or "", "us") for o in orbit]))
    place = np.array([[float(o.findtext(f"position/{axis}") or "") for axis in "xyz"] for o in orbit])
    speed = np.array([[float(o.findtext(f"velocity/{axis}") or "") for axis in "xyz"] for o in orbit])
    path = CubicHermiteSpline(when, place, speed)
    at = seconds(grid["azimuthTime"])
    satellite, velocity = path(at), path(at, 1)
    ground = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(
        grid["longitude"], grid["latitude"], np.zeros(at.shape)
    )
    sight = np.stack(ground, axis=-1) - satellite
    distance = np.linalg.norm(sight, axis=-1)
    along = (sight * velocity).sum(axis=-1) / np.linalg.norm(velocity, axis=-1)
    np.testing.assert_allclose(distance, grid["slantRangeTime"] * 299_792_458 / 2, rtol=0, atol=10)  # m
    np.testing.assert_allclose(along, 0, rtol=0, atol=10)


def test_every_time_is_that_of_its_line(made: Made) -> None:
    a, cut = made.band.annotation, made.cut
    step = a.azimuth_time_interval_s

    def line_of(text: str) -> float:
        time = np.datetime64(text, "us") - np.timedelta64(cut.days, "D")
        return float((time - a.first_line_time) / np.timedelta64(1, "us") * 1e-6 / step) - cut.first_line

    main = made.main
    image = main.find("imageAnnotation/imageInformation")
    assert image is not None
    for root in (main, made.xml("calibration-"), made.xml("noise-")):
        assert line_of(root.findtext("adsHeader/startTime") or "") == pytest.approx(0, abs=0.01)
        assert line_of(root.findtext("adsHeader/stopTime") or "") == pytest.approx(cut.n_lines - 1, abs=0.01)
    assert line_of(image.findtext("productFirstLineUtcTime") or "") == pytest.approx(0, abs=0.01)
    assert line_of(image.findtext("productLastLineUtcTime") or "") == pytest.approx(cut.n_lines - 1, abs=0.01)
    grid = grid_of(main)
    for line, times in zip(grid["line"], grid["azimuthTime"], strict=True):
        assert all(line_of(str(t)) == pytest.approx(line, abs=0.01) for t in times)
    for tag, kind in (("calibrationVector", "calibration-"), ("noiseRangeVector", "noise-"), ("noiseVector", "noise-")):
        for vector in made.xml(kind).iter(tag):
            assert line_of(vector.findtext("azimuthTime") or "") == pytest.approx(
                int(vector.findtext("line") or ""), abs=0.01
            )
    for tag in ("swathBounds", "noiseAzimuthVector"):
        for root in (main, made.xml("noise-")):
            for box in root.iter(tag):
                if box.findtext("azimuthTime"):
                    assert line_of(box.findtext("azimuthTime") or "") == pytest.approx(
                        int(box.findtext("firstAzimuthLine") or ""), abs=0.01
                    )


def test_every_table_covers_the_window_and_is_as_long_as_it_says(made: Made) -> None:
    last = made.cut.n_pixels - 1
    for kind, tags in (("calibration-", ("calibrationVector",)), ("noise-", ("noiseRangeVector", "noiseVector"))):
        root = made.xml(kind)
        vectors = [v for tag in tags for v in root.iter(tag)]
        lines = [int(v.findtext("line") or "") for v in vectors]
        assert lines == sorted(set(lines))
        assert (lines[0], lines[-1]) == (0, made.cut.n_lines - 1)
        for vector in vectors:
            tables = [e for e in vector if e.get("count") is not None]
            sizes = {len((e.text or "").split()) for e in tables}
            assert len(sizes) == 1
            assert {int(e.get("count") or "") for e in tables} == sizes
            pixel = np.array((vector.findtext("pixel") or "").split(), int)
            assert (np.diff(pixel) > 0).all()
            assert (pixel[0], pixel[-1]) == (0, last)
    for root in (made.main, made.xml("calibration-"), made.xml("noise-")):
        for holder in root.iter():
            if len(holder) and holder.get("count") is not None:
                assert int(holder.get("count") or "") == len(holder), holder.tag


def test_gain_noise_and_sub_swaths_are_the_templates_at_that_place(made: Made) -> None:
    b, cut = made.band, made.cut
    whole = make_radiometry(b.annotation, b.calibration, b.noise, denoise=True)
    ours = made.radiometry
    rng = np.random.default_rng(5)
    line = np.unique(np.r_[0, cut.n_lines - 1, rng.integers(0, cut.n_lines, 60)])
    pixel = np.unique(np.r_[0, cut.n_pixels - 1, rng.integers(0, cut.n_pixels, 60)])
    at = line + cut.first_line, pixel + cut.first_pixel
    np.testing.assert_allclose(ours.amplitude_gain(line, pixel), whole.amplitude_gain(*at), rtol=1e-4)
    assert (ours.observed(line, pixel) == whole.observed(*at)).all()
    mine, its = ours.nesz(line, pixel), whole.nesz(*at)
    both = np.isfinite(mine) & np.isfinite(its) & (its > 0)
    if not (its > 0).any():
        assert not (mine > 0).any()  # the tables of early processors are zero
        return
    assert (np.isfinite(mine) != np.isfinite(its)).mean() < 0.02
    apart = np.abs(10 * np.log10(mine[both] / its[both]))
    assert np.median(apart) < 0.05  # dB
    assert apart.max() < 0.4


def test_the_boxes_of_the_sub_swaths_cover_what_they_covered(made: Made) -> None:
    """Pixel by pixel, coarsely, straight from the XML."""

    def boxes(root: ET.Element, tag: str) -> list[tuple[int, ...]]:
        names = ("firstAzimuthLine", "lastAzimuthLine", "firstRangeSample", "lastRangeSample")
        return [tuple(int(b.findtext(n) or "") for n in names) for b in root.iter(tag)]

    def covered(found: list[tuple[int, ...]], line: np.ndarray, pixel: np.ndarray) -> np.ndarray:
        out = np.zeros((line.size, pixel.size), int)
        for top, bottom, left, right in found:
            out += ((line >= top) & (line <= bottom))[:, None] & ((pixel >= left) & (pixel <= right))
        return out

    b, cut = made.band, made.cut
    line = np.unique(np.linspace(0, cut.n_lines - 1, 150).astype(int))
    pixel = np.unique(np.linspace(0, cut.n_pixels - 1, 150).astype(int))
    for place, tag, root in (
        (f"annotation/{b.stem}.xml", "swathBounds", made.main),
        (f"annotation/calibration/noise-{b.stem}.xml", "noiseAzimuthVector", made.xml("noise-")),
    ):
        new, old = boxes(root, tag), boxes(ET.fromstring(b.product.read(place)), tag)
        for top, bottom, left, right in new:
            assert 0 <= top <= bottom < cut.n_lines
            assert 0 <= left <= right < cut.n_pixels
        before = covered(old, line + cut.first_line, pixel + cut.first_pixel)
        assert (covered(new, line, pixel) == before).all()


def test_ground_range_is_counted_from_the_windows_first_pixel(made: Made) -> None:
    """The polynomial from ground to slant range gives the slant range time of the template at that pixel."""
    a = made.band.annotation
    old = ET.fromstring(made.band.product.read(f"annotation/{made.band.stem}.xml"))
    place = "coordinateConversion/coordinateConversionList/coordinateConversion"
    assert old.findall(place)
    for before, after in zip(old.findall(place), made.main.findall(place), strict=True):
        powers = np.array((before.findtext("grsrCoefficients") or "").split(), float)
        assert (after.findtext("grsrCoefficients") or "").split() == (before.findtext("grsrCoefficients") or "").split()
        for pixel in (0, made.cut.n_pixels - 1):
            slant = [
                np.polynomial.polynomial.polyval(at * a.range_spacing_m - float(c.findtext("gr0") or ""), powers)
                for c, at in ((before, pixel + made.cut.first_pixel), (after, pixel))
            ]
            assert slant[0] == pytest.approx(slant[1], abs=1e-3)


def test_names_follow_the_rule_and_tell_the_times_of_the_annotation(made: Made) -> None:
    found, stem = PRODUCT_NAME.fullmatch(product_name(made.band.product, made.cut)), band_stem(made.band, made.cut)
    assert found is not None
    assert found[0].endswith("_0A1B")
    image = IMAGE_STEM.fullmatch(stem)
    assert image is not None
    header = made.main.find("adsHeader")
    assert header is not None
    for name, pattern in (("startTime", 3), ("stopTime", 4)):
        text = (header.findtext(name) or "")[:19].replace("-", "").replace(":", "")
        assert found[pattern] == text
        assert image[pattern].upper() == text
    assert sorted(made.files) == sorted(
        [f"annotation/{stem}.xml", *(f"annotation/calibration/{k}-{stem}.xml" for k in ("calibration", "noise"))]
    )


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("days", [0, 3, -1000])
def test_a_whole_product_differs_in_its_dates_alone(template: str, days: int, templates: dict[str, Product]) -> None:
    band = templates[template].bands[0]
    cut = whole_cut(band, days)
    stem = band_stem(band, cut)
    dates = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:")
    for path, data in band_files(band, cut).items():
        old = band.product.read(path.replace(stem, band.stem))
        assert dates.sub(b"@", data) == dates.sub(b"@", old)
        for before, after in zip(dates.findall(old), dates.findall(data), strict=True):
            moved = dt.date.fromisoformat(before[:10].decode()) + dt.timedelta(days)
            assert after == moved.isoformat().encode() + before[10:]


@settings(deadline=None)
@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)), st.integers(-30_000, 30_000), st.text())
def test_dates_move_as_the_calendar_does_and_nothing_else_moves(time: dt.datetime, days: int, words: str) -> None:
    """Through leap years and centuries; versions, bare dates and text are left."""
    around = words.encode("utf-8", "surrogatepass").replace(b"T", b"")
    text = around + f"<t>{time.isoformat()}</t><v>2019-02-29</v><n>20190228T010203</n>".encode() + around
    moved = text.replace(time.isoformat().encode(), (time + dt.timedelta(days)).isoformat().encode())
    assert shift_dates(text, days) == moved
    assert shift_dates(shift_dates(text, days), -days) == text


def test_statistics_are_written_where_they_stood(ew_metadata: Product) -> None:
    band = ew_metadata.bands[0]
    old = band.product.read(f"annotation/{band.stem}.xml")
    new = with_statistics(old, 123.456, 7.89)
    assert parse_annotation(new, "a").mean_dn == pytest.approx(123.456)
    root, before = ET.fromstring(new), ET.fromstring(old)
    assert [e.tag for e in root.iter()] == [e.tag for e in before.iter()]
    changed = [e.tag for e, f in zip(root.iter(), before.iter(), strict=True) if e.text != f.text]
    assert set(changed) <= {"re", "im"}
    assert float(root.findtext(".//outputDataStdDev/re") or "") == pytest.approx(7.89)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_manifest_tells_of_the_files_that_are_there_and_of_no_others(
    template: str, templates: dict[str, Product], tmp_path: Path
) -> None:
    product = templates[template]
    band = product.bands[0]
    cut = cut_of(band, "middle", days=10)
    paths = {}
    for path, data in band_files(band, cut).items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        paths[path] = target
    data = manifest(product, cut, {band.stem: band_stem(band, cut)}, paths, "1.0,2.0 3.0,4.0")
    root = ET.fromstring(data)
    told = {}
    for item in root.iter("dataObject"):
        place, stream = item.find(".//fileLocation"), item.find("byteStream")
        assert place is not None
        assert stream is not None
        told[(place.get("href") or "").removeprefix("./")] = (
            int(stream.get("size") or ""),
            stream.findtext("checksum"),
        )
    assert told == {
        path: (p.stat().st_size, hashlib.md5(p.read_bytes(), usedforsecurity=False).hexdigest())
        for path, p in paths.items()
    }
    identifiers = {e.get("ID") for e in root.iter() if e.get("ID")}
    for element in root.iter():
        for key in ("dataObjectID", "dmdID", "admID"):
            assert set((element.get(key) or "").split()) <= identifiers, (element.tag, key)
    polarizations = [e.text for e in root.iter() if e.tag.endswith("}transmitterReceiverPolarisation")]
    assert polarizations == [band.polarization]
    assert [e.text for e in root.iter() if e.tag.endswith("}coordinates")] == ["1.0,2.0 3.0,4.0"]
    assert band.stem.encode() not in data
