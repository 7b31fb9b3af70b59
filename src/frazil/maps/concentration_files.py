"""Concentration as files: CF NetCDF or a Cloud-Optimised GeoTIFF, and a picture of it.

References:
    CF conventions 1.11, sections 3.3 and 3.5 (standard names, flags), 4.4 (time), 7.1 (bounds). ACDD 1.3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import LAND_COLOUR
from frazil.errors import ContractError, OptionError
from frazil.files import whole_output
from frazil.maps.concentration import STATUS
from frazil.maps.page import period_text, sensor_name
from frazil.maps.panels import FAINT, INK, draw_graticule, draw_north, draw_scale, hatch_nodata
from frazil.maps.times import TIME, seconds_of, span_of_texts
from frazil.marks import WRITTEN_BY
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRACTIONS = (
    "sea_ice_area_fraction",
    "standard_error",
    "fraction_low",
    "fraction_high",
    "undecided_fraction",
    "observed_fraction",
)
"""Variables of a concentration, in the order of the bands of its GeoTIFF."""
SUFFIXES = (".nc", ".tif")
_WATER_TO_ICE = ("#104a8c", "#3f86c6", "#8fc1e3", "#cfe5f3", "#ffffff")
_SURE_TO_UNSURE = ("#f6f6ee", "#f0cf86", "#d9853b", "#7d2b1b")


def save_concentration(concentration: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a concentration; it appears whole or not at all.

    Args:
        concentration: of `frazil.ice_concentration`.
        path: ending in ``.nc`` (one time; `frazil compare` reads it) or ``.tif`` (bands as `FRACTIONS`, NaN nodata).
        overwrite: replace what is there.

    Raises:
        ContractError: no concentration. OptionError: another suffix.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    from frazil.maps.export import as_output_error

    grid = check_concentration(concentration)
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise OptionError(f"A concentration is written as {' or '.join(SUFFIXES)}, not {target.name!r}.")
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        if target.suffix == ".nc":
            _write_netcdf(concentration, part)
        else:
            _write_tiff(concentration, grid, part)
    return target


def check_concentration(concentration: xr.Dataset) -> MapGrid:
    """The grid of a concentration; raises ContractError for anything else."""
    missing = [name for name in (*FRACTIONS, "status_flag") if name not in concentration]
    if missing:
        raise ContractError(f"This Dataset is no concentration: {missing[0]!r} is missing. Use ice_concentration().")
    return MapGrid.of(concentration)


def _write_netcdf(concentration: xr.Dataset, path: Path) -> None:
    import xarray as xr

    from frazil.maps.netcdf import write_dataset

    ds = concentration.copy().reset_coords("spatial_ref")  # as a coordinate, readers would look for its axis
    span = span_of_texts(ds.attrs.get("start_time"), ds.attrs.get("stop_time", ds.attrs.get("start_time")))
    for axis in ("y", "x"):
        ds[axis].attrs["axis"] = axis.upper()
    for name in (*FRACTIONS, "status_flag"):
        ds[name].attrs["grid_mapping"] = "spatial_ref"
    if span is not None:
        seconds = seconds_of(span)
        ds = ds.map(lambda v: v.expand_dims("time") if {"y", "x"} <= set(v.dims) else v, keep_attrs=True)
        ds = ds.assign_coords(time=("time", [seconds[1]], TIME))
        ds["time_bnds"] = xr.Variable(("time", "bounds"), [[seconds[0], seconds[2]]])
    stop = ds.attrs.get("stop_time", ds.attrs.get("start_time", ""))
    ds.attrs |= {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": f"Sea-ice concentration from a map of {ds.attrs.get('product', 'a radar scene')}",
        "summary": "Expected share of ice in the observed sea, from the probabilities of a classified radar scene.",
        "source": f"{sensor_name(ds.attrs) or 'SAR'}, model {ds.attrs.get('model', 'not known')}",
        "time_coverage_start": str(ds.attrs.get("start_time", "")),
        "time_coverage_end": str(stop),
        "history": WRITTEN_BY,
    }
    how: dict[Any, dict[str, Any]] = {
        name: {"zlib": True, "complevel": 4, "_FillValue": np.float32(np.nan)} for name in FRACTIONS
    }
    how["status_flag"] = {"zlib": True, "complevel": 4, "_FillValue": None}
    if span is not None:
        how["time_bnds"] = {"_FillValue": None}
    write_dataset(ds, path, how)


def _write_tiff(concentration: xr.Dataset, grid: MapGrid, path: Path) -> None:
    from frazil.maps.geotiff import write_cog

    keep = ("product", "model", "start_time", "stop_time", "note", "attribution", "min_observed")
    tags = {key: str(concentration.attrs[key]) for key in keep if concentration.attrs.get(key)}
    write_cog(
        path,
        np.stack([concentration[name].values for name in FRACTIONS]),
        grid,
        descriptions=FRACTIONS,
        tags=tags | {"TIFFTAG_SOFTWARE": WRITTEN_BY},
        nodata=float("nan"),
        overviews="AVERAGE",
        units="1",
    )


def draw_concentration(
    concentration: xr.Dataset, path: str | os.PathLike[str], *, dpi: float = 130, overwrite: bool = False
) -> Path:
    """Draw a concentration as a PNG: concentration and, beside it, half the width of its bounds.

    Cells without a concentration are hatched, cells of land grey; those mostly undecided bear a dot.

    Args:
        concentration: of `frazil.ice_concentration`.
        path: the PNG.
        dpi: dots per inch; the page is 12.6 inches wide.
        overwrite: replace the file if it exists.

    Raises:
        ContractError: no concentration. OptionError: a resolution outside 20 to 1200 dpi.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    grid = check_concentration(concentration)
    if not 20 <= dpi <= 1200:
        raise OptionError(f"dpi is {dpi}; it must lie between 20 and 1200.")
    with whole_output(path, overwrite=overwrite) as part:
        _figure(concentration, grid).savefig(part, dpi=dpi, format="png")
    return Path(path)


