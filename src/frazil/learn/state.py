"""Where a training run stands, in one file, so that it can be killed at any moment and go on.

Tensors are kept by safetensors and numbers in its header: nothing is unpickled. The file appears whole or not at all.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frazil.errors import ModelError
from frazil.files import replaced_file
from frazil.untrusted import parse_json


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: optimiser steps done.
        seconds: spent on them, over all sessions.
        best: score of the best look at the validation scenes, and the step it came after.
        best_step: see `best`.
        looks_since: looks since then.
        stopped: whether the run ended early.
        validation: scores of every look.
    """

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    looks_since: int = 0
    stopped: bool = False
    validation: list[dict[str, float]] = field(default_factory=list)


def save_state(
    path: Path,
    networks: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    best: dict[str, Tensor],
    more: dict[str, Tensor] | None = None,
) -> None:
    """Write networks, optimiser, random numbers, progress and a strategy's tensors as one file, over what was there."""
    tensors: dict[str, Tensor] = {"rng/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    for name, network in networks.items():
        tensors |= {f"network/{name}/{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in best.items()}
    tensors |= {f"strategy/{k}": v for k, v in (more or {}).items()}
    held = optimiser.state_dict()
    plain: dict[str, dict[str, object]] = {}
    for number, values in held["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{number}/{key}"] = value
            elif value is not None:
                plain.setdefault(str(number), {})[key] = value
    header = {
        "progress": json.dumps(asdict(progress)),
        "optimiser": json.dumps(plain),
        "kind": type(optimiser).__name__,
    }
    whole = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with replaced_file(path) as part:
        write_tensors(whole, part, header)


def write_tensors(tensors: dict[str, Tensor], path: Path, header: dict[str, str] | None = None) -> None:
    """Write tensors by safetensors, down to the disk; raises OSError where that does not take them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata=header)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error).splitlines()[0], str(path)) from error


def load_state(
    path: Path,
    networks: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    restore: Callable[[dict[str, Tensor]], None] | None = None,
) -> tuple[Progress, dict[str, Tensor]]:
    """Put a saved state into networks, optimiser and random numbers; returns progress and the best weights.

    Args:
        path: of the file.
        networks: to be filled.
        optimiser: likewise.
        restore: called with the strategy's own tensors.

    Raises:
        ModelError: the file is damaged or of another run.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        progress = _progress(parse_json(header["progress"]))
        plain = parse_json(header["optimiser"])
        kind = header.get("kind", type(optimiser).__name__)  # earlier states do not tell
        if kind != type(optimiser).__name__:
            raise ValueError(f"it is of the optimiser {kind}, not of {type(optimiser).__name__}")
        for name, network in networks.items():
            network.load_state_dict(_under(tensors, f"network/{name}/"))
        held = optimiser.state_dict()
        state: dict[int, dict[str, object]] = {int(number): dict(values) for number, values in plain.items()}
        for key, value in _under(tensors, "optimiser/").items():
            number, _, what = key.partition("/")
            state.setdefault(int(number), {})[what] = value
        _check_moments(state, optimiser)
        optimiser.load_state_dict({"state": state, "param_groups": held["param_groups"]})
        if restore is not None:
            restore(_under(tensors, "strategy/"))
        torch.set_rng_state(tensors["rng/cpu"])
        if "rng/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng/cuda"])
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"The training state {path} is damaged or of another run ({str(error).splitlines()[0]}). "
            "Remove it to start anew."
        ) from error
    return progress, _under(tensors, "best/")


def _progress(values: dict[str, Any]) -> Progress:
    """Progress as it was told; ValueError or TypeError where no run can stand there."""
    made = Progress(**values)
    counts = (made.step, made.best_step, made.looks_since)
    times = (made.seconds, made.seconds if made.best is None else made.best)
    sound = (
        all(type(v) is int and v >= 0 for v in counts)
        and all(type(v) in (int, float) for v in times)
        and type(made.stopped) is bool
        and isinstance(made.validation, list)
        and all(isinstance(look, dict) for look in made.validation)
    )
    if not sound:
        raise ValueError("its progress is not told as it should be")
    return made


def _check_moments(state: dict[int, dict[str, object]], optimiser: torch.optim.Optimizer) -> None:
    """Raise ValueError for moments of another shape than their weight's: PyTorch would take them, and broadcast."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    for number, values in state.items():
        if not 0 <= number < len(weights):
            raise ValueError(f"the optimiser has no weight {number}")
        for what, value in values.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != weights[number].shape:
                raise ValueError(f"{what} of weight {number} is of shape {tuple(value.shape)}")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
