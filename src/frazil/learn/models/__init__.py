"""The networks, one file per family; `create_model` builds one from its name and settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from frazil.errors import ModelError
from frazil.learn.models.unet import UNet, UNetConfig

#: name -> (network, its settings)
ARCHITECTURES: dict[str, tuple[type[nn.Module], type]] = {"unet": (UNet, UNetConfig)}


def create_model(name: str, *, n_channels: int, n_classes: int, settings: dict[str, Any] | None = None) -> nn.Module:
    """A network with random weights.

    Args:
        name: one of `ARCHITECTURES`.
        n_channels: of its input.
        n_classes: of its output.
        settings: fields of the architecture's config; lists are taken for tuples.

    Raises:
        ModelError: an unknown architecture or setting.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"Architecture {name!r} is unknown; this version of frazil has {sorted(ARCHITECTURES)}.")
    network, config = ARCHITECTURES[name]
    chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in (settings or {}).items()}
    unknown = set(chosen) - set(asdict(config()))
    if unknown:
        raise ModelError(f"Settings {sorted(unknown)} are unknown to {name!r}, which has {sorted(asdict(config()))}.")
    return network(n_channels, n_classes, config(**chosen))
