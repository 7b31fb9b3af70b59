"""Groups of settings, each by itself: defaults of the papers, bounds found by trying, and words that are known."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.learn.config.base import Settings, StrategySettings, check_choice, check_least, check_share
from frazil.learn.config.consistency import (
    M1M2Config,
    NoisyStudentConfig,
    PiModelConfig,
    ReMixMatchConfig,
    TemporalEnsemblingConfig,
)
from frazil.learn.config.distributed import HOOKS, METHODS, DDPConfig, PeersConfig
from frazil.learn.config.mixed import Mixed
from frazil.learn.config.optim import Keep, ModelConfig, OptimConfig, Optimiser, Precision, Schedule
from frazil.learn.config.phenomena import (
    CategorisationConfig,
    Im2PxStrategyConfig,
    PhenomenaConfig,
    SegmentationConfig,
)
from frazil.learn.config.propagation import ChoiceConfig, PropagationConfig
from frazil.learn.config.run import RunConfig, differences, override
from frazil.learn.config.server import ServerConfig, host_and_port, stays_inside
from frazil.learn.config.strategies import (
    FixMatchConfig,
    LabelPropagationConfig,
    MeanTeacherConfig,
    MixMatchConfig,
    SemiGANConfig,
    StrategyConfig,
    SupervisedConfig,
    TeacherStudentConfig,
)
from frazil.learn.data.augment import augment

STRATEGIES: list[Any] = list(get_args(get_args(StrategyConfig)[0]))
GROUPS: list[Any] = [
    *STRATEGIES,
    PropagationConfig,
    ChoiceConfig,
    OptimConfig,
    ModelConfig,
    PeersConfig,
    DDPConfig,
    ServerConfig,
]


def made(group: Any, name: str, value: Any) -> Any:
    return group(**{name: value})


@settings(deadline=None)
@given(st.floats(allow_nan=True))
def test_a_share_lies_between_nothing_and_all(value: float) -> None:
    if 0 <= value <= 1:
        check_share("x", value)
    else:
        with pytest.raises(OptionError, match="x .* must lie in"):
            check_share("x", value)


@settings(deadline=None)
@given(st.floats(allow_nan=True), st.floats(-10, 10))
def test_the_least_is_allowed_and_nothing_below_and_no_nan(value: float, least: float) -> None:
    if value >= least:
        check_least(least, x=value)
    else:
        with pytest.raises(OptionError, match=re.escape(f"x {value} must be {least} or more")):
            check_least(least, x=value)


def test_a_word_that_is_not_known_is_told_those_that_are() -> None:
    check_choice("kind", "a", ("a", "b"))
    for word in ("c", "A", "", "a "):
        with pytest.raises(OptionError, match=r"kind '.*' is not one of \['a', 'b'\]"):
            check_choice("kind", word, ("a", "b"))


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__)
def test_groups_are_frozen_hashable_by_value_and_by_keyword(group: Any) -> None:
    one, other = group(), group()
    assert one == other
    assert issubclass(group, Settings)
    with pytest.raises(TypeError, match="positional"):
        group(1)
    for field in dataclasses.fields(one):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, field.name, None)


NUMERIC = [
    (group, field.name)
    for group in GROUPS
    for field in dataclasses.fields(group)
    if field.name not in ("name", "seed") and isinstance(field.default, int | float) and field.default is not True
]


@pytest.mark.parametrize(("group", "name"), NUMERIC, ids=lambda v: getattr(v, "__name__", v))
def test_no_number_may_be_nan(group: Any, name: str) -> None:
    """In the group, or at the latest in the run that it is part of: comparisons with NaN are all false."""
    if isinstance(next(f.default for f in dataclasses.fields(group) if f.name == name), bool):
        return
    with pytest.raises(OptionError) as caught:
        bad = made(group, name, math.nan)
        if group in STRATEGIES:
            RunConfig(name="a", strategy=bad)
        elif group is PropagationConfig:
            RunConfig(name="a", strategy=LabelPropagationConfig(propagation=bad))
        else:
            place = {OptimConfig: "optim", PeersConfig: "peers", DDPConfig: "ddp", ServerConfig: "server"}[group]
            RunConfig(name="a", **{place: bad})  # type: ignore[arg-type]
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("group", "name"), NUMERIC, ids=lambda v: getattr(v, "__name__", v))
def test_no_number_may_be_far_below_nothing(group: Any, name: str) -> None:
    """Rates, weights, counts, seconds: none of them has a negative that means anything."""
    if isinstance(next(f.default for f in dataclasses.fields(group) if f.name == name), bool):
        return
    with pytest.raises(OptionError) as caught:
        group(**{name: -7})
    assert name in str(caught.value)


def test_the_literal_words_are_those_that_are_taken() -> None:
    for name, kind in (("optimiser", Optimiser), ("schedule", Schedule), ("precision", Precision), ("keep", Keep)):
        for word in get_args(kind):
            assert getattr(made(OptimConfig, name, word), name) == word
        with pytest.raises(OptionError, match=f"{name} 'other' is not one of"):
            made(OptimConfig, name, "other")
    for word in METHODS:
        PeersConfig(method=word)  # type: ignore[arg-type]
    for word in HOOKS:
        DDPConfig(hook=word)  # type: ignore[arg-type]


def test_addresses_are_taken_apart_and_only_loopback_stays_inside() -> None:
    assert host_and_port("127.0.0.1:5000") == ("127.0.0.1", 5000)
    assert host_and_port("[::1]:65535") == ("::1", 65_535)
    assert host_and_port("ice.example.org:0") == ("ice.example.org", 0)
    for wrong in ("", ":", "here", "here:", ":5000", "here:65536", "here:-1", "::1:5000", "here:５", "here:1:2"):
        with pytest.raises(OptionError, match=r"is not HOST:PORT"):
            host_and_port(wrong)
    assert all(stays_inside(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(stays_inside(host) for host in ("0.0.0.0", "::", "192.0.2.1", "example.org", "127.0.0.1.evil.org"))


def test_defaults_are_those_of_the_papers() -> None:
    """Iscen et al. (2019), section 5.1; Berthelot et al. (2019), section 4.1; Sohn et al. (2020), table 4; Tarvainen
    and Valpola (2017), appendix; Salimans et al. (2016); Laine and Aila (2017), appendix A; Berthelot et al. (2020),
    section 4; Xie et al. (2020), section 3.1; Kingma et al. (2014), section 4.
    """
    spread = PropagationConfig()
    assert (spread.k, spread.gamma, spread.alpha) == (50, 3.0, 0.99)
    mixed = MixMatchConfig()
    assert (mixed.guesses, mixed.temperature, mixed.alpha, mixed.weight) == (2, 0.5, 0.75, 75.0)
    assert FixMatchConfig().threshold == 0.95
    assert FixMatchConfig().weight == 1.0
    assert MeanTeacherConfig().ema == MixMatchConfig().ema == 0.999
    assert SemiGANConfig().latent == 100
    assert TeacherStudentConfig().teacher_lr == 1e-4
    agreeing, remembering = PiModelConfig(), TemporalEnsemblingConfig()
    assert (agreeing.weight, remembering.weight, remembering.alpha) == (100.0, 30.0, 0.6)
    assert agreeing.ramp * 300 == pytest.approx(80)
    again = ReMixMatchConfig()
    assert (again.weight, again.strong_weight, again.rotation_weight) == (1.5, 0.5, 0.5)
    assert (again.views, again.temperature, again.alpha, again.window) == (8, 0.5, 0.75, 128)
    student = NoisyStudentConfig()
    assert (student.rounds, student.threshold, student.targets, student.balance) == (3, 0.3, "soft", True)
    deep = M1M2Config()
    assert (deep.alpha, deep.latent, deep.hidden) == (0.1, 50, 500)


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 200), st.floats(0, 300))
def test_the_first_stage_is_so_many_passes_through_the_labels(n: int, labelled: int, epochs: float) -> None:
    """Within half a step; one at least, unless steps are said."""
    settings = LabelPropagationConfig(labelled=labelled, first_epochs=epochs)
    steps = settings.first_steps_of(n)
    assert steps >= 1
    assert steps == 1 or abs(steps * labelled - epochs * n) <= labelled / 2 + 1e-6
    assert LabelPropagationConfig(labelled=labelled, first_epochs=epochs, first_steps=7).first_steps_of(n) == 7
    assert LabelPropagationConfig(first_steps=0).first_steps_of(n) == 0
    assert SupervisedConfig().first_steps_of(n) == 0


def test_what_strategies_learn_from_and_with_which_networks() -> None:
    """Names are unique: a run is found again by them."""
    names = [kind.name for kind in STRATEGIES]
    assert len(set(names)) == len(names)
    for kind in STRATEGIES:
        assert issubclass(kind, StrategySettings)
        pool, imagettes = issubclass(kind, Mixed), kind in get_args(PhenomenaConfig)
        assert kind.learns_from == ("pool" if pool else "imagettes" if imagettes else "labels")
        assert bool(kind.takes) == imagettes
    assert CategorisationConfig.takes == "patch"
    assert SegmentationConfig.takes == Im2PxStrategyConfig.takes == "imagette"


def test_strong_changes_of_fixmatch_keep_what_backscatter_means() -> None:
    """Each is an augmentation that there is, and none stretches or shifts the values of a patch as a whole."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0.4, 0.6, (64, 2, 8, 8)).astype(np.float32)
    for name in FixMatchConfig().strong:
        changed = augment(image.copy(), ("hh", "hv"), (name,), np.random.default_rng(1))
        assert changed.shape == image.shape
        assert abs(float(changed.mean() - image.mean())) < 0.05
    with pytest.raises(OptionError, match="strong 'cutout' is not one of"):
        FixMatchConfig(strong=("flip", "cutout"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SegmentationConfig(rarity=(1.0, 0.0)), "rarity must hold numbers above 0"),
        (lambda: SegmentationConfig(rarity=(1.0, math.nan)), "rarity"),
        (lambda: CategorisationConfig(label_smoothing=1.5), r"label_smoothing 1.5 must lie in \[0, 1\]"),
        (lambda: SegmentationConfig(rarest=0.5), "rarest must be 1 or more"),
        (lambda: SegmentationConfig(weighting="Paper"), "weighting 'Paper' is not one of"),  # type: ignore[arg-type]
        (lambda: CategorisationConfig(labels="none"), "labels 'none'"),  # type: ignore[arg-type]
        (lambda: Im2PxStrategyConfig(labels=""), "labels ''"),  # type: ignore[arg-type]
        (lambda: PropagationConfig(seeds="all"), "seeds 'all'"),  # type: ignore[arg-type]
        (lambda: PropagationConfig(iterations=0), "k and iterations must be 1 or more; got 50 and 0"),
        (lambda: DDPConfig(powersgd_start=1), "powersgd_start 1 must be 2 or more"),
        (lambda: DDPConfig(backend="mpi"), "backend 'mpi'"),  # type: ignore[arg-type]
        (lambda: PeersConfig(expiry_s=0), "expiry_s 0"),
        (lambda: PeersConfig(loss="l2"), "loss 'l2'"),  # type: ignore[arg-type]
        (lambda: RunConfig(name="a", seed=-1), "seed"),
        (lambda: RunConfig(name="a", peers=PeersConfig(seed=-3)), "peers.seed"),
    ],
)
def test_settings_that_cannot_be(make: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        make()


@pytest.mark.parametrize("kind", STRATEGIES, ids=lambda k: k.__name__)
def test_each_setting_of_a_strategy_can_be_set_by_words(kind: Any) -> None:
    """And nothing else moves with it."""
    base = RunConfig(name="a", strategy=kind())
    for field in dataclasses.fields(kind):
        value = getattr(base.strategy, field.name)
        if field.name == "name" or not isinstance(value, int | float) or isinstance(value, bool):
            continue
        other = 2 if value == 1 else 1
        try:
            changed = override(base, {f"strategy.{field.name}": str(other)})
        except OptionError as error:
            assert field.name in str(error)  # noqa: PT017 - which of the two happens is the question
            continue
        assert getattr(changed.strategy, field.name) == other
        assert differences(base.to_json(), changed.to_json()) == [f"strategy.{field.name}"]
