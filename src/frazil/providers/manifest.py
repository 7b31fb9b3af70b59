"""The manifest of a product: which of its files a map needs, with their sizes and checksums.

References:
    S1-RS-MDA-52-7441, section 3.2 (``manifest.safe``: byteStream, fileLocation, checksum).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from frazil.errors import ProductError, printable
from frazil.xml_files import read_record

#: What a map reads, and the quick-look, by which people know a scene.
_NEEDED = re.compile(
    r"(annotation/[\w.-]+\.xml|annotation/calibration/(calibration|noise)-[\w.-]+\.xml|measurement/[\w.-]+\.tiff?|"
    r"preview/quick-look\.png)"
)
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_MOST_BYTES = 2**36  # of a product; the largest have 8 GB
_MOST_FILES = 20_000  # wave mode: two thousand imagettes with four files each


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        name: below the product folder.
        size: bytes, or None where it is not told.
        md5: in hexadecimal digits, or ``""`` where it is not told.
    """

    name: str
    size: int | None
    md5: str


def needed(data: bytes, product: str) -> list[Wanted]:
    """The files of a product that a map needs, as its manifest lists them.

    Raises:
        ProductError: no manifest; names that climb; without measurement, or larger than any product.
    """
    files = read_record(_files, data, f"manifest.safe of {product}")
    climbing = [f.name for f in files if not _SAFE.fullmatch(f.name) or ".." in f.name.split("/")]
    if climbing:
        raise ProductError(
            f"manifest.safe of {product} names {printable(climbing[0])[:100]!r}, which is no file of a product; "
            "nothing of it is fetched. Take the product from another archive."
        )
    chosen = list({f.name: f for f in files if _NEEDED.fullmatch(f.name)}.values())
    if not any(f.name.startswith("measurement/") for f in chosen):
        raise ProductError(f"manifest.safe of {product} lists no measurement. Take the product from another archive.")
    if sum(f.size or 0 for f in chosen) > _MOST_BYTES or len(chosen) > _MOST_FILES:
        raise ProductError(f"manifest.safe of {product} lists more than any product has; nothing of it is fetched.")
    return sorted(chosen, key=lambda f: (f.size or 0, f.name))


def _files(root: ET.Element) -> list[Wanted]:
    if root.tag.rpartition("}")[2] != "XFDU":
        raise ValueError(f"its root is <{root.tag[:80]}>")
    files = []
    for element in root.iter("byteStream"):
        place, checksum = element.find("fileLocation"), element.find("checksum")
        if place is None:
            continue
        size, told = element.get("size", ""), "" if checksum is None else (checksum.text or "").strip().lower()
        known = checksum is not None and checksum.get("checksumName", "").upper() == "MD5"
        digest = told if known and re.fullmatch(r"[0-9a-f]{32}", told) else ""
        name = place.get("href", "").removeprefix("./")
        files.append(Wanted(name, int(size) if size.isdigit() and len(size) < 16 else None, digest))
    return files
