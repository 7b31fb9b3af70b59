"""`frazil map`: a part of a scene, noise removal, several products."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from frazil import export, open_map, open_scene, predict
from frazil.cli import cli
from frazil.cli.map import _targets
from frazil.errors import FrazilError, ModelError
from frazil.learn.checkpoint import Model, load_model, save_model
from frazil.scene.geolocation import Geolocation
from frazil.testing import make_map
from tests.learn.predict.test_scene import random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "random"
    made = random_model()
    save_model(made.network, made.card, folder)
    return folder


@pytest.fixture(scope="module")
def box(small_safe: Path) -> str:
    """Of the middle of the scene."""
    lon, lat = Geolocation.of(open_scene(small_safe)).lonlat([300.0, 500.0], [500.0, 900.0])
    return ",".join(f"{v:.5f}" for v in (lon.min(), lat.min(), lon.max(), lat.max()))


def frazil_map(*words: object) -> Result:
    return CliRunner().invoke(cli, ["map", *map(str, words)])


@pytest.fixture(scope="module")
def maps(small_safe: Path, model: Path, box: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of the map of the whole scene and of a part."""
    folder = tmp_path_factory.mktemp("maps")
    for name, words in (("whole", ()), ("part", ("--bbox", box))):
        done = frazil_map(small_safe, "--model", model, "-o", folder / name, *words)
        assert done.exit_code == 0, done.output
    return folder


def test_a_part(maps: Path, box: str) -> None:
    whole, part = open_map(maps / "whole"), open_map(maps / "part")
    np.testing.assert_array_equal(part["ice_class"], whole["ice_class"].sel(x=part["x"], y=part["y"]))
    assert part["ice_class"].size < 0.5 * whole["ice_class"].size
    summary = json.loads((maps / "part" / "summary.json").read_text())
    west, south, east, north = map(float, box.split(","))
    assert [float(v) for v in summary["bbox"].split(",")] == pytest.approx([west, south, east, north])
    item = json.loads((maps / "part" / "stac_item.json").read_text())
    assert item["bbox"][1] < south < north < item["bbox"][3]
    assert json.loads((maps / "whole" / "summary.json").read_text())["bbox"] is None


def test_a_part_with_a_prior(maps: Path, small_safe: Path, model: Path, box: str, tmp_path: Path) -> None:
    """As the map of the whole scene with that prior, but for rounding where the prior is smoothed."""
    known = make_map(shape=(90, 90), spacing_m=1000.0, centre=centre_of(box), land=0.0, border=False, seed=5)
    export(known.assign_attrs(open_scene_times(small_safe)), tmp_path / "known", formats=["netcdf"])
    for name, words in (("whole", ()), ("part", ("--bbox", box))):
        prior = ("--prior", tmp_path / "known" / "map.nc")
        done = frazil_map(small_safe, "--model", model, "-o", tmp_path / name, *words, *prior)
        assert done.exit_code == 0, (done.output, done.exception)
    whole, part, without = (open_map(path) for path in (tmp_path / "whole", tmp_path / "part", maps / "part"))
    there = whole.sel(x=part["x"], y=part["y"])
    off = np.abs(part["ice_probability"].values.astype(int) - there["ice_probability"].values)
    assert off.max() <= 1
    assert (off > 0).mean() < 0.05
    assert (part["ice_class"].values != there["ice_class"].values).mean() < 0.01
    assert (part["ice_probability"].values != without["ice_probability"].values).mean() > 0.2
    assert part.attrs["prior"] == whole.attrs["prior"]


def centre_of(box: str) -> tuple[float, float]:
    west, south, east, north = map(float, box.split(","))
    return (west + east) / 2, (south + north) / 2


def open_scene_times(product: Path) -> dict[str, str]:
    attrs = open_scene(product).attrs
    return {name: attrs[name] for name in ("start_time", "stop_time")}


@pytest.mark.parametrize(
    ("bbox", "words"),
    [
        ("1,2,3", "bbox '1,2,3' is not WEST,SOUTH,EAST,NORTH"),
        ("here", "bbox 'here' is not"),
        ("-30,80,-20,75", "south must lie below north"),
        ("10,75,10,75.1", "no width"),
        ("10,20,11,21", "does not touch the scene"),
    ],
)
def test_boxes_that_are_none(small_safe: Path, model: Path, bbox: str, words: str, tmp_path: Path) -> None:
    done = frazil_map(small_safe, "--model", model, "-o", tmp_path / "m", "--bbox", bbox)
    assert done.exit_code == 1
    assert isinstance(done.exception, (FrazilError, SystemExit))
    said = str(done.exception) if isinstance(done.exception, FrazilError) else done.stderr.strip()
    assert words in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


