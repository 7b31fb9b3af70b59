"""RADARSAT products as `frazil.products` wants a sensor: their files, what they are, and their scenes.

Read are detected images (16 or 8 bits) in the geometry of the radar: SGF, SGX, SCN, SCW … of RADARSAT-2, GRD of the
Constellation. Complex images, map-projected ones and compact polarimetry are refused in words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import Check, Denoise
from frazil.errors import FrazilError, OptionError, ProductError, UnsupportedProductError
from frazil.product_files import Layout, ProductFiles, find_files, holds
from frazil.radarsat.annotation import Annotation, parse_constellation, parse_radarsat2
from frazil.radarsat.scene import make_scene, noise_state, tie_points
from frazil.radarsat.tables import (
    Profile,
    constellation_profile,
    parse_angles,
    parse_noise,
    parse_table,
    radarsat2_profile,
)
from frazil.scene.geolocation import Geolocation, TiePoints
from frazil.scene.measurement import Measurement

if TYPE_CHECKING:
    import xarray as xr

RADARSAT2 = Layout(
    folders=("",),
    home="product.xml",
    sign=r"(?<!metadata/)product\.xml",
    outer="RS2*",
    contents="product.xml, lutSigma.xml and imagery_….tif",
)
CONSTELLATION = Layout(
    folders=("", "metadata", "metadata/calibration", "imagery"),
    home="metadata/product.xml",
    sign=r"metadata/product\.xml",
    outer="RCM*",
    contents="metadata/ and imagery/",
)
_SCHEMA = b"rs2"  # in the name space of every product.xml of RADARSAT-2
_HEAD = 4096  # bytes


@dataclass(frozen=True)
class RadarsatImage:
    """One polarisation of a product, see `frazil.products.Image`."""

    product: RadarsatProduct
    polarization: str

    @property
    def name(self) -> str:
        """Of product and polarisation."""
        return f"{self.product.name} {self.polarization}"

    @property
    def image(self) -> str:
        """The beam mode: products hold one image."""
        return self.product.annotation.beam_mode

    @property
    def start_time(self) -> np.datetime64:
        """UTC."""
        return self.product.annotation.start_time

    @property
    def stop_time(self) -> np.datetime64:
        """UTC."""
        return self.product.annotation.stop_time

    @property
    def range_spacing_m(self) -> float:
        """Between pixels."""
        return self.product.annotation.range_spacing_m

    @property
    def azimuth_spacing_m(self) -> float:
        """Between lines."""
        return self.product.annotation.azimuth_spacing_m

    @property
    def slant_range(self) -> bool:
        """Complex images are in slant range, and are not calibrated here."""
        return _is_complex(self.product.annotation)

    @property
    def ties(self) -> TiePoints:
        """Geolocation, with the incidence angle."""
        return tie_points(self.product.annotation, self.product.profile(self.polarization).incidence_angle)


@dataclass(frozen=True)
class RadarsatProduct:
    """The files of one product, see `frazil.products.Product`.

    Attributes:
        source: where they lie.
        constellation: whether they are laid out as those of the RADARSAT Constellation.
    """

    source: ProductFiles
    constellation: bool

    @property
    def name(self) -> str:
        """The name of the folder or archive."""
        return self.source.name

    @property
    def path(self) -> Path:
        """The folder or archive."""
        return self.source.path

    @cached_property
    def annotation(self) -> Annotation:
        """What ``product.xml`` says, parsed on first use."""
        name = "metadata/product.xml" if self.constellation else "product.xml"
        parse = parse_constellation if self.constellation else parse_radarsat2
        return parse(self.source.read(name), f"{name} of {self.name}")

    @property
    def mission(self) -> str:
        """``"RS2"``, ``"RCM1"``, ``"RCM2"`` or ``"RCM3"``."""
        return self.annotation.mission

    @property
    def mode(self) -> str:
        """The mnemonic of the beam mode, ``"SCWA"``."""
        return self.annotation.beam_mode

    @property
    def polarizations(self) -> tuple[str, ...]:
        """Co-polarised first."""
        return self.annotation.polarizations

    @property
    def images(self) -> Sequence[RadarsatImage]:
        """One for each polarisation."""
        return tuple(RadarsatImage(self, p) for p in self.polarizations)

    @property
    def spacing_m(self) -> float:
        """Between pixels."""
        return self.annotation.range_spacing_m

    def profile(self, polarization: str) -> Profile:
        """The calibration of a polarisation.

        Raises:
            ProductError: its tables are missing, broken, or not those of the image.
        """
        a = self.annotation
        sigma_name = self._table("Sigma Nought", a.sigma_tables, polarization)
        sigma = parse_table(self.source.read(sigma_name), sigma_name)
        if not self.constellation:
            beta_name = self._table("Beta Nought", a.beta_tables, polarization)
            beta = parse_table(self.source.read(beta_name), beta_name)
            return radarsat2_profile(a, sigma, beta, (sigma_name, beta_name))
        angles = str(a.angle_table)
        noise = a.noise_tables.get(polarization)
        return constellation_profile(
            a,
            sigma,
            parse_angles(self.source.read(angles), angles),
            None if noise is None else parse_noise(self.source.read(noise), noise),
            sigma_name,
        )

    def _table(self, kind: str, tables: Any, polarization: str) -> str:
        name = tables.get(polarization)
        if name is None:
            raise ProductError(
                f"product.xml of {self.name} names no look-up table of {kind} for {polarization}: it cannot be "
                "calibrated. Order the product with its look-up tables."
            )
        return str(name)

    def describe(self) -> dict[str, object]:
        """What the product is, ready for JSON, from its metadata alone; works without pixels.

        Raises:
            ProductError: metadata is missing or damaged.
        """
        import shapely
        from pyproj import CRS

        from frazil.geojson import to_lonlat

        a = self.annotation
        profiles = {p: self.profile(p) for p in a.polarizations}
        first = profiles[a.polarizations[0]]
        geo = Geolocation.of_ties(tie_points(a, first.incidence_angle))
        lon, lat = (float(v) for v in geo.lonlat((a.shape[0] - 1) / 2, (a.shape[1] - 1) / 2))
        plane = CRS.from_user_input(f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84")
        area = shapely.Polygon(np.column_stack(geo.outline(plane, 12))).buffer(0)
        (outline,) = to_lonlat(np.array([area], dtype=object), plane)
        noise = {p: noise_state(a, profile, subtract=True) for p, profile in profiles.items()}
        return {
            "product": self.name,
            "path": self.source.shown,
            "mission": a.mission,
            "sensor": a.sensor,
            "mode": a.beam_mode,
            "type": a.product_type,
            "polarizations": list(a.polarizations),
            "start_time": str(a.start_time),
            "stop_time": str(a.stop_time),
            "pass": a.orbit_pass,
            "product_id": a.product_id,
            "copyright": a.copyright,
            "images": [
                {
                    "polarization": p,
                    "lines": a.shape[0],
                    "pixels": a.shape[1],
                    "range_spacing_m": round(a.range_spacing_m, 3),
                    "azimuth_spacing_m": round(a.azimuth_spacing_m, 3),
                    "incidence_angle": [round(v, 2) for v in a.incidence],
                    "measurement": self._measurement_state(p),
                    "noise": noise[p],
                }
                for p in a.polarizations
            ],
            "noise": ", ".join(dict.fromkeys(noise.values())),
            "centre": {"longitude": round(lon, 4), "latitude": round(lat, 4)},
            "footprint": json.loads(shapely.to_geojson(shapely.set_precision(outline, 1e-4))),
        }

    def _measurement_state(self, polarization: str) -> str:
        size = self.source.sizes.get(self.annotation.images[polarization])
        return "missing" if size is None else "empty (0 bytes)" if size == 0 else f"{size / 1e6:.1f} MB"

    def open_scene(
        self,
        *,
        polarizations: tuple[str, ...] | None = None,
        denoise: Denoise = "esa",
        looks: int = 1,
        boxcar: bool = False,
        image: str | None = None,
    ) -> xr.Dataset:
        """The calibrated scene, see `frazil.products.open_scene`.

        ``denoise="esa"`` subtracts the reference noise level of the product, which is a function of range alone.

        Raises:
            UnsupportedProductError: a complex product. OptionError: an option that RADARSAT does not know.
            ProductError: files that are missing, broken, or of different products.
        """
        a = self.annotation
        if _is_complex(a):
            raise UnsupportedProductError(
                f"{self.name} holds {a.sample_type.lower()} samples in slant range ({a.product_type}), which frazil "
                "does not detect. `frazil info` works; for maps take the detected product of the same time."
            )
        if denoise not in ("esa", "none"):
            raise OptionError(
                f"denoise {denoise!r} is for Sentinel-1, whose sub-swath borders it fits; {a.sensor} knows 'esa', "
                "which subtracts the noise level that the product states, and 'none'. Choose one of these."
            )
        if looks < 1 or (boxcar and looks > 1):
            raise OptionError(f"looks must be 1 or more, and 1 with boxcar; got looks={looks}, boxcar={boxcar}.")
        if image not in (None, a.beam_mode):
            raise OptionError(f"Image {image!r} is not in {self.name}, which holds {[a.beam_mode]}. Leave image out.")
        wanted = tuple(p.upper() for p in polarizations) if polarizations else a.polarizations
        if missing := [p for p in wanted if p not in a.polarizations]:
            raise OptionError(
                f"Polarization {missing[0]!r} is not in {self.name}, which holds {list(a.polarizations)}. Pass one of "
                "these."
            )
        return make_scene(
            self.name,
            a,
            wanted,
            [self.profile(p) for p in wanted],
            [self._measurement(p) for p in wanted],
            denoise=denoise,
            looks=looks,
            average=boxcar,
        )

    def _measurement(self, polarization: str) -> Measurement:
        name = self.annotation.images[polarization]
        if not self.source.sizes.get(name):
            state = "has no" if name not in self.source.sizes else "has an empty"
            raise ProductError(f"{self.name} {state} {name}. Download the whole product again.")
        return Measurement(self.source.gdal_path(name), self.annotation.shape, f"{name} of {self.name}")


class Radarsat2:
    """The reader of RADARSAT-2 products."""

    name = "RADARSAT-2 product"
    sign = "product.xml of RADARSAT-2"

    def opens(self, path: str | os.PathLike[str]) -> bool:
        """Whether a folder or archive holds a ``product.xml`` that begins as those of RADARSAT-2 do."""
        if not holds(path, RADARSAT2):
            return False
        try:
            with find_files(path, RADARSAT2).open("product.xml") as file:
                return _SCHEMA in file.read(_HEAD)
        except FrazilError:
            return False

    def open_product(self, path: str | os.PathLike[str], *, check: Check = "quick") -> RadarsatProduct:
        """The product; there are no checksums that `check` could compare.

        Raises:
            ProductNotFoundError, ProductError: nothing there, or a damaged or hostile archive.
        """
        del check
        return RadarsatProduct(find_files(path, RADARSAT2), constellation=False)


class Constellation:
    """The reader of RADARSAT Constellation products."""

    name = "RADARSAT Constellation product"
    sign = "metadata/product.xml"

    def opens(self, path: str | os.PathLike[str]) -> bool:
        """Whether a folder or archive holds ``metadata/product.xml``."""
        return holds(path, CONSTELLATION)

    def open_product(self, path: str | os.PathLike[str], *, check: Check = "quick") -> RadarsatProduct:
        """As `Radarsat2.open_product`."""
        del check
        return RadarsatProduct(find_files(path, CONSTELLATION), constellation=True)


def _is_complex(a: Annotation) -> bool:
    return not a.sample_type.lower().startswith("mag")
