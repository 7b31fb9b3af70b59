"""The study of few labels: every method at every number of labels, over several draws of labels and several seeds.

All methods of a draw get the same labels, the same pool and the same scenes to be judged by, so that they can be
compared in pairs. The last weights are judged, once; nothing is chosen by looking at the test scenes. Two controls need
no network: the nearest labelled patch, and label propagation over the patches themselves.

Every finished run is a line of one file; a run that was killed goes on where it last saved its state.

References:
    Khaleghian (2022), paper 2, tables III to V.
"""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

import numpy as np
import torch

from frazil.errors import OptionError
from frazil.learn.checkpoint import git_commit, library_versions
from frazil.learn.config import (
    LabelPropagationConfig,
    PropagationConfig,
    RunConfig,
    SupervisedConfig,
    TeacherStudentConfig,
    of_patches,
    override,
    run_config,
)
from frazil.learn.data.class_scores import Evaluation, Figures
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.load import load_data, read_sides
from frazil.learn.data.patches import Patches
from frazil.learn.models import create_model
from frazil.learn.propagation.graph import LabelPropagator
from frazil.learn.propagation.neighbours import nearest_neighbours
from frazil.learn.strategies import make_plan, make_strategy
from frazil.learn.train import seed_everything, train_loop
from frazil.metrics import Reliability, confusion_counts, student_interval
from frazil.studies.runner import Case, data_stamp, run_cases

#: Methods without a network: what any other must beat.
CONTROLS = ("nearest label", "raw propagation")
#: A process reads a patch set once for all its trials; nothing writes into what was read.
_read = functools.lru_cache(maxsize=1)(read_sides)
_LEFT_OUT = ("confusion_per_scene", "reliability")


Score = Literal["accuracy", "balanced_accuracy", "macro_f1", "ece"]


class Key(TypedDict):
    """What makes a row one trial's: the method's name, and the run as `RunConfig.to_json` has it, without folders."""

    method: str
    config: dict[str, Any]


class TestScores(Figures):
    """On the test scenes, see `frazil.learn.data.class_scores.ScoresJson`; controls have no probabilities."""

    classes: list[str]
    binary: NotRequired[Figures]
    ice_water: NotRequired[dict[str, object]]
    ece: float | None
    ece_before_temperature: float
    nll: float | None
    accuracy_per_scene: dict[str, float]
    confusion: list[list[int]]


class Found(TypedDict):
    """What a method did; controls have neither parameters nor a time of training."""

    test: TestScores
    pool: float | None
    curve: list[dict[str, float]]
    steps: int
    training_seconds: NotRequired[float]
    parameters: NotRequired[int]


class Row(Key, Found):
    """A trial, what it did, on what, and how it went."""

    labels: dict[str, object]
    scenes: dict[str, int]
    patches: dict[str, int]
    seconds: float
    threads: int
    commit: str
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class MethodLine:
    """A method at a number of labels, see `summarise_few_labels`; percent but for `seconds`, NaN where unknown."""

    method: str
    labels: int
    draws: int
    runs: int
    accuracy: float
    interval: float
    difference: float
    difference_interval: float
    macro_f1: float
    balanced_accuracy: float
    ece: float
    pool: float
    pseudo_accuracy: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of the study.

    Attributes:
        method: as it stands in tables.
        config: the run, labels and seeds included; of controls, the data and labels alone count.
    """

    method: str
    config: RunConfig

    @property
    def key(self) -> Key:
        """What makes a row this very trial's."""
        values: Key = json.loads(json.dumps({"method": self.method, "config": self.config.to_json()}))
        if of_patches(self.config.data):  # folders may move
            for name in ("patches", "unlabelled"):
                values["config"]["data"][name] = [Path(p).name for p in values["config"]["data"][name]]
        return values

    @property
    def slug(self) -> str:
        """Name of its file."""
        words = "-".join("".join(c if c.isalnum() else " " for c in self.method.lower()).split())
        labels = self.config.labels
        return f"{words}-{labels.count}-{labels.seed}-{self.config.seed}"


