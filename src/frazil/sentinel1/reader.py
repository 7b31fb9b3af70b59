"""Sentinel-1 as `frazil.products` wants a sensor: what tells its products, and what they can do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frazil.conventions import Check, Denoise
from frazil.product_files import holds
from frazil.sentinel1 import product
from frazil.sentinel1.product import Band, Product

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Sentinel1Product(Product):
    """A product that describes and calibrates itself, see `frazil.products.Product`."""

    @property
    def mission(self) -> str:
        """``"S1A"``, ``"S1B"`` …, as the header says."""
        return self.bands[0].header.mission

    @property
    def mode(self) -> str:
        """``"EW"``, ``"IW"``, ``"WV"`` or a stripmap beam."""
        return self.bands[0].header.mode

    @property
    def images(self) -> tuple[Band, ...]:
        """As `bands`."""
        return self.bands

    @property
    def spacing_m(self) -> float:
        """Between pixels of the first image."""
        return self.bands[0].range_spacing_m

    def describe(self) -> dict[str, object]:
        """As `frazil.sentinel1.info.describe`."""
        from frazil.sentinel1.info import describe

        return describe(self)

    def open_scene(
        self,
        *,
        polarizations: tuple[str, ...] | None = None,
        denoise: Denoise = "esa",
        looks: int = 1,
        boxcar: bool = False,
        image: str | None = None,
    ) -> xr.Dataset:
        """As `frazil.sentinel1.scene.open_scene`."""
        from frazil.sentinel1.scene import open_scene

        return open_scene(self, polarizations=polarizations, denoise=denoise, looks=looks, boxcar=boxcar, image=image)


class Sentinel1:
    """The reader of Sentinel-1 Level-1 products."""

    name = "Sentinel-1 Level-1 product"
    sign = "annotation/*.xml"

    def opens(self, path: str | os.PathLike[str]) -> bool:
        """Whether a folder or archive holds ``annotation/``, or a file lies beside it."""
        return holds(path, product.LAYOUT)

    def open_product(self, path: str | os.PathLike[str], *, check: Check = "quick") -> Sentinel1Product:
        """As `frazil.sentinel1.product.open_product`."""
        found = product.open_product(path, check=check)
        return Sentinel1Product(found.source, found.check)
