"""Sets of imagettes as a network learns from them and is judged by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from frazil.conventions import ClassScheme
from frazil.errors import LabelError
from frazil.labels.imagettes import check_imagettes, join_imagettes, open_imagettes
from frazil.labels.imagettes_without import in_classes
from frazil.labels.sample_set import UNKNOWN
from frazil.learn.config import ImagetteData, PhenomenaConfig
from frazil.learn.data.learning_data import LearningData
from frazil.learn.models.output import activated, output_of
from frazil.learn.models.patch import takes_patches
from frazil.mask_counts import MaskCounts
from frazil.scene.scaling import CHANNELS

_CALIBRATE_ON = 5_000_000  # cells, of all classes, that decide about the temperature
_HALF_IMAGETTE_DEG = 0.75  # an imagette's angle is that of its centre


class ImagetteSampler:
    """Batches of imagettes; an epoch goes through all once. A batch is a function of seed and step.

    Args:
        image: float16 (n, height, width); NaN becomes 0.
        label: uint8 (n, class) or (n, class, rows, columns).
        seed: of the run.
        augment: turn by quarters and mirror, masks with images.
    """

    def __init__(self, image: np.ndarray, label: np.ndarray, *, seed: int, augment: bool) -> None:
        self.image, self.label, self.seed, self.augment = image, label, seed, augment
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, int))

    @property
    def n_samples(self) -> int:
        """Images of an epoch."""
        return len(self.image)

    def _permutation(self, epoch: int) -> np.ndarray:
        order = self._order  # once: batches are made by several threads
        if order[0] != epoch:
            self._order = order = epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.image))
        return order[1]

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 (batch, 1, height, width) and their labels."""
        at = np.arange(step * size, (step + 1) * size)
        n = len(self.image)
        which = [self._permutation(int(e))[i] for e, i in zip(at // n, at % n, strict=True)]
        images = np.nan_to_num(self.image[which].astype(np.float32))[:, None]
        labels = self.label[which]
        if not self.augment:
            return images, labels
        ways = np.random.default_rng([self.seed, 2, step]).integers(8, size=size)
        turned = [turn(image, way) for image, way in zip(images, ways, strict=True)]
        if labels.ndim == 4:
            labels = np.stack([turn(label, way) for label, way in zip(labels, ways, strict=True)])
        return np.ascontiguousarray(np.stack(turned)), np.ascontiguousarray(labels)

    def scene_images(self) -> Iterator[np.ndarray]:
        """Each imagette, float32 (1, line, pixel)."""
        for image in self.image:
            yield np.nan_to_num(image.astype(np.float32))[None]

    def class_frequency(self, n_classes: int) -> np.ndarray:
        """Share of the cells, or of the images, on which each class is there."""
        return np.asarray((self.label.reshape(len(self.label), n_classes, -1) == 1).mean((0, 2)))


def turn(image: np.ndarray, way: int) -> np.ndarray:
    """One of the eight ways to turn and mirror the last two axes, which must be equally long."""
    turned = np.rot90(image, way % 4, (-2, -1))
    return turned[..., ::-1] if way >= 4 else turned


@dataclass(frozen=True, eq=False)
class HeldOutImagettes:
    """A set of imagettes that a network is scored on, see `frazil.learn.data.learning_data.HeldOut`."""

    imagettes: xr.Dataset
    scheme: ClassScheme
    unit: ClassVar[str] = "images"

    @property
    def n_scored(self) -> int:
        """How many images it holds."""
        return int(self.imagettes.sizes["imagette"])

    def score(self, network: nn.Module, *, temperature: float = 1.0, device: str | None = None) -> MaskScores:
        """See `scored`."""
        return MaskScores(scored(network, self.imagettes, self.scheme, device or "cpu", temperature))

    def temperature(self, network: nn.Module, device: str | None = None) -> float:
        """Of least binary cross-entropy on the cells of drawn masks; 1 without any, and of networks that name images.

        What names images keeps the scores that its methods (MASK, PART, CAM) are published with.
        """
        return fit_mask_temperature(network, self.imagettes, device or "cpu")


@dataclass(frozen=True, eq=False)
class MaskScores:
    """What `scored` found."""

    found: dict[str, Any]

    def figures(self) -> dict[str, float]:
        """See `frazil.learn.data.learning_data.Scores`."""
        return {k: float(v) for k, v in self.found.items() if isinstance(v, int | float) and k != "images"}

    def to_json(self) -> dict[str, object]:
        """All of it, four digits."""
        return {k: rounded(v) for k, v in self.found.items()}


def _described(ds: xr.Dataset, scheme: ClassScheme) -> dict[str, object]:
    category = ds["category"].values
    return {
        "images": ds.sizes["imagette"],
        "categories": {name: int((category == code).sum()) for code, name in enumerate(scheme.names)},
        "with_masks": int(masked(ds).sum()),
        "sources": sorted({str(ds.attrs.get("source", ""))}),
    }


def load_imagettes(config: ImagetteData, strategy: PhenomenaConfig, seed: int) -> LearningData:
    """The sets of a run, cut and drawn as its settings say.

    Args:
        config: see `ImagetteData`.
        strategy: says what is learnt: masks, and then images without any are left out, or what images are called.
        seed: of the run.

    Raises:
        LabelError: no set to learn from, sets that do not fit together, or no image with masks.
        OptionError: classes to leave out that are none, or all.
    """
    if not config.train:
        raise LabelError("No set of imagettes to learn from. Pass --set data.train=SET.zarr (see `frazil imagettes`).")
    read = {
        side: join_imagettes([open_imagettes(p) for p in paths])
        for side, paths in (("train", config.train), ("validation", config.validation), ("test", config.test))
        if paths
    }
    scheme = check_imagettes(read["train"]).without(config.without)
    join_imagettes([ds.isel(imagette=[0]) for ds in read.values()])  # all sides alike
    _refuse_shared({side: ds["group"].values for side, ds in read.items()})
    read = {side: in_classes(ds, scheme) for side, ds in read.items()}
    if config.size is not None:
        read = {side: crop(ds, config.size) for side, ds in read.items()}
    train = read["train"]
    labels = strategy.labels  # None: masks are learnt
    if labels is None:
        train = train.isel(imagette=np.flatnonzero(masked(train)))
        if not train.sizes["imagette"]:
            raise LabelError("The training sets hold no masks, from which this network learns.")
    if config.annotated is not None:
        train = train.isel(imagette=drawn(train["category"].values, config.annotated, config.draw_seed))
    read["train"] = train
    label = train["mask"].values if labels is None else image_labels(train, scheme, labels)
    angle = train["incidence_angle"].values
    known = angle[np.isfinite(angle)]
    low, high = (0.0, 90.0) if not known.size else (known.min() - _HALF_IMAGETTE_DEG, known.max() + _HALF_IMAGETTE_DEG)
    held_out = {side: HeldOutImagettes(read[side], scheme) for side in ("validation", "test") if side in read}
    return LearningData(
        train=ImagetteSampler(train["image"].values, label, seed=seed, augment=config.augment),
        validation=held_out.get("validation"),
        test=held_out.get("test"),
        channels=(CHANNELS["roughness_vv"],),
        scheme=scheme,
        spacing_m=float(train.attrs["spacing_m"]),
        denoise="esa",
        incidence_range=(round(float(low), 2), round(float(high), 2)),
        description={
            "split": "set",
            "leaks": False,
            "scaling": train.attrs["scaling"],
            "cell": int(train.attrs["cell"]),
            "size": train.sizes["line"],
            **{side: _described(ds, scheme) for side, ds in read.items()},
            "learnt_groups": sorted(set(train["group"].values.tolist())),
        },
        scored_on="{n} {side} imagettes of other sets",
        statement=_statement(train),
        cell=int(train.attrs["cell"]) if labels is None else 0,
        unnamed=int((train["category"].values == UNKNOWN).sum()) if labels == "category" else 0,
    )


def _statement(train: xr.Dataset) -> str:
    """What users of the maps must know of the images that the network has learnt from."""
    simulated = str(train.attrs.get("source", "")).startswith("simulated")
    return "The model was trained on simulated images; it has seen no real ones." if simulated else ""


def refuse_shared(sides: dict[str, tuple[str, ...]]) -> None:
    """Raise LabelError where a group of images stands in the sets of two sides."""
    _refuse_shared(
        {side: np.concatenate([open_imagettes(p)["group"].values for p in paths]) for side, paths in sides.items()}
    )


def _refuse_shared(groups: dict[str, np.ndarray]) -> None:
    for one, other in combinations(groups, 2):
        both = set(groups[one].tolist()) & set(groups[other].tolist())
        if both:
            raise LabelError(f"Group {min(both)!r} stands in {one} and {other}: scores would be too good.")


def drawn(category: np.ndarray, each: int, seed: int) -> np.ndarray:
    """Places of at most so many images of each category, ascending; those of fewer are among those of more."""
    kept = []
    for code in np.unique(category):
        order = np.random.default_rng([seed, 31, int(code)]).permutation(np.flatnonzero(category == code))
        kept.append(order[:each])
    return np.sort(np.concatenate(kept))


def masked(ds: xr.Dataset) -> np.ndarray:
    """Which images have masks, bool (imagette)."""
    if "mask" not in ds:
        return np.zeros(ds.sizes["imagette"], bool)
    known: np.ndarray = (ds["mask"].values != UNKNOWN).all(axis=(1, 2, 3))
    return known


def crop(ds: xr.Dataset, size: int) -> xr.Dataset:
    """The centre of every image and mask.

    Raises:
        LabelError: a size above that of the images, or no multiple of the mask's cells.
    """
    n, cell = ds.sizes["line"], int(ds.attrs["cell"])
    if size > n or size % cell or (n - size) // 2 % cell:
        raise LabelError(f"size {size} cannot be cut from images of {n} pixels with mask cells of {cell}.")
    first = (n - size) // 2
    out = ds.isel(line=slice(first, first + size), pixel=slice(first, first + size))
    if "mask" in ds:
        cells = slice(first // cell, (first + size) // cell)
        out = out.isel(mask_line=cells, mask_pixel=cells)
    return out


def mirrored(ds: xr.Dataset, side: int) -> xr.Dataset:
    """Images of at least so many pixels a side, without masks: what is missing is mirrored at the rim."""
    missing = side - ds.sizes["line"]
    if missing <= 0:
        return ds
    pad = (missing // 2, missing - missing // 2)
    image = np.pad(ds["image"].values, ((0, 0), pad, pad), mode="symmetric")
    return ds.drop_vars(["image", "mask"], errors="ignore").assign(image=(ds["image"].dims, image))


def image_labels(ds: xr.Dataset, scheme: ClassScheme, labels: str) -> np.ndarray:
    """Labels of whole images, uint8 (n, class): 1, 0, 255 unknown. With ``"category"`` one is there, or none."""
    if labels == "present":
        return np.asarray(ds["present"].values)
    return np.asarray(ds["category"].values[:, None] == np.arange(len(scheme.classes))[None], np.uint8)


@torch.inference_mode()
def _batches(network: nn.Module, ds: xr.Dataset, device: str, batch: int = 16) -> Iterator[tuple[int, Tensor]]:
    """Number of the first image and logits (image, class, …) of some images after the other."""
    images = ds["image"].values
    for start in range(0, len(images), batch):
        part = torch.from_numpy(np.nan_to_num(images[start : start + batch].astype(np.float32)))[:, None]
        yield start, network(part.to(device).contiguous(memory_format=torch.channels_last)).float()


def outputs(
    network: nn.Module, ds: xr.Dataset, device: str = "cpu", batch: int = 16, temperature: float = 1.0
) -> Iterator[tuple[int, np.ndarray]]:
    """Number and scores of every image: (class) of an image classifier, else (class, rows, columns)."""
    for start, logits in _batches(network, ds, device, batch):
        for i, score in enumerate(activated(logits / temperature, output_of(network)).cpu().numpy()):
            yield start + i, score


def fit_mask_temperature(network: nn.Module, ds: xr.Dataset, device: str = "cpu") -> float:
    """The temperature by which logits are divided for the least binary cross-entropy on drawn masks.

    Args:
        network: of a logit a class and cell, each for itself (sigmoid); of any other the answer is 1.
        ds: imagettes; those without masks do not count, and without any the answer is 1.
        device: ``"cpu"`` or ``"cuda"``.
    """
    known = masked(ds)
    if takes_patches(network) or output_of(network) != "sigmoid" or not known.any():
        return 1.0
    side = ds.sizes["line"] // int(ds.attrs["cell"])
    most = max(_CALIBRATE_ON // (ds.sizes["class"] * side**2), 1)  # images, spread over the set
    which = np.flatnonzero(known)
    drawn_on = ds.isel(imagette=which[:: -(-which.size // most)])
    found = [on_side(one, side) for _, part in _batches(network, drawn_on, device) for one in part.cpu().numpy()]
    z, there = np.stack(found).astype(np.float64), drawn_on["mask"].values == 1

    def loss(log_t: float) -> float:
        scaled = z / np.exp(log_t)
        return float(np.mean(np.logaddexp(0.0, scaled) - scaled * there))

    return float(np.exp(minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded").x))


def scored(
    network: nn.Module, ds: xr.Dataset, scheme: ClassScheme, device: str = "cpu", temperature: float = 1.0
) -> dict[str, Any]:
    """Scores of a network on a set: of masks (see `MaskCounts`), and how often the category is right.

    ``presence_accuracy``: how often a class that is known to be there, or not, is scored 0.5 or more anywhere, or not.
    ``macro_f1`` is the mean set Dice, or of a categoriser the mean F1 over categories.
    """
    known = masked(ds)
    n = len(scheme.classes)
    scores = MaskCounts(n)
    confusion = np.zeros((n, n), int)
    categories = ds["category"].values
    side = ds.sizes["line"] // int(ds.attrs["cell"])
    dense, right = False, []
    present = ds["present"].values
    for i, score in outputs(network, ds, device, temperature=temperature):
        dense = score.ndim == 3
        flat = score.reshape(n, -1).mean(1) if dense else score
        told = present[i] != UNKNOWN
        right += ((score.reshape(n, -1).max(1) >= 0.5) == present[i])[told].tolist()
        category = int(categories[i])
        if category != UNKNOWN:
            confusion[category, int(flat.argmax())] += 1
        if dense:
            mask = ds["mask"].values[i] == 1 if known[i] else None
            scores.add(on_side(score, side), mask, None if category == UNKNOWN else category)
    hits, said, there = np.diag(confusion), confusion.sum(0), confusion.sum(1)
    f1 = np.divide(2 * hits, said + there, out=np.full(n, np.nan), where=said + there > 0)
    out: dict[str, Any] = {
        "accuracy": float(hits.sum() / max(there.sum(), 1)),
        "f1_by_category": f1.tolist(),
        "confusion": confusion.tolist(),
        "presence_accuracy": float(np.mean(right)) if right else float("nan"),
    }
    if dense:
        out |= {k: v for k, v in scores.result().items() if k not in ("accuracy", "images")}
    out["macro_f1"] = out["mean_set_dice"] if dense else float(np.nanmean(f1)) if np.isfinite(f1).any() else 0.0
    return {**out, "classes": list(scheme.names), "images": ds.sizes["imagette"]}


def rounded(value: Any) -> Any:
    """Scores for JSON: four digits, None for NaN."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, float):
        return None if value != value else round(value, 4)
    return value


def on_side(score: np.ndarray, side: int) -> np.ndarray:
    """Scores (class, rows, columns) on `side` × `side` cells over the same area, of the nearest one."""
    if score.shape[1:] == (side, side):
        return score
    at = [((np.arange(side) + 0.5) * n / side).astype(int) for n in score.shape[1:]]
    return score[:, at[0]][:, :, at[1]]
