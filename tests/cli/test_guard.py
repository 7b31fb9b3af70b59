"""No command writes over what it reads, and what is thrown away is thrown away last."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from frazil.cli import cli
from frazil.cli.guard import OUTPUTS, leaves
from frazil.errors import FrazilError, LabelError, OutputError, OutputExistsError, ProductNotFoundError
from frazil.gdal_files import open_raster, vector_source


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(w) for w in words])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def work(tmp_path: Path, small_safe: Path) -> Path:
    """A folder with a product and a file of somebody's in it."""
    folder = tmp_path / "work"
    shutil.copytree(small_safe, folder / small_safe.name)
    (folder / "thesis.txt").write_text("years of work")
    return folder


@pytest.mark.parametrize("where", ["work", "product", "cwd"])
@pytest.mark.parametrize(
    "command", [["map"], ["scene"], ["imagettes", "product"], ["patches", "cut", "--labels", "polygons.gpkg"]]
)
def test_neither_product_nor_its_neighbours_are_replaced(
    work: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], where: str
) -> None:
    before, product = snapshot(work), next(work.glob("*.SAFE"))
    target = {"work": work, "product": product, "cwd": Path()}[where]
    monkeypatch.chdir(work)
    if command[0] != "map":
        target = target / "d.zarr" if where == "cwd" else target
    if where == "cwd" and command[0] != "map":
        (work / "d.zarr").mkdir()
        (work / "d.zarr" / "a").write_text("not frazil's")
        before = snapshot(work)
    done = run(*command, product, "-o", target, "--overwrite")
    assert isinstance(done.exception, (FrazilError, SystemExit)), done.output
    assert done.exit_code != 0
    assert snapshot(work) == before


def test_a_simulated_product_is_not_replaced_by_its_own_map(small_safe: Path, tmp_path: Path) -> None:
    """Frazil wrote it, so its mark alone would not save it."""
    product = tmp_path / small_safe.name
    shutil.copytree(small_safe, product)
    before = snapshot(product)
    for target in (product, product / "..", tmp_path):
        done = run("map", product, "-o", target, "--overwrite")
        assert isinstance(done.exception, OutputExistsError), done.output
    assert snapshot(product) == before


def test_every_output_of_every_command_is_known_to_the_guard() -> None:
    """A new command that names its output otherwise would not be guarded."""
    for name, command in leaves(cli):
        if any(p.name == "overwrite" for p in command.params):
            assert any(p.name in OUTPUTS for p in command.params), name
    written = {"simulate": "output"}
    for name, command in leaves(cli):
        helps = {p.name: str(getattr(p, "help", "")) for p in command.params}
        for parameter, text in helps.items():
            if " to write" in text or "Draw" in text:
                assert parameter in OUTPUTS or written.get(name) == parameter, (name, parameter)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["map", "X.SAFE", "-o", "m", "--tiling", "seamless"], "--tiling does not apply with a model of sea ice"),
        (["map", "X.SAFE", "-o", "m", "--drop", "rain", "--ice-model", "x"], "--drop, --ice-model do not apply"),
        (
            ["study", "channels", "--data", "a.zarr", "-o", "o", "--seeds", "1"],
            "--seeds does not apply to `cli study channels`",
        ),
        (["study", "channels", "--data", "a.zarr", "-o", "o", "--set", "a=b"], "--set does not apply"),
        (["study", "models", "--data", "a.zarr", "-o", "o", "--labels", "15", "--draws", "5"], "--labels, --draws do"),
        (["study", "annotations", "--data", "a.zarr", "-o", "o", "--workers", "2"], "--workers does not apply"),
        (["study", "resolution", "--data", "a.zarr", "-o", "o", "--split", "s.json"], "--split does not apply"),
        (["study", "weak-vs-full", "--data", "a", "-o", "o", "--pretrained", "w"], "--pretrained does not apply"),
        (["study", "edge", "--data", "a.zarr", "-o", "o", "--methods", "tslp"], "--methods does not apply"),
    ],
)
def test_options_that_do_not_apply_are_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the value is the default: it was given, and would be believed."""
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_options_of_ice_do_not_apply_to_phenomena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frazil.learn.checkpoint import ModelCard, save_model
    from frazil.learn.models import create_model
    from frazil.scene.scaling import CHANNELS

    network = create_model("metocean_unet", n_channels=1, n_classes=10, settings={})
    card = ModelCard(
        id="m",
        architecture="metocean_unet",
        settings={},
        class_scheme="metocean",
        channels=(CHANNELS["roughness_vv"],),
        spacing_m=100.0,
        denoise="esa",
        incidence_range=(20.0, 45.0),
    )
    save_model(network, card, tmp_path / "model")
    for words in (["--function", "auto"], ["--stride", "4"], ["--min-confidence", "50"], ["--adapt"]):
        done = run("map", "X.SAFE", "-o", tmp_path / "m", "--model", tmp_path / "model", *words)
        assert done.exit_code == 2
        assert f"{words[0]} does not apply with a model of phenomena" in " ".join(done.output.split())


WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "safetensors", "pydantic"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import importlib.util
found = importlib.util.find_spec
def find_spec(name, package=None):
    return None if name in ("torch", "safetensors", "pydantic") else found(name, package)
importlib.util.find_spec = find_spec
from frazil.cli import main
sys.argv = ["frazil", *sys.argv[1:]]
main()
"""
ALL_OF_THEM = """
import json
for words in json.loads(sys.argv[1]):
    sys.argv = ["frazil", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            sys.exit(f"{words}: {end.code}")
"""


