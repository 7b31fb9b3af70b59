"""The tutorial of the desk runs in a browser as it is written, on the scene that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest

from frazil import open_map
from tests.desk.test_browser import CHROMIUM, Desk, browser, opened  # noqa: F401 # a fixture
from tests.docs.fifteen_clicks import PAGE, ROOT, places, walk

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; `make browser` installs it")


def test_the_tutorial_runs(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    sample = ROOT / "out" / "sample"
    product = next(iter(sample.glob("*.SAFE")), None)
    if product is None:
        from frazil.cli import cli

        cli.main(["simulate", "--sample", str(tmp_path / "sample")], standalone_mode=False)
        product = next(iter((tmp_path / "sample").glob("*.SAFE")))
    desk = Desk(product, tmp_path / "desk")
    try:
        page = opened(browser, desk.address)
        told = walk(page)
        assert told["radar"] == "rgb"
        assert told["hidden"]
        assert "labelled cells" in told["learnt"]
        assert page.faults == []
    finally:
        assert desk.end() == 0
    labels = gpd.read_file(tmp_path / "desk" / "labels.gpkg", layer="labels")
    assert labels["origin"].tolist() == ["click"] * 15 + ["queue"]
    kept = labels[labels["origin"] == "click"]
    assert kept["code"].tolist() == [int(key) - 1 for _, key, _, _ in places()]
    first = open_map(next(iter((tmp_path / "desk").glob("S1A*"))) / "map")
    assert np.mean(first["ice_class"].values == 253) > 0.2  # "cannot tell most of it" is about the sea


def test_the_page_names_fifteen_places_of_classes_that_there_are() -> None:
    from frazil.conventions import FIVE_CLASSES

    found = places()
    assert len(found) == 15
    for name, key, north, east in found:
        assert FIVE_CLASSES.classes[int(key) - 1].title == name
        assert 77 < north < 82
        assert 74 < east < 102
    assert all((PAGE.parent / link).exists() for link in ("../images/desk-opens.png", "../how-to/desk.md"))
