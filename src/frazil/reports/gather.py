"""What a run folder tells, as plain numbers and pictures: the torch side of `frazil report`.

Everything is read from the folder, but for the most confident mistakes: these the model makes again, on the patches of
the test side.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from frazil.conventions import SCHEMES, ClassScheme
from frazil.errors import ContractError, LabelError, ModelError, OptionError
from frazil.labels.contact_sheet import patch_pictures
from frazil.labels.datasets.cifar10 import CIFAR10
from frazil.labels.patch_set import join_patches, open_patches
from frazil.learn.checkpoint import CARD, load_model
from frazil.learn.config import PatchData, run_config
from frazil.learn.data.load import split_sides
from frazil.learn.data.patches import Patches
from frazil.learn.infer.softmax import softmax
from frazil.learn.log import read_log
from frazil.learn.run_folder import MODEL, SCORES, STATE, read_run
from frazil.reports.findings import Mistake, Mistakes, PhenomenaFindings, PhenomenaScores, RunFindings, SideScores
from frazil.reports.gather_phenomena import phenomena_findings
from frazil.untrusted import parse_json, read_json

SIDES = ("train", "validation", "test")


_UNITS = {"patches": "patches", "cifar10": "images"}  # what scores count, by the kind of the data


def gather_findings(folder: str | os.PathLike[str], *, worst: int = 24, device: str | None = None) -> RunFindings:
    """What there is to say of a run, finished or not.

    Args:
        folder: of the run.
        worst: how many of the most confident mistakes to show; 0 leaves them out, and needs no data and no network.
        device: ``"cpu"`` or ``"cuda"``, for the mistakes.

    Raises:
        OptionError: no run there, or files in it that are damaged; an impossible number.
    """
    if worst < 0:
        raise OptionError(f"worst is {worst}; it must be 0 or more.")
    place = Path(folder)
    run, log = read_run(place), _numbers(read_log(place))
    of_imagettes = _dict(_dict(run, "config"), "data").get("kind") == "imagettes"
    judged = _scores(place / SCORES, PhenomenaScores if of_imagettes else SideScores)
    sides = {} if of_imagettes else judged
    card = _json(place / MODEL / CARD) if (place / MODEL / CARD).is_file() else {}
    config, data = _dict(run, "config"), _dict(run, "data")
    training = _dict(card, "training")
    scheme = _scheme(card, data, sides)
    finished = (place / SCORES).is_file() and bool(card)
    kept = training.get("kept_step") if finished else _best_step(log)
    common: dict[str, Any] = {
        "folder": str(folder),
        "name": str(config.get("name", place.name)),
        "run": run,
        "log": log,
        "scheme": scheme,
        "finished": finished,
        "steps": _integer(training.get("steps")) or max((int(row["step"]) + 1 for row in log), default=0),
        "planned": _integer(run.get("steps")) or _planned(_dict(config, "optim"), data),
        "kept_step": _integer(kept),
        "stopped_early": bool(training.get("stopped_early", False)),
        "seconds": _seconds(place, training),
        "card": card,
    }
    if of_imagettes:
        found = PhenomenaFindings(**common, unit="images", metocean=judged if finished else {})
        return phenomena_findings(found, place, worst=worst, device=device)
    mistakes, why = (None, "It was asked for none.") if worst == 0 else _mistakes(place, run, sides, worst, device)
    return RunFindings(
        **common,
        unit=_UNITS.get(str(_dict(config, "data").get("kind")), "pixels"),
        sides=sides if finished else {},
        mistakes=mistakes if finished else None,
        no_mistakes=why if finished else "The run has not ended; there is no model yet.",
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} is damaged ({error}). Run `frazil train` again into that folder.") from error
    if not isinstance(values, dict):
        raise OptionError(f"{path} is damaged (it is not a JSON object). Run `frazil train` again into that folder.")
    return values


def _scores(path: Path, kind: type) -> dict[str, Any]:
    """Scores by side, of one kind of run or the other."""
    from pydantic import TypeAdapter, ValidationError

    if not path.is_file():
        return {}
    values = _json(path)
    try:
        return {side: TypeAdapter(kind).validate_python(values[side]) for side in SIDES[1:] if side in values}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OptionError(
            f"{path} holds no scores of a run ({where or 'scores'}: {first['msg']}). Run `frazil train` again."
        ) from error


def _numbers(log: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The lines whose step is a number, and of these the numbers."""
    rows = [{k: float(v) for k, v in row.items() if type(v) in (int, float)} for row in log]
    return [row for row in rows if math.isfinite(row.get("step", math.nan)) and row["step"] >= 0]


def _dict(values: dict[str, Any], key: str) -> dict[str, Any]:
    inner = values.get(key)
    return inner if isinstance(inner, dict) else {}


def _integer(value: Any) -> int | None:
    return int(value) if type(value) in (int, float) and math.isfinite(value) and value > 0 else None


