"""The door for sensors: each reader keeps the contract, and a sensor that frazil has never heard of walks through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import frazil
from frazil import products
from frazil.cli import cli
from frazil.conventions import QUALITY_FLAGS, check_scene, sensor_of
from frazil.errors import FrazilError, OptionError, ProductNotFoundError
from frazil.products import Product, Reader
from frazil.radarsat.product import Constellation, Radarsat2
from frazil.sentinel1.reader import Sentinel1
from tests.radarsat.radarsat_files import made_up
from tests.toy_sensor import SENSOR, Toy, write_toy

READERS: dict[str, Reader] = {
    "sentinel1": Sentinel1(),
    "radarsat2": Radarsat2(),
    "constellation": Constellation(),
    "toy": Toy(),
}
KEYS = {
    "product",
    "path",
    "mission",
    "mode",
    "type",
    "polarizations",
    "start_time",
    "stop_time",
    "pass",
    "images",
    "noise",
    "centre",
    "footprint",
}


@pytest.fixture(scope="module")
def made(small_safe: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A product of every sensor."""
    folder = tmp_path_factory.mktemp("sensors")
    return {
        "sentinel1": small_safe,
        "radarsat2": made_up().write_radarsat2(folder),
        "constellation": made_up(far_first=True).write_constellation(folder),
        "toy": write_toy(folder / "flight.toy.nc"),
    }


@pytest.fixture(autouse=True)
def with_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "READERS", (*products.READERS, READERS["toy"]))


