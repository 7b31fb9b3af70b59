"""Tokens of archives: got once, shared by all threads, renewed before they end.

Each login opens a session at the identity service, which allows a user 100 of them; so a token is refreshed, not asked
for anew, and one run of frazil is one session. A token's age is measured by a clock that nobody sets, from what the
service says it lasts: a wrong clock here does no harm. Tokens are kept in memory alone.

References:
    RFC 6749 (OAuth 2.0), sections 4.3 and 6. Copernicus Data Space documentation, APIs/Token. NASA Earthdata Login,
    user tokens.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from frazil.errors import ArchiveError, CredentialsError
from frazil.net.credentials import Login, login, service, setting
from frazil.net.http import Client, StatusError, Token, form

_EARLY = 0.8  # of a token's life, after which it is renewed: of ten minutes, two before the end
_USUAL_S, _LONGEST_S = 600.0, 86_400.0
_REFUSED = (400, 401)  # of a login that is wrong, or a refresh token that has ended


class CdseToken(Token):
    """A token of the Copernicus Data Space.

    Args:
        client: asks.
        who: name and password; None to look them up when they are needed.
        clock: seconds that rise.
    """

    def __init__(self, client: Client, who: Login | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._who, self._clock = client, who, clock
        self._lock = threading.Lock()
        self._access, self._refresh = "", ""
        self._until = self._refresh_until = -1.0

    def current(self) -> str:
        """The token, valid for two minutes at least.

        Raises:
            CredentialsError: no name and password, or they are not taken.
            ArchiveError: the identity service does not answer, or has too many sessions of the account.
        """
        with self._lock:
            if self._clock() >= self._until:
                self._renew()
            return self._access

    def renewed(self, refused: str) -> str:
        """Another token than the one that was refused; if another thread got one meanwhile, that one."""
        with self._lock:
            if self._access == refused:
                self._renew()
            return self._access

    def _renew(self) -> None:
        if self._refresh and self._clock() < self._refresh_until:
            try:
                self._take(self._post({"grant_type": "refresh_token", "refresh_token": self._refresh}))
            except (StatusError, CredentialsError):
                self._refresh = ""  # ended at the service: log in again
            else:
                return
        who = self._who or login("cdse", host_of="identity", how="An account is free: https://dataspace.copernicus.eu")
        fields = {"grant_type": "password", "username": who.user, "password": who.password.reveal()}
        if who.once is not None:
            fields["totp"] = who.once.reveal()
        try:
            self._take(self._post(fields))
        except StatusError as error:
            if error.status in _REFUSED:
                raise _wrong(service("cdse", "identity"), str(error)) from None
            raise
        except CredentialsError as error:
            raise _wrong(service("cdse", "identity"), str(error)) from None

    def _post(self, fields: dict[str, str]) -> Any:
        return form(service("cdse", "identity"), self._client, {"client_id": "cdse-public", **fields})

    def _take(self, told: Any) -> None:
        access = told.get("access_token") if isinstance(told, dict) else None
        if not isinstance(access, str) or not _plain(access):
            raise ArchiveError(f"{urlsplit(service('cdse', 'identity')).hostname} answers without a token.")
        now, refresh = self._clock(), told.get("refresh_token")
        self._access, self._until = access, now + _EARLY * _seconds(told.get("expires_in"))
        self._refresh = refresh if isinstance(refresh, str) else ""
        self._refresh_until = now + _EARLY * _seconds(told.get("refresh_expires_in"))


class EarthdataToken(Token):
    """A token of NASA's Earthdata, which lasts 60 days and is kept at the service: asked for once a run.

    Args:
        client: asks.
    """

    def __init__(self, client: Client) -> None:
        self._client, self._lock, self._access = client, threading.Lock(), ""

    def current(self) -> str:
        """The token.

        Raises:
            CredentialsError: no name and password, or they are not taken.
            ArchiveError: the login does not answer.
        """
        with self._lock:
            if not self._access:
                self._access = setting("asf", "token") or self._asked()
            return self._access

    def renewed(self, refused: str) -> str:
        """Another token; the one that the user set cannot be renewed here."""
        with self._lock:
            if self._access == refused and setting("asf", "token") is None:
                self._access = self._asked()
            return self._access

    def _asked(self) -> str:
        who = login("asf", host_of="login", how="An account is free: https://urs.earthdata.nasa.gov")
        words = base64.b64encode(f"{who.user}:{who.password.reveal()}".encode()).decode("ascii")
        address = service("asf", "login")
        try:
            told = form(address, self._client, {}, {"Authorization": f"Basic {words}"})
        except CredentialsError as error:
            raise _wrong(address, str(error)) from None
        access = told.get("access_token") if isinstance(told, dict) else None
        if not isinstance(access, str) or not _plain(access):
            raise ArchiveError(f"{urlsplit(address).hostname} answers without a token.")
        return access


def _wrong(address: str, said: str) -> CredentialsError:
    return CredentialsError(
        f"{urlsplit(address).hostname} does not take the name and password ({said}) Check them, and the number of the "
        "authenticator (FRAZIL_CDSE_TOTP) where the account wants one."
    )


def _plain(token: str) -> bool:
    """Whether a token can stand in a header: anything else would let a server write headers of ours."""
    return token.isascii() and token.isprintable() and " " not in token and 0 < len(token) < 16_384


def _seconds(told: Any) -> float:
    try:
        seconds = float(told)
    except (TypeError, ValueError):
        return _USUAL_S
    return seconds if 1 <= seconds <= _LONGEST_S else _USUAL_S
