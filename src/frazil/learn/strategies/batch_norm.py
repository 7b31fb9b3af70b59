"""What batch norm remembers of batches that are not like those of scenes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Normalise by the statistics of the batch, as in training, and leave the moving ones as they are.

    For patches that a generator made, which would spoil the statistics that real scenes are mapped by, and for passes
    that would count the same patches twice.

    Args:
        network: in training mode, any; its batch norms must have a momentum, as those of all frazil's networks do.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    moving = [s for layer in layers for s in (layer.running_mean, layer.running_var) if s is not None]
    before = [statistic.clone() for statistic in moving]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        with torch.no_grad():
            for statistic, was in zip(moving, before, strict=True):
                statistic.copy_(was)  # what is not finite comes through a momentum of 0
