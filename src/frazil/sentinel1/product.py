"""A Sentinel-1 Level-1 product as files: SAFE folder, zip read in place, cloud-mirror layout, COG_SAFE.

Files are found by what they say of themselves (the header in the XML), and paired by name: ``STEM.xml``,
``calibration-STEM.xml``, ``noise-STEM.xml``, ``STEM.tiff``. ESA's long stems, the cloud mirrors' short ones
(``ew-hh``) and COG_SAFE's ``-cog`` suffix all fit. Nothing is extracted, no manifest path is followed and no link that
leaves the folder, so a product cannot point outside itself. What `frazil.product_files` finds is checked by
`frazil.sentinel1.consistency` as it is read.

References:
    S1-RS-MDA-52-7441 (Sentinel-1 Product Specification), section 3.1: folder layout and names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np

from frazil.conventions import Check
from frazil.errors import OptionError, ProductError, ProductNotFoundError
from frazil.product_files import Layout, ProductFiles, find_files
from frazil.scene.geolocation import TiePoints
from frazil.sentinel1 import consistency
from frazil.sentinel1.annotation import (
    Annotation,
    Calibration,
    Header,
    Manifest,
    Noise,
    parse_annotation,
    parse_calibration,
    parse_header,
    parse_manifest,
    parse_noise,
)

T = TypeVar("T")
LAYOUT = Layout(
    folders=("", "annotation", "annotation/calibration", "measurement", "preview"),
    home="annotation",
    sign=r"annotation/[^/]+\.xml",
    outer="*.SAFE",
    contents="annotation/ and measurement/",
)


@dataclass(frozen=True)
class Band:
    """One image of a product: one polarisation of one swath (or of one wave-mode imagette)."""

    product: Product
    stem: str
    header: Header

    @property
    def polarization(self) -> str:
        """``"HH"``, ``"HV"``, ``"VV"`` or ``"VH"``."""
        return self.header.polarization

    @property
    def name(self) -> str:
        """The image in words that differ for every image."""
        return self.stem

    @property
    def image(self) -> str:
        """What `open_scene` calls the image: the number of an imagette, else the swath."""
        return self.header.image_number if self.header.mode == "WV" else self.header.swath

    @property
    def start_time(self) -> np.datetime64:
        """UTC."""
        return self.header.start_time

    @property
    def stop_time(self) -> np.datetime64:
        """UTC."""
        return self.header.stop_time

    @property
    def range_spacing_m(self) -> float:
        """Between pixels, along the slant where `slant_range` says so."""
        return self.annotation.range_spacing_m

    @property
    def azimuth_spacing_m(self) -> float:
        """Between lines."""
        return self.annotation.azimuth_spacing_m

    @property
    def slant_range(self) -> bool:
        """Whether pixels are equidistant in slant range, not on the ground."""
        return self.header.product_type == "SLC"

    @property
    def ties(self) -> TiePoints:
        """Geolocation."""
        return self.annotation.ties

    @cached_property
    def annotation(self) -> Annotation:
        """The product annotation, parsed on first use."""
        name = f"annotation/{self.stem}.xml"
        annotation = parse_annotation(self.product.read(name), name)
        if self.product.check != "none":
            consistency.check_geometry(annotation, name)
        return annotation

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration vectors, parsed on first use."""
        calibration = self._beside("calibration", parse_calibration)
        if self.product.check != "none":
            name = f"calibration-{self.stem}.xml"
            consistency.check_vectors(self.annotation, calibration.time, calibration.pixel[:, -1], name)
            consistency.check_level(self.annotation, calibration, name)
        return calibration

    @cached_property
    def noise(self) -> Noise:
        """The noise vectors, parsed on first use."""
        noise = self._beside("noise", parse_noise)
        if self.product.check != "none" and noise.range:
            time = np.array([v.time for v in noise.range])
            last = np.array([v.pixel[-1] for v in noise.range])
            consistency.check_vectors(self.annotation, time, last, f"noise-{self.stem}.xml")
        return noise

    def _beside(self, kind: str, parse: Callable[[bytes, str], T]) -> T:
        name = f"annotation/calibration/{kind}-{self.stem}.xml"
        data = self.product.read(name)
        if self.product.check != "none":
            consistency.check_headers(name, parse_header(data, name), self.header)
        return parse(data, name)

    @property
    def has_noise(self) -> bool:
        """Whether the product has a noise file for this image."""
        return f"annotation/calibration/noise-{self.stem}.xml" in self.product.files

    @property
    def measurement_name(self) -> str | None:
        """The file of the image below the product folder, or None if there is none."""
        wanted = re.compile(rf"measurement/{re.escape(self.stem)}(-cog)?\.tiff?", re.IGNORECASE)
        return next((name for name in self.product.files if wanted.fullmatch(name)), None)

    @property
    def measurement(self) -> str:
        """The path of the image as GDAL opens it (``/vsizip/`` inside archives).

        Raises:
            ProductError: there is none, or it has zero bytes.
        """
        name = self.measurement_name
        if name is None:
            raise ProductError(
                f"{self.product.name} has no measurement/{self.stem}.tiff. Download the whole product again."
            )
        if self.product.files[name] == 0:
            raise ProductError(
                f"{name} of {self.product.name} has zero bytes: the product holds metadata only. "
                "`frazil info` works; for anything else download the product with its measurement files."
            )
        return self.product.gdal_path(name)


