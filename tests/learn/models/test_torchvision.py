"""Our networks against torchvision's: the same parameters under the same names, the same numbers out."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from frazil.learn.models import create_model
from tests.learn.models.torchvision_oracle import torchvision_models

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    return torchvision_models()


def pair(theirs: ModuleType, name: str, patch: int, n_classes: int = 7) -> tuple[Any, Any]:
    """Ours and torchvision's with the same random weights; batch norm has seen data."""
    torch.manual_seed(1)
    settings = {"patch": patch} | ({"head": "imagenet", "dropout": 0.0} if name == "vgg16" else {})
    ours: Any = create_model(name, n_channels=3, n_classes=n_classes, settings=settings)
    options = {"init_weights": False} if name in ("vgg16", "inception_v3") else {}
    options |= {"aux_logits": False} if name == "inception_v3" else {}
    other = getattr(theirs, name)(weights=None, num_classes=n_classes, **options)
    with torch.no_grad():
        for module in ours.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3)
                module.bias.normal_(std=0.1)
        ours.train()
        if name != "vgg16":
            ours.trunk(torch.rand(2, 3, patch + 8, patch + 8))
    assert list(ours.state_dict()) == list(other.state_dict())
    other.load_state_dict(ours.state_dict(), strict=True)
    return ours, other


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2", "resnet50", "densenet121", "inception_v3"])
def test_same_function(theirs: ModuleType, name: str) -> None:
    """In evaluation mode, for a patch size of the paper and for an odd one."""
    least = 75 if name == "inception_v3" else 32
    ours, other = pair(theirs, name, least)
    with torch.inference_mode():
        for patch in (least, least + 13):
            ours.patch = patch
            x = torch.rand(2, 3, patch, patch)
            a, b = ours.eval()(x), other.eval()(x)
            assert a.std() > 1e-3
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_same_training_step(theirs: ModuleType) -> None:
    """Loss before and after one step, in training mode: so gradients agree, and running statistics too."""
    ours, other = pair(theirs, "mobilenet_v2", 32)
    x, label = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    losses = []
    for network in (ours, other):
        network.train()
        network.classifier[0].p = 0.0
        for _ in range(2):
            network.zero_grad()
            loss = nn.functional.cross_entropy(network(x), label)
            loss.backward()
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter -= 1e-3 * parameter.grad
            losses.append(loss.item())
    assert losses[1] != losses[0]
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-5)
    torch.testing.assert_close(ours.features[0][1].running_var, other.features[0][1].running_var)


def test_densenet_of_2017() -> None:
    """The published file has older names: ours must come out as torchvision's own loader makes them."""
    network: Any = create_model("densenet121", n_channels=3, n_classes=7)
    current = list(network.state_dict())
    old = [re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key) for key in current]
    assert old != current
    assert [network.published_name(key) for key in old] == current
    assert [network.published_name(key) for key in current] == current
