"""Residual networks: ResNet50 for photographs, ResNet20 and ResNet32 for small images.

ResNet50 halves the resolution in the middle convolution of a block, not in the first as the paper has it: the published
weights were trained so. The small ones use the paper's shortcuts without parameters ("option A").

References:
    He, K., Zhang, X., Ren, S., Sun, J. (2016), Deep residual learning for image recognition. CVPR 2016.
    doi:10.1109/CVPR.2016.90. Table 1 and section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from frazil.learn.models.patch import PatchClassifier, check_patch, conv_norm, initialise


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels.
    """

    patch: int = 32

    def __post_init__(self) -> None:
        check_patch("a ResNet", self.patch, 8)


class _Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions around a shortcut."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = 4 * width
        self.conv1, self.bn1 = conv_norm(n_in, width, 1, activation=None)
        self.conv2, self.bn2 = conv_norm(width, width, 3, stride, activation=None)
        self.conv3, self.bn3 = conv_norm(width, n_out, 1, activation=None)
        self.relu = nn.ReLU(inplace=True)
        changes = stride > 1 or n_in != n_out
        self.downsample = conv_norm(n_in, n_out, 1, stride, activation=None) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.relu(self.bn3(self.conv3(x)) + shortcut)
        return out


class ResNet50(PatchClassifier):
    """Sixteen bottleneck blocks in four stages, global mean, one linear layer. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("conv1", "bn1")
    untransferred = ("fc.",)

    def __init__(self, n_channels: int, n_classes: int, config: ResNetConfig) -> None:
        super().__init__(config.patch, 2048)
        self.conv1, self.bn1 = conv_norm(n_channels, 64, 7, 2, activation=None)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(64, 64, 3, 1)
        self.layer2 = _stage(256, 128, 4, 2)
        self.layer3 = _stage(512, 256, 6, 2)
        self.layer4 = _stage(1024, 512, 3, 2)
        self.fc = nn.Linear(self.n_features, n_classes)
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.fc


def _stage(n_in: int, width: int, depth: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        _Bottleneck(n_in, width, stride), *(_Bottleneck(4 * width, width, 1) for _ in range(depth - 1))
    )


class _Basic(nn.Module):
    """Two 3 × 3 convolutions around a shortcut that drops every other element and fills new channels with zeros."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(n_in, width, 3, stride, activation=None)
        self.conv2, self.bn2 = conv_norm(width, width, 3, activation=None)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.MaxPool2d(1, stride)
        self.new = width - n_in

    def forward(self, x: Tensor) -> Tensor:
        shortcut = nn.functional.pad(self.shortcut(x), (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(x)) + shortcut)
        return out


class ResNet20(PatchClassifier):
    """Three stages of three basic blocks with 16, 32 and 64 channels. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("conv1", "bn1")
    untransferred = ("fc.",)
    depth: ClassVar[int] = 3

    def __init__(self, n_channels: int, n_classes: int, config: ResNetConfig) -> None:
        super().__init__(config.patch, 64)
        self.conv1, self.bn1 = conv_norm(n_channels, 16, 3, activation=None)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(16, 16, 1)
        self.layer2 = self._stage(16, 32, 2)
        self.layer3 = self._stage(32, 64, 2)
        self.fc = nn.Linear(self.n_features, n_classes)
        initialise(self)

    def _stage(self, n_in: int, width: int, stride: int) -> nn.Sequential:
        return nn.Sequential(_Basic(n_in, width, stride), *(_Basic(width, width, 1) for _ in range(self.depth - 1)))

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        x = self.relu(self.bn1(self.conv1(x)))
        maps: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.fc


class ResNet32(ResNet20):
    """Three stages of five basic blocks with 16, 32 and 64 channels. See `PatchClassifier`."""

    depth: ClassVar[int] = 5
