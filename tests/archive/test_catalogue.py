"""The table of an archive: what other programs read in it, and that it is what the items say."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import pystac
import pytest
import shapely

from frazil.archive.catalogue import open_catalogue, write_catalogue
from frazil.archive.folder import Archive, begin_archive
from frazil.errors import OptionError, OutputError, ProductNotFoundError
from frazil.learn.predict.mapping import MapOptions

pytest.importorskip("stac_geoparquet")


def item(name: str, day: int, box: tuple[float, float, float, float]) -> dict[str, Any]:
    moment = f"2025-02-{day:02d}T06:00:00Z"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": name,
        "geometry": shapely.geometry.mapping(shapely.box(*box)),
        "bbox": list(box),
        "properties": {
            "datetime": moment,
            "start_datetime": moment,
            "end_datetime": moment,
            "proj:code": "EPSG:3413",
            "proj:bbox": [day * 1000.0, -2000.0, day * 1000.0 + 400, -1600.0],
            "gsd": 120.0,
        },
        "links": [{"rel": "collection", "href": "./collection.json", "type": "application/json"}],
        "assets": {"class": {"href": "./class.tif", "type": "image/tiff", "roles": ["data"]}},
        "collection": "frazil-sea-ice",
    }


def put(archive: Archive, name: str, day: int, box: tuple[float, float, float, float] = (10, 78, 20, 80)) -> Path:
    folder = archive.folder_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stac_item.json").write_text(json.dumps(item(name, day, box)))
    (folder / "summary.json").write_text(json.dumps({"ice_extent_km2": 100.0 * day, "mapped_sea_km2": 5000}))
    return folder / "stac_item.json"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = begin_archive(
        Archive(
            root=tmp_path / "a", kind="exclusive", model="m", model_id="m-1", weights_sha256="ab", options=MapOptions()
        )
    )
    for day in (1, 2, 3):
        put(made, f"map{day}", day)
    put(made, "far", 2, (-179, 70, -170, 72))
    return made


def test_the_table_says_what_the_items_say(archive: Archive) -> None:
    path, n = write_catalogue(archive)
    assert n == 4
    frame = gpd.read_parquet(path)
    assert frame.crs.to_epsg() == 4326
    by = frame.set_index("folder")
    for name in ("map1", "map2", "map3", "far"):
        told = json.loads((archive.folder_of(name) / "stac_item.json").read_text())
        assert by.geometry[name].equals(shapely.geometry.shape(told["geometry"]))
        assert by["datetime"][name] == datetime.fromisoformat(told["properties"]["datetime"])
        assert [by[f"map:{c}"][name] for c in ("left", "bottom", "right", "top")] == told["properties"]["proj:bbox"]
    assert by["map:ice_extent_km2"]["map3"] == 300.0
    assert b"Written by frazil" in path.read_bytes()


def test_items_come_back_from_it(archive: Archive) -> None:
    import stac_geoparquet.arrow as stac
    from pyarrow import parquet

    path, _ = write_catalogue(archive)
    found = list(stac.stac_table_to_items(parquet.read_table(path)))
    assert {one["id"] for one in found} == {"map1", "map2", "map3", "far"}
    for one in found:
        read = pystac.Item.from_dict(one)
        assert read.assets["class"].href == f"./maps/{one['id']}/class.tif"


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ({"time": "2025-02-02"}, {"map2", "far"}),
        ({"time": "2025-02-02/03"}, {"map2", "map3", "far"}),
        ({"time": "2025-02"}, {"map1", "map2", "map3", "far"}),
        ({"time": "2024"}, set()),
        ({"bbox": "9,77,11,79"}, {"map1", "map2", "map3"}),
        ({"bbox": "170,60,-175,75"}, {"far"}),
        ({"bbox": (-10, -80, 10, -70)}, set()),
        ({"bbox": "9,77,11,79", "time": "2025-02-03"}, {"map3"}),
    ],
)
def test_maps_of_a_time_and_place(archive: Archive, question: dict[str, Any], names: set[str]) -> None:
    write_catalogue(archive)
    assert set(open_catalogue(archive.root, **question)["folder"]) == names


def test_it_is_written_anew_from_what_is_there(archive: Archive) -> None:
    path, _ = write_catalogue(archive)
    shutil.rmtree(archive.folder_of("map1"))
    later = put(archive, "map2", 9)
    put(archive, "map4", 4)
    os.utime(path, (time.time() - 60,) * 2)
    os.utime(archive.folder_of("map3") / "stac_item.json", (time.time() - 600,) * 2)
    assert later.stat().st_mtime > path.stat().st_mtime
    assert write_catalogue(archive)[1] == 4
    frame = open_catalogue(archive.root, columns=None)
    assert list(frame["folder"]) == ["far", "map3", "map4", "map2"]
    assert frame["datetime"].dt.day.tolist() == [2, 3, 4, 9]


def test_what_is_no_item_is_passed_over_and_a_damaged_table_made_anew(archive: Archive) -> None:
    for n, text in enumerate(
        ("", "[]", '{"collection": "other", "properties": {}}', '{"collection": "frazil-sea-ice"}')
    ):
        folder = archive.folder_of(f"bad{n}")
        folder.mkdir()
        (folder / "stac_item.json").write_text(text)
    path, n = write_catalogue(archive)
    assert n == 4
    path.write_bytes(b"PAR1" + os.urandom(500))
    with pytest.raises(ProductNotFoundError, match="no table of maps"):
        open_catalogue(archive.root)
    assert write_catalogue(archive)[1] == 4
    assert len(open_catalogue(path)) == 4


def test_an_empty_archive_has_no_table(tmp_path: Path) -> None:
    empty = begin_archive(
        Archive(root=tmp_path, kind="exclusive", model="m", model_id="m-1", weights_sha256="ab", options=MapOptions())
    )
    with pytest.raises(ProductNotFoundError, match="holds no maps yet"):
        write_catalogue(empty)
    with pytest.raises(ProductNotFoundError, match="`frazil catalogue"):
        open_catalogue(tmp_path)


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13", "2025-02-03/2025-02-01"])
def test_times_that_are_none(archive: Archive, text: str) -> None:
    write_catalogue(archive)
    with pytest.raises(OptionError, match="time"):
        open_catalogue(archive.root, time=text)


def test_a_place_that_takes_nothing(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path, _ = write_catalogue(archive)
    before = path.read_bytes()
    put(archive, "new", 7)
    monkeypatch.setattr("stac_geoparquet.arrow.to_parquet", full)
    with pytest.raises((OutputError, OSError)):
        write_catalogue(archive)
    assert path.read_bytes() == before
