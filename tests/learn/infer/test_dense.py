"""Dense maps from patch classifiers: equal to patch by patch where they must be, the difference measured elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from frazil.errors import ModelError, OptionError
from frazil.learn.checkpoint import ModelCard
from frazil.learn.infer.dense import DenseEngine, PatchwiseEngine, agreement, make_engine
from frazil.learn.infer.dilate import DilatedMean, dilated_trunk
from frazil.learn.models import ARCHITECTURES, create_model
from frazil.learn.models.patch import PatchClassifier
from frazil.scene.scaling import CHANNELS, network_input
from tests.learn.infer.cell_logits import cell_logits

LARGE = ("inception_v3",)  # takes patches of 75 pixels or more
CLASSIFIERS = [
    n for n, (network, _) in ARCHITECTURES.items() if issubclass(network, PatchClassifier) and n not in LARGE
]


pytestmark = pytest.mark.usefixtures("one_thread")


def build(name: str, n_channels: int = 2, n_classes: int = 3, **settings: Any) -> PatchClassifier:
    """With random weights of unit scale in the last layer, and batch norm that has seen data."""
    torch.manual_seed(0)
    network = create_model(name, n_channels=n_channels, n_classes=n_classes, settings=settings)
    assert isinstance(network, PatchClassifier)
    last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
    nn.init.normal_(last.weight)
    if any(isinstance(m, nn.BatchNorm2d) for m in network.modules()):
        with torch.no_grad():
            side = max(64, network.patch)
            network.train().trunk(torch.rand(4, n_channels, side, side))
    return network.eval()


def valid(patch: int) -> PatchClassifier:
    """A small network without zero padding: there dense and patch by patch must be the same."""
    return build("adhoc", patch=patch, padding="valid", widths=(5, 6, 7), hidden=(9,))


def image_of(stride: int, height: int = 40, width: int = 60, n_channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(1)
    shape = (n_channels, -(-height // stride) * stride, -(-width // stride) * stride)
    return rng.random(shape, dtype=np.float32)


def by_hand(network: PatchClassifier, image: np.ndarray, stride: int) -> np.ndarray:
    """The convention written out: one patch after the other, zeros outside the image."""
    patch, half = network.patch, network.patch // 2
    _, height, width = image.shape
    around = np.pad(image, ((0, 0), (patch, patch), (patch, patch)))
    out = np.empty((3, -(-height // stride), -(-width // stride)), np.float32)
    for line in range(0, height, stride):
        for pixel in range(0, width, stride):
            top, left = line + stride // 2 - half + patch, pixel + stride // 2 - half + patch
            part = torch.from_numpy(around[None, :, top : top + patch, left : left + patch])
            with torch.inference_mode():
                logits = network(part)[0].numpy()
            out[:, line // stride, pixel // stride] = logits
    return out


@pytest.mark.parametrize(
    ("patch", "stride"), [(22, 4), (23, 5), (32, 8), (32, 10), (33, 8), (46, 7), (46, 16), (32, 32)]
)
def test_dense_equals_patch_by_patch(patch: int, stride: int) -> None:
    """Without zero padding, for even and odd patches and strides."""
    network, image = valid(patch), image_of(stride)
    expected = by_hand(network, image, stride)
    assert expected.std() > 0.1
    for engine in (DenseEngine(network, stride=stride), PatchwiseEngine(network, stride=stride, batch=7)):
        got = engine(image)
        assert got.dtype == np.float32
        assert engine.margin % stride == 0
        np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_pixel(stride: int) -> None:
    network, image = valid(24), image_of(stride, 12, 20)
    np.testing.assert_allclose(DenseEngine(network, stride=stride)(image), by_hand(network, image, stride), atol=1e-4)


@pytest.mark.parametrize("patch", [22, 23])
def test_which_patch_belongs_to_a_pixel(patch: int) -> None:
    """A network that adds up its patch finds a single bright pixel from `patch // 2` before to the rest after it."""

    class Sum(PatchClassifier):
        first = ("conv", None)

        def __init__(self) -> None:
            super().__init__(patch, patch**2)
            self.conv = nn.Conv2d(1, 1, 1, bias=False)
            self.line = nn.Linear(patch**2, 1, bias=False)
            nn.init.ones_(self.conv.weight)
            nn.init.ones_(self.line.weight)

        def trunk(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)

        def pool(self, maps: torch.Tensor) -> torch.Tensor:
            return maps

        @property
        def head(self) -> nn.Linear:
            return self.line

    image = np.zeros((1, 64, 64), np.float32)
    image[0, 30, 33] = 1
    seen = np.zeros((64, 64))
    before, after = patch // 2, patch - 1 - patch // 2
    seen[30 - after : 30 + before + 1, 33 - after : 33 + before + 1] = 1
    for engine in (DenseEngine(Sum(), stride=1), PatchwiseEngine(Sum(), stride=1)):
        np.testing.assert_allclose(engine(image)[0], seen, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 8, 10])
@pytest.mark.parametrize("name", ["resnet20", "cnn13", "mobilenet_v2", "efficientnet_lite0", "densenet121"])
def test_dilated_trunk_contains_the_strided_one(name: str, stride: int) -> None:
    """Also at the edge of the image: the elements that the network itself computes are unchanged."""
    network = build(name, weight_norm=True) if name == "cnn13" else build(name)
    side = 64 if stride > 1 else 32
    x = torch.rand(1, 2, side, side)
    trunk, lattice = dilated_trunk(network, stride)
    with torch.inference_mode():
        expected, got = network.trunk(x), trunk(x)
    assert stride % lattice.step == 0
    every = lattice.dilation
    got = got[..., ::every, ::every][..., : expected.shape[-2], : expected.shape[-1]]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_large_trunks_too() -> None:
    for name in ("vgg16", "modified_vgg16", "resnet50", "inception_v3"):
        network = build(name)
        side = 64 if name not in LARGE else 107
        x = torch.rand(1, 2, side, side)
        trunk, lattice = dilated_trunk(network, 8)
        with torch.inference_mode():
            expected, got = network.trunk(x), trunk(x)
        every = lattice.dilation
        assert (lattice.spacing, lattice.step) == (16 if name == "modified_vgg16" else 32, 8)
        got = got[..., ::every, ::every][..., : expected.shape[-2], : expected.shape[-1]]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("name", "stride"), [("cnn13", 2), ("resnet20", 1), ("adhoc", 4)])
def test_other_elements_are_those_of_a_shifted_image(name: str, stride: int) -> None:
    """Shift and stitch, the slow way: a trunk with padding, compared where its padding cannot reach."""
    network = build(name)
    x = torch.rand(1, 2, 144, 144)
    trunk, lattice = dilated_trunk(network, stride)
    border = -(-max(*lattice.before, *lattice.after) // lattice.spacing)
    with torch.inference_mode():
        got = trunk(x)
        for line, pixel in ((0, 1), (1, 1), (1, 0)):
            part = network.trunk(x[..., line * stride :, pixel * stride :])
            ours = got[..., line :: lattice.dilation, pixel :: lattice.dilation]
            rows, columns = (min(a, b) for a, b in zip(part.shape[-2:], ours.shape[-2:], strict=True))
            inner = (..., slice(border, rows - border), slice(border, columns - border))
            assert ours[inner].numel()
            torch.testing.assert_close(ours[inner], part[inner], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("adhoc", {}),
        ("adhoc", {"padding": "valid", "patch": 33}),
        ("resnet20", {"patch": 20}),
        ("mobilenet_v2", {}),
    ],
)
def test_results_end_within_the_margin(name: str, settings: dict[str, Any]) -> None:
    """By brute force: change one pixel and see how far the change goes; it goes no further, and nearly so far."""
    network = build(name, **settings)
    for engine in (DenseEngine(network, stride=8), PatchwiseEngine(network, stride=8)):
        side, middle = 8 * (2 * engine.margin // 8 + 5), 8 * (engine.margin // 8 + 2)
        image = image_of(8, side, side)
        before = engine(image)
        image[:, middle, middle] += 10
        changed = np.abs(engine(image) - before).max(axis=0) > 1e-6
        lines, pixels = np.nonzero(changed)
        for where in (lines, pixels):
            assert 8 * where.min() >= middle - engine.margin
            assert 8 * where.max() <= middle + engine.margin
    assert changed.any()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_runs_densely(name: str) -> None:
    """Shapes, and the same function as patch by patch where the patch is all there is."""
    network = build(name)
    engine = DenseEngine(network, stride=32)
    image = image_of(32, 32, 64)
    logits = engine(image)
    assert logits.shape == (3, 1, 2)
    assert np.isfinite(logits).all()
    alone = engine(image[:, :, :32])  # one patch, zeros around it: padding and zeros outside are the same
    expected = PatchwiseEngine(network, stride=32)(image[:, :, :32])
    np.testing.assert_allclose(alone, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_head_that_wants_a_larger_map() -> None:
    """As VGG's published head, which wants 7 × 7 whatever the patch: repeated or averaged, it is folded in."""

    class Pooled(type(valid(22))):  # type: ignore[misc] # of whatever class the registry makes
        def pool(self, maps: torch.Tensor) -> torch.Tensor:
            return nn.functional.adaptive_avg_pool2d(maps, 3)

    for patch in (32, 72):
        network: Any = valid(patch)
        network.__class__ = Pooled
        network.classifier[0] = nn.Linear(7 * 9, 9)
        image = image_of(8, 72, 80)
        np.testing.assert_allclose(DenseEngine(network)(image), by_hand(network, image, 8), atol=1e-4)


