"""What batch norm remembers of batches that are not like those of scenes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    kept = [(layer, layer.momentum, layer.running_mean, layer.running_var) for layer in layers]
    for layer, _, mean, variance in kept:
        layer.momentum = 0.0
        # The pass is given copies: what is not finite comes through a momentum of 0, and what backward is to use must
        # not be written to afterwards.
        layer.running_mean = None if mean is None else mean.clone()
        layer.running_var = None if variance is None else variance.clone()
    try:
        yield
    finally:
        for layer, momentum, mean, variance in kept:
            layer.momentum, layer.running_mean, layer.running_var = momentum, mean, variance
