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

from frazil.learn.models.patch import PatchClassifier, check_dropout, check_patch, initialise


@dataclass(frozen=True, kw_only=True)
class InceptionV3Config:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels.
        dropout: before the classes, in training.
    """

    patch: int = 75
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_patch("InceptionV3", self.patch, 75)
        check_dropout(self.dropout)


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


class _A(nn.Module):
    """1 × 1, 5 × 5, twice 3 × 3, and a mean beside each other."""

    def __init__(self, n_in: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(n_in, 64)
        self.branch5x5_1, self.branch5x5_2 = _Conv(n_in, 48), _Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(n_in, 64), _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3)
        self.branch_pool = _Conv(n_in, pooled)
        self.mean = nn.AvgPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(self.mean(x))], 1)


class _B(nn.Module):
    """Half the resolution by 3 × 3, twice 3 × 3, and a max-pool."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(n_in, 384, 3, 2, pad=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(n_in, 64), _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, 2, pad=False)
        self.largest = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, self.largest(x)], 1)


class _C(nn.Module):
    """7 × 7 split into lines and columns, once and twice."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        line, column = (1, 7), (7, 1)
        self.branch1x1 = _Conv(n_in, 192)
        self.branch7x7_1, self.branch7x7_2 = _Conv(n_in, width), _Conv(width, width, line)
        self.branch7x7_3 = _Conv(width, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Conv(n_in, width), _Conv(width, width, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _Conv(width, width, line), _Conv(width, width, column)
        self.branch7x7dbl_5 = _Conv(width, 192, line)
        self.branch_pool = _Conv(n_in, 192)
        self.mean = nn.AvgPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.mean(x))], 1)


class _D(nn.Module):
    """Half the resolution by 3 × 3, 7 × 7 then 3 × 3, and a max-pool."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Conv(n_in, 192), _Conv(192, 320, 3, 2, pad=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(n_in, 192), _Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Conv(192, 192, (7, 1)), _Conv(192, 192, 3, 2, pad=False)
        self.largest = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, self.largest(x)], 1)


class _E(nn.Module):
    """Lines and columns of 3 beside each other, behind 1 × 1 and behind 3 × 3."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        line, column = (1, 3), (3, 1)
        self.branch1x1 = _Conv(n_in, 320)
        self.branch3x3_1 = _Conv(n_in, 384)
        self.branch3x3_2a, self.branch3x3_2b = _Conv(384, 384, line), _Conv(384, 384, column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(n_in, 448), _Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _Conv(384, 384, line), _Conv(384, 384, column)
        self.branch_pool = _Conv(n_in, 192)
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
        super().__init__(config.patch, 2048)
        self.Conv2d_1a_3x3 = _Conv(n_channels, 32, 3, 2, pad=False)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = _Conv(64, 80)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, pad=False)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _A(192, 32), _A(256, 64), _A(288, 64)
        self.Mixed_6a = _B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_C(768, n) for n in (128, 160, 160, 192))
        self.Mixed_7a = _D(768)
        self.Mixed_7b, self.Mixed_7c = _E(1280), _E(2048)
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

    @staticmethod
    def published_name(key: str) -> str | None:
        """The published file holds the second classifier, too."""
        return None if key.startswith("AuxLogits.") else key
