"""What travels between a parameter server and its workers: frames on a TCP connection, and nothing that is a program.

A frame is a header of 32 bytes, a little JSON, and the bytes of tensors one after the other. The header says how long
the other two are. Who reads knows which kinds of frame may come and how many bytes of tensors each must have, and reads
no more of anything else. ``torch.distributed.rpc`` would do the same by pickle, which trusts everybody who reaches the
port, and PyTorch has deprecated it.

References:
    https://docs.pytorch.org/docs/stable/rpc.html (the deprecation). RFC 9293 (TCP), RFC 2104 (HMAC).
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
import math
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from frazil.untrusted import parse_json

PROTOCOL = 1
_MAGIC = b"frzl"
_HEADER = struct.Struct("!4sHBxIQIQ")  # magic, protocol, kind, lag, clock, bytes of JSON, bytes of tensors
HEADER_BYTES = _HEADER.size
META_BYTES = 65_536
FRAME_S = 10.0  # a frame without tensors may take so long


class Kind(enum.IntEnum):
    """What a frame is."""

    CHALLENGE = 1  # server: words to answer with
    HELLO = 2  # worker: who it is, and what it trains
    WELCOME = 3  # server: share, clock; weights and buffers
    PUSH = 4  # worker: gradient and buffers
    WEIGHTS = 5  # server: weights
    STOP = 6  # server: no more steps
    DONE = 7  # worker: it has made its steps
    FINAL = 8  # server: weights and buffers of the result
    REFUSED = 9  # server: why


class FrameError(Exception):
    """What came is no frame, or none that may come here."""


class LostError(Exception):
    """The connection has ended, or is too slow."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        kind: see `Kind`.
        clock: steps that the worker has made.
        lag: steps that it is ahead of the slowest.
        meta: the JSON.
        body: bytes of tensors, see `Layout`.
    """

    kind: Kind
    clock: int = 0
    lag: int = 0
    meta: dict[str, Any] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Layout:
    """Where the tensors of a list lie in the bytes of a frame: one after the other, in rows, each of its own type.

    Args:
        like: tensors of these shapes and types.
    """

    def __init__(self, like: Sequence[Tensor]) -> None:
        self.places, self.size = list[tuple[torch.Size, torch.dtype, int]](), 0
        for tensor in like:
            width = tensor.element_size()
            self.size = math.ceil(self.size / width) * width
            self.places.append((tensor.shape, tensor.dtype, self.size))
            self.size += tensor.numel() * width

    def views(self, data: bytearray, start: int = 0) -> list[Tensor]:
        """Tensors that lie in bytes; `start` is a multiple of 8."""
        out = []
        for shape, dtype, offset in self.places:
            n = math.prod(shape)
            whole = torch.frombuffer(data, dtype=dtype, count=n, offset=start + offset) if n else torch.empty(0)
            out.append(whole.to(dtype).view(shape))
        return out


class Layouts:
    """Layouts of one network's parameters and buffers, and of both together."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.parameters = Layout(list(network.parameters()))
        self.buffers = Layout(list(network.buffers()))
        self.gap = -self.parameters.size % 8
        self.both = self.parameters.size + (self.gap + self.buffers.size if self.buffers.size else 0)

    def pack(self, parameters: Sequence[Tensor | None], buffers: Sequence[Tensor] | None = None) -> bytearray:
        """Bytes of parameters, or of their gradients, and of buffers; zeros for None."""
        data = bytearray(self.parameters.size if buffers is None else self.both)
        for place, tensor in zip(self.parameters.views(data), parameters, strict=True):
            if tensor is not None:
                place.copy_(tensor.detach())
        if buffers:
            for place, tensor in zip(self.buffers.views(data, self.parameters.size + self.gap), buffers, strict=True):
                place.copy_(tensor.detach())
        return data

    def unpack(self, data: bytearray) -> tuple[list[Tensor], list[Tensor]]:
        """Parameters and buffers that lie in bytes of both."""
        buffers = self.buffers.views(data, self.parameters.size + self.gap) if self.buffers.size else []
        return self.parameters.views(data), buffers