@pytest.mark.parametrize(
    "words",
    [
        ["map", "PRODUCT", "-o", "out"],
        ["train", "patches:adhoc", "-o", "out"],
        ["evaluate", "model", "a.zarr"],
        ["segment", "a.zarr", "--model", "m", "-o", "out.zarr"],
        ["propagate", "a.csv", "-o", "out.csv"],
        ["report", "run", "-o", "out"],
        ["study", "channels", "--data", "a.zarr", "-o", "out"],
        ["peers", "folder"],
        ["serve", "patches:adhoc", "-o", "out", "--address", "127.0.0.1:0"],
    ],
)
def test_commands_with_networks_say_what_is_missing(words: list[str], small_safe: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    words = [str(small_safe) if w == "PRODUCT" else w for w in words]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "pip install 'frazil[learn]'" in done.stderr


def test_the_other_commands_need_no_network(small_safe: Path, tmp_path: Path) -> None:
    import json
    import subprocess
    import sys

    from frazil.maps.export import export
    from frazil.testing import make_map

    export(make_map(shape=(60, 60)), tmp_path / "map")
    labels = str(next(small_safe.parent.glob("*_truth")) / "polygons.gpkg")
    commands = (
        ["info", str(small_safe)],
        ["scene", str(small_safe), "-o", "s.nc", "--looks", "9"],
        ["edge", str(tmp_path / "map"), "-o", "e.geojson"],
        ["patches", "cut", str(small_safe), "--labels", labels, "-o", "p.zarr"],
    )
    script = WITHOUT_TORCH.partition("sys.argv =")[0] + ALL_OF_THEM
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert {"s.nc", "e.geojson", "p.zarr"} <= {path.name for path in tmp_path.iterdir()}


def _float_options() -> list[tuple[str, str]]:
    import click

    return [
        (name, max(p.opts, key=len))
        for name, command in leaves(cli)
        for p in command.params
        if isinstance(p, click.Option) and p.type.name in ("float", "float range")
    ]


@pytest.mark.parametrize(("name", "option"), _float_options())
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_none_are_refused_everywhere(name: str, option: str, value: str, tmp_path: Path) -> None:
    needed = {
        "map": ["X"],
        "batch": ["X"],
        "watch": ["X"],
        "mosaic": ["X"],
        "series": ["X"],
        "scene": ["X"],
        "edge": ["X"],
        "compare": ["X", "Y"],
        "concentration": ["X"],
        "drift": ["X", "Y"],
        "risk": ["X", "--ship", "PC7"],
        "desk": ["X"],
        "occurrences": ["X"],
        "patches cut": ["X", "--labels", "Y"],
        "patches extremeearth": ["X", "--labels", "Y"],
        "patches ai4arctic": ["X"],
        "imagettes simulated": [],
        **{f"imagettes {kind}": ["X"] for kind in ("product", "tengeop", "colin", "masks", "multilabel")},
        "segment": ["X", "--model", "M"],
        "propagate": ["X"],
        "evaluate": ["M", "X"],
        "report": ["X"],
        "simulate": ["X"],
        "train": ["R"],
        "peers": ["X"],
        "find": ["--time", "2025"],
        "get": ["X"],
    }.get(name, ["--data", "X"])
    done = run(*name.split(), *needed, "-o", tmp_path / "out", f"{option}={value}")
    assert done.exit_code == 2
    assert "is not a number to work with" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["map", "--spacing", "0"],
        ["map", "--spacing=-120"],
        ["map", "--spacing", "1e-9"],
        ["map", "--coast=-1"],
        ["map", "--min-confidence", "101"],
        ["map", "--min-confidence=-1"],
        ["scene", "--looks", "0"],
        ["scene", "--looks=-3"],
        ["scene", "--looks", "100000"],
        ["scene", "--spacing", "0"],
        ["scene", "--spacing=-1"],
    ],
)
def test_impossible_numbers_are_one_line(words: list[str], small_safe: Path, tmp_path: Path) -> None:
    out = tmp_path / ("m" if words[0] == "map" else "s.tif")
    done = run(words[0], small_safe, "-o", out, *words[1:])
    assert isinstance(done.exception, (FrazilError, SystemExit)), done.exception
    assert done.exit_code != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--threshold", "101"], ["--threshold=-1"], ["--threshold", "0"], ["--min-area=-5"]])
