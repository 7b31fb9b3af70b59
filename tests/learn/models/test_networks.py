"""Networks against what is known of them from elsewhere: layers counted by hand, receptive fields found by gradients,
torch's own layers put together anew, and symmetries that each must have."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from frazil.errors import ModelError, OptionError
from frazil.learn.map_shapes import UNetConfig
from frazil.learn.models.adhoc import AdHocCNN, AdHocConfig
from frazil.learn.models.cnn13 import CNN13, CNN13Config
from frazil.learn.models.densenet import DenseNet121, DenseNet121Config
from frazil.learn.models.efficientnet_lite import EfficientNetLite0, EfficientNetLite0Config, PaddedConv2d
from frazil.learn.models.encoder import Encoder, EncoderConfig
from frazil.learn.models.im2px import IM2PX, IM2PXConfig
from frazil.learn.models.inception import LEAST, InceptionV3, InceptionV3Config
from frazil.learn.models.metocean_unet import MetoceanUNet, MetoceanUNetConfig
from frazil.learn.models.mobilenet import MobileNetV2, MobileNetV2Config
from frazil.learn.models.resnet import ResNet20, ResNet32, ResNet50, ResNetConfig
from frazil.learn.models.unet import UNet, fold_batch_norm
from frazil.learn.models.vgg import VGG16, ModifiedVGG16, VGG16Config
from frazil.learn.models.wideresnet import WideResNet, WideResNetConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def alive(network: nn.Module, seed: int = 0) -> Any:
    """In evaluation mode with batch norm that has seen something, so that no layer is the identity."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.uniform_(0.7, 1.3)
                module.bias.normal_(std=0.1)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.7, 1.3)
    return network.eval()


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def weighted(network: nn.Module) -> int:
    """Layers with weights that the image passes one after the other, as papers count them: without shortcuts."""
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for n, m in network.named_modules() if "downsample" not in n)


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (lambda: VGG16(3, 5, VGG16Config()), 16),
        (lambda: ModifiedVGG16(3, 5, VGG16Config()), 16),
        (lambda: ResNet20(3, 5, ResNetConfig()), 20),
        (lambda: ResNet32(3, 5, ResNetConfig()), 32),
        (lambda: ResNet50(3, 5, ResNetConfig()), 50),
        (lambda: DenseNet121(3, 5, DenseNet121Config()), 121),
        (lambda: MobileNetV2(3, 5, MobileNetV2Config()), 53),  # 52 convolutions and the classes
        (lambda: AdHocCNN(3, 5, AdHocConfig()), 6),
        (lambda: CNN13(3, 5, CNN13Config()), 10),  # 13 with its two max-pools and the global mean
    ],
    ids=lambda v: str(v) if isinstance(v, int) else "",
)
def test_networks_have_the_layers_that_they_are_named_for(make: Any, layers: int) -> None:
    with torch.device("meta"):
        assert weighted(make()) == layers


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_wide_networks_are_as_deep_as_they_say(n: int) -> None:
    """6n + 4: the first convolution, 6n in blocks, three shortcuts that change the width, and the classes."""
    with torch.device("meta"):
        network = WideResNet(3, 5, WideResNetConfig(depth=6 * n + 4))
    shortcuts = [m for name, m in network.named_modules() if "shortcut" in name and isinstance(m, nn.Conv2d)]
    assert len(convolutions(network)) + 1 == 6 * n + 2 + len(shortcuts)
    assert len(shortcuts) == 3
    assert all(m.kernel_size == (1, 1) for m in shortcuts)


@pytest.mark.parametrize("depth", [0, 9, 11, 12, 15, 26, 29])
def test_depths_that_are_none(depth: int) -> None:
    with pytest.raises(OptionError, match=f"depth {depth} must be 10, 16, 22, 28"):
        WideResNetConfig(depth=depth)


SMALL: dict[str, Any] = {
    "resnet20": lambda: ResNet20(1, 2, ResNetConfig()),
    "adhoc": lambda: AdHocCNN(1, 2, AdHocConfig()),
    "cnn13": lambda: CNN13(1, 2, CNN13Config(width=4)),
    "encoder": lambda: Encoder(1, 2, EncoderConfig(patch=16, widths=(3, 3), latent=2)),
    "wrn": lambda: WideResNet(1, 2, WideResNetConfig(depth=10, width=1)),
}


