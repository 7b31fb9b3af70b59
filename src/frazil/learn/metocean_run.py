"""One training run on imagettes, in one folder: what `frazil.learn.run` is to sea ice.

The folder, the loop, the state of a killed run and the model are the same; data, losses and scores are those of
metocean segmentation.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from frazil.errors import OptionError
from frazil.learn.checkpoint import Model, ModelCard, git_commit, library_versions, model_id, save_model
from frazil.learn.config import CategorisationConfig, Im2PxStrategyConfig, ImagetteData, RunConfig, SegmentationConfig
from frazil.learn.data.imagettes import ImagetteSampler, ImagetteSides, image_labels, judged, read_sides, rounded
from frazil.learn.data.load import Batches, Progress
from frazil.learn.distributed.team import Team
from frazil.learn.infer.device import usable_device
from frazil.learn.infer.weak.grid import output_of
from frazil.learn.log import RunLog
from frazil.learn.metocean_losses import rarity_of
from frazil.learn.models import create_model
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.run_folder import MODEL, SCORES, STATE, begin, held, look_into, write_json
from frazil.learn.seen import Seen
from frazil.learn.strategies.metocean import ImageLabels, Segmentation
from frazil.learn.train import Strategy, plain, seed_everything, train_loop
from frazil.learn.transfer import start_from
from frazil.scene.scaling import CHANNELS

_HALF_IMAGETTE_DEG = 0.75  # an imagette's angle is that of its centre


def train_imagettes(
    config: RunConfig, folder: str | os.PathLike[str], *, device: str | None = None, overwrite: bool = False,
    progress: Progress | None = None, command: str | None = None,
) -> Model:  # fmt: skip
    """Train a network on imagettes; see `frazil.learn.run.train`, which calls this.

    Raises:
        OptionError: a network and a way to learn that do not belong together. LabelError: sets that do not suffice.
    """
    _refuse(config)
    target = Path(folder)
    with held(target):
        return _train(config, target, device, overwrite, progress or (lambda _fraction, _what: None), command)


def _train(
    config: RunConfig, target: Path, device: str | None, overwrite: bool, report: Progress, command: str | None
) -> Model:
    finished = look_into(target, config, overwrite)
    if finished is not None:
        return finished
    place = usable_device(device)
    assert isinstance(config.data, ImagetteData)
    seed_everything(config.seed)
    network = make_network(config, 1)
    report(0.0, "reading imagettes")
    sides = read_sides(config.data, masks=isinstance(config.strategy, SegmentationConfig))
    seed_everything(config.seed)
    network = make_network(config, len(sides.scheme.classes)).to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.model.pretrained:
        start_from(network, config.model.architecture, config.model.pretrained)
    strategy, sampler = make_strategy(config, network, sides, place)
    config, every = _in_steps(config, sampler.n_samples)
    begin(target, config, sides.describe(), config.optim.steps, command, overwrite=overwrite)
    validate = None
    if sides.validation is not None:
        held_out = sides.validation

        def validate(network: nn.Module) -> dict[str, float]:
            looked = judged(network, held_out, sides.scheme, place.type)
            return plain({k: v for k, v in looked.items() if k != "images"})

    with RunLog(target, config.optim.steps) as log:

        def note(step: int, logs: dict[str, float]) -> None:
            log(step, logs)
            report(0.05 + 0.85 * (step + 1) / config.optim.steps, f"training, step {step + 1} of {config.optim.steps}")

        done = train_loop(
            strategy, config.optim, device=place, validate=validate, validate_every=every, state=target / STATE,
            log=note, resumed=log.resume,
        )  # fmt: skip
    report(0.9, "scoring")
    seen = Seen.of(sampler.scene_images(), (CHANNELS["roughness_vv"],))
    facts = {"seconds": round(done.seconds), "steps": done.step}
    model = _finish(strategy.result, config, sides, seen, facts, target, place)
    (target / STATE).unlink(missing_ok=True)
    return model


def _refuse(config: RunConfig) -> None:
    """Raise OptionError for settings that runs on imagettes do not have: none is passed over in silence."""
    if Team.of().world > 1:
        raise OptionError("Runs on imagettes train in one process. Start them without torchrun.")
    if config.peers.path is not None:
        raise OptionError("Runs on imagettes do not learn with peers. Leave --peers out.")
    if config.optim.compile:
        raise OptionError("Runs on imagettes do not compile their networks. Leave optim.compile out.")
    if config.labels.count is not None:
        raise OptionError(
            "labels.count draws labels of patches. Set data.annotated: so many images of each category are learnt from."
        )


def make_network(config: RunConfig, n_classes: int) -> nn.Module:
    """The network of a run.

    Raises:
        OptionError: a network that cannot learn in the way that the run asks for.
    """
    network = create_model(config.model.architecture, n_channels=1, n_classes=n_classes, settings=config.model.settings)
    categorises = isinstance(network, PatchClassifier)
    wanted = isinstance(config.strategy, CategorisationConfig)
    if categorises != wanted or (not categorises and not hasattr(network, "cell")):
        raise OptionError(
            f"Architecture {config.model.architecture!r} does not learn by {config.strategy.name!r} from imagettes. "
            "Recipes that fit: metocean:unet, metocean:categoriser, metocean:im2px."
        )
    return network


def make_strategy(
    config: RunConfig, network: nn.Module, sides: ImagetteSides, device: torch.device
) -> tuple[Strategy, ImagetteSampler]:
    """The strategy of a run around its network, and what it samples.

    Raises:
        OptionError: not a way to learn from imagettes, or a K of another number of classes. LabelError: no labels.
    """
    data, settings, train = config.data, config.strategy, sides.train
    assert isinstance(data, ImagetteData)
    image = train["image"].values
    output, n = output_of(network), len(sides.scheme.classes)
    if isinstance(settings, SegmentationConfig):
        cell = getattr(network, "cell", 1)
        if cell != train.attrs["cell"]:
            raise OptionError(
                f"The network has cells of {cell} pixels, the masks of {train.attrs['cell']}: set output."
            )
        masks = train["mask"].values
        if settings.rarity and len(settings.rarity) != n:
            raise OptionError(f"strategy.rarity has {len(settings.rarity)} numbers for {n} classes.")
        shares = torch.from_numpy(np.asarray((masks == 1).mean((0, 2, 3)), np.float32))
        rarity = torch.tensor(settings.rarity) if settings.rarity else rarity_of(shares, settings.rarest)
        sampler = ImagetteSampler(image, masks, seed=config.seed, augment=data.augment)
        batches = Batches(sampler, config.optim.batch, device)
        return Segmentation(network, batches, rarity.to(device), settings.weighting), sampler
    if not isinstance(settings, CategorisationConfig | Im2PxStrategyConfig):
        raise OptionError(
            f"strategy {settings.name!r} does not learn from imagettes. Choose segmentation, categorisation or im2px."
        )
    label = image_labels(train, sides.scheme, settings.labels, output)
    sampler = ImagetteSampler(image, label, seed=config.seed, augment=data.augment)
    smoothing = settings.label_smoothing if isinstance(settings, CategorisationConfig) else 0.0

    return ImageLabels(network, Batches(sampler, config.optim.batch, device), output, smoothing), sampler


def _in_steps(config: RunConfig, n: int) -> tuple[RunConfig, int]:
    optim = config.optim
    steps = optim.steps if optim.epochs is None else max(round(optim.epochs * n / optim.batch), 1)
    return replace(config, optim=replace(optim, steps=steps)), optim.validate_every or max(steps // 10, 1)


def _statement(train: xr.Dataset) -> str:
    """What users of the maps must know of the images that the network has learnt from."""
    simulated = str(train.attrs.get("source", "")).startswith("simulated")
    return "The model was trained on simulated images; it has seen no real ones." if simulated else ""


def _finish(
    network: nn.Module, config: RunConfig, sides: ImagetteSides, seen: Seen, done: dict[str, Any], target: Path,
    place: torch.device,
) -> Model:  # fmt: skip
    scores = {
        name: judged(network, held_out, sides.scheme, place.type)
        for name, held_out in (("validation", sides.validation), ("test", sides.test))
        if held_out is not None
    }
    side = next((s for s in ("test", "validation") if s in scores), None)
    shown = {} if side is None else {k: rounded(v) for k, v in scores[side].items() if k != "confusion"}
    if side is not None:
        shown["data"] = f"{scores[side]['images']} {side} imagettes of other sets"
    angle = sides.train["incidence_angle"].values
    known = angle[np.isfinite(angle)]
    angles = (0.0, 90.0) if not known.size else (known.min() - _HALF_IMAGETTE_DEG, known.max() + _HALF_IMAGETTE_DEG)
    card = ModelCard(
        id=model_id(config.name, network), architecture=config.model.architecture,
        settings=json.loads(json.dumps(config.model.settings)), class_scheme=sides.scheme.name,
        channels=(CHANNELS["roughness_vv"],), spacing_m=float(sides.train.attrs["spacing_m"]), denoise="esa",
        incidence_range=(round(float(angles[0]), 2), round(float(angles[1]), 2)),
        seen=seen,
        statement=config.statement or _statement(sides.train),
        training={
            "config": config.to_json(), "commit": git_commit(), "versions": library_versions(), **done,
            "data": sides.describe(),
        },
        scores=shown,
    )  # fmt: skip
    save_model(network, card, target / MODEL, in_run=True)
    write_json(target / SCORES, rounded(scores))
    return Model(network.cpu().eval(), card)
