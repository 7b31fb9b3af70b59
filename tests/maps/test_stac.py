"""STAC items: against the published schema and readers of pystac, and geometry against the pixels themselves."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import numpy as np
import pystac
import pytest
import shapely
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pyproj import CRS, Geod, Transformer
from pystac.extensions.classification import Bitfield, Classification
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from scipy.spatial import ConvexHull
from shapely import affinity

from frazil.conventions import QUALITY_FLAGS
from frazil.errors import ContractError
from frazil.geojson import to_lonlat
from frazil.maps.layers import LAYERS, Kind, files_of
from frazil.maps.stac import bounding_box, footprint, make_item
from frazil.scene.grid import MapGrid
from frazil.testing import make_map, make_phenomena_map

PLACES = {
    "svalbard": ("EPSG:3413", (15.0, 78.0)),
    "pole": ("EPSG:3413", (0.0, 90.0)),
    "antimeridian": ("EPSG:3413", (180.0, 72.0)),
    "south": ("EPSG:3031", (-170.0, -75.0)),
    "south pole": ("EPSG:3031", (0.0, -90.0)),
    "utm 60": ("EPSG:32660", (179.5, 66.0)),
}


def item_of(ds: xr.Dataset, kind: Kind = "exclusive") -> pystac.Item:
    files = files_of(ds, kind).values()
    return make_item(
        ds, {name: file for choice in files for name, file in choice.items() if name not in ("stac", "collection")}
    )


def masked(ds: xr.Dataset, observed: np.ndarray) -> xr.Dataset:
    """The same map, observed elsewhere, as far as its flags tell."""
    bit = np.uint16(QUALITY_FLAGS["nodata"][0])
    flags = np.where(observed, ds["quality_flags"].values & ~bit, ds["quality_flags"].values | bit)
    return ds.assign(quality_flags=(("y", "x"), flags.astype(np.uint16), ds["quality_flags"].attrs))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["exclusive", "multilabel"])
def test_the_published_schema_takes_it(place: str, kind: Kind) -> None:
    crs, centre = PLACES[place]
    make = make_map if kind == "exclusive" else make_phenomena_map
    item = item_of(make(shape=(40, 50), spacing_m=2000.0, crs=crs, centre=centre), kind)
    told = json.loads(json.dumps(item.to_dict(), allow_nan=False))
    schemas = get_local_schema_cache()
    registry = Registry().with_resources([(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()])
    schema = next(schema for uri, schema in schemas.items() if uri.endswith("/item.json"))
    assert not [error.message for error in Draft7Validator(schema, registry=registry).iter_errors(told)]


@pytest.mark.parametrize("place", PLACES)
def test_pystac_reads_the_grid_back(place: str) -> None:
    crs, centre = PLACES[place]
    ds = make_map(shape=(31, 47), spacing_m=1500.0, crs=crs, centre=centre)
    item = pystac.Item.from_dict(item_of(ds).to_dict())
    assert item.ext.proj.epsg == int(crs.removeprefix("EPSG:"))
    proj = item.assets["class"].ext.proj
    assert proj.epsg == item.ext.proj.epsg
    assert proj.shape == [31, 47]
    assert proj.transform is not None
    a, b, c, d, e, f = proj.transform[:6]
    for i, j in ((0, 0), (30, 46), (7, 11)):
        assert (a * (j + 0.5) + b * (i + 0.5) + c, d * (j + 0.5) + e * (i + 0.5) + f) == pytest.approx(
            (float(ds.x[j]), float(ds.y[i]))
        )
    half = 750.0
    assert item.ext.proj.bbox == pytest.approx(
        [float(ds.x[0]) - half, float(ds.y[-1]) - half, float(ds.x[-1]) + half, float(ds.y[0]) + half]
    )


def test_a_projection_without_a_code_is_told_in_full() -> None:
    ds = make_map(shape=(20, 20), crs="+proj=laea +lat_0=80 +lon_0=30 +datum=WGS84 +units=m", centre=(30.0, 80.0))
    proj = item_of(ds).ext.proj
    assert proj.epsg is None
    assert proj.wkt2 is not None
    assert CRS.from_wkt(proj.wkt2) == MapGrid.of(ds).pyproj_crs


def rolled(shape: shapely.Geometry, middle: float) -> shapely.Geometry:
    """Parts that were cut at the antimeridian side by side, in longitudes around a middle."""
    parts = []
    for part in shapely.get_parts(shape):
        turns = round((middle - shapely.get_coordinates(part)[:, 0].mean()) / 360)
        parts.append(affinity.translate(part, 360.0 * turns))
    return shapely.union_all(parts)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["svalbard", "antimeridian", "utm 60", "south"]), st.integers(1, 25))
@example(0, "antimeridian", 1)
def test_the_footprint_is_the_hull_of_the_observed_pixels(seed: int, place: str, n: int) -> None:
    """In map coordinates, against Qhull, to two pixels."""
    crs, centre = PLACES[place]
    rng = np.random.default_rng(seed)
    ds = make_map(shape=(30, 40), spacing_m=4000.0, crs=crs, centre=centre, border=False, land=0)
    observed = np.zeros((30, 40), bool)
    observed[rng.integers(0, 30, n), rng.integers(0, 40, n)] = True
    grid = MapGrid.of(ds)
    outline = rolled(footprint(masked(ds, observed), grid), centre[0])
    assert outline.is_valid
    back = Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    got = shapely.transform(outline, lambda c: np.column_stack(back.transform(*c.T)))
    row, column = np.nonzero(observed)
    corners = np.concatenate([np.column_stack([column + a, row + b]) for a in (0, 1) for b in (0, 1)])
    corners = corners[ConvexHull(corners).vertices]
    want = shapely.Polygon(np.column_stack([grid.left + corners[:, 0] * 4000.0, grid.top - corners[:, 1] * 4000.0]))
    assert shapely.hausdorff_distance(shapely.segmentize(got, 1000.0), shapely.segmentize(want, 1000.0)) < 2.2 * 4000.0


def test_where_nothing_was_observed_the_footprint_is_the_grids() -> None:
    ds = make_map(shape=(20, 30), spacing_m=4000.0, centre=(-10.0, 78.0))
    outline = footprint(masked(ds, np.zeros((20, 30), bool)), MapGrid.of(ds))
    geod_area = abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.orient_polygons(outline))[0])
    assert geod_area == pytest.approx(20 * 30 * 4000.0**2, rel=0.05)  # the scale of the projection


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.floats(-1, 1), st.floats(10_000, 900_000), st.floats(10_000, 900_000), st.booleans())
@example(180.0, 0.0, 500_000.0, 500_000.0, False)
@example(0.0, 1.0, 500_000.0, 500_000.0, False)
def test_a_bounding_box_holds_the_whole_shape_and_no_more(
    lon: float, away: float, wide: float, tall: float, south: bool
) -> None:
    """Boxes of the map around a place, over the antimeridian and the pole or not, against points along their sides."""
    crs, lat = ("EPSG:3031", -78.0) if south else ("EPSG:3413", 78.0)
    lat = (90 - abs(away) * 25) * (-1 if south else 1)
    forward = Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    x, y = forward.transform(lon, lat)
    box = shapely.box(x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2)
    west, south_, east, north = bounding_box(to_lonlat(np.array([box], dtype=object), crs)[0])
    rim = shapely.get_coordinates(shapely.segmentize(box.exterior, 2000.0))
    u, v = forward.transform(rim[:, 0], rim[:, 1], direction="INVERSE")
    pole = box.contains(shapely.Point(0, 0))
    near_pole = box.exterior.distance(shapely.Point(0, 0)) < 5000
    if near_pole:
        return
    assert -180 <= west <= 180
    assert -180 <= east <= 180
    atol = 0.05
    if pole:
        assert (west, east) == (-180, 180)
        assert (-90 if south else 90) in (south_, north)
        return
    span = (east - west) % 360
    offset = (u - west + atol) % 360
    assert (offset <= span + 2 * atol).all()
    assert v.min() >= south_ - atol
    assert v.max() <= north + atol
    # The box is no wider than the shape: its longitudes without the largest gap between them.
    ordered = np.sort(u % 360)
    gap = max(np.diff(ordered).max(), ordered[0] + 360 - ordered[-1])
    assert span == pytest.approx(360 - gap, abs=0.5)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2018-01-16T07:54:30.000000Z", datetime(2018, 1, 16, 7, 54, 30, tzinfo=UTC)),
        ("2018-01-16T07:54:30", datetime(2018, 1, 16, 7, 54, 30, tzinfo=UTC)),
        ("2018-01-16T09:54:30.25+02:00", datetime(2018, 1, 16, 7, 54, 30, 250_000, tzinfo=UTC)),
        ("2017-12-31T23:59:59.999999-00:30", datetime(2018, 1, 1, 0, 29, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_times_are_told_in_utc(text: str, want: datetime) -> None:
    ds = make_map(shape=(10, 10), start_time=text)
    del ds.attrs["stop_time"]
    item = pystac.Item.from_dict(json.loads(json.dumps(item_of(ds).to_dict())))
    assert item.datetime == want
    common = item.common_metadata
    assert common.start_datetime == common.end_datetime == want
    assert common.created is not None
    assert abs((datetime.now(UTC) - common.created).total_seconds()) < 60


@pytest.mark.parametrize("text", ["yesterday", "", "2018-13-01T00:00:00Z", "None"])
def test_a_time_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ContractError, match="not ISO 8601") as error:
        item_of(make_map(shape=(10, 10), start_time=text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("product", "told"),
    [
        (
            "S1C_IW_GRDH_1SDV_20250402T054321_20250402T054346_001713_002E3F_8A1B",
            ("IW", "sentinel-1c", ["VV", "VH"], 1713, "GRD"),
        ),
        (
            "S1A_S4_GRDH_1SSH_20250118T171404_20250118T171421_057638_000538_4B8B",
            ("S4", "sentinel-1a", ["HH"], 57638, "GRD"),
        ),
        (
            "S1B_EW_GRDM_1SDH_20180116T075430_20180116T075530_009177_0106B9_9FE3.SAFE",
            ("EW", "sentinel-1b", ["HH", "HV"], 9177, "GRD"),
        ),
        (
            "S1A_WV_SLC__1SSV_20160304T003433_20160304T003500_010212_00F148_7B7F",
            ("WV", "sentinel-1a", ["VV"], 10212, "SLC"),
        ),
    ],
)
def test_the_products_name_is_told_in_the_terms_of_the_extensions(
    product: str, told: tuple[str, str, list[str], int, str]
) -> None:
    mode, platform, polarizations, orbit, kind = told
    item = pystac.Item.from_dict(item_of(make_map(shape=(10, 10), product=product)).to_dict())
    assert item.ext.sar.instrument_mode == mode
    assert [p.value for p in item.ext.sar.polarizations] == polarizations
    assert item.ext.sar.product_type == kind
    assert item.ext.sar.frequency_band.value == "C"
    assert item.ext.sar.center_frequency == pytest.approx(299_792_458 / 0.0554657e9, rel=1e-3)  # of its wavelength
    assert item.ext.sat.absolute_orbit == orbit
    assert item.common_metadata.platform == platform


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_any_product_name_gives_an_item_that_can_be_a_file_name(product: str) -> None:
    item = item_of(make_map(shape=(4, 4), border=False, land=0, product=product))
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", item.id)
    json.dumps(item.to_dict(), allow_nan=False)


@pytest.mark.parametrize("kind", ["exclusive", "multilabel"])
def test_values_are_what_their_classes_and_bits_say(kind: Kind) -> None:
    """Every value in a raster of codes is told; bits decoded by the item are those that CF attributes tell."""
    make = make_map if kind == "exclusive" else make_phenomena_map
    ds = make(shape=(80, 90), radar=("HH", "HV"))
    item = pystac.Item.from_dict(item_of(ds, kind).to_dict())
    for layer in LAYERS[kind]:
        fields, values = item.assets[layer.asset].extra_fields, ds[layer.variable].values
        assert fields["data_type"] == values.dtype.name
        if layer.holds == "radar":
            assert [band["name"] for band in fields["bands"]] == ["HH", "HV", "HV/HH"]
            assert fields["nodata"] == 0
        if layer.holds == "code":
            told = {Classification(c).value: Classification(c) for c in fields["classification:classes"]}
            assert set(np.unique(values).tolist()) <= set(told)
            assert [v for v, c in told.items() if c.nodata] == [fields["nodata"]] == [255]
            attrs = ds[layer.variable].attrs
            names = zip(attrs.get("flag_values", ()), attrs.get("flag_meanings", "").split(), strict=True)
            assert all(told[int(value)].name == name for value, name in names)
        if layer.holds == "bits":
            bits = [Bitfield(b) for b in fields["classification:bitfields"]]
            assert sum(((1 << b.length) - 1) << b.offset for b in bits) >= int(values.max())
            assert len({b.offset for b in bits}) == len(bits)
            attrs = ds[layer.variable].attrs
            if "flag_masks" in attrs:
                cf = dict(zip(attrs["flag_meanings"].split(), np.atleast_1d(attrs["flag_masks"]).tolist(), strict=True))
                assert {b.name: 1 << b.offset for b in bits} == cf
            assert fields.get("nodata") == (1 if layer.variable == "quality_flags" else None)
        of_bands = [b["name"] for b in fields["bands"]]
        assert [b["name"] for b in fields["eo:bands"]] == of_bands
        if "category" in ds[layer.variable].dims:
            assert of_bands == list(ds["category"].values)
        elif layer.holds != "radar":
            assert of_bands == [layer.asset]


def test_colours_are_those_of_the_scheme() -> None:
    ds = make_map(shape=(10, 10))
    told = item_of(ds).assets["class"].extra_fields["classification:classes"]
    colours = {c["name"]: tuple(bytes.fromhex(c["color_hint"])) for c in told if "color_hint" in c}
    from frazil.conventions import FIVE_CLASSES

    assert {c.name: c.colour for c in FIVE_CLASSES.classes}.items() <= colours.items()


def test_only_files_that_were_written_are_assets() -> None:
    item = make_item(make_map(shape=(10, 10)), {"figure": "map.png"})
    assert {name: asset.href for name, asset in item.assets.items()} == {"figure": "./map.png"}
    assert not any("classification" in uri for uri in item.stac_extensions)


def test_a_note_and_prior_knowledge_are_told() -> None:
    ds = make_map(shape=(10, 10), note="DO NOT TRUST", prior="chart of 3 May")
    told = item_of(ds).properties
    assert told["description"].endswith("DO NOT TRUST")
    assert "chart of 3 May" in told["processing:lineage"]
