"""A sensor of our own: an airborne radar whose products are NetCDF files in decibels. It shows what a sensor must give.

Its pixels are those of a simulated scene, so that a model has something to say about them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from frazil.conventions import VARIABLES, Check, Denoise
from frazil.errors import OptionError, ProductError
from frazil.scene.geolocation import Geolocation, TiePoints

SENSOR = "Toy Radar"
_TIES = ("latitude", "longitude", "height", "incidence_angle")


def write_toy(path: Path, *, lines: tuple[int, int] = (4000, 4900), pixels: tuple[int, int] = (2400, 3600)) -> Path:
    """A product: σ0 and noise in dB on (row, column) of 40 m, and tie points."""
    from frazil.simulate.scene import simulate_scene

    scene = simulate_scene("ew", seed=3, spacing_m=40.0, lines=lines, pixels=pixels)
    ties = {f"tie_{name}": scene[f"tie_{name}"] for name in _TIES}
    floor = np.float32(1e-6)
    xr.Dataset(
        {
            "db": (("channel", "row", "column"), 10 * np.log10(np.maximum(scene["sigma0"].values, floor))),
            "noise_db": (("channel", "row", "column"), 10 * np.log10(np.maximum(scene["nesz"].values, floor))),
            "angle": (("row", "column"), scene["incidence_angle"].values),
            **{name: (("a", "r"), tie.values) for name, tie in ties.items()},
            "tie_row": ("a", scene["tie_line"].values - lines[0]),
            "tie_column": ("r", scene["tie_pixel"].values - pixels[0]),
        },
        attrs={"maker": SENSOR, "channels": "HH HV", "time": "2026-03-01T12:00:00"},
    ).to_netcdf(path, engine="h5netcdf")
    return path


@dataclass(frozen=True)
class ToyImage:
    product: ToyProduct
    polarization: str
    image: str = "1"
    azimuth_spacing_m: float = 40.0
    range_spacing_m: float = 40.0
    slant_range: bool = False

    @property
    def name(self) -> str:
        return f"{self.product.name} {self.polarization}"

    @property
    def start_time(self) -> np.datetime64:
        return np.datetime64(self.product.content.attrs["time"], "us")

    @property
    def stop_time(self) -> np.datetime64:
        return self.start_time + np.timedelta64(60, "s")

    @property
    def ties(self) -> TiePoints:
        held = self.product.content
        angle = held["tie_incidence_angle"].values
        return TiePoints(
            line=held["tie_row"].values,
            pixel=held["tie_column"].values,
            latitude=held["tie_latitude"].values,
            longitude=held["tie_longitude"].values,
            height=held["tie_height"].values,
            incidence_angle=angle,
            elevation_angle=np.full_like(angle, np.nan),
        )


@dataclass(frozen=True)
class ToyProduct:
    path: Path
    mission: str = "TOY"
    mode: str = "strip"
    spacing_m: float = 40.0

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def content(self) -> xr.Dataset:
        try:
            with xr.open_dataset(self.path, engine="h5netcdf") as held:
                return held.load()
        except (OSError, ValueError) as error:
            raise ProductError(f"{self.path} is damaged. Write it again.") from error

    @property
    def polarizations(self) -> tuple[str, ...]:
        return tuple(self.content.attrs["channels"].split())

    @property
    def images(self) -> tuple[ToyImage, ...]:
        return tuple(ToyImage(self, p) for p in self.polarizations)

    def describe(self) -> dict[str, Any]:
        image = self.images[0]
        ring = [list(place) for place in Geolocation.of_ties(image.ties).footprint()]
        return {
            "product": self.name,
            "path": str(self.path),
            "mission": self.mission,
            "mode": self.mode,
            "type": "DB",
            "polarizations": list(self.polarizations),
            "start_time": str(image.start_time),
            "stop_time": str(image.stop_time),
            "pass": None,
            "noise": "stated",
            "images": [{"polarization": i.polarization} for i in self.images],
            "centre": {"longitude": ring[0][0], "latitude": ring[0][1]},
            "footprint": {"type": "Polygon", "coordinates": [ring]},
        }

    def open_scene(
        self,
        *,
        polarizations: tuple[str, ...] | None = None,
        denoise: Denoise = "esa",
        looks: int = 1,
        boxcar: bool = False,
        image: str | None = None,
    ) -> xr.Dataset:
        if boxcar or image not in (None, "1"):
            raise OptionError(f"{self.name} is one image, without moving averages. Leave boxcar and image out.")
        wanted = polarizations or self.polarizations
        if missing := [p for p in wanted if p not in self.polarizations]:
            raise OptionError(f"Polarization {missing[0]!r} is not in {self.name}. Pass one of {self.polarizations}.")
        held = self.content.isel(channel=[self.polarizations.index(p) for p in wanted])
        blocks = held[["db", "noise_db"]].map(lambda v: 10 ** (v / 10))
        blocks = blocks.assign(angle=held["angle"]).coarsen(row=looks, column=looks, boundary="trim").mean()
        ties, first = self.images[0].ties, self.images[0]
        planes, dims = ("polarization", "line", "pixel"), ("tie_line", "tie_pixel")
        sigma0 = blocks["db"].values.astype(np.float32)
        middle = (looks - 1) / 2
        return xr.Dataset(
            {
                "sigma0": (planes, sigma0, VARIABLES["sigma0"]),
                "nesz": (planes, blocks["noise_db"].values.astype(np.float32), VARIABLES["nesz"]),
                "incidence_angle": (planes[1:], blocks["angle"].values, VARIABLES["incidence_angle"]),
                "valid": (planes[1:], np.isfinite(sigma0).all(0), VARIABLES["valid"]),
                **{f"tie_{name}": (dims, getattr(ties, name)) for name in _TIES},
            },
            {
                "polarization": list(wanted),
                "line": np.arange(sigma0.shape[1]) * looks + middle,
                "pixel": np.arange(sigma0.shape[2]) * looks + middle,
                "tie_line": ties.line,
                "tie_pixel": ties.pixel,
            },
            {
                "product": self.name,
                "mission": self.mission,
                "sensor": SENSOR,
                "mode": self.mode,
                "start_time": str(first.start_time),
                "stop_time": str(first.stop_time),
                "looks": looks,
                "spacing_m": self.spacing_m * looks,
                "denoise": denoise,
                "attribution": "© Toy Makers 2026",
            },
        )


class Toy:
    name = "Toy Radar product"
    sign = ".toy.nc"

    def opens(self, path: str | os.PathLike[str]) -> bool:
        return Path(path).is_file() and Path(path).name.endswith(self.sign)

    def open_product(self, path: str | os.PathLike[str], *, check: Check = "quick") -> ToyProduct:
        del check  # a file tells nothing of itself
        return ToyProduct(Path(path))
