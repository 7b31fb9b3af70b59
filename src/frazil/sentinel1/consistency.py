"""Whether the files of a product belong together: what they say of themselves, of each other, and their checksums.

Mixed and damaged products read without an error and give wrong numbers: calibration of another mission is off by 17 dB,
HH and HV swapped by 13 dB, noise of another product by 4 dB. Five things are compared:

- the headers of annotation, calibration and noise with each other, between the images, and with the file names;
- the manifest's orbit and time with the headers, and its sizes and MD5 checksums with the files of the names it gives
  (cloud mirrors rename files: nothing to compare there);
- the files of an image with each other and the manifest: none may be missing;
- the geolocation grid with the size and pixel spacing of the image, the vectors of calibration and noise with its time
  and width;
- the mean of the pixels with the one that the annotation states.

The name of the folder or archive is not: users rename products.

References:
    S1-RS-MDA-52-7441 (Sentinel-1 Product Specification), sections 3.1 (names, manifest) and 3.2.1 (adsHeader).
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from pyproj import Geod

from frazil.errors import ProductError
from frazil.sentinel1.annotation import Annotation, Calibration, Header, Manifest

QUICK_BYTES = 64 * 2**20  #: of a measurement file whose checksum is compared without being asked for

_MIXED = "files of different products are mixed, or damaged. Download the product again."
_ADVICE = 'Download the product again, or pass --check none (check="none") if the change was meant.'
_STEM = re.compile(
    r"(?P<mission>s1[a-z])-(?P<swath>\w+)-\w+-(?P<polarization>[hv]{2})-(?P<start>\d{8}t\d{6})-(?P<stop>\d{8}t\d{6})"
    r"-(?P<orbit>\d{6})-(?P<take>[0-9a-f]{6})-(?P<image>\d{3})(-cog)?",
    re.IGNORECASE,
)
_SHORT_STEM = re.compile(r"(?P<swath>\w+)-(?P<polarization>[hv]{2})(-\w+)*", re.IGNORECASE)
_SLACK_S = 2.0  # of times: file names hold whole seconds
_RATIO = math.log(1.4)  # of a mean of pixels to the annotation's; 64 lines tell it to a few per cent
_SWAP_RATIO = math.log(1.15)  # of means that fit one image by so much better than the other
_ANGLE_ALONG = 1.0  # degrees between tie lines; 0.1 in the products at hand
_VECTOR_SLACK_S = 10.0
_LEAST_POWER = 1e-4  # mean σ0 of an image with its noise in; the noise alone has −31 dB and more
_MOST_POWER = 10.0
_TIE_RATIO = 4.0  # of the distance of neighbouring tie points to that of their pixels; mountains displace them


def check_headers(name: str, found: Header, expected: Header) -> None:
    """Raise unless the header of a calibration or noise file is that of the annotation.

    Raises:
        ProductError: naming the first field that differs.
    """
    for field in fields(Header):
        ours, theirs = getattr(expected, field.name), getattr(found, field.name)
        apart = _apart(ours, theirs) if field.name.endswith("_time") else ours != theirs
        if apart:
            raise ProductError(
                f"{name} is of {field.name.replace('_', ' ')} {theirs}, its annotation of {ours}: {_MIXED}"
            )


def check_name(stem: str, header: Header) -> None:
    """Raise if the file name of an annotation says something else than its header; other names say nothing.

    Raises:
        ProductError: naming both.
    """
    match = _STEM.fullmatch(stem) or _SHORT_STEM.fullmatch(stem)
    if match is None or match["swath"].upper() not in (header.swath, header.mode):
        return
    says = match.groupdict()
    differs = (
        says["polarization"].upper() != header.polarization
        or ("mission" in says and says["mission"].upper() != header.mission)
        or ("image" in says and int(says["image"]) != _number_of(header.image_number))
        or ("orbit" in says and int(says["orbit"]) != header.orbit)
        or ("take" in says and int(says["take"], 16) != header.data_take)
        or ("start" in says and _apart(_time_of(says["start"]), header.start_time))
        or ("stop" in says and _apart(_time_of(says["stop"]), header.stop_time))
    )
    if differs:
        raise ProductError(
            f"annotation/{stem}.xml says it is {header.mission} {header.swath} {header.polarization} of "
            f"{header.start_time}, orbit {header.orbit}, image {header.image_number}, which its name does not: {_MIXED}"
        )


def check_images(headers: Sequence[Header]) -> None:
    """Raise unless the images of a product are of one data take, and none claims what another one is.

    Raises:
        ProductError: naming both images.
    """
    first = headers[0]
    for h in headers:
        for name in ("mission", "mode", "product_type", "orbit", "data_take"):
            if getattr(h, name) != getattr(first, name):
                raise ProductError(
                    f"Images {first.image_number} and {h.image_number} are of {name.replace('_', ' ')} "
                    f"{getattr(first, name)} and {getattr(h, name)}: {_MIXED}"
                )
        if h.swath == first.swath and h.mode != "WV" and _apart(h.start_time, first.start_time):
            raise ProductError(f"Images begin at {first.start_time} and {h.start_time}: {_MIXED}")
    claims: set[tuple[str, ...]] = set()
    for h in headers:
        mine = {("image", h.image_number)} | ({(h.swath, h.polarization)} if h.mode != "WV" else set())
        if mine & claims:
            raise ProductError(f"Two images claim to be {h.swath} {h.polarization}, image {h.image_number}: {_MIXED}")
        claims |= mine


def check_manifest(manifest: Manifest, headers: Sequence[Header]) -> None:
    """Raise if a manifest is of another product.

    Raises:
        ProductError: naming what differs.
    """
    start = min(h.start_time for h in headers)
    if manifest.orbit is not None and manifest.orbit != headers[0].orbit:
        raise ProductError(f"manifest.safe is of orbit {manifest.orbit}, the images of {headers[0].orbit}: {_MIXED}")
    if manifest.start_time is not None and _apart(manifest.start_time, start):
        raise ProductError(f"manifest.safe begins at {manifest.start_time}, the images at {start}: {_MIXED}")


def check_complete(names: Collection[str], manifest: Manifest) -> None:
    """Raise if a metadata file of an image is missing.

    A whole image may: many download one polarisation only. So may noise that no manifest names.

    Args:
        names: the files of the product, below its folder.
        manifest: of the product.

    Raises:
        ProductError: naming the first one.
    """
    for name in sorted(manifest.files.keys() | set(names)):
        match = re.fullmatch(r"annotation/calibration/(calibration|noise)-([^/]+)\.xml", name)
        if match is None:
            continue
        image = f"annotation/{match[2]}.xml"
        missing = image if name in names else name if image in names else None
        if missing is not None and missing not in names:
            raise ProductError(f"{missing} is missing or no regular file, but others of its image are there. {_ADVICE}")


def check_geometry(a: Annotation, name: str) -> None:
    """Raise unless the geolocation grid covers the image and its points lie as far apart as their pixels.

    Raises:
        ProductError: saying what is wrong.
    """
    t = a.ties
    short = max(t.line[0], a.n_lines - 1 - t.line[-1]) > 0.1 * a.n_lines
    if short or max(t.pixel[0], a.n_pixels - 1 - t.pixel[-1]) > 0.1 * a.n_pixels:
        raise ProductError(
            f"{name}: the geolocation grid covers lines {t.line[0]:g} to {t.line[-1]:g} and pixels {t.pixel[0]:g} to "
            f"{t.pixel[-1]:g} of an image of {a.n_lines} × {a.n_pixels}. Download the product again."
        )
    geod = Geod(ellps="WGS84")
    lon, lat = t.longitude, t.latitude
    across = geod.inv(lon[:, :-1], lat[:, :-1], lon[:, 1:], lat[:, 1:])[2]
    along = geod.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2]
    spacing = np.diff(t.pixel) * a.range_spacing_m
    if a.header.product_type == "SLC":  # of slant range
        spacing = spacing / np.sin(np.radians(t.incidence_angle[:, 1:]))
    lines = np.broadcast_to((np.diff(t.line) * a.azimuth_spacing_m)[:, None], along.shape)
    for distance, expected, axis in ((across, np.broadcast_to(spacing, across.shape), 1), (along, lines, 0)):
        # Tie points on land stand where land of their height is seen: h / tan θ away. Some products repeat tie lines.
        land = np.abs(np.diff(t.height, axis=axis)) / np.tan(np.radians(t.incidence_angle.min()))
        most = float((distance / (expected + land + 500.0)).max())
        middle = float(np.median(distance / expected))
        if not 1 / _TIE_RATIO < middle < _TIE_RATIO or most > _TIE_RATIO:
            raise ProductError(
                f"{name}: points of the geolocation grid lie {max(middle, most):.3g} times as far apart as their "
                "pixels. Download the product again."
            )
    steps = np.diff(t.incidence_angle, axis=1)
    if (steps <= 0).any() or np.abs(np.diff(t.incidence_angle, axis=0)).max() > _ANGLE_ALONG:
        raise ProductError(
            f"{name}: incidence angles do not rise with range, or jump along the flight. Download the product again."
        )
    duration = (a.header.stop_time - a.header.start_time) / np.timedelta64(1, "s")
    if a.pixel_value == "Detected" and abs(float(a.time_of(a.n_lines - 1)) - duration) > _SLACK_S:
        raise ProductError(
            f"{name}: {a.n_lines} lines take {float(a.time_of(a.n_lines - 1)):.1f} s, but the image lasts "
            f"{duration:.1f} s. Download the product again."
        )


def check_vectors(a: Annotation, time: np.ndarray, last: np.ndarray, name: str) -> None:
    """Raise unless the vectors of a calibration or noise file lie in time and range where their image does.

    Args:
        a: annotation of the image.
        time: datetime64 of each vector; those of products at hand lie from 0 s before the image to 2 s after it.
        last: last pixel of each vector; of products at hand the last pixel of the image.
        name: of the file.

    Raises:
        ProductError: saying where they lie.
    """
    seconds = (time - a.header.start_time) / np.timedelta64(1, "s")
    duration = (a.header.stop_time - a.header.start_time) / np.timedelta64(1, "s")
    if seconds.min() < -_VECTOR_SLACK_S or seconds.max() > duration + _VECTOR_SLACK_S:
        raise ProductError(
            f"{name}: its vectors are of {seconds.min():.0f} to {seconds.max():.0f} s from the begin of an image of "
            f"{duration:.0f} s: {_MIXED}"
        )
    if abs(float(last.max()) - (a.n_pixels - 1)) > 0.1 * a.n_pixels:
        raise ProductError(
            f"{name}: its vectors end at pixel {last.max():.0f} of an image of {a.n_pixels} pixels: {_MIXED}"
        )


def check_level(a: Annotation, calibration: Calibration, name: str) -> None:
    """Raise if the stated mean of an image, calibrated, is a σ0 that no image has.

    Raises:
        ProductError: saying which.
    """
    if a.mean_dn is None or a.noise_removed:
        return
    power = (a.mean_dn / float(np.median(calibration.sigma_nought))) ** 2
    if not _LEAST_POWER <= power <= _MOST_POWER:
        raise ProductError(
            f"{name}: calibrated, the image has a mean sigma nought of {10 * math.log10(power):.0f} dB, which no image "
            f"has: {_MIXED}"
        )


def check_means(found: dict[str, float], stated: dict[str, float]) -> None:
    """Raise if the pixels of images are not those that their annotations describe.

    Args:
        found: mean digital number by polarisation, of some lines.
        stated: the annotation's, of the same polarisations.

    Raises:
        ProductError: two images are swapped or the same, or one has another mean than stated.
    """
    for one, other in itertools.combinations(found, 2):
        if found[one] == found[other]:
            raise ProductError(f"The measurement files of {one} and {other} hold the same pixels: {_MIXED}")
    off = {p: abs(math.log(found[p] / stated[p])) for p in found}
    for one, other in itertools.combinations(found, 2):
        swapped = abs(math.log(found[one] / stated[other])) + abs(math.log(found[other] / stated[one]))
        if max(off[one], off[other]) > _SWAP_RATIO and swapped + _SWAP_RATIO < off[one] + off[other]:
            raise ProductError(f"The measurement files of {one} and {other} are swapped: {_MIXED}")
    for p, ratio in off.items():
        if ratio > _RATIO:
            raise ProductError(
                f"The pixels of {p} have a mean of {found[p]:.0f}, the annotation says {stated[p]:.0f}: {_MIXED}"
            )


def check_bytes(name: str, product: str, size: int, digest: str, manifest: Manifest) -> None:
    """Raise if a file is not the one of the manifest; files that it does not name pass.

    Raises:
        ProductError: size or MD5 differs.
    """
    if name not in manifest.files:
        return
    expected_size, expected = manifest.files[name]
    if expected_size not in (-1, size):
        raise ProductError(
            f"{name} of {product} has {size} bytes, but {expected_size} in manifest.safe: it is truncated or damaged, "
            f"or was exchanged. {_ADVICE}"
        )
    if digest and expected != digest:
        raise ProductError(
            f"{name} of {product} has another MD5 than in manifest.safe: it is damaged, or was exchanged. {_ADVICE}"
        )


def md5(file: Any) -> str:
    """The MD5, as manifests write it, of bytes or of what an open file holds."""
    if isinstance(file, bytes):
        return hashlib.md5(file, usedforsecurity=False).hexdigest()
    return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _apart(one: np.datetime64, other: np.datetime64) -> bool:
    return bool(abs((one - other) / np.timedelta64(1, "s")) > _SLACK_S)


def _time_of(compact: str) -> np.datetime64:
    d = compact
    try:
        return np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:8]}T{d[9:11]}:{d[11:13]}:{d[13:15]}", "us")
    except ValueError:
        return np.datetime64("1970-01-01", "us")


def _number_of(text: str) -> int:
    return int(text) if text.isdigit() else -1
