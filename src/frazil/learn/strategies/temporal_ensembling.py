"""Temporal ensembling: what the network says of a patch shall agree with what it has said of it in earlier epochs.

As the Π-model, but the other view is a memory of every patch (algorithm 2): after each epoch Z ← αZ + (1 − α)z, and the
target is z̃ = Z / (1 − α^t) after t epochs, which takes away the zeros that Z began with. The weight is zero in the
first epoch, when there is no memory.

An epoch is a pass through the unlabelled patches. Labelled ones come several times in it or not at all: the last of
their probabilities counts, t is counted for each patch, and one without a memory adds nothing.

References:
    Laine, S., Aila, T. (2017), Temporal ensembling for semi-supervised learning. ICLR 2017.
    doi:10.48550/arXiv.1610.02242.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frazil.learn.config import TemporalEnsemblingConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.average import risen_smoothly, weighed
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan
from frazil.learn.train import Strategy


class Memory:
    """What a network has said of each patch, a moving average over epochs.

    Args:
        n_patches: how many there are.
        n_classes: likewise.
        alpha: share of itself that it keeps at each epoch.
    """

    def __init__(self, n_patches: int, n_classes: int, alpha: float) -> None:
        self.alpha = alpha
        self.total, self.latest = torch.zeros(n_patches, n_classes), torch.zeros(n_patches, n_classes)
        self.epochs, self.seen = torch.zeros(n_patches, dtype=torch.int64), torch.zeros(n_patches, dtype=torch.bool)

    def note(self, places: Tensor, probability: Tensor) -> None:
        """What is said now; it counts from the next epoch on."""
        probability = probability.detach().float().cpu()
        for place, said in zip(places.tolist(), probability, strict=True):  # of two of one place the last counts
            self.latest[place] = said
        self.seen[places] = True

    def end_epoch(self) -> None:
        """Take what was said into the average."""
        seen = self.seen
        self.total[seen] = self.alpha * self.total[seen] + (1 - self.alpha) * self.latest[seen]
        self.epochs[seen] += 1
        self.seen = torch.zeros_like(seen)

    def targets(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities float32 (batch, class), and whether there are any (batch,); zeros where not."""
        epochs = self.epochs[places]
        correction = 1 - self.alpha ** epochs.double()
        known = epochs > 0
        target = self.total[places] / torch.where(known, correction, 1.0).float()[:, None]
        return target, known

    def tensors(self) -> dict[str, Tensor]:
        """For the state of the run."""
        return {f"memory/{name}": getattr(self, name) for name in ("total", "latest", "epochs", "seen")}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        for name in ("total", "latest", "epochs", "seen"):
            kept, mine = tensors[f"memory/{name}"], getattr(self, name)
            if kept.shape != mine.shape:
                raise ValueError(f"it remembers {len(kept)} patches, not {len(mine)}")
            setattr(self, name, kept.clone())


class TemporalEnsembling(Strategy):
    """Cross-entropy on labels, and the mean squared difference of the probabilities of all patches from the memory.

    Args:
        network: a patch classifier.
        batches: one view.
        label: int64 of the labelled patches.
        plan: how long the run is.
        settings: of the strategy.
        memory: of all patches.
        share: by which the weight is multiplied, M/N.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: PoolBatches,
        label: Tensor,
        plan: Plan,
        settings: TemporalEnsemblingConfig,
        *,
        memory: Memory,
        share: float,
    ) -> None:
        self.networks, self.result = {"network": network}, network
        self.batches, self.label, self.plan, self.settings = batches, label, plan, settings
        self.memory, self.share = memory, share

    def losses(self, step: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Losses on labelled patches and on all, the second before it is weighed, and logs."""
        if self.plan.begins_epoch(step):
            self.memory.end_epoch()
        image, places = self.batches(step)
        n = self.settings.labelled
        label = self.label[places[:n]].to(image[0].device)
        logits = self.result(image[0]).float()
        probability = logits.softmax(1)
        target, known = (t.to(logits.device) for t in self.memory.targets(places))
        apart = ((probability - target).square() * known[:, None]).mean()
        self.memory.note(places, probability)
        labelled = nn.functional.cross_entropy(logits[:n], label, reduction="sum") / len(logits)
        return labelled, apart, {"accuracy": hits(logits[:n], label), "remembered": float(known.float().mean())}

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        labelled, unlabelled, logs = self.losses(step)
        rise = risen_smoothly(step, self.plan.steps, self.settings.ramp) if step >= self.plan.epoch else 0.0
        loss, parts = weighed(labelled, unlabelled, self.settings.weight * self.share * rise)
        return loss, {**parts, **logs}

    def tensors(self) -> dict[str, Tensor]:
        """The memory, and what was said in this epoch."""
        return self.memory.tensors()

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.memory.load_tensors(tensors)


def build(settings: TemporalEnsemblingConfig, parts: Parts) -> TemporalEnsembling:
    """See `frazil.learn.strategies.make_strategy`."""
    memory = Memory(len(parts.pool), parts.n_classes, settings.alpha)
    views, share = parts.views(settings.labelled, parts.weak), parts.labelled_share(settings)
    label = parts.pool.label
    return TemporalEnsembling(parts.network, views, label, parts.plan, settings, memory=memory, share=share)
