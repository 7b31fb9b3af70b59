"""Simulated scenes as training batches.

A batch is a function of the run's seed and the step alone: a run that goes on after an interruption sees what it would
have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from frazil.learn.augment import coarsen
from frazil.learn.config import DataConfig
from frazil.scene.scaling import CHANNELS, network_input
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

IGNORE = 255  #: label of pixels that the loss leaves out: land and nodata


@dataclass(frozen=True, eq=False)
class LabelledScene:
    """One scene in memory.

    Attributes:
        name: product name.
        image: float16 (channel, line, pixel) in [0, 1]; 0 where not observed.
        label: uint8 (line, pixel) class codes; `IGNORE` for land and nodata.
        noise: float16 (channel, line, pixel) NESZ in linear power; 0 where there is none.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    noise: np.ndarray


def labelled_scene(scene: xr.Dataset, config: DataConfig) -> LabelledScene:
    """A scene with ``ice_class`` truth as the network will see it."""
    names = scene["polarization"].values.tolist()
    channels = tuple(CHANNELS[name] for name in config.channels)
    arrays = {name: scene[name].values for name in ("sigma0", "nesz", "incidence_angle", "valid")}
    image = network_input(arrays, names, channels).astype(np.float16)
    noise = np.zeros_like(image)
    for i, channel in enumerate(channels):
        if channel.polarization is not None:
            noise[i] = np.nan_to_num(arrays["nesz"][names.index(channel.polarization)])
    truth = scene["ice_class"].values
    label = np.where(truth < 254, truth, IGNORE).astype(np.uint8)
    return LabelledScene(scene.attrs["product"], image, label, noise)


def simulate_labelled(
    seeds: tuple[int, ...], config: DataConfig, *, land_every: int = 0, progress: Callable[[float], None] | None = None
) -> list[LabelledScene]:
    """One simulated EW scene per seed."""
    scenes = []
    for i, seed in enumerate(seeds):
        land = 0.2 if land_every and i % land_every == land_every - 1 else 0.0
        world = WorldConfig(seed=seed, land_fraction=land)
        scene = simulate_scene("ew", seed=seed, spacing_m=config.spacing_m, world=world)
        scenes.append(labelled_scene(scene, config))
        if progress:
            progress((i + 1) / len(seeds))
    return scenes


class CropSampler:
    """Random crops, flipped along azimuth half of the time (range is left alone: noise and angle belong to it).

    Args:
        scenes: to sample from, each as likely as the others.
        config: channels, crop size, and share of coarsened crops.
        seed: of the run.
    """

    def __init__(self, scenes: list[LabelledScene], config: DataConfig, seed: int) -> None:
        self.scenes, self.config, self.crop, self.seed = scenes, config, config.crop, seed

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 (batch, channel, height, width) and labels uint8 (batch, height, width) of a step."""
        rng = np.random.default_rng([self.seed, step])
        images, labels = [], []
        for _ in range(size):
            scene = self.scenes[int(rng.integers(len(self.scenes)))]
            height, width = scene.label.shape
            line = int(rng.integers(max(height - self.crop, 0) + 1))
            pixel = int(rng.integers(max(width - self.crop, 0) + 1))
            window = slice(line, line + self.crop), slice(pixel, pixel + self.crop)
            image, label = scene.image[(slice(None), *window)].astype(np.float32), scene.label[window]
            if rng.random() < self.config.coarsen:
                noise = scene.noise[(slice(None), *window)].astype(np.float32)
                image = coarsen(image, noise, self.config.channels, rng)
            if rng.random() < 0.5:
                image, label = image[:, ::-1], label[::-1]
            images.append(image)
            labels.append(label)
        return np.stack(images), np.stack(labels)

    def class_frequency(self, n_classes: int) -> np.ndarray:
        """Share of each class among labelled pixels of the scenes, every eighth line and pixel looked at."""
        counts = np.zeros(n_classes)
        for scene in self.scenes:
            label = scene.label[::8, ::8]
            counts += np.bincount(label[label < n_classes], minlength=n_classes)
        share: np.ndarray = counts / max(counts.sum(), 1)
        return share
