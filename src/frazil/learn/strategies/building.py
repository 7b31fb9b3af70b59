"""What strategies are built from: the network and the data of a run, as far as each wants them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.config import PiModelConfig, RunConfig, TemporalEnsemblingConfig
from frazil.learn.data.learning_data import LearningData, Sampler
from frazil.learn.data.load import Batches
from frazil.learn.data.patches import Patches
from frazil.learn.data.pool import Pool, PoolBatches
from frazil.learn.models import create_model
from frazil.learn.strategies.plan import Plan, make_plan


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """A run's settings, network and data, and what strategies make of them.

    Attributes:
        config: of the run.
        network: to train, on its device.
        data: of the run.
        device: where everything is.
    """

    config: RunConfig
    network: nn.Module
    data: LearningData
    device: torch.device

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.data.scheme.classes)

    @cached_property
    def plan(self) -> Plan:
        """How long the run is."""
        return make_plan(self.config, self.data)

    def batches(self) -> Batches:
        """Batches of samples with labels."""
        return Batches(self.data.train, self.config.optim.batch, self.device)

    @cached_property
    def pool(self) -> Pool:
        """Labelled patches, and those without a label."""
        assert self.data.unlabelled is not None
        return Pool(self.data.train.patches, self.data.unlabelled, seed=self.config.seed)  # type: ignore[attr-defined]

    @property
    def validation(self) -> Patches | None:
        """Patches of the validation scenes, where there are any."""
        held_out = self.data.validation
        return held_out if isinstance(held_out, Patches) else None

    @property
    def weak(self) -> tuple[str, ...]:
        """Changes of patches that all views have."""
        augment: tuple[str, ...] = getattr(self.config.data, "augment", ())
        return augment

    def labelled_share(self, settings: PiModelConfig | TemporalEnsemblingConfig) -> float:
        """Of all patches those with a label, or of a batch, as the settings want it."""
        if settings.share == "batch":
            return settings.labelled / self.config.optim.batch
        return len(self.pool.labelled) / len(self.pool)

    def views(self, labelled: int, *views: tuple[str, ...], pool: Pool | None = None) -> PoolBatches:
        """Batches of the pool in some views, the first stage of labelled patches alone.

        Args:
            labelled: patches with a label in a batch.
            views: changes of each.
            pool: in place of the run's own.
        """
        plan, room = self.plan, self.config.optim.batch - labelled

        def draw(step: int) -> tuple[int, int, int]:
            before = step < plan.first
            return labelled, 0 if before else room, step if before else step - plan.first

        return PoolBatches(pool or self.pool, draw, views, self.device)

    def another_network(self, settings: Mapping[str, object] | None = None) -> nn.Module:
        """A network like that of the run, of other random weights; of the same where these are of photographs.

        Args:
            settings: in which it differs from the run's.
        """
        config = self.config
        if config.model.pretrained:
            if settings:
                raise OptionError(
                    f"strategy.teacher {dict(settings)} is another network than the one that model.pretrained has "
                    "weights for. Leave one of them out."
                )
            return copy.deepcopy(self.network)
        fresh = create_model(
            config.model.architecture,
            n_channels=len(self.data.channels),
            n_classes=self.n_classes,
            settings={**config.model.settings, **(settings or {}), "patch": self.network.patch},
        )
        place = next(self.network.parameters()).device
        fresh = fresh.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.optim.compile:
            fresh.compile()
        return fresh


def class_weights(sampler: Sampler, n_classes: int, balance: float) -> Tensor:
    """Weights (class,): frequency to the power of minus `balance`, one on average over the training samples."""
    frequency = sampler.class_frequency(n_classes)
    weight = np.maximum(frequency, 1e-3) ** -balance
    return torch.tensor(weight / (weight * frequency).sum(), dtype=torch.float32)
