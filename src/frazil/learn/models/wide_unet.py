"""A U-Net with a second, wide view: what a pixel is may be decided by the whole scene.

In closed pack HH falls by 0.2 to 0.4 dB a degree over a hundred kilometres, over water by 0.6 to 0.9: the scene tells
what a window of 15 km cannot. The wide view is the whole scene in cells of `view` pixels; a U-Net of its own looks at
it once, and its features enter the fine one at the stage of that resolution.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from torch import Tensor, nn

from frazil.learn.map_shapes import WideUNetConfig
from frazil.learn.models.unet import UNet, double_convolution

__all__ = ["Views", "WideUNet", "WideUNetConfig", "crop"]


class Views(NamedTuple):
    """A batch for a network with a wide view.

    Attributes:
        image: (batch, channel, height, width).
        wide: (scene, channel, rows, columns): the scenes that the images were cut from, in cells; image k is from
            scene k modulo their number.
        corner: int64 (batch, 2): line and pixel of an image's corner in its scene, multiples of the cell.
    """

    image: Tensor
    wide: Tensor
    corner: Tensor


class WideUNet(UNet):
    """Logits (batch, class, height, width) of `Views`, see the module.

    Attributes:
        view: pixels along a side of a cell of the wide view.
    """

    def __init__(self, n_channels: int, n_classes: int, config: WideUNetConfig) -> None:
        super().__init__(n_channels, n_classes, config)
        widths = config.wide_widths
        self.wide_stage = config.wide_stage
        self.view = config.view
        self.wide_encoder = nn.ModuleList([double_convolution(n_channels, widths[0])])
        self.wide_encoder.extend(double_convolution(a, b) for a, b in itertools.pairwise(widths))
        self.wide_reduce = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.wide_decoder = nn.ModuleList(double_convolution(a, a) for a in widths[:-1])
        self.merge = nn.Conv2d(widths[0], config.widths[self.wide_stage], 1)

    def look(self, wide: Tensor) -> Tensor:
        """Features (batch, feature, row, column) of whole scenes (batch, channel, row, column), one a cell."""
        rows, columns = wide.shape[-2:]
        multiple = 2 ** (len(self.wide_encoder) - 1)
        x = nn.functional.pad(wide, (0, -columns % multiple, 0, -rows % multiple))
        skips = []
        for i, stage in enumerate(self.wide_encoder):
            x = stage(self.pool(x) if i else x)
            skips.append(x)
        x = skips.pop()
        for i in reversed(range(len(skips))):
            x = nn.functional.interpolate(self.wide_reduce[i](x), scale_factor=2.0, mode="nearest")
            x = self.wide_decoder[i](x + skips[i])
        features: Tensor = self.merge(x[..., :rows, :columns])
        return features

    def forward(self, views: Views) -> Tensor:  # type: ignore[override]
        """See the class."""
        return self.with_features(views.image, crop(self.look(views.wide), views, self.view))

    def with_features(self, image: Tensor, features: Tensor) -> Tensor:
        """Logits of images, given the features of the wide view under them."""
        return super().forward(image, {self.wide_stage: features})


def crop(features: Tensor, views: Views, view: int) -> Tensor:
    """The part of each scene's features that lies under its image; zero beyond the scene."""
    height, width = (n // view for n in views.image.shape[-2:])
    out = features.new_zeros(len(views.image), features.shape[1], height, width)
    for k, (line, pixel) in enumerate((views.corner // view).tolist()):
        part = features[k % len(features), :, line : line + height, pixel : pixel + width]
        out[k, :, : part.shape[1], : part.shape[2]] = part
    return out
