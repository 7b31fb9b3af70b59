"""The port of a parameter server: strangers, and workers that do not fit, cost a line; the server goes on."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from frazil import __version__
from frazil.errors import OptionError
from frazil.learn.config import RunConfig, ServerConfig
from frazil.learn.data.load import load_data
from frazil.learn.distributed.center import Center
from frazil.learn.distributed.frames import Channel, Frame, Kind, LostError, network_digest, proof
from frazil.learn.distributed.remote import common_settings
from frazil.learn.distributed.server import Server, read_token
from frazil.learn.models import create_model
from tests.learn.distributed.test_ddp import plain_run
from tests.learn.distributed.test_peers import wait_for
from tests.learn.test_run import toy_set


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("set") / "toy.zarr", n=120, size=16)


class Door:
    """A server in this process, and those who knock."""

    def __init__(self, config: RunConfig, **settings: Any) -> None:
        self.data = load_data(config)
        self.config, n = config, len(self.data.scheme.classes)
        self.network = create_model("adhoc", n_channels=3, n_classes=n, settings={**config.model.settings, "patch": 16})
        self.settings = ServerConfig(**{"address": "127.0.0.1:0", "workers": 1, "mode": "asynchronous", **settings})
        self.center = Center(self.network, config.optim, self.settings, 10)
        facts = {"workers": 1, "mode": "asynchronous", "scale_lr": True, "steps": 10}
        self.common = common_settings(config, self.data)
        self.server = Server(self.center, self.settings, self.common, facts)

    def knock(self) -> socket.socket:
        host, port = self.server.address.split(":")
        connection = socket.create_connection((host, int(port)))
        connection.settimeout(10)
        return connection

    def hello(self, token: str = "", **changes: Any) -> tuple[Channel, Frame]:
        channel = Channel(self.knock())
        nonce = channel.receive({Kind.CHALLENGE: 0}, idle_s=10).meta["nonce"]
        said = {
            "worker": "a",
            "shard": None,
            "identity": "x",
            "version": __version__,
            "digest": network_digest(self.network),
            "settings": self.common,
            "proof": proof(token, nonce, "a") if token else None,
        }
        channel.send(Kind.HELLO, meta=said | changes)
        kinds = {Kind.WELCOME: self.server.layouts.both, Kind.REFUSED: 0}
        return channel, channel.receive(kinds, idle_s=10)

    def opens(self, token: str = "") -> None:
        """Whether a worker can still come, make a step and go."""
        channel, frame = self.hello(token)
        assert frame.kind is Kind.WELCOME, frame.meta
        body = bytearray(self.server.layouts.both)
        channel.send(Kind.PUSH, frame.clock, {"rates": [0.1]}, body)
        sizes = {Kind.WEIGHTS: self.server.layouts.parameters.size}
        assert channel.receive(sizes, idle_s=10).clock == frame.clock + 1
        channel.close()
        wait_for(lambda: not self.center.members["a"].live)


@pytest.fixture
def door(patches: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Door]:
    caplog.set_level(logging.WARNING)
    made = Door(plain_run(patches))
    yield made
    made.server.close()


SECRET = "a secret of more than sixteen letters"
HEAD = struct.Struct("!4sHBxIQIQ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digest": "0" * 64}, "worker a trains another network"),
        ({"version": "0.0.1"}, "worker a is frazil 0.0.1, not"),
        ({"version": ["x" * 1000]}, "worker a is frazil"),
        ({"worker": "a/../b"}, "its name is none"),
        ({"worker": ["a"]}, "its name is none"),
        ({"shard": 1}, "its share 1 is none of 0 to 0"),
        ({"shard": True}, "the share of worker a is none"),
        ({"identity": ""}, "does not tell its identity"),
        ({"settings": {}}, "worker a has other settings: classes, labels, model, optim, seed"),
        ({"settings": "x"}, "worker a has other settings: all"),
    ],
)
def test_workers_that_do_not_fit_are_told_why(
    changes: dict[str, Any], words: str, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    _, frame = door.hello(**changes)
    assert frame.kind is Kind.REFUSED
    assert words in frame.meta["why"]
    assert len(caplog.records) == 1
    assert words in caplog.text
    assert "\n" not in caplog.records[0].getMessage()
    door.opens()


def test_a_setting_that_differs_is_named(door: Door) -> None:
    optim = {**door.common["optim"], "lr": 7.0}
    _, frame = door.hello(settings={**door.common, "optim": optim})
    assert frame.meta["why"] == "worker a has other settings: optim.lr"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n", "what came is not of this protocol"),
        (os.urandom(5000), "what came is not of this protocol"),
        (HEAD.pack(b"frzl", 2, 2, 0, 0, 2, 0) + b"{}", "it speaks protocol 2, not 1"),
        (HEAD.pack(b"frzl", 1, 4, 0, 0, 2, 0) + b"{}", "a frame of kind 4 came, expected HELLO"),
        (HEAD.pack(b"frzl", 1, 99, 0, 0, 2, 0) + b"{}", "a frame of kind 99 came"),
        (HEAD.pack(b"frzl", 1, 2, 0, 0, 2**32 - 1, 0) + b"x" * 5000, "a message of 4294967295 bytes came"),
        (HEAD.pack(b"frzl", 1, 2, 0, 0, 2, 2**63) + b"x" * 5000, "tensors of 9223372036854775808 bytes came"),
        (HEAD.pack(b"frzl", 1, 2, 0, 0, 5, 0) + b"[[[[[", "its message is no JSON"),
        (HEAD.pack(b"frzl", 1, 2, 0, 0, 65_536, 0) + b"[" * 65_536, "its message is no JSON"),
        (HEAD.pack(b"frzl", 1, 2, 0, 0, 2, 0) + b"[]", "its message is no JSON object"),
        (HEAD.pack(b"frzl", 1, 2, 0, 0, 9, 0) + b"{}", "it did not say who it is (the connection was closed)"),
        (b"", "it did not say who it is (the connection was closed)"),
    ],
    ids=range(12),
)
def test_what_strangers_send_is_one_line_and_the_server_goes_on(
    data: bytes, words: str, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    with door.knock() as stranger:
        stranger.sendall(data)
        stranger.shutdown(socket.SHUT_WR)
        wait_for(lambda: bool(caplog.records))
    assert words in caplog.text
    assert len(caplog.records) == 1
    door.opens()


def test_slow_strangers_hold_nobody_up(
    door: Door, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = door.knock()
    dripping = threading.Thread(target=_drip, args=(slow, HEAD.pack(b"frzl", 1, 2, 0, 0, 2, 0)), daemon=True)
    dripping.start()
    many = [door.knock() for _ in range(40)]
    wait_for(lambda: "there are too many connections" in caplog.text)
    for one in many:
        one.close()
    wait_for(lambda: len(door.server.open) <= 1)
    door.opens()
    slow.close()


def _drip(connection: socket.socket, data: bytes) -> None:
    try:
        for i in range(len(data)):
            connection.sendall(data[i : i + 1])
            time.sleep(0.1)
    except OSError:
        pass


def test_a_message_may_take_so_long_and_no_longer() -> None:
    one, other = socket.socketpair()
    other.sendall(HEAD.pack(b"frzl", 1, 2, 0, 0, 2, 1000))

    class Plain(Channel):
        def __init__(self, connection: socket.socket) -> None:
            self.connection, self.sent, self.received = connection, 0, 0

    threading.Thread(target=_drip, args=(other, b"{}" + b"x" * 8), daemon=True).start()
    began = time.monotonic()
    with pytest.raises(LostError, match="a message took more than 0.2 s|nothing came"):
        Plain(one).receive({Kind.HELLO: 1000}, idle_s=5, seconds=0.2)
    assert time.monotonic() - began < 2
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("meta", "size", "words"),
    [
        ({"rates": [0.1]}, -4, "tensors of"),
        ({"rates": []}, 0, "its learning rates are none"),
        ({"rates": ["0.1"]}, 0, "learning rates that are no numbers"),
        ({"rates": None}, 0, "without its learning rates"),
        ({"rates": [0.1], "absent": {}}, 0, "without its learning rates"),
        ({"rates": [0.1]}, None, "not finite"),
    ],
)
def test_a_worker_that_sends_nonsense_is_dropped_and_the_weights_stay(
    meta: dict[str, Any], size: int | None, words: str, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    before = [p.detach().clone() for p in door.center.parameters]
    channel, frame = door.hello()
    body = bytearray(door.server.layouts.both + (size or 0))
    if size is None:
        body[:4] = struct.pack("<f", float("nan"))
    channel.send(Kind.PUSH, frame.clock, meta, body)
    assert words in channel.receive({Kind.REFUSED: 0}, idle_s=10).meta["why"]
    channel.close()
    wait_for(lambda: not door.center.members["a"].live)
    assert [r.getMessage().startswith("Worker a is gone at step 0") for r in caplog.records] == [True]
    assert all(torch.equal(a, b) for a, b in zip(before, door.center.parameters, strict=True))
    door.opens()


def test_a_token_is_asked_for_and_does_not_travel(
    patches: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text(SECRET + "\n")
    door = Door(plain_run(patches), token_file=str(tmp_path / "token"))
    try:
        for wrong in ("", "another secret of many letters", SECRET + "x"):
            _, frame = door.hello(wrong)
            assert "worker a does not know the token" in frame.meta["why"]
        assert SECRET not in caplog.text
        _, frame = door.hello(proof="0" * 64)
        assert frame.kind is Kind.REFUSED
        assert proof(SECRET, "one nonce", "a") != proof(SECRET, "another", "a") != proof(SECRET, "another", "b")
        door.opens(SECRET)
    finally:
        door.server.close()


def test_other_machines_are_served_with_a_token_alone(patches: Path, tmp_path: Path) -> None:
    for address in ("0.0.0.0:0", "[::]:0", "example.org:5000"):
        with pytest.raises(OptionError, match="Other machines reach"):
            Door(plain_run(patches), address=address)
    for content, words in (("short", "expected 16 or more"), ("x" * 2000, "Cannot read"), (b"\xff" * 30, "Cannot")):
        (tmp_path / "token").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(OptionError, match=words):
            read_token(str(tmp_path / "token"))
    with pytest.raises(OptionError, match="Cannot read server.token_file"):
        read_token(str(tmp_path / "nothing"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OptionError, match="Cannot listen at 127.0.0.1:.*Choose another address"):
            Door(plain_run(patches), address=f"127.0.0.1:{taken.getsockname()[1]}")
