"""MASK, PART, CAM and IM2PX against slow plain versions, on small categorisers; and what a bounded network can see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from frazil.errors import ModelError, OptionError
from frazil.learn.infer.weak import ScoreMap, cam_scores, mask_scores, part_scores
from frazil.learn.infer.weak.grid import prepared, scores_of, trunk_grid
from frazil.learn.infer.weak.masking import places
from frazil.learn.infer.weak.partial import agreement
from frazil.learn.models import create_model
from frazil.learn.models.im2px import field
from frazil.learn.models.output import activated
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.strategies.phenomena_losses import PUBLISHED_RARITY, label_loss, rarity_of, weighted_bce

pytestmark = pytest.mark.usefixtures("one_thread")


class Small(PatchClassifier):
    """Two strided convolutions without padding, the mean, one linear layer."""

    first = ("one", None)
    untransferred = ()

    def __init__(self, n_classes: int = 3, output: str = "softmax", padding: int = 0) -> None:
        super().__init__(11, 6)
        self.one, self.two = nn.Conv2d(1, 5, 3, 2, padding), nn.Conv2d(5, 6, 3, 2, padding)
        self.fc, self.output = nn.Linear(6, n_classes), output

    def trunk(self, x: Tensor) -> Tensor:
        return torch.relu(self.two(torch.relu(self.one(x))))

    @property
    def head(self) -> nn.Module:
        return nn.Sequential(self.fc)

    def describe(self, x: Tensor) -> Tensor:
        return torch.flatten(self.pool(self.trunk(x)), 1)


def small(**more: object) -> Small:
    torch.manual_seed(3)
    network = Small(**more).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        network.fc.weight *= 5
    return network


def picture(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, *size), np.float32)


def plain(network: nn.Module, image: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return activated(network(torch.from_numpy(image)[None]), network.output)[0].numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_masking_by_brute_force(fill: str) -> None:
    """Equations 3 to 6 of C, place by place, in float64 sums."""
    network, image, side, stride = small(), picture(24, 32), 11, 4
    made = mask_scores(network, image, side=side, stride=stride, fill=fill, batch=5)
    value = image.mean() if fill == "mean" else 0.0
    whole = plain(network, image)
    rows, columns = (np.arange(n // stride) * stride + stride / 2 - 0.5 for n in (24, 32))
    drop = {}
    for a in rows:
        for b in columns:
            hidden = image.copy()
            for i, j in np.ndindex(24, 32):
                if abs(i - a) < side / 2 and abs(j - b) < side / 2:
                    hidden[0, i, j] = value
            drop[a, b] = np.maximum(0, whole - plain(network, hidden))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            near = [d for (a, b), d in drop.items() if abs(y - a) < side / 2 and abs(x - b) < side / 2]
            np.testing.assert_allclose(made.score[:, i, j], np.mean(near, axis=0), atol=1e-5)
    assert made.score.max() > 1e-3


def test_masking_runs_of_the_source() -> None:
    """16 × 16 masks on 400 × 400 pixels: 257 runs with the whole image."""
    made = mask_scores(small(), picture(400, 400), batch=64)
    assert made.score.shape == (3, 16, 16)


def test_masking_geometry_of_the_source() -> None:
    """512 × 512 pixels, every 25, a map of 16 × 16: in the middle of the 21 × 21 that cover the image."""
    image = picture(512, 512)
    made = mask_scores(small(), image, count=16, batch=64)
    assert made.score.shape == (3, 16, 16)
    assert made.y.tolist() == made.x.tolist() == [68 + 25 * i for i in range(16)]
    assert len(places(512, 25)) == 21
    with pytest.raises(OptionError, match="1 to 21"):
        mask_scores(small(), image, count=22)


def test_masks_of_a_count_are_those_in_the_middle() -> None:
    """Place by place as in the full grid, where no mask beyond them covers the place."""
    image = picture(60, 60)
    full, some = (mask_scores(small(), image, side=9, stride=4, count=n) for n in (None, 9))
    assert (full.y.size, some.y.tolist()) == (15, full.y[3:12].tolist())
    np.testing.assert_allclose(some.score[:, 1:-1, 1:-1], full.score[:, 4:11, 4:11], atol=1e-6)


def test_masks_stand_evenly_on_images_of_any_size() -> None:
    made = mask_scores(small(), picture(31, 31), side=9, stride=7)
    assert made.y.tolist() == made.x.tolist() == [1, 8, 15, 22, 29]
    made = mask_scores(small(), picture(28, 14), side=7, stride=7)
    assert (made.y.tolist(), made.x.tolist()) == ([3, 10, 17, 24], [3, 10])


@pytest.mark.parametrize(("settings", "message"), [({"fill": "x"}, "fill"), ({"side": 5, "stride": 9}, "stride")])
def test_impossible_masks(settings: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        mask_scores(small(), picture(20, 20), **settings)  # type: ignore[arg-type]


def test_tiles_by_brute_force() -> None:
    network, image = small(), picture(30, 40)
    made = part_scores(network, image, tile=12, batch=4)
    assert made.y.tolist() == [5.5, 9.5, 13.5, 17.5, 21.5, 23.5]
    for i, y in enumerate(made.y):
        for j, x in enumerate(made.x):
            a, b = int(y - 5.5), int(x - 5.5)
            np.testing.assert_allclose(made.score[:, i, j], plain(network, image[:, a : a + 12, b : b + 12]), atol=1e-5)


@pytest.mark.parametrize("tile", [11, 12, 19])
def test_dense_tiles_are_tiles_where_nothing_is_padded(tile: int) -> None:
    network, image = small(output="sigmoid"), picture(31, 45)
    dense = part_scores(network, image, tile=tile, dense=True)
    assert dense.score.shape[1] > 2
    for i, y in enumerate(dense.y):
        for j, x in enumerate(dense.x):
            a, b = int(y - (tile - 1) / 2), int(x - (tile - 1) / 2)
            one = plain(network, image[:, a : a + tile, b : b + tile])
            np.testing.assert_allclose(dense.score[:, i, j], one, atol=1e-5)
    assert agreement(network, image, tile) < 1e-5


def test_padding_inside_is_a_border_effect() -> None:
    assert agreement(small(padding=1), picture(40, 40), 12) > 1e-4


@pytest.mark.parametrize("tile", [41, 0, 3])
def test_tiles_that_do_not_fit(tile: int) -> None:
    with pytest.raises(OptionError):
        part_scores(small(), picture(40, 40), tile=tile, dense=tile == 3)


def test_activation_map_averages_to_the_logits() -> None:
    """By linearity, the mean over the map of the logits is the logit of the image; places are those of the trunk."""
    network, image = small(output="sigmoid"), picture(43, 51)
    made = cam_scores(network, image)
    logits = np.log(made.score.astype(float) / (1 - made.score.astype(float)))
    with torch.inference_mode():
        whole = network(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(logits.mean((1, 2)), whole, atol=1e-4)
    assert (made.y[0], made.y[1] - made.y[0]) == (3.0, 4.0)  # 7 pixels are seen, every fourth place


def test_activation_map_follows_its_image() -> None:
    network = small()
    image = picture(60, 60)
    moved = np.roll(image, (8, 12), (1, 2))
    a, b = cam_scores(network, image).score, cam_scores(network, moved).score
    np.testing.assert_allclose(b[:, 4:, 4:], a[:, 2:-2, 1:-3], atol=1e-5)


def test_methods_need_a_categoriser_that_takes_the_mean() -> None:
    unet = create_model("metocean_unet", n_channels=1, n_classes=2, settings={"widths": (2, 2, 2, 2)}).eval()
    vgg = create_model("modified_vgg16", n_channels=1, n_classes=2, settings={"patch": 32}).eval()
    for network in (unet, vgg):
        for method in (cam_scores, mask_scores, part_scores):
            with pytest.raises(ModelError):
                method(network, picture(32, 32))


def test_inception_takes_any_size_from_75() -> None:
    torch.manual_seed(0)
    network: Any = create_model("inception_v3", n_channels=1, n_classes=4, settings={"width": 0.1, "output": "sigmoid"})
    network.eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 1, 75, 75)).shape == (1, 4)
        assert network(torch.rand(1, 1, 112, 90)).shape == (1, 4)
        with pytest.raises(OptionError, match="75"):
            network(torch.rand(1, 1, 74, 90))
    grid = trunk_grid(network)
    assert grid.spacing == 32
    image = picture(200, 200)
    made = cam_scores(network, image)
    assert made.score.shape == (4, 4, 4)
    assert 30 < made.y[0] < 44
    assert made.y[-1] < 200
    assert part_scores(network, image, tile=75, dense=True).score.shape == (4, 4, 4)
    with pytest.raises(OptionError):
        create_model("inception_v3", n_channels=1, n_classes=4, settings={"output": "tanh"})
    with pytest.raises(OptionError):
        create_model("inception_v3", n_channels=1, n_classes=4, settings={"width": 0.0})


@pytest.mark.parametrize(("poolings", "convolutions"), [(3, 3), (2, 1), (0, 2)])
def test_im2px_sees_its_field_and_no_more(poolings: int, convolutions: int) -> None:
    """The gradient of one output vanishes beyond the field, and reaches its rim. In float64 with positive weights."""
    settings = {"widths": (2,) * (poolings + 1), "convolutions": convolutions}
    network: Any = create_model("im2px", n_channels=1, n_classes=1, settings=settings).double().eval()
    for parameter in network.parameters():
        parameter.data.abs_().add_(0.01)
    size = 2 ** (poolings + 5)
    x = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    seen = np.zeros((size, size), bool)
    for _ in range(12):  # a max-pool passes the gradient of one pixel in four: look several times
        x = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        middle = size // network.cell // 2
        (gradient,) = torch.autograd.grad(network(x)[0, 0, middle, middle], x)
        seen |= gradient[0, 0].numpy() != 0
    rows = np.flatnonzero(seen.any(1))
    expected = field(poolings, convolutions)
    centre = middle * network.cell + (network.cell - 1) / 2
    assert rows[0] >= centre - (expected - 1) / 2
    assert rows[-1] <= centre + (expected - 1) / 2
    assert rows[-1] - rows[0] + 1 >= expected - 2 * network.cell
    assert network.margin >= centre - rows[0] - (network.cell - 1) / 2


def test_field_of_the_source_is_within_its_bound() -> None:
    """C gives ρ = k/2 (2ⁿ (n + 4) − 2) = 81 for an autoencoder; the encoder alone reaches 49 pixels to each side."""
    assert field(3, 3) == 98
    assert field(3, 3) / 2 <= 3 / 2 * (2**3 * (3 + 4) - 2)


def test_scores_on_cells() -> None:
    made = ScoreMap(
        np.arange(6.0, dtype=np.float32).reshape(1, 2, 3), np.array([4.0, 12.0]), np.array([3.5, 7.5, 11.5])
    )
    near = made.on_cells((4, 4), 4)
    assert near[0, 0].tolist() == [0, 1, 2, 2]
    assert near[0, :, 0].tolist() == [0, 0, 3, 3]
    linear = made.on_cells((4, 4), 4, linear=True)
    assert linear[0, 0].tolist() == pytest.approx([0, 0.5, 1.5, 2])
    assert linear.max() == 5


def test_weighted_bce_in_float64() -> None:
    """C, equation 1, summed by hand."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(2, 3, 4, 4)), (rng.random((2, 3, 4, 4)) < 0.3).astype(float)
    k = np.array([34.5, 2.3, 9.1])
    for weighting in ("paper", "code", "none"):
        total = 0.0
        for n, c, i, j in np.ndindex(y.shape):
            share = y[n, c].mean()
            p = 1 / (1 + np.exp(-z[n, c, i, j]))
            a, b = {"paper": (share, 1 - share), "code": (1 - share, share), "none": (1, 1)}[weighting]
            inner = a * y[n, c, i, j] * np.log(p) + b * (1 - y[n, c, i, j]) * np.log(1 - p)
            total -= k[c] * 3 / k.sum() * inner
        made = weighted_bce(torch.from_numpy(z), torch.from_numpy(y), torch.tensor(k), weighting)
        assert float(made) == pytest.approx(total / y.size, rel=1e-5)


