"""InceptionV3: parallel convolutions of several sizes, large ones split in two; the categoriser of ocean scenes.

Without the second classifier that the paper adds for training.

References:
    Szegedy, C., Vanhoucke, V., Ioffe, S., Shlens, J., Wojna, Z. (2016), Rethinking the Inception architecture for
    computer vision. CVPR 2016. doi:10.1109/CVPR.2016.308. Table 1, figures 5 to 7 and 10.
    Colin, A., et al. (2022), Semantic segmentation of metoceanic processes using SAR observations and deep learning.
    Remote Sens. 14, 851. doi:10.3390/rs14040851.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.models.patch import PatchClassifier, check_dropout, check_patch, initialise

LEAST = 75  #: pixels of a side, below which the last map is empty
OUTPUTS = ("softmax", "sigmoid")  #: what logits mean


@dataclass(frozen=True, kw_only=True)
class InceptionV3Config:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels, that maps of scenes are made from; any image of 75 pixels or more is taken.
        dropout: before the classes, in training.
        width: multiple of the published numbers of channels; 1 fits the published weights.
        output: ``"softmax"``: an image is of one class; ``"sigmoid"``: each class is there or not.
    """

    patch: int = LEAST
    dropout: float = 0.5
    width: float = 1.0
    output: str = "softmax"

    def __post_init__(self) -> None:
        check_patch("InceptionV3", self.patch, LEAST)
        check_dropout(self.dropout)
        if not 0 < self.width <= 4:
            raise OptionError(f"width {self.width} must be above 0 and at most 4.")
        if self.output not in OUTPUTS:
            raise OptionError(f"output {self.output!r} is not one of {list(OUTPUTS)}.")


class _Conv(nn.Module):
    """Convolution, batch norm, ReLU; `pad`: keep the size."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int | tuple[int, int] = 1, stride: int = 1, *, pad: bool = True
    ) -> None:
        super().__init__()
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (size[0] // 2, size[1] // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(n_in, n_out, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(n_out, eps=1e-3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class _Width:
    """Numbers of channels, multiplied; 4 at least."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, n: int) -> int:
        return max(round(n * self.factor), 4)


class _Block(nn.Module):
    """A block that knows how many channels it gives."""

    n_out: int


class _A(_Block):
    """1 × 1, 5 × 5, twice 3 × 3, and a mean beside each other."""

    def __init__(self, n_in: int, pooled: int, w: _Width) -> None:
        super().__init__()
        self.n_out = w(64) + w(64) + w(96) + w(pooled)
        self.branch1x1 = _Conv(n_in, w(64))
        self.branch5x5_1, self.branch5x5_2 = _Conv(n_in, w(48)), _Conv(w(48), w(64), 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(n_in, w(64)), _Conv(w(64), w(96), 3)
        self.branch3x3dbl_3 = _Conv(w(96), w(96), 3)
        self.branch_pool = _Conv(n_in, w(pooled))
        self.mean = nn.AvgPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(self.mean(x))], 1)


class _B(_Block):
    """Half the resolution by 3 × 3, twice 3 × 3, and a max-pool."""

    def __init__(self, n_in: int, w: _Width) -> None:
        super().__init__()
        self.n_out = w(384) + w(96) + n_in
        self.branch3x3 = _Conv(n_in, w(384), 3, 2, pad=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(n_in, w(64)), _Conv(w(64), w(96), 3)
        self.branch3x3dbl_3 = _Conv(w(96), w(96), 3, 2, pad=False)
        self.largest = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, self.largest(x)], 1)


class _C(_Block):
    """7 × 7 split into lines and columns, once and twice."""

    def __init__(self, n_in: int, width: int, w: _Width) -> None:
        super().__init__()
        self.n_out, width = 4 * w(192), w(width)
        line, column = (1, 7), (7, 1)
        self.branch1x1 = _Conv(n_in, w(192))
        self.branch7x7_1, self.branch7x7_2 = _Conv(n_in, width), _Conv(width, width, line)
        self.branch7x7_3 = _Conv(width, w(192), column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Conv(n_in, width), _Conv(width, width, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _Conv(width, width, line), _Conv(width, width, column)
        self.branch7x7dbl_5 = _Conv(width, w(192), line)
        self.branch_pool = _Conv(n_in, w(192))
        self.mean = nn.AvgPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.mean(x))], 1)


