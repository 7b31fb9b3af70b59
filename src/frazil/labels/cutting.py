"""Cutting patches from anything that has an image and regions: the lattice, the tests, the counts.

A *source* is one scene with its labels, from a Sentinel-1 product or from a file of a published set. A patch is kept if
all its pixels belong to one region that has a class, are observed in every channel, and are not land.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from frazil.conventions import CLASS_LAND, ClassScheme
from frazil.errors import OptionError
from frazil.labels.patch_set import make_patches
from frazil.seeds import check_seed

if TYPE_CHECKING:
    import xarray as xr

_STRIP = 512  # lines whose patches are cut at a time
_BATCH = 2048  # patches in memory at a time: 25 MB of 3 × 32 × 32


class Source(Protocol):
    """One scene with labels on its pixels."""

    @property
    def product(self) -> str:
        """Name of the scene."""

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and pixels of the image."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""

    @property
    def units(self) -> tuple[str, ...]:
        """Units of the channels."""

    @property
    def attrs(self) -> dict[str, Any]:
        """What else a patch set should know of the image."""

    @property
    def class_of(self) -> np.ndarray:
        """Class code of each region."""

    @property
    def polygon_of(self) -> np.ndarray:
        """Row in the label file of each region; −1 for none."""

    def regions(self, rows: slice) -> np.ndarray:
        """Region of each pixel of some lines: int32, −1 without a single label."""

    def image(self, lines: slice, pixels: slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Channels of a window (channel, line, pixel), NaN where not observed; land (line, pixel), if masked."""

    def provenance(self, row: np.ndarray, column: np.ndarray, size: int) -> dict[str, np.ndarray]:
        """line, pixel, longitude, latitude and time of patches by their first row and column."""


@dataclass
class PatchCounts:
    """What became of the places that could have been patches.

    Attributes:
        cut: product -> patches cut.
        inside: places wholly inside one region of a class.
        limited: of those, left out by the limit.
        missing: of those, left out because a pixel was not observed.
        land: of those, left out because of land.
        labelled: pixels with a label.
    """

    cut: dict[str, int] = field(default_factory=dict)
    inside: int = 0
    limited: int = 0
    missing: int = 0
    land: int = 0
    labelled: int = 0

    def as_dict(self) -> dict[str, int]:
        """The totals, for attributes and for printing."""
        return {
            "patches": sum(self.cut.values()),
            "inside": self.inside,
            "left_out_limit": self.limited,
            "left_out_missing": self.missing,
            "left_out_land": self.land,
        }

    def without(self) -> list[str]:
        """Products that gave no patch."""
        return [product for product, n in self.cut.items() if not n]


