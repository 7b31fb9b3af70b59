"""What logits of a network mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def output_of(network: nn.Module) -> str:
    """``"softmax"`` where classes exclude each other, ``"sigmoid"`` where each holds for itself."""
    return str(getattr(network, "output", "softmax"))


def activated(logits: Tensor, output: str) -> Tensor:
    """Scores in [0, 1] of logits (batch, class, …)."""
    return logits.softmax(1) if output == "softmax" else torch.sigmoid(logits)
