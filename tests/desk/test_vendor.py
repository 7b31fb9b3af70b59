"""OpenLayers beside the page: the file that was checked, with its licences, and not too large."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

FOLDER = files("frazil") / "data" / "desk"


def test_the_files_are_those_that_were_taken() -> None:
    told = json.loads((FOLDER / "vendor.json").read_text())
    assert told["packages"]["ol"] == "10.11.0"
    for name, wanted in told["sha256"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == wanted
    assert set(told["sha256"]) == {"ol.js", "ol.css"}


def test_every_package_inside_has_its_licence() -> None:
    told = json.loads((FOLDER / "vendor.json").read_text())
    licences = (FOLDER / "LICENSES.txt").read_text()
    for package, version in told["packages"].items():
        assert f"{package} {version}" in licences
    for word in ("BSD", "MIT License", "ISC"):
        assert word in licences


def test_the_page_is_light() -> None:
    assert sum(len(entry.read_bytes()) for entry in FOLDER.iterdir() if entry.is_file()) < 2_000_000
