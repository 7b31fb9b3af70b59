"""Scores of a network on labelled scenes, and the temperature that makes its confidence true.

References:
    Guo, C., Pleiss, G., Sun, Y., Weinberger, K. Q. (2017), On calibration of modern neural networks. ICML 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np
from scipy.optimize import minimize_scalar
from torch import nn

from frazil.answer import CONFIDENCE_PERCENT
from frazil.conventions import WATER, ClassScheme
from frazil.learn.infer.softmax import softmax
from frazil.metrics import IceWater, Reliability, confusion_counts, scores

_ASKED = (50, 60, 70, 80, 90, 95)  #: confidences, percent, of which scores tell what is undecided and what wrong
_LOGGED = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "nll")
_CALIBRATE_ON = 100_000  #: samples of a scene that decide about the temperature
_RELIABILITY_ON = 2_000_000  #: samples of a scene that go into the reliability diagram


def fit_temperature(logits: list[np.ndarray], labels: list[np.ndarray], *, ice_or_water: bool = False) -> float:
    """The temperature of least negative log-likelihood on held-out pixels.

    Args:
        logits: (class, pixel) per scene.
        labels: codes (pixel,) per scene, all below the number of classes.
        ice_or_water: of ice against open water, the first class, in place of all classes. That is the confidence by
            which maps answer (`frazil.answer`); a network may be too sure of its kind of ice and not of ice.
    """
    z = np.concatenate([x.astype(np.float32) for x in logits], axis=1)
    y = np.concatenate(labels).astype(int)

    def nll(log_t: float) -> float:
        p = softmax(z / np.float32(np.exp(log_t)))
        if ice_or_water:
            at_truth = np.where(y == 0, p[0], p[1:].sum(axis=0))
        else:
            at_truth = np.take_along_axis(p, y[None], axis=0)[0]
        return -float(np.log(np.maximum(at_truth, 1e-12)).mean())

    return float(np.exp(minimize_scalar(nll, bounds=(-2.0, 2.0), method="bounded").x))


class Outputs(Protocol):
    """Scenes with one class a sample."""

    def outputs(self, network: nn.Module, device: str | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Scene name, logits (class, n) and labels (n,), scene by scene."""
        ...


def tells_ice(names: tuple[str, ...]) -> bool:
    """Whether classes of these names are open water and kinds of ice."""
    return names[0] == WATER.name


