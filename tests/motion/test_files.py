"""What `frazil drift` writes, read by others; what it refuses, in one line."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner, Result
from pyproj import Geod
from rasterio.control import GroundControlPoint

import frazil
from frazil.charts.s411_drift import sector, write_drift
from frazil.cli import cli
from frazil.errors import ContractError, FrazilError, OptionError, ProductError, ProductNotFoundError
from frazil.motion.rasters import read_raster
from frazil.scene.geolocation import Geolocation
from frazil.scene.grid import MapGrid
from frazil.simulate.metadata import Cut
from frazil.simulate.moved import Motion, Moved, PlacedPair, simulate_pair, write_pair
from frazil.simulate.product import write_both
from frazil.simulate.scene import prepare
from frazil.simulate.world import WorldConfig
from tests.maps.test_other_programs import FALSE_ALARM, NOT_THERE, told

MOTION = Motion(shift_m=(1500.0, -2100.0), turn_deg=4.0)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(w) for w in words])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> PlacedPair:
    world = WorldConfig(seed=2, signatures="measured", season="winter", ice_fraction=1.0)
    made = simulate_pair(MOTION, seed=2, size=448, margin=96, world=world)
    return write_pair(made, MOTION, tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def written(pair: PlacedPair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift") / "out"
    done = run("drift", pair.first, pair.second, "-o", folder, "--step", "1600", "--attribute", "institution=us")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "m/s" in done.output
    return folder


def test_the_folder_holds_what_it_should(written: Path) -> None:
    names = {p.name for p in written.iterdir()} - {".frazil.json"}
    assert names == {"drift.nc", "drift.gpkg", "drift.gml", "drift.png", "summary.json"}
    told = json.loads((written / "summary.json").read_text())
    assert told["share_good"] > 0.7  # along the border ice leaves the image
    assert told["days"] == 1
    assert told["polarizations"] == "HH, HV"
    assert told["nodes"]["good"] > 40
    assert abs(told["median_speed_ms"] - np.hypot(1500, 2100) / 86400 / 0.9702) < 0.003


def test_the_netcdf_says_what_it_holds(written: Path) -> None:
    with xr.open_dataset(written / "drift.nc", decode_coords="all") as ds:
        assert ds["sea_ice_x_displacement"].attrs["standard_name"] == "sea_ice_x_displacement"
        assert ds["sea_ice_x_displacement"].attrs["ancillary_variables"].split()[0] == "status_flag"
        assert ds["time"].values == np.datetime64("2020-01-03T12:00")
        assert ds.attrs["institution"] == "us"
        assert ds.attrs["Conventions"].startswith("CF-1.11")
        good = ds["status_flag"].values == 0
        for name in ("sea_ice_x_displacement", "sea_ice_speed", "direction", "rotation"):
            assert (np.isfinite(ds[name].values) == good).all()
        assert float(ds["rotation"].median()) == pytest.approx(-4, abs=1.5)  # clockwise
        bounds = ds["time_bnds"].values
        assert (bounds[1] - bounds[0]) / np.timedelta64(1, "h") == 24
        grid = MapGrid.of(ds)
        assert (grid.crs, grid.spacing_m) == ("EPSG:3413", 1600)
    with xr.open_dataset(written / "drift.nc", decode_times=False) as raw:
        assert raw["time"].attrs["units"] == "seconds since 1970-01-01"
        meanings = raw["status_flag"].attrs["flag_meanings"].split()
        assert len(meanings) == len(raw["status_flag"].attrs["flag_values"])


@pytest.mark.filterwarnings("ignore")
def test_the_netcdf_passes_the_checker_of_cf(written: Path) -> None:
    suite = pytest.importorskip("compliance_checker.runner").CheckSuite()
    suite.load_all_available_checkers()
    dataset = suite.load_dataset(str(written / "drift.nc"))
    groups, broken = suite.run_all(dataset, ["cf:1.11"], skip_checks=[])["cf:1.11"]
    dataset.close()
    assert not broken
    messages = [text for group in groups if group.weight > 1 for text in told(group)]
    assert [text for text in messages if FALSE_ALARM not in text and not any(w in text for w in NOT_THERE)] == []


def test_arrows_end_where_speed_and_direction_lead(written: Path) -> None:
    """By geodesics of PROJ from the start, in longitude and latitude."""
    arrows = gpd.read_file(written / "drift.gpkg").to_crs("EPSG:4326")
    assert len(arrows) > 40
    start = np.array([line.coords[0] for line in arrows.geometry])
    end = np.array([line.coords[-1] for line in arrows.geometry])
    assert np.allclose(start, arrows[["longitude", "latitude"]].to_numpy(), atol=1e-6)
    lon, lat, _ = Geod(ellps="WGS84").fwd(
        start[:, 0], start[:, 1], arrows["direction_deg"].to_numpy(), arrows["speed_ms"].to_numpy() * 86400
    )
    off = Geod(ellps="WGS84").inv(lon, lat, *end.T)[2]
    assert np.max(off) < 1.0
    assert np.allclose(arrows["speed_knots"], arrows["speed_ms"] * 3600 / 1852, rtol=1e-4)


def test_s411_is_read_by_gdal(written: Path) -> None:
    points = gpd.read_file(written / "drift.gml")
    arrows = gpd.read_file(written / "drift.gpkg")
    assert len(points) == len(arrows)
    assert np.allclose(points["icedsp"].astype(float), arrows["speed_knots"], atol=0.006)
    assert np.allclose(points.geometry.x, arrows["longitude"], atol=1e-5)
    assert np.allclose(points.geometry.y, arrows["latitude"], atol=1e-5)


def test_sectors_are_those_of_s411() -> None:
    knots = np.ones(9)
    assert sector(np.arange(9) * 45.0, knots).tolist() == [9, 2, 3, 4, 5, 6, 7, 8, 9]
    assert sector(np.array([22.4, 22.6, 350.0, 10.0]), np.array([1, 1, 1, 0.001])).tolist() == [9, 2, 9, 1]


def test_s411_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    lon, lat = np.array([179.5, -179.5, 179.9]), np.array([75.0, 75.0, 76.0])
    made = write_drift(lon, lat, np.ones(3), np.zeros(3), tmp_path)
    assert [p.name for p in made] == ["drift-E.gml", "drift-W.gml"]
    assert len(gpd.read_file(made[0])) == 2


def test_saving_what_is_no_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no displacement field"):
        frazil.save_drift(xr.Dataset(), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_products_end_to_end(tmp_path: Path) -> None:
    """Two simulated SAFE products a day apart, through the command; truth by their own geolocation."""
    window = {"lines": (5200, 6300), "pixels": (2400, 3500)}
    world = WorldConfig(seed=4, signatures="measured", season="winter", ice_fraction=1.0)
    before = prepare("ew", seed=4, spacing_m=None, block=1, world=world, **window)  # type: ignore[arg-type]
    motion = Motion(shift_m=(2000.0, 1200.0), turn_deg=3.0)
    cut = Cut(first_line=5200, first_pixel=2400, n_lines=1100, n_pixels=1100, days=before.days, code="AAAA")
    after = replace(cut, days=before.days + 1, code="BBBB")
    first = write_both(tmp_path, before, cut, lambda _b, _a: None, compress=False, overwrite=False)
    moved = Moved(before=before, motion=motion, seed=99)
    second = write_both(tmp_path, moved, after, lambda _b, _a: None, compress=False, overwrite=False)
    done = run("drift", first, second, "-o", tmp_path / "d", "--step", "1600", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    told = json.loads(done.stdout)
    assert told["share_good"] > 0.6
    assert told["attribution"].startswith("Contains modified Copernicus Sentinel data")
    with xr.open_dataset(tmp_path / "d" / "drift.nc", decode_coords="all") as ds:
        ds.load()
    place = Geolocation.of(frazil.open_scene(first))
    crs = MapGrid.of(ds).pyproj_crs
    xx, yy = np.meshgrid(ds["x"].values, ds["y"].values)
    line, pixel = place.line_pixel(xx, yy, crs)
    spacing = before.bands[0].annotation.range_spacing_m
    down, right = motion.displacement((line - 549.5) * spacing, (pixel - 549.5) * spacing)
    x, y = place.xy(line + down / spacing, pixel + right / spacing, crs)
    off = np.hypot(ds["sea_ice_x_displacement"].values - (x - xx), ds["sea_ice_y_displacement"].values - (y - yy))
    good = ds["status_flag"].values == 0
    assert good.sum() > 100
    assert np.median(off[good]) < 40
    assert np.quantile(off[good], 0.95) < 100
    with pytest.raises(OptionError, match="earlier one first"):
        frazil.drift(second, first)
    with pytest.raises(OptionError, match="Both scenes are"):
        frazil.drift(first, first)
    with pytest.raises(OptionError, match="tells its own"):
        frazil.drift(first, second, times=("2020-01-01", None))


def _copy(source: Path, target: Path, **changes: Any) -> Path:
    with rasterio.open(source) as file:
        profile, values, tags, names = file.profile, file.read(), file.tags(), file.descriptions
    tags |= changes.pop("tags", {})
    values = changes.pop("values", values)
    names = changes.pop("names", names)
    points = changes.pop("gcps", None)
    profile |= changes | {"count": len(values), "dtype": values.dtype}
    if points is not None:
        profile["transform"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        file = rasterio.open(target, "w", **{k: v for k, v in profile.items() if v is not None})
    with file:
        file.write(values)
        file.descriptions = names
        file.update_tags(**tags)
        if points is not None:
            file.gcps = points
    return target


def test_control_points_and_decibels_give_the_same_field(pair: PlacedPair, tmp_path: Path) -> None:
    """Also in longitude and latitude, 2.5 degrees from the pole."""
    from pyproj import Transformer

    plain = frazil.drift(pair.first, pair.second, step_m=1600)
    with rasterio.open(pair.first) as file:
        values, transform = file.read(), file.transform
    rows, columns = (v.ravel().astype(float) for v in np.meshgrid(np.linspace(0, 448, 8), np.linspace(0, 448, 8)))
    lon, lat = Transformer.from_crs(3413, 4326, always_xy=True).transform(*(transform @ (columns, rows)))
    points = [GroundControlPoint(*each) for each in zip(rows, columns, lon, lat, strict=True)]
    db = 10 * np.log10(np.maximum(values, 1e-5)).astype(np.float32)
    with_points = _copy(pair.first, tmp_path / "first.tif", values=db, gcps=(points, "EPSG:4326"), crs=None)
    found = frazil.drift(with_points, pair.second, step_m=1600)
    both = (found["status_flag"] == 0) & (plain["status_flag"] == 0)
    assert int(both.sum()) > 40
    off = np.abs(found["sea_ice_x_displacement"] - plain["sea_ice_x_displacement"]).where(both)
    assert float(off.quantile(0.9)) < 20


def test_refusals_are_one_line(pair: PlacedPair, tmp_path: Path) -> None:
    a, b = pair.first, pair.second
    far = _copy(b, tmp_path / "far.tif", transform=rasterio.Affine(40, 0, 1_500_000, 0, -40, 900_000))
    south = _copy(b, tmp_path / "south.tif", crs="EPSG:3031")
    late = _copy(b, tmp_path / "late.tif", tags={"start_time": "2020-01-20T00:00:00Z"})
    silent = _copy(b, tmp_path / "silent.tif", tags={"start_time": ""})
    with rasterio.open(b) as file:
        values = file.read()
    vv = _copy(b, tmp_path / "vv.tif", names=("VV", "VH"))
    counts = _copy(b, tmp_path / "counts.tif", values=(values * 1000).clip(0, 60000).astype(np.uint16))
    nowhere = _copy(b, tmp_path / "nowhere.tif", crs=None)
    empty = _copy(b, tmp_path / "empty.tif", values=np.full_like(values, np.nan))
    (tmp_path / "text.tif").write_text("no picture")
    cases: list[tuple[Path, type[FrazilError], str]] = [
        (far, OptionError, "lie .* km apart"),
        (south, OptionError, "southern"),
        (late, OptionError, "17.5 days apart"),
        (silent, OptionError, "--time-b"),
        (vv, OptionError, "none in common"),
        (counts, ProductError, "not calibrated"),
        (nowhere, ProductError, "where it lies"),
        (empty, ProductError, "no observed pixel"),
        (tmp_path / "text.tif", ProductError, "cannot be read"),
        (tmp_path / "none.tif", ProductNotFoundError, "none.tif"),
    ]
    for second, kind, words in cases:
        with pytest.raises(kind, match=words):
            frazil.drift(a, second)
        done = run("drift", a, second, "-o", tmp_path / "out")
        assert isinstance(done.exception, FrazilError)
        assert "\n" not in str(done.exception)
        assert not (tmp_path / "out").exists()
    field = frazil.drift(a, silent, times=(None, "2020-01-03T00:00"), step_m=1600)
    assert field.attrs["days"] == 0.5
    for wrong in (
        {"step_m": 1000},
        {"step_m": 40_000},
        {"spacing_m": 1},
        {"max_speed_ms": 0},
        {"polarizations": ("VV",)},
        {"times": ("yesterday", None)},
    ):
        with pytest.raises(OptionError):
            frazil.drift(a, b, **wrong)  # type: ignore[arg-type]


def test_control_points_off_a_surface_are_refused(pair: PlacedPair, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = [
        GroundControlPoint(r, c, 90 + c / 500, 87.3 + rng.random() / 9) for r in range(0, 400, 99) for c in range(9)
    ]
    bad = _copy(pair.first, tmp_path / "bad.tif", gcps=(points, "EPSG:4326"), crs=None)
    with pytest.raises(ProductError, match="off a smooth surface"):
        frazil.drift(bad, pair.second)
    few = _copy(pair.first, tmp_path / "few.tif", gcps=(points[:5], "EPSG:4326"), crs=None)
    with pytest.raises(ProductError, match="at least 10"):
        frazil.drift(few, pair.second)


def test_times_are_read_from_names(pair: PlacedPair, tmp_path: Path) -> None:
    path = _copy(pair.first, tmp_path / "S1A_EW_GRDM_1SDH_20161005T142446.tif", tags={"start_time": ""})
    assert f"{read_raster(path).time:%Y-%m-%dT%H:%M:%S}" == "2016-10-05T14:24:46"
    assert read_raster(_copy(pair.first, tmp_path / "day_20161005.tif", tags={"start_time": ""})).time is None


@pytest.mark.data
@pytest.mark.parametrize(
    ("first", "second", "speed"),
    [
        ("S1B_EW_GRDM_1SDH_20161005T101835", "S1A_EW_GRDM_1SDH_20161005T142446", (0.02, 0.035)),
        ("S1B_EW_GRDM_1SDH_20200123T120618", "S1B_EW_GRDM_1SDH_20200125T114955", (0.0, 0.002)),
    ],
)
def test_real_pairs(real_data: Path, first: str, second: str, speed: tuple[float, float]) -> None:
    """Four hours at 86.5° N, two days beside fast ice of Greenland: smooth fields of a plausible speed."""
    folder = real_data / "real-ice" / "drift-pairs-hv"
    if not folder.is_dir():
        pytest.skip(f"real pairs not found in {folder}")
    field = frazil.drift(folder / f"{first}.tif", folder / f"{second}.tif", step_m=1600)
    good = field["status_flag"].values == 0
    tried = field["status_flag"].values < 4
    assert good.sum() / tried.sum() > 0.65
    assert speed[0] <= float(field["sea_ice_speed"].median()) <= speed[1]
    for axis in "xy":
        d = field[f"sea_ice_{axis}_displacement"].values
        assert np.nanmedian(np.abs(np.diff(d, axis=0))) < 30
