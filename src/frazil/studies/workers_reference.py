"""Several workers in one process, step by step and as plainly as can be: what the real thing is tested against.

Nothing here is shared with it but networks, batches, losses and the learning rate. Studies use it too, since it needs
no clock: every worker makes its step before any makes the next, and all exchange at the same moment.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.config import DDPConfig, RunConfig
from frazil.learn.data.learning_data import LearningData, Sampler
from frazil.learn.data.patches import PatchSampler
from frazil.learn.distributed.allreduce import codec_of
from frazil.learn.distributed.losses import feature_distillation, output_distillation
from frazil.learn.distributed.worker import worker_seed
from frazil.learn.models import create_model
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.strategies import class_weights, make_plan
from frazil.learn.train import learning_rate, make_optimiser, seed_everything


@dataclass(eq=False)
class Worker:
    """One of several.

    Attributes:
        name, seed: see `worker_seed`.
        network: of its own.
        sampler: of its batches.
        optimiser: likewise.
        random: state of its random numbers.
        teachers: stale copies of the others.
        logs: of its last step, scalars where the network is: reading one waits for the step.
    """

    name: str
    seed: int
    network: PatchClassifier
    sampler: Sampler
    optimiser: torch.optim.Optimizer
    random: Tensor
    teachers: list[PatchClassifier] = field(default_factory=list)
    logs: dict[str, Tensor] = field(default_factory=dict)


def make_worker(config: RunConfig, name: str, seed: int, data: LearningData, device: str = "cpu") -> Worker:
    """A worker at the beginning of its run, on data that was loaded with its seed."""
    seed_everything(seed)
    settings = dict(config.model.settings)
    settings["patch"] = int(data.train.batch(0, 1)[0].shape[-1])
    network = create_model(
        config.model.architecture, n_channels=len(data.channels), n_classes=len(data.scheme.classes), settings=settings
    ).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    optimiser = make_optimiser({"network": network}, config.optim)
    return Worker(name, seed, network, data.train, optimiser, torch.get_rng_state())


def reseeded(data: LearningData, seed: int) -> LearningData:
    """The same patches in batches of another seed."""
    assert isinstance(data.train, PatchSampler)
    sampler = copy.copy(data.train)
    sampler.seed, sampler._order = seed, (-1, np.zeros(0, int))
    return replace(data, train=sampler)


def simulated_peers(
    config: RunConfig, names: tuple[str, ...], data: LearningData, device: str = "cpu"
) -> Iterator[tuple[int, list[Worker]]]:
    """Workers that learn as `PeersConfig` says; yields after every step of all with the number of steps done."""
    workers = []
    for name in sorted(names):
        seed = worker_seed(config.seed, name)
        drawn = config.seed if config.peers.same_batches else seed
        workers.append(make_worker(config, name, seed, reseeded(data, drawn), device))
    steps, balance, peers = make_plan(config, data).steps, _balance(config, data, device), config.peers
    for step in range(steps):
        for me in workers:
            loss, (image, features, logits) = _task(me, config, balance, step)
            if me.teachers and step >= peers.begin and step % peers.loss_every == 0 and peers.method != "independent":
                asked = me.teachers
                if 0 < peers.teachers < len(asked):
                    rng = np.random.default_rng([me.seed, 70, step])
                    chosen = sorted(rng.choice(len(asked), peers.teachers, replace=False))
                    asked = [me.teachers[i] for i in chosen]
                with torch.no_grad():
                    theirs = [teacher.describe(image) for teacher in asked]
                    said = [teacher.head(x) for teacher, x in zip(asked, theirs, strict=True)]
                if peers.method == "afsd":
                    distilled = feature_distillation(
                        features, theirs, normalised=peers.loss == "normalised", distance=peers.distance
                    )
                else:
                    distilled = output_distillation(logits, said)
                me.logs["loss_distilled"] = distilled.detach()
                loss = loss + peers.alpha * distilled
            _move(me, loss, config, step)
        if (step + 1) % peers.every == 0:
            copies = [copy.deepcopy(w.network).eval().requires_grad_(False) for w in workers]
            for i, me in enumerate(workers):
                me.teachers = [c for j, c in enumerate(copies) if j != i]
        yield step + 1, workers


def simulated_allreduce(
    config: RunConfig, world: int, data: LearningData, device: str = "cpu"
) -> Iterator[tuple[int, list[Worker]]]:
    """One network that sees the batches of `world` processes in each step; yields as `simulated_peers`.

    With a ``ddp.hook`` of frazil's, gradients are packed and remembered as each process would, whole and not bucket by
    bucket: the largest of all of them travel, and blocks begin elsewhere.
    """
    me = make_worker(config, "all", config.seed, reseeded(data, config.seed), device)
    steps, balance = make_plan(config, data).steps, _balance(config, data, device)
    lost: list[Tensor | None] = [None] * world
    for step in range(steps):
        losses = [_task(me, config, balance, step * world + rank)[0] for rank in range(world)]
        if config.ddp.hook == "none":
            _move(me, torch.stack(losses).mean(), config, step)
        else:
            _set_rate(me, config, step)
            for p, g in zip(me.network.parameters(), _packed_mean(me, losses, lost, config.ddp), strict=True):
                p.grad = g
            _descend(me, config)
        yield step + 1, [me]


def _packed_mean(me: Worker, losses: list[Tensor], lost: list[Tensor | None], settings: DDPConfig) -> list[Tensor]:
    """The gradient that processes agree on; what each loses in packing is noted in `lost`."""
    codec, parameters = codec_of(settings), list(me.network.parameters())
    total = torch.zeros(sum(p.numel() for p in parameters), device=losses[0].device)
    for rank, loss in enumerate(losses):
        whole = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
        before = lost[rank]
        whole = whole if before is None else whole + before
        sent = codec.unpack(codec.pack(whole), whole.numel())
        lost[rank] = whole - sent if settings.remembers else None
        total += sent / len(losses)
    return [piece.view_as(p) for piece, p in zip(total.split([p.numel() for p in parameters]), parameters, strict=True)]


def simulated_local_sgd(
    config: RunConfig, world: int, data: LearningData, device: str = "cpu"
) -> Iterator[tuple[int, list[Worker]]]:
    """Networks that begin alike and are averaged every ``ddp.average_every`` steps; yields as `simulated_peers`."""
    data = reseeded(data, config.seed)
    workers = [make_worker(config, str(rank), config.seed, data, device) for rank in range(world)]
    steps, balance = make_plan(config, data).steps, _balance(config, data, device)
    for step in range(steps):
        for rank, me in enumerate(workers):
            _move(me, _task(me, config, balance, step * world + rank)[0], config, step)
        if (step + 1) % config.ddp.average_every == 0 or step + 1 == steps:
            with torch.no_grad():
                for same in zip(*(_floats(w.network) for w in workers), strict=True):
                    mean = torch.stack(list(same)).mean(0)
                    for tensor in same:
                        tensor.copy_(mean)
        yield step + 1, workers


def ensemble(logits: list[np.ndarray]) -> np.ndarray:
    """Mean probabilities (class, patch) of several networks' logits."""
    each = [torch.from_numpy(one).softmax(0) for one in logits]
    mean: np.ndarray = torch.stack(each).mean(0).numpy()
    return mean


