"""XML of strangers: read within bounds, without entities, and its numbers taken out one way.

Document type definitions and entities are refused by defusedxml. The size of a file, the number of its elements and the
length of a table are bounded by what the largest products (assembled SLC of 25 slices) hold, several times over: a tree
of elements takes twenty times the memory of its text.

References:
    CWE-776 (entity expansion), CWE-400 (resource consumption).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from frazil.errors import FrazilError, ProductError

T = TypeVar("T")
MAX_BYTES = 40 * 2**20  #: of a metadata file
_MAX_TAGS = 1_200_000  # opening and closing
_MAX_ATTRIBUTES = 100_000
_MAX_TABLE = 2**20  # characters of one table; a wide one has 22,000
_ASCII_BASED = (b"utf-8", b"us-ascii", b"ascii", b"iso-8859-1")


def read_record(parse: Callable[[ET.Element], T], data: bytes, name: str, kind: str = "Sentinel-1 Level-1 file") -> T:
    """What a function makes of the root element of an XML file of some kind.

    Raises:
        ProductError: the XML is broken, hostile, larger than such files can be, or not what `parse` expects.
    """
    root = _root(data, name)
    try:
        return parse(root)
    except (ValueError, TypeError, KeyError, OverflowError, IndexError) as error:
        if isinstance(error, FrazilError):
            raise
        reason = " ".join(str(error).split())
        raise ProductError(f"{name} is not a {kind} as specified: {reason}. Download the product again.") from error


def _root(data: bytes, name: str) -> ET.Element:
    if len(data) > MAX_BYTES or data.count(b"<") > _MAX_TAGS or data.count(b"=") > _MAX_ATTRIBUTES:
        raise ProductError(
            f"{name} is larger than the metadata of any product ({len(data)} bytes, {data.count(b'<')} tags); "
            "it is not read. Get the product anew from a source you trust."
        )
    # Without a DTD there are no entities, and the C parser, four times as fast as defusedxml, is as safe. A DTD cannot
    # hide: in encodings that extend ASCII it must spell <!DOCTYPE, and any other encoding goes to defusedxml.
    encoding = re.match(rb"<\?xml[^>]*encoding=[\"']([\w.-]+)", data)
    plain = (
        data[:1] == b"<" and data[1:2] != b"\x00" and (encoding is None or encoding.group(1).lower() in _ASCII_BASED)
    )
    try:
        if plain and b"<!DOCTYPE" not in data:
            return ET.fromstring(data)
        return fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise ProductError(
            f"{name} holds a document type definition or entities, which no product does; "
            "it is not read. Get the product anew from a source you trust."
        ) from error
    except (ET.ParseError, ValueError, LookupError) as error:
        raise ProductError(
            f"{name} is not well-formed XML ({error}). The file is damaged: download the product again."
        ) from error


def without_namespaces(root: ET.Element) -> ET.Element:
    """The same tree with tags by their local names: products differ in the namespaces that they write, not in words."""
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    return root


def text(element: ET.Element, path: str) -> str:
    """The text of an element below another, stripped."""
    found = element.text if path == "." else element.findtext(path)
    if found is None or not found.strip():
        raise ValueError(f"element <{path}> of <{element.tag}> is missing or empty")
    return found.strip()


def whole_number(element: ET.Element, path: str) -> int:
    """A whole number, of at most 18 digits."""
    found = text(element, path)
    if len(found) > 19:
        raise ValueError(f"element <{path}> is {found[:30]!r}…")
    try:
        return int(found)
    except ValueError:
        raise ValueError(f"element <{path}> is {found!r}, not a whole number") from None


def number(element: ET.Element, path: str, least: float = -np.inf, most: float = np.inf) -> float:
    """A finite number within bounds."""
    found = text(element, path)
    try:
        value = float(found)
    except ValueError:
        raise ValueError(f"element <{path}> is {found[:30]!r}, not a number") from None
    if not (np.isfinite(value) and least <= value <= most):
        raise ValueError(f"element <{path}> is {value}, which is impossible")
    return value


def time(element: ET.Element, path: str) -> np.datetime64:
    """A time, UTC, µs. A leap second, which datetime64 does not know, is the first second of the next minute."""
    found = text(element, path).removesuffix("Z")
    leap = re.fullmatch(r"(.*:\d\d):60(\.\d+)?", found)
    value = np.datetime64(f"{leap.group(1)}:59{leap.group(2) or ''}" if leap else found, "us")
    if np.isnat(value):
        raise ValueError(f"element <{path}> is not a time")
    return value + np.timedelta64(int(leap is not None), "s")


def numbers(element: ET.Element, path: str, *, rising: bool = False, finite: bool = True) -> np.ndarray:
    """A table of numbers, float64.

    Args:
        element: above it.
        path: to it.
        rising: whether each number must exceed the one before.
        finite: whether all must be finite.
    """
    found = text(element, path)
    if len(found) > _MAX_TABLE:
        raise ValueError(f"element <{path}> has {len(found)} characters")
    try:
        values = np.array(found.split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"element <{path}> holds something else than numbers ({str(error)[:80]})") from None
    if finite and not np.isfinite(values).all():
        raise ValueError(f"element <{path}> holds values that are not finite")
    if rising and (values[1:] <= values[:-1]).any():  # not by differences: those of large numbers are infinite
        raise ValueError(f"element <{path}> does not rise")
    return values
