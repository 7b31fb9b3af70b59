"""What swell looks like in a radar image of the sea: tilt, hydrodynamics and velocity bunching, to first order.

The surface is a Gaussian field with a narrow directional spectrum and deep-water dispersion, ω² = gk. Its image is
linear in it (the quasi-linear transform): slopes towards the radar are brighter (tilt), crests are rougher
(hydrodynamic), and what moves towards the radar is shifted along the track (velocity bunching). Random motion smears
the image along the track, so waves shorter than the azimuth cut-off do not show.

References:
    Hasselmann, K., Hasselmann, S. (1991), On the nonlinear mapping of an ocean wave spectrum into a synthetic aperture
        radar image spectrum and its inversion. J. Geophys. Res. 96, 10713-10729. doi:10.1029/91JC00302. Equations for
        the real-aperture and velocity-bunching transfer functions, and the quasi-linear approximation.
    Kerbaol, V., Chapron, B., Vachon, P. W. (1998), Analysis of ERS-1/2 synthetic aperture radar wave mode imagettes. J.
        Geophys. Res. 103, 7833-7846. doi:10.1029/97JC01579 (azimuth cut-off against wind speed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from frazil.errors import OptionError

GRAVITY = 9.81  # m/s²
RANGE_OVER_VELOCITY_S = 115.0  # slant range over platform velocity, wave mode at 700 km
_HYDRODYNAMIC = 4.5  # amplitude of the hydrodynamic modulation, Hasselmann & Hasselmann (1991)
_RELAXATION = 0.5  # its damping, 1/s


@dataclass(frozen=True, kw_only=True)
class Swell:
    """One wave system.

    Attributes:
        height_m: significant wave height, 4 standard deviations of the surface.
        wavelength_m: of the spectral peak.
        direction_rad: it travels to, from the range axis (pixel) towards the azimuth axis (line).
        spread_rad: standard deviation of direction.
        bandwidth: standard deviation of wavenumber, relative to the peak.
    """

    height_m: float = 2.0
    wavelength_m: float = 250.0
    direction_rad: float = 0.5
    spread_rad: float = 0.15
    bandwidth: float = 0.18

    def __post_init__(self) -> None:
        if self.height_m < 0 or min(self.wavelength_m, self.spread_rad, self.bandwidth) <= 0:
            raise OptionError(f"A swell needs a height of 0 or more, and length, spread and bandwidth above 0: {self}.")


def azimuth_cutoff_m(wind_ms: float, height_m: float) -> float:
    """Shortest wavelength along the track that shows, m: it grows with wind sea and swell (Kerbaol et al. 1998)."""
    return 60.0 + 14.0 * wind_ms + 20.0 * height_m


def transfer(kx: np.ndarray, ky: np.ndarray, incidence_deg: float) -> np.ndarray:
    """Relative change of brightness for one metre of surface: complex, for wavenumbers along range and azimuth, rad/m.

    The real-aperture part for VV and right-looking geometry, and velocity bunching, both of Hasselmann & Hasselmann
    (1991). 0 at wavenumber 0.
    """
    theta = np.radians(incidence_deg)
    k = np.hypot(kx, ky)
    safe = np.where(k > 0, k, 1.0)
    omega = np.sqrt(GRAVITY * safe)
    tilt = 4j * kx / np.tan(theta) / (1 + np.sin(theta) ** 2)
    hydro = _HYDRODYNAMIC * kx**2 / safe * omega * (omega - 1j * _RELAXATION) / (omega**2 + _RELAXATION**2)
    velocity = -omega * (np.sin(theta) * kx / safe + 1j * np.cos(theta))
    bunching = -1j * RANGE_OVER_VELOCITY_S * ky * velocity
    return np.where(k > 0, tilt + hydro + bunching, 0)


def swell_modulation(
    rng: np.random.Generator,
    shape: tuple[int, int],
    spacing_m: float,
    swell: Swell,
    *,
    incidence_deg: float,
    wind_ms: float,
) -> np.ndarray:
    """Relative change of brightness by swell, float32 (line, pixel), mean 0.

    Args:
        rng: of the phases.
        shape: lines (along the track), pixels (across).
        spacing_m: pixel size; waves shorter than two pixels are not there.
        swell: the wave system.
        incidence_deg: of the centre.
        wind_ms: for the azimuth cut-off.
    """
    size = tuple(scipy.fft.next_fast_len(n, real=True) for n in shape)
    ky = 2 * np.pi * scipy.fft.fftfreq(size[0], spacing_m)[:, None]
    kx = 2 * np.pi * scipy.fft.rfftfreq(size[1], spacing_m)[None, :]
    k, peak = np.hypot(kx, ky), 2 * np.pi / swell.wavelength_m
    surface = scipy.fft.rfft2(rng.standard_normal(size))
    # A real field holds both signs of a wavenumber; the sign of travel enters by the transfer function.
    angle = np.arctan2(ky, kx) - swell.direction_rad
    forth, back = (np.abs((angle + turn + np.pi) % (2 * np.pi) - np.pi) for turn in (0, np.pi))
    off = np.minimum(forth, back)
    density = np.exp(-0.5 * ((k - peak) / (swell.bandwidth * peak)) ** 2) * np.exp(-0.5 * (off / swell.spread_rad) ** 2)
    amplitude = np.sqrt(density / np.maximum(k, peak / 10))
    amplitude[0, 0] = 0
    surface *= amplitude
    height = scipy.fft.irfft2(surface, s=size)
    spread = float(height.std())
    if spread < 1e-12 or swell.height_m == 0:
        return np.zeros(shape, np.float32)
    scale = swell.height_m / 4 / spread
    travels = np.where(forth <= back, 1.0, -1.0)
    response = transfer(kx * travels, ky * travels, incidence_deg)
    response = np.where(travels > 0, response, np.conj(response))
    smear = azimuth_cutoff_m(wind_ms, swell.height_m) / np.pi  # standard deviation of the shifts
    image = scipy.fft.irfft2(surface * response * scale * np.exp(-0.5 * (ky * smear) ** 2), s=size)
    return np.ascontiguousarray(image[: shape[0], : shape[1]], np.float32)
