"""Patches against brute force: shapely for polygons, the truth raster for rasters, the scene itself for pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyproj import CRS

from frazil.conventions import BINARY, FIVE_CLASSES
from frazil.errors import LabelError, LabelNotFoundError, OptionError, OutputError, OutputExistsError
from frazil.files import whole_output
from frazil.labels.class_raster import RasterLabels, raster_code
from frazil.labels.classes import LabelOptions, class_code
from frazil.labels.contact_sheet import contact_sheet
from frazil.labels.cutting import clear, uniform
from frazil.labels.patch_set import (
    join_patches,
    labelled,
    open_patches,
    patch_statistics,
    save_patches,
    season_of,
    stream_patches,
)
from frazil.labels.patches import cut_patches
from frazil.labels.sample_set import blocks
from frazil.labels.sources import PolygonLabels, open_labels
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid
from frazil.scene.scaling import to_db
from frazil.sentinel1.scene import open_scene

TRUTH = "{folder}/{scene}_truth/ice_class.tif"
CLASSES = LabelOptions(class_column="kind")


@pytest.fixture(scope="module")
def scene(small_safe: Path) -> xr.Dataset:
    """Six looks: 150 × 250 pixels, in memory."""
    return open_scene(small_safe, looks=6).load()


def box(scene: xr.Dataset, rows: tuple[float, float], columns: tuple[float, float]) -> shapely.Polygon:
    """A rectangle of scene pixels, corners at pixel edges, as a polygon in longitude and latitude."""
    looks, t = scene.attrs["looks"], np.linspace(0, 1, 30)
    (r0, r1), (c0, c1) = rows, columns
    row = np.concatenate([r0 + 0 * t, r0 + (r1 - r0) * t, r1 + 0 * t, r1 + (r0 - r1) * t])
    column = np.concatenate([c0 + (c1 - c0) * t, c1 + 0 * t, c1 + (c0 - c1) * t, c0 + 0 * t])
    return shapely.Polygon(np.column_stack(Geolocation.of(scene).lonlat(row * looks - 0.5, column * looks - 0.5)))


def table(shapes: list[shapely.Geometry], kinds: list, **columns: list) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"kind": kinds, **columns}, geometry=shapes, crs="EPSG:4326")


def cut(scene: xr.Dataset | list[xr.Dataset], frame: Any, **options: Any) -> xr.Dataset:
    usual: dict[str, Any] = {"options": CLASSES, "mask_land": False, "size": 8, "stride": 4, "channels": ("hh",)}
    return cut_patches(scene, frame, **usual | options)


def first_index(scene: xr.Dataset, patches: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    looks = scene.attrs["looks"]
    return tuple(((patches[n].values - scene[n].values[0]) / looks).round().astype(int) for n in ("line", "pixel"))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.tuples(st.integers(0, 120), st.integers(8, 60)),
    columns=st.tuples(st.integers(0, 200), st.integers(8, 90)),
    size=st.integers(2, 20),
    stride=st.integers(1, 13),
)
def test_the_number_of_patches_in_a_rectangle(
    scene: xr.Dataset, rows: tuple[int, int], columns: tuple[int, int], size: int, stride: int
) -> None:
    """Positions k·stride with the whole patch inside, along both axes."""
    ends = [(a, min(a + n, limit)) for (a, n), limit in zip((rows, columns), (150, 250), strict=True)]
    along, across = (
        [k for k in range(0, limit, stride) if a <= k and k + size <= b]
        for (a, b), limit in zip(ends, (150, 250), strict=True)
    )
    shape = box(scene, *[(a + 0.02, b - 0.02) for a, b in ends])  # centres decide, so a hair less changes nothing
    if not (along and across):
        with pytest.raises(LabelError, match="holds a whole patch"):
            cut(scene, table([shape], ["young_ice"]), size=size, stride=stride)
        return
    patches = cut(scene, table([shape], ["young_ice"]), size=size, stride=stride)
    row, column = first_index(scene, patches)
    assert sorted(zip(row.tolist(), column.tolist(), strict=True)) == [(r, c) for r in along for c in across]
    assert set(patches["label"].values) == {2}


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_pixel_of_a_patch_lies_in_its_polygon(data: st.DataObject, scene: xr.Dataset) -> None:
    geo = Geolocation.of(scene)
    shapes = []
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 900)), data.draw(st.integers(0, 1500))
        radius = np.array(data.draw(st.lists(st.floats(20, 400), min_size=5, max_size=9)))
        angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
        star = np.column_stack(geo.lonlat(at[0] + radius * np.sin(angle), at[1] + radius * np.cos(angle)))
        shapes.append(shapely.Polygon(star))
    kinds = data.draw(st.lists(st.sampled_from(["open_water", "young_ice", "95"]), min_size=4, max_size=4))
    try:
        patches = cut(scene, table(shapes, kinds[: len(shapes)]))
    except LabelError as error:
        assert "label of" in str(error) or "whole patch" in str(error)  # noqa: PT017
        return
    row, column = first_index(scene, patches)
    codes = {"open_water": 0, "young_ice": 2, "95": 4}
    for i in range(0, patches.sizes["patch"], 1 + patches.sizes["patch"] // 40):
        window = slice(row[i], row[i] + 8), slice(column[i], column[i] + 8)
        lon, lat = geo.lonlat(scene["line"].values[window[0]][:, None], scene["pixel"].values[window[1]][None, :])
        mine = int(patches["polygon"][i])
        metres = 12 / 111_000  # straight edges in the file are densified, so a pixel may be off by metres
        assert shapely.contains_xy(shapes[mine].buffer(metres), lon, lat).all()
        others = [s.buffer(-metres) for k, s in enumerate(shapes) if k != mine]
        assert not any(shapely.contains_xy(s, lon, lat).any() for s in others)
        assert patches["label"][i] == codes[kinds[mine]]
        centre = geo.lonlat(scene["line"].values[window[0]].mean(), scene["pixel"].values[window[1]].mean())
        assert (float(patches["longitude"][i]), float(patches["latitude"][i])) == pytest.approx(
            tuple(map(float, centre))
        )
    assert np.isfinite(patches["image"]).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(1, 6), stride=st.integers(1, 4))
def test_uniform_and_clear_by_brute_force(seed: int, size: int, stride: int) -> None:
    rng = np.random.default_rng(seed)
    region = np.repeat(np.repeat(rng.integers(-1, 3, (5, 5)), 3, 0), 3, 1)
    rows = columns = np.arange(0, 15 - size + 1, stride)
    found = uniform(region, rows, columns, size)
    i, j = (v.ravel() for v in np.meshgrid(rows, columns, indexing="ij"))
    free = clear(region == 1, i, j, size).reshape(found.shape)
    for a, r in enumerate(rows):
        for b, c in enumerate(columns):
            window = region[r : r + size, c : c + size]
            assert found[a, b] == ((window == window[0, 0]).all() and window[0, 0] >= 0)
            assert free[a, b] == (not (window == 1).any())


def test_pixels_units_and_provenance(scene: xr.Dataset) -> None:
    channels = ("hh", "hv", "nesz", "incidence_angle")
    patches = cut(scene, table([box(scene, (20, 100), (30, 200))], [83]), channels=channels)
    names = ["hh", "hv", "nesz_hh", "nesz_hv", "incidence_angle"]
    assert patches["channel"].values.tolist() == names
    assert patches["channel_units"].values.tolist() == ["dB"] * 4 + ["degree"]
    row, column = first_index(scene, patches)
    for i in (0, 17, -1):
        window = {"line": slice(row[i], row[i] + 8), "pixel": slice(column[i], column[i] + 8)}
        wanted = [
            *to_db(scene["sigma0"].isel(window).values),
            *to_db(scene["nesz"].isel(window).values),
            scene["incidence_angle"].isel(window).values,
        ]
        np.testing.assert_array_equal(patches["image"][i], wanted)
    assert set(patches["scene"].values) == {scene.attrs["product"]}
    assert set(patches["polygon"].values) == {0}
    assert abs(patches["time"].values - np.datetime64(scene.attrs["start_time"])).max() < np.timedelta64(10, "s")
    month = int(scene.attrs["start_time"][5:7])
    assert set(patches["season"].values) == {["DJF", "MAM", "JJA", "SON"][month % 12 // 3]}
    assert patches.attrs["looks"] == 6
    assert patches["label"].attrs["flag_meanings"].split()[2] == "young_ice"


def test_no_patch_holds_a_missing_pixel_or_land(scene: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    holes = scene.copy(deep=True)
    rng = np.random.default_rng(0)
    bad = rng.random((150, 250)) < 0.002
    holes["sigma0"].values[0][bad] = np.nan
    frame = table([box(scene, (0, 150), (0, 250))], ["open_water"])
    patches = cut(holes, frame, channels=("hh", "hv"))
    assert np.isfinite(patches["image"]).all()
    row, column = first_index(scene, patches)
    possible = [(r, c) for r in range(0, 143, 4) for c in range(0, 243, 4) if not bad[r : r + 8, c : c + 8].any()]
    assert sorted(zip(row.tolist(), column.tolist(), strict=True)) == possible
    counts = patches.attrs["counts"]
    assert counts["left_out_missing"] == counts["inside"] - counts["patches"] > 0

    land = np.zeros((150, 250), bool)
    land[60:90, 100:130] = True

    def islands(part: xr.Dataset) -> xr.Dataset:
        at = [((part[n].values - scene[n].values[0]) / 6).round().astype(int) for n in ("line", "pixel")]
        return part.assign(land_mask=(("line", "pixel"), land[np.ix_(*at)]))

    monkeypatch.setattr("frazil.labels.patches.add_land", islands)
    dry = cut(scene, frame, mask_land=True)
    row, column = first_index(scene, dry)
    assert not any(land[r : r + 8, c : c + 8].any() for r, c in zip(row, column, strict=True))
    assert dry.attrs["counts"]["left_out_land"] == sum(
        land[r : r + 8, c : c + 8].any() for r in range(0, 143, 4) for c in range(0, 243, 4)
    )


def test_land_in_the_labels_and_overlaps_are_left_out(scene: xr.Dataset) -> None:
    frame = table([box(scene, (0, 150), (0, 100)), box(scene, (0, 150), (100, 250))], ["land", "Young ice"])
    patches = cut(scene, frame)
    assert patches["pixel"].min() >= scene["pixel"].values[100]
    frame = table([box(scene, (0, 80), (0, 250)), box(scene, (60, 150), (0, 250))], ["open_water", "open_water"])
    row, _ = first_index(scene, cut(scene, frame))
    assert not ((row + 8 > 60) & (row < 80)).any()
    assert (row + 8 <= 60).any()
    assert (row >= 80).any()


@pytest.mark.parametrize(("looks", "size"), [(1, 20), (3, 10), (6, 6), (2, 9)])
def test_a_class_raster_in_radar_geometry(small_safe: Path, looks: int, size: int) -> None:
    """Every truth pixel under a patch is of its class, whatever the looks."""
    patches = cut_patches(small_safe, TRUTH, looks=looks, size=size, channels=("hh",), mask_land=False, limit=150)
    with rasterio.open(TRUTH.format(folder=small_safe.parent, scene=small_safe.stem)) as file:
        truth = file.read(1)
    seen = set()
    for i in range(patches.sizes["patch"]):
        line, pixel = (float(patches[n][i]) - (looks - 1) / 2 for n in ("line", "pixel"))
        rows = slice(int(line // 3), int((line + looks * size - 1) // 3) + 1)
        columns = slice(int(pixel // 3), int((pixel + looks * size - 1) // 3) + 1)
        assert set(np.unique(truth[rows, columns])) == {int(patches["label"][i])}
        seen.add(int(patches["label"][i]))
    assert 0 in seen
    counts = np.bincount(patches["label"].values)
    assert counts.max() <= 150
    assert patches.attrs["counts"]["left_out_limit"] > 0
    assert set(patches["polygon"].values) == {-1}


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:32646", "EPSG:4326"])
def test_a_class_raster_in_a_projection(scene: xr.Dataset, tmp_path: Path, crs: str) -> None:
    """A checkerboard of two classes on a map: the class of each patch from the place of its centre."""
    geo = Geolocation.of(scene)
    reference = rasterio.crs.CRS.from_string(crs)
    x, y = geo.xy(scene["line"].values[[0, 0, -1, -1]], scene["pixel"].values[[0, -1, 0, -1]], MapGridCRS(crs))
    step = (x.max() - x.min()) / 900
    width, height = 1000, int((y.max() - y.min()) / step) + 100
    codes = np.where((np.arange(width) // 200 + np.arange(height)[:, None] // 200) % 2 == 0, 7, 9).astype(np.uint8)
    transform = rasterio.Affine(step, 0, x.min() - 50 * step, 0, -step, y.max() + 50 * step)
    path = tmp_path / "classes.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=1,
        dtype="uint8",
        crs=reference,
        transform=transform,
        nodata=0,
    ) as file:
        file.write(codes, 1)
    with pytest.raises(LabelError, match=r"'7', '9', which is no class of five_classes .*--class"):
        cut(scene, path, options=None)
    patches = cut(scene, path, options=LabelOptions(classes={"7": "open_water", "9": "deformed_ice"}), size=4)
    row, column = first_index(scene, patches)
    for corner in ((0, 0), (0, 3), (3, 0), (3, 3)):
        at = scene["line"].values[row + corner[0]], scene["pixel"].values[column + corner[1]]
        px, py = geo.xy(*at, MapGridCRS(crs))
        j, i = (px - transform.c) / transform.a, (py - transform.f) / transform.e
        values = codes[i.astype(int), j.astype(int)]
        np.testing.assert_array_equal(patches["label"], np.where(values == 7, 0, 4))
    assert set(patches["label"].values) == {0, 4}


def MapGridCRS(name: str) -> CRS:
    from pyproj import CRS

    return CRS.from_user_input(name)


def test_rasters_that_do_not_belong(small_safe: Path, scene: xr.Dataset, tmp_path: Path) -> None:
    from frazil.simulate.product import simulate_product

    other = simulate_product(tmp_path, seed=8, lines=(3000, 3600), pixels=(100, 700))
    with pytest.raises(LabelError, match="is not in the radar geometry of S1A.*tie points"):
        cut(scene, str(other).replace(".SAFE", "_truth/ice_class.tif"), options=None)
    with pytest.raises(LabelNotFoundError, match="No labels at"):
        cut(scene, tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(LabelError, match="cannot be read as a class raster"):
        cut(scene, tmp_path / "text.tif", options=None)
    grid = MapGrid(crs="EPSG:3413", left=0, top=0, spacing_m=100, shape=(20, 20))
    for name, dtype, extra, words in (
        ("float.tif", "float32", {"crs": "EPSG:3413", "transform": grid.transform}, "holds integers"),
        ("far.tif", "uint8", {"crs": "EPSG:3413", "transform": grid.transform}, "has a label of .*far.tif"),
    ):
        profile = {"driver": "GTiff", "width": 20, "height": 20, "count": 1, "dtype": dtype, **extra}
        with rasterio.open(tmp_path / name, "w", **profile) as file:
            file.write(np.ones((1, 20, 20), dtype))
        with pytest.raises(LabelError, match=words):
            cut(scene, tmp_path / name, options=None)


@pytest.mark.parametrize(
    ("value", "five", "binary"),
    [
        ("open_water", 0, 0),
        ("Open water", 0, 0),
        ("young_ice", 2, 1),
        ("02", 0, 0),
        ("01", 1, 1),
        ("83", 2, 1),
        (83, 2, 1),
        (86.0, 3, 1),
        ("95", 4, 1),
        (0, 0, 0),
        (1, 1, 1),
        ("3", 3, None),
        ("land", 254, 254),
        ("", 255, 255),
        (None, 255, 255),
        (np.nan, 255, 255),
        ("sea_ice", None, 1),
        ("old_ice", None, 1),
        ("walrus", None, None),
        ("skip", 255, 255),
        ("7", None, None),
    ],
)
def test_what_a_value_means(value: object, five: int | None, binary: int | None) -> None:
    assert class_code(value, FIVE_CLASSES, {"skip": ""}) == five
    assert class_code(value, BINARY, {"skip": ""}) == binary


@pytest.mark.parametrize("keys", [("1.0", "2.0"), ("1", "2"), ("01", "2")])
@pytest.mark.parametrize("values", [[1.0, 2.0, None], [1, 2, 1], ["1", "2", ""], ["1.0", "02", None]])
def test_numbers_are_compared_as_numbers(keys: tuple[str, str], values: list) -> None:
    """1 is brash ice in the scheme, and less than a tenth in a chart: what the user says of it goes."""
    frame = gpd.GeoDataFrame({"kind": values}, geometry=[shapely.box(0, 70, 1, 71)] * 3, crs=4326)
    classes = dict(zip(keys, ("open_water", "young_ice"), strict=True))
    labels = open_labels(frame, FIVE_CLASSES, LabelOptions(class_column="kind", classes=classes))
    assert isinstance(labels, PolygonLabels)
    assert labels.code.tolist() == [0, 2, 0 if values == [1, 2, 1] else 255]


def test_with_any_meaning_given_every_other_value_is_an_error(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0, 83.0, None]
    frame = gpd.GeoDataFrame({"kind": values}, geometry=[shapely.box(0, 70, 1, 71)] * 5, crs=4326)
    with pytest.raises(LabelError, match="holds '2.0', '3.0', '83.0', which"):
        open_labels(frame, FIVE_CLASSES, LabelOptions(class_column="kind", classes={"1": "open_water"}))
    many = gpd.GeoDataFrame({"kind": range(200, 230)}, geometry=[shapely.box(0, 70, 1, 71)] * 30, crs=4326)
    with pytest.raises(LabelError, match="'200', .*'229', which"):
        open_labels(many, FIVE_CLASSES, LabelOptions(class_column="kind", classes={"200.5": "young_ice"}))
    path = tmp_path / "r.tif"
    how = {"driver": "GTiff", "width": 4, "height": 1, "count": 1, "dtype": "uint8", "crs": "EPSG:3413"}
    with rasterio.open(path, "w", **how, transform=rasterio.transform.from_origin(0, 0, 9, 9)) as file:
        file.write(np.array([[[1, 2, 254, 255]]], np.uint8))
    raster = open_labels(path, FIVE_CLASSES, LabelOptions(classes={"1.0": "open_water", "2": "young_ice"}))
    assert isinstance(raster, RasterLabels)
    code = [raster_code(v, FIVE_CLASSES, raster.meaning, None) for v in (1, 2, 3, 254, 255)]
    assert code == [0, 2, None, 254, 255]


def test_charts_and_polygons_of_several_products(small_safe: Path, scene: xr.Dataset, tmp_path: Path) -> None:
    frame = table(
        [box(scene, (0, 70), (0, 250)), box(scene, (80, 150), (0, 250))],
        ["open_water", "young_ice"],
        product=[small_safe.name, "S1A_of_another_day.SAFE"],
    )
    frame.to_file(tmp_path / "polygons.gpkg")
    options = LabelOptions(class_column="kind", scene_column="product")
    patches = cut(scene, tmp_path / "polygons.gpkg", options=options)
    assert set(patches["label"].values) == {0}
    with pytest.raises(LabelError, match="has a label of"):
        cut(scene, frame.assign(product="another"), options=options)
    chart = tmp_path / "chart.shp"
    gpd.GeoDataFrame(
        {"POLY_TYPE": ["W", "I"], "CT": ["01", "92"], "SA": ["", "96"]}, geometry=frame.geometry, crs=4326
    ).to_file(chart)
    assert set(cut(scene, chart, options=None)["label"].values) == {0, 4}
    assert set(cut(scene, chart, options=None, scheme="ai4arctic")["label"].values) == {0, 5}
    with pytest.raises(
        LabelError, match=r"is not a SIGRID-3 chart; it has the columns \['kind', 'product'\].*--class-c"
    ):
        cut(scene, tmp_path / "polygons.gpkg", options=None)
    with pytest.raises(LabelError, match="has no column 'clas'"):
        cut(scene, tmp_path / "polygons.gpkg", options=LabelOptions(class_column="clas"))
    with pytest.raises(LabelError, match="holds 'walrus', which is no class of binary"):
        cut(scene, table([box(scene, (0, 50), (0, 50))], ["walrus"]), scheme="binary")


def test_labels_elsewhere_and_labels_too_small(scene: xr.Dataset) -> None:
    with pytest.raises(LabelError, match="has a label of .* Are these the labels"):
        cut(scene, table([shapely.box(0, -60, 10, -50)], ["young_ice"]))
    with pytest.raises(LabelError, match="whole patch of 8 × 8 pixels. Choose a smaller size"):
        cut(scene, table([box(scene, (10, 15), (10, 15))], ["young_ice"]))
    with pytest.raises(LabelError, match="has a label"):
        cut(scene, table([box(scene, (0, 50), (0, 50))], [None]))


def test_impossible_options(scene: xr.Dataset, small_safe: Path) -> None:
    frame = table([box(scene, (0, 50), (0, 50))], ["young_ice"])
    for options, words in (
        ({"size": 0}, "must be 1 or more"),
        ({"stride": 0}, "must be 1 or more"),
        ({"channels": ("hx",)}, "'hx' is not"),
        ({"channels": ()}, "is not one of"),
        ({"channels": ("incidence_angle",)}, "hold no backscatter"),
        ({"channels": ("hh", "hh")}, "name one twice"),
        ({"channels": ("vv",)}, "need VV, but S1A.*Choose other"),
        ({"scheme": "six"}, "'six' is not one of"),
    ):
        with pytest.raises(OptionError, match=words):
            cut(scene, frame, **options)
    with pytest.raises(OptionError, match="no scenes"):
        cut([], frame)
    with pytest.raises(OptionError, match="3 scenes and 2 files of labels"):
        cut([scene] * 3, [frame] * 2)


@pytest.fixture(scope="module")
def patches(scene: xr.Dataset) -> xr.Dataset:
    kinds = ["open_water", "young_ice", "deformed_ice"]
    shapes = [box(scene, (50 * k, 50 * k + 50), (0, 250)) for k in range(3)]
    return cut(scene, table(shapes, kinds), stride=3, channels=("hh", "hv", "incidence_angle"))


def test_a_store_gives_back_what_was_saved(patches: xr.Dataset, tmp_path: Path) -> None:
    path = save_patches(patches, tmp_path / "p.zarr")
    again = open_patches(path)
    xr.testing.assert_identical(again.load().drop_attrs(), patches.drop_attrs())
    assert again.attrs.pop("written_by").startswith("Written by frazil")
    assert again.attrs == {k: v for k, v in patches.attrs.items() if k in again.attrs}
    assert {"size", "stride", "class_scheme", "counts", "labels"} <= set(again.attrs)
    plain = xr.open_zarr(path, consolidated=False)  # without frazil
    assert plain.attrs["class_names"][2] == "young_ice"
    np.testing.assert_array_equal(plain["label"], patches["label"])
    with pytest.raises(OutputExistsError):
        save_patches(patches, path)
    save_patches(patches.isel(patch=slice(0, 3)), path, overwrite=True)
    assert open_patches(path).sizes["patch"] == 3
    with pytest.raises(OptionError, match=".zarr"):
        save_patches(patches, tmp_path / "p.nc")


def test_streaming_equals_memory(small_safe: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"size": 12, "stride": 9, "looks": 2, "channels": ("hh",), "mask_land": False}
    memory = cut_patches([small_safe] * 2, TRUTH, **options)
    streamed = cut_patches([small_safe] * 2, TRUTH, **options, path=tmp_path / "s.zarr")
    xr.testing.assert_identical(streamed.load().drop_attrs(), memory.drop_attrs())
    assert streamed.attrs["counts"] == memory.attrs["counts"]
    assert streamed.attrs["counts"]["patches"] == memory.sizes["patch"]


def test_nothing_is_left_when_writing_fails(patches: xr.Dataset, tmp_path: Path) -> None:
    def broken() -> Iterator[xr.Dataset]:
        yield from blocks(patches, 100)
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        stream_patches(broken(), tmp_path / "p.zarr")
    with pytest.raises(LabelError, match="no patch"):
        stream_patches(iter([]), tmp_path / "p.zarr")
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_stores(patches: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(LabelNotFoundError, match="frazil patches"):
        open_patches(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(LabelError, match="not a patch set or is damaged"):
        open_patches(tmp_path / "empty.zarr")
    path = save_patches(patches, tmp_path / "p.zarr")
    with whole_output(path / "zarr.json", overwrite=True) as part:
        part.write_text(json.dumps(json.loads((path / "zarr.json").read_text()) | {"attributes": {}}))
    with pytest.raises(LabelError, match="damaged"):
        open_patches(path)


def test_statistics_by_numpy(patches: xr.Dataset, tmp_path: Path) -> None:
    lazy = open_patches(save_patches(patches, tmp_path / "p.zarr"))
    found = patch_statistics(lazy)
    image = patches["image"].values.astype(float)
    np.testing.assert_allclose(found["mean"], image.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(found["std"], image.std(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(found["minimum"], image.min(axis=(0, 2, 3)))
    assert found["count"].sum() == patches.sizes["patch"]
    assert found["count"].values.tolist() == [np.bincount(patches["label"], minlength=5).tolist()]
    some = patches.copy(deep=True)
    some["label"].values[:7] = 255
    assert patch_statistics(some)["count"].sel(category="unlabelled").sum() == 7
    assert labelled(some).sizes["patch"] == patches.sizes["patch"] - 7


def test_sets_of_different_kind_do_not_join(scene: xr.Dataset, patches: xr.Dataset) -> None:
    frame = table([box(scene, (0, 50), (0, 50))], ["young_ice"])
    other = {"channels": ("hh", "hv", "incidence_angle")}
    with pytest.raises(LabelError, match="differ in height: 8 and 9"):
        join_patches([patches, cut(scene, frame, size=9, **other)])
    with pytest.raises(LabelError, match="differ in channels"):
        join_patches([patches, cut(scene, frame, channels=("hh", "hv", "nesz_hv"))])
    with pytest.raises(LabelError, match="differ in classes: five_classes and binary"):
        join_patches([patches, cut(scene, frame, scheme="binary", **other)])
    both = join_patches([patches, patches])
    assert both.sizes["patch"] == 2 * patches.sizes["patch"]


def test_seasons() -> None:
    times = np.array(
        ["2020-01-01", "2020-02-29", "2020-03-01", "2020-06-01", "2020-09-30", "2020-12-31", "NaT"], "M8[ns]"
    )
    assert season_of(times).tolist() == ["DJF", "DJF", "MAM", "JJA", "SON", "DJF", "unknown"]


def test_the_contact_sheet_shows_every_class(patches: xr.Dataset, tmp_path: Path) -> None:
    path = contact_sheet(patches, tmp_path / "sheet.png")
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[1] > 1500
    for c in FIVE_CLASSES.classes:  # the chip of each class
        assert (np.abs(picture.astype(int) - c.colour).max(axis=-1) <= 2).sum() > 300
    grey = contact_sheet(patches.sel(channel=["hh"]).isel(patch=[0]), tmp_path / "one.png", columns=3, rows=1)
    assert grey.stat().st_size > 5000
    with pytest.raises(OptionError, match=".png"):
        contact_sheet(patches, tmp_path / "sheet.pdf")
    with pytest.raises(OutputExistsError):
        contact_sheet(patches, path)


def test_the_command(small_safe: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "frazil", "patches", "cut", str(small_safe), "--labels", TRUTH, "-o"]
    common = ["--size", "16", "--stride", "16", "--looks", "2", "--channels", "hh,hv", "--keep-land"]
    done = subprocess.run(
        [*command, str(tmp_path / "p.zarr"), *common, "--json"], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    patches = open_patches(tmp_path / "p.zarr")
    assert result["counts"]["patches"] == patches.sizes["patch"] == sum(result["classes"].values())
    assert (tmp_path / "p.png").exists()
    assert patches["channel"].values.tolist() == ["hh", "hv"]
    again = subprocess.run([*command, str(tmp_path / "p.zarr"), *common], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert again.stderr.startswith("frazil: Output")
    assert "Traceback" not in again.stderr
    wrong = subprocess.run(
        [*command, str(tmp_path / "q.zarr"), "--size", "4000"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 1
    assert "Choose a smaller size" in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "q.zarr").exists()
