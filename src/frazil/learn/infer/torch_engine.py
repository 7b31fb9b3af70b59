"""Running a network over images by PyTorch."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.infer.device import usable_device
from frazil.learn.infer.engine import PRECISION_NAMES, filled
from frazil.learn.models.output import output_of
from frazil.learn.models.unet import fold_batch_norm
from frazil.learn.models.wide_unet import Views, crop

__all__ = ["PRECISIONS", "TorchEngine"]

PRECISIONS: dict[str, torch.dtype] = {name: getattr(torch, name) for name in PRECISION_NAMES}


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
        self.cell: int = getattr(network, "cell", 1)
        self.output = output_of(network)
        self.view: int = getattr(network, "view", 1)
        self._fills = bool(getattr(network, "fills", False))
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
        lines, pixels = (-(-n // self.cell) for n in image.shape[1:])
        x = self._tensor(np.ascontiguousarray(image) if self._fills else filled(image, self.stride))
        if self.view == 1:
            found = self.network(x)
        else:
            assert self._features is not None, "look() comes first"
            views = Views(x, x, torch.tensor([corner]))
            found = self.network.with_features(x, crop(self._features, views, self.view))  # type: ignore[operator]
        logits: np.ndarray = found[0, :, :lines, :pixels].float().cpu().numpy()
        return logits

    def _tensor(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image)[None].to(self.device, self.dtype, memory_format=torch.channels_last)