def trials(
    methods: dict[str, RunConfig],
    *,
    patches: tuple[str, ...],
    labels: Iterable[int],
    draws: int = 5,
    seeds: int = 2,
    changes: dict[str, str] | None = None,
) -> list[Trial]:
    """All runs of the study.

    Args:
        methods: name -> recipe; the controls need none.
        patches: patch sets.
        labels: numbers of labels.
        draws: of labels.
        seeds: of weights and batches, for each draw; controls have none.
        changes: settings for all methods, as on the command line; those of ``strategy`` where it has them, and epochs
            where steps are not counted. ``METHOD:KEY`` changes one method alone, and comes last.
    """
    base = next(iter(methods.values()), RunConfig(name="control"))
    out = []
    for count in labels:
        for draw in range(draws):
            for name, recipe in {**methods, **dict.fromkeys(CONTROLS, base)}.items():
                config = override(recipe, _changes(name, recipe, changes or {}))
                if not of_patches(config.data):
                    raise OptionError(f"Method {name!r} does not learn from patches.")
                config = replace(
                    config,
                    data=replace(config.data, patches=patches),
                    labels=replace(config.labels, count=count, per_class=None, seed=draw),
                )
                if name in CONTROLS:
                    config = replace(config, strategy=LabelPropagationConfig(), seed=0, name="control")
                out += [Trial(method=name, config=replace(config, seed=s)) for s in range(_repeats(name, seeds))]
    return out


def _repeats(name: str, seeds: int) -> int:
    return 1 if name in CONTROLS else seeds


def _changes(name: str, recipe: RunConfig, changes: dict[str, str]) -> dict[str, str]:
    """Of all changes those that concern a method."""
    has = recipe.to_json()["strategy"]
    common = {
        key: value
        for key, value in changes.items()
        if ":" not in key
        and not (key.startswith("strategy.") and key.split(".")[1] not in has)
        and not (key == "optim.epochs" and recipe.optim.epochs is None)
    }
    own = {key.removeprefix(f"{name}:"): v for key, v in changes.items() if key.startswith(f"{name}:")}
    if "optim.steps" in own:
        common.pop("optim.epochs", None)  # how long a method runs is its own affair where it says so
    return common | own


def run_trial(
    trial: Trial,
    state: Path | None = None,
    *,
    every: int = 0,
    note: Callable[[int, dict[str, float]], None] | None = None,
) -> Row:
    """Train and judge one method.

    Args:
        trial: which.
        state: file to go on from and to keep up to date.
        every: steps from one look at the test scenes to the next, for curves alone; 0 looks only at the end.
        note: called after every step with its number and logs, and after every look with ``validation_…`` scores.

    Returns:
        ``test``: scores on the test scenes; ``pool``: share of the unlabelled patches that the result names rightly,
        where truth is known; ``curve``: what the strategy logged of its pseudo-labels; and how it went.
    """
    started = time.perf_counter()
    config = trial.config
    seed_everything(config.seed)
    data = load_data(config, read=_read)
    if not isinstance(data.test, Patches):
        raise OptionError("The study needs test scenes. Set data.test, or pass a split that has some.")
    if trial.method in CONTROLS:
        found = _control(trial.method, data, data.test)
    else:
        found = _train(config, data, data.test, state, every, note)
    return {
        **trial.key,
        "labels": data.description.get("labels", {}),
        **found,
        "scenes": {"train": len(data.description["train"]["scenes"]), "test": len(data.test.names)},
        "patches": {"test": len(data.test), "pool": len(data.unlabelled) if data.unlabelled else 0},
        "seconds": round(time.perf_counter() - started, 1),
        "threads": torch.get_num_threads(),
        "commit": git_commit(),
        "versions": library_versions(),
    }


