"""What an engine says of a whole scene, put together from tiles."""

from __future__ import annotations

import numpy as np
import xarray as xr

from frazil.learn.checkpoint import ModelCard
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.tiles import tiles_for
from frazil.learn.predict.scene import scene_parts


def cell_logits(scene: xr.Dataset, engine: Engine, card: ModelCard, tile: int) -> np.ndarray:
    """Logits float32 (class, row, column) of all cells; NaN where no tile lies."""
    shape = scene.sizes["line"], scene.sizes["pixel"]
    rows, columns = (-(-n // engine.cell) for n in shape)
    out: np.ndarray | None = None
    for part in scene_parts(scene, engine, card, tiles_for(engine, shape, tile)):
        if out is None:
            out = np.full((len(part.logits), rows, columns), np.nan, np.float32)
        assert np.isnan(out[(slice(None), *part.cells)]).all(), "two tiles hold the same cell"
        out[(slice(None), *part.cells)] = part.logits
    assert out is not None
    return out
