"""The floors of the house: who may import whom. No circle between files or rooms, no arrow that runs back up."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "frazil"

#: From the ground up; a room imports from those below it alone, and rooms of one line know nothing of each other.
FLOORS = """
errors jit percent untrusted geojson
class_schemes
conventions dates extras georeference memory mask_counts pictures seeds shapefiles xml_files zarr_stores
net
answer gdal_files product_files
hdf5_files marks metrics
files
zarr_writing
scene
sentinel1 radarsat testing
products
labels
simulate maps
charts providers
motion
learn.config learn.map_shapes learn.seen learn.state
learn.models learn.log
learn.checkpoint learn.train learn.check
learn.transfer learn.run_folder learn.infer
learn.data
learn.explain learn.predict learn.propagation
learn.strategies learn.distributed learn.evaluate
learn.run learn.cells
learn.serve
recipes
reports
studies
archive
desk
cli
"""
#: Rooms that may load PyTorch.
WITH_TORCH = {"learn", "studies"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem != "__init__"}


def imported(path: Path) -> set[str]:
    """Modules of frazil that a file imports anywhere, also for types alone and inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "frazil":
            home = (node.module or "").removeprefix("frazil").removeprefix(".")
            for alias in node.names:
                inner = f"{home}.{alias.name}".removeprefix(".")
                found.add(inner if inner in MODULES else home)
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("frazil.") for alias in node.names if alias.name.startswith("frazil.")}
    return {name for name in found if name in MODULES and MODULES[name] != path}


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "learn" else parts[0]


GRAPH = {module: imported(path) for module, path in MODULES.items()}


def test_no_file_is_in_a_circle() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_arrow_runs_up() -> None:
    floor = {room: number for number, line in enumerate(FLOORS.split("\n")) for room in line.split()}
    ups = set()
    for module, targets in GRAPH.items():
        for target in targets:
            ours, theirs = room_of(module), room_of(target)
            if ours != theirs and module not in ("__main__", "learn") and floor[theirs] >= floor[ours]:
                ups.add((ours, theirs))
    assert not ups


def test_sensors_are_known_behind_the_door_alone() -> None:
    """The simulator writes Sentinel-1 products, and the door opens those of every sensor; nobody else knows one."""
    sensors = {"sentinel1", "radarsat"}
    knowing = {room_of(m) for m, targets in GRAPH.items() if {room_of(t) for t in targets} & sensors}
    assert knowing == sensors | {"products", "simulate"}


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(module) for module in MODULES} - {"__main__", "learn"}
    assert rooms == set(FLOORS.split())


def test_this_would_find_a_circle_and_an_arrow(tmp_path: Path) -> None:
    path = tmp_path / "scene.py"
    path.write_text("def f():\n    from frazil.learn.predict.scene import predict\n    return predict\n")
    assert imported(path) == {"learn.predict.scene"}
    with pytest.raises(CycleError):
        TopologicalSorter({**GRAPH, "scene.grid": {"learn.predict.scene"}}).prepare()


def test_torch_stays_in_its_rooms() -> None:
    loading = set()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "torch" for name in names):
                loading.add(module)
    assert {module.split(".")[0] for module in loading} == WITH_TORCH
    assert not {m for m in loading if m.startswith("learn.config") or m in ("learn.map_shapes", "learn.seen")}
