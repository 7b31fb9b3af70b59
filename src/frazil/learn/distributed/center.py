"""Weights that several workers move: the clocks of the workers, and what each mode makes of their gradients.

- ``synchronous``: when all live workers have sent the gradient of a step, one update of their mean. The same as
  Allreduce, or as one process with a larger batch.
- ``stale``: gradients are applied as they come; a worker whose clock is c goes on when c is ahead of the slowest live
  worker's by no more than a bound.
- ``asynchronous``: gradients are applied as they come, and nobody waits.

Gradients are clipped here, where they are what an update is made of. Batch norm's statistics are those of the workers:
of the latest buffers of all live workers the mean, and of whole numbers the largest. Nothing here knows of sockets.

References:
    Li, M. et al. (2014), Scaling distributed machine learning with the parameter server. OSDI 2014.
    Ho, Q. et al. (2013), More effective distributed ML via a stale synchronous parallel parameter server. NIPS 2013.
    Dean, J. et al. (2012), Large scale distributed deep networks. NIPS 2012 (Downpour SGD; there, servers keep shards
    of the weights and Adagrad adapts the rates. Here one server has all weights and the run's own optimiser).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from frazil.learn.config import OptimConfig, ServerConfig
from frazil.learn.train import make_optimiser

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.2  # from one look whether a waiting worker is still there to the next
_PREFIX = "server/"


class RefusedError(Exception):
    """A worker that cannot take part, and why; it may come `again`, or not."""

    def __init__(self, why: str, *, again: bool = False) -> None:
        super().__init__(why)
        self.again = again


class GoneError(Exception):
    """A worker that went away while it waited, or was dropped."""


@dataclass(eq=False)
class Member:
    """A worker.

    Attributes:
        name: of its own.
        shard: its share of the samples; -1 until the order of the names says.
        clock: steps it has made.
        live: whether it is counted with: connected, or expected back after a restart of the server.
        visit: number of its connection; an older one may do nothing any more.
        identity: drawn by its process when it started.
        heard: when it last was, by this machine's clock.
        waits: whether it is the server that keeps it waiting.
        pending: its gradient, where that waits for those of the others.
        rates: learning rates that came with it.
        buffers: its latest.
        received, sent: bytes.
    """

    name: str
    shard: int = -1
    clock: int = 0
    live: bool = False
    visit: int = 0
    identity: str = ""
    heard: float = 0.0
    waits: bool = False
    pending: list[Tensor | None] | None = None
    rates: list[float] = field(default_factory=list)
    buffers: list[Tensor] | None = None
    received: int = 0
    sent: int = 0


class Center:
    """Weights, optimiser and clocks; every method may be called by any thread.

    Args:
        network: whose weights these are.
        optim: of the optimiser, and whether gradients are clipped.
        settings: of the server.
        steps: that each worker makes.
        look_every: updates after which nothing moves until `rest` is called: for looks at the validation scenes.

    Attributes:
        changed: held by whoever reads or changes anything; told of every change.
        updates: so far.
        reached: the clock of the slowest, as high as it ever was: who comes later begins there.
        begun: whether the workers have met.
        stopped: whether the run has ended before its last step.
        settled: whether the network is the result, and takes up nothing more.
        looks, saves: whether a look, or saving the state, is due.
    """

    def __init__(
        self, network: nn.Module, optim: OptimConfig, settings: ServerConfig, steps: int, look_every: int = 0
    ) -> None:
        self.network, self.settings, self.steps, self.clip = network, settings, steps, optim.clip
        self.parameters, self.buffers = list(network.parameters()), list(network.buffers())
        self.optimiser = make_optimiser({"network": network}, optim)
        self.members: dict[str, Member] = {}
        self.changed = threading.Condition()
        self.updates, self.reached, self.look_every, self.visits = 0, 0, look_every, 0
        self.begun = self.stopped = self.settled = self.looks = self.saves = False

    # Who is there

    def join(self, name: str, shard: int | None, identity: str) -> Member:
        """Take a worker in, with the clock to go on from; it may have to wait for `begun`.

        Raises:
            RefusedError: its name or share is another's, or there is nothing left to do.
        """
        with self.changed:
            member = self._admitted(name, shard, identity)
            self.visits += 1
            member.visit, member.identity, member.heard = self.visits, identity, time.monotonic()
            member.live, member.waits, member.pending = True, False, None
            if self.begun:
                member.clock = max(member.clock, self.reached)
            elif len(self.members) == self.settings.workers:
                self._begin()
            self.changed.notify_all()
            return member

    def _admitted(self, name: str, shard: int | None, identity: str) -> Member:
        n, known = self.settings.workers, self.members.get(name)
        if shard is not None and shard >= n:
            raise RefusedError(f"its share {shard} is none of 0 to {n - 1}")
        if known is not None and known.live and known.identity not in ("", identity):
            raise RefusedError(f"a worker named {name!r} is here already", again=True)
        others = [m for m in self.members.values() if m is not known]
        taken = {m.shard for m in others if m.shard >= 0 and (m.live or not self.begun)}
        if shard is not None and shard in taken:
            raise RefusedError(f"another worker has share {shard}", again=True)
        if known is not None:
            if shard is not None:
                known.shard = shard
            return known
        if not self.begun:
            if len(self.members) == n:
                raise RefusedError(f"all {n} workers are here already", again=True)
            self.members[name] = Member(name, -1 if shard is None else shard)
            return self.members[name]
        if self.finished:
            raise RefusedError("the run has ended")
        free = [k for k in range(n) if k not in taken] if shard is None else [shard]
        if not free:
            raise RefusedError(f"all {n} workers are here already", again=True)
        for other in others:
            if other.shard == free[0]:
                del self.members[other.name]  # it has gone, and this one takes its share
        self.members[name] = Member(name, free[0])
        return self.members[name]

    def _begin(self) -> None:
        free = sorted(set(range(self.settings.workers)) - {m.shard for m in self.members.values()})
        for member in sorted(self.members.values(), key=lambda m: m.name):
            if member.shard < 0:
                member.shard = free.pop(0)
        self.begun = True

    def leave(self, member: Member, visit: int, why: str) -> None:
        """Count with a worker no longer, if this was its last visit; without a reason, nothing is said."""
        with self.changed:
            if member.visit != visit or not member.live:
                return
            if not any(m.live for m in self.members.values() if m is not member):
                self.settle()  # with it goes the last that is known of them
            member.live, member.pending, member.buffers, member.waits = False, None, None, False
            if not self.begun:
                del self.members[member.name]
            if why and member.clock < self.steps and not self.stopped:
                _LOG.warning("Worker %s is gone at step %d: %s.", member.name, member.clock, why)
            self._note()
            self._update_of_all()
            self.changed.notify_all()

    def expire(self) -> None:
        """Drop workers that have not been heard of for too long."""
        with self.changed:
            late = time.monotonic() - self.settings.timeout_s
            for member in list(self.members.values()):
                if member.live and not member.waits and member.heard < late and member.clock < self.steps:
                    self.leave(member, member.visit, f"nothing was heard of it for {self.settings.timeout_s:g} s")

    def slowest(self) -> int | None:
        """The least clock of those that are at work; None where nobody is."""
        return min((m.clock for m in self._working()), default=None)

    def _note(self) -> None:
        slowest = self.slowest()
        self.reached = self.reached if slowest is None else max(self.reached, slowest)

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to do."""
        done = any(m.clock >= self.steps for m in self.members.values())
        return self.stopped or (self.begun and done and not self._working())

    def _working(self) -> list[Member]:
        return [m for m in self.members.values() if m.live and m.clock < self.steps]

    # Waiting

    def wait(self, member: Member, visit: int, ready: Callable[[], bool], gone: Callable[[], bool]) -> None:
        """Keep a worker waiting.

        Args:
            member: the worker.
            visit: of which connection.
            ready: asked whenever something has changed.
            gone: whether the worker has left; asked now and then.

        Raises:
            GoneError: it has.
        """
        with self.changed:
            member.waits, looked = True, time.monotonic()
            while True:
                if member.visit != visit or not member.live:
                    raise GoneError("it was dropped, or came back on another connection")
                if ready():
                    break
                self.changed.wait(_LOOK_S)
                if time.monotonic() - looked >= _LOOK_S:  # also where others keep it awake
                    looked = time.monotonic()
                    if gone():
                        raise GoneError("the connection was closed")
            member.waits, member.heard = False, time.monotonic()

    def lag(self, member: Member) -> int:
        """Steps that a worker is ahead of the slowest."""
        slowest = self.slowest()
        return 0 if slowest is None else max(member.clock - slowest, 0)

    # Steps

    def push(
        self,
        member: Member,
        visit: int,
        clock: int,
        gradients: Sequence[Tensor | None],
        rates: Sequence[float],
        buffers: Sequence[Tensor],
        gone: Callable[[], bool],
    ) -> int:
        """Take the gradient of a worker's step, and keep it until it may make the next one; returns its lag then.

        Raises:
            RefusedError: numbers that no update can be made of, or a step out of turn.
            GoneError: the worker has left.
        """
        sound = [t for t in (*gradients, *buffers) if t is not None and t.is_floating_point()]
        if not all(bool(torch.isfinite(t).all()) for t in sound):
            raise RefusedError("its gradient or its buffers are not finite")
        if len(rates) != len(self.optimiser.param_groups) or not all(0 <= rate < 1e6 for rate in rates):
            raise RefusedError("its learning rates are none")
        self.wait(member, visit, lambda: not (self.looks or self.saves), gone)
        with self.changed:
            if clock != member.clock or clock >= self.steps:
                raise RefusedError(f"it sent step {clock}, expected {member.clock}")
            if self.stopped:
                return 0
            member.buffers = [b.clone() for b in buffers]
            if self.settings.mode == "synchronous":
                member.pending, member.rates = list(gradients), list(rates)
                self._update_of_all()
            else:
                member.clock += 1
                self._note()
                self._update([list(gradients)], rates)
            self.changed.notify_all()
            self.wait(member, visit, lambda: self._may_go(member), gone)
            return self.lag(member)

    def _may_go(self, member: Member) -> bool:
        if self.stopped:
            return True
        if self.looks or self.saves or member.pending is not None:
            return False
        return self.settings.mode != "stale" or member.clock >= self.steps or self._near(member)

    def _near(self, member: Member) -> bool:
        return self.lag(member) <= self.settings.staleness

    def _update_of_all(self) -> None:
        """One update of the mean, when all that are at work have sent theirs."""
        working = sorted(self._working(), key=lambda m: m.shard)
        if not working or any(m.pending is None for m in working) or self.stopped:
            return
        for member in working:
            member.clock += 1
        self._note()
        self._update([m.pending for m in working if m.pending is not None], working[0].rates)
        for member in working:
            member.pending = None

    @torch.no_grad()
    def _update(self, gradients: Sequence[Sequence[Tensor | None]], rates: Sequence[float]) -> None:
        for parameter, *each in zip(self.parameters, *gradients, strict=True):
            there = [g for g in each if g is not None]
            parameter.grad = None
            if there:
                total = torch.empty_like(parameter).copy_(there[0])
                for more in there[1:]:
                    total += more.to(total.device)
                parameter.grad = total if len(each) == 1 else total.div_(len(each))
        if self.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
        self.optimiser.step()
        self.updates += 1
        every = self.settings.save_every
        self.looks = bool(self.look_every) and self.updates % self.look_every == 0
        self.saves = bool(every) and self.updates % every == 0

    def rest(self) -> None:
        """What was due is done; workers may go on."""
        with self.changed:
            self.looks = self.saves = False
            self.changed.notify_all()

    @torch.no_grad()
    def settle(self) -> None:
        """Give the network the buffers of its workers."""
        with self.changed:
            if self.settled:
                return
            each = [m.buffers for m in sorted(self.members.values(), key=lambda m: m.shard) if m.buffers is not None]
            for buffer, *theirs in zip(self.buffers, *each, strict=True) if each else ():
                together = torch.stack(theirs)
                buffer.copy_(together.mean(0) if buffer.is_floating_point() else together.amax(0))

    # What a killed server needs to go on

    def tensors(self) -> dict[str, Tensor]:
        """Clocks and shares of the workers."""
        kept = {
            f"{_PREFIX}worker/{m.name}": torch.tensor([m.shard, m.clock, int(m.live)]) for m in self.members.values()
        }
        return {**kept, f"{_PREFIX}updates": torch.tensor([self.updates, self.reached])}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave; workers that were live are expected back."""
        self.updates, self.reached = (int(v) for v in tensors[f"{_PREFIX}updates"])
        for key, value in tensors.items():
            _, is_worker, name = key.partition(f"{_PREFIX}worker/")
            if is_worker:
                shard, clock, live = (int(v) for v in value)
                self.members[name] = Member(name, shard, clock, live=bool(live), heard=time.monotonic())
        self.begun = bool(self.members)
