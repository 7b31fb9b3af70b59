"""Distillation: one network learns to answer as a trained model does, and costs as much as one.

What several workers have learnt apart is an ensemble (`frazil peers --choose`), which takes as many passes as it has
members; this puts it into one network. The gradient of softened answers shrinks with the square of the temperature, by
which it is multiplied, so that a weight means the same at any.

References:
    Hinton, G., Vinyals, O., Dean, J. (2015), Distilling the knowledge in a neural network.
    doi:10.48550/arXiv.1503.02531 (section 2).
    Khaleghian (2022), section 4.3.2: two-step distillation, first an ensemble, then one network of it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.checkpoint import Model, load_model
from frazil.learn.config import DistillationConfig
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.scenes import IGNORE
from frazil.learn.strategies.building import Parts, class_weights
from frazil.learn.train import Strategy


class Distillation(Strategy):
    """Cross-entropy on labels, and agreement with a teacher on every sample, labelled or not.

    Args:
        network: to train.
        batches: images (batch, channel, height, width) and labels int64 (batch,) or (batch, height, width) of a step.
        teacher: logits of images, (batch, class, …) like the network's; nothing is learnt by it.
        class_weights: (class,), of the labels.
        settings: of the strategy.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: Callable[[int], tuple[Tensor, Tensor]],
        teacher: Callable[[Tensor], Tensor],
        class_weights: Tensor,
        settings: DistillationConfig,
    ) -> None:
        self.networks = {"network": network}
        self.result, self.batches, self.teacher, self.settings = network, batches, teacher, settings
        self.loss = nn.CrossEntropyLoss(class_weights, ignore_index=IGNORE)

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        image, label = self.batches(step)
        logits = self.result(image).float()
        with torch.no_grad():
            theirs = self.teacher(image).float()
        apart = softened_divergence(logits, theirs, self.settings.temperature)
        known = label != IGNORE
        labelled = self.loss(logits, label) if bool(known.any()) else logits.sum() * 0.0
        w = self.settings.weight
        loss = w * apart + (1 - w) * labelled
        with torch.no_grad():
            said = logits.argmax(1)
            hits = float(((said == label) & known).sum() / known.sum().clamp(min=1))
            agreement = float((said == theirs.argmax(1)).float().mean())
        told = {"loss": loss, "loss_labels": labelled, "loss_teacher": apart}
        return loss, {
            **{name: float(value.detach()) for name, value in told.items()},
            "accuracy": hits,
            "agreement": agreement,
        }


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher ‖ student) of softened probabilities, the mean over samples and pixels: a scalar, 0 if they agree.

    Args:
        student: logits (batch, class, …).
        teacher: logits of the same shape.
        temperature: T, by which both are divided.
    """
    mine, theirs = (x / temperature for x in (student, teacher))
    target = theirs.softmax(1)
    return temperature**2 * (target * (theirs.log_softmax(1) - mine.log_softmax(1))).sum(1).mean()


def build(settings: DistillationConfig, parts: Parts) -> Distillation:
    """See `frazil.learn.strategies.make_strategy`."""
    if not settings.teacher:
        raise OptionError("Distillation needs a teacher: the folder of a model (--set strategy.teacher=FOLDER).")
    model = load_model(settings.teacher)
    refuse_other_task(model, parts.data, settings.teacher)
    network = model.network.eval().requires_grad_(False).to(parts.device)
    temperature = model.card.temperature

    def teacher(image: Tensor) -> Tensor:
        logits: Tensor = network(image)
        return logits / temperature

    weights = class_weights(parts.data.train, parts.n_classes, settings.class_balance).to(parts.device)
    return Distillation(parts.network, parts.batches(), teacher, weights, settings)


def refuse_other_task(model: Model, data: LearningData, name: str) -> None:
    """Raise OptionError where a teacher's answers are not to what the run asks: other classes, channels or scalings."""
    card = model.card
    if card.class_scheme != data.scheme.name:
        raise OptionError(f"Teacher {name} knows the classes {card.class_scheme!r}, the data has {data.scheme.name!r}.")
    theirs, ours = (
        [(c.name, round(c.low, 6), round(c.high, 6)) for c in channels] for channels in (card.channels, data.channels)
    )
    if theirs != ours:
        raise OptionError(
            f"Teacher {name} was trained on the channels {', '.join(c.name for c in card.channels)} and their scaling, "
            f"the data has {', '.join(c.name for c in data.channels)}. Take channels and scaling as the teacher did."
        )
