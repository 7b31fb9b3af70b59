"""The numbers of a map, counted again by hand."""

import json

import numpy as np
import pytest
from pyproj import Geod, Transformer

from frazil.conventions import BINARY, CLASS_LAND, CLASS_NODATA, FIVE_CLASSES, QUALITY_FLAGS
from frazil.errors import ContractError
from frazil.maps.edges import ice_edge
from frazil.maps.summary import summarise
from frazil.scene.grid import MapGrid
from frazil.testing import make_map


def test_areas_by_geodesics() -> None:
    ice_map = make_map(shape=(24, 30), spacing_m=5000, centre=(20, 74))
    grid = MapGrid.of(ice_map)
    codes = ice_map["ice_class"].values
    geod = Geod(ellps="WGS84")
    to_lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    expected = np.zeros(256)
    for (row, column), code in np.ndenumerate(codes):
        x = grid.left + np.array([column, column + 1, column + 1, column]) * grid.spacing_m
        y = grid.top - np.array([row, row, row + 1, row + 1]) * grid.spacing_m
        expected[code] += abs(geod.polygon_area_perimeter(*to_lonlat.transform(x, y))[0]) / 1e6
    summary = summarise(ice_map)
    for entry in summary["classes"]:
        assert entry["area_km2"] == pytest.approx(expected[entry["code"]], rel=1e-4)
    assert summary["land_km2"] == pytest.approx(expected[CLASS_LAND], rel=1e-4)
    sea = expected[:5].sum() + expected[253]
    assert expected[253] > 0
    assert summary["mapped_sea_km2"] == pytest.approx(sea, rel=1e-4)
    assert summary["undecided_km2"] == pytest.approx(expected[253], rel=1e-4)
    assert summary["undecided_percent_of_mapped_sea"] == pytest.approx(100 * expected[253] / sea, abs=0.01)
    most = expected[1:5].sum() + expected[253]
    assert summary["ice_extent_range_km2"] == pytest.approx([expected[1:5].sum(), most], rel=1e-4)
    assert summary["ice_extent_km2"] == pytest.approx(expected[1:5].sum(), rel=1e-4)
    share = 100 * expected[1:5].sum() / sea
    assert summary["ice_extent_percent_of_mapped_sea"] == pytest.approx(share, abs=0.01)


def test_confidence_and_flags_by_hand() -> None:
    ice_map = make_map(shape=(120, 140))
    codes, confidence = ice_map["ice_class"].values, ice_map["confidence"].values.astype(float)
    flags = ice_map["quality_flags"].values
    summary = summarise(ice_map)
    assert summary["mean_confidence_percent"] == pytest.approx(confidence[codes < CLASS_LAND].mean(), abs=1e-3)
    for entry in summary["classes"]:
        of_class = confidence[codes == entry["code"]]
        assert entry["mean_confidence_percent"] == pytest.approx(of_class.mean(), abs=1e-3)
    seen = flags & (1 | 2) == 0
    assert summary["sea_pixels"] == seen.sum()
    shares = summary["flags_percent_of_sea"]
    assert set(shares) == set(QUALITY_FLAGS) - {"nodata", "land"}
    for name, share in shares.items():
        flagged = (flags & QUALITY_FLAGS[name][0] > 0) & seen
        assert share == pytest.approx(100 * flagged.sum() / seen.sum(), abs=1e-3)
    assert shares["coast"] > 0


def test_the_edge_is_that_of_ice_edge() -> None:
    ice_map = make_map(shape=(200, 200), noise=0.2)
    edge = ice_edge(ice_map)
    assert summarise(ice_map)["ice_edge_km"] == pytest.approx(edge["length_km"].sum(), abs=1e-2)
    assert summarise(ice_map, edge=edge.iloc[:1])["ice_edge_km"] == pytest.approx(edge["length_km"][0], abs=1e-3)


def test_the_summary_is_json_and_names_its_makers() -> None:
    ice_map = make_map(shape=(20, 30), scheme=BINARY, note="for practice", model_card="unet-3")
    summary = summarise(ice_map, timings={"open": 0.12345, "predict": np.float32(2)})  # type: ignore[dict-item]
    again = json.loads(json.dumps(summary, allow_nan=False))
    assert again == summary
    assert summary["timings"] == {"open": 0.123, "predict": 2.0}
    assert summary["product"] == ice_map.attrs["product"]
    assert (summary["model"], summary["model_card"], summary["note"]) == ("made-up", "unet-3", "for practice")
    assert summary["class_scheme"] == "binary"
    assert [c["title"] for c in summary["classes"]] == list(BINARY.titles)
    assert summary["grid"]["crs"] == "EPSG:3413"
    assert summary["grid"]["shape"] == [20, 30]
    assert summary["versions"]["numpy"] == np.__version__
    assert {"frazil", "GDAL", "PROJ", "xarray", "rasterio"} <= set(summary["versions"])


@pytest.mark.parametrize("code", [0, 2, CLASS_LAND, CLASS_NODATA])
def test_uniform_maps(code: int) -> None:
    summary = summarise(make_map(codes=np.full((20, 10), code, np.uint8)))
    json.dumps(summary, allow_nan=False)
    area = 200 * 0.0144
    sea = area if code < 5 else 0
    assert summary["mapped_sea_km2"] == pytest.approx(sea, rel=0.1)
    assert summary["ice_edge_km"] == 0
    if code == CLASS_NODATA:
        assert summary["sea_pixels"] == 0
        assert summary["flags_percent_of_sea"]["coast"] is None
        assert summary["mean_confidence_percent"] is None
    if code == 2:
        assert summary["ice_extent_percent_of_mapped_sea"] == 100
        assert summary["classes"][2]["name"] == FIVE_CLASSES.names[2]
        assert summary["classes"][1]["mean_confidence_percent"] is None


def test_not_a_map() -> None:
    with pytest.raises(ContractError):
        summarise(make_map(shape=(20, 20)).drop_vars("quality_flags"))
