"""A worker of a parameter server: the ordinary loop, with an optimiser whose step is made elsewhere.

`Remote.step` sends the gradient of a step, with the learning rates of its groups and the buffers of batch norm, and
takes the weights that come back. Nothing else of a run changes. When the connection is lost, the worker looks for the
server, waiting longer from time to time, and goes on at the step that the server names: a server that was killed names
the step of its last saved state, and what came after that is made anew.
"""

from __future__ import annotations

import logging
import random
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from frazil import __version__
from frazil.errors import OptionError, ServerError, printable
from frazil.learn.config import DDPConfig, OptimConfig, RunConfig
from frazil.learn.config.server import host_and_port, stays_inside
from frazil.learn.data.learning_data import LearningData
from frazil.learn.distributed.exchange import check_names
from frazil.learn.distributed.frames import (
    Channel,
    Frame,
    FrameError,
    Kind,
    Layouts,
    LostError,
    network_digest,
    proof,
)
from frazil.learn.distributed.server import read_token
from frazil.learn.distributed.team import Team
from frazil.learn.distributed.worker import model_text
from frazil.learn.state import Progress
from frazil.learn.train import Strategy, parameter_groups

_LOG = logging.getLogger(__name__)
_FIRST_WAIT_S, _LONGEST_WAIT_S, _SLOWER = 0.1, 5.0, 1.6
_CONNECT_S = 10.0
_OWN = ("compile", "precision")  # of `OptimConfig`: how a worker computes is its own


class Loop(Protocol):
    """`frazil.learn.train.train_loop`, with what a worker does not give left out."""

    def __call__(self, *, optimiser: torch.optim.Optimizer, start: int) -> Progress:
        """Train from a step on."""
        ...


class _MovedError(Exception):
    """The server names another step to go on from."""


class _StoppedError(Exception):
    """The server wants no more steps."""


def check_server(config: RunConfig, team: Team | None = None) -> None:
    """Refuse what cannot learn through a server.

    Raises:
        OptionError: a strategy with more than one network, or a worker that is a team.
    """
    if config.strategy.learns_from == "pool":
        raise OptionError(
            f"Strategy {config.strategy.name!r} does not learn through a server. Choose 'supervised', or workers with "
            "--peers."
        )
    if team is not None and team.world > 1:
        raise OptionError("server.address and torchrun are two ways to share a step. Leave one of them out.")


def common_settings(config: RunConfig, data: LearningData) -> dict[str, Any]:
    """What server and workers must share: all that says which numbers are learnt, and in how many steps."""
    whole = config.to_json()
    optim = {k: v for k, v in whole["optim"].items() if k not in _OWN}
    kept = {k: whole[k] for k in ("seed", "model", "labels", "strategy")}
    return {**kept, "optim": optim, "classes": model_text(config, data)}


def scaling(mode: str, scale_lr: bool) -> DDPConfig:
    """How learning rates are scaled: by the number of workers, where an update is made of all their samples."""
    return DDPConfig(scale_lr=scale_lr and mode == "synchronous")


