"""Pseudo-labels of a run: what propagation over the descriptors of a network gives every patch to learn.

References:
    Iscen, A., Tolias, G., Avrithis, Y., Chum, O. (2019), Label propagation for deep semi-supervised learning. CVPR
    2019. doi:10.48550/arXiv.1904.04717.
    Khaleghian (2022), paper 2, equations 5 to 14.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.config import LabelPropagationConfig, PropagationConfig, TeacherStudentConfig
from frazil.learn.data.patches import UNLABELLED, Patches
from frazil.learn.data.pool import Pool
from frazil.learn.propagation.choose import Choice, Tried, choose_propagation
from frazil.learn.propagation.graph import NOWHERE, affinity_graph, class_weight, propagate_labels


class PseudoLabels:
    """Labels and weights of all patches of a pool; before the first propagation the labelled ones alone have any.

    Args:
        pool: of patches.
        n_classes: how many classes there are.
        settings: of the strategy.
        device: where networks are.
        validation: patches of validation scenes, by which `ChoiceConfig` may choose; nothing learns from them.

    Attributes:
        label: int64 (patch,), −1 without one.
        weight: float32 (patch,), ω·v: certainty by class weight.
        choice: of k and alpha, None before the first propagation and where nothing is to be chosen.

    Raises:
        OptionError: validation patches are to choose, and there are none.
    """

    def __init__(
        self,
        pool: Pool,
        n_classes: int,
        settings: LabelPropagationConfig | TeacherStudentConfig,
        device: torch.device,
        validation: Patches | None = None,
    ) -> None:
        self.pool, self.n_classes, self.settings, self.device = pool, n_classes, settings, device
        self.validation = validation
        self.choice: Choice | None = None
        if settings.choice.by == "validation" and validation is None:
            raise OptionError(
                "strategy.choice.by is 'validation', but there are no validation patches. Set data.validation, or "
                "choose by 'labels'."
            )
        given = np.full(len(pool), NOWHERE)
        given[: len(pool.labelled)] = pool.labelled.label
        self.given = given
        self._take(given, (given != NOWHERE).astype(np.float32))

    def _take(self, label: np.ndarray, weight: np.ndarray) -> None:
        even = class_weight(label, self.n_classes) if self.settings.class_balance else np.ones(self.n_classes)
        self.label = torch.from_numpy(label.astype(np.int64))
        self.weight = torch.from_numpy((weight * np.where(label >= 0, even[label], 0)).astype(np.float32))

    def refresh(self, network: nn.Module) -> dict[str, float]:
        """Propagate over the network's descriptors; returns what to log, hidden truth included where there is one."""
        started = time.perf_counter()
        features = self.pool.descriptors(network, self.device)
        described = time.perf_counter()
        logs = self._choose(network, features)
        config = self.propagation
        graph = affinity_graph(features, config, device=self.device.type)
        found = propagate_labels(features, self.given, n_classes=self.n_classes, config=config, graph=graph)
        label, weight = found.label.copy(), found.weight.copy()
        if self.settings.unreached:
            label[~found.reached], weight[~found.reached] = 0, self.settings.unreached
        self._take(label, weight)
        n = len(self.pool.labelled)
        logs |= {
            "pseudo_coverage": float(found.reached[n:].mean()),
            "pseudo_weight": float(found.weight[n:].mean()),
            "propagation_iterations": float(found.iterations),
            "propagation_residual": found.residual,
            "descriptor_seconds": described - started,
            "refresh_seconds": time.perf_counter() - started,
        }
        truth = self.pool.truth
        known = (truth >= 0) & found.reached[n:]
        if known.any():
            logs["pseudo_accuracy"] = float((found.label[n:] == truth)[known].mean())
        return logs

    @property
    def propagation(self) -> PropagationConfig:
        """How labels spread: as set, or as chosen."""
        settings = self.settings.propagation
        return settings if self.choice is None else self.choice.apply(settings)

    def _choose(self, network: nn.Module, features: np.ndarray) -> dict[str, float]:
        """Choose k and alpha, once in a run; returns what to log of it.

        Descriptors change from epoch to epoch, but a choice that changed with them would be no setting of the run.
        """
        by = self.settings.choice.by
        if by == "nothing" or self.choice is not None:
            return {}
        labels, held_out = self.given, None
        if self.validation is not None and by != "labels":
            judges = self.validation.label.astype(np.int64)
            held_out = np.concatenate([np.full_like(labels, NOWHERE), np.where(judges == UNLABELLED, NOWHERE, judges)])
            labels = np.concatenate([labels, np.full_like(judges, NOWHERE)])
            features = np.concatenate([features, self.validation.descriptors(network, self.device.type)])
        self.choice = chosen = choose_propagation(
            features,
            labels,
            self.settings.choice,
            self.settings.propagation,
            held_out=held_out,
            n_classes=self.n_classes,
            device=self.device.type,
        )
        tried = {f"chosen_among_k{one.k}_alpha{one.alpha:g}": one.recall for one in chosen.tried}
        return {
            "chosen_k": float(chosen.k),
            "chosen_alpha": chosen.alpha,
            "chosen_judges": float(chosen.judges),
            **tried,
        }

    def notes(self) -> dict[str, object]:
        """What the model card is to say: the choice, where there was one."""
        return {} if self.choice is None else {"propagation": self.choice.to_json()}

    def loss(self, logits: Tensor, places: Tensor) -> Tensor:
        """Weighted cross-entropy of a batch, equation 14: patches without a label add nothing."""
        label, weight = self.label[places].to(logits.device), self.weight[places].to(logits.device)
        each = nn.functional.cross_entropy(logits.float(), label, reduction="none", ignore_index=NOWHERE)
        return (weight * each).mean()

    def tensors(self) -> dict[str, Tensor]:
        """For the state of the run: labels stay fixed for an epoch, so a run killed within one needs them."""
        held = {"pseudo/label": self.label, "pseudo/weight": self.weight}
        if self.choice is not None:
            held["pseudo/choice"] = _as_tensor(self.choice)
        return held

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        label, weight = tensors["pseudo/label"], tensors["pseudo/weight"]
        if label.shape != self.label.shape:
            raise ValueError(f"it has pseudo-labels of {len(label)} patches, not {len(self.label)}")
        self.label, self.weight = label, weight
        if "pseudo/choice" in tensors:
            self.choice = _as_choice(tensors["pseudo/choice"])


def _as_tensor(choice: Choice) -> Tensor:
    """A choice as float64 (row, 4): k, alpha, judges and whether these were validation patches; then all tried."""
    first = [choice.k, choice.alpha, choice.judges, choice.by == "validation"]
    rows = [first, *([one.k, one.alpha, one.recall, one.surety] for one in choice.tried)]
    return torch.tensor(rows, dtype=torch.float64)


def _as_choice(tensor: Tensor) -> Choice:
    """What `_as_tensor` was given."""
    (k, alpha, judges, validation), *rows = tensor.tolist()
    tried = tuple(Tried(k=int(row[0]), alpha=row[1], recall=row[2], surety=row[3]) for row in rows)
    return Choice(k=int(k), alpha=alpha, by="validation" if validation else "labels", judges=int(judges), tried=tried)


def hits(logits: Tensor, label: Tensor) -> float:
    """Share of labels that the largest logit names."""
    return float((logits.detach().argmax(1).cpu() == label.cpu()).float().mean())
