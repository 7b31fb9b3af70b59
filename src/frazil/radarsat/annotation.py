"""``product.xml`` of RADARSAT-2 and of the RADARSAT Constellation as one typed record.

The two formats say the same in other places. What they say is checked against what the radars can measure: files of
strangers are hostile, and files of friends are damaged.

References:
    MDA, RADARSAT-2 Product Format Definition, RN-RP-51-2713: product.xml.
    CSA, RADARSAT Constellation Mission Product Specification, RCM-SP-53-0419: product.xml.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from frazil.errors import UnsupportedProductError
from frazil.xml_files import number, numbers, read_record, text, time, whole_number, without_namespaces

_IMAGES, _PROCESSING = "imageAttributes", "imageGenerationParameters"
_LIFE = {"RADARSAT-2": np.datetime64("2007-12-14"), "RADARSAT Constellation": np.datetime64("2019-06-12")}
_LAST = np.datetime64("2045-01-01")
_LONGEST_S = 3600.0  # of an image
_MOST_PIXELS, _MOST_TIES = 200_000, 100_000
_SPACING_M = 0.2, 500.0
_INCIDENCE = 5.0, 70.0  # degrees; the beams lie between 10 and 60
_HEIGHT_M = 10_000.0
_NOISE_DB = -80.0, 20.0
POLARIZATIONS = ("HH", "VV", "HV", "VH")  #: co-polarised first, as they are listed
_ON_MAPS = ("SSG", "SPG", "GCC", "GCD")  # product types
_COMPACT = ("CH", "CV", "XC")  # circular in transmission, or received so


@dataclass(frozen=True, kw_only=True)
class Levels:
    """A table over some pixels of a line.

    Attributes:
        pixel: positions, as the table counts them.
        value: at them.
    """

    pixel: np.ndarray
    value: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Ties:
    """Tie points on a grid: `line` and `pixel` one-dimensional, the others (tie_line, tie_pixel).

    Degrees on WGS 84, and metres above it.
    """

    line: np.ndarray
    pixel: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    height: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What ``product.xml`` says.

    Attributes:
        sensor: ``"RADARSAT-2"`` or ``"RADARSAT Constellation"``.
        mission: ``"RS2"``, ``"RCM1"`` …
        product_id, product_type, beam_mode, orbit_pass: its own words.
        sample_type: ``"Magnitude Detected"``, ``"Complex"`` …
        polarizations: of the images, co-polarised first.
        images: polarisation -> file of the image, below the product folder.
        sigma_tables, beta_tables: polarisation -> file of the look-up table, likewise.
        angle_table: file of the incidence angles, or None where a ratio of tables tells them.
        noise_tables: polarisation -> file of the noise, where it has files of its own.
        noise: NESZ in dB, where it stands in ``product.xml`` itself: one for all polarisations.
        noise_removed: whether the processor has subtracted it.
        shape: lines, pixels.
        azimuth_spacing_m, range_spacing_m: on the ground, between lines and pixels.
        first_line_time, last_line_time: zero Doppler, UTC; the last line may be the earlier one.
        far_range_first: whether pixels count from far range inwards.
        incidence: degrees at near and at far range.
        ties: geolocation.
        copyright: the line of the product's owner.
    """

    sensor: str
    mission: str
    product_id: str
    product_type: str
    beam_mode: str
    orbit_pass: str
    sample_type: str
    polarizations: tuple[str, ...]
    images: Mapping[str, str]
    sigma_tables: Mapping[str, str]
    beta_tables: Mapping[str, str] = field(default_factory=dict)
    angle_table: str | None = None
    noise_tables: Mapping[str, str] = field(default_factory=dict)
    noise: Levels | None = None
    noise_removed: bool
    shape: tuple[int, int]
    azimuth_spacing_m: float
    range_spacing_m: float
    first_line_time: np.datetime64
    last_line_time: np.datetime64
    far_range_first: bool
    incidence: tuple[float, float]
    ties: Ties
    copyright: str

    @property
    def start_time(self) -> np.datetime64:
        """Of the earlier of the first and last line."""
        return min(self.first_line_time, self.last_line_time)

    @property
    def stop_time(self) -> np.datetime64:
        """Of the later one."""
        return max(self.first_line_time, self.last_line_time)


