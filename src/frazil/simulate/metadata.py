"""The XML of a simulated product: a real product's files with new dates and names, cut to a window if asked for.

Everything that is not edited stays as the processor wrote it: orbit, attitude, antenna patterns, Doppler. A cut product
is as consistent as a whole one (size, times, swath bounds, tie points, calibration and noise vectors, noise blocks).

A product can be moved along its parallel: the Earth turns under the orbit. On an ellipsoid of revolution that changes
longitudes, and the axes of Earth-fixed orbit vectors, and nothing else; attitude stays, since it is told in an inertial
frame. Only the local time of day does not fit the longitude any more.

References:
    S1-RS-MDA-52-7441 (Sentinel-1 Product Specification), sections 3.1 (names, manifest) and 3.2 to 3.4 (XML files).
"""

from __future__ import annotations

import copy
import hashlib
import re
import xml.etree.ElementTree as ET  # serialising only; defusedxml does the parsing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from defusedxml.ElementTree import fromstring
from scipy.interpolate import RectBivariateSpline

from frazil.errors import ProductError
from frazil.scene.geolocation import Geolocation
from frazil.sentinel1.annotation import Annotation
from frazil.sentinel1.product import Band, Product

_GRID = "geolocationGrid/geolocationGridPointList"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a simulated product takes of its template.

    Attributes:
        first_line, first_pixel: of the window, in the template's image.
        n_lines, n_pixels: size of the window.
        days: added to every date.
        code: the four hexadecimal digits that end the product's name.
        turn_deg: added to every longitude; a product that is moved lies at sea level.
    """

    first_line: int
    first_pixel: int
    n_lines: int
    n_pixels: int
    days: int
    code: str
    turn_deg: float = 0.0

    def is_whole(self, annotation: Annotation) -> bool:
        """Whether the window is the whole image, where it is."""
        return (self.n_lines, self.n_pixels) == (annotation.n_lines, annotation.n_pixels) and self.turn_deg == 0


def product_name(product: Product, cut: Cut) -> str:
    """The name of the cut product, by ESA's rule, without ``.SAFE``."""
    h = product.bands[0].header
    match = re.match(r"(S1[A-D]_\w\w_\w{4}_1S\w\w)_", product.name)
    prefix = match.group(1) if match else f"{h.mission}_{h.mode}_GRD{'M' if h.mode == 'EW' else 'H'}_1SDH"
    start, stop = (_compact(t).upper() for t in _period(product.bands[0].annotation, cut))
    return f"{prefix}_{start}_{stop}_{h.orbit:06d}_{h.data_take:06X}_{cut.code}"


def band_stem(band: Band, cut: Cut) -> str:
    """The stem of an image's files, by ESA's rule."""
    h = band.header
    start, stop = (_compact(t) for t in _period(band.annotation, cut))
    return (
        f"{h.mission}-{h.swath}-grd-{h.polarization}-{start}-{stop}-{h.orbit:06d}-{h.data_take:06x}-{int(h.image_number):03d}"
    ).lower()


def _period(a: Annotation, cut: Cut) -> tuple[np.datetime64, np.datetime64]:
    shift = np.timedelta64(cut.days, "D")
    if cut.is_whole(a):
        return a.header.start_time + shift, a.header.stop_time + shift
    return _line_time(a, cut.first_line) + shift, _line_time(a, cut.first_line + cut.n_lines - 1) + shift


def _compact(time: np.datetime64) -> str:
    return str(time.astype("datetime64[s]")).replace("-", "").replace(":", "").lower()


def _line_time(a: Annotation, line: float) -> np.datetime64:
    return a.first_line_time + np.timedelta64(round(line * a.azimuth_time_interval_s * 1e6), "us")


def _iso(time: np.datetime64) -> str:
    return str(time.astype("datetime64[us]"))


def band_files(band: Band, cut: Cut) -> dict[str, bytes]:
    """Annotation, calibration and noise XML of one image: path in the product -> bytes."""
    stem, old = band_stem(band, cut), band.stem
    whole = cut.is_whole(band.annotation)
    files = {}
    for target, source, edit in (
        (f"annotation/{stem}.xml", f"annotation/{old}.xml", _cut_annotation),
        (
            f"annotation/calibration/calibration-{stem}.xml",
            f"annotation/calibration/calibration-{old}.xml",
            _cut_calibration,
        ),
        (f"annotation/calibration/noise-{stem}.xml", f"annotation/calibration/noise-{old}.xml", _cut_noise),
    ):
        data = band.product.read(source)
        if not whole:
            root = fromstring(data, forbid_dtd=True)
            a = band.annotation
            _set(root, "adsHeader/startTime", _iso(_line_time(a, cut.first_line)))
            _set(root, "adsHeader/stopTime", _iso(_line_time(a, cut.first_line + cut.n_lines - 1)))
            edit(root, a, cut)
            data = _serialise(root)
        files[target] = shift_dates(data, cut.days)
    return files


