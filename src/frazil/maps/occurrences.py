"""Where phenomena occur: imagettes counted on a grid of the globe, class by class.

References:
    Colin, A., et al. (2022), Remote Sens. 14, 851, figure 1: shares of wave-mode imagettes on cells of 10°.
    Wilson, E. B. (1927), J. Amer. Statist. Assoc. 22, 209: intervals of a share that hold for few counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from frazil.conventions import LAND_COLOUR, PHENOMENA_SCHEMES
from frazil.errors import ContractError, LabelError, OptionError
from frazil.files import whole_output
from frazil.labels.imagettes import open_imagettes
from frazil.labels.sample_set import UNKNOWN
from frazil.maps.panels import FAINT, INK
from frazil.maps.segment_files import open_segments
from frazil.marks import WRITTEN_BY
from frazil.scene.land import land_mask

if TYPE_CHECKING:
    import xarray as xr

By = Literal["category", "present", "found"]
_TWO_SIDED = 1.959964  # standard deviations of 95 %
_ICE_BLUE = ("#eef3f6", "#a9cbe0", "#4c8fbd", "#12406f")


def open_counted(path: str | os.PathLike[str]) -> xr.Dataset:
    """What can be counted, from a ``.zarr`` store: a set of imagettes without its images, or segments of one.

    Raises:
        LabelNotFoundError, LabelError, ContractError: as `open_imagettes` and `open_segments`.
    """
    return open_segments(path) if (Path(path) / "dominant").is_dir() else open_imagettes(path, images=False)


def occurrences(
    sets: xr.Dataset | Iterable[xr.Dataset],
    *,
    cell_deg: float = 10.0,
    by: By | None = None,
    least_share: float = 0.0,
) -> xr.Dataset:
    """Count imagettes on cells of the globe.

    Args:
        sets: sets of imagettes, or segments of them (`frazil.segment`), of the same classes; read one after the other.
        cell_deg: side of a cell in degrees; divides 180.
        by: what is counted: the ``"category"`` that an image was called, what was said to be ``"present"`` in it, or
            what was ``"found"`` in segments. By default ``"found"`` of segments, of sets ``"present"`` where it was
            said of every class of some image, else ``"category"``.
        least_share: of what is found: share of an image's observed cells that it must cover.

    Returns:
        Dataset on ``class, latitude, longitude``: ``count`` (int32, imagettes with the class), ``judged`` (int32,
        imagettes of which it is known), ``share`` (float32, NaN where none was judged), and ``share_low`` and
        ``share_high``, its 95 % interval (Wilson). ``class`` holds codes, ``class_name(class)`` names. Imagettes
        without a place are counted in ``attrs["without_place"]``.

    Raises:
        OptionError: a cell that does not divide 180, an unknown `by`, a share outside [0, 1].
        LabelError: nothing to count, sets of different classes, or ones that lack what is to be counted.
    """
    import xarray as xr

    if not 0 < cell_deg <= 90 or abs(180 / cell_deg - round(180 / cell_deg)) > 1e-9:
        raise OptionError(f"cell_deg is {cell_deg:g}; it must divide 180, such as 10, 5 or 2.5.")
    if by is not None and by not in get_args(By):
        raise OptionError(f"by {by!r} is not one of {list(get_args(By))}.")
    if not 0 <= least_share <= 1:
        raise OptionError(f"least_share is {least_share}; it is a share from 0 to 1.")
    rows = round(180 / cell_deg)
    scheme, way, homeless, total = "", by, 0, np.zeros((2, 0, rows, 2 * rows), np.int64)
    for ds in [sets] if isinstance(sets, xr.Dataset) else sets:
        name = str(ds.attrs.get("class_scheme"))
        if name not in PHENOMENA_SCHEMES:
            raise ContractError(f"This Dataset is neither a set of imagettes nor segments: class_scheme {name!r}.")
        if scheme and name != scheme:
            raise LabelError(f"Sets differ in classes: {scheme} and {name}. Count them apart.")
        if not scheme:
            scheme, way = name, by or _usual(ds)
            total = np.zeros((2, len(PHENOMENA_SCHEMES[name].classes), rows, 2 * rows), np.int64)
        assert way is not None
        known, there = _judged(ds, way, least_share)
        placed = np.isfinite(ds["longitude"].values) & np.isfinite(ds["latitude"].values)
        homeless += int((~placed & known.any(1)).sum())
        row = np.clip(((90 - ds["latitude"].values[placed]) / cell_deg).astype(int), 0, rows - 1)
        column = ((((ds["longitude"].values[placed] + 180) % 360) / cell_deg).astype(int)) % (2 * rows)
        for plane, values in enumerate((known, known & there)):
            for code in range(values.shape[1]):
                np.add.at(total[plane, code], (row, column), values[placed, code])
    if not total[0].any():
        raise LabelError(f"There is no imagette to count: none has a place and is known by {way or 'category'}.")
    return _dataset(total, scheme, str(way), cell_deg, homeless)


def _usual(ds: xr.Dataset) -> By:
    if "dominant" in ds:
        return "found"
    return "present" if "present" in ds and (ds["present"].values != UNKNOWN).all(1).any() else "category"


def _judged(ds: xr.Dataset, by: By, least_share: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether it is known of each imagette that a class is there, and whether it is: bool (imagette, class)."""
    wanted = {"category": "category", "present": "present", "found": "found"}[by]
    if wanted not in ds:
        kind = "segments" if "dominant" in ds else "a set of imagettes"
        raise LabelError(f"What is {by} cannot be counted in {kind}. Leave it out, or pass the other kind.")
    if by == "category":
        code = ds["category"].values
        known = np.broadcast_to((code != UNKNOWN)[:, None], (code.size, ds.sizes["class"]))
        return known, code[:, None] == np.arange(ds.sizes["class"])
    if by == "present":
        return ds["present"].values != UNKNOWN, ds["present"].values == 1
    seen = np.isfinite(ds["score"].values.astype(np.float32)).sum((2, 3))
    covered = ds["found"].values.sum((2, 3))
    return seen > 0, (covered > 0) & (covered >= least_share * seen)


