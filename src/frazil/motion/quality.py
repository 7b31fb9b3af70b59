"""What to believe of a displacement field: the strength of a match, the way back, agreement with neighbours.

How far a peak may lie from the true place follows from its correlation and its sharpness: noise tilts the surface of
correlations, by √((1 − ρ²) / n) per pixel for templates of n pixels, and a tilt moves a peak of curvature h by itself
divided by h. To that comes what sub-pixel fits and rounding cost, a tenth of a pixel.

Chance correlations of patterns that have no partner are high here and there, and often found again on the way back; but
they point anywhere. So neighbours decide: enough of them must have moved alike.

References:
    Westerweel, J., Scarano, F. (2005), Universal outlier detection for PIV data, Experiments in Fluids 39, 1096–1100.
        doi:10.1007/s00348-005-0016-6: neighbours as the test of a vector.
    Hollands, T., Linow, S., Dierking, W. (2015), Reliability measures for sea ice motion retrieval from synthetic
        aperture radar images, IEEE JSTARS 8, 67–75. doi:10.1109/JSTARS.2014.2340572: the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from frazil.errors import OptionError
from frazil.motion.matching import Match

STATUS = {
    0: ("good", "matched, found again on the way back, and its neighbours moved alike"),
    1: ("weak", "correlation or its sharpness too low"),
    2: ("not_found_back", "the way back ends elsewhere"),
    3: ("neighbours_differ", "too few neighbours moved alike"),
    4: ("no_match", "observed in the first scene; what was searched in the second was not observed"),
    5: ("land", "land"),
    6: ("not_observed", "not observed in the first scene"),
}
"""Values of ``status_flag``: name and meaning."""
_NEIGHBOURS = 8
_FLOOR = 0.1  # pixels


@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """What a good vector is.

    Attributes:
        min_peak: least correlation.
        max_error: largest standard error, pixels.
        max_back: largest distance between a node and the end of the way back, pixels.
        min_alike: neighbours, of the nearest eight, that must have moved alike.
        strain: what is left of the difference between displacements, rotation apart, per distance between nodes, and
            still counts as alike; beside 1 pixel.
    """

    min_peak: float = 0.25
    max_error: float = 0.6
    max_back: float = 1.0
    min_alike: int = 3
    strain: float = 0.08

    def __post_init__(self) -> None:
        if not 0 <= self.min_peak < 1:
            raise OptionError(f"min_peak is {self.min_peak}; a correlation from 0 to 1 is expected.")
        if not 0 <= self.min_alike <= _NEIGHBOURS:
            raise OptionError(f"min_alike is {self.min_alike}; it lies between 0 and {_NEIGHBOURS}.")
        if min(self.max_error, self.max_back, self.strain) <= 0:
            raise OptionError("max_error, max_back and strain must be above 0.")


def standard_error(found: Match, template: int) -> np.ndarray:
    """Standard error of either component of a displacement, pixels (node); infinite where a peak has no top."""
    known = np.isfinite(found.peak)
    out = np.full(len(found.peak), np.where(known, np.inf, np.nan))
    sharp = known & (np.nan_to_num(found.curvature) > 1e-6)
    rho = np.clip(found.peak[sharp], -1, 1)
    out[sharp] = np.hypot(np.sqrt(1 - rho**2) / template / found.curvature[sharp], _FLOOR)
    return out


def status(
    at: np.ndarray,
    found: Match,
    back: np.ndarray,
    error: np.ndarray,
    config: QualityConfig | None = None,
) -> np.ndarray:
    """Which of `STATUS` 0 to 4 a vector is, uint8 (node).

    Args:
        at: nodes (node, 2), pixels.
        found: the matches.
        back: distance of the way back from its node, pixels.
        error: of `standard_error`.
        config: see there.
    """
    config = config or QualityConfig()
    known = np.isfinite(found.peak)
    weak = known & ~((found.peak >= config.min_peak) & (error <= config.max_error))
    returned = np.nan_to_num(back, nan=np.inf) <= config.max_back
    sound = known & ~weak & returned
    d = np.column_stack([found.d_row, found.d_column])
    alike = agreeing(at, d, found.turn_deg, sound, config.strain) >= config.min_alike
    code = np.zeros(len(at), np.uint8)
    code[~alike] = 3
    code[~returned] = 2
    code[weak] = 1
    code[~known] = 4
    return code


def agreeing(at: np.ndarray, d: np.ndarray, turn_deg: np.ndarray, sound: np.ndarray, strain: float) -> np.ndarray:
    """How many of the eight nearest sound nodes moved as each sound node did, turned as it is; 0 elsewhere."""
    count = np.zeros(len(at), int)
    n = min(_NEIGHBOURS + 1, int(sound.sum()))
    if n < 2:
        return count
    distance, near = cKDTree(at[sound]).query(at[sound], k=n)
    turn = np.radians(turn_deg[sound])
    turn = (turn[near] + turn[:, None]) / 2
    apart = at[sound][near] - at[sound][:, None]
    rows, columns = apart[..., 0], apart[..., 1]
    turned = np.stack(
        [
            (np.cos(turn) - 1) * rows + np.sin(turn) * columns,
            (np.cos(turn) - 1) * columns - np.sin(turn) * rows,
        ],
        axis=-1,
    )
    gap = np.linalg.norm(d[sound][near] - d[sound][:, None] - turned, axis=2)
    count[sound] = (gap <= 1.0 + strain * distance).sum(axis=1) - 1  # itself is among them
    return count


def outliers(at: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Nodes of a coarse search whose displacement differs from the median of their neighbours, or is unknown."""
    known = np.isfinite(d[:, 0])
    odd = ~known
    n = min(_NEIGHBOURS + 1, int(known.sum()))
    if n < 4:
        return odd
    distance, near = cKDTree(at[known]).query(at[known], k=n)
    others = d[known][near[:, 1:]]
    middle = np.median(others, axis=1)
    spread = np.median(np.linalg.norm(others - middle[:, None], axis=2), axis=1)
    away = np.linalg.norm(d[known] - middle, axis=1)
    odd[known] = away > 3 * (spread + 0.1 * np.median(distance[:, 1:], axis=1))
    return odd
