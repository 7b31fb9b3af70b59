"""Compiled code works also where there is no place to keep it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WITHOUT_PLACE = """
import sys
from numba.core import caching
caching.CacheImpl._locator_classes = []  # as in a container that runs as another user, without a home
from frazil.cli import main
sys.argv = ["frazil", *sys.argv[1:]]
main()
"""


def test_scenes_are_read_without_a_place_for_the_cache(small_safe: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PLACE, "scene", str(small_safe), "-o", str(tmp_path / "s.tif"), "--looks", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s.tif").is_file()


def test_the_test_can_fail() -> None:
    code = WITHOUT_PLACE.partition("from frazil")[0] + "import numba\nnumba.njit(cache=True)(lambda x: x)(1)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no locator available" in done.stderr