def walked(network: Any, n: int = 160) -> tuple[int, int]:
    """Stride and field along a line: from which lines two neighbours of the map have a gradient."""
    x = torch.rand(1, 1, n, n, dtype=torch.float64, requires_grad=True)
    maps = network.trunk(x.clone())
    middle, spans = maps.shape[-1] // 2, []
    for row in (middle, middle + 1):
        (gradient,) = torch.autograd.grad(maps[:, :, row, middle].sum(), x, retain_graph=True)
        lines = torch.nonzero(gradient[0, 0].abs().sum(1)).flatten()
        spans.append((int(lines[0]), int(lines[-1])))
    return spans[1][0] - spans[0][0], spans[0][1] - spans[0][0] + 1


def smooth(network: nn.Module) -> Any:
    """With max-pools and rectifiers replaced by what lets every gradient through, so that the field is found whole."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                size = child.kernel_size if isinstance(child.kernel_size, int) else child.kernel_size[0]
                setattr(module, name, nn.AvgPool2d(size, child.stride, child.padding))
            elif isinstance(child, nn.ReLU | nn.ReLU6 | nn.LeakyReLU):
                setattr(module, name, nn.Softplus())
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.05)
    return network.eval().double()


def by_hand(layers: list[tuple[int, int]]) -> tuple[int, int]:
    """Stride and field of kernels and strides one behind the other."""
    stride, seen = 1, 1
    for kernel, step in layers:
        seen += (kernel - 1) * stride
        stride *= step
    return stride, seen


POOL = [(2, 2)]
BY_HAND = {
    "resnet20": [(3, 1), *[(3, 1)] * 6, (3, 2), *[(3, 1)] * 5, (3, 2), *[(3, 1)] * 5],
    "adhoc": [(3, 1), *POOL] * 3,
    "cnn13": [*[(3, 1)] * 3, *POOL, *[(3, 1)] * 3, *POOL, (3, 1), (1, 1), (1, 1)],
    "encoder": [(3, 1), *POOL, (3, 1), *POOL, (4, 1)],
    "wrn": [(3, 1), *[(3, 1)] * 2, (3, 2), (3, 1), (3, 2), (3, 1)],
}


@pytest.mark.parametrize("name", SMALL)
def test_an_element_sees_what_kernels_and_strides_say(name: str) -> None:
    """Found by gradients through the network itself, and by arithmetic."""
    network = smooth(SMALL[name]())
    assert walked(network) == by_hand(BY_HAND[name])


@pytest.mark.parametrize(
    ("widths", "output", "patch"), [((2, 3, 4), 0, 1), ((2, 3, 4), 1, 1), ((2, 3, 4, 5), 2, 1), ((2, 3, 4), 1, 2)]
)
def test_what_lies_beyond_the_margin_changes_nothing(widths: tuple[int, ...], output: int, patch: int) -> None:
    """Maps are made tile by tile: a cell must not depend on what its tile does not hold."""
    network = smooth(MetoceanUNet(1, 2, MetoceanUNetConfig(widths=widths, output=output, patch=patch)))
    n = 4 * network.margin + 4 * network.stride
    x = torch.rand(1, 1, n, n, dtype=torch.float64, requires_grad=True)
    cell = n // network.cell // 2
    (gradient,) = torch.autograd.grad(network(x)[0, 0, cell, cell], x)
    for axis in (1, 0):
        lines = torch.nonzero(gradient[0, 0].abs().sum(axis)).flatten()
        assert lines[0] >= cell * network.cell - network.margin
        assert lines[-1] <= (cell + 1) * network.cell - 1 + network.margin
        assert lines[-1] - lines[0] > network.margin / 3, "a margin of any size would do"


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_images_of_any_size_have_all_their_cells(height: int, width: int) -> None:
    """Also smaller than a stride; what is added at the rim is cut off again."""
    for network in (
        MetoceanUNet(1, 3, MetoceanUNetConfig(widths=(2, 3, 4), output=1)).eval(),
        IM2PX(1, 3, IM2PXConfig(widths=(2, 2, 3), convolutions=1)).eval(),
    ):
        with torch.inference_mode():
            out = network(torch.rand(1, 1, height, width))
        assert out.shape == (1, 3, math.ceil(height / network.cell), math.ceil(width / network.cell))
        assert torch.isfinite(out).all()


def test_a_network_shifts_with_its_image() -> None:
    """By whole strides, away from the rim: convolutions know no place."""
    torch.manual_seed(0)
    networks: list[tuple[Any, int, int]] = []
    for patch in (1, 2):
        unet = alive(UNet(2, 3, UNetConfig(widths=(4, 6, 8), patch=patch))).double()
        networks.append((unet, unet.stride, unet.margin))
    metocean = alive(MetoceanUNet(2, 3, MetoceanUNetConfig(widths=(3, 4, 5), output=1))).double()
    networks.append((metocean, metocean.stride, metocean.margin))
    for network, stride, margin in networks:
        n = 2 * margin + 4 * stride
        n = -(-n // stride) * stride
        x = torch.rand(1, 2, n + stride, n, dtype=torch.float64)
        with torch.inference_mode():
            upper, lower = network(x[..., :n, :]), network(x[..., stride:, :])
        cell = n // upper.shape[-1]
        inner = slice(margin // cell + 1, (n - margin) // cell - stride // cell - 1)
        moved = slice(inner.start + stride // cell, inner.stop + stride // cell)
        assert inner.stop > inner.start
        torch.testing.assert_close(upper[:, :, moved, inner], lower[:, :, inner, inner], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("patch", [1, 2])
def test_folded_batch_norm_is_the_same_function(patch: int) -> None:
    network = alive(UNet(2, 3, UNetConfig(widths=(4, 6, 8), patch=patch))).double()
    x = torch.rand(2, 2, 32, 48, dtype=torch.float64)
    with torch.inference_mode():
        before = network(x)
        after = fold_batch_norm(network)(x)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-12)
    assert before.std() > 1e-3


def test_the_unet_from_its_own_weights_put_together_anew() -> None:
    """Written down once more with functions of torch alone."""
    network = alive(UNet(2, 3, UNetConfig(widths=(4, 6, 8), patch=1))).double()
    x = torch.rand(1, 2, 16, 24, dtype=torch.float64)
    f = nn.functional

    def twice(block: Any, y: Tensor) -> Tensor:
        for conv, norm in ((block[0], block[1]), (block[3], block[4])):
            y = f.conv2d(y, conv.weight, None, padding=1)
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            y = (y - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
            y = y.clamp(min=0)
        return y

    fine = twice(network.encoder[0], x)
    middle = twice(network.encoder[1], fine.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)))
    deep = twice(network.encoder[2], middle.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)))

    def up(y: Tensor, layer: Any) -> Tensor:
        thin = torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], y) + layer.bias[:, None, None]
        return thin.repeat_interleave(2, 2).repeat_interleave(2, 3)

    middle = twice(network.decoder[1], up(deep, network.reduce[1]) + middle)
    fine = twice(network.decoder[0], up(middle, network.reduce[0]) + fine)
    head = torch.einsum("oc,bchw->bohw", network.head.weight[:, :, 0, 0], fine) + network.head.bias[:, None, None]
    with torch.inference_mode():
        torch.testing.assert_close(network(x), head, rtol=1e-10, atol=1e-12)


def test_a_residual_block_without_weights_is_its_shortcut() -> None:
    """Option A of the paper: every other element, and zeros for new channels, half on each side."""
    network = ResNet20(1, 2, ResNetConfig()).eval()
    block: Any = network.layer2[0]
    for conv in convolutions(block):
        nn.init.zeros_(conv.weight)
    x = torch.rand(2, 16, 7, 8)
    with torch.inference_mode():
        out = block(x)
    assert out.shape == (2, 32, 4, 4)
    torch.testing.assert_close(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_an_inverted_residual_without_weights_is_the_identity() -> None:
    """Where neither size nor width changes, and nowhere else."""
    network = MobileNetV2(1, 2, MobileNetV2Config()).eval()
    residuals: list[Any] = [m for m in network.features if hasattr(m, "residual")]
    assert len(residuals) == 17
    assert sum(m.residual for m in residuals) == 10  # Table 2: repetitions but the first of each stage
    for block in residuals:
        for conv in convolutions(block):
            nn.init.zeros_(conv.weight)
        n_in = convolutions(block)[0].in_channels
        x = torch.rand(1, n_in, 8, 8)
        with torch.inference_mode():
            assert torch.equal(block(x), x) == block.residual


def test_a_dense_layer_sees_all_before_it() -> None:
    """The first 64 channels of a block's output are its input, and each layer adds 32."""
    network = DenseNet121(1, 2, DenseNet121Config())
    block: Any = alive(network).features.denseblock1
    x = torch.rand(1, 64, 8, 8)
    with torch.inference_mode():
        out = block(x)
        assert out.shape[1] == 64 + 6 * 32
        assert torch.equal(out[:, :64], x)
        for i, layer in enumerate(block.children()):
            seen = out[:, : 64 + 32 * i]
            torch.testing.assert_close(layer(seen), out[:, 64 + 32 * i : 96 + 32 * i])


