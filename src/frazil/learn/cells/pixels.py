"""What the cells of a scene have learnt, brought back to the pixels of its map.

Every pixel takes over the change of the logits of its place, interpolated between the middles of cells, so that what
the network sees finer than a cell stays.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numba import prange
from scipy import ndimage

from frazil.answer import CONFIDENCE_PERCENT, answers
from frazil.conventions import CLASS_LAND, PERCENT_NODATA, QUALITY_FLAGS, UNDECIDED
from frazil.errors import ContractError
from frazil.jit import njit
from frazil.learn.cells.cells import Cells
from frazil.learn.cells.teach import Taught
from frazil.percent import whole_percents
from frazil.scene.grid import MapGrid

_LEAST = 0.5  # percent: what the network rules out can be taught all the same
_MOST = 12.0  # of a logit's change


def taught_map(ice_map: xr.Dataset, cells: Cells, taught: Taught) -> xr.Dataset:
    """A map as labels would have it.

    Args:
        ice_map: that the cells were made from.
        cells: its cells.
        taught: what they have learnt.

    Returns:
        A map, see `frazil.conventions.check_map`, on the same pixels; land and what was not observed stay as they are.
        Its attribute ``taught`` tells how many cells had labels.

    Raises:
        ContractError: cells of another map.
    """
    fine = MapGrid.of(ice_map)
    rows, columns = (n // cells.side for n in fine.shape)
    if (rows, columns) != cells.grid.shape or (fine.left, fine.top) != (cells.grid.left, cells.grid.top):
        raise ContractError("These cells are of another map.")
    change = np.clip(taught.logits - cells.log_probability, -_MOST, _MOST)
    grid = np.zeros((change.shape[1], rows, columns), np.float32)
    nearest = ndimage.distance_transform_edt(cells.number < 0, return_distances=False, return_indices=True)
    grid[:] = change[cells.number[tuple(nearest)]].transpose(2, 0, 1)
    old = ice_map["probability"].values
    weights = np.empty_like(old)
    _bend(old, grid, cells.side, np.float32(_LEAST), weights)
    blank = old[0] == PERCENT_NODATA
    percent = whole_percents(weights)
    wanted = float(ice_map.attrs.get("confidence_percent", CONFIDENCE_PERCENT))
    code, confidence, ice = answers(percent, wanted)
    for plane in (*percent, confidence, ice):
        plane[blank] = PERCENT_NODATA
    was = ice_map["ice_class"].values
    code = np.where(blank | ((was >= CLASS_LAND) & (was != UNDECIDED)), was, code)
    bit = np.uint16(QUALITY_FLAGS["undecided"][0])
    flags = ice_map["quality_flags"].values & ~bit
    flags[code == UNDECIDED] |= bit
    new = {
        "probability": percent,
        "ice_class": code,
        "confidence": confidence,
        "ice_probability": ice,
        "quality_flags": flags,
    }
    said = f"Taught by {len(taught.labelled)} labelled cells of {cells.grid.spacing_m:g} m of this scene."
    note = " ".join(filter(None, [said, str(ice_map.attrs.get("note", ""))]))
    return ice_map.assign(
        {name: (ice_map[name].dims, values, ice_map[name].attrs) for name, values in new.items()}
    ).assign_attrs(taught=len(taught.labelled), note=note)


@njit(parallel=True)
def _bend(percent, change, side, least, out):  # type: ignore[no-untyped-def]
    """Weights, at most 200, of classes whose logits change: percent (class, y, x), change (class, row, column)."""
    n, height, width = percent.shape
    rows, columns = change.shape[1:]
    for y in prange(height):
        v = min(max((y + 0.5) / side - 0.5, 0.0), rows - 1.0)
        a = min(int(v), max(rows - 2, 0))
        a1 = min(a + 1, rows - 1)
        dv = np.float32(v - a)
        weight = np.empty(n, np.float32)
        for x in range(width):
            if percent[0, y, x] == 255:
                for k in range(n):
                    out[k, y, x] = 0
                continue
            u = min(max((x + 0.5) / side - 0.5, 0.0), columns - 1.0)
            b = min(int(u), max(columns - 2, 0))
            b1 = min(b + 1, columns - 1)
            du = np.float32(u - b)
            most = np.float32(-1e9)
            for k in range(n):
                upper = (1 - du) * change[k, a, b] + du * change[k, a, b1]
                lower = (1 - du) * change[k, a1, b] + du * change[k, a1, b1]
                weight[k] = (1 - dv) * upper + dv * lower
                most = max(most, weight[k])
            total = np.float32(0.0)
            for k in range(n):
                weight[k] = max(np.float32(percent[k, y, x]), least) * np.exp(weight[k] - most)
                total += weight[k]
            for k in range(n):
                out[k, y, x] = np.uint8(np.rint(200 * weight[k] / total))
