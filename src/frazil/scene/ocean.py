"""The sea as the reference: what a plain wind would look like, and images divided by that.

A wave-mode image of 20 km and a wide scene of 250 km show the same sea under different incidence angles. Dividing σ0 by
that of a wind of 10 m/s at 45° to the look removes most of the angle; what is left is called *roughness* here, in
decibels, 0 dB where the sea looks as under that wind.

References:
    Wang, C., et al. (2019), A labelled ocean SAR imagery dataset of ten geophysical phenomena from Sentinel-1 wave
        mode. Geosci. Data J. 6, 105-115. doi:10.1002/gdj3.73 (roughness as σ0 over that of CMOD5.N at 10 m/s, 45°).
    Hersbach, H. (2010), Comparison of C-band scatterometer CMOD5.N equivalent neutral winds with ECMWF. J. Atmos.
        Oceanic Technol. 27, 721-736. doi:10.1175/2009JTECHO698.1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

REFERENCE_WIND_MS = 10.0  #: of the sea that roughness is relative to
REFERENCE_LOOK_DEG = 45.0  #: between that wind and the look

_CMOD5N = (
    -0.6878,
    -0.7957,
    0.3380,
    -0.1728,
    0.0000,
    0.0040,
    0.1103,
    0.0159,
    6.7329,
    2.7713,
    -2.2885,
    0.4971,
    -0.7250,
    0.0450,
    0.0066,
    0.3222,
    0.0120,
    22.7000,
    2.0813,
    3.0000,
    8.3659,
    -3.3428,
    1.3236,
    6.2437,
    2.3893,
    0.3249,
    4.1590,
    1.6930,
)


def cmod5n(wind_ms: ArrayLike, look_deg: ArrayLike, incidence_angle: ArrayLike) -> np.ndarray:
    """VV backscatter of the sea, linear power, by CMOD5.N (Hersbach 2010, table 1 and appendix).

    Args:
        wind_ms: equivalent neutral wind at 10 m, m/s, 0.2 to 50.
        look_deg: direction between wind and look, degrees; 0 = the wind blows towards the radar.
        incidence_angle: degrees, 16 to 66.
    """
    c = (0.0, *_CMOD5N)  # one-based, as in the paper
    v, x = np.asarray(wind_ms, float), (np.asarray(incidence_angle, float) - 40.0) / 25.0
    phi = np.radians(np.asarray(look_deg))
    a0 = c[1] + c[2] * x + c[3] * x**2 + c[4] * x**3
    a1, a2 = c[5] + c[6] * x, c[7] + c[8] * x
    gamma, s0 = c[9] + c[10] * x + c[11] * x**2, c[12] + c[13] * x
    s = a2 * v
    low = s < s0
    a3 = 1 / (1 + np.exp(-np.maximum(s, s0)))
    ratio = np.where(low & (s0 != 0), s / np.where(s0 == 0, 1, s0), 1.0)
    a3 = np.where(low, a3 * np.maximum(ratio, 1e-12) ** (s0 * (1 - a3)), a3)
    b0 = a3**gamma * 10 ** (a0 + a1 * v)
    b1 = c[15] * v * (0.5 + x - np.tanh(4 * (x + c[16] + c[17] * v)))
    b1 = (c[14] * (1 + x) - b1) / (np.exp(0.34 * (v - c[18])) + 1)
    v0, d1, d2 = c[21] + c[22] * x + c[23] * x**2, c[24] + c[25] * x + c[26] * x**2, c[27] + c[28] * x
    y0, n = c[19], c[20]
    y = v / v0 + 1
    y = np.where(y < y0, y0 - (y0 - 1) / n + (np.maximum(y - 1, 0)) ** n / (n * (y0 - 1) ** (n - 1)), y)
    b2 = (d2 * y - d1) * np.exp(-y)
    return np.asarray(b0 * (1 + b1 * np.cos(phi) + b2 * np.cos(2 * phi)) ** 1.6)


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    angle = np.arange(16.0, 66.01, 0.1)
    return angle, 10 * np.log10(cmod5n(np.full(angle.shape, REFERENCE_WIND_MS), REFERENCE_LOOK_DEG, angle))


def reference_db(incidence_angle: np.ndarray) -> np.ndarray:
    """σ0 (VV) of the reference sea, dB, float32; that of 16° below 16° and of 66° above 66°; NaN stays NaN."""
    angle, db = _table()
    return np.interp(incidence_angle, angle, db).astype(np.float32)


def detrend(sigma0: np.ndarray, incidence_angle: np.ndarray) -> np.ndarray:
    """Roughness: σ0 over that of the reference sea, linear, float32.

    Args:
        sigma0: VV, linear power; NaN stays NaN.
        incidence_angle: degrees, same shape or broadcastable.
    """
    return (sigma0 * 10 ** (-reference_db(incidence_angle) / np.float32(10))).astype(np.float32)
