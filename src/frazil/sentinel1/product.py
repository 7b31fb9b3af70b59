"""A Sentinel-1 Level-1 product as files: SAFE folder, zip read in place, cloud-mirror layout, COG_SAFE.

Files are found by what they say of themselves (the header in the XML), and paired by name: ``STEM.xml``,
``calibration-STEM.xml``, ``noise-STEM.xml``, ``STEM.tiff``. ESA's long stems, the cloud mirrors' short ones
(``ew-hh``) and COG_SAFE's ``-cog`` suffix all fit. Nothing is extracted and no manifest path is followed, so a product
cannot point outside itself.

References:
    S1-RS-MDA-52-7441 (Sentinel-1 Product Specification), section 3.1: folder layout and names.
"""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from frazil.errors import ProductError, ProductNotFoundError
from frazil.sentinel1.annotation import (
    Annotation,
    Calibration,
    Header,
    Noise,
    parse_annotation,
    parse_calibration,
    parse_header,
    parse_manifest,
    parse_noise,
)

_MAX_XML = 256 * 2**20  # bytes; the largest real annotation (assembled SLC) is below 40 MB


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

    @cached_property
    def annotation(self) -> Annotation:
        """The product annotation, parsed on first use."""
        name = f"annotation/{self.stem}.xml"
        return parse_annotation(self.product.read(name), name)

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration vectors, parsed on first use."""
        name = f"annotation/calibration/calibration-{self.stem}.xml"
        return parse_calibration(self.product.read(name), name)

    @cached_property
    def noise(self) -> Noise:
        """The noise vectors, parsed on first use."""
        name = f"annotation/calibration/noise-{self.stem}.xml"
        return parse_noise(self.product.read(name), name)

    @property
    def measurement(self) -> str:
        """The path of the image as GDAL opens it (``/vsizip/`` inside archives).

        Raises:
            ProductError: there is none, or it has zero bytes.
        """
        for name in (f"measurement/{self.stem}.tiff", f"measurement/{self.stem}-cog.tiff"):
            if name in self.product.files:
                if self.product.files[name] == 0:
                    raise ProductError(
                        f"{name} of {self.product.name} has zero bytes: the product holds metadata only. "
                        "`frazil info` works; for anything else download the product with its measurement files."
                    )
                return self.product.gdal_path(name)
        raise ProductError(
            f"{self.product.name} has no measurement/{self.stem}.tiff. Download the whole product again."
        )


@dataclass(frozen=True)
class Product:
    """The files of one product.

    Attributes:
        path: the folder or archive.
        prefix: the folder inside the archive, ``""`` or ending in ``/``.
        files: path below the product folder -> size in bytes.
    """

    path: Path
    prefix: str
    files: dict[str, int]

    @property
    def archived(self) -> bool:
        """Whether the product is a zip archive."""
        return self.path.is_file()

    @cached_property
    def name(self) -> str:
        """The product name, without ``.SAFE`` or ``.zip``."""
        inside = self.prefix.rstrip("/").rsplit("/", 1)[-1]
        return re.sub(r"\.(SAFE|zip)$", "", inside or self.path.resolve().name, flags=re.IGNORECASE)

    @cached_property
    def _manifest(self) -> tuple[str | None, int | None]:
        return parse_manifest(self.read("manifest.safe")) if "manifest.safe" in self.files else (None, None)

    @property
    def ipf_version(self) -> str | None:
        """The processor version, ``"3.52"``, or None if no manifest says."""
        return self._manifest[0]

    @property
    def relative_orbit(self) -> int | None:
        """The relative orbit number (1…175), or None if no manifest says."""
        return self._manifest[1]

    @property
    def note(self) -> str:
        """What ``note.txt`` in the product folder says, or ``""``: products that frazil wrote explain themselves."""
        if self.files.get("note.txt", 10**6) > 4000:
            return ""
        return " ".join(self.read("note.txt").decode("utf-8", "replace").split())

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """Every image, in the order of swath or imagette, then co-polarised before cross-polarised.

        Raises:
            ProductError: a header cannot be read, or two images claim the same place.
        """
        stems = [
            match.group(1)
            for name in self.files
            if (match := re.fullmatch(r"annotation/([^/]+)\.xml", name)) is not None
        ]
        bands = [Band(self, stem, parse_header(self.read(f"annotation/{stem}.xml"), stem + ".xml")) for stem in stems]
        bands.sort(key=lambda b: (b.header.start_time if b.header.mode == "WV" else 0, b.header.swath, _order(b)))
        return tuple(bands)

    @property
    def polarizations(self) -> tuple[str, ...]:
        """The polarisations of the product, co-polarised first."""
        return tuple(dict.fromkeys(b.polarization for b in sorted(self.bands, key=_order)))

    def read(self, name: str) -> bytes:
        """The bytes of a file of the product.

        Raises:
            ProductError: it is missing, unreadable or absurdly large.
        """
        if name not in self.files:
            raise ProductError(f"{self.name} has no {name}. Download the whole product again.")
        if self.files[name] > _MAX_XML:
            raise ProductError(f"{name} of {self.name} has {self.files[name]} bytes; metadata never does.")
        try:
            if self.archived:
                with zipfile.ZipFile(self.path) as archive:
                    return archive.read(self.prefix + name)
            return (self.path / name).read_bytes()
        except (
            OSError,
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            EOFError,
            _zlib_error(),
        ) as error:
            raise ProductError(f"{name} of {self.path} cannot be read: {error}. Download the product again.") from error

    def gdal_path(self, name: str) -> str:
        """The path by which GDAL opens a file of the product."""
        inner = self.prefix + name
        return f"/vsizip/{{{self.path.resolve()}}}/{inner}" if self.archived else str(self.path / name)


def open_product(path: str | os.PathLike[str]) -> Product:
    """The product at a path: SAFE folder, its ``manifest.safe``, a zip, or a cloud-mirror folder.

    Only names and sizes are read here; XML is parsed when asked for, pixels later still.

    Raises:
        ProductNotFoundError: nothing there, or nothing that looks like a product.
        ProductError: a damaged or hostile archive.
    """
    given = Path(path)
    if given.name == "manifest.safe":
        given = given.parent
    if not given.exists():
        raise ProductNotFoundError(f"No product at {given}. Give a SAFE folder or a zip of one.")
    product = _from_zip(given) if given.is_file() else _from_folder(given)
    if not any(re.fullmatch(r"annotation/[^/]+\.xml", name) for name in product.files):
        raise ProductNotFoundError(
            f"{given} is not a Sentinel-1 Level-1 product: it has no annotation/*.xml. "
            "Give the folder that holds annotation/ and measurement/, or a zip of it."
        )
    return product


def _from_folder(folder: Path) -> Product:
    if not (folder / "annotation").is_dir():
        inside = [p for p in sorted(folder.glob("*.SAFE")) if p.is_dir()]
        if len(inside) == 1:
            folder = inside[0]
    files = {}
    for sub in ("", "annotation", "annotation/calibration", "measurement", "preview"):
        place = folder / sub
        if place.is_dir():
            files.update(
                {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(place.iterdir()) if p.is_file()}
            )
    return Product(folder, "", files)


def _from_zip(path: Path) -> Product:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [i for i in archive.infolist() if not i.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ProductError(
            f"{path} is not a readable zip archive ({error}). Download the product again, or give its SAFE folder."
        ) from error
    climbing = [i.filename for i in infos if _climbs(i.filename)]
    if climbing:
        raise ProductError(
            f"{path} holds members whose paths leave the archive ({climbing[0]!r}); it is not read. "
            "Get the product from a source you trust."
        )
    prefixes = {
        match.group(1)
        for i in infos
        if (match := re.fullmatch(r"((?:[^/]+/)*)annotation/[^/]+\.xml", i.filename)) is not None
    }
    if len(prefixes) > 1:
        raise ProductError(f"{path} holds {len(prefixes)} products: {sorted(prefixes)}. Give one product per archive.")
    prefix = prefixes.pop() if prefixes else ""
    return Product(
        path, prefix, {i.filename[len(prefix) :]: i.file_size for i in infos if i.filename.startswith(prefix)}
    )


def _climbs(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return ".." in parts or name.startswith(("/", "\\")) or ":" in (parts[0] if parts else "")


def _order(band: Band) -> int:
    return int(band.polarization in ("HV", "VH"))


def _zlib_error() -> type[Exception]:
    import zlib

    return zlib.error
