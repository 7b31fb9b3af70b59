"""Labelled patches in memory, scaled as the network sees them: training batches, and held-out sets that judge."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypedDict, cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from frazil.conventions import CLASS_SCHEMES, ClassScheme
from frazil.errors import LabelError, OptionError
from frazil.labels.classes import into_scheme
from frazil.labels.patch_set import check_patches, join_patches, open_patches
from frazil.labels.sample_set import blocks
from frazil.learn.data.augment import augment
from frazil.learn.data.class_scores import OneClassEach
from frazil.learn.models.patch import takes_patches
from frazil.scene.scaling import CHANNELS

UNLABELLED = 255
_OF_A_SCENE = 200  # patches by which a scene is described
#: Patches at a time through a network that is being judged. On a CPU the maps of 256 patches leave the caches: a
#: forward pass through the 13-layer network takes a tenth longer than with 64.
_BATCH, _CPU_BATCH = 256, 64


class Conditions(TypedDict, total=False):
    """Of the scenes that patches are of, see `Patches`; photographs have none."""

    spacing_m: float
    denoise: str
    boxcar: bool
    incidence_range: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Patches(OneClassEach):
    """Patches in memory: 2 bytes a pixel and channel.

    Attributes:
        image: float16 (patch, channel, height, width) in [0, 1].
        label: uint8 (patch,) class codes; 255 without a label.
        scene: (patch,) product names.
        index: (patch,) position in the patch set that they came from.
        channels: names.
        scheme: of the labels.
        conditions: of the scenes: ``spacing_m``, ``denoise``, ``boxcar`` where the set says so, and
            ``incidence_range``, degrees.
    """

    image: np.ndarray
    label: np.ndarray
    scene: np.ndarray
    index: np.ndarray
    channels: tuple[str, ...]
    scheme: ClassScheme
    conditions: Conditions
    unit: ClassVar[str] = "patches"

    def __len__(self) -> int:
        return len(self.label)

    def take(self, which: np.ndarray) -> Patches:
        """Some of them, by position or mask."""
        return Patches(
            self.image[which],
            self.label[which],
            self.scene[which],
            self.index[which],
            self.channels,
            self.scheme,
            self.conditions,
        )

    def centre(self, size: int) -> Patches:
        """The middle of each patch, `size` pixels wide.

        Raises:
            OptionError: the patches are smaller.
        """
        side = self.image.shape[-1]
        if not 1 <= size <= side:
            raise OptionError(f"Patches of {size} pixels were asked for, but the set has {side}. Cut it larger.")
        low = (side - size) // 2
        return replace(self, image=self.image[:, :, low : low + size, low : low + size])

    @property
    def names(self) -> list[str]:
        """Product names."""
        return sorted(set(self.scene.tolist()))

    def counts(self) -> dict[str, int]:
        """Patches of each class."""
        found = np.bincount(self.label, minlength=256)
        return {name: int(found[i]) for i, name in enumerate(self.scheme.names)}

    def describe(self) -> dict[str, object]:
        """Scenes and patches of each class, for run folders and reports."""
        return {
            "scenes": self.names,
            "patches": self.counts(),
            "checksum": zlib.crc32(self.label.tobytes() + np.ascontiguousarray(self.image[:, :, ::8, ::8]).tobytes()),
        }

    def outputs(self, network: nn.Module, device: str | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name, logits (class, patch) and labels (patch,) of the labelled patches of each scene."""
        logits = self.logits(network, device)
        for name in self.names:
            mine = (self.scene == name) & (self.label != UNLABELLED)
            if mine.any():
                yield name, logits[:, mine], self.label[mine]

    def logits(self, network: nn.Module, device: str | None = None) -> np.ndarray:
        """Logits float32 (class, patch)."""
        found = self._through(network, network, device)
        return np.concatenate(found).T if found else np.zeros((len(self.scheme.classes), 0), np.float32)

    def descriptors(self, network: nn.Module, device: str | None = None) -> np.ndarray:
        """Descriptors float32 (patch, feature) of a patch classifier."""
        assert takes_patches(network)
        found = self._through(network, network.describe, device)
        return np.concatenate(found) if found else np.zeros((0, network.n_features), np.float32)

    @torch.inference_mode()
    def _through(
        self, network: nn.Module, function: Callable[[Tensor], Tensor], device: str | None
    ) -> list[np.ndarray]:
        was_training = network.training
        network.eval()
        place = torch.device(device or next(network.parameters()).device)
        found = []
        size = _CPU_BATCH if place.type == "cpu" else _BATCH
        for first in range(0, len(self), size):
            part = torch.from_numpy(self.image[first : first + size].astype(np.float32)).to(place)
            found.append(function(part.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
        network.train(was_training)
        return found


def read_patches(
    stores: tuple[str, ...], *, channels: tuple[str, ...] = (), scheme: str | None = None
) -> tuple[Patches, xr.Dataset]:
    """Patch sets in memory, as a network sees them.

    Args:
        stores: paths of ``.zarr`` sets of the same kind.
        channels: to take, in order; all by default.
        scheme: to turn labels into; patches whose class has no place in it lose their label.

    Returns:
        The patches, and the joined Dataset without images, for splits.

    Raises:
        LabelNotFoundError, LabelError: no set there, sets of different kinds, a channel that they lack, values that
            are not finite.
        OptionError: no store named, an unknown scheme.
    """
    if not stores:
        raise OptionError("No patch set was named. Pass --set data.patches=SET.zarr (make one with `frazil patches`).")
    sets = [open_patches(path) for path in stores]
    parts = [_read(one, path, channels) for one, path in zip(sets, stores, strict=True)]
    for one, path in zip(parts[1:], stores[1:], strict=True):
        for what in ("channels", "scheme"):
            if getattr(one, what) != getattr(parts[0], what):
                raise LabelError(f"Patch sets {stores[0]} and {path} differ in {what}. Cut them alike.")
        if one.image.shape[1:] != parts[0].image.shape[1:]:
            raise LabelError(f"Patch sets {stores[0]} and {path} differ in size. Cut them alike.")
    first = parts[0]
    low, high = zip(*(p.conditions["incidence_range"] for p in parts), strict=True)
    label, target = np.concatenate([p.label for p in parts]), first.scheme
    if scheme is not None:
        if scheme not in CLASS_SCHEMES:
            raise OptionError(f"class_scheme {scheme!r} is not one of {sorted(CLASS_SCHEMES)}.")
        target = CLASS_SCHEMES[scheme]
        label = _translated(label, first.scheme, target)
    both = Patches(
        np.concatenate([p.image for p in parts]) if len(parts) > 1 else first.image,
        label,
        np.concatenate([p.scene for p in parts]),
        np.arange(len(label)),
        first.channels,
        target,
        {**first.conditions, "incidence_range": (min(low), max(high))},
    )
    bare = join_patches([s.isel(height=slice(0, 1), width=slice(0, 1)) for s in sets]).drop_vars("image")
    dims = ("patch", "channel", "height", "width")
    stub = np.broadcast_to(np.float32(0), (len(label), bare.sizes["channel"], 1, 1))
    bare = bare.assign(image=(dims, stub), label=("patch", label)).assign_attrs(class_scheme=target.name)
    return both, bare


def _read(patches: xr.Dataset, path: str, wanted: tuple[str, ...]) -> Patches:
    scheme = check_patches(patches)
    there = [str(c) for c in patches["channel"].values]
    names = wanted or tuple(there)
    lacking = [n for n in names if n not in there]
    if lacking:
        raise LabelError(f"Patch set {path} has no channel {lacking[0]!r}, only {there}. Choose of these.")
    strange = [n for n in names if n not in CHANNELS]
    if strange:
        raise LabelError(f"Channel {strange[0]!r} of {path} is none that maps are made from: {sorted(CHANNELS)}.")
    take = [there.index(n) for n in names]
    units = patches["channel_units"].values[take].tolist()
    other = [(n, u) for n, u in zip(names, units, strict=True) if u != CHANNELS[n].units]
    if other:
        raise LabelError(
            f"Channel {other[0][0]!r} of {path} is in {other[0][1]!r}, not in {CHANNELS[other[0][0]].units}. "
            "Read the set with the values its numbers stand for (`frazil patches folders --range`)."
        )
    if patches.sizes["height"] != patches.sizes["width"]:
        raise LabelError(f"Patches of {path} are not square: {patches.sizes['height']} × {patches.sizes['width']}.")
    image = np.empty((patches.sizes["patch"], len(names), patches.sizes["height"], patches.sizes["width"]), np.float16)
    low, high = np.inf, -np.inf
    done = 0
    for part in blocks(patches):
        try:
            values = part["image"].values[:, take]
        except (OSError, RuntimeError, ValueError) as error:  # chunks are unpacked here
            raise LabelError(
                f"{path} is damaged: {(str(error).splitlines() or ['?'])[0]}. Cut the set anew."
            ) from error
        if not np.isfinite(values).all():
            bad = done + int(np.flatnonzero(~np.isfinite(values).all(axis=(1, 2, 3)))[0])
            raise LabelError(f"Patch {bad} of {path} holds values that are not finite. Cut the set anew.")
        for i, name in enumerate(names):
            image[done : done + len(values), i] = CHANNELS[name].scale(values[:, i])
            if name == "incidence_angle":
                low, high = min(low, float(values[:, i].min())), max(high, float(values[:, i].max()))
        done += len(values)
    seen = (low, high) if low <= high else (0.0, 90.0)
    told = {k: patches.attrs[k] for k in ("spacing_m", "denoise", "boxcar") if k in patches.attrs}
    return Patches(
        image,
        patches["label"].values,
        patches["scene"].values.astype(str),
        np.arange(done),
        names,
        scheme,
        cast(Conditions, {**told, "incidence_range": seen}),
    )


def _translated(label: np.ndarray, source: ClassScheme, target: ClassScheme) -> np.ndarray:
    table = np.full(256, UNLABELLED, np.uint8)
    for c in source.classes:
        code = into_scheme(c.code, source, target)
        if code is not None:
            table[c.code] = code
    return table[label]


class PatchSampler:
    """Batches of patches; an epoch goes through all of them once, in an order of its own.

    Args:
        patches: all with a label.
        seed: of the run.
        augment: names of changes, see `frazil.learn.data.augment`.
        resample: draw so that classes come equally often, in place of epochs that see every patch once.

    Raises:
        LabelError: there is no patch, or fewer than two classes.
    """

    def __init__(self, patches: Patches, *, seed: int, augment: tuple[str, ...] = (), resample: bool = False) -> None:
        present = [name for name, n in patches.counts().items() if n]
        if len(present) < 2:
            raise LabelError(
                f"The {len(patches)} training patches are of {len(present)} class{'es' if not present else ''} "
                f"({', '.join(present) or 'none'}); two or more are needed. Add labels, or split in another way."
            )
        self.patches, self.seed, self.augment, self.resample = patches, seed, augment, resample
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, int))

    @property
    def n_samples(self) -> int:
        """Patches of an epoch."""
        return len(self.patches)

    def places(self, step: int, size: int) -> np.ndarray:
        """Positions of the patches of a step."""
        if self.resample:
            rng = np.random.default_rng([self.seed, 1, step])
            codes = np.unique(self.patches.label)
            members = [np.flatnonzero(self.patches.label == code) for code in codes]
            drawn = rng.integers(codes.size, size=size)
            return np.array([members[c][rng.integers(members[c].size)] for c in drawn])
        at = np.arange(step * size, (step + 1) * size)
        return np.array(
            [self._permutation(int(e))[i] for e, i in zip(at // len(self.patches), at % len(self.patches), strict=True)]
        )

    def _permutation(self, epoch: int) -> np.ndarray:
        order = self._order  # once: batches are made by several threads
        if order[0] != epoch:
            self._order = order = epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.patches))
        return order[1]

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 (batch, channel, height, width) and labels uint8 (batch,) of a step."""
        which = self.places(step, size)
        images = self.patches.image[which].astype(np.float32)
        rng = np.random.default_rng([self.seed, 2, step])
        return augment(images, self.patches.channels, self.augment, rng), self.patches.label[which]

    def scene_images(self) -> Iterator[np.ndarray]:
        """Patches of each scene, at most 200, float32 (channel, patch, height, width)."""
        for name in self.patches.names:
            mine = np.flatnonzero(self.patches.scene == name)
            some = mine[:: -(-mine.size // _OF_A_SCENE)]
            yield self.patches.image[some].astype(np.float32).swapaxes(0, 1)

    def class_frequency(self, n_classes: int) -> np.ndarray:
        """Share of each class among the patches as they are drawn."""
        counts = np.bincount(self.patches.label, minlength=n_classes)[:n_classes].astype(float)
        if self.resample:
            counts = (counts > 0).astype(float)
        share: np.ndarray = counts / counts.sum()
        return share
