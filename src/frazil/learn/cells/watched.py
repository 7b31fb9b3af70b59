"""What a network sees in a scene: the features from which its last layer tells the classes, averaged over cells."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.infer.torch_engine import TorchEngine

POOL = 4  #: pixels along a side of a cell of features


class Watched:
    """An engine that keeps, beside the logits it gives, the features before the network's last layer.

    Tiles overlap; what is kept of a cell is that of the tile in which it lies farthest from the border, so that it is
    what the network sees with the most of the scene around.

    Args:
        engine: of a network of `frazil.learn.models.unet`, which has a last layer `head` of 1 × 1 convolutions.
        shape: lines and pixels of the scene.

    Attributes:
        features: float16 (feature, row, column), one for each cell of `POOL` pixels; empty before the first tile.
    """

    def __init__(self, engine: TorchEngine, shape: tuple[int, int]) -> None:
        self._engine = engine
        self.stride, self.margin, self.cell = engine.stride, engine.margin, engine.cell
        self.output, self.view = engine.output, engine.view
        rows, columns = (n // POOL for n in shape)
        self.features = np.empty((0, rows, columns), np.float16)
        self._depth = np.full((rows, columns), -1, np.int32)
        self._seen: Tensor | None = None
        engine.network.head.register_forward_pre_hook(self._watch)  # type: ignore[union-attr]

    def look(self, wide: np.ndarray) -> None:
        """See `frazil.learn.infer.engine.Engine`."""
        self._engine.look(wide)

    def __call__(self, image: np.ndarray, corner: tuple[int, int] = (0, 0), /) -> np.ndarray:
        """See `frazil.learn.infer.engine.Engine`."""
        logits = self._engine(image, corner)
        assert self._seen is not None
        self._keep(self._seen, image.shape[1:], corner)
        self._seen = None
        return logits

    def _watch(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen = inputs[0]

    @torch.inference_mode()
    def _keep(self, seen: Tensor, size: tuple[int, ...], corner: tuple[int, int]) -> None:
        side = POOL // int(self._engine.network.patch)  # type: ignore[arg-type]
        found = nn.functional.avg_pool2d(seen.float(), side)[0].cpu().numpy()
        if not len(self.features):
            self.features = np.zeros((len(found), *self._depth.shape), np.float16)
        row, column = (c // POOL for c in corner)
        rows = min(size[0] // POOL, self._depth.shape[0] - row)
        columns = min(size[1] // POOL, self._depth.shape[1] - column)
        down, across = (
            _depths(n, at == 0, at + n >= size)
            for n, at, size in zip((rows, columns), (row, column), self._depth.shape, strict=True)
        )
        depth = np.minimum(down[:, None], across)
        place = slice(row, row + rows), slice(column, column + columns)
        better = depth > self._depth[place]
        self._depth[place] = np.where(better, depth, self._depth[place])
        kept = self.features[(slice(None), *place)]
        np.copyto(kept, found[:, :rows, :columns], where=better, casting="same_kind")


def _depths(n: int, first: bool, last: bool) -> np.ndarray:
    """How far cells lie from the ends of a tile that are not those of the scene, int32 (n,)."""
    far, at = np.int32(2**30), np.arange(n, dtype=np.int32)
    return np.minimum(np.full(n, far) if first else at, np.full(n, far) if last else at[::-1])


def can_be_watched(network: nn.Module) -> bool:
    """Whether a network's last layer is one of 1 × 1 convolutions on features of a cell's size or finer."""
    return (
        isinstance(getattr(network, "head", None), nn.Conv2d) and POOL % int(getattr(network, "patch", POOL + 1)) == 0
    )
