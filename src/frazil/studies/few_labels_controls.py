"""The controls of the study of few labels: what pixels tell without a network."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from frazil.learn.config import ChoiceConfig, PropagationConfig
from frazil.learn.data.class_scores import Evaluation
from frazil.learn.data.learning_data import LearningData
from frazil.learn.data.patches import Patches
from frazil.learn.propagation.choose import Choice, choose_propagation
from frazil.learn.propagation.graph import LabelPropagator
from frazil.learn.propagation.neighbours import nearest_neighbours
from frazil.metrics import Reliability, confusion_counts
from frazil.studies.few_labels_table import Found, scores_of


def run_control(method: str, data: LearningData, test: Patches) -> Found:
    """Scores of a method that looks at pixels: patches as vectors, less the mean of the pool."""
    assert data.unlabelled is not None
    few: Patches = data.train.patches  # type: ignore[attr-defined]
    mean = data.unlabelled.image.mean(axis=0, dtype=np.float64)
    rows = [_vectors(p, mean) for p in (few, data.unlabelled, test)]
    n = len(data.scheme.classes)
    curve: list[dict[str, float]] = []
    if method == "nearest label":
        said = [few.label[nearest_neighbours(part, 1, among=rows[0])[0][:, 0]] for part in rows[1:]]
    else:
        config = PropagationConfig()
        if method != "raw propagation":
            chosen = _choose(few, rows, data.validation, mean)
            config = chosen.apply(config)
            curve = [{"step": 0, "chosen_k": chosen.k, "chosen_alpha": chosen.alpha}]
        labels = np.full(len(rows[0]) + len(rows[1]), -1)
        labels[: len(few)] = few.label
        fitted = LabelPropagator(**asdict(config)).fit(np.concatenate(rows[:2]), labels)
        said = [fitted.transduction_[len(few) :], fitted.predict(rows[2])]
    said = [np.where(s < 0, 255, s).astype(np.uint8) for s in said]
    counts = np.zeros((n, n), np.int64)
    per_scene = {}
    for name in test.names:
        mine = (test.scene == name) & (said[1] < n)  # where no label reaches, nothing is said
        per_scene[name] = confusion_counts(test.label[mine], said[1][mine], n)
        counts += per_scene[name]
    scores = scores_of(Evaluation(data.scheme.names, counts, Reliability(), Reliability(), per_scene))
    right = float((said[1] == test.label).mean())  # silence counts as wrong
    known = data.unlabelled.label < n
    pool = float((said[0] == data.unlabelled.label)[known].mean()) if known.any() else None
    return {"test": {**scores, "accuracy": right, "ece": None, "nll": None}, "pool": pool, "curve": curve, "steps": 0}


def _vectors(patches: Patches, mean: np.ndarray) -> np.ndarray:
    vectors: np.ndarray = (patches.image - mean).reshape(len(patches), -1).astype(np.float32)
    return vectors


def _choose(few: Patches, rows: list[np.ndarray], validation: object, mean: np.ndarray) -> Choice:
    """K and α by the validation patches where there are any, by the labels in turn elsewhere."""
    judges = validation if isinstance(validation, Patches) else few.take(np.zeros(0, int))
    labels = np.full(sum(map(len, rows[:2])) + len(judges), -1)
    held_out = labels.copy()
    labels[: len(few)], held_out[len(labels) - len(judges) :] = few.label, judges.label
    features = np.concatenate([*rows[:2], _vectors(judges, mean)])
    return choose_propagation(features, labels, ChoiceConfig(by="best"), PropagationConfig(), held_out=held_out)
