"""The exchange of weights: whole or not at all, verified, outliving kills, full disks, strangers and liars."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from frazil.errors import OptionError
from frazil.learn.distributed.exchange import Exchange, Peer
from frazil.learn.distributed.manifest import Manifest, checked_weights, fingerprint, parse_manifest
from frazil.learn.distributed.store import Store


def weights(value: float = 0.0, size: int = 50) -> dict[str, torch.Tensor]:
    return {"a": torch.full((size, 3), float(value)), "bn.num_batches_tracked": torch.tensor(int(value))}


def fetched(peer: Peer) -> dict[str, torch.Tensor]:
    assert peer.weights is not None
    return peer.weights


def worker(store: str | Path, name: str, **options: Any) -> Exchange:
    return Exchange(Store(store), run="r", worker=name, like=weights(), model_text="toy, 2 classes", **options)


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, fsspec's memory, and a bucket of a local server."""
    if request.param == "folder":
        yield str(tmp_path / "peers")
        return
    if request.param == "memory":
        import fsspec

        fsspec.filesystem("memory").store.clear()
        yield "memory://peers"
        return
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {k: os.environ.get(k) for k in keys}
    os.environ.update(keys)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"peers-{os.urandom(4).hex()}"  # what the server keeps outlives it
    s3fs.S3FileSystem().mkdir(bucket)
    yield f"s3://{bucket}/run"
    server.stop()
    for key, value in before.items():
        os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)


def test_what_one_publishes_the_others_get(place: str) -> None:
    a, b = worker(place, "a"), worker(place, "b")
    assert a.fetch() == {}
    assert a.publish(weights(1), step=10, samples=100, score=0.5)
    peers = b.fetch()
    assert list(peers) == ["a"]
    assert torch.equal(fetched(peers["a"])["a"], weights(1)["a"])
    assert (peers["a"].manifest.step, peers["a"].manifest.score) == (10, 0.5)
    read = b.traffic.read
    b.fetch()
    assert b.traffic.fetched == 1  # the weights are not read again
    assert b.traffic.read - read < 2000
    for step in range(2, 6):
        a.publish(weights(step), step=step, samples=step)
    assert torch.equal(fetched(b.fetch()["a"])["a"], weights(5)["a"])
    assert a.fetch() == {}
    assert len(a.store.names("r/weights/a")) == 2  # outlived files are gone
    assert len(a.store.names("r/workers/a")) == 2


def test_a_restarted_worker_outranks_its_dead_self_at_step_0(place: str) -> None:
    first = worker(place, "a")
    for step in range(3):
        first.publish(weights(step), step=60 + step, samples=0)
    b = worker(place, "b")
    assert b.fetch()["a"].manifest.step == 62
    again = worker(place, "a")
    again.publish(weights(9), step=0, samples=0)
    assert b.fetch()["a"].manifest.step == 0
    assert torch.equal(fetched(b.peers["a"])["a"], weights(9)["a"])
    first.publish(weights(3), step=63, samples=0)
    assert "under this worker's name" in first.traffic.refused["a"]
    assert again.publish(weights(10), step=1, samples=0)
    assert b.fetch()["a"].manifest.step == 1  # the later start is what others learn from


def test_what_killed_selves_left_is_cleared_away(place: str) -> None:
    for life in range(4):  # each is killed before it has outlived its own
        self_ = worker(place, "a")
        for step in range(3):
            self_.publish(weights(10 * life + step), step=step, samples=0)
    assert len(self_.store.names("r/weights/a")) == 2
    assert len(self_.store.names("r/workers/a")) == 2
    peer = worker(place, "b").fetch()["a"]
    assert torch.equal(fetched(peer)["a"], weights(32)["a"])


def test_a_busy_worker_that_outlives_what_was_listed_is_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = worker(tmp_path, "a")
    busy.publish(weights(), step=1, samples=1)
    names, listings = Store.names, []

    def slow(self: Store, folder: str) -> list[str]:
        found = names(self, folder)
        if folder.endswith("workers/a") and self is not busy.store:
            listings.append(folder)
            if len(listings) < 3:
                for step in range(2, 8):
                    busy.publish(weights(step), step=step, samples=step)
        return found

    monkeypatch.setattr(Store, "names", slow)
    assert worker(tmp_path, "a").incarnation == 2
    assert len(listings) >= 3


