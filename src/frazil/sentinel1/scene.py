"""A calibrated scene: the Dataset that every later stage reads.

Rests on `frazil.sentinel1` for files and radiometry and on xarray's lazy arrays: nothing is read until it is asked
for, and a window costs what the window costs.
"""

from __future__ import annotations

import gc
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any, get_args

import numpy as np
import xarray as xr
from scipy.interpolate import RectBivariateSpline

from frazil import __version__
from frazil.conventions import VARIABLES, Check, Denoise
from frazil.errors import OptionError, UnsupportedProductError
from frazil.scene import averages
from frazil.scene.geolocation import TiePoints
from frazil.scene.lazy import dataset, lazy_variable
from frazil.scene.measurement import Measurement
from frazil.sentinel1.annotation import Annotation
from frazil.sentinel1.balance import balance
from frazil.sentinel1.consistency import QUICK_BYTES, check_means
from frazil.sentinel1.product import Band, Product, open_product
from frazil.sentinel1.radiometry import Radiometry, make_radiometry

_TERMS = (
    "Legal notice on the use of Copernicus Sentinel Data and Service Information, "
    "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
)
_STRIP = 96  # lines read at a time: 2 MB of an EW scene, which stay in the cache of a core
_WORKERS = min(os.cpu_count() or 1, 4)