class Line:
    """A worker's connection to its server.

    Args:
        config: the run.
        network: to train, on its device.
        data: of the run.

    Attributes:
        clock: step to make next.
        share: which part of the samples this worker has, as a place in a team.
        ddp: how learning rates are scaled, see `scaling`.
        facts: what the server tells of the run.

    Raises:
        OptionError: a worker without a name, or a token that cannot be read.
        ServerError: no server, or one that refuses this worker.
    """

    def __init__(self, config: RunConfig, network: nn.Module, data: LearningData) -> None:
        self.settings, self.network = config.server, network
        assert self.settings.address is not None
        if not self.settings.worker:
            raise OptionError(
                f"A worker of the server at {self.settings.address} needs a name of its own. Pass "
                "--set server.worker=NAME."
            )
        check_names(worker=self.settings.worker)
        self.where = host_and_port(self.settings.address)
        self.token = read_token(self.settings.token_file)
        if not self.token and not stays_inside(self.where[0]):
            raise OptionError(
                f"{self.settings.address} is another machine. Pass --set server.token_file=FILE, with the words that "
                "its server knows."
            )
        self.common = common_settings(config, data)
        self.identity = uuid.uuid4().hex
        self.layouts, self.digest = Layouts(network), network_digest(network)
        self.parameters, self.buffers = list(network.parameters()), list(network.buffers())
        self.before = 0  # bytes of connections that have ended
        self.lag, self.stopped = 0, False
        self.channel: Channel | None = None
        self.facts: dict[str, Any] = {}
        self.clock = self._connect()
        self.share = Team(int(self.facts["shard"]), int(self.facts["workers"]))
        self.ddp = scaling(str(self.facts["mode"]), bool(self.facts["scale_lr"]))

    @property
    def bytes(self) -> int:
        """Bytes that went over the wire so far."""
        return self.before + (0 if self.channel is None else self.channel.sent + self.channel.received)

    def check_steps(self, steps: int) -> None:
        """Raise OptionError where this worker's samples make another number of steps than the server's."""
        if steps != self.facts["steps"]:
            self.close()
            raise OptionError(
                f"This run has {steps} steps by its own samples, {self.facts['steps']} by those of the server. Give "
                "both the same data, or set optim.steps."
            )

    def follow(self, loop: Loop, networks: dict[str, nn.Module]) -> Progress:
        """Make the steps of this worker, wait for the others, and give the network what came of it."""
        began = time.monotonic()
        try:
            final = self._final(loop, networks)
        finally:
            self.close()
        self._take(final.body, whole=True)
        told = {k: final.meta.get(k) for k in ("step", "best_step")}
        if not all(type(v) is int and 0 <= v <= self.facts["steps"] for v in told.values()):
            raise ServerError(f"The server at {self.settings.address} does not tell how the run ended.")
        return Progress(
            step=int(told["step"] or 0),
            best_step=int(told["best_step"] or 0),
            stopped=bool(final.meta.get("stopped")),
            seconds=time.monotonic() - began,
        )

    def _final(self, loop: Loop, networks: dict[str, nn.Module]) -> Frame:
        while True:
            try:
                if not self.stopped:
                    loop(optimiser=Remote(self, networks), start=self.clock)
                return self._result()
            except _StoppedError:
                continue
            except _MovedError:
                _LOG.warning("The server goes on at step %d; so does this worker.", self.clock)

    def push(self, rates: list[float]) -> None:
        """Send the gradient of the step at `clock`, and take new weights."""
        gradients = [p.grad for p in self.parameters]
        meta: dict[str, object] = {"rates": rates}
        if any(g is None for g in gradients):
            meta["absent"] = [i for i, g in enumerate(gradients) if g is None]
        try:
            assert self.channel is not None
            self.channel.send(
                Kind.PUSH,
                self.clock,
                meta,
                self.layouts.pack(gradients, self.buffers),
                seconds=self.settings.timeout_s,
            )
            frame = self._receive({Kind.WEIGHTS: self.layouts.parameters.size, Kind.STOP: 0})
        except LostError as error:
            self._again(error, self.clock + 1)
            return
        self.clock, self.lag, self.stopped = self.clock + 1, frame.lag, frame.kind is Kind.STOP
        if not self.stopped:
            self._take(frame.body, whole=False)

    def heed(self) -> None:
        """End the loop of `follow` if the server wants no more steps; asked after each."""
        if self.stopped:
            raise _StoppedError

    def close(self) -> None:
        """Part from the server."""
        if self.channel is not None:
            self.before = self.bytes
            self.channel.close()
            self.channel = None

    def _result(self) -> Frame:
        while True:
            try:
                assert self.channel is not None
                self.channel.send(Kind.DONE, self.clock)
                return self._receive({Kind.FINAL: self.layouts.both})
            except LostError as error:
                self._again(error, self.clock)

    def _again(self, why: LostError, expected: int) -> None:
        """Find the server once more; raises _MovedError where it is at another step than expected."""
        _LOG.warning("The server at %s is lost: %s. Looking for it.", self.settings.address, why)
        known = {k: v for k, v in self.facts.items() if k != "bytes"}
        self.clock = self._connect()
        if self.facts != known:
            raise ServerError(f"The server at {self.settings.address} serves another run now. Start this worker anew.")
        if self.clock != expected:
            raise _MovedError

    def _take(self, data: bytearray, *, whole: bool) -> None:
        with torch.no_grad():
            parameters, buffers = self.layouts.unpack(data) if whole else (self.layouts.parameters.views(data), [])
            for weight, new in zip(self.parameters, parameters, strict=True):
                weight.copy_(new)
            for buffer, new in zip(self.buffers if whole else (), buffers, strict=True):
                buffer.copy_(new)

    def _receive(self, sizes: Mapping[Kind, int], idle_s: float | None = None) -> Frame:
        assert self.channel is not None
        try:
            frame = self.channel.receive(
                {**sizes, Kind.REFUSED: 0}, idle_s=idle_s, seconds=max(self.settings.timeout_s, _CONNECT_S)
            )
        except FrameError as error:
            raise ServerError(
                f"What answers at {self.settings.address} is no server of this run: {printable(str(error))}."
            ) from error
        if frame.kind is Kind.REFUSED:
            why = printable(str(frame.meta.get("why"))[:300])
            if frame.meta.get("again") is True:
                raise LostError(why)
            raise ServerError(f"The server at {self.settings.address} refuses this worker: {why}.")
        return frame

    def _connect(self) -> int:
        """Come to the server, take its weights and buffers, and return the step to go on from."""
        self.close()
        deadline, delay = time.monotonic() + self.settings.patience_s, _FIRST_WAIT_S
        while True:
            try:
                return self._shake()
            except (LostError, OSError) as error:
                if isinstance(error, ServerError):
                    raise
                self.close()
                if time.monotonic() + delay > deadline:
                    raise ServerError(
                        f"No server lets this worker in at {self.settings.address} for {self.settings.patience_s:g} s "
                        f"({getattr(error, 'strerror', None) or error}). Start `frazil serve`, and then the same "
                        "command again."
                    ) from error
                time.sleep(delay * random.uniform(0.8, 1.0))
                delay = min(delay * _SLOWER, _LONGEST_WAIT_S)

    def _shake(self) -> int:
        self.channel = Channel(socket.create_connection(self.where, timeout=_CONNECT_S))
        nonce = str(self._receive({Kind.CHALLENGE: 0}, _CONNECT_S).meta.get("nonce"))
        hello = {
            "worker": self.settings.worker,
            "shard": self.settings.shard,
            "identity": self.identity,
            "version": __version__,
            "digest": self.digest,
            "settings": self.common,
            "proof": proof(self.token, nonce, self.settings.worker) if self.token else None,
        }
        self.channel.send(Kind.HELLO, meta=hello)
        frame = self._receive({Kind.WELCOME: self.layouts.both})
        facts = {k: frame.meta.get(k) for k in ("shard", "workers", "mode", "scale_lr", "steps")}
        counts = (facts["shard"], facts["workers"], facts["steps"], frame.clock)
        if not all(type(n) is int and 0 <= n < 2**48 for n in counts):
            raise ServerError(f"The server at {self.settings.address} does not tell this worker's share.")
        self.facts = facts
        self._take(frame.body, whole=True)
        return frame.clock


