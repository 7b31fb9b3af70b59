"""The scene teaches the model: signatures of the classes re-estimated in the scene itself.

The probabilities of a network are averaged over cells of 8 × 8 pixels. Expectation and maximisation in turn then fit,
for each class, a mean of HH and of HV that falls linearly with incidence angle, and their covariance, from the cells
weighted by how probable the class is there, and weigh the network's probabilities anew by these Gaussians, to the power
of a weight. Pixels take over the change of the odds of ice of their cell; classes of ice keep their proportions. A
guard leaves the scene alone where there are too few cells of two classes, or where a mean walks off from its beginning.

References:
    Dempster, Laird & Rubin (1977), J. R. Stat. Soc. B 39: expectation and maximisation.
    Lohse, Doulgeris & Dierking (2020), doi:10.1017/aog.2020.45: Gaussians whose mean falls with incidence angle.
    Khaleghian (2022), paper 2: labels of a few places spread over all that looks alike; here over one scene.
"""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from frazil.errors import OptionError
from frazil.scene.scaling import to_db

WEIGHT = 0.25  #: of the Gaussians against the network
CELL = 8  # pixels
_ROUNDS, _LEAST_CELLS, _FARTHEST_DB = 8, 200.0, 3.0
_FLOOR_DB2 = 0.5  # added to variances: no class is narrower than texture and noise make it
_MIDDLE_DEG = 33.0
_SURE = 0.995  # a cell's odds are bounded, or rounding would decide about them


def cell_means(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Means over cells of what is in use, NaN where nothing is: (…, row, column) of (…, line, pixel)."""
    rows, columns = (n // CELL for n in use.shape)

    def blocks(array: np.ndarray) -> np.ndarray:
        cut = array[..., : rows * CELL, : columns * CELL]
        return cut.reshape(*array.shape[:-2], rows, CELL, columns, CELL)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        known = np.where(blocks(use), blocks(values), np.float32(np.nan))
        return np.asarray(np.nanmean(known, axis=(-3, -1), dtype=np.float32))


def taught(p: np.ndarray, x: np.ndarray, angle: np.ndarray, weight: float) -> np.ndarray | None:
    """Probabilities after the scene has taught its signatures; None where the guard leaves the scene alone.

    Args:
        p: (class, cell), the network's, summing to one.
        x: (channel, cell), backscatter, dB.
        angle: (cell,), degrees.
        weight: power of the Gaussians against the network, 0…1.
    """
    now = p
    first: dict[int, np.ndarray] = {}
    design = np.stack([np.ones_like(angle), angle - _MIDDLE_DEG])
    for _ in range(_ROUNDS):
        log, known = np.zeros(p.shape), []
        for k, r in enumerate(now):
            sure = np.where(r > 0.5, r, 0.0)
            if sure.sum() < _LEAST_CELLS:  # hardly there: the network decides about it
                continue
            line = np.linalg.lstsq((design * np.sqrt(sure)).T, (x * np.sqrt(sure)).T, rcond=None)[0]
            if np.abs(line[0] - first.setdefault(k, line[0])).max() > _FARTHEST_DB:
                return None
            rest = x - line.T @ design
            covariance = (rest * sure) @ rest.T / sure.sum() + _FLOOR_DB2 * np.eye(len(x))
            log[k] = -0.5 * ((rest * np.linalg.solve(covariance, rest)).sum(0) + np.linalg.slogdet(covariance)[1])
            known.append(k)
        if len(known) < 2:
            return None
        others = [k for k in range(len(p)) if k not in known]
        log[others] = log[known].mean(0)  # neither for nor against
        z = np.log(np.maximum(p, 1e-4)) + weight * log
        now = np.exp(z - z.max(0))
        now /= now.sum(0)
    return now


def check_weight(given: float | bool, cell: int, model: str) -> float:
    """The weight of what a scene teaches, 0 for nothing.

    Args:
        given: True for the usual weight, False for none, or a weight.
        cell: pixels along a side of a result of the model.
        model: its name, for the message.

    Raises:
        OptionError: a weight outside 0…1, or a model that classifies patches.
    """
    weight = (WEIGHT if given else 0.0) if isinstance(given, bool) else given
    if not 0 <= weight <= 1:  # NaN neither
        raise OptionError(f"adapt is {given}; it must be a weight from 0 to 1, or True for {WEIGHT:g}.")
    if weight and cell > 1:
        raise OptionError(
            f"Model {model} classifies patches; only models that classify every pixel adapt. Leave adapt out."
        )
    return float(weight)


def adapt_to_scene(half: np.ndarray, scene: xr.Dataset, sea: np.ndarray, weight: float) -> dict[str, object]:
    """As `adapt`; attributes of the map that say what was done: ``adapt_weight`` and, in words, ``adapted``."""
    if adapt(half, scene, sea, weight):
        return {"adapt_weight": weight, "adapted": "Signatures of the classes were re-estimated in the scene itself."}
    return {
        "adapt_weight": 0.0,
        "adapted": "The scene could not teach signatures: too few sure places, or too far off.",
    }


def adapt(half: np.ndarray, scene: xr.Dataset, sea: np.ndarray, weight: float) -> bool:
    """Change probabilities of a scene as its own signatures tell, in place.

    Args:
        half: uint8 (class, line, pixel), half percents, the first class open water; 255 where not observed.
        scene: see `frazil.conventions.check_scene`, in memory, on the same grid.
        sea: bool (line, pixel), observed and no land.
        weight: see `taught`.

    Returns:
        Whether the scene could teach anything; otherwise nothing has changed.
    """
    p = np.stack([cell_means(plane, sea) for plane in half])
    p = p / p.sum(axis=0)
    sigma0, noise = (cell_means(np.nan_to_num(scene[name].values), sea) for name in ("sigma0", "nesz"))
    x = to_db(np.maximum(sigma0, 0.1 * noise)).astype(np.float64)
    angle = cell_means(scene["incidence_angle"].values, sea)
    use = np.isfinite(x).all(axis=0) & np.isfinite(p).all(axis=0)
    if use.sum() < _LEAST_CELLS:
        return False
    found = taught(p[:, use].astype(np.float64), x[:, use], angle[use].astype(np.float64), weight)
    if found is None:
        return False
    shift = np.zeros(use.shape, np.float32)
    shift[use] = _logit(1 - found[0]) - _logit(1 - p[0, use])
    for row in range(shift.shape[0]):  # a row of cells at a time: the scene is large
        lines = slice(row * CELL, (row + 1) * CELL)
        part = half[:, lines, : shift.shape[1] * CELL]
        here = sea[lines, : shift.shape[1] * CELL]
        ratio = np.exp(shift[row].repeat(CELL))[None, :]
        weights = part.astype(np.float32)
        weights[1:] *= ratio
        total = weights.sum(axis=0)
        new = np.rint(200 * weights / np.where(total > 0, total, 1)).astype(np.uint8)
        part[:] = np.where(here & (total > 0), new, part)
    return True


def _logit(p: np.ndarray) -> np.ndarray:
    bounded = np.clip(p, 1 - _SURE, _SURE)
    return np.asarray(np.log(bounded / (1 - bounded)))
