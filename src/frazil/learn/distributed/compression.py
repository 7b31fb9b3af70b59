"""Gradients that travel in few bytes: sparse ones, and those of 8, 4 and 1 bit, with memory of what was left out.

Every process packs its gradient into bytes, all processes get the bytes of all, and each takes the mean of what it
unpacks. What packing lost is kept and added to the next gradient (error feedback), so that nothing is lost for good;
only QSGD goes without, since its rounding at random is right on average.

References:
    Seide, F. et al. (2014), 1-bit stochastic gradient descent. Interspeech 2014 (error feedback).
    Strom, N. (2015), Scalable distributed DNN training using commodity GPU cloud computing. Interspeech 2015
    (threshold: what is larger travels as a place and a sign).
    Alistarh, D. et al. (2017), QSGD. NeurIPS 2017. doi:10.48550/arXiv.1610.02132 (section 3.1, levels of the norm).
    Lin, Y. et al. (2018), Deep gradient compression. ICLR 2018. doi:10.48550/arXiv.1712.01887 (largest values).
    Karimireddy, S. P. et al. (2019), Error feedback fixes signSGD. ICML 2019. doi:10.48550/arXiv.1901.09847
    (algorithm 1: the sign times the mean size).
"""

# No postponed annotations: PyTorch compares those of a hook with its own classes.
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, distributed
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.futures import Future

BLOCK = 512  #: values that share one scale


class Codec(Protocol):
    """A way to write a gradient, float32 (n,), as bytes, uint8 (m,), and back.

    Attributes:
        even: whether gradients of one size become messages of one size.
    """

    @property
    def even(self) -> bool: ...  # noqa: D102

    def pack(self, values: Tensor) -> Tensor:
        """The bytes."""
        ...

    def unpack(self, message: Tensor, n: int) -> Tensor:
        """What they say of n values, float32."""
        ...


@dataclass(frozen=True)
class TopK:
    """The share of the values that are largest in size, each as its place (int32) and itself (float32).

    Attributes:
        share: above 0 and at most 1; one value at least travels.
    """

    share: float
    even: bool = True

    def pack(self, values: Tensor) -> Tensor:
        """See `Codec`."""
        k = min(max(round(self.share * values.numel()), 1), values.numel())
        place = values.abs().topk(k, sorted=False).indices
        return torch.cat([_bytes(place.to(torch.int32)), _bytes(values[place])])

    def unpack(self, message: Tensor, n: int) -> Tensor:
        """See `Codec`."""
        half = message.numel() // 2
        place, value = message[:half].view(torch.int32).long(), message[half:].view(torch.float32)
        return torch.zeros(n, device=message.device).scatter_(0, place, value)


@dataclass(frozen=True)
class Threshold:
    """Values of at least a size, each as its place and sign in 32 bits; what arrives is the size with the sign.

    Attributes:
        size: above 0, in the units of the gradient.
    """

    size: float
    even: bool = False

    def pack(self, values: Tensor) -> Tensor:
        """See `Codec`."""
        place = (values.abs() >= self.size).nonzero().flatten()
        return _bytes((place << 1 | (values[place] < 0)).to(torch.int32))

    def unpack(self, message: Tensor, n: int) -> Tensor:
        """See `Codec`."""
        code = message.view(torch.int32).long()
        sign = 1.0 - 2.0 * (code & 1).float()
        return torch.zeros(n, device=message.device).scatter_(0, code >> 1, self.size * sign)


@dataclass(frozen=True)
class Levels:
    """Whole multiples of a part of each block's largest value, to the nearest.

    Attributes:
        bits: 8 or 4 of a value.
    """

    bits: int
    even: bool = True

    def pack(self, values: Tensor) -> Tensor:
        """See `Codec`."""
        blocks = _blocks(values)
        scale = blocks.abs().amax(1)
        level = (blocks / _safe(scale)[:, None] * _top(self.bits)).round()
        return torch.cat([_bytes(scale), _packed(level, self.bits)])

    def unpack(self, message: Tensor, n: int) -> Tensor:
        """See `Codec`."""
        return _scaled(message, n, self.bits)


@dataclass(frozen=True)
class QSGD:
    """As `Levels`, but of the block's Euclidean norm, and rounded at random so that the mean is right.

    Attributes:
        bits: 8 or 4 of a value.
    """

    bits: int
    even: bool = True

    def pack(self, values: Tensor) -> Tensor:
        """See `Codec`; draws from PyTorch's generator of the device."""
        blocks = _blocks(values)
        scale = torch.linalg.vector_norm(blocks, dim=1)
        exact = blocks / _safe(scale)[:, None] * _top(self.bits)
        below = exact.floor()
        level = below + (torch.rand_like(exact) < exact - below)
        return torch.cat([_bytes(scale), _packed(level, self.bits)])

    def unpack(self, message: Tensor, n: int) -> Tensor:
        """See `Codec`."""
        return _scaled(message, n, self.bits)