def parse_radarsat2(data: bytes, name: str) -> Annotation:
    """The annotation of a RADARSAT-2 product.

    Raises:
        ProductError: broken, hostile, or not what the format asks. UnsupportedProductError: a map-projected product.
    """
    return read_record(_radarsat2, data, name, "RADARSAT-2 file")


def parse_constellation(data: bytes, name: str) -> Annotation:
    """The annotation of a RADARSAT Constellation product.

    Raises:
        ProductError: broken, hostile, or not what the format asks. UnsupportedProductError: compact polarimetry, or
            an image for each burst.
    """
    return read_record(_constellation, data, name, "RADARSAT Constellation file")


def levels(element: ET.Element, count: str) -> Levels:
    """The noise of an element: values in dB every so many pixels, in either direction.

    Args:
        element: with pixelFirstNoiseValue, stepSize and noiseLevelValues.
        count: the name of the element that says how many values there are.
    """
    value = numbers(element, "noiseLevelValues")
    if ((value < _NOISE_DB[0]) | (value > _NOISE_DB[1])).any():
        raise ValueError(f"element <noiseLevelValues> leaves {_NOISE_DB[0]:g} … {_NOISE_DB[1]:g} dB")
    return Levels(pixel=positions(element, "pixelFirstNoiseValue", count, value.size), value=value)


def positions(element: ET.Element, first: str, count: str, found: int) -> np.ndarray:
    """The pixels of a table that begins somewhere and has a step, which is negative where pixels count inwards."""
    step, start, n = whole_number(element, "stepSize"), whole_number(element, first), whole_number(element, count)
    if n != found or n < 1 or step == 0:
        raise ValueError(f"element <{count}> is {n} and <stepSize> {step}, but there are {found} values")
    if max(abs(start), abs(start + step * (n - 1))) > 2 * _MOST_PIXELS:
        raise ValueError(f"elements <{first}> and <stepSize> lead out of every image ({start}, {step})")
    return np.arange(n, dtype=np.float64) * step + start


def _radarsat2(root: ET.Element) -> Annotation:
    _expect(without_namespaces(root), "product")
    source, image = _below(root, "sourceAttributes"), _below(root, _IMAGES)
    if text(source, "satellite").upper().replace("_", "-") not in ("RADARSAT-2", "RADARSAT2", "RS2"):
        raise ValueError(f"element <satellite> is {text(source, 'satellite')[:30]!r}")
    raster = _below(image, "rasterAttributes")
    geography = _below(image, "geographicInformation")
    _refuse_map(root, geography, "RADARSAT-2", "SGF, SGX, SCN or SCW")
    processing = _below(root, f"{_PROCESSING}/sarProcessingInformation")
    images = {_pole(e): _beside(e) for e in image.findall("fullResolutionImageData")}
    tables = {e.get("incidenceAngleCorrection", ""): _beside(e) for e in image.findall("lookupTable")}
    noise = source.find("radarParameters/referenceNoiseLevel[@incidenceAngleCorrection='Sigma Nought']")
    return Annotation(
        sensor="RADARSAT-2",
        mission="RS2",
        sample_type=text(raster, "dataType"),
        images=images,
        sigma_tables=dict.fromkeys(images, tables["Sigma Nought"]) if "Sigma Nought" in tables else {},
        beta_tables=dict.fromkeys(images, tables["Beta Nought"]) if "Beta Nought" in tables else {},
        noise=None if noise is None else levels(noise, "numberOfNoiseLevelValues"),
        shape=_shape(raster, "numberOfLines", "numberOfSamplesPerLine"),
        incidence=_incidence(processing, "incidenceAngleNearRange", "incidenceAngleFarRange"),
        **_common(root, "RADARSAT-2", images, raster, geography),  # type: ignore[arg-type]
    )


