"""Annotation, calibration and noise XML of a Level-1 product as typed records.

Times become float seconds after the first image line: a datetime64 would cost nothing in precision (1 µs is 7 mm of
orbit), but every formula wants seconds. Files of strangers are hostile, and files of friends are damaged: every count,
shape and size is checked, and every number against what a Sentinel-1 can measure (`frazil.xml_files` reads them).

References:
    S1-RS-MDA-52-7441 (Sentinel-1 Product Specification), sections 3.2 (annotation), 3.3 (calibration), 3.4 (noise).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np

from frazil.scene.geolocation import TiePoints
from frazil.xml_files import number, numbers, read_record, text, time, whole_number

_MISSION_LIFE = np.datetime64("2014-04-03"), np.datetime64("2045-01-01")
_LONGEST_S = 3600.0  # of a data take; the instrument's limit is 25 minutes of 98 an orbit
_GAIN = 1.0, 1e5  # sigmaNought; in the products at hand 213…1909
_GAIN_STEP = 0.2  # of its logarithm between neighbours; 0.02 in the products at hand
_INCIDENCE = 10.0, 60.0  # degrees; the instrument's beams lie between 18 and 47
_HEIGHT_M = 10_000.0
_SPACING = 0.5, 200.0  # metres; stripmap SLC 1.5 in slant range, EW 40


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first element of every annotation file."""

    mission: str
    product_type: str
    mode: str
    swath: str
    polarization: str
    start_time: np.datetime64
    stop_time: np.datetime64
    orbit: int
    data_take: int
    image_number: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What ``manifest.safe`` says; None where it does not.

    Attributes:
        ipf_version: of the processor, ``"3.52"``.
        relative_orbit, orbit: numbers.
        start_time: of the product.
        files: path below the product folder -> size in bytes (−1: not told) and MD5.
    """

    ipf_version: str | None = None
    relative_orbit: int | None = None
    orbit: int | None = None
    start_time: np.datetime64 | None = None
    files: dict[str, tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class SwathBounds:
    """A box of the image filled by one sub-swath; all four limits are inclusive."""

    swath: str
    first_line: int
    last_line: int
    first_pixel: int
    last_pixel: int


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What frazil needs from a product annotation file."""

    header: Header
    first_line_time: np.datetime64
    azimuth_time_interval_s: float
    n_lines: int
    n_pixels: int
    range_spacing_m: float
    azimuth_spacing_m: float
    pixel_value: str  # "Detected" or "Complex"
    noise_removed: bool  # by the processor: thermalNoiseCorrectionPerformed
    orbit_pass: str
    composition: str  # "Slice", "Assembled", "Individual"
    n_slices: int
    slice_number: int | None
    mean_dn: float | None  # of the digital numbers of a detected image
    n_bursts: int
    lines_per_burst: int
    swath_bounds: tuple[SwathBounds, ...]
    ties: TiePoints

    def time_of(self, line: np.ndarray | float) -> np.ndarray:
        """Zero-Doppler time of image lines, seconds after the first line."""
        return np.asarray(line, dtype=np.float64) * self.azimuth_time_interval_s

    def seconds(self, times: np.ndarray) -> np.ndarray:
        """datetime64 as float seconds after the first line."""
        return (times - self.first_line_time) / np.timedelta64(1, "us") * 1e-6


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration vectors: `sigma_nought` (vector, point) at `pixel` (vector, point) and `time` (datetime64)."""

    time: np.ndarray
    pixel: np.ndarray
    sigma_nought: np.ndarray


@dataclass(frozen=True, kw_only=True)
class NoiseRange:
    """One range noise vector: `lut` (DN²) at `pixel`; zeros mean missing."""

    time: np.datetime64
    pixel: np.ndarray
    lut: np.ndarray


@dataclass(frozen=True, kw_only=True)
class NoiseAzimuth:
    """One azimuth noise vector: factor `lut` at `line`, over the block of `bounds`."""

    bounds: SwathBounds
    line: np.ndarray
    lut: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise of one image. `azimuth` is empty for stripmap and wave mode, and for products before IPF 2.9."""

    range: tuple[NoiseRange, ...]
    azimuth: tuple[NoiseAzimuth, ...]
    legacy: bool  # the layout before IPF 2.9 (noiseVector), told by its tags
    damaged: int = 0  # tables left out because their numbers do not fit together

    @property
    def known(self) -> bool:
        """False if every look-up table is zero, as in IPF 2.36 GRD: then no denoising is possible."""
        return any(bool((v.lut > 0).any()) for v in self.range)


