"""The port of a parameter server: who may come in, and what each connection is told.

A thread a connection reads frames (`frazil.learn.distributed.frames`) and asks the center
(`frazil.learn.distributed.center`). Whatever a stranger sends costs at most the stranger's connection and one line of
words. Before somebody has shown who it is, 64 KiB are read of it at most, within half a minute.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch

from frazil import __version__
from frazil.errors import OptionError, printable
from frazil.learn.config import ServerConfig, differences
from frazil.learn.config.server import host_and_port, stays_inside
from frazil.learn.distributed.center import Center, GoneError, Member, RefusedError
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
from frazil.learn.distributed.manifest import NAME
from frazil.untrusted import read_bytes

_LOG = logging.getLogger(__name__)
_STRANGERS = 32  # connections beyond those of workers
_REFUSALS = 100  # that are told; of the others every hundredth
_LETTERS = 300
_AGAIN_S, _CLOSE_S = 0.1, 2.5
_TOKEN_BYTES = (16, 1024)


def read_token(path: str | None) -> str:
    """The words by which server and workers know each other; none without a file.

    Raises:
        OptionError: the file cannot be read, or holds too little.
    """
    if path is None:
        return ""
    least, most = _TOKEN_BYTES
    try:
        token = read_bytes(path, most).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"Cannot read server.token_file {path}: {error}.") from error
    if len(token.encode()) < least:
        raise OptionError(
            f"server.token_file {path} holds {len(token)} letters, expected {least} or more: "
            "`openssl rand -hex 32 > FILE` makes some."
        )
    return token


class Server:
    """Listens, and serves workers until it is closed.

    Args:
        center: the weights.
        settings: of the server.
        common: settings that workers must share, as JSON.
        facts: what a worker is told when it comes, and must find likewise.

    Raises:
        OptionError: an address that cannot be listened at, or that others reach without a token.
    """

    def __init__(
        self, center: Center, settings: ServerConfig, common: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> None:
        assert settings.address is not None
        self.center, self.settings, self.common, self.facts = center, settings, common, facts
        self.layouts, self.digest = Layouts(center.network), network_digest(center.network)
        self.token = read_token(settings.token_file)
        self.result: tuple[dict[str, Any], bytearray] | None = None
        self.refused, self.closed = 0, False
        host, port = host_and_port(settings.address)
        if not self.token and not stays_inside(host):
            raise OptionError(
                f"Other machines reach {settings.address}. Pass --token-file FILE with a secret of {_TOKEN_BYTES[0]} "
                "letters or more, the same on every machine; or listen at 127.0.0.1."
            )
        try:
            kind = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.listener = socket.create_server((host, port), family=kind, backlog=_STRANGERS)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise OptionError(f"Cannot listen at {settings.address}: {why}. Choose another address.") from error
        self.places = threading.BoundedSemaphore(settings.workers * 2 + _STRANGERS)
        self.open: dict[int, Channel] = {}
        self.threads: set[threading.Thread] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self) -> str:
        """HOST:PORT that it listens at."""
        host, port = self.listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def finish(self, facts: dict[str, Any]) -> None:
        """Give the network, which is the result now, to all workers that ask for it."""
        with self.center.changed:
            self.result = (facts, self.layouts.pack(self.center.parameters, self.center.buffers))
            self.center.changed.notify_all()

    def close(self) -> None:
        """Listen no more, end all connections, and wait for their threads: a process that ends around them aborts."""
        self.closed = True
        self.listener.close()
        for channel in list(self.open.values()):
            channel.close()
        deadline = time.monotonic() + _CLOSE_S
        for thread in list(self.threads):
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _listen(self) -> None:
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                if self.closed:
                    return
                time.sleep(_AGAIN_S)  # too many open files, or a connection that was torn while it waited
                continue
            where = f"{peer[0]}:{peer[1]}"
            if not self.places.acquire(blocking=False):
                self._tell(where, "there are too many connections")
                connection.close()
                continue
            thread = threading.Thread(target=self._serve, args=(connection, where), daemon=True)
            self.threads.add(thread)
            thread.start()

    def _tell(self, where: str, why: str) -> None:
        self.refused += 1
        if self.refused <= _REFUSALS or self.refused % _REFUSALS == 0:
            _LOG.warning("Refused %s: %s.", where, printable(why.replace("\n", " "))[:_LETTERS])

    def _serve(self, connection: socket.socket, where: str) -> None:
        channel = None
        try:
            channel = self.open[id(connection)] = Channel(connection)
            self._welcome(channel, where)
        except (FrameError, RefusedError) as error:
            self._tell(where, str(error))
            assert channel is not None
            _refuse(channel, error)
        except (LostError, OSError) as error:
            self._tell(where, f"it did not say who it is ({error})")
        finally:
            self.open.pop(id(connection), None)
            connection.close()
            self.threads.discard(threading.current_thread())
            self.places.release()

    def _welcome(self, channel: Channel, where: str) -> None:
        nonce = secrets.token_hex(16)
        channel.send(Kind.CHALLENGE, meta={"nonce": nonce})
        name, shard, identity = self._checked(channel.receive({Kind.HELLO: 0}, idle_s=10.0), nonce)
        member = self.center.join(name, shard, identity)
        visit, why = member.visit, "it ended"
        try:
            self.center.wait(member, visit, lambda: self.center.begun, channel.closed)
            with self.center.changed:
                self.center.settle()
                state = self.layouts.pack(self.center.parameters, self.center.buffers)
                clock, facts = member.clock, {**self.facts, "shard": member.shard}
            channel.send(Kind.WELCOME, clock, facts, state, seconds=self.settings.timeout_s)
            _LOG.info("Worker %s at %s begins at step %d, with share %d.", name, where, clock, member.shard)
            while self._step(channel, member, visit):
                pass
        except (FrameError, RefusedError, LostError, GoneError) as error:
            why = printable(str(error))
            if isinstance(error, (FrameError, RefusedError)):
                _refuse(channel, error)
        finally:
            with self.center.changed:
                member.received += channel.received
                member.sent += channel.sent
                channel.received = channel.sent = 0
                self.center.leave(member, visit, "" if self.closed else why)

    def _checked(self, hello: Frame, nonce: str) -> tuple[str, int | None, str]:
        said = hello.meta
        name, shard, identity = said.get("worker"), said.get("shard"), said.get("identity")
        shown, theirs = said.get("proof"), said.get("settings")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise RefusedError("its name is none")
        if self.token:
            right = proof(self.token, nonce, name).encode()
            if not isinstance(shown, str) or not hmac.compare_digest(shown.encode("utf-8", "replace"), right):
                raise RefusedError(f"worker {name} does not know the token; see server.token_file")
        if said.get("version") != __version__:
            raise RefusedError(f"worker {name} is frazil {said.get('version')!s:.40}, not {__version__}")
        if shard is not None and (type(shard) is not int or shard < 0):
            raise RefusedError(f"the share of worker {name} is none")
        if not isinstance(identity, str) or not 0 < len(identity) <= 64:
            raise RefusedError(f"worker {name} does not tell its identity")
        if said.get("digest") != self.digest:
            raise RefusedError(f"worker {name} trains another network (other names, shapes or types of its weights)")
        if theirs != self.common:
            changed = differences(theirs, self.common) if isinstance(theirs, dict) else ["all"]
            raise RefusedError(f"worker {name} has other settings: {', '.join(map(str, changed[:5]))}")
        return name, shard, identity

    def _step(self, channel: Channel, member: Member, visit: int) -> bool:
        """Serve one frame; False after the last."""
        center, s = self.center, self.settings
        sizes = {Kind.PUSH: self.layouts.both, Kind.DONE: 0}
        frame = channel.receive(sizes, idle_s=s.timeout_s, seconds=s.timeout_s)
        if frame.kind is Kind.DONE:
            center.wait(member, visit, lambda: self.result is not None, channel.closed)
            assert self.result is not None
            facts, state = self.result
            channel.send(Kind.FINAL, center.steps, facts, state, seconds=s.timeout_s)
            return False
        absent, rates = frame.meta.get("absent", []), frame.meta.get("rates")
        if not isinstance(absent, list) or not isinstance(rates, list):
            raise FrameError("a gradient came without its learning rates")
        if not all(type(rate) in (int, float) for rate in rates) or not all(type(i) is int for i in absent):
            raise FrameError("a gradient came with learning rates that are no numbers")
        gradients, buffers = self.layouts.unpack(frame.body)
        none = set(absent)
        given = [None if i in none else g for i, g in enumerate(gradients)]
        lag = center.push(member, visit, frame.clock, given, rates, buffers, channel.closed)
        with center.changed:
            kind, clock = Kind.STOP if center.stopped else Kind.WEIGHTS, member.clock
            with torch.no_grad():
                weights = None if center.stopped else self.layouts.pack(center.parameters)
        channel.send(kind, clock, body=weights, lag=lag, seconds=s.timeout_s)
        return True


def _refuse(channel: Channel, error: FrameError | RefusedError) -> None:
    with suppress(LostError):
        channel.send(Kind.REFUSED, meta={"why": str(error)[:_LETTERS], "again": getattr(error, "again", False)})
        channel.drain()


def serve_until_done(server: Server, tend: Callable[[], bool]) -> None:
    """Let `tend` see to what is due, whenever something is, until it says that the run has ended."""
    center = server.center
    while True:
        with center.changed:
            center.changed.wait_for(lambda: center.looks or center.saves or center.finished, timeout=1.0)
            center.expire()
            if tend():
                return