def open_scene(
    path: str | os.PathLike[str] | Product,
    *,
    polarizations: tuple[str, ...] | None = None,
    denoise: Denoise = "esa",
    looks: int = 1,
    boxcar: bool = False,
    image: str | None = None,
    chunks: Any = None,
    check: Check = "quick",
) -> xr.Dataset:
    """The calibrated scene of a Level-1 product, as `frazil.conventions.check_scene` describes it.

    Pixels are computed when asked for (``denoise="balanced"`` reads the image once to fit the noise; small measurement
    files, and some lines of large ones, are read to check them). Slices read and calibrate only their own lines.

    Args:
        path: SAFE folder, zip, cloud-mirror folder, or an opened product.
        polarizations: which ones, for instance ``("HH", "HV")``; all by default, co-polarised first.
        denoise: ``"esa"`` subtracts the product's noise; ``"balanced"`` rescales it so that σ0 is continuous across
            sub-swath borders; ``"none"`` leaves it in. Where the processor subtracted it already, nothing is done.
        looks: average looks × looks blocks in power (1: full resolution); incomplete blocks at the far ends are
            dropped, a block less than half observed is NaN.
        boxcar: 3 × 3 moving average in power at full resolution, as in the papers; excludes ``looks > 1``.
        image: for products of several images (wave mode, SLC): the swath (``"IW1"``) or the number of the imagette
            (``"003"``).
        check: whether the product's files belong together, see `frazil.open_product`; an opened product keeps its own.
            ``attrs["checks"]`` says what was compared.
        chunks: passed to ``Dataset.chunk`` to get dask arrays.

    Returns:
        Dataset with sigma0 and nesz (polarization, line, pixel), incidence_angle, valid and noise_missing (line,
        pixel), tie points, and attrs. NaN in sigma0 where not observed.

    Raises:
        ProductNotFoundError, ProductError: as `frazil.open_product`; also zero-byte, truncated or mixed measurements.
        OptionError: an impossible option, naming the possible ones.
        UnsupportedProductError: TOPS SLC, whose bursts are not assembled.

    References:
        Khaleghian (2022), paper 1, section 4.1 (3 × 3 multilook).
    """
    product = path if isinstance(path, Product) else open_product(path, check=check)
    if denoise not in get_args(Denoise):
        raise OptionError(f"denoise {denoise!r} is not one of {list(get_args(Denoise))}.")
    if looks < 1 or (boxcar and looks > 1):
        raise OptionError(f"looks must be 1 or more, and 1 with boxcar; got looks={looks}, boxcar={boxcar}.")
    bands = _choose(product, image, polarizations)
    with _collector_paused():
        annotation = bands[0].annotation
        radiometries = [
            make_radiometry(b.annotation, b.calibration, _noise(b), denoise=denoise != "none", ipf=product.ipf_version)
            for b in bands
        ]
    shape = (annotation.n_lines, annotation.n_pixels)
    if looks > min(shape):
        raise OptionError(
            f"looks {looks} exceeds the image of {shape[0]} × {shape[1]} pixels. Choose a smaller number."
        )
    for band in bands[1:]:
        if (band.annotation.n_lines, band.annotation.n_pixels) != shape:
            raise UnsupportedProductError(
                f"The images of {product.name} differ in size; open one polarisation at a time (polarizations=...)."
            )
    measurements = [Measurement(b.measurement, shape, f"measurement {b.stem} of {product.name}") for b in bands]
    checks = _check_pixels(product, bands, measurements)
    radiometries = [r.with_border(m.lines) for r, m in zip(radiometries, measurements, strict=True)]
    attrs: dict[str, object] = {"checks": checks}
    if denoise == "balanced":
        for i, (band, radiometry) in enumerate(zip(bands, radiometries, strict=True)):
            if radiometry.blocks and radiometry.denoise:
                fit = balance(radiometry, measurements[i])
                radiometries[i] = radiometry.corrected(fit.corrections)
                attrs[f"balance_{band.polarization}"] = fit.summary()
    pixels = _Pixels(measurements, radiometries, annotation.ties, looks, boxcar)
    scene = _dataset(product, bands, annotation, pixels, denoise, looks, boxcar)
    scene.attrs.update(attrs)
    return scene.chunk(chunks) if chunks is not None else scene


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No search for cyclic garbage meanwhile.

    XML trees, and what numba makes when its first kernel is loaded, are a hundred thousand objects at once, none of
    them garbage: searching them over and over takes a tenth of the time to open and read a scene.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Pixels:
    """The computing behind the lazy variables: windows of σ0, NESZ and masks."""

    def __init__(
        self,
        measurements: list[Measurement],
        radiometries: list[Radiometry],
        ties: TiePoints,
        looks: int,
        boxcar: bool,
    ) -> None:
        self.measurements, self.radiometries, self.ties = measurements, radiometries, ties
        self.looks, self.boxcar = looks, boxcar
        n_lines, n_pixels = radiometries[0].shape
        self.shape = n_lines // looks, n_pixels // looks

    def centre(self, index: slice) -> np.ndarray:
        """Full-resolution position of the centres of output indices."""
        return np.arange(index.start, index.stop) * self.looks + (self.looks - 1) / 2

    def sigma0(self, planes: range, line: slice, pixel: slice, out: np.ndarray) -> None:
        def work(start: int, stop: int, memory: _Memory) -> None:
            for i, plane in enumerate(planes):
                self._strip(plane, start, stop, pixel, out[i, start - line.start : stop - line.start], memory)

        self._side_by_side(line, work)

    def valid(self, _: range, line: slice, pixel: slice, out: np.ndarray) -> None:
        def work(start: int, stop: int, memory: _Memory) -> None:
            seen = out[0, start - line.start : stop - line.start]
            seen[:] = True
            power = memory.lines("valid", seen.shape, np.float32)
            for plane in range(len(self.radiometries)):
                self._strip(plane, start, stop, pixel, power, memory)
                seen &= np.isfinite(power)

        self._side_by_side(line, work)

    def _side_by_side(self, line: slice, work: Callable[[int, int, _Memory], None]) -> None:
        """Call `work` with the first and last line of every strip of a window: reading and kernels use all cores."""
        step = max(_STRIP // self.looks, 1)
        starts = range(line.start, line.stop, step)
        stops = [min(start + step, line.stop) for start in starts]
        memory = _Memory()
        if len(starts) == 1:
            work(starts[0], stops[0], memory)
            return
        with _collector_paused(), ThreadPoolExecutor(_WORKERS) as pool:
            deque(pool.map(lambda start, stop: work(start, stop, memory), starts, stops), maxlen=0)

    def _strip(self, plane: int, start: int, stop: int, pixel: slice, out: np.ndarray, memory: _Memory) -> None:
        """σ0 of the output lines [start, stop) at some pixels; lines are read and calibrated at full width."""
        radiometry, looks, halo = self.radiometries[plane], self.looks, int(self.boxcar)
        n_lines, n_pixels = radiometry.shape
        first, last = max(start * looks - halo, 0), min(stop * looks + halo, n_lines)
        raw = (last - first, n_pixels)
        dn = self.measurements[plane].lines(first, last, memory.lines("dn", raw, np.uint16))
        whole = out if out.shape[1] == self.shape[1] else memory.lines("whole", (len(out), self.shape[1]), np.float32)
        if looks > 1:
            radiometry.sigma0_blocks(dn, first, looks, whole)
        elif self.boxcar:
            power = radiometry.sigma0(dn, first, memory.lines("power", raw, np.float32))
            averages.boxcar(power, start - first, whole)
        else:
            radiometry.sigma0(dn, first, whole)
        if whole is not out:
            out[:] = whole[:, pixel]

    @cached_property
    def _angle(self) -> RectBivariateSpline:
        t = self.ties
        return RectBivariateSpline(
            t.line, t.pixel, t.incidence_angle, kx=min(3, len(t.line) - 1), ky=min(3, len(t.pixel) - 1)
        )

    def incidence_angle(self, _: range, line: slice, pixel: slice, out: np.ndarray) -> None:
        out[0] = self._angle(self.centre(line), self.centre(pixel))

    def nesz(self, planes: range, line: slice, pixel: slice, out: np.ndarray) -> None:
        for i, plane in enumerate(planes):
            out[i] = self.radiometries[plane].nesz(self.centre(line), self.centre(pixel))

    def noise_missing(self, _: range, line: slice, pixel: slice, out: np.ndarray) -> None:
        line_at, pixel_at = self.centre(line), self.centre(pixel)
        missing = [r.noise_missing(line_at, pixel_at) for r in self.radiometries]
        inside = self.radiometries[0].observed(line_at, pixel_at)
        out[0] = np.logical_or.reduce(missing) & inside


class _Memory(threading.local):
    """Memory that each thread uses for one strip after another: touching new memory costs as much as reading."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def lines(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """A C-contiguous array of some (lines, pixels), with what the last strip left in it."""
        found = self.arrays.get(name)
        if found is None or len(found) < shape[0]:
            found = self.arrays[name] = np.empty(shape, dtype)
        return found[: shape[0]]


def _choose(product: Product, image: str | None, polarizations: tuple[str, ...] | None) -> list[Band]:
    """The bands of one image, in the order asked for."""
    bands = product.bands
    mode = bands[0].header.mode
    if bands[0].header.product_type == "SLC" and mode in ("IW", "EW"):
        raise UnsupportedProductError(
            f"{product.name} is a {mode} SLC product, whose bursts frazil does not assemble. "
            "`frazil info` works; for maps take the GRD product of the same time."
        )
    key = "image_number" if mode == "WV" else "swath"
    images = list(dict.fromkeys(getattr(b.header, key) for b in bands))
    if image is None and len(images) > 1:
        raise OptionError(
            f"{product.name} holds {len(images)} images ({images[0]} … {images[-1]}). "
            f"Choose one with image={images[0]!r}."
        )
    if image is not None and image not in images:
        raise OptionError(f"Image {image!r} is not in {product.name}, which holds {images}. Choose one of these.")
    bands = tuple(b for b in bands if image is None or getattr(b.header, key) == image)
    found = {b.polarization: b for b in bands}
    wanted = tuple(p.upper() for p in polarizations) if polarizations else tuple(found)
    missing = [p for p in wanted if p not in found]
    if missing or not wanted:
        raise OptionError(
            f"Polarization {missing[0]!r} is not in {product.name}, which holds {list(found)}. Pass one of these."
        )
    return [found[p] for p in wanted]


def _noise(band: Band) -> Any:
    return band.noise if band.has_noise else None


def _check_pixels(product: Product, bands: list[Band], measurements: list[Measurement]) -> str:
    """Compare measurement files with manifest and annotations; what was compared, in words.

    Raises:
        ProductError: they are not those of these images.
    """
    if product.check == "none":
        return "none"
    digests = product.check_measurements(bands)
    found, stated, words = {}, {}, []
    for band, measurement in zip(bands, measurements, strict=True):
        name = band.measurement_name or ""
        done = ["MD5"] if digests.get(name) else []
        # Lines of a large archive cost as much as all of it; where a manifest names the file, check="full" compares it.
        costly = product.archived and name in digests and product.files[name] > QUICK_BYTES
        mean, expected = None if costly else measurement.mean(), band.annotation.mean_dn
        if mean is not None and expected is not None and mean[1] > 0:
            found[band.polarization] = min(mean, key=lambda value: abs(math.log(max(value, 1e-9) / expected)))
            stated[band.polarization] = expected
            done.append("mean of pixels")
        words.append(f"{band.polarization}: {' and '.join(done) or 'measurement not compared'}")
    check_means(found, stated)
    metadata = "headers and MD5" if product.manifest.files.keys() & product.files.keys() else "headers"
    return f"metadata: {metadata}, {', '.join(words)}"


def _dataset(
    product: Product,
    bands: list[Band],
    annotation: Annotation,
    pixels: _Pixels,
    denoise: Denoise,
    looks: int,
    boxcar: bool,
) -> xr.Dataset:
    a, header, ties = annotation, annotation.header, annotation.ties
    n_lines, n_pixels = pixels.shape
    grid = ("line", "pixel")
    line, pixel = pixels.centre(slice(0, n_lines)), pixels.centre(slice(0, n_pixels))
    planes = ("polarization", *grid)
    slant = header.product_type == "SLC"
    ground_range = _ground_range(a, pixel) if slant else pixel * a.range_spacing_m
    spacing = float(a.range_spacing_m * looks)
    if slant and n_pixels > 1:
        spacing = float(ground_range[-1] - ground_range[0]) / (n_pixels - 1)
    full = (len(bands), n_lines, n_pixels)
    noise_state = [_noise_state(r, b.annotation.noise_removed) for r, b in zip(pixels.radiometries, bands, strict=True)]
    data = {
        "sigma0": lazy_variable(planes, pixels.sigma0, full, np.float32, VARIABLES["sigma0"]),
        "nesz": lazy_variable(planes, pixels.nesz, full, np.float32, VARIABLES["nesz"]),
        "incidence_angle": lazy_variable(
            grid,
            pixels.incidence_angle,
            full[1:],
            np.float32,
            VARIABLES["incidence_angle"],
        ),
        "valid": lazy_variable(grid, pixels.valid, full[1:], bool, VARIABLES["valid"]),
        "noise_missing": lazy_variable(
            grid,
            pixels.noise_missing,
            full[1:],
            bool,
            {"long_name": "thermal noise unknown in the product: the nearest value was taken, or none"},
        ),
        **tie_variables(ties),
    }
    coords = {
        "polarization": ("polarization", [b.polarization for b in bands]),
        "line": ("line", line, VARIABLES["line"]),
        "pixel": ("pixel", pixel, VARIABLES["pixel"]),
        "azimuth_time": (
            "line",
            a.first_line_time.astype("datetime64[ns]") + np.round(a.time_of(line) * 1e9).astype("timedelta64[ns]"),
            VARIABLES["azimuth_time"],
        ),
        "ground_range": ("pixel", ground_range, VARIABLES["ground_range"]),
        "tie_line": ("tie_line", ties.line),
        "tie_pixel": ("tie_pixel", ties.pixel),
    }
    year = header.start_time.astype("datetime64[Y]").astype(int) + 1970
    attribution = f"Contains modified Copernicus Sentinel data {year}"  # what the legal notice of the data asks for
    attrs = {
        "Conventions": "CF-1.11",
        "title": "Calibrated Sentinel-1 scene",
        "source": attribution,
        "attribution": attribution,
        "license": _TERMS,
        "contributor_name": "European Union/ESA/Copernicus",
        "contributor_role": "producer of the radar data",
        "product": product.name,
        "mission": header.mission,
        "mode": header.mode,
        "product_type": header.product_type,
        "orbit_pass": a.orbit_pass,
        "orbit": header.orbit,
        "start_time": str(header.start_time),
        "stop_time": str(header.stop_time),
        "ipf_version": product.ipf_version or "unknown",
        "spacing_m": spacing,
        "looks": looks,
        "boxcar": int(boxcar),
        "denoise": denoise,
        "noise": ", ".join(f"{b.polarization}: {state}" for b, state in zip(bands, noise_state, strict=True)),
        "frazil_version": __version__,
    }
    if slant:
        attrs["slant_range_spacing_m"] = float(a.range_spacing_m * looks)
    black = [b.polarization for b, m in zip(bands, pixels.measurements, strict=True) if m.is_black()]
    note = " ".join([product.note, f"No pixel of {', '.join(black)} holds an observation." if black else ""]).strip()
    if note:
        attrs["note"] = note
    return dataset(data, coords, attrs)


def _ground_range(a: Annotation, pixel: np.ndarray) -> np.ndarray:
    """Distance on the ground of the pixels of a slant-range image from the first one, along its middle line, metres."""
    edge = np.arange(a.n_pixels, dtype=np.float64)
    angle = np.interp(edge[:-1] + 0.5, a.ties.pixel, a.ties.incidence_angle[len(a.ties.line) // 2])
    distance = np.concatenate([[0.0], np.cumsum(a.range_spacing_m / np.sin(np.radians(angle)))])
    return np.interp(pixel, edge, distance)


def tie_variables(ties: TiePoints) -> dict[str, object]:
    """The tie points of a product as scene variables on (tie_line, tie_pixel)."""
    dims = ("tie_line", "tie_pixel")
    return {
        "tie_latitude": (dims, ties.latitude, VARIABLES["latitude"]),
        "tie_longitude": (dims, ties.longitude, VARIABLES["longitude"]),
        "tie_height": (dims, ties.height, {"units": "m", "long_name": "height above the ellipsoid"}),
        "tie_incidence_angle": (dims, ties.incidence_angle, VARIABLES["incidence_angle"]),
    }


def _noise_state(radiometry: Radiometry, removed: bool) -> str:
    """What was done about the noise of one image, with all that is not as usual."""
    noise = radiometry.noise
    if removed:
        return "removed by the processor"
    beyond = " (what the product says exceeds a sigma0 of 1)" if noise.implausible else ""
    if not noise.blocks:
        return "unknown in the product, not removed" + beyond
    state = ("removed" if radiometry.denoise else "not removed") + beyond
    if noise.rescaled_db:
        state += f" (multiplied by the constant of IPF 2.90, {noise.rescaled_db:g} dB)"
    if noise.unknown:
        state += f"; unknown in parts of {'/'.join(noise.unknown)}, not removed there"
    return state
