"""Files of strangers: opened one way, by every reader.

A product, a chart, a reference map, a patch set, a model and a shared exchange folder may come from anybody. What holds
for all of them is said here once:

- only regular files are read: no device, no pipe (which would wait for ever), no socket;
- of a folder that came from outside, no link is followed to a place outside it;
- no more bytes are read than the thing can need, and the caller says how many that is.

References:
    POSIX.1-2017, open(): O_NOFOLLOW, O_NONBLOCK. CWE-59 (link following), CWE-400 (resource consumption).
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO


def open_regular(
    path: str | os.PathLike[str], *, limit: int | None = None, follow: bool = True, folder: int | None = None
) -> BinaryIO:
    """A regular file, opened to read its bytes.

    Args:
        path: of the file.
        limit: bytes that it may have; None: any number.
        follow: whether its last part may be a link.
        folder: descriptor of the folder that a relative path starts from.

    Raises:
        OSError: not there; not a regular file; a link that is not to be followed (ELOOP); too large (EFBIG).
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | (0 if follow else getattr(os, "O_NOFOLLOW", 0)), dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        if limit is not None and found.st_size > limit:
            raise OSError(errno.EFBIG, f"{found.st_size} bytes, expected at most {limit}", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: str | os.PathLike[str], limit: int, *, follow: bool = True, folder: int | None = None) -> bytes:
    """The bytes of a regular file of at most `limit` bytes, see `open_regular`.

    Raises:
        OSError: as `open_regular`; or the file grew beyond the limit while it was read (EFBIG).
    """
    with open_regular(path, limit=limit, follow=follow, folder=folder) as file:
        data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
        if len(data) > limit or file.read(1):
            raise OSError(errno.EFBIG, f"more than {limit} bytes, or it grew", os.fspath(path))
    return data


def is_inside(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> bool:
    """Whether a path, all links followed, lies in a folder or is it."""
    return Path(path).resolve().is_relative_to(Path(root).resolve())


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none, not of UTF-8, nested too deeply, or holds a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str | os.PathLike[str], limit: int = 2**28, *, follow: bool = True) -> Any:
    """What a JSON file of at most `limit` bytes says, see `open_regular`.

    Raises:
        OSError: as `read_bytes`.
        ValueError: as `parse_json`.
    """
    return parse_json(read_bytes(path, limit, follow=follow))