@dataclass(frozen=True, kw_only=True)
class Cutter:
    """How patches are cut.

    Attributes:
        size: height and width, pixels.
        stride: pixels between places of the lattice.
        scheme: the classes.
        limit: at most so many of a class from a source; None keeps all.
        seed: of the draw under the limit.
        counts: added to while cutting.
    """

    size: int
    stride: int
    scheme: ClassScheme
    limit: int | None = None
    seed: int = 0
    counts: PatchCounts = field(default_factory=PatchCounts)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.size < 1 or self.stride < 1 or (self.limit is not None and self.limit < 1):
            raise OptionError(
                f"size, stride and limit must be 1 or more; got {self.size}, {self.stride} and {self.limit}."
            )

    def attrs(self) -> dict[str, Any]:
        """Attributes of the patch set; functions are to be called when it is complete."""
        return {
            "stride": self.stride,
            "limit": self.limit or 0,
            "seed": self.seed,
            "counts": self.counts.as_dict,
            "scenes_without_patches": self.counts.without,
        }

    def cut(self, source: Source) -> Iterator[tuple[xr.Dataset, float]]:
        """Patch sets of a source, some thousand patches each, and the fraction done."""
        self.counts.cut.setdefault(source.product, 0)
        if not source.class_of.size:
            return
        row, column, region = self._limited(*self._places(source), source.class_of)
        for first in range(0, source.shape[0], _STRIP):
            mine = (row >= first) & (row < first + _STRIP)
            if not mine.any():
                continue
            done = min((first + _STRIP) / source.shape[0], 1.0)
            for part in self._strip(source, row[mine], column[mine], region[mine]):
                self.counts.cut[source.product] += part.sizes["patch"]
                yield part, done

    def _places(self, source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First row and column, and region, of every place of the lattice inside one region of a class."""
        height, width = source.shape
        columns = np.arange(0, width - self.size + 1, self.stride)
        found: list[tuple[np.ndarray, ...]] = [(np.zeros(0, int),) * 3]
        for first in range(0, height, _STRIP):
            rows = np.arange(-(-first // self.stride) * self.stride, first + _STRIP, self.stride)
            rows = rows[rows + self.size <= height]
            region = source.regions(slice(first, min(first + _STRIP + self.size, height)))
            region = np.where(source.class_of[np.maximum(region, 0)] >= CLASS_LAND, -1, region)
            self.counts.labelled += int((region[:_STRIP] >= 0).sum())
            if not (rows.size and columns.size):
                continue
            i, j = np.nonzero(uniform(region, rows - first, columns, self.size))
            found.append((rows[i], columns[j], region[rows[i] - first, columns[j]]))
        row, column, region = (np.concatenate(v) for v in zip(*found, strict=True))
        self.counts.inside += row.size
        return row, column, region

    def _limited(
        self, row: np.ndarray, column: np.ndarray, region: np.ndarray, class_of: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.limit is None:
            return row, column, region
        rng = np.random.default_rng(self.seed)
        codes = class_of[region]
        keep = np.zeros(row.size, bool)
        for code in np.unique(codes):
            mine = np.flatnonzero(codes == code)
            keep[rng.permutation(mine)[: self.limit]] = True
        self.counts.limited += int((~keep).sum())
        return row[keep], column[keep], region[keep]

    def _strip(self, source: Source, row: np.ndarray, column: np.ndarray, region: np.ndarray) -> Iterator[xr.Dataset]:
        lines = slice(int(row.min()), int(row.max()) + self.size)
        pixels = slice(int(column.min()), int(column.max()) + self.size)
        planes, land = source.image(lines, pixels)
        at = row - lines.start, column - pixels.start
        keep = clear(~np.isfinite(planes).all(axis=0), *at, self.size)
        self.counts.missing += int((~keep).sum())
        if land is not None:
            sea = clear(land, *at, self.size)
            self.counts.land += int((keep & ~sea).sum())
            keep &= sea
        windows = np.lib.stride_tricks.sliding_window_view(planes, (self.size, self.size), axis=(1, 2))
        kept = np.flatnonzero(keep)
        for first in range(0, kept.size, _BATCH):
            some = kept[first : first + _BATCH]
            yield make_patches(
                np.moveaxis(windows[:, at[0][some], at[1][some]], 1, 0),
                source.class_of[region[some]],
                channels=source.channels,
                units=source.units,
                scheme=self.scheme,
                attrs=source.attrs,
                scene=np.full(some.size, source.product),
                polygon=source.polygon_of[region[some]],
                **source.provenance(row[some], column[some], self.size),
            )


def why_none(counts: PatchCounts, labels: list[str], size: int) -> str:
    """Why there is not a single patch, and what to do."""
    where = ", ".join(labels[:3])
    if not counts.labelled:
        return f"No pixel of {len(counts.cut)} scene(s) has a label of {where}. Are these the labels of these scenes?"
    if not counts.inside:
        return f"No region of {where} holds a whole patch of {size} × {size} pixels. Choose a smaller size."
    return (
        f"All {counts.inside} patches inside {where} were left out: {counts.land} on land, {counts.missing} not "
        "observed. If the labels know the land better, pass mask_land=False (--keep-land)."
    )


def uniform(region: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """Whether square windows hold one region only: bool (rows, columns).

    Args:
        region: (line, pixel) numbers; negative for none.
        rows: first rows of the windows.
        columns: first columns.
        size: of the windows; all must lie inside the array.
    """
    i, j = rows[:, None], columns[None, :]
    along = _integral(region[1:] != region[:-1])
    across = _integral(region[:, 1:] != region[:, :-1])
    changes = _sums(along, i, j, size - 1, size) + _sums(across, i, j, size, size - 1)
    same: np.ndarray = (changes == 0) & (region[i, j] >= 0)
    return same


def clear(wrong: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """Whether square windows hold no True: bool, one for each pair of first row and first column."""
    free: np.ndarray = _sums(_integral(wrong), rows, columns, size, size) == 0
    return free


def _integral(mask: np.ndarray) -> np.ndarray:
    """Summed-area table with a border of zeros."""
    out = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int32), axis=1, out=out[1:, 1:])
    return out


def _sums(table: np.ndarray, i: np.ndarray, j: np.ndarray, height: int, width: int) -> np.ndarray:
    total: np.ndarray = table[i + height, j + width] - table[i, j + width] - table[i + height, j] + table[i, j]
    return total
