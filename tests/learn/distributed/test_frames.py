"""Frames: what is packed comes out again, and no bytes at all are more than a line of words."""

from __future__ import annotations

import socket

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from frazil.learn.distributed.frames import (
    HEADER_BYTES,
    Channel,
    FrameError,
    Kind,
    Layout,
    Layouts,
    LostError,
    network_digest,
)

TYPES = [torch.float32, torch.float64, torch.int64, torch.uint8, torch.float16]


class Pair(Channel):
    """A channel on a pair of sockets, which have no options of TCP."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.sent, self.received = connection, 0, 0


def pair() -> tuple[Pair, Pair]:
    one, other = socket.socketpair()
    return Pair(one), Pair(other)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 4), max_size=3), st.sampled_from(TYPES)), max_size=6),
    st.integers(0, 2**31),
)
def test_tensors_of_any_shape_and_type_come_out_as_they_went_in(
    kinds: list[tuple[list[int], torch.dtype]], seed: int
) -> None:
    torch.manual_seed(seed)
    tensors: list[Tensor] = [torch.randint(0, 100, shape).to(dtype) for shape, dtype in kinds]
    layout = Layout(tensors)
    data = bytearray(layout.size)
    for view, tensor in zip(layout.views(data), tensors, strict=True):
        view.copy_(tensor)
    for got, want in zip(layout.views(bytearray(bytes(data))), tensors, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
    assert layout.size < sum(t.numel() * t.element_size() for t in tensors) + 8 * (len(tensors) + 1)


def test_a_network_goes_through_with_its_buffers_whatever_its_memory_looks_like() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    network(torch.randn(2, 3, 8, 8))
    last: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    layouts = Layouts(last)
    weights, buffers = list(last.parameters()), list(last.buffers())
    got, theirs = layouts.unpack(layouts.pack(weights, buffers))
    assert all(torch.equal(a, b) for a, b in zip(got, weights, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(theirs, buffers, strict=True))
    absent, _ = layouts.unpack(layouts.pack([None, *weights[1:]], buffers))
    assert not absent[0].any()
    assert network_digest(network) == network_digest(last)
    assert network_digest(network) != network_digest(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(6)))
    assert network_digest(network) != network_digest(network.double())


def test_a_frame_arrives_and_both_sides_count_its_bytes() -> None:
    one, other = pair()
    one.send(Kind.PUSH, 7, {"rates": [0.1]}, bytearray(b"12345678"), lag=3)
    frame = other.receive({Kind.PUSH: 8}, idle_s=1)
    assert (frame.kind, frame.clock, frame.lag, frame.meta, bytes(frame.body)) == (
        Kind.PUSH,
        7,
        3,
        {"rates": [0.1]},
        b"12345678",
    )
    assert one.sent == other.received == HEADER_BYTES + len(b'{"rates": [0.1]}') + 8
    assert not other.closed()
    one.close()
    assert other.closed()
    with pytest.raises(LostError, match="closed"):
        other.receive({Kind.PUSH: 8}, idle_s=1)
    other.close()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_frame_or_told_not_to_be(data: bytes, opens: bool) -> None:
    one, other = pair()
    one.connection.sendall((b"frzl\x00\x01\x02\x00" if opens else b"") + data)
    one.close()
    words = ""
    try:
        frame = other.receive({Kind.HELLO: 0, Kind.DONE: 0}, idle_s=1, seconds=1)
        assert isinstance(frame.meta, dict)
    except (FrameError, LostError) as error:
        words = str(error)
    other.close()
    assert "\n" not in words