def shift_dates(data: bytes, days: int) -> bytes:
    """XML with a number of days added to every date of a date and time."""

    def moved(match: re.Match[bytes]) -> bytes:
        return str(np.datetime64(match.group(1).decode()) + np.timedelta64(days, "D")).encode() + b"T"

    return re.sub(rb"(\d{4}-\d\d-\d\d)T(?=\d\d:)", moved, data) if days else data


def with_statistics(data: bytes, mean: float, deviation: float) -> bytes:
    """Annotation XML with the mean and standard deviation of the digital numbers."""
    root = fromstring(data, forbid_dtd=True)
    for statistics in root.iter("imageStatistics"):
        for name, value in (("outputDataMean", mean), ("outputDataStdDev", deviation)):
            _set(statistics, f"{name}/re", f"{value:.6e}")
            _set(statistics, f"{name}/im", f"{0.0:.6e}")
    return _serialise(root)


def _serialise(root: ET.Element) -> bytes:
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True))


def _set(root: ET.Element, path: str, value: object) -> None:
    element = root.find(path)
    if element is not None:
        element.text = str(value)


def _listed(parent: ET.Element, children: list[ET.Element]) -> None:
    """Replace the children of a list element and its count."""
    parent[:] = children
    parent.set("count", str(len(children)))