def parse_header(data: bytes, name: str) -> Header:
    """The header of an annotation, calibration or noise file.

    Args:
        data: the XML.
        name: the file's name, for messages.

    Raises:
        ProductError: the XML is broken, hostile or not of Sentinel-1.
    """
    end = data.find(b"</adsHeader>", 0, 20_000)
    tag = re.search(rb"<([A-Za-z_][\w.-]*)", data[:2000])
    if end > 0 and tag:  # the header comes first: a file of megabytes need not be parsed for it
        data = data[:end] + b"</adsHeader></" + tag.group(1) + b">"
    return read_record(_header, data, name)


def parse_annotation(data: bytes, name: str) -> Annotation:
    """The record of a product annotation file (arguments and errors as `parse_header`)."""
    return read_record(_annotation, data, name)


def parse_calibration(data: bytes, name: str) -> Calibration:
    """The record of a calibration file (arguments and errors as `parse_header`)."""
    return read_record(_calibration, data, name)


def parse_noise(data: bytes, name: str) -> Noise:
    """The record of a noise file of either layout (arguments and errors as `parse_header`)."""
    return read_record(_noise, data, name)


def parse_manifest(data: bytes) -> Manifest:
    """What a manifest says of the product.

    Raises:
        ProductError: the XML is broken or hostile, or no manifest.
    """
    return read_record(_manifest, data, "manifest.safe")


def _manifest(root: ET.Element) -> Manifest:
    _refuse_other(root, "XFDU")
    version, start = None, None
    orbits: dict[str, int] = {}
    files: dict[str, tuple[int, str]] = {}
    for element in root.iter():
        tag, content = element.tag.rsplit("}", 1)[-1], (element.text or "").strip()
        if tag == "software" and "IPF" in element.get("name", "") and version is None:
            major, _, minor = element.get("version", "").partition(".")
            version = f"{int(major)}.{minor}" if major.isdigit() and minor.isdigit() else None
        elif tag.endswith("rbitNumber") and content.isdigit():
            orbits.setdefault(tag, int(content))
        elif tag == "startTime" and start is None:
            start = time(element, ".")
        elif tag == "byteStream":
            place, checksum = element.find("fileLocation"), element.find("checksum")
            if place is not None and checksum is not None and checksum.get("checksumName") == "MD5":
                name = place.get("href", "").removeprefix("./")
                files[name] = int(element.get("size", "-1")), (checksum.text or "").strip().lower()
    return Manifest(
        ipf_version=version,
        relative_orbit=orbits.get("relativeOrbitNumber"),
        orbit=orbits.get("orbitNumber"),
        start_time=start,
        files=files,
    )


def _header(root: ET.Element) -> Header:
    header = Header(
        mission=text(root, "adsHeader/missionId"),
        product_type=text(root, "adsHeader/productType"),
        mode=text(root, "adsHeader/mode"),
        swath=text(root, "adsHeader/swath"),
        polarization=text(root, "adsHeader/polarisation"),
        start_time=time(root, "adsHeader/startTime"),
        stop_time=time(root, "adsHeader/stopTime"),
        orbit=whole_number(root, "adsHeader/absoluteOrbitNumber"),
        data_take=whole_number(root, "adsHeader/missionDataTakeId"),
        image_number=text(root, "adsHeader/imageNumber"),
    )
    if not re.fullmatch(r"S1[A-Z]", header.mission):
        raise ValueError(f"mission {header.mission!r} is not a Sentinel-1")
    if header.polarization not in ("HH", "HV", "VV", "VH"):
        raise ValueError(f"polarisation {header.polarization!r} is not one of HH, HV, VV, VH")
    _check_time(header.start_time)
    if not 0 <= (header.stop_time - header.start_time) / np.timedelta64(1, "s") <= _LONGEST_S:
        raise ValueError(f"it lasts from {header.start_time} to {header.stop_time}, which no image does")
    return header


def _check_time(when: np.datetime64) -> None:
    if not _MISSION_LIFE[0] <= when < _MISSION_LIFE[1]:
        raise ValueError(f"time {when} lies outside the life of Sentinel-1")


