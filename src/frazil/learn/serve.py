"""A parameter server's run: the folder of `frazil.learn.run`, whose weights workers move.

The server makes the network, holds the optimiser, looks at the validation scenes while the workers wait, saves its
state, and writes model and scores. Workers are runs of their own (`frazil.learn.run.train` with ``server.address``),
which end with the same network. The same call goes on where a killed server last saved its state.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from frazil.errors import OptionError
from frazil.learn.check import check_run
from frazil.learn.checkpoint import Model
from frazil.learn.config import RunConfig
from frazil.learn.data.learning_data import HeldOut
from frazil.learn.data.load import Progress as Report
from frazil.learn.data.load import load_data
from frazil.learn.distributed.center import Center
from frazil.learn.distributed.remote import check_server, common_settings, scaling
from frazil.learn.distributed.server import Server, serve_until_done
from frazil.learn.distributed.team import Team
from frazil.learn.distributed.worker import shared_out
from frazil.learn.infer.device import usable_device
from frazil.learn.log import RunLog
from frazil.learn.run import check_target, finish, first_network, in_steps
from frazil.learn.run_folder import STATE, begin, held, look_into
from frazil.learn.state import Progress, load_state, save_state
from frazil.learn.train import remember, seed_everything

_GOODBYE_S = 30.0  # for workers to take the result


class Traffic(TypedDict):
    """Bytes that one worker has sent and taken since the server was started, and how far it came."""

    worker: str
    steps: int
    received: int
    sent: int


def serve(
    config: RunConfig,
    folder: str | os.PathLike[str],
    *,
    device: str | None = None,
    overwrite: bool = False,
    progress: Report | None = None,
    command: str | None = None,
    listening: Callable[[str], None] | None = None,
    traffic: list[Traffic] | None = None,
) -> Model:
    """Hold the weights of a run while workers train them, then score what came of it on held-out scenes.

    Args:
        config: the run, with `frazil.learn.config.ServerConfig.address`.
        folder: of the run; one that holds the same run unfinished is resumed, a finished one is returned.
        device: where the weights lie and are scored; by default CUDA where there is one.
        overwrite: throw away what another run left in the folder.
        progress: called with the fraction done and what is being done.
        command: the command line, for the record.
        listening: called with the address, once workers can come.
        traffic: takes what went over the wire.

    Returns:
        The model, also in ``folder/model``.

    Raises:
        OptionError: settings that do not work, or an address that cannot be listened at.
        OutputExistsError: the folder holds another run, or something else.
    """
    if config.server.address is None:
        raise OptionError("A server needs an address. Pass --address HOST:PORT (server.address=HOST:PORT).")
    target, place = Path(folder), usable_device(device)
    report = progress or (lambda _fraction, _what: None)
    with held(target):
        finished = look_into(target, config, overwrite)
        if finished is not None:
            return finished
        seed_everything(config.seed)
        check_run(config)
        check_server(config)
        data = load_data(config, lambda f, what: report(0.1 * f, what))
        check_target(config, data)
        network = first_network(config, data).to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
        s, team = config.server, Team(0, config.server.workers)
        common = common_settings(config, data)
        counted, every = in_steps(config, shared_out(config, data, team), team, scaling(s.mode, s.scale_lr))
        steps = counted.optim.steps
        looks = 0 if data.validation is None else every * (1 if s.mode == "synchronous" else s.workers)
        center = Center(network, counted.optim, s, steps, looks)
        facts = {"workers": s.workers, "mode": s.mode, "scale_lr": s.scale_lr, "steps": steps}
        done, best, state = Progress(), dict[str, Tensor](), target / STATE
        if not overwrite and state.exists():
            done, best = load_state(state, {"network": network}, center.optimiser, center.load_tensors)
            center.stopped = done.stopped
        server = Server(center, s, common, facts)
        try:
            begin(target, config, data.description, steps, command, overwrite=overwrite)
            with RunLog(target, steps) as log:
                log.resume(done)
                keeper = _Keeper(counted, center, done, best, data.validation, state, log, place)
                if listening is not None:
                    listening(server.address)
                serve_until_done(server, lambda: keeper.tend(report))
                if counted.optim.keep == "best" and keeper.best:
                    network.load_state_dict(keeper.best)
            kept = done.best_step if counted.optim.keep == "best" else done.step
            server.finish({"step": done.step, "stopped": done.stopped, "best_step": kept})
            report(0.9, "scoring")
            model = finish(network, counted, data, done, target, place)
            state.unlink(missing_ok=True)
            _say_goodbye(center)
        finally:
            server.close()
            if traffic is not None:
                with center.changed:
                    members = sorted(center.members.values(), key=lambda m: m.name)
                    traffic += [
                        Traffic(worker=m.name, steps=m.clock, received=m.received, sent=m.sent) for m in members
                    ]
        return model


class _Keeper:
    """What the main thread does between updates: looks, saved states, and seeing that the run has ended."""

    def __init__(
        self,
        config: RunConfig,
        center: Center,
        done: Progress,
        best: dict[str, Tensor],
        validation: HeldOut | None,
        state: Path,
        log: RunLog,
        place: torch.device,
    ) -> None:
        self.optim, self.center, self.done, self.best = config.optim, center, done, best
        self.validation, self.state, self.log, self.place = validation, state, log, place
        self.settings = config.server
        self.looked = self.kept = center.updates
        self.before, self.began = done.seconds, time.monotonic()
        self.saved = time.monotonic()

    def tend(self, report: Report) -> bool:
        """Do what is due; True once the run has ended. The center does not move meanwhile."""
        center, done, steps = self.center, self.done, self.center.steps
        ended = center.finished
        done.step = steps if ended and not center.stopped else center.reached
        done.seconds = self.before + time.monotonic() - self.began
        report(0.1 + 0.8 * done.step / steps, f"serving, step {done.step} of {steps}")
        looking = self.validation is not None and (center.looks or ended) and self.looked != center.updates
        if looking:
            self._look()
        due = center.saves or looking or ended or time.monotonic() - self.saved > self.settings.save_s
        if due and self.kept != center.updates:
            center.settle()
            save_state(self.state, {"network": center.network}, center.optimiser, done, self.best, center.tensors())
            self.saved, self.kept = time.monotonic(), center.updates
        center.stopped = done.stopped
        center.rest()
        if center.finished:
            center.settle()
            center.settled = True
        return center.finished

    def _look(self) -> None:
        assert self.validation is not None
        center = self.center
        center.settle()
        center.network.eval()
        scores = self.validation.score(center.network, device=self.place.type).figures()
        self.best = remember(self.done, scores, center.network, self.best, self.optim)
        self.log(max(self.done.step - 1, 0), {f"validation_{k}": v for k, v in scores.items()})
        self.looked = center.updates


def _say_goodbye(center: Center) -> None:
    """Let the workers that are here take the result."""
    with center.changed:
        deadline = time.monotonic() + _GOODBYE_S
        while any(m.live for m in center.members.values()) and time.monotonic() < deadline:
            center.changed.wait(0.2)