def test_a_damaged_manifest_of_oneself_is_outranked_too(tmp_path: Path) -> None:
    former = worker(tmp_path, "a")
    former.publish(weights(), step=1, samples=1)
    (only,) = tmp_path.rglob("workers/a/*.json")
    only.write_bytes(b"{")
    assert worker(tmp_path, "a").incarnation == 2


def test_a_silent_peer_is_gone(tmp_path: Path) -> None:
    a, b = worker(tmp_path, "a"), worker(tmp_path, "b", expiry_s=0.2)
    a.publish(weights(1), step=1, samples=1)
    assert "a" in b.fetch()
    time.sleep(0.25)
    assert b.fetch() == {}
    a.publish(weights(2), step=2, samples=2)
    assert "a" in b.fetch()


def test_clocks_may_be_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = worker(tmp_path, "a"), worker(tmp_path, "b")
    for wrong in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda w=wrong: w)
        a.publish(weights(wrong % 7), step=1, samples=1)
        assert b.fetch()["a"].manifest.published == wrong


def test_other_models_are_refused_by_name(tmp_path: Path) -> None:
    worker(tmp_path, "a").publish(weights(), step=1, samples=1)
    b = Exchange(Store(tmp_path), run="r", worker="b", like=weights(), model_text="toy, 5 classes")
    assert b.traffic.refused == {"a": "it trains another model (toy, 2 classes, here toy, 5 classes)"}
    assert b.fetch() == {}
    c = Exchange(Store(tmp_path), run="r", worker="b", like=weights(size=9), model_text="toy, 2 classes")
    assert "another model" in c.traffic.refused["a"]
    d = Exchange(Store(tmp_path), run="other", worker="b", like=weights(size=9), model_text="toy, 2 classes")
    assert d.traffic.refused == {}


@pytest.mark.parametrize("name", ["", "../b", "a/b", ".hidden", "x" * 65, "a b", "a\n"])
def test_names_that_climb_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="is no name"):
        worker(tmp_path, name)


def manifest_of(data: bytes, **changes: Any) -> bytes:
    values = asdict(
        Manifest(
            run="r",
            worker="x",
            incarnation=1,
            sequence=0,
            token="t",
            model=fingerprint(weights(), "toy, 2 classes"),
            model_text="toy, 2 classes",
            step=1,
            samples=1,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            published=0.0,
        )
    )
    return json.dumps({**values, **changes}).encode()


@pytest.mark.parametrize(
    ("data", "changes", "why"),
    [
        (b"x" * 1000, {}, "cannot be read"),
        (save(weights(1)), {"sha256": "0" * 64}, None),
        (save(weights(1))[:-5], {}, "cannot be read"),
        (save(weights(1, size=51)), {}, "torch.float32 .51, 3., expected"),
        (save({"a": torch.zeros(50, 3)}), {}, "other names"),
        (save({**weights(), "a": torch.full((50, 3), torch.nan)}), {}, "is not finite"),
        (save({**weights(), "a": torch.zeros(50, 3).double()}), {}, "float64"),
        (save(weights(1)), {"size": 10**12}, "has 1000000000000 bytes|have 1000000000000 bytes"),
        (save(weights(1)), {"size": 10}, None),
        (save(weights(1)), {"sha256": "../../../etc/passwd"}, "damaged, or of another version"),
        (save(weights(1)), {"format": 2}, "damaged, or of another version"),
        (save(weights(1)), {"worker": "y"}, "damaged, or of another version"),
        (save(weights(1)), {"step": -1}, "damaged, or of another version"),
        (save(weights(1)), {"score": "high"}, "damaged, or of another version"),
        (save(weights(1)), {"model": "0", "model_text": "<b>"}, "another model"),
    ],
)
def test_liars_are_left_out(tmp_path: Path, data: bytes, changes: dict, why: str | None) -> None:
    b, store = worker(tmp_path, "b"), Store(tmp_path)
    store.write(f"r/weights/x/{hashlib.sha256(data).hexdigest()}.safetensors", data)
    store.write("r/workers/x/0000000001-0000000000.json", manifest_of(data, **changes))
    assert b.fetch() == {}
    if why is not None:
        import re

        assert re.search(why, b.traffic.refused["x"])
    good = save(weights(4))
    store.write(f"r/weights/x/{hashlib.sha256(good).hexdigest()}.safetensors", good)
    store.write("r/workers/x/0000000001-0000000001.json", manifest_of(good, sequence=1))
    assert torch.equal(fetched(b.fetch()["x"])["a"], weights(4)["a"])
    assert "x" not in b.traffic.refused


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_no_manifest_and_no_weights(data: bytes) -> None:
    assert parse_manifest(data, "r", "x") is None
    assert checked_weights(data, {})[1] is not None


