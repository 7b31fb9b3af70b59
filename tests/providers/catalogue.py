"""Catalogues in the shapes that their services document, made up, for a server on this machine."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from tests.local_server import Asked, Reply


def name(
    start: datetime, *, letters: str = "DH", crc: str = "AB12", platform: str = "S1A", take: str = "0226B9"
) -> str:
    stop = start + timedelta(seconds=60)
    return f"{platform}_EW_GRDM_1S{letters}_{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}_020177_{take}_{crc}"


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def record(product: str, footprint: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Of OData."""
    start, stop = (datetime.strptime(w, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) for w in product.split("_")[4:6])
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, product))
    return {
        "Id": identity,
        "Name": f"{product}.SAFE",
        "ContentLength": 250_000_000,
        "Online": True,
        "S3Path": f"/eodata/Sentinel-1/SAR/EW_GRDM_1S/{start:%Y/%m/%d}/{product}.SAFE",
        "Checksum": [],
        "ContentDate": {"Start": f"{start:%Y-%m-%dT%H:%M:%S}.000000Z", "End": f"{stop:%Y-%m-%dT%H:%M:%S}.000000Z"},
        "GeoFootprint": footprint or box(15, 77, 30, 80),
        "Attributes": [
            {"Name": "relativeOrbitNumber", "Value": 37, "ValueType": "Integer"},
            {"Name": "orbitDirection", "Value": "DESCENDING", "ValueType": "String"},
        ],
        **more,
    }


def odata(records: Sequence[dict[str, Any]], page: int = 1000, most: int = 10_000) -> Callable[[Asked], Reply]:
    """A catalogue that obeys times, order, names and pages of a query, and knows nothing of areas."""

    def answer(asked: Asked) -> Reply:
        query = dict(part.split("=", 1) for part in re.split(r"&(?=\$)", asked.query))
        wanted = query.get("$filter", "")
        low = re.search(r"ContentDate/Start ge (\S+)", wanted)
        high = re.search(r"ContentDate/Start lt (\S+)", wanted)
        found = [
            r
            for r in records
            if (not low or r["ContentDate"]["Start"] >= low[1].replace("Z", "000Z"))
            and (not high or r["ContentDate"]["Start"] < high[1].replace("Z", "000Z"))
        ]
        letters = re.findall(r"contains\(Name,'_1S(\w\w)_'\)", wanted)
        found = [r for r in found if not letters or any(f"_1S{x}_" in r["Name"] for x in letters)]
        exact = re.search(
            r"Id eq (\S+)|Name eq '([^']+)'", wanted.split("productType")[0].replace("Collection/Name", "")
        )
        if exact and "productType" not in wanted:
            found = [r for r in found if r["Id"] == exact[1] or r["Name"] == exact[2]]
        found.sort(key=lambda r: r["ContentDate"]["Start"], reverse="desc" in query.get("$orderby", ""))
        skip = int(query.get("$skip", 0))
        if skip >= most:
            return Reply(422, b'{"detail": "skip too large"}')
        body: dict[str, Any] = {"@odata.count": len(found), "value": found[skip : skip + page]}
        if skip + page < len(found):
            kept = "&".join(f"{k}={quote(v)}" for k, v in query.items() if k != "$skip")
            host = asked.headers["Host"]
            body["@odata.nextLink"] = f"http://{host}{asked.path}?{kept}&$skip={skip + page}"
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    return answer
