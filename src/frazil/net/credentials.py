"""Names, passwords and keys of archives, and addresses of their services: where a user puts them, and who sees them.

Each is looked for in an environment variable ``FRAZIL_ARCHIVE_WORD`` and in ``~/.config/frazil/config.toml``, then,
of names and passwords, in ``~/.netrc``. No secret is written anywhere, and none appears when one of these is printed.

References:
    GNU inetutils manual, .netrc. XDG Base Directory Specification 0.8.
"""

from __future__ import annotations

import netrc
import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from frazil.errors import CredentialsError, OptionError
from frazil.net.addresses import check_address
from frazil.untrusted import read_bytes

_CONFIG_BYTES = 2**20
_SECRET = ("password", "secret", "token", "totp")
#: Addresses of services, by archive and word.
SERVICES = {
    ("cdse", "catalogue"): "https://catalogue.dataspace.copernicus.eu/odata/v1",
    ("cdse", "download"): "https://download.dataspace.copernicus.eu/odata/v1",
    (
        "cdse",
        "identity",
    ): "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token",
    ("cdse", "s3"): "https://eodata.dataspace.copernicus.eu",
    ("asf", "search"): "https://api.daac.asf.alaska.edu/services/search/param",
    ("asf", "login"): "https://urs.earthdata.nasa.gov/api/users/find_or_create_token",
    ("planetary", "stac"): "https://planetarycomputer.microsoft.com/api/stac/v1",
    ("planetary", "sas"): "https://planetarycomputer.microsoft.com/api/sas/v1/token",
}


@dataclass(frozen=True)
class Secret:
    """A word that is shown to nobody by accident: neither `repr` nor `str` tells it."""

    _word: str

    def __repr__(self) -> str:
        return "Secret(…)"

    def reveal(self) -> str:
        """The word itself."""
        return self._word


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who a user is at an archive.

    Attributes:
        user: name.
        password: secret.
        once: the number of an authenticator, where the account wants one.
    """

    user: str
    password: Secret
    once: Secret | None = None


def setting(archive: str, word: str) -> str | None:
    """What the user set: environment variable ``FRAZIL_ARCHIVE_WORD``, else the configuration file.

    Raises:
        OptionError: a configuration file that cannot be read.
        CredentialsError: one that holds secrets and may be read by others.
    """
    found = os.environ.get(f"FRAZIL_{archive}_{word}".upper())
    if found is None:
        value = _config().get(archive, {}).get(word)
        found = None if value is None else str(value)
    return found or None


def service(archive: str, word: str) -> str:
    """The address of a service, without a slash at its end.

    Raises:
        OptionError: what was set is no address to ask.
    """
    return check_address(setting(archive, word) or SERVICES[archive, word]).rstrip("/")


def login(archive: str, *, host_of: str, how: str) -> Login:
    """Name and password at an archive.

    Args:
        archive: ``"cdse"``, ``"asf"``.
        host_of: the service whose host ``.netrc`` knows them by.
        how: to get an account, for the message.

    Raises:
        CredentialsError: there are none.
    """
    user, password = setting(archive, "user"), setting(archive, "password")
    host = str(urlsplit(service(archive, host_of)).hostname)
    if user is None or password is None:
        found = _from_netrc(host)
        if found is None:
            raise CredentialsError(
                f"Downloads from {host} need an account, and none is set. Set FRAZIL_{archive.upper()}_USER and "
                f"FRAZIL_{archive.upper()}_PASSWORD, or write 'machine {host} login NAME password WORD' into ~/.netrc. "
                f"{how}"
            )
        user, password = found
    once = setting(archive, "totp")
    return Login(user=user, password=Secret(password), once=None if once is None else Secret(once))


def keys(archive: str, *, host: str) -> Login | None:
    """Access key and secret key of the buckets of an archive, or None where none are set."""
    key, secret = setting(archive, "s3_key"), setting(archive, "s3_secret")
    if key is None or secret is None:
        found = _from_netrc(host)
        if found is None:
            return None
        key, secret = found
    return Login(user=key, password=Secret(secret))


def _from_netrc(host: str) -> tuple[str, str] | None:
    named = os.environ.get("NETRC")
    try:
        found = netrc.netrc(named).hosts.get(host)  # not by `default`: that is for servers of other kinds
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError as error:  # its words may hold a password
        where = f"line {error.lineno} of {error.filename}" if error.lineno else str(error.filename or "~/.netrc")
        raise CredentialsError(
            f"{where} cannot be read: it is no .netrc, or others may read it (chmod 600 mends that)."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{named or '~/.netrc'} cannot be read ({type(error).__name__}).") from None
    return None if found is None or not found[0] or not found[2] else (str(found[0]), str(found[2]))


def config_path() -> Path:
    """Where the configuration file is looked for."""
    named = os.environ.get("FRAZIL_CONFIG")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")  # noqa: PTH111, PTH118 - without a home no error
    return Path(base) / "frazil" / "config.toml"


def _config() -> dict[str, dict[str, Any]]:
    path = config_path()
    try:
        data = read_bytes(path, _CONFIG_BYTES)
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:  # the words of the error may quote a password
        raise OptionError(
            f"{path} is no TOML ({type(error).__name__}). Write [cdse] and lines such as user = 'me'."
        ) from None
    tables = {name: table for name, table in values.items() if isinstance(table, dict)}
    if stat.S_IMODE(mode) & 0o077 and any(s in word for t in tables.values() for word in t for s in _SECRET):
        raise CredentialsError(f"{path} holds secrets and may be read by others. Run: chmod 600 {path}")
    return tables
