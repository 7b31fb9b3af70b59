"""Settings of learning from a trained network or ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from frazil.errors import OptionError
from frazil.learn.config.base import StrategySettings, check_share


@dataclass(frozen=True, kw_only=True)
class DistillationConfig(StrategySettings):
    """One network that learns to answer as a trained model does, for instance an ensemble of workers.

    Attributes:
        teacher: folder of the model that is learnt from.
        weight: of the teacher's answers; the rest is that of the labels. At 1 labels do not count, as where there are
            none.
        temperature: both answers are softened by it, above 0.
        class_balance: of the labels, as in `SupervisedConfig`.
    """

    name: Literal["distillation"] = "distillation"
    teacher: str = ""
    weight: float = 0.9
    temperature: float = 4.0
    class_balance: float = 0.0

    def __post_init__(self) -> None:
        check_share("weight", self.weight)
        check_share("class_balance", self.class_balance)
        if not 0 < self.temperature < float("inf"):
            raise OptionError(f"temperature {self.temperature} must be above 0.")
