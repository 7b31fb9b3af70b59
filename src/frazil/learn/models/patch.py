"""What all patch classifiers share: a patch of the scene goes in, one class comes out.

A patch classifier is a *trunk* of convolutions, a *pooling* of its map to one descriptor, and a *head* of fully
connected layers. Written in these three parts, a network can be run over a whole scene at once
(`frazil.learn.infer.dense`), described without its head (label propagation, feature distillation), and started from
weights trained on photographs (`frazil.learn.transfer`). Parameter names are those of torchvision, so that its
published weight files load as they are.

References:
    He, K., Zhang, X., Ren, S., Sun, J. (2015), Delving deep into rectifiers. ICCV 2015. doi:10.1109/ICCV.2015.123.
"""

from __future__ import annotations

from typing import ClassVar, TypeGuard

import torch
from torch import Tensor, nn

from frazil.errors import OptionError


class PatchClassifier(nn.Module):
    """Logits (batch, class) of patches (batch, channel, patch, patch).

    Attributes:
        patch: side of the patches, pixels.
        n_features: length of the descriptors.
        first: names of the first convolution and of the batch norm behind it, None without one.
        untransferred: parameters whose names start so stay new when pretrained weights are loaded.
        input_mean, input_std: by which the published weights want red, green and blue in [0, 1] normalised.
    """

    takes: ClassVar[str] = "patch"
    first: ClassVar[tuple[str, str | None]]
    untransferred: tuple[str, ...]
    input_mean: ClassVar[tuple[float, float, float]] = (0.485, 0.456, 0.406)
    input_std: ClassVar[tuple[float, float, float]] = (0.229, 0.224, 0.225)

    def __init__(self, patch: int, n_features: int) -> None:
        super().__init__()
        self.patch, self.n_features = patch, n_features

    def trunk(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) of images (batch, channel, height, width), of any size.

        What looks at neighbours (convolutions, pooling) must be a module, used once, so that it can be dilated.
        """
        raise NotImplementedError

    def pool(self, maps: Tensor) -> Tensor:
        """Map (batch, channel, height, width) with the height and width that the head wants; linear."""
        return maps.mean((2, 3), keepdim=True)

    @property
    def head(self) -> nn.Module:
        """From descriptors to logits: linear layers, activations, dropout."""
        raise NotImplementedError

    def describe(self, x: Tensor) -> Tensor:
        """Descriptors (batch, n_features): what the head sees.

        (torchvision's layout keeps the name ``features`` for the convolutions of VGG, MobileNet and DenseNet.)

        Raises:
            OptionError: patches of another size.
        """
        if tuple(x.shape[-2:]) != (self.patch, self.patch):
            raise OptionError(
                f"Patches of {x.shape[-2]} × {x.shape[-1]} pixels do not fit this network, which was built for "
                f"{self.patch} × {self.patch}. Set patch={x.shape[-1]} in its settings."
            )
        return torch.flatten(self.pool(self.trunk(x)), 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.head(self.describe(x))
        return logits

    @staticmethod
    def published_name(key: str) -> str | None:
        """Our name of a parameter in the published weight file; None: of no use here."""
        return key


def check_patch(network: str, patch: int, least: int) -> None:
    """Raise OptionError where a patch is too small for a network."""
    if patch < least:
        raise OptionError(f"patch {patch} is too small for {network}, which takes patches of {least} pixels or more.")


def check_dropout(dropout: float) -> None:
    """Raise OptionError outside [0, 1)."""
    if not 0 <= dropout < 1:
        raise OptionError(f"dropout {dropout} must lie in [0, 1).")


def fully_connected(n_in: int, hidden: tuple[int, ...], n_classes: int, dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout for each hidden layer, then the classes."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(n_in, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_classes))


def conv_norm(
    n_in: int,
    n_out: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution with padding by half the kernel and without bias, batch norm, activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
    ]
    if activation is not None:
        layers.append(activation(inplace=True))
    return nn.Sequential(*layers)


def initialise(network: nn.Module) -> None:
    """Random weights after He et al. (2015), which keep the scale of activations through deep stacks without norm.

    The last layer starts small, so that training starts from nearly equal probabilities.
    """
    linear = None
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            linear = module if isinstance(module, nn.Linear) else linear
    if linear is not None:
        nn.init.normal_(linear.weight, std=0.01)


def takes_patches(network: nn.Module) -> TypeGuard[PatchClassifier]:
    """Whether a network names patches, and describes them: what it says of itself in ``takes``."""
    return getattr(network, "takes", "") == "patch"
