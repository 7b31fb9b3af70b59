"""The study of few labels: every method at every number of labels, over several draws of labels and several seeds.

All methods of a draw get the same labels, the same pool and the same scenes to be judged by, so that they can be
compared in pairs. The last weights are judged, once; nothing is chosen by looking at the test scenes. Controls need no
network: the nearest labelled patch, and label propagation over the patches themselves, with k and α as the paper has
them and as validation patches choose them. The ceiling is the same network with all labels.

Every finished run is a line of one file; a run that was killed goes on where it last saved its state.

References:
    Khaleghian (2022), paper 2, tables III to V.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from frazil.errors import OptionError
from frazil.learn.checkpoint import git_commit, library_versions
from frazil.learn.config import (
    ChoiceConfig,
    LabelPropagationConfig,
    LabelsConfig,
    RunConfig,
    SupervisedConfig,
    TeacherStudentConfig,
    of_patches,
    override,
    run_config,
)
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.load import load_data, read_sides
from frazil.learn.data.patches import Patches
from frazil.learn.models import create_model
from frazil.learn.strategies import make_plan, make_strategy
from frazil.learn.train import seed_everything, train_loop
from frazil.studies.few_labels_controls import run_control
from frazil.studies.few_labels_table import CEILING, CONTROLS, Found, Key, Row, scores_of
from frazil.studies.runner import Case, data_stamp, run_cases

#: A process reads a patch set once for all its trials; nothing writes into what was read.
_read = functools.lru_cache(maxsize=1)(read_sides)


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
        count = "all" if labels.count is None else labels.count
        return f"{words}-{count}-{labels.seed}-{self.config.seed}"


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
                if name == CEILING:
                    continue
                config = override(recipe, _changes(name, recipe, changes or {}))
                if not of_patches(config.data):
                    raise OptionError(f"Method {name!r} does not learn from patches.")
                config = replace(
                    config,
                    data=replace(config.data, patches=patches),
                    labels=replace(config.labels, count=count, per_class=None, seed=draw),
                )
                if name in CONTROLS:
                    config = replace(config, strategy=_control_strategy(name), seed=0, name="control")
                out += [Trial(method=name, config=replace(config, seed=s)) for s in range(_repeats(name, seeds))]
    if CEILING in methods:
        config = override(methods[CEILING], _changes(CEILING, methods[CEILING], changes or {}))
        if not of_patches(config.data):
            raise OptionError(f"Method {CEILING!r} does not learn from patches.")
        config = replace(config, data=replace(config.data, patches=patches), labels=LabelsConfig())
        # There is one draw of all labels, so that seeds are all that can be repeated: as often as others are trained.
        out += [Trial(method=CEILING, config=replace(config, seed=s)) for s in range(draws * seeds)]
    return out


def _control_strategy(name: str) -> LabelPropagationConfig:
    return LabelPropagationConfig(choice=ChoiceConfig(by="best" if name == CONTROLS[2] else "nothing"))


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
        found = run_control(trial.method, data, data.test)
    else:
        found = _train(config, data, data.test, state, every, note)
    return {
        **trial.key,
        "labels": data.description.get("labels", {}),
        **found,
        "scenes": {"train": len(data.description["train"]["scenes"]), "test": len(data.test.names)},
        "patches": {
            "train": data.train.n_samples,
            "test": len(data.test),
            "pool": len(data.unlabelled) if data.unlabelled else 0,
        },
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
            kept = ("pseudo_", "chosen_")
            curve.append({"step": step, **{k: v for k, v in logs.items() if k.startswith(kept) or "seconds" in k}})
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
        "test": scores_of(test.score(result, device=place.type)),
        "pool": pool,
        "curve": curve,
        "steps": done.step,
        "training_seconds": round(done.seconds, 1),
        "parameters": sum(p.numel() for p in result.parameters()),
    }


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


def study_methods(recipes: dict[str, RunConfig]) -> dict[str, RunConfig]:
    """The recipes, and beside them those that tell what a gain is owed to.

    ``lp with chosen k``: k and α of the propagation chosen by validation patches, once. ``tslp at equal rates``: the
    teacher as fast as the student. ``supervised for long``: labels alone for as many steps as `optim.epochs` of `tslp`
    would have on a pool of ten thousand patches, at its rate. ``all labels``: the student of `tslp`, at its rate, in
    its batches and for its epochs, with true labels where it has pseudo-labels.
    """
    out = dict(recipes)
    lp, tslp = recipes.get("lp"), recipes.get("tslp")
    if lp is not None and isinstance(lp.strategy, LabelPropagationConfig):
        out["lp with chosen k"] = replace(lp, strategy=replace(lp.strategy, choice=ChoiceConfig(by="best")))
    if tslp is not None and isinstance(tslp.strategy, TeacherStudentConfig):
        out["tslp at equal rates"] = replace(tslp, strategy=replace(tslp.strategy, equal_rates=True))
        room = tslp.optim.batch - tslp.strategy.labelled
        steps = round((tslp.optim.epochs or 1) * 10_000 / room)
        optim = replace(tslp.optim, epochs=None, steps=steps, batch=tslp.strategy.labelled)
        if "supervised" in recipes:
            out["supervised for long"] = replace(recipes["supervised"], strategy=SupervisedConfig(), optim=optim)
            out[CEILING] = replace(recipes["supervised"], optim=tslp.optim)
    return out
