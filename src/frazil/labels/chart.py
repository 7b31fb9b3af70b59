"""Ice charts in SIGRID-3 as rasters on a radar or map grid.

References:
    JCOMM Technical Report No. 23, SIGRID-3: a vector archive format for sea ice georeferenced information and data;
    editions of 2004, 2010 and 2017 (3.1), see `frazil.labels.sigrid3_dialects`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from frazil.conventions import (
    AI4ARCTIC,
    CLASS_NODATA,
    CLASS_SCHEMES,
    FIVE_CLASSES,
    VARIABLES,
    ClassScheme,
    class_attrs,
)
from frazil.errors import LabelError, OptionError
from frazil.gdal_files import metadata_texts
from frazil.labels.polygons import PlacedPolygons, find_crs, place, read_polygons
from frazil.labels.sigrid3 import COLUMNS, ChartSettings, PolygonClasses, classify, floe_names
from frazil.labels.sigrid3_dialects import ICE_OBJECTS, chart_rows, check_dialect

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

Unknown = Literal["refuse", "ignore"]


def read_chart(
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    crs: str | None = None,
    assume_crs: str | None = None,
    unknown: Unknown = "refuse",
    dialect: str | None = None,
) -> gpd.GeoDataFrame:
    """The polygons of an ice chart, codes checked and written alike.

    Args:
        path: a vector file (see `frazil.labels.polygons.read_polygons`) with the columns POLY_TYPE and CT, and CA … FC
            where there are several kinds of ice (upper or lower case); or ICEACT, ICEAPC, ICESOD and ICEFLZ.
        layer: of a file of several layers.
        crs: to reproject to; by default that of the chart.
        assume_crs: of a chart that does not say its own.
        unknown: a code that SIGRID-3 does not know is refused, or ignored (it then counts as not told, and
            ``attrs["unknown_codes"]`` says how often).
        dialect: the edition its codes are of: ``"2004"``, ``"2010"``, ``"3.1"`` or ``"S-411"``; None to find out from
            its metadata (``formvern``), columns and codes.

    Returns:
        GeoDataFrame whose columns POLY_TYPE, CT, CA … FC hold text, ``""`` where the chart does not say; other columns
        as they came. Codes are those of the edition of 2010, whatever the chart's dialect. The index is the row in the
        file. ``attrs``: ``source``, ``dialect``, ``repaired`` (invalid geometries mended), ``dropped`` (rows without
        area), ``unknown_codes`` (``"SA 90" -> rows``).

    Raises:
        LabelNotFoundError, LabelError: no file, no chart, no CRS, unknown codes, codes of two editions; see also
            `frazil.labels.polygons.read_polygons`.
    """
    if unknown not in ("refuse", "ignore"):
        raise OptionError(f"unknown {unknown!r} is not one of ['refuse', 'ignore'].")
    check_dialect(dialect)
    frame = read_polygons(path, layer=layer, assume_crs=assume_crs)
    chart = normalize_chart(frame, source=str(path), unknown=unknown, dialect=dialect, formvern=formvern_of(path))
    return chart if crs is None else chart.to_crs(find_crs(crs))


def normalize_chart(
    frame: gpd.GeoDataFrame,
    *,
    source: str = "The chart",
    unknown: Unknown = "refuse",
    dialect: str | None = None,
    formvern: str | None = None,
) -> gpd.GeoDataFrame:
    """A table of polygons with the columns of a chart as `read_chart` returns it; one that is, as it is.

    Args:
        frame: the table.
        source: for messages.
        unknown: as `read_chart`.
        dialect: as `read_chart`.
        formvern: the edition that its metadata say.

    Raises:
        LabelError: no chart, unknown codes, codes of two editions.
    """
    if "dialect" in frame.attrs:
        return frame
    notes = dict(frame.attrs)
    wanted = (*COLUMNS, *ICE_OBJECTS, "POLY_TYPE", "CF", "FP", "FS")
    chart = frame.rename(columns={c: c.upper() for c in frame.columns if c.upper() in wanted})
    if not is_chart(chart):
        raise LabelError(
            f"{source} is not a SIGRID-3 chart: column CT is missing (it holds "
            f"{[c for c in frame if c != 'geometry']}). Polygons with a class column go to "
            "cut_patches(class_column=...)."
        )
    columns = [c for c in wanted if c in chart]
    twice = sorted(set(chart.columns[chart.columns.duplicated()]) & set(columns))
    if twice:
        raise LabelError(f"{source} has several columns {twice[0]}, in capitals or not. Remove all but one.")
    rows = (dict(zip(columns, v, strict=True)) for v in zip(*(chart[c] for c in columns), strict=True))
    found, dialect, strange = chart_rows(rows, columns, dialect=dialect, formvern=formvern, source=source)
    if strange and unknown == "refuse":
        listed = ", ".join(f"{code} ({n} ×)" for code, n in sorted(strange.items())[:8])
        raise LabelError(
            f"{source} uses codes that SIGRID-3 does not have (dialect {dialect}): {listed}. Correct the chart, name "
            "its dialect (--dialect), or pass unknown='ignore' (--unknown-codes ignore) to take them as not told."
        )
    for column in ("POLY_TYPE", *COLUMNS):
        chart[column] = [row[column] for row in found]
    chart.attrs.update(notes, unknown_codes=strange, dialect=dialect)
    return chart


def formvern_of(path: str | os.PathLike[str]) -> str | None:
    """The edition that the metadata beside a chart, or in its archive, say: ``formvern`` of FGDC; None without."""
    for text in metadata_texts(path):
        if found := re.search(r"<formvern>\s*([^<]{1,60}?)\s*</formvern>", text, re.IGNORECASE):
            return found[1]
    return None


def is_chart(frame: gpd.GeoDataFrame) -> bool:
    """Whether a table has the column that makes it a SIGRID-3 chart."""
    return any(str(c).upper() in ("CT", "ICEACT") for c in frame.columns)


def chart_classes(
    chart: gpd.GeoDataFrame, scheme: ClassScheme | str = FIVE_CLASSES, settings: ChartSettings | None = None
) -> list[PolygonClasses]:
    """What each polygon of a chart (from `read_chart`, or a table of that kind) says, in order of its rows."""
    scheme, settings = find_scheme(scheme), settings or ChartSettings()
    chart = normalize_chart(chart)
    names = ["POLY_TYPE", *COLUMNS]
    return [
        classify(dict(zip(names, codes, strict=True)), scheme, settings)
        for codes in zip(*(chart[name] for name in names), strict=True)
    ]


def rasterize_chart(
    chart: gpd.GeoDataFrame | str | os.PathLike[str],
    *,
    like: xr.Dataset,
    scheme: ClassScheme | str = FIVE_CLASSES,
    settings: ChartSettings | None = None,
    **options: Any,
) -> xr.Dataset:
    """An ice chart on the grid of a scene or of a map.

    A pixel gets what the polygon says that its centre lies in. Edges are straight in the chart's own CRS, as drawn.

    Args:
        chart: a file, or what `read_chart` returns.
        like: a scene (``line, pixel``) or a Dataset on a projected grid (``y, x``).
        scheme: of ``ice_class``: ``"five_classes"``, ``"binary"``, ``"ai4arctic"``, or a scheme.
        settings: thresholds of dominance and concentration.
        **options: of `read_chart`, where ``chart`` is a file.

    Returns:
        Dataset on the dims of ``like``:

        - ``sic``: float32, fraction 0 to 1; NaN where not told, on land and outside the chart;
        - ``sic_class``: uint8, tenths 0 to 10 (9+ is 10); 255 likewise;
        - ``sod_class``: uint8, stage of development in the AI4ARCTIC scheme, ``floe_class``: uint8, 0 water, 1 cake
          ice … 6 bergs; 255 also where no kind of ice dominates;
        - ``ice_class``: uint8 in the scheme; 254 land and ice shelf; 255 where mixed, not told or outside;
        - ``valid``: bool, True where the chart says ``sic``;
        - ``polygon``: int32, row of the polygon in its file; −1 outside.

        Where polygons overlap and disagree, nothing is valid. ``attrs["overlap"]`` counts such pixels.

    Raises:
        LabelError: the chart does not touch the grid; also as `read_chart`.
        ContractError: ``like`` is on no grid.
    """
    import xarray as xr

    scheme = find_scheme(scheme)
    settings = settings or ChartSettings()
    if isinstance(chart, (str, os.PathLike)):
        chart = read_chart(chart, **options)
    elif options:
        raise OptionError(f"Options {sorted(options)} belong to reading a file; the chart is read already.")
    chart = normalize_chart(chart)
    source = chart.attrs.get("source", "The chart")
    placed = place(chart, like)
    if not len(placed.shapes):
        raise LabelError(
            f"{source} does not touch {like.attrs.get('product', 'the grid')}. Pass the chart of its place."
        )
    owner, shared = placed.burn()
    rows = chart_classes(chart, scheme, settings)
    if shared.any():
        says = [(r.sic_class, r.sod_class, r.floe_class, r.ice_class) for r in rows]
        numbers = {content: i for i, content in enumerate(dict.fromkeys(says))}
        codes = np.array([numbers[content] for content in says], np.int32)
        lowest, highest = (_extreme(placed, codes, owner, sign) for sign in (1, -1))
        shared &= lowest != highest
        owner = np.where(shared, -1, owner)
    dims = ("y", "x") if "y" in like.dims and "x" in like.dims else ("line", "pixel")

    def layer(name: str, dtype: type, outside: float) -> np.ndarray:
        values: np.ndarray = np.array([getattr(r, name) for r in rows] + [outside]).astype(dtype)
        return values[owner]  # −1 takes the last: outside

    sic = layer("sic", np.float32, np.nan)
    file_row = np.append(np.asarray(chart.index, np.int32), np.int32(-1))
    flags = np.arange(len(floe_names()), dtype=np.uint8)
    data = {
        "sic": (dims, sic, VARIABLES["sic"]),
        "sic_class": (dims, layer("sic_class", np.uint8, CLASS_NODATA), VARIABLES["sic_class"]),
        "sod_class": (
            dims,
            layer("sod_class", np.uint8, CLASS_NODATA),
            {**class_attrs(AI4ARCTIC), **VARIABLES["sod_class"]},
        ),
        "floe_class": (
            dims,
            layer("floe_class", np.uint8, CLASS_NODATA),
            {**VARIABLES["floe_class"], "flag_values": flags, "flag_meanings": " ".join(floe_names())},
        ),
        "ice_class": (dims, layer("ice_class", np.uint8, CLASS_NODATA), class_attrs(scheme)),
        "valid": (dims, np.isfinite(sic), {"long_name": "True where the chart says a concentration"}),
        "polygon": (dims, file_row[owner], VARIABLES["polygon"]),
    }
    coords = {name: like[name] for name in (*dims, "spatial_ref") if name in like.variables}
    attrs = {
        "Conventions": "CF-1.11",
        "title": "Ice chart on the grid of a scene or map",
        "source": str(source),
        "class_scheme": scheme.name,
        "dominance": settings.dominance,
        "ice_from": settings.ice_from,
        "water_to": settings.water_to,
        "overlap": int(shared.sum()),
        "dialect": str(chart.attrs["dialect"]),
    }
    return xr.Dataset(data, coords, attrs)


def find_scheme(scheme: ClassScheme | str) -> ClassScheme:
    """A class scheme by its name.

    Raises:
        OptionError: there is none of that name.
    """
    if isinstance(scheme, ClassScheme):
        return scheme
    if scheme not in CLASS_SCHEMES:
        raise OptionError(f"Class scheme {scheme!r} is not one of {sorted(CLASS_SCHEMES)}.")
    return CLASS_SCHEMES[scheme]


def _extreme(placed: PlacedPolygons, codes: np.ndarray, owner: np.ndarray, sign: int) -> np.ndarray:
    """The smallest (sign 1) or largest (−1) code among the polygons that claim a pixel."""
    from rasterio.features import rasterize

    out = np.zeros(owner.shape, np.int32)
    order = np.argsort(-sign * codes[placed.row], kind="stable")
    # GDAL burns in order, so the wanted extreme comes last.
    rasterize([(placed.shapes[i], int(codes[placed.row[i]])) for i in order], out=out, fill=0)
    return out
