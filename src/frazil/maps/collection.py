"""STAC collections of maps: one beside the item of each map, and one above many folders.

A folder of a map is a catalogue by itself: its item names ``collection.json`` beside it as root, parent and collection,
so that the folder may be moved, copied and read alone. The collection has the same id in all folders of maps of a kind,
since they are all of one collection, of which a folder holds one item. `write_collection` writes the document of many
folders above them; it lists the items where they are, and changes none of them.

References:
    STAC specification 1.1.0 (2024): collection, item assets, best practices (relative published catalogs).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from frazil.errors import ProductError, ProductNotFoundError
from frazil.files import whole_output
from frazil.maps.layers import Kind
from frazil.maps.stac import COLLECTIONS, ITEM_FILE
from frazil.untrusted import read_json

COLLECTION_FILE = "collection.json"
_ITEM_BYTES = 16 * 2**20
_TITLES: dict[Kind, tuple[str, str]] = {
    "exclusive": ("Sea-ice maps by frazil", "Maps of sea-ice classes, one for each radar scene."),
    "multilabel": ("Maps of phenomena by frazil", "Maps of phenomena of sea and air, one for each radar scene."),
}
_OF_THE_FILE = ("file:size", "file:checksum", "href")
_OF_THE_GRID = "proj:"
_SUMMED_UP = (
    "platform",
    "constellation",
    "instruments",
    "gsd",
    "sar:instrument_mode",
    "sar:polarizations",
    "proj:code",
)


def make_collection(items: Mapping[str, Mapping[str, Any]], kind: Kind) -> dict[str, Any]:
    """The STAC collection of some items, as the content of a JSON file.

    Args:
        items: address of an item, relative to the collection -> its content; at least one.
        kind: of the maps; what is of another kind does not belong here.
    """
    told = list(items.values())
    title, description = _TITLES[kind]
    assets: dict[str, dict[str, Any]] = {}
    for item in told:
        for name, asset in item["assets"].items():
            kept = {k: v for k, v in asset.items() if k not in _OF_THE_FILE and not k.startswith(_OF_THE_GRID)}
            assets.setdefault(name, kept)
    own = {"rel": "root", "href": "./" + COLLECTION_FILE, "type": "application/json"}
    return {
        "type": "Collection",
        "stac_version": told[0]["stac_version"],
        "stac_extensions": _in_order(uri for item in told for uri in item["stac_extensions"] if "/file/" not in uri),
        "id": COLLECTIONS[kind],
        "title": title,
        "description": description,
        "license": "other",
        "providers": _in_order(provider for item in told for provider in item["properties"]["providers"]),
        "extent": {"spatial": {"bbox": _boxes(told)}, "temporal": {"interval": _intervals(told)}},
        "summaries": {
            name: values
            for name in _SUMMED_UP
            if (values := _in_order(v for item in told for v in _several(item["properties"].get(name))))
        },
        "item_assets": assets,
        "links": [
            own,
            *_in_order(link for item in told for link in item["links"] if link["rel"] == "license"),
            *({"rel": "item", "href": href, "type": "application/geo+json"} for href in items),
        ],
    }


def write_collection(folder: str | os.PathLike[str], kind: Kind = "exclusive", *, overwrite: bool = False) -> Path:
    """Write the collection of all maps of a kind in the folders of a folder.

    Args:
        folder: whose folders are those of maps; others in it are left out.
        kind: ``"exclusive"``: maps of sea ice, ``"multilabel"``: maps of phenomena.
        overwrite: replace a collection that frazil wrote.

    Returns:
        The file: ``collection_sea_ice.json`` or ``collection_phenomena.json``.

    Raises:
        ProductNotFoundError: no folder holds an item of that kind. ProductError: an item is no JSON or no item.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    place = Path(folder)
    items: dict[str, Mapping[str, Any]] = {}
    for path in sorted(place.glob(f"*/{ITEM_FILE}")):
        try:
            item = read_json(path, _ITEM_BYTES)
            told = item.get("collection") == COLLECTIONS[kind] and bool(item["assets"]) and bool(item["properties"])
        except (ValueError, KeyError, AttributeError) as error:
            raise ProductError(f"{path} is no STAC item of a map ({error}). Make the map anew.") from error
        if told:
            items[f"./{path.parent.name}/{ITEM_FILE}"] = item
    if not items:
        raise ProductNotFoundError(
            f"No folder in {place} holds a {ITEM_FILE} of the collection {COLLECTIONS[kind]!r}. Pass the folder that "
            "holds the folders of maps."
        )
    target = place / collection_file(kind)
    made = make_collection(items, kind)
    made["links"][0]["href"] = f"./{target.name}"
    with whole_output(target, overwrite=overwrite) as part:
        part.write_text(json.dumps(made, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return target


def collection_file(kind: Kind) -> str:
    """Name of the collection above the folders of maps."""
    return f"collection_{COLLECTIONS[kind].removeprefix('frazil-').replace('-', '_')}.json"


def _boxes(items: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """The box of all, and those of each where there are several; west above east where a box crosses 180°.

    The box of all is in longitude the whole minus the largest gap between boxes.
    """
    boxes = [[float(v) for v in item["bbox"]] for item in items]
    south, north = min(b[1] for b in boxes), max(b[3] for b in boxes)
    spans = sorted((b[0], b[0] + ((b[2] - b[0]) % 360 or (360.0 if b[2] != b[0] else 0.0))) for b in boxes)
    turns = [(west + turn, east + turn) for turn in (-360, 0, 360) for west, east in spans]
    covered = [list(turns[0])]
    for west, east in turns[1:]:
        if west <= covered[-1][1]:
            covered[-1][1] = max(covered[-1][1], east)
        else:
            covered.append([west, east])
    first = spans[0][0]  # a gap that ends in the middle turn is seen whole: what covers it begins a turn before at most
    gaps = [(b[0] - a[1], a[1], b[0]) for a, b in pairwise(covered) if first <= b[0] < first + 360]
    if not gaps:
        west, east = -180.0, 180.0
    else:
        _, east, west = max(gaps)
        west, east = ((v + 180) % 360 - 180 for v in (west, east))
        east = 180.0 if east == -180.0 else east
    return [[west, south, east, north], *boxes] if len(boxes) > 1 else boxes


def _intervals(items: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """From the first start to the last end, and each by itself where there are several."""
    each = [[str(i["properties"]["start_datetime"]), str(i["properties"]["end_datetime"])] for i in items]
    first = min(each, key=lambda span: datetime.fromisoformat(span[0]))[0]
    last = max(each, key=lambda span: datetime.fromisoformat(span[1]))[1]
    return [[first, last], *each] if len(each) > 1 else each


def _several(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _in_order(values: Iterable[Any]) -> list[Any]:
    """Each value once, in the order of first sight; of dicts, too."""
    seen: dict[str, Any] = {}
    for value in values:
        seen.setdefault(json.dumps(value, sort_keys=True), value)
    return list(seen.values())
