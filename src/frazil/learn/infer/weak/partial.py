"""PART: what a categoriser calls each small tile of an image.

Tile by tile as in the paper, or densely: the trunk runs once over the whole image, and means over windows of its map
take the place of tiles. Where the network does not pad with zeros inside, both are equal; where it does (InceptionV3
in its eleven blocks), a tile sees zeros where the window sees its neighbourhood: `agreement` says how different they
are.

References:
    Viola, P., Jones, M. (2004), Robust real-time face detection. Int. J. Comput. Vis. 57, 137.
    Colin, A., et al. (2022), Remote Sens. 14, 851, equation 7.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.infer.weak.grid import ScoreMap, as_tensor, check_categoriser, scores_of, trunk_grid
from frazil.learn.models.output import activated, output_of


@torch.inference_mode()
def part_scores(
    network: nn.Module,
    image: np.ndarray,
    *,
    tile: int = 129,
    stride: int | None = None,
    dense: bool = False,
    batch: int = 32,
) -> ScoreMap:
    """Scores of tiles, each at its centre.

    Args:
        network: a categoriser, in evaluation mode.
        image: float (1, height, width), at least a tile; NaN counts as 0.
        tile: side, pixels; 75 and 129 in the paper.
        stride: between tiles; a third of one by default. The last tile of a row ends at the rim. Dense maps have that
            of the network.
        dense: one pass over the whole image.
        batch: tiles at a time.

    Raises:
        OptionError: a tile larger than the image or too small for the network. ModelError: no categoriser.
    """
    step = max(tile // 3, 1) if stride is None else stride
    if step < 1 or tile < 1:
        raise OptionError(f"tile {tile} and stride {step} must be 1 or more.")
    categoriser = check_categoriser(network)
    x = as_tensor(network, image)
    height, width = x.shape[-2:]
    if tile > min(height, width):
        raise OptionError(f"Tiles of {tile} pixels do not fit an image of {height} × {width}. Choose smaller ones.")
    if dense:
        scores, spacing = dense_tiles(categoriser, x, tile)
        n = [(side - tile) // spacing + 1 for side in (height, width)]  # tiles that lie inside
        y_at, x_at = (np.arange(k) * spacing + (tile - 1) / 2 for k in n)
        return ScoreMap(scores[0, :, : n[0], : n[1]].cpu().numpy(), y_at, x_at)
    starts = [sorted({*range(0, n - tile + 1, step), n - tile}) for n in (height, width)]
    tiles = torch.cat([x[..., a : a + tile, b : b + tile] for a in starts[0] for b in starts[1]])
    made = scores_of(categoriser, tiles.contiguous(memory_format=torch.channels_last), batch)
    score = made.T.reshape(-1, len(starts[0]), len(starts[1])).cpu().numpy()
    return ScoreMap(score, *(np.array(s) + (tile - 1) / 2 for s in starts))


def dense_tiles(network: nn.Module, x: Tensor, tile: int) -> tuple[Tensor, int]:
    """Scores (batch, class, rows, columns) of tiles that start at multiples of the network's stride; that stride."""
    categoriser = check_categoriser(network)
    try:
        side = categoriser.trunk(x[..., :tile, :tile]).shape[-1]
    except RuntimeError as error:
        raise OptionError(f"Tiles of {tile} pixels are too small for this network.") from error
    maps = nn.functional.avg_pool2d(categoriser.trunk(x), side, 1)
    batch, _, rows, columns = maps.shape
    logits = categoriser.head(maps.permute(0, 2, 3, 1).reshape(batch * rows * columns, -1).float())
    scores = activated(logits, output_of(network)).reshape(batch, rows, columns, -1).permute(0, 3, 1, 2)
    return scores, trunk_grid(categoriser).spacing


def agreement(network: nn.Module, image: np.ndarray, tile: int) -> float:
    """Mean difference of scores between dense maps and tile by tile at the same places: the border effect."""
    dense = part_scores(network, image, tile=tile, dense=True)
    spacing = int(dense.y[1] - dense.y[0]) if dense.y.size > 1 else tile
    plain = part_scores(network, image, tile=tile, stride=spacing)
    return float(np.abs(dense.score - plain.score[:, : dense.y.size, : dense.x.size]).mean())
