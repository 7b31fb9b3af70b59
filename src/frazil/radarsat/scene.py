"""A calibrated scene of RADARSAT images: lazy, window by window, as `frazil.sentinel1.scene` makes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from frazil import __version__
from frazil.conventions import VARIABLES
from frazil.errors import OptionError
from frazil.radarsat.annotation import Annotation
from frazil.radarsat.tables import Profile
from frazil.scene.averages import block_mean, boxcar
from frazil.scene.geolocation import TiePoints
from frazil.scene.lazy import dataset, lazy_variable
from frazil.scene.measurement import Measurement

_STRIP = 128  # lines read at a time, or as many as one row of blocks has
_OWNERS = {
    "RADARSAT-2": "RADARSAT-2 Data and Products © MDA Geospatial Services Inc. ({year}) – All Rights Reserved.",
    "RADARSAT Constellation": "RADARSAT Constellation Mission Imagery © Government of Canada ({year}) – All Rights "
    "Reserved.",
}
_MARK = "RADARSAT is an official mark of the Canadian Space Agency."


def make_scene(
    product: str,
    annotation: Annotation,
    polarizations: Sequence[str],
    profiles: Sequence[Profile],
    measurements: Sequence[Measurement],
    *,
    denoise: str,
    looks: int,
    average: bool,
) -> xr.Dataset:
    """The scene of a product, see `frazil.products.open_scene`.

    Args:
        product: its name.
        annotation: of it.
        polarizations: one for each of the profiles and measurements.
        profiles: calibration.
        measurements: pixels.
        denoise: ``"esa"`` subtracts the noise that the product states, ``"none"`` does not.
        looks: in blocks of so many lines and pixels.
        average: 3 × 3 moving average.

    Raises:
        OptionError: more looks than lines or pixels.
    """
    if looks > min(annotation.shape):
        raise OptionError(
            f"looks {looks} exceeds the image of {annotation.shape[0]} × {annotation.shape[1]} pixels. Choose a "
            "smaller number."
        )
    subtract = denoise == "esa" and not annotation.noise_removed
    pixels = _Pixels(annotation.shape, profiles, measurements, subtract=subtract, looks=looks, average=average)
    n_lines, n_pixels = pixels.shape
    grid, planes, full = ("line", "pixel"), ("polarization", "line", "pixel"), (len(profiles), n_lines, n_pixels)
    line, pixel = pixels.centre(slice(0, n_lines)), pixels.centre(slice(0, n_pixels))
    ties = tie_points(annotation, profiles[0].incidence_angle)
    a, of_ties = annotation, ("tie_line", "tie_pixel")
    unknown = {"long_name": "thermal noise unknown in the product"}
    data = {
        "sigma0": lazy_variable(planes, pixels.sigma0, full, np.float32, VARIABLES["sigma0"]),
        "nesz": lazy_variable(planes, pixels.nesz, full, np.float32, VARIABLES["nesz"]),
        "incidence_angle": lazy_variable(
            grid, pixels.incidence_angle, full[1:], np.float32, VARIABLES["incidence_angle"]
        ),
        "valid": lazy_variable(grid, pixels.valid, full[1:], bool, VARIABLES["valid"]),
        "noise_missing": lazy_variable(grid, pixels.noise_missing, full[1:], bool, unknown),
        "tie_latitude": (of_ties, ties.latitude, VARIABLES["latitude"]),
        "tie_longitude": (of_ties, ties.longitude, VARIABLES["longitude"]),
        "tie_height": (of_ties, ties.height, {"units": "m", "long_name": "height above the ellipsoid"}),
        "tie_incidence_angle": (of_ties, ties.incidence_angle, VARIABLES["incidence_angle"]),
    }
    interval = (a.last_line_time - a.first_line_time) / np.timedelta64(1, "ns") / (a.shape[0] - 1)
    since = np.round(line * interval).astype("timedelta64[ns]")
    coords = {
        "polarization": ("polarization", list(polarizations)),
        "line": ("line", line, VARIABLES["line"]),
        "pixel": ("pixel", pixel, VARIABLES["pixel"]),
        "azimuth_time": ("line", a.first_line_time.astype("datetime64[ns]") + since, VARIABLES["azimuth_time"]),
        "ground_range": ("pixel", pixel * a.range_spacing_m, VARIABLES["ground_range"]),
        "tie_line": ("tie_line", ties.line),
        "tie_pixel": ("tie_pixel", ties.pixel),
    }
    attribution = f"{_OWNERS[a.sensor].format(year=str(a.start_time)[:4])} {_MARK}"
    attrs: dict[str, object] = {
        "Conventions": "CF-1.11",
        "title": f"Calibrated {a.sensor} scene",
        "source": attribution,
        "attribution": attribution,
        "product": product,
        "mission": a.mission,
        "sensor": a.sensor,
        "mode": a.beam_mode,
        "product_type": a.product_type,
        "orbit_pass": a.orbit_pass,
        "start_time": str(a.start_time),
        "stop_time": str(a.stop_time),
        "spacing_m": a.range_spacing_m * looks,
        "looks": looks,
        "boxcar": int(average),
        "denoise": denoise,
        "noise": ", ".join(
            f"{p}: {noise_state(a, profile, subtract)}" for p, profile in zip(polarizations, profiles, strict=True)
        ),
        "checks": "sizes of images and tables, incidence angles",
        "frazil_version": __version__,
    }
    black = [p for p, m in zip(polarizations, measurements, strict=True) if m.is_black()]
    if black:
        attrs["note"] = f"No pixel of {', '.join(black)} holds an observation."
    return dataset(data, coords, attrs)


def tie_points(a: Annotation, incidence_angle: np.ndarray) -> TiePoints:
    """The tie points of a product, with the incidence angle at their pixels."""
    ties = a.ties
    at = np.interp(ties.pixel, np.arange(incidence_angle.size), incidence_angle)
    return TiePoints(
        line=ties.line,
        pixel=ties.pixel,
        latitude=ties.latitude,
        longitude=ties.longitude,
        height=ties.height,
        incidence_angle=np.broadcast_to(at, ties.latitude.shape).copy(),
        elevation_angle=np.full(ties.latitude.shape, np.nan),
    )


def noise_state(a: Annotation, profile: Profile, subtract: bool) -> str:
    """What was done about the noise of an image."""
    if a.noise_removed:
        return "removed by the processor"
    if not np.isfinite(profile.nesz).any():
        return "unknown in the product, not removed"
    return "the product's reference noise level along range, " + ("removed" if subtract else "not removed")


class _Pixels:
    """The computing behind the lazy variables."""

    def __init__(
        self,
        shape: tuple[int, int],
        profiles: Sequence[Profile],
        measurements: Sequence[Measurement],
        *,
        subtract: bool,
        looks: int,
        average: bool,
    ) -> None:
        self.full, self.profiles, self.measurements = shape, profiles, measurements
        self.subtract, self.looks, self.average = subtract, looks, average
        self.shape = shape[0] // looks, shape[1] // looks

    def centre(self, index: slice) -> np.ndarray:
        """Full-resolution position of the centres of output indices."""
        return np.arange(index.start, index.stop) * self.looks + (self.looks - 1) / 2

    def sigma0(self, planes: range, line: slice, pixel: slice, out: np.ndarray) -> None:
        step = max(_STRIP // self.looks, 1)
        for start in range(line.start, line.stop, step):
            stop = min(start + step, line.stop)
            for i, plane in enumerate(planes):
                out[i, start - line.start : stop - line.start] = self._lines(plane, start, stop)[:, pixel]

    def _lines(self, plane: int, start: int, stop: int) -> np.ndarray:
        """σ0 of the output lines [start, stop) at full width."""
        looks, halo = self.looks, int(self.average)
        first, last = max(start * looks - halo, 0), min(stop * looks + halo, self.full[0])
        power = self.profiles[plane].sigma0(self.measurements[plane].lines(first, last), denoise=self.subtract)
        if looks > 1:
            blocks: np.ndarray = block_mean(power, looks)
            return blocks
        if not self.average:
            return power
        out = np.empty((stop - start, self.full[1]), np.float32)
        boxcar(power, start - first, out)
        return out

    def valid(self, _: range, line: slice, pixel: slice, out: np.ndarray) -> None:
        out[:] = True
        power = np.empty(out.shape, np.float32)
        for plane in range(len(self.profiles)):
            self.sigma0(range(plane, plane + 1), line, pixel, power)
            out &= np.isfinite(power)

    def _along(self, values: np.ndarray, pixel: slice) -> np.ndarray:
        return np.interp(self.centre(pixel), np.arange(values.size), values)

    def incidence_angle(self, _: range, _line: slice, pixel: slice, out: np.ndarray) -> None:
        out[:] = self._along(self.profiles[0].incidence_angle, pixel)

    def nesz(self, planes: range, _line: slice, pixel: slice, out: np.ndarray) -> None:
        for i, plane in enumerate(planes):
            out[i] = self._along(self.profiles[plane].nesz, pixel)

    def noise_missing(self, _: range, _line: slice, pixel: slice, out: np.ndarray) -> None:
        out[:] = np.isnan([self._along(p.nesz, pixel) for p in self.profiles]).any(axis=0)