def _constellation(root: ET.Element) -> Annotation:
    _expect(without_namespaces(root), "product")
    satellite = re.fullmatch(r"RCM-?([1-9])", text(root, "sourceAttributes/satellite"))
    if satellite is None:
        raise ValueError(f"element <satellite> is {text(root, 'sourceAttributes/satellite')[:30]!r}")
    reference = _below(root, "imageReferenceAttributes")
    raster, geography = _below(reference, "rasterAttributes"), _below(reference, "geographicInformation")
    _refuse_map(root, geography, "RADARSAT Constellation", "GRD")
    scenes = root.findall("sceneAttributes/imageAttributes")
    if len(scenes) != 1:
        raise UnsupportedProductError(
            f"This RADARSAT Constellation product holds {len(scenes)} images, one for each beam and burst, which "
            "frazil does not assemble. Take the GRD product."
        )
    scene = scenes[0]
    images = {_pole(e): _beside(e, "imagery") for e in scene.findall("ipdf")}
    tables = reference.findall("lookupTableFileName")
    calibration = "metadata/calibration"
    return Annotation(
        sensor="RADARSAT Constellation",
        mission=f"RCM{satellite[1]}",
        sample_type=text(raster, "sampleType"),
        images=images,
        sigma_tables={
            _pole(e): _beside(e, calibration) for e in tables if e.get("sarCalibrationType") == "Sigma Nought"
        },
        angle_table=_beside(_below(reference, "incidenceAngleFileName"), calibration),
        noise_tables={_pole(e): _beside(e, calibration) for e in reference.findall("noiseLevelFileName")},
        shape=_shape(scene, "numLines", "samplesPerLine"),
        incidence=_incidence(scene, "incAngNearRng", "incAngFarRng"),
        **_common(root, "RADARSAT Constellation", images, raster, geography),  # type: ignore[arg-type]
    )


def _common(
    root: ET.Element, sensor: str, images: Mapping[str, str], raster: ET.Element, geography: ET.Element
) -> dict[str, object]:
    """What both formats say in the same words."""
    if not images:
        raise ValueError("no image is named")
    compact = [p for p in images if p in _COMPACT]
    if compact:
        raise UnsupportedProductError(
            f"This {sensor} product is of compact polarimetry ({', '.join(images)}), and frazil maps from HH, HV, VV "
            "and VH. Take a product of linear polarisations."
        )
    strange = [p for p in images if p not in POLARIZATIONS]
    if strange:
        raise ValueError(f"polarisation {strange[0][:10]!r} is not one of {POLARIZATIONS}")
    processing = _below(root, f"{_PROCESSING}/sarProcessingInformation")
    times = [time(processing, f"zeroDopplerTime{which}Line") for which in ("First", "Last")]
    if min(times) < _LIFE[sensor] or max(times) > _LAST:
        raise ValueError(f"its times ({times[0]}) lie outside the life of {sensor}")
    if not 0 < abs((times[1] - times[0]) / np.timedelta64(1, "s")) <= _LONGEST_S:
        raise ValueError(f"its first and last line are of {times[0]} and {times[1]}")
    source = _below(root, "sourceAttributes")
    general = _below(root, f"{_PROCESSING}/generalProcessingInformation")
    return {
        "product_id": text(root, "productId"),
        "product_type": text(general, "productType"),
        "beam_mode": text(source, "beamModeMnemonic"),
        "orbit_pass": text(source, "orbitAndAttitude/orbitInformation/passDirection"),
        "polarizations": tuple(p for p in POLARIZATIONS if p in images),
        "noise_removed": (processing.findtext("noiseSubtractionPerformed") or "").strip().lower() == "true",
        "azimuth_spacing_m": number(raster, "sampledLineSpacing", *_SPACING_M),
        "range_spacing_m": number(raster, "sampledPixelSpacing", *_SPACING_M),
        "first_line_time": times[0],
        "last_line_time": times[1],
        "far_range_first": _ordering(raster, "pixelTimeOrdering"),
        "ties": _ties(_below(geography, "geolocationGrid")),
        "copyright": " ".join(root.get("copyright", "").split())[:300],
    }


