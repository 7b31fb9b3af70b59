"""Numbers of patches that cannot be: of a damaged file, or of one that holds something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from frazil.errors import LabelError

#: What a channel can hold, by its unit.
_CHANNELS = {"dB": (-150.0, 100.0), "degree": (0.0, 90.0)}
_PLACES = {"latitude": 90.0, "longitude": 360.0}


def refuse_impossible(
    image: np.ndarray, channels: Sequence[str], units: Sequence[str], provenance: Mapping[str, np.ndarray]
) -> None:
    """Raise for backscatter, angles or coordinates that no scene has.

    Args:
        image: (patch, channel, height, width).
        channels: names of the channels.
        units: of each channel.
        provenance: may hold ``latitude`` and ``longitude`` (patch), degrees; not finite where unknown.

    Raises:
        LabelError: naming the first.
    """
    for channel, (name, unit) in enumerate(zip(channels, units, strict=True)):
        if unit in _CHANNELS:
            refuse_outside(name, image[:, channel], unit, *_CHANNELS[unit])
    for name, most in _PLACES.items():
        if name in provenance:
            refuse_outside(name, np.asarray(provenance[name]), "degrees", -most, most)


def refuse_outside(name: str, values: np.ndarray, unit: str, least: float, most: float) -> None:
    """Raise if finite values lie outside what can be.

    Raises:
        LabelError: naming the values and their bounds.
    """
    known = values[np.isfinite(values)]
    if known.size and not (known.min() >= least and known.max() <= most):
        raise LabelError(
            f"It holds {name} of {known.min():.4g} to {known.max():.4g} {unit}; from {least:g} to {most:g} can be. "
            "The file is damaged, or its numbers are something else."
        )
