"""What a ship risks on a map, in a moving window, or in the polygons of a chart; and the files of it.

Concentrations belong to an area, not to a pixel: class probabilities are averaged over a window of some kilometres.
They are not rounded to tenths, which the circular does not ask for.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.charts.mixtures import SILENT_BITS
from frazil.charts.polaris import LEVEL_COLOURS, LEVELS, NO_LEVEL, NO_RIO, NOTE, Ship, rio_of_egg, rio_of_shares
from frazil.charts.risk_page import draw_risk
from frazil.conventions import CLASS_LAND, CLASS_NODATA, UNDECIDED, check_ice_map
from frazil.errors import OptionError
from frazil.files import whole_output
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

WINDOW_M = 5000.0
_ENOUGH = 0.5  # of a window's sea that must have been observed and told


def risk_of_map(ice_map: xr.Dataset, ship: Ship, *, window_m: float = WINDOW_M) -> xr.Dataset:
    """RIO of a ship on a map of sea ice.

    Args:
        ice_map: see `frazil.conventions.check_ice_map`, on a projected grid; of a model that tells kinds of ice.
        ship: which, with what its user knows of the ice.
        window_m: side of the square that concentrations are averaged over, metres; an odd number of pixels is taken.

    Returns:
        Dataset (y, x) with ``rio_low`` and ``rio_high``, float32, the worse and the better case; ``level`` and
        ``level_high``, uint8, the operation levels of both (0 normal operation, 1 elevated risk, 2 special
        consideration, 3 at sea without RIO, 255 elsewhere); ``land_mask``, True on land. There is no RIO (NaN) where
        half of the window's sea was not observed, or could not be told ice from water. ``attrs["note"]`` is to be shown
        with every use;
        ``attrs["source_note"]`` is the note of the map, if it has one.

    Raises:
        ContractError: no such map, or a class that is no kind of ice.
        OptionError: a window smaller than a pixel.
    """
    import xarray as xr

    scheme, grid = check_ice_map(ice_map), MapGrid.of(ice_map)
    side = 2 * int(window_m / grid.spacing_m / 2) + 1
    if not window_m >= grid.spacing_m:
        raise OptionError(f"window_m is {window_m:g}, and a pixel has {grid.spacing_m:g} m. Take a larger window.")
    codes, flags = ice_map["ice_class"].values, ice_map["quality_flags"].values
    tells = (codes < CLASS_LAND) & ((flags & SILENT_BITS) == 0)
    weight = _mean(tells, side)
    sea = _mean((codes != CLASS_LAND), side)
    undecided = _mean(tells & (codes == UNDECIDED), side)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [_mean(np.where(tells, p, 0), side) / (100 * weight) for p in ice_map["probability"].values]
        total = np.sum(shares, axis=0)
        low, high = rio_of_shares(np.stack([s / total for s in shares]), scheme, ship)
        known = (codes < CLASS_LAND) & (weight >= _ENOUGH * sea) & (undecided < _ENOUGH * weight)
    low, high = np.where(known, low, np.nan), np.where(known, high, np.nan)
    dims = ("y", "x")
    at_sea = codes < CLASS_LAND
    levels = [np.where(at_sea & np.isnan(rio), np.uint8(NO_RIO), ship.levels(rio)) for rio in (low, high)]
    meanings = " ".join(word.replace(" ", "_") for word in (*LEVELS, "no RIO"))
    words = {"flag_values": np.array([0, 1, 2, NO_RIO], np.uint8), "flag_meanings": meanings}
    data = {
        "rio_low": (
            dims,
            low.astype(np.float32),
            {"long_name": "POLARIS risk index outcome, worse case", "units": "1"},
        ),
        "rio_high": (
            dims,
            high.astype(np.float32),
            {"long_name": "POLARIS risk index outcome, better case", "units": "1"},
        ),
        "level": (dims, levels[0], {"long_name": "operation level, worse case", **words}),
        "level_high": (dims, levels[1], {"long_name": "operation level, better case", **words}),
        "land_mask": (dims, codes == CLASS_LAND, {"long_name": "land", "units": "1"}),
    }
    kept = ("product", "start_time", "stop_time", "model", "class_scheme", "attribution", "sensor", "mode")
    attrs = {name: ice_map.attrs[name] for name in kept if name in ice_map.attrs}
    coords = {name: ice_map[name] for name in ("y", "x", "spatial_ref") if name in ice_map.variables}
    attrs |= {"source_note": ice_map.attrs["note"]} if "note" in ice_map.attrs else {}
    return xr.Dataset(data, coords, {**attrs, **_about(ship), "window_m": side * grid.spacing_m, "note": NOTE})


def risk_of_chart(chart: gpd.GeoDataFrame, ship: Ship) -> gpd.GeoDataFrame:
    """A chart with four columns more, polygon by polygon.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`.
        ship: which, with what its user knows of the ice.

    Returns:
        The chart with ``rio_low``, ``rio_high`` (NaN where there is none), ``level`` (words, of the worse case; ``""``
        where there is none), ``speed_knots`` (recommended in elevated risk, else missing).
    """
    import pandas as pd

    found = chart.copy()
    pairs = [rio_of_egg(row, ship) for row in chart.to_dict("records")]
    low, high = (np.array([pair[k] for pair in pairs], float) for k in (0, 1))
    level = ship.levels(low)
    found["rio_low"], found["rio_high"] = np.round(low, 1), np.round(high, 1)
    found["level"] = ["" if k == NO_LEVEL else LEVELS[k] for k in level]
    found["speed_knots"] = pd.array([ship.speed_knots if k == 1 else None for k in level], dtype="Int64")
    noted = {"source_note": chart.attrs["note"]} if "note" in chart.attrs else {}
    found.attrs = {**chart.attrs, **noted, **_about(ship), "note": NOTE}
    return found


def save_risk(risk: xr.Dataset | gpd.GeoDataFrame, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write what `risk_of_map` or `risk_of_chart` found as a folder; it appears whole or not at all.

    Of a map ``rio_low.tif``, ``rio_high.tif`` (float32, NaN nodata), ``level.tif`` (coloured codes); of a chart
    ``risk.gpkg``. Both: ``risk.png`` (`draw_risk`), and ``summary.json`` with areas by level and the note that is to be
    shown.

    Raises:
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    import geopandas as gpd

    from frazil.marks import WRITTEN_BY

    with whole_output(folder, overwrite=overwrite) as part:
        part.mkdir()
        if isinstance(risk, gpd.GeoDataFrame):
            risk.to_file(part / "risk.gpkg", layer="risk", engine="pyogrio", layer_metadata={"WRITTEN_BY": WRITTEN_BY})
        else:
            _write_rasters(risk, part)
        draw_risk(risk, part / "risk.png")
        (part / "summary.json").write_text(json.dumps(risk_summary(risk), indent=2) + "\n", encoding="utf-8")
    return Path(folder)


def risk_summary(risk: xr.Dataset | gpd.GeoDataFrame) -> dict[str, Any]:
    """Areas by operation level of the worse case, where both ends agree, the ship, and the note."""
    import geopandas as gpd

    from frazil.maps.areas import PixelAreas

    names = (*LEVELS, "no RIO")
    if isinstance(risk, gpd.GeoDataFrame):
        area = risk["area_km2"] if "area_km2" in risk.columns else risk.geometry.area / 1e6
        sea = risk["POLY_TYPE"].isin(["I", "W"])
        level = [LEVELS.index(word) if word else NO_RIO for word in risk["level"][sea]]
        km2 = np.bincount(level, weights=area[sea], minlength=4)
    else:
        km2 = PixelAreas(MapGrid.of(risk)).by_code(risk["level"].values)[: NO_RIO + 1]
    told = {name: round(float(v), 1) for name, v in zip(names, km2, strict=True)}
    kept = [
        "ship",
        "decayed",
        "escort",
        "level_ice",
        "old_ice",
        "window_m",
        "product",
        "start_time",
        "model",
        "source_note",
    ]
    return {"area_km2": told, **{k: risk.attrs[k] for k in kept if k in risk.attrs}, "note": NOTE}


def _write_rasters(risk: xr.Dataset, folder: Path) -> None:
    from frazil.maps.geotiff import write_cog
    from frazil.marks import WRITTEN_BY

    grid = MapGrid.of(risk)
    tags = {k: str(v) for k, v in risk.attrs.items()} | {"written_by": WRITTEN_BY}
    for name in ("rio_low", "rio_high"):
        how: dict[str, Any] = {"nodata": float("nan"), "overviews": "AVERAGE", "units": "1"}
        write_cog(folder / f"{name}.tif", risk[name].values[None], grid, descriptions=(name,), tags=tags, **how)
    colours = {k: (*colour, 255) for k, colour in enumerate(LEVEL_COLOURS)} | {NO_LEVEL: (0, 0, 0, 0)}
    words = tags | {f"level_{k}": word for k, word in enumerate((*LEVELS, "no RIO"))}
    levels = risk["level"].values[None]
    write_cog(
        folder / "level.tif",
        levels,
        grid,
        descriptions=("level",),
        tags=words,
        nodata=CLASS_NODATA,
        colours=colours,
        overviews="MODE",
    )


def _about(ship: Ship) -> dict[str, Any]:
    return {
        "ship": ship.ice_class,
        "decayed": int(ship.decayed),
        "escort": int(ship.escort),
        "level_ice": ship.level_ice or "not told",
        "old_ice": ship.old_ice or "not told",
    }


def _mean(values: np.ndarray, side: int) -> np.ndarray:
    """Mean over a square around each pixel; beyond the raster nothing is counted."""
    from scipy import ndimage

    return np.asarray(ndimage.uniform_filter(values.astype(np.float32), side, mode="constant"))
