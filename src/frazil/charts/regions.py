"""Regions of like mixture: neighbouring cells are joined, the most alike first.

Ward's criterion on a graph of neighbours: of all pairs of neighbouring regions that one is joined next whose joining
adds least to the squared differences between cells and the mean of their region, each cell weighing by its area.
Regions below the least area are joined before all others, so that none remains that has a neighbour.

References:
    Ward, J. H. (1963), Hierarchical grouping to optimize an objective function. J. Am. Stat. Assoc. 58, 236–244.
    Murtagh, F., Legendre, P. (2014), Ward's hierarchical agglomerative clustering method: which algorithms implement
    Ward's criterion? J. Classif. 31, 274–295. doi:10.1007/s00357-014-9161-z. Equation 2.
"""

from __future__ import annotations

import numpy as np

from frazil.jit import njit


def join_cells(
    values: np.ndarray, weight: np.ndarray, area: np.ndarray, use: np.ndarray, *, most: int, least_area: float
) -> np.ndarray:
    """Regions of a raster of cells.

    Args:
        values: (value, row, column), what makes cells alike.
        weight: (row, column), of each cell in the mean of its region; cells of weight 0 join anything at no cost.
        area: (row, column), in any unit.
        use: bool (row, column), the cells that are to have a region. Cells are neighbours by their sides.
        most: regions that there may be; more only where they touch no other.
        least_area: regions below it are joined to the neighbour most alike, whatever `most` is.

    Returns:
        int32 (row, column): numbers of regions from 0, in the order of their first cell; −1 outside ``use``.
    """
    number = np.full(use.shape, -1, np.int64)
    number[use] = np.arange(int(use.sum()))
    along, down = use[:, :-1] & use[:, 1:], use[:-1] & use[1:]
    left = np.concatenate([number[:, :-1][along], number[:-1][down]])
    right = np.concatenate([number[:, 1:][along], number[1:][down]])
    mean = np.ascontiguousarray(values[:, use].T, dtype=np.float64)
    owner = _join(mean, weight[use].astype(np.float64), area[use].astype(np.float64), left, right, most, least_area)
    out = np.full(use.shape, -1, np.int32)
    _, first, inverse = np.unique(owner, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int32)
    order[np.argsort(first, kind="stable")] = np.arange(len(first))
    out[use] = order[inverse]
    return out


