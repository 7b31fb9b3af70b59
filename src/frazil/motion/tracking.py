"""From coarse to fine and back: where the ice at every node of a grid went.

At the coarsest resolution the whole search range is looked through. Each finer one searches a few pixels around what
its neighbourhood found one resolution before, every distinct displacement among them: a node beside a shear line may
have moved with either side. At the end the pattern found in the second image is looked for in the first, around the
way back.

References:
    Muckenhuber, S., Sandven, S. (2017), Open-source sea ice drift algorithm for Sentinel-1 SAR imagery using a
        combination of feature tracking and pattern matching, The Cryosphere 11, 1835–1850. doi:10.5194/tc-11-1835-2017:
        a first guess that leads the matching of patterns.
    Hollands, T., Dierking, W. (2011), Performance of a multiscale correlation algorithm for the estimation of sea-ice
        drift from SAR images, Annals of Glaciology 52(57), 311–317. doi:10.3189/172756411795931462: a cascade of
        resolutions, and a match back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from frazil.errors import OptionError
from frazil.motion.first_guess import search
from frazil.motion.matching import Match, match
from frazil.motion.pyramid import Level, make_level
from frazil.motion.quality import outliers

_MOST_RADIUS = 64  # pixels searched at the coarsest resolution
_NEIGHBOURS = 9
_CANDIDATES = 5  # distinct displacements tried at a node
_APART = 4.0  # pixels of the images between distinct ones
_LEAST_NODES = 3  # along the shorter side of the image at the coarsest resolution


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """How patterns are matched.

    Attributes:
        template: side of a template, pixels of each resolution, odd.
        reach: pixels searched around a candidate.
        max_turn_deg: rotations are looked for up to this.
        turn_step_deg: between rotations at the coarsest resolution; finer ones halve it.
        min_observed: share of a window that must have been observed.
    """

    template: int = 33
    reach: int = 3
    max_turn_deg: float = 18.0
    turn_step_deg: float = 6.0
    min_observed: float = 0.75

    def __post_init__(self) -> None:
        if self.template % 2 == 0 or not 9 <= self.template <= 129:
            raise OptionError(f"template is {self.template}; it is an odd number of pixels from 9 to 129.")
        if not 1 <= self.reach <= 20:
            raise OptionError(f"reach is {self.reach}; it lies between 1 and 20 pixels.")
        if not 0 <= self.max_turn_deg <= 180 or not 1 <= self.turn_step_deg <= 45:
            raise OptionError(
                f"max_turn_deg is {self.max_turn_deg} and turn_step_deg {self.turn_step_deg}; they lie between 0 and "
                "180 and between 1 and 45 degrees."
            )
        if not 0 < self.min_observed <= 1:
            raise OptionError(f"min_observed is {self.min_observed}; it is a share above 0 and at most 1.")


@dataclass(frozen=True, eq=False)
class Track:
    """What was found at nodes, in pixels of the images; every array (node).

    Attributes:
        forth: from the first image to the second.
        back: distance between a node and where the way back ends, pixels; NaN where there is none.
        coarsest: side of a pixel where the search began.
    """

    forth: Match
    back: np.ndarray
    coarsest: int


def track(
    first: np.ndarray,
    second: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    *,
    radius: float,
    stride: int = 1,
    config: TrackingConfig | None = None,
    progress: Callable[[float, str], None] = lambda _f, _w: None,
) -> Track:
    """Where the ice at nodes of the first image is in the second.

    Args:
        first: dB, NaN where missing, float32 (polarization, y, x).
        second: likewise, on the same grid.
        row: of the nodes, pixels, integers (node).
        column: likewise.
        radius: largest displacement looked for, pixels.
        stride: pixels between nodes: those of coarser resolutions are no closer.
        config: how.
        progress: is told the share done, and what is being done.
    """
    config = config or TrackingConfig()
    factor = coarsest = coarsest_factor(radius, first.shape[1:], config.template)
    found: Match | None = None
    at = np.empty((0, 2))
    while True:
        progress(0.1 + 0.2 * (found is not None), f"matching at {factor} pixels")
        levels = [make_level(image, factor, config.template, config.min_observed) for image in (first, second)]
        nodes = (
            np.column_stack([row, column])
            if factor == 1
            else _lattice(first.shape[1:], factor, config.template, stride)
        )
        own = np.floor_divide(nodes, factor)
        centre = own * factor + (factor - 1) / 2
        if found is None:
            found = _first(levels, own, factor, radius, config)
        else:
            guess, turns = candidates(at, found, centre)
            step = config.turn_step_deg / 2
            around = (-step, step) if config.max_turn_deg > 0 else ()
            found = _scaled(_match(levels, own, guess / factor, turns, config, around), factor)
        if factor == 1:
            break
        found, at = _kept(found, centre), centre
        factor //= 2
    progress(0.8, "matching back")
    return Track(found, _back(levels, row, column, found, config), coarsest)


def coarsest_factor(radius: float, shape: tuple[int, ...], template: int) -> int:
    """A power of 2, at least 2: side of the pixels with which a radius can be searched as a whole.

    Coarser than this few templates would fit into the images.
    """
    factor = 2
    while radius / factor > _MOST_RADIUS and min(shape) / (2 * factor) >= _LEAST_NODES * template:
        factor *= 2
    return factor


def _lattice(shape: tuple[int, ...], factor: int, template: int, stride: int) -> np.ndarray:
    """Nodes half a template of a resolution apart, or the stride, pixels of the images (node, 2)."""
    step = max((template // 2) * factor, min(stride, min(shape) // 2))
    rows, columns = (np.arange(step // 2, n, step) for n in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def _first(levels: list[Level], own: np.ndarray, factor: int, radius: float, config: TrackingConfig) -> Match:
    steps = int(config.max_turn_deg // config.turn_step_deg)
    turns = np.arange(-steps, steps + 1) * config.turn_step_deg
    first, second = levels
    widest = max(first.values.shape[1:]) - config.template  # farther than that nothing is in both images
    reach = min(int(np.ceil(radius / factor)) + 1, max(widest, 1))
    found = search(first, second, own[:, 0], own[:, 1], turns, template=config.template, radius=reach)
    return _scaled(found, factor)


def _match(
    levels: list[Level],
    own: np.ndarray,
    guess: np.ndarray,
    turns: np.ndarray,
    config: TrackingConfig,
    around: tuple[float, ...],
) -> Match:
    first, second = levels
    row, column = own.T
    how = {"template": config.template, "reach": config.reach, "around_deg": around}
    return match(first, second, row, column, guess, turns, **how)  # type: ignore[arg-type]


def _scaled(found: Match, factor: int) -> Match:
    return Match(found.d_row * factor, found.d_column * factor, found.turn_deg, found.peak, found.curvature)


def _kept(found: Match, at: np.ndarray) -> Match:
    """The matches of a lattice that agree with their neighbours, NaN elsewhere; all, where hardly any do."""
    odd = outliers(at, np.column_stack([found.d_row, found.d_column]))
    if (~odd & np.isfinite(found.peak)).sum() < 3:
        return found
    blank = np.where(odd, np.nan, 1.0)
    return Match(found.d_row * blank, found.d_column * blank, found.turn_deg, found.peak, found.curvature)


def candidates(at: np.ndarray, found: Match, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct displacements near each node of a finer lattice, the likeliest first, and their rotations.

    The first one is the plane through the nearest ones, weighted by distance; others differ from those before.

    Returns:
        displacements (node, candidate, 2), NaN where there are fewer; rotations (node, candidate).
    """
    known = np.isfinite(found.d_row)
    n = min(_NEIGHBOURS, int(known.sum()))
    guess = np.full((len(centre), _CANDIDATES, 2), np.nan)
    turns = np.zeros((len(centre), _CANDIDATES))
    if n == 0:
        return guess, turns
    there = np.column_stack([found.d_row, found.d_column])[known]
    turn = found.turn_deg[known]
    distance, near = cKDTree(at[known]).query(centre, k=n)
    distance, near = distance.reshape(len(centre), n), near.reshape(len(centre), n)
    weight = 1 / (distance + 0.25 * np.median(distance[:, 0]) + 1e-6) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    guess[:, 0] = np.einsum("kn,knd->kd", weight, there[near])
    turns[:, 0] = np.einsum("kn,kn->k", weight, turn[near])
    filled = np.ones(len(centre), int)
    for k in range(n):
        new = there[near[:, k]]
        gap = np.abs(guess - new[:, None]).max(axis=2)
        fresh = ~(gap <= _APART).any(axis=1) & (filled < _CANDIDATES)
        guess[fresh, filled[fresh]] = new[fresh]
        turns[fresh, filled[fresh]] = turn[near[fresh, k]]
        filled[fresh] += 1
    return guess, turns


def _back(levels: list[Level], row: np.ndarray, column: np.ndarray, forth: Match, config: TrackingConfig) -> np.ndarray:
    """Distance from each node to where the pattern found in the second image is found in the first, pixels."""
    to_row, to_column = row + forth.d_row, column + forth.d_column
    known = np.isfinite(forth.d_row)
    out = np.full(len(row), np.nan)
    start = np.column_stack([np.rint(to_row), np.rint(to_column)])[known].astype(int)
    node = np.column_stack([row, column])[known]
    guess = (node - start)[:, None, :].astype(float)
    wide = TrackingConfig(**{**vars(config), "reach": min(2 * config.reach, 20)})
    found = _match(levels[::-1], start, guess, -forth.turn_deg[known][:, None], wide, ())
    # the way back begins at a whole pixel, up to half a pixel from where the way there ended
    there = np.column_stack([to_row, to_column])[known]
    end = there + np.column_stack([found.d_row, found.d_column])
    out[known] = np.hypot(*(end - node).T)
    return out
