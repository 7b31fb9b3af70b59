"""What a model has seen of its inputs, and whether a scene is like it.

A network answers any image, and is most sure of itself where it knows least: a calibration error of 20 dB gives 99 %
confidence. So a card keeps in which range the medians of its training scenes lay, channel by channel and for the
differences of channels (which swapped polarisations reverse), and the modes of the products. A scene whose own medians
lie outside by more than a tenth of a channel's range is said to be outside, with numbers, and flagged as a whole.

References:
    Hendrycks, D., Gimpel, K. (2017), A baseline for detecting misclassified and out-of-distribution examples in neural
    networks. ICLR 2017.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from frazil.conventions import sensor_of
from frazil.errors import ModelError
from frazil.scene.scaling import Channel

_TOLERANCE = 0.1  # of a channel's range: 3 dB of 30
_LEAST_PIXELS = 50
_CLIPPED_HIGH, _CLIPPED_LOW = 0.25, 0.9  # shares of σ0 beyond the scaling; calm water lies below it, nothing above
_MODE = re.compile(r"S1[A-Z]_(EW|IW|WV|SM|S[1-6])_")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The range of a model's training inputs.

    Attributes:
        scenes: that were looked at.
        medians: channel -> lowest and highest median of a scene, in dB.
        differences: ``"hh-hv"`` … -> likewise of the difference of two channels of σ0, dB.
        modes: of the Sentinel-1 products, as far as their names tell: ``"EW"`` …
        sensors: of the products, likewise: ``"Sentinel-1"`` …
    """

    scenes: int = 0
    medians: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    differences: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    modes: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()

    @classmethod
    def of(cls, images: Iterable[np.ndarray], channels: Sequence[Channel], products: Iterable[str] = ()) -> Seen:
        """From what a network learns from.

        Args:
            images: of each scene, (channel, …) in [0, 1], thinned or cut as one likes; 0 where not observed.
            channels: of the images.
            products: names of the products that they are from.
        """
        rows = [made for image in images if (made := medians(image, channels))]
        names = sorted({name for row in rows for name in row})
        ranges = {
            name: (round(min(v), 2), round(max(v), 2))
            for name in names
            if (v := [row[name] for row in rows if name in row])
        }
        told = [str(name) for name in products]
        modes = {found.group(1) for name in told if (found := _MODE.match(name))}
        sensors = {sensor for name in told if (sensor := sensor_of({"product": name}))}
        return cls(
            scenes=len(rows),
            medians={k: v for k, v in ranges.items() if "-" not in k},
            differences={k: v for k, v in ranges.items() if "-" in k},
            modes=tuple(sorted(modes)),
            sensors=tuple(sorted(sensors)),
        )

    @classmethod
    def from_json(cls, values: Any) -> Seen:
        """From a card.

        Raises:
            ModelError: not what `to_json` gives, or not finite.
        """
        try:
            pairs = [
                {str(k): (float(low), float(high)) for k, (low, high) in dict(values.get(name, {})).items()}
                for name in ("medians", "differences")
            ]
            made = cls(
                scenes=int(values.get("scenes", 0)),
                medians=pairs[0],
                differences=pairs[1],
                modes=(modes := tuple(map(str, values.get("modes", ())))),
                # Cards that tell none are older than the second sensor.
                sensors=tuple(map(str, values.get("sensors", ("Sentinel-1",) if modes else ()))),
            )
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelError(f"what it has seen is not told as it should be ({error})") from error
        if any(not (math.isfinite(a) and math.isfinite(b) and a <= b) for part in pairs for a, b in part.values()):
            raise ModelError("the range of what it has seen is not finite, or reversed")
        return made

    def to_json(self) -> dict[str, object]:
        """For a card."""
        return {
            "scenes": self.scenes,
            "medians": {k: list(v) for k, v in self.medians.items()},
            "differences": {k: list(v) for k, v in self.differences.items()},
            "modes": list(self.modes),
            "sensors": list(self.sensors),
        }

    def strange(self, image: np.ndarray, channels: Sequence[Channel], mode: str = "", sensor: str = "") -> list[str]:
        """What of a scene lies outside what was seen, in words; empty where all lies inside.

        Args:
            image: float32 (channel, …) of the sea of a scene as the network sees it, in [0, 1]; 0 in every channel
                where not observed.
            channels: of the image.
            mode: of the product, ``"EW"`` …
            sensor: that it is from, ``"Sentinel-1"`` …
        """
        said = []
        if sensor and self.sensors and sensor not in self.sensors:
            said.append(f"products of {sensor} (it learnt from {', '.join(self.sensors)})")
        elif mode and self.modes and sensor in ("", "Sentinel-1") and mode not in self.modes:
            said.append(f"products of mode {mode} (it learnt from {', '.join(self.modes)})")
        values = _observed(image)
        if values.shape[1] < _LEAST_PIXELS:
            return said
        for channel, plane in zip(channels, values, strict=True):
            high, low = float((plane >= 1).mean()), float((plane <= 0).mean())
            if _is_sigma0(channel):
                if high > _CLIPPED_HIGH:
                    said.append(
                        f"{channel.name} above {channel.high:g} {channel.units} on {100 * high:.0f} % of the sea"
                    )
                elif low > _CLIPPED_LOW:
                    said.append(f"{channel.name} below {channel.low:g} {channel.units} on {100 * low:.0f} % of the sea")
        width = {c.name: c.high - c.low for c in channels}
        for name, value in medians(image, channels).items():
            known = {**self.medians, **self.differences}.get(name)
            if known is None:
                continue
            slack = _TOLERANCE * max(width[part] for part in name.split("-"))
            if not known[0] - slack <= value <= known[1] + slack:
                what = name.replace("-", " − ")
                said.append(f"a median {what} of {value:.1f} dB (it learnt from {known[0]:.1f} to {known[1]:.1f})")
        return said


def medians(image: np.ndarray, channels: Sequence[Channel]) -> dict[str, float]:
    """Medians over the observed pixels of an image (channel, …) in [0, 1]: of channels of σ0, and of their differences.

    In dB; empty where fewer than 50 pixels were observed. Of values clipped to [0, 1] the ends are told. Angles are not
    told: a part of a scene is no stranger for being a part, and single pixels have a flag of their own.
    """
    values = _observed(image)
    if values.shape[1] < _LEAST_PIXELS:
        return {}
    scaled = {
        c.name: c.low + np.float32(c.high - c.low) * plane
        for c, plane in zip(channels, values, strict=True)
        if _is_sigma0(c)
    }
    found = {name: float(np.median(plane)) for name, plane in scaled.items()}
    return found | {f"{a}-{b}": float(np.median(scaled[a] - scaled[b])) for a, b in combinations(scaled, 2)}


def _is_sigma0(channel: Channel) -> bool:
    return channel.source == "sigma0"


def _observed(image: np.ndarray) -> np.ndarray:
    flat = np.asarray(image, np.float32).reshape(len(image), -1)
    return flat[:, (flat != 0).any(axis=0)]