@dataclass(frozen=True)
class Sign:
    """The sign of every value, a bit each, times the mean size in its block."""

    even: bool = True

    def pack(self, values: Tensor) -> Tensor:
        """See `Codec`."""
        blocks = _blocks(values)
        last = values.numel() - (len(blocks) - 1) * BLOCK
        count = torch.full((len(blocks),), float(BLOCK), device=values.device)
        count[-1] = last
        scale = blocks.abs().sum(1) / count
        bit = (blocks.reshape(-1, 8) >= 0).to(torch.uint8) << torch.arange(8, device=values.device, dtype=torch.uint8)
        return torch.cat([_bytes(scale), bit.sum(1, dtype=torch.uint8)])

    def unpack(self, message: Tensor, n: int) -> Tensor:
        """See `Codec`."""
        scale, rest = _split(message, n)
        bit = rest[:, None] >> torch.arange(8, device=message.device, dtype=torch.uint8) & 1
        return ((2.0 * bit.reshape(-1, BLOCK).float() - 1.0) * scale[:, None]).flatten()[:n]


class CompressedMean:
    """What `DistributedDataParallel` calls for a bucket of gradients, in place of its own averaging.

    Args:
        codec: how they travel.
        feedback: keep what packing lost for the next gradient.
    """

    def __init__(self, codec: Codec, *, feedback: bool) -> None:
        self.codec, self.feedback = codec, feedback
        self.lost: dict[Tensor, Tensor] = {}  # by parameter: buckets are dealt out anew after the first step

    def of(self, bucket: GradBucket) -> Future[Tensor]:
        """The mean of what all processes send."""
        values = bucket.buffer().float()
        parameters = bucket.parameters()
        if self.feedback:
            values = values + torch.cat([self._lost_of(p) for p in parameters])
        mean, own = self.exchange(values)
        if self.feedback:
            pieces = (values - own).split([p.numel() for p in parameters])
            self.lost.update(zip(parameters, pieces, strict=True))
        # Waited for already, so that no thread of gloo's calls Python: simple, and nothing computes beside it here.
        done: Future[Tensor] = Future()
        done.set_result(bucket.buffer().copy_(mean))
        return done

    def exchange(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the values (n,) of all processes as they arrive, and what arrived of this one's own."""
        message, n = self.codec.pack(values), values.numel()
        rank, world = distributed.get_rank(), distributed.get_world_size()
        sizes = [message.numel()] * world
        if not self.codec.even:
            every = [torch.zeros(1, dtype=torch.int64, device=message.device) for _ in range(world)]
            distributed.all_gather(every, torch.tensor([message.numel()], device=message.device))
            sizes = [int(one) for one in every]
            message = torch.nn.functional.pad(message, (0, max(sizes) - message.numel()))
        inbox = [torch.empty_like(message) for _ in range(world)]
        distributed.all_gather(inbox, message)
        arrived = [self.codec.unpack(one[:size], n) for one, size in zip(inbox, sizes, strict=True)]
        return torch.stack(arrived).mean(0), arrived[rank]

    def _lost_of(self, parameter: Tensor) -> Tensor:
        known = self.lost.get(parameter)
        return torch.zeros(parameter.numel(), device=parameter.device) if known is None else known


def compressed_mean(mean: CompressedMean, bucket: GradBucket) -> Future[Tensor]:
    """A communication hook of `DistributedDataParallel`, whose state is the first argument."""
    return mean.of(bucket)


def _bytes(values: Tensor) -> Tensor:
    return values.contiguous().view(torch.uint8)


def _blocks(values: Tensor) -> Tensor:
    return torch.nn.functional.pad(values, (0, -values.numel() % BLOCK)).reshape(-1, BLOCK)


def _safe(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, 1.0)


def _top(bits: int) -> int:
    return int(2 ** (bits - 1) - 1)


def _packed(level: Tensor, bits: int) -> Tensor:
    """Levels from −127 to 127 as they are; from −7 to 7 two a byte."""
    if bits == 8:
        return _bytes(level.to(torch.int8)).flatten()
    pairs = (level + 8).to(torch.uint8).reshape(-1, 2)
    return pairs[:, 0] | pairs[:, 1] << 4


def _split(message: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The scales of blocks, and what comes after them."""
    head = 4 * -(-n // BLOCK)
    return message[:head].clone().view(torch.float32), message[head:]  # a copy begins where float32 may


def _scaled(message: Tensor, n: int, bits: int) -> Tensor:
    scale, rest = _split(message, n)
    level = rest.view(torch.int8).float() if bits == 8 else torch.stack([rest & 15, rest >> 4], 1).flatten() - 8.0
    return (level.reshape(-1, BLOCK) * (scale / _top(bits))[:, None]).flatten()[:n]
