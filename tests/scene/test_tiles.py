"""Tiles partition the array, whatever its size, and putting them back is the identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frazil.errors import OptionError
from frazil.scene.tiles import TileGrid, Window, even_core


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    core=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    margin=st.integers(0, 4),
    multiple=st.sampled_from([1, 2, 4]),
)
def test_cut_and_stitch_is_the_identity(
    shape: tuple[int, int], core: tuple[int, int], margin: int, multiple: int
) -> None:
    grid = TileGrid(
        shape=shape, core=(core[0] * multiple, core[1] * multiple), margin=margin * multiple, multiple=multiple
    )
    image = np.arange(shape[0] * shape[1]).reshape(shape)
    back = np.full(shape, -1)
    count = np.zeros(shape, int)
    for kept, reach in grid:
        part = image[reach.slices]
        assert part.shape == (reach.n_lines, reach.n_pixels)
        assert reach.line % multiple == 0
        assert reach.pixel % multiple == 0
        back[kept.slices] = part[kept.inside(reach)]
        count[kept.slices] += 1
    np.testing.assert_array_equal(back, image)
    assert (count == 1).all()
    assert len(list(grid)) == len(grid)


@given(shape=st.tuples(st.integers(1, 60), st.integers(1, 60)), margin=st.integers(0, 9))
def test_reach_is_core_and_margin_or_ends_with_the_array(shape: tuple[int, int], margin: int) -> None:
    for kept, reach in TileGrid(shape=shape, core=(7, 11), margin=margin):
        assert reach.line == max(kept.line - margin, 0)
        assert reach.pixel + reach.n_pixels == min(kept.pixel + kept.n_pixels + margin, shape[1])


@given(
    shape=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    limit=st.integers(1, 3000),
    multiple=st.sampled_from([1, 8, 16]),
)
def test_even_cores_are_few_equal_and_within_the_limit(shape: tuple[int, int], limit: int, multiple: int) -> None:
    for n, core in zip(shape, even_core(shape, limit, multiple), strict=True):
        tiles = -(-n // core)
        assert core % multiple == 0
        assert core < max(limit, multiple) + multiple
        assert tiles <= -(-n // max(limit, multiple))
        assert core - multiple < -(-n // tiles)  # no larger than needed for that many tiles


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (0, 5), "core": (1, 1)},
        {"shape": (9, 9), "core": (3, 3), "multiple": 2},
        {"shape": (9, 9), "core": (4, 4), "multiple": 2, "margin": 3},
        {"shape": (9, 9), "core": (4, 4), "margin": -1},
    ],
)
def test_impossible_grids(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        TileGrid(**options)


def test_windows_check_themselves() -> None:
    with pytest.raises(OptionError, match="at least one pixel"):
        Window(0, 0, 0, 3)
