"""Searches against catalogues on this machine, in the shapes that the services document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pystac
import pytest

import frazil
from frazil.errors import ArchiveError, CredentialsError, OptionError
from frazil.net.http import Client
from frazil.providers.search import find, load_search, save_search, save_stac
from tests.local_server import Asked, LocalServer, Reply, serving
from tests.providers.catalogue import box, name, odata, record
from tests.providers.conftest import Waits

DAY = datetime(2025, 2, 1, tzinfo=UTC)
HOURLY = [record(name(DAY + timedelta(hours=h))) for h in range(24 * 4)]


def page(one: dict[str, Any], **more: Any) -> Reply:
    return Reply(200, json.dumps({"value": [one], **more}).encode())


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Asked], Reply]], LocalServer]]:
    """Serves what it is given as the catalogue of the Copernicus Data Space."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def serve(answer: Callable[[Asked], Reply]) -> LocalServer:
            server = stack.enter_context(serving(answer))
            monkeypatch.setenv("FRAZIL_CDSE_CATALOGUE", f"{server.address}/odata/v1")
            return server

        yield serve


def test_pages_are_followed(catalogue: Any, client: Client) -> None:
    server = catalogue(odata(HOURLY, page=10))
    found = find("10,76,34,81", "2025-02-01/03", polarization="HH+HV", client=client)
    assert [p.name for p in found.products] == [r["Name"].removesuffix(".SAFE") for r in HOURLY[71::-1]]
    assert len(server.asked) == 8
    assert found.bytes == 72 * 250_000_000
    one = found.products[0]
    assert (one.platform, one.mode, one.polarizations, one.orbit, one.data_take) == (
        "S1A",
        "EW",
        ("HH", "HV"),
        20177,
        "0226B9",
    )
    assert (one.relative_orbit, one.direction) == (37, "DESCENDING")


def test_the_question_is_that_of_the_documentation(catalogue: Any, client: Client) -> None:
    server = catalogue(odata(HOURLY))
    find("10,76,34,81", "2025-02-01/02", polarization="HH", newest_first=False, client=client)
    asked = server.asked[0].query
    for words in (
        "Collection/Name eq 'SENTINEL-1'",
        "att/Name eq 'productType' and att/OData.CSC.StringAttribute/Value eq 'EW_GRDM_1S'",
        "Value eq 'EW_GRDM_1S-COG'",
        "(contains(Name,'_1SSH_') or contains(Name,'_1SDH_') or contains(Name,'_1SHH_'))",
        "OData.CSC.Intersects(area=geography'SRID=4326;POLYGON((",
        "ContentDate/Start ge 2025-02-01T00:00:00.000Z and ContentDate/Start lt 2025-02-03T00:00:00.000Z",
        "$orderby=ContentDate/Start asc",
        "$count=true",
    ):
        assert words in asked


@pytest.mark.parametrize("counts", [True, False])
def test_lists_that_are_too_long_are_halved(counts: bool, catalogue: Any, client: Client, monkeypatch: Any) -> None:
    """By the count that comes with the first page, or where the service refuses without one."""
    inner = odata(HOURLY, page=20)

    def answer(asked: Asked) -> Reply:
        reply = inner(asked)
        told = json.loads(reply.body)
        if told["@odata.count"] <= 40:
            return reply
        return Reply(200, json.dumps(told | {"@odata.count": 10_001}).encode()) if counts else Reply(422, b"{}")

    catalogue(answer)
    found = find(None, "2025-02-01/04", client=client)
    assert [p.start for p in found.products] == [DAY + timedelta(hours=h) for h in reversed(range(96))]


def test_a_limit_asks_for_no_more_than_it_needs(catalogue: Any, client: Client) -> None:
    server = catalogue(odata(HOURLY, page=10))
    found = find(None, "2025-02-01/04", limit=5, client=client)
    assert [p.start.hour for p in found.products] == [23, 22, 21, 20, 19]
    assert found.more
    assert len(server.asked) == 1
    oldest = find(None, "2025-02-01/04", limit=5, newest_first=False, client=client)
    assert [p.start.hour for p in oldest.products] == [0, 1, 2, 3, 4]
    assert not find(None, "2025-02-01T00:00/2025-02-01T02:30", limit=3, client=client).more


