"""A map of a product that lies on a server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from frazil.cli import cli
from frazil.net.folder import remote_folder
from tests.local_server import folder_of, serving


@pytest.mark.slow
def test_a_map_of_an_address_is_that_of_the_folder(small_safe: Path, tmp_path: Path) -> None:
    remote_folder.cache_clear()
    with serving(folder_of(small_safe.parent)) as server:
        address = f"{server.address}/{small_safe.name}"
        for name, product in (("remote", address), ("local", str(small_safe))):
            done = CliRunner().invoke(cli, ["map", product, "-o", str(tmp_path / name), "--json"])
            assert done.exit_code == 0, done.output
        several = CliRunner().invoke(cli, ["map", f"{address}?sig=SECRET", str(tmp_path), "-o", str(tmp_path / "two")])
    with (
        rasterio.open(tmp_path / "remote" / "class.tif") as one,
        rasterio.open(tmp_path / "local" / "class.tif") as other,
    ):
        np.testing.assert_array_equal(one.read(), other.read())
    summaries = [json.loads((tmp_path / n / "summary.json").read_text())["product"] for n in ("remote", "local")]
    assert summaries[0] == summaries[1]
    assert several.exit_code == 1  # the folder is no product
    assert (tmp_path / "two" / small_safe.stem / "class.tif").is_file()
    assert "SECRET" not in several.output + (tmp_path / "two" / small_safe.stem / "summary.json").read_text()
