"""A baseline for categorisers: a linear classifier on a few statistics of each image, without any network.

It says what can be told from brightness, contrast and the spectrum alone. A categoriser that stays below it has not
learnt long enough.
"""

from __future__ import annotations

import functools
import importlib.util

import numpy as np
import xarray as xr
from scipy import fft, ndimage

from frazil.errors import LabelError, MissingDependencyError
from frazil.labels.sample_set import UNKNOWN
from frazil.learn.data.imagettes import drawn

_WAVES = (1, 3, 6, 12, 20, 30, 45, 76, 120, 200)  # an image: edges of the bands of the spectrum
_MEANS = (2, 4, 8, 16)  # pixels of a side of averages


def texture_statistics(image: np.ndarray) -> np.ndarray:
    """Statistics (float64) of an image (height, width) in [0, 1]: 9 of its histogram, two of each band of its spectrum
    below the shortest wave that it can hold (power, and how much one direction prevails), contrast of averages over
    squares, and its sharpest step.
    """  # noqa: D205 - the statistics are one list
    x = np.nan_to_num(np.asarray(image, np.float64))
    mean, deviation = x.mean(), max(float(x.std()), 1e-6)
    z = (x - mean) / deviation
    found = [mean, deviation, *np.percentile(x, [1, 10, 50, 90, 99]), (z * z * z).mean(), (z * z * z * z).mean()]
    window, band, turn, counts = _bands(*x.shape)
    power = np.abs(fft.fft2((x - mean) * window)) ** 2 / x.size
    total = np.bincount(band.ravel(), power.ravel(), counts.size + 1)[1:]
    along, across = (np.bincount(band.ravel(), (power * part).ravel(), counts.size + 1)[1:] for part in turn)
    found += [*np.log(total / counts + 1e-9), *np.hypot(along, across) / (total + 1e-9)]
    found += [np.log(ndimage.uniform_filter(x, n)[::n, ::n].std() + 1e-6) for n in _MEANS]
    return np.array([*found, np.log(np.abs(np.diff(x, axis=0)).max() + 1e-6)])


@functools.lru_cache(maxsize=4)
def _bands(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of a spectrum: window, number of the band (0: none), cosine and sine of twice the direction, sizes of bands."""
    side = min(height, width)
    rows, columns = np.fft.fftfreq(height)[:, None] * side, np.fft.fftfreq(width)[None] * side
    direction = np.arctan2(rows, columns)
    edges = [edge for i, edge in enumerate(_WAVES) if i == 0 or _WAVES[i - 1] < side / 2]
    band = np.digitize(np.hypot(rows, columns), edges) % len(edges)  # beyond the last edge: none
    counts = np.bincount(band.ravel(), minlength=len(edges))[1:]
    turn = np.stack([np.cos(2 * direction), np.sin(2 * direction)])
    return np.outer(np.hanning(height), np.hanning(width)), band, turn, counts


def require_sklearn() -> None:
    """Say early that scikit-learn is missing.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingDependencyError("The baseline of textures needs scikit-learn: pip install 'frazil[texture]'.")


def texture_accuracy(train: xr.Dataset, test: xr.Dataset, *, each: int | None = None, seed: int = 0) -> float:
    """Share of the test images whose category logistic regression on `texture_statistics` finds.

    Args:
        train: images to learn from, with categories.
        test: images of the same size.
        each: of each category to learn from (None: all).
        seed: of that draw.

    Raises:
        LabelError: images of another size, or of one category alone.
        MissingDependencyError: see `require_sklearn`.
    """
    require_sklearn()
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = (ds.isel(imagette=np.flatnonzero(ds["category"].values != UNKNOWN)) for ds in (train, test))
    if each is not None:
        train = train.isel(imagette=drawn(train["category"].values, each, seed))
    if train["image"].shape[1:] != test["image"].shape[1:] or np.unique(train["category"].values).size < 2:
        raise LabelError("Images of one size and of two categories or more are needed to compare textures.")
    seen, new = (np.array([texture_statistics(image) for image in ds["image"].values]) for ds in (train, test))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)).fit(seen, train["category"].values)
    return float(classifier.score(new, test["category"].values))
