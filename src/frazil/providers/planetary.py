"""The STAC catalogue of the Planetary Computer, whose products are files of their own and need no account.

What lies there are Cloud-Optimised copies under short names, so that the checksums of the manifest say nothing of them.

References:
    STAC API 1.0.0, Item Search. Planetary Computer, data access (signatures of an hour for each container).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from frazil.errors import ArchiveError, MissingDependencyError, printable
from frazil.net.addresses import shown
from frazil.net.credentials import service
from frazil.net.http import Client
from frazil.providers.found import NAME, Found, checked
from frazil.providers.query import Query

_COLLECTION = "sentinel-1-grd"
_INSIDE = re.compile(
    r"(manifest\.safe|measurement/[\w.-]+\.tiff?|annotation/[\w.-]+\.xml|annotation/calibration/[\w.-]+\.xml)"
)


def find(query: Query, client: Client) -> Iterator[Found]:
    """Products as the catalogue gives them; those of two parts of the area twice.

    Raises:
        ArchiveError: it does not answer, or something else than products.
        MissingDependencyError: pystac-client is not installed.
    """
    order = "-datetime" if query.newest_first else "+datetime"
    for part in query.parts:
        yield from _items(
            client,
            collections=[_COLLECTION],
            datetime=f"{query.span.start:%Y-%m-%dT%H:%M:%SZ}/{query.span.stop:%Y-%m-%dT%H:%M:%SZ}",
            intersects=None if part is None else part.__geo_interface__,
            query={"sar:instrument_mode": {"eq": query.mode}},
            sortby=order,
        )


def _items(client: Client, **asked: Any) -> Iterator[Found]:
    try:
        import pystac_client
        import requests
        from pystac_client.exceptions import APIError
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "The Planetary Computer is searched by pystac-client, which is not installed. Install frazil with its "
            "extra: pip install 'frazil[archive]'."
        ) from None
    address = service("planetary", "stac")
    try:
        opened = pystac_client.Client.open(address, timeout=client.timeout_s)
        for item in opened.search(limit=250, **asked).items_as_dicts():
            one = _product(item)
            if one is not None:
                yield one
    except (APIError, requests.RequestException, KeyError, TypeError, ValueError, NotImplementedError) as error:
        if isinstance(error, ArchiveError):
            raise
        if isinstance(error, requests.ConnectionError) or "Max retries exceeded" in str(error):  # the client wraps it
            raise ArchiveError(f"{shown(address)} cannot be reached. Is this machine online?") from error
        reason = printable(" ".join(str(error).split()))[:200]
        raise ArchiveError(f"{shown(address)} cannot be searched ({reason}). Is it a STAC API?") from error


def _product(item: Any) -> Found | None:
    if not isinstance(item, dict) or not isinstance(item.get("properties"), dict):
        raise ArchiveError("The catalogue lists something else than products.")
    told, name = item["properties"], str(item.get("id", ""))
    if NAME.fullmatch(name) is None:
        return None
    files: dict[str, str] = {}
    assets = item.get("assets")
    for asset in (assets if isinstance(assets, dict) else {}).values():
        address = str(asset.get("href", "")) if isinstance(asset, dict) else ""
        inside = re.search(rf"/{re.escape(name)}[^/]*/(.+)$", urlsplit(address).path)
        if inside and _INSIDE.fullmatch(inside[1]):
            files[inside[1]] = address.partition("?")[0]
    return checked(
        {
            "source": "planetary",
            "id": name,
            "name": name,
            "start": told.get("start_datetime") or told.get("datetime"),
            "stop": told.get("end_datetime") or told.get("datetime"),
            "footprint": item.get("geometry"),
            "relative_orbit": told.get("sat:relative_orbit"),
            "direction": told.get("sat:orbit_state"),
            "files": files,
        }
    )


def look_up(word: str, client: Client) -> Found:
    """The product of a name.

    Raises:
        ArchiveError: the catalogue has none.
    """
    for one in _items(client, collections=[_COLLECTION], ids=[word]):
        if one.name == word:
            return one
    raise ArchiveError(
        f"The Planetary Computer has no product {printable(word)[:120]}; its names lack the last four digits of ESA's. "
        "Look for it with frazil find --source planetary."
    )
