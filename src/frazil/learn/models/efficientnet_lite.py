"""EfficientNet-Lite0: EfficientNet-B0 without attention and with ReLU6, for processors without a GPU.

References:
    Tan, M., Le, Q. V. (2019), EfficientNet: rethinking model scaling for convolutional neural networks. ICML 2019.
    doi:10.48550/arXiv.1905.11946. Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from frazil.learn.models.patch import PatchClassifier, check_dropout, check_patch, initialise

# Expansion, channels, repetitions, stride of the first, kernel.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0Config:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels; it decides on which side a strided convolution pads more.
        dropout: before the classes, in training.
    """

    patch: int = 32
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_patch("EfficientNet-Lite0", self.patch, 8)
        check_dropout(self.dropout)


class PaddedConv2d(nn.Conv2d):
    """A convolution with different padding before and after.

    Attributes:
        pads: zeros before the first and after the last line and pixel.
    """

    pads: tuple[int, int] = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return super().forward(nn.functional.pad(x, self.pads * 2))


class _Sizes:
    """Convolutions for a patch whose size shrinks from layer to layer.

    The network comes from a library that pads so that n elements give ⌈n / stride⌉, half of it before and the larger
    half after: what stands before depends on the parity of n.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def conv(self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> PaddedConv2d:
        out = -(-self.size // stride)
        total = max((out - 1) * stride + kernel - self.size, 0)
        layer = PaddedConv2d(n_in, n_out, kernel, stride, groups=groups, bias=False)
        layer.pads = (total // 2, total - total // 2)
        self.size = out
        return layer


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
    def __init__(self, sizes: _Sizes, n_in: int, n_out: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        width = n_in * expansion
        if expansion > 1:
            self.expand_conv, self.bn0 = sizes.conv(n_in, width, 1), _norm(width)
        self.depthwise_conv, self.bn1 = sizes.conv(width, width, kernel, stride, groups=width), _norm(width)
        self.project_conv, self.bn2 = sizes.conv(width, n_out, 1), _norm(n_out)
        self.relu = nn.ReLU6(inplace=True)
        self.expands, self.residual = expansion > 1, stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn0(self.expand_conv(x))) if self.expands else x
        out = self.relu(self.bn1(self.depthwise_conv(out)))
        out = self.bn2(self.project_conv(out))
        return x + out if self.residual else out


class EfficientNetLite0(PatchClassifier):
    """Sixteen inverted residuals, global mean, one linear layer. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("conv_stem", "bn0")
    untransferred = ("fc.",)
    input_mean: ClassVar[tuple[float, float, float]] = (127 / 255,) * 3
    input_std: ClassVar[tuple[float, float, float]] = (128 / 255,) * 3

    def __init__(self, n_channels: int, n_classes: int, config: EfficientNetLite0Config) -> None:
        super().__init__(config.patch, 1280)
        sizes = _Sizes(config.patch)
        self.conv_stem, self.bn0 = sizes.conv(n_channels, 32, 3, 2), _norm(32)
        blocks = []
        n_in = 32
        for expansion, width, repeat, stride, kernel in _STAGES:
            for i in range(repeat):
                blocks.append(_Block(sizes, n_in, width, 1 if i else stride, expansion, kernel))
                n_in = width
        self.blocks = nn.Sequential(*blocks)
        self.conv_head, self.bn1 = sizes.conv(n_in, self.n_features, 1), _norm(self.n_features)
        self.relu = nn.ReLU6(inplace=True)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(self.n_features, n_classes)
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        x = self.blocks(self.relu(self.bn0(self.conv_stem(x))))
        maps: Tensor = self.relu(self.bn1(self.conv_head(x)))
        return maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return nn.Sequential(self.dropout, self.fc)

    @staticmethod
    def published_name(key: str) -> str | None:
        """The published file writes an underscore before every name."""
        return ".".join(part.removeprefix("_") for part in key.split("."))
