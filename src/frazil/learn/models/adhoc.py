"""The small network that the first paper designs for sea ice.

References:
    Khaleghian, S., Ullah, H., Kræmer, T., Hughes, N., Eltoft, T., Marinoni, A. (2021), Sea ice classification of SAR
    imagery based on convolution neural networks. Remote Sens. 13, 1734. doi:10.3390/rs13091734. Section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.models.patch import PatchClassifier, check_dropout, fully_connected, initialise


@dataclass(frozen=True, kw_only=True)
class AdHocConfig:
    """The shape of the network; the paper gives neither kernel size nor padding.

    Attributes:
        patch: side of the patches, pixels; the paper uses 10, 20, 32, 36 and 46.
        widths: filters of the convolutions, each followed by a max-pool of 2.
        hidden: nodes of the fully connected layers before the classes.
        padding: ``"same"``: convolutions pad with zeros, and patches of 8 pixels or more fit; ``"valid"``: they do not
            pad, patches of 22 or more fit, and the dense map equals patch-by-patch inference.
        dropout: behind each hidden layer, in training.
    """

    patch: int = 32
    widths: tuple[int, ...] = (32, 64, 64)
    hidden: tuple[int, ...] = (1024, 512)
    padding: str = "same"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.padding not in ("same", "valid"):
            raise OptionError(f"padding {self.padding!r} is not 'same' or 'valid'.")
        if not self.widths or min(*self.widths, *self.hidden, 1) < 1:
            raise OptionError(f"widths {self.widths} and hidden {self.hidden} must name layers of 1 channel or more.")
        if self.map_size < 1:
            raise OptionError(
                f"patch {self.patch} is too small for {len(self.widths)} convolutions with {self.padding!r} padding, "
                f"each followed by a max-pool; take patches of {self.least_patch} pixels or more."
            )
        check_dropout(self.dropout)

    @property
    def map_size(self) -> int:
        """Side of the trunk's map of a patch; below 1 where the patch is too small."""
        size = self.patch
        for _ in self.widths:
            size = (size - 2 * (self.padding == "valid")) // 2
        return size

    @property
    def least_patch(self) -> int:
        """The smallest patch that leaves one element of map."""
        size = 1
        for _ in self.widths:
            size = 2 * size + 2 * (self.padding == "valid")
        return size


class AdHocCNN(PatchClassifier):
    """Three convolutions with max-pooling, two hidden fully connected layers. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("features.0", None)
    untransferred = ("classifier.",)

    def __init__(self, n_channels: int, n_classes: int, config: AdHocConfig) -> None:
        super().__init__(config.patch, config.widths[-1] * config.map_size**2)
        layers: list[nn.Module] = []
        n_in = n_channels
        for width in config.widths:
            padding = 1 if config.padding == "same" else 0
            layers += [nn.Conv2d(n_in, width, 3, padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            n_in = width
        self.features = nn.Sequential(*layers)
        self.classifier = fully_connected(self.n_features, config.hidden, n_classes, config.dropout)
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        maps: Tensor = self.features(x)
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """The map as it is: the head knows where in the patch a texture stands."""
        return maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.classifier
