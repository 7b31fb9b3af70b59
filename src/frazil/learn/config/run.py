"""What a run is: frozen settings, one group per component, checked when built and saved with the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from frazil.errors import OptionError
from frazil.learn.config.base import Settings
from frazil.learn.config.data import Data, LabelsConfig, PatchData
from frazil.learn.config.distributed import DDPConfig, PeersConfig
from frazil.learn.config.optim import ModelConfig, OptimConfig
from frazil.learn.config.server import ServerConfig
from frazil.learn.config.strategies import StrategyConfig, SupervisedConfig
from frazil.seeds import check_seed


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """One training run.

    Attributes:
        name: of the model it makes.
        seed: of weights, batches and augmentation; equal seeds give equal models on one machine's CPU.
        statement: plain words for the model card on what the model has seen.
    """

    name: str
    seed: int = 0
    statement: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: Data = field(default_factory=PatchData)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    strategy: StrategyConfig = field(default_factory=SupervisedConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    peers: PeersConfig = field(default_factory=PeersConfig)
    ddp: DDPConfig = field(default_factory=DDPConfig)
    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        if self.peers.path is not None and self.optim.compile:
            raise OptionError("optim.compile hides the features that peers compare. Leave one of them out.")
        if self.peers.path is not None and self.server.address is not None:
            raise OptionError("peers.path and server.address are two ways to learn together. Leave one of them out.")
        _check_numbers(self.to_json(), "")

    def to_json(self) -> dict[str, Any]:
        """As saved in a run folder and a model card."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _check_numbers(value: Any, name: str) -> None:
    """Raise OptionError for a setting that is not finite (comparisons with it go astray), or a seed below 0."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_numbers(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_numbers(inner, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{name} {value} is not a number to work with.")
    elif isinstance(value, int) and name.endswith(("seed", "seeds")):
        check_seed(value, name)


_STRATEGIES: dict[str, type] = {kind.name: kind for kind in get_args(get_args(StrategyConfig)[0])}
_UNIONS = ("data", "strategy")  # behind these, pydantic's places name the kind that was chosen


def run_config(values: object) -> RunConfig:
    """A run from what `RunConfig.to_json` gave.

    Raises:
        OptionError: a field that is unknown or cannot hold its value, by name.
    """
    try:
        return TypeAdapter(RunConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [str(part) for part in first["loc"]]
        where = ".".join(place[:1] + place[2:] if place and place[0] in _UNIONS else place)
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise OptionError(f"{where} is not a setting. {_known(values, where)}") from error
        text = str(first["msg"]).removeprefix("Value error, ")
        given = "" if isinstance(first["input"], dict) else f" (given: {first['input']!r:.80})"
        raise OptionError(f"{where or 'run'}: {text}{given}") from error


def override(config: RunConfig, changes: dict[str, str]) -> RunConfig:
    """A run with some settings changed.

    Args:
        config: the run.
        changes: dotted name -> value as written on a command line: JSON, a bare word, or words with commas between.
            ``optim.steps`` counts in place of the run's own ``optim.epochs``.

    Raises:
        OptionError: as `run_config`; both steps and epochs given.
    """
    values = config.to_json()
    if "optim.steps" in changes:
        if changes.get("optim.epochs", "null") != "null":
            raise OptionError("optim.steps and optim.epochs both say how long a run is. Give one of them.")
        values["optim"]["epochs"] = None
    chosen = changes.get("strategy.name")
    if chosen in _STRATEGIES and chosen != config.strategy.name:
        values["strategy"] = _plain(asdict(_STRATEGIES[chosen]()))  # settings of the other strategy go
    for name, text in changes.items():
        place = values
        *groups, last = name.split(".")
        for group in groups:
            inner = place.get(group)
            if not isinstance(inner, dict):
                raise OptionError(f"{name} is not a setting. {_known(values, name)}")
            place = inner
        place[last] = _parsed(text, place.get(last))
    return run_config(values)


def differences(one: Mapping[str, object], other: Mapping[str, object], prefix: str = "") -> list[str]:
    """Dotted names of the settings in which two configs differ."""
    out: list[str] = []
    for key in sorted({*one, *other}):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            out += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            out.append(f"{prefix}{key}")
    return out


def _known(values: Any, name: str) -> str:
    from difflib import get_close_matches

    place: Any = values
    path = []
    *groups, last = name.split(".")
    for group in groups:
        if not isinstance(place.get(group), dict):
            break
        place = place[group]
        path.append(group)
    names = [known for known in _dotted(values) if known != name]
    near = [known for known in names if known.split(".")[-1] == last] or get_close_matches(name, names, 1, 0.8)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{'.'.join(path) or 'A run'} has {sorted(set(place) - {last})}.{hint}"


def _dotted(values: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _parsed(text: str, now: Any) -> Any:
    import json

    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if isinstance(now, str) and not isinstance(value, str):
        return text  # a name or a statement may look like a number
    if isinstance(now, list) and not isinstance(value, list):
        words = [w.strip() for w in text.split(",") if w.strip()]
        return [_parsed(w, None) for w in words]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
