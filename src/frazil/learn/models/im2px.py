"""IM2PX: a network that may only see a small neighbourhood, so that labels of whole images can teach it places.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, section 3.5: an encoder with n = 3 poolings and k = 3 convolutions a
        stage. Their bound for an autoencoder, ρ = k/2 (2ⁿ (n + 4) − 2), is 81 pixels; the encoder alone sees less.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.models.inception import OUTPUTS


@dataclass(frozen=True, kw_only=True)
class IM2PXConfig:
    """The shape of the network.

    Attributes:
        widths: channels of each stage, finest first; a pooling stands between two stages.
        convolutions: of 3 × 3, in each stage.
        output: ``"sigmoid"`` or ``"softmax"``, see `InceptionV3Config`.
    """

    widths: tuple[int, ...] = (32, 64, 128, 128)
    convolutions: int = 3
    output: str = "sigmoid"

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1 or self.convolutions < 1:
            raise OptionError("widths and convolutions must be 1 or more.")
        if self.output not in OUTPUTS:
            raise OptionError(f"output {self.output!r} is not one of {list(OUTPUTS)}.")


class IM2PX(nn.Module):
    """Logits (batch, class, rows, columns) of images (batch, channel, height, width), a cell for 2ⁿ × 2ⁿ pixels.

    Any size: what is missing to whole cells is filled with the last pixel. A logit sees the `field` × `field` pixels
    about its cell, and nothing else.
    """

    takes: ClassVar[str] = "imagette"
    fills = True  #: images of any size, by itself

    def __init__(self, n_channels: int, n_classes: int, config: IM2PXConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(itertools.pairwise((n_channels, *config.widths))):
            layers += [nn.MaxPool2d(2)] if i else []
            for j in range(config.convolutions):
                conv = nn.Conv2d(n_in if j == 0 else n_out, n_out, 3, padding=1, bias=False)
                layers += [conv, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(config.widths[-1], n_classes, 1)
        self.output = config.output
        self.cell = self.stride = 2 ** (len(config.widths) - 1)
        self.field = field(len(config.widths) - 1, config.convolutions)
        self.margin = -(-((self.field - self.cell) // 2) // self.stride) * self.stride

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = nn.functional.pad(x, (0, -x.shape[-1] % self.cell, 0, -x.shape[-2] % self.cell), mode="replicate")
        out: Tensor = self.head(self.features(x))
        return out


def field(poolings: int, convolutions: int) -> int:
    """Pixels along a side of what a cell sees: 98 for 3 poolings and 3 convolutions a stage."""
    size = 1
    for _ in range(poolings):
        size = 2 * (size + 2 * convolutions)
    return size + 2 * convolutions
