"""Makers of synthetic inputs, shipped with the package so that other projects can test against frazil.

Everything here is made of random numbers: it looks plausible and says nothing about any sea.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from frazil.answer import CONFIDENCE_PERCENT, answers
from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    FIVE_CLASSES,
    METOCEAN,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    VARIABLES,
    ClassScheme,
    check_ice_map,
    check_map,
    class_attrs,
    flag_attrs,
)
from frazil.percent import whole_percents
from frazil.scene.grid import MapGrid
from frazil.scene.quicklook import NODATA as NOT_SEEN
from frazil.scene.quicklook import attrs_of, bands_of

if TYPE_CHECKING:
    import xarray as xr


def make_map(
    *,
    shape: tuple[int, int] = (200, 240),
    scheme: ClassScheme = FIVE_CLASSES,
    crs: str = "EPSG:3413",
    centre: tuple[float, float] = (-10.0, 78.0),
    spacing_m: float = 120.0,
    seed: int = 0,
    land: float = 0.1,
    border: bool = True,
    noise: float = 0.5,
    codes: np.ndarray | None = None,
    confidence_percent: float = CONFIDENCE_PERCENT,
    radar: tuple[str, ...] = (),
    **attrs: str,
) -> xr.Dataset:
    """A map of made-up ice: smooth fields of classes, land, a tilted scene border, confidences and flags.

    Args:
        shape: rows, columns.
        scheme: the classes.
        crs: a projected CRS in metres.
        centre: longitude and latitude of the middle of the grid, degrees; the pole (``(0, 90)``) and the
            antimeridian are fine. The pole then lies on the corner of a pixel if ``shape`` is even.
        spacing_m: pixel size, metres.
        seed: equal seeds give equal maps.
        land: share of the grid that is land, 0 to 1.
        border: leave nodata corners around a tilted rectangle, as a scene does; else every pixel is observed.
        noise: strength of the pixel noise on the class fields; 0 gives smooth outlines, 2 gives many specks.
        codes: the ``ice_class`` to show, ``(y, x)``, land (254) and nodata (255) included; then ``shape``, ``land``,
            ``border`` and ``noise`` do not count, and each class has a probability of 80 percent. Where they say 253
            ice and water are equally probable.
        confidence_percent: below it the map is undecided, as in `frazil.predict`.
        radar: polarisations of a made-up radar image (``("HH", "HV")``); none by default, as if there were no scene.
        **attrs: attributes of the map, in place of the made-up ones (``note=...``).

    Returns:
        A Dataset on dims ``category, y, x`` that passes `frazil.conventions.check_ice_map`.
    """
    import xarray as xr
    from pyproj import Transformer

    rng = np.random.default_rng(seed)
    shape = shape if codes is None else (codes.shape[0], codes.shape[1])
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*centre)
    rows, columns = shape
    grid = MapGrid(
        crs=crs, left=x - columns * spacing_m / 2, top=y + rows * spacing_m / 2, spacing_m=spacing_m, shape=shape
    )
    if codes is None:
        percent = _made_up_percent(len(scheme.classes), shape, noise, rng)
        land_field = _smooth_field(shape, rng)
        is_land = land_field > np.quantile(land_field, 1 - land) if land > 0 else np.zeros(shape, bool)
        observed = _tilted_rectangle(shape) if border else np.ones(shape, bool)
    else:
        others = 20 / (len(scheme.classes) - 1)
        percent = np.stack([np.where(codes == c.code, 80.0, others) for c in scheme.classes])
        percent[:, codes == UNDECIDED] = 50 / (len(scheme.classes) - 1)
        percent[0, codes == UNDECIDED] = 50
        is_land, observed = codes == CLASS_LAND, codes != CLASS_NODATA
    no_class = is_land | ~observed

    probability = whole_percents(np.rint(2 * percent).astype(np.uint8))
    ice_class, confidence, ice = answers(probability, confidence_percent)
    ice_class[is_land] = CLASS_LAND
    ice_class[~observed] = CLASS_NODATA
    for band in (confidence, ice, *probability):
        band[no_class] = PERCENT_NODATA

    mask = {name: np.uint16(bit) for name, (bit, _) in QUALITY_FLAGS.items()}
    flags = np.where(observed, np.where(is_land, mask["land"], np.uint16(0)), mask["nodata"])
    sea = ~no_class
    flags[sea & _near(is_land, 4)] |= mask["coast"]
    flags[sea & _near(~observed, 4)] |= mask["border"]
    flags[ice_class == UNDECIDED] |= mask["undecided"]

    grid_dims = ("y", "x")
    ice_map = xr.Dataset(
        {
            "probability": (("category", *grid_dims), probability, dict(VARIABLES["probability"])),
            "ice_probability": (grid_dims, ice, dict(VARIABLES["ice_probability"])),
            "ice_class": (grid_dims, ice_class, class_attrs(scheme, undecided=True)),
            "confidence": (grid_dims, confidence, dict(VARIABLES["confidence"])),
            "quality_flags": (grid_dims, flags, flag_attrs()),
        },
        coords={**grid.coords(), "category": list(scheme.names)},
        attrs={
            "class_scheme": scheme.name,
            "product": "S1A_EW_GRDM_1SDH_20180116T075430_20180116T075530_020177_0226B9_9FE3",
            "model": "made-up",
            "start_time": "2018-01-16T07:54:30.000000Z",
            "stop_time": "2018-01-16T07:55:30.000000Z",
            "confidence_percent": confidence_percent,
            **attrs,
        },
    )
    if radar:
        ice_map["quicklook"] = _made_up_radar(radar, observed, rng)
    check_ice_map(ice_map)
    return ice_map


def make_phenomena_map(
    *,
    shape: tuple[int, int] = (60, 80),
    scheme: ClassScheme = METOCEAN,
    crs: str = "EPSG:32633",
    centre: tuple[float, float] = (15.0, 60.0),
    spacing_m: float = 400.0,
    seed: int = 0,
    threshold: float = 0.5,
    radar: tuple[str, ...] = (),
    **attrs: str,
) -> xr.Dataset:
    """A map of made-up phenomena: smooth fields of scores, land, a tilted scene border, and flags.

    Args:
        shape: rows, columns.
        scheme: the classes.
        crs: a projected CRS in metres.
        centre: longitude and latitude of the middle of the grid, degrees.
        spacing_m: pixel size, metres.
        seed: equal seeds give equal maps.
        threshold: from which a score counts as found.
        radar: as in `make_map`.
        **attrs: attributes of the map, in place of the made-up ones.

    Returns:
        A Dataset on dims ``category, y, x`` that passes `frazil.conventions.check_map`.
    """
    ice = make_map(shape=shape, crs=crs, centre=centre, spacing_m=spacing_m, seed=seed, radar=radar)
    rng, n = np.random.default_rng([seed, 1]), len(scheme.classes)
    fields = np.stack([_smooth_field(shape, rng) for _ in range(n)])
    score = np.rint(100 / (1 + np.exp(1.5 - 2 * fields))).astype(np.uint8)
    blank = ice["ice_class"].values
    blank = (blank == CLASS_LAND) | (blank == CLASS_NODATA)
    found = (score >= round(100 * threshold)) & ~blank
    dominant = np.where(found.any(0), score.argmax(0), UNDECIDED).astype(np.uint8)
    dominant[blank] = ice["ice_class"].values[blank]
    score[:, blank] = PERCENT_NODATA
    bits = (found.astype(np.uint16) << np.arange(n, dtype=np.uint16)[:, None, None]).sum(0, dtype=np.uint16)
    flags = ice["quality_flags"].values & ~np.uint16(QUALITY_FLAGS["undecided"][0])
    dims = ("y", "x")
    made = ice.drop_dims("category").drop_vars(["ice_class", "ice_probability", "confidence", "quality_flags"])
    made = made.assign_coords(category=list(scheme.names)).assign(
        score=(("category", *dims), score, {"units": "percent", "grid_mapping": "spatial_ref"}),
        phenomena=(dims, bits, {"grid_mapping": "spatial_ref"}),
        dominant=(dims, dominant, dict(class_attrs(scheme, undecided=True)) | {"grid_mapping": "spatial_ref"}),
        quality_flags=(dims, flags, flag_attrs() | {"grid_mapping": "spatial_ref"}),
    )
    made = made.assign_attrs(class_scheme=scheme.name, threshold=threshold, **attrs)
    check_map(made)
    return made


def _made_up_percent(n: int, shape: tuple[int, int], noise: float, rng: np.random.Generator) -> np.ndarray:
    """Probabilities of ``n`` classes, percent ``(class, y, x)``: more water on the right, more ice on the left."""
    logits = np.empty((n, *shape), np.float32)
    for k in range(n):
        logits[k] = 2.5 * _smooth_field(shape, rng) + noise * rng.standard_normal(shape, dtype=np.float32)
    logits[0] += np.linspace(-3.75, 3.75, shape[1], dtype=np.float32) + 0.8 * np.log(n)
    logits -= logits.max(axis=0)
    percent = np.exp(logits, out=logits)
    percent *= 100 / percent.sum(axis=0)
    return percent


def _made_up_radar(polarizations: tuple[str, ...], observed: np.ndarray, rng: np.random.Generator) -> xr.Variable:
    """The variable ``quicklook``: a smooth field and speckle in each band."""
    import xarray as xr

    bands = bands_of(list(polarizations))
    image = np.stack([_smooth_field(observed.shape, rng) + rng.normal(0, 0.2, observed.shape) for _ in bands])
    values = np.where(observed, np.clip(128 + 40 * image, 1, 255), NOT_SEEN).astype(np.uint8)
    return xr.Variable(("look", "y", "x"), values, attrs_of(bands))


def _smooth_field(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random field of unit variance with structure at a tenth and a fortieth of the grid, float32."""
    from scipy.ndimage import zoom

    out = np.zeros(shape, np.float32)
    for cells, weight in ((10, 0.8), (40, 0.6)):
        nodes = rng.standard_normal((cells, cells), dtype=np.float32)
        # cubic at low resolution, linear from there: cubic zoom of a whole scene would take most of the time
        middle = zoom(nodes, [min(s, 8 * cells) / cells for s in shape], order=3)
        fine = zoom(middle, [s / m for s, m in zip(shape, middle.shape, strict=True)], order=1)
        out += weight * fine[: shape[0], : shape[1]]
    return out


def _tilted_rectangle(shape: tuple[int, int]) -> np.ndarray:
    """True inside a rectangle turned by 14 degrees that nearly fills the grid."""
    rows, columns = shape
    v = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    u = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    return (np.abs(0.97 * u + 0.24 * v) <= 0.92) & (np.abs(0.97 * v - 0.24 * u) <= 0.92)


def _near(mask: np.ndarray, pixels: int) -> np.ndarray:
    """True within ``pixels`` (city-block distance) of a True pixel."""
    from scipy.ndimage import binary_dilation

    return binary_dilation(mask, iterations=pixels) if mask.any() else mask
