"""Items with their collections: against published schemas, readers of pystac and odc-stac, and sums of the files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from frazil import export
from frazil.errors import OutputExistsError, ProductError, ProductNotFoundError
from frazil.maps.collection import COLLECTION_FILE, make_collection, write_collection
from frazil.maps.layers import Kind
from frazil.testing import make_map, make_phenomena_map

TERMS = "Legal notice on the use of the data, https://example.org/terms."
WHOSE = {"license": TERMS, "contributor_name": "Makers of Radar", "contributor_role": "producer of the radar data"}
FORMATS = ["geotiff", "netcdf", "png", "summary", "stac"]


def errors(content: dict[str, object]) -> list[str]:
    schemas = get_local_schema_cache()
    registry = Registry().with_resources([(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()])
    end = {"Feature": "/item.json", "Collection": "/collection.json"}[str(content["type"])]
    schema = next(schema for uri, schema in schemas.items() if uri.endswith(end))
    return [error.message for error in Draft7Validator(schema, registry=registry).iter_errors(content)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three maps of ice, one of them over the antimeridian, and one of phenomena, a folder each."""
    place = tmp_path_factory.mktemp("archive")
    for day, (lon, crs) in enumerate([(-10.0, "EPSG:3413"), (178.0, "EPSG:3413"), (15.0, "EPSG:32633")]):
        made = make_map(
            shape=(60, 70),
            spacing_m=2000.0,
            centre=(lon, 76.0),
            crs=crs,
            radar=("HH", "HV"),
            start_time=f"2024-01-0{day + 1}T10:00:00Z",
            stop_time=f"2024-01-0{day + 1}T10:01:00Z",
            product=f"P{day}",
            institution="Ice Office",
        ).assign_attrs(WHOSE)
        export(made, place / f"map{day}", formats=FORMATS)
    export(make_phenomena_map(shape=(50, 40), radar=("VV",)).assign_attrs(WHOSE), place / "sea", formats=FORMATS)
    return place


@pytest.mark.parametrize("folder", ["map0", "sea"])
def test_a_folder_is_a_catalogue_by_itself(archive: Path, folder: str, tmp_path: Path) -> None:
    shutil.copytree(archive / folder, tmp_path / "moved")
    place = tmp_path / "moved"
    for file in ("stac_item.json", COLLECTION_FILE):
        assert not errors(json.loads((place / file).read_text()))
    collection = pystac.Collection.from_file(place / COLLECTION_FILE)
    (item,) = collection.get_items()
    assert item.collection_id == collection.id
    alone = pystac.Item.from_file(place / "stac_item.json")
    for found in (alone.get_collection(), alone.get_parent(), alone.get_root()):
        assert found is not None
        assert found.id == collection.id
    assert set(collection.item_assets) == set(item.assets)
    assert collection.license == item.properties["license"] == "other"
    for told in (collection, item):
        (link,) = told.get_links("license")
        assert link.href == "https://example.org/terms"


def test_sizes_and_sums_are_those_of_the_files(archive: Path) -> None:
    item = pystac.Item.from_file(archive / "map0" / "stac_item.json")
    assert {"class", "flags", "netcdf", "figure", "summary", "quicklook"} <= set(item.assets)
    for asset in item.assets.values():
        data = (archive / "map0" / asset.href).read_bytes()
        assert asset.ext.file.size == len(data)
        assert asset.ext.file.checksum == "1220" + hashlib.sha256(data).hexdigest()


def test_who_made_it_is_told(archive: Path) -> None:
    item = pystac.Item.from_file(archive / "map0" / "stac_item.json")
    told = [(p.name, p.roles) for p in item.common_metadata.providers or []]
    assert told == [
        ("Makers of Radar", ["producer", "licensor"]),
        ("frazil", ["processor"]),
        ("Ice Office", ["processor"]),
    ]


