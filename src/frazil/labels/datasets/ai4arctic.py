"""The AI4Arctic / AutoICE data sets: NetCDF files of Sentinel-1 scenes with ice charts on their pixels.

Two kinds. *Raw* files (40 m) hold σ0 in dB and the chart as polygon numbers with SIGRID-3 codes. *Ready-to-train*
files (80 m) hold normalised images and the classes SIC, SOD and FLOE; the test scenes keep these in a second file.
Dims ``sar_lines, sar_samples`` become line and pixel at the door.

References:
    Buus-Hinkler, J. et al. (2022), AI4Arctic Sea Ice Challenge Dataset, doi:10.11583/DTU.c.6244065, and its manual.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import AI4ARCTIC, CLASS_NODATA, ClassScheme
from frazil.errors import FrazilError, LabelError, LabelNotFoundError, OptionError
from frazil.hdf5_files import DAMAGED, netcdf_engine
from frazil.labels.chart import Unknown, find_scheme
from frazil.labels.classes import ClassRegions
from frazil.labels.cutting import Cutter, why_none
from frazil.labels.datasets import table
from frazil.labels.datasets.folders import scene_in, time_in
from frazil.labels.patch_set import gather
from frazil.labels.patches import channel_names
from frazil.labels.possible import refuse_outside
from frazil.labels.sigrid3 import ChartSettings, classify
from frazil.labels.sigrid3_dialects import chart_rows, check_dialect
from frazil.scene.geolocation import Geolocation
from frazil.scene.scaling import CHANNELS

if TYPE_CHECKING:
    import xarray as xr

_ORDER = ("ID", "CT", "CA", "SA", "FA", "CB", "SB", "FB", "CC", "SC", "FC", "CN", "CD", "CF", "POLY_TYPE")


def read_ai4arctic(
    files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    size: int = 32,
    stride: int = 10,
    channels: Sequence[str] = ("hh", "hv", "incidence_angle"),
    scheme: ClassScheme | str = AI4ARCTIC,
    scaling: Mapping[str, tuple[float, float]] | None = None,
    settings: ChartSettings | None = None,
    unknown: Unknown = "refuse",
    dialect: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> xr.Dataset:
    """Patches of AI4Arctic files, cut inside their polygons (raw) or regions of one class (ready-to-train).

    Args:
        files: NetCDF files, raw or ready-to-train, not mixed; or a folder of them.
        size: height and width, pixels of the file (40 m raw, 80 m ready-to-train).
        stride: pixels between neighbours.
        channels: of ``"hh"``, ``"hv"``, ``"incidence_angle"``.
        scheme: raw files know all schemes; ready-to-train files ``"ai4arctic"`` and ``"binary"``.
        scaling: for ready-to-train files, channel -> the values in dB or degrees that −1 and 1 stand for (they are
            published with the set); without it their channels have the unit ``"1"``.
        settings: thresholds; a place has a class where the concentration is at least ``ice_from`` or at most
            ``water_to``, as `frazil.rasterize_chart`.
        unknown: chart codes that SIGRID-3 does not have: ``"refuse"`` or ``"ignore"``.
        dialect: edition of SIGRID-3 that the codes of raw files are of, as `frazil.labels.read_chart`; by default each
            file's own.
        limit: at most so many patches of a class from a file.
        seed: of that draw.
        path: write to this ``.zarr`` while cutting.
        overwrite: replace what is there.

    Returns:
        The patch set. SAR values that are 0 (the fill of both kinds) or not finite are missing; charts leave out
        land themselves. ``line`` and ``pixel`` count pixels of 40 m.

    Raises:
        LabelNotFoundError, LabelError: no file, a file of another layout, no patch.
        OptionError: channels or a scheme that the files do not know.
    """
    scheme = find_scheme(scheme)
    names = channel_names(channels)
    variables = table()["ai4arctic"]["variables"]
    strange = [n for n in names if n not in variables]
    if strange:
        raise OptionError(f"Channel {strange[0]!r} is not in the AI4Arctic files, which hold {list(variables)}.")
    if unknown not in ("refuse", "ignore"):
        raise OptionError(f"unknown {unknown!r} is not one of ['refuse', 'ignore'].")
    check_dialect(dialect)
    paths = _paths(files)
    dialects: set[str] = set()
    cutter = Cutter(size=size, stride=stride, scheme=scheme, limit=limit, seed=seed)

    def parts() -> Iterator[xr.Dataset]:
        for file in paths:
            with _open(file) as data:
                raw = bool(
                    {"polygon_icechart", "polygon_codes", "sar_primary", "sar_grid_line"}
                    & set(map(str, data.variables))
                )
                if raw and not {"polygon_icechart", "polygon_codes"} <= set(map(str, data.variables)):
                    raise LabelError(
                        f"{file} is a raw scene without its chart (the test scenes of the challenge have none): there "
                        "is nothing to learn from. Leave it out, or get the file with polygon_icechart and "
                        "polygon_codes."
                    )
                kind = RawSource if raw else ReadySource
                source = kind(
                    file, data, names, scheme, settings or ChartSettings(), unknown, dict(scaling or {}), dialect
                )
                cut = cutter.cut(source)
                while True:
                    try:
                        part, _ = next(cut)
                    except StopIteration:
                        break
                    except (OSError, RuntimeError, MemoryError) as error:  # chunks are read while cutting
                        raise _unreadable(file, error) from error
                    yield part
                if isinstance(source, RawSource):
                    dialects.add(source.table[1])
        if not sum(cutter.counts.cut.values()):
            raise LabelError(why_none(cutter.counts, [p.name for p in paths], size))

    return gather(
        parts(),
        path,
        overwrite=overwrite,
        **cutter.attrs(),
        labels=[str(p) for p in paths],
        dialects=lambda: sorted(dialects),
    )


@dataclass(frozen=True, eq=False)
class _File:
    """What both kinds share: an image of two dims behind names of its own, and a grid of places."""

    file: Path
    data: xr.Dataset
    channels: tuple[str, ...]
    scheme: ClassScheme
    settings: ChartSettings
    unknown: Unknown
    scaling: dict[str, tuple[float, float]]
    dialect: str | None = None

    looks = 1

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        """Refuse what this kind of file cannot give."""

    @property
    def product(self) -> str:
        """The product name or else the time in the file's attributes or name."""
        original = scene_in(str(self.data.attrs.get("original_id", "")))
        return original if original != "unknown" else _or_stem(scene_in(self.file.name), self.file)

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and samples."""
        return self.data.sizes["sar_lines"], self.data.sizes["sar_samples"]

    @property
    def attrs(self) -> dict[str, Any]:
        """Looks and spacing."""
        return {"looks": self.looks, "spacing_m": 40.0 * self.looks, "denoise": "nersc"}

    def image(self, lines: slice, pixels: slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Channels of a window; land is left out by the labels."""
        planes = [self._plane(name, lines, pixels) for name in self.channels]
        return np.stack(planes), None

    def _plane(self, name: str, lines: slice, pixels: slice) -> np.ndarray:
        variable = _variable(self.data, table()["ai4arctic"]["variables"][name], self.file)
        where = {d: s for d, s in (("sar_lines", lines), ("sar_samples", pixels)) if d in variable.dims}
        values = variable.isel(where).values.astype(np.float32)
        wrong = ~np.isfinite(values)
        fill = variable.attrs.get("_FillValue")
        if fill is not None:
            wrong |= values == np.float32(fill)
        if CHANNELS[name].polarization:
            wrong |= values == 0
        values = np.where(wrong, np.float32(np.nan), values)
        return np.broadcast_to(values, (lines.stop - lines.start, pixels.stop - pixels.start))

    @cached_property
    def _geo(self) -> Geolocation | None:
        raise NotImplementedError

    def provenance(self, row: np.ndarray, column: np.ndarray, size: int) -> dict[str, np.ndarray]:
        """Place and time of patches."""
        first, half = (self.looks - 1) / 2, (size - 1) / 2
        line, pixel = row * self.looks + first, column * self.looks + first
        out = {"line": line, "pixel": pixel}
        if self._geo is not None:
            places = self._geo.lonlat(line + half * self.looks, pixel + half * self.looks)
            out |= dict(zip(("longitude", "latitude"), places, strict=True))
        stamp = time_in(str(self.data.attrs.get("original_id", ""))) or time_in(self.file.name)
        return out | {"time": np.full(row.size, np.datetime64(stamp or "NaT", "ns"))}


