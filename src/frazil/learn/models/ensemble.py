"""Several networks as one: the mean of their probabilities.

It is not trained, but put together of trained members (`frazil.learn.distributed.watch.choose`), and kept like any
other model: one file of weights, one card.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from frazil.errors import ModelError
from frazil.learn.models import create_model

ENSEMBLE = "ensemble"  #: its architecture on a card
_MOST = 100  # members: a card of a stranger must not fill the memory
_EPS = 1e-12


class Ensemble(nn.Module):
    """Logarithms of mean probabilities (batch, class, …), whose softmax are these probabilities.

    Args:
        members: networks of one architecture and settings.
    """

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def takes(self) -> str:
        """What its members take."""
        return str(getattr(self.members[0], "takes", ""))

    @property
    def patch(self) -> int | None:
        """Side of the patches that its members take, pixels; None where they are no patch classifiers."""
        patch: int | None = getattr(self.members[0], "patch", None)
        return patch

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return mean_logits([member(x) for member in self.members])


def mean_logits(logits: list[Tensor]) -> Tensor:
    """Logarithms of the mean of probabilities, from logits (batch, class, …) of each."""
    return torch.stack([one.float().softmax(1) for one in logits]).mean(0).clamp(min=_EPS).log()


def create_ensemble(n_channels: int, n_classes: int, settings: dict[str, Any]) -> Ensemble:
    """An ensemble with random weights, as a card describes it.

    Args:
        n_channels: of its input.
        n_classes: of its output.
        settings: ``"members"`` (how many), and the ``"architecture"`` and ``"settings"`` of each.

    Raises:
        ModelError: other settings, or what `create_model` does not know.
    """
    try:
        members, architecture, inner = (settings[name] for name in ("members", "architecture", "settings"))
    except KeyError as error:
        raise ModelError(f"an ensemble needs members, architecture and settings, and {error} is not there") from error
    if type(members) is not int or not 1 <= members <= _MOST:
        raise ModelError(f"members {members!r} must be a number from 1 to {_MOST}")
    return Ensemble(
        [create_model(architecture, n_channels=n_channels, n_classes=n_classes, settings=inner) for _ in range(members)]
    )
