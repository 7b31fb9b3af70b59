"""Which training patches keep their labels, and which become the unlabelled pool.

A draw is the beginning of a fixed order of all labelled training patches. The order depends on the seed and on the
patches, not on how many are drawn: 15 labels are among the 30 of the same seed.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from frazil.errors import LabelError
from frazil.learn.config import LabelsConfig
from frazil.learn.data.patches import Patches, read_patches

_NO_POLYGON = -1


def drawing_order(patches: Patches, config: LabelsConfig, polygon: np.ndarray | None = None) -> np.ndarray:
    """Positions of all patches that may keep their label, those first that are drawn first.

    Args:
        patches: all with a label. Patches without any signal are never drawn.
        config: by what, and the seed.
        polygon: (patch,) rows in the label file, for draws by polygon.

    Raises:
        LabelError: polygons are asked for, and not known.
    """
    rng = np.random.default_rng([config.seed, 17])
    places = np.flatnonzero(~empty(patches))
    places = places[rng.permutation(places.size)]
    group: np.ndarray = np.zeros(places.size, int)
    if config.by == "polygon":
        if polygon is None or not (polygon[places] != _NO_POLYGON).any():
            raise LabelError("The patch set does not say of which polygons it is. Use labels.by=class or scene.")
        _, row = np.unique(polygon[places], return_inverse=True)
        _, scene = np.unique(patches.scene[places], return_inverse=True)
        group = scene * (int(row.max()) + 1) + row
    elif config.by == "scene":
        _, group = np.unique(patches.scene[places], return_inverse=True)
    # Groups come in a random order, each whole; within one the classes take turns, in a random order that stays.
    names, group = np.unique(group, return_inverse=True)
    group = rng.permutation(names.size)[group]
    turn = _rank(group * 256 + patches.label[places])
    codes = rng.permutation(256)[patches.label[places]]
    order: np.ndarray = places[np.lexsort((codes, turn, group))]
    return order


def _rank(key: np.ndarray) -> np.ndarray:
    """How many equal keys stand before each."""
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=key[order][:1] - 1))
    rank = np.empty(key.size, int)
    rank[order] = np.arange(key.size) - np.repeat(starts, np.diff([*starts, key.size]))
    return rank


def empty(patches: Patches) -> np.ndarray:
    """Patches without any signal, bool (patch,): every channel constant over the patch, as no-data and masked land are.

    (A radar image always has speckle; a constant incidence angle alone makes no patch empty.)
    """
    if not len(patches):
        return np.zeros(0, bool)
    blank: np.ndarray = (patches.image == patches.image[:, :, :1, :1]).all(axis=(1, 2, 3))
    return blank


class Draw(TypedDict, total=False):
    """What is to be said of a draw of labels; nothing where all are kept."""

    drawn: dict[str, int]
    of: int
    by: str
    seed: int
    notes: list[str]


def choose_labels(
    train: Patches, config: LabelsConfig, polygon: np.ndarray | None = None, *, allow_missing: bool = False
) -> tuple[np.ndarray, Draw]:
    """Positions of the training patches that keep their labels, ascending, and what is to be said of them.

    Args:
        train: all with a label.
        config: how many, by what, and the seed.
        polygon: (patch,) rows in the label file.
        allow_missing: accept a draw without labels of some class.

    Raises:
        LabelError: there are not so many labels, of a class or in all, or none of a class that the training patches
            have.
    """
    if not config.few:
        return np.arange(len(train)), {}
    order = drawing_order(train, config, polygon)
    if config.per_class is not None:
        chosen = _of_each_class(train, order, config.per_class)
        return chosen, _said(train, chosen, config, [])
    assert config.count is not None
    if config.count > order.size:
        raise LabelError(f"labels.count is {config.count}, but {order.size} training patches have a label and signal.")
    chosen = np.sort(order[: config.count])
    drawn = train.take(chosen)
    there, got = train.counts(), drawn.counts()
    missing = [name for name, n in there.items() if n and not got[name]]
    how = f"The {config.count} label{'s' if config.count > 1 else ''} drawn by {config.by} (seed {config.seed})"
    if missing and (not allow_missing or sum(n > 0 for n in got.values()) < 2):
        raise LabelError(
            f"{how} hold none of {missing[0]!r}. Raise labels.count, set labels.by=class or another labels.seed"
            + (", or accept it with data.allow_missing=true." if sum(n > 0 for n in got.values()) > 1 else ".")
        )
    notes = []
    if missing:
        notes.append(f"{how} hold none of {', '.join(missing)}.")
    if len(drawn.names) == 1:
        notes.append(f"{how} are all of one scene, {drawn.names[0]}.")
    return chosen, _said(train, chosen, config, notes)


def _of_each_class(train: Patches, order: np.ndarray, n: int) -> np.ndarray:
    """The first n patches of each class in an order, ascending."""
    label = train.label[order]
    there, usable = train.counts(), np.bincount(label, minlength=256)
    for code, (name, known) in enumerate(there.items()):
        if known and usable[code] < n:
            raise LabelError(
                f"labels.per_class is {n}, but {usable[code]} training patches of {name!r} have a label and signal. "
                "Lower it, or set labels.count."
            )
    return np.sort(order[_rank(label.astype(int)) < n])


def _said(train: Patches, chosen: np.ndarray, config: LabelsConfig, notes: list[str]) -> Draw:
    got = train.take(chosen).counts()
    return {"drawn": got, "of": len(train), "by": config.by, "seed": config.seed, "notes": notes}


def unlabelled_pool(
    parts: list[Patches], stores: tuple[str, ...], like: Patches, size: int | None, held_out: set[str]
) -> tuple[Patches, dict[str, object]]:
    """All patches to learn from without a label, and what is to be said of them.

    Their `label` is the hidden truth, where there is one: for logs, never for learning.

    Args:
        parts: patches of the training scenes.
        stores: further patch sets.
        like: the labelled patches, whose channels, size and classes the sets must have.
        size: as `PatchData.size`.
        held_out: scenes that judge; their patches are left out.

    Raises:
        LabelError: a set of other channels or size, or nothing to learn from.
    """
    for store in stores:
        more, _ = read_patches((store,), channels=like.channels, scheme=like.scheme.name)
        more = more if size is None else more.centre(size)
        if more.image.shape[2:] != like.image.shape[2:]:
            raise LabelError(
                f"Unlabelled patches of {store} have {more.image.shape[-1]} pixels, the labelled ones "
                f"{like.image.shape[-1]}. Set data.size, or cut them alike."
            )
        for name in ("spacing_m", "boxcar", "denoise"):
            one, other = more.conditions.get(name), like.conditions.get(name)
            if None not in (one, other) and one != other:
                raise LabelError(
                    f"Unlabelled patches of {store} have {name} {one}, the labelled ones {other}. Cut them alike."
                )
        parts = [*parts, more]
    pool = _joined([part for part in parts if len(part)] or parts[:1], like)
    judged, blank = np.isin(pool.scene, list(held_out)), empty(pool)
    pool = pool.take(np.flatnonzero(~judged & ~blank))
    if not len(pool):
        raise LabelError(
            "There are no unlabelled patches to learn from: all of the training scenes keep their labels. Set "
            "labels.count, or name sets in data.unlabelled."
        )
    counts = pool.counts()
    left_out = {"of held-out scenes": int(judged.sum()), "without signal": int((blank & ~judged).sum())}
    return pool, {
        **pool.describe(),
        "patches": {**counts, "unknown": len(pool) - sum(counts.values())},
        "left_out": left_out,
    }


def _joined(parts: list[Patches], like: Patches) -> Patches:
    if len(parts) == 1:
        return parts[0]
    image, label, scene, index = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("image", "label", "scene", "index")
    )
    return Patches(image, label, scene, index, like.channels, like.scheme, like.conditions)
