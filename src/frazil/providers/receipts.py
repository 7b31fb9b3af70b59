"""What was fetched, byte for byte: ``.frazil-get.jsonl`` in the folder of an archive.

A line for each piece of a file: when, which, from which byte to which, and the file's ETag at the server, by which the
next run knows whether it may go on. Lines are added whole, by any number of runs at once, and brought down to the disk
where a file is whole; a line that a power failure cut is passed over. No address, no token and no name of a
user stands in it.

References:
    POSIX.1-2017, write() with O_APPEND. JSON Lines.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frazil.errors import OutputError
from frazil.untrusted import open_regular, parse_json

NAME = ".frazil-get.jsonl"
_MOST_BYTES = 2**30
_MOST_LINE = 2**16


class Receipts:
    """The receipts of a folder.

    Args:
        folder: which is there.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._lock = folder / NAME, threading.Lock()

    def add(self, *, flush: bool = True, **what: Any) -> None:
        """Add a line.

        Args:
            flush: bring it down to the disk at once.
            what: it says; the time is added.

        Raises:
            OutputError: it cannot be written.
        """
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **what}) + "\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with self._lock:
                descriptor = os.open(self.path, flags, 0o644)
                try:
                    if os.fstat(descriptor).st_size and not _ends_whole(self.path):
                        line = "\n" + line
                    os.write(descriptor, line.encode())
                    if flush:
                        os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {error.strerror or error}. Free the space.") from error

    def lines(self, product: str | None = None) -> Iterator[dict[str, Any]]:
        """All that can be read, oldest first; of one product, if that is named."""
        try:
            with open_regular(self.path, limit=_MOST_BYTES, follow=False) as file:
                for line in iter(lambda: file.readline(_MOST_LINE), b""):
                    try:
                        found = parse_json(line)
                    except ValueError:
                        continue
                    if isinstance(found, dict) and product in (None, found.get("product")):
                        yield found
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read: {error.strerror or error}. Move it away.") from error

    def etags(self, product: str) -> dict[str, str]:
        """The last ETag of each file of a product."""
        return {str(one["file"]): str(one["etag"]) for one in self.lines(product) if one.get("etag") and "file" in one}

    def fetched(self, product: str) -> int:
        """Bytes of a product that came over the network, in all runs."""
        return sum(one["bytes"] for one in self.lines(product) if isinstance(one.get("bytes"), int))


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
