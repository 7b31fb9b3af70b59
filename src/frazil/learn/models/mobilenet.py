"""MobileNetV2: depthwise convolutions between narrow bottlenecks.

References:
    Sandler, M., Howard, A., Zhu, M., Zhmoginov, A., Chen, L.-C. (2018), MobileNetV2: inverted residuals and linear
    bottlenecks. CVPR 2018. doi:10.1109/CVPR.2018.00474. Table 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from frazil.learn.models.patch import PatchClassifier, check_dropout, check_patch, conv_norm, initialise

# Expansion, channels, repetitions, stride of the first (Table 2).
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Config:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels.
        dropout: before the classes, in training.
    """

    patch: int = 32
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_patch("MobileNetV2", self.patch, 8)
        check_dropout(self.dropout)


class _InvertedResidual(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = n_in * expansion
        expand = [conv_norm(n_in, width, 1, activation=nn.ReLU6)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand,
            conv_norm(width, width, 3, stride, groups=width, activation=nn.ReLU6),
            *conv_norm(width, n_out, 1, activation=None),
        )
        self.residual = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class MobileNetV2(PatchClassifier):
    """Seventeen inverted residuals, global mean, one linear layer. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("features.0.0", "features.0.1")
    untransferred = ("classifier.",)

    def __init__(self, n_channels: int, n_classes: int, config: MobileNetV2Config) -> None:
        super().__init__(config.patch, 1280)
        layers: list[nn.Module] = [conv_norm(n_channels, 32, 3, 2, activation=nn.ReLU6)]
        n_in = 32
        for expansion, width, repeat, stride in _STAGES:
            for i in range(repeat):
                layers.append(_InvertedResidual(n_in, width, 1 if i else stride, expansion))
                n_in = width
        layers.append(conv_norm(n_in, self.n_features, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.n_features, n_classes))
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        maps: Tensor = self.features(x)
        return maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.classifier
