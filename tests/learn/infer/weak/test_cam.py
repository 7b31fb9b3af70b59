"""CAM and MASK on networks whose answer is known beforehand: a detector of one bright spot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from frazil.errors import ModelError, OptionError
from frazil.learn.infer.weak.cam import cam_logits, cam_scores
from frazil.learn.infer.weak.masking import mask_scores
from frazil.learn.models.patch import PatchClassifier

pytestmark = pytest.mark.usefixtures("one_thread")


class Spots(PatchClassifier):
    """Class 0 counts what is bright, class 1 what is dark; means of 4 × 4 pixels are the map."""

    first = ("one", None)
    untransferred = ()
    output = "sigmoid"

    def __init__(self, hidden: bool = False) -> None:
        super().__init__(16, 2)
        self.one = nn.Conv2d(1, 2, 4, 4)
        self.fc = nn.Linear(2, 2)
        self.deep = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)) if hidden else None
        with torch.no_grad():
            self.one.weight[0], self.one.weight[1] = 1 / 16, -1 / 16
            self.one.bias.zero_()  # type: ignore[union-attr]
            self.fc.weight.copy_(torch.tensor([[40.0, 0.0], [0.0, 40.0]]))
            self.fc.bias.copy_(torch.tensor([-2.0, -3.0]))

    def trunk(self, x: Tensor) -> Tensor:
        out: Tensor = self.one(x)
        return out

    @property
    def head(self) -> nn.Module:
        return self.fc if self.deep is None else self.deep

    def describe(self, x: Tensor) -> Tensor:
        return torch.flatten(self.pool(self.trunk(x)), 1)


def spot(row: int, column: int, side: int = 32, size: int = 4) -> np.ndarray:
    image = np.zeros((1, side, side), np.float32)
    image[0, row : row + size, column : column + size] = 1
    return image


@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, 7), column=st.integers(0, 7))
def test_a_spot_is_found_where_it_is(row: int, column: int) -> None:
    """CAM in its element, at its centre in pixels; MASK in places whose masks hide it."""
    network = Spots().eval()
    image = spot(4 * row, 4 * column)
    found = cam_scores(network, image)
    assert np.unravel_index(found.score[0].argmax(), (8, 8)) == (row, column)
    assert (found.y[row], found.x[column]) == (4 * row + 1.5, 4 * column + 1.5)
    masks = mask_scores(network, image, side=9, stride=4)
    best = np.argwhere(masks.score[0] == masks.score[0].max())
    nearest = min(np.hypot(masks.y[a] - 4 * row - 1.5, masks.x[b] - 4 * column - 1.5) for a, b in best)
    assert nearest < 6
    far = np.hypot(*np.meshgrid(masks.y - 4 * row - 1.5, masks.x - 4 * column - 1.5, indexing="ij")) > 16
    assert (masks.score[0][far] <= 1e-6).all(), "what hides nothing takes nothing away"


def test_scores_of_an_element_are_those_of_its_own_logits() -> None:
    """Sigmoid of the weighed map with its bias, in float64."""
    network = Spots().eval()
    image = np.random.default_rng(0).random((1, 20, 28)).astype(np.float32)
    found = cam_scores(network, image).score
    means = image[0].astype(np.float64).reshape(5, 4, 7, 4).mean((1, 3))
    for k, (weight, bias, sign) in enumerate(((40, -2, 1), (40, -3, -1))):
        np.testing.assert_allclose(found[k], 1 / (1 + np.exp(-(weight * sign * means + bias))), atol=1e-5)


def test_the_mean_of_the_map_is_the_answer_for_the_image() -> None:
    network = Spots().eval()
    x = torch.rand(3, 1, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(cam_logits(network, x).mean((2, 3)), network(x), rtol=1e-5, atol=1e-5)


def test_what_is_not_observed_is_nothing() -> None:
    image = spot(8, 8)
    gap = image.copy()
    gap[0, 20:] = np.nan
    network = Spots().eval()
    np.testing.assert_array_equal(cam_scores(network, gap).score, cam_scores(network, image).score)
    np.testing.assert_array_equal(
        mask_scores(network, gap, side=9, stride=4).score, mask_scores(network, image, side=9, stride=4).score
    )


def test_a_head_of_several_layers_has_no_activation_map() -> None:
    network = Spots(hidden=True).eval()
    with pytest.raises(ModelError, match="has 3 layers behind its last map; activation maps need one linear"):
        cam_scores(network, spot(0, 0))


def test_only_drops_count_and_their_sum_is_bounded() -> None:
    """A mask on what is dark raises class 0 of nothing; no score drops by more than it was."""
    network = Spots().eval()
    image = np.random.default_rng(1).random((1, 24, 24)).astype(np.float32)
    with torch.inference_mode():
        whole = torch.sigmoid(network(torch.from_numpy(image)[None]))[0].numpy()
    for fill in ("zero", "mean"):
        found = mask_scores(network, image, side=7, stride=3, fill=fill, batch=3).score
        assert (found >= 0).all()
        assert (found.max((1, 2)) <= whole + 1e-6).all()
    dark = mask_scores(network, -image, side=7, stride=3).score
    assert (dark[0] == 0).all()
    assert (dark[1] >= 0).all()


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 40), side=st.integers(4, 12), stride=st.integers(1, 12))
def test_masks_at_a_time_are_of_no_account(batch: int, side: int, stride: int) -> None:
    network, image = Spots().eval(), spot(4, 12, side=20)
    if stride > side:
        with pytest.raises(OptionError, match=f"stride {stride} must lie between 1 and the side of the mask, {side}"):
            mask_scores(network, image, side=side, stride=stride, batch=batch)
        return
    one = mask_scores(network, image, side=side, stride=max(stride, 3) if side >= 3 else stride, batch=batch)
    all_ = mask_scores(network, image, side=side, stride=max(stride, 3) if side >= 3 else stride, batch=1000)
    np.testing.assert_allclose(one.score, all_.score, atol=1e-6)


def test_images_of_other_shapes_are_refused() -> None:
    shapes: list[Any] = [(20, 20), (1, 1, 20, 20), (20,)]
    for shape in shapes:
        for find in (cam_scores, mask_scores):
            with pytest.raises(OptionError, match=r"of \(channel, height, width\) was expected"):
                find(Spots().eval(), np.zeros(shape, np.float32))  # type: ignore[operator]
