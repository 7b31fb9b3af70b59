"""One training run in one folder, from settings to a model that maps scenes.

A run folder holds ``run.json`` (settings, versions, data), ``log.jsonl`` (a line a step, and one a look at the
validation scenes), TensorBoard ``events``, ``state.safetensors`` while it is going on, and at the end ``model/`` and
``evaluation.json``. The same call goes on where a killed run stopped, and ends in the same weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from frazil.errors import OptionError
from frazil.learn.check import check_run
from frazil.learn.checkpoint import Model, ModelCard, git_commit, library_versions, model_id, save_model
from frazil.learn.config import DDPConfig, RunConfig
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.load import Progress as Report
from frazil.learn.data.load import load_data
from frazil.learn.distributed.allreduce import InStep, scaled
from frazil.learn.distributed.ear import Ear
from frazil.learn.distributed.peers import WithPeers
from frazil.learn.distributed.remote import Line, WithServer, check_server
from frazil.learn.distributed.team import Team
from frazil.learn.distributed.worker import shared_out, with_peers, with_worker_seed
from frazil.learn.infer.device import usable_device
from frazil.learn.log import RunLog
from frazil.learn.models import create_model
from frazil.learn.models.patch import takes_patches
from frazil.learn.run_folder import MODEL, SCORES, STATE, begin, held, look_into, write_json
from frazil.learn.seen import Seen
from frazil.learn.state import Progress
from frazil.learn.strategies import make_plan, make_strategy
from frazil.learn.train import reached, seed_everything, train_loop
from frazil.learn.transfer import start_from

#: Of scores: what only reports read.
_NOT_ON_CARDS = ("confusion_per_scene", "reliability")


def train(
    config: RunConfig,
    folder: str | os.PathLike[str],
    *,
    device: str | None = None,
    overwrite: bool = False,
    progress: Report | None = None,
    command: str | None = None,
) -> Model:
    """Train a network as a run's settings say, calibrate its confidence, and score it on held-out scenes.

    Args:
        config: the run.
        folder: of the run; one that holds the same run unfinished is resumed, a finished one is returned.
        device: ``"cpu"`` or ``"cuda"``; by default CUDA where there is one.
        overwrite: throw away what another run left in the folder.
        progress: called with the fraction done and what is being done.
        command: the command line, for the record.

    Returns:
        The model, also in ``folder/model``. Its card says what it was trained on and how it scored.

    Raises:
        OutputExistsError: the folder holds another run, or something else; the message names the settings that differ.
        LabelError, OptionError, ModelError: data or settings that do not work, saying what to do.
    """
    target, team = Path(folder), Team.of()
    place = _device(device, team)
    team.join(config.ddp, place)
    with held(target) if team.first else nullcontext():
        return _train(config, target, team, place, overwrite, progress or (lambda _fraction, _what: None), command)


def _train(
    config: RunConfig,
    target: Path,
    team: Team,
    place: torch.device,
    overwrite: bool,
    report: Report,
    command: str | None,
) -> Model:
    finished = team.share(look_into(target, config, overwrite) if team.first else None)
    if finished is not None:
        return finished
    config, asked = with_worker_seed(config), config
    seed_everything(config.seed)
    network = check_run(config)
    if config.peers.path is not None:
        Ear(network, config.peers.features)  # asks whether it has these layers
    if config.server.address:
        check_server(config, team)
    drawn = replace(config, seed=asked.seed) if config.peers.same_batches else config
    data = load_data(drawn, lambda f, what: report(0.1 * f, what))
    check_target(config, data)
    network = first_network(config, data).to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    line = Line(config, network, data) if config.server.address else None
    share, ddp = (team, config.ddp) if line is None else (line.share, line.ddp)
    data = shared_out(config, data, share)
    config, every = in_steps(config, data, share, ddp)
    if line is not None:
        line.check_steps(config.optim.steps)
    if config.optim.compile:
        network.compile()
    strategy = learning = make_strategy(config, network, data, place)
    if team.first:  # nothing of an old run is thrown away before data, weights and settings were found good
        begin(target, asked, data.description, config.optim.steps, command, overwrite=overwrite)
    peers = strategy = with_peers(strategy, config, data, team) if config.peers.path else strategy
    if team.world > 1:
        strategy = InStep(strategy, config.ddp, team, config.optim.steps, config.seed)
    if line is not None:
        strategy = WithServer(strategy, line, config.seed)
    validate = None
    if data.validation is not None:
        held_out = data.validation

        def validate(network: nn.Module) -> dict[str, float]:
            found = held_out.score(network, device=place.type).figures() if team.first else {}
            if isinstance(peers, WithPeers):
                peers.score = found.get("macro_f1")
            return team.share(found)

    with RunLog(target, config.optim.steps) if team.first else nullcontext() as log:

        def note(step: int, logs: dict[str, float]) -> None:
            if log is not None:
                log(step, logs)
            report(0.1 + 0.8 * (step + 1) / config.optim.steps, f"training, step {step + 1} of {config.optim.steps}")
            if line is not None:
                line.heed()

        resumed = None if log is None else log.resume
        loop = partial(train_loop, strategy, config.optim, device=place, log=note, resumed=resumed)
        if line is None:
            state = target / STATE
            done = loop(validate=validate, validate_every=every, state=state, writes=team.first)
        else:  # the server looks, and saves
            done = line.follow(loop, strategy.networks)
    if isinstance(peers, WithPeers):
        peers.finish(done.step)
    report(0.9, "scoring")
    notes = learning.notes()
    model = team.share(finish(strategy.result, config, data, done, target, place, notes) if team.first else None)
    assert model is not None
    if team.first:
        (target / STATE).unlink(missing_ok=True)
    if isinstance(strategy, InStep):
        strategy.close()
    team.leave()
    return model


def check_target(config: RunConfig, data: LearningData) -> None:
    """Raise OptionError where a run is to stop at a score and has nothing to be scored on."""
    if config.optim.target and data.validation is None:
        raise OptionError("optim.target asks for a score on validation data, and there are none. Set data.validation.")


def _device(name: str | None, team: Team) -> torch.device:
    place = usable_device(name)
    if place.type == "cuda" and team.world > 1:
        place = torch.device("cuda", team.local % torch.cuda.device_count())
        torch.cuda.set_device(place)
    return place


def in_steps(config: RunConfig, data: LearningData, team: Team, ddp: DDPConfig) -> tuple[RunConfig, int]:
    """The run with epochs turned into steps, and how many steps lie between looks at the validation scenes."""
    plan, optim = make_plan(config, data), scaled(config.optim, ddp, team.world)
    return replace(config, optim=replace(optim, steps=plan.steps)), optim.validate_every or plan.look


def first_network(config: RunConfig, data: LearningData) -> nn.Module:
    """The network with its first weights, of the run's seed or of a file."""
    settings = dict(config.model.settings)
    if config.data.learnt_by == "patch":
        size = int(data.train.batch(0, 1)[0].shape[-1])
        if "patch" in settings and settings["patch"] != size:
            raise OptionError(
                f"model.settings.patch is {settings['patch']}, but the patches have {size} pixels. Leave it out."
            )
        settings["patch"] = size
    network = create_model(
        config.model.architecture, n_channels=len(data.channels), n_classes=len(data.scheme.classes), settings=settings
    )
    if config.model.pretrained:
        start_from(network, config.model.architecture, config.model.pretrained)
    return network