def test_agreement() -> None:
    same = agreement(valid(32), image_of(8, 96, 96), stride=8)
    assert same.same_class == 1
    assert same.max_difference < 1e-5
    assert same.patches == 16
    other = agreement(build("adhoc"), image_of(8, 96, 96), stride=8)
    assert 0 <= other.same_class <= 1
    assert 0 < other.mean_difference < other.max_difference <= 1
    with pytest.raises(OptionError, match="too small to compare.*take 72 or more"):
        agreement(valid(32), image_of(8, 64, 64), stride=8)


def test_bfloat16_is_close() -> None:
    network, image = valid(32), image_of(8)
    exact = DenseEngine(network)(image)
    for function in ("dense", "patchwise"):
        got = make_engine(network, function=function, stride=8, precision="bfloat16")(image)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, exact, atol=0.05 * exact.std() + 0.05)


def test_networks_are_left_alone() -> None:
    network = build("cnn13", weight_norm=True).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    DenseEngine(network, stride=4)
    PatchwiseEngine(network)
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_errors() -> None:
    network = valid(32)
    with pytest.raises(OptionError, match="stride 33 must lie between 1 and 32"):
        DenseEngine(network, stride=33)
    with pytest.raises(OptionError, match="'float16' is not one of"):
        DenseEngine(network, precision="float16")
    with pytest.raises(OptionError, match="40 × 61 pixels is not a multiple of the stride 8"):
        agreement(network, np.zeros((2, 40, 61), np.float32))
    with pytest.raises(OptionError, match=r"'fast' is not one of \['auto', 'dense', 'patchwise'\]"):
        make_engine(network, function="fast")
    unet = create_model("unet", n_channels=2, n_classes=3)
    with pytest.raises(OptionError, match="UNet classifies every pixel at once"):
        make_engine(unet, stride=8)
    assert make_engine(unet).cell == 1
    assert make_engine(network).cell == 8
    assert make_engine(network).stride == 8  # it does not pad: dense is the same function
    assert make_engine(create_model("vgg16", n_channels=2, n_classes=3)).stride == 10  # it does
    assert make_engine(network, function="patchwise").stride == 10
    assert DenseEngine(network, margin=13).margin == 16
    classifier: Any = network.classifier
    classifier.append(nn.Softmax(1))
    with pytest.raises(ModelError, match="head with Softmax cannot run densely"):
        DenseEngine(network)


