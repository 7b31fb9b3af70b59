"""Mosaics and series against loops over pixels, and what other programs read of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import shapely
import xarray as xr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.answer import answers
from frazil.archive.layers import common_grid, map_files, maps_in
from frazil.archive.mosaic import combine, mosaic_blocks, pool
from frazil.archive.mosaic_files import mosaic
from frazil.archive.series import save_series, series
from frazil.cli import cli
from frazil.conventions import FIVE_CLASSES
from frazil.errors import FrazilError, LabelError, OptionError, OutputExistsError, ProductError, ProductNotFoundError
from frazil.maps.areas import PixelAreas
from frazil.maps.export import export
from frazil.testing import make_map

N = 5
FORMATS = ("geotiff", "stac", "summary")


def shifted(ds: xr.Dataset, right: int, up: int, when: str, name: str) -> xr.Dataset:
    """A map, so many pixels further, of another time."""
    step = float(ds["x"][1] - ds["x"][0])
    moved = ds.assign_coords(x=ds["x"] + right * step, y=ds["y"] + up * step)
    return moved.assign_attrs(product=name, start_time=when, stop_time=when)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four maps that overlap, of two days, with random answers, land and places not observed."""
    place = tmp_path_factory.mktemp("maps")
    times = ("2025-02-01T03:00:00Z", "2025-02-01T09:00:00Z", "2025-02-01T15:00:00Z", "2025-02-02T06:00:00Z")
    for k, when in enumerate(times):
        rng = np.random.default_rng(k)
        made = make_map(shape=(70 + 10 * k, 80), seed=k)
        weight = rng.gamma(0.3, size=(N, *made["ice_class"].shape)) + 1e-3
        percent = np.floor(100 * weight / weight.sum(axis=0)).astype(np.uint8)
        percent[0] += 100 - percent.sum(axis=0, dtype=np.uint8)
        code, confidence, ice = answers(percent, 80.0)
        land, none = np.zeros(code.shape, bool), np.zeros(code.shape, bool)
        land[10:20, 5:30] = True
        none[:, 70:] = True
        none[30:33] = True
        code[land], code[none] = 254, 255
        for plane in (confidence, ice):
            plane[land | none] = 255
        percent[:, land | none] = 255
        made["ice_class"].values[:], made["confidence"].values[:] = code, confidence
        made["ice_probability"].values[:], made["probability"].values[:] = ice, percent
        made["quality_flags"].values[:] = np.where(none, 1, np.where(land, 2, 0))
        export(shifted(made, 20 * k, -13 * k, when, f"S1A_{k}"), place / f"map{k}", formats=FORMATS)
    return place


def by_hand(
    folder: Path, rule: str, day: str | None = None
) -> tuple[dict[str, np.ndarray], tuple[float, float], float]:
    """A mosaic by a loop over maps and pixels."""
    maps = []
    for path in sorted(folder.glob("map*")):
        when = datetime.fromisoformat(json.loads((path / "stac_item.json").read_text())["properties"]["datetime"])
        if day is None or when.date().isoformat() == day:
            with rasterio.open(path / "class.tif") as c, rasterio.open(path / "probability.tif") as p:
                maps.append((when, c.read(1), p.read(), c.transform))
    step = maps[0][3].a
    left, top = min(m[3].c for m in maps), max(m[3].f for m in maps)
    right = max(m[3].c + m[1].shape[1] * step for m in maps)
    bottom = min(m[3].f - m[1].shape[0] * step for m in maps)
    shape = round((top - bottom) / step), round((right - left) / step)
    out = {"code": np.full(shape, 255, np.uint8), "source": np.zeros(shape, int), "count": np.zeros(shape, int)}
    for row in range(shape[0]):
        for column in range(shape[1]):
            seen = []
            for k, (_, code, percent, t) in enumerate(maps):
                r, c = row - round((top - t.f) / step), column - round((t.c - left) / step)
                if 0 <= r < code.shape[0] and 0 <= c < code.shape[1] and code[r, c] != 255:
                    seen.append((k, int(code[r, c]), percent[:, r, c].astype(float)))
            out["count"][row, column] = len(seen)
            if not seen:
                continue
            best = seen[-1]
            if rule == "confident":

                def rank(one: Any) -> tuple[float, int]:
                    sure = max(one[2][0], 100 - one[2][0]) if one[2][0] <= 100 else 0
                    return sure + (one[1] < 253), one[0]

                best = max(seen, key=rank)
            out["code"][row, column], out["source"][row, column] = best[1], best[0] + 1
    return out, (left, top), step


