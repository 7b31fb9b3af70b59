"""Noisy Student: a teacher labels the unlabelled patches, a student learns them with noise, and becomes the teacher.

Algorithm 1: a teacher learns from the labels, with noise. Without noise, on patches as they are, it names the
unlabelled ones. Those named with a confidence of 0.3 or more are kept, as many of each class: of a class that has more
the most confident ones, of a class that has fewer some several times. A student of new random weights minimises
1/n Σ ℓ(y, f(x)) over labelled and 1/m Σ ℓ(ỹ, f(x̃)) over kept patches, with noise; then it is the teacher of the next.
The last one maps scenes. Looks at the validation scenes before its turn see a network that has learnt nothing yet.

Noise is what the changes of a patch and the network's dropout give. Left out: stochastic depth, which no network here
has; RandAugment, whose operations make patches that no radar gives; and the end of training at a higher resolution. The
first teacher may be smaller than the students, which are all of the run's own size.

References:
    Xie, Q., Luong, M.-T., Hovy, E., Le, Q. V. (2020), Self-training with Noisy Student improves ImageNet
    classification. CVPR 2020. doi:10.48550/arXiv.1911.04252.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.config import NoisyStudentConfig, OptimConfig
from frazil.learn.data.pool import Pool, PoolBatches
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.average import weighed
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan
from frazil.learn.train import Strategy, scheduled


class ChosenPool(Pool):
    """A pool of which some unlabelled patches are learnt from, some of them several times in an epoch."""

    chosen: np.ndarray = np.zeros(0, int)

    def choose(self, chosen: np.ndarray) -> None:
        """Learn from these unlabelled patches from now on; positions, in any number."""
        self.chosen, self._orders = chosen, {}

    def places(self, step: int, n_labelled: int, n_unlabelled: int) -> np.ndarray:
        """Positions of a step's patches, labelled ones first; these alone where no other is chosen."""
        few = super().places(step, n_labelled, 0)
        if not n_unlabelled or not len(self.chosen):
            return few
        epoch, within = divmod(step, math.ceil(len(self.chosen) / n_unlabelled))
        order = self._order(1, epoch, len(self.chosen))
        many = self.chosen[order[(within * n_unlabelled + np.arange(n_unlabelled)) % len(self.chosen)]]
        return np.concatenate([few, len(self.labelled) + many])


def chosen_patches(
    probability: np.ndarray, *, threshold: float, balance: bool, per_class: int | None, rng: np.random.Generator
) -> np.ndarray:
    """Positions of the patches that are learnt from, ascending; those of rare classes several times.

    Args:
        probability: (patch, class), of the teacher.
        threshold: least confidence.
        balance: as many of each class that is found.
        per_class: how many that are; None: the mean, rounded up.
        rng: which are taken again.
    """
    label, confidence = probability.argmax(axis=1), probability.max(axis=1)
    sure = np.flatnonzero(confidence >= threshold)
    codes = np.unique(label[sure])
    if not balance or not codes.size:
        return sure
    each = per_class or math.ceil(sure.size / codes.size)
    out = []
    for code in codes:
        mine = sure[label[sure] == code]
        mine = mine[np.argsort(-confidence[mine], kind="stable")[:each]]
        out += [mine, rng.choice(mine, each - mine.size)]
    return np.sort(np.concatenate(out))


