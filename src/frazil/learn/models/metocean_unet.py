"""The U-Net of metocean segmentation: scores on every fourth pixel, since nobody can draw these borders more exactly.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, figure 2: four stages, a decoder cut off so that 256 × 256 pixels
        give 64 × 64 cells.
    Ronneberger, O., Fischer, P., Brox, T. (2015), U-Net. MICCAI 2015. doi:10.1007/978-3-319-24574-4_28.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.models.patch import check_dropout
from frazil.learn.models.unet import double_convolution

Skips = Literal["add", "concatenate"]


@dataclass(frozen=True, kw_only=True)
class MetoceanUNetConfig:
    """The shape of the network.

    Attributes:
        widths: channels of the stages, finest first, and of the bottom; each halves the resolution of the one before.
        output: stage that the decoder ends at: 2 gives a cell for 4 × 4 pixels.
        patch: side of the pixel groups that enter as channels. With 2, ``output=1`` gives the same cells, and the
            finest stage costs a quarter.
        dropout: on the bottom, in training.
        skips: what the encoder saw is added to what the decoder knows (``"add"``), or stands beside it
            (``"concatenate"``, as Ronneberger et al. do), for a ninth more parameters.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    output: int = 2
    patch: int = 1
    dropout: float = 0.1
    skips: Skips = "add"

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise OptionError(f"widths {self.widths} must name at least two stages of at least one channel.")
        if not 0 <= self.output < len(self.widths) - 1:
            raise OptionError(f"output {self.output} must be a stage above the bottom, 0 to {len(self.widths) - 2}.")
        if self.patch < 1:
            raise OptionError(f"patch {self.patch} must be 1 or more.")
        check_dropout(self.dropout)
        if self.skips not in get_args(Skips):
            raise OptionError(f"skips {self.skips!r} must be one of {list(get_args(Skips))}.")


class MetoceanUNet(nn.Module):
    """Logits (batch, class, rows, columns) of images (batch, channel, height, width), for cells of `cell` pixels.

    Any size: what is missing to a multiple of `stride` is filled with the last pixel and cut off again. Each logit is
    for its class alone (sigmoid). It depends on what lies within `margin` pixels of its cell.
    """

    takes: ClassVar[str] = "imagette"
    fills = True  #: images of any size, by itself
    output = "sigmoid"

    def __init__(self, n_channels: int, n_classes: int, config: MetoceanUNetConfig) -> None:
        super().__init__()
        widths, last = config.widths, config.output
        self.patch = config.patch
        self.encoder = nn.ModuleList([double_convolution(n_channels * self.patch**2, widths[0])])
        self.encoder.extend(double_convolution(a, b) for a, b in itertools.pairwise(widths))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(config.dropout)
        self.reduce = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths[last:]))
        self.beside = config.skips == "concatenate"
        self.decoder = nn.ModuleList(double_convolution((1 + self.beside) * a, a) for a in widths[last:-1])
        self.head = nn.Conv2d(widths[last], n_classes, 1)
        self.cell, self.stride = self.patch * 2**last, self.patch * 2 ** (len(widths) - 1)
        reach = sum(2 * 2**k for k in range(len(widths))) + sum(3 * 2**k for k in range(last, len(widths) - 1))
        reach = (reach + 1) * self.patch
        self.margin = -(-(reach + self.stride) // self.stride) * self.stride

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        height, width = x.shape[-2:]
        x = nn.functional.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        x = nn.functional.pixel_unshuffle(x, self.patch)
        skips = []
        for i, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if i else x)
            skips.append(x)
        x = self.dropout(skips.pop())
        skips = skips[len(skips) - len(self.decoder) :]
        for i in reversed(range(len(skips))):
            x = nn.functional.interpolate(self.reduce[i](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[i](torch.cat((x, skips[i]), 1) if self.beside else x + skips[i])
        out: Tensor = self.head(x)
        return out[..., : -(-height // self.cell), : -(-width // self.cell)]
