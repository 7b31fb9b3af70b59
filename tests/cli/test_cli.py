"""The command line as a user meets it: results, errors in one line, nothing overwritten, the reference in step."""

from __future__ import annotations

import importlib.util
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner

from frazil.cli import cli
from frazil.cli.guard import leaves
from frazil.learn.checkpoint import save_model
from tests.learn.predict.test_scene import random_model

ROOT = Path(__file__).resolve().parents[2]


def frazil(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "frazil", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "random"
    made = random_model()
    save_model(made.network, made.card, folder)
    return folder


@pytest.fixture(scope="module")
def mapped(small_safe: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "map"
    done = frazil("map", small_safe, "--model", model, "-o", folder, "--json")
    assert done.returncode == 0, done.stderr
    paths = json.loads(done.stdout)
    assert all(Path(p).exists() for p in paths.values())
    return folder


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("frazil: ")
    for word in words:
        assert word in lines[0]


def test_info_in_words_and_json(small_safe: Path) -> None:
    words = frazil("info", small_safe)
    assert "EW" in words.stdout
    assert words.stderr == ""
    data = json.loads(frazil("info", small_safe, "--json").stdout)
    assert data["polarizations"] == ["HH", "HV"]
    assert data["images"][0]["lines"] == 900


def test_scene_formats_agree(small_safe: Path, tmp_path: Path) -> None:
    for name in ("s.nc", "s.zarr", "s.tif"):
        done = frazil("scene", small_safe, "-o", tmp_path / name, "--looks", 3)
        assert done.returncode == 0, done.stderr
    nc = xr.open_dataset(tmp_path / "s.nc", engine="netcdf4")  # an independent reader
    zarr = xr.open_zarr(tmp_path / "s.zarr")
    np.testing.assert_array_equal(nc.sigma0.values, zarr.sigma0.values)
    np.testing.assert_array_equal(nc.valid.values.astype(bool), np.isfinite(nc.sigma0.values).all(axis=0))
    assert nc.sigma0.attrs["units"] == "1"
    assert nc.attrs["denoise"] == "esa"
    with rasterio.open(tmp_path / "s.tif") as tif:
        assert tif.crs.to_epsg() == 3413
        assert tif.descriptions == ("sigma0_db HH", "sigma0_db HV")
        db = tif.read(1, masked=True)
        assert 10 ** (np.ma.median(db) / 10) == pytest.approx(float(nc.sigma0[0].median()), rel=0.1)
    assert not list(tmp_path.glob(".*"))


def test_map_folder(mapped: Path) -> None:
    names = {p.name for p in mapped.iterdir()}
    expected = {
        "class.tif",
        "probability.tif",
        "ice_probability.tif",
        "confidence.tif",
        "flags.tif",
        "quicklook.tif",
        "map.nc",
        "ice.gpkg",
        "ice_edge.geojson",
        "ice_classes.geojson",
        "stac_item.json",
        "map.png",
        "map.qgz",
        "summary.json",
    }
    assert expected <= names
    summary = json.loads((mapped / "summary.json").read_text())
    assert "predict_s" in json.dumps(summary)
    assert "random-1" in json.dumps(summary)


def test_an_ice_map_without_sea_says_so(
    small_safe: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere = lambda grid: (np.ones(grid.shape, bool), np.zeros(grid.shape, np.float32))  # noqa: E731
    monkeypatch.setattr("frazil.learn.predict.scene.land_on", everywhere)
    done = CliRunner().invoke(cli, ["map", str(small_safe), "--model", str(model), "-o", str(tmp_path / "map")])
    assert done.exit_code == 0, done.output
    assert "no sea was observed in this product" in done.output
    summary = json.loads((tmp_path / "map" / "summary.json").read_text())
    assert summary["ice_extent_percent_of_mapped_sea"] is None


def test_edge_of_a_map(mapped: Path, tmp_path: Path) -> None:
    done = frazil("edge", mapped, "-o", tmp_path / "edge.gpkg", "--threshold", 30, "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"edge", "lines", "length_km"}
    refused(frazil("edge", mapped, "-o", tmp_path / "edge.gpkg"), "exists already", "--overwrite")
    refused(frazil("edge", mapped, "-o", tmp_path / "edge.dxf"), ".geojson")
    refused(frazil("edge", tmp_path, "-o", tmp_path / "x.gpkg"))


def test_simulate_writes_product_and_truth(tmp_path: Path) -> None:
    done = frazil("simulate", tmp_path / "s", "--seed", 4, "--lines", 3000, 3400, "--pixels", 100, 500, "--json")
    assert done.returncode == 0, done.stderr
    product = Path(json.loads(done.stdout)["product"])
    assert product.suffix == ".SAFE"
    assert list((tmp_path / "s").glob("*_truth/ice_class.tif"))


def test_bad_input_is_one_clear_line(small_safe: Path, model: Path, tmp_path: Path) -> None:
    refused(frazil("info", tmp_path / "none.SAFE"), "No product at", "none.SAFE")
    refused(frazil("scene", tmp_path, "-o", tmp_path / "x.nc"), "not a Sentinel-1 Level-1 product")
    refused(frazil("scene", small_safe, "-o", tmp_path / "x.jpg"), ".zarr")
    refused(frazil("scene", small_safe, "-o", tmp_path / "x.nc", "--polarization", "VV"), "'VV'", "['HH', 'HV']")
    refused(frazil("map", small_safe, "--model", tmp_path / "none", "-o", tmp_path / "m"), "No model at")
    refused(frazil("map", small_safe, "--model", model, "-o", tmp_path / "m", "--crs", "EPSG:4326"), "metres")
    assert sorted(p.name for p in tmp_path.iterdir()) == []


def test_zero_byte_measurement(small_safe: Path, model: Path, tmp_path: Path) -> None:
    broken = tmp_path / small_safe.name
    shutil.copytree(small_safe, broken)
    for tiff in (broken / "measurement").iterdir():
        tiff.write_bytes(b"")
    assert frazil("info", broken).returncode == 0
    refused(frazil("scene", broken, "-o", tmp_path / "x.nc"), "zero bytes", "-hh-")
    refused(frazil("map", broken, "--model", model, "-o", tmp_path / "m"), "zero bytes")
    assert not (tmp_path / "m").exists()


def test_measurement_that_breaks_half_way_leaves_nothing(small_safe: Path, model: Path, tmp_path: Path) -> None:
    broken = tmp_path / small_safe.name
    shutil.copytree(small_safe, broken)
    tiff = next((broken / "measurement").glob("*-hv-*"))
    tiff.write_bytes(tiff.read_bytes()[: tiff.stat().st_size * 2 // 3])
    for command in (
        ("scene", broken, "-o", tmp_path / "x.nc"),
        ("scene", broken, "-o", tmp_path / "x.zarr"),
        ("scene", broken, "-o", tmp_path / "x.tif"),
        ("map", broken, "--model", model, "-o", tmp_path / "m"),
    ):
        refused(frazil(*command), "truncated or damaged", "-hv-")
    assert [p.name for p in tmp_path.iterdir()] == [broken.name]


def test_nothing_is_overwritten_unasked(mapped: Path, small_safe: Path, model: Path) -> None:
    before = (mapped / "summary.json").read_bytes()
    refused(frazil("map", small_safe, "--model", model, "-o", mapped), "exists already", "--overwrite")
    assert (mapped / "summary.json").read_bytes() == before


def test_unwritable_folder(small_safe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(frazil("scene", small_safe, "-o", tmp_path / "file" / "x.nc"), "Cannot write")


@pytest.mark.parametrize("name", ["x.nc", "x.zarr", "x.tif", "m"])
def test_disk_that_refuses_leaves_nothing(small_safe: Path, model: Path, tmp_path: Path, name: str) -> None:
    """No file may grow beyond 60 kB: as on a full disk, writes fail in the middle."""
    limit = 60_000

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    out = tmp_path / name
    command = ("map", small_safe, "--model", model, "-o", out) if name == "m" else ("scene", small_safe, "-o", out)
    done = frazil(*command, preexec_fn=small_files)
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"frazil: Cannot write {out}"), done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_command_has_help_and_every_option_too() -> None:
    for name, command in leaves(cli):
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts}"


def test_reference_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "docs" / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.page(), "run `make docs`"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_full_disk_behind_standard_output_is_one_line(small_safe: Path, more: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "frazil", "info", str(small_safe), *more],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "frazil: cannot write to standard output: No space left on device. Free the space.\n"


def test_a_signal_that_python_swallows_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised inside a callback of the garbage collector is printed and forgotten, the signal with it."""
    code = (
        "import os, signal, time, weakref\n"
        "import frazil.cli as cli\n"
        "cli._AGAIN_S = 0.2\n"
        "signal.signal(signal.SIGTERM, cli._stop)\n"
        "class Thing: pass\n"
        "thing = Thing()\n"
        "watched = weakref.ref(thing, lambda _: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(0.01)))\n"
        "del thing\n"
        "print('swallowed', flush=True)\n"
        "time.sleep(10)\n"
        "print('not reached')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=9)
    assert done.stdout == "swallowed\n"
    assert done.stderr.count("KeyboardInterrupt") >= 2