def _bounds(element: ET.Element, swath: str) -> SwathBounds:
    bounds = SwathBounds(
        swath=swath,
        first_line=whole_number(element, "firstAzimuthLine"),
        last_line=whole_number(element, "lastAzimuthLine"),
        first_pixel=whole_number(element, "firstRangeSample"),
        last_pixel=whole_number(element, "lastRangeSample"),
    )
    if bounds.last_line < bounds.first_line or bounds.last_pixel < bounds.first_pixel:
        raise ValueError(f"bounds of {swath} are reversed: {bounds}")
    return bounds


def _annotation(root: ET.Element) -> Annotation:
    image = "imageAnnotation/imageInformation/"
    n_lines, n_pixels = whole_number(root, image + "numberOfLines"), whole_number(root, image + "numberOfSamples")
    if not (0 < n_lines < 10**6 and 0 < n_pixels < 10**6):
        raise ValueError(f"image size {n_lines} × {n_pixels} is impossible")
    header, first_line_time = _header(root), time(root, image + "productFirstLineUtcTime")
    _check_time(first_line_time)
    detected = text(root, image + "pixelValue") == "Detected"
    mean = root.findtext(image + "imageStatistics/outputDataMean/re") if detected else None
    slice_number = (root.findtext(image + "sliceNumber") or "").strip()
    merges = root.findall("swathMerging/swathMergeList/swathMerge")
    return Annotation(
        header=header,
        first_line_time=first_line_time,
        azimuth_time_interval_s=number(root, image + "azimuthTimeInterval", 1e-5, 0.1),
        n_lines=n_lines,
        n_pixels=n_pixels,
        range_spacing_m=number(root, image + "rangePixelSpacing", *_SPACING),
        azimuth_spacing_m=number(root, image + "azimuthPixelSpacing", *_SPACING),
        pixel_value=text(root, image + "pixelValue"),
        noise_removed=(
            root.findtext("imageAnnotation/processingInformation/thermalNoiseCorrectionPerformed") or ""
        ).strip()
        == "true",
        orbit_pass=text(root, "generalAnnotation/productInformation/pass"),
        composition=(root.findtext(image + "productComposition") or "").strip(),
        n_slices=len(root.findall(image + "sliceList/slice")),
        slice_number=int(slice_number) if slice_number.isdigit() else None,
        mean_dn=_mean(mean),
        n_bursts=len(root.findall("swathTiming/burstList/burst")),
        lines_per_burst=int(root.findtext("swathTiming/linesPerBurst") or 0),
        swath_bounds=tuple(
            _bounds(bounds, text(merge, "swath"))
            for merge in merges
            for bounds in merge.findall("swathBoundsList/swathBounds")
        ),
        ties=_ties(root),
    )


def _mean(stated: str | None) -> float | None:
    """The mean of the digital numbers, where a product says it in a number that can be."""
    try:
        value = float(stated or "nan")
    except ValueError:
        return None
    return value if 0 < value <= 65535 else None


def _tie(point: ET.Element, name: str) -> float:
    """A number of a tie point; the elevation angle, which nothing here needs, may be none."""
    return number(point, name) if name != "elevationAngle" else float(point.findtext(name) or "nan")


