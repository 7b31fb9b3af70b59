"""Where networks compute."""

from __future__ import annotations

import torch

from frazil.errors import OptionError


def usable_device(name: str | None) -> torch.device:
    """The device of a name such as ``"cpu"`` or ``"cuda"``; without a name CUDA where there is one.

    Raises:
        OptionError: CUDA on a machine without; a name of no device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise OptionError(f"Device {name!r} is none that PyTorch knows; use device='cpu' or 'cuda'.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"Device {name!r} is not available on this machine; use device='cpu'.")
    return device