def finish(
    network: nn.Module,
    config: RunConfig,
    data: LearningData,
    done: Progress,
    target: Path,
    place: torch.device,
    notes: Mapping[str, object] | None = None,
) -> Model:
    """Calibrate on the validation scenes, score on the test scenes, write model and scores.

    ``notes`` are those of the strategy, for the model card.
    """
    network.eval()
    temperature = data.validation.temperature(network, place.type) if data.validation is not None else 1.0
    scores: dict[str, dict[str, object]] = {}
    for side, held_out in (("validation", data.validation), ("test", data.test)):
        if held_out is not None:
            found = held_out.score(network, temperature=temperature, device=place.type).to_json()
            scores[side] = {**found, "leaks": bool(data.description.get("leaks"))}
    scored = next((side for side in ("test", "validation") if side in scores), None)
    card_scores: dict[str, object] = {}
    if scored:
        card_scores = {k: v for k, v in scores[scored].items() if k not in _NOT_ON_CARDS}
        card_scores["data"] = data.words(scored)
    settings = {"patch": network.patch} if takes_patches(network) else {}
    card = ModelCard(
        id=model_id(config.name, network),
        architecture=config.model.architecture,
        settings=json.loads(json.dumps({**config.model.settings, **settings})),
        class_scheme=data.scheme.name,
        channels=data.channels,
        spacing_m=data.spacing_m,
        denoise=data.denoise,
        boxcar=data.boxcar,
        incidence_range=data.incidence_range,
        temperature=round(temperature, 4),
        seen=Seen.of(data.train.scene_images(), data.channels, data.description.get("train", {}).get("scenes", ())),
        statement=config.statement or data.statement,
        training={
            "config": config.to_json(),
            "commit": git_commit(),
            "versions": library_versions(),
            "seconds": round(done.seconds),
            "steps": done.step,
            "stopped_early": done.stopped,
            "reached_target": bool(done.validation) and reached(config.optim, done.validation[-1]),
            "kept_step": done.best_step if config.optim.keep == "best" else done.step,
            **(notes or {}),
            "data": _without_checksums({"train": {}, "validation": {}, "test": {}} | data.description),
        },
        scores=card_scores,
    )
    save_model(network, card, target / MODEL, in_run=True)
    write_json(target / SCORES, scores)
    return Model(network.cpu().eval(), card)


def _without_checksums(description: dict[str, object]) -> dict[str, object]:
    return {
        key: {k: v for k, v in value.items() if k != "checksum"} if isinstance(value, dict) else value
        for key, value in description.items()
    }