@pytest.mark.parametrize("key", READERS)
def test_a_reader_opens_its_own_products_and_no_others(key: str, made: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 nothing")
    strange: list[Path | str] = [
        tmp_path / "none",
        tmp_path / "empty",
        tmp_path / "a.zip",
        "http://127.0.0.1:9/S1A.SAFE",  # where nobody listens
    ]
    assert [other for other, path in made.items() if READERS[key].opens(path)] == [key]
    assert not any(READERS[key].opens(path) for path in strange)
    assert READERS[key].name in {reader.name for reader in products.READERS}


@pytest.mark.parametrize("key", READERS)
def test_a_product_tells_what_the_house_asks(key: str, made: dict[str, Path]) -> None:
    product: Product = products.open_product(made[key])
    assert product.name
    assert product.path.exists()
    assert product.mission
    assert product.mode
    assert set(product.polarizations) <= {"HH", "HV", "VV", "VH"}
    assert product.spacing_m > 0
    assert [image.polarization for image in product.images] == list(product.polarizations)
    assert len({image.name for image in product.images}) == len(product.images)
    for image in product.images:
        assert image.image
        assert image.start_time < image.stop_time
        assert min(image.range_spacing_m, image.azimuth_spacing_m) > 0
        assert image.ties.latitude.shape == (image.ties.line.size, image.ties.pixel.size)
        assert not image.slant_range


@pytest.mark.parametrize("key", READERS)
def test_a_description_is_ready_for_json(key: str, made: dict[str, Path]) -> None:
    said = products.describe(made[key])
    assert set(said) >= KEYS
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said == products.describe(products.open_product(made[key]))
    assert said["footprint"]["type"] in ("Polygon", "MultiPolygon")
    done = CliRunner().invoke(cli, ["info", str(made[key]), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == said


@pytest.mark.parametrize("key", READERS)
def test_scenes_keep_the_contract(key: str, made: dict[str, Path]) -> None:
    whole = products.open_scene(made[key])
    check_scene(whole)
    product = products.open_product(made[key])
    assert whole.attrs["product"] == product.name
    assert whole["polarization"].values.tolist() == list(product.polarizations)
    assert whole.attrs["spacing_m"] == pytest.approx(product.spacing_m, rel=0.05)
    assert sensor_of(whole.attrs)
    coarse = products.open_scene(product, polarizations=product.polarizations[:1], looks=3)
    check_scene(coarse)
    assert coarse.sizes["polarization"] == 1
    assert coarse.sizes["line"] == whole.sizes["line"] // 3
    assert coarse.attrs["spacing_m"] == pytest.approx(3 * whole.attrs["spacing_m"])
    block = whole["sigma0"].values[0, :3, :3]
    assert coarse["sigma0"].values[0, 0, 0] == pytest.approx(np.nanmean(block), rel=1e-5)
    assert coarse["line"].values[0] == 1.0
    assert products.open_scene(product, chunks={"line": 100})["sigma0"].chunks is not None


@pytest.mark.parametrize("key", READERS)
def test_what_is_not_there_is_named(key: str, made: dict[str, Path]) -> None:
    held = products.open_product(made[key]).polarizations
    missing = next(p for p in ("VV", "HH") if p not in held)
    with pytest.raises(OptionError, match=f"'{missing}' is not in"):
        products.open_scene(made[key], polarizations=(missing,))


def test_anything_else_gets_one_line_that_lists_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("ice")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ProductNotFoundError, match="nothing that frazil reads") as caught:
            products.open_product(path)
        assert all(f"not a {reader.name}" in str(caught.value) for reader in products.READERS)
        assert "\n" not in str(caught.value)
    with pytest.raises(ProductNotFoundError, match="No product at"):
        products.open_product(tmp_path / "none")
    with pytest.raises(ProductNotFoundError, match="not on a local disk"):
        products.open_product("gs://bucket/S1A.SAFE")
    (tmp_path / "a.zip").write_bytes(b"no archive")
    with pytest.raises(FrazilError, match="not a readable zip"):
        products.open_product(tmp_path / "a.zip")
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(ProductNotFoundError, match="alone is no product"):
        products.open_product(tmp_path / "a.tif")
    with pytest.raises(OptionError, match="check 'never'"):
        products.open_product(tmp_path, check="never")  # type: ignore[arg-type]


def test_without_its_reader_a_sensor_is_unknown(monkeypatch: pytest.MonkeyPatch, made: dict[str, Path]) -> None:
    monkeypatch.setattr(products, "READERS", (READERS["sentinel1"],))
    with pytest.raises(ProductNotFoundError, match="nothing that frazil reads"):
        products.open_product(made["toy"])


def test_from_a_strange_file_to_a_map_folder(made: dict[str, Path], tmp_path: Path) -> None:
    ice = frazil.predict(str(made["toy"]), "ice-measured")
    assert ice.attrs["title"] == f"Sea-ice map from {SENSOR}"
    assert f"products of {SENSOR} (it learnt from Sentinel-1)" in ice.attrs["outside_training"]
    assert ice.attrs["note"].startswith("DO NOT TRUST THIS MAP")
    flags = ice["quality_flags"].values
    assert (flags[flags & 3 == 0] & QUALITY_FLAGS["outside_training"][0] > 0).all()
    files = frazil.export(ice, tmp_path / "map")
    with xr.open_dataset(files["netcdf"], engine="h5netcdf") as written:
        assert written.attrs["source"].startswith(f"{SENSOR} SAR, classified by")
        assert written.attrs["attribution"] == "© Toy Makers 2026"
    item = json.loads(Path(files["stac"]).read_text())
    assert "from Toy Radar radar" in item["properties"]["description"]
    assert "© Toy Makers 2026" in item["properties"]["description"]
    assert item["properties"]["platform"] == "toy-radar"
    assert "constellation" not in item["properties"]
    whole = " ".join(p.read_text(errors="replace") for p in (tmp_path / "map").iterdir() if p.suffix == ".json")
    assert "Sentinel" not in whole.replace("it learnt from Sentinel-1", "")


@pytest.mark.slow
def test_the_command_line_maps_it_too(made: dict[str, Path], tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["map", str(made["toy"]), "-o", str(tmp_path / "map")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "map" / "map.png").exists()
    done = CliRunner().invoke(cli, ["scene", str(made["toy"]), "-o", str(tmp_path / "toy.nc"), "--looks", "3"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("attrs", "sensor"),
    [
        ({"product": "S1A_EW_GRDM_1SDH_2022"}, "Sentinel-1"),
        ({"product": "simulated", "mission": "S1B"}, "Sentinel-1"),
        ({"product": "RS2_OK1_PK2_DK3_SCWA_20220407"}, "RADARSAT-2"),
        ({"product": "RCM2_OK21_PK21_1_16M5"}, "RADARSAT Constellation"),
        ({"product": "S1A_EW", "sensor": "Another"}, "Another"),
        ({"product": "S1A.tif"}, ""),
        ({}, ""),
    ],
)
def test_names_tell_the_sensor(attrs: dict[str, str], sensor: str) -> None:
    assert sensor_of(attrs) == sensor


def test_a_page_names_the_sensor() -> None:
    from frazil.maps.page import sensor_name

    named: Callable[[dict[str, str]], str] = sensor_name
    assert named({"product": "S1A_EW_GRDM_1SDH"}) == "Sentinel-1A EW"
    assert named({"product": "RS2_X", "sensor": "RADARSAT-2", "mode": "SCWA"}) == "RADARSAT-2 SCWA"
    assert named({"product": "mine"}) == ""
