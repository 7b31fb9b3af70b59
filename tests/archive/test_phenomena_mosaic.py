"""Maps of phenomena in mosaics and series: what applies to them, and what does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from frazil.archive.layers import common_grid, maps_in
from frazil.archive.mosaic_files import mosaic
from frazil.archive.series import series
from frazil.conventions import METOCEAN
from frazil.errors import OptionError
from frazil.maps.areas import PixelAreas
from frazil.maps.export import export
from frazil.testing import make_map, make_phenomena_map


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("maps")
    for k, when in enumerate(("2025-02-01T03:00:00Z", "2025-02-01T09:00:00Z")):
        made = make_phenomena_map(shape=(80, 90), seed=k)
        made = made.assign_attrs(product=f"S1A_{k}", start_time=when, stop_time=when)
        export(made, place / f"map{k}", formats=("geotiff", "stac", "summary"))
    return place


def test_the_newest_wins_and_bits_go_with_it(folder: Path, tmp_path: Path) -> None:
    files = mosaic([folder], tmp_path / "m")
    for name in ("dominant", "phenomena"):
        with rasterio.open(files[name]) as made:
            values = made.read(1)
        old, new = (rasterio.open(folder / f"map{k}" / f"{name}.tif").read(1) for k in (0, 1))
        with rasterio.open(folder / "map1" / "dominant.tif") as raster:
            seen = raster.read(1) != 255
        np.testing.assert_array_equal(values[seen], new[seen])
        with rasterio.open(folder / "map0" / "dominant.tif") as raster:
            only = ~seen & (raster.read(1) != 255)
        np.testing.assert_array_equal(values[only], old[only])
    told = json.loads(files["summary"].read_text())
    assert set(told["found_km2"]) == set(METOCEAN.names)
    assert files["mosaic"].stat().st_size > 10_000


def test_series_are_areas_of_what_was_found(folder: Path) -> None:
    table = series([folder / "map0"])
    with rasterio.open(folder / "map0" / "phenomena.tif") as raster:
        bits = raster.read(1)
    areas = PixelAreas(common_grid(maps_in([folder / "map0"]))).by_bit(bits, len(METOCEAN.names))
    for code, name in enumerate(METOCEAN.names):
        assert table.iloc[0][f"{name}_km2"] == pytest.approx(areas[code], abs=2e-3)
    assert "ice_edge_km" not in table


def test_what_does_not_go_together(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="not fused"):
        mosaic([folder], tmp_path / "m", rule="fused")
    ice = make_map(shape=(60, 60))
    export(ice, tmp_path / "ice", formats=("geotiff", "stac", "summary"))
    with pytest.raises(OptionError, match="several class schemes"):
        mosaic([folder, tmp_path / "ice"], tmp_path / "m")
    south = make_map(shape=(60, 60), crs="EPSG:3031", centre=(0.0, -70.0))
    export(south, tmp_path / "south", formats=("geotiff", "stac", "summary"))
    with pytest.raises(OptionError, match="north and south"):
        mosaic([tmp_path / "ice", tmp_path / "south"], tmp_path / "m")