class NoisyStudent(Strategy):
    """A teacher and its students, in turns.

    Args:
        networks: the first teacher, and the students in order.
        pool: of patches.
        batches: one view of it, the noisy one.
        plan: where the first stage ends.
        settings: of the strategy.
        n_classes: how many classes there are.
        device: where networks are.
    """

    def __init__(
        self,
        networks: list[nn.Module],
        pool: ChosenPool,
        batches: PoolBatches,
        plan: Plan,
        settings: NoisyStudentConfig,
        *,
        n_classes: int,
        device: torch.device,
    ) -> None:
        teacher, *students = networks
        self.networks = {"teacher": teacher, **{f"student_{i}": s for i, s in enumerate(students, 1)}}
        self.result, self.turns = networks[-1], networks
        self.pool, self.batches, self.plan, self.settings, self.device = pool, batches, plan, settings, device
        self.probability = torch.zeros(len(pool.unlabelled), n_classes)
        n = len(students)
        #: First step of each network's turn, and the end.
        self.begins = [0, *(plan.first + i * (plan.steps - plan.first) // n for i in range(n)), plan.steps]

    def turn(self, step: int) -> int:
        """Whose turn it is: 0 the first teacher's, then the students'."""
        return max(i for i, begin in enumerate(self.begins[:-1]) if step >= begin)

    def label_patches(self, turn: int) -> dict[str, float]:
        """Let the network before name the unlabelled patches; returns what to log, hidden truth included."""
        started = time.perf_counter()
        logits = torch.from_numpy(self.pool.unlabelled.logits(self.turns[turn - 1], self.device.type).T)
        self.probability = logits.softmax(1)
        settings, rng = self.settings, np.random.default_rng([self.pool.seed, 52, turn])
        probability = self.probability.numpy()
        chosen = chosen_patches(
            probability,
            threshold=settings.threshold,
            balance=settings.balance,
            per_class=settings.per_class,
            rng=rng,
        )
        self._choose(chosen)
        kept = np.unique(chosen)
        logs = {
            "pseudo_coverage": kept.size / len(probability),
            "pseudo_weight": float(probability.max(axis=1).mean()),
            "refresh_seconds": time.perf_counter() - started,
        }
        known = kept[self.pool.truth[kept] >= 0]
        if known.size:
            logs["pseudo_accuracy"] = float((probability[known].argmax(axis=1) == self.pool.truth[known]).mean())
        return logs

    def _choose(self, chosen: np.ndarray) -> None:
        self.batches.renew()  # before the pool changes under the thread that makes the next batch
        self.pool.choose(chosen)

    def losses(self, step: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Losses of the network whose turn it is on labelled and on unlabelled patches, and logs."""
        turn = self.turn(step)
        (image,), places = self.batches(step)
        n = self.settings.labelled
        label = self.pool.label[places[:n]].to(image.device)
        logits = self.turns[turn](image).float()
        logs = {"accuracy": hits(logits[:n], label), "round": float(turn)}
        labelled, unlabelled = nn.functional.cross_entropy(logits[:n], label), logits.new_zeros(())
        if len(places) > n:
            target = self.probability[places[n:] - len(self.pool.labelled)].to(logits.device)
            told = target.argmax(1) if self.settings.targets == "hard" else target
            unlabelled = nn.functional.cross_entropy(logits[n:], told)
        return labelled, unlabelled, logs

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        turn = self.turn(step)
        logs = self.label_patches(turn) if turn and step == self.begins[turn] else {}
        labelled, unlabelled, more = self.losses(step)
        loss, parts = weighed(labelled, unlabelled, self.settings.weight)
        return loss, {**parts, **more, **logs}

    def rates(self, step: int, config: OptimConfig) -> dict[str, float]:
        """`first_lr` for the first teacher, `OptimConfig.lr` for each student, each on its own schedule."""
        turn = self.turn(step)
        begin, end = self.begins[turn : turn + 2]
        peak = config.lr if turn else self.settings.first_lr
        rate = scheduled(config, peak, step - begin, end - begin)
        return {name: rate if i == turn else 0.0 for i, name in enumerate(self.networks)}

    def tensors(self) -> dict[str, Tensor]:
        """What the teacher has said, and which patches were chosen."""
        return {"pseudo/probability": self.probability, "pseudo/chosen": torch.from_numpy(self.pool.chosen)}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        probability = tensors["pseudo/probability"]
        if probability.shape != self.probability.shape:
            raise ValueError(f"it has pseudo-labels of {len(probability)} patches, not {len(self.probability)}")
        self.probability = probability
        self._choose(tensors["pseudo/chosen"].numpy())


def build(settings: NoisyStudentConfig, parts: Parts) -> NoisyStudent:
    """See `frazil.learn.strategies.make_strategy`."""
    plan = parts.plan
    if not plan.first:
        raise OptionError("strategy.first_steps 0: the first teacher must learn from labels. Set it to 1 or more.")
    if plan.steps - plan.first < settings.rounds:
        raise OptionError(
            f"strategy.rounds {settings.rounds} do not fit into the {plan.steps - plan.first} steps after the first "
            "stage. Raise optim.epochs or optim.steps, or lower strategy.rounds."
        )
    pool = ChosenPool(parts.pool.labelled, parts.pool.unlabelled, seed=parts.pool.seed)
    batches = parts.views(settings.labelled, settings.strong, pool=pool)
    networks = [parts.another_network(settings.teacher), *(parts.another_network() for _ in range(settings.rounds - 1))]
    return NoisyStudent(
        [*networks, parts.network], pool, batches, plan, settings, n_classes=parts.n_classes, device=parts.device
    )
