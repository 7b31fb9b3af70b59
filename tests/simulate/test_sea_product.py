"""Wide seas with phenomena: they open, lie at sea, look like CMOD5.N, and show what their truth says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner

from frazil.cli import cli
from frazil.conventions import METOCEAN
from frazil.errors import OptionError, OutputExistsError
from frazil.scene.geolocation import Geolocation
from frazil.scene.land import add_land
from frazil.scene.ocean import cmod5n
from frazil.sentinel1.product import open_product
from frazil.sentinel1.scene import open_scene
from frazil.simulate.instrument import NoiseError, template_product
from frazil.simulate.phenomena import PhenomenaConfig, make_wide_sea, names_at
from frazil.simulate.sea_product import SeaSimulation, prepare_sea, simulate_sea_product

LINES, PIXELS = (0, 2700), (9000, 14400)  # across a sub-swath border; two squares fit
NAMES = ("low_wind_area", "rain_cells")
SQUARE = 480  # pixels of 50 m
SETTINGS = {
    "seed": 5,
    "lines": LINES,
    "pixels": PIXELS,
    "config": PhenomenaConfig(names=NAMES, share=1.0, companions=0.0, faint=0.0),
    "noise_error": NoiseError(),
}


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_sea_product(tmp_path_factory.mktemp("sea"), **SETTINGS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def known() -> SeaSimulation:
    return prepare_sea("iw", **SETTINGS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene(safe: Path) -> xr.Dataset:
    return open_scene(safe, looks=5, check="full").load()


def truth_of(safe: Path) -> Path:
    return safe.with_name(safe.name.replace(".SAFE", "_truth"))


def bits_of(safe: Path) -> np.ndarray:
    with rasterio.open(truth_of(safe) / "phenomena.tif") as file:
        return np.asarray(file.read(1))


def outside(known: SeaSimulation) -> np.ndarray:
    plain = np.ones(known.sea.bits.shape, bool)
    for place in known.sea.places:
        plain[place.line : place.line + SQUARE, place.pixel : place.pixel + SQUARE] = False
    return plain


def test_the_product_opens_and_its_files_belong_together(safe: Path, scene: xr.Dataset) -> None:
    product = open_product(safe)
    assert product.name == safe.stem
    assert product.polarizations == ("VV",)
    assert "MD5" in scene.attrs["checks"]
    assert scene["valid"].values.all()


def test_it_lies_at_sea_on_the_parallel_of_its_template(safe: Path, scene: xr.Dataset) -> None:
    made = add_land(scene)
    assert not made["land_mask"].values.any()
    assert float(made["coast_distance"].values.min()) > 10_000
    a, b = (open_product(safe).bands[0].annotation, template_product("iw").bands[0].annotation)
    here, there = Geolocation.of_ties(a.ties), Geolocation.of_ties(b.ties)
    lon, lat = here.lonlat(1000.0, 2000.0)
    old_lon, old_lat = there.lonlat(1000.0, 11_000.0)
    assert lat == pytest.approx(old_lat, abs=1e-5)
    turn = json.loads((truth_of(safe) / "simulation.json").read_text())["turned_deg"]
    assert abs(turn) >= 1  # the template lies over Mozambique
    assert lon - old_lon == pytest.approx(turn, abs=1e-5)
    with rasterio.open(next((safe / "measurement").iterdir())) as file:
        points, _ = file.gcps
    assert (points[0].y, points[0].x) == pytest.approx((a.ties.latitude[0, 0], a.ties.longitude[0, 0]))


def test_plain_sea_is_cmod_within_speckle(scene: xr.Dataset, known: SeaSimulation) -> None:
    """Block means of 2 km over 1600 pixels of 50 m: of many, 3 % in the mean; grain, swell and speckle spread them."""
    direction = np.degrees(np.arctan2(known.sea.v, -known.sea.u))  # 0: towards the radar, which looks along +pixel
    water = cmod5n(np.hypot(known.sea.u, known.sea.v), direction, scene["incidence_angle"].values)
    plain = outside(known)
    ratio = np.where(plain, scene["sigma0"].values[0] / water, np.nan)
    rows, columns = (n // 40 * 40 for n in ratio.shape)
    blocks = ratio[:rows, :columns].reshape(rows // 40, 40, -1, 40)
    whole = np.isfinite(blocks).all(axis=(1, 3))
    means = blocks.mean(axis=(1, 3))[whole]
    assert means.size > 20
    assert float(means.mean()) == pytest.approx(1, abs=0.03)
    assert float(means.std()) < 0.1


def test_truth_is_where_the_sea_was_changed(safe: Path, scene: xr.Dataset, known: SeaSimulation) -> None:
    bits = bits_of(safe)
    np.testing.assert_array_equal(bits, known.sea.bits)
    assert not bits[outside(known)].any()
    assert {place.name for place in known.sea.places} == set(NAMES)
    calm = bits >> METOCEAN.names.index("low_wind_area") & 1 == 1
    rain = bits >> METOCEAN.names.index("rain_cells") & 1 == 1
    direction = np.degrees(np.arctan2(known.sea.v, -known.sea.u))
    water = cmod5n(np.hypot(known.sea.u, known.sea.v), direction, scene["incidence_angle"].values)
    ratio = scene["sigma0"].values[0] / water
    assert calm.sum() > 2000
    assert rain.sum() > 2000
    assert np.mean(ratio[calm]) < 0.3
    still = outside(known)
    assert np.std(ratio[rain]) > 1.5 * np.std(ratio[still])


def test_flags_of_the_truth_name_the_classes(safe: Path) -> None:
    with rasterio.open(truth_of(safe) / "phenomena.tif") as file:
        assert file.tags(1)["flag_meanings"].split() == list(METOCEAN.names)
        assert file.tags(1)["flag_masks"].split() == [str(1 << k) for k in range(10)]


def test_a_square_does_not_end_in_a_step(known: SeaSimulation) -> None:
    """Across the rim of a square σ0 changes no more than it does in the plain sea; a hard edge of a calm is 10 dB."""
    place = next(p for p in known.sea.places if p.name == "low_wind_area")
    db = 10 * np.log10(known.sea.power)
    rows = slice(place.line, place.line + SQUARE)
    for column in (place.pixel, place.pixel + SQUARE):
        if 0 < column < db.shape[1]:
            assert float(np.abs(db[rows, column] - db[rows, column - 1]).max()) < 2.0


def test_the_same_seed_gives_the_same_sea() -> None:
    angle = np.broadcast_to(np.linspace(30, 33, 500, dtype=np.float32), (500, 500))
    one, same, other = (make_wide_sea(angle, 50.0, seed=s, latitude=0.0) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.power, same.power)
    np.testing.assert_array_equal(one.bits, same.bits)
    assert not np.array_equal(one.power, other.power)


def test_ice_is_drawn_where_there_can_be_ice() -> None:
    assert "sea_ice" not in names_at(-18)
    assert "iceberg" not in names_at(-18)
    assert "iceberg" in names_at(-45)
    assert set(names_at(75)) == set(METOCEAN.names)


def test_what_cannot_be_is_said(tmp_path: Path, safe: Path) -> None:
    with pytest.raises(OptionError, match="not one of"):
        PhenomenaConfig(names=("storm",))
    with pytest.raises(OptionError, match=r"too small for phenomena: 24 km"):
        simulate_sea_product(tmp_path, seed=1, lines=(0, 900), pixels=(0, 9000))
    with pytest.raises(OptionError, match="phenomena are of VV"):
        simulate_sea_product(tmp_path, seed=1, template="ew")
    with pytest.raises(OutputExistsError):
        simulate_sea_product(safe.parent, **SETTINGS)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--phenomena", "--open-sea"), "--open-sea does not apply"),
        (("--phenomena", "--sample"), "--sample does not apply"),
        (("--phenomenon", "rain_cells"), "--phenomenon does not apply"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = CliRunner().invoke(cli, ["simulate", str(tmp_path / "x"), *options])
    assert done.exit_code == 2
    assert words in done.output
    assert not (tmp_path / "x").exists()


def test_the_command(tmp_path: Path) -> None:
    words = ["simulate", str(tmp_path), "--phenomena", "--phenomenon", "wind_streaks", "--seed", "2", "--json"]
    done = CliRunner().invoke(cli, [*words, "--lines", "0", "2700", "--pixels", "9000", "11700", "--compress"])
    assert done.exit_code == 0, done.output
    made = Path(json.loads(done.stdout)["product"])
    assert open_product(made).polarizations == ("VV",)
    told = json.loads((truth_of(made) / "simulation.json").read_text())
    assert [place["name"] for place in told["places"]] == ["wind_streaks"]
    assert "sea, phenomena and speckle" in (made / "note.txt").read_text()
    assert bits_of(made).any()