@pytest.mark.parametrize("rule", ["latest", "confident"])
@pytest.mark.parametrize("day", [None, "2025-02-01"])
def test_mosaics_are_those_of_a_loop(
    folder: Path, tmp_path: Path, rule: Any, day: str | None, monkeypatch: Any
) -> None:
    monkeypatch.setattr("frazil.archive.mosaic.BLOCK", 48)
    files = mosaic([folder], tmp_path / "m", time=day, rule=rule)
    expected, (left, top), step = by_hand(folder, rule, day)
    for name, key in (("class", "code"), ("source_index", "source"), ("count", "count")):
        with rasterio.open(files[name]) as raster:
            np.testing.assert_array_equal(raster.read(1), expected[key], err_msg=name)
            assert (raster.transform.c, raster.transform.f, raster.transform.a) == pytest.approx((left, top, step))
    told = json.loads(files["summary"].read_text())
    numbers, counts = np.unique(expected["source"], return_counts=True)
    assert {m["number"]: m["pixels"] for m in told["maps"] if m["pixels"]} == {
        int(k): int(v) for k, v in zip(numbers, counts, strict=True) if k
    }
    with rasterio.open(files["age_hours"]) as raster:
        age = raster.read(1)
        assert raster.nodata == -1
    hours = {
        m["number"]: (datetime.fromisoformat(told["ages_from"]) - datetime.fromisoformat(m["time"])).total_seconds()
        / 3600
        for m in told["maps"]
    }
    for number, value in hours.items():
        assert (age[expected["source"] == number] == np.float32(value)).all()
    assert (age[expected["source"] == 0] == -1).all()


def test_areas_of_the_summary_are_those_of_the_raster(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("frazil.archive.mosaic.BLOCK", 32)
    files = mosaic([folder], tmp_path / "m")
    grid = common_grid(maps_in([folder]))
    with rasterio.open(files["class"]) as raster:
        area = PixelAreas(grid).by_code(raster.read(1))
    told = json.loads(files["summary"].read_text())
    assert told["ice_extent_km2"] == pytest.approx(area[1:N].sum(), abs=2e-3)
    assert told["undecided_km2"] == pytest.approx(area[253], abs=2e-3)
    assert sum(told["classes_km2"].values()) == pytest.approx(area[:N].sum(), abs=4e-3)


def test_one_map_alone_is_itself(folder: Path, tmp_path: Path) -> None:
    for rule in ("latest", "confident", "fused"):
        files = mosaic([folder / "map2"], tmp_path / rule, rule=rule)  # type: ignore[arg-type]
        for name, own in (("class", "class"), ("confidence", "confidence"), ("ice_probability", "ice_probability")):
            with rasterio.open(files[name]) as made, rasterio.open(folder / "map2" / f"{own}.tif") as there:
                np.testing.assert_array_equal(made.read(), there.read(), err_msg=f"{rule} {name}")
                assert made.transform.almost_equals(there.transform, 1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 2**31))