def network_digest(network: torch.nn.Module) -> str:
    """By which server and worker know that they mean the same numbers: names, shapes, types, and the order of bytes."""
    named = [*network.named_parameters(), *network.named_buffers()]
    words = [PROTOCOL, sys.byteorder, [(name, list(t.shape), str(t.dtype)) for name, t in named]]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def proof(token: str, nonce: str, worker: str) -> str:
    """What one who knows the token answers to a nonce; the token itself never travels."""
    return hmac.new(token.encode(), f"{nonce}/{worker}".encode(), hashlib.sha256).hexdigest()


class Channel:
    """One side of a connection.

    Args:
        connection: the socket, which this closes.

    Attributes:
        sent: bytes so far; `received` likewise.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.sent, self.received = connection, 0, 0
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # finds a machine that is gone
        for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(
        self,
        kind: Kind,
        clock: int = 0,
        meta: Mapping[str, object] | None = None,
        body: bytearray | None = None,
        *,
        lag: int = 0,
        seconds: float = FRAME_S,
    ) -> None:
        """Send a frame; raises LostError where it cannot be sent in time."""
        words, tensors = json.dumps(meta or {}).encode(), body or bytearray()
        head = _HEADER.pack(_MAGIC, PROTOCOL, kind, min(lag, 2**32 - 1), clock, len(words), len(tensors))
        try:
            self.connection.settimeout(seconds)
            self.connection.sendall(head + words)
            if tensors:
                self.connection.sendall(tensors)
        except OSError as error:
            raise LostError(str(error) or type(error).__name__) from error
        self.sent += len(head) + len(words) + len(tensors)

    def receive(self, sizes: Mapping[Kind, int], *, idle_s: float | None, seconds: float = FRAME_S) -> Frame:
        """The next frame.

        Args:
            sizes: kinds that may come, and how many bytes of tensors each has.
            idle_s: how long it may be until it begins; None waits for ever.
            seconds: how long it may take from there on.

        Raises:
            FrameError: something else came. LostError: nothing came.
        """
        head = self._exactly(_HEADER.size, idle_s, seconds)
        magic, protocol, number, lag, clock, n_words, n_body = _HEADER.unpack(head)
        if magic != _MAGIC:
            raise FrameError(f"what came is not of this protocol (its first bytes are {bytes(head[:8])!r})")
        if protocol != PROTOCOL:
            raise FrameError(f"it speaks protocol {protocol}, not {PROTOCOL}")
        if number not in sizes:
            raise FrameError(f"a frame of kind {number} came, expected {' or '.join(k.name for k in sizes)}")
        kind = Kind(number)
        if n_words > META_BYTES:
            raise FrameError(f"a message of {n_words} bytes came, expected at most {META_BYTES}")
        if n_body != sizes[kind]:
            raise FrameError(f"tensors of {n_body} bytes came, expected {sizes[kind]}")
        deadline = time.monotonic() + seconds
        words = self._exactly(n_words, None, seconds, deadline)
        body = self._exactly(n_body, None, seconds, deadline)
        self.received += len(head) + n_words + n_body
        try:
            meta = parse_json(bytes(words))
        except ValueError as error:
            raise FrameError("its message is no JSON") from error
        if not isinstance(meta, dict):
            raise FrameError("its message is no JSON object")
        return Frame(kind, clock, lag, meta, body)

    def _exactly(self, size: int, idle_s: float | None, seconds: float, deadline: float | None = None) -> bytearray:
        data, got = bytearray(size), 0
        view = memoryview(data)
        while got < size:
            left = idle_s if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise LostError(f"a message took more than {seconds:g} s")
            try:
                self.connection.settimeout(left)
                n = self.connection.recv_into(view[got:])
            except TimeoutError as error:
                raise LostError(f"nothing came for {left or 0:.3g} s") from error
            except OSError as error:
                raise LostError(str(error) or type(error).__name__) from error
            if n == 0:
                raise LostError("the connection was closed")
            deadline, got = deadline or time.monotonic() + seconds, got + n
        return data

    def closed(self) -> bool:
        """Whether the other side has gone, which a thread that waits for something else must ask."""
        try:
            self.connection.settimeout(0)
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def drain(self, most: int = 2**20, seconds: float = 1.0) -> None:
        """Say that nothing more will come, and take in what is under way: else the last words are torn up with it."""
        deadline = time.monotonic() + seconds
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while most > 0 and (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                got = len(self.connection.recv(65_536))
                most -= got or most

    def close(self) -> None:
        """End the connection, also for a thread that is reading from it."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
