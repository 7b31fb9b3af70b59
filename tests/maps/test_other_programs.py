"""What `frazil map` and `frazil scene` write, as other people's programs see it: compliance-checker, CDO, NCO, GDAL."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
import xarray as xr
from affine import Affine
from click.testing import CliRunner
from pyproj import Transformer

from frazil import export, open_map
from frazil.cli import cli
from frazil.conventions import CLASS_NODATA, QUALITY_FLAGS, UNDECIDED
from frazil.learn.checkpoint import save_model
from frazil.simulate.product import simulate_product
from frazil.testing import make_map
from tests.learn.predict.test_phenomena import model as phenomena_model
from tests.learn.predict.test_scene import random_model

OWN = {
    "institution": "Ice Office",
    "creator_name": "A. Analyst",
    "creator_email": "ice@example.org",
    "creator_url": "https://example.org",
    "publisher_name": "Ice Office",
    "publisher_email": "ice@example.org",
    "publisher_url": "https://example.org",
    "naming_authority": "org.example",
    "project": "Winter",
    "comment": "Of a test.",
    "license": "CC-BY-4.0.",
}
#: What compliance-checker misses and cannot be: rasters of bytes have no heights, a map has no latitude variables and
#: no resolution in time; probabilities, confidence and grey values have no name among the standard ones; the times of a
#: scene's lines are whole nanoseconds, which the checker's cftime does not know.
NOT_THERE = (
    "geospatial_vertical_",
    "geospatial_bounds_vertical_crs",
    "time_coverage_resolution",
    "Could not find lat variable",
    "Could not find lon variable",
    "standard_name",
    "Failed to retrieve and convert times for variables azimuth_time",
)
#: CF 7.1 gives a boundary variable one dimension more than its coordinate has, that is one beside a scalar.
FALSE_ALARM = "Boundary variable time_bnds specified by time should have at least two dimensions"


def frazil(*words: object) -> None:
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.fixture(scope="module")
def written(small_safe: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    place = tmp_path_factory.mktemp("written")
    own = [word for name, value in OWN.items() for word in ("--attribute", f"{name}={value}")]
    ice = random_model()
    save_model(ice.network, ice.card, place / "ice")
    sea = phenomena_model()
    save_model(sea.network, sea.card, place / "sea")
    iw = simulate_product(place / "iw", template="iw", seed=1, lines=(0, 2400), pixels=(0, 2600), land=None)
    with pytest.MonkeyPatch.context() as patch:
        nowhere = lambda grid: (np.zeros(grid.shape, bool), np.full(grid.shape, np.inf, np.float32))  # noqa: E731
        frazil("map", small_safe, "--model", place / "ice", "-o", place / "ice-map", *own)
        patch.setattr("frazil.learn.predict.scene.land_on", nowhere)  # simulated sea, on metadata of land
        frazil("map", iw, "--model", place / "sea", "-o", place / "sea-map", *own)
    frazil("scene", small_safe, "--looks", 4, "-o", place / "scene.nc", *own)
    yield {"ice": place / "ice-map" / "map.nc", "sea": place / "sea-map" / "map.nc", "scene": place / "scene.nc"}
    shutil.rmtree(place)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("which", ["ice", "sea", "scene"])
@pytest.mark.parametrize("checker", ["cf:1.11", "acdd:1.3"])
def test_compliance_checker(written: dict[str, Path], which: str, checker: str) -> None:
    suite = pytest.importorskip("compliance_checker.runner").CheckSuite()
    suite.load_all_available_checkers()
    dataset = suite.load_dataset(str(written[which]))
    groups, broken = suite.run_all(dataset, [checker], skip_checks=[])[checker]
    dataset.close()
    assert not broken
    assert len(groups) > 10
    messages = [text for group in groups if group.weight > 1 for text in told(group)]  # 1: as one likes
    missed = [text for text in messages if FALSE_ALARM not in text and not any(word in text for word in NOT_THERE)]
    assert missed == []


def told(result: object) -> list[str]:
    """Messages of a result that is not as it should be, and of those below it."""
    value = getattr(result, "value", True)
    failed = value[0] < value[1] if isinstance(value, tuple) else not value
    own = [f"{getattr(result, 'name', '')}: {text}" for text in getattr(result, "msgs", None) or [] if failed]
    return own + [text for child in getattr(result, "children", None) or [] for text in told(child)]


@pytest.mark.parametrize("which", ["ice", "sea", "scene"])
def test_attributes_of_ones_own_are_in_the_file(written: dict[str, Path], which: str) -> None:
    with xr.open_dataset(written[which], engine="netcdf4") as file:
        attrs = file.attrs
    assert {name: attrs[name] for name in OWN if name != "license"} == {n: v for n, v in OWN.items() if n != "license"}
    assert attrs["license"].startswith("CC-BY-4.0. Radar data: Legal notice on the use of Copernicus Sentinel Data")
    outline = shapely.from_wkt(attrs["geospatial_bounds"])
    south, west, north, east = outline.bounds  # EPSG:4326 has latitude first
    for name, value in (("lat_min", south), ("lat_max", north), ("lon_min", west), ("lon_max", east)):
        assert attrs[f"geospatial_{name}"] == pytest.approx(value, abs=5e-3)
    if which != "scene":
        assert open_map(written[which]).attrs["creator_name"] == "A. Analyst"


@pytest.mark.parametrize("which", ["ice", "sea"])
def test_time_is_a_scalar_with_bounds(written: dict[str, Path], which: str) -> None:
    with xr.open_dataset(written[which], engine="netcdf4") as file:
        variable = {"ice": "ice_class", "sea": "dominant"}[which]
        assert file[variable].dims == ("y", "x")
        assert "time" in file[variable].coords
        start, stop = (np.datetime64(file.attrs[f"time_coverage_{end}"].rstrip("Z")) for end in ("start", "end"))
        off = np.abs(file["time_bnds"].values - np.array([start, stop]))
        assert off.max() < np.timedelta64(2, "us")
        assert start < file["time"].values < stop
    assert not {"time", "time_bnds"} & set(map(str, open_map(written[which]).variables))


def run(*words: object) -> str:
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"{words[0]} is not installed")
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("which", ["ice", "sea"])
def test_cdo_and_nco_know_the_time(written: dict[str, Path], which: str) -> None:
    start = datetime.fromisoformat(open_map(written[which]).attrs["start_time"]).replace(tzinfo=UTC)
    assert f"{start:%Y-%m-%d}" in run("cdo", "-s", "showdate", written[which])
    header = run("ncks", "-m", "-v", "quality_flags", written[which])
    assert "double time_bnds(nv)" in header  # NCO takes with a variable the coordinates and bounds that CF names


@pytest.mark.parametrize("which", ["ice", "sea"])
def test_gdal_sees_rasters_of_two_dimensions(written: dict[str, Path], which: str) -> None:
    with rasterio.open(f"NETCDF:{written[which]}:quality_flags") as file:
        assert file.count == 1
        np.testing.assert_array_equal(file.read(1), open_map(written[which])["quality_flags"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warp") / "map"
    export(make_map(shape=(300, 260), spacing_m=200.0, seed=4, noise=1.5), path, formats=["geotiff"])
    return path


@pytest.mark.parametrize("program", ["gdalwarp", "rasterio"])
@pytest.mark.parametrize("to", ["EPSG:32629", "EPSG:4326", "EPSG:3031"])
@pytest.mark.parametrize(("file", "nodata"), [("flags.tif", QUALITY_FLAGS["nodata"][0]), ("class.tif", CLASS_NODATA)])
def test_warped_codes_and_flags_are_those_of_the_map(
    folder: Path, file: str, nodata: int, to: str, program: str, tmp_path: Path
) -> None:
    """Pixel by pixel against positions of PROJ: none between codes, none from outside the data, at borders neither."""
    if program == "gdalwarp":
        run("gdalwarp", "-q", "-t_srs", to, folder / file, tmp_path / "w.tif")
        with rasterio.open(tmp_path / "w.tif") as dataset:
            values, transform, told = dataset.read(1), dataset.transform, dataset.nodata
    else:
        with rasterio.open(folder / file) as dataset:
            made = rasterio.warp.reproject(rasterio.band(dataset, 1), dst_crs=to)
            values, transform, told = made[0].squeeze(), made[1], dataset.nodata
    assert told == nodata
    with rasterio.open(folder / file) as dataset:
        source, back = dataset.read(1), ~dataset.transform
        change = Transformer.from_crs(to, dataset.crs, always_xy=True)
    row, column = np.indices(values.shape)
    x, y = change.transform(*(transform @ Affine.identity() * (column + 0.5, row + 0.5)))
    u, v = back * (x, y)
    near = np.zeros(values.shape, bool)  # GDAL's positions err by an eighth of a pixel
    outside = (u < -0.2) | (v < -0.2) | (u > source.shape[1] + 0.2) | (v > source.shape[0] + 0.2)
    for du in (-0.2, 0, 0.2):
        for dv in (-0.2, 0, 0.2):
            i, j = np.floor(v + dv).astype(int), np.floor(u + du).astype(int)
            held = (i >= 0) & (j >= 0) & (i < source.shape[0]) & (j < source.shape[1])
            there = source[i.clip(0, source.shape[0] - 1), j.clip(0, source.shape[1] - 1)]
            near |= values == np.where(held, there, nodata)
    assert near.all()
    assert (values[outside] == nodata).all()
    if file == "flags.tif":
        assert (np.isin(values, np.unique(source))).all()
        undecided = values & QUALITY_FLAGS["undecided"][0] > 0
        assert (
            0.5
            < undecided.mean()
            / (source & QUALITY_FLAGS["undecided"][0] > 0).mean()
            / ((values & 1 == 0).mean() / (source & 1 == 0).mean())
            < 1.5
        )
    else:
        assert (values == UNDECIDED).any()
