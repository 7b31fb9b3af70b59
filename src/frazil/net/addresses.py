"""Addresses: which are asked at all, and which are of one house, so that one may see what was meant for the other.

References:
    RFC 3986 (URI). RFC 9110, section 15.4 (redirects), 11.6.2 (Authorization).
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit, urlunsplit

from frazil.errors import OptionError, printable

#: Ends of host names whose servers hand a user's token to each other.
_HOUSES = (
    "dataspace.copernicus.eu",
    "creodias.eu",
    "earthdata.nasa.gov",
    "earthdatacloud.nasa.gov",
    "asf.alaska.edu",
)
_MOST = 8192  # letters of an address


def is_address(path: object) -> bool:
    """Whether a path is one of the network that products are read from: ``https://``, ``http://``, ``s3://``."""
    return isinstance(path, (str, os.PathLike)) and re.match(r"(?i)(https?|s3)://", os.fspath(path)) is not None


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine by its own name."""
    if host is None:
        return False
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(address: str) -> str:
    """The address, if it is one to ask: https, or http on this machine.

    Raises:
        OptionError: another scheme, a name and password inside, or no host.
    """
    what = shown(address)
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise OptionError(f"{what} is no address.") from None
    if not host or len(address) > _MOST or re.search(r"[\x00-\x20\x7f]", address):
        raise OptionError(f"{what} is no address.")
    if parts.username is not None or parts.password is not None:
        raise OptionError(
            f"The address of {host} holds a name or password, which would end in logs. Put them into ~/.netrc."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise OptionError(f"{what} is not asked: only https:// is, and http:// on this machine.")
    return address


def shown(address: str) -> str:
    """An address for messages: without the query, which may be a signature, and without name and password."""
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        return printable(urlunsplit((parts.scheme, host, parts.path, "", "")))[:300]
    except ValueError:
        return "the address"


def same_house(one: str, other: str) -> bool:
    """Whether what was meant for the server of one address may be told to that of the other.

    The same host and port, or https hosts of one house.
    """
    a, b = urlsplit(one), urlsplit(other)
    if (a.scheme, a.hostname, a.port) == (b.scheme, b.hostname, b.port):
        return True
    if (a.scheme, b.scheme) != ("https", "https"):
        return False
    return any(_ends(a.hostname, house) and _ends(b.hostname, house) for house in _HOUSES)


def _ends(host: str | None, house: str) -> bool:
    return host is not None and (host == house or host.endswith("." + house))