def test_dilated_mean() -> None:
    x = torch.rand(2, 3, 9, 11)
    torch.testing.assert_close(DilatedMean(3)(x), nn.functional.avg_pool2d(x, 3, 1))
    torch.testing.assert_close(DilatedMean(2, 3)(x)[..., ::3, ::3], nn.functional.avg_pool2d(x[..., ::3, ::3], 2, 1))


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return ModelCard(
        id="dense",
        architecture="adhoc",
        settings={},
        class_scheme="five_classes",
        channels=(CHANNELS["hh"], CHANNELS["incidence_angle"]),
        spacing_m=120.0,
        denoise="esa",
        incidence_range=(19.0, 46.0),
    )


@pytest.fixture(scope="module")
def scene() -> xr.Dataset:
    """All that `dense` reads of a scene."""
    rng = np.random.default_rng(2)
    shape = (101, 133)
    sigma0 = rng.uniform(1e-3, 1, (1, *shape)).astype(np.float32)
    sigma0[:, :20, :30] = np.nan
    angle = np.broadcast_to(np.linspace(20, 45, shape[1], dtype=np.float32), shape)
    dims = ("line", "pixel")
    return xr.Dataset(
        {
            "sigma0": (("polarization", *dims), sigma0),
            "nesz": (("polarization", *dims), np.full_like(sigma0, 1e-3)),
            "incidence_angle": (dims, angle.copy()),
        },
        {"polarization": ["HH"]},
    )


@pytest.mark.parametrize(
    ("function", "name", "stride"),
    [
        ("dense", "valid", 8),
        ("patchwise", "valid", 8),
        ("patchwise", "adhoc", 10),
        ("dense", "adhoc", 4),
        ("dense", "resnet20", 10),
    ],
)
def test_scenes_do_not_depend_on_tiles(
    scene: xr.Dataset, card: ModelCard, function: str, name: str, stride: int
) -> None:
    """The same through `frazil.learn.infer.tiles` in one piece and in many; sizes that no stride divides."""
    network = valid(22) if name == "valid" else build(name, patch=20)
    engine = make_engine(network, function=function, stride=stride)
    one = cell_logits(scene, engine, card, 4096)
    assert np.isfinite(one).all()
    for tile in (16, 40):
        np.testing.assert_allclose(cell_logits(scene, engine, card, tile), one, rtol=1e-4, atol=1e-4)
    if name == "valid":
        arrays = {str(k): v.values for k, v in scene.data_vars.items()}
        arrays["valid"] = np.isfinite(arrays["sigma0"]).all(axis=0)
        image = network_input(arrays, ["HH"], card.channels)
        pad = [(0, 0), *((0, -n % stride) for n in image.shape[1:])]
        np.testing.assert_allclose(one, by_hand(network, np.pad(image, pad), stride), atol=1e-4)