def _ties(root: ET.Element) -> TiePoints:
    points = root.findall("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
    names = ("line", "pixel", "latitude", "longitude", "height", "incidenceAngle", "elevationAngle")
    table = np.array([[_tie(p, name) for name in names] for p in points]).reshape(-1, len(names))
    line, pixel = np.unique(table[:, 0]), np.unique(table[:, 1])
    if line.size < 2 or pixel.size < 2:
        raise ValueError(f"the geolocation grid has {line.size} × {pixel.size} points; at least 2 × 2 are needed")
    # Slice-assembled products repeat tie lines at slice borders: one of each is enough.
    grid = np.full((line.size, pixel.size, len(names)), np.nan)
    grid[np.searchsorted(line, table[:, 0]), np.searchsorted(pixel, table[:, 1])] = table
    if not np.isfinite(grid[..., :6]).all():
        raise ValueError("the geolocation grid is not a full rectangle of points")
    if (np.abs(grid[..., 2]) > 90).any() or (np.abs(grid[..., 3]) > 360).any():
        raise ValueError("the geolocation grid holds impossible coordinates")
    if not ((grid[..., 5] >= _INCIDENCE[0]) & (grid[..., 5] <= _INCIDENCE[1])).all():
        raise ValueError(f"incidence angles from {grid[..., 5].min():.4g} to {grid[..., 5].max():.4g}° are impossible")
    if (np.abs(grid[..., 4]) > _HEIGHT_M).any():
        raise ValueError("the geolocation grid holds impossible heights")
    return TiePoints(
        line=line,
        pixel=pixel,
        latitude=grid[..., 2],
        longitude=grid[..., 3],
        height=grid[..., 4],
        incidence_angle=grid[..., 5],
        elevation_angle=grid[..., 6],
    )


def _refuse_other(root: ET.Element, kind: str) -> None:
    """Raise ValueError for a file of another kind, whose header is right and which holds no vector."""
    if root.tag.rsplit("}", 1)[-1] != kind:
        raise ValueError(f"it is a <{root.tag[:40]}>, expected <{kind}>")


def _calibration(root: ET.Element) -> Calibration:
    _refuse_other(root, "calibration")
    vectors = root.findall("calibrationVectorList/calibrationVector")
    if not vectors:
        raise ValueError("it holds no calibration vector")
    pixel = [numbers(v, "pixel", rising=True) for v in vectors]
    gain = [numbers(v, "sigmaNought") for v in vectors]
    if len({p.size for p in pixel} | {g.size for g in gain}) != 1:
        raise ValueError("calibration vectors differ in length")
    if min(g.min() for g in gain) <= 0:
        raise ValueError("sigmaNought holds values that are not positive")
    low, high = min(g.min() for g in gain), max(g.max() for g in gain)
    if not _GAIN[0] <= low <= high <= _GAIN[1]:
        raise ValueError(f"sigmaNought from {low:.4g} to {high:.4g} is impossible")
    if any((np.abs(np.diff(np.log(g))) > _GAIN_STEP).any() for g in gain):
        raise ValueError("sigmaNought jumps, which is impossible")
    times = np.array([time(v, "azimuthTime") for v in vectors])
    for when in times:
        _check_time(when)
    times, first = np.unique(times, return_index=True)  # assembled products repeat vectors
    return Calibration(time=times, pixel=np.stack(pixel)[first], sigma_nought=np.stack(gain)[first])


def _noise(root: ET.Element) -> Noise:
    _refuse_other(root, "noise")
    legacy = root.find("noiseVectorList") is not None
    list_tag, lut_tag = ("noiseVector", "noiseLut") if legacy else ("noiseRangeVector", "noiseRangeLut")
    vectors, damaged = [], 0
    for element in root.findall(f"{list_tag}List/{list_tag}"):
        try:
            pixel, lut = numbers(element, "pixel", rising=True), _table(element, lut_tag)
            when = time(element, "azimuthTime")
            _check_time(when)
        except ValueError:
            damaged += 1
            continue
        if pixel.size != lut.size:
            damaged += 1
            continue
        vectors.append(NoiseRange(time=when, pixel=pixel, lut=lut))
    vectors.sort(key=lambda v: v.time)
    azimuth = []
    for element in root.findall("noiseAzimuthVectorList/noiseAzimuthVector"):
        try:
            azimuth.append(_noise_azimuth(element))
        except ValueError:  # nobody knows where it belongs
            damaged += 1
    return Noise(
        range=tuple(vectors),
        azimuth=tuple(azimuth),
        legacy=legacy,
        damaged=damaged + sum(v.lut.size == 0 for v in azimuth),
    )


def _table(element: ET.Element, path: str) -> np.ndarray:
    """A noise table: what is not a number, or negative, is missing, which noise tables write as zero."""
    values = numbers(element, path, finite=False)
    good = np.isfinite(values) & (values > 0)
    return np.where(good, values, 0.0)


def _noise_azimuth(element: ET.Element) -> NoiseAzimuth:
    """An azimuth noise vector; without samples where its numbers do not fit together."""
    bounds = _bounds(element, text(element, "swath"))
    try:
        line, lut = numbers(element, "line", rising=True), _table(element, "noiseAzimuthLut")
    except ValueError:
        line = lut = np.zeros(0)
    if line.size != lut.size or not lut.any():
        line = lut = np.zeros(0)
    return NoiseAzimuth(bounds=bounds, line=line[lut > 0], lut=lut[lut > 0])