@pytest.mark.parametrize("patch", [8, 10, 20, 32, 33, 46])
def test_sizes_of_lite_networks_are_rounded_up(patch: int) -> None:
    """Padding as TensorFlow's SAME: n elements give ⌈n / stride⌉, the larger half of zeros behind."""
    network = EfficientNetLite0(1, 2, EfficientNetLite0Config(patch=patch)).eval()
    size, strides = patch, 0
    for conv in (m for m in network.modules() if isinstance(m, PaddedConv2d)):
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        before, after = conv.pads
        assert 0 <= after - before <= 1
        assert (size + before + after - kernel) // stride + 1 == math.ceil(size / stride)
        assert before + after <= max(kernel - 1, 0)
        size = math.ceil(size / stride)
        strides += stride > 1
    assert strides == 5
    with torch.inference_mode():
        assert network.trunk(torch.rand(1, 1, patch, patch)).shape[-2:] == (size, size)


def test_padding_before_and_after_differs() -> None:
    conv = PaddedConv2d(1, 1, 3, 2, bias=False)
    conv.pads = (0, 1)
    nn.init.ones_(conv.weight)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = np.pad(x[0, 0].numpy(), (0, 1))
    sums = [[expected[y : y + 3, c : c + 3].sum() for c in (0, 2)] for y in (0, 2)]
    np.testing.assert_allclose(conv(x)[0, 0].detach().numpy(), sums)


