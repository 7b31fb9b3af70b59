"""How frazil knows its own outputs again: only what bears its mark, and holds nothing else, may be replaced.

A folder holds ``.frazil.json`` with the names of all its files; a Zarr store says so in the attributes of its root; a
file holds the words `MARK`, where its format has room for them: a tag of a GeoTIFF, an attribute of a NetCDF file, a
text chunk of a PNG, a member of JSON and GeoJSON, a comment of Markdown and of an ``.npz`` archive. What somebody put
beside frazil's files, or wrote in their place, is not in the list, and the folder is then left alone.

References:
    W3C (2003), Portable Network Graphics, 11.3.4.3 tEXt. RFC 7946, section 6.1 (foreign members).
"""

from __future__ import annotations

import json
import mmap
import os
import re
import zipfile
import zlib
from pathlib import Path

from frazil import __version__

MARK = "Written by frazil"
"""What marked files hold."""
WRITTEN_BY = f"{MARK} {__version__}"
"""`MARK` with the version, as writers put it."""
LIST = ".frazil.json"
"""The list of files of a folder that frazil wrote."""

_STRAY = re.compile(r".*(\.aux\.xml|\.ovr|-wal|-shm|-journal)|\.DS_Store|Thumbs\.db|\.frazil-[0-9a-f]{16}\.part")
"""What GIS programs and desktops leave beside files that they show."""
_CHUNK = re.compile(r"(.*/)?(zarr\.json|c(/\d+)*)")
_LIST_BYTES = 64 * 2**20
#: Tables have no room for words; how those of `frazil propagate` and `frazil series` begin.
_CSV_HEADS = (b"label,weight,reached", b"date,region,maps,region_km2,observed_percent,")


def mark(path: Path) -> None:
    """Put the mark on a new output; one that bears it already is left as it is.

    Files of other formats are left as they are: their writers put the mark, or they are not known again.
    """
    if path.is_dir():
        if (path / "zarr.json").is_file():
            _mark_zarr(path / "zarr.json")
        else:
            files = sorted(_files(path) - {LIST})
            text = json.dumps({"written_by": WRITTEN_BY, "files": files}, ensure_ascii=False)
            (path / LIST).write_text(text + "\n", encoding="utf-8", errors="surrogateescape")
    elif path.suffix == ".png":
        _mark_png(path)
    elif path.suffix in (".json", ".geojson"):
        text = path.read_text(encoding="utf-8")
        if text.startswith("{") and MARK not in text[:200]:
            rest = text[1:].lstrip(" ")
            gap = "\n  " if rest.startswith("\n") else ""
            path.write_text(f'{{{gap}"written_by": "{WRITTEN_BY}",{rest}', encoding="utf-8")
    elif path.suffix == ".md":
        text = without_mark(path.read_text(encoding="utf-8"))
        path.write_text(f"{text.rstrip()}\n\n<!-- {WRITTEN_BY} -->\n", encoding="utf-8")
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = WRITTEN_BY.encode()


def without_mark(page: str) -> str:
    """A Markdown page without the comment that marks it."""
    return re.sub(rf"\n*<!-- {MARK} [^>]*-->\n*", "\n", page)


def why_not_output(path: Path) -> str | None:
    """Why a file or folder may not be replaced; None where frazil wrote it and all that it holds."""
    if path.is_symlink() or not (path.is_dir() or path.is_file()):
        return "it is neither a file nor a folder"
    if path.is_file():
        return None if _bears_mark(path) else "frazil did not write it"
    foreign: list[str]
    if (path / "zarr.json").is_file():
        if not _bears_mark(path / "zarr.json"):
            return "frazil did not write it"
        foreign = [name for name in _files(path) if not _CHUNK.fullmatch(name)]
    else:
        listed = _listed(path / LIST)
        if listed is None:
            return "frazil did not write it"
        foreign = list(_files(path) - listed - {LIST})
    foreign = sorted(name for name in foreign if not _STRAY.fullmatch(name.rsplit("/", 1)[-1]))
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        return f"it holds {', '.join(foreign[:3])}{more}, which frazil did not write"
    return None


def _files(folder: Path) -> set[str]:
    """Every file and link below a folder, links not followed; names relative to it."""
    found: set[str] = set()
    for place, folders, files in os.walk(folder):
        inside = os.path.relpath(place, folder)
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]  # noqa: PTH114, PTH118 - fast
        found.update(name if inside == "." else f"{inside}/{name}".replace(os.sep, "/") for name in [*files, *links])
    return found


def _listed(path: Path) -> set[str] | None:
    from frazil.untrusted import read_json

    try:
        values = read_json(path, _LIST_BYTES, follow=False)
        names = values["files"] if str(values["written_by"]).startswith(MARK) else None
        return None if names is None else {str(name) for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _bears_mark(path: Path) -> bool:
    """Whether the words are anywhere in a file."""
    if path.suffix == ".csv":
        with path.open("rb") as file:
            return file.readline(1000).startswith(_CSV_HEADS)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(MARK.encode()) >= 0


def _mark_zarr(path: Path) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    values.setdefault("attributes", {}).setdefault("written_by", WRITTEN_BY)
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")


def _mark_png(path: Path) -> None:
    data = path.read_bytes()
    end_of_header = 8 + 25  # signature; length, type, thirteen bytes and sum of IHDR
    if data[:8] != b"\x89PNG\r\n\x1a\n" or MARK.encode() in data[:1000]:
        return
    body = b"tEXt" + b"Software\0" + WRITTEN_BY.encode("latin-1")
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    path.write_bytes(data[:end_of_header] + chunk + data[end_of_header:])
