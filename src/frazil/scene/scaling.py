"""Linear power to decibels, and decibels to what a network eats: the one place where that happens.

References:
    Khaleghian (2022), paper 2, section IV-A: HH −30…0 dB, HV −35…−5 dB, incidence angle 19…46°, clipped to [0, 1].
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from frazil.errors import OptionError
from frazil.scene.ocean import reference_db

FLOOR_DB = -50.0  #: power at or below 1e-5 (noise subtraction leaves negatives) is shown as this
_LOWEST, _TEN = np.float32(10 ** (FLOOR_DB / 10)), np.float32(10)
_COLOURS = ("red", "green", "blue")  # of photographs: CIFAR-10
_CACHED = 2**17  # values that stay in the cache of a core between two passes over them


def to_db(power: np.ndarray) -> np.ndarray:
    """Decibels of linear power: 10 log₁₀, floored at −50 dB; NaN stays NaN. float32."""
    linear = np.asarray(power, np.float32, order="C")
    db = np.empty_like(linear)
    source, target = linear.reshape(-1), db.reshape(-1)

    def work(start: int) -> None:
        part = target[start : start + _CACHED]
        np.maximum(source[start : start + _CACHED], _LOWEST, out=part)
        np.log10(part, out=part)
        np.multiply(part, _TEN, out=part)

    starts = range(0, source.size, _CACHED)
    if len(starts) < 16:
        deque(map(work, starts), maxlen=0)
    else:
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
            deque(pool.map(work, starts), maxlen=0)
    return db[()]


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One input of a network: where it comes from and how it is scaled to [0, 1].

    Attributes:
        name: ``"hh"``, ``"hv"``, ``"vv"``, ``"vh"`` (σ0 in dB), ``"nesz_hh"`` … (NESZ in dB), ``"total_hh"`` … (σ0 +
            NESZ in dB: what was received; σ0 of dark surfaces is below the scale, or negative), ``"roughness_vv"``
            (σ0 in dB over that of the reference sea, see `frazil.scene.ocean`), ``"incidence_angle"``.
        low, high: in dB or degrees; clipped and scaled so that low is 0 and high is 1.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.name not in ("incidence_angle", *_COLOURS) and self.polarization is None:
            raise OptionError(
                f"Channel {self.name!r} is unknown. There are hh, hv, vv and vh, each also as nesz_…, total_… and "
                "roughness_…, and incidence_angle."
            )
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise OptionError(f"Channel {self.name!r}: low {self.low} must be below high {self.high}, both finite.")

    @property
    def polarization(self) -> str | None:
        """The polarisation that the channel needs, or None."""
        found = re.fullmatch(r"(nesz_|total_|roughness_)?(hh|hv|vv|vh)", self.name)
        return found.group(2).upper() if found else None

    @property
    def source(self) -> str:
        """``"sigma0"``, ``"nesz"``, ``"total"``, or the name where it comes from no polarisation."""
        kind = self.name.partition("_")[0]
        return self.name if self.polarization is None else kind if kind in ("nesz", "total") else "sigma0"

    @property
    def units(self) -> str:
        """``"dB"``, ``"degree"``, or ``"1"`` of the colours of photographs."""
        return "dB" if self.polarization else "1" if self.name in _COLOURS else "degree"

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Values in `units` to [0, 1], float32; NaN stays NaN."""
        scaled: np.ndarray = (np.asarray(values, np.float32) - np.float32(self.low)) * np.float32(
            1.0 / (self.high - self.low)
        )
        return np.clip(scaled, 0.0, 1.0)


#: The scaling of the thesis; VV and VH as HH and HV.
CHANNELS = {
    channel.name: channel
    for channel in (
        Channel(name="hh", low=-30.0, high=0.0),
        Channel(name="vv", low=-30.0, high=0.0),
        Channel(name="hv", low=-35.0, high=-5.0),
        Channel(name="vh", low=-35.0, high=-5.0),
        Channel(name="nesz_hh", low=-40.0, high=-15.0),
        Channel(name="nesz_vv", low=-40.0, high=-15.0),
        Channel(name="nesz_hv", low=-40.0, high=-15.0),
        Channel(name="nesz_vh", low=-40.0, high=-15.0),
        Channel(name="total_hh", low=-30.0, high=0.0),
        Channel(name="total_vv", low=-30.0, high=0.0),
        Channel(name="total_hv", low=-35.0, high=-5.0),
        Channel(name="total_vh", low=-35.0, high=-5.0),
        Channel(name="incidence_angle", low=19.0, high=46.0),
        Channel(name="roughness_vv", low=-18.0, high=6.0),
    )
}


def network_input(arrays: dict[str, np.ndarray], polarizations: list[str], channels: tuple[Channel, ...]) -> np.ndarray:
    """What a network sees, in training as in prediction: float32 (channel, line, pixel) in [0, 1].

    Args:
        arrays: ``sigma0`` and ``nesz`` (polarization, line, pixel) in linear power, ``incidence_angle`` (line, pixel)
            in degrees, ``valid`` (line, pixel).
        polarizations: names along the first axis of sigma0.
        channels: what the network wants, in order.

    Returns:
        0 in every channel where not observed.
    """
    planes = []
    for channel in channels:
        if channel.name == "incidence_angle":
            values = arrays["incidence_angle"]
        elif channel.polarization is None:
            raise OptionError(f"Channel {channel.name!r} is not one of a scene.")
        else:
            values = to_db(linear_power(channel, arrays, polarizations))
            if channel.name.startswith("roughness_"):
                values = values - reference_db(arrays["incidence_angle"])
        planes.append(np.where(arrays["valid"], np.nan_to_num(channel.scale(values)), np.float32(0)))
    return np.stack(planes).astype(np.float32)


def linear_power(channel: Channel, arrays: Mapping[str, np.ndarray], polarizations: list[str]) -> np.ndarray:
    """What a channel of a polarisation is the decibels of; arguments as in `network_input`."""
    plane = polarizations.index(str(channel.polarization))
    if channel.source != "total":
        return arrays[channel.source][plane]
    return np.asarray(arrays["sigma0"][plane] + np.nan_to_num(arrays["nesz"][plane]))  # no noise stated: none
