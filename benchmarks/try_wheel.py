"""Try an installed wheel without PyTorch: `make wheel` runs this in an environment of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def frazil(*words: object, status: int = 0) -> str:
    """What the command prints; fails where it ends otherwise."""
    done = subprocess.run([Path(sys.executable).with_name("frazil"), *map(str, words)], capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert done.returncode == status, told
    assert "Traceback" not in told, told
    return told


def main() -> None:
    """Read, calibrate, simulate, cut, compare; and say what is missing where a network is needed."""
    import frazil as package

    home = Path(package.__file__).parent
    assert "site-packages" in home.parts, f"this is not the installed wheel: {home}"
    assert importlib.util.find_spec("torch") is None, "PyTorch is here; this tries a base install"
    for data in ("py.typed", "data/models/ice-measured/card.json", "data/models/ice-measured/model.safetensors"):
        assert (home / data).is_file(), data
    missing = []
    for name in package.__all__:
        try:
            getattr(package, name)
        except ImportError as error:
            told = str(error)
            missing.append(name)
            assert "pip install 'frazil[" in told, told
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        assert package.__version__ in frazil("--version")
        frazil("simulate", place / "new", "--seed", 1, "--lines", 5200, 5700, "--pixels", 2400, 3000)
        product = next((place / "new").glob("*.SAFE"))
        truth = next((place / "new").glob("*_truth")) / "polygons.gpkg"
        assert json.loads(frazil("info", product, "--json"))["mission"]
        frazil("scene", product, "-o", place / "scene.nc", "--looks", 3)
        frazil("patches", "cut", product, "--labels", truth, "-o", place / "set.zarr", "--boxcar", "--limit", 5)
        frazil("imagettes", "simulated", "--count", 1, "-o", place / "imagettes.zarr")
        models = ["segment", place / "imagettes.zarr", "--model", "m"]
        for words in (["map", product], ["train", "patches:adhoc"], models):
            told = frazil(*words, "-o", place / "out", status=1)
            assert told.count("\n") == 1, told
            assert "pip install 'frazil[" in told, told
    print(f"The wheel works without PyTorch; {', '.join(missing)} say what to install.")


if __name__ == "__main__":
    main()
