"""Calibration of RADARSAT images: gains, incidence angles and noise for each pixel of a line.

Detected images are calibrated by σ0 = (DN² + B) / A(pixel), with the offset B and the gains A of the look-up table of
σ0; β0 likewise with its own table. Since σ0 = β0 sin θ, the incidence angle of RADARSAT-2 is asin(A_β / A_σ), which
needs no model of orbit and Earth; it is checked against what ``product.xml`` says of near and far range. Products of
the Constellation have a table of angles.

A table of RADARSAT-2 has a gain for each pixel and does not say from which end it counts; that θ grows with range
tells it. Tables of the Constellation say which pixel is the first and how far it is to the next.

References:
    MDA, RADARSAT-2 Product Format Definition, RN-RP-51-2713: look-up tables, referenceNoiseLevel.
    CSA, RADARSAT Constellation Mission Product Specification, RCM-SP-53-0419: lut, incidenceAngles, noiseLevels.
    Raney, R. K., et al. (1994), A plea for radar brightness. IGARSS: β0 and σ0.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np

from frazil.errors import ProductError
from frazil.radarsat.annotation import Annotation, Levels, levels, positions
from frazil.xml_files import number, numbers, read_record, text, without_namespaces

_GAIN = 1e-6, 1e15
_ANGLE = 2.0, 80.0  # degrees
_ANGLE_ERROR = 1.0  # degree, between tables and product.xml: beams differ by more, rounding by less
_MIXED = "files of different products are mixed, or damaged. Download the product again."


@dataclass(frozen=True, kw_only=True)
class Table:
    """A look-up table as its file has it.

    Attributes:
        offset: B.
        gain: A.
        pixel: of each gain; None where there is one for each pixel of a line.
    """

    offset: float
    gain: np.ndarray
    pixel: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The calibration of one polarisation, float64 for each pixel of a line.

    Attributes:
        offset: B.
        gain: A of σ0.
        incidence_angle: degrees.
        nesz: linear power; NaN where the product does not say.
    """

    offset: float
    gain: np.ndarray
    incidence_angle: np.ndarray
    nesz: np.ndarray

    def sigma0(self, dn: np.ndarray, *, denoise: bool) -> np.ndarray:
        """σ0 of full-width lines of digital numbers: float32 (line, pixel), NaN where not observed.

        Lines are filled with zeros on both sides of what was observed; zeros in between are dark.
        """
        lit = dn > 0
        seen = np.logical_or.accumulate(lit, axis=1)
        seen &= np.logical_or.accumulate(lit[:, ::-1], axis=1)[:, ::-1]
        known = np.isfinite(self.nesz) if denoise else np.zeros(self.gain.shape, bool)
        power = dn.astype(np.float64)
        power *= power
        power += self.offset
        power /= self.gain
        power -= np.where(known, self.nesz, 0.0)
        power[~seen] = np.nan
        return power.astype(np.float32)


def parse_table(data: bytes, name: str) -> Table:
    """A look-up table of gains of either format.

    Raises:
        ProductError: broken, hostile, or with gains that cannot be.
    """
    return read_record(_table, data, name, "RADARSAT look-up table")


def parse_angles(data: bytes, name: str) -> Levels:
    """``incidenceAngles.xml`` of the Constellation.

    Raises:
        ProductError: broken, hostile, or with angles that cannot be.
    """
    return read_record(_angles, data, name, "RADARSAT table of incidence angles")


def parse_noise(data: bytes, name: str) -> Levels | None:
    """``noiseLevels_….xml`` of the Constellation: NESZ in dB; None where it tells none for the image as a whole.

    Raises:
        ProductError: broken, hostile, or with levels that cannot be.
    """
    return read_record(_noise, data, name, "RADARSAT table of noise levels")


def radarsat2_profile(a: Annotation, sigma: Table, beta: Table, names: tuple[str, str]) -> Profile:
    """The calibration of an image of RADARSAT-2.

    Args:
        a: its annotation.
        sigma: look-up table of σ0.
        beta: look-up table of β0.
        names: of their files.

    Raises:
        ProductError: tables of another length than the image, or of angles that ``product.xml`` does not tell.
    """
    n = a.shape[1]
    for table, name in zip((sigma, beta), names, strict=True):
        if table.gain.size != n:
            raise ProductError(f"{name} has {table.gain.size} gains, but the image has {n} pixels a line: {_MIXED}")
    ratio = beta.gain / sigma.gain
    if not ((ratio > 0) & (ratio < 1)).all():
        raise ProductError(f"{names[1]} and {names[0]} tell no angle, for sin θ = A_β / A_σ leaves 0 … 1: {_MIXED}")
    angle = np.degrees(np.arcsin(ratio))
    # Far range first: a table whose angles fall is in the order of the image, one whose angles grow in that of time.
    turned = bool(a.far_range_first and angle[-1] > angle[0])
    gain, angle = (sigma.gain[::-1], angle[::-1]) if turned else (sigma.gain, angle)
    check_angles(a, angle, f"{names[0]} and {names[1]}")
    noise = a.noise
    if noise is not None and turned and noise.pixel[-1] > noise.pixel[0]:
        noise = Levels(pixel=n - 1 - noise.pixel, value=noise.value)  # counted as the gains are
    return Profile(offset=sigma.offset, gain=gain, incidence_angle=angle, nesz=_nesz(noise, n))