def test_twins_are_shown_once(catalogue: Any, client: Client) -> None:
    plain, copy = name(DAY, crc="AB12"), name(DAY, crc="9F00") + "_COG"
    only = name(DAY + timedelta(hours=1), crc="1111") + "_COG"
    anew = [name(DAY + timedelta(hours=2), crc=crc) for crc in ("AAAA", "BBBB")]  # processed twice: two products
    catalogue(odata([record(n) for n in (plain, copy, only, *anew)]))
    found = find(None, "2025-02-01", newest_first=False, client=client)
    assert [p.name for p in found.products] == [plain, only, *anew]
    assert [p.twin for p in found.products] == [copy, "", "", ""]
    cog = find(None, "2025-02-01", newest_first=False, cog=True, client=client)
    assert [p.name for p in cog.products] == [copy, only, *anew]
    assert cog.products[0].twin == plain
    assert cog.products[0].cog


def test_slices_of_a_data_take(catalogue: Any, client: Client) -> None:
    times = [0, 60, 120, 300, 360, 1000]
    products = [name(DAY + timedelta(seconds=s)) for s in times]
    products.append(name(DAY + timedelta(seconds=61), take="0226BA"))
    catalogue(odata([record(n) for n in products]))
    found = find(None, "2025-02-01", client=client)
    told = {p.name: found.slices().get(p.id) for p in found.products}
    assert [told[n] for n in products] == [(1, 3), (2, 3), (3, 3), (1, 2), (2, 2), None, None]


def test_the_area_is_tried_again_here(catalogue: Any, client: Client) -> None:
    """The toy catalogue knows no areas, as real ones do not at 180°; and parts of an area give a product twice."""
    near = record(
        name(DAY), {"type": "Polygon", "coordinates": [[[178, 71], [-178, 71], [-177, 73], [177, 73], [178, 71]]]}
    )
    far = record(name(DAY + timedelta(hours=1)), box(0, 71, 20, 73))
    server = catalogue(odata([near, far]))
    found = find("@chukchi", "2025-02-01", client=client)
    assert [p.id for p in found.products] == [near["Id"]]
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, b"<html>"), "something else than JSON"),
        (Reply(200, b"[]"), "something else than a list of products"),
        (Reply(200, b'{"value": [1]}'), "something else than products"),
        (Reply(200, b"[" * 100_000), "something else than JSON"),
        (page(record(name(DAY)) | {"ContentDate": {"Start": "x"}}), "record"),
        (page(record(name(DAY)) | {"Id": "../../x"}), "record"),
        (page(record(name(DAY)), **{"@odata.nextLink": "https://example.invalid/"}), "next page"),
        (Reply(422, b'{"detail": "bad filter"}'), "answers 422: bad filter"),
        (Reply(500, b""), "answers 500"),
        (Reply(429, b"", {"Retry-After": "99999"}), "come back in"),
    ],
)  # fmt: skip
def test_answers_that_are_none(reply: Reply, words: str, catalogue: Any, client: Client) -> None:
    catalogue(lambda asked: reply)
    with pytest.raises((ArchiveError, CredentialsError), match=words) as caught:
        find("10,76,34,81", "2025-02-01T00:00/2025-02-01T00:00:30", client=client)
    assert "\n" not in str(caught.value)


def test_a_page_that_names_itself(catalogue: Any, client: Client) -> None:
    def answer(asked: Asked) -> Reply:
        link = f"http://{asked.headers['Host']}/odata/v1/Products?again"
        return Reply(200, json.dumps({"value": [record(name(DAY))], "@odata.nextLink": link}).encode())

    catalogue(answer)
    with pytest.raises(ArchiveError, match="over and over"):
        find(None, "2025-02-01", client=client)


def test_a_throttled_catalogue_is_waited_for(catalogue: Any, client: Client, waits: Waits) -> None:
    left = [429, 503]
    inner = odata(HOURLY)
    catalogue(lambda asked: Reply(left.pop(), b"", {"Retry-After": "3"}) if left else inner(asked))
    assert len(find(None, "2025-02-01", client=client).products) == 24
    assert waits.seconds == [3, 3]


def test_nobody_there(client: Client) -> None:
    with pytest.raises(ArchiveError, match=r"127\.0\.0\.1 cannot be reached"):
        find(None, "2025-02-01", client=client)


@pytest.mark.parametrize(
    "wrong", [{"mode": "XW"}, {"polarization": "XX"}, {"source": "nasa"}, {"limit": 0}, {"area": "@x"}, {"time": "x"}]
)
def test_options_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        frazil.find(**{"time": "2025-02-01", **wrong})


