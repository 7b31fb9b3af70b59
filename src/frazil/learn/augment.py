"""Changes of training images that physics allows.

Colour operations are not among them: backscatter and incidence angle mean something in absolute terms.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from frazil.scene.scaling import CHANNELS, to_db

#: Equivalent number of looks of 120 m pixels of an EW scene (3 × 3 pixels of 10.7 looks, correlated).
LOOKS = 19.5


def coarsen(
    image: np.ndarray, noise: np.ndarray, channels: tuple[str, ...], rng: np.random.Generator, *, looks: float = LOOKS
) -> np.ndarray:
    """The image as an instrument of lower resolution would have seen it, with speckle of its own.

    Fine texture is a strong hint at ice, and not always there: level ice has little, and pixels rebuilt from a
    quick-look have none. σ0 is blurred in power by a Gaussian of 1 to 8 pixels, the noise is added, speckle drawn anew,
    and the noise subtracted.

    Args:
        image: float32 (channel, line, pixel) in [0, 1], as `frazil.scene.scaling` scales it.
        noise: NESZ in linear power, same dims; zero for channels that are no backscatter.
        channels: names, in order.
        rng: random numbers.
        looks: equivalent number of looks of the new speckle.
    """
    out = image.copy()
    width = float(np.exp(rng.uniform(0.0, np.log(8.0))))
    for i, name in enumerate(channels):
        channel = CHANNELS[name]
        if channel.polarization is None or name.startswith("nesz_"):
            continue
        power = 10 ** ((channel.low + image[i] * (channel.high - channel.low)) / 10)
        total = ndimage.gaussian_filter(power, width, mode="nearest") + noise[i]
        speckle = rng.standard_gamma(looks, total.shape).astype(np.float32) / np.float32(looks)
        observed = image[i] > 0
        out[i] = np.where(observed, channel.scale(to_db(total * speckle - noise[i])), image[i])
    return out
