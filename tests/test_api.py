"""The public face: names, light imports, and the direction of dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import frazil

SOURCE = Path(frazil.__file__).parent
PUBLIC = [
    "__version__",
    "batch",
    "check_map",
    "check_scene",
    "compare",
    "cut_imagettes",
    "cut_patches",
    "draw_chart",
    "draw_concentration",
    "draw_map",
    "draw_occurrences",
    "draw_phenomena_map",
    "draw_risk",
    "drift",
    "evaluate",
    "export",
    "export_chart",
    "find",
    "fuse_prior",
    "get",
    "ice_concentration",
    "ice_edge",
    "ice_polygons",
    "load_model",
    "look_at",
    "make_chart",
    "mosaic",
    "occurrences",
    "open_catalogue",
    "open_imagettes",
    "open_map",
    "open_patches",
    "open_product",
    "open_scene",
    "phenomena_polygons",
    "predict",
    "predict_phenomena",
    "propagate_labels",
    "rasterize_chart",
    "read_chart",
    "report",
    "risk_of_chart",
    "risk_of_map",
    "save_comparison",
    "save_concentration",
    "save_drift",
    "save_imagettes",
    "save_occurrences",
    "save_patches",
    "save_risk",
    "save_segments",
    "save_series",
    "segment",
    "series",
    "simulate_product",
    "simulate_scene",
    "simulated_imagettes",
    "split_imagettes",
    "split_patches",
    "summarise",
    "taught_map",
    "teach",
    "train",
    "write_catalogue",
]
HEAVY = ("torch", "matplotlib", "xarray", "rasterio", "numpy", "numba", "scipy", "geopandas")


def test_public_names_are_these_and_load() -> None:
    assert frazil.__all__ == sorted(frazil.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(frazil, name) is not None
    with pytest.raises(AttributeError, match="open_scene"):
        _ = frazil.open_scenes
    with pytest.raises(AttributeError, match="frazil.evaluate now"):
        _ = frazil.judge


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
    assert "xarray" in loaded_after("import frazil; frazil.simulate_scene")


def test_opening_a_scene_needs_no_torch() -> None:
    assert not loaded_after("from frazil.scene import land, save; from frazil.sentinel1 import scene") & {
        "torch",
        "matplotlib",
    }
