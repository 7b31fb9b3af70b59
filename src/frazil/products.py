"""The door for sensors: whatever satellite a product is from, it is opened here and becomes a scene.

A sensor joins with a `Reader` in `READERS`, whose products follow `Product` and whose scenes pass
`frazil.conventions.check_scene`. Nothing beyond this door knows a product's files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np

from frazil.conventions import Check, Denoise
from frazil.errors import OptionError, ProductNotFoundError
from frazil.net.addresses import is_address
from frazil.net.folder import remote_folder
from frazil.product_files import refuse_place
from frazil.radarsat.product import Constellation, Radarsat2
from frazil.scene.geolocation import TiePoints
from frazil.sentinel1.reader import Sentinel1

if TYPE_CHECKING:
    import xarray as xr


class Image(Protocol):
    """One image of a product: one polarisation of one swath, or of one imagette."""

    @property
    def name(self) -> str:
        """In words that differ for every image."""
        ...

    @property
    def image(self) -> str:
        """What `Product.open_scene` calls it; images of several polarisations share it."""
        ...

    @property
    def polarization(self) -> str:
        """``"HH"``, ``"HV"``, ``"VV"`` or ``"VH"``."""
        ...

    @property
    def start_time(self) -> np.datetime64:
        """UTC."""
        ...

    @property
    def stop_time(self) -> np.datetime64:
        """UTC."""
        ...

    @property
    def range_spacing_m(self) -> float:
        """Between pixels, along the slant where `slant_range` says so."""
        ...

    @property
    def azimuth_spacing_m(self) -> float:
        """Between lines."""
        ...

    @property
    def slant_range(self) -> bool:
        """Whether pixels are equidistant in slant range, not on the ground."""
        ...

    @property
    def ties(self) -> TiePoints:
        """Where the image lies."""
        ...


class Product(Protocol):
    """A product of any sensor; its metadata is parsed when asked for, its pixels later still."""

    @property
    def name(self) -> str:
        """Of the product, as its maker wrote it, without suffix."""
        ...

    @property
    def path(self) -> Path:
        """The folder or file."""
        ...

    @property
    def mission(self) -> str:
        """The satellite, ``"S1A"`` or ``"RS2"``."""
        ...

    @property
    def mode(self) -> str:
        """In which the radar worked; ``"WV"`` if the product is a series of imagettes."""
        ...

    @property
    def polarizations(self) -> tuple[str, ...]:
        """Co-polarised first."""
        ...

    @property
    def images(self) -> Sequence[Image]:
        """All of them; of an image in several polarisations one for each."""
        ...

    @property
    def spacing_m(self) -> float:
        """Between pixels of a scene at full resolution."""
        ...

    def describe(self) -> dict[str, object]:
        """What the product is, ready for JSON, from its metadata alone."""
        ...

    def open_scene(
        self,
        *,
        polarizations: tuple[str, ...] | None = None,
        denoise: Denoise = "esa",
        looks: int = 1,
        boxcar: bool = False,
        image: str | None = None,
    ) -> xr.Dataset:
        """The calibrated scene, see `open_scene`."""
        ...


class Reader(Protocol):
    """What opens the products of a sensor."""

    @property
    def name(self) -> str:
        """Of the kind of product: ``"Sentinel-1 Level-1 product"``."""
        ...

    @property
    def sign(self) -> str:
        """The file that tells such a product, in words."""
        ...

    def opens(self, path: str | os.PathLike[str]) -> bool:
        """Whether a product of this kind lies there, sound or not, as names and manifest tell; raises nothing."""
        ...

    def open_product(self, path: str | os.PathLike[str], *, check: Check = "quick") -> Product:
        """The product, or a `frazil.errors.FrazilError` that says what is wrong with it."""
        ...


#: In the order in which they are asked.
READERS: tuple[Reader, ...] = (Sentinel1(), Radarsat2(), Constellation())


def open_product(path: str | os.PathLike[str], *, check: Check = "quick") -> Product:
    """The product at a path: the folder of one, a file of it, or a zip; or a folder on the network, read in place.

    Only names and sizes are read here; metadata is parsed when asked for, pixels later still.

    Args:
        path: on a local disk, or the address of a product's folder: ``https://…/NAME.SAFE`` with its manifest, on a
            server that gives parts of files, or ``s3://bucket/…/NAME.SAFE``. Checksums of measurement files of such
            are not compared: they would be read whole.
        check: whether the files belong together: ``"quick"`` compares headers, checksums of metadata and of
            measurement files up to 64 MB, and means of pixels, as far as the product tells them; ``"full"`` also
            checksums of larger measurement files (about 1 s per GB); ``"none"`` nothing.

    Raises:
        ProductNotFoundError: nothing there, or nothing that looks like a product.
        ProductError: a damaged or hostile archive.
        ArchiveError, CredentialsError: an address that does not answer, or refuses.
        OptionError: another `check`.
    """
    if check not in get_args(Check):
        raise OptionError(f"check {check!r} is not one of {list(get_args(Check))}.")
    if is_address(path):
        remote_folder(os.fspath(path))  # says what is wrong, once, before every reader is asked in turn
    for reader in READERS:
        if reader.opens(path):
            return reader.open_product(path, check=check)
    shown = refuse_place(path)
    kinds = ", ".join(f"not a {reader.name} (no {reader.sign})" for reader in READERS)
    raise ProductNotFoundError(
        f"{shown} is nothing that frazil reads: {kinds}. Give the folder of a product, or a zip of it."
    )


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
    """The calibrated scene of a product, as `frazil.conventions.check_scene` describes it.

    Pixels are computed when asked for (``denoise="balanced"`` reads the image once to fit the noise; small measurement
    files, and some lines of large ones, are read to check them). Slices read and calibrate only their own lines.

    Args:
        path: folder of a product, a file of it, a zip, or an opened product.
        polarizations: which ones, for instance ``("HH", "HV")``; all by default, co-polarised first.
        denoise: ``"esa"`` subtracts the noise that the product states; ``"balanced"`` (Sentinel-1 alone) rescales it
            so that σ0 is continuous across sub-swath borders; ``"none"`` leaves it in. Where the processor subtracted
            it already, nothing is done. ``attrs["noise"]`` says what was.
        looks: average looks × looks blocks in power (1: full resolution); incomplete blocks at the far ends are
            dropped, a block less than half observed is NaN.
        boxcar: 3 × 3 moving average in power at full resolution, as in the papers; excludes ``looks > 1``.
        image: for products of several images (wave mode, SLC): the swath (``"IW1"``) or the number of the imagette
            (``"003"``).
        check: whether the product's files belong together, see `open_product`; an opened product keeps its own.
            ``attrs["checks"]`` says what was compared.
        chunks: passed to ``Dataset.chunk`` to get dask arrays.

    Returns:
        Dataset with sigma0 and nesz (polarization, line, pixel), incidence_angle, valid and noise_missing (line,
        pixel), tie points, and attrs. NaN in sigma0 where not observed.

    Raises:
        ProductNotFoundError, ProductError: as `open_product`; also zero-byte, truncated or mixed measurements.
        OptionError: an impossible option, naming the possible ones.
        UnsupportedProductError: a sound product of a kind that is not calibrated: TOPS SLC, complex RADARSAT.

    References:
        Khaleghian (2022), paper 1, section 4.1 (3 × 3 multilook).
    """
    product = open_product(path, check=check) if isinstance(path, (str, os.PathLike)) else path
    scene = product.open_scene(polarizations=polarizations, denoise=denoise, looks=looks, boxcar=boxcar, image=image)
    return scene if chunks is None else scene.chunk(chunks)


def describe(path: str | os.PathLike[str] | Product) -> dict[str, Any]:
    """A description of a product, ready for JSON, from its metadata alone.

    Keys of every sensor: product, path, mission, mode, type, polarizations, start_time, stop_time, pass, images, noise,
    centre, footprint (GeoJSON); more of each.

    Raises:
        ProductNotFoundError, ProductError: as `open_product`; also metadata that is missing or damaged.
    """
    return (open_product(path) if isinstance(path, (str, os.PathLike)) else path).describe()
