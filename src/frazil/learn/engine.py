"""Running a network over images: one small interface, whatever computes behind it."""

from __future__ import annotations

import copy
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.device import usable_device
from frazil.learn.models.unet import fold_batch_norm
from frazil.learn.models.wide_unet import Views, crop

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Engine(Protocol):
    """Logits of images.

    Attributes:
        stride: heights and widths must be multiples of it.
        margin: pixels around a result that decide about it; a multiple of the stride.
        cell: results come in squares of so many pixels.
        view: pixels along a side of a cell of the network's wide view; 1 where it has none. Otherwise `look` comes
            first, once a scene.
    """

    stride: int
    margin: int
    cell: int
    view: int

    def look(self, wide: np.ndarray) -> None:
        """Take the wide view of a scene, float32 (channel, row, column), for the images that follow."""
        ...

    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """Logits float32 (class, height, width) of one float32 image (channel, height, width).

        Args:
            image: cut from a scene.
            corner: its first line and pixel there, multiples of the stride.
        """
        ...


class TorchEngine:
    """PyTorch on the CPU or a CUDA device, channels last, batch norm folded.

    Args:
        network: in evaluation mode, with attributes `stride` and `margin`.
        device: ``"cpu"``, ``"cuda"``; by default CUDA where there is one.
        precision: of the arithmetic, ``"float32"`` or ``"bfloat16"``.

    Raises:
        OptionError: an unknown precision, or a device that is not there.
    """

    def __init__(self, network: nn.Module, *, device: str | None = None, precision: str = "float32") -> None:
        if precision not in PRECISIONS:
            raise OptionError(f"precision {precision!r} is not one of {sorted(PRECISIONS)}.")
        self.device, self.dtype = usable_device(device), PRECISIONS[precision]
        self.stride: int = network.stride  # type: ignore[assignment]
        self.margin: int = network.margin  # type: ignore[assignment]
        self.cell = 1
        self.view: int = getattr(network, "view", 1)
        self._features: Tensor | None = None
        folded = fold_batch_norm(copy.deepcopy(network).eval())
        self.network = folded.to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def look(self, wide: np.ndarray) -> None:
        """See `Engine`."""
        self._features = self.network.look(self._tensor(wide))  # type: ignore[operator]

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """See `Engine`."""
        x = self._tensor(image)
        if self.view == 1:
            found = self.network(x)
        else:
            assert self._features is not None, "look() comes first"
            views = Views(x, x, torch.tensor([corner]))
            found = self.network.with_features(x, crop(self._features, views, self.view))  # type: ignore[operator]
        logits: np.ndarray = found[0].float().cpu().numpy()
        return logits

    def _tensor(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image)[None].to(self.device, self.dtype, memory_format=torch.channels_last)
