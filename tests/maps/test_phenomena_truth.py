"""Maps of phenomena against the masks of a simulated scene: places are looked up here by a search among all of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner
from pyproj import Transformer
from scipy.spatial import cKDTree

from frazil.cli import cli
from frazil.conventions import METOCEAN
from frazil.errors import ContractError, LabelError
from frazil.maps.netcdf import write_netcdf
from frazil.maps.phenomena_truth import score_phenomena
from frazil.scene.geolocation import Geolocation
from frazil.sentinel1.scene import open_scene
from frazil.testing import make_map, make_phenomena_map
from tests.simulate.test_sea_product import bits_of, safe, truth_of

__all__ = ["safe"]  # a fixture
CRS = "EPSG:32737"


@pytest.fixture(scope="module")
def perfect(safe: Path) -> xr.Dataset:
    """A map of 400 m whose scores are 100 where the masks cover half of the nearest 400 m, and 0 elsewhere."""
    scene, bits = open_scene(safe, looks=5), bits_of(safe)
    rows, columns = (n // 8 for n in bits.shape)
    line, pixel = ((scene[k].values[: n * 8].reshape(n, 8)).mean(1) for k, n in (("line", rows), ("pixel", columns)))
    lon, lat = Geolocation.of(scene).lonlat(line[:, None], pixel[None, :])
    places = np.stack(Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(lon, lat), -1).reshape(-1, 2)
    made = make_phenomena_map(shape=(100, 160), crs=CRS, centre=(float(lon.mean()), float(lat.mean())))
    x, y = np.meshgrid(made["x"].values, made["y"].values)
    far, near = cKDTree(places).query(np.stack([x.ravel(), y.ravel()], 1))
    blocks = bits[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8)
    score = np.full((10, x.size), 255, np.uint8)
    for k in range(10):
        share = (blocks >> k & 1).mean(axis=(1, 3)).ravel()[near]
        score[k] = np.where(far < 250, 100 * (share >= 0.5), 255)
    return made.assign(score=(made["score"].dims, score.reshape(made["score"].shape), made["score"].attrs))


def test_a_perfect_map_scores_high_and_a_shifted_one_low(safe: Path, perfect: xr.Dataset) -> None:
    truth = truth_of(safe) / "phenomena.tif"
    scores = score_phenomena(perfect, truth)
    dice = dict(zip(scores["classes"], scores["set_dice"], strict=True))
    assert dice["rain_cells"] > 0.95
    assert dice["low_wind_area"] > 0.8  # ragged
    assert dice["wind_streaks"] is None
    km2 = bits_of(safe).size * 0.0025
    assert scores["compared_km2"] == pytest.approx(km2, rel=0.05)
    moved = perfect.assign_coords(x=perfect["x"] + 2000)
    assert score_phenomena(moved, truth)["mean_set_dice"] < scores["mean_set_dice"] - 0.1


def test_the_command(safe: Path, perfect: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "map").mkdir()
    write_netcdf(perfect, tmp_path / "map" / "map.nc")
    words = ["compare", str(tmp_path / "map"), str(truth_of(safe) / "phenomena.tif")]
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)["comparisons"]
    assert one["mean_set_dice"] > 0.85
    assert "rain_cells" in CliRunner().invoke(cli, words).output
    refused = CliRunner().invoke(cli, [*words, "--threshold", "20"])
    assert refused.exit_code == 2
    assert "--threshold does not apply to a map of phenomena" in refused.output


def test_what_cannot_be_compared(safe: Path, perfect: xr.Dataset, tmp_path: Path) -> None:
    truth = truth_of(safe) / "phenomena.tif"
    with pytest.raises(ContractError, match="map of phenomena"):
        score_phenomena(make_map(), truth)
    with pytest.raises(LabelError, match="do not lie at the same place"):
        score_phenomena(perfect.assign_coords(x=perfect["x"] + 200_000), truth)
    with pytest.raises(LabelError, match="flag_meanings"):
        score_phenomena(perfect, next((safe / "measurement").iterdir()))
    other = tmp_path / "other.tif"
    with rasterio.open(truth) as file:
        profile, points, tags = file.profile, file.gcps[0], file.tags(1)
        bits = file.read(1)
    del profile["transform"]
    with rasterio.open(other, "w", **{**profile, "gcps": points, "crs": "EPSG:4326"}) as file:
        file.write(bits, 1)
        file.update_tags(1, **{**tags, "flag_meanings": "rain_cells"})
    with pytest.raises(LabelError, match=f"no masks of '{METOCEAN.names[0]}'"):
        score_phenomena(perfect, other)
    other.write_bytes(truth.read_bytes()[: truth.stat().st_size // 2])
    with pytest.raises(LabelError):
        score_phenomena(perfect, other)
