"""Which scenes a network learns from and which judge it.

Patches of one scene share its wind, its noise and its ice, and neighbours overlap; so a split goes by whole scenes, or
by whole regions or seasons of scenes. A split by patch exists for repeating studies that used one; it is marked as
leaking wherever it goes.

References:
    Khaleghian (2022), paper 1: 80/20 by patch; 99.9 % there against about 92 % in another region (paper 2).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from frazil.conventions import ClassScheme
from frazil.errors import LabelError, LabelNotFoundError, OptionError
from frazil.files import whole_output
from frazil.labels.patch_set import check_patches
from frazil.seeds import check_seed
from frazil.untrusted import read_json

if TYPE_CHECKING:
    import xarray as xr

By = Literal["scene", "region", "season", "patch"]
SIDES = ("train", "validation", "test")
_DRAWS = 500  # assignments tried; the one with the most even classes is taken
_EARTH_KM = 6371.0


@dataclass(frozen=True, kw_only=True)
class Split:
    """A division of scenes; small enough to be checked in.

    Attributes:
        by: ``"scene"``, ``"region"``, ``"season"`` or ``"patch"``.
        train, validation, test: product names; where ``by`` is ``"patch"``, all names stand in ``train``, since every
            scene is on every side.
        seed: of the draw.
        shares: of validation and test, as asked for.
        groups: scene -> region or season, where the split is by one.
        leaks: True only for a split by patch.
    """

    by: By
    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    seed: int = 0
    shares: tuple[float, float] = (0.0, 0.0)
    groups: tuple[tuple[str, str], ...] = ()
    leaks: bool = False

    def __post_init__(self) -> None:
        if self.by not in get_args(By):
            raise OptionError(f"by {self.by!r} is not one of {list(get_args(By))}.")
        if self.leaks != (self.by == "patch"):
            raise OptionError(f"leaks must be {self.by == 'patch'} for a split by {self.by}.")
        listed = [name for side in SIDES for name in getattr(self, side)]
        strange = [name for name in listed if not isinstance(name, str)]
        if strange:
            raise OptionError(f"{strange[0]!r} is no scene of a split; expected the name of a product.")
        if type(self.seed) is not int or self.seed < 0:
            raise OptionError(f"seed {self.seed!r} is not a whole number from 0 up.")
        if len(self.shares) != 2 or not (min(self.shares) >= 0 and sum(self.shares) < 1):
            raise OptionError(f"shares {self.shares} of validation and test must lie between 0 and 1, and their sum.")
        twice = sorted({name for name in listed if listed.count(name) > 1})
        if twice:
            raise OptionError(f"Scene {twice[0]} stands on two sides of the split. Keep it on one.")

    def side_of(self, patches: xr.Dataset) -> np.ndarray:
        """The side of each patch: 0 train, 1 validation, 2 test, int8.

        Raises:
            LabelError: the set holds a scene that the split does not know.
        """
        scenes = patches["scene"].values
        names, index = np.unique(scenes, return_inverse=True)
        sides = {name: i for i, side in enumerate(SIDES) for name in getattr(self, side)}
        strange = [str(n) for n in names if str(n) not in sides]
        if strange:
            raise LabelError(
                f"Scene {strange[0]} is not in the split, which knows {len(sides)} scenes. Split the set anew."
            )
        if self.by == "patch":
            return _by_patch(scenes.size, self.shares, self.seed)
        return np.array([sides[str(n)] for n in names], np.int8)[index]

    def select(self, patches: xr.Dataset, side: str) -> xr.Dataset:
        """The patches of one side: ``"train"``, ``"validation"`` or ``"test"``."""
        if side not in SIDES:
            raise OptionError(f"side {side!r} is not one of {list(SIDES)}.")
        return patches.isel(patch=np.flatnonzero(self.side_of(patches) == SIDES.index(side)))

    def counts(self, patches: xr.Dataset) -> dict[str, dict[str, int]]:
        """Patches of each class on each side: side -> class name -> number."""
        scheme, side, label = check_patches(patches), self.side_of(patches), patches["label"].values
        return {
            name: {c.name: int(((side == i) & (label == c.code)).sum()) for c in scheme.classes}
            for i, name in enumerate(SIDES)
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the split as JSON; it appears whole or not at all."""
        with whole_output(path, overwrite=overwrite) as part:
            part.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Split:
        """A split from its JSON file.

        Raises:
            LabelNotFoundError, LabelError: no file; not a split.
        """
        file = Path(path)
        if not file.is_file():
            raise LabelNotFoundError(f"No split at {file}. Make one with split_patches(...).save(...).")
        try:
            values = read_json(file)
            known = {f.name for f in fields(cls)}
            if isinstance(values, dict):
                values.pop("written_by", None)
            if not isinstance(values, dict) or not {"by", "train"} <= set(values) <= known:
                raise LabelError(f"{file} is not a split: it should hold the keys {sorted(known)}.")
            for side in SIDES:
                values[side] = tuple(values.get(side, ()))
            values["shares"] = tuple(float(v) for v in values.get("shares", (0, 0)))
            values["groups"] = tuple((str(a), str(b)) for a, b in values.get("groups", ()))
            return cls(**values)
        except (OSError, TypeError, ValueError) as error:
            if isinstance(error, (LabelError, OptionError)):
                raise
            raise LabelError(f"{file} is not a split ({error}). Make it anew.") from error


