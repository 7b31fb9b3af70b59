"""Training in step on several processes: PyTorch's own engine around any strategy.

Each step of a process is a forward pass of one module, so that ``DistributedDataParallel`` averages gradients whatever
the strategy does inside. Local SGD lets every process go by itself and averages weights now and then.

References:
    Goyal, P. et al. (2017), Accurate, large minibatch SGD: training ImageNet in 1 hour. doi:10.48550/arXiv.1706.02677
    (learning rate times the number of processes, with warm-up).
    Vogels, T., Karimireddy, S. P., Jaggi, M. (2019), PowerSGD. NeurIPS 2019. doi:10.48550/arXiv.1905.13727.
    Stich, S. U. (2019), Local SGD converges fast and communicates little. ICLR 2019. doi:10.48550/arXiv.1805.09767.
"""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, distributed, nn

from frazil.learn.config import DDPConfig, OptimConfig
from frazil.learn.data.learning_data import Sampler
from frazil.learn.distributed.compression import (
    QSGD,
    Codec,
    CompressedMean,
    Levels,
    Sign,
    Threshold,
    TopK,
    compressed_mean,
)
from frazil.learn.distributed.team import Team
from frazil.learn.train import Strategy

ALL = -1  #: a partner that stands for all processes


class Sharded:
    """One process's share of a sampler: of a world of W, every W-th batch.

    Together they see in one step what one process with a batch W times as large would see.
    """

    def __init__(self, sampler: Sampler, team: Team) -> None:
        self.sampler, self.team = sampler, team

    @property
    def n_samples(self) -> int:
        """Samples of this process in an epoch."""
        return math.ceil(self.sampler.n_samples / self.team.world)

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Sampler`."""
        return self.sampler.batch(step * self.team.world + self.team.rank, size)

    def class_frequency(self, n_classes: int) -> np.ndarray:
        """See `Sampler`."""
        return self.sampler.class_frequency(n_classes)

    def scene_images(self) -> Iterator[np.ndarray]:
        """See `Sampler`."""
        return self.sampler.scene_images()


def scaled(config: OptimConfig, settings: DDPConfig, world: int) -> OptimConfig:
    """Optimiser settings for so many processes, see `DDPConfig.scale_lr`."""
    if world == 1 or not settings.scale_lr:
        return config
    warmup = config.warmup if config.epochs is None else math.ceil(config.warmup / world)
    return replace(config, lr=config.lr * world, warmup=warmup)


class _Step(nn.Module):
    """A strategy's step as the forward pass of a module."""

    def __init__(self, inner: Strategy) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(inner.networks)
        self.inner = inner

    def forward(self, step: int) -> tuple[Tensor, dict[str, float]]:
        return self.inner.step(step)


class InStep(Strategy):
    """A strategy that all processes of a team follow together.

    Args:
        inner: the strategy, on this process's share of the samples.
        settings: of the engine.
        team: of processes, which have met.
        steps: of the run.
        seed: of the run. What dropout draws is a function of it, the process and the step alone: the state of a run
            holds the generator of one process, from which no other can go on.
    """

    def __init__(self, inner: Strategy, settings: DDPConfig, team: Team, steps: int, seed: int) -> None:
        self.seed = seed
        self.inner, self.networks, self.result = inner, inner.networks, inner.result
        self.settings, self.team, self.steps = settings, team, steps
        module = _Step(inner)
        for tensor in itertools.chain(module.parameters(), module.buffers()):
            distributed.broadcast(tensor.data, 0)
        self.engine: nn.Module = module
        if not settings.average_every:
            device = next(module.parameters()).device
            self.engine = nn.parallel.DistributedDataParallel(
                module, device_ids=[device] if device.type == "cuda" else None
            )
            _compress(self.engine, settings)

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of this process; gradients will be those of all."""
        drawn = np.random.SeedSequence([self.seed, 60, self.team.rank, step]).generate_state(1, np.uint64)
        torch.manual_seed(int(drawn[0] >> np.uint64(1)))
        loss, logs = self.engine(step)
        return loss, logs

    def after_step(self, step: int) -> None:
        """Average weights and batch-norm statistics, where that replaces averaging gradients."""
        every = self.settings.average_every
        last = step + 1 == self.steps
        if every and (last or (step + 1) % every == 0):
            alone = self.settings.average_with == "pair" and not last
            self._average(partner_of(self.team, self.seed, step) if alone else ALL)
        self.inner.after_step(step)

    def close(self) -> None:
        """Let go of PyTorch's engine, once all is learnt: its hooks are Python, and must not outlive it.

        Left to the end of the process, one in some twenty ended by a signal then ("terminate called without an active
        exception"), with all its work done.
        """
        del self.engine
        gc.collect()  # the engine is in a circle

    def _average(self, partner: int | None) -> None:
        """Take the mean of weights with a partner or with all; one that is left over, with None, keeps its own.

        Tensors are written to where they are: PyTorch's `average_parameters` gives parameters new ones, by which the
        statistics of batch norm, no parameters, never hear of it.
        """
        if partner is None:
            return
        mine = list(self._averaged())
        flat = torch.cat([t.flatten() for t in mine])
        if partner == ALL:
            flat /= self.team.world
            distributed.all_reduce(flat)
        else:
            theirs = torch.empty_like(flat)
            ways = [(distributed.isend, flat), (distributed.irecv, theirs)]
            for work in distributed.batch_isend_irecv([distributed.P2POp(way, t, partner) for way, t in ways]):
                work.wait()
            flat = (flat + theirs) / 2
        for tensor, piece in zip(mine, flat.split([t.numel() for t in mine]), strict=True):
            tensor.copy_(piece.view_as(tensor))

    def _averaged(self) -> Iterator[Tensor]:
        """Weights and batch-norm statistics."""
        yield from (p.data for p in self.engine.parameters())
        yield from (b.data for b in self.engine.buffers() if b.is_floating_point())

    def rates(self, step: int, config: OptimConfig) -> dict[str, float]:
        """Those of the inner strategy."""
        return self.inner.rates(step, config)

    def tensors(self) -> dict[str, Tensor]:
        """Those of the inner strategy."""
        return self.inner.tensors()

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.inner.load_tensors(tensors)


def _compress(engine: nn.parallel.DistributedDataParallel, settings: DDPConfig) -> None:
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

    if settings.hook == "fp16":
        engine.register_comm_hook(None, default_hooks.fp16_compress_hook)
    elif settings.hook == "bf16":
        engine.register_comm_hook(None, default_hooks.bf16_compress_hook)
    elif settings.hook == "powersgd":
        state = powerSGD_hook.PowerSGDState(
            None, matrix_approximation_rank=settings.powersgd_rank, start_powerSGD_iter=settings.powersgd_start
        )
        engine.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    elif settings.hook != "none":
        mean = CompressedMean(codec_of(settings), feedback=settings.remembers)
        engine.register_comm_hook(mean, compressed_mean)


def codec_of(settings: DDPConfig) -> Codec:
    """How gradients are packed, by the hook that was chosen.

    Raises:
        KeyError: a hook of PyTorch's own, or none.
    """
    codecs: dict[str, Codec] = {
        "topk": TopK(settings.share),
        "threshold": Threshold(settings.threshold),
        "levels": Levels(settings.bits),
        "qsgd": QSGD(settings.bits),
        "sign": Sign(),
    }
    return codecs[settings.hook]


def partner_of(team: Team, seed: int, step: int) -> int | None:
    """Whom a process of a team averages with after a step: pairs drawn anew, the same on all; None for one left over.

    Boyd, S. et al. (2006), Randomized gossip algorithms. IEEE Trans. Inf. Theory 52. doi:10.1109/TIT.2006.874516.
    """
    order = np.random.default_rng([seed, 61, step]).permutation(team.world).tolist()
    at = order.index(team.rank) ^ 1
    return int(order[at]) if at < team.world else None