def test_a_pool_is_the_geometric_mean(n: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    percent = (
        rng.multinomial(100, rng.dirichlet(np.ones(classes)), size=(n, 6))
        .transpose(0, 2, 1)[..., None]
        .astype(np.uint8)
    )
    made = pool(percent, np.ones((n, 6, 1), bool))
    assert (made.sum(axis=0) == 100).all()
    exact = np.exp(np.log(np.maximum(percent, 0.5).astype(float)).mean(axis=0))
    exact *= 100 / exact.sum(axis=0)
    assert np.abs(made - exact).max() < 1.6
    same = pool(np.repeat(percent[:1], 3, axis=0), np.ones((3, 6, 1), bool))
    assert np.abs(same.astype(int) - percent[0]).max() <= classes  # three that agree say what one says


def test_fused_answers_follow_the_pool() -> None:
    percents = np.array([[[[90]], [[10]]], [[[60]], [[40]]], [[[85]], [[15]]]], np.uint8)
    codes = np.array([[[0]], [[253]], [[0]]], np.uint8)
    made = combine(codes, percents, "fused", "exclusive", 75.0)
    assert made.code[0, 0] == 0
    assert made.percent[0, 0] in (19, 20)  # of ice: geometric mean of odds 1/9, 2/3, 3/17
    assert made.agreement[0, 0] == 100
    assert combine(codes, percents, "fused", "exclusive", 95.0).code[0, 0] == 253


def test_land_stays_land_and_its_neighbours_decide_nothing() -> None:
    codes = np.array([[[254, 0]], [[254, 255]]], np.uint8)
    percents = np.full((2, 2, 1, 2), 255, np.uint8)
    percents[0, :, 0, 1] = 95, 5
    for rule in ("latest", "confident", "fused"):
        made = combine(codes, percents, rule, "exclusive")  # type: ignore[arg-type]
        assert made.code.tolist() == [[254, 0]]
        assert made.count.tolist() == [[2, 1]]
        assert made.agreement.tolist() == [[255, 255]]


def test_gdal_and_stac_read_it(folder: Path, tmp_path: Path) -> None:
    from rio_cogeo.cogeo import cog_validate

    files = mosaic([folder], tmp_path / "m")
    for path in files.values():
        if path.suffix == ".tif":
            assert cog_validate(path, strict=True)[0], path
    item = pystac.Item.from_file(str(files["stac"]))
    assert set(item.assets) >= {"class", "age_hours", "source_index", "summary"}
    with rasterio.open(files["class"]) as raster:
        assert raster.colormap(1)[4][:3] == FIVE_CLASSES.classes[4].colour
    with pytest.raises(OutputExistsError):
        mosaic([folder], tmp_path / "m")
    mosaic([folder], tmp_path / "m", overwrite=True)
    (tmp_path / "m" / "mine.txt").write_text("words")
    with pytest.raises(OutputExistsError, match="mine.txt"):
        mosaic([folder], tmp_path / "m", overwrite=True)


def test_another_projection_takes_the_nearest_pixel(folder: Path, tmp_path: Path) -> None:
    files = mosaic([folder / "map0"], tmp_path / "m", crs="EPSG:32633")
    with rasterio.open(files["class"]) as made, rasterio.open(folder / "map0" / "class.tif") as there:
        assert made.crs.to_epsg() == 32633
        values = set(np.unique(made.read(1)).tolist())
        assert values <= set(np.unique(there.read(1)).tolist()) | {255}
        area = (made.read(1) < 254).sum() * made.transform.a**2
        assert area == pytest.approx((there.read(1) < 254).sum() * there.transform.a**2, rel=0.1)


def test_bad_maps_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ProductNotFoundError, match="holds no maps"):
        mosaic([tmp_path], tmp_path / "m")
    with pytest.raises(OptionError, match="is of 2031"):
        mosaic([folder], tmp_path / "m", time="2031")
    with pytest.raises(OptionError, match="No map meets the box"):
        mosaic([folder], tmp_path / "m", bbox="-120,-80,-100,-70")
    with pytest.raises(OptionError, match="Rule"):
        mosaic([folder], tmp_path / "m", rule="oldest")  # type: ignore[arg-type]
    (tmp_path / "bad").mkdir()
    for name in ("stac_item.json", "class.tif"):
        (tmp_path / "bad" / name).write_bytes((folder / "map0" / name).read_bytes()[:700])
    with pytest.raises(ProductError, match="no map that can be read"):
        map_files(tmp_path / "bad")
    assert not (tmp_path / "m").exists()


def test_what_others_put_among_the_maps_is_passed_over(folder: Path, tmp_path: Path) -> None:
    import shutil

    place = tmp_path / "maps"
    shutil.copytree(folder / "map0", place / "map0")
    (place / "other").mkdir()
    (place / "other" / "stac_item.json").write_text('{"collection": "sentinel-2", "properties": {}}')
    (place / "notes").mkdir()
    (place / "notes" / "thesis.txt").write_text("words")
    assert [m.folder.name for m in maps_in([place])] == ["map0"]
    with pytest.raises(OptionError, match="among the maps"):
        mosaic([place], place / "mosaic")
    (place / "other" / "stac_item.json").write_text("{")
    with pytest.raises(ProductError, match="other is no map that can be read"):
        maps_in([place])


def test_damage_within_a_raster_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder / "map0", tmp_path / "bad")
    data = bytearray((tmp_path / "bad" / "probability.tif").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "bad" / "probability.tif").write_bytes(data)
    with pytest.raises(FrazilError):
        mosaic([tmp_path / "bad"], tmp_path / "m", rule="fused")
    assert not (tmp_path / "m").exists()