def _balance(config: RunConfig, data: LearningData, device: str) -> Tensor:
    balance = getattr(config.strategy, "class_balance", 0.0)
    return class_weights(data.train, len(data.scheme.classes), balance).to(device)


def _task(me: Worker, config: RunConfig, balance: Tensor, place: int) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Cross-entropy of a batch; and its images, features and logits."""
    torch.set_rng_state(me.random)
    drawn, code = me.sampler.batch(place, config.optim.batch)
    device = next(me.network.parameters()).device
    image = torch.as_tensor(drawn).to(device, memory_format=torch.channels_last)
    label = torch.as_tensor(code).to(device, torch.int64)
    features = me.network.describe(image)
    logits = me.network.head(features)
    loss = nn.functional.cross_entropy(logits, label, balance)
    me.logs = {"loss": loss.detach()}
    me.random = torch.get_rng_state()
    return loss, (image, features, logits)


def _move(me: Worker, loss: Tensor, config: RunConfig, step: int) -> None:
    _set_rate(me, config, step)
    me.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    _descend(me, config)


def _set_rate(me: Worker, config: RunConfig, step: int) -> None:
    for group in me.optimiser.param_groups:
        group["lr"] = learning_rate(config.optim, step)


def _descend(me: Worker, config: RunConfig) -> None:
    if config.optim.clip:
        nn.utils.clip_grad_norm_(me.network.parameters(), config.optim.clip)
    me.optimiser.step()


def _floats(network: nn.Module) -> list[Tensor]:
    return [t for t in itertools.chain(network.parameters(), network.buffers()) if t.is_floating_point()]
