"""Readers of published sets on small files made in their documented layout, whole and broken."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import geopandas as gpd
import h5netcdf
import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner, Result
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from frazil.cli import cli
from frazil.errors import FrazilError, LabelError, LabelNotFoundError, OptionError
from frazil.labels.datasets.ai4arctic import read_ai4arctic
from frazil.labels.datasets.extremeearth import pair_by_time, read_extremeearth
from frazil.labels.datasets.folders import read_folders
from frazil.labels.datasets.uit import read_uit
from frazil.labels.patch_set import check_patches, open_patches, save_patches
from frazil.labels.splits import split_patches
from frazil.sentinel1.scene import open_scene
from tests.labels.test_patches import box

NAME = "S1A_EW_GRDM_1SDH_20180124T194759_20180124T194859_020301_022AA4_1F75"


def picture(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def uit(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder, n in {
        "train+val/open_water": 3,
        "train+val/Young ice": 2,
        "train+val/old_deformed": 2,
        "train+val/unlabeled_1": 4,
        "test/open_water": 2,
        "test/Young ice": 1,
    }.items():
        for i in range(n):
            values = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            values[..., 2] = 33
            picture(tmp_path / "uit" / folder / f"{i:03d}.png", values)
    return tmp_path / "uit"


def test_uit_patches(uit: Path, tmp_path: Path) -> None:
    patches = read_uit(uit)
    check_patches(patches)
    assert patches["image"].shape == (14, 3, 20, 20)
    assert sorted(zip(patches["part"].values.tolist(), patches["label"].values.tolist(), strict=True)) == sorted(
        [("train+val", 0)] * 3
        + [("train+val", 2)] * 2
        + [("train+val", 4)] * 2
        + [("unlabelled", 255)] * 4
        + [("test", 0)] * 2
        + [("test", 2)]
    )
    raw = np.asarray(Image.open(uit / "train+val" / "open_water" / "001.png"), float)
    mine = patches.isel(
        patch=[i for i in range(14) if np.allclose(patches["image"][i, 0], raw[..., 0] / 255 * 30 - 30)]
    )
    assert mine.sizes["patch"] == 1
    np.testing.assert_allclose(mine["image"][0, 1], raw[..., 1] / 255 * 30 - 35, atol=1e-4)
    np.testing.assert_allclose(mine["image"][0, 2], 33, atol=1e-4)
    assert patches["channel_units"].values.tolist() == ["dB", "dB", "degree"]
    # The two regions are the two scenes that the set knows of.
    assert set(patches["scene"].values) == {"train+val", "test"}
    split = split_patches(patches, allow_missing=True)
    assert {len(split.train), len(split.test)} == {1}
    again = open_patches(save_patches(patches, tmp_path / "uit.zarr"))
    xr.testing.assert_identical(again.load().drop_attrs(), patches.drop_attrs())
    streamed = read_uit(uit, path=tmp_path / "again.zarr")
    np.testing.assert_array_equal(streamed["image"], patches["image"])
    assert set(read_uit(uit, scheme="binary")["label"].values) == {0, 1, 255}


def test_uit_folders_of_other_names(uit: Path, tmp_path: Path) -> None:
    (uit / "test" / "open_water").rename(uit / "test" / "zone7")
    with pytest.raises(LabelError, match="has the labels 'zone7', which are no class of five_classes.*classes="):
        read_uit(uit)
    assert (read_uit(uit, classes={"zone7": "deformed_ice"})["label"] == 4).sum() == 4
    assert (read_uit(uit, classes={"zone7": ""})["label"] == 255).sum() == 6
    with pytest.raises(LabelNotFoundError, match="No folder at"):
        read_uit(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match=r"neither train\+val nor test"):
        read_uit(tmp_path / "empty")


def test_a_manifest_for_any_layout(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(-20, 2, (3, 8, 8)).astype(np.float32)
    values[2] = rng.uniform(20, 45, (8, 8))  # the incidence angle
    (tmp_path / "deep" / "er").mkdir(parents=True)
    np.save(tmp_path / "deep" / "er" / "a.npy", values)
    np.save(tmp_path / "b.npy", np.moveaxis(values, 0, 2))
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 3, "dtype": "float32", "nodata": -999.0}
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(tmp_path / "c.tif", "w", **profile) as file:
        file.write(values)
    bad = values.copy()
    bad[0, 3, 3] = -999
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(tmp_path / "d.tif", "w", **profile) as file:
        file.write(bad)
    np.save(tmp_path / "e.npy", values)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "path,label,scene,time,longitude,latitude,polygon,note\n"
        f"deep/er/a.npy,young_ice,{NAME},2018-01-24T19:48:00Z,10.5,78.25,12,hello\n"
        "b.npy,02,B,,,,,\n"
        "c.tif,,B,,,,,\n"
        "d.tif,95,B,,,,,\n"
        "e.npy,land,B,,,,,\n"
    )
    patches = read_folders(tmp_path, manifest=manifest)
    assert patches["label"].values.tolist() == [2, 0, 255]
    for i in range(3):
        np.testing.assert_array_equal(patches["image"][i], values)
    assert patches["scene"].values.tolist() == [NAME, "B", "B"]
    assert float(patches["latitude"][0]) == 78.25
    assert patches["polygon"].values.tolist() == [12, -1, -1]
    assert patches["time"].values[0] == np.datetime64("2018-01-24T19:48:00")
    assert patches["season"].values.tolist() == ["DJF", "unknown", "unknown"]
    assert patches.attrs["counts"] == {"left_out_missing": 1, "left_out_land": 1, "patches": 3}
    assert read_uit(tmp_path, manifest=manifest).sizes["patch"] == 3


def test_class_folders_with_product_names(tmp_path: Path) -> None:
    for scene in (NAME, "20190304T101112"):
        picture(tmp_path / "set" / "young_ice" / f"{scene}_0001.png", np.full((6, 6), 100, np.uint8))
    patches = read_folders(tmp_path / "set", channels=("hh",))
    assert sorted(patches["scene"].values.tolist()) == sorted([NAME, "20190304T101112"])
    assert patches["season"].values.tolist() == ["MAM", "DJF"]
    low = read_folders(tmp_path / "set", channels=("hh",), decode={"hh": (-40.0, 11.0)})
    np.testing.assert_allclose(low["image"], -20)


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "young_ice"
    picture(folder / "a.png", np.zeros((6, 6, 3), np.uint8))
    np.save(folder / "b.npy", np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    with pytest.raises(LabelError, match="b.npy is a pickled array, which can run code"):
        read_folders(tmp_path / "set")
    for content, words in (
        (b"no array", "cannot be read|pickled"),
        (b"\x93NUMPY\x01\x00", "cannot be read"),
    ):
        write(folder / "b.npy", content)
        with pytest.raises(LabelError, match=words):
            read_folders(tmp_path / "set")
    np.save(folder / "b.npy", np.zeros((7, 7, 3)))
    with pytest.raises(LabelError, match="b.npy is 7 × 7 pixels, others are 6 × 6"):
        read_folders(tmp_path / "set")
    np.save(folder / "b.npy", np.zeros((6, 6, 2)))
    with pytest.raises(LabelError, match=r"b.npy has the shape \(6, 6, 2\), which does not hold 3 channels"):
        read_folders(tmp_path / "set")
    np.save(folder / "b.npy", np.zeros(6))
    with pytest.raises(LabelError, match="b.npy has 1 dimensions"):
        read_folders(tmp_path / "set")
    np.save(folder / "b.npy", np.full((6, 6, 3), np.nan))
    assert read_folders(tmp_path / "set").attrs["counts"]["left_out_missing"] == 1
    (folder / "b.npy").unlink()
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    whole = picture(folder / "a.png", noise).read_bytes()
    write(folder / "a.png", whole[: len(whole) // 2])
    with pytest.raises(LabelError, match="a.png cannot be read as an image"):
        read_folders(tmp_path / "set")
    picture(folder / "a.png", np.zeros((6, 6), np.uint8))
    with pytest.raises(LabelError, match="8-bit; say what 0 and 255 of nesz_hh stand for"):
        read_folders(tmp_path / "set", channels=("nesz_hh",))
    (folder / "a.png").unlink()
    with pytest.raises(LabelError, match="No image .* in class folders"):
        read_folders(tmp_path / "set")


@pytest.mark.parametrize("suffix", [".png", ".npy", ".tif"])
def test_sixteen_bits_need_a_range_and_take_it(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "set" / "young_ice" / f"a{suffix}"
    path.parent.mkdir(parents=True)
    values = np.array([[0, 65535], [32768, 13107]], np.uint16)
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".tif":
        with (
            pytest.warns(rasterio.errors.NotGeoreferencedWarning),
            rasterio.open(path, "w", driver="GTiff", width=2, height=2, count=1, dtype="uint16") as file,
        ):
            file.write(values[None])
    else:
        Image.fromarray(values).save(path)
    with pytest.raises(LabelError, match=r"16-bit; say what 0 and 65535 of hh stand for.*--range hh=LOW,HIGH"):
        read_folders(tmp_path / "set", channels=("hh",))
    made = read_folders(tmp_path / "set", channels=("hh",), decode={"hh": (-30, 0)})
    np.testing.assert_allclose(made["image"].values[0, 0], -30 + values / 65535 * 30, atol=1e-4)


def test_a_range_of_numbers_that_are_decibels_already(tmp_path: Path) -> None:
    path = tmp_path / "set" / "young_ice" / "a.npy"
    path.parent.mkdir(parents=True)
    for dtype in (np.float32, np.int16):
        np.save(path, np.full((4, 4), -20, dtype))
        assert (read_folders(tmp_path / "set", channels=("hh",))["image"].values == -20).all()
        with pytest.raises(LabelError, match="taken as they are.*Leave the range of hh out"):
            read_folders(tmp_path / "set", channels=("hh",), decode={"hh": (-30, 0)})


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("file,class\na.png,2\n", LabelError, r"needs the columns path and label.*\['file', 'class'\]"),
        ("path,label\n", LabelError, "at least one row"),
        ("path,label\n../../etc/a.png,2\n", LabelError, "line 2: path .* does not lie inside"),
        ("path,label\n/etc/a.png,2\n", LabelError, "does not lie inside"),
        ("path,label\nnone.png,2\n", LabelNotFoundError, "No image at"),
        ("path,label,latitude\na.png,2,north\n", LabelError, "line 2: latitude 'north' is not a number"),
        ("path,label,time\na.png,2,yesterday\n", LabelError, "line 2: time 'yesterday' is not ISO 8601"),
        ("path,label\na.png,walrus\n", LabelError, "'walrus'"),
        (b"\xff\xfe\x00", LabelError, "CSV in UTF-8"),
    ],
)
def test_manifests_that_are_wrong(tmp_path: Path, text: str | bytes, error: type[Exception], words: str) -> None:
    picture(tmp_path / "a.png", np.zeros((6, 6, 3), np.uint8))
    write(tmp_path / "m.csv", text)
    with pytest.raises(error, match=words):
        read_folders(tmp_path, manifest=tmp_path / "m.csv")
    with pytest.raises(LabelNotFoundError, match="No manifest"):
        read_folders(tmp_path, manifest=tmp_path / "none.csv")


def test_extremeearth(small_safe: Path, tmp_path: Path) -> None:
    scene = open_scene(small_safe, looks=6)
    frame = gpd.GeoDataFrame(
        {"poly_type": ["I", "W"], "CT": ["92", "01"], "SA": ["95", None]},
        geometry=[box(scene, (0, 70), (0, 250)), box(scene, (80, 150), (0, 250))],
        crs="EPSG:4326",
    )
    stamp = small_safe.name.split("_")[4].lower()
    folder = tmp_path / "labels"
    folder.mkdir()
    frame.iloc[:1].to_file(folder / f"seaice_s1_{stamp}-NE.shp")
    frame.iloc[1:].to_file(folder / f"seaice_s1_{stamp}-SW.shp")
    frame.to_file(folder / "seaice_s1_20180116t075430.shp")
    assert len(pair_by_time(folder, [small_safe])) == 2
    options = {"size": 10, "looks": 6, "channels": ("hh", "hv"), "mask_land": False}
    patches = read_extremeearth(folder, [small_safe], **options)
    assert set(patches["label"].values) == {0, 4}
    assert set(patches["scene"].values) == {small_safe.stem}
    whole = read_extremeearth(folder, [small_safe], **options, path=tmp_path / "ee.zarr")
    assert whole.sizes == patches.sizes
    with pytest.raises(LabelError, match="None of the 1 products is of the time of the polygons"):
        read_extremeearth(folder, [NAME + ".SAFE"])
    with pytest.raises(OptionError, match="has no time"):
        read_extremeearth(folder, ["scene.SAFE"])
    with pytest.raises(LabelNotFoundError, match="No folder"):
        read_extremeearth(tmp_path / "none", [small_safe])
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match="no vector file with a time"):
        read_extremeearth(tmp_path / "empty", [small_safe])


HEADER = "id;CT;CA;SA;FA;CB;SB;FB;CC;SC;FC;CN;CD;CF;POLY_TYPE"


def raw_file(path: Path, codes: list[str], *, angle: str = "grid", n: tuple[int, int] = (60, 80)) -> Path:
    """A raw file: polygons 3, 7 and 9 side by side, the SAR missing at the left edge, no chart at the right one."""
    rng = np.random.default_rng(0)
    hh, hv = (rng.normal(m, 1, n).astype(np.float32) for m in (-15, -25))
    hh[:, 0], hv[:, 0] = 0, np.nan
    chart = np.repeat([3, 7, 9], [20, 30, 30])[None, :].repeat(n[0], 0).astype(np.float64)
    chart[:, 75:] = np.nan
    line, sample = (v.ravel() for v in np.meshgrid([0, 20, 40, 59], [0, 40, 79], indexing="ij"))
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"sar_lines": n[0], "sar_samples": n[1], "sar_sample_points": 12, "codes": len(codes)}
        grid = ("sar_lines", "sar_samples")
        for name, values in (("nersc_sar_primary", hh), ("nersc_sar_secondary", hv), ("polygon_icechart", chart)):
            file.create_variable(name, grid, data=values)
        points = {"line": line, "sample": sample, "latitude": 75 - line * 4e-4, "longitude": 10 + sample * 1e-3}
        for name, values in points.items():
            file.create_variable(f"sar_grid_{name}", ("sar_sample_points",), data=np.asarray(values, float))
        if angle == "grid":
            file.create_variable("sar_grid_incidenceangle", ("sar_sample_points",), data=20 + sample / 10)
        else:
            file.create_variable("sar_incidenceangle", ("sar_samples",), data=20 + np.arange(n[1]) / 10)
        import h5py

        text = file.create_variable("polygon_codes", ("codes",), dtype=h5py.string_dtype())
        text[...] = np.array(codes, dtype=object)
    return path


def test_raw_test_scenes_of_ai4arctic_are_called_what_they_are(tmp_path: Path) -> None:
    """They have no chart; they were taken for ready-to-train files that lack their images."""
    import h5py

    path = raw_file(tmp_path / "test.nc", ["3;01;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;I"])
    with h5py.File(path, "r+") as file:
        del file["polygon_icechart"], file["polygon_codes"]
    with pytest.raises(LabelError, match="is a raw scene without its chart"):
        read_ai4arctic(path, size=10, stride=10)


@pytest.mark.parametrize("angle", ["grid", "row"])
@pytest.mark.parametrize("header", [True, False])
def test_ai4arctic_raw(tmp_path: Path, angle: str, header: bool) -> None:
    codes = [HEADER] * header + [
        "3;01;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;I",
        "7;92;-9;91; 8;-9;-9;-9;-9;-9;-9;-9;-9;-9;I",
        "9;90;60;84; 4;30;81;99;-9;-9;-9;-9;-9;-9;I",
    ]
    path = raw_file(tmp_path / f"{NAME}_icechart_dmi_201801241950_SouthEast_RIC.nc", codes, angle=angle)
    patches = read_ai4arctic(path, size=10, stride=5)
    check_patches(patches)
    assert set(patches["scene"].values) == {NAME}
    assert set(patches["time"].values) == {np.datetime64("2018-01-24T19:47:59")}
    assert set(zip(patches["polygon"].values.tolist(), patches["label"].values.tolist(), strict=True)) == {
        (3, 0),
        (7, 4),
        (9, 2),
    }
    columns = sorted(set(patches["pixel"].values.tolist()))
    assert columns == [5, 10, 20, 25, 30, 35, 40, 50, 55, 60, 65]  # 0 is missing, 15 and 45 straddle, 70 has no chart
    assert np.isfinite(patches["image"]).all()
    assert patches["channel_units"].values.tolist() == ["dB", "dB", "degree"]
    i = int(np.flatnonzero((patches["pixel"].values == 55) & (patches["line"].values == 20))[0])
    np.testing.assert_allclose(patches["image"][i, 2, 0], 20 + np.arange(55, 65) / 10, atol=1e-4)
    assert float(patches["latitude"][i]) == pytest.approx(75 - 24.5 * 4e-4, abs=2e-5)
    assert float(patches["longitude"][i]) == pytest.approx(10 + 59.5e-3, abs=2e-5)
    five = read_ai4arctic(path, size=10, stride=5, scheme="five_classes")
    assert set(five["label"].values) == {0, 2, 4}
    assert patches.attrs["counts"]["left_out_missing"] == 11
    streamed = read_ai4arctic([path], size=10, stride=5, path=tmp_path / "a.zarr")
    xr.testing.assert_identical(streamed.load().drop_attrs(), patches.drop_attrs())


def test_ai4arctic_raw_that_is_wrong(tmp_path: Path) -> None:
    good = ["3;92;-9;91;8;-9;-9;-9;-9;-9;-9"]
    path = raw_file(tmp_path / "a.nc", [*good, "7;92;-9;90;8;-9;-9;-9;-9;-9;-9", "9;92;-9;91;8;-9;-9;-9;-9;-9;-9"])
    with pytest.raises(LabelError, match="a.nc uses codes that SIGRID-3 does not have .dialect 2004.: SA 90.*ignore"):
        read_ai4arctic(path, size=10)
    patches = read_ai4arctic(path, size=10, unknown="ignore", stride=5)
    assert set(patches["polygon"].values) == {3, 9}
    assert set(patches["scene"].values) == {"a"}
    (path).unlink()
    path = raw_file(tmp_path / "b.nc", ["three;nothing", "x"])
    with pytest.raises(LabelError, match=r"polygon_codes holds 'x', expected id;CT"):
        read_ai4arctic(path, size=10)
    path = raw_file(tmp_path / "c.nc", ["5;92;-9;91;8;-9;-9;-9;-9;-9;-9"])
    with pytest.raises(LabelError, match="No pixel of 1 scene.s. has a label of c.nc"):
        read_ai4arctic(path, size=10)
    with pytest.raises(OptionError, match="'vv' is not in the AI4Arctic files"):
        read_ai4arctic(path, channels=("vv",))
    (tmp_path / "text.nc").write_text("no netcdf")
    with pytest.raises(LabelError, match="text.nc cannot be read as NetCDF-4"):
        read_ai4arctic(tmp_path / "text.nc")
    with pytest.raises(LabelNotFoundError, match="No AI4Arctic file at"):
        read_ai4arctic(tmp_path / "none.nc")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelNotFoundError, match="no NetCDF file"):
        read_ai4arctic(tmp_path / "empty")
    xr.Dataset({"x": ("y", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(LabelError, match="other.nc is not an AI4Arctic file: dimension sar_lines is missing"):
        read_ai4arctic(tmp_path / "other.nc")


def test_ai4arctic_rows_of_edition_3_1(tmp_path: Path) -> None:
    """Ice free as 98, stages as centimetres, forms shifted: rows of the files are read as charts are."""
    codes = [HEADER, "3;98;;01;;;;;;;;;;;W", "7;92;;70;09;;;;;;;;;;I", "9;92;;20;05;;;;;;;;;;I"]
    path = raw_file(tmp_path / "a.nc", codes)
    patches = read_ai4arctic(path, size=10, stride=5)
    found = set(zip(patches["polygon"].values.tolist(), patches["label"].values.tolist(), strict=True))
    assert found == {(3, 0), (7, 4), (9, 2)}
    assert patches.attrs["dialects"] == ["3.1"]
    with pytest.raises(LabelError, match=r"dialect 2010\): .*SA 20.*--dialect"):
        read_ai4arctic(path, size=10, dialect="2010")
    streamed = read_ai4arctic([path], size=10, stride=5, path=tmp_path / "a.zarr")
    assert streamed.attrs["dialects"] == ["3.1"]


def ready_file(path: Path, *, labels: bool = True, sar: bool = True) -> Path:
    n = 50, 70
    rng = np.random.default_rng(2)
    grid = ("sar_lines", "sar_samples")
    data: dict = {}
    if sar:
        hh = rng.uniform(-1, 1, n).astype(np.float32)
        hh[:5] = 0
        data = {
            "nersc_sar_primary": (grid, hh),
            "nersc_sar_secondary": (grid, rng.uniform(-1, 1, n).astype(np.float32)),
            "sar_incidenceangle": (grid, np.linspace(-1, 1, n[1], dtype=np.float32)[None].repeat(n[0], 0)),
            "sar_grid2d_latitude": (("sar_grid_line", "sar_grid_sample"), np.linspace(75, 74, 5)[:, None].repeat(6, 1)),
            "sar_grid2d_longitude": (("sar_grid_line", "sar_grid_sample"), np.linspace(9, 11, 6)[None].repeat(5, 0)),
        }
    if labels:
        sic, sod = (np.full(n, 255, np.uint8) for _ in range(2))
        sic[:, :20], sod[:, :20] = 0, 0
        sic[:, 20:40], sod[:, 20:40] = 10, 5
        sic[:, 40:60], sod[:, 40:60] = 4, 2
        data |= {"SIC": (grid, sic), "SOD": (grid, sod), "FLOE": (grid, sod)}
    xr.Dataset(data, attrs={"original_id": f"{NAME}_icechart_dmi.nc"} if sar else {}).to_netcdf(path, engine="h5netcdf")
    return path


def test_ai4arctic_ready_to_train(tmp_path: Path) -> None:
    path = ready_file(tmp_path / "20180124T194759_dmi_prep.nc")
    patches = read_ai4arctic(path, size=10, stride=5)
    check_patches(patches)
    assert set(patches["scene"].values) == {NAME}
    pairs = set(zip(patches["pixel"].values.tolist(), patches["label"].values.tolist(), strict=True))
    assert pairs == {(2 * c + 0.5, code) for c, code in [(0, 0), (5, 0), (10, 0), (20, 5), (25, 5), (30, 5)]}
    assert patches["line"].values.min() == 10.5  # the first five lines are fill
    assert patches["channel_units"].values.tolist() == ["1", "1", "1"]
    assert float(np.abs(patches["image"]).max()) <= 1
    assert patches.attrs["spacing_m"] == 80
    middle = patches.isel(patch=0)
    assert float(middle["latitude"]) == pytest.approx(75 - (float(middle["line"]) + 9) / 99, abs=1e-3)
    assert float(middle["longitude"]) == pytest.approx(9 + 2 * (float(middle["pixel"]) + 9) / 139, abs=5e-3)
    scaling = {"hh": (-40.0, 0.0), "incidence_angle": (20.0, 46.0)}
    scaled = read_ai4arctic(path, size=10, stride=5, scaling=scaling)
    assert scaled["channel_units"].values.tolist() == ["dB", "1", "degree"]
    np.testing.assert_allclose(scaled["image"][:, 0], -20 + 20 * patches["image"][:, 0], atol=1e-4)
    np.testing.assert_allclose(scaled["image"][:, 1], patches["image"][:, 1])
    binary = read_ai4arctic(path, size=10, stride=5, scheme="binary")
    assert set(binary["label"].values) == {0, 1}
    with pytest.raises(OptionError, match="know the schemes 'ai4arctic' and 'binary', not 'five_classes'"):
        read_ai4arctic(path, scheme="five_classes")


def test_ai4arctic_labels_in_a_second_file(tmp_path: Path) -> None:
    path = ready_file(tmp_path / "20180124T194759_dmi_prep.nc", labels=False)
    with pytest.raises(LabelError, match="holds no labels .SIC, SOD.*20180124T194759_dmi_prep_reference.nc beside it"):
        read_ai4arctic(path, size=10)
    ready_file(tmp_path / "20180124T194759_dmi_prep_reference.nc", sar=False)
    assert set(read_ai4arctic(tmp_path, size=10, stride=5)["label"].values) == {0, 5}


def patches_command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["patches", *map(str, arguments)], catch_exceptions=False, standalone_mode=False)


def test_published_sets_on_the_command_line(uit: Path, tmp_path: Path) -> None:
    done = patches_command("uit", uit, "-o", tmp_path / "uit.zarr", "--json")
    assert json.loads(done.stdout)["classes"]["open_water"] == 5
    assert (tmp_path / "uit.png").exists()
    xr.testing.assert_identical(open_patches(tmp_path / "uit.zarr").load().drop_attrs(), read_uit(uit).drop_attrs())
    (tmp_path / "list.csv").write_text("path,label\nopen_water/000.png,water\nopen_water/001.png,\n")
    done = patches_command(
        "folders",
        uit / "test",
        "--manifest",
        tmp_path / "list.csv",
        "-o",
        tmp_path / "list.zarr",
        "--class",
        "water=open_water",
        "--range",
        "hh=-40,10",
    )
    assert "read     2 patches" in done.stdout
    raw = np.asarray(Image.open(uit / "test" / "open_water" / "000.png"), float)
    np.testing.assert_allclose(
        open_patches(tmp_path / "list.zarr")["image"][0, 0], raw[..., 0] / 255 * 50 - 40, atol=1e-4
    )


def test_ai4arctic_on_the_command_line(tmp_path: Path) -> None:
    from frazil.learn.data.patches import read_patches

    file = ready_file(tmp_path / "ready.nc")
    patches_command("ai4arctic", file, "-o", tmp_path / "bare.zarr", "--size", 12)
    assert open_patches(tmp_path / "bare.zarr").attrs["class_scheme"] == "ai4arctic"
    with pytest.raises(LabelError, match="'hh' of .* is in '1', not in dB"):
        read_patches((str(tmp_path / "bare.zarr"),))
    ranges = [w for text in ("hh=-30,0", "hv=-40,-10", "incidence_angle=20,46") for w in ("--range", text)]
    patches_command("ai4arctic", file, "-o", tmp_path / "set.zarr", "--size", 12, "--scheme", "binary", *ranges)
    made, _ = read_patches((str(tmp_path / "set.zarr"),))
    assert made.scheme.name == "binary"
    assert 0 <= made.image.min() < made.image.max() <= 1


def test_extremeearth_on_the_command_line(small_safe: Path, tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"kind": ["open_water"]}, geometry=[box(open_scene(small_safe), (100, 400), (100, 400))], crs="EPSG:4326"
    )
    stamp = small_safe.name.split("_")[4].lower()
    (tmp_path / "polygons").mkdir()
    frame.to_file(tmp_path / "polygons" / f"seaice_s1_{stamp}.shp")
    done = patches_command(
        "extremeearth",
        small_safe,
        "--labels",
        tmp_path / "polygons",
        "--class-column",
        "kind",
        "-o",
        tmp_path / "set.zarr",
        "--json",
    )
    assert json.loads(done.stdout)["classes"]["open_water"] > 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cut", "x.SAFE"), "Missing option '--labels'"),
        (("extremeearth", "x.SAFE"), "Missing option '--labels'"),
        (("uit", "x", "--looks", 3), "--looks does not apply to `cli patches uit`"),
        (("uit", "x", "--labels", "y"), "--labels does not apply to `cli patches uit`"),
        (("cut", "x.SAFE", "--labels", "y", "--manifest", "m.csv"), "--manifest does not apply to `cli patches cut`"),
        (("folders", "x", "--range", "hh=1"), "'hh=1' is not CHANNEL=LOW,HIGH"),
        (("uit", "x", "y"), "unexpected extra argument (y)"),
        (("x.SAFE", "--labels", "y"), "wants to know what kind: write `cli patches cut …`"),
        (("x", "--from", "uit"), "write `cli patches uit …`"),
    ],
)
def test_options_that_do_not_fit_the_source_are_refused(
    arguments: tuple[object, ...], words: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(cli, ["patches", *map(str, arguments), "-o", str(tmp_path / "s.zarr")])
    assert done.exit_code == 2
    assert words in done.output
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(("name", "value"), [("nersc_sar_primary", 1e34), ("sar_grid_latitude", 100.0)])
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, name: str, value: float) -> None:
    """Damaged chunks of a published scene were training data."""
    import h5py

    path = raw_file(tmp_path / "a.nc", ["3;01;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;I"])
    read_ai4arctic(path, size=10, stride=5)
    with h5py.File(path, "r+") as file:
        file[name][...] = value
    with pytest.raises(LabelError, match=f"holds? .* of .*{value:.4g}".replace("+", r"\+")):
        read_ai4arctic(path, size=10, stride=5)


def test_damaged_bytes_of_a_published_scene_are_one_line(tmp_path: Path) -> None:
    path = raw_file(tmp_path / "a.nc", ["3;01;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;I"])
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, min(len(data), 4000), 6):
            data[at] = int(rng.integers(256))
        path.write_bytes(data)
        with suppress(FrazilError):
            read_ai4arctic(path, size=10, stride=5)
            refused -= 1
        refused += 1
    assert refused > 5
