"""Whole scenes with labels on their pixels: simulated ones, and products with rasters, polygons or charts.

A batch is a function of the run's seed and the step alone: a run that goes on after an interruption sees what it would
have seen.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from torch import nn

from frazil.conventions import CLASS_LAND, CLASS_SCHEMES, ClassScheme
from frazil.errors import LabelError
from frazil.labels.classes import LabelOptions
from frazil.labels.patches import filled_label
from frazil.labels.sigrid3 import ChartSettings
from frazil.labels.sources import open_labels
from frazil.learn.config import SceneData, SimulatedData
from frazil.learn.data.augment import coarsen
from frazil.learn.data.class_scores import OneClassEach
from frazil.learn.infer.dense import make_engine
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.tiles import tile_logits, tiles_for
from frazil.learn.infer.wide import wide_view
from frazil.products import open_scene
from frazil.scene.land import add_land
from frazil.scene.scaling import CHANNELS, network_input
from frazil.simulate.scene import simulate_scene
from frazil.simulate.thinning import as_quicklook
from frazil.simulate.world import WorldConfig

#: Of a batch: an array, or three with the wide views and corners of `frazil.learn.models.wide_unet.Views`.
Images = Any
_CROPS_OF_A_SCENE = 4  # in a batch, for networks with a wide view
IGNORE = 255  #: label of pixels that the loss leaves out: land, nodata, and what nobody labelled


@dataclass(frozen=True, eq=False)
class LabelledScene:
    """One scene in memory.

    Attributes:
        name: product name.
        image: float16 (channel, line, pixel) in [0, 1]; 0 where not observed.
        label: uint8 (line, pixel) class codes; `IGNORE` for land, nodata and pixels without a label.
        noise: float16 (channel, line, pixel) NESZ in linear power that was subtracted; 0 where none was.
        incidence_range: degrees, of its pixels.
        wide: float16 (channel, row, column), see `frazil.learn.infer.wide`; None for networks without a wide view.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    noise: np.ndarray
    incidence_range: tuple[float, float] = (0.0, 90.0)
    wide: np.ndarray | None = None


def labelled_scene(
    scene: xr.Dataset, truth: np.ndarray, channel_names: tuple[str, ...], view: int = 1
) -> LabelledScene:
    """A scene as the network will see it.

    Args:
        scene: see `frazil.conventions.check_scene`.
        truth: uint8 (line, pixel) class codes; 254 and 255 are left out.
        channel_names: of `CHANNELS`.
        view: of the network, see `frazil.learn.models.view_of`.
    """
    names = scene["polarization"].values.tolist()
    channels = tuple(CHANNELS[name] for name in channel_names)
    arrays = {name: scene[name].values for name in ("sigma0", "nesz", "incidence_angle")}
    arrays["valid"] = np.isfinite(arrays["sigma0"]).all(axis=0)
    image = network_input(arrays, names, channels).astype(np.float16)
    noise = np.zeros_like(image)
    for i, channel in enumerate(channels):
        if channel.source == "sigma0":
            noise[i] = np.nan_to_num(arrays["nesz"][names.index(channel.polarization)])
    label = np.where((truth < CLASS_LAND) & arrays["valid"], truth, IGNORE).astype(np.uint8)
    angle = arrays["incidence_angle"]
    seen = (float(np.nanmin(angle)), float(np.nanmax(angle)))
    wide = None if view == 1 else wide_view([arrays], names, channels, view).astype(np.float16)
    return LabelledScene(scene.attrs["product"], image, label, noise, seen, wide)


