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

from frazil.learn.config import LabelPropagationConfig, TeacherStudentConfig
from frazil.learn.data.pool import Pool
from frazil.learn.propagation.graph import NOWHERE, affinity_graph, class_weight, propagate_labels


class PseudoLabels:
    """Labels and weights of all patches of a pool; before the first propagation the labelled ones alone have any.

    Args:
        pool: of patches.
        n_classes: how many classes there are.
        settings: of the strategy.
        device: where networks are.

    Attributes:
        label: int64 (patch,), −1 without one.
        weight: float32 (patch,), ω·v: certainty by class weight.
    """

    def __init__(
        self, pool: Pool, n_classes: int, settings: LabelPropagationConfig | TeacherStudentConfig, device: torch.device
    ) -> None:
        self.pool, self.n_classes, self.settings, self.device = pool, n_classes, settings, device
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
        config = self.settings.propagation
        graph = affinity_graph(features, config, device=self.device.type)
        found = propagate_labels(features, self.given, n_classes=self.n_classes, config=config, graph=graph)
        label, weight = found.label.copy(), found.weight.copy()
        if self.settings.unreached:
            label[~found.reached], weight[~found.reached] = 0, self.settings.unreached
        self._take(label, weight)
        n = len(self.pool.labelled)
        logs = {
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

    def loss(self, logits: Tensor, places: Tensor) -> Tensor:
        """Weighted cross-entropy of a batch, equation 14: patches without a label add nothing."""
        label, weight = self.label[places].to(logits.device), self.weight[places].to(logits.device)
        each = nn.functional.cross_entropy(logits.float(), label, reduction="none", ignore_index=NOWHERE)
        return (weight * each).mean()

    def tensors(self) -> dict[str, Tensor]:
        """For the state of the run: labels stay fixed for an epoch, so a run killed within one needs them."""
        return {"pseudo/label": self.label, "pseudo/weight": self.weight}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        label, weight = tensors["pseudo/label"], tensors["pseudo/weight"]
        if label.shape != self.label.shape:
            raise ValueError(f"it has pseudo-labels of {len(label)} patches, not {len(self.label)}")
        self.label, self.weight = label, weight


def hits(logits: Tensor, label: Tensor) -> float:
    """Share of labels that the largest logit names."""
    return float((logits.detach().argmax(1).cpu() == label.cpu()).float().mean())
