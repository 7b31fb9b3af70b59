"""What a run folder tells, read once and typed: whatever in it is not what it should be is left out, or refused.

`frazil.reports.gather` reads a folder into a `RunRecord`; `frazil.reports.pages` makes pages of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from frazil.class_schemes import ClassScheme, Schemes
from frazil.conventions import SCHEMES
from frazil.errors import OptionError
from frazil.labels.datasets.cifar10 import CIFAR10
from frazil.reports.scores import ClassScores, MaskScores

if TYPE_CHECKING:
    import xarray as xr

SIDES = ("train", "validation", "test")
Kind = Literal["exclusive", "multilabel"]
_UNITS = {"patches": "patches", "cifar10": "images", "imagettes": "images"}  # what scores count, by the kind of data


@dataclass(frozen=True, kw_only=True)
class DataSide:
    """What a side of the split holds.

    Attributes:
        scenes: product names.
        sources: where its images came from, in words.
        counts: samples of each class, by name.
        images: how many; None where the run does not count them.
        with_masks: how many of these have masks; likewise.
    """

    scenes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    images: int | None = None
    with_masks: int | None = None


@dataclass(frozen=True, kw_only=True)
class CardRecord:
    """What the card of a run's model tells, as it is shown."""

    id: str = ""
    statement: str = ""
    channels: tuple[str, ...] = ()
    spacing_m: str = "–"
    denoise: str = "–"
    temperature: str = "–"