class _D(_Block):
    """Half the resolution by 3 × 3, 7 × 7 then 3 × 3, and a max-pool."""

    def __init__(self, n_in: int, w: _Width) -> None:
        super().__init__()
        self.n_out = w(320) + w(192) + n_in
        self.branch3x3_1, self.branch3x3_2 = _Conv(n_in, w(192)), _Conv(w(192), w(320), 3, 2, pad=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(n_in, w(192)), _Conv(w(192), w(192), (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Conv(w(192), w(192), (7, 1)), _Conv(w(192), w(192), 3, 2, pad=False)
        self.largest = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, self.largest(x)], 1)


class _E(_Block):
    """Lines and columns of 3 beside each other, behind 1 × 1 and behind 3 × 3."""

    def __init__(self, n_in: int, w: _Width) -> None:
        super().__init__()
        self.n_out = w(320) + 4 * w(384) + w(192)
        line, column = (1, 3), (3, 1)
        self.branch1x1 = _Conv(n_in, w(320))
        self.branch3x3_1 = _Conv(n_in, w(384))
        self.branch3x3_2a, self.branch3x3_2b = _Conv(w(384), w(384), line), _Conv(w(384), w(384), column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(n_in, w(448)), _Conv(w(448), w(384), 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _Conv(w(384), w(384), line), _Conv(w(384), w(384), column)
        self.branch_pool = _Conv(n_in, w(192))
        self.mean = nn.AvgPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, three = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        wide = [
            self.branch3x3_2a(one),
            self.branch3x3_2b(one),
            self.branch3x3dbl_3a(three),
            self.branch3x3dbl_3b(three),
        ]
        return torch.cat([self.branch1x1(x), *wide, self.branch_pool(self.mean(x))], 1)


class InceptionV3(PatchClassifier):
    """Five convolutions, eleven blocks, global mean, one linear layer. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("Conv2d_1a_3x3.conv", "Conv2d_1a_3x3.bn")
    untransferred = ("fc.",)
    input_mean: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)
    input_std: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)

    def __init__(self, n_channels: int, n_classes: int, config: InceptionV3Config) -> None:
        w = _Width(config.width)
        super().__init__(config.patch, w(320) + 4 * w(384) + w(192))
        self.output = config.output
        self.Conv2d_1a_3x3 = _Conv(n_channels, w(32), 3, 2, pad=False)
        self.Conv2d_2a_3x3 = _Conv(w(32), w(32), 3, pad=False)
        self.Conv2d_2b_3x3 = _Conv(w(32), w(64), 3)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = _Conv(w(64), w(80))
        self.Conv2d_4a_3x3 = _Conv(w(80), w(192), 3, pad=False)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        n = w(192)
        stages: list[tuple[str, type[_Block], tuple[int, ...]]] = [
            ("5b", _A, (32,)),
            ("5c", _A, (64,)),
            ("5d", _A, (64,)),
            ("6a", _B, ()),
            ("6b", _C, (128,)),
            ("6c", _C, (160,)),
            ("6d", _C, (160,)),
            ("6e", _C, (192,)),
            ("7a", _D, ()),
            ("7b", _E, ()),
            ("7c", _E, ()),
        ]
        for name, kind, more in stages:
            block = kind(n, *more, w)
            self.add_module(f"Mixed_{name}", block)
            n = block.n_out
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(self.n_features, n_classes)
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        for name, layer in self.named_children():
            if name not in ("dropout", "fc"):
                x = layer(x)
        return x

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return nn.Sequential(self.dropout, self.fc)

    def describe(self, x: Tensor) -> Tensor:
        """Descriptors of images of any size from 75 pixels on: the mean over the last map."""
        if min(x.shape[-2:]) < LEAST:
            raise OptionError(f"Images of {x.shape[-2]} × {x.shape[-1]} pixels are too small: {LEAST} are needed.")
        return torch.flatten(self.pool(self.trunk(x)), 1)

    @staticmethod
    def published_name(key: str) -> str | None:
        """The published file holds the second classifier, too."""
        return None if key.startswith("AuxLogits.") else key