@pytest.mark.parametrize("width", [0.05, 0.25, 0.5])
def test_a_narrow_inception_is_the_same_network(width: float) -> None:
    """As many layers of the same kernels and strides, of fewer channels; blocks fit each other at any width."""
    with torch.device("meta"):
        full, narrow = (convolutions(InceptionV3(1, 2, InceptionV3Config(width=w))) for w in (1.0, width))
    assert len(full) == len(narrow) == 94
    for a, b in itertools.islice(zip(full, narrow, strict=True), 94):
        assert (a.kernel_size, a.stride, a.padding) == (b.kernel_size, b.stride, b.padding)
        assert b.out_channels == max(round(a.out_channels * width), 4)
    network = InceptionV3(1, 2, InceptionV3Config(width=width)).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 1, LEAST, LEAST + 20)).shape == (1, 2)


@pytest.mark.parametrize("side", [(74, 200), (200, 74), (1, 1)])
def test_images_that_inception_cannot_take(side: tuple[int, int]) -> None:
    network = InceptionV3(1, 2, InceptionV3Config(width=0.05)).eval()
    with pytest.raises(OptionError, match=f"{side[0]} × {side[1]} pixels are too small: 75 are needed"):
        network(torch.rand(1, 1, *side))


def test_published_names_that_are_of_no_use() -> None:
    assert InceptionV3.published_name("AuxLogits.fc.weight") is None
    assert InceptionV3.published_name("fc.weight") == "fc.weight"
    assert EfficientNetLite0.published_name("_blocks.3._bn1.weight") == "blocks.3.bn1.weight"
    names = set(EfficientNetLite0(3, 2, EfficientNetLite0Config()).state_dict())
    published = {
        ".".join(p if p.isdigit() or p in ("weight", "bias") else f"_{p}" for p in n.split(".")) for n in names
    }
    assert {EfficientNetLite0.published_name(n) for n in published} >= {n for n in names if "running" not in n}


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("widths", [(4,), (4, 6), (4, 6, 8)])
def test_the_least_patch_is_the_least(padding: str, widths: tuple[int, ...]) -> None:
    """By trying: one pixel less leaves nothing behind the last pool."""
    least = AdHocConfig(widths=widths, padding=padding, patch=99).least_patch
    network = AdHocCNN(1, 2, AdHocConfig(widths=widths, padding=padding, patch=least))
    assert network.trunk(torch.rand(1, 1, least, least)).shape[-2:] == (1, 1)
    with pytest.raises(RuntimeError):
        network.trunk(torch.rand(1, 1, least - 1, least - 1))
    with pytest.raises(OptionError, match=f"take patches of {least} pixels or more"):
        AdHocConfig(widths=widths, padding=padding, patch=least - 1)


