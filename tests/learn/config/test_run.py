"""Settings of runs: whatever can be set comes back from JSON, and whatever cannot be is refused by its name."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.learn.config import (
    DDPConfig,
    FixMatchConfig,
    MixMatchConfig,
    ModelConfig,
    OptimConfig,
    PeersConfig,
    PropagationConfig,
    RunConfig,
    StrategyConfig,
    TeacherStudentConfig,
    differences,
    override,
    run_config,
)
from frazil.learn.config.data import Data

STRATEGIES: list[Any] = list(get_args(get_args(StrategyConfig)[0]))
KINDS: list[Any] = [k for k in get_args(get_args(Data)[0] if get_args(Data) else Data) if isinstance(k, type)]
BASE = RunConfig(name="a")


def fields(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names of all settings."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= fields(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return out


@pytest.mark.parametrize("kind", STRATEGIES, ids=lambda k: k.__name__)
def test_every_strategy_comes_back_from_json_as_it_was(kind: Any) -> None:
    config = RunConfig(name="a", strategy=kind())
    again = run_config(json.loads(json.dumps(config.to_json(), allow_nan=False)))
    assert again == config
    assert type(again.strategy) is kind


@settings(max_examples=60, deadline=None)
@given(
    lr=st.floats(1e-12, 1e3),
    decay=st.floats(0, 1e6),
    shares=st.lists(st.floats(0, 1), max_size=4),
    steps=st.integers(1, 2**40),
    seed=st.integers(0, 2**62),
    epochs=st.none() | st.floats(1e-6, 1e6),
    text=st.text(max_size=30),
)
def test_numbers_and_texts_come_back_to_the_last_digit(
    lr: float, decay: float, shares: list[float], steps: int, seed: int, epochs: float | None, text: str
) -> None:
    optim = OptimConfig(lr=lr, weight_decay=decay, milestones=tuple(shares), steps=steps, epochs=epochs)
    config = RunConfig(name=text, statement=text, seed=seed, optim=optim)
    assert run_config(json.loads(json.dumps(config.to_json(), allow_nan=False))) == config


def test_to_json_holds_nothing_but_json_and_is_no_part_of_the_config() -> None:
    config = RunConfig(name="a", model=ModelConfig(settings={"widths": (4, 8)}))
    told = config.to_json()
    assert json.loads(json.dumps(told)) == told
    told["model"]["settings"]["widths"].append(16)
    told["optim"]["lr"] = 7
    assert config.model.settings == {"widths": (4, 8)}
    assert config.optim.lr == OptimConfig().lr


def test_every_setting_that_is_unknown_is_refused_by_name() -> None:
    """At every depth, in every group; the others are told."""
    groups = {name.rpartition(".")[0] for name in fields(BASE.to_json())}
    assert len(groups) >= 6
    for group in groups:
        values = BASE.to_json()
        place: Any = values
        for part in filter(None, group.split(".")):
            place = place[part]
        if group == "model.settings":
            continue
        place["colour"] = 3
        with pytest.raises(OptionError, match="is not a setting") as error:
            run_config(values)
        assert f"{group}.colour".lstrip(".") in str(error.value)
        assert "\n" not in str(error.value)


WRONG: list[Any] = [[1], {"a": 1}, "some words", None, -math.inf]


@pytest.mark.parametrize("name", sorted(fields(RunConfig(name="a", strategy=TeacherStudentConfig()).to_json())))
def test_no_value_of_another_kind_is_taken(name: str) -> None:
    """Each setting is given each kind of value in turn: it is kept, or refused in one line that names the setting."""
    values = RunConfig(name="a", strategy=TeacherStudentConfig()).to_json()
    taken = 0
    for wrong in WRONG:
        changed = json.loads(json.dumps(values))
        place: Any = changed
        *groups, last = name.split(".")
        for group in groups:
            place = place[group]
        place[last] = wrong
        try:
            config = run_config(changed)
        except OptionError as error:
            assert last in str(error), error  # noqa: PT017 - which of the two happens is the question
            assert "\n" not in str(error)  # noqa: PT017
        else:
            taken += 1
            assert fields(config.to_json()).get(name, config.to_json()) is not None or wrong is None
    assert taken < len(WRONG)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_wherever_they_stand(value: float) -> None:
    for make in (
        lambda: RunConfig(name="a", optim=OptimConfig(weight_decay=value)),
        lambda: RunConfig(name="a", optim=OptimConfig(milestones=(0.5, value))),
        lambda: RunConfig(name="a", model=ModelConfig(settings={"deep": {"deeper": [1, value]}})),
        lambda: RunConfig(name="a", strategy=MixMatchConfig(weight=value)),
    ):
        with pytest.raises(OptionError) as error:
            make()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (OptimConfig, {"steps": 0}),
        (OptimConfig, {"lr": 0.0}),
        (OptimConfig, {"lr": -1.0}),
        (OptimConfig, {"batch": 0}),
        (OptimConfig, {"epochs": 0.0}),
        (OptimConfig, {"validate_every": -1}),
        (OptimConfig, {"validate_every": 0}),
        (OptimConfig, {"warmup": -1}),
        (OptimConfig, {"clip": -0.1}),
        (OptimConfig, {"patience": -1}),
        (OptimConfig, {"target": 90.0}),
        (OptimConfig, {"target_score": "f1"}),
        (OptimConfig, {"precision": "float16"}),
        (OptimConfig, {"lr": math.nan}),
        (OptimConfig, {"optimiser": "lion"}),
        (OptimConfig, {"schedule": "linear"}),
        (OptimConfig, {"keep": "worst"}),
        (OptimConfig, {"momentum": -0.1}),
        (OptimConfig, {"momentum": 1.5}),
        (OptimConfig, {"milestones": (1.5,)}),
        (MixMatchConfig, {"temperature": 0.0}),
        (MixMatchConfig, {"guesses": 0}),
        (MixMatchConfig, {"labelled": 0}),
        (MixMatchConfig, {"ema": 1.01}),
        (MixMatchConfig, {"ramp": -0.01}),
        (MixMatchConfig, {"weight": -1.0}),
        (FixMatchConfig, {"threshold": 1.1}),
        (FixMatchConfig, {"strong": ("colour",)}),
        (PropagationConfig, {"alpha": 1.0}),
        (PropagationConfig, {"alpha": 0.0}),
        (PropagationConfig, {"k": 0}),
        (PropagationConfig, {"gamma": 0.0}),
        (PropagationConfig, {"tolerance": 0.0}),
        (PropagationConfig, {"search": "x"}),
        (TeacherStudentConfig, {"teacher_lr": -1.0}),
        (TeacherStudentConfig, {"refresh_epochs": 0}),
        (DDPConfig, {"hook": "zip"}),
        (PeersConfig, {"every": 0}),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused_when_they_are_made(group: Any, said: dict[str, Any]) -> None:
    """Also in Python, where no JSON is read."""
    with pytest.raises(OptionError) as error:
        group(**said)
    assert "\n" not in str(error.value)
    assert next(iter(said)) in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("optim.lr", "3e-4", 3e-4),
        ("optim.milestones", "0.5,0.8", (0.5, 0.8)),
        ("optim.milestones", "0.5", (0.5,)),
        ("optim.milestones", "[0.1, 0.2]", (0.1, 0.2)),
        ("optim.milestones", "", ()),
        ("optim.epochs", "null", None),
        ("optim.compile", "true", True),
        ("statement", "words, with commas", "words, with commas"),
        ("statement", "12", "12"),
        ("name", "2018-01", "2018-01"),
        ("name", '"12"', "12"),
        ("model.settings", '{"widths": [4]}', {"widths": [4]}),
        ("seed", "7", 7),
        ("strategy.class_balance", "1", 1.0),
    ],
)
def test_words_of_the_command_line_mean_what_they_say(name: str, text: str, value: Any) -> None:
    made: Any = override(BASE, {name: text})
    for part in name.split("."):
        made = getattr(made, part)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize("kind", STRATEGIES, ids=lambda k: k.__name__)
def test_another_strategy_comes_with_its_own_settings(kind: Any) -> None:
    made = override(RunConfig(name="a", strategy=MixMatchConfig(labelled=7, ema=0.5)), {"strategy.name": kind.name})
    assert made.strategy == (MixMatchConfig(labelled=7, ema=0.5) if kind is MixMatchConfig else kind())


def test_overriding_changes_what_is_named_and_nothing_else() -> None:
    before = json.dumps(BASE.to_json())
    made = override(BASE, {"optim.lr": "0.5", "seed": "3"})
    assert differences(BASE.to_json(), made.to_json()) == ["optim.lr", "seed"]
    assert json.dumps(BASE.to_json()) == before


def test_steps_and_epochs_are_one_or_the_other() -> None:
    epochs = override(BASE, {"optim.epochs": "3"})
    assert override(epochs, {"optim.steps": "50"}).optim.epochs is None
    assert override(epochs, {"optim.steps": "50", "optim.epochs": "null"}).optim.steps == 50
    with pytest.raises(OptionError, match="Give one of them"):
        override(BASE, {"optim.steps": "50", "optim.epochs": "3"})


@pytest.mark.parametrize("name", ["optim", "optim.lr.fast", "lr", "optim.learning_rate", "", ".", "optim.", "seed.x"])
def test_names_that_are_no_settings_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(OptionError) as error:
        override(BASE, {name: "3"})
    assert "\n" not in str(error.value)


def test_a_misspelt_name_is_told_the_one_that_was_meant() -> None:
    for wrong, right in (("lr", "optim.lr"), ("optim.stepz", "optim.steps"), ("batch", "optim.batch")):
        with pytest.raises(OptionError, match=f"Did you mean .*{right}"):
            override(BASE, {wrong: "3"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner),
    max_leaves=8,
)
TREE = st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON, max_size=4)


@settings(max_examples=150, deadline=None)
@given(TREE, TREE)
def test_differences_are_none_exactly_where_nothing_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    found = differences(one, other)
    assert found == differences(other, one)
    assert (found == []) == (one == other) or all(v is None for v in fields({**one, **other}).values() if v != {})
    assert len(found) == len(set(found))
    assert differences(one, one) == []


def test_settings_cannot_be_changed_once_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.optim.lr = 1.0  # type: ignore[misc]


def test_peers_and_compile_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="Leave one of them out"):
        RunConfig(name="a", peers=PeersConfig(path="x", worker="a"), optim=OptimConfig(compile=True))
