"""Clocks, bounds and updates of a parameter server, without sockets: against updates written out by hand."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from frazil.learn.config import OptimConfig, ServerConfig
from frazil.learn.distributed.center import Center, GoneError, Member, RefusedError

SGD = OptimConfig(optimiser="sgd", momentum=0.0, weight_decay=0.0, clip=0.0)


def make(mode: Any = "synchronous", n: int = 2, steps: int = 1000, optim: OptimConfig = SGD, **settings: Any) -> Center:
    network = nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2))
    return Center(network, optim, ServerConfig(mode=mode, workers=n, **settings), steps)


def joined(center: Center, *names: str) -> list[Member]:
    return [center.join(name, None, f"process of {name}") for name in names]


def gradient(center: Center, value: float) -> list[torch.Tensor | None]:
    return [torch.full_like(p, value) for p in center.parameters]


def push(center: Center, member: Member, value: float = 0.0, *, lr: float = 0.1, clock: int | None = None) -> int:
    at = member.clock if clock is None else clock
    return center.push(
        member, member.visit, at, gradient(center, value), [lr], [b.clone() for b in center.buffers], lambda: False
    )


def beside(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def until(ready: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_synchronous_update_is_of_the_mean_and_waits_for_all() -> None:
    center = make()
    a, b = joined(center, "a", "b")
    before = center.parameters[0].detach().clone()
    first = beside(lambda: push(center, a, 1.0))
    until(lambda: a.pending is not None)
    assert center.updates == 0
    push(center, b, 3.0)
    first.join(5)
    assert (center.updates, a.clock, b.clock) == (1, 1, 1)
    torch.testing.assert_close(center.parameters[0].detach(), before - 0.1 * 2.0)


def test_gradients_are_clipped_where_they_become_an_update() -> None:
    """The mean of two that are large and opposite is small: what each worker clips would not be."""
    center = make(optim=OptimConfig(optimiser="sgd", momentum=0.0, weight_decay=0.0, clip=1.0))
    a, b = joined(center, "a", "b")
    before = torch.cat([p.detach().clone().ravel() for p in center.parameters])
    first = beside(lambda: push(center, a, 100.0, lr=1.0))
    until(lambda: a.pending is not None)
    push(center, b, -99.98, lr=1.0)
    first.join(5)
    after = torch.cat([p.detach().ravel() for p in center.parameters])
    torch.testing.assert_close(after, before - 0.01, atol=1e-4, rtol=0)
    alone = make("asynchronous", 1, optim=OptimConfig(optimiser="sgd", momentum=0.0, weight_decay=0.0, clip=1.0))
    (a,) = joined(alone, "a")
    before = torch.cat([p.detach().clone().ravel() for p in alone.parameters])
    push(alone, a, 100.0, lr=1.0)
    after = torch.cat([p.detach().ravel() for p in alone.parameters])
    assert float((after - before).norm()) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("mode", ["stale", "asynchronous"])
def test_others_apply_gradients_as_they_come(mode: Any) -> None:
    center = make(mode)
    a, b = joined(center, "a", "b")
    before = center.parameters[0].detach().clone()
    assert push(center, a, 1.0) == 1
    assert push(center, a, 1.0, lr=0.2) == 2
    assert push(center, b, 5.0) == 0
    assert center.updates == 3
    torch.testing.assert_close(center.parameters[0].detach(), before - 0.1 * 1 - 0.2 * 1 - 0.1 * 5)


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_a_stale_worker_is_held_exactly_at_the_bound(bound: int) -> None:
    center = make("stale", staleness=bound)
    a, b = joined(center, "a", "b")

    def run() -> None:
        for _ in range(20):
            push(center, b)

    thread = beside(run)
    until(lambda: b.waits and center.updates == bound + 1)
    time.sleep(0.1)
    assert (a.clock, b.clock) == (0, bound + 1)
    push(center, a)
    until(lambda: b.waits and b.clock == bound + 2)
    time.sleep(0.05)
    assert b.clock == bound + 2
    center.leave(a, a.visit, "it was killed")  # nobody is held by one that is gone
    thread.join(5)
    assert b.clock == 20


def race(mode: Any, bound: int) -> list[int]:
    """How far ahead workers were whenever one was let go, with random pauses."""
    center = make(mode, 3, 40, staleness=bound)
    members, lags, lock = joined(center, "a", "b", "c"), list[int](), threading.Lock()

    def run(member: Member) -> None:
        rng = random.Random(member.name)
        while member.clock < 40:
            time.sleep(rng.random() * (0.004 if member.name == "a" else 0.0005))
            lag = push(center, member)
            with lock:
                lags.append(lag)

    threads = [beside(lambda m=m: run(m)) for m in members]  # type: ignore[misc]
    for thread in threads:
        thread.join(20)
    assert center.finished
    assert center.updates == (40 if mode == "synchronous" else 120)
    return lags


@pytest.mark.parametrize("bound", [0, 2])
def test_the_bound_is_never_violated(bound: int) -> None:
    lags = race("stale", bound)
    assert len(lags) == 120
    ahead = sorted(lags)[:-3]  # who has made the last step runs nowhere
    assert max(ahead) <= bound
    assert max(race("asynchronous", bound)) > bound  # what this would find
    assert max(race("synchronous", bound)) == 0


def test_shares_go_by_the_order_of_names_and_stay() -> None:
    center = make("asynchronous", 3)
    c, a = joined(center, "c", "a")
    assert not center.begun
    with pytest.raises(RefusedError, match="its share 3 is none of 0 to 2"):
        center.join("x", 3, "x")
    (b,) = [center.join("b", 0, "b")]
    assert center.begun
    assert (a.shard, b.shard, c.shard) == (1, 0, 2)
    for _ in range(3):
        push(center, a), push(center, b), push(center, c)
    with pytest.raises(RefusedError, match="all 3 workers are here"):
        center.join("d", None, "d")
    with pytest.raises(RefusedError, match="named 'a' is here already") as caught:
        center.join("a", None, "another")
    assert caught.value.again
    center.leave(a, a.visit, "it was killed")
    push(center, b), push(center, c)
    back = center.join("a", None, "another")
    assert (back.shard, back.clock) == (1, 4)  # where the slowest is
    center.leave(back, back.visit, "it was killed")
    new = center.join("d", None, "d")
    assert (new.shard, new.clock, sorted(center.members)) == (1, 4, ["b", "c", "d"])


def test_a_worker_that_dies_holds_nobody_and_its_half_of_a_mean_goes_with_it() -> None:
    center = make(n=3)
    a, b, c = joined(center, "a", "b", "c")
    before = center.parameters[0].detach().clone()

    def die() -> None:
        with pytest.raises(GoneError):
            push(center, a, 100.0)

    dead = beside(die)
    waiting = beside(lambda: push(center, b, 1.0))
    until(lambda: a.pending is not None and b.pending is not None)
    center.leave(a, a.visit, "it was killed")
    push(center, c, 3.0)
    waiting.join(5)
    dead.join(5)
    torch.testing.assert_close(center.parameters[0].detach(), before - 0.1 * 2.0)


def test_a_waiting_worker_that_goes_away_is_noticed_however_busy_the_others_are() -> None:
    center = make("stale", 2, staleness=0)
    a, b = joined(center, "a", "b")
    buffers = [x.clone() for x in center.buffers]
    found: list[str] = []

    def run() -> None:
        try:
            center.push(a, a.visit, 0, gradient(center, 0), [0.1], buffers, lambda: True)
        except GoneError as error:
            found.append(str(error))

    thread = beside(run)
    until(lambda: a.waits)
    deadline = time.monotonic() + 5
    while not found and time.monotonic() < deadline:
        with center.changed:
            center.changed.notify_all()
        time.sleep(0.01)
    thread.join(5)
    assert found == ["the connection was closed"]
    assert b.clock == 0


def test_a_silent_worker_is_dropped_and_a_waiting_one_is_not() -> None:
    center = make(timeout_s=0.2)
    a, b = joined(center, "a", "b")
    waiting = beside(lambda: push(center, a, 1.0))
    until(lambda: a.waits)
    time.sleep(0.25)
    center.expire()
    waiting.join(5)
    assert (a.live, b.live, center.updates) == (True, False, 1)


def test_batch_norm_is_the_mean_of_the_latest_of_the_live() -> None:
    center = make("asynchronous")
    a, b = joined(center, "a", "b")

    def send(member: Member, mean: float, count: int) -> None:
        buffers = [torch.full((2,), mean), torch.full((2,), mean + 1), torch.tensor(count)]
        center.push(member, member.visit, member.clock, gradient(center, 0), [0.1], buffers, lambda: False)

    for member, value, n in ((a, 100.0, 1), (a, 2.0, 7), (b, 4.0, 5)):
        send(member, value, n)
    center.settle()
    mean, variance, count = center.buffers
    assert (mean.tolist(), variance.tolist(), int(count)) == ([3, 3], [4, 4], 7)
    center.leave(a, a.visit, "it was killed")
    send(b, 6.0, 6)
    center.settle()
    assert (mean.tolist(), int(count)) == ([6, 6], 6)
    center.leave(b, b.visit, "it was killed")
    center.settle()
    assert mean.tolist() == [6, 6]


def test_what_cannot_be_an_update_is_refused() -> None:
    center = make("asynchronous")
    a, _ = joined(center, "a", "b")
    before = center.parameters[0].detach().clone()
    for value in (float("nan"), float("inf")):
        with pytest.raises(RefusedError, match="not finite"):
            push(center, a, value)
    for lr in (float("nan"), -1.0, 1e9):
        with pytest.raises(RefusedError, match="learning rates"):
            push(center, a, 1.0, lr=lr)
    for clock in (1, 10**12):
        with pytest.raises(RefusedError, match=f"it sent step {clock}, expected 0"):
            push(center, a, 1.0, clock=clock)
    old = a.visit
    center.join("a", None, "process of a")  # it came back on another connection
    with pytest.raises(GoneError):
        center.push(a, old, 0, gradient(center, 1), [0.1], center.buffers, lambda: False)
    assert torch.equal(center.parameters[0], before)


def test_a_server_that_goes_on_expects_its_workers_back() -> None:
    one = make("stale", 3, staleness=5)
    a, b, c = joined(one, "a", "b", "c")
    for _ in range(4):
        push(one, a), push(one, b)
    push(one, c), push(one, a)
    one.leave(b, b.visit, "it was killed")
    other = make("stale", 3, staleness=5, timeout_s=0.2)
    other.load_tensors(one.tensors())
    assert (other.updates, other.reached, other.begun) == (10, 1, True)
    assert {m.name: (m.shard, m.clock, m.live) for m in other.members.values()} == {
        "a": (0, 5, True),
        "b": (1, 4, False),
        "c": (2, 1, True),
    }
    assert other.join("a", None, "anew").clock == 5
    assert other.lag(other.members["a"]) == 4
    other.members["a"].waits = True
    time.sleep(0.25)
    other.expire()
    assert not other.members["c"].live


def test_nothing_moves_while_the_server_looks_or_saves() -> None:
    center = make("asynchronous", 1, save_every=2)
    (a,) = joined(center, "a")
    push(center, a)
    thread = beside(lambda: [push(center, a), push(center, a)])
    until(lambda: center.saves)
    time.sleep(0.05)
    assert center.updates == 2
    center.rest()
    thread.join(5)
    assert center.updates == 3
