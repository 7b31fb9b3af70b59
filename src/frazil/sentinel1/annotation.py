"""Annotation, calibration and noise XML of a Level-1 product as typed records.

Times become float seconds after the first image line: a datetime64 would cost nothing in precision (1 µs is 7 mm of
orbit), but every formula wants seconds. Files of strangers are hostile: document type definitions and entities are
refused by defusedxml, and every count and shape is checked.

References:
    S1-RS-MDA-52-7441 (Sentinel-1 Product Specification), sections 3.2 (annotation), 3.3 (calibration), 3.4 (noise).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from frazil.errors import ProductError

T = TypeVar("T")
_ASCII_BASED = (b"utf-8", b"us-ascii", b"ascii", b"iso-8859-1")


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
class SwathBounds:
    """A box of the image filled by one sub-swath; all four limits are inclusive."""

    swath: str
    first_line: int
    last_line: int
    first_pixel: int
    last_pixel: int


@dataclass(frozen=True, kw_only=True)
class TiePoints:
    """The geolocation grid. Arrays of dims (tie_line, tie_pixel); `line` and `pixel` are one-dimensional.

    Latitude and longitude in degrees (WGS 84), height in metres above the ellipsoid, angles in degrees.
    """

    line: np.ndarray
    pixel: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    height: np.ndarray
    incidence_angle: np.ndarray
    elevation_angle: np.ndarray


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
    return _guard(_header, _root(data, name), name)


def parse_annotation(data: bytes, name: str) -> Annotation:
    """The record of a product annotation file (arguments and errors as `parse_header`)."""
    return _guard(_annotation, _root(data, name), name)


def parse_calibration(data: bytes, name: str) -> Calibration:
    """The record of a calibration file (arguments and errors as `parse_header`)."""
    return _guard(_calibration, _root(data, name), name)


def parse_noise(data: bytes, name: str) -> Noise:
    """The record of a noise file of either layout (arguments and errors as `parse_header`)."""
    return _guard(_noise, _root(data, name), name)


def parse_manifest(data: bytes) -> tuple[str | None, int | None]:
    """The processor version (``"3.52"``) and the relative orbit that a manifest names, or None for either.

    Raises:
        ProductError: the XML is broken or hostile.
    """
    version, orbit = None, None
    for element in _root(data, "manifest.safe").iter():
        if element.tag.endswith("}software") and "IPF" in element.get("name", "") and version is None:
            major, _, minor = element.get("version", "").partition(".")
            version = f"{int(major)}.{minor}" if major.isdigit() and minor.isdigit() else None
        if element.tag.endswith("}relativeOrbitNumber") and orbit is None and (element.text or "").strip().isdigit():
            orbit = int(element.text or "")
    return version, orbit


def _root(data: bytes, name: str) -> ET.Element:
    # Without a DTD there are no entities, and the C parser, four times as fast as defusedxml, is as safe. A DTD cannot
    # hide: in encodings that extend ASCII it must spell <!DOCTYPE, and any other encoding goes to defusedxml.
    encoding = re.match(rb"<\?xml[^>]*encoding=[\"']([\w.-]+)", data)
    plain = (
        data[:1] == b"<" and data[1:2] != b"\x00" and (encoding is None or encoding.group(1).lower() in _ASCII_BASED)
    )
    try:
        if plain and b"<!DOCTYPE" not in data:
            return ET.fromstring(data)
        return fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise ProductError(
            f"{name} holds a document type definition or entities, which no Sentinel-1 product does; "
            "it is not read. Get the product anew from a source you trust."
        ) from error
    except (ET.ParseError, ValueError, LookupError) as error:
        raise ProductError(
            f"{name} is not well-formed XML ({error}). The file is damaged: download the product again."
        ) from error


def _guard(parse: Callable[[ET.Element], T], root: ET.Element, name: str) -> T:
    try:
        return parse(root)
    except (ValueError, TypeError, KeyError, OverflowError, IndexError) as error:
        if isinstance(error, ProductError):
            raise
        raise ProductError(
            f"{name} is not a Sentinel-1 Level-1 file as specified: {error}. Download the product again."
        ) from error


def _text(element: ET.Element, path: str) -> str:
    text = element.findtext(path)
    if text is None or not text.strip():
        raise ValueError(f"element <{path}> of <{element.tag}> is missing or empty")
    return text.strip()


def _int(element: ET.Element, path: str) -> int:
    return int(_text(element, path))


def _float(element: ET.Element, path: str, *, positive: bool = False) -> float:
    value = float(_text(element, path))
    if not np.isfinite(value) or (positive and value <= 0):
        raise ValueError(f"element <{path}> is {value}")
    return value


def _time(element: ET.Element, path: str) -> np.datetime64:
    time = np.datetime64(_text(element, path), "us")
    if np.isnat(time):
        raise ValueError(f"element <{path}> is not a time")
    return time


def _numbers(element: ET.Element, path: str, *, rising: bool = False) -> np.ndarray:
    values = np.array(_text(element, path).split(), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"element <{path}> holds values that are not finite")
    if rising and (np.diff(values) <= 0).any():
        raise ValueError(f"element <{path}> does not rise")
    return values


def _header(root: ET.Element) -> Header:
    return Header(
        mission=_text(root, "adsHeader/missionId"),
        product_type=_text(root, "adsHeader/productType"),
        mode=_text(root, "adsHeader/mode"),
        swath=_text(root, "adsHeader/swath"),
        polarization=_text(root, "adsHeader/polarisation"),
        start_time=_time(root, "adsHeader/startTime"),
        stop_time=_time(root, "adsHeader/stopTime"),
        orbit=_int(root, "adsHeader/absoluteOrbitNumber"),
        data_take=_int(root, "adsHeader/missionDataTakeId"),
        image_number=_text(root, "adsHeader/imageNumber"),
    )


def _bounds(element: ET.Element, swath: str) -> SwathBounds:
    bounds = SwathBounds(
        swath=swath,
        first_line=_int(element, "firstAzimuthLine"),
        last_line=_int(element, "lastAzimuthLine"),
        first_pixel=_int(element, "firstRangeSample"),
        last_pixel=_int(element, "lastRangeSample"),
    )
    if bounds.last_line < bounds.first_line or bounds.last_pixel < bounds.first_pixel:
        raise ValueError(f"bounds of {swath} are reversed: {bounds}")
    return bounds


def _annotation(root: ET.Element) -> Annotation:
    image = "imageAnnotation/imageInformation/"
    n_lines, n_pixels = _int(root, image + "numberOfLines"), _int(root, image + "numberOfSamples")
    if not (0 < n_lines < 10**6 and 0 < n_pixels < 10**6):
        raise ValueError(f"image size {n_lines} × {n_pixels} is impossible")
    merges = root.findall("swathMerging/swathMergeList/swathMerge")
    return Annotation(
        header=_header(root),
        first_line_time=_time(root, image + "productFirstLineUtcTime"),
        azimuth_time_interval_s=_float(root, image + "azimuthTimeInterval", positive=True),
        n_lines=n_lines,
        n_pixels=n_pixels,
        range_spacing_m=_float(root, image + "rangePixelSpacing", positive=True),
        azimuth_spacing_m=_float(root, image + "azimuthPixelSpacing", positive=True),
        pixel_value=_text(root, image + "pixelValue"),
        noise_removed=(
            root.findtext("imageAnnotation/processingInformation/thermalNoiseCorrectionPerformed") or ""
        ).strip()
        == "true",
        orbit_pass=_text(root, "generalAnnotation/productInformation/pass"),
        composition=(root.findtext(image + "productComposition") or "").strip(),
        n_slices=len(root.findall(image + "sliceList/slice")),
        n_bursts=len(root.findall("swathTiming/burstList/burst")),
        lines_per_burst=int(root.findtext("swathTiming/linesPerBurst") or 0),
        swath_bounds=tuple(
            _bounds(bounds, _text(merge, "swath"))
            for merge in merges
            for bounds in merge.findall("swathBoundsList/swathBounds")
        ),
        ties=_ties(root),
    )


def _ties(root: ET.Element) -> TiePoints:
    points = root.findall("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
    names = ("line", "pixel", "latitude", "longitude", "height", "incidenceAngle", "elevationAngle")
    table = np.array([[_float(p, name) for name in names] for p in points]).reshape(-1, len(names))
    line, pixel = np.unique(table[:, 0]), np.unique(table[:, 1])
    if line.size < 2 or pixel.size < 2:
        raise ValueError(f"the geolocation grid has {line.size} × {pixel.size} points; at least 2 × 2 are needed")
    # Slice-assembled products repeat tie lines at slice borders: one of each is enough.
    grid = np.full((line.size, pixel.size, len(names)), np.nan)
    grid[np.searchsorted(line, table[:, 0]), np.searchsorted(pixel, table[:, 1])] = table
    if not np.isfinite(grid).all():
        raise ValueError("the geolocation grid is not a full rectangle of points")
    if (np.abs(grid[..., 2]) > 90).any() or (np.abs(grid[..., 3]) > 360).any():
        raise ValueError("the geolocation grid holds impossible coordinates")
    return TiePoints(
        line=line,
        pixel=pixel,
        latitude=grid[..., 2],
        longitude=grid[..., 3],
        height=grid[..., 4],
        incidence_angle=grid[..., 5],
        elevation_angle=grid[..., 6],
    )


def _calibration(root: ET.Element) -> Calibration:
    vectors = root.findall("calibrationVectorList/calibrationVector")
    if not vectors:
        raise ValueError("it holds no calibration vector")
    pixel = [_numbers(v, "pixel", rising=True) for v in vectors]
    gain = [_numbers(v, "sigmaNought") for v in vectors]
    if len({p.size for p in pixel} | {g.size for g in gain}) != 1:
        raise ValueError("calibration vectors differ in length")
    if min(g.min() for g in gain) <= 0:
        raise ValueError("sigmaNought holds values that are not positive")
    time = np.array([_time(v, "azimuthTime") for v in vectors])
    time, first = np.unique(time, return_index=True)  # assembled products repeat vectors
    return Calibration(time=time, pixel=np.stack(pixel)[first], sigma_nought=np.stack(gain)[first])


def _noise(root: ET.Element) -> Noise:
    legacy = root.find("noiseVectorList") is not None
    list_tag, lut_tag = ("noiseVector", "noiseLut") if legacy else ("noiseRangeVector", "noiseRangeLut")
    vectors = []
    for element in root.findall(f"{list_tag}List/{list_tag}"):
        vector = NoiseRange(
            time=_time(element, "azimuthTime"),
            pixel=_numbers(element, "pixel", rising=True),
            lut=_numbers(element, lut_tag),
        )
        if vector.pixel.size != vector.lut.size:
            raise ValueError(f"a noise vector has {vector.pixel.size} pixels and {vector.lut.size} values")
        vectors.append(vector)
    if not vectors:
        raise ValueError("it holds no range noise vector")
    vectors.sort(key=lambda v: v.time)
    return Noise(
        range=tuple(vectors),
        azimuth=tuple(_noise_azimuth(e) for e in root.findall("noiseAzimuthVectorList/noiseAzimuthVector")),
        legacy=legacy,
    )


def _noise_azimuth(element: ET.Element) -> NoiseAzimuth:
    vector = NoiseAzimuth(
        bounds=_bounds(element, _text(element, "swath")),
        line=_numbers(element, "line", rising=True),
        lut=_numbers(element, "noiseAzimuthLut"),
    )
    if vector.line.size != vector.lut.size:
        raise ValueError(f"an azimuth noise vector has {vector.line.size} lines and {vector.lut.size} values")
    return vector