def test_impossible_edges_are_one_line(words: list[str], tmp_path: Path) -> None:
    from frazil.maps.export import export
    from frazil.testing import make_map

    export(make_map(shape=(60, 60)), tmp_path / "map", formats=["netcdf"])
    done = run("edge", tmp_path / "map", "-o", tmp_path / "e.gpkg", *words)
    assert isinstance(done.exception, (FrazilError, SystemExit)), done.exception
    assert done.exit_code != 0
    assert not (tmp_path / "e.gpkg").exists()


@pytest.mark.parametrize("name", ["patches cut", "compare", "evaluate", "report"])
def test_commands_that_read_labels_have_the_options_that_errors_advise(name: str) -> None:
    options = {o for p in dict(leaves(cli))[name].params for o in p.opts}
    advised = ("--class-column", "--class", "--scene-column", "--layer", "--assume-crs", "--unknown-codes", "--dialect")
    assert {*advised, "--dominance"} <= options


@pytest.mark.parametrize("name", [b"kart\xff.tif", b"kart\xff.gpkg"])
def test_names_that_are_no_utf8_are_a_line(name: bytes, tmp_path: Path) -> None:
    """Of rasters and vector files, which GDAL opens by UTF-8 alone, and of outputs before anything is computed."""
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"II*\0" if name.endswith(b"tif") else b"SQLite format 3\0")
    with pytest.raises(LabelError, match="is not UTF-8"), open_raster(path):
        pass
    with pytest.raises(LabelError, match="is not UTF-8"), vector_source(path):
        pass
    done = run("scene", "X.SAFE", "-o", path)
    assert done.exit_code == 2
    assert r"kart\udcff" in done.output


def test_a_place_that_takes_nothing_is_told_before_the_input_is_read(tmp_path: Path) -> None:
    """A map was computed first. What is tried leaves nothing; folders above that are missing are no fault."""
    for out in ("/proc/m", tmp_path / "file" / "m"):
        (tmp_path / "file").write_text("")
        done = run("map", "missing.SAFE", "-o", out)
        assert isinstance(done.exception, OutputError)
        assert "Choose another folder" in str(done.exception)
    done = run("map", "missing.SAFE", "-o", tmp_path / "a" / "b" / "m")
    assert isinstance(done.exception, ProductNotFoundError)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
