"""The public face: names, light imports, and the direction of dependencies."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import frazil

SOURCE = Path(frazil.__file__).parent
PUBLIC = [
    "__version__", "compare", "cut_patches", "export", "fuse_prior", "ice_edge", "ice_polygons", "judge", "open_map",
    "open_patches", "open_product", "open_scene", "predict", "propagate_labels", "rasterize_chart", "read_chart",
    "report", "save_comparison", "save_patches", "simulate_product", "simulate_scene", "split_patches", "train",
]  # fmt: skip
HEAVY = ("torch", "matplotlib", "xarray", "rasterio", "numpy", "numba", "scipy", "geopandas")


def test_public_names_are_these_and_load() -> None:
    assert frazil.__all__ == sorted(frazil.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(frazil, name) is not None
    with pytest.raises(AttributeError, match="open_scene"):
        _ = frazil.open_scenes


def loaded_after(code: str) -> set[str]:
    probe = f"{code}\nimport sys\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import frazil",
        (
            "import sys; sys.argv = ['frazil', '--help']\n"
            "from frazil.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass"
        ),
    ],
)
def test_import_and_help_are_light(code: str) -> None:
    assert loaded_after(code) == set()


def test_the_guard_can_fail() -> None:
    assert "torch" in loaded_after("import frazil.learn.models")
    assert "xarray" in loaded_after("import frazil; frazil.open_scene")


def test_opening_a_scene_needs_no_torch() -> None:
    assert not loaded_after("from frazil.scene import land, save; from frazil.sentinel1 import scene") & {
        "torch",
        "matplotlib",
    }


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


FORBIDDEN = {
    "sentinel1": (
        "frazil.scene",
        "frazil.labels",
        "frazil.simulate",
        "frazil.learn",
        "frazil.maps",
        "frazil.cli",
        "torch",
    ),
    "scene": ("frazil.labels", "frazil.simulate", "frazil.learn", "frazil.maps", "frazil.cli", "torch"),
    "labels": ("frazil.simulate", "frazil.learn", "frazil.maps", "frazil.cli", "torch"),
    "simulate": ("frazil.labels", "frazil.learn", "frazil.maps", "frazil.cli", "torch"),
    "learn": ("frazil.maps", "frazil.cli"),
    "maps": ("frazil.learn", "frazil.cli", "torch"),
}


@pytest.mark.parametrize("wing", sorted(FORBIDDEN))
def test_no_arrow_runs_back_up(wing: str) -> None:
    for path in (SOURCE / wing).rglob("*.py"):
        wrong = [m for m in imports_of(path) if m.startswith(FORBIDDEN[wing])]
        assert not wrong, f"{path.name} imports {wrong}"


def test_torch_stays_in_its_room() -> None:
    for path in SOURCE.rglob("*.py"):
        if "learn" not in path.parts:
            assert not any(m == "torch" or m.startswith("torch.") for m in imports_of(path)), path
