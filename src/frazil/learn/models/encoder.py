"""The inference network of a semi-supervised autoencoder: the mean of a patch's latent, and its class.

Descriptors are that mean, and may be negative, as numbers that shall be normally distributed must: there is no
rectifier behind them. The head names their class.

References:
    Kingma, D. P., Rezende, D. J., Mohamed, S., Welling, M. (2014), Semi-supervised learning with deep generative
    models. NIPS 2014. doi:10.48550/arXiv.1406.5298. Sections 2 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.models.patch import PatchClassifier, check_dropout, check_patch, fully_connected, initialise


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The shape of the network. The paper's has no convolutions.

    Attributes:
        patch: side of the patches, pixels.
        widths: filters of the convolutions, each followed by a max-pool of 2.
        latent: length of the descriptors.
        hidden: nodes of the fully connected layers between them and the classes.
        dropout: behind each of these, in training.
    """

    patch: int = 32
    widths: tuple[int, ...] = (32, 64, 64)
    latent: int = 50
    hidden: tuple[int, ...] = (500,)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, *self.hidden, self.latent) < 1:
            raise OptionError(
                f"widths {self.widths}, latent {self.latent} and hidden {self.hidden} must name layers of 1 or more."
            )
        check_patch("the encoder", self.patch, int(2 ** len(self.widths)))
        check_dropout(self.dropout)


class Encoder(PatchClassifier):
    """Convolutions with max-pooling, one linear layer to the latent, one hidden layer. See `PatchClassifier`."""

    first: ClassVar[tuple[str, str | None]] = ("features.0", None)
    untransferred = ("classifier.",)

    def __init__(self, n_channels: int, n_classes: int, config: EncoderConfig) -> None:
        super().__init__(config.patch, config.latent)
        layers: list[nn.Module] = []
        n_in = n_channels
        for width in config.widths:
            layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            n_in = width
        side = config.patch // 2 ** len(config.widths)
        self.features = nn.Sequential(*layers, nn.Conv2d(n_in, config.latent, side))
        self.classifier = fully_connected(config.latent, config.hidden, n_classes, config.dropout)
        initialise(self)

    def trunk(self, x: Tensor) -> Tensor:
        """See `PatchClassifier`."""
        maps: Tensor = self.features(x)
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """The map as it is: the last convolution has seen the whole patch."""
        return maps

    @property
    def head(self) -> nn.Module:
        """See `PatchClassifier`."""
        return self.classifier
