"""A scene as an 8-bit quick-look of it would hold it: pixels left out, dark and bright ends clipped."""

from __future__ import annotations

import numpy as np
import xarray as xr

from frazil.errors import OptionError
from frazil.scene.scaling import to_db

#: Lowest γ0 that a quick-look shows, dB, and how far above it the highest lies: ranges that are drawn from. Pictures
#: of Geoscience Australia begin at -22 dB (HH) and -32 dB (HV) and hold 14 dB.
_LOWEST = {"HH": (-25.0, -19.0), "VV": (-25.0, -19.0), "HV": (-35.0, -29.0), "VH": (-35.0, -29.0)}
_SPAN = (12.0, 22.0)
_STEPS = 255


def as_quicklook(scene: xr.Dataset, every: int, rng: np.random.Generator) -> xr.Dataset:
    """Every n-th line and pixel of a scene, its total power (noise in it) stored in 8 bits of a drawn range.

    Real quick-looks of 650 m are as rough from pixel to pixel as pixels of 120 m are at that distance (neighbours
    correlate by 0.4 to 0.5, means over 650 m by 0.7 to 0.9): they are thinned and not averaged. And what is darker than
    their range is black: calm water loses its depth.

    Args:
        scene: see `frazil.conventions.check_scene`.
        every: lines and pixels from one that is kept to the next, 2 or more.
        rng: draws the range of each polarisation.

    Returns:
        A scene of `every` times the spacing; γ0 is clipped, the stated noise taken off again.

    Raises:
        OptionError: `every` is below 2.
    """
    if every < 2:
        raise OptionError(f"every={every}: a quick-look leaves pixels out; pass 2 or more.")
    step = slice(every // 2, None, every)
    out = scene.isel(line=step, pixel=step).assign_attrs(spacing_m=float(scene.attrs["spacing_m"]) * every)
    to_sigma = np.cos(np.radians(out["incidence_angle"].values))
    sigma0 = out["sigma0"].values.copy()
    noise = np.nan_to_num(out["nesz"].values) if scene.attrs.get("denoise") == "esa" else np.zeros_like(sigma0)
    for k, name in enumerate(out["polarization"].values.tolist()):
        low, span = rng.uniform(*_LOWEST[name]), rng.uniform(*_SPAN)
        gamma = to_db((sigma0[k] + noise[k]) / to_sigma)
        grey = np.clip(np.rint((gamma - low) / span * _STEPS), 0, _STEPS)
        sigma0[k] = 10 ** ((low + grey / _STEPS * span) / 10) * to_sigma - noise[k]
    return out.assign(sigma0=(out["sigma0"].dims, sigma0.astype(np.float32), out["sigma0"].attrs))