def simulate_labelled(
    seeds: tuple[int, ...],
    config: SimulatedData,
    *,
    view: int = 1,
    land_every: int = 0,
    mixed: bool = False,
    progress: Callable[[float], None] | None = None,
) -> list[LabelledScene]:
    """One simulated EW scene per seed; as many at a time as two cores each allow.

    Args:
        seeds: of the scenes.
        config: how they are made.
        view: of the network, see `frazil.learn.models.view_of`.
        land_every: every n-th scene has a coast.
        mixed: whether further scenes have the other spacings and forms of the settings in turn, as for training.
        progress: called with the fraction done.
    """
    kinds = [(config.spacing_m, 1)] * 3
    if mixed:
        kinds += [(spacing, 1) for spacing in config.also_spacing_m]
        kinds += [(config.spacing_m, every) for every in config.also_quicklook]

    def make(i: int) -> LabelledScene:
        land = 0.2 if land_every and i % land_every == land_every - 1 else 0.0
        world = WorldConfig(seed=seeds[i], land_fraction=land, signatures=config.signatures)
        spacing, every = kinds[i % len(kinds)]
        scene = simulate_scene("ew", seed=seeds[i], spacing_m=spacing, world=world)
        if every > 1:
            scene = as_quicklook(scene, every, np.random.default_rng([seeds[i], 7]))
        truth = to_scheme(scene["ice_class"].values, config.class_scheme)
        return labelled_scene(scene, truth, config.channels, view)

    scenes = []
    with ThreadPoolExecutor(max((os.cpu_count() or 2) // 2, 1)) as pool:
        for scene in pool.map(make, range(len(seeds))):
            scenes.append(scene)
            if progress:
                progress(len(scenes) / len(seeds))
    return scenes


def to_scheme(five: np.ndarray, scheme: str) -> np.ndarray:
    """Simulated truth in another scheme: ice against water.

    Raises:
        LabelError: the five classes do not tell the classes of the scheme apart.
    """
    if scheme == "five_classes":
        return five
    if len(CLASS_SCHEMES[scheme].classes) == 2:
        return np.where(five < CLASS_LAND, np.minimum(five, 1), five).astype(np.uint8)
    raise LabelError(f"Simulated scenes hold the five classes; they cannot be turned into {scheme!r}.")


def label_scenes(
    products: tuple[str, ...], config: SceneData, progress: Callable[[float], None] | None = None, *, view: int = 1
) -> list[LabelledScene]:
    """Products with the labels that lie on them.

    Raises:
        LabelError: labels that cover no pixel of a product.
    """
    options = LabelOptions(
        class_column=config.class_column,
        classes=config.classes,
        scene_column=config.scene_column,
        layer=config.layer,
        assume_crs=config.assume_crs,
        unknown=config.unknown_codes,
        dialect=config.dialect,
        chart=ChartSettings(dominance=config.dominance),
    )
    polarizations = tuple(dict.fromkeys(p for n in config.channels if (p := CHANNELS[n].polarization)))
    scenes = []
    for i, product in enumerate(products):
        scene = open_scene(
            product, polarizations=polarizations, looks=config.looks, boxcar=config.boxcar, denoise=config.denoise
        )
        path = filled_label(config.labels, product)
        labels = open_labels(path, CLASS_SCHEMES[config.class_scheme], options).on(scene)
        region = labels.regions(slice(0, scene.sizes["line"]))
        truth = np.where(region >= 0, labels.class_of[np.maximum(region, 0)], IGNORE).astype(np.uint8)
        if config.mask_land:
            truth[add_land(scene)["land_mask"].values] = IGNORE
        made = labelled_scene(scene, truth, config.channels, view)
        if (made.label == IGNORE).all():
            raise LabelError(
                f"{path} labels no pixel of {made.name} outside land. Check that they belong together, or pass "
                "--set data.mask_land=false where the labels know the coast better."
            )
        scenes.append(made)
        if progress:
            progress((i + 1) / len(products))
    return scenes


class CropSampler:
    """Random crops, flipped along azimuth half of the time (range is left alone: noise and angle belong to it).

    Where labels cover less than half of a scene, crops are laid around labelled pixels drawn at random.

    Args:
        scenes: to sample from, each as likely as the others.
        channels: names.
        crop: side, pixels.
        coarse: share of the crops that are coarsened.
        seed: of the run.
        view: of the network; crops begin at its multiples.

    Raises:
        LabelError: a scene smaller than the crop.
    """

    def __init__(
        self,
        scenes: list[LabelledScene],
        channels: tuple[str, ...],
        *,
        crop: int,
        coarse: float,
        seed: int,
        view: int = 1,
    ) -> None:
        self.scenes, self.channels, self.crop, self.coarse, self.seed = scenes, channels, crop, coarse, seed
        small = [s for s in scenes if min(s.label.shape) < crop]
        if small:
            height, width = small[0].label.shape
            raise LabelError(
                f"{small[0].name} has {height} × {width} pixels, fewer than the crops of {crop}. Set data.crop smaller."
            )
        self.view = view
        self._sparse = [
            np.flatnonzero(s.label.ravel() != IGNORE) if (s.label != IGNORE).mean() < 0.5 else None for s in scenes
        ]

    @property
    def n_samples(self) -> int:
        """Crops that cover the scenes once."""
        return max(sum(s.label.size for s in self.scenes) // self.crop**2, 1)

    def batch(self, step: int, size: int) -> tuple[Images, np.ndarray]:
        """Images float32 (batch, channel, height, width) and labels uint8 (batch, height, width) of a step.

        For networks with a wide view the images are three arrays, as in `frazil.learn.models.wide_unet.Views`, and
        several crops are cut from a scene: looking at it costs more than looking at a crop.
        """
        rng = np.random.default_rng([self.seed, step])
        if self.view > 1:
            return self._wide_batch(rng, size)
        images, labels = [], []
        for _ in range(size):
            number = int(rng.integers(len(self.scenes)))
            image, label, _ = self._crop(number, rng)
            if rng.random() < 0.5:
                image, label = image[:, ::-1], label[::-1]
            images.append(image)
            labels.append(label)
        return np.stack(images), np.stack(labels)

    def _crop(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
        scene = self.scenes[number]
        window = self._window(scene.label.shape, self._sparse[number], rng)
        image, label = scene.image[(slice(None), *window)].astype(np.float32), scene.label[window]
        if rng.random() < self.coarse:
            noise = scene.noise[(slice(None), *window)].astype(np.float32)
            image = coarsen(image, noise, self.channels, rng)
        return image, label, window

    def _wide_batch(self, rng: np.random.Generator, size: int) -> tuple[Images, np.ndarray]:
        n = max(size // _CROPS_OF_A_SCENE, 1)
        numbers, mirrored = rng.integers(len(self.scenes), size=n), rng.random(n) < 0.5
        views = [self.scenes[number].wide for number in numbers]
        wide = np.zeros(
            (n, len(self.channels), *(max(v.shape[k] for v in views if v is not None) for k in (1, 2))), np.float32
        )
        for to, view, turn in zip(wide, views, mirrored, strict=True):
            assert view is not None
            to[:, : view.shape[1], : view.shape[2]] = view[:, ::-1] if turn else view
        images, labels, corners = [], [], []
        for k in range(size):
            view = views[k % n]
            assert view is not None
            image, label, (lines, pixels) = self._crop(int(numbers[k % n]), rng)
            first = lines.start
            if mirrored[k % n]:
                image, label, first = image[:, ::-1], label[::-1], view.shape[1] * self.view - lines.stop
            images.append(image)
            labels.append(label)
            corners.append((first, pixels.start))
        return (np.stack(images), wide, np.array(corners, np.int64)), np.stack(labels)

    def _window(
        self, shape: tuple[int, ...], places: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[slice, slice]:
        corner = [int(rng.integers(n - self.crop + 1)) for n in shape]
        if places is not None:
            middle = np.unravel_index(places[int(rng.integers(places.size))], shape)
            shift = rng.integers(self.crop, size=2)
            corner = [int(np.clip(m - s, 0, n - self.crop)) for m, s, n in zip(middle, shift, shape, strict=True)]
        corner = [c // self.view * self.view for c in corner]
        return slice(corner[0], corner[0] + self.crop), slice(corner[1], corner[1] + self.crop)

    def scene_images(self) -> Iterator[np.ndarray]:
        """Every eighth line and pixel of each scene, float32 (channel, line, pixel)."""
        for scene in self.scenes:
            yield scene.image[:, ::8, ::8].astype(np.float32)

    def class_frequency(self, n_classes: int) -> np.ndarray:
        """Share of each class among labelled pixels of the scenes, every eighth line and pixel looked at."""
        counts = np.zeros(n_classes)
        for scene in self.scenes:
            label = scene.label[::8, ::8]
            counts += np.bincount(label[label < n_classes], minlength=n_classes)
        share: np.ndarray = counts / max(counts.sum(), 1)
        return share


@dataclass(frozen=True, eq=False)
class HeldOutScenes(OneClassEach):
    """Scenes that judge a network.

    Attributes:
        scenes: with labels.
        scheme: of the labels.
        function, stride: of a patch classifier, see `frazil.learn.infer.dense.make_engine`.
    """

    scenes: list[LabelledScene]
    scheme: ClassScheme
    function: str = "auto"
    stride: int | None = None
    unit: ClassVar[str] = "pixels"

    @property
    def names(self) -> list[str]:
        """Product names."""
        return [s.name for s in self.scenes]

    def outputs(self, network: nn.Module, device: str | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name, logits (class, pixel) and labels (pixel,) of the labelled pixels of each scene."""
        engine = make_engine(network, function=self.function, stride=self.stride, device=device)
        for i, scene in enumerate(self.scenes):
            known = scene.label != IGNORE
            name = scene.name if self.names.count(scene.name) == 1 else f"{i}: {scene.name}"
            yield name, scene_logits(engine, scene)[:, known], scene.label[known]


def scene_logits(engine: Engine, scene: LabelledScene, tile: int = 2048) -> np.ndarray:
    """Logits float16 (class, line, pixel) of a scene in memory."""
    shape, cell = scene.label.shape, engine.cell
    if engine.view > 1:
        assert scene.wide is not None
        engine.look(scene.wide.astype(np.float32))
    out: np.ndarray | None = None
    tiles = tiles_for(engine, (shape[0], shape[1]), tile)
    for part in tile_logits(engine, tiles, lambda lines: (scene.image[:, lines].astype(np.float32), None)):
        if out is None:
            out = np.empty((len(part.logits), *shape), np.float16)
        lines, pixels = part.core.slices
        logits = part.logits.repeat(cell, axis=1).repeat(cell, axis=2) if cell > 1 else part.logits
        out[:, lines, pixels] = logits[:, : lines.stop - lines.start, : pixels.stop - pixels.start]
    assert out is not None
    return out


def describe_scenes(scenes: list[LabelledScene], classes: tuple[str, ...]) -> dict[str, object]:
    """Scenes and labelled pixels of each class, for run folders and reports."""
    counts = np.zeros(len(classes), np.int64)
    for scene in scenes:
        counts += np.bincount(scene.label.ravel(), minlength=256)[: len(classes)]
    return {
        "scenes": [s.name for s in scenes],
        "pixels": dict(zip(classes, counts.tolist(), strict=True)),
        "checksum": zlib.crc32(b"".join(s.label.tobytes() + s.image[:, ::16, ::16].tobytes() for s in scenes)),
    }