def test_balanced_noise(small_safe: Path, model: Path, tmp_path: Path) -> None:
    """The map is that of the scene that is opened so, and says so."""
    done = frazil_map(small_safe, "--model", model, "-o", tmp_path / "m", "--denoise", "balanced")
    assert done.exit_code == 0, done.output
    assert "Noise was removed as 'balanced'; the model learnt from 'esa'." in done.output
    made, plain = open_map(tmp_path / "m"), predict(small_safe, str(model))
    assert (made.attrs["denoise"], made.attrs["model_denoise"]) == ("balanced", "esa")
    assert json.loads((tmp_path / "m" / "summary.json").read_text())["denoise"] == "balanced"
    assert plain.attrs["denoise"] == "esa"
    assert "model_denoise" not in plain.attrs
    scene = open_scene(small_safe, looks=3, denoise="balanced")
    again = predict(scene, str(model), denoise="balanced")
    np.testing.assert_array_equal(made["probability"], again["probability"])
    assert (made["probability"] != plain["probability"]).any()
    with pytest.raises(ModelError, match="Open it as you ask for it"):
        predict(open_scene(small_safe, looks=3), str(model), denoise="balanced")


def test_noise_that_the_model_has_not_seen(small_safe: Path, model: Path, tmp_path: Path) -> None:
    done = frazil_map(small_safe, "--model", model, "-o", tmp_path / "m", "--denoise", "none")
    assert done.exit_code == 1
    said = str(done.exception) if isinstance(done.exception, FrazilError) else done.stderr.strip()
    assert "with denoise='none' dark places look otherwise" in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


def test_several_products(
    small_safe: Path, small_zip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as if it was mapped alone; the model is read once; what is refused is told at the end."""
    other = tmp_path / "other.SAFE"
    shutil.copytree(small_safe, other)
    broken = tmp_path / "broken.SAFE"
    shutil.copytree(small_safe, broken)
    for tiff in (broken / "measurement").iterdir():
        tiff.write_bytes(b"")
    loaded = []

    def spy(name: str) -> Model:
        loaded.append(name)
        return load_model(name)

    monkeypatch.setattr("frazil.learn.checkpoint.load_model", spy)
    words = ("--model", model, "--json", "-o", tmp_path / "maps")
    done = frazil_map(small_zip, broken, tmp_path / "none.SAFE", other, *words)
    assert done.exit_code == 1
    assert loaded == [str(model)]
    told = json.loads(done.stdout)
    assert [Path(one["product"]).name for one in told] == [small_zip.name, "broken.SAFE", "none.SAFE", "other.SAFE"]
    names = [small_zip.stem, "collection_sea_ice.json", "other"]
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == sorted(names)
    links = json.loads((tmp_path / "maps" / names[1]).read_text())["links"]
    assert len([link for link in links if link["rel"] == "item"]) == 2
    last = done.stderr.strip().splitlines()[-2:]
    assert "broken.SAFE" in last[0]
    assert "zero bytes" in last[0]
    assert "zero bytes" in told[1]["error"]
    assert "No product at" in last[1]
    alone = frazil_map(other, "--model", model, "-o", tmp_path / "alone", "--json")
    assert alone.exit_code == 0
    assert {k: Path(v).name for k, v in json.loads(alone.stdout).items()} == {
        k: Path(v).name for k, v in told[3]["files"].items()
    }
    for name in ("class.tif", "flags.tif"):
        assert (tmp_path / "maps" / "other" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_several_products_of_one_name(small_safe: Path, small_zip: Path, model: Path, tmp_path: Path) -> None:
    done = frazil_map(small_safe, small_zip, "--model", model, "-o", tmp_path / "maps")
    assert done.exit_code == 1
    assert f"Several products are called {small_safe.stem!r}" in str(done.exception) + done.stderr
    (tmp_path / "there" / "a").mkdir(parents=True)
    (tmp_path / "there" / "a" / "kept").touch()
    done = frazil_map("a.SAFE", "b.SAFE", "--model", model, "-o", tmp_path / "there")
    assert done.exit_code == 1
    assert "exists already" in str(done.exception) + done.stderr
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_names_of_maps(small_safe: Path) -> None:
    """That of the product, whichever of its files is given."""
    given = ("x/A.SAFE", "B.SAFE.zip", "C.zip", "RS2_OK.v1", str(small_safe / "manifest.safe"))
    names = [target.name for target in _targets(given, "maps")]
    assert names == ["A", "B", "C", "RS2_OK.v1", small_safe.stem]
    assert _targets(("A.SAFE",), "map") == [Path("map")]


def test_the_exit_status_of_several_products_reaches_the_shell(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "frazil", "-q", "map", "nothing.SAFE", "neither.SAFE", "-o", "maps"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        f"frazil: {name}: No product at {name}. Give a SAFE folder or a zip of one."
        for name in ("nothing.SAFE", "neither.SAFE")
    ]
    assert not list(tmp_path.iterdir())