def test_series_are_sums_over_pixels(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("frazil.archive.mosaic.BLOCK", 40)
    monkeypatch.setattr("frazil.archive.series.BLOCK", 40)
    grid = common_grid(maps_in([folder]))
    left, bottom, right, top = grid.bounds
    middle = (left + right) / 2
    halves = gpd.GeoDataFrame(
        {"name": ["west", "east"]},
        geometry=[shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)],
        crs=grid.crs,
    )
    table = series([folder], regions=halves)
    whole = series([folder])
    assert list(whole["date"]) == ["2025-02-01", "2025-02-02"]
    for day in ("2025-02-01", "2025-02-02"):
        expected, (x0, y0), step = by_hand(folder, "latest", day)
        own = common_grid([m for m in maps_in([folder]) if m.time.date().isoformat() == day])
        assert (own.left, own.top, own.spacing_m) == pytest.approx((x0, y0, step))
        areas = np.concatenate([a for _, a in PixelAreas(own).blocks()])
        told = whole[whole["date"] == day].iloc[0]
        ice = (expected["code"] > 0) & (expected["code"] < 253)
        assert told["ice_extent_km2"] == pytest.approx(areas[ice].sum(), abs=2e-3)
        water = areas[expected["code"] == 0].sum()
        assert told["concentration_percent"] == pytest.approx(
            100 * areas[ice].sum() / (areas[ice].sum() + water), abs=0.01
        )
        parts = table[table["date"] == day]
        for column in ("ice_extent_km2", "mapped_sea_km2", "undecided_km2", "land_km2"):
            assert parts[column].sum() == pytest.approx(told[column], abs=4e-3)
        assert parts["ice_edge_km"].sum() == pytest.approx(told["ice_edge_km"], abs=1.0)


def test_the_edge_of_a_straight_border_has_its_length(tmp_path: Path) -> None:
    made = make_map(shape=(400, 500), seed=1)
    half = np.zeros((400, 500), bool)
    half[:, 250:] = True
    percent = np.where(half, 2, 98).astype(np.uint8)
    made["probability"].values[:] = 0
    made["probability"].values[0], made["probability"].values[3] = percent, 100 - percent
    made["ice_class"].values[:], made["ice_probability"].values[:] = np.where(half, 3, 0), 100 - percent
    made["confidence"].values[:], made["quality_flags"].values[:] = 98, 0
    export(made, tmp_path / "map", formats=FORMATS)
    told = series([tmp_path / "map"]).iloc[0]
    step = float(made["x"][1] - made["x"][0])
    assert told["ice_edge_km"] == pytest.approx(400 * step / 1000, rel=0.08)


def test_tables_come_back_and_regions_are_checked(folder: Path, tmp_path: Path) -> None:
    table = series([folder])
    for ending in (".csv", ".parquet", ".png"):
        path = save_series(table, tmp_path / f"s{ending}")
        save_series(table, path, overwrite=True)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "s.csv"), table, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "s.parquet"), table, check_dtype=False)
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(OutputExistsError):
        save_series(table, tmp_path / "mine.csv", overwrite=True)
    with pytest.raises(OptionError, match="ends in none"):
        save_series(table, tmp_path / "s.xlsx")
    far = gpd.GeoDataFrame({"sea": ["x"]}, geometry=[shapely.box(-50, -70, -40, -60)], crs=4326)
    told = series([folder], regions=far, name_column="sea")
    assert (told["observed_percent"] == 0).all()
    assert told["concentration_percent"].isna().all()
    with pytest.raises(LabelError, match="no column 'region'"):
        series([folder], regions=far, name_column="region")
    with pytest.raises(LabelError, match="no regions"):
        series([folder], regions=far.iloc[:0])


def test_commands(folder: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    done = run(
        cli, ["mosaic", str(folder), "-o", str(tmp_path / "m"), "--day", "2025-02-01", "--rule", "fused", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert Path(json.loads(done.stdout)["age_hours"]).is_file()
    done = run(
        cli, ["series", str(folder), "-o", str(tmp_path / "s.csv"), "--picture", str(tmp_path / "s.png"), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert [row["date"] for row in json.loads(done.stdout)["rows"]] == ["2025-02-01", "2025-02-02"]
    assert isinstance(run(cli, ["series", str(folder), "-o", str(tmp_path / "s.txt")]).exception, OptionError)
    assert isinstance(run(cli, ["catalogue", str(folder)]).exception, ProductNotFoundError)


def test_blocks_cover_what_is_seen_and_no_more(folder: Path) -> None:
    maps = maps_in([folder])
    grid = common_grid(maps)
    seen = np.zeros(grid.shape, int)
    for block in mosaic_blocks(maps, grid, "latest", datetime(2025, 2, 3, tzinfo=UTC)):
        seen[block.rows, block.columns] += 1
    assert seen.max() == 1
