"""Outputs that appear whole or not at all.

Every writer of frazil works under a temporary name beside the target and renames at the end; a run that is interrupted,
fails, or fills the disk leaves nothing behind, and nothing is overwritten unasked.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frazil.errors import FrazilError, OutputError, OutputExistsError


def refuse_existing(target: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """The target as a path; raise if it exists and ``overwrite`` is not set.

    Verbs call this before the work starts, so that nobody waits for a result that cannot be saved.

    Raises:
        OutputExistsError: the target exists (an empty folder does not count).
    """
    path = Path(target)
    if overwrite or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return path
    raise OutputExistsError(f"Output {path} exists already. Choose another name or pass --overwrite (overwrite=True).")


@contextmanager
def whole_output(target: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path beside ``target`` that becomes ``target`` when the block ends without an error.

    Write a file at the yielded path, or make a folder there. The temporary name keeps the suffix, by which GDAL and
    xarray choose the format.

    Raises:
        OutputExistsError: the target exists and ``overwrite`` is False.
        OutputError: the disk is full, the folder cannot be written, or its parent cannot be made.
    """
    path = refuse_existing(target, overwrite=overwrite)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            _replace(part, path)
        finally:
            _remove(part)
    except OSError as error:
        if isinstance(error, FrazilError) or not _is_about(error, path.parent, part):
            raise
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Free the space or choose another folder."
        ) from error


def _is_about(error: OSError, parent: Path, part: Path) -> bool:
    """Whether an OSError concerns the output (and not some input read inside the block)."""
    if error.filename is None:
        return True
    name = str(error.filename)
    return name.startswith((str(part), str(parent)))


def _replace(part: Path, path: Path) -> None:
    if path.is_dir() and not part.is_dir():
        raise OutputExistsError(f"Output {path} is a folder; a file was to be written there. Choose another name.")
    if part.is_dir() and path.exists():  # a folder cannot be renamed over a folder that is not empty
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        path.rename(old)
        part.rename(path)
        _remove(old)
    else:
        part.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        for _ in range(20):  # writers with threads of their own may add files while the folder is being removed
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                return
            time.sleep(0.1)
    else:
        path.unlink(missing_ok=True)
