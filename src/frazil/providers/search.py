"""Which products an archive holds: `find`, and what it found as files.

Nothing is asked but the catalogue. What it says is checked and held against the question again, here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from frazil.errors import ArchiveError, OptionError
from frazil.files import whole_output
from frazil.marks import WRITTEN_BY
from frazil.net.http import Client
from frazil.net.patience import Patience
from frazil.providers import asf, cdse, planetary
from frazil.providers.areas import Area
from frazil.providers.areas import area as area_of
from frazil.providers.found import Found
from frazil.providers.query import Mode, Query, Source
from frazil.providers.times import Span, span
from frazil.providers.twins import one_of_each, slices
from frazil.scene.box import Box
from frazil.untrusted import read_json

_FILE_BYTES = 2**28
_CLIENT = Client(patience=Patience(tries=5))  # half a minute: somebody waits for the table
_SOURCES: dict[str, ModuleType] = {"cdse": cdse, "asf": asf, "planetary": planetary}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found.

    Attributes:
        query: what was asked.
        source: of which archive.
        products: in the order that was asked for, of each pair of twins one.
        more: whether there are more than `products`, because of a limit.
    """

    query: Query
    source: str
    products: tuple[Found, ...]
    more: bool = False

    @property
    def bytes(self) -> int:
        """Of all products whose size is told."""
        return sum(one.size or 0 for one in self.products)

    def slices(self) -> dict[str, tuple[int, int]]:
        """Which one of how many consecutive slices a product is, by id."""
        return slices(self.products)

    def to_json(self) -> dict[str, Any]:
        """As plain values: what was asked, and every product."""
        return {"written_by": WRITTEN_BY, "query": str(self.query), "source": self.source, "more": self.more,
                "products": [one.to_json() for one in self.products]}  # fmt: skip


def find(
    area: str | Box | Area | None = None,
    time: str | Span = "",
    *,
    mode: Mode = "EW",
    polarization: str | None = None,
    source: Source = "cdse",
    limit: int | None = None,
    newest_first: bool = True,
    cog: bool = False,
    client: Client | None = None,
) -> Findings:
    """Sentinel-1 products in an archive.

    Args:
        area: a box ``"WEST,SOUTH,EAST,NORTH"`` (WEST above EAST crosses 180°), a GeoJSON file, ``"@svalbard"`` and
            others of `frazil.providers.areas.NAMED`; None for everywhere.
        time: when acquisitions begin, UTC: ``"2025-02-01"``, ``"2025-02-01/03"`` (the last day included),
            ``"2025-02-01T06:00/2025-02-01T18:00"``.
        mode: ``"EW"``, ``"IW"`` and ``"SM"`` detected images (GRD), ``"WV"`` imagettes.
        polarization: ``"HH+HV"``, ``"VV+VH"``, or one that products hold, alone or beside another.
        source: the archive.
        limit: products at most, the newest or oldest.
        newest_first: the order.
        cog: of products with a Cloud-Optimised copy take that one.
        client: how to ask.

    Raises:
        OptionError: an area, a time or another option that is none.
        ArchiveError, CredentialsError: the archive does not answer, refuses, or answers something else.
        MissingDependencyError: pystac-client is not installed (planetary).
    """
    if source not in get_args(Source):
        raise OptionError(f"source {source!r} is not one of {list(get_args(Source))}.")
    if limit is not None and limit < 1:
        raise OptionError(f"limit is {limit}; it is at least 1.")
    query = Query(
        area=None if area is None else area_of(area),
        span=span(time) if isinstance(time, str) else time,
        mode=mode,
        polarization=polarization,
        newest_first=newest_first,
    )
    found = list(_enough(_SOURCES[source].find(query, client or _CLIENT), query, limit))
    found.sort(key=lambda p: (p.start, p.name), reverse=newest_first)
    products = one_of_each(found, cog=cog)
    products.sort(key=lambda p: (p.start, p.name), reverse=newest_first)
    most = len(products) if limit is None else limit
    return Findings(query=query, source=source, products=tuple(products[:most]), more=len(products) > most)


def _enough(products: Iterator[Found], query: Query, limit: int | None) -> Iterator[Found]:
    """Those that were asked for; of one part of the area, which comes in order, no more than the limit needs."""
    scenes: set[str] = set()
    ordered = len(query.parts) == 1
    for one in products:
        if not query.wants(one):
            continue
        # Two more than the limit: twins begin at the same time, but may come in any order among their neighbours.
        if ordered and limit is not None and one.scene not in scenes and len(scenes) >= limit + 2:
            return
        scenes.add(one.scene)
        yield one


def look_up(word: str, source: str, client: Client) -> Found:
    """The product of an id or name in an archive.

    Raises:
        ArchiveError: there is none.
    """
    one: Found = _SOURCES[source].look_up(word, client)
    return one


def save_search(found: Findings, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a search as JSON, for `frazil.get`.

    Raises:
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    with whole_output(path, overwrite=overwrite) as part:
        part.write_text(json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def load_search(path: str | os.PathLike[str]) -> list[Found]:
    """The products of a file of `save_search`.

    Raises:
        OptionError: it is none.
    """
    try:
        values = read_json(path, _FILE_BYTES)
        return [Found.from_json(one) for one in values["products"]]
    except (OSError, ValueError, KeyError, TypeError, ArchiveError) as error:
        raise OptionError(
            f"{path} is no search of frazil ({error}). Make one with frazil find … --output search.json."
        ) from error


def save_stac(found: Findings, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a search as a STAC ItemCollection, without anything secret.

    Raises:
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    import pystac

    collection = pystac.ItemCollection([_item(one) for one in found.products], extra_fields={"written_by": WRITTEN_BY})
    with whole_output(path, overwrite=overwrite) as part:
        part.write_text(json.dumps(collection.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def _item(one: Found) -> Any:
    import pystac
    import shapely

    properties: dict[str, Any] = {
        "start_datetime": one.start.isoformat().replace("+00:00", "Z"),
        "end_datetime": one.stop.isoformat().replace("+00:00", "Z"),
        "platform": f"sentinel-1{one.platform[-1].lower()}",
        "constellation": "sentinel-1",
        "instruments": ["c-sar"],
        "sar:instrument_mode": one.mode,
        "sar:polarizations": list(one.polarizations),
        "sat:absolute_orbit": one.orbit,
        "sat:relative_orbit": one.relative_orbit,
        "sat:orbit_state": one.direction.lower() or None,
        "frazil:source": one.source,
        "frazil:id": one.id,
        "frazil:data_take": one.data_take,
        "frazil:online": one.online,
        "frazil:bytes": one.size,
        "frazil:twin": one.twin or None,
    }
    try:
        shape = None if one.footprint is None else shapely.geometry.shape(one.footprint)
        bounds = None if shape is None or shape.is_empty else [float(v) for v in shape.bounds]
    except (AttributeError, ValueError, TypeError, KeyError, shapely.errors.ShapelyError):
        bounds = None
    item = pystac.Item(
        id=one.name,
        geometry=None if bounds is None else one.footprint,
        bbox=bounds,
        datetime=one.start,
        properties={k: v for k, v in properties.items() if v is not None},
    )
    href = f"s3://{one.s3.lstrip('/')}" if one.s3 else one.href
    if href:
        item.add_asset("product", pystac.Asset(href, roles=["data"]))
    for name, address in one.files:
        item.add_asset(name, pystac.Asset(address, roles=["data" if name.startswith("measurement") else "metadata"]))
    return item
