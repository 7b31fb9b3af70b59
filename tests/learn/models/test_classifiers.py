"""Patch classifiers: published sizes, every patch size and channel count, gradients, files, repeatability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from frazil.conventions import CLASS_SCHEMES
from frazil.errors import ModelError, OptionError
from frazil.learn.checkpoint import ModelCard, load_model, save_model
from frazil.learn.models import ARCHITECTURES, create_model
from frazil.learn.models.patch import PatchClassifier
from frazil.scene.scaling import CHANNELS

PATCHES = (10, 20, 32, 36, 46)
LARGE = ("inception_v3",)  # takes patches of 75 pixels or more
CLASSIFIERS = [
    n for n, (network, _) in ARCHITECTURES.items() if issubclass(network, PatchClassifier) and n not in LARGE
]
LEAST = {"vgg16": 32, "modified_vgg16": 16, "densenet121": 29, "cnn13": 12}
TWO_CLASSES = next(name for name, scheme in CLASS_SCHEMES.items() if len(scheme.classes) == 2)


pytestmark = pytest.mark.usefixtures("one_thread")


def build(name: str, n_channels: int = 3, n_classes: int = 5, seed: int = 0, **settings: Any) -> PatchClassifier:
    torch.manual_seed(seed)
    network = create_model(name, n_channels=n_channels, n_classes=n_classes, settings=settings)
    assert isinstance(network, PatchClassifier)
    return network


@pytest.mark.parametrize(
    ("name", "n_classes", "settings", "published"),
    [
        ("vgg16", 1000, {"head": "imagenet", "patch": 224}, 138_357_544),
        ("mobilenet_v2", 1000, {}, 3_504_872),
        ("resnet50", 1000, {}, 25_557_032),
        ("resnet20", 10, {}, 269_722),
        ("resnet32", 10, {}, 464_154),
        ("densenet121", 1000, {}, 7_978_856),
        ("efficientnet_lite0", 1000, {}, 4_652_008),
        ("inception_v3", 1000, {}, 23_834_568),  # of 27,161,264 with the second classifier
        ("cnn13", 10, {}, 3_121_802),  # published as 3.12 million
        ("wrn28_2", 10, {}, 1_467_610),  # published as 1.5 million
        ("wrn28_2", 10, {"width": 10}, 36_479_194),  # WRN-28-10, published as 36.5 million
    ],
)
def test_published_sizes(name: str, n_classes: int, settings: dict[str, Any], published: int) -> None:
    with torch.device("meta"):
        network = create_model(name, n_channels=3, n_classes=n_classes, settings=settings)
    assert sum(p.numel() for p in network.parameters()) == published


def test_sizes_by_hand() -> None:
    """The papers' own networks, layer by layer."""
    with torch.device("meta"):
        network = create_model("adhoc", n_channels=3, n_classes=2)
        scratch: Any = create_model("vgg16", n_channels=3, n_classes=2)
        modified: Any = create_model("modified_vgg16", n_channels=3, n_classes=2)
    convolutions = (9 * 3 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64
    head = (64 * 4 * 4 + 1) * 1024 + 1025 * 512 + 513 * 2
    assert sum(p.numel() for p in network.parameters()) == convolutions + head
    trunk = 14_714_688  # VGG-16's thirteen convolutions
    assert sum(p.numel() for p in scratch.features.parameters()) == trunk
    assert sum(p.numel() for p in scratch.classifier.parameters()) == 513 * 1024 + 1025 * 512 + 513 * 2
    assert sum(p.numel() for p in modified.features.parameters()) == trunk
    assert scratch.n_features == 512
    assert modified.n_features == 512 * 4
    assert sum(isinstance(m, nn.MaxPool2d) for m in modified.features) == 4


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_shapes(name: str) -> None:
    """All patch sizes of the paper, one to four channels; too small a patch is refused by name."""
    for i, patch in enumerate(PATCHES):
        if patch < LEAST.get(name, 0):
            with pytest.raises(OptionError, match=rf"patch {patch} is too small .* {LEAST[name]} pixels or more"):
                build(name, patch=patch)
            continue
        n_channels = i % 4 + 1
        network = build(name, n_channels=n_channels, n_classes=i + 2, patch=patch).eval()
        with torch.inference_mode():
            x = torch.rand(2, n_channels, patch, patch)
            assert network(x).shape == (2, i + 2)
            assert network.describe(x).shape == (2, network.n_features)
            torch.testing.assert_close(network.head(network.describe(x)), network(x))
            with pytest.raises(OptionError, match=f"{patch + 1} × {patch + 1} pixels do not fit"):
                network(torch.rand(1, n_channels, patch + 1, patch + 1))


def test_valid_padding_has_its_own_least_patch() -> None:
    with pytest.raises(OptionError, match="take patches of 22 pixels or more"):
        build("adhoc", patch=20, padding="valid")
    network = build("adhoc", patch=22, padding="valid")
    assert network(torch.rand(1, 3, 22, 22)).shape == (1, 5)
    with pytest.raises(OptionError, match="take patches of 8 pixels or more"):
        build("adhoc", patch=7)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("adhoc", {"padding": "reflect"}, "'reflect' is not"),
        ("adhoc", {"widths": ()}, "widths"),
        ("vgg16", {"head": "big"}, "'big' is not"),
        ("vgg16", {"dropout": 1.0}, "dropout"),
        ("mobilenet_v2", {"patch": 4}, "MobileNetV2"),
        ("resnet20", {"patch": 4}, "ResNet"),
        ("encoder", {"patch": 7}, "the encoder"),
        ("encoder", {"latent": 0}, "latent 0"),
        ("encoder", {"dropout": 1.0}, "dropout"),
    ],
)
def test_impossible_settings(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        build(name, **settings)
    with pytest.raises(ModelError, match=r"\['sides'\] are unknown"):
        build(name, sides=3)


@pytest.mark.parametrize("name", [*CLASSIFIERS, "cnn13+weight_norm"])
def test_gradients_reach_every_parameter(name: str) -> None:
    name, _, option = name.partition("+")
    network = build(name, **({option: True} if option else {})).train()
    nn.functional.cross_entropy(network(torch.rand(4, 3, 32, 32)), torch.tensor([0, 1, 2, 3])).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", ["vgg16", "modified_vgg16", "adhoc"])
def test_initial_activations_keep_their_scale(name: str) -> None:
    """Without batch norm a stack of thirteen layers must neither die out nor explode."""
    network = build(name).eval()
    with torch.inference_mode():
        x = torch.randn(4, 3, 32, 32)
        maps = network.trunk(x)
        logits = network(x)
    assert 0.1 < maps.std() < 10
    assert 1e-4 < logits.std() < 1


@pytest.mark.parametrize("name", [n for n in CLASSIFIERS if "vgg" not in n])
def test_same_seed_same_network_and_file_round_trip(name: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"patch": 36} | ({"weight_norm": True} if name == "cnn13" else {})
    settings |= {"widths": (4, 8, 8), "hidden": (16,)} if name == "adhoc" else {}
    a, b, c = (build(name, 2, 2, seed, **settings) for seed in (3, 3, 4))
    x = torch.rand(2, 2, 36, 36)
    for network in (a, b, c):
        network.train()
        torch.manual_seed(5)
        network(x)
        network.eval()
    with torch.inference_mode():
        assert torch.equal(a(x), b(x))
        assert not torch.equal(a(x), c(x))
    card = ModelCard(
        id="small",
        architecture=name,
        settings=settings,
        class_scheme=TWO_CLASSES,
        channels=(CHANNELS["hh"], CHANNELS["hv"]),
        spacing_m=40.0,
        denoise="esa",
        incidence_range=(19.0, 46.0),
    )
    save_model(a, card, tmp_path / "m")
    loaded = load_model(tmp_path / "m").network
    with torch.inference_mode():
        assert torch.equal(loaded(x), a(x))
    assert loaded.patch == 36


def test_vgg_round_trip(tmp_path: Path) -> None:
    """One of the large ones, by its parameters' names and shapes."""
    network = build("modified_vgg16", 2, 2, patch=20)
    card = ModelCard(
        id="vgg",
        architecture="modified_vgg16",
        settings={"patch": 20},
        class_scheme=TWO_CLASSES,
        channels=(CHANNELS["hh"], CHANNELS["hv"]),
        spacing_m=40.0,
        denoise="esa",
        incidence_range=(19.0, 46.0),
    )
    save_model(network, card, tmp_path / "m")
    loaded = load_model(tmp_path / "m").network
    x = torch.rand(1, 2, 20, 20)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network.eval()(x))


def test_weight_norm_changes_parameters_not_function() -> None:
    plain, normed = build("cnn13").eval(), build("cnn13", weight_norm=True).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(normed(x), plain(x), rtol=1e-4, atol=1e-5)
    extra = sum(p.numel() for p in normed.parameters()) - sum(p.numel() for p in plain.parameters())
    filters = 3 * 128 + 3 * 256 + 512 + 256 + 128
    assert extra == filters + 5
