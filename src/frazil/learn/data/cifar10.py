"""CIFAR-10 as a run learns from it: the same patches, batches and scores as those of scenes."""

from __future__ import annotations

import numpy as np

from frazil.errors import OptionError
from frazil.labels.datasets.cifar10 import CIFAR10, read_cifar10
from frazil.learn.config import Cifar10Data
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.patches import Patches, PatchSampler
from frazil.scene.scaling import Channel

_PAD = 4  # pixels of zeros around an image of 32, before it is cropped


class CropFlip(PatchSampler):
    """Batches of images, each shifted by up to four pixels and mirrored at random. See `PatchSampler`."""

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 (batch, channel, height, width) and labels uint8 (batch,) of a step."""
        which = self.places(step, size)
        images, n = self.patches.image[which].astype(np.float32), len(which)
        rng = np.random.default_rng([self.seed, 2, step])
        if "crop" in self.augment:
            side = images.shape[-1]
            pad = max(_PAD * side // 32, 1)
            wide = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
            rows, columns = (rng.integers(2 * pad + 1, size=(n, 1)) + np.arange(side) for _ in range(2))
            images = wide[np.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].transpose(0, 3, 1, 2)
        if "flip" in self.augment:
            turned = rng.random(n) < 0.5
            images[turned] = images[turned, :, :, ::-1]
        return np.ascontiguousarray(images), self.patches.label[which]


def load_cifar10(config: Cifar10Data, seed: int) -> LearningData:
    """Training, validation and test images.

    Raises:
        OptionError, LabelNotFoundError, LabelError: no path, nothing there, or damaged files.
    """
    if not config.path:
        raise OptionError("No CIFAR-10 was named. Pass --set data.path=FOLDER.")
    known = _patches(config, "train", config.per_class)
    order = np.random.default_rng([config.split_seed, 91]).permutation(len(known))
    n = round(config.validation * len(known))
    held_out, train = known.take(np.sort(order[:n])), known.take(np.sort(order[n:]))
    test = _patches(config, "test", config.test_per_class)
    return LearningData(
        train=CropFlip(train, seed=seed, augment=config.augment),
        validation=held_out if n else None,
        test=test,
        channels=tuple(Channel(name=name, low=0.0, high=255.0) for name in config.channels),
        scheme=CIFAR10,
        spacing_m=1.0,  # a photograph has none
        denoise="none",
        description={
            "split": "the publication", "leaks": False, "train": train.describe(), "validation": held_out.describe(),
            "test": test.describe(),
        },
        scored_on="the {side} images of CIFAR-10",
    )  # fmt: skip


def _patches(config: Cifar10Data, part: str, per_class: int | None) -> Patches:
    image, label = read_cifar10(config.path, part, per_class=per_class, seed=config.split_seed)  # type: ignore[arg-type]
    k = config.shrink
    if k > 1:
        side = image.shape[-1] // k
        image = image.reshape(len(image), 3, side, k, side, k).mean((3, 5), dtype=np.float32)
    scaled = np.asarray(image / np.float32(255), np.float16)
    name = np.full(len(label), f"cifar10-{part}")
    return Patches(scaled, label, name, np.arange(len(label)), config.channels, CIFAR10, {})
