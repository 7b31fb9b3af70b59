"""Scores on a coarse grid of their own, and how they come onto the cells of a mask."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import ModelError, OptionError
from frazil.learn.infer.dilate import dilated_trunk, folded
from frazil.learn.infer.torch_engine import PRECISIONS
from frazil.learn.models.output import activated, output_of
from frazil.learn.models.patch import PatchClassifier, takes_patches
from frazil.learn.models.unet import fold_batch_norm

_ALL_STRIDES = 2**20  # a multiple of every stride that networks have


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """Scores at places.

    Attributes:
        score: float32 (class, rows, columns) in [0, 1].
        y, x: pixels of the image where rows and columns stand, rising; 0 is the centre of the first pixel.
    """

    score: np.ndarray
    y: np.ndarray
    x: np.ndarray

    def on_cells(self, shape: tuple[int, int], cell: int, *, linear: bool = False) -> np.ndarray:
        """Scores (class, rows, columns) of square cells of the image: of the nearest place, or between places.

        Args:
            shape: rows and columns of cells.
            cell: pixels of a side.
            linear: interpolate; beyond the outermost places their scores go on.
        """
        rows, columns = (cell * (np.arange(n) + 0.5) - 0.5 for n in shape)
        a, b = _weights(self.y, rows, linear), _weights(self.x, columns, linear)
        return np.asarray(np.einsum("ri,kij,cj->krc", a, self.score, b, optimize=True), np.float32)


def _weights(places: np.ndarray, wanted: np.ndarray, linear: bool) -> np.ndarray:
    """What each place gives to each wanted one, (wanted, place)."""
    out = np.zeros((wanted.size, places.size), np.float32)
    at = np.interp(wanted, places, np.arange(places.size))
    if not linear:
        at = np.floor(at + 0.5)
    low = np.clip(np.floor(at).astype(int), 0, places.size - 1)
    high = np.minimum(low + 1, places.size - 1)
    share = (at - low).astype(np.float32)
    np.add.at(out, (np.arange(wanted.size), low), 1 - share)
    np.add.at(out, (np.arange(wanted.size), high), share)
    return out


def prepared(network: nn.Module, precision: str = "float32", device: str | torch.device = "cpu") -> nn.Module:
    """A copy of a network of metocean segmentation that computes the same faster; the network itself does not change.

    Batch norm is folded into convolutions. In ``"bfloat16"`` a categoriser keeps its last layer in float32, since MASK
    takes differences of scores.

    Raises:
        OptionError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"precision {precision!r} is not one of {sorted(PRECISIONS)}.")
    categorises = takes_patches(network)
    ready: nn.Module = folded(network) if categorises else fold_batch_norm(copy.deepcopy(network).eval())  # type: ignore[type-var]
    ready = ready.to(device, PRECISIONS[precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
    if takes_patches(ready):
        ready.head.float()
    return ready


def as_tensor(network: nn.Module, image: np.ndarray) -> Tensor:
    """An image (1, 1, height, width) where the network is; what is not observed is 0."""
    if image.ndim != 3:
        raise OptionError(f"An image of (channel, height, width) was expected, not of shape {image.shape}.")
    parameter = next(network.parameters())
    x = torch.from_numpy(np.nan_to_num(np.asarray(image, np.float32)))[None]
    return x.to(parameter.device, parameter.dtype).contiguous(memory_format=torch.channels_last)


def scores_of(network: PatchClassifier, images: Tensor, batch: int) -> Tensor:
    """Scores (n, class) of images (n, channel, height, width), some at a time."""
    made = [activated(categorised(network, part), output_of(network)) for part in images.split(batch)]
    return torch.cat(made)


def categorised(network: PatchClassifier, x: Tensor) -> Tensor:
    """Logits float32 (batch, class); see `prepared`."""
    return network.head(network.describe(x).float())  # type: ignore[no-any-return]


def check_categoriser(network: nn.Module) -> PatchClassifier:
    """The network, if it is a categoriser whose descriptor is the mean over its last map.

    Raises:
        ModelError: it is not.
    """
    if not takes_patches(network):
        raise ModelError(
            f"{type(network).__name__} is no categoriser. Train one with `frazil train metocean:categoriser`."
        )
    probe = torch.arange(12.0).reshape(1, 1, 3, 4)
    try:
        mean = network.pool(probe)
    except RuntimeError:
        mean = probe
    if mean.shape != (1, 1, 1, 1) or not torch.allclose(mean, probe.mean()):
        raise ModelError(
            f"{type(network).__name__} does not take the mean over its last map, so it takes images of one size only. "
            "Choose one that does, for instance inception_v3."
        )
    return network


@dataclass(frozen=True)
class TrunkGrid:
    """Where elements of a trunk's map stand: element i at pixel `first` + i · `spacing`."""

    spacing: int
    first: float


_GRIDS: WeakKeyDictionary[PatchClassifier, TrunkGrid] = WeakKeyDictionary()


def trunk_grid(network: PatchClassifier) -> TrunkGrid:
    """Of a categoriser; the centre of what an element sees. Found once for a network."""
    if network not in _GRIDS:
        _, lattice = dilated_trunk(network, _ALL_STRIDES)
        _GRIDS[network] = TrunkGrid(lattice.spacing, (lattice.after[0] - lattice.before[0]) / 2)
    return _GRIDS[network]
