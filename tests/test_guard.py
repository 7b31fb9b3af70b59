"""No command writes over what it reads, and what is thrown away is thrown away last."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from frazil.cli import cli
from frazil.cli.guard import OUTPUTS
from frazil.errors import FrazilError, OutputExistsError


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
@pytest.mark.parametrize("command", [["map"], ["scene"], ["imagettes"], ["patches", "--labels", "polygons.gpkg"]])
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
    for name, command in cli.commands.items():
        if any(p.name == "overwrite" for p in command.params):
            assert any(p.name in OUTPUTS for p in command.params), name
    written = {"simulate": "output"}
    for name, command in cli.commands.items():
        helps = {p.name: str(getattr(p, "help", "")) for p in command.params}
        for parameter, text in helps.items():
            if " to write" in text or "Draw" in text:
                assert parameter in OUTPUTS or written.get(name) == parameter, (name, parameter)
