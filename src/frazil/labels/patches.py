"""Training patches, cut wholly inside the polygons of analysts and charts or the regions of class rasters.

Patches lie on a lattice over the scene (every ``stride`` pixels from its first line and pixel), so that sets cut with
different labels from one scene can be compared patch by patch. A patch is kept if all its pixels belong to one polygon
(or are of one class of a raster), are observed in every channel, and are not land.

Neighbours overlap where the stride is smaller than the size: splitting such a set by patch leaks, see
`frazil.labels.splits`.

References:
    Khaleghian (2022), paper 1, section 4: patches of 10 to 46 pixels at stride 10 inside homogeneous polygons.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import CLASS_LAND, FIVE_CLASSES, ClassScheme, check_scene
from frazil.errors import LabelError, OptionError
from frazil.labels.chart import find_scheme
from frazil.labels.patch_set import join_patches, make_patches, open_patches, stream_patches
from frazil.labels.sources import LabelOptions, Labels, LabelsOnScene, open_labels, product_key
from frazil.scene.land import add_land
from frazil.scene.scaling import CHANNELS, to_db
from frazil.scene.scene import open_scene
from frazil.sentinel1.geolocation import Geolocation

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from frazil.sentinel1.product import Product
    from frazil.sentinel1.radiometry import Denoise

_STRIP = 512  # scene lines whose patches are cut at a time
_BATCH = 2048  # patches in memory at a time: 25 MB of 3 × 32 × 32
PathLike = str | os.PathLike[str]


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
            "patches": sum(self.cut.values()), "inside": self.inside, "left_out_limit": self.limited,
            "left_out_missing": self.missing, "left_out_land": self.land,
        }  # fmt: skip

    def without(self) -> list[str]:
        """Products that gave no patch."""
        return [product for product, n in self.cut.items() if not n]


def cut_patches(
    scenes: Sequence[PathLike | Product | xr.Dataset] | PathLike | Product | xr.Dataset,
    labels: PathLike | gpd.GeoDataFrame | Sequence[PathLike | gpd.GeoDataFrame],
    *,
    size: int = 32,
    stride: int = 10,
    channels: Sequence[str] = ("hh", "hv", "incidence_angle"),
    scheme: ClassScheme | str = FIVE_CLASSES,
    options: LabelOptions | None = None,
    looks: int = 1,
    boxcar: bool = False,
    denoise: Denoise = "esa",
    mask_land: bool = True,
    limit: int | None = None,
    seed: int = 0,
    path: PathLike | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """Labelled patches of scenes, see `frazil.labels.patch_set` for the Dataset.

    Args:
        scenes: products, or scenes from `frazil.open_scene` (which then keep their looks and noise removal).
        labels: charts, polygons or class rasters (see `frazil.labels.sources.open_labels`): one for all scenes, or
            one for each in the same order. ``{scene}`` in a path stands for the product name, ``{folder}`` for the
            folder that the product lies in: ``"{folder}/{scene}_truth/polygons.gpkg"``.
        size: height and width, pixels of the scene.
        stride: pixels between neighbours.
        channels: of `frazil.scene.scaling.CHANNELS`; ``"nesz"`` is short for the NESZ of each polarisation listed.
            σ0 and NESZ come in dB, angles in degrees.
        scheme: the classes.
        options: how labels are read: class column, chart thresholds …
        looks: block averages, as in `frazil.open_scene`.
        boxcar: 3 × 3 moving average, likewise.
        denoise: noise removal, likewise.
        mask_land: leave out patches that touch GSHHG land. Land in the labels is left out in any case.
        limit: at most so many patches of a class from a scene, drawn evenly; None keeps all.
        seed: of that draw.
        path: write the set to this ``.zarr`` while it is cut, so that memory stays at a few hundred lines of a scene;
            without it the set is in memory.
        overwrite: replace what is at ``path``.
        progress: called with the fraction done.

    Returns:
        The patch set (opened from ``path`` if that is given). attrs count what was left out and why.

    Raises:
        OptionError: an impossible size, stride, channel or scheme; labels and scenes of different number.
        LabelError: labels that cannot be read, or no patch at all (saying why).
        ProductNotFoundError, ProductError: as `frazil.open_scene`.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.

    References:
        Khaleghian (2022), paper 1, section 4 (size, stride, channels).
    """
    scheme = find_scheme(scheme)
    if size < 1 or stride < 1 or (limit is not None and limit < 1):
        raise OptionError(f"size, stride and limit must be 1 or more; got {size}, {stride} and {limit}.")
    names = _channel_names(channels)
    many = [scenes] if isinstance(scenes, (str, os.PathLike)) or not isinstance(scenes, Sequence) else list(scenes)
    if not many:
        raise OptionError("There are no scenes. Pass at least one product.")
    pairs = _pair(many, labels)
    names_of_labels = sorted({str(x) if isinstance(x, (str, os.PathLike)) else "the table" for _, x in pairs})
    counts = PatchCounts()
    cutter = _Cutter(size, stride, names, scheme, mask_land, limit, seed, counts)
    known: dict[Any, Labels] = {}

    def parts() -> Iterator[xr.Dataset]:
        for i, (scene, label) in enumerate(pairs):
            opened = _open(scene, names, looks, boxcar, denoise)
            key = str(label) if isinstance(label, (str, os.PathLike)) else id(label)
            if key not in known:
                known.clear()  # one file of labels in memory at a time
                known[key] = open_labels(label, scheme, options)
            for part, done in cutter.cut(opened, known[key]):
                yield part
                if progress:
                    progress((i + done) / len(pairs))
            if progress:
                progress((i + 1) / len(pairs))
        if not sum(counts.cut.values()):
            raise LabelError(_why_none(counts, names_of_labels, size))

    attrs = {
        "stride": stride,
        "mask_land": bool(mask_land),
        "limit": limit or 0,
        "seed": seed,
        "labels": names_of_labels,
    }
    if path is not None:
        final = {**attrs, "counts": counts.as_dict, "scenes_without_patches": counts.without}
        return open_patches(stream_patches(parts(), path, overwrite=overwrite, **final))
    whole = join_patches(list(parts()))
    return whole.assign_attrs(attrs, counts=counts.as_dict(), scenes_without_patches=counts.without())


def _channel_names(channels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(channels, str):
        channels = [c.strip() for c in channels.split(",")]
    names: list[str] = []
    for name in channels:
        if name == "nesz":
            names += [f"nesz_{c}" for c in channels if c in ("hh", "hv", "vv", "vh")]
        else:
            names.append(name)
    strange = [n for n in names if n not in CHANNELS]
    if strange or not names:
        raise OptionError(f"Channel {strange[0] if strange else ''!r} is not one of {[*CHANNELS, 'nesz']}.")
    if len(set(names)) < len(names):
        raise OptionError(f"Channels {names} name one twice. Leave the second out.")
    if not any(CHANNELS[n].polarization for n in names):
        raise OptionError(f"Channels {names} hold no backscatter. Add for instance 'hh'.")
    return tuple(names)


def _pair(scenes: list[Any], labels: Any) -> list[tuple[Any, Any]]:
    if isinstance(labels, (str, os.PathLike)) or not isinstance(labels, Sequence):
        labels = [labels] * len(scenes)
    if len(labels) == 1:
        labels = list(labels) * len(scenes)
    if len(labels) != len(scenes):
        raise OptionError(
            f"There are {len(scenes)} scenes and {len(labels)} files of labels. Pass one file for all, or one each."
        )
    return [(scene, _filled(label, scene)) for scene, label in zip(scenes, labels, strict=True)]


def _filled(label: Any, scene: Any) -> Any:
    """A label path with ``{scene}`` and ``{folder}`` filled in."""
    text = str(label) if isinstance(label, (str, os.PathLike)) else ""
    if "{scene}" not in text and "{folder}" not in text:
        return label
    if isinstance(scene, (str, os.PathLike)):
        name, folder = product_key(str(scene)), str(Path(scene).parent)
    else:
        name = product_key(str(scene.attrs["product"] if hasattr(scene, "attrs") else scene.name))
        folder = str(Path(getattr(scene, "path", ".")).parent)
    return text.replace("{scene}", name).replace("{folder}", folder)


def _open(scene: Any, names: tuple[str, ...], looks: int, boxcar: bool, denoise: Denoise) -> xr.Dataset:
    needed = tuple(dict.fromkeys(p for n in names if (p := CHANNELS[n].polarization)))
    if not hasattr(scene, "data_vars"):
        scene = open_scene(scene, polarizations=needed, looks=looks, boxcar=boxcar, denoise=denoise)
    check_scene(scene)
    there = scene["polarization"].values.tolist()
    lacking = [p for p in needed if p not in there]
    if lacking:
        raise OptionError(
            f"Channels {list(names)} need {lacking[0]}, but {scene.attrs['product']} holds {there}. "
            "Choose other channels."
        )
    return scene


def _why_none(counts: PatchCounts, labels: list[str], size: int) -> str:
    where = ", ".join(labels[:3])
    if not counts.labelled:
        return f"No pixel of {len(counts.cut)} scene(s) has a label of {where}. Are these the labels of these scenes?"
    if not counts.inside:
        return f"No region of {where} holds a whole patch of {size} × {size} pixels. Choose a smaller size."
    return (
        f"All {counts.inside} patches inside {where} were left out: {counts.land} on land, {counts.missing} not "
        "observed. If the labels know the land better, pass mask_land=False (--keep-land)."
    )


@dataclass(frozen=True)
class _Cutter:
    size: int
    stride: int
    names: tuple[str, ...]
    scheme: ClassScheme
    mask_land: bool
    limit: int | None
    seed: int
    counts: PatchCounts

    def cut(self, scene: xr.Dataset, labels: Labels) -> Iterator[tuple[xr.Dataset, float]]:
        """Patch sets of a scene, strip by strip, and the fraction done."""
        on_scene = labels.on(scene)
        product = product_key(str(scene.attrs["product"]))
        self.counts.cut.setdefault(product, 0)
        row, column, region = self._limited(*self._places(scene, on_scene), on_scene)
        geo = Geolocation.of(scene)
        n_lines = scene.sizes["line"]
        for first in range(0, n_lines, _STRIP):
            mine = (row >= first) & (row < first + _STRIP)
            if not mine.any():
                continue
            at = row[mine], column[mine], region[mine]
            done = min((first + _STRIP) / n_lines, 1.0)
            for part in self._strip(scene, geo, on_scene, *at):
                self.counts.cut[product] += part.sizes["patch"]
                yield part, done

    def _places(self, scene: xr.Dataset, labels: LabelsOnScene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First row and column, and region, of every place of the lattice inside one region of a class."""
        height, width = scene.sizes["line"], scene.sizes["pixel"]
        columns = np.arange(0, width - self.size + 1, self.stride)
        found: list[tuple[np.ndarray, ...]] = [(np.zeros(0, int),) * 3]
        for first in range(0, height, _STRIP):
            rows = np.arange(-(-first // self.stride) * self.stride, first + _STRIP, self.stride)
            rows = rows[rows + self.size <= height]
            stop = min(first + _STRIP + self.size, height)
            region = labels.regions(slice(first, stop))
            classless = labels.class_of[np.maximum(region, 0)] >= CLASS_LAND
            region[classless & (region >= 0)] = -1
            self.counts.labelled += int((region[:_STRIP] >= 0).sum())
            if not (rows.size and columns.size):
                continue
            inside = uniform(region, rows - first, columns, self.size)
            i, j = np.nonzero(inside)
            found.append((rows[i], columns[j], region[rows[i] - first, columns[j]]))
        row, column, region = (np.concatenate(v) for v in zip(*found, strict=True))
        self.counts.inside += row.size
        return row, column, region

    def _limited(
        self, row: np.ndarray, column: np.ndarray, region: np.ndarray, labels: LabelsOnScene
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.limit is None:
            return row, column, region
        rng = np.random.default_rng(self.seed)
        codes = labels.class_of[region]
        keep = np.zeros(row.size, bool)
        for code in np.unique(codes):
            mine = np.flatnonzero(codes == code)
            keep[rng.permutation(mine)[: self.limit]] = True
        self.counts.limited += int((~keep).sum())
        return row[keep], column[keep], region[keep]

    def _strip(
        self, scene: xr.Dataset, geo: Geolocation, labels: LabelsOnScene,
        row: np.ndarray, column: np.ndarray, region: np.ndarray,
    ) -> Iterator[xr.Dataset]:  # fmt: skip
        """Patch sets of a strip, some thousand patches each."""
        lines = slice(int(row.min()), int(row.max()) + self.size)
        pixels = slice(int(column.min()), int(column.max()) + self.size)
        part = scene.isel(line=lines, pixel=pixels)
        planes = np.stack([_plane(part, name) for name in self.names])
        at = row - lines.start, column - pixels.start
        keep = clear(~np.isfinite(planes).all(axis=0), *at, self.size)
        self.counts.missing += int((~keep).sum())
        if self.mask_land:
            sea = clear(add_land(part)["land_mask"].values, *at, self.size)
            self.counts.land += int((keep & ~sea).sum())
            keep &= sea
        windows = np.lib.stride_tricks.sliding_window_view(planes, (self.size, self.size), axis=(1, 2))
        kept = np.flatnonzero(keep)
        for first in range(0, kept.size, _BATCH):
            some = kept[first : first + _BATCH]
            image = np.moveaxis(windows[:, at[0][some], at[1][some]], 1, 0)
            yield self._patches(scene, geo, labels, image, row[some], column[some], region[some])

    def _patches(
        self, scene: xr.Dataset, geo: Geolocation, labels: LabelsOnScene, image: np.ndarray,
        row: np.ndarray, column: np.ndarray, region: np.ndarray,
    ) -> xr.Dataset:  # fmt: skip
        line, pixel = scene["line"].values, scene["pixel"].values
        last = self.size - 1
        middle = (line[row] + line[row + last]) / 2, (pixel[column] + pixel[column + last]) / 2
        longitude, latitude = geo.lonlat(*middle)
        product = product_key(str(scene.attrs["product"]))
        return make_patches(
            image, labels.class_of[region], channels=self.names, units=tuple(CHANNELS[n].units for n in self.names),
            scheme=self.scheme, scene=np.full(row.size, product), time=_times(scene, row + self.size // 2),
            polygon=labels.polygon_of[region], line=line[row], pixel=pixel[column],
            longitude=longitude, latitude=latitude,
            attrs={
                name: scene.attrs[name] for name in ("looks", "boxcar", "denoise", "spacing_m") if name in scene.attrs
            },
        )  # fmt: skip


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


def _plane(scene: xr.Dataset, name: str) -> np.ndarray:
    """A channel in its units, float32 (line, pixel); NaN where not observed."""
    polarization = CHANNELS[name].polarization
    if polarization is None:
        return np.asarray(scene[name].values, np.float32)
    plane = scene["polarization"].values.tolist().index(polarization)
    variable = scene["nesz" if name.startswith("nesz_") else "sigma0"]
    return to_db(variable.isel(polarization=plane).values)


def _times(scene: xr.Dataset, row: np.ndarray) -> np.ndarray:
    if "azimuth_time" in scene.variables:
        return np.asarray(scene["azimuth_time"].values[np.minimum(row, scene.sizes["line"] - 1)])
    start = np.datetime64(str(scene.attrs["start_time"]).removesuffix("Z"), "ns")
    return np.full(row.size, start)
