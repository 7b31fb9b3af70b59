"""The thirteen-layer network of the semi-supervised sea-ice paper, with 128 features before the classes.

The paper's Table II prints three layers of 256 filters at the end and pooling by 3; its text and figure have 128
features and a map of 6 × 6, which only 512, 256 and 128 filters and pooling by 2 give: these are used here, as in
the network that the paper takes over.

References:
    Khaleghian, S., Ullah, H., Kræmer, T., Eltoft, T., Marinoni, A. (2021), Deep semisupervised teacher–student model
    based on label propagation for sea ice classification. IEEE J. Sel. Top. Appl. Earth Obs. Remote Sens. 14,
    10761–10772. doi:10.1109/JSTARS.2021.3119485. Table II.
    Laine, S., Aila, T. (2017), Temporal ensembling for semi-supervised learning. ICLR 2017.
    doi:10.48550/arXiv.1610.02242. Table 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from frazil.errors import OptionError
from frazil.learn.models.patch import PatchClassifier, check_dropout, check_patch, initialise

# Filters as a multiple of the first layer's, kernel, padding; None: max-pool and dropout.
_LAYERS = (
    *(((1, 3, 1),) * 3),
    None,
    *(((2, 3, 1),) * 3),
    None,
    *((4, 3, 0), (2, 1, 0), (1, 1, 0)),
)


@dataclass(frozen=True, kw_only=True)
class CNN13Config:
    """The shape of the network.

    Attributes:
        patch: side of the patches, pixels.
        width: filters of the first layers, and number of features; those of the others are multiples of it.
        dropout: behind each max-pool, in training.
        slope: of the leaky rectifier.
        weight_norm: length and direction of each filter as parameters of their own.
    """

    patch: int = 32
    width: int = 128
    dropout: float = 0.5
    slope: float = 0.1
    weight_norm: bool = False

    def __post_init__(self) -> None:
        check_patch("the 13-layer network", self.patch, 12)
        check_dropout(self.dropout)
        if self.width < 1:
            raise OptionError(f"width {self.width} must be 1 or more.")


class CNN13(PatchClassifier):
    """Nine convolutions in three stages, global mean, one linear layer. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("features.0", "features.1")
    untransferred = ("classifier.",)

    def __init__(self, n_channels: int, n_classes: int, config: CNN13Config) -> None:
        super().__init__(config.patch, config.width)
        layers: list[nn.Module] = []
        n_in = n_channels
        for layer in _LAYERS:
            if layer is None:
                layers += [nn.MaxPool2d(2), nn.Dropout(config.dropout)]
                continue
            multiple, kernel, padding = layer
            width = multiple * config.width
            layers += [
                nn.Conv2d(n_in, width, kernel, padding=padding, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(config.slope, inplace=True),
            ]
            n_in = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(self.n_features, n_classes)
        initialise(self)
        if config.weight_norm:
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    weight_norm(module)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        maps: Tensor = self.features(x)
        return maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.classifier
