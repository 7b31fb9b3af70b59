"""The networks, one file per family; `create_model` builds one from its name and settings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from frazil.errors import ModelError
from frazil.learn.map_shapes import configured
from frazil.learn.models.adhoc import AdHocCNN, AdHocConfig
from frazil.learn.models.cnn13 import CNN13, CNN13Config
from frazil.learn.models.densenet import DenseNet121, DenseNet121Config
from frazil.learn.models.efficientnet_lite import EfficientNetLite0, EfficientNetLite0Config
from frazil.learn.models.encoder import Encoder, EncoderConfig
from frazil.learn.models.im2px import IM2PX, IM2PXConfig
from frazil.learn.models.inception import InceptionV3, InceptionV3Config
from frazil.learn.models.metocean_unet import MetoceanUNet, MetoceanUNetConfig
from frazil.learn.models.mobilenet import MobileNetV2, MobileNetV2Config
from frazil.learn.models.resnet import ResNet20, ResNet32, ResNet50, ResNetConfig
from frazil.learn.models.unet import UNet, UNetConfig
from frazil.learn.models.vgg import VGG16, ModifiedVGG16, VGG16Config
from frazil.learn.models.wide_unet import WideUNet, WideUNetConfig
from frazil.learn.models.wideresnet import WideResNet, WideResNetConfig

#: name -> (network, its settings)
ARCHITECTURES: dict[str, tuple[type[nn.Module], type]] = {
    "unet": (UNet, UNetConfig),
    "wide_unet": (WideUNet, WideUNetConfig),
    "adhoc": (AdHocCNN, AdHocConfig),
    "vgg16": (VGG16, VGG16Config),
    "modified_vgg16": (ModifiedVGG16, VGG16Config),
    "mobilenet_v2": (MobileNetV2, MobileNetV2Config),
    "resnet20": (ResNet20, ResNetConfig),
    "resnet32": (ResNet32, ResNetConfig),
    "resnet50": (ResNet50, ResNetConfig),
    "densenet121": (DenseNet121, DenseNet121Config),
    "efficientnet_lite0": (EfficientNetLite0, EfficientNetLite0Config),
    "inception_v3": (InceptionV3, InceptionV3Config),
    "cnn13": (CNN13, CNN13Config),
    "wrn28_2": (WideResNet, WideResNetConfig),
    "encoder": (Encoder, EncoderConfig),
    "metocean_unet": (MetoceanUNet, MetoceanUNetConfig),
    "im2px": (IM2PX, IM2PXConfig),
}


def create_model(
    name: str, *, n_channels: int, n_classes: int, settings: Mapping[str, object] | None = None
) -> nn.Module:
    """A network with random weights.

    Args:
        name: one of `ARCHITECTURES`.
        n_channels: of its input.
        n_classes: of its output.
        settings: fields of the architecture's config; lists are taken for tuples.

    Raises:
        ModelError: an unknown architecture or setting.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"Architecture {name!r} is unknown; this version of frazil has {sorted(ARCHITECTURES)}.")
    network, config = ARCHITECTURES[name]
    return network(n_channels, n_classes, configured(name, config, settings))


def view_of(name: str, settings: Mapping[str, object] | None = None) -> int:
    """Pixels along a side of a cell of an architecture's wide view; 1 of one that has none."""
    with torch.device("meta"):
        return int(getattr(create_model(name, n_channels=1, n_classes=2, settings=settings), "view", 1))
