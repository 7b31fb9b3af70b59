"""Ways to learn: one file each, with one `step`; the loop knows none of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from frazil.learn.config import RunConfig
from frazil.learn.data import Batches, LearningData, Sampler
from frazil.learn.strategies.supervised import Supervised
from frazil.learn.train import Strategy


def make_strategy(config: RunConfig, network: nn.Module, data: LearningData, device: torch.device) -> Strategy:
    """The strategy that a run asks for, around its network and data."""
    settings = config.strategy
    batches = Batches(data.train, config.optim.batch, device)
    weights = class_weights(data.train, len(data.scheme.classes), settings.class_balance).to(device)
    return Supervised(network, batches, weights, settings.label_smoothing)


def class_weights(sampler: Sampler, n_classes: int, balance: float) -> torch.Tensor:
    """Weights (class,): frequency to the power of minus `balance`, one on average over the training samples."""
    frequency = sampler.class_frequency(n_classes)
    weight = np.maximum(frequency, 1e-3) ** -balance
    return torch.tensor(weight / (weight * frequency).sum(), dtype=torch.float32)