def _child(parent: ET.Element, tag: str, text: object, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = str(text)
    return element


def _cut_annotation(root: ET.Element, a: Annotation, cut: Cut) -> None:
    image = root.find("imageAnnotation/imageInformation")
    grid = root.find(_GRID)
    if image is None or grid is None:
        raise ProductError("The template's annotation has no image information or geolocation grid.")
    for name, line in (("First", cut.first_line), ("Last", cut.first_line + cut.n_lines - 1)):
        _set(image, f"product{name}LineUtcTime", _iso(_line_time(a, line)))
    _set(image, "numberOfLines", cut.n_lines)
    _set(image, "numberOfSamples", cut.n_pixels)
    for conversion in root.iter("coordinateConversion"):
        # Ground range starts at the first pixel of the window now.
        origin = float(conversion.findtext("gr0") or 0) - cut.first_pixel * a.range_spacing_m
        _set(conversion, "gr0", f"{origin:.15e}")
    if cut.turn_deg:
        _turn_orbit(root, cut.turn_deg)
        for height in root.iterfind("generalAnnotation/terrainHeightList/terrainHeight/value"):
            height.text = f"{0.0:.15e}"
    slant = _cut_ties(grid, a, cut)
    _set(image, "slantRangeTime", f"{slant:.15e}")
    merges = root.find("swathMerging/swathMergeList")
    if merges is not None:
        kept = []
        for merge in merges:
            bounds = merge.find("swathBoundsList")
            if bounds is not None:
                _listed(bounds, [b for b in bounds if _cut_bounds(b, a, cut)])
                if len(bounds):
                    kept.append(merge)
        _listed(merges, kept)


def _turn_orbit(root: ET.Element, turn_deg: float) -> None:
    """Turn Earth-fixed positions and velocities about the axis of the Earth."""
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    for orbit in root.iterfind("generalAnnotation/orbitList/orbit"):
        for name in ("position", "velocity"):
            x, y = (float(orbit.findtext(f"{name}/{axis}") or "nan") for axis in "xy")
            _set(orbit, f"{name}/x", f"{x * cos - y * sin:.15e}")
            _set(orbit, f"{name}/y", f"{x * sin + y * cos:.15e}")


def _cut_bounds(element: ET.Element, a: Annotation, cut: Cut) -> bool:
    """Clip the box of a swath or noise block to the window, in place; False if nothing is left."""
    box: dict[str, int] = {}
    for name, origin, size in (
        ("AzimuthLine", cut.first_line, cut.n_lines),
        ("RangeSample", cut.first_pixel, cut.n_pixels),
    ):
        first = max(int(element.findtext(f"first{name}") or 0) - origin, 0)
        last = min(int(element.findtext(f"last{name}") or 0) - origin, size - 1)
        if last < first:
            return False
        box |= {f"first{name}": first, f"last{name}": last}
    for tag, value in box.items():
        _set(element, tag, value)
    _set(element, "azimuthTime", _iso(_line_time(a, cut.first_line + box["firstAzimuthLine"])))
    return True


def _cut_ties(grid: ET.Element, a: Annotation, cut: Cut) -> float:
    """A new geolocation grid over the window, at sea level; the slant range time of its first point."""
    old = {
        (int(p.findtext("line") or 0), int(p.findtext("pixel") or 0)): float(p.findtext("slantRangeTime") or 0)
        for p in grid
    }
    ties = a.ties
    slant = np.array([[old[int(y), int(x)] for x in ties.pixel] for y in ties.line])
    rows = np.unique(np.rint(np.linspace(0, cut.n_lines - 1, max(4, cut.n_lines // 525 + 1))).astype(int))
    columns = np.unique(np.rint(np.linspace(0, cut.n_pixels - 1, max(4, cut.n_pixels // 525 + 1))).astype(int))
    at = rows + cut.first_line, columns + cut.first_pixel
    lon, lat = Geolocation.of_ties(ties).lonlat(at[0][:, None], at[1][None, :])
    lon = (lon + cut.turn_deg + 180) % 360 - 180
    order = {"kx": min(3, ties.line.size - 1), "ky": min(3, ties.pixel.size - 1)}
    incidence, elevation, time = (
        RectBivariateSpline(ties.line, ties.pixel, values, **order)(*at)
        for values in (ties.incidence_angle, ties.elevation_angle, slant)
    )
    points = []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            point = ET.Element("geolocationGridPoint")
            _child(point, "azimuthTime", _iso(_line_time(a, cut.first_line + row)))
            _child(point, "slantRangeTime", f"{time[i, j]:.15e}")
            _child(point, "line", row)
            _child(point, "pixel", column)
            for tag, value in (("latitude", lat), ("longitude", lon)):
                _child(point, tag, f"{value[i, j]:.15e}")
            _child(point, "height", f"{0.0:.15e}")
            for tag, value in (("incidenceAngle", incidence), ("elevationAngle", elevation)):
                _child(point, tag, f"{value[i, j]:.15e}")
            points.append(point)
    _listed(grid, points)
    return float(time[0, 0])


def _numbers(element: ET.Element, tag: str) -> np.ndarray:
    return np.array((element.findtext(tag) or "").split(), dtype=float)


def _write_numbers(element: ET.Element, tag: str, values: np.ndarray, form: str) -> None:
    child = element.find(tag)
    if child is not None:
        child.text = " ".join(format(v, form) for v in values)
        child.set("count", str(len(values)))


def _cut_pixels(element: ET.Element, tags: tuple[str, ...], cut: Cut, *, zero_is_missing: bool) -> None:
    """Clip the look-up tables of a vector to the window's columns; a point stands on each border."""
    pixel = _numbers(element, "pixel") - cut.first_pixel
    last = cut.n_pixels - 1
    new = np.unique(np.concatenate([[0.0], pixel[(pixel > 0) & (pixel < last)], [float(last)]]))
    for tag in tags:
        values = _numbers(element, tag)
        good = values > 0 if zero_is_missing else np.ones(values.size, bool)
        out = np.interp(new, pixel[good], values[good]) if good.any() else np.zeros(new.size)
        if zero_is_missing:
            nearest = np.abs(pixel[:, None] - new[None, :]).argmin(axis=0)
            out = np.where(good[nearest], out, 0.0)
        _write_numbers(element, tag, out, ".6e")
    _write_numbers(element, "pixel", new.astype(int), "d")


def _cut_vectors(parent: ET.Element, a: Annotation, cut: Cut, tags: tuple[str, ...], *, zero_is_missing: bool) -> None:
    """Keep the vectors inside the window; the nearest ones outside move to its first and last line."""
    last = cut.n_lines - 1
    vectors = [(int(v.findtext("line") or 0) - cut.first_line, v) for v in parent]
    inside = [(line, v) for line, v in vectors if 0 <= line <= last]
    if not any(line == 0 for line, _ in inside):
        before = [(line, v) for line, v in vectors if line < 0]
        chosen = max(before, key=lambda item: item[0]) if before else min(vectors, key=lambda item: item[0])
        inside.insert(0, (0, copy.deepcopy(chosen[1])))
    if not any(line == last for line, _ in inside):
        after = [(line, v) for line, v in vectors if line > last]
        chosen = min(after, key=lambda item: item[0]) if after else max(vectors, key=lambda item: item[0])
        inside.append((last, copy.deepcopy(chosen[1])))
    for line, vector in inside:
        _set(vector, "line", line)
        _set(vector, "azimuthTime", _iso(_line_time(a, cut.first_line + line)))
        _cut_pixels(vector, tags, cut, zero_is_missing=zero_is_missing)
    _listed(parent, [v for _, v in inside])


def _cut_calibration(root: ET.Element, a: Annotation, cut: Cut) -> None:
    parent = root.find("calibrationVectorList")
    if parent is not None:
        _cut_vectors(parent, a, cut, ("sigmaNought", "betaNought", "gamma", "dn"), zero_is_missing=False)


def _cut_noise(root: ET.Element, a: Annotation, cut: Cut) -> None:
    for name, tag in (("noiseRangeVectorList", "noiseRangeLut"), ("noiseVectorList", "noiseLut")):
        parent = root.find(name)
        if parent is not None:
            _cut_vectors(parent, a, cut, (tag,), zero_is_missing=True)
    blocks = root.find("noiseAzimuthVectorList")
    if blocks is None:
        return
    kept = []
    for block in blocks:
        line = _numbers(block, "line") - cut.first_line
        lut = _numbers(block, "noiseAzimuthLut")
        if not _cut_bounds(block, a, cut):
            continue
        first, last = (int(block.findtext(t) or 0) for t in ("firstAzimuthLine", "lastAzimuthLine"))
        new = np.unique(np.concatenate([[first], line[(line > first) & (line < last)], [last]]))
        _write_numbers(block, "noiseAzimuthLut", np.interp(new, line, lut), ".6e")
        _write_numbers(block, "line", new.astype(int), "d")
        kept.append(block)
    _listed(blocks, kept)


def manifest(product: Product, cut: Cut, stems: dict[str, str], files: dict[str, Path], footprint: str | None) -> bytes:
    """The manifest of the new product, from the template's.

    Args:
        product: the template.
        cut: the window.
        stems: old stem of each image -> new stem.
        files: path in the product -> file on disk, already written; their sizes and checksums are entered. What the
            template's manifest names and is not there is left out.
        footprint: ``lat,lon lat,lon …``; None keeps the template's.

    Raises:
        ProductError: the template has no manifest.
    """
    data = product.read("manifest.safe")
    for prefix, uri in re.findall(rb'xmlns:(\w+)="([^"]+)"', data[:4000]):
        ET.register_namespace(prefix.decode(), uri.decode())
    for old, new in stems.items():
        data = data.replace(old.encode(), new.encode())
        data = data.replace(old.replace("-", "").encode(), new.replace("-", "").encode())
    root = fromstring(shift_dates(data, cut.days), forbid_dtd=True)
    parents = {child: parent for parent in root.iter() for child in parent}
    gone = set()
    for item in list(root.iter("dataObject")):
        place, stream = item.find(".//fileLocation"), item.find("byteStream")
        path = files.get(place.get("href", "").removeprefix("./")) if place is not None else None
        if path is None or stream is None:
            gone.add(item.get("ID", ""))
            parents[item].remove(item)
            continue
        stream.set("size", str(path.stat().st_size))
        _set(stream, "checksum", _md5(path))
    for pointer in list(root.iter("dataObjectPointer")):
        if pointer.get("dataObjectID") in gone:
            holder = parents[pointer]
            parents[holder].remove(holder)
    for unit in root.iter():
        if "dmdID" in unit.attrib:
            names = [n for n in unit.get("dmdID", "").split() if n.removesuffix("Annotation") not in gone]
            unit.set("dmdID", " ".join(names))
        tag = unit.tag.rsplit("}", 1)[-1]
        if tag in ("startTime", "stopTime"):
            unit.text = _iso(_period(product.bands[0].annotation, cut)[tag == "stopTime"])
        elif tag == "coordinates" and footprint is not None:
            unit.text = footprint
        elif tag == "transmitterReceiverPolarisation" and not any(
            f"-{str(unit.text).lower()}-" in s for s in stems.values()
        ):
            parents[unit].remove(unit)
    return _serialise(root)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
