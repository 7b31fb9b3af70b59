"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from frazil.errors import TrainingError
from frazil.learn.config import OptimConfig
from frazil.learn.state import Progress, load_state, save_state

_SAVE_EVERY_S = 60.0


class Strategy(Protocol):
    """What the loop asks of a way to learn; only `step` must be written anew.

    Attributes:
        networks: all that is trained, by name.
        result: what maps scenes: one of them, or an average of one.
    """

    networks: dict[str, nn.Module]
    result: nn.Module

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss to descend and what to log."""
        ...

    def rates(self, step: int, config: OptimConfig) -> dict[str, float]:
        """The learning rate of each network."""
        return dict.fromkeys(self.networks, learning_rate(config, step))

    def after_step(self, step: int) -> None:  # noqa: ARG002 - for those who want it
        """Called when the networks have moved."""
        return

    def tensors(self) -> dict[str, Tensor]:
        """What a killed run needs to go on, besides networks and optimiser."""
        return {}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:  # noqa: ARG002 - for those who want it
        """Take back what `tensors` gave."""
        return

    def notes(self) -> dict[str, object]:
        """What the model card is to say of what the strategy has decided, as JSON has it."""
        return {}


def seed_everything(seed: int) -> None:
    """Same seed, same machine, same result: seeds torch and asks it for deterministic algorithms.

    Everything else that is random draws from generators of its own, made from the run's seed.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


def learning_rate(config: OptimConfig, step: int) -> float:
    """Linear warm-up, then as `OptimConfig.schedule` says."""
    return scheduled(config, config.lr, step, config.steps)


def scheduled(config: OptimConfig, lr: float, step: int, steps: int) -> float:
    """The learning rate at a step of a stage of so many steps that peaks at `lr`."""
    if step < config.warmup:
        return lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return lr
    if config.schedule == "steps":
        return lr * 0.1 ** sum(step >= share * steps for share in config.milestones)
    done = (step - config.warmup) / max(steps - config.warmup, 1)
    return lr * 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(networks: dict[str, nn.Module]) -> list[dict[str, Any]]:
    """Of an optimiser; a network with an attribute ``lr_scale`` learns at that multiple of the rate."""
    return [
        {"params": list(network.parameters()), "network": name, "scale": float(getattr(network, "lr_scale", 1.0))}
        for name, network in networks.items()
    ]


