"""Losses of metocean segmentation.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, equations 1 and 2.
"""

from __future__ import annotations

from torch import Tensor, nn

#: K of C, equation 2, in the order AF BS IB LWA MCC OF POW RC SI WS.
PUBLISHED_RARITY = (34.5, 11.8, 250.0, 14.1, 8.2, 71.4, 2.3, 50.0, 9.1, 8.3)


def weighted_bce(logits: Tensor, mask: Tensor, rarity: Tensor, weighting: str = "paper") -> Tensor:
    """C, equation 1, averaged over images, classes and cells.

    Args:
        logits: (batch, class, rows, columns).
        mask: likewise; 0 or 1.
        rarity: K (class).
        weighting: see `frazil.learn.config.SegmentationConfig`. With ``"paper"`` a class that covers a share p
            of an image has weight p on its cells and 1 − p on the others; with ``"code"`` 1 − p and p.
    """
    y = mask.float()
    share = y.mean((2, 3), keepdim=True)
    inside, outside = {"paper": (share, 1 - share), "code": (1 - share, share)}.get(weighting, (1.0, 1.0))
    each = nn.functional.binary_cross_entropy_with_logits(logits.float(), y, reduction="none")
    k = rarity / rarity.sum() * len(rarity)
    return (k[None, :, None, None] * (inside * y + outside * (1 - y)) * each).mean()


def rarity_of(shares: Tensor, rarest: float) -> Tensor:
    """K (class): inverse of the share of all pixels that a class covers, at most `rarest`."""
    return (1 / shares.clamp(min=1e-9)).clamp(max=rarest)


def label_loss(logits: Tensor, target: Tensor, output: str, smoothing: float = 0.0) -> Tensor:
    """Loss of labels of whole images, at one place (batch, class) or at all places (batch, class, rows, columns).

    Args:
        logits: as above.
        target: (batch, class): 1 there, 0 not there, 255 unknown. For ``"softmax"``, one class is there.
        output: what logits mean.
        smoothing: of labels, for ``"softmax"``.
    """
    if output == "softmax":
        code = (target == 1).float().argmax(1)
        places = code if logits.ndim == 2 else code[:, None, None].expand(-1, *logits.shape[2:])
        return nn.functional.cross_entropy(logits.float(), places, label_smoothing=smoothing)
    spread = target if logits.ndim == 2 else target[:, :, None, None].expand_as(logits)
    known = (spread != 255).float()
    each = nn.functional.binary_cross_entropy_with_logits(logits.float(), (spread == 1).float(), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
