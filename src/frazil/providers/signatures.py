"""Signatures of the Planetary Computer: a query that opens a container of its storage for an hour.

They are asked for once a container, kept in memory, and put at the address when a file is asked for; they are written
nowhere.

References:
    Planetary Computer, data access: ``/sas/v1/token/ACCOUNT/CONTAINER``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from frazil.errors import ArchiveError
from frazil.net.addresses import is_loopback
from frazil.net.credentials import service
from frazil.net.http import Client

_LASTS_S = 1500.0  # of an hour; a file that takes longer is gone on with under a new one
_STORAGE = ".blob.core.windows.net"


class Signatures:
    """Signatures by container.

    Args:
        client: asks.
        clock: seconds that rise.
    """

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock, self._lock = client, clock, threading.Lock()
        self._known: dict[str, tuple[str, float]] = {}

    def signed(self, address: str) -> str:
        """An address with its signature; those of other storage as they are.

        Raises:
            ArchiveError, CredentialsError: the service gives none.
        """
        parts = urlsplit(address)
        host, container = str(parts.hostname), parts.path.strip("/").partition("/")[0]
        if not host.endswith(_STORAGE) and not (is_loopback(host) and is_loopback(urlsplit(self._service).hostname)):
            return address
        place = f"{host.removesuffix(_STORAGE)}/{container}"
        with self._lock:
            query, until = self._known.get(place, ("", -1.0))
            if self._clock() >= until:
                told = self._client.json(f"{self._service}/{place}")
                query = str(told.get("token", "")) if isinstance(told, dict) else ""
                if not query or not query.isascii() or not query.isprintable() or len(query) > 4000 or " " in query:
                    raise ArchiveError(f"{urlsplit(self._service).hostname} gives no signature for {place}.")
                self._known[place] = (query, self._clock() + _LASTS_S)
        return f"{address}?{query}"

    @property
    def _service(self) -> str:
        return service("planetary", "sas")
