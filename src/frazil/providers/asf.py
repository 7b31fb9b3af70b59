"""The search of the Alaska Satellite Facility. It needs no account; what it finds are zips.

References:
    ASF Data Search manual, API keywords; ``output=geojson``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from frazil.errors import ArchiveError, printable
from frazil.net.addresses import shown
from frazil.net.credentials import service
from frazil.net.http import Client
from frazil.providers.cdse import wkt
from frazil.providers.found import NAME, Found, checked
from frazil.providers.query import Query
from frazil.providers.times import Span

_MOST = 2000  # of an answer, which knows no pages: longer lists are asked for in halves of their time
_LEAST_SPAN = timedelta(minutes=1)
_LEVELS = {"EW": "GRD_MD,GRD_MS", "IW": "GRD_HD,GRD_HS", "SM": "GRD_HD,GRD_HS,GRD_FD,GRD_FS", "WV": "SLC"}


def find(query: Query, client: Client) -> Iterator[Found]:
    """Products as the archive gives them; those of two parts of the area twice.

    Raises:
        ArchiveError, CredentialsError: as `Client.json`; or an answer that is no list of products.
    """
    for part in query.parts:
        yield from _within(query, part, query.span, client)


def _within(query: Query, part: Any, span: Span, client: Client) -> Iterator[Found]:
    words = {
        "platform": "SENTINEL-1",
        "processingLevel": _LEVELS[query.mode],
        "start": f"{span.start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{span.stop:%Y-%m-%dT%H:%M:%SZ}",
        "maxResults": str(_MOST),
        "output": "geojson",
    }
    if query.mode != "SM":
        words["beamMode"] = query.mode
    if part is not None:
        words["intersectsWith"] = wkt(part)
    found = _features(client, words)
    if len(found) >= _MOST and span.stop - span.start >= _LEAST_SPAN:
        earlier, later = span.halves()
        for half in (later, earlier) if query.newest_first else (earlier, later):
            yield from _within(query, part, half, client)
        return
    products = [one for feature in found if (one := _product(feature)) is not None]
    yield from sorted(products, key=lambda p: (p.start, p.name), reverse=query.newest_first)


def _features(client: Client, words: dict[str, str]) -> list[Any]:
    address = service("asf", "search")
    answer = client.json(f"{address}?{urlencode(words)}")
    found = answer.get("features") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise ArchiveError(f"{shown(address)} answers something else than a list of products. Is it the search of ASF?")
    return found


def _product(feature: Any) -> Found | None:
    if not isinstance(feature, dict) or not isinstance(feature.get("properties"), dict):
        raise ArchiveError("The archive lists something else than products.")
    told = feature["properties"]
    name = str(told.get("sceneName", ""))
    address = str(told.get("url", ""))
    if NAME.fullmatch(name) is None or not urlsplit(address).path.endswith(f"{name}.zip"):
        return None  # metadata and browse pictures are listed as products of their own
    return checked(
        {
            "source": "asf",
            "id": told.get("fileID") or name,
            "name": name,
            "start": told.get("startTime"),
            "stop": told.get("stopTime"),
            "footprint": feature.get("geometry"),
            "size": told.get("bytes"),
            "relative_orbit": told.get("pathNumber"),
            "direction": told.get("flightDirection"),
            "href": address,
            "md5": told.get("md5sum"),
        }
    )


def look_up(word: str, client: Client) -> Found:
    """The product of a name.

    Raises:
        ArchiveError: the archive has none.
    """
    name = word.removesuffix(".SAFE")
    for feature in _features(client, {"granule_list": name, "output": "geojson"}):
        one = _product(feature)
        if one is not None and one.name == name:
            return one
    raise ArchiveError(f"ASF has no product {printable(word)[:120]}. Look for it with frazil find --source asf.")
