"""Floes and cracks drawn on a raster: polygons of power-law size, and lines that wander and branch.

References:
    Stern et al. (2018), On reconciling disparate studies of the sea-ice floe size distribution, Elementa 6(1):
        number of floes larger than D falls as D^-a, with a between about 1.5 and 2.5.
    Marsan et al. (2004), Scale dependence and localization of the deformation of Arctic sea ice, PRL 93.
    Hutter et al. (2019), Leads and ridges in Arctic sea ice from RGPS data, The Cryosphere 13: conjugate faults.
"""

from __future__ import annotations

import numpy as np

from frazil.jit import njit

_CORNERS = 9  # of a floe


def floe_diameters(
    rng: np.random.Generator, *, area_m2: float, cover: float, smallest_m: float, largest_m: float, exponent: float
) -> np.ndarray:
    """Diameters of floes, largest first, metres.

    They follow N(>D) ∝ D^-exponent between the two limits (Stern et al. 2018), and are as many as would cover the
    fraction ``cover`` of ``area_m2`` if each were a disc.
    """
    largest_m = max(largest_m, 1.01 * smallest_m)
    ratio = (largest_m / smallest_m) ** -exponent
    # Mean of D² under the truncated power law; exponent 2 itself is the logarithmic case.
    a = exponent if abs(exponent - 2) > 1e-6 else 2 + 1e-6
    mean_square = a / (2 - a) * (largest_m ** (2 - a) - smallest_m ** (2 - a)) / (smallest_m**-a - largest_m**-a)
    count = int(min(cover * area_m2 / (np.pi / 4 * mean_square), 400_000))
    drawn = smallest_m * (1 - rng.random(count) * (1 - ratio)) ** (-1 / exponent)
    return np.sort(drawn)[::-1]


def floe_outlines(rng: np.random.Generator, diameters: np.ndarray) -> np.ndarray:
    """Outlines (floe, corner, 2) of row and column offsets about the centre, in the unit of ``diameters``.

    Corners lie on an ellipse of random elongation, at random angles and distances: angular, never round. The area is
    that of a disc of the diameter, within a few per cent.
    """
    n = diameters.size
    steps = rng.gamma(2.2, 1.0, (n, _CORNERS))
    angle = np.cumsum(steps / steps.sum(1, keepdims=True), axis=1) * 2 * np.pi
    reach = rng.uniform(0.82, 1.12, (n, _CORNERS))
    long = np.sqrt(rng.uniform(1.0, 2.0, (n, 1)))
    turn = rng.uniform(0, np.pi, (n, 1))
    u, v = reach * np.cos(angle) * long, reach * np.sin(angle) / long
    y, x = u * np.sin(turn) + v * np.cos(turn), u * np.cos(turn) - v * np.sin(turn)
    area = 0.5 * np.abs(np.sum(x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1), axis=1))
    scale = np.sqrt(np.pi / 4 / area)[:, None] * diameters[:, None]
    return np.stack([y * scale, x * scale], axis=-1).astype(np.float32)


@njit(nogil=True)
def _row_crossings(outline: np.ndarray, y: float, found: np.ndarray) -> int:
    n = 0
    corners = outline.shape[0]
    for c in range(corners):
        y0, x0 = outline[c, 0], outline[c, 1]
        y1, x1 = outline[(c + 1) % corners, 0], outline[(c + 1) % corners, 1]
        if (y0 <= y) != (y1 <= y):
            found[n] = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
            n += 1
    found[:n].sort()
    return n


@njit(nogil=True)
def place_floes(
    labels: np.ndarray, outlines: np.ndarray, tries: np.ndarray, accept: np.ndarray, step: float, overlap: float
) -> int:
    """Draw floes 1, 2, 3 … into ``labels`` (0 = no floe), each at the first of its tried places that is free.

    Args:
        labels: int32 (rows, columns), changed in place.
        outlines: offsets of the corners in pixels, as from `floe_outlines`.
        tries: (floe, try, 3) of row, column (fractions of the raster) and a uniform deviate.
        accept: probability that a floe is accepted where it is tried, on a grid ``step`` pixels coarser.
        step: pixels of ``labels`` per pixel of ``accept``.
        overlap: largest fraction of a floe that may already be taken; it goes on top of what is there.

    Returns:
        How many floes found a place.
    """
    rows, columns = labels.shape
    found = np.empty(16, np.float64)
    placed = 0
    for f in range(outlines.shape[0]):
        outline = outlines[f]
        low = outline[:, 0].min()
        high = outline[:, 0].max()
        for t in range(tries.shape[1]):
            cy = tries[f, t, 0] * rows
            cx = tries[f, t, 1] * columns
            i = min(int(cy / step), accept.shape[0] - 1)
            j = min(int(cx / step), accept.shape[1] - 1)
            if tries[f, t, 2] >= accept[i, j]:
                continue
            first = max(0, int(np.ceil(cy + low)))
            last = min(rows - 1, int(np.floor(cy + high)))
            if last < first:  # wholly between two rows or beyond the border
                continue
            stride = 1 + (last - first) // 24  # a sample of rows is enough to judge the overlap
            total = 0
            taken = 0
            for y in range(first, last + 1, stride):
                n = _row_crossings(outline, y - cy, found)
                for c in range(0, n - 1, 2):
                    x0 = max(0, int(np.ceil(cx + found[c])))
                    x1 = min(columns - 1, int(np.floor(cx + found[c + 1])))
                    for x in range(x0, x1 + 1, stride):
                        total += 1
                        if labels[y, x] > 0:
                            taken += 1
            if total == 0 or taken > overlap * total:
                continue
            placed += 1
            for y in range(first, last + 1):
                n = _row_crossings(outline, y - cy, found)
                for c in range(0, n - 1, 2):
                    x0 = max(0, int(np.ceil(cx + found[c])))
                    x1 = min(columns - 1, int(np.floor(cx + found[c + 1])))
                    for x in range(x0, x1 + 1):
                        labels[y, x] = placed
            break
    return placed