def test_files_of_a_search(catalogue: Any, client: Client, tmp_path: Path) -> None:
    catalogue(odata(HOURLY[:5]))
    found = find("@svalbard", "2025-02-01", client=client)
    assert load_search(save_search(found, tmp_path / "search.json")) == list(found.products)
    path = save_stac(found, tmp_path / "items.json")
    collection = pystac.ItemCollection.from_file(str(path))
    assert [item.id for item in collection] == [p.name for p in found.products]
    for item in collection:
        assert item.properties["sar:instrument_mode"] == "EW"
        assert item.assets["product"].href.startswith("s3://eodata/")
        item.set_self_href(str(tmp_path / "x.json"))
    for text in ("{}", "[]", '{"products": [{"name": "../../x"}]}', '{"products": 3}', "no json"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(OptionError, match="is no search of frazil"):
            load_search(tmp_path / "bad.json")


def test_asf(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    product = name(DAY)
    told = {
        "sceneName": product, "fileID": f"{product}-GRD_MD", "url": f"https://datapool.asf.alaska.edu/GRD_MD/SA/{product}.zip",
        "bytes": 123456, "md5sum": "0" * 32, "startTime": "2025-02-01T00:00:00Z", "stopTime": "2025-02-01T00:01:00Z",
        "pathNumber": 37, "flightDirection": "DESCENDING", "orbit": 20177, "platform": "Sentinel-1A",
    }  # fmt: skip
    features: list[dict[str, Any]] = [
        {"type": "Feature", "geometry": box(15, 77, 30, 80), "properties": told},
        {"type": "Feature", "geometry": None, "properties": told | {"url": f"https://x.invalid/{product}.iso.xml"}},
    ]
    with serving(lambda asked: Reply(200, json.dumps({"features": features}).encode())) as server:
        monkeypatch.setenv("FRAZIL_ASF_SEARCH", server.address)
        found = find("@svalbard", "2025-02-01", source="asf", polarization="HH+HV", client=client)
        assert [(p.name, p.md5, p.size) for p in found.products] == [(product, "0" * 32, 123456)]
        assert "beamMode=EW" in server.asked[0].query
        assert "intersectsWith=POLYGON((" in server.asked[0].query.replace("+", " ")
        features[0]["properties"] = told | {"bytes": "many"}
        with pytest.raises(ArchiveError, match="not as the archive documents"):
            find("@svalbard", "2025-02-01", source="asf", client=client)


def test_planetary(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    product = name(DAY).rsplit("_", 1)[0]
    base = f"https://sentinel1euwest.blob.core.windows.net/s1-grd/GRD/2025/2/1/EW/DH/{product}"
    item: dict[str, Any] = {
        "type": "Feature", "stac_version": "1.0.0", "id": product, "collection": "sentinel-1-grd", "links": [],
        "geometry": box(15, 77, 30, 80), "bbox": [15, 77, 30, 80],
        "properties": {"datetime": "2025-02-01T00:00:30Z", "start_datetime": "2025-02-01T00:00:00Z",
                       "end_datetime": "2025-02-01T00:01:00Z", "sat:relative_orbit": 37,
                       "sat:orbit_state": "descending"},
        "assets": {
            "hh": {"href": f"{base}/measurement/ew-hh.tiff"},
            "schema-noise-hh": {"href": f"{base}/annotation/calibration/noise-ew-hh.xml"},
            "schema-product-hh": {"href": f"{base}/annotation/rfi/rfi-ew-hh.xml"},
            "safe-manifest": {"href": f"{base}/manifest.safe"},
            "evil": {"href": f"{base}/measurement/../../../evil.tiff"},
        },
    }  # fmt: skip
    root = {
        "type": "Catalog", "id": "pc", "stac_version": "1.0.0", "description": "x",
        "conformsTo": ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search",
                       "https://api.stacspec.org/v1.0.0/item-search#query", "https://api.stacspec.org/v1.0.0/item-search#sort"],
    }  # fmt: skip

    def answer(asked: Asked) -> Reply:
        home = f"http://{asked.headers['Host']}"
        links = [
            {"rel": "self", "href": home},
            {"rel": "search", "href": f"{home}/search", "type": "application/geo+json", "method": "POST"},
        ]
        if asked.path != "/search":
            return Reply(200, json.dumps({**root, "links": links}).encode())
        return Reply(200, json.dumps({"type": "FeatureCollection", "features": [item], "links": []}).encode())

    with serving(answer) as server:
        monkeypatch.setenv("FRAZIL_PLANETARY_STAC", server.address)
        found = find("@svalbard", "2025-02-01", source="planetary", client=client)
        assert [p.name for p in found.products] == [product]
        assert sorted(dict(found.products[0].files)) == [
            "annotation/calibration/noise-ew-hh.xml",
            "manifest.safe",
            "measurement/ew-hh.tiff",
        ]
        body = json.loads(server.asked[-1].body)
        assert body["query"] == {"sar:instrument_mode": {"eq": "EW"}}
        assert body["intersects"]["type"] == "Polygon"
        item["geometry"] = box(100, 71, 110, 72)
        assert not find("@svalbard", "2025-02-01", source="planetary", client=client).products