def test_rarity() -> None:
    assert rarity_of(torch.tensor([0.5, 0.001, 0.0]), 250.0).tolist() == [2, 250, 250]
    assert len(PUBLISHED_RARITY) == 10


def test_unknown_labels_teach_nothing() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    target = torch.tensor([[1, 0, 255, 0]] * 3)
    (gradient,) = torch.autograd.grad(label_loss(logits, target, "sigmoid"), logits)
    assert (gradient[:, 2] == 0).all()
    assert (gradient[:, [0, 1, 3]] != 0).all()


def test_labels_at_every_pixel_are_the_mean_of_labels() -> None:
    logits = torch.randn(2, 3, 5, 6)
    target = torch.tensor([[1, 0, 0], [0, 0, 1]])
    for output in ("softmax", "sigmoid"):
        each = [label_loss(logits[..., i, j], target, output) for i in range(5) for j in range(6)]
        assert label_loss(logits, target, output) == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)


def test_prepared_networks_compute_the_same() -> None:
    """Folded batch norm changes nothing; bfloat16 changes scores by less than a hundredth."""
    torch.manual_seed(2)
    image = picture(170, 180)
    for name, settings in (("inception_v3", {"width": 0.1}), ("metocean_unet", {"widths": (4, 4, 8, 8)})):
        network = create_model(name, n_channels=1, n_classes=4, settings=settings).eval()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None
                assert part.running_var is not None
                nn.init.uniform_(part.running_mean, -0.2, 0.2)
                nn.init.uniform_(part.running_var, 0.5, 2.0)
        before = {k: v.clone() for k, v in network.state_dict().items()}
        ready, half = prepared(network), prepared(network, "bfloat16")
        norms = [m for m in ready.modules() if isinstance(m, nn.BatchNorm2d)]
        assert not norms
        with torch.inference_mode():
            x = torch.from_numpy(image)[None]
            torch.testing.assert_close(ready(x), network(x), atol=1e-4, rtol=1e-4)
        if isinstance(half, PatchClassifier):
            for method in (cam_scores, mask_scores, part_scores):
                plain_one, half_one = method(network, image).score, method(half, image).score
                np.testing.assert_allclose(half_one, plain_one, atol=0.01)
            assert scores_of(half, x.bfloat16(), 1).dtype == torch.float32
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    with pytest.raises(OptionError, match="precision"):
        prepared(small(), "float16")