@njit(nogil=True)
def draw_cracks(
    labels: np.ndarray,
    starts: np.ndarray,
    headings: np.ndarray,
    lengths: np.ndarray,
    widths: np.ndarray,
    deviates: np.ndarray,
    first_label: int,
    points: np.ndarray,
) -> None:
    """Draw cracks into ``labels``: near-straight reaches with kinks, widest in the middle, pinching and swelling.

    Args:
        labels: int32 (rows, columns), changed in place; crack k gets the label ``first_label + k``.
        starts: (crack, 2) row and column, pixels.
        headings: of the first reach, radians from the column axis towards the row axis.
        lengths: pixels.
        widths: largest width of each crack, pixels; below 1 the crack breaks into dashes.
        deviates: (crack, 512) standard normal deviates.
        first_label: label of the first crack.
        points: (crack, 8, 3) filled with rows, columns and headings along the crack, where branches may start.
    """
    rows, columns = labels.shape
    for k in range(starts.shape[0]):
        y, x = starts[k, 0], starts[k, 1]
        heading = headings[k]
        n = max(4, int(lengths[k] / 0.7))
        swell = 0.0
        for s in range(n):
            g = deviates[k, (3 * s) % 512]
            h = deviates[k, (7 * s + s // 100 + 11) % 512]
            # Small wander around the fault's own direction, and now and then a kink along an old floe border.
            heading += 0.05 * g + 0.03 * (headings[k] - heading)
            if h > 2.3:
                heading += 0.35 * g
            y += 0.7 * np.sin(heading)
            x += 0.7 * np.cos(heading)
            if (s * 8) % n < 8:
                points[k, min(7, (s * 8) // n), 0] = y
                points[k, min(7, (s * 8) // n), 1] = x
                points[k, min(7, (s * 8) // n), 2] = heading
            swell = 0.97 * swell + 0.24 * h
            width = widths[k] * np.sqrt(np.sin(np.pi * (s + 0.5) / n)) * np.exp(0.45 * swell) * 0.9
            if width < 0.75 and h > 2 * width - 0.5:
                continue
            r = max(0.5, 0.5 * width)
            for i in range(max(0, int(np.ceil(y - r))), min(rows - 1, int(np.floor(y + r))) + 1):
                for j in range(max(0, int(np.ceil(x - r))), min(columns - 1, int(np.floor(x + r))) + 1):
                    if (i - y) ** 2 + (j - x) ** 2 <= r * r:
                        labels[i, j] = first_label + k


def crack_network(
    rng: np.random.Generator,
    labels: np.ndarray,
    *,
    count: int,
    longest: float,
    widest: float,
    heading_rad: float,
    first_label: int = 1,
) -> int:
    """Draw a network of cracks with two orders of branches; the first label that is still free.

    Main cracks run along two conjugate directions, about 20 to 25 degrees either side of ``heading_rad`` (Hutter et
    al. 2019). Lengths and widths (pixels) follow power laws below ``longest`` and ``widest``: few long and wide ones,
    many short.
    """
    rows, columns = labels.shape
    starts = rng.uniform(-0.1, 1.1, (count, 2)) * (rows, columns)
    side = rng.choice([-1.0, 1.0], count)
    headings = heading_rad + side * rng.normal(0.40, 0.10, count) + np.pi * rng.integers(0, 2, count)
    lengths = longest * np.clip(0.10 * rng.random(count) ** -0.8, 0, 1)
    widths = widest * np.clip(0.10 * rng.random(count) ** -0.7, 0, 1)
    for order in range(3):
        points = np.full((starts.shape[0], 8, 3), np.nan)
        deviates = rng.standard_normal((starts.shape[0], 512))
        draw_cracks(labels, starts, headings, lengths, widths, deviates, first_label, points)
        first_label += starts.shape[0]
        if order == 2:
            break
        parents = np.repeat(np.arange(starts.shape[0]), rng.poisson(1.3, starts.shape[0]))
        origin = points[parents, rng.integers(1, 7, parents.size)]
        keep = np.isfinite(origin).all(1)
        parents, origin = parents[keep], origin[keep]
        if parents.size == 0:
            break
        turn = rng.choice([-1.0, 1.0], parents.size) * rng.normal(0.75, 0.2, parents.size)
        starts, headings = np.ascontiguousarray(origin[:, :2]), origin[:, 2] + turn
        lengths = lengths[parents] * rng.uniform(0.15, 0.6, parents.size)
        widths = widths[parents] * rng.uniform(0.3, 0.9, parents.size)
    return first_label
