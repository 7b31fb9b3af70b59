"""What the documents say is true: links lead somewhere, code names exist, the feature table names every system."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
import rasterio

import frazil
from frazil.cli import cli
from frazil.conventions import CLASS_LAND, CLASS_NODATA, QUALITY_FLAGS
from frazil.maps.export import export
from frazil.testing import make_map

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_and_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command in re.findall(r"^(?:\.venv/bin/)?frazil (\w+)", text, flags=re.MULTILINE):
        assert command in cli.commands, f"{page.name}: frazil {command}"
    for name in re.findall(r"\bfrazil\.([a-z_]+)\(", text):
        assert name in frazil.__all__, f"{page.name}: frazil.{name}()"


def test_options_in_shell_examples_exist() -> None:
    for page in PAGES:
        for line in re.findall(
            r"^(?:\.venv/bin/)?frazil (\w+ .*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE
        ):
            name, _, rest = line.partition(" ")
            command = cli.commands[name]
            if isinstance(command, click.Group):
                command = command.commands[rest.split()[0]]
            known = {o for p in command.params for o in p.opts}
            for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest.split("#")[0]):
                assert option in known, f"{page.name}: frazil {name} {option}"


def test_flags_page_lists_every_flag() -> None:
    page = (ROOT / "docs" / "reference" / "map-folder.md").read_text(encoding="utf-8")
    for name, (mask, _) in QUALITY_FLAGS.items():
        assert re.search(rf"\| {mask} \| `{name}` \|", page), name


def test_readme_python_runs_on_a_small_scene(small_safe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The five lines of the README, with a simulated product in place of the named one."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code is not None
    text = re.sub(r'open_scene\("[^"]+"', f"open_scene({str(small_safe)!r}", code.group(1))
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "README.md", "exec"), {})
    assert (tmp_path / "map" / "class.tif").exists()


def test_flags_are_taken_apart_as_the_page_on_qgis_says(tmp_path: Path) -> None:
    """GDAL's calculator evaluates its formula on numpy arrays of the band's own type."""
    page = (ROOT / "docs" / "how-to" / "qgis.md").read_text(encoding="utf-8")
    made = make_map(shape=(60, 80))
    made["quality_flags"].values[...] = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80) % 1024
    export(made, tmp_path / "map", formats=["geotiff"])
    with rasterio.open(tmp_path / "map" / "flags.tif") as file:
        flags = file.read(1)
    formulas = re.findall(r"\(A & \d+\) > 0", page)
    assert len(formulas) == 2
    for formula, names in zip(formulas, (["coast"], ["coast", "border"]), strict=True):
        found = eval(formula, {"A": flags})
        bits = [int(np.log2(QUALITY_FLAGS[name][0])) for name in names]
        expected = [[any((int(v) >> bit) % 2 for bit in bits) for v in row] for row in flags]
        np.testing.assert_array_equal(found, expected)


def test_the_small_product_of_the_page_is_sea(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "simulate.md").read_text(encoding="utf-8")
    options = re.search(r"^frazil simulate out (.*--lines.*?) *#", page, flags=re.MULTILINE)
    assert options is not None
    cli.main(["simulate", str(tmp_path), *options.group(1).split()], standalone_mode=False)
    with rasterio.open(next(tmp_path.glob("*_truth")) / "ice_class.tif") as file:
        classes = file.read(1)
    seen = classes[classes != CLASS_NODATA]
    assert (seen == CLASS_LAND).mean() < 0.05
    assert {0, 3, 4} <= set(np.unique(seen).tolist())


def test_fragments_of_the_changelog_are_named_as_towncrier_takes_them() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        kinds = {kind["directory"] for kind in tomllib.load(file)["tool"]["towncrier"]["type"]}
    for path in (ROOT / "changelog.d").iterdir():
        name = re.fullmatch(r"\+[a-z0-9-]+\.([a-z]+)\.md", path.name)
        assert path.name == "README.md" or (name and name[1] in kinds), path.name
        assert path.read_text(encoding="utf-8").strip()