def make_optimiser(networks: dict[str, nn.Module], config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser over all networks, see `parameter_groups`."""
    groups = parameter_groups(networks)
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            groups, config.lr, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=config.momentum > 0
        )
    kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, weight_decay=config.weight_decay)


def train_loop(
    strategy: Strategy,
    config: OptimConfig,
    *,
    device: torch.device | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    validate_every: int = 0,
    state: Path | None = None,
    writes: bool = True,
    log: Callable[[int, dict[str, float]], None] | None = None,
    resumed: Callable[[Progress], None] | None = None,
    optimiser: torch.optim.Optimizer | None = None,
    start: int = 0,
) -> Progress:
    """Train a strategy's networks in place; they end in evaluation mode.

    Args:
        strategy: how to learn.
        config: optimiser settings.
        device: for autocast; the CPU by default.
        validate: scores of the network so far, ``macro_f1`` among them.
        validate_every: steps from one look to the next; 0 looks only at the end.
        state: file to go on from, if it is there, and to keep up to date.
        writes: whether this process keeps it up to date; of several that train in step, one does.
        log: called after every step with its number and logs, and after every look with ``validation_…`` scores.
        resumed: called once before the first step, with what was found in `state`.
        optimiser: over `parameter_groups`, in place of one made as `config` says; it clips gradients itself.
        start: step to begin at, where `state` does not say.

    Raises:
        TrainingError: a loss or gradient that is not finite; the step is not taken.

    Returns:
        How the run went. The weights kept are those of the last step, or of the best look if `config` says so.
    """
    clip = config.clip if optimiser is None else 0.0
    optimiser = optimiser or make_optimiser(strategy.networks, config)
    progress, best = Progress(step=start), dict[str, Tensor]()
    if state is not None and state.exists():
        progress, best = load_state(state, strategy.networks, optimiser, strategy.load_tensors)
    if resumed:
        resumed(progress)
    kind = (device or torch.device("cpu")).type
    autocast = torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bfloat16")
    buffers = [buffer for network in strategy.networks.values() for buffer in network.buffers()]
    before, saved, started = progress.seconds, time.monotonic(), time.monotonic()
    while progress.step < config.steps and not progress.stopped:
        _set_mode(strategy, training=True)
        rates = strategy.rates(progress.step, config)
        for group in optimiser.param_groups:
            group["lr"] = rates[group["network"]] * group["scale"]
        remembered = [buffer.clone() for buffer in buffers]
        with autocast:
            loss, logs = strategy.step(progress.step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if not _sound(loss, strategy.networks):
            for buffer, was in zip(buffers, remembered, strict=True):
                buffer.copy_(was)  # batch norm has taken up what was not finite
            if state is not None and writes and progress.step:
                save_state(state, strategy.networks, optimiser, progress, best, strategy.tensors())
            raise TrainingError(_diverged(progress.step, rates, config, state if writes else None))
        if clip:
            for network in strategy.networks.values():
                nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimiser.step()
        strategy.after_step(progress.step)
        if log:
            log(progress.step, logs)
        progress.step += 1
        progress.seconds = before + time.monotonic() - started
        last = progress.step == config.steps
        looking = validate is not None and (last or (validate_every and progress.step % validate_every == 0))
        if looking:
            assert validate is not None
            _set_mode(strategy, training=False)
            scores = validate(strategy.result)
            best = remember(progress, scores, strategy.result, best, config)
            if log:
                log(progress.step - 1, {f"validation_{k}": v for k, v in scores.items()})
        if state is not None and writes and (looking or last or time.monotonic() - saved > _SAVE_EVERY_S):
            save_state(state, strategy.networks, optimiser, progress, best, strategy.tensors())
            saved = time.monotonic()
    if config.keep == "best" and best:
        strategy.result.load_state_dict(best)
    _set_mode(strategy, training=False)
    return progress


def _sound(loss: Tensor, networks: dict[str, nn.Module]) -> bool:
    """Whether a loss and all gradients are finite; otherwise the step would spoil every weight for good."""
    gradients = [p.grad for network in networks.values() for p in network.parameters() if p.grad is not None]
    norms = torch._foreach_norm(gradients) if gradients else []
    return bool(torch.isfinite(torch.stack([loss.detach().float(), *(n.float() for n in norms)])).all())


def _diverged(step: int, rates: dict[str, float], config: OptimConfig, state: Path | None) -> str:
    advice = [f"a lower optim.lr (now {max(rates.values()):.2g})"]
    if not config.clip:
        advice.append("optim.clip=1")
    if config.precision != "float32":
        advice.append("optim.precision=float32")
    kept = f" The weights before that step are kept in {state}." if state is not None and step else ""
    return (
        f"The loss or its gradient was not finite at step {step + 1} of {config.steps}; training has stopped.{kept} "
        f"Try {', '.join(advice)}, in a new folder; and look for values in the data that are not finite."
    )


def remember(
    progress: Progress, scores: dict[str, float], network: nn.Module, best: dict[str, Tensor], config: OptimConfig
) -> dict[str, Tensor]:
    """Note a look at the validation scenes; returns the best weights so far."""
    progress.validation.append({"step": progress.step, **scores})
    score = scores["macro_f1"]
    if progress.best is None or score > progress.best:
        progress.best, progress.best_step, progress.looks_since = score, progress.step, 0
        if config.keep == "best":
            best = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    else:
        progress.looks_since += 1
    impatient = bool(config.patience) and progress.looks_since >= config.patience
    progress.stopped = impatient or reached(config, scores)
    if config.keep == "best" and reached(config, scores):  # by accuracy it need not be the best in macro-F1
        progress.best_step = progress.step
        best = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    return best


def reached(config: OptimConfig, scores: dict[str, float]) -> bool:
    """Whether scores of a look are what a run was to reach."""
    return config.target > 0 and scores[config.target_score] >= config.target


def _set_mode(strategy: Strategy, *, training: bool) -> None:
    for network in strategy.networks.values():
        network.train(training)
    if strategy.result not in strategy.networks.values():
        strategy.result.eval()  # an average of a network is never trained
