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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import FIVE_CLASSES, ClassScheme, check_scene
from frazil.errors import LabelError, OptionError
from frazil.labels.chart import find_scheme
from frazil.labels.classes import LabelOptions, LabelsOnScene
from frazil.labels.cutting import Cutter, why_none
from frazil.labels.patch_set import gather
from frazil.labels.sources import Labels, open_labels, product_key
from frazil.products import open_scene
from frazil.scene.geolocation import Geolocation
from frazil.scene.land import add_land
from frazil.scene.scaling import CHANNELS, linear_power, to_db

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from frazil.conventions import Denoise
    from frazil.products import Product

PathLike = str | os.PathLike[str]


def cut_patches(
    scenes: Sequence[PathLike | Product | xr.Dataset] | PathLike | Product | xr.Dataset,
    labels: PathLike | gpd.GeoDataFrame | np.ndarray | Sequence[PathLike | gpd.GeoDataFrame | np.ndarray],
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
        labels: charts, polygons, class rasters or arrays of class codes (see `frazil.labels.sources.open_labels`): one
            for all scenes, or one for each in the same order. ``{scene}`` in a path stands for the product name,
            ``{folder}`` for the folder that the product lies in: ``"{folder}/{scene}_truth/polygons.gpkg"``.
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
    cutter = Cutter(size=size, stride=stride, scheme=scheme, limit=limit, seed=seed)
    counts = cutter.counts
    names = channel_names(channels)
    many = [scenes] if isinstance(scenes, (str, os.PathLike)) or not isinstance(scenes, Sequence) else list(scenes)
    if not many:
        raise OptionError("There are no scenes. Pass at least one product.")
    pairs = _pair(many, labels)
    names_of_labels = sorted({str(x) if isinstance(x, (str, os.PathLike)) else "the table" for _, x in pairs})
    known: dict[Any, Labels] = {}
    dialects: set[str] = set()  # of charts

    def parts() -> Iterator[xr.Dataset]:
        for i, (scene, label) in enumerate(pairs):
            opened = _open(scene, names, looks, boxcar, denoise)
            key = str(label) if isinstance(label, (str, os.PathLike)) else id(label)
            if key not in known:
                known.clear()  # one file of labels in memory at a time
                known[key] = open_labels(label, scheme, options)
                if found := getattr(known[key], "dialect", None):
                    dialects.add(found)
            for part, done in cutter.cut(SceneSource(opened, known[key].on(opened), names, mask_land)):
                yield part
                if progress:
                    progress((i + done) / len(pairs))
            if progress:
                progress((i + 1) / len(pairs))
        if not sum(counts.cut.values()):
            raise LabelError(why_none(counts, names_of_labels, size))

    attrs = {
        **cutter.attrs(),
        "mask_land": bool(mask_land),
        "labels": names_of_labels,
        "dialects": lambda: sorted(dialects),
    }
    return gather(parts(), path, overwrite=overwrite, **attrs)


def channel_names(channels: Sequence[str]) -> tuple[str, ...]:
    """Channels checked, with ``"nesz"`` written out; raise OptionError for what is not a channel."""
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
    return [(scene, filled_label(label, scene)) for scene, label in zip(scenes, labels, strict=True)]


def filled_label(label: Any, scene: Any) -> Any:
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


@dataclass(frozen=True, eq=False)
class SceneSource:
    """A scene Dataset with labels, as `frazil.labels.cutting` wants it."""

    scene: xr.Dataset
    labels: LabelsOnScene
    channels: tuple[str, ...]
    mask_land: bool

    @property
    def product(self) -> str:
        """The product name."""
        return product_key(str(self.scene.attrs["product"]))

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and pixels."""
        return self.scene.sizes["line"], self.scene.sizes["pixel"]

    @property
    def units(self) -> tuple[str, ...]:
        """Decibels or degrees."""
        return tuple(CHANNELS[name].units for name in self.channels)

    @property
    def attrs(self) -> dict[str, Any]:
        """How the scene was opened."""
        names = ("looks", "boxcar", "denoise", "spacing_m")
        return {name: self.scene.attrs[name] for name in names if name in self.scene.attrs}

    @property
    def class_of(self) -> np.ndarray:
        """Class code of each region."""
        return self.labels.class_of

    @property
    def polygon_of(self) -> np.ndarray:
        """Row in the label file of each region."""
        return self.labels.polygon_of

    def regions(self, rows: slice) -> np.ndarray:
        """Region of each pixel of some lines."""
        return self.labels.regions(rows)

    def image(self, lines: slice, pixels: slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Channels of a window, and land."""
        part = self.scene.isel(line=lines, pixel=pixels)
        planes = np.stack([_plane(part, name) for name in self.channels])
        return planes, add_land(part)["land_mask"].values if self.mask_land else None

    def provenance(self, row: np.ndarray, column: np.ndarray, size: int) -> dict[str, np.ndarray]:
        """Place and time of patches."""
        line, pixel = self.scene["line"].values, self.scene["pixel"].values
        last = size - 1
        middle = (line[row] + line[row + last]) / 2, (pixel[column] + pixel[column + last]) / 2
        longitude, latitude = Geolocation.of(self.scene).lonlat(*middle)
        return {
            "line": line[row],
            "pixel": pixel[column],
            "longitude": longitude,
            "latitude": latitude,
            "time": self._times(row + size // 2),
        }

    def _times(self, row: np.ndarray) -> np.ndarray:
        if "azimuth_time" in self.scene.variables:
            return np.asarray(self.scene["azimuth_time"].values[row])
        return np.full(row.size, np.datetime64(str(self.scene.attrs["start_time"]).removesuffix("Z"), "ns"))


def _plane(scene: xr.Dataset, name: str) -> np.ndarray:
    """A channel in its units, float32 (line, pixel); NaN where not observed."""
    polarization = CHANNELS[name].polarization
    if polarization is None:
        return np.asarray(scene[name].values, np.float32)
    channel = CHANNELS[name]
    wanted = ("sigma0", "nesz") if channel.source == "total" else (channel.source,)
    arrays = {v: scene[v].sel(polarization=[polarization]).values for v in wanted}
    return to_db(linear_power(channel, arrays, [polarization]))