def test_a_store_that_fails_costs_one_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = worker(tmp_path, "a"), worker(tmp_path, "b")
    a.publish(weights(1), step=1, samples=1)
    b.fetch()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(Store, "write", full)
        assert not a.publish(weights(2), step=2, samples=2)
        m.setattr(Store, "names", full)
        m.setattr(Store, "read", full)
        assert not a.publish(weights(2), step=2, samples=2)
        assert torch.equal(fetched(b.fetch()["a"])["a"], weights(1)["a"])  # what was there before
    assert a.traffic.failures >= 2
    assert a.publish(weights(3), step=3, samples=3)
    assert torch.equal(fetched(b.fetch()["a"])["a"], weights(3)["a"])


def test_a_stale_handle_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    store = Store(tmp_path)
    store.write("x", b"abc")
    calls = []
    real = os.fstat

    def stale(fd: int) -> os.stat_result:
        calls.append(fd)
        if len(calls) < 3:
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(fd)

    monkeypatch.setattr(os, "fstat", stale)
    assert store.read("x", 10) == b"abc"
    assert len(calls) == 4  # twice in vain; then once by frazil, once by Python, which opens it


def test_places_that_are_none() -> None:
    with pytest.raises(OptionError, match="is no place to exchange at"):
        Store("gopher://old/times")


def _publish_forever(path: str, name: str, size: int) -> None:
    torch.set_num_threads(1)
    exchange = Exchange(Store(path), run="r", worker=name, like=weights(size=size), model_text="toy", expiry_s=1e6)
    for step in range(10**9):
        exchange.publish(weights(step % 100, size), step=step % 100, samples=0)


def test_no_torn_weights_under_fire(tmp_path: Path) -> None:
    """Workers are killed at random moments while another reads: whatever it gets is whole, and in order."""
    size = 40_000
    context = multiprocessing.get_context("fork")
    rng = np.random.default_rng(0)
    reader = Exchange(Store(tmp_path), run="r", worker="reader", like=weights(size=size), model_text="toy")
    processes = {}
    reads, kills = 0, 0
    deadline = time.monotonic() + float(os.environ.get("FRAZIL_FIRE_SECONDS", "6"))
    ranks: dict[str, tuple[int, int]] = {}
    while time.monotonic() < deadline:
        for name in ("a", "b"):
            if name not in processes:
                processes[name] = context.Process(target=_publish_forever, args=(str(tmp_path), name, size))
                processes[name].start()
        for name, peer in reader.fetch().items():
            assert peer.weights is not None
            assert bool((peer.weights["a"] == peer.manifest.step).all())
            assert int(peer.weights["bn.num_batches_tracked"]) == peer.manifest.step
            assert ranks.get(name, (0, 0)) <= peer.manifest.rank
            ranks[name] = peer.manifest.rank
            reads += 1
        if rng.random() < 0.02 and ranks:
            name = str(rng.choice(list(processes)))
            pid = processes[name].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            processes.pop(name).join()
            kills += 1
    for process in processes.values():
        process.kill()
        process.join()
    assert reads > 20
    assert kills > 0
    assert not any("damaged" in why for why in reader.traffic.refused.values())