def _train(
    config: RunConfig,
    data: LearningData,
    test: Patches,
    state: Path | None,
    every: int,
    told: Callable[[int, dict[str, float]], None] | None,
) -> Found:
    n, place = len(data.scheme.classes), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = {**config.model.settings, "patch": int(test.image.shape[-1])}
    network = create_model(config.model.architecture, n_channels=len(data.channels), n_classes=n, settings=settings)
    network = network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    plan = make_plan(config, data)
    config = replace(config, optim=replace(config.optim, steps=plan.steps))
    strategy = make_strategy(config, network, data, place)
    curve: list[dict[str, float]] = []

    def note(step: int, logs: dict[str, float]) -> None:
        if "pseudo_weight" in logs:
            curve.append({"step": step, **{k: v for k, v in logs.items() if k.startswith("pseudo_") or "seconds" in k}})
        if told:
            told(step, logs)

    def look(network: torch.nn.Module) -> dict[str, float]:
        return test.score(network, device=place.type).figures()

    done = train_loop(
        strategy,
        config.optim,
        device=place,
        validate=look if every else None,
        validate_every=every,
        state=state,
        log=note,
    )
    result = strategy.result
    pool = None
    if data.unlabelled is not None and (data.unlabelled.label < n).any():
        known = data.unlabelled.take(np.flatnonzero(data.unlabelled.label < n))
        pool = float((known.logits(result).argmax(axis=0) == known.label).mean())
    return {
        "test": _scores(test.score(result, device=place.type)),
        "pool": pool,
        "curve": curve,
        "steps": done.step,
        "training_seconds": round(done.seconds, 1),
        "parameters": sum(p.numel() for p in result.parameters()),
    }


def _scores(found: Evaluation) -> TestScores:
    return cast(TestScores, {k: v for k, v in found.to_json().items() if k not in _LEFT_OUT})


def _control(method: str, data: LearningData, test: Patches) -> Found:
    """Scores of a method that looks at pixels: patches as vectors, less the mean of the pool."""
    assert data.unlabelled is not None
    few: Patches = data.train.patches  # type: ignore[attr-defined]
    mean = data.unlabelled.image.mean(axis=0, dtype=np.float64)
    rows = [(p.image - mean).reshape(len(p), -1).astype(np.float32) for p in (few, data.unlabelled, test)]
    n = len(data.scheme.classes)
    if method == "nearest label":
        said = [few.label[nearest_neighbours(part, 1, among=rows[0])[0][:, 0]] for part in rows[1:]]
    else:
        labels = np.full(len(rows[0]) + len(rows[1]), -1)
        labels[: len(few)] = few.label
        fitted = LabelPropagator(k=PropagationConfig().k).fit(np.concatenate(rows[:2]), labels)
        said = [fitted.transduction_[len(few) :], fitted.predict(rows[2])]
    said = [np.where(s < 0, 255, s).astype(np.uint8) for s in said]
    counts = np.zeros((n, n), np.int64)
    per_scene = {}
    for name in test.names:
        mine = (test.scene == name) & (said[1] < n)  # where no label reaches, nothing is said
        per_scene[name] = confusion_counts(test.label[mine], said[1][mine], n)
        counts += per_scene[name]
    scores = _scores(Evaluation(data.scheme.names, counts, Reliability(), Reliability(), per_scene))
    right = float((said[1] == test.label).mean())  # silence counts as wrong
    known = data.unlabelled.label < n
    pool = float((said[0] == data.unlabelled.label)[known].mean()) if known.any() else None
    return {"test": {**scores, "accuracy": right, "ece": None, "nll": None}, "pool": pool, "curve": [], "steps": 0}


def run_few_labels(
    todo: list[Trial],
    folder: str | os.PathLike[str],
    *,
    workers: int = 1,
    progress: Callable[[float, str], None] | None = None,
) -> list[Row]:
    """Run what the study still lacks, and return the rows of all trials in their order.

    Args:
        todo: of `trials`.
        folder: where ``few-labels.jsonl`` is kept.
        workers: processes; each computes with its share of the cores.
        progress: called with the fraction done and what was done last.
    """
    stamps = {path: data_stamp(path) for path in {p for trial in todo for p in _sets_of(trial)}}
    cases = [
        Case(
            name=trial.slug,
            depends_on={**trial.key, "data": {Path(p).name: stamps[p] for p in _sets_of(trial)}},
            make=functools.partial(_rows_of, trial),
            complete=_complete,
        )
        for trial in todo
    ]
    return run_cases(cases, Path(folder) / "few-labels.jsonl", workers=workers, report=progress)


