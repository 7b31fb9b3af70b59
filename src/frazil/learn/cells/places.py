"""Where the next label would help most, and which places are kept to test the map honestly.

The sea is cut into squares of some kilometres, each of which stands for one place: its cell of which the map is least
sure. Places are proposed by how unsure the map is of them, those first that are unlike all that is labelled or
proposed already (farthest point on the features). Others are drawn at random from the whole sea, and kept: their class
is asked for and never learnt from, and the share of them that the map has right tells how good it is.

References:
    Mittal, S. et al. (2023), Best practices in active learning for semantic segmentation. arXiv:2302.04075: with few
    labels and a redundant pool, diversity beats uncertainty alone.
    Sener, O., Savarese, S. (2018), Active learning for convolutional neural networks: a core-set approach. ICLR 2018.
    Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference. JASA 22: intervals.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from frazil.errors import OptionError
from frazil.learn.cells.cells import Cells

Choice = Literal["mixed", "unsure", "unlike", "random"]
CHOICES: tuple[Choice, ...] = ("mixed", "unsure", "unlike", "random")
PLACE_KM = 8.0
_POOL = 400  # places of which the map is least sure, from which those are taken that are unlike


def next_places(
    cells: Cells,
    probability: np.ndarray,
    taken: np.ndarray,
    n: int,
    *,
    choice: Choice = "mixed",
    seed: int = 0,
    place_km: float = PLACE_KM,
) -> np.ndarray:
    """Numbers of cells to label next, int64 (at most n,), the most useful first.

    Args:
        cells: of a scene.
        probability: (cell, class), what is thought now.
        taken: numbers of cells that have labels, or are kept to test; the squares they lie in are left out, and so
            is the rim of the scene.
        n: how many.
        choice: ``"unsure"``: smallest margin between the two likeliest classes; ``"unlike"``: farthest from all that is
            taken, on the features; ``"mixed"``: the second among the first's best; ``"random"``: anywhere.
        seed: of what is drawn.
        place_km: side of the squares that stand for one place.

    Raises:
        OptionError: an unknown choice.
    """
    if choice not in CHOICES:
        raise OptionError(f"choice {choice!r} is not one of {list(CHOICES)}.")
    taken = np.asarray(taken, np.int64)
    square = _squares(cells, place_km)
    free = ~np.isin(square, np.unique(square[taken])) & ~cells.rim
    rng = np.random.default_rng(seed)
    two = np.partition(probability, -2, axis=1)[:, -2:]
    margin = np.where(free, np.abs(two[:, 1] - two[:, 0]), np.inf)
    if choice == "random":
        found = rng.permutation(np.flatnonzero(free))
        return found[np.sort(np.unique(square[found], return_index=True)[1])][:n]
    order = np.argsort(margin, kind="stable")[: int(free.sum())]
    if choice == "unlike":
        order = rng.permutation(order)
    best = order[np.sort(np.unique(square[order], return_index=True)[1])]  # one of each square
    if choice == "unsure":
        return best[:n]
    pool = best[:_POOL] if choice == "mixed" else best
    return pool[_farthest(cells.features[pool], cells.features[taken], n)]


def places_by_lot(cells: Cells, n: int, *, seed: int = 0) -> np.ndarray:
    """Numbers of cells by which the map is tested, int64 (n,): each of the sea but for the scene's rim is as likely.

    They are drawn once a scene, before anything is labelled; otherwise they would lie where labels are not, and tell
    how good the map is there. The first ones of a larger n are those of a smaller one.
    """
    return np.random.default_rng(seed).permutation(np.flatnonzero(~cells.rim))[:n]


def _squares(cells: Cells, place_km: float) -> np.ndarray:
    """The square that each cell lies in, int64 (cell,)."""
    step = max(round(place_km * 1000 / cells.grid.spacing_m), 1)
    row, column = np.nonzero(cells.number >= 0)
    return np.asarray((row // step).astype(np.int64) * (cells.grid.shape[1] // step + 1) + column // step)


def _farthest(pool: np.ndarray, known: np.ndarray, n: int) -> list[int]:
    """Greedy k-centre: each next one is farthest from all known and chosen; without any known the first comes first."""
    distance = np.full(len(pool), np.inf)
    for one in known:
        np.minimum(distance, ((pool - one) ** 2).sum(axis=1), out=distance)
    chosen: list[int] = []
    while len(chosen) < min(n, len(pool)):
        at = int(distance.argmax())
        chosen.append(at)
        np.minimum(distance, ((pool - pool[at]) ** 2).sum(axis=1), out=distance)
        distance[at] = -1
    return chosen


def share_right(right: int, of: int, z: float = 1.96) -> tuple[float, float, float]:
    """Share of right answers and its 95 % interval (Wilson); of nothing 0 and from 0 to 1."""
    if of == 0:
        return 0.0, 0.0, 1.0
    p, half = right / of, z * np.sqrt(right * (of - right) / of**3 + z * z / (4 * of * of))
    middle, scale = p + z * z / (2 * of), 1 + z * z / of
    return p, max(float((middle - half) / scale), 0.0), min(float((middle + half) / scale), 1.0)
