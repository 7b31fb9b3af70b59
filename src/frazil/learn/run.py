"""One training run in one folder, from settings to a model that maps scenes.

A run folder holds ``run.json`` (settings, versions, data), ``log.jsonl`` (a line a step, and one a look at the
validation scenes), TensorBoard ``events``, ``state.safetensors`` while it is going on, and at the end ``model/`` and
``evaluation.json``. The same call goes on where a killed run stopped, and ends in the same weights.
"""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frazil.errors import OptionError
from frazil.learn.checkpoint import Model, ModelCard, git_commit, library_versions, model_id, save_model
from frazil.learn.config import Cifar10Data, ImagetteData, PatchData, RunConfig
from frazil.learn.data.class_scores import calibrate, evaluate
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.load import Progress as Report
from frazil.learn.data.load import load_data
from frazil.learn.distributed.allreduce import InStep, scaled
from frazil.learn.distributed.peers import WithPeers
from frazil.learn.distributed.team import Team
from frazil.learn.distributed.worker import shared_out, with_peers, with_worker_seed
from frazil.learn.infer.device import usable_device
from frazil.learn.log import RunLog
from frazil.learn.models import ARCHITECTURES, create_model
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.run_folder import MODEL, SCORES, STATE, begin, held, look_into, write_json
from frazil.learn.seen import Seen
from frazil.learn.state import Progress
from frazil.learn.strategies import make_plan, make_strategy
from frazil.learn.train import plain, seed_everything, train_loop
from frazil.learn.transfer import start_from


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
        folder: of the run; one that holds the same run unfinished is gone on with, a finished one is returned.
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
    if isinstance(config.data, ImagetteData):
        from frazil.learn.metocean_run import train_imagettes

        return train_imagettes(config, folder, device=device, overwrite=overwrite, progress=progress, command=command)
    target, team = Path(folder), Team.of()
    place = _device(device, team)
    team.join(config.ddp, place)
    with held(target) if team.first else nullcontext():
        return _train(config, target, team, place, overwrite, progress or (lambda _fraction, _what: None), command)


def _train(
    config: RunConfig, target: Path, team: Team, place: torch.device, overwrite: bool, report: Report,
    command: str | None,
) -> Model:  # fmt: skip
    finished = team.share(look_into(target, config, overwrite) if team.first else None)
    if finished is not None:
        return finished
    config, asked = with_worker_seed(config), config
    seed_everything(config.seed)
    network = _network_check(config)
    data = load_data(config, lambda f, what: report(0.1 * f, what))
    data = shared_out(config, data, team)
    counted, every = _in_steps(config, data, team)
    config = counted
    network = _network(config, data, network).to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.optim.compile:
        network.compile()
    strategy = make_strategy(config, network, data, place)
    if team.first:  # nothing of an old run is thrown away before data, weights and settings were found good
        begin(target, asked, data.description, config.optim.steps, command, overwrite=overwrite)
    peers = strategy = with_peers(strategy, config, data, team) if config.peers.path else strategy
    if team.world > 1:
        strategy = InStep(strategy, config.ddp, team, config.optim.steps)
        torch.manual_seed(config.seed + team.rank)  # dropout differs from process to process
    validate = None
    if data.validation is not None:
        held_out, n = data.validation, len(data.scheme.classes)

        def validate(network: nn.Module) -> dict[str, float]:
            scores: dict[str, Any] = {}
            if team.first:
                scores = evaluate(network, held_out, n, device=place.type).to_json(data.scheme.names)
            if isinstance(peers, WithPeers):
                peers.score = scores.get("macro_f1")
            looked = plain({k: scores.get(k) for k in ("accuracy", "balanced_accuracy", "macro_f1", "ece", "nll")})
            return team.share(looked)

    with RunLog(target, config.optim.steps) if team.first else nullcontext() as log:

        def note(step: int, logs: dict[str, float]) -> None:
            if log is not None:
                log(step, logs)
            report(0.1 + 0.8 * (step + 1) / config.optim.steps, f"training, step {step + 1} of {config.optim.steps}")

        done = train_loop(
            strategy, config.optim, device=place, validate=validate, validate_every=every, state=target / STATE,
            writes=team.first, log=note, resumed=None if log is None else log.resume,
        )  # fmt: skip
    if isinstance(peers, WithPeers):
        peers.finish(done.step)
    report(0.9, "scoring")
    model = team.share(_finish(strategy.result, config, data, done, target, place) if team.first else None)
    assert model is not None
    if team.first:
        (target / STATE).unlink(missing_ok=True)
    team.leave()
    return model


