"""Many maps to one answer for each place, and where it is from: the mosaic of a day.

Of what several maps say of a pixel, ``latest`` takes the newest, ``confident`` the one with the larger probability of
ice or of water (of equals the newest), and ``fused`` pools all: the geometric mean of their class probabilities, which
sum to one again. A product in its place would treat the maps as independent; the same network looked at the same ice,
so that their errors are not, and the pool claims no more certainty than they have. Of phenomena, which live for hours
at most, nothing is fused.

Codes are never averaged. Pixels of maps on the mosaic's own grid, which is that of all maps in a polar projection of
one spacing, are taken as they are.

References:
    Genest, C., Zidek, J. V. (1986), Combining probability distributions, Statistical Science 1 (logarithmic pools).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import numpy as np

from frazil.answer import CONFIDENCE_PERCENT, answers
from frazil.archive.layers import BITS, CODES, ICE, PERCENTS, Layers, MapFiles
from frazil.conventions import CLASS_LAND, CLASS_NODATA, PERCENT_NODATA, UNDECIDED
from frazil.errors import OptionError
from frazil.maps.layers import Kind
from frazil.percent import whole_percents
from frazil.scene.grid import MapGrid

Rule = Literal["latest", "confident", "fused"]
BLOCK = 1024  # pixels a side that are held at a time
NO_SOURCE = 0
NO_AGE = -1.0
_LEAST = 0.5  # percent: what a map that says 0 is taken to mean


@dataclass(frozen=True, eq=False)
class MosaicBlock:
    """A part of a mosaic; all ``(y, x)``.

    Attributes:
        rows, columns: of the mosaic's grid.
        code: uint8, of the class or of the dominant phenomenon; 253 undecided, 254 land, 255 not observed.
        percent: uint8: the probability of ice, or the highest score; 255 where there is none.
        confidence: uint8: the larger of the probabilities of ice and water, or the highest score; 255 likewise.
        bits: uint of phenomena found, a bit each; None of ice.
        source: uint16, number of the map that the answer is of, from 1 on; of a pool the newest; 0 without any.
        age_hours: float32, from that map's time to the mosaic's; −1 without any.
        count: uint8, maps that observed the place, at most 255.
        agreement: uint8, percent of the maps with an answer whose answer is the mosaic's (of ice: ice or water); 255
            where fewer than two have one, or the mosaic has none.
    """

    rows: slice
    columns: slice
    code: np.ndarray
    percent: np.ndarray
    confidence: np.ndarray
    bits: np.ndarray | None
    source: np.ndarray
    age_hours: np.ndarray
    count: np.ndarray
    agreement: np.ndarray


def mosaic_blocks(
    maps: Sequence[MapFiles],
    grid: MapGrid,
    rule: Rule,
    moment: datetime,
    *,
    confidence_percent: float = CONFIDENCE_PERCENT,
    margin: int = 0,
) -> Iterator[MosaicBlock]:
    """A mosaic, block by block, so that its size is no question of memory.

    Args:
        maps: by time, all of one kind and class scheme.
        grid: of the mosaic, see `frazil.archive.layers.common_grid`.
        rule: see the module.
        moment: from which ages count back.
        confidence_percent: of pools: undecided where neither ice nor water is so probable.
        margin: pixels by which blocks reach into those to the right and below.

    Raises:
        OptionError: an unknown rule, one that does not fit, or maps that differ in kind.
        ProductError: a damaged file.
    """
    kind = check_maps(maps, rule)
    ages = np.array([(moment - m.time).total_seconds() / 3600 for m in maps])
    rows, columns = grid.shape
    with Layers(grid) as layers:
        for top in range(0, rows, BLOCK):
            for left in range(0, columns, BLOCK):
                part = (slice(top, min(top + BLOCK + margin, rows)), slice(left, min(left + BLOCK + margin, columns)))
                window = grid.part(*part)
                here = [k for k, m in enumerate(maps) if layers.meets(m, window)]
                if not here:
                    continue
                codes = np.stack([layers.read(maps[k], CODES[kind], window)[0] for k in here])
                seen = [n for n in range(len(here)) if (codes[n] != CLASS_NODATA).any()]
                if not seen:
                    continue
                chosen = [here[n] for n in seen]
                percents = np.stack([_percents(layers, maps[k], window, rule) for k in chosen])
                bits = (
                    np.stack([layers.read(maps[k], BITS, window)[0] for k in chosen]) if kind == "multilabel" else None
                )
                made = combine(codes[seen], percents, rule, kind, confidence_percent)
                index = np.array(chosen)[made.which]
                yield MosaicBlock(
                    rows=part[0],
                    columns=part[1],
                    code=made.code,
                    percent=made.percent,
                    confidence=made.confidence,
                    bits=None
                    if bits is None
                    else np.where(made.none, 0, np.take_along_axis(bits, made.which[None], 0)[0]),
                    source=np.where(made.none, NO_SOURCE, index + 1).astype(np.uint16),
                    age_hours=np.where(made.none, NO_AGE, ages[index]).astype(np.float32),
                    count=made.count,
                    agreement=made.agreement,
                )


def _percents(layers: Layers, files: MapFiles, window: MapGrid, rule: Rule) -> np.ndarray:
    """Of each class, ``(class, y, x)``; of ice that is not pooled of water and of all ice alone, which is one band."""
    if files.kind == "multilabel" or rule == "fused":
        return layers.read(files, PERCENTS[files.kind], window)
    ice = layers.read(files, ICE, window)
    return np.concatenate([np.where(ice == PERCENT_NODATA, ice, np.uint8(100) - np.minimum(ice, 100)), ice])


def check_maps(maps: Sequence[MapFiles], rule: Rule) -> Kind:
    """The kind of maps that are to be one.

    Raises:
        OptionError: none, of several kinds or class schemes, or a rule that does not fit.
    """
    if rule not in get_args(Rule):
        raise OptionError(f"Rule {rule!r} is not one of {list(get_args(Rule))}.")
    if not maps:
        raise OptionError("No map is of that time.")
    if len(maps) > 65_535:
        raise OptionError(f"{len(maps)} maps are too many for one mosaic; 65535 at most.")
    schemes = sorted({m.scheme.name for m in maps})
    if len(schemes) > 1:
        raise OptionError(f"These maps are of several class schemes, {', '.join(schemes)}. Take those of one.")
    if maps[0].kind == "multilabel" and rule == "fused":
        raise OptionError("Phenomena live for hours at most: maps of several scenes are not fused. Take latest.")
    return maps[0].kind


@dataclass(frozen=True, eq=False)
class _Combined:
    code: np.ndarray
    percent: np.ndarray
    confidence: np.ndarray
    which: np.ndarray  # index of the map, (y, x)
    none: np.ndarray  # True where no map observed
    count: np.ndarray
    agreement: np.ndarray


def combine(
    codes: np.ndarray, percents: np.ndarray, rule: Rule, kind: Kind, confidence_percent: float = CONFIDENCE_PERCENT
) -> _Combined:
    """One answer from several maps of the same pixels.

    Args:
        codes: uint8 (map, y, x), the oldest first; 255 not observed.
        percents: uint8 (map, class, y, x): class probabilities or scores; 255 without any (land, not observed).
        rule: see the module.
        kind: of the maps.
        confidence_percent: of pools.
    """
    observed = codes != CLASS_NODATA
    n = len(codes)
    told = percents[:, 0] != PERCENT_NODATA
    if kind == "exclusive":
        ice = np.where(told, np.uint8(100) - np.where(told, percents[:, 0], 0).astype(np.uint8), PERCENT_NODATA)
        sure = np.where(told, np.maximum(ice, 100 - np.minimum(ice, 100)), 0).astype(np.uint8)
    else:
        ice = np.where(told, percents.max(axis=1), PERCENT_NODATA)
        sure = np.where(told, ice, 0).astype(np.uint8)
    newest = n - 1 - observed[::-1].argmax(axis=0)
    if rule == "confident":
        ranked = np.where(observed, sure.astype(np.int32) + (codes < UNDECIDED), -1)[::-1]
        which = n - 1 - ranked.argmax(axis=0)
    else:
        which = newest
    none = ~observed.any(axis=0)
    code = _taken(codes, which)
    percent, confidence = _taken(ice.astype(np.uint8), which), _taken(sure, which)
    confidence[percent == PERCENT_NODATA] = PERCENT_NODATA
    if rule == "fused":
        pooled = pool(percents, told)
        of_sea = (code != CLASS_LAND) & ~none & (told.sum(axis=0) > 1)
        fused, fused_confidence, fused_ice = answers(pooled, confidence_percent)
        code[of_sea], percent[of_sea], confidence[of_sea] = fused[of_sea], fused_ice[of_sea], fused_confidence[of_sea]
    return _Combined(
        code=code,
        percent=percent,
        confidence=confidence,
        which=which,
        none=none,
        count=np.minimum(observed.sum(axis=0), 255).astype(np.uint8),
        agreement=agreement(codes, code, kind),
    )


def pool(percents: np.ndarray, told: np.ndarray) -> np.ndarray:
    """The geometric mean of class probabilities of several maps, whole percents that sum to 100.

    Args:
        percents: uint8 (map, class, y, x).
        told: bool (map, y, x): where a map has probabilities.

    Returns:
        uint8 (class, y, x); zeros where no map has any.
    """
    logs = np.zeros(percents.shape[1:], np.float32)
    for values, where in zip(percents, told, strict=True):
        logs += np.where(where, np.log(np.maximum(values, _LEAST).astype(np.float32)), 0)
    n = told.sum(axis=0)
    mean = np.exp(logs / np.maximum(n, 1))
    weight = np.where(n > 0, np.rint(mean * (250 / mean.max(axis=0))), 0).astype(np.uint8)
    return whole_percents(weight)


def agreement(codes: np.ndarray, code: np.ndarray, kind: Kind) -> np.ndarray:
    """Percent of the maps with an answer that say what the mosaic says, uint8 (y, x), see `MosaicBlock`."""
    if len(codes) == 1:
        return np.full(code.shape, PERCENT_NODATA, np.uint8)
    if kind == "exclusive":  # ice or water
        sides = np.where(codes < UNDECIDED, np.minimum(codes, 1), UNDECIDED)
        side = np.where(code < UNDECIDED, np.minimum(code, 1), CLASS_NODATA)
    else:
        sides, side = codes, np.where(code < UNDECIDED, code, CLASS_NODATA)
    answered = sides < UNDECIDED
    n = answered.sum(axis=0)
    same = ((sides == side) & answered).sum(axis=0)
    known = (n > 1) & (side != CLASS_NODATA)
    return np.where(known, np.rint(100 * same / np.maximum(n, 1)), PERCENT_NODATA).astype(np.uint8)


def _taken(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    return np.asarray(np.take_along_axis(values, which[None], axis=0)[0]).copy()
