"""Nearest neighbours on the unit sphere: exact in bounded memory, or approximate through faiss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from frazil.errors import MissingDependencyError, OptionError

_BLOCK = 2**25  #: similarities held at a time: 128 MB
_COLUMNS = 65_536  #: candidates looked at together
_PROBES = 32  #: cells of an approximate search; how many neighbours that finds is in docs/results/propagation.md


def normalised(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32; rows of zeros stay zero.

    Raises:
        OptionError: not a table of finite numbers.
    """
    x = np.asarray(features)
    if x.ndim != 2 or x.dtype.kind not in "fiu":
        raise OptionError(f"features must be numbers (sample, feature); got {x.dtype} of shape {x.shape}.")
    x = np.ascontiguousarray(x, np.float32)
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise OptionError(
            f"The features of sample {int(np.flatnonzero(bad)[0])} are not finite. Leave such samples out."
        )
    largest = np.abs(x).max(axis=1, keepdims=True, initial=0.0)
    x = np.divide(
        x, largest, out=np.zeros_like(x), where=largest > 0
    )  # so that tiny and huge rows keep their direction
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=x, where=length > 0)


def nearest_neighbours(
    features: np.ndarray,
    k: int,
    *,
    among: np.ndarray | None = None,
    search: Literal["exact", "approximate"] = "exact",
    progress: Callable[[float], None] | None = None,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar samples of each sample.

    A sample is left out of its own neighbours by its place, not by being the first of them: there may be duplicates.

    Args:
        features: (sample, feature).
        k: neighbours; fewer are found where there are not so many other samples.
        among: samples to search, in place of the features themselves; then nothing is left out.
        search: ``"exact"`` or ``"approximate"``.
        progress: called with the fraction done.
        device: of the exact search, ``"cpu"`` or ``"cuda"``.

    Returns:
        Positions int64 or int32 and cosine similarities float32, both (sample, neighbour), most similar first.

    Raises:
        OptionError: features that are not finite, or nothing to search.
        MissingDependencyError: approximate search without faiss.
    """
    x = normalised(features)
    y = x if among is None else normalised(among)
    own = among is None
    found = min(k, len(y) - own)
    if found < 1:
        raise OptionError(
            f"{len(y)} sample{'s' if len(y) != 1 else ''} cannot have neighbours; two or more are needed."
        )
    if x.shape[1] != y.shape[1]:
        raise OptionError(f"Samples have {x.shape[1]} features, but those to search have {y.shape[1]}.")
    if search == "approximate":
        return _approximate(x, y, found, own)
    return _exact(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device), found, own, progress)


def _exact(
    x: torch.Tensor, y: torch.Tensor, k: int, own: bool, progress: Callable[[float], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    n, m = len(x), len(y)
    columns = min(m, _COLUMNS)
    rows = max(_BLOCK // columns, 1)
    place = np.empty((n, k), np.int32 if m < 2**31 else np.int64)
    cosine = np.empty((n, k), np.float32)
    y_t = y.T.contiguous()
    with (
        torch.inference_mode(),
        torch.autocast(x.device.type, enabled=False),
    ):  # a training step may be in half precision
        for first in range(0, n, rows):
            part = x[first : first + rows]
            best: tuple[torch.Tensor, torch.Tensor] | None = None
            for left in range(0, m, columns):
                similar = part @ y_t[:, left : left + columns]
                if own:
                    mine = torch.arange(first, first + len(part), device=x.device) - left
                    inside = (mine >= 0) & (mine < similar.shape[1])
                    similar[torch.arange(len(part), device=x.device)[inside], mine[inside]] = -torch.inf
                value, index = similar.topk(min(k, similar.shape[1]), dim=1)
                index = index + left
                if best is not None:
                    value, index = torch.cat([best[0], value], 1), torch.cat([best[1], index], 1)
                    value, order = value.topk(min(k, value.shape[1]), dim=1)
                    index = index.gather(1, order)
                best = value, index
            assert best is not None
            cosine[first : first + rows], place[first : first + rows] = best[0].cpu().numpy(), best[1].cpu().numpy()
            if progress:
                progress(min(first + rows, n) / n)
    return place, np.clip(cosine, -1, 1, out=cosine)


def _approximate(x: np.ndarray, y: np.ndarray, k: int, own: bool) -> tuple[np.ndarray, np.ndarray]:
    """An inverted file over about √n cells, of which the nearest `_PROBES` are searched."""
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "Approximate neighbours need faiss: pip install faiss-cpu. Or set search='exact'."
        ) from error
    cells = max(int(math.sqrt(len(y))), 1)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(y.shape[1]), y.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = 0
    index.train(y[:: max(len(y) // (64 * cells), 1)])
    index.add(y)
    index.nprobe = min(cells, _PROBES)
    cosine, place = index.search(x, k + own)
    if own:
        itself = place == np.arange(len(x))[:, None]
        itself[~itself.any(axis=1), -1] = True  # crowded out by duplicates: the last one goes
        place, cosine = (v[~itself].reshape(len(x), k) for v in (place, cosine))
    lost = place < 0
    return np.where(lost, 0, place), np.where(lost, 0, np.clip(cosine, -1, 1)).astype(np.float32)
