"""A small U-Net: every pixel of the scene gets its class, with the neighbourhood taken into account.

References:
    Ronneberger, O., Fischer, P., Brox, T. (2015), U-Net: convolutional networks for biomedical image segmentation.
    MICCAI 2015. doi:10.1007/978-3-319-24574-4_28.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from frazil.learn.map_shapes import UNetConfig

__all__ = ["UNet", "UNetConfig", "double_convolution", "fold_batch_norm"]


class UNet(nn.Module):
    """Logits (batch, class, height, width) of images (batch, channel, height, width).

    Height and width must be multiples of `stride`. There is no normalisation over the image, so the result at a pixel
    depends only on what lies within `margin` pixels.
    """

    takes: ClassVar[str] = "scene"

    def __init__(self, n_channels: int, n_classes: int, config: UNetConfig) -> None:
        super().__init__()
        widths = config.widths
        self.patch = config.patch
        self.encoder = nn.ModuleList([double_convolution(n_channels * self.patch**2, widths[0])])
        self.encoder.extend(double_convolution(a, b) for a, b in itertools.pairwise(widths))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(config.dropout)
        self.reduce = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.decoder = nn.ModuleList(double_convolution(a, a) for a in widths[:-1])
        self.head = nn.Conv2d(widths[0], n_classes * self.patch**2, 1)
        self.stride, self.margin = config.stride, config.margin

    def forward(self, x: Tensor, also: Mapping[int, Tensor] | None = None) -> Tensor:
        """See the class. What is in `also` is added to what a stage of the encoder, by number, gives."""
        x = nn.functional.pixel_unshuffle(x, self.patch)
        skips = []
        for i, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if i else x)
            if also is not None and i in also:
                x = x + also[i]
            skips.append(x)
        x = self.dropout(skips.pop())
        for i in reversed(range(len(skips))):
            x = nn.functional.interpolate(self.reduce[i](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[i](x + skips[i])
        out: Tensor = nn.functional.pixel_shuffle(self.head(x), self.patch)
        return out


def double_convolution(n_in: int, n_out: int) -> nn.Sequential:
    """Two convolutions of 3 × 3, each with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """The same function in evaluation mode with every convolution-norm pair of a Sequential folded into one."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for child in model.modules():
        if not isinstance(child, nn.Sequential):
            continue
        for i in range(len(child) - 1):
            conv, norm = child[i], child[i + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                child[i] = fuse_conv_bn_eval(conv.eval(), norm.eval())
                child[i + 1] = nn.Identity()
    return model