def without_strips(labels: np.ndarray, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Regions that hold a square of three by three cells; others are joined to the neighbour most alike.

    Cells along a sharp border are mixtures of both sides: a strip one cell wide that is on neither.

    Args:
        labels: int32 (row, column), of `join_cells`; what has no region (−1) may be part of any square.
        values: (value, row, column), as there.
        weight: (row, column), as there.

    Returns:
        Labels of the same kind; those of the regions that are gone are missing.
    """
    from scipy import ndimage

    labels = labels.copy()
    n = int(labels.max(initial=-1)) + 1
    size = np.bincount(labels[labels >= 0], minlength=n)
    alone = np.zeros(n, bool)
    while True:
        lowest = ndimage.minimum_filter(np.where(labels < 0, n, labels), 3, mode="nearest")
        highest = ndimage.maximum_filter(labels, 3, mode="nearest")
        thin = (size > 0) & ~alone
        thin[labels[(lowest == highest) & (labels >= 0)]] = False
        if not thin.any():
            return labels
        one = int(np.argmin(np.where(thin, size, labels.size + 1)))
        pairs = neighbours(labels)
        others = pairs[(pairs == one).any(axis=1)]
        others = others[others != one]
        if not others.size:
            alone[one] = True
            continue
        inside = labels >= 0
        mass = np.maximum(np.bincount(labels[inside], weight[inside], n), 1e-12)
        means = np.stack([np.bincount(labels[inside], (v * weight)[inside], n) / mass for v in values])
        heir = others[int(np.argmin(((means[:, others] - means[:, [one]]) ** 2).sum(axis=0)))]
        labels[labels == one] = heir
        size[heir] += size[one]
        size[one] = 0


def neighbours(labels: np.ndarray) -> np.ndarray:
    """Pairs of numbers that lie side by side in a raster (row, column), int (pair, 2), the lower first; −1 is none."""
    found = []
    for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        differ = one != other
        found.append(np.stack([one[differ], other[differ]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    pairs = pairs[pairs[:, 0] >= 0]
    return np.unique(pairs, axis=0)


@njit()
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit()
def _key(mean: np.ndarray, weight: np.ndarray, area: np.ndarray, i: int, j: int, least_area: float) -> float:
    """What comes first: pairs with a region too small, below 0, then all others, from 0; the most alike first."""
    both = weight[i] + weight[j]
    cost = 0.0
    if both > 0:
        for k in range(mean.shape[1]):
            cost += (mean[i, k] - mean[j, k]) ** 2
        cost *= weight[i] * weight[j] / both
    return -1 / (1 + cost) if min(area[i], area[j]) < least_area else cost


@njit()
def _push(keys: np.ndarray, edges: np.ndarray, stamps: np.ndarray, n: int, key: float, edge: int, stamp: int) -> None:
    """Put an entry into a heap of n; the arrays have room. Equal keys come in the order of their edges."""
    i = n
    while i > 0:
        up = (i - 1) >> 1
        if keys[up] < key or (keys[up] == key and edges[up] <= edge):
            break
        keys[i], edges[i], stamps[i] = keys[up], edges[up], stamps[up]
        i = up
    keys[i], edges[i], stamps[i] = key, edge, stamp


@njit()
def _pop(keys: np.ndarray, edges: np.ndarray, stamps: np.ndarray, n: int) -> None:
    """Take the first entry off a heap of n."""
    n -= 1
    key, edge, stamp = keys[n], edges[n], stamps[n]
    i = 0
    while True:
        down = 2 * i + 1
        if down >= n:
            break
        if down + 1 < n and (
            keys[down + 1] < keys[down] or (keys[down + 1] == keys[down] and edges[down + 1] < edges[down])
        ):
            down += 1
        if key < keys[down] or (key == keys[down] and edge <= edges[down]):
            break
        keys[i], edges[i], stamps[i] = keys[down], edges[down], stamps[down]
        i = down
    keys[i], edges[i], stamps[i] = key, edge, stamp


@njit()
def _join(
    mean: np.ndarray,
    weight: np.ndarray,
    area: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    most: int,
    least_area: float,
) -> np.ndarray:
    """The region of each cell; `mean`, `weight` and `area` are used up.

    Every region keeps a chain of its sides. Entry 2e of the chains is edge e of its left cell, 2e + 1 that of its right
    cell. When two regions are joined their chains are, and every edge gets a new entry in the heap; an older one is
    known by its stamp. Of several edges to one neighbour the first is kept.
    """
    n, m = len(weight), len(left)
    parent = np.arange(n)
    head, tail, following = np.full(n, -1), np.full(n, -1), np.full(2 * m, -1)
    current, seen = np.zeros(m, np.int64), np.full(n, -1)  # stamp of an edge; -1: gone. By which round a region was met
    room = max(4 * m, 16)
    keys, edges, stamps = np.empty(room), np.empty(room, np.int64), np.empty(room, np.int64)
    size = 0
    for e in range(m):
        for entry, cell in ((2 * e, left[e]), (2 * e + 1, right[e])):
            following[entry] = head[cell]
            head[cell] = entry
            if tail[cell] < 0:
                tail[cell] = entry
        _push(keys, edges, stamps, size, _key(mean, weight, area, left[e], right[e], least_area), e, 0)
        size += 1
    count, turn = n, 0
    while size > 0:
        key, e, stamp = keys[0], edges[0], stamps[0]
        if current[e] != stamp:
            _pop(keys, edges, stamps, size)
            size -= 1
            continue
        if key >= 0 and count <= most:
            break
        _pop(keys, edges, stamps, size)
        size -= 1
        i, j = _root(parent, left[e]), _root(parent, right[e])
        if j < i:
            i, j = j, i
        both = weight[i] + weight[j]
        if both > 0:
            for k in range(mean.shape[1]):
                mean[i, k] = (weight[i] * mean[i, k] + weight[j] * mean[j, k]) / both
        weight[i] = both
        area[i] += area[j]
        parent[j] = i
        if head[j] >= 0:
            following[tail[j]] = head[i]
            head[i] = head[j]
            if tail[i] < 0:
                tail[i] = tail[j]
        count -= 1
        turn += 1
        entry, last = head[i], -1
        while entry >= 0:
            after, edge = following[entry], entry >> 1
            keep = False
            if current[edge] >= 0:
                a, b = _root(parent, left[edge]), _root(parent, right[edge])
                other = b if a == i else a
                if other != i and seen[other] != turn:
                    seen[other] = turn
                    keep = True
                else:
                    current[edge] = -1
            if keep:
                current[edge] = turn
                if size == len(keys):
                    more = np.empty(2 * size)
                    more[:size] = keys
                    keys = more
                    longer = np.empty(2 * size, np.int64)
                    longer[:size] = edges
                    edges = longer
                    longest = np.empty(2 * size, np.int64)
                    longest[:size] = stamps
                    stamps = longest
                _push(keys, edges, stamps, size, _key(mean, weight, area, i, other, least_area), edge, turn)
                size += 1
                last = entry
            elif last < 0:
                head[i] = after
            else:
                following[last] = after
            entry = after
        tail[i] = last
    for i in range(n):
        parent[i] = _root(parent, i)
    return parent
