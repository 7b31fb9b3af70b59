"""The folder of a comparison, its picture, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from PIL import Image

from frazil.cli import cli
from frazil.conventions import CLASS_LAND, CLASS_NODATA, LAND_COLOUR
from frazil.errors import FrazilError, OptionError, OutputExistsError
from frazil.maps.compare import CATEGORIES, compare
from frazil.maps.comparison_figure import draw_comparison
from frazil.maps.comparison_files import save_comparison
from frazil.maps.export import export
from frazil.testing import make_map
from tests import reference_files as make


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "map"
    export(make.true_map(), folder, formats=["netcdf"])
    return folder


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("references")
    return [
        make.osisaf_polar(folder / "ice_conc_201801161200.nc", land=True),
        make.raster(folder / "N_20180116_concentration_v3.0.tif", "nsidc16"),
    ]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, arguments)])


def test_folder_of_one_reference(mapped: Path, references: list[Path], tmp_path: Path) -> None:
    made = compare(mapped, references[0])
    files = save_comparison(made, mapped, tmp_path / "c")
    assert {p.name for p in (tmp_path / "c").iterdir()} == {
        "comparison.json",
        "comparison.png",
        "difference.tif",
        "difference.tif.aux.xml",
        "difference.qml",
        "edges.gpkg",
        ".frazil.json",
    }
    report = json.loads(files["scores"].read_text(encoding="utf-8"))
    assert report["comparisons"][0]["iiee_km2"] == made.scores["iiee_km2"]
    assert report["comparisons"][0]["files"]["edges"] == "edges.gpkg"
    with rasterio.open(files["difference"]) as tif:
        np.testing.assert_array_equal(tif.read(1), made.categories)
        assert tif.nodata == CLASS_NODATA
        assert tif.colormap(1)[2][:3] == CATEGORIES.classes[2].colour
        assert tif.crs.to_epsg() == 3413
        assert tif.tags()["reference"] == references[0].name
    for layer, edge in (("map_edge", made.map_edge), ("reference_edge", made.reference_edge)):
        lines = gpd.read_file(files["edges"], layer=layer)
        assert lines["length_km"].sum() == pytest.approx(edge.length_km, abs=0.01)
        assert lines.length.sum() / 1000 == pytest.approx(edge.length_km, rel=0.05)  # the projection stretches
    with pytest.raises(OutputExistsError):
        save_comparison(made, mapped, tmp_path / "c")
    save_comparison(made, mapped, tmp_path / "c", overwrite=True)
    with pytest.raises(OptionError):
        save_comparison([], mapped, tmp_path / "d")


def test_names_of_several_references_do_not_clash(mapped: Path, references: list[Path], tmp_path: Path) -> None:
    made = compare(mapped, references[0])
    files = save_comparison([made, made], mapped, tmp_path / "c")
    assert len({path.name for path in files.values()}) == len(files) == 6
    assert all(path.exists() for path in files.values())


def test_picture_shows_every_category(tmp_path: Path) -> None:
    codes = np.zeros((90, 120), np.uint8)
    codes[:, :60], codes[:20, 100:] = 3, CLASS_LAND
    other = codes.copy()
    other[:45, 40:60], other[45:, 60:80] = 0, 3
    made = compare(make_map(codes=codes), make_map(codes=other))
    attrs = make_map(codes=codes, note="Made up. " * 40).attrs
    for count in (1, 3):
        path = draw_comparison([made] * count, attrs, tmp_path / f"{count}.png", dpi=80)
        with Image.open(BytesIO(path.read_bytes())) as image:
            picture = np.asarray(image.convert("RGB"))
        for colour in (*(c.colour for c in CATEGORIES.classes), LAND_COLOUR):
            assert (picture == colour).all(axis=-1).mean() > 0.005, colour


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("shape", [(2, 2), (3, 300), (300, 3)])
def test_picture_of_anything(code: int, shape: tuple[int, int], tmp_path: Path) -> None:
    ice_map = make_map(codes=np.full(shape, code, np.uint8), centre=(180, 90), product="a_$x_{1}$" * 12)
    made = compare(ice_map, ice_map)
    save_comparison([made], ice_map, tmp_path / "c")
    assert (tmp_path / "c" / "comparison.png").stat().st_size > 1000


def test_picture_refuses(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no comparison"):
        draw_comparison([], {}, tmp_path / "a.png")
    ice_map = make_map(shape=(20, 20))
    with pytest.raises(OptionError, match="dpi"):
        draw_comparison([compare(ice_map, ice_map)], ice_map.attrs, tmp_path / "a.png", dpi=5)


def test_command_prints_a_row_for_each_reference(mapped: Path, references: list[Path]) -> None:
    done = run(mapped, *references)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("map  S1A_EW")
    assert [line.split()[0] for line in lines[4:6]] == [path.name for path in references]
    assert "IIEE" in lines[2]
    assert len({len(line) for line in lines[2:6] if line.strip()}) <= 2  # columns line up; units end earlier


def test_command_json_and_files(mapped: Path, references: list[Path], tmp_path: Path) -> None:
    done = run(
        mapped, *references, "-o", tmp_path / "c", "--json", "--exclude-flags", "border, coast", "--threshold", 30
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [one["kind"] for one in result["comparisons"]] == ["osisaf", "nsidc"]
    assert result["comparisons"][0]["excluded_flags"] == ["border", "coast"]
    assert result["comparisons"][1]["under_km2"] == 0
    assert result["comparisons"][1]["over_km2"] > 100
    assert all(Path(path).exists() for path in result["files"].values())
    again = run(mapped, *references, "-o", tmp_path / "c")
    assert isinstance(again.exception, OutputExistsError)
    assert run(mapped, *references, "-o", tmp_path / "c", "--overwrite").exit_code == 0


def test_notes_go_to_stderr(mapped: Path, tmp_path: Path) -> None:
    done = run(mapped, make.osisaf_polar(tmp_path / "late.nc", hours=90), "--json")
    assert "82 h later" in done.stderr
    json.loads(done.stdout)


def test_kinds_once_or_for_each(mapped: Path, references: list[Path]) -> None:
    assert run(mapped, *references, "--kind", "osisaf", "--kind", "nsidc").exit_code == 0
    assert run(mapped, references[0], references[0], "--kind", "osisaf").exit_code == 0
    wrong = run(mapped, references[0], "--kind", "osisaf", "--kind", "nsidc")
    assert wrong.exit_code == 2
    assert "once for each" in wrong.stderr
    assert isinstance(run(mapped, *references, "--kind", "nsidc").exception, FrazilError)
    assert run(mapped, *references, "--class", "x").exit_code == 2


def test_bad_input_is_one_line_and_leaves_nothing(mapped: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.nc").write_text("nothing")
    command = [sys.executable, "-m", "frazil", "compare", mapped, tmp_path / "bad.nc", "-o", tmp_path / "out"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("frazil: ")
    assert "bad.nc" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.nc"]
