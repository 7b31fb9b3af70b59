"""What a catalogue tells of a product, whichever catalogue it is.

References:
    Sentinel-1 Product Definition, S1-RS-MDA-52-7440, section 4.2, and S1-RS-MDA-52-7441, section 3.1: names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from frazil.errors import ArchiveError, printable
from frazil.providers.times import moment

NAME = re.compile(
    r"(?P<platform>S1[A-Z])_(?P<mode>EW|IW|WV|S[1-6])_(?P<kind>GRD|SLC)(?P<resolution>[FHM_])_\d[SA]"
    r"(?P<polarization>[SD][HV]|HH|HV|VV|VH)_(?P<start>\d{8}T\d{6})_(?P<stop>\d{8}T\d{6})_(?P<orbit>\d{6})_"
    r"(?P<take>[0-9A-F]{6})(_(?P<crc>[0-9A-F]{4}))?(?P<cog>_COG)?"
)
_POLARIZATIONS = {"SH": ("HH",), "SV": ("VV",), "DH": ("HH", "HV"), "DV": ("VV", "VH")}
#: Letters of names by what was asked for; a single polarisation is also in products of two.
LETTERS = {
    "HH": ("SH", "DH", "HH"),
    "VV": ("SV", "DV", "VV"),
    "HV": ("DH", "HV"),
    "VH": ("DV", "VH"),
    "HH+HV": ("DH",),
    "VV+VH": ("DV",),
}
_MOST_FILES = 200


@dataclass(frozen=True, kw_only=True)
class Found:
    """A product in an archive.

    Attributes:
        source: the archive: ``"cdse"``, ``"asf"``, ``"planetary"``.
        id: what the archive calls it.
        name: of the product, without ``.SAFE``.
        start, stop: of the acquisition, UTC.
        footprint: GeoJSON geometry, or None.
        size: bytes, or None where it is not told.
        online: whether it can be fetched now.
        relative_orbit: 1 to 175, or None.
        direction: ``"ASCENDING"``, ``"DESCENDING"`` or ``""``.
        slice_number, slices: which slice of how many of the data take, or None.
        href: address of the archive that holds it, of ASF and planetary.
        s3: ``/BUCKET/KEY``, or ``""``.
        md5: of a zip at `href`, or ``""``.
        files: path below the product folder -> address, of planetary.
        twin: name of the same product as Cloud-Optimised GeoTIFF, or of the original of one; ``""`` without.
    """

    source: str
    id: str
    name: str
    start: datetime
    stop: datetime
    footprint: dict[str, Any] | None = None
    size: int | None = None
    online: bool = True
    relative_orbit: int | None = None
    direction: str = ""
    slice_number: int | None = None
    slices: int | None = None
    href: str = ""
    s3: str = ""
    md5: str = ""
    files: tuple[tuple[str, str], ...] = ()
    twin: str = ""

    @cached_property
    def _words(self) -> Mapping[str, str]:
        match = NAME.fullmatch(self.name)
        assert match is not None, self.name
        return match.groupdict()

    @property
    def platform(self) -> str:
        """``"S1A"`` and so on."""
        return self._words["platform"]

    @property
    def mode(self) -> str:
        """``"EW"``, ``"IW"``, ``"WV"`` or a stripmap beam."""
        return self._words["mode"]

    @property
    def polarizations(self) -> tuple[str, ...]:
        """Co-polarised first."""
        word = self._words["polarization"]
        return _POLARIZATIONS.get(word, (word,))

    @property
    def letters(self) -> str:
        """Of the polarisations in the name: ``"DH"``."""
        return self._words["polarization"]

    @property
    def orbit(self) -> int:
        """Absolute orbit."""
        return int(self._words["orbit"])

    @property
    def data_take(self) -> str:
        """Six hexadecimal digits."""
        return self._words["take"]

    @property
    def cog(self) -> bool:
        """Whether its pixels are Cloud-Optimised GeoTIFFs of another product."""
        return self._words["cog"] is not None

    @property
    def scene(self) -> str:
        """What an original and its COG twin have in common: the name up to the checksum."""
        return self.name.removesuffix("_COG")[: -5 if self._words["crc"] else None]

    def to_json(self) -> dict[str, Any]:
        """As plain values; those that are not told are left out."""
        values = asdict(self) | {"start": _iso(self.start), "stop": _iso(self.stop), "files": dict(self.files)}
        return {k: v for k, v in values.items() if v not in (None, "", {}) or k == "footprint"}

    @classmethod
    def from_json(cls, values: Any) -> Found:
        """What `to_json` gave.

        Raises:
            ArchiveError: something else.
        """
        return checked(dict(values) if isinstance(values, dict) else {})

    def paired(self, twin: str) -> Found:
        """The same, with the name of its twin."""
        return replace(self, twin=twin)


def checked(values: dict[str, Any]) -> Found:
    """A product from values that came from outside.

    Raises:
        ArchiveError: a value that is missing or none of its kind, or a name that no Sentinel-1 Level-1 product has.
    """
    try:
        name = str(values["name"]).removesuffix(".SAFE")
        if NAME.fullmatch(name) is None:
            raise ValueError(f"name {name[:100]!r}")
        identity, source = str(values["id"]), str(values["source"])
        if not re.fullmatch(r"[\w.:-]{1,200}", identity) or source not in ("cdse", "asf", "planetary"):
            raise ValueError(f"id {identity[:100]!r} of {source[:20]!r}")
        files = values.get("files") or {}
        if len(files) > _MOST_FILES:
            raise ValueError(f"{len(files)} files")
        return Found(
            source=source,
            id=identity,
            name=name,
            start=moment(str(values["start"])),
            stop=moment(str(values["stop"])),
            footprint=values.get("footprint") if isinstance(values.get("footprint"), dict) else None,
            size=_number(values.get("size"), 10**13) or None,
            online=values.get("online") is not False,
            relative_orbit=_number(values.get("relative_orbit"), 1000),
            direction=_word(values.get("direction"), 20).upper(),
            slice_number=_number(values.get("slice_number"), 10**4),
            slices=_number(values.get("slices"), 10**4),
            href=_word(values.get("href"), 2000),
            s3=_word(values.get("s3"), 2000),
            md5=_word(values.get("md5"), 32).lower(),
            files=tuple((_word(k, 300), _word(v, 2000)) for k, v in dict(files).items()),
            twin=_word(values.get("twin"), 100),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = printable(" ".join(str(error).split()))[:200]
        raise ArchiveError(f"A record of a product is not as the archive documents it ({reason}).") from error


def _number(value: Any, most: int) -> int | None:
    if value is None or value == "":
        return None
    number = int(value)
    if not 0 <= number <= most:
        raise ValueError(f"number {number}")
    return number


def _word(value: Any, most: int) -> str:
    text = "" if value is None else str(value)
    if len(text) > most:
        raise ValueError(f"a text of {len(text)} letters")
    return text


def _iso(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")
