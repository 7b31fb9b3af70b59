"""σ0 and NESZ one pixel at a time, in float64, from the XML text: written without frazil and without its data model.

Follows the product specification and the rules for noise as they are printed, with plain loops and the standard
library only, so that a shared mistake would have to be made twice.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import datetime


def _seconds(text: str, origin: datetime) -> float:
    return (datetime.fromisoformat(text) - origin).total_seconds()


def _text(element: ET.Element, tag: str) -> str:
    text = element.findtext(tag)
    assert text is not None
    return text


def _floats(element: ET.Element, tag: str) -> list[float]:
    return [float(v) for v in _text(element, tag).split()]


def _line(x0: float, y0: float, x1: float, y1: float, x: float) -> float:
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def _piecewise(xs: list[float], ys: list[float], x: float, *, extend: bool) -> float:
    """Linear between points; beyond them constant, or along the outermost segment."""
    if len(xs) == 1:
        return ys[0]
    if x < xs[0]:
        return _line(xs[0], ys[0], xs[1], ys[1], x) if extend else ys[0]
    if x > xs[-1]:
        return _line(xs[-2], ys[-2], xs[-1], ys[-1], x) if extend else ys[-1]
    for i in range(len(xs) - 1):
        if xs[i] <= x <= xs[i + 1]:
            return _line(xs[i], ys[i], xs[i + 1], ys[i + 1], x)
    raise AssertionError


class Reference:
    """The metadata of one image, read anew."""

    def __init__(self, annotation: bytes, calibration: bytes, noise: bytes) -> None:
        a, c, n = (ET.fromstring(t) for t in (annotation, calibration, noise))
        origin = datetime.fromisoformat(_text(a, ".//productFirstLineUtcTime"))
        self.dt = float(_text(a, ".//azimuthTimeInterval"))
        self.size = int(_text(a, ".//numberOfLines")), int(_text(a, ".//numberOfSamples"))
        self.cal = [
            (_seconds(_text(v, "azimuthTime"), origin), _floats(v, "pixel"), _floats(v, "sigmaNought"))
            for v in c.iter("calibrationVector")
        ]
        tags = (
            ("noiseRangeVector", "noiseRangeLut")
            if n.find("noiseRangeVectorList") is not None
            else ("noiseVector", "noiseLut")
        )
        self.range = [
            (_seconds(_text(v, "azimuthTime"), origin), _floats(v, "pixel"), _floats(v, tags[1]))
            for v in n.iter(tags[0])
        ]
        names = ("firstAzimuthLine", "lastAzimuthLine", "firstRangeSample", "lastRangeSample")
        self.blocks = [
            (tuple(int(_text(v, k)) for k in names), _floats(v, "line"), _floats(v, "noiseAzimuthLut"))
            for v in n.iter("noiseAzimuthVector")
        ] or [((0, self.size[0] - 1, 0, self.size[1] - 1), [0.0], [1.0])]

    def gain(self, line: int, pixel: int) -> float:
        """A: along range in each vector, then along azimuth time."""
        t = line * self.dt
        times = [v[0] for v in self.cal]
        values = [_piecewise(v[1], v[2], pixel, extend=False) for v in self.cal]
        return _piecewise(times, values, t, extend=True)

    def eta(self, line: int, pixel: int) -> float | None:
        """η, or None where no block holds the pixel or the product knows no noise."""
        for (l0, l1, x0, x1), az_line, az_lut in self.blocks:
            if not (l0 <= line <= l1 and x0 <= pixel <= x1):
                continue
            inside = []
            for t, pixels, lut in self.range:
                good = [(p, v) for p, v in zip(pixels, lut, strict=True) if x0 <= p <= x1 and v > 0]
                if good:
                    inside.append((t, [g[0] for g in good], [g[1] for g in good]))
            if not inside:
                return None
            chosen = [v for v in inside if (l0 - 0.5) * self.dt <= v[0] <= (l1 + 0.5) * self.dt]
            if not chosen:
                chosen = [min(inside, key=lambda v: abs(v[0] - (l0 + l1) / 2 * self.dt))]
            along = [_piecewise(p, v, pixel, extend=False) for _, p, v in chosen]
            in_range = _piecewise([v[0] for v in chosen], along, line * self.dt, extend=True)
            return in_range * _piecewise(az_line, az_lut, line, extend=True)
        return None

    def sigma0(self, dn: int, line: int, pixel: int) -> float:
        """(DN² − η) / A²; without η where it is unknown."""
        return (dn * dn - (self.eta(line, pixel) or 0.0)) / self.gain(line, pixel) ** 2
