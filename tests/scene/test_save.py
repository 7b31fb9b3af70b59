"""Scenes as files: GeoTIFFs tile by tile with overviews of power, NetCDF as CF has it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import rasterio
import xarray as xr

from frazil.scene.geotiff import halved
from frazil.scene.grid import grid_for, plan_warp
from frazil.scene.save import save_scene
from frazil.scene.scaling import to_db
from frazil.sentinel1.scene import open_scene


@pytest.fixture(scope="module")
def scene(small_safe: Path) -> xr.Dataset:
    return open_scene(small_safe)


@pytest.mark.parametrize(("tile", "spacing"), [(300, 40.0), (4096, 53.0)])
def test_tiles_of_any_size_give_the_whole_warp(
    scene: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: int, spacing: float
) -> None:
    monkeypatch.setattr("frazil.scene.geotiff._TILE", tile)
    monkeypatch.setattr("frazil.scene.geotiff._SMALLEST", 100)
    path = save_scene(scene, tmp_path / "x.tif", spacing_m=spacing)
    warp = plan_warp(scene, grid_for(scene, spacing_m=spacing))
    for band in (0, 1):
        power = warp.bilinear(scene.sigma0[band].values)
        with rasterio.open(path) as file:
            np.testing.assert_allclose(file.read(band + 1), to_db(power), atol=1e-4)
            levels = len(file.overviews(band + 1))
        assert levels >= 3
        for level in range(levels):  # a mean of power, not of decibels
            power = halved(power)
            with rasterio.open(path, overview_level=level) as file:
                np.testing.assert_allclose(file.read(band + 1), to_db(power), atol=2e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tif"]


def test_halved_is_the_mean_of_what_is_there() -> None:
    power = np.array([[1.0, 3.0, np.nan], [5.0, np.nan, np.nan], [2.0, 4.0, 8.0]], np.float32)
    np.testing.assert_array_equal(halved(power), np.array([[3.0, np.nan], [3.0, 8.0]], np.float32))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc/self/status")
def test_a_geotiff_takes_no_more_memory_than_its_tiles(small_safe: Path, tmp_path: Path) -> None:
    """A map of 6700 × 5200 pixels, 140 MB a band, which was made as a whole and several times over."""
    code = (
        "import re, sys\nfrom frazil import open_scene\nfrom frazil.scene.save import save_scene\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "scene = open_scene(sys.argv[1], polarizations=('HV',))\nsave_scene(scene, sys.argv[2] + '/a.tif')\n"
        "before = peak()\nsave_scene(scene, sys.argv[2] + '/b.tif', spacing_m=10.0)\nprint(peak() - before)"
    )
    command: list[str | Path] = [sys.executable, "-c", code, small_safe, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 250_000  # kB


def test_netcdf_follows_cf(scene: xr.Dataset, tmp_path: Path) -> None:
    path = save_scene(scene.isel(line=slice(0, 50)), tmp_path / "x.nc")
    with h5netcdf.File(path, "r") as file:
        for name in ("line", "pixel", "azimuth_time", "ground_range", "tie_line", "tie_pixel", "tie_latitude"):
            assert "_FillValue" not in file[name].attrs, name
        assert file["polarization"].dtype == np.dtype("S1")
        assert np.isnan(file["sigma0"].attrs["_FillValue"])
    with xr.open_dataset(path) as back:
        assert back.polarization.values.tolist() == ["HH", "HV"]
        assert back["valid"].dtype == bool
        np.testing.assert_array_equal(back.azimuth_time.values, scene.azimuth_time.values[:50])
        np.testing.assert_array_equal(back.sigma0.values, scene.sigma0[:, :50].values)
    assert re.match(r"CF-1\.", scene.attrs["Conventions"])


def test_a_signal_inside_a_call_of_hdf5_is_not_lost(small_safe: Path, tmp_path: Path) -> None:
    """HDF5 calls back into Python to write; what is raised there vanished, and the file lacked that block unsaid."""
    code = (
        "import os, signal, sys\n"
        "import frazil.scene.save as save\n"
        "from frazil.cli import _stop\n"
        "from frazil.sentinel1.scene import open_scene\n"
        "signal.signal(signal.SIGTERM, _stop)\n"
        "write, calls = save._CarefulFile.write, []\n"
        "def disturbed(self, data):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 5: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return write(self, data)\n"
        "save._CarefulFile.write = disturbed\n"
        "save.save_scene(open_scene(sys.argv[1], looks=3), sys.argv[2])\n"
        "print('reported whole')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(small_safe), str(tmp_path / "s.nc")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