def _refuse_map(root: ET.Element, geography: ET.Element, sensor: str, instead: str) -> None:
    kind = root.findtext(f"{_PROCESSING}/generalProcessingInformation/productType") or ""
    if geography.find("mapProjection") is not None or kind.strip() in _ON_MAPS:
        raise UnsupportedProductError(
            f"This {sensor} product is projected to a map, and frazil needs the radar's own geometry. Take the product "
            f"in it ({instead})."
        )


def _expect(root: ET.Element, tag: str) -> None:
    if root.tag != tag:
        raise ValueError(f"its root is <{root.tag[:40]}>, not <{tag}>")


def _below(element: ET.Element, path: str) -> ET.Element:
    found = element.find(path)
    if found is None:
        raise ValueError(f"element <{path}> of <{element.tag}> is missing")
    return found


def _pole(element: ET.Element) -> str:
    return element.get("pole", "").strip().upper()


def _beside(element: ET.Element, folder: str = "") -> str:
    """The file that an element names, below the product folder; it must lie where such files lie."""
    said = text(element, ".").replace("\\", "/").removeprefix("../").removeprefix(f"{folder}/")
    if not re.fullmatch(r"[\w.+-]{1,200}", said) or said in (".", ".."):
        raise ValueError(f"element <{element.tag}> names the file {said[:60]!r}, which lies elsewhere")
    return f"{folder}/{said}".removeprefix("/")


def _shape(element: ET.Element, lines: str, pixels: str) -> tuple[int, int]:
    shape = whole_number(element, lines), whole_number(element, pixels)
    if not all(2 <= n <= _MOST_PIXELS for n in shape):
        raise ValueError(f"elements <{lines}> and <{pixels}> are {shape}")
    return shape


def _incidence(element: ET.Element, near: str, far: str) -> tuple[float, float]:
    found = number(element, near, *_INCIDENCE), number(element, far, *_INCIDENCE)
    if found[0] >= found[1]:
        raise ValueError(f"elements <{near}> and <{far}> are {found}")
    return found


def _ordering(raster: ET.Element, name: str) -> bool:
    """Whether time runs against the image."""
    said = text(raster, name).lower()
    if said not in ("increasing", "decreasing"):
        raise ValueError(f"element <{name}> is {said[:30]!r}")
    return said == "decreasing"


def _ties(grid: ET.Element) -> Ties:
    points = grid.findall("imageTiePoint")
    if not 4 <= len(points) <= _MOST_TIES:
        raise ValueError(f"element <geolocationGrid> has {len(points)} tie points")
    place, geodetic = "imageCoordinate", "geodeticCoordinate"
    most = float(_MOST_PIXELS)
    table = np.array(
        [
            (
                round(number(p, f"{place}/line", -1.0, most), 3),
                round(number(p, f"{place}/pixel", -1.0, most), 3),
                number(p, f"{geodetic}/latitude", -90.0, 90.0),
                number(p, f"{geodetic}/longitude", -180.0, 360.0),
                number(p, f"{geodetic}/height", -_HEIGHT_M, _HEIGHT_M),
            )
            for p in points
        ]
    )
    line, row = np.unique(table[:, 0], return_inverse=True)
    pixel, column = np.unique(table[:, 1], return_inverse=True)
    if line.size * pixel.size != len(points) or np.unique(row * pixel.size + column).size != len(points):
        raise ValueError(f"{len(points)} tie points are no grid of {line.size} lines and {pixel.size} pixels")
    if min(line.size, pixel.size) < 2:
        raise ValueError("the tie points lie on one line or pixel")
    planes = np.empty((3, line.size, pixel.size))
    planes[:, row, column] = table[:, 2:].T
    planes[1] = (planes[1] + 180.0) % 360.0 - 180.0
    return Ties(line=line, pixel=pixel, latitude=planes[0], longitude=planes[1], height=planes[2])