def calibrate(network: nn.Module, held_out: Outputs, names: tuple[str, ...], device: str | None = None) -> float:
    """`fit_temperature` on held-out scenes, each thinned to the same number of samples at most.

    Classes of ice and open water are calibrated as ice against water, others as they are.
    """
    logits, labels = [], []
    for _, z, y in held_out.outputs(network, device):
        every = max(z.shape[1] // _CALIBRATE_ON, 1)
        logits.append(z[:, ::every])
        labels.append(y[::every])
    return fit_temperature(logits, labels, ice_or_water=tells_ice(names))


class Figures(TypedDict):
    """`frazil.metrics.scores`, rounded; None where there is nothing to divide by."""

    accuracy: float | None
    balanced_accuracy: float | None
    macro_f1: float | None
    precision: list[float | None]
    recall: list[float | None]
    f1: list[float | None]


class ScoresJson(Figures):
    """An `Evaluation` as files hold it; ice against water where classes are open water and kinds of ice."""

    classes: list[str]
    binary: NotRequired[Figures]
    ice_water: NotRequired[dict[str, object]]
    ece: float
    ece_before_temperature: float
    nll: float
    accuracy_per_scene: dict[str, float]
    confusion: list[list[int]]
    confusion_per_scene: dict[str, list[list[int]]]
    reliability: dict[str, list[float]]


class _Binary(TypedDict, total=False):
    binary: Figures
    ice_water: dict[str, object]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Counts over scenes, and per scene; reliability with the temperature and without; ice against water by scene."""

    names: tuple[str, ...]
    counts: np.ndarray
    reliability: Reliability
    uncalibrated: Reliability
    per_scene: dict[str, np.ndarray]
    ice_water: dict[str, IceWater] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """See `frazil.learn.data.learning_data.Scores`."""
        found: Mapping[str, object] = self.to_json()
        return {k: float(v) for k in _LOGGED if isinstance(v := found[k], float)}

    def to_json(self) -> ScoresJson:
        """Scores of the classes, of ice against water where these are the classes, calibration, accuracy per scene."""
        binary: _Binary = {}
        if tells_ice(self.names):
            binary["binary"] = _figures(binary_counts(self.counts))
            binary["ice_water"] = self._ice_water()
        return {
            "classes": list(self.names),
            **_figures(self.counts),
            **binary,
            "ece": round(self.reliability.ece, 4),
            "ece_before_temperature": round(self.uncalibrated.ece, 4),
            "nll": round(self.reliability.nll, 4),
            "accuracy_per_scene": {k: round(scores(c)["accuracy"], 4) for k, c in self.per_scene.items()},
            "confusion": self.counts.tolist(),
            "confusion_per_scene": {k: c.tolist() for k, c in self.per_scene.items()},
            "reliability": {k: getattr(self.reliability, k).tolist() for k in ("total", "confidence", "correct")},
        }

    def _ice_water(self) -> dict[str, object]:
        """What maps answer: the likelier of ice and water, and undecided where that is not probable enough."""

        def told(one: IceWater) -> dict[str, object]:
            return _rounded(one.likelier() | {"decided": one.decided(CONFIDENCE_PERCENT)})

        whole = sum(self.ice_water.values(), IceWater())
        trade = [_rounded(whole.decided(asked)) for asked in _ASKED]
        return told(whole) | {"trade": trade, "per_scene": {k: told(v) for k, v in self.ice_water.items()}}


def evaluate(
    network: nn.Module,
    held_out: Outputs,
    names: tuple[str, ...],
    temperature: float = 1.0,
    device: str | None = None,
) -> Evaluation:
    """Counts of a network on held-out scenes, added up over their samples.

    Args:
        network: in evaluation mode.
        held_out: scenes or patches.
        names: of the classes.
        temperature: logits are divided by it before the softmax.
        device: ``"cpu"`` or ``"cuda"``.
    """
    n_classes = len(names)
    total = np.zeros((n_classes, n_classes), np.int64)
    reliability = Reliability()
    uncalibrated = reliability if temperature == 1.0 else Reliability()
    per_scene = {}
    ice_water = {}
    for name, logits, label in held_out.outputs(network, device):
        counts = confusion_counts(label, logits.argmax(axis=0).astype(np.uint8), n_classes)
        total += counts
        per_scene[name] = counts
        every = max(label.size // _RELIABILITY_ON, 1)
        z = logits[:, ::every].astype(np.float32)
        probability = softmax(z / np.float32(temperature))
        reliability.add(label[::every], probability)
        ice_water[name] = IceWater()
        ice_water[name].add(label[::every] > 0, np.rint(100 * (1 - probability[0])))
        if uncalibrated is not reliability:
            uncalibrated.add(label[::every], softmax(z))
    return Evaluation(names, total, reliability, uncalibrated, per_scene, ice_water)


class OneClassEach:
    """Held-out samples of one class each: scored by counts of confusion, calibrated by their likelihood.

    A base of such sets; see `frazil.learn.data.learning_data.HeldOut`.
    """

    scheme: ClassScheme

    @property
    def names(self) -> list[str]:
        """Product names."""
        raise NotImplementedError

    @property
    def n_scored(self) -> int:
        """How many scenes it holds."""
        return len(set(self.names))

    def outputs(self, network: nn.Module, device: str | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Scene name, logits (class, n) and labels (n,), scene by scene."""
        raise NotImplementedError

    def score(self, network: nn.Module, *, temperature: float = 1.0, device: str | None = None) -> Evaluation:
        """See `evaluate`."""
        return evaluate(network, self, self.scheme.names, temperature, device)

    def temperature(self, network: nn.Module, device: str | None = None) -> float:
        """See `calibrate`."""
        return calibrate(network, self, self.scheme.names, device)


def binary_counts(counts: np.ndarray) -> np.ndarray:
    """Water against all ice classes together."""
    return np.array([[counts[0, 0], counts[0, 1:].sum()], [counts[1:, 0].sum(), counts[1:, 1:].sum()]], dtype=np.int64)


def _figures(counts: np.ndarray) -> Figures:
    return _rounded(scores(counts))


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return None if value is None or value != value else round(float(value), 4)
