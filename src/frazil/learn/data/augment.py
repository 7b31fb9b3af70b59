"""Changes of training images: those of the first paper, and those that physics allows.

Backscatter and incidence angle mean something in absolute terms, so blur and changes of brightness and contrast, which
the paper uses, make images that no radar would give. Rotations, flips, new speckle and another noise floor do not.

References:
    Khaleghian (2022), paper 1, section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from frazil.scene.scaling import CHANNELS, Channel, to_db

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
        noise: that was subtracted, linear power, same dims; zero for channels that are no σ0.
        channels: names, in order.
        rng: random numbers.
        looks: equivalent number of looks of the new speckle.
    """
    out = image.copy()
    width = float(np.exp(rng.uniform(0.0, np.log(8.0))))
    speckle: dict[str | None, np.ndarray] = {}
    for i, name in enumerate(channels):
        channel = CHANNELS[name]
        if not _is_backscatter(channel):
            continue
        power = 10 ** ((channel.low + image[i] * (channel.high - channel.low)) / 10)
        total = ndimage.gaussian_filter(power, width, mode="nearest") + noise[i]
        if channel.polarization not in speckle:  # σ0 and total power of a polarisation are of one measurement
            drawn = rng.standard_gamma(looks, total.shape)
            speckle[channel.polarization] = drawn.astype(np.float32) / np.float32(looks)
        observed = image[i] > 0
        out[i] = np.where(observed, channel.scale(to_db(total * speckle[channel.polarization] - noise[i])), image[i])
    return out


def crop_margin(side: int) -> int:
    """Pixels of zeros around an image of so many before it is cropped: 4 around the 32 of CIFAR-10."""
    return max(side // 8, 1)


def augment(
    images: np.ndarray, channels: tuple[str, ...], names: tuple[str, ...], rng: np.random.Generator
) -> np.ndarray:
    """Patches changed at random, each in its own way.

    Args:
        images: float32 (patch, channel, height, width) in [0, 1], square, as `frazil.scene.scaling` scales them.
        channels: names, in order.
        names: of `frazil.learn.config.AUGMENTATIONS`, applied in that order; and ``"crop"``.
        rng: random numbers.
    """
    for name in names:
        images = _CHANGES[name](images, channels, rng)
    return images


def _crop(images: np.ndarray, _: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Shifted by up to an eighth of the side, with zeros where nothing was: for photographs, not for radar."""
    n, side = len(images), images.shape[-1]
    pad = crop_margin(side)
    wide = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, columns = (rng.integers(2 * pad + 1, size=(n, 1)) + np.arange(side) for _ in range(2))
    shifted = wide[np.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return np.ascontiguousarray(shifted.transpose(0, 3, 1, 2))


def _flip(images: np.ndarray, _: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Half of the patches mirrored in range."""
    chosen = rng.random(len(images)) < 0.5
    out = images.copy()
    out[chosen] = images[chosen, :, :, ::-1]
    return out


def _rotate(images: np.ndarray, _: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """By 0, 90, 180 or 270 degrees."""
    turns = rng.integers(0, 4, len(images))
    out = images.copy()
    for turn in (1, 2, 3):
        out[turns == turn] = np.rot90(images[turns == turn], turn, axes=(2, 3))
    return out


def _blur(images: np.ndarray, channels: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Half of the patches blurred in decibels by a Gaussian of half a pixel to a pixel and a half."""
    chosen = np.flatnonzero(rng.random(len(images)) < 0.5)
    width = rng.uniform(0.5, 1.5, chosen.size)
    out = images.copy()
    radar = [i for i, name in enumerate(channels) if _is_backscatter(CHANNELS[name])]
    for i, w in zip(chosen, width, strict=True):
        out[i, radar] = ndimage.gaussian_filter(images[i, radar], (0, w, w), mode="nearest")
    return out


def _brightness_contrast(images: np.ndarray, channels: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Contrast by up to a fifth about the patch's mean, and brightness by up to a tenth of the scale."""
    contrast = rng.uniform(0.8, 1.2, (len(images), 1, 1, 1)).astype(np.float32)
    brightness = rng.uniform(-0.1, 0.1, (len(images), 1, 1, 1)).astype(np.float32)
    out = images.copy()
    radar = [i for i, name in enumerate(channels) if _is_backscatter(CHANNELS[name])]
    part = images[:, radar]
    mean = part.mean(axis=(2, 3), keepdims=True)
    out[:, radar] = np.clip((part - mean) * contrast + mean + brightness, 0, 1)
    return out


def _speckle(images: np.ndarray, channels: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Half of the patches with more speckle: power times a Gamma variable of 20 to 200 looks, pixel by pixel."""
    chosen = rng.random(len(images)) < 0.5
    looks = np.exp(rng.uniform(np.log(20.0), np.log(200.0), int(chosen.sum()))).astype(np.float32)
    out = images.copy()
    for i, name in enumerate(channels):
        channel = CHANNELS[name]
        if _is_backscatter(channel):
            part = images[chosen, i]
            # A Gamma variable of many looks is nearly log-normal: its decibels are Gaussian, and cheap to draw.
            noise = (
                rng.standard_normal(part.shape, dtype=np.float32) * np.float32(4.343) / np.sqrt(looks)[:, None, None]
            )
            out[chosen, i] = np.clip(part + noise / np.float32(channel.high - channel.low), 0, 1)
    return out


#: NESZ of EW GRDM, linear power: the mean over the bundled Extra Wide product, HH -26.6 dB and HV -27.8 dB.
_NESZ = {"hh": 10**-2.66, "vv": 10**-2.66, "hv": 10**-2.78, "vh": 10**-2.78}


def _noise_floor(images: np.ndarray, channels: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Half of the patches with up to a fifth of a typical NESZ more or less, as if noise were wrongly scaled."""
    chosen = rng.random(len(images)) < 0.5
    scale = rng.uniform(-0.2, 0.2, (int(chosen.sum()), 1, 1)).astype(np.float32)
    out = images.copy()
    for i, name in enumerate(channels):
        channel = CHANNELS[name]
        if channel.source == "sigma0":
            part = images[chosen, i]
            power = 10 ** ((channel.low + part * (channel.high - channel.low)) / 10)
            changed = channel.scale(to_db(power + scale * np.float32(_NESZ[name])))
            out[chosen, i] = np.where(part > 0, changed, part)
    return out


def _is_backscatter(channel: Channel) -> bool:
    return channel.source in ("sigma0", "total")


_CHANGES: dict[str, Callable[[np.ndarray, tuple[str, ...], np.random.Generator], np.ndarray]] = {
    "crop": _crop,
    "flip": _flip,
    "rotate": _rotate,
    "blur": _blur,
    "brightness_contrast": _brightness_contrast,
    "speckle": _speckle,
    "noise_floor": _noise_floor,
}