@dataclass(frozen=True)
class Product:
    """The files of one product.

    Attributes:
        source: where the files lie.
        check: how far they are checked to belong together, see `frazil.sentinel1.consistency.Check`.
    """

    source: ProductFiles
    check: Check = "quick"

    @property
    def path(self) -> Path:
        """The folder or archive."""
        return self.source.path

    @property
    def files(self) -> dict[str, int]:
        """Path below the product folder -> size in bytes."""
        return self.source.sizes

    @property
    def archived(self) -> bool:
        """Whether the product is a zip archive."""
        return self.source.archived

    @property
    def name(self) -> str:
        """The product name, without ``.SAFE`` or ``.zip``."""
        return self.source.name

    @cached_property
    def manifest(self) -> Manifest:
        """What ``manifest.safe`` says; nothing where there is none."""
        if "manifest.safe" not in self.files:
            if not self.archived and os.path.lexists(self.path / "manifest.safe"):
                raise ProductError(f"manifest.safe of {self.name} is no regular file. Download the product again.")
            return Manifest(files={})
        return parse_manifest(self.source.read("manifest.safe"))

    @property
    def ipf_version(self) -> str | None:
        """The processor version, ``"3.52"``, or None if no manifest says."""
        return self.manifest.ipf_version

    @property
    def relative_orbit(self) -> int | None:
        """The relative orbit number (1…175), or None if no manifest says."""
        return self.manifest.relative_orbit

    @property
    def note(self) -> str:
        """What ``note.txt`` in the product folder says, or ``""``: products that frazil wrote explain themselves."""
        if self.files.get("note.txt", 10**6) > 4000:
            return ""
        return " ".join(self.source.read("note.txt").decode("utf-8", "replace").split())

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """Every image, in the order of swath or imagette, then co-polarised before cross-polarised.

        Raises:
            ProductError: a header cannot be read, images or manifest are of different products, or two images claim
                the same place.
        """
        stems = [
            match.group(1)
            for name in self.files
            if (match := re.fullmatch(r"annotation/([^/]+)\.xml", name)) is not None
        ]
        bands = [Band(self, stem, parse_header(self.read(f"annotation/{stem}.xml"), stem + ".xml")) for stem in stems]
        if self.check != "none":
            headers = [b.header for b in bands]
            for band in bands:
                consistency.check_name(band.stem, band.header)
            consistency.check_images(headers)
            consistency.check_manifest(self.manifest, headers)
            consistency.check_complete(self.files, self.manifest)
        bands.sort(key=lambda b: (b.header.start_time if b.header.mode == "WV" else 0, b.header.swath, _order(b)))
        return tuple(bands)

    @property
    def polarizations(self) -> tuple[str, ...]:
        """The polarisations of the product, co-polarised first."""
        return tuple(dict.fromkeys(b.polarization for b in sorted(self.bands, key=_order)))

    def read(self, name: str) -> bytes:
        """The bytes of a metadata file of the product.

        Raises:
            ProductError: it is missing, unreadable, absurdly large, or not the one that the manifest names.
        """
        data = self.source.read(name)
        if self.check != "none" and name in self.manifest.files:
            consistency.check_bytes(name, self.name, len(data), consistency.md5(data), self.manifest)
        return data

    def gdal_path(self, name: str) -> str:
        """The path by which GDAL opens a file of the product."""
        return self.source.gdal_path(name)

    def check_measurements(self, bands: list[Band]) -> dict[str, bool]:
        """Compare measurement files with the manifest, as far as `check` says; whose MD5 was compared, by file name.

        Raises:
            ProductError: a file is not the one that the manifest names.
        """
        names = [name for b in bands if (name := b.measurement_name) is not None and name in self.manifest.files]
        if self.check == "none":
            return {}
        for name in names:
            consistency.check_bytes(name, self.name, self.files[name], "", self.manifest)
        if self.source.remote is not None:  # to read them whole is what reading in place is to spare
            return dict.fromkeys(names, False)
        chosen = [n for n in names if self.check == "full" or self.files[n] <= consistency.QUICK_BYTES]

        def compare(name: str) -> None:
            with self.source.open(name) as file:
                digest = consistency.md5(file)
            consistency.check_bytes(name, self.name, self.files[name], digest, self.manifest)

        with ThreadPoolExecutor(4) as pool:  # digests are computed outside of the interpreter's lock
            list(pool.map(compare, chosen))
        return {name: name in chosen for name in names}


def open_product(path: str | os.PathLike[str], *, check: Check = "quick") -> Product:
    """The product at a path: SAFE folder, a file of it, a zip, or a cloud-mirror folder.

    Only names and sizes are read here; XML is parsed when asked for, pixels later still.

    Args:
        path: on a local disk.
        check: whether the files belong together: ``"quick"`` compares headers, checksums of metadata and of
            measurement files up to 64 MB, and means of pixels; ``"full"`` also checksums of larger measurement files
            (about 1 s per GB); ``"none"`` nothing.

    Raises:
        ProductNotFoundError: nothing there, or nothing that looks like a product.
        ProductError: a damaged or hostile archive.
        OptionError: another `check`.
    """
    if check not in get_args(Check):
        raise OptionError(f"check {check!r} is not one of {list(get_args(Check))}.")
    source = find_files(path, LAYOUT)
    if not any(re.fullmatch(r"annotation/[^/]+\.xml", name) for name in source.sizes):
        raise ProductNotFoundError(
            f"{source.shown} is not a Sentinel-1 Level-1 product: it has no annotation/*.xml. "
            "Give the folder that holds annotation/ and measurement/, or a zip of it."
        )
    return Product(source, check)


def _order(band: Band) -> int:
    return int(band.polarization in ("HV", "VH"))
