"""DenseNet121: every layer of a block sees the output of all layers before it.

References:
    Huang, G., Liu, Z., van der Maaten, L., Weinberger, K. Q. (2017), Densely connected convolutional networks.
    CVPR 2017. doi:10.1109/CVPR.2017.243. Table 1, growth rate 32.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from frazil.learn.models.patch import PatchClassifier, check_patch, initialise

_BLOCKS = (6, 12, 24, 16)
_GROWTH = 32
_BOTTLENECK = 4 * _GROWTH


@dataclass(frozen=True, kw_only=True)
class DenseNet121Config:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels; five halvings leave nothing of fewer than 29.
    """

    patch: int = 32

    def __post_init__(self) -> None:
        check_patch("DenseNet121", self.patch, 29)


class _DenseLayer(nn.Module):
    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_in)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(n_in, _BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(_BOTTLENECK, _GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.relu1(self.norm1(x)))
        out: Tensor = self.conv2(self.relu2(self.norm2(x)))
        return out


class _DenseBlock(nn.Module):
    def __init__(self, n_in: int, depth: int) -> None:
        super().__init__()
        for i in range(depth):
            self.add_module(f"denselayer{i + 1}", _DenseLayer(n_in + i * _GROWTH))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.children():
            maps.append(layer(torch.cat(maps, 1)))
        return torch.cat(maps, 1)


def _transition(n_in: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(n_in),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(n_in, n_in // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet121(PatchClassifier):
    """Four dense blocks with transitions between them, global mean, one linear layer. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("features.conv0", "features.norm0")
    untransferred = ("classifier.",)

    def __init__(self, n_channels: int, n_classes: int, config: DenseNet121Config) -> None:
        super().__init__(config.patch, 1024)
        width = 64
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(n_channels, width, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(width),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        for i, depth in enumerate(_BLOCKS, 1):
            layers[f"denseblock{i}"] = _DenseBlock(width, depth)
            width += depth * _GROWTH
            if i < len(_BLOCKS):
                layers[f"transition{i}"] = _transition(width)
                width //= 2
        layers["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(width, n_classes)
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        return nn.functional.relu(self.features(x))

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.classifier

    @staticmethod
    def published_name(key: str) -> str | None:
        """The file of 2017 writes ``norm.1``, ``conv.2`` … for what is called ``norm1``, ``conv2`` since."""
        return re.sub(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)