class Remote(torch.optim.Optimizer):
    """An optimiser that sends gradients through a line and takes weights.

    Args:
        line: to the server, which has the real optimiser.
        networks: what is trained, by name.
    """

    def __init__(self, line: Line, networks: dict[str, nn.Module]) -> None:
        super().__init__(parameter_groups(networks), {"lr": 0.0})
        self.line = line

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make a step on the server."""
        assert closure is None
        self.line.push([float(group["lr"]) for group in self.param_groups])


class WithServer(Strategy):
    """A strategy of one of several workers: what dropout draws is its own, and the log tells of the wire.

    Args:
        inner: the strategy, on this worker's share of the samples.
        line: to the server.
        seed: of the run. What dropout draws is a function of it, the share and the step, where there are several
            workers: a step that is made anew is made alike. One worker alone draws as a run without a server does.

    Raises:
        OptionError: a strategy that trains something else than the one network of the run.
    """

    def __init__(self, inner: Strategy, line: Line, seed: int) -> None:
        self.inner, self.networks, self.result = inner, inner.networks, inner.result
        self.line, self.seed = line, seed
        if list(inner.networks.values()) != [line.network] or inner.result is not line.network:
            raise OptionError("This strategy trains more than one network, which a server does not. Use --peers.")

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of this worker's share."""
        if self.line.share.world > 1:
            drawn = np.random.SeedSequence([self.seed, 60, self.line.share.rank, step]).generate_state(1, np.uint64)
            torch.manual_seed(int(drawn[0] >> np.uint64(1)))
        loss, logs = self.inner.step(step)
        return loss, {**logs, "server_bytes": float(self.line.bytes), "staleness": float(self.line.lag)}

    def rates(self, step: int, config: OptimConfig) -> dict[str, float]:
        """Those of the inner strategy."""
        return self.inner.rates(step, config)

    def after_step(self, step: int) -> None:
        """As the inner strategy."""
        self.inner.after_step(step)