def split_patches(
    patches: xr.Dataset,
    *,
    by: By = "scene",
    test: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
    groups: Mapping[str, str] | None = None,
    region_km: float = 200.0,
    allow_missing: bool = False,
) -> Split:
    """A split of a patch set in which the sides have classes in proportions as like as the scenes allow.

    Args:
        patches: a patch set.
        by: ``"scene"``; ``"region"``: scenes with patches nearer than ``region_km`` to each other stay together;
            ``"season"``: scenes of DJF, MAM, JJA and SON stay together; ``"patch"``: leaks, only for repeating studies.
        test: share of the patches for the test side, 0 to below 1.
        validation: likewise.
        seed: equal seeds give equal splits.
        groups: scene -> name of its region or season, in place of what the patches say.
        region_km: see ``by``.
        allow_missing: a class that is missing on one side is an error, unless this is set.

    Raises:
        LabelError: too few scenes (or regions, seasons) for the sides; a class is missing on a side; patches without
            place or time where they are needed.
        OptionError: impossible shares.
    """
    scheme = check_patches(patches)
    if by not in get_args(By):
        raise OptionError(f"by {by!r} is not one of {list(get_args(By))}.")
    if min(test, validation) < 0 or test + validation >= 1 or test + validation == 0:
        raise OptionError(f"test and validation must be shares with a sum between 0 and 1; got {test}, {validation}.")
    names, index = np.unique(patches["scene"].values, return_inverse=True)
    scenes = [str(n) for n in names]
    shares = (float(validation), float(test))
    if by == "patch":
        split = Split(by=by, train=tuple(scenes), seed=seed, shares=shares, leaks=True)
    else:
        group = _groups(patches, scenes, index, by, groups, region_km)
        wanted = [0, *(i for i, share in ((1, validation), (2, test)) if share > 0)]
        _refuse_few(sorted(set(group)), len(wanted), by, len(scenes), region_km)
        side = _assign(patches, scheme, index, group, shares, wanted, seed, strict=not allow_missing)
        train, of_validation, of_test = (
            tuple(s for s, k in zip(scenes, side, strict=True) if k == i) for i in range(len(SIDES))
        )
        named = by != "scene" or groups is not None
        split = Split(
            by=by,
            train=train,
            validation=of_validation,
            test=of_test,
            seed=seed,
            shares=shares,
            groups=tuple(zip(scenes, group, strict=True)) if named else (),
        )
    if not allow_missing:
        _refuse_missing(split.counts(patches), shares, by)
    return split


def _groups(
    patches: xr.Dataset, scenes: list[str], index: np.ndarray, by: By, given: Mapping[str, str] | None, region_km: float
) -> list[str]:
    """The name of the group that each scene must stay with."""
    if given is not None:
        lacking = [s for s in scenes if s not in given]
        if lacking:
            raise OptionError(f"groups says nothing about scene {lacking[0]}. Name the {by} of every scene.")
        return [str(given[s]) for s in scenes]
    if by == "season":
        season = patches["season"].values
        out = []
        for i, scene in enumerate(scenes):
            found = sorted(set(season[index == i].tolist()))
            if "unknown" in found:
                raise LabelError(f"Patches of scene {scene} have no time. Pass groups={{scene: season}}.")
            out.append(found[0])
        return out
    if by == "region":
        return _regions(patches, scenes, index, region_km)
    return scenes


