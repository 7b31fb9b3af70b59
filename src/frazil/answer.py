"""What a map says of a place: ice of some class, open water, or that it cannot be told. The one rule for all who ask.

Ice is what is at least as probable as open water; which class of ice, the most probable of them. Where neither ice nor
water reaches the confidence asked for, the answer is `UNDECIDED`. Class, extent, edge, polygons and comparisons rest on
this, on the whole percents that the map stores, so that anybody can check it from its files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from frazil.conventions import UNDECIDED

if TYPE_CHECKING:
    import xarray as xr

CONFIDENCE_PERCENT = 80.0  #: an answer is at least so probable, if nobody asks for more or less
ICE_PERCENT = 50  #: probability of ice from which ice is the likelier answer
_NARROW_M = 1000.0


def answers(percent: np.ndarray, confidence_percent: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, confidences and probabilities of ice from class probabilities.

    Args:
        percent: uint8 (class, …), whole percents that sum to 100; the first class is open water.
        confidence_percent: an answer less probable than this is `UNDECIDED`; at 50 and below none is.

    Returns:
        ``ice_class`` (codes, `UNDECIDED`), ``confidence`` (the larger of the probabilities of ice and of water) and
        ``ice_probability``, uint8 (…), percent. Of classes of ice that are equally probable the first is taken. What
        stands where nothing was observed means nothing.
    """
    ice = np.uint8(100) - percent[0]
    code = np.ones(ice.shape, np.uint8)  # argmax, without its 64-bit indices
    top = percent[1].copy()
    for k in range(2, len(percent)):
        code[percent[k] > top] = k
        np.maximum(top, percent[k], out=top)
    code[ice < ICE_PERCENT] = 0
    confidence = np.maximum(ice, percent[0])
    code[confidence < confidence_percent] = UNDECIDED
    return code, confidence, ice


def likely_ice(ice_map: xr.Dataset) -> np.ndarray:
    """True where a map calls it ice, and where it is undecided but ice is at least as probable as water; bool (y, x).

    The classes come first: in a map that somebody has corrected by hand they may say other than the probabilities.
    """
    codes, percent = ice_map["ice_class"].values, ice_map["ice_probability"].values
    return np.asarray(((codes > 0) & (codes < UNDECIDED)) | ((codes == UNDECIDED) & (percent >= ICE_PERCENT)))


def widely_undecided(codes: np.ndarray, spacing_m: float) -> np.ndarray:
    """True in undecided areas at least a kilometre wide; bool (y, x).

    Every border between ice and water has a seam of undecided pixels, where the one passes into the other: an ice edge
    runs along it. In a wide area there may be an edge or none.

    Args:
        codes: ``ice_class`` of a map.
        spacing_m: its pixel size.
    """
    undecided = (codes == UNDECIDED).view(np.uint8)
    side = 2 * int(_NARROW_M / spacing_m / 2) + 1
    if side < 3 or not undecided.any():
        return undecided.view(bool)
    inner = ndimage.minimum_filter(undecided, side, mode="constant", cval=1)
    return np.asarray(ndimage.maximum_filter(inner, side, mode="constant", cval=0)).view(bool)