def wilson(count: np.ndarray, judged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of a share, lower and upper end; NaN where nothing was judged."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p, z2 = count / judged, _TWO_SIDED**2
        centre = (p + z2 / (2 * judged)) / (1 + z2 / judged)
        half = _TWO_SIDED * np.sqrt(p * (1 - p) / judged + z2 / (4 * judged**2)) / (1 + z2 / judged)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


def _dataset(total: np.ndarray, scheme: str, by: str, cell_deg: float, homeless: int) -> xr.Dataset:
    import xarray as xr

    judged, count = total
    with np.errstate(invalid="ignore", divide="ignore"):
        share = count / judged
    low, high = wilson(count, judged)
    dims = ("class", "latitude", "longitude")
    data: dict[str, Any] = {
        "count": (dims, count.astype(np.int32), {"units": "1", "long_name": "imagettes with the class"}),
        "judged": (dims, judged.astype(np.int32), {"units": "1", "long_name": "imagettes of which it is known"}),
    }
    for name, values, words in (
        ("share", share, "share of the judged imagettes that have the class"),
        ("share_low", low, "lower end of the 95 % interval of the share (Wilson)"),
        ("share_high", high, "upper end of the 95 % interval of the share (Wilson)"),
    ):
        data[name] = (dims, values.astype(np.float32), {"units": "1", "long_name": words})
    rows = judged.shape[1]
    latitude, longitude = 90 - cell_deg * (np.arange(rows) + 0.5), -180 + cell_deg * (np.arange(2 * rows) + 0.5)
    coords: dict[str, Any] = {
        "class": ("class", np.arange(judged.shape[0], dtype=np.int32), {"long_name": "class code"}),
        "class_name": ("class", np.array(PHENOMENA_SCHEMES[scheme].names, dtype=str), {"long_name": "class name"}),
        "latitude": (
            "latitude",
            latitude,
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
        ),
        "longitude": (
            "longitude",
            longitude,
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        ),
    }
    attrs = {"class_scheme": scheme, "counted_by": by, "cell_deg": cell_deg, "without_place": homeless}
    return xr.Dataset(data, coords, attrs)


def save_occurrences(counted: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write occurrences as CF NetCDF; they appear whole or not at all.

    Raises:
        ContractError: something else. OptionError: another suffix than ``.nc``.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    from frazil.maps.export import as_output_error
    from frazil.maps.netcdf import write_dataset

    _check(counted)
    target = Path(path)
    if target.suffix != ".nc":
        raise OptionError(f"Occurrences are written as .nc, not {target.name!r}.")
    attrs = {
        "Conventions": "CF-1.11",
        "title": f"Occurrences of phenomena in imagettes, by {counted.attrs['counted_by']}",
        "history": WRITTEN_BY,
    }
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        write_dataset(counted.assign_attrs(attrs), part, {n: {"zlib": True} for n in ("count", "judged", "share")})
    return target


def _check(counted: xr.Dataset) -> None:
    missing = [name for name in ("count", "judged", "share", "class_name") if name not in counted.variables]
    if missing:
        raise ContractError(f"This Dataset holds no occurrences: {missing[0]!r} is missing. Use occurrences().")


def draw_occurrences(counted: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Draw occurrences as a PNG: a map of the globe for each class, and one of how many imagettes were judged.

    Cells in which nothing was judged are left white; those with fewer than ten judged imagettes bear a dot.

    Raises:
        ContractError: something else. OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure

    _check(counted)
    scheme = PHENOMENA_SCHEMES[counted.attrs["class_scheme"]]
    panels = len(scheme.classes) + 1
    columns = min(3, panels)
    rows = -(-panels // columns)
    ramp = LinearSegmentedColormap.from_list("share", _ICE_BLUE)
    land = _land()
    judged = counted["judged"].values.max(0)
    longitude, latitude = counted["longitude"].values, counted["latitude"].values
    few_row, few_column = np.nonzero((judged > 0) & (judged < 10))
    with mpl.rc_context({"font.size": 8, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(4.1 * columns, 2.45 * rows + 0.7), dpi=120, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, title in zip(axes, [*scheme.titles, "Imagettes judged"], strict=False):
            axis.set_title(title, loc="left", fontsize=9, fontweight="bold", color=INK)
            axis.imshow(land, extent=(-180, 180, -90, 90), interpolation="nearest", zorder=2)
            axis.set(xticks=range(-120, 180, 60), yticks=(-60, -30, 0, 30, 60), xlim=(-180, 180), ylim=(-90, 90))
            axis.tick_params(labelsize=6.5, length=2, colors=FAINT)
        for axis, share in zip(axes, counted["share"].values, strict=False):
            shown = np.ma.masked_invalid(100 * share)
            top = max(100 * float(np.max(share, where=judged >= 10, initial=0.0)), 1.0)  # few make any share
            image = axis.imshow(shown, cmap=ramp, vmin=0, vmax=top, extent=(-180, 180, -90, 90), zorder=1)
            figure.colorbar(image, ax=axis, shrink=0.75, pad=0.01, aspect=18, format="%g %%")
            axis.plot(longitude[few_column], latitude[few_row], ".", ms=1.5, c=INK)
        number = axes[panels - 1]
        most = max(int(judged.max()), 2)
        image = number.imshow(
            np.ma.masked_equal(judged, 0), cmap=ramp, norm=LogNorm(1, most), extent=(-180, 180, -90, 90), zorder=1
        )
        figure.colorbar(image, ax=number, shrink=0.75, pad=0.01, aspect=18)
        for axis in axes[panels:]:
            axis.set_visible(False)
        words = f"share of imagettes by {counted.attrs['counted_by']}, cells of {counted.attrs['cell_deg']:g}°"
        figure.suptitle(f"{words}; dots: fewer than ten judged; scales differ", fontsize=9, color=FAINT)
        with whole_output(path, overwrite=overwrite) as part:
            figure.savefig(part, format="png")
    return Path(path)


def _land() -> np.ndarray:
    """Land of half a degree as a picture, clear over the sea."""
    lat, lon = 90 - (np.arange(360) + 0.5) / 2, -180 + (np.arange(720) + 0.5) / 2
    picture = np.zeros((360, 720, 4), np.uint8)
    picture[land_mask(lon[None], lat[:, None])] = (*LAND_COLOUR, 255)
    return picture
