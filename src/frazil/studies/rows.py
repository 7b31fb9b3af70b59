"""Rows of studies: kept one by one, and used again only by the very study that made them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from frazil.errors import OptionError
from frazil.files import replaced_file
from frazil.untrusted import read_json

_ROW_BYTES = 256 * 2**20


def digest(**settings: Any) -> str:
    """A name for all that a row depends on: sixteen digits of the SHA-256 of the settings as sorted JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def data_stamp(path: str | os.PathLike[str]) -> str:
    """What tells one set of data from another, wherever it lies: names and sizes of its files; ``""`` without any."""
    place = Path(path)
    if place.is_file():
        found = [(place.name, place.stat().st_size)]
    else:
        found = sorted(
            (file.relative_to(place).as_posix(), file.stat().st_size) for file in place.rglob("*") if file.is_file()
        )
    return digest(files=found) if found else ""


def write_row(path: Path, row: Any, made_by: str) -> None:
    """Keep a row (or several) with the digest of the study that made it; whole or not at all."""
    with replaced_file(path) as part:
        part.write_text(json.dumps({"digest": made_by, "row": row}) + "\n", encoding="utf-8")


def read_row(path: Path, made_by: str) -> Any:
    """A row that was kept by this very study.

    Raises:
        OptionError: a row of other settings or other data, or something else; the message names the file.
    """
    try:
        kept = read_json(path, _ROW_BYTES)
        there = kept["digest"]
        row = kept["row"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"{path} is no row of this version of frazil. Name another folder, or remove it to run that part again."
        ) from error
    if there != made_by:
        raise OptionError(
            f"{path} was made with other settings or other data than are asked for now. Name another folder, or remove "
            "it to run that part again."
        )
    return row
