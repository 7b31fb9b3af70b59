"""The wide view of a scene: means over cells of many pixels, as a network with such a view sees it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np

from frazil.scene.scaling import Channel, network_input


def wide_view(
    strips: Iterable[dict[str, np.ndarray]], polarizations: list[str], channels: tuple[Channel, ...], view: int
) -> np.ndarray:
    """The scene in cells of ``view`` × ``view`` pixels, scaled as `network_input` does: float32 (channel, row, column).

    Backscatter and noise are averaged in power, over what was observed; cells without an observation are 0. Cells at
    the far ends may be narrower.

    Args:
        strips: arrays of successive lines, see `network_input`; all but the last of a multiple of ``view`` lines.
        polarizations: names along the first axis of sigma0.
        channels: what the network wants, in order.
        view: pixels along a side of a cell.
    """
    parts = [network_input(_cells(strip, view), polarizations, channels) for strip in strips]
    return np.concatenate(parts, axis=1)


def _cells(arrays: dict[str, np.ndarray], view: int) -> dict[str, np.ndarray]:
    valid = arrays["valid"]
    rows, columns = valid.shape
    pad = (0, -rows % view), (0, -columns % view)

    def blocks(values: np.ndarray, fill: float) -> np.ndarray:
        padded = np.pad(values, [(0, 0)] * (values.ndim - 2) + list(pad), constant_values=fill)
        return padded.reshape(*values.shape[:-2], padded.shape[-2] // view, view, padded.shape[-1] // view, view)

    found: dict[str, np.ndarray] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        for name in ("sigma0", "nesz", "incidence_angle"):
            known = np.where(valid, arrays[name], np.float32(np.nan))
            found[name] = np.asarray(np.nanmean(blocks(known, np.nan), axis=(-3, -1), dtype=np.float32))
    found["valid"] = np.asarray(blocks(valid, fill=False).any(axis=(-3, -1)))
    return found
