"""The catalogue of the Copernicus Data Space, and of others that speak its OData (Creodias).

Searching needs no account. A page holds up to 1000 products; beyond 10,000 the service refuses (422), so that longer
lists are asked for in halves of their time.

References:
    Copernicus Data Space documentation, APIs/OData: filters, paging, ``@odata.nextLink``, ``$count``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from frazil.errors import ArchiveError, printable
from frazil.net.addresses import same_house, shown
from frazil.net.credentials import service
from frazil.net.http import Client, StatusError
from frazil.providers.found import NAME, Found, checked
from frazil.providers.query import Query
from frazil.providers.times import Span

_PAGE = 1000
_MOST = 10_000
_LEAST_SPAN = timedelta(minutes=1)
_TYPES = {
    "EW": ("EW_GRDM_1S", "EW_GRDH_1S"),
    "IW": ("IW_GRDH_1S",),
    "SM": tuple(f"S{n}_GRD{r}_1S" for n in range(1, 7) for r in "HF"),
    "WV": ("WV_SLC__1S",),
}
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def find(query: Query, client: Client) -> Iterator[Found]:
    """Products as the catalogue gives them: twins both, those of two parts of the area twice.

    Raises:
        ArchiveError, CredentialsError: as `Client.json`; or an answer that is no list of products.
    """
    for part in query.parts:
        yield from _within(query, part, query.span, client)


def _within(query: Query, part: Any, span: Span, client: Client) -> Iterator[Found]:
    try:
        first = _page(client, _address(query, part, span))
    except StatusError as error:
        if error.status != 422 or span.stop - span.start < _LEAST_SPAN:
            raise
        first = {"@odata.count": _MOST + 1}
    count = first.get("@odata.count")
    if isinstance(count, int) and count > _MOST and span.stop - span.start >= _LEAST_SPAN:
        earlier, later = span.halves()
        for half in (later, earlier) if query.newest_first else (earlier, later):
            yield from _within(query, part, half, client)
        return
    for page in _pages(client, first):
        yield from _products(page)


def _pages(client: Client, first: dict[str, Any]) -> Iterator[dict[str, Any]]:
    page, seen = first, set[str]()
    catalogue = service("cdse", "catalogue")
    while True:
        yield page
        link = page.get("@odata.nextLink")
        if not link or not page.get("value"):
            return
        if not isinstance(link, str) or not same_house(catalogue, link):
            raise ArchiveError(f"{shown(catalogue)} names {shown(str(link))} as its next page; it is not asked.")
        if link in seen or len(seen) > _MOST:
            raise ArchiveError(f"{shown(catalogue)} names the same next page over and over.")
        seen.add(link)
        page = _page(client, link)


def _page(client: Client, address: str) -> dict[str, Any]:
    page = client.json(address)
    if not isinstance(page, dict) or not isinstance(page.get("value"), list):
        raise ArchiveError(f"{shown(address)} answers something else than a list of products. Is it the catalogue?")
    return page


def _address(query: Query, part: Any, span: Span) -> str:
    types = [t + end for t in _TYPES[query.mode] for end in ("", "-COG")]
    attribute = (
        "Attributes/OData.CSC.StringAttribute/any(att:att/Name eq 'productType' and "
        "att/OData.CSC.StringAttribute/Value eq '{}')"
    )
    filters = ["Collection/Name eq 'SENTINEL-1'", _either(attribute.format(t) for t in types)]
    if query.letters:
        filters.append(_either(f"contains(Name,'_1S{letters}_')" for letters in query.letters))
    if part is not None:
        filters.append(f"OData.CSC.Intersects(area=geography'SRID=4326;{wkt(part)}')")
    filters += [f"ContentDate/Start ge {_time(span.start)}", f"ContentDate/Start lt {_time(span.stop)}"]
    order = "desc" if query.newest_first else "asc"
    words = {
        "$filter": " and ".join(filters),
        "$orderby": f"ContentDate/Start {order}",
        "$top": str(_PAGE),
        "$count": "true",
        "$expand": "Attributes",
    }
    return f"{service('cdse', 'catalogue')}/Products?" + "&".join(f"{k}={quote(v)}" for k, v in words.items())


def _either(terms: Any) -> str:
    listed = list(terms)
    return listed[0] if len(listed) == 1 else f"({' or '.join(listed)})"


def wkt(part: Any) -> str:
    """A polygon as catalogues read it: ``POLYGON((lon lat,…))``, without needless digits."""
    corners = ",".join(f"{x:.9g} {y:.9g}" for x, y in part.exterior.coords)
    return f"POLYGON(({corners}))"


def _time(when: Any) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def _products(page: dict[str, Any]) -> Iterator[Found]:
    for record in page["value"]:
        one = _product(record)
        if one is not None:
            yield one


def _product(record: Any) -> Found | None:
    """A product of a record; None of one that is no Level-1 image."""
    if not isinstance(record, dict):
        raise ArchiveError("The catalogue lists something else than products.")
    name = str(record.get("Name", ""))
    if NAME.fullmatch(name.removesuffix(".SAFE")) is None:
        return None
    told = record.get("Attributes")
    attributes = {
        str(a.get("Name")): a.get("Value") for a in (told if isinstance(told, list) else []) if isinstance(a, dict)
    }
    dates = record.get("ContentDate")
    dates = dates if isinstance(dates, dict) else {}
    return checked(
        {
            "source": "cdse",
            "id": record.get("Id"),
            "name": name,
            "start": dates.get("Start"),
            "stop": dates.get("End"),
            "footprint": record.get("GeoFootprint"),
            "size": record.get("ContentLength"),
            "online": record.get("Online"),
            "relative_orbit": attributes.get("relativeOrbitNumber"),
            "direction": attributes.get("orbitDirection"),
            "slice_number": attributes.get("sliceNumber"),
            "slices": attributes.get("totalSlices"),
            "s3": record.get("S3Path"),
        }
    )


def is_id(word: str) -> bool:
    """Whether a word is an id of this catalogue."""
    return _UUID.fullmatch(word) is not None


def look_up(word: str, client: Client) -> Found:
    """The product of an id or a name.

    Raises:
        ArchiveError: the catalogue has none.
    """
    base = service("cdse", "catalogue")
    name = word.removesuffix(".SAFE")
    term = f"Id eq {word}" if is_id(word) else f"Name eq '{name}.SAFE'"
    page = _page(client, f"{base}/Products?$filter={quote(term)}&$expand=Attributes")
    for one in _products(page):
        if word in (one.id, one.name, f"{one.name}.SAFE"):
            return one
    raise ArchiveError(
        f"{urlsplit(base).hostname} has no product {printable(word)[:120]}. Look for it with frazil find."
    )
