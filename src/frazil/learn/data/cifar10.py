"""CIFAR-10 as a run learns from it: the same patches, batches and scores as those of scenes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import LabelError, OptionError
from frazil.labels.datasets.cifar10 import CIFAR10, read_cifar10
from frazil.learn.config import Cifar10Data, LabelsConfig
from frazil.learn.data.augment import crop_margin
from frazil.learn.data.labels import choose_labels
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.patches import Patches, PatchSampler
from frazil.scene.scaling import Channel

_CHANGES = ("crop", "flip")  # in this order
_AHEAD = 64  # batches whose places and shifts travel to a device together


class CropsOnDevice(PatchSampler):
    """The batches of a sampler of cropped and mirrored images, made where a network computes: the same pixels.

    All images lie on the device, 2 bytes a number. Of a batch only places and shifts travel, many batches at a time, so
    that no step waits for them. Copies with another seed share the images.

    Args:
        sampler: whose changes are ``"crop"`` and ``"flip"``.
        device: where images lie and batches are made.
    """

    def __init__(self, sampler: PatchSampler, device: torch.device) -> None:
        assert sampler.augment == _CHANGES
        assert not sampler.resample
        self.patches, self.seed, self.augment, self.resample = sampler.patches, sampler.seed, sampler.augment, False
        self._order = (-1, np.zeros(0, int))
        side = self.patches.image.shape[-1]
        self._pad = crop_margin(side)
        wide = nn.functional.pad(torch.from_numpy(self.patches.image).to(device), (self._pad,) * 4)
        self._wide = wide.permute(0, 2, 3, 1).contiguous()  # crops of it come out channels last
        self._label = torch.from_numpy(self.patches.label.astype(np.int64)).to(device)
        self._along = torch.arange(side, device=device)
        self._drawn: dict[tuple[int, int, int], Tensor] = {}

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Images float32 (batch, channel, height, width), channels last, and labels int64 (batch,) of a step."""
        block, within = divmod(step, _AHEAD)
        key = self.seed, block, size
        if key not in self._drawn:
            for old in [k for k in self._drawn if k[0] == self.seed]:
                del self._drawn[old]
            drawn = np.stack([self._draw(block * _AHEAD + i, size) for i in range(_AHEAD)])
            self._drawn[key] = torch.from_numpy(drawn).to(self._wide.device)
        which, row, column, turned = self._drawn[key][within].unbind()
        columns = torch.where(turned[:, None] > 0, self._along.flip(0), self._along) + column[:, None]
        rows = self._along + row[:, None]
        images = self._wide[which[:, None, None], rows[:, :, None], columns[:, None, :]]
        return images.float().permute(0, 3, 1, 2), self._label[which]

    def _draw(self, step: int, size: int) -> np.ndarray:
        """Places, first rows and columns, and whether mirrored: int64 (4, batch), drawn as `augment` draws."""
        which, rng = self.places(step, size), np.random.default_rng([self.seed, 2, step])
        rows, columns = (rng.integers(2 * self._pad + 1, size=(size, 1))[:, 0] for _ in range(2))
        return np.stack([which, rows, columns, rng.random(size) < 0.5])


def load_cifar10(
    config: Cifar10Data, seed: int, labels: LabelsConfig | None = None, *, pool: bool = False
) -> LearningData:
    """Training, validation and test images.

    Args:
        config: which.
        seed: of the batches.
        labels: which training images keep their label; all by default.
        pool: learn from the others without it.

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
    chosen, said = choose_labels(train, labels or LabelsConfig())
    rest = train.take(np.setdiff1d(np.arange(len(train)), chosen)) if pool else None
    if rest is not None and not len(rest):
        raise LabelError("All training images keep their label: none is left to learn from without. Set labels.count.")
    train = train.take(chosen) if said else train
    changes = tuple(name for name in _CHANGES if name in config.augment)
    return LearningData(
        train=PatchSampler(train, seed=seed, augment=changes),
        validation=held_out if n else None,
        test=test,
        channels=tuple(Channel(name=name, low=0.0, high=255.0) for name in config.channels),
        scheme=CIFAR10,
        spacing_m=1.0,  # a photograph has none
        denoise="none",
        description={
            "split": "the publication",
            "leaks": False,
            "train": train.describe(),
            "validation": held_out.describe(),
            "test": test.describe(),
            **({"labels": said} if said else {}),
            **({"unlabelled": rest.describe()} if rest is not None else {}),
        },
        unlabelled=rest,
        scored_on="the {side} images of CIFAR-10",
    )


def _patches(config: Cifar10Data, part: str, per_class: int | None) -> Patches:
    image, label = read_cifar10(config.path, part, per_class=per_class, seed=config.split_seed)  # type: ignore[arg-type]
    k = config.shrink
    if k > 1:
        side = image.shape[-1] // k
        image = image.reshape(len(image), 3, side, k, side, k).mean((3, 5), dtype=np.float32)
    scaled = np.asarray(image / np.float32(255), np.float16)
    name = np.full(len(label), f"cifar10-{part}")
    return Patches(scaled, label, name, np.arange(len(label)), config.channels, CIFAR10, {})