def _scheme(card: dict[str, Any], data: dict[str, Any], sides: dict[str, SideScores]) -> ClassScheme | None:
    """The classes of a run: as its card says, else the scheme whose names it counts."""
    names = next((tuple(s.classes) for s in sides.values()), None)
    for side in SIDES:
        names = names or next((tuple(v) for v in _dict(data, side).values() if isinstance(v, dict)), None)
    known = SCHEMES | {CIFAR10.name: CIFAR10}
    scheme = known.get(str(card.get("class_scheme")))
    if scheme is None:
        scheme = next((s for s in known.values() if s.names == names), None)
    if any(scheme is None or s.classes != scheme.names for s in sides.values()):
        raise OptionError(f"The scores are of the classes {list(names or ())}, which are not those of the model.")
    return scheme


def _best_step(log: list[dict[str, float]]) -> int | None:
    looks = [row for row in log if "validation_macro_f1" in row]
    return int(max(looks, key=lambda row: row["validation_macro_f1"])["step"]) + 1 if looks else None


def _planned(optim: dict[str, Any], data: dict[str, Any]) -> int | None:
    """Steps a run on labels alone was to do, for folders that do not say."""
    if optim.get("epochs") is None:
        return _integer(optim.get("steps"))
    patches = _dict(_dict(data, "train"), "patches")
    if not patches:
        return None
    try:
        return max(round(float(optim["epochs"]) * sum(patches.values()) / float(optim["batch"])), 1)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _seconds(place: Path, training: dict[str, Any]) -> float | None:
    """Spent on training; of an unfinished run until its state was last saved."""
    seconds = training.get("seconds")
    if isinstance(seconds, (int, float)):
        return float(seconds)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(place / STATE, framework="np") as file:
            return float(parse_json(file.metadata()["progress"])["seconds"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def _mistakes(
    place: Path, run: dict[str, Any], sides: dict[str, SideScores], worst: int, device: str | None
) -> tuple[Mistakes | None, str]:
    """The most confident mistakes, or why there are none to show."""
    judged = next((side for side in ("test", "validation") if side in sides), None)
    if judged is None:
        return None, "No patch was held out."
    try:
        config = run_config(run["config"])
    except OptionError as error:
        return None, f"The settings of the run are of another version of frazil: {error}"
    if not isinstance(config.data, PatchData):
        return None, "This run learnt from scenes pixel by pixel, not from patches. Look at its maps."
    try:
        model = load_model(place / MODEL)
        patches = split_sides(config.data)[0][judged]
    except (LabelError, ContractError, ModelError, OptionError, FileNotFoundError) as error:
        return None, f"The patches or the model are not there any more: {error}"
    known = _dict(_dict(run, "data"), judged)
    if {k: known.get(k) for k in ("scenes", "checksum")} != {k: patches.describe()[k] for k in ("scenes", "checksum")}:
        return None, "The patch set has changed since the run."
    probability = softmax(patches.logits(model.network, device) / np.float32(model.card.temperature))
    said = probability.argmax(axis=0)
    wrong = np.flatnonzero(said != patches.label)
    confidence = probability.max(axis=0)
    first = wrong[np.argsort(-confidence[wrong], kind="stable")][:worst]
    pictures, legend, lines, pixels = _look_at(config.data.patches, patches, first)
    return Mistakes(
        side=judged,
        judged=len(patches),
        wrong=int(wrong.size),
        legend=legend,
        worst=tuple(
            Mistake(
                picture=pictures[i], truth=int(patches.label[p]), said=int(said[p]), confidence=float(confidence[p]),
                scene=str(patches.scene[p]), line=float(lines[i]), pixel=float(pixels[i]),
            )
            for i, p in enumerate(first)
        ),
    ), ""  # fmt: skip


def _look_at(
    stores: tuple[str, ...], patches: Patches, which: np.ndarray
) -> tuple[np.ndarray, str, np.ndarray, np.ndarray]:
    """Pictures uint8 (patch, height, width, 3), what they show, and first line and pixel of some patches."""
    wanted = patches.index[which]
    parts, order, before = [], [], 0
    for store in stores:
        opened = open_patches(store)
        mine = np.flatnonzero((wanted >= before) & (wanted < before + opened.sizes["patch"]))
        rows = wanted[mine] - before
        ascending = np.argsort(rows)  # a store is read in its order
        parts.append(opened.isel(patch=rows[ascending]).load())
        order.append(mine[ascending])
        before += opened.sizes["patch"]
    shown = join_patches(parts)
    back = np.argsort(np.concatenate(order))
    pictures, legend = patch_pictures(shown.isel(patch=back))
    if pictures.ndim == 3:
        pictures = np.repeat(pictures[..., None], 3, axis=-1)
    return (
        np.round(255 * np.clip(pictures, 0, 1)).astype(np.uint8), legend, shown["line"].values[back],
        shown["pixel"].values[back],
    )  # fmt: skip