def _regions(patches: xr.Dataset, scenes: list[str], index: np.ndarray, region_km: float) -> list[str]:
    """Scenes with patches nearer than a distance, joined in chains; named by their mean place."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if not region_km > 0:
        raise OptionError(f"region_km must be positive; got {region_km}.")
    lon, lat = np.radians(patches["longitude"].values), np.radians(patches["latitude"].values)
    places = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    unplaced = ~np.isfinite(places).all(axis=1)
    if unplaced.any():
        raise LabelError(
            f"Patches of scene {scenes[index[unplaced][0]]} have no longitude and latitude. "
            "Pass groups={scene: region}."
        )
    trees = [cKDTree(places[index == i]) for i in range(len(scenes))]
    chord = 2 * np.sin(min(region_km / _EARTH_KM / 2, np.pi / 2))
    near = [
        (i, j)
        for i in range(len(scenes))
        for j in range(i)
        if np.isfinite(trees[i].query(trees[j].data, distance_upper_bound=chord)[0]).any()
    ]
    pairs = np.array(near, int).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(scenes), len(scenes)))
    _, member = connected_components(graph, directed=False)
    out: dict[int, str] = {}
    for region in np.unique(member):
        x, y, z = places[member[index] == region].mean(axis=0)
        latitude, longitude = np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))
        place = (
            f"{abs(latitude):.1f}{'N' if latitude >= 0 else 'S'} {abs(longitude):.1f}{'E' if longitude >= 0 else 'W'}"
        )
        out[int(region)] = place if place not in out.values() else f"{place} ({region})"
    return [out[int(m)] for m in member]


def _refuse_few(groups: list[str], sides: int, by: By, n_scenes: int, region_km: float) -> None:
    if len(groups) >= sides:
        return
    if n_scenes == 1:
        raise LabelError(
            "All patches are of one scene, so no split can say how well a model does on another. Add scenes of other "
            "days (by='patch' would leak: it tests on neighbours of what was learnt)."
        )
    what = f"{len(groups)} {by}{'s' if len(groups) > 1 else ''} ({', '.join(groups[:4])})"
    hint = {"scene": "Add scenes", "season": "Add scenes of another season, or split by scene"}.get(
        by, f"Add scenes elsewhere, make region_km smaller than {region_km:g}, or split by scene"
    )
    raise LabelError(f"{n_scenes} scenes lie in {what}; {sides} sides need at least {sides}. {hint}.")


def _assign(
    patches: xr.Dataset,
    scheme: ClassScheme,
    index: np.ndarray,
    group: list[str],
    shares: tuple[float, float],
    wanted: list[int],
    seed: int,
    *,
    strict: bool,
) -> list[int]:
    """The side of each scene: of many draws, the one whose classes are nearest to the shares."""
    names, of_scene = np.unique(group, return_inverse=True)
    label = patches["label"].values
    count = np.zeros((names.size, len(scheme.classes)))
    for c in scheme.classes:
        count[:, c.code] = np.bincount(of_scene[index[label == c.code]], minlength=names.size)
    count = count[:, count.sum(axis=0) > 0]
    if not count.size:  # nothing is labelled: every scene counts alike
        count = np.ones((names.size, 1))
    share = np.array([1 - sum(shares), *shares])
    rng = np.random.default_rng(check_seed(seed))
    best, best_cost = None, np.inf
    for _ in range(_DRAWS):
        side = rng.choice(wanted, names.size, p=share[wanted] / share[wanted].sum())
        side[rng.permutation(names.size)[: len(wanted)]] = wanted  # no side stays empty
        got = np.stack([count[side == i].sum(axis=0) for i in range(3)])
        fraction = got / count.sum(axis=0)
        cost = float(((fraction - share[:, None]) ** 2).sum())
        if strict:
            cost += 1000.0 * float((got[wanted] == 0).sum())
        if cost < best_cost:
            best, best_cost = side, cost
    assert best is not None
    return [int(k) for k in best[of_scene]]


def _refuse_missing(counts: dict[str, dict[str, int]], shares: tuple[float, float], by: By) -> None:
    used = ["train", *(side for side, share in zip(SIDES[1:], shares, strict=True) if share > 0)]
    for name in counts["train"]:
        have = [side for side in used if counts[side][name]]
        lack = [side for side in used if side not in have]
        if have and lack:
            raise LabelError(
                f"Class {name} is missing on the {lack[0]} side in every split by {by} that was tried: too few of the "
                f"{by}s hold it. Add scenes with it, drop the class, or accept it with allow_missing=True."
            )


def _by_patch(n: int, shares: tuple[float, float], seed: int) -> np.ndarray:
    order = np.random.default_rng(check_seed(seed)).permutation(n)
    n_validation, n_test = (round(share * n) for share in shares)
    side = np.zeros(n, np.int8)
    side[order[:n_validation]] = 1
    side[order[n_validation : n_validation + n_test]] = 2
    return side


def describe(split: Split, patches: xr.Dataset) -> dict[str, Any]:
    """A split in numbers, for reports: scenes and patches of each class on each side, and whether it leaks."""
    counts = split.counts(patches)
    return {
        "by": split.by,
        "leaks": split.leaks,
        "sides": {side: {"scenes": len(getattr(split, side)), "patches": counts[side]} for side in SIDES},
    }
