"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.config import OptimConfig


class Strategy(Protocol):
    """What the loop asks of a way to learn."""

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss to descend and what to log."""
        ...


def seed_everything(seed: int) -> None:
    """Same seed, same machine, same result: seeds torch and asks it for deterministic algorithms.

    Everything else that is random draws from generators of its own, made from the run's seed.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=False)


def learning_rate(config: OptimConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


def train_loop(
    model: nn.Module,
    strategy: Strategy,
    batch_of: Callable[[int], tuple[np.ndarray, np.ndarray]],
    config: OptimConfig,
    *,
    log: Callable[[int, dict[str, float]], None] | None = None,
) -> nn.Module:
    """Train a network in place and return it in evaluation mode.

    Args:
        model: the network.
        strategy: how to learn.
        batch_of: images and labels of a step.
        config: optimiser settings.
        log: called after every step with its number and logs.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16")
    model.train()
    for step in range(config.steps):
        image, label = batch_of(step)
        batch = (
            torch.from_numpy(image).to(memory_format=torch.channels_last),
            torch.from_numpy(label.astype(np.int64)),
        )
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        with autocast:
            loss, logs = strategy.step(model, batch, step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        if log:
            log(step, logs)
    return model.eval()
