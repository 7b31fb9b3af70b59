"""A few labels taught to a whole scene in seconds: the network's answer, bent to what an analyst says.

The logits of a cell are a share of those of the network plus a function f of the cell's features, which is drawn from
a Gaussian process with a squared-exponential kernel: near a label f follows it, far from all labels f is zero and the
network answers alone. f is the mode of its posterior under the softmax likelihood of the labels (Laplace). With tens
of labels that is a small convex problem, and one product of matrices carries it to the cells of a scene.

Two corrections, both chosen by measurement. Modes say less than they know: their logits are made larger. And whoever
marks a place of each class in turn marks rare ones more often than they occur: each class is weighed by the share of
the scene that it has over its share of the labels, to a power that grows with the number of labels.

Chosen by measurement among ridge regression of the same features, Gaussians whose means fall with incidence angle, and
label propagation over the cells' graph (docs/results/clicks.md).

References:
    Rasmussen, C. E., Williams, C. K. I. (2006), Gaussian Processes for Machine Learning. MIT Press. Sections 2.7
    (explicit mean functions) and 3.5 (several classes).
    Khaleghian (2022), paper 2, equation 14: certainty, one minus the entropy over that of a uniform distribution.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from frazil.errors import LabelError, OptionError
from frazil.learn.cells.cells import Cells
from frazil.learn.propagation.graph import certainty

_ROWS = 16_384  # cells at a time: their kernel with a few hundred labels stays in the cache
_JITTER = 1e-4
_MANY = 30.0  # labels, from which on shares of classes are corrected half as far as of very many
MOST = 600  #: labelled cells that are learnt from at most; of more, so many are taken evenly


@dataclass(frozen=True, kw_only=True)
class TeachSettings:
    """How far labels are trusted and how wide they reach.

    Attributes:
        network: share of the network's logits that stays, 0…1.
        reach: length of the kernel, in units of the square root of the number of features.
        amplitude: variance of f.
        sharpen: factor on the logits.
        shares: power of the shares of classes in the scene over those in the labels, of very many labels.
    """

    network: float = 0.3
    reach: float = 1.0
    amplitude: float = 6.0
    sharpen: float = 1.5
    shares: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.network <= 1 and min(self.reach, self.amplitude, self.sharpen) > 0 and self.shares >= 0):
            raise OptionError(
                f"network must lie in 0…1, reach, amplitude and sharpen above 0, shares at 0 and above; got {self}."
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Taught:
    """What the labels make of a scene.

    Attributes:
        logits: float32 (cell, class), centred.
        labelled: int64 (label,) the cells that were learnt from.
    """

    logits: np.ndarray
    labelled: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """Float32 (cell, class), summing to one."""
        return softmax(self.logits)

    @property
    def certainty(self) -> np.ndarray:
        """ω of the thesis, float32 (cell,): one minus the entropy over that of a uniform distribution."""
        return certainty(self.probability)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (…, class) of logits."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def teach(
    cells: Cells,
    where: np.ndarray,
    codes: np.ndarray,
    weights: np.ndarray | None = None,
    settings: TeachSettings | None = None,
) -> Taught:
    """Carry labels of some cells to all of them.

    Args:
        cells: of a scene.
        where: integer (label,), numbers of labelled cells; one that comes twice counts twice.
        codes: integer (label,), their classes.
        weights: (label,), not negative: how much each counts; by default 1.
        settings: by default those chosen by measurement.

    Raises:
        LabelError: no label, one outside of the cells, or of a class that the scheme does not have.
    """
    settings = settings or TeachSettings()
    where, codes = np.asarray(where), np.asarray(codes)
    weight = np.ones(len(where)) if weights is None else np.asarray(weights, np.float64)
    n_classes = cells.log_probability.shape[1]
    if not len(where) == len(codes) == len(weight):
        raise LabelError(f"{len(where)} cells, {len(codes)} classes and {len(weight)} weights do not belong together.")
    if not len(where):
        raise LabelError("There is no label on the sea of this scene. Mark a place first.")
    if where.min() < 0 or where.max() >= len(cells) or codes.min() < 0 or codes.max() >= n_classes:
        raise LabelError(f"Cells must lie in 0…{len(cells) - 1} and classes in 0…{n_classes - 1}.")
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise LabelError("Weights of labels must be finite and not negative.")
    if len(where) > MOST:
        take = np.linspace(0, len(where) - 1, MOST).astype(int)
        where, codes, weight = where[take], codes[take], weight[take] * len(where) / MOST
    x = cells.features[where]
    factor = linalg.cholesky(_kernel(x, x, settings).astype(np.float64) + _JITTER * np.eye(len(x)), lower=True)
    own = settings.network * cells.log_probability[where].astype(np.float64)
    alpha = _mode(factor, own, codes, weight)
    logits = settings.network * cells.log_probability

    def carry(start: int) -> None:
        part = slice(start, start + _ROWS)
        logits[part] += _kernel(cells.features[part], x, settings) @ alpha

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(carry, range(0, len(cells), _ROWS)))
    logits *= np.float32(settings.sharpen)
    logits += _shares(logits, codes, weight, settings.shares)
    logits -= logits.mean(axis=1, keepdims=True)
    return Taught(logits=logits, labelled=where)


def _shares(logits: np.ndarray, codes: np.ndarray, weight: np.ndarray, power: float) -> np.ndarray:
    """What is added to the logits for labels that are not as the scene is, float32 (class,)."""
    n_classes = logits.shape[1]
    given = np.bincount(codes, weight, minlength=n_classes) + 0.5
    found = softmax(logits[:: max(len(logits) // 50_000, 1)]).mean(axis=0, dtype=np.float64)
    grown = weight.sum() / (weight.sum() + _MANY)
    return np.asarray(power * grown * np.log(np.maximum(found, 1e-6) * given.sum() / given), np.float32)


def _mode(factor: np.ndarray, own: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """α of f = Kα at the mode, float32 (label, class), by the whitened problem f = Lu, u of unit normal prior."""
    n, k = own.shape
    rows, target = np.arange(n), np.eye(k)[codes]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        u = flat.reshape(n, k)
        p = softmax(factor @ u + own)
        value = -(weight * np.log(np.maximum(p[rows, codes], 1e-300))).sum() + 0.5 * (u * u).sum()
        return float(value), (factor.T @ (weight[:, None] * (p - target)) + u).ravel()

    found = optimize.minimize(loss, np.zeros(n * k), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(linalg.solve_triangular(factor.T, found.x.reshape(n, k), lower=False), np.float32)


def _kernel(a: np.ndarray, b: np.ndarray, settings: TeachSettings) -> np.ndarray:
    """Squared exponential, (a, b)."""
    scale = np.float32(0.5 / (settings.reach**2 * a.shape[1]))
    square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    np.maximum(square, 0, out=square)
    square *= -scale
    np.exp(square, out=square)
    square *= np.float32(settings.amplitude)
    return np.asarray(square)