@dataclass(frozen=True, eq=False, kw_only=True)
class Mistake:
    """A patch that was taken for another class.

    Attributes:
        picture: uint8 (height, width, 3).
        truth, said: class codes.
        confidence: stated for ``said``, 0…1.
        scene: product name.
        line, pixel: of its first pixel in the full-resolution product; NaN where unknown.
    """

    picture: np.ndarray
    truth: int
    said: int
    confidence: float
    scene: str
    line: float
    pixel: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Mistakes:
    """The most confident mistakes on one side of the split, most confident first; and what their colours mean."""

    side: str
    judged: int
    wrong: int
    legend: str
    worst: tuple[Mistake, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagettesShown:
    """Imagettes with what was drawn and found in them, for a contact sheet.

    Attributes:
        title: why these.
        images: the set, in the order shown; found: segments of it.
        rows: of each image: name, category (empty where nobody told), what it was taken for, its set Dice (NaN without
            masks).
    """

    title: str
    images: xr.Dataset
    found: xr.Dataset
    rows: tuple[tuple[str, str, str, float], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class RunRecord:
    """All that a report says of a run.

    Attributes:
        folder: as it was named.
        name: of the run.
        kind: whether its classes exclude each other; decides which scores there are.
        unit: what was counted: ``"patches"``, ``"pixels"`` or ``"images"``.
        scheme: the classes; None where the run does not say.
        finished: whether the run has ended, with scores.
        settings: dotted names and JSON.
        command, commit, versions: how it was made.
        split, leaks: how the sides were made, and whether neighbours of what was judged were learnt.
        data: what each side of the split holds.
        log: numbers of each step.
        scores: of ``"validation"`` and ``"test"``, as far as there are any.
        steps: steps done.
        planned: steps that were to be done; None where the run does not say.
        kept_step: after which the network was kept (unfinished: the best one so far); None where nobody looked.
        stopped_early: whether early stopping ended it.
        reached_target: whether it ended as its score was what it was to reach.
        seconds: of training; None where the run does not say.
        card: of the model; None without one.
        mistakes: patches mistaken most confidently; None where there are none to show.
        imagettes: imagettes to look at, worst ones first.
        no_examples: why there are neither, in words.
    """

    folder: str
    name: str
    kind: Kind = "exclusive"
    unit: str = "pixels"
    scheme: ClassScheme | None = None
    finished: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    command: str = "not told"
    commit: str = "unknown"
    versions: dict[str, str] = field(default_factory=dict)
    split: str = "not told"
    leaks: bool = False
    data: dict[str, DataSide] = field(default_factory=dict)
    log: list[dict[str, float]] = field(default_factory=list)
    scores: dict[str, ClassScores | MaskScores] = field(default_factory=dict)
    steps: int = 0
    planned: int | None = None
    kept_step: int | None = None
    stopped_early: bool = False
    reached_target: bool = False
    seconds: float | None = None
    card: CardRecord | None = None
    mistakes: Mistakes | None = None
    imagettes: tuple[ImagettesShown, ...] = ()
    no_examples: str = ""

    @property
    def judged(self) -> str | None:
        """The side that judges the run: the test side, else the validation side."""
        return next((side for side in ("test", "validation") if side in self.scores), None)

    @property
    def class_scores(self) -> dict[str, ClassScores]:
        """`scores` of classes that exclude each other."""
        return {side: s for side, s in self.scores.items() if isinstance(s, ClassScores)}

    @property
    def mask_scores(self) -> dict[str, MaskScores]:
        """`scores` of classes that each hold for themselves."""
        return {side: s for side, s in self.scores.items() if isinstance(s, MaskScores)}

    def side(self, name: str) -> DataSide:
        """What a side holds; nothing where the run does not tell."""
        return self.data.get(name, DataSide())


def kind_of(run: Mapping[str, Any]) -> Kind:
    """Which scores a run has, by what ``run.json`` says of its data."""
    return "multilabel" if part(part(run, "config"), "data").get("kind") == "imagettes" else "exclusive"


def record_of(
    folder: str,
    name: str,
    run: Mapping[str, Any],
    log: list[dict[str, float]],
    *,
    finished: bool = False,
    scores: dict[str, ClassScores | MaskScores] | None = None,
    card: Mapping[str, Any] | None = None,
    seconds: float | None = None,
) -> RunRecord:
    """The record of what stands in the files of a run.

    Args:
        folder: of the run, as it was named.
        name: of the run where it has none.
        run: content of ``run.json``.
        log: its lines.
        finished: whether it has ended, with a model and scores.
        scores: by side.
        card: content of the model's ``card.json``; empty without a model.
        seconds: of training, where the card does not tell.

    Raises:
        OptionError: scores of other classes than those of the model.
    """
    config, data, of_model = part(run, "config"), part(run, "data"), dict(card or {})
    training = part(of_model, "training")
    sides = {side: _side(part(data, side)) for side in SIDES}
    judged = scores or {}
    told = training.get("seconds")
    return RunRecord(
        folder=folder,
        name=str(config.get("name", name)),
        kind=kind_of(run),
        unit=_UNITS.get(str(part(config, "data").get("kind")), "pixels"),
        scheme=_scheme(of_model, sides, judged),
        finished=finished,
        settings=flatten(config),
        command=str(run.get("command", "not told")),
        commit=str(run.get("commit", "unknown")),
        versions={str(k): str(v) for k, v in part(run, "versions").items()},
        split=str(data.get("split", "not told")),
        leaks=bool(data.get("leaks")),
        data=sides,
        log=log,
        scores=judged if finished else {},
        steps=_integer(training.get("steps")) or max((int(row["step"]) + 1 for row in log), default=0),
        planned=_integer(run.get("steps")) or _planned(part(config, "optim"), sides["train"]),
        kept_step=_integer(training.get("kept_step") if finished else _best_step(log)),
        stopped_early=bool(training.get("stopped_early", False)),
        reached_target=bool(training.get("reached_target", False)),
        seconds=float(told) if isinstance(told, (int, float)) else seconds,
        card=_card(of_model) if of_model else None,
    )


def part(values: Mapping[str, object], key: str) -> dict[str, object]:
    """A table inside another; empty where there is none."""
    inner = values.get(key)
    return inner if isinstance(inner, dict) else {}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and JSON."""
    out: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= flatten(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return out


def _side(values: dict[str, object]) -> DataSide:
    counts = next((table for table in values.values() if isinstance(table, dict)), {})  # the only one there is
    return DataSide(
        scenes=_texts(values.get("scenes")),
        sources=_texts(values.get("sources")),
        counts={str(k): v for k, v in counts.items() if type(v) is int},
        images=_count(values.get("images")),
        with_masks=_count(values.get("with_masks")),
    )


def _card(card: dict[str, object]) -> CardRecord:
    channels = card.get("channels")
    names = [str(c.get("name", "?")) for c in channels if isinstance(c, dict)] if isinstance(channels, list) else []
    return CardRecord(
        id=str(card.get("id", "")),
        statement=str(card.get("statement") or ""),
        channels=tuple(names),
        **{k: str(card.get(k, "–")) for k in ("spacing_m", "denoise", "temperature")},
    )


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(map(str, values)) if isinstance(values, list) else ()


def _count(value: Any) -> int | None:
    return value if type(value) is int else None


def _integer(value: Any) -> int | None:
    return int(value) if type(value) in (int, float) and math.isfinite(value) and value > 0 else None


def _scheme(
    card: dict[str, object], sides: dict[str, DataSide], scores: dict[str, ClassScores | MaskScores]
) -> ClassScheme | None:
    """The classes of a run: as its card says, else the scheme whose names it counts."""
    named = [tuple(s.classes) for s in scores.values()] + [tuple(side.counts) for side in sides.values()]
    names = next((n for n in named if n), None)
    known = Schemes.of((*SCHEMES.values(), CIFAR10))
    scheme = known.get(str(card.get("class_scheme")))
    if scheme is None:
        scheme = next((s for s in known.values() if s.names == names), None)
    if any(scheme is None or s.classes != scheme.names for s in scores.values()):
        raise OptionError(f"The scores are of the classes {list(names or ())}, which are not those of the model.")
    return scheme


def _best_step(log: list[dict[str, float]]) -> int | None:
    looks = [row for row in log if "validation_macro_f1" in row]
    return int(max(looks, key=lambda row: row["validation_macro_f1"])["step"]) + 1 if looks else None


def _planned(optim: dict[str, Any], train: DataSide) -> int | None:
    """Steps a run on labels alone was to do, for folders that do not say."""
    if optim.get("epochs") is None:
        return _integer(optim.get("steps"))
    if not train.counts:
        return None
    try:
        return max(round(float(optim["epochs"]) * sum(train.counts.values()) / float(optim["batch"])), 1)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