@pytest.mark.parametrize("folder", ["map0", "map2", "sea"])
def test_odc_stac_loads_it_without_being_told_anything(archive: Path, folder: str) -> None:
    odc_stac = pytest.importorskip("odc.stac")
    item = pystac.Item.from_file(archive / folder / "stac_item.json")
    loaded = odc_stac.load([item]).isel(time=0)
    with xr.open_dataset(archive / folder / "map.nc", mask_and_scale=False) as ours:
        np.testing.assert_allclose(loaded["x"], ours["x"])
        np.testing.assert_allclose(loaded["y"], ours["y"])
        assert loaded.odc.crs.to_wkt() == item.assets["flags"].ext.proj.crs_string or (
            loaded.odc.crs.to_epsg() == item.ext.proj.epsg
        )
        names = ours["category_name"].values.astype(str)
        planes = {"sea": "score"}.get(folder, "probability")
        for band, name in enumerate(names):
            np.testing.assert_array_equal(loaded[name], ours[planes][band])
        np.testing.assert_array_equal(loaded["flags"], ours["quality_flags"])
        radar = ["quicklook"] if folder == "sea" else ["HH", "HV", "HV/HH"]  # one band goes by the name of its asset
        for band, name in enumerate(radar):
            np.testing.assert_array_equal(loaded[name], ours["quicklook"][band])
        codes = {"sea": ("dominant", "dominant")}.get(folder, ("class", "ice_class"))
        np.testing.assert_array_equal(loaded[codes[0]], ours[codes[1]])
    assert loaded["flags"].dtype == np.uint16
    assert loaded["flags"].attrs["nodata"] == 1


def test_an_archive(archive: Path) -> None:
    ice = write_collection(archive)
    sea = write_collection(archive, "multilabel")
    assert (ice.name, sea.name) == ("collection_sea_ice.json", "collection_phenomena.json")
    for path, count in ((ice, 3), (sea, 1)):
        assert not errors(json.loads(path.read_text()))
        collection = pystac.Collection.from_file(path)
        items = list(collection.get_items())
        assert len(items) == count
        assert {item.collection_id for item in items} == {collection.id}
        for item in items:
            asset = item.assets["flags"].get_absolute_href()
            assert asset is not None
            assert Path(asset).is_file()
    collection = pystac.Collection.from_file(ice)
    start, stop = collection.extent.temporal.intervals[0]
    assert f"{start:%d}{stop:%d}" == "0103"
    west, south, east, north = collection.extent.spatial.bboxes[0]
    assert -15 < west < -8  # eastwards from Greenland over Svalbard to Wrangel
    assert -180 < east < -175
    assert south < 76 < north
    assert len(collection.extent.spatial.bboxes) == 4
    with pytest.raises(OutputExistsError):
        write_collection(archive)
    assert write_collection(archive, overwrite=True) == ice
    with pytest.raises(ProductNotFoundError, match="No folder in"):
        write_collection(archive / "map0")


def test_an_item_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "stac_item.json").write_text('{"collection": "frazil-sea-ice"}')
    with pytest.raises(ProductError, match="no STAC item"):
        write_collection(tmp_path)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-180, 179), st.integers(1, 300)), min_size=1, max_size=5))
@example([(-180, 300), (100, 100)])
@example([(170, 20), (-175, 10)])
def test_the_box_of_all_is_the_smallest_that_holds_each(boxes: list[tuple[int, int]]) -> None:
    """Against longitudes degree by degree."""
    items = []
    for west, wide in boxes:
        east = (west + wide + 180) % 360 - 180
        items.append({"bbox": [west, 70, east, 80]})
    covered = np.zeros(360, bool)
    for west, wide in boxes:
        covered[np.arange(west, west + wide) % 360] = True
    left, _, right, _ = (round(v) for v in box_of(items))
    whole = (right - left) % 360 or 360
    held = np.zeros(360, bool)
    held[np.arange(left, left + whole) % 360] = True
    assert (held >= covered).all()
    free = np.flatnonzero(~covered)
    gaps = np.split(free, np.flatnonzero(np.diff(free) > 1) + 1) if free.size else []
    lengths = [len(gap) for gap in gaps]
    if len(gaps) > 1 and free[0] == 0 and free[-1] == 359:
        lengths.append(len(gaps[0]) + len(gaps[-1]))
    assert 360 - whole == max(lengths, default=0)


def box_of(items: list[dict[str, list[int]]]) -> list[float]:
    whole = [
        {
            "stac_version": "1.1.0",
            "stac_extensions": [],
            "assets": {},
            "links": [],
            "properties": {
                "providers": [],
                "start_datetime": "2024-01-01T00:00:00Z",
                "end_datetime": "2024-01-01T00:00:00Z",
            },
            **item,
        }
        for item in items
    ]
    kind: Kind = "exclusive"
    made = make_collection({f"./{n}.json": item for n, item in enumerate(whole)}, kind)
    box: list[float] = made["extent"]["spatial"]["bbox"][0]
    return box