@settings(max_examples=40, deadline=None)
@given(patch=st.integers(1, 120), depth=st.integers(1, 4), padding=st.sampled_from(["same", "valid"]))
def test_the_size_of_a_map_is_what_torch_makes(patch: int, depth: int, padding: str) -> None:
    try:
        config = AdHocConfig(patch=patch, widths=(1,) * depth, hidden=(2,), padding=padding)
    except OptionError as error:
        assert "too small" in str(error)  # noqa: PT017 - which of the two happens is the question
        return
    network = AdHocCNN(1, 2, config).eval()
    with torch.inference_mode():
        assert network.trunk(torch.rand(1, 1, patch, patch)).shape[-1] == config.map_size
        assert network(torch.rand(1, 1, patch, patch)).shape == (1, 2)


def test_weight_norm_separates_length_and_direction() -> None:
    """Scaling the direction changes nothing; scaling the length scales the filter."""
    network: Any = CNN13(1, 2, CNN13Config(width=4, weight_norm=True)).eval()
    conv = network.features[0]
    before = conv.weight.detach().clone()
    with torch.no_grad():
        conv.parametrizations.weight.original1.mul_(3.0)
    torch.testing.assert_close(conv.weight, before)
    with torch.no_grad():
        conv.parametrizations.weight.original0.mul_(2.0)
    torch.testing.assert_close(conv.weight, 2 * before)


@pytest.mark.parametrize("head", ["adhoc", "imagenet"])
def test_the_published_head_wants_seven_by_seven(head: str) -> None:
    """Of every patch; the paper's own head is made for one size."""
    with torch.device("meta"):
        for patch in (32, 46, 224):
            network = VGG16(3, 2, VGG16Config(patch=patch, head=head))
            maps = network.trunk(torch.empty(1, 3, patch, patch))
            assert network.pool(maps).shape[-1] == (7 if head == "imagenet" else patch // 32)
            assert network.n_features == network.pool(maps)[0].numel()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AdHocConfig(hidden=(0,)), "hidden"),
        (lambda: AdHocConfig(dropout=-0.1), r"dropout -0.1 must lie in \[0, 1\)"),
        (lambda: CNN13Config(width=0), "width 0 must be 1 or more"),
        (lambda: CNN13Config(patch=11), "12 pixels or more"),
        (lambda: DenseNet121Config(patch=28), "29 pixels or more"),
        (lambda: EfficientNetLite0Config(patch=7), "8 pixels or more"),
        (lambda: InceptionV3Config(patch=74), "75 pixels or more"),
        (lambda: InceptionV3Config(width=0), "width 0 must be above 0"),
        (lambda: InceptionV3Config(width=math.nan), "width nan must be above 0"),
        (lambda: InceptionV3Config(output="tanh"), "'tanh' is not one of"),
        (lambda: IM2PXConfig(widths=()), "widths and convolutions"),
        (lambda: IM2PXConfig(convolutions=0), "widths and convolutions"),
        (lambda: MetoceanUNetConfig(widths=(4,)), "at least two stages"),
        (lambda: MetoceanUNetConfig(output=4), "must be a stage above the bottom, 0 to 3"),
        (lambda: MetoceanUNetConfig(patch=0), "patch 0 must be 1 or more"),
        (lambda: MobileNetV2Config(dropout=math.nan), "dropout nan"),
        (lambda: WideResNetConfig(width=0), "width 0"),
        (lambda: VGG16Config(head=""), "'' is not"),
        (lambda: ModifiedVGG16(1, 2, VGG16Config(patch=15)), "modified VGG-16"),
    ],
)
def test_shapes_that_cannot_be_are_refused_in_a_line(make: Any, words: str) -> None:
    with pytest.raises((OptionError, ModelError), match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_first_scores_are_nearly_equal() -> None:
    """Training starts from no opinion: the entropy of the first answers is within a few percent of the largest."""
    for make in (
        lambda: ResNet20(3, 5, ResNetConfig()),
        lambda: WideResNet(3, 5, WideResNetConfig(depth=10)),
        lambda: CNN13(3, 5, CNN13Config(width=16)),
    ):
        torch.manual_seed(0)
        network = make().train()
        with torch.no_grad():
            p = network(torch.randn(16, 3, 32, 32)).softmax(1)
        entropy = float(-(p * p.log()).sum(1).mean())
        assert entropy > 0.9 * math.log(5)
