"""Ways to learn: one file each, with one `step`, and how it is built; the loop knows none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from frazil.learn.config import RunConfig
from frazil.learn.data.learning_data import LearningData
from frazil.learn.strategies import (
    distillation,
    fixmatch,
    label_propagation,
    m1_m2,
    mean_teacher,
    mixmatch,
    noisy_student,
    phenomena,
    pi_model,
    remixmatch,
    semi_gan,
    supervised,
    teacher_student,
    temporal_ensembling,
)
from frazil.learn.strategies.building import Parts, class_weights
from frazil.learn.strategies.plan import Plan, make_plan
from frazil.learn.train import Strategy

__all__ = ["STRATEGIES", "Plan", "class_weights", "make_plan", "make_strategy"]

#: Name in the settings -> what builds it from these and from what a run has.
STRATEGIES: dict[str, Callable[[Any, Parts], Strategy]] = {
    "supervised": supervised.build,
    "distillation": distillation.build,
    "label_propagation": label_propagation.build,
    "teacher_student": teacher_student.build,
    "mixmatch": mixmatch.build,
    "fixmatch": fixmatch.build,
    "mean_teacher": mean_teacher.build,
    "semi_gan": semi_gan.build,
    "pi_model": pi_model.build,
    "temporal_ensembling": temporal_ensembling.build,
    "remixmatch": remixmatch.build,
    "noisy_student": noisy_student.build,
    "m1_m2": m1_m2.build,
    "segmentation": phenomena.build_segmentation,
    "categorisation": phenomena.build_image_labels,
    "im2px": phenomena.build_image_labels,
}


def make_strategy(config: RunConfig, network: nn.Module, data: LearningData, device: torch.device) -> Strategy:
    """The strategy that a run asks for, around its network and data.

    Raises:
        OptionError, LabelError: settings, network and data that do not fit each other.
    """
    parts = Parts(config=config, network=network, data=data, device=device)
    return STRATEGIES[config.strategy.name](config.strategy, parts)
