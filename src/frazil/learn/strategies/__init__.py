"""Ways to learn: one file each, with one `step`; the loop knows none of them."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from frazil.errors import LabelError, OptionError
from frazil.learn.config import (
    CategorisationConfig,
    Cifar10Data,
    FixMatchConfig,
    LabelPropagationConfig,
    MeanTeacherConfig,
    MixMatchConfig,
    PatchData,
    PhenomenaConfig,
    RunConfig,
    SegmentationConfig,
    SemiGANConfig,
    SupervisedConfig,
    TeacherStudentConfig,
)
from frazil.learn.data.learning_data import LearningData, Sampler
from frazil.learn.data.load import Batches
from frazil.learn.data.pool import Pool, PoolBatches
from frazil.learn.models import create_model
from frazil.learn.models.output import output_of
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.propagation.pseudo import PseudoLabels
from frazil.learn.strategies.fixmatch import FixMatch
from frazil.learn.strategies.label_propagation import LabelPropagation
from frazil.learn.strategies.mean_teacher import MeanTeacher
from frazil.learn.strategies.mixmatch import MixMatch
from frazil.learn.strategies.phenomena import ImageLabels, Segmentation
from frazil.learn.strategies.phenomena_losses import rarity_of
from frazil.learn.strategies.plan import Plan, make_plan
from frazil.learn.strategies.semi_gan import Generator, SemiGAN
from frazil.learn.strategies.supervised import Supervised
from frazil.learn.strategies.teacher_student import TeacherStudent
from frazil.learn.train import Strategy

__all__ = ["Plan", "class_weights", "make_plan", "make_strategy"]


def make_strategy(config: RunConfig, network: nn.Module, data: LearningData, device: torch.device) -> Strategy:
    """The strategy that a run asks for, around its network and data."""
    settings = config.strategy
    if isinstance(settings, SupervisedConfig):
        few = Batches(data.train, config.optim.batch, device)
        weights = class_weights(data.train, len(data.scheme.classes), settings.class_balance).to(device)
        return Supervised(network, few, weights, settings.label_smoothing)
    if isinstance(settings, PhenomenaConfig):
        return _from_imagettes(settings, config, network, data, device)
    assert data.unlabelled is not None
    assert isinstance(config.data, PatchData | Cifar10Data)
    assert isinstance(network, PatchClassifier)
    pool = Pool(data.train.patches, data.unlabelled, seed=config.seed)  # type: ignore[attr-defined]
    plan, n_classes, weak = make_plan(config, data), len(data.scheme.classes), config.data.augment
    room = config.optim.batch - settings.labelled

    def batches(*views: tuple[str, ...]) -> PoolBatches:
        def draw(step: int) -> tuple[int, int, int]:
            before = step < plan.first
            return settings.labelled, 0 if before else room, step if before else step - plan.first

        return PoolBatches(pool, draw, views, device)

    match settings:
        case LabelPropagationConfig():
            pseudo = PseudoLabels(pool, n_classes, settings, device)
            return LabelPropagation(network, batches(weak), pseudo, plan, settings)
        case TeacherStudentConfig():
            pseudo = PseudoLabels(pool, n_classes, settings, device)
            student = _another(config, network, data)
            return TeacherStudent(network, student, batches(weak), pseudo, plan, settings)
        case MixMatchConfig():
            views = batches(*[weak] * settings.guesses)
            return MixMatch(network, views, pool.label, n_classes, plan, settings, config.seed)
        case FixMatchConfig():
            return FixMatch(network, batches(weak, settings.strong), pool.label, plan, settings)
        case MeanTeacherConfig():
            return MeanTeacher(network, batches(weak, weak), pool.label, plan, settings)
        case SemiGANConfig():
            generator = Generator(network.patch, len(data.channels), settings.latent, settings.width)
            generator = generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            return SemiGAN(network, generator, batches(weak), pool.label, settings, config.seed)
        case _:
            raise OptionError(f"There is no strategy for settings of class {type(settings).__name__}.")


def _from_imagettes(
    settings: PhenomenaConfig, config: RunConfig, network: nn.Module, data: LearningData, device: torch.device
) -> Strategy:
    """A strategy that learns masks, or what images are called.

    Raises:
        OptionError: masks of other cells, or a K of another number of classes. LabelError: images without a category.
    """
    batches, n = Batches(data.train, config.optim.batch, device), len(data.scheme.classes)
    if isinstance(settings, SegmentationConfig):
        cell = getattr(network, "cell", 1)
        if cell != data.cell:
            raise OptionError(f"The network has cells of {cell} pixels, the masks of {data.cell}: set output.")
        if settings.rarity and len(settings.rarity) != n:
            raise OptionError(f"strategy.rarity has {len(settings.rarity)} numbers for {n} classes.")
        shares = torch.from_numpy(data.train.class_frequency(n).astype(np.float32))
        rarity = torch.tensor(settings.rarity) if settings.rarity else rarity_of(shares, settings.rarest)
        return Segmentation(network, batches, rarity.to(device), settings.weighting)
    output = output_of(network)
    if output == "softmax" and data.unnamed:
        raise LabelError(
            f"{data.unnamed} images have no category; leave them out, or train with model.settings.output=sigmoid."
        )
    smoothing = settings.label_smoothing if isinstance(settings, CategorisationConfig) else 0.0
    return ImageLabels(network, batches, output, smoothing)


def _another(config: RunConfig, network: PatchClassifier, data: LearningData) -> nn.Module:
    """A network like another, of other random weights; of the same ones where they were learnt from photographs."""
    if config.model.pretrained:
        return copy.deepcopy(network)
    fresh = create_model(
        config.model.architecture, n_channels=len(data.channels), n_classes=len(data.scheme.classes),
        settings={**config.model.settings, "patch": network.patch},
    )  # fmt: skip
    place = next(network.parameters()).device
    fresh = fresh.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.optim.compile:
        fresh.compile()
    return fresh


def class_weights(sampler: Sampler, n_classes: int, balance: float) -> torch.Tensor:
    """Weights (class,): frequency to the power of minus `balance`, one on average over the training samples."""
    frequency = sampler.class_frequency(n_classes)
    weight = np.maximum(frequency, 1e-3) ** -balance
    return torch.tensor(weight / (weight * frequency).sum(), dtype=torch.float32)
