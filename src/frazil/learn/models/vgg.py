"""VGG-16, and the sea-ice paper's modified VGG-16 without its last max-pool.

References:
    Simonyan, K., Zisserman, A. (2015), Very deep convolutional networks for large-scale image recognition. ICLR 2015.
    doi:10.48550/arXiv.1409.1556.
    Khaleghian, S., Ullah, H., Kræmer, T., Hughes, N., Eltoft, T., Marinoni, A. (2021), Sea ice classification of SAR
    imagery based on convolution neural networks. Remote Sens. 13, 1734. doi:10.3390/rs13091734. Sections 3.1 and 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.models.patch import PatchClassifier, check_dropout, check_patch, fully_connected, initialise

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions; a max-pool follows each
_GRID = 7  # side of the map that the published head wants


@dataclass(frozen=True, kw_only=True)
class VGG16Config:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels: 32 or more for VGG-16, 16 or more for the modified one.
        head: ``"adhoc"``: the fully connected layers of the paper's ad hoc network (1024, 512), for training from
            scratch; ``"imagenet"``: the published ones (4096, 4096), for transfer: maps are pooled or repeated to the
            7 × 7 that they want.
        dropout: behind each hidden layer, in training.
    """

    patch: int = 32
    head: str = "adhoc"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.head not in ("adhoc", "imagenet"):
            raise OptionError(f"head {self.head!r} is not 'adhoc' or 'imagenet'.")
        check_dropout(self.dropout)


class VGG16(PatchClassifier):
    """Thirteen convolutions in five stages, each with a max-pool behind it. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("features.0", None)
    n_pools: ClassVar[int] = 5

    def __init__(self, n_channels: int, n_classes: int, config: VGG16Config) -> None:
        check_patch("VGG-16" if self.n_pools == 5 else "the modified VGG-16", config.patch, 2**self.n_pools)
        self.published = config.head == "imagenet"
        grid = _GRID if self.published else config.patch // 2**self.n_pools
        super().__init__(config.patch, _STAGES[-1][0] * grid**2)
        layers: list[nn.Module] = []
        n_in = n_channels
        for number, (width, depth) in enumerate(_STAGES):
            for _ in range(depth):
                layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU(inplace=True)]
                n_in = width
            if number < self.n_pools:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        hidden = (4096, 4096) if self.published else (1024, 512)
        self.classifier = fully_connected(self.n_features, hidden, n_classes, config.dropout)
        self.untransferred = ("classifier.6.",) if self.published else ("classifier.",)
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        maps: Tensor = self.features(x)
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """The map itself, or its 7 × 7 means for the published head."""
        return nn.functional.adaptive_avg_pool2d(maps, _GRID) if self.published else maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.classifier


class ModifiedVGG16(VGG16):
    """VGG-16 without its last max-pool, which keeps more of the texture and takes patches from 16 pixels on."""

    n_pools: ClassVar[int] = 4
