"""Scores of a network on labelled scenes, and the temperature that makes its confidence true.

References:
    Guo, C., Pleiss, G., Sun, Y., Weinberger, K. Q. (2017), On calibration of modern neural networks. ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from frazil.learn.data import LabelledScene
from frazil.learn.engine import Engine
from frazil.learn.predict import softmax
from frazil.metrics import Reliability, confusion_counts, scores
from frazil.scene.tiles import TileGrid, even_core


def scene_logits(engine: Engine, scene: LabelledScene, tile: int = 2048) -> np.ndarray:
    """Logits float16 (class, line, pixel) of a scene in memory."""
    shape = scene.label.shape
    core = even_core(shape, tile, engine.stride)
    out: np.ndarray | None = None
    for kept, reach in TileGrid(shape=shape, core=core, margin=engine.margin, multiple=engine.stride):
        part = scene.image[(slice(None), *reach.slices)].astype(np.float32)
        logits = engine(np.pad(part, [(0, 0), *((0, -n % engine.stride) for n in part.shape[1:])]))
        if out is None:
            out = np.empty((len(logits), *shape), np.float16)
        out[(slice(None), *kept.slices)] = logits[(slice(None), *kept.inside(reach))]
    assert out is not None
    return out


def fit_temperature(logits: list[np.ndarray], labels: list[np.ndarray]) -> float:
    """The temperature of least negative log-likelihood on held-out pixels.

    Args:
        logits: (class, pixel) per scene.
        labels: codes (pixel,) per scene, all below the number of classes.
    """
    z = np.concatenate([x.astype(np.float32) for x in logits], axis=1)
    y = np.concatenate(labels).astype(int)

    def nll(log_t: float) -> float:
        p = softmax(z / np.float32(np.exp(log_t)))
        at_truth = np.take_along_axis(p, y[None], axis=0)[0]
        return -float(np.log(np.maximum(at_truth, 1e-12)).mean())

    return float(np.exp(minimize_scalar(nll, bounds=(-2.0, 2.0), method="bounded").x))


def calibrate(engine: Engine, scenes: list[LabelledScene], every: int = 7) -> float:
    """`fit_temperature` on every seventh line and pixel of labelled scenes."""
    logits, labels = [], []
    for scene in scenes:
        label = scene.label[::every, ::every]
        known = label < 255
        logits.append(scene_logits(engine, scene)[:, ::every, ::every][:, known])
        labels.append(label[known])
    return fit_temperature(logits, labels)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Counts over scenes, and per scene."""

    counts: np.ndarray
    reliability: Reliability
    per_scene: dict[str, np.ndarray]

    def to_json(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Scores of the classes, of ice against water, calibration, and accuracy per scene."""
        five, two = scores(self.counts), scores(binary_counts(self.counts))
        return {
            "classes": list(names),
            **{k: _rounded(v) for k, v in five.items()},
            "binary": {k: _rounded(v) for k, v in two.items()},
            "ece": round(self.reliability.ece, 4),
            "nll": round(self.reliability.nll, 4),
            "accuracy_per_scene": {k: round(float(scores(c)["accuracy"]), 4) for k, c in self.per_scene.items()},  # type: ignore[arg-type]
            "confusion": self.counts.tolist(),
        }


def evaluate(engine: Engine, scenes: list[LabelledScene], n_classes: int, temperature: float = 1.0) -> Evaluation:
    """Counts of a network on labelled scenes, added up over pixels."""
    total = np.zeros((n_classes, n_classes), np.int64)
    reliability = Reliability()
    per_scene = {}
    for i, scene in enumerate(scenes):
        logits = scene_logits(engine, scene)
        counts = confusion_counts(scene.label, logits.argmax(axis=0).astype(np.uint8), n_classes)
        total += counts
        per_scene[f"{i}: {scene.name}"] = counts
        part = slice(None, None, 3)
        label = scene.label[part, part].ravel()
        z = logits[:, part, part].reshape(n_classes, -1).astype(np.float32)
        reliability.add(label, softmax(z / np.float32(temperature)))
    return Evaluation(total, reliability, per_scene)


def binary_counts(counts: np.ndarray) -> np.ndarray:
    """Water against all ice classes together."""
    return np.array([[counts[0, 0], counts[0, 1:].sum()], [counts[1:, 0].sum(), counts[1:, 1:].sum()]], dtype=np.int64)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return None if value != value else round(float(value), 4)
