"""Wide residual network for small images, as semi-supervised benchmarks use it.

References:
    Zagoruyko, S., Komodakis, N. (2016), Wide residual networks. BMVC 2016. doi:10.48550/arXiv.1605.07146.
    Oliver, A. et al. (2018), Realistic evaluation of deep semi-supervised learning algorithms. NeurIPS 2018.
    doi:10.48550/arXiv.1804.09170. WRN-28-2 with leaky rectifiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.models.patch import PatchClassifier, check_dropout, check_patch, initialise


@dataclass(frozen=True, kw_only=True)
class WideResNetConfig:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels.
        depth: layers with weights, 6n + 4.
        width: multiple of the channels of the narrow network, 16, 32 and 64.
        dropout: between the convolutions of a block, in training.
        slope: of the leaky rectifier.
    """

    patch: int = 32
    depth: int = 28
    width: int = 2
    dropout: float = 0.0
    slope: float = 0.1

    def __post_init__(self) -> None:
        check_patch("a wide ResNet", self.patch, 8)
        check_dropout(self.dropout)
        if self.depth < 10 or (self.depth - 4) % 6 or self.width < 1:
            raise OptionError(f"depth {self.depth} must be 10, 16, 22, 28 … (6n + 4) and width {self.width} 1 or more.")


class _Block(nn.Module):
    """Norm and rectifier before each of two 3 × 3 convolutions, around a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int, config: WideResNetConfig) -> None:
        super().__init__()
        self.changes = n_in != n_out or stride > 1
        self.bn1, self.relu1 = nn.BatchNorm2d(n_in), nn.LeakyReLU(config.slope)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(n_out), nn.LeakyReLU(config.slope, inplace=True)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False) if self.changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        first = self.relu1(self.bn1(x))
        # Where the shape changes, the shortcut too starts from what is normed and rectified.
        shortcut = self.shortcut(first if self.changes else x)
        out: Tensor = self.conv2(self.dropout(self.relu2(self.bn2(self.conv1(first))))) + shortcut
        return out


class WideResNet(PatchClassifier):
    """One convolution, three stages of blocks, norm, global mean, one linear layer. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("conv1", None)
    untransferred = ("fc.",)

    def __init__(self, n_channels: int, n_classes: int, config: WideResNetConfig) -> None:
        super().__init__(config.patch, 64 * config.width)
        self.conv1 = nn.Conv2d(n_channels, 16, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        n_in = 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            n_out = width * config.width
            for i in range((config.depth - 4) // 6):
                stages.append(_Block(n_in, n_out, stride if i == 0 else 1, config))
                n_in = n_out
        self.stages = nn.Sequential(*stages)
        self.bn, self.relu = nn.BatchNorm2d(n_in), nn.LeakyReLU(config.slope, inplace=True)
        self.fc = nn.Linear(self.n_features, n_classes)
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        maps: Tensor = self.relu(self.bn(self.stages(self.conv1(x))))
        return maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.fc