def _complete(depends_on: dict[str, object]) -> dict[str, object]:
    """Settings that a row does not know yet stood at their defaults."""
    made = Trial(method=str(depends_on["method"]), config=run_config(depends_on["config"]))
    return {**depends_on, **made.key}


def _sets_of(trial: Trial) -> tuple[str, ...]:
    data = trial.config.data
    return (*data.patches, *data.unlabelled) if of_patches(data) else ()


def _rows_of(trial: Trial, scratch: Path) -> list[Row]:
    return [run_trial(trial, scratch)]


def by_draw(rows: list[Row], method: str, count: int, score: Score = "accuracy") -> dict[int, float]:
    """A score in percent for each draw, mean over its seeds; draws differ more than seeds do."""
    found: dict[int, list[float]] = {}
    for row in rows:
        labels = row["config"]["labels"]
        if row["method"] == method and labels["count"] == count and (value := row["test"][score]) is not None:
            found.setdefault(labels["seed"], []).append(100 * value)
    return {draw: float(np.mean(values)) for draw, values in sorted(found.items())}


def summarise_few_labels(rows: list[Row], against: str = "supervised") -> list[MethodLine]:
    """A line for each method and number of labels: means, intervals over draws, and differences pair by pair.

    ``difference`` is the mean over the draws that both methods have, in points of accuracy.
    """
    out = []
    for count in sorted({row["config"]["labels"]["count"] for row in rows}):
        for method in dict.fromkeys(row["method"] for row in rows):
            mine = by_draw(rows, method, count)
            if not mine:
                continue
            values, other = np.array(list(mine.values())), by_draw(rows, against, count)
            pairs = np.array([mine[d] - other[d] for d in mine if d in other])
            some = [r for r in rows if r["method"] == method and r["config"]["labels"]["count"] == count]
            pools = [100 * r["pool"] for r in some if r["pool"] is not None]
            ends = [r["curve"][-1] for r in some if r["curve"]]
            last = [100 * end["pseudo_accuracy"] for end in ends if "pseudo_accuracy" in end]
            out.append(
                MethodLine(
                    method=method,
                    labels=count,
                    draws=len(mine),
                    runs=len(some),
                    accuracy=float(values.mean()),
                    interval=student_interval(values),
                    difference=_mean(pairs),
                    difference_interval=student_interval(pairs),
                    macro_f1=_mean(by_draw(rows, method, count, "macro_f1").values()),
                    balanced_accuracy=_mean(by_draw(rows, method, count, "balanced_accuracy").values()),
                    ece=_mean(by_draw(rows, method, count, "ece").values()),
                    pool=_mean(pools),
                    pseudo_accuracy=_mean(last),
                    seconds=_mean(r["seconds"] for r in some),
                )
            )
    return out


def _mean(values: Iterable[float]) -> float:
    found = np.array(list(values), float)
    return float(found.mean()) if found.size else math.nan


def study_methods(recipes: dict[str, RunConfig]) -> dict[str, RunConfig]:
    """The recipes, and beside them those that tell what a gain is owed to.

    ``tslp at equal rates``: the teacher as fast as the student. ``supervised for long``: labels alone for as many
    steps as `optim.epochs` of `tslp` would have on a pool of ten thousand patches, at its rate.
    """
    out = dict(recipes)
    tslp = recipes.get("tslp")
    if tslp is not None and isinstance(tslp.strategy, TeacherStudentConfig):
        out["tslp at equal rates"] = replace(tslp, strategy=replace(tslp.strategy, equal_rates=True))
        room = tslp.optim.batch - tslp.strategy.labelled
        steps = round((tslp.optim.epochs or 1) * 10_000 / room)
        optim = replace(tslp.optim, epochs=None, steps=steps, batch=tslp.strategy.labelled)
        if "supervised" in recipes:
            out["supervised for long"] = replace(recipes["supervised"], strategy=SupervisedConfig(), optim=optim)
    return out