def constellation_profile(a: Annotation, sigma: Table, angles: Levels, noise: Levels | None, name: str) -> Profile:
    """The calibration of an image of the Constellation.

    Args:
        a: its annotation.
        sigma: look-up table.
        angles: degrees.
        noise: NESZ, dB.
        name: of the file of the look-up table.

    Raises:
        ProductError: tables that do not cover the image, or of angles that ``product.xml`` does not tell.
    """
    n = a.shape[1]
    if sigma.pixel is None:
        raise ProductError(f"{name} does not say which pixels its gains are of: {_MIXED}")
    gain = _spread(Levels(pixel=sigma.pixel, value=sigma.gain), n, name)
    angle = _spread(angles, n, str(a.angle_table))
    check_angles(a, angle, str(a.angle_table))
    return Profile(offset=sigma.offset, gain=gain, incidence_angle=angle, nesz=_nesz(noise, n))


def check_angles(a: Annotation, angle: np.ndarray, name: str) -> None:
    """Refuse incidence angles that do not grow with range from near to far as ``product.xml`` tells them.

    Raises:
        ProductError: they do not.
    """
    near, far = (angle[-1], angle[0]) if a.far_range_first else (angle[0], angle[-1])
    if max(abs(near - a.incidence[0]), abs(far - a.incidence[1])) > _ANGLE_ERROR:
        raise ProductError(
            f"{name} tell incidence angles from {near:.2f}° at near range to {far:.2f}° at far range, but product.xml "
            f"{a.incidence[0]:.2f}° and {a.incidence[1]:.2f}°: {_MIXED}"
        )
    growth = np.diff(angle) * (-1 if a.far_range_first else 1)
    if growth.size and growth.min() < -_ANGLE_ERROR:
        at = int(growth.argmin())
        raise ProductError(
            f"{name} tell incidence angles of {angle[at]:.2f}° and {angle[at + 1]:.2f}° at pixels {at} and {at + 1}, "
            f"but angles grow with range: {_MIXED}"
        )


def _table(root: ET.Element) -> Table:
    without_namespaces(root)
    if root.tag != "lut":
        raise ValueError(f"its root is <{root.tag[:40]}>, not <lut>")
    gain = numbers(root, "gains")
    if ((gain < _GAIN[0]) | (gain > _GAIN[1])).any():
        raise ValueError(f"element <gains> leaves {_GAIN[0]:g} … {_GAIN[1]:g}")
    pixel = None
    if root.find("stepSize") is not None:
        first = "pixelFirstLutValue" if root.find("pixelFirstLutValue") is not None else "pixelFirstAnglesValue"
        pixel = positions(root, first, "numberOfValues", gain.size)
    return Table(offset=number(root, "offset", -1e12, 1e12), gain=gain, pixel=pixel)


def _angles(root: ET.Element) -> Levels:
    without_namespaces(root)
    words = " ".join(text(e, ".") for e in root.findall("angles")).split()
    value = np.array(words, np.float64)
    if not value.size or not ((value > _ANGLE[0]) & (value < _ANGLE[1])).all():
        raise ValueError(f"elements <angles> leave {_ANGLE[0]:g} … {_ANGLE[1]:g} degrees, or there is none")
    return Levels(pixel=positions(root, "pixelFirstAnglesValue", "numberOfValues", value.size), value=value)


def _noise(root: ET.Element) -> Levels | None:
    without_namespaces(root)
    found = [e for e in root.findall("referenceNoiseLevel") if text(e, "sarCalibrationType") == "Sigma Nought"]
    return levels(found[0], "numberOfValues") if found else None


def _spread(table: Levels, n: int, name: str) -> np.ndarray:
    """A table at every pixel of a line, linear between its own."""
    order = np.argsort(table.pixel)
    pixel, value = table.pixel[order], table.value[order]
    step = np.diff(pixel).max(initial=1.0)
    if pixel[0] >= step or pixel[-1] <= n - 1 - step:
        raise ProductError(
            f"{name} is of pixels {pixel[0]:.0f} to {pixel[-1]:.0f}, but the image has pixels 0 to {n - 1}: {_MIXED}"
        )
    return np.interp(np.arange(n), pixel, value)


def _nesz(noise: Levels | None, n: int) -> np.ndarray:
    """Linear power at every pixel; linear in dB between those of the table, constant beyond them."""
    if noise is None:
        return np.full(n, np.nan)
    order = np.argsort(noise.pixel)
    level: np.ndarray = 10.0 ** (np.interp(np.arange(n), noise.pixel[order], noise.value[order]) / 10.0)
    return level
