"""What a run needs to be one worker among several: its seed, its share of the samples, its way to the others."""

from __future__ import annotations

import logging
import zlib
from dataclasses import replace

from frazil.errors import OptionError
from frazil.learn.config import Mixed, RunConfig
from frazil.learn.data.learning_data import LearningData
from frazil.learn.distributed.allreduce import Sharded
from frazil.learn.distributed.courier import Courier
from frazil.learn.distributed.exchange import Exchange, check_names
from frazil.learn.distributed.peers import WithPeers
from frazil.learn.distributed.store import Store
from frazil.learn.distributed.team import Team
from frazil.learn.train import Strategy

_LOG = logging.getLogger(__name__)


def worker_seed(seed: int, worker: str) -> int:
    """The seed of a worker, of the run's seed and its name."""
    return zlib.crc32(f"{seed}/{worker}".encode())


def with_worker_seed(config: RunConfig) -> RunConfig:
    """The run with the seed of its worker, where it is one among several.

    Raises:
        OptionError: a worker without a name, names that are none, or a store that cannot be.
    """
    peers = config.peers
    if peers.path is None:
        return config
    if not peers.worker:
        raise OptionError(
            f"A worker that exchanges through {peers.path} needs a name of its own. Pass --worker NAME "
            "(peers.worker=NAME)."
        )
    check_names(run=peers.run or config.name, worker=peers.worker)
    Store(peers.path)
    return replace(config, seed=worker_seed(config.seed, peers.worker) if peers.seed is None else peers.seed)


def shared_out(config: RunConfig, data: LearningData, team: Team) -> LearningData:
    """The data with this process's share of the training samples.

    Raises:
        OptionError: a strategy that one process alone can follow.
    """
    if team.world == 1:
        return data
    if isinstance(config.strategy, Mixed):
        raise OptionError(
            f"Strategy {config.strategy.name!r} does not run under torchrun. Start one process for each server, with "
            "--peers."
        )
    return replace(data, train=Sharded(data.train, team))


def with_peers(strategy: Strategy, config: RunConfig, data: LearningData, team: Team) -> WithPeers:
    """The strategy as one that exchanges with other workers.

    Raises:
        OptionError: names that are none, a store that cannot be, or one in which another model is being trained.
    """
    settings, courier = config.peers, None
    if team.first and config.optim.steps is not None and settings.every > config.optim.steps:
        _LOG.warning(
            "This run has %d steps and exchanges every %d: nothing is exchanged before it ends. Set --every lower.",
            config.optim.steps,
            settings.every,
        )
    if team.first:
        assert settings.path is not None
        exchange = Exchange(
            Store(settings.path),
            run=settings.run or config.name,
            worker=settings.worker,
            like=strategy.result.state_dict(),
            model_text=model_text(config, data),
            expiry_s=settings.expiry_s,
            method=settings.method,
            steps=config.optim.steps,
        )
        watches = settings.method != "independent" or settings.log_every > 0
        patience_s = 600.0 if settings.lockstep else 120.0  # lockstep would give other numbers without a slow starter
        courier = Courier(exchange, lockstep=settings.lockstep, watches=watches, patience_s=patience_s)
    samples = config.optim.batch * team.world
    return WithPeers(strategy, settings, courier, seed=config.seed, samples=samples, team=team)


def model_text(config: RunConfig, data: LearningData) -> str:
    """Network, channels and classes in words: what workers of one run must share."""
    channels = ",".join(f"{c.name}[{c.low:g},{c.high:g}]" for c in data.channels)
    return f"{config.model.architecture} of {channels} for {','.join(data.scheme.names)}"