class RawSource(_File):
    """A raw file: σ0 in dB, polygon numbers and their SIGRID-3 codes."""

    @property
    def units(self) -> tuple[str, ...]:
        """Decibels or degrees."""
        return tuple(CHANNELS[n].units for n in self.channels)

    @cached_property
    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Polygon numbers in ascending order, and their classes."""
        table_of = self.table[0]
        numbers = np.array(sorted(table_of), np.int64)
        classes = [classify(table_of[n], self.scheme, self.settings).ice_class for n in numbers.tolist()]
        return numbers, np.array(classes, np.uint8)

    @cached_property
    def table(self) -> tuple[dict[int, dict[str, str]], str]:
        """Codes of each polygon by its number, as `frazil.labels.sigrid3` knows them, and their dialect."""
        lines = [str(v) for v in np.atleast_1d(_variable(self.data, "polygon_codes", self.file).values).tolist()]
        order: tuple[str, ...] = _ORDER
        numbers, rows = [], []
        for i, line in enumerate(lines):
            cells = [c.strip() for c in line.split(";")]
            if i == 0 and not cells[0].lstrip("-").isdecimal():
                order = tuple("ID" if c.lower() in ("id", "poly_id") else c.upper() for c in cells)
                continue
            given = dict(zip(order, cells, strict=False))
            if not given.get("ID", "").isdecimal() or "CT" not in given:
                raise LabelError(f"{self.file}: polygon_codes holds {line!r}, expected id;CT;CA;SA;FA;… as numbers.")
            given["POLY_TYPE"] = given.get("POLY_TYPE", "") or "I"
            numbers.append(int(given["ID"]))
            rows.append(given)
        found, dialect, strange = chart_rows(rows, order, dialect=self.dialect, formvern=None, source=str(self.file))
        if strange and self.unknown == "refuse":
            raise LabelError(
                f"{self.file} uses codes that SIGRID-3 does not have (dialect {dialect}): "
                f"{', '.join(sorted(strange)[:8])}. Name its dialect (--dialect), or pass unknown='ignore' "
                "(--unknown-codes ignore) to take them as not told."
            )
        return dict(zip(numbers, found, strict=True)), dialect

    @property
    def class_of(self) -> np.ndarray:
        """Class of each polygon."""
        return self._codes[1]

    @property
    def polygon_of(self) -> np.ndarray:
        """The number of each polygon in the file."""
        return self._codes[0].astype(np.int32)

    def regions(self, rows: slice) -> np.ndarray:
        """Position of each pixel's polygon in the table, −1 without one."""
        numbers = self._codes[0]
        values = _variable(self.data, "polygon_icechart", self.file).isel(sar_lines=rows).values
        there = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        number = np.where(there, values, -1).astype(np.int64)
        at = np.clip(np.searchsorted(numbers, number), 0, max(numbers.size - 1, 0))
        found = numbers[at] == number if numbers.size else np.zeros(number.shape, bool)
        return np.where(found, at, -1).astype(np.int32)

    def _plane(self, name: str, lines: slice, pixels: slice) -> np.ndarray:
        if name != "incidence_angle" or "sar_incidenceangle" in self.data.variables:
            return super()._plane(name, lines, pixels)
        from scipy.interpolate import RectBivariateSpline

        line, pixel, angle = self._grid("sar_grid_incidenceangle")
        spline = RectBivariateSpline(line, pixel, angle, kx=min(3, line.size - 1), ky=min(3, pixel.size - 1))
        values = spline(np.arange(lines.start, lines.stop), np.arange(pixels.start, pixels.stop))
        return np.asarray(values, np.float32)

    def _grid(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A list over the tie points as a grid: lines, samples, values (line, sample)."""
        line, pixel, values = (
            np.asarray(_variable(self.data, n, self.file).values, float).ravel()
            for n in ("sar_grid_line", "sar_grid_sample", name)
        )
        lines, i = np.unique(line, return_inverse=True)
        pixels, j = np.unique(pixel, return_inverse=True)
        if lines.size * pixels.size != values.size or min(lines.size, pixels.size) < 2:
            raise LabelError(f"{self.file}: {name} does not lie on a grid of lines and samples. Download it again.")
        grid = np.full((lines.size, pixels.size), np.nan)
        grid[i, j] = values
        return lines, pixels, grid

    @cached_property
    def _geo(self) -> Geolocation | None:
        if "sar_grid_latitude" not in self.data.variables:
            return None
        line, pixel, latitude = self._grid("sar_grid_latitude")
        longitude = self._grid("sar_grid_longitude")[2]
        refuse_outside("sar_grid_latitude", latitude, "degrees", -90.0, 90.0)
        refuse_outside("sar_grid_longitude", longitude, "degrees", -360.0, 360.0)
        return Geolocation(line, pixel, latitude, longitude, np.zeros_like(latitude))


class ReadySource(ClassRegions, _File):
    """A ready-to-train file: normalised images of 80 m and classes."""

    looks = 2

    def _check(self) -> None:
        if self.scheme.name not in ("ai4arctic", "binary"):
            raise OptionError(
                f"Ready-to-train files know the schemes 'ai4arctic' and 'binary', not {self.scheme.name!r}. "
                "Raw files know all."
            )

    @property
    def units(self) -> tuple[str, ...]:
        """Decibels or degrees where the scaling is known, else 1."""
        return tuple(CHANNELS[n].units if n in self.scaling else "1" for n in self.channels)

    def regions(self, rows: slice) -> np.ndarray:
        """Class of each pixel, −1 without one."""
        sic = self._chart("SIC", rows)
        code = np.full(sic.shape, -1, np.int32)
        told = sic <= 10
        code[told & (sic <= round(self.settings.water_to * 10))] = 0
        ice = told & (sic >= round(self.settings.ice_from * 10))
        if self.scheme.name == "binary":
            code[ice] = 1
        else:
            sod = self._chart("SOD", rows)
            # Class 0 inside closed ice contradicts the concentration, so it is no label.
            code = np.where(ice & (sod > 0) & (sod < len(self.scheme.classes)), sod.astype(np.int32), code)
        return code

    def _chart(self, name: str, rows: slice) -> np.ndarray:
        data = self.data if name in self.data.variables else self._reference
        variable = _variable(data, name, self.file)
        values = variable.isel(sar_lines=rows).values
        return np.where(np.isfinite(values), values, CLASS_NODATA).astype(np.uint8)

    @cached_property
    def _reference(self) -> xr.Dataset:
        """The labels of a test scene, which stand in a file of their own."""
        stem = self.file.stem
        for other in (f"{stem}_reference.nc", f"{stem.removesuffix('_prep')}_reference.nc"):
            path = self.file.with_name(other)
            if path.is_file():
                with _open(path) as data:
                    return data.load()
        raise LabelError(
            f"{self.file} holds no labels (SIC, SOD), and there is no {stem}_reference.nc beside it. Add that file."
        )

    def _plane(self, name: str, lines: slice, pixels: slice) -> np.ndarray:
        values = super()._plane(name, lines, pixels)
        if name not in self.scaling:
            return values
        low, high = self.scaling[name]
        return np.asarray(low + (values + 1) / 2 * (high - low), np.float32)

    @cached_property
    def _geo(self) -> Geolocation | None:
        if "sar_grid2d_latitude" not in self.data.variables:
            return None
        latitude, longitude = (
            np.asarray(_variable(self.data, f"sar_grid2d_{n}", self.file).values, float)
            for n in ("latitude", "longitude")
        )
        if latitude.ndim != 2 or min(latitude.shape) < 2:
            raise LabelError(f"{self.file}: sar_grid2d_latitude is no grid. Download it again.")
        line, pixel = (np.linspace(0, n * self.looks - 1, m) for n, m in zip(self.shape, latitude.shape, strict=True))
        return Geolocation(line, pixel, latitude, longitude, np.zeros_like(latitude))


def _paths(files: Any) -> list[Path]:
    if isinstance(files, (str, os.PathLike)):
        folder = Path(files)
        files = sorted(folder.rglob("*.nc")) if folder.is_dir() else [folder]
    paths = [p for p in map(Path, files) if not p.stem.endswith("_reference")]
    if not paths:
        raise LabelNotFoundError("There is no NetCDF file (.nc) of AI4Arctic here. Pass files or their folder.")
    return paths


def _open(file: Path) -> xr.Dataset:
    import xarray as xr

    if not file.is_file():
        raise LabelNotFoundError(f"No AI4Arctic file at {file}.")
    try:
        engine = netcdf_engine(file)
        data = xr.open_dataset(file, engine=engine, mask_and_scale=False, decode_times=False, decode_coords=False)
    except DAMAGED as error:
        raise _unreadable(file, error) from error
    missing = [d for d in ("sar_lines", "sar_samples") if d not in data.sizes]
    if missing:
        data.close()
        raise LabelError(f"{file} is not an AI4Arctic file: dimension {missing[0]} is missing ({dict(data.sizes)}).")
    return data


def _unreadable(file: Path, error: Exception) -> Exception:
    if isinstance(error, FrazilError):
        return error
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return LabelError(f"{file} cannot be read as NetCDF-4: {reason}. Download it again.")


def _variable(data: xr.Dataset, name: str, file: Path) -> xr.DataArray:
    if name not in data.variables:
        raise LabelError(f"{file} is not a complete AI4Arctic file: {name} is missing. Download it again.")
    return data[name]


def _or_stem(name: str, file: Path) -> str:
    return file.stem if name == "unknown" else name
