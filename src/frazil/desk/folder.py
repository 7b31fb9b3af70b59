"""The folder of a desk: whose it is, and when it is made."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from frazil.errors import MissingDependencyError, OutputError, OutputExistsError
from frazil.extras import installed
from frazil.files import refuse_unwritable
from frazil.marks import WRITTEN_BY

DESK = "pip install 'frazil[desk,learn]'"
_MARK_FILE = "desk.json"


def check_desk(folder: Path, sources: Sequence[str | os.PathLike[str]]) -> None:
    """Find that a desk can be opened in a folder, before anything is computed; nothing is made.

    Raises:
        MissingDependencyError: the packages that serve a page are not there.
        OutputExistsError: the folder is another's, or holds what is to be opened.
        OutputError: it cannot be written.
    """
    lacking = [name for name in ("starlette", "uvicorn", "torch") if not installed(name)]
    if lacking:
        are = "is" if len(lacking) == 1 else "are"
        raise MissingDependencyError(f"The desk needs {', '.join(lacking)}, which {are} not installed: {DESK}.")
    for source in sources:
        if folder.exists() and folder.resolve() == Path(source).resolve():
            raise OutputExistsError(f"{folder} is what is to be opened; the desk needs a folder of its own (-o).")
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK_FILE).is_file():
        raise OutputExistsError(f"{folder} is there and no desk. Name another folder with -o.")
    refuse_unwritable(folder, inside=True)


def make_desk(folder: Path) -> None:
    """Make the folder of a desk, marked as one; a folder that is one stays as it is.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _MARK_FILE).is_file():
            (folder / _MARK_FILE).write_text(json.dumps({"written_by": WRITTEN_BY, "frazil": "desk"}) + "\n")
    except OSError as error:
        raise OutputError(f"Cannot make the desk {folder}: {error.strerror}. Choose another folder (-o).") from error
