"""Labelled and unlabelled patches of a step side by side, as one or several augmented views."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.data.augment import augment
from frazil.learn.data.patches import UNLABELLED, Patches


class Pool:
    """All patches that a run learns from: positions first of the labelled ones, then of the others.

    Args:
        labelled: patches whose labels are known.
        unlabelled: patches whose labels are not looked at, except by `truth`.
        seed: of the run; what a step draws is a function of it and the step alone.
    """

    def __init__(self, labelled: Patches, unlabelled: Patches, *, seed: int) -> None:
        self.labelled, self.unlabelled, self.seed = labelled, unlabelled, seed
        self.label = torch.from_numpy(labelled.label.astype(np.int64))
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.labelled) + len(self.unlabelled)

    @property
    def truth(self) -> np.ndarray:
        """Hidden labels of the unlabelled patches, −1 where there are none: for logs, never for learning."""
        label = self.unlabelled.label.astype(np.int64)
        return np.where(label == UNLABELLED, -1, label)

    def places(self, step: int, n_labelled: int, n_unlabelled: int) -> np.ndarray:
        """Positions of a step's patches, labelled ones first.

        An epoch is a pass through the unlabelled patches, filled up from its own beginning; labelled ones go round.
        """
        at = np.arange(step * n_labelled, (step + 1) * n_labelled)
        n = len(self.labelled)
        few = [self._order(0, int(turn), n)[i] for turn, i in zip(at // n, at % n, strict=True)]
        if not n_unlabelled:
            return np.array(few, int)
        epoch, within = divmod(step, math.ceil(len(self.unlabelled) / n_unlabelled))
        order = self._order(1, epoch, len(self.unlabelled))
        many = order[(within * n_unlabelled + np.arange(n_unlabelled)) % len(self.unlabelled)]
        return np.concatenate([np.array(few, int), n + many])

    def _order(self, side: int, turn: int, n: int) -> np.ndarray:
        if (side, turn) not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k[0] != side or turn - k[1] == 1}
            self._orders[side, turn] = np.random.default_rng([self.seed, 20 + side, turn]).permutation(n)
        return self._orders[side, turn]

    def views(self, places: np.ndarray, step: int, changes: tuple[tuple[str, ...], ...]) -> list[np.ndarray]:
        """Images float32 (patch, channel, height, width) of some positions, once for each tuple of augmentations."""
        n = len(self.labelled)
        images = np.concatenate(
            [self.labelled.image[places[places < n]], self.unlabelled.image[places[places >= n] - n]]
        ).astype(np.float32)
        return [
            augment(images, self.labelled.channels, names, np.random.default_rng([self.seed, 30 + i, step]))
            for i, names in enumerate(changes)
        ]

    def descriptors(self, network: nn.Module, device: torch.device) -> np.ndarray:
        """Descriptors float32 (patch, feature) of all patches as they are, in evaluation mode."""
        parts = [side.descriptors(network, device.type) for side in (self.labelled, self.unlabelled)]
        return np.concatenate(parts)


class PoolBatches:
    """Batches of a pool on a device; the next one is made while the network works on this one.

    Args:
        pool: of patches.
        draw: numbers of labelled and unlabelled patches of a step, and the step as the pool counts it.
        changes: augmentations of each view.
        device: where they go.
    """

    def __init__(
        self,
        pool: Pool,
        draw: Callable[[int], tuple[int, int, int]],
        changes: tuple[tuple[str, ...], ...],
        device: torch.device,
    ) -> None:
        self.pool, self.draw, self.changes, self.device = pool, draw, changes, device
        self._thread = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[tuple[list[np.ndarray], np.ndarray]]] | None = None

    def __call__(self, step: int) -> tuple[list[Tensor], Tensor]:
        """Views float32 (batch, channel, height, width) and positions int64 (batch,), labelled patches first."""
        views, places = self._next[1].result() if self._next and self._next[0] == step else self._make(step)
        self._next = step + 1, self._thread.submit(self._make, step + 1)
        images = [torch.from_numpy(v).to(self.device, memory_format=torch.channels_last) for v in views]
        return images, torch.from_numpy(places)

    def renew(self) -> None:
        """Forget the batch that was made ahead, of a pool that is about to change."""
        if self._next is not None:
            self._next[1].result()  # its thread looks at the pool until then
            self._next = None

    def _make(self, step: int) -> tuple[list[np.ndarray], np.ndarray]:
        n_labelled, n_unlabelled, at = self.draw(step)
        places = self.pool.places(at, n_labelled, n_unlabelled)
        return self.pool.views(places, step, self.changes), places