def _device(name: str | None, team: Team) -> torch.device:
    place = usable_device(name)
    if place.type == "cuda" and team.world > 1:
        place = torch.device("cuda", team.local % torch.cuda.device_count())
        torch.cuda.set_device(place)
    return place


def _network_check(config: RunConfig) -> nn.Module:
    """The network with the settings of the run, before any data is read: an impossible one fails early."""
    n_channels = len(config.data.channels) or 3
    with torch.random.fork_rng(devices=[]):
        return create_model(
            config.model.architecture, n_channels=n_channels, n_classes=2, settings=config.model.settings
        )


def _in_steps(config: RunConfig, data: LearningData, team: Team) -> tuple[RunConfig, int]:
    """The run with epochs turned into steps, and how many steps lie between looks at the validation scenes."""
    plan, optim = make_plan(config, data), scaled(config.optim, config.ddp, team.world)
    return replace(config, optim=replace(optim, steps=plan.steps)), optim.validate_every or plan.look


def _network(config: RunConfig, data: LearningData, check: nn.Module) -> nn.Module:
    """The network with its first weights, of the run's seed or of a file."""
    settings = dict(config.model.settings)
    if isinstance(check, PatchClassifier) and isinstance(config.data, PatchData | Cifar10Data):
        size = int(data.train.batch(0, 1)[0].shape[-1])
        if "patch" in settings and settings["patch"] != size:
            raise OptionError(
                f"model.settings.patch is {settings['patch']}, but the patches have {size} pixels. Leave it out."
            )
        settings["patch"] = size
    elif isinstance(config.data, PatchData | Cifar10Data):
        raise OptionError(
            f"Architecture {config.model.architecture!r} learns from labelled scenes, not from patches. Choose one of "
            f"{[n for n, (kind, _) in ARCHITECTURES.items() if issubclass(kind, PatchClassifier)]}."
        )
    elif isinstance(check, PatchClassifier):
        raise OptionError(
            f"Architecture {config.model.architecture!r} learns from patches, not from labelled scenes. Cut some with "
            "`frazil patches`, or choose 'unet'."
        )
    network = create_model(
        config.model.architecture, n_channels=len(data.channels), n_classes=len(data.scheme.classes), settings=settings
    )
    if config.model.pretrained:
        start_from(network, config.model.architecture, config.model.pretrained)
    return network


def _finish(
    network: nn.Module, config: RunConfig, data: LearningData, done: Progress, target: Path, place: torch.device
) -> Model:
    """Calibrate on the validation scenes, score on the test scenes, write model and scores."""
    network.eval()
    names = data.scheme.names
    temperature = calibrate(network, data.validation, place.type) if data.validation is not None else 1.0
    scores: dict[str, Any] = {}
    for side, held_out in (("validation", data.validation), ("test", data.test)):
        if held_out is not None:
            scores[side] = evaluate(network, held_out, len(names), temperature, place.type).to_json(names)
            scores[side]["leaks"] = bool(data.description.get("leaks"))
    judged = next((side for side in ("test", "validation") if side in scores), None)
    card_scores: dict[str, Any] = {}
    if judged:
        card_scores = {k: v for k, v in scores[judged].items() if k not in ("confusion_per_scene", "reliability")}
        n = len(set((data.test if judged == "test" else data.validation).names))  # type: ignore[union-attr]
        if isinstance(config.data, Cifar10Data):
            card_scores["data"] = f"the {judged} images of CIFAR-10"
        else:
            card_scores["data"] = f"{n} {judged} scene{'s' if n > 1 else ''}, split by {data.description.get('split')}"
        if data.description.get("leaks"):
            card_scores["data"] += " (leaks: neighbours of test patches were learnt)"
    settings = {f: getattr(network, f) for f in ("patch",) if isinstance(network, PatchClassifier)}
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
        statement=config.statement,
        training={
            "config": config.to_json(),
            "commit": git_commit(),
            "versions": library_versions(),
            "seconds": round(done.seconds),
            "steps": done.step,
            "stopped_early": done.stopped,
            "kept_step": done.best_step if config.optim.keep == "best" else done.step,
            "data": {
                side: {k: v for k, v in data.description.get(side, {}).items() if k != "checksum"}
                for side in ("train", "validation", "test", "labels", "unlabelled")
                if side in data.description or side in ("train", "validation", "test")
            },
        },
        scores=card_scores,
    )
    save_model(network, card, target / MODEL, in_run=True)
    write_json(target / SCORES, scores)
    return Model(network.cpu().eval(), card)
