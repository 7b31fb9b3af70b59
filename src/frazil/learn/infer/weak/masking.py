"""MASK: what an image loses of a score where a square of it is hidden.

References:
    Zeiler, M. D., Fergus, R. (2014), Visualizing and understanding convolutional networks. ECCV 2014.
    Colin, A., et al. (2022), Remote Sens. 14, 851, equations 3 to 6.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from frazil.errors import OptionError
from frazil.learn.infer.weak.grid import ScoreMap, as_tensor, check_categoriser, scores_of


@torch.inference_mode()
def mask_scores(
    network: nn.Module,
    image: np.ndarray,
    *,
    side: int = 75,
    stride: int = 25,
    count: int | None = None,
    fill: str = "zero",
    batch: int = 16,
) -> ScoreMap:
    """Mean drop of each score over the masks that cover a place.

    Masks stand on a grid about the centre of the image, clipped at the rim. Only drops count (equation 4); a place is
    covered by masks whose centre is less than half a side away along both axes (equations 5 and 6). Equation 3 as
    printed ("and") would hide a cross; the text says a square, and so do equations 5 and 6.

    How many masks: as many as cover the image. The source names 512 × 512 pixels, every 25, a map of 16 × 16 and 257
    runs, which do not go together: 16 places every 25 pixels span 400. On 400 × 400 pixels (20 km at 50 m) ours are 16
    × 16, 257 runs with that of the whole image; on 512 × 512 they are 21 × 21, 442 runs. ``count=16`` has the source's
    map and runs there: the 16 × 16 places in the middle, with a rim of 68 pixels that has none.

    Args:
        network: a categoriser, in evaluation mode.
        image: float (1, height, width); NaN counts as 0.
        side: of the mask, pixels.
        stride: between masks, and between the places of the result.
        count: masks along each side of the image, in its middle; by default as many as cover it.
        fill: what stands under the mask: ``"zero"`` or the ``"mean"`` of the image.
        batch: masks at a time.

    Raises:
        OptionError: a mask below its stride, more masks than cover the image, or an unknown fill.
        ModelError: no categoriser.
    """
    if fill not in ("zero", "mean"):
        raise OptionError(f"fill {fill!r} is not 'zero' or 'mean'.")
    if not 1 <= stride <= side:
        raise OptionError(f"stride {stride} must lie between 1 and the side of the mask, {side}: all must be covered.")
    categoriser = check_categoriser(network)
    x = as_tensor(network, image)
    height, width = x.shape[-2:]
    y_at, x_at = (places(n, stride, count) for n in (height, width))
    value = float(x.float().mean()) if fill == "mean" else 0.0
    whole = scores_of(categoriser, x, batch)[0]
    drops = []
    all_ = [(a, b) for a in y_at for b in x_at]
    for start in range(0, len(all_), batch):
        some = all_[start : start + batch]
        hidden = x.expand(len(some), -1, -1, -1).clone(memory_format=torch.channels_last)
        for one, (a, b) in zip(hidden, some, strict=True):
            one[:, covered(a, side, height), covered(b, side, width)] = value
        drops.append((whole - scores_of(categoriser, hidden, batch)).clamp(min=0))
    drop = torch.cat(drops).T.reshape(-1, y_at.size, x_at.size).cpu().numpy()
    near = [(np.abs(p[:, None] - p[None, :]) < side / 2).astype(np.float32) for p in (y_at, x_at)]
    total = np.einsum("ri,kij,cj->krc", near[0], drop, near[1], optimize=True)
    count = near[0].sum(1)[:, None] * near[1].sum(1)[None, :]
    return ScoreMap((total / count).astype(np.float32), y_at, x_at)


def places(n: int, stride: int, count: int | None = None) -> np.ndarray:
    """So many places, or as many as cover n pixels, as far from one rim as from the other."""
    most = -(-n // stride)
    if count is not None and not 1 <= count <= most:
        raise OptionError(f"{count} masks a side: every {stride} pixels, 1 to {most} stand on {n} pixels.")
    count = most if count is None else count
    return (np.arange(count) - (count - 1) / 2) * stride + (n - 1) / 2


def covered(centre: float, side: int, n: int) -> slice:
    """Pixels less than half a side from a centre, as in equation 3."""
    return slice(max(int(np.floor(centre - side / 2)) + 1, 0), min(int(np.ceil(centre + side / 2)), n))