def _figure(concentration: xr.Dataset, grid: MapGrid) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from frazil import __version__

    width, wide = 12.6, 5.35  # inches
    rows, columns = grid.shape
    panel = min(wide, 6.6 * columns / rows)
    tall = panel * rows / columns
    total = tall + 2.55
    figure = Figure(figsize=(width, total), facecolor="white")
    FigureCanvasAgg(figure)
    doubt = (concentration["fraction_high"].values - concentration["fraction_low"].values) / 2
    shown = (
        ("sea_ice_area_fraction", concentration["sea_ice_area_fraction"].values, _WATER_TO_ICE, "Concentration, %"),
        ("doubt", doubt, _SURE_TO_UNSURE, "± that undecided sea leaves open, points"),
    )
    for number, (_, values, colours, title) in enumerate(shown):
        left = 0.75 + number * (wide + 0.75) + (wide - panel) / 2
        axes = figure.add_axes((left / width, 1.05 / total, panel / width, tall / total))
        top = 100.0 if number == 0 else 50.0
        _draw_cells(axes, grid, 100 * values, colours, top, concentration["status_flag"].values)
        draw_graticule(axes, grid, width_inches=panel)
        if number == 0:
            draw_scale(axes, grid, panel)
            draw_north(axes, grid, panel)
        _draw_ramp(figure, (left / width, 0.5 / total, min(panel, 2.6) / width, 0.12 / total), colours, top, title)
    _write_head(figure, concentration.attrs, total, f"{grid.crs} · cells of {grid.spacing_m / 1000:g} km", __version__)
    return figure


def _draw_cells(
    axes: Axes, grid: MapGrid, percent: np.ndarray, colours: tuple[str, ...], top: float, status: np.ndarray
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    left, bottom, right, upper = grid.bounds
    extent = (left, right, bottom, upper)
    hatch_nodata(axes, grid.bounds)
    land = np.zeros((*grid.shape, 4), np.uint8)
    names = {name: code for code, (name, _) in STATUS.items()}
    land[status == names["land"]] = (*LAND_COLOUR, 255)
    axes.imshow(land, extent=extent, interpolation="nearest", zorder=1)
    ramp = LinearSegmentedColormap.from_list("ramp", colours)
    shown = np.ma.masked_invalid(percent)
    axes.imshow(shown, cmap=ramp, vmin=0, vmax=top, extent=extent, interpolation="nearest", zorder=2)
    row, column = np.nonzero((status == names["mostly_undecided"]) & np.isfinite(percent))
    axes.plot(grid.x[column], grid.y[row], ".", markersize=2.5, color=INK, zorder=3)
    axes.set(xlim=(left, right), ylim=(bottom, upper), xticks=[], yticks=[])


def _draw_ramp(
    figure: Figure, box: tuple[float, float, float, float], colours: tuple[str, ...], top: float, title: str
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    axes = figure.add_axes(box)
    axes.imshow(
        np.linspace(0, 1, 200)[None],
        cmap=LinearSegmentedColormap.from_list("ramp", colours),
        aspect="auto",
        extent=(0, top, 0, 1),
    )
    axes.set_yticks([])
    axes.tick_params(labelsize=7.5, length=2, colors=INK)
    axes.set_title(title, fontsize=9, loc="left", color=INK, pad=3)


def _write_head(figure: Figure, attrs: Mapping[Any, Any], total: float, place: str, version: str) -> None:
    x = 0.75 / 12.6

    def write(inches_from_top: float, text: str, **style: object) -> None:
        figure.text(x, 1 - inches_from_top / total, text, va="baseline", parse_math=False, **style)  # type: ignore[arg-type]

    write(0.42, "Sea-ice concentration", fontsize=17, fontweight="bold", color=INK)
    start = str(attrs.get("start_time", ""))
    when = period_text(start, str(attrs.get("stop_time", start)))
    sensor = sensor_name(attrs) if attrs.get("product") else ""
    write(0.68, " · ".join(part for part in (sensor, when) if part), fontsize=11, color=INK)
    about = f"Product {attrs.get('product', '–')}   ·   Model {attrs.get('model', '–')}"
    write(0.89, about, fontsize=8, color=FAINT)
    if attrs.get("note"):
        from textwrap import shorten

        note = shorten(" ".join(str(attrs["note"]).split()), 190, placeholder=" …")
        write(1.1, note, fontsize=8, color="#8a5a00")
    least = f"at least {100 * float(attrs.get('min_observed', 0)):g} % of the sea observed"
    foot = f"{place} · {least} · dots: more than half undecided · grey: land · hatched: none · frazil {version}"
    figure.text(x, 0.12 / total, foot, fontsize=7.5, color=FAINT, va="baseline")
