"""A network so small that its losses and gradients can be written down in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.strategies.plan import Plan

N_CLASSES, SIZE = 3, 4
PLAN = Plan(steps=100, epoch=10)


class Linear(nn.Module):
    """One layer on the pixels; notes what it was given."""

    def __init__(self, seed: int = 0, scale: float = 0.5) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.layer = nn.Linear(2 * SIZE * SIZE, N_CLASSES)
        with torch.no_grad():
            self.layer.weight.copy_(torch.from_numpy(scale * rng.normal(size=self.layer.weight.shape)))
            self.layer.bias.copy_(torch.from_numpy(rng.normal(size=N_CLASSES)))
        self.given: list[np.ndarray] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(x.detach().double().flatten(1).numpy())
        out: Tensor = self.layer(x.flatten(1))
        return out

    def logits(self, x: np.ndarray) -> np.ndarray:
        """The same in float64."""
        w, b = (p.detach().double().numpy() for p in (self.layer.weight, self.layer.bias))
        return np.asarray(x.reshape(len(x), -1) @ w.T + b)


class Batches:
    """The same patches at every step: one array (patch, channel, height, width) a view."""

    def __init__(self, n: int, n_views: int, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.views = [rng.normal(size=(n, 2, SIZE, SIZE)).astype(np.float32) for _ in range(n_views)]
        self.places = rng.permutation(50)[:n]

    def __call__(self, _step: int) -> tuple[list[Tensor], Tensor]:
        return [torch.from_numpy(v) for v in self.views], torch.from_numpy(self.places)


def make(
    kind: Any, settings: Any, *, n: int = 11, n_views: int = 2, **more: Any
) -> tuple[Any, Linear, Batches, Tensor]:
    """A strategy, its network, its patches and the labels of fifty places."""
    network, batches = Linear(), Batches(n, n_views)
    label = torch.from_numpy(np.random.default_rng(2).integers(0, N_CLASSES, 50))
    made = kind(network, batches, label, *more.pop("classes", ()), PLAN, settings, **more)
    return made, network, batches, label


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def cross_entropy(z: np.ndarray, target: np.ndarray) -> float:
    """Of each patch, in the mean; targets are probabilities."""
    return float(-(target * np.log(softmax(z))).sum(axis=1).mean())


def gradient(network: Linear) -> np.ndarray:
    """Of the weights, as backward left it."""
    assert network.layer.weight.grad is not None
    return np.asarray(network.layer.weight.grad.double().numpy())
