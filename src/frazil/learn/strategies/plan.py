"""How long a run takes: its stages, epochs and steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from frazil.errors import OptionError
from frazil.learn.config import RunConfig
from frazil.learn.data.learning_data import LearningData


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps of a run.

    Attributes:
        steps: in all.
        epoch: of a pass through the patches of the main stage.
        first: of a first stage, on the labelled patches alone.
        look: from one look at the validation scenes to the next, where the settings do not say.
    """

    steps: int
    epoch: int
    first: int = 0
    look: int = 1

    def begins_epoch(self, step: int, every: int = 1) -> bool:
        """Whether the main stage begins an epoch at this step, or every n-th one."""
        return step >= self.first and (step - self.first) % (self.epoch * every) == 0


def make_plan(config: RunConfig, data: LearningData) -> Plan:
    """The plan of a run.

    Raises:
        OptionError: batches without room for unlabelled patches, or too few steps.
    """
    optim, settings, n = config.optim, config.strategy, data.train.n_samples
    if settings.learns_from != "pool":
        epoch = math.ceil(n / optim.batch)
        steps = optim.steps if optim.epochs is None else max(round(optim.epochs * n / optim.batch), 1)
        often = config.data.n_validations
        return Plan(steps=steps, epoch=epoch, look=epoch if often is None else max(steps // often, 1))
    assert data.unlabelled is not None
    labelled: int = settings.labelled  # type: ignore[union-attr]
    room = optim.batch - labelled
    if room < 1:
        raise OptionError(
            f"strategy.labelled {labelled} leaves no room for unlabelled patches in batches of {optim.batch}. "
            "Lower it, or raise optim.batch."
        )
    epoch, first = math.ceil(len(data.unlabelled) / room), settings.first_steps_of(n)
    for name in ("patience", "target"):
        if first and getattr(optim, name):
            raise OptionError(f"optim.{name} would end the run in its first stage, on labels alone. Set it to 0.")
    steps = optim.steps if optim.epochs is None else first + max(round(optim.epochs * epoch), 1)
    if steps <= first:
        raise OptionError(
            f"optim.steps {steps} end before the first stage does, at step {first}. Raise them, or lower "
            "strategy.first_epochs."
        )
    return Plan(steps=steps, epoch=epoch, first=first, look=epoch)
