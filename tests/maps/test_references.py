"""References of every documented layout give the same ice as the field they were filled with; bad ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from pyproj import CRS

from frazil.conventions import CLASS_LAND, CLASS_NODATA
from frazil.errors import FrazilError, LabelError, LabelNotFoundError, OptionError
from frazil.labels.classes import LabelOptions
from frazil.maps.compare import compare
from frazil.maps.netcdf import write_netcdf
from frazil.maps.rasters import Raster, RasterReference
from frazil.maps.references import KINDS, Reference, ReferenceOptions, open_reference
from frazil.maps.times import moment_since, span_of_name
from frazil.scene.grid import MapGrid
from frazil.testing import make_map
from tests import reference_files as make

DAY = "2018-01-16"


def square_polygons(
    ice_map: xr.Dataset, labels: list[tuple[tuple[float, float, float, float], str]]
) -> gpd.GeoDataFrame:
    """Boxes as shares of the grid (left, top, right, bottom, from the upper left corner) with a class each."""
    left, bottom, right, top = MapGrid.of(ice_map).bounds
    wide, tall = right - left, top - bottom
    boxes = [
        shapely.box(left + a * wide, top - d * tall, left + c * wide, top - b * tall) for (a, b, c, d), _ in labels
    ]
    return gpd.GeoDataFrame({"ice": [name for _, name in labels]}, geometry=boxes, crs=MapGrid.of(ice_map).crs)


@pytest.mark.parametrize("step_m", [500.0, 3000.0])
@pytest.mark.parametrize(
    ("name", "maker", "kind"),
    [
        ("ice_conc_nh_polstere-100_multi_201801161200.nc", make.osisaf_polar, "osisaf"),
        ("ice_conc_nh_ease2-250_cdr-v3p0_201801161200.nc", make.osisaf_ease, "osisaf"),
        ("asi-AMSR2-n6250-20180116-v5.4.nc", make.bremen_netcdf, "amsr2"),
        ("N_20180116_concentration_v3.0.tif", lambda p: make.raster(p, "nsidc16"), "nsidc"),
        ("N_20180116_extent_v3.0.tif", lambda p: make.raster(p, "extent"), "nsidc"),
        ("nt_20180116_f17_nrt_n.tif", lambda p: make.raster(p, "nsidc8"), "nsidc"),
        ("asi-AMSR2-n6250-20180116-v5.4.tif", lambda p: make.raster(p, "bremen", "EPSG:3413"), "amsr2"),
        ("conc_20180116.tif", lambda p: make.raster(p, "float", "EPSG:6931"), "concentration"),
        ("class_20180116.tif", lambda p: make.raster(p, "classes", "EPSG:32631"), "classes"),
    ],
)
def test_every_layout_gives_the_field_back(
    name: str, maker: Callable[[Path], Path], kind: str, step_m: float, tmp_path: Path
) -> None:
    """Whatever projection, unit, packing, row order and flags: the ice lies where the field is above 15 %."""
    ice_map = (
        make.true_map(step_m)
        if step_m == 500
        else make_map(
            codes=np.where(make.percent_on("EPSG:3413", *_axes(step_m)) >= 15, 3, 0).astype(np.uint8),
            centre=make.CENTRE,
            spacing_m=step_m,
        )
    )
    path = maker(tmp_path / name)
    reference = open_reference(path)
    assert reference.kind == kind
    assert reference.time is not None
    assert reference.time.middle == datetime(2018, 1, 16, 12, tzinfo=UTC)
    scores = compare(ice_map, path).scores
    cells = kind == "classes" or "extent" in name  # whole cells: a staircase of 10 km, on both sides alike
    assert scores["agreement_percent"] > (95 if cells else 98.5)
    assert abs(scores["over_km2"] - scores["under_km2"]) < 0.03 * scores["compared_km2"]
    assert scores["displacement"]
    assert scores["displacement"]["symmetric"]["median_km"] < (5 if cells else 2.0)
    assert scores["compared_percent_of_mapped_sea"] == 100


def _axes(spacing_m: float) -> tuple[np.ndarray, np.ndarray]:
    grid = MapGrid.of(make_map(codes=np.zeros((60, 70), np.uint8), centre=make.CENTRE, spacing_m=spacing_m))
    return grid.x, grid.y


def test_netcdf3_is_read_too(tmp_path: Path) -> None:
    ice_map = make.true_map()
    scores = [
        compare(ice_map, make.bremen_netcdf(tmp_path / f"{engine}.nc", engine=engine)).scores["iiee_km2"]
        for engine in ("h5netcdf", "scipy")
    ]
    assert scores[0] == scores[1]


def test_degrees_and_the_antimeridian(tmp_path: Path) -> None:
    """A file in longitude and latitude, 0 to 360, for a map across 180°; its seam lies elsewhere."""
    blank = make_map(codes=np.zeros((120, 120), np.uint8), centre=(180, 75), spacing_m=1000)
    grid = MapGrid.of(blank)
    codes = np.where(grid.y[:, None] + 0 * grid.x < np.median(grid.y), 1, 0).astype(np.uint8)
    ice_map = make_map(codes=codes, centre=(180, 75), spacing_m=1000)
    lon, lat = np.arange(0.05, 360, 0.1), np.arange(70.02, 80, 0.05)
    from pyproj import Transformer

    to_map = Transformer.from_crs("OGC:CRS84", "EPSG:3413", always_xy=True)
    y = to_map.transform(*np.meshgrid(lon, lat))[1]
    fraction = np.clip((np.median(grid.y) - y) / 20_000 + 0.15, 0, 1).astype(np.float32)
    xr.Dataset(
        {"siconc": (("lat", "lon"), fraction, {"standard_name": "sea_ice_area_fraction", "units": "1"})},
        {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})},
    ).to_netcdf(tmp_path / "model.nc", engine="h5netcdf")
    scores = compare(ice_map, tmp_path / "model.nc").scores
    assert scores["kind"] == "concentration"
    assert scores["agreement_percent"] > 99


def test_of_several_days_the_nearest_is_read(tmp_path: Path) -> None:
    path = make.osisaf_ease(tmp_path / "month.nc", days=5)  # ice on 16 January only
    assert compare(make.true_map(), path).scores["agreement_percent"] > 98.5
    later = make.true_map(start_time="2018-01-18T07:00:00Z", stop_time="2018-01-18T07:01:00Z")
    scores = compare(later, path).scores
    assert scores["ice_reference_km2"] == 0
    assert scores["reference_minus_map_h"] == pytest.approx(5, abs=0.1)
    with pytest.raises(LabelError, match="several maps along"):
        open_reference(path)


def test_land_of_the_reference_is_not_compared(tmp_path: Path) -> None:
    ice_map = make.true_map()
    half = compare(ice_map, make.osisaf_polar(tmp_path / "a.nc", land=True)).scores
    whole = compare(ice_map, make.osisaf_polar(tmp_path / "b.nc")).scores
    assert half["left_out_km2"]["reference_land"] > 1000
    assert half["compared_km2"] + half["left_out_km2"]["reference_land"] == pytest.approx(
        whole["compared_km2"], rel=1e-6
    )


def test_interpolation_moves_no_edge_of_a_ramp_and_nearest_counts_cells(tmp_path: Path) -> None:
    """Concentration rises evenly with x: the line of 15 % is known to the metre."""
    grid = MapGrid(crs="EPSG:3413", left=0.0, top=-1_000_000.0, spacing_m=250.0, shape=(80, 400))
    cell = 10_000.0
    columns = np.arange(14)
    x = -20_000 + (columns + 0.5) * cell
    percent = np.tile(np.clip((x - 30_000) / 400, 0, 100), (9, 1)).astype(np.float32)  # 15 % at x = 36 km
    path = make.write_tiff(tmp_path / "ramp.tif", percent, "EPSG:3413", Affine(cell, 0, -20_000, 0, -cell, -990_000.0))
    edge = int(36_000 / 250)
    codes = np.zeros(grid.shape, np.uint8)
    codes[:, edge:] = 1
    ice_map = make_map(codes=codes).assign_coords(xr.Dataset(coords=grid.coords()).coords)
    assert compare(ice_map, path).scores["iiee_km2"] == 0
    # the cell from 30 to 40 km has 12.5 %: water; by cells the ice starts at 40 km
    by_cells = compare(ice_map, path, resampling="nearest").scores
    assert by_cells["displacement"]
    assert by_cells["displacement"]["symmetric"]["median_km"] == pytest.approx(4, rel=0.05)
    assert by_cells["under_km2"] == 0


def test_charts_by_threshold_or_as_drawn(tmp_path: Path) -> None:
    ice_map = make_map(codes=np.zeros((80, 80), np.uint8))
    frame = square_polygons(ice_map, [((0, 0, 0.5, 1), "a"), ((0.5, 0, 1, 0.5), "b"), ((0.5, 0.5, 1, 1), "c")])
    frame = frame.assign(POLY_TYPE=["I", "I", "L"], CT=["92", "10", None]).drop(columns="ice")
    path = tmp_path / "chart_20180116T1800Z.gpkg"
    frame.to_file(path)
    codes = open_reference(path).on(ice_map)
    assert (codes[:, :39] == 1).all()
    assert (codes[:39, 41:] == 0).all()
    assert (codes[41:, 41:] == CLASS_LAND).all()
    drawn = open_reference(path, options=ReferenceOptions(chart_edge=True))
    assert (drawn.on(ice_map)[:39] == 1).all()
    assert str(drawn.time) == "2018-01-16 18:00 UTC"
    frame.assign(CT=["77", "10", None]).to_file(tmp_path / "odd.gpkg")
    with pytest.raises(LabelError, match="CT 77"):
        open_reference(tmp_path / "odd.gpkg")
    ignored = ReferenceOptions(labels=LabelOptions(unknown="ignore"))
    assert (open_reference(tmp_path / "odd.gpkg", options=ignored).on(ice_map)[:, :39] == CLASS_NODATA).all()


def test_polygons_by_class_column(tmp_path: Path) -> None:
    ice_map = make_map(codes=np.zeros((80, 80), np.uint8))
    frame = square_polygons(
        ice_map,
        [
            ((0, 0, 0.6, 1), "young_ice"),
            ((0.4, 0, 1, 0.5), "open_water"),
            ((0.3, 0, 0.5, 0.5), "95"),
            ((0, 0, 1, 1), "x"),
        ],
    )
    frame.to_file(tmp_path / "p.geojson")
    meaning = {"x": "", "young_ice": "young_ice", "open_water": "open_water", "95.0": "deformed_ice"}
    labels = LabelOptions(class_column="ice", classes=meaning)
    with pytest.raises(LabelError, match="holds '95', 'open_water', 'young_ice'"):
        open_reference(frame, options=ReferenceOptions(labels=LabelOptions(class_column="ice", classes={"x": ""})))
    codes = open_reference(tmp_path / "p.geojson", options=ReferenceOptions(labels=labels)).on(ice_map)
    assert (codes[:39, :31] == 1).all()
    assert (codes[:39, 33:47] == CLASS_NODATA).all()  # ice and water both claim it
    assert (codes[:39, 49:] == 0).all()
    assert (codes[41:, 49:] == CLASS_NODATA).all()  # no label
    assert (codes[41:, :47] == 1).all()  # two polygons of ice agree
    table = open_reference(frame, options=ReferenceOptions(labels=labels))
    np.testing.assert_array_equal(table.on(ice_map)[:, 5:60], codes[:, 5:60])
    with pytest.raises(LabelError, match="--class VALUE=NAME"):
        open_reference(frame, options=ReferenceOptions(labels=LabelOptions(class_column="ice")))
    with pytest.raises(LabelError, match="--class-column"):
        open_reference(tmp_path / "p.geojson")
    mine = frame.assign(scene=["other.SAFE", *[ice_map.attrs["product"] + ".SAFE"] * 3])
    chosen = ReferenceOptions(labels=LabelOptions(class_column="ice", classes=meaning, scene_column="scene"))
    assert (open_reference(mine, options=chosen).on(ice_map)[41:, :47] == CLASS_NODATA).all()


def test_class_rasters_say_what_their_values_mean(tmp_path: Path) -> None:
    ice_map = make_map(codes=np.zeros((30, 30), np.uint8))
    values = np.where(np.arange(30) < 15, 7, 9).astype(np.uint8) * np.ones((30, 1), np.uint8)
    path = make.write_tiff(tmp_path / "c.tif", values, "EPSG:3413", MapGrid.of(ice_map).transform)
    labels = LabelOptions(classes={"7": "open_water", "9": "old_ice"})
    codes = open_reference(path, options=ReferenceOptions(labels=labels)).on(ice_map)
    assert (codes[:, :15] == 0).all()
    assert (codes[:, 15:] == 1).all()
    with pytest.raises(LabelError, match="--kind"):
        open_reference(path)
    with pytest.raises(LabelError, match="7, 9, which is no class"):
        open_reference(path, kind="classes")


def test_maps_by_class_or_probability(tmp_path: Path) -> None:
    ice_map = make_map(seed=3)
    for source in (ice_map, write_netcdf(ice_map, tmp_path / "map.nc"), tmp_path):
        reference = open_reference(source)
        assert reference.kind == "map"
        np.testing.assert_array_equal(reference.on(ice_map) == 1, np.isin(ice_map["ice_class"], [1, 2, 3, 4]))
    percent = open_reference(ice_map, options=ReferenceOptions(ice_probability_percent=80)).on(ice_map)
    wanted = (ice_map["ice_probability"].values >= 80) & (ice_map["ice_probability"].values <= 100)
    np.testing.assert_array_equal(percent == 1, wanted)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ice_conc_nh_polstere-100_multi_201801161200", "2018-01-16 12:00 UTC"),
        ("asi-AMSR2-n6250-20180116-v5.4", "2018-01-16"),
        ("S_201002_concentration_v3.0", "2010-02-01 00:00 to 2010-03-01 00:00 UTC"),
        ("cis_SGRDREA_20201102T1800Z_pl_a", "2020-11-02 18:00 UTC"),
        ("20181399", None),
        ("no date 12345678", None),
        ("20180116_20180117", None),
    ],
)
def test_times_in_names(name: str, expected: str | None) -> None:
    span = span_of_name(name)
    assert (None if span is None else str(span)) == expected


# ---- what is refused, each in one line that says what to do


def text_file(path: Path) -> Path:
    path.write_text("this is no data")
    return path


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def other_variable(path: Path) -> Path:
    xr.Dataset({"sst": (("y", "x"), np.zeros((3, 3)))}, {"y": [0.0, 1, 2], "x": [0.0, 1, 2]}).to_netcdf(
        path, engine="h5netcdf"
    )
    return path


def empty_polygons(path: Path) -> Path:
    gpd.GeoDataFrame({"ice": []}, geometry=[], crs="EPSG:3413").to_file(path, geometry_type="Polygon")
    return path


def hdf4(path: Path) -> Path:
    path.write_bytes(b"\x0e\x03\x13\x01" + bytes(200))
    return path


GRID = Affine(10_000, 0, 0, 0, -10_000, 0)
RAMP = np.arange(2500, dtype=np.float64).reshape(50, 50) / 25


@pytest.mark.parametrize(
    ("name", "maker", "words"),
    [
        ("a.nc", text_file, ["cannot be read as NetCDF"]),
        ("a.tif", text_file, ["cannot be read as a raster"]),
        ("a.gpkg", text_file, ["cannot be read as a vector file"]),
        ("a.nc", lambda p: cut(make.bremen_netcdf(p)), ["cannot be read as NetCDF", "truncated"]),
        ("a.nc", other_variable, ["no sea-ice concentration", "sst", "ice_conc"]),
        ("a.nc", lambda p: make.bremen_netcdf(p, crs=False), ["CRS", "--assume-crs"]),
        ("a.hdf", hdf4, ["HDF4", "GeoTIFF"]),
        ("a.gpkg", empty_polygons, ["no polygons"]),
        ("a.tif", lambda p: make.write_tiff(p, (RAMP * 10).astype(np.uint16), None, GRID), ["CRS", "--assume-crs"]),
        ("a.tif", lambda p: make.write_tiff(p, (RAMP * 12).astype(np.uint16), "EPSG:3413", GRID), ["1001", "2510"]),
        ("a.tif", lambda p: make.write_tiff(p, np.stack([RAMP.astype(np.uint8)] * 3), "EPSG:3413", GRID), ["picture"]),
        ("a.tif", lambda p: make.write_tiff(p, (RAMP / 100).astype(np.float32), "EPSG:3413", GRID), ["fractions"]),
        ("a.tif", lambda p: make.write_tiff(p, (RAMP * 3).astype(np.float32), "EPSG:3413", GRID), ["no concentration"]),
        ("a.tif", lambda p: make.write_tiff(p, np.zeros((9, 9), np.uint8), "EPSG:3413", GRID), ["--kind"]),
    ],
)
def test_bad_files_are_refused_in_one_line(
    name: str, maker: Callable[[Path], Path], words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(FrazilError) as caught:
        open_reference(maker(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_class_raster_is_never_taken_for_a_concentration(tmp_path: Path) -> None:
    """Codes 0 to 4 with 254 and 255: read as 0.4 percent steps they would be open water everywhere."""
    values = (np.arange(100).reshape(10, 10) % 5).astype(np.uint8)
    values[0, :2] = 254, 255
    with pytest.raises(LabelError, match="Say which"):
        open_reference(make.write_tiff(tmp_path / "c.tif", values, "EPSG:3413", GRID))


def test_crs_can_be_given(tmp_path: Path) -> None:
    options = ReferenceOptions(labels=LabelOptions(assume_crs="EPSG:3413"))
    path = make.bremen_netcdf(tmp_path / "a.nc", crs=False)
    codes = open_reference(path, options=options).on(make.true_map())
    assert (codes == make.true_map()["ice_class"].values.clip(0, 1)).mean() > 0.985


def test_kinds_that_a_file_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="kind 'chart'"):
        open_reference(make.bremen_netcdf(tmp_path / "a.nc"), kind="chart")
    with pytest.raises(OptionError, match=str(KINDS[0])):
        open_reference(tmp_path / "a.nc", kind="radar")
    with pytest.raises(LabelNotFoundError, match="No reference at"):
        open_reference(tmp_path / "none.nc")


# ---- percent, fractions and codes


def raster_of(reference: Reference) -> Raster:
    assert isinstance(reference, RasterReference)
    return reference.raster


def land_of(reference: Reference) -> np.ndarray:
    land = raster_of(reference).land
    assert land is not None
    return land


def whole(path: Path, **kinds: Any) -> np.ndarray:
    """What a reference says, percent, on its own grid."""
    return raster_of(open_reference(path, **kinds)).values


def tiff(
    path: Path, values: Any, *, scale: float = 1.0, offset: float = 0.0, units: str | None = None, **tags: Any
) -> Path:
    array = np.asarray(values)
    make.write_tiff(path, np.resize(array, (5, max(array.size, 2))), "EPSG:3413", GRID, **tags)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (scale,), (offset,)
        if units:
            file.units = (units,)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize("codes", [(251, 252, 253, 254, 255), (252, 254), (253,)])
def test_percent_in_integers_is_asked_for_and_read_as_percent(
    dtype: type[np.generic], codes: tuple[int, ...], tmp_path: Path
) -> None:
    """As the climate data record has it: 100 is all ice, not 40 %, and not 10 %."""
    path = tiff(tmp_path / "cdr.tif", np.array([0, 15, 40, 100, *codes], dtype))
    with pytest.raises(LabelError, match="percent.*kind='concentration' or 'nsidc'|kind='concentration', 'nsidc'"):
        open_reference(path)
    reference = open_reference(path, kind="concentration")
    np.testing.assert_array_equal(raster_of(reference).values[0, :4], [0, 15, 40, 100])
    assert np.isnan(raster_of(reference).values[0, 4:]).all()
    land = [c in (253, 254) for c in codes]
    np.testing.assert_array_equal(land_of(reference)[0, 4:], land)


def test_sixteen_bits_up_to_100_are_asked_for(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.array([0, 50, 100], np.uint16))
    with pytest.raises(LabelError, match="percent, tenths of percent, or classes.*--kind"):
        open_reference(path)
    assert whole(path, kind="concentration")[0].tolist() == [0, 50, 100]
    assert whole(path, kind="nsidc")[0].tolist() == [0, 5, 10]
    summer = tiff(tmp_path / "b.tif", np.array([0, 50, 2540], np.uint16))  # its code says what it is
    assert whole(summer)[0, :2].tolist() == [0, 5]


@pytest.mark.parametrize(
    ("values", "how", "percent"),
    [
        (np.array([0, 50, 100, 254, 251], np.uint8), {"scale": 0.01}, [0, 50, 100, None, None]),
        (np.array([0, 125, 250, 254, 251], np.uint8), {"scale": 0.4}, [0, 50, 100, None, None]),
        (np.array([0, 125, 250, 254], np.uint8), {"scale": 0.004}, [0, 50, 100, None]),
        (np.array([0, 5000, 10000, 65535], np.uint16), {"scale": 0.01, "nodata": "65535"}, [0, 50, 100, None]),
        (np.array([0, 500, 1000], np.int16), {"scale": 0.001}, [0, 50, 100]),
        (np.array([0, 5000, 10000], np.int16), {"scale": 0.0001, "units": "1"}, [0, 50, 100]),
        (np.array([-50, 0, 50], np.int8), {"offset": 50.0}, [0, 50, 100]),
        (np.array([0, 0.5, 1], np.float32), {"units": "fraction"}, [0, 50, 100]),
        (np.array([0, 0.5, 1], np.float32), {"scale": 100.0}, [0, 50, 100]),
        (np.array([0, 0.5, 0.9], np.float32), {"units": "%"}, [0, 0.5, 0.9]),
    ],
)
def test_scale_offset_and_units_are_obeyed(
    values: np.ndarray, how: dict[str, Any], percent: list[float | None], tmp_path: Path
) -> None:
    found = whole(tiff(tmp_path / "a.tif", values, **how))[0]
    np.testing.assert_allclose(found, [np.nan if p is None else p for p in percent], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "how", "words"),
    [
        (np.r_[np.linspace(0, 1, 50), 2.54].astype(np.float32), {}, "fractions, and 2.54 beside them"),
        (np.r_[np.linspace(0, 1, 50), 1.2, 2.51, 2.53].astype(np.float32), {}, "codes"),
        (np.array([0, 0.5, 2.54], np.float32), {}, "codes, or little ice"),
        (np.linspace(0, 1, 50).astype(np.float32), {}, "fractions"),
        (np.array([0, 50, 100, 180], np.uint8), {"scale": 0.01}, "180, with its scale 0.01"),
        (np.array([0, 50, 99], np.uint16), {"scale": 0.01}, "fractions"),
    ],
)
def test_fractions_with_codes_are_not_taken_for_percent(
    values: np.ndarray, how: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match=words):
        open_reference(tiff(tmp_path / "a.tif", values, **how))


def test_a_stack_of_days_is_not_read_for_its_first(tmp_path: Path) -> None:
    path = make.write_tiff(tmp_path / "a.tif", np.stack([RAMP.astype(np.float32)] * 2), "EPSG:3413", GRID)
    with pytest.raises(LabelError, match="2 bands, of which one"):
        open_reference(path)


# ---- NetCDF of many kinds


def netcdf(
    path: Path,
    dims: tuple[str, ...] = ("time", "y", "x"),
    *,
    x_attrs: dict[str, Any] | None = None,
    y_attrs: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
    conc: dict[str, Any] | None = None,
    names: tuple[str, str] = ("y", "x"),
    engine: Any = "h5netcdf",
    time: tuple | None = None,
    unit: float = 1000.0,
) -> Path:
    """The field of the tests as fractions, in any order of dimensions."""
    x, y = make.window("EPSG:3413", 10_000)
    field = make.percent_on("EPSG:3413", x, y)[None] / 100
    order = [("time", "y", "x").index(d) for d in dims]
    named = dict(zip(("y", "x"), names, strict=True))
    data = {
        "conc": (
            [named.get(d, d) for d in dims],
            field.transpose(order).astype(np.float32),
            {"standard_name": "sea_ice_area_fraction", "units": "1", "grid_mapping": "crs", **(conc or {})},
        ),
        "crs": ((), np.int32(0), {"spatial_ref": CRS("EPSG:3413").to_wkt("WKT1_GDAL")}),
        **(extra or {}),
    }
    coords = {
        named["y"]: (named["y"], y / unit, {"units": "km", **(y_attrs or {})}),
        named["x"]: (named["x"], x / unit, {"units": "km", **(x_attrs or {})}),
        **({"time": ("time", *time)} if time else {}),
    }
    xr.Dataset(data, coords).to_netcdf(path, engine=engine)
    return path


STANDARD = {
    "y_attrs": {"standard_name": "projection_y_coordinate"},
    "x_attrs": {"standard_name": "projection_x_coordinate"},
}


@pytest.mark.parametrize("dims", [("time", "y", "x"), ("time", "x", "y"), ("x", "y", "time"), ("y", "time", "x")])
@pytest.mark.parametrize(
    "how",
    [
        {},
        STANDARD,
        {"names": ("a", "b"), **STANDARD},
        {"names": ("b", "a"), "y_attrs": {"axis": "Y"}, "x_attrs": {"axis": "X"}},
        {"names": ("yc", "xc")},
        {"names": ("x", "y"), **STANDARD},
        {"unit": 100_000, "y_attrs": {"units": "100 km"}, "x_attrs": {"units": "100 km"}},
    ],
)
def test_dimensions_in_any_order_are_not_transposed(dims: tuple[str, ...], how: dict[str, Any], tmp_path: Path) -> None:
    reference = open_reference(netcdf(tmp_path / "a.nc", dims, **how))
    codes = reference.on(make.true_map())
    assert (codes == make.true_map()["ice_class"].values.clip(0, 1)).mean() > 0.985


def test_dimensions_of_unknown_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"\['time', 'a', 'b'\].*not said which is y.*standard_name"):
        open_reference(netcdf(tmp_path / "a.nc", names=("a", "b")))
    both: dict[str, Any] = {"y_attrs": {"axis": "X"}, "x_attrs": {"axis": "X"}}
    with pytest.raises(LabelError, match="not said which is y"):
        open_reference(netcdf(tmp_path / "b.nc", names=("a", "b"), **both))


@pytest.mark.parametrize("units", ["1", "(0 - 1)", "0-1", "fraction", "unitless"])
def test_units_of_fractions(units: str, tmp_path: Path) -> None:
    found = whole(netcdf(tmp_path / "a.nc", conc={"units": units}))
    assert np.nanmax(found) == 100


def test_units_that_are_none_of_concentration(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="conc is in 'K'"):
        open_reference(netcdf(tmp_path / "a.nc", conc={"units": "K"}))


@pytest.mark.parametrize("north", ["degrees_north", "degrees_N", "degreeN", "degree_N", "degrees"])
def test_degrees_in_all_spellings(north: str, tmp_path: Path) -> None:
    latitude, longitude = np.arange(75, 83, 0.25), np.arange(-10, 20, 0.5)
    field = make.percent_at(*np.meshgrid(longitude, latitude)).astype(np.float32)
    east = north.replace("north", "east").replace("N", "E")
    xr.Dataset(
        {"ice": (("lon", "lat"), field.T, {"standard_name": "sea_ice_area_fraction", "units": "%"})},
        {"lat": ("lat", latitude, {"units": north}), "lon": ("lon", longitude, {"units": east})},
    ).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    codes = open_reference(tmp_path / "a.nc").on(make.true_map())
    assert (codes == make.true_map()["ice_class"].values.clip(0, 1)).mean() > 0.985


def test_of_several_concentrations_the_climate_data_record_or_the_one_named(tmp_path: Path) -> None:
    def field(value: float) -> tuple[Any, ...]:
        values = np.full((1, 40, 40), value, np.float32)
        return (
            ("time", "y", "x"),
            values,
            {"standard_name": "sea_ice_area_fraction", "units": "1", "grid_mapping": "crs"},
        )

    several = netcdf(tmp_path / "n.nc", extra={"F17_ICECON": field(0.2), "F18_ICECON": field(0.4)})
    with pytest.raises(LabelError, match=r"several.*'F17_ICECON', 'F18_ICECON'.*--variable"):
        open_reference(several)
    np.testing.assert_allclose(whole(several, options=ReferenceOptions(variable="F18_ICECON")), 40)
    with pytest.raises(LabelError, match="no field 'F19'; it has"):
        open_reference(several, options=ReferenceOptions(variable="F19"))
    with pytest.raises(OptionError, match="is for NetCDF files"):
        open_reference(tiff(tmp_path / "a.tif", np.arange(99.0)), options=ReferenceOptions(variable="F18"))
    record = netcdf(tmp_path / "c.nc", extra={"cdr_seaice_conc": field(0.6), "nsidc_nt_seaice_conc": field(0.4)})
    np.testing.assert_allclose(whole(record), 60)
    said = xr.load_dataset(several, engine="h5netcdf").assign_attrs(cdr_variable="F17_ICECON")
    said.to_netcdf(tmp_path / "s.nc", engine="h5netcdf")
    assert np.allclose(whole(tmp_path / "s.nc"), 20)


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_unsigned_bytes_and_valid_ranges(engine: str, tmp_path: Path) -> None:
    """NetCDF-3 has no unsigned bytes: 200 stands there as -56, and the flags likewise."""
    raw = np.resize(np.array([0, 125, 250, 251, 253, 254, 255, 252], np.uint8), (1, 40, 40)).view(np.int8)
    flags = np.array([251, 253, 254], np.uint8).view(np.int8)
    attrs = {
        "standard_name": "sea_ice_area_fraction",
        "units": "1",
        "scale_factor": 0.004,
        "_Unsigned": "true",
        "flag_values": flags,
        "flag_meanings": "pole_hole coast land",
        "_FillValue": np.int8(-1),
        "grid_mapping": "crs",
        "valid_range": np.array([0, 250], np.uint8).view(np.int8),
    }
    path = netcdf(tmp_path / "a.nc", extra={"ice": (("time", "y", "x"), raw, attrs)}, engine=engine)
    reference = open_reference(path, options=ReferenceOptions(variable="ice"))
    np.testing.assert_allclose(raster_of(reference).values[0, :8], np.array([0, 50, 100, *[np.nan] * 5]))
    np.testing.assert_array_equal(land_of(reference)[0, :8], [0, 0, 0, 0, 1, 1, 0, 0])


@pytest.mark.parametrize(
    ("number", "units", "calendar", "expected"),
    [
        (153767.0, "days since 1601-01-01 00:00:00", "gregorian", "2022-01-01T00:00"),
        (1.5, "hours since 2020-1-1", "standard", "2020-01-01T01:30"),
        (0.0, "seconds since 1978-01-01T00:00:00Z", "standard", "1978-01-01T00:00"),
        (60.0, "minutes since 2020-01-01 0:0:0.0", "proleptic_gregorian", "2020-01-01T01:00"),
        (1.0, "days since 0001-01-01", "proleptic_gregorian", "0001-01-02T00:00"),
        (1.0, "days since 1500-01-01", "standard", None),
        (1.0, "days since 2020-01-01", "noleap", None),
        (1.0, "months since 2020-01-01", "standard", None),
        (1e300, "days since 2020-01-01", "standard", None),
        (float("nan"), "days since 2020-01-01", "standard", None),
        (1.0, "walrus", "standard", None),
    ],
)
def test_moments_of_cf_units(number: float, units: str, calendar: str, expected: str | None) -> None:
    moment = moment_since(number, units, calendar)
    assert moment == (None if expected is None else datetime.fromisoformat(expected).replace(tzinfo=UTC))


# ---- real files


def real(real_data: Path, name: str) -> Path:
    path = real_data / name
    if not path.exists():
        pytest.skip(f"real reference not found at {path}")
    return path


@pytest.mark.data
def test_real_sea_ice_index(real_data: Path) -> None:
    """February 2010 around Antarctica: the Weddell Sea keeps ice, the Drake Passage has none, the interior is land."""
    reference = open_reference(real(real_data, "sic/S_201002_concentration_v3.0.tif"))
    assert reference.kind == "nsidc"
    assert str(reference.time).startswith("2010-02-01")
    for centre, code in (((-55, -70), 1), ((-62, -58.5), 0), ((0, -85), CLASS_LAND), ((0, -55), 0)):
        ice_map = make_map(codes=np.zeros((20, 20), np.uint8), crs="EPSG:3031", centre=centre, spacing_m=1000)
        assert (reference.on(ice_map) == code).all(), centre
    north = open_reference(real(real_data, "sic/N_reference_hudson_repo.tif"))
    assert north.time is None
    pole = make_map(codes=np.zeros((20, 20), np.uint8), centre=(0, 90), spacing_m=1000)
    assert (north.on(pole) == CLASS_NODATA).all()  # the pole hole


@pytest.mark.data
def test_real_climate_data_record(real_data: Path) -> None:
    """NetCDF and GeoTIFF of one day say the same, which is what the file's own packing says."""
    path = real(real_data, "sic/noaa-cdr/seaice_conc_daily_nh_20211231_f17_v04r00.nc")
    reference = open_reference(path)
    assert str(reference.time).startswith("2021-12-31")
    with xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False, decode_times=False) as file:
        raw = file["cdr_seaice_conc"].values[0].astype(float)
    np.testing.assert_allclose(raster_of(reference).values, np.where(raw <= 100, raw, np.nan), atol=1e-4)
    again = real(real_data, "sic/noaa-cdr/seaice_conc_daily_nh_20211231_f17_v04r00-cdr_seaice_conc.tif")
    with pytest.raises(LabelError, match="kind='concentration' or 'nsidc'"):
        open_reference(again)
    same = open_reference(again, kind="concentration")
    np.testing.assert_allclose(raster_of(same).values, raster_of(reference).values, atol=1e-4)
    assert raster_of(same).transform == raster_of(reference).transform
    pack = make_map(codes=np.zeros((20, 20), np.uint8), centre=(-150, 80), spacing_m=1000)
    assert (same.on(pack) == 1).all()
    other = open_reference(path, options=ReferenceOptions(variable="nsidc_nt_seaice_conc"))
    assert not np.array_equal(raster_of(other).values, raster_of(reference).values, equal_nan=True)


@pytest.mark.data
def test_real_chart_against_itself(real_data: Path) -> None:
    path = real(real_data, "ice-charts/cis_SGRDREA_20201102T.gpkg")
    blank = make_map(codes=np.zeros((300, 330), np.uint8), centre=(-72, 73.5), spacing_m=1200)
    codes = open_reference(path).on(blank)
    assert {0, 1, CLASS_LAND} == set(np.unique(codes))
    same = make_map(codes=codes, centre=(-72, 73.5), spacing_m=1200)
    scores = compare(same, path).scores
    assert scores["iiee_km2"] == 0
    assert scores["displacement"]
    assert scores["displacement"]["symmetric"]["p95_km"] == 0
    assert scores["edge_map_km"] > 500
