"""Where networks compute."""

from __future__ import annotations

import torch

from frazil.errors import OptionError


def usable_device(name: str | None) -> torch.device:
    """The device of a name such as ``"cpu"`` or ``"cuda"``; without a name CUDA where there is one.

    Raises:
        OptionError: CUDA on a machine without.
    """
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"Device {name!r} is not available on this machine; use device='cpu'.")
    return device
