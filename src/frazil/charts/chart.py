"""Charts made of maps: polygons of like mixture that tile what a radar scene saw, with the egg code of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from frazil.charts.eggs import EGG_COLUMNS, LAND, NO_DATA, Egg, egg_of
from frazil.charts.mixtures import CELL_M, SILENT_BITS, mixtures
from frazil.charts.regions import join_cells, neighbours, without_strips
from frazil.conventions import CLASS_LAND, CLASS_NODATA, UNDECIDED, ClassScheme, check_ice_map
from frazil.errors import ContractError, OptionError
from frazil.jit import njit
from frazil.maps.areas import PixelAreas
from frazil.maps.outlines import Outlines
from frazil.maps.polygons import framed, pixels_covering, refuse_negative, without_specks
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

MIN_AREA_KM2 = 25.0  #: smaller areas at sea join a neighbour
MOST_POLYGONS = 150
_LEAST_LAND_KM2 = 1.0  #: smaller islands, and ponds, are left out
#: Attributes of a map that a chart keeps.
_KEPT = ["product", "start_time", "stop_time", "model", "class_scheme", "attribution", "sensor", "mode", "note"]
_ALIKE = 0.1  #: share of the area by which neighbours must differ
_OUTSIDE, _LAND, _NO_DATA = -3, -2, -1  #: labels of a raster of regions beside their numbers


def make_chart(
    ice_map: xr.Dataset,
    *,
    min_area_km2: float = MIN_AREA_KM2,
    polygons: int = MOST_POLYGONS,
    cell_m: float = CELL_M,
    simplify_m: float | None = None,
) -> gpd.GeoDataFrame:
    """The ice chart of a map: a partition of what was observed into regions of like mixture.

    Class probabilities are averaged over cells, neighbouring cells are joined where they are alike (Ward's criterion,
    `frazil.charts.regions`), the borders between regions are smoothed and follow the coast pixel by pixel, and each
    region gets the egg code of its mean probabilities (`frazil.charts.eggs`). Neighbours that differ by less than a
    tenth of their area are one, and none is a mere strip, less than three cells wide.

    Args:
        ice_map: see `frazil.conventions.check_ice_map`, on a projected grid.
        min_area_km2: the least area of a region at sea. What land encloses may be smaller, down to 1 km².
        polygons: regions at sea, at most; one may consist of several polygons where land parts it.
        cell_m: side of the cells, metres.
        simplify_m: how far outlines may be simplified, as in `frazil.maps.polygons.ice_polygons`. Default one and a
            half pixels.

    Returns:
        A row a polygon, in the CRS of the map; they neither overlap nor leave gaps. Columns POLY_TYPE, CT, CA, SA, FA
        … CN, CD with the codes of `frazil.read_chart`: ice (I), ice free (W), land (L), and N for what was not
        observed inside the scene. Then ``region`` (number, −1 none), ``area_km2`` (ground area of its pixels), for
        the whole region ``ice_percent``, ``undecided_percent``, ``confidence_percent``, a share in percent for each
        class (``share_NAME``), NaN where nothing is known; ``product``, ``start_time``, ``model``. ``attrs``: the same
        three, ``dialect``, ``stop_time``, ``class_scheme``. Largest first.

    Raises:
        ContractError: not a map of sea ice, or not on a projected grid, or without any sea.
        OptionError: a size that is negative, or larger than the scene.
    """
    scheme = check_ice_map(ice_map)
    refuse_negative(min_area_km2=min_area_km2, simplify_m=simplify_m or 0.0)
    if polygons < 1:
        raise OptionError(f"polygons is {polygons}; there must be one at least.")
    if not (ice_map["ice_class"].values < CLASS_LAND).any():
        raise ContractError("The map holds no observed sea, only land and nodata. There is nothing to chart.")
    cells = mixtures(ice_map, cell_m)
    if min_area_km2 > cells.sea_km2.sum():
        raise OptionError(
            f"min_area_km2 is {min_area_km2:g}, and the map holds {cells.sea_km2.sum():.0f} km² of sea. Lower it."
        )
    values, at_sea = np.concatenate([cells.shares, cells.undecided[None]]), cells.sea_km2 > 0
    regions = join_cells(values, cells.area_km2, cells.sea_km2, at_sea, most=polygons, least_area=min_area_km2)
    regions = without_strips(regions, values, cells.area_km2)
    grid = MapGrid.of(ice_map)
    labels = _label_pixels(ice_map["ice_class"].values, regions, cells.side, grid, min_area_km2)
    means = _means(ice_map, labels, PixelAreas(grid))
    labels, means, eggs = _joined_alike(labels, means, scheme)
    return _frame(ice_map, labels, means, eggs, scheme, simplify_m)


def _label_pixels(codes: np.ndarray, regions: np.ndarray, side: int, grid: MapGrid, min_area_km2: float) -> np.ndarray:
    """int32 (y, x): the number of each pixel's region, or what it is otherwise; without specks."""
    from scipy import ndimage

    labels = np.where(codes == CLASS_LAND, np.int32(_LAND), np.int32(_NO_DATA))
    _smooth(regions, side, codes < CLASS_LAND, labels)
    unseen, n = ndimage.label(codes == CLASS_NODATA)
    rims = (unseen[0], unseen[-1], unseen[:, 0], unseen[:, -1])
    outside = np.zeros(n + 1, bool)
    outside[np.unique(np.concatenate(rims))] = True
    outside[0] = False
    labels[outside[unseen]] = _OUTSIDE
    inside = labels != _OUTSIDE
    labels = without_specks(labels, inside, (pixels_covering(_LEAST_LAND_KM2, grid),))
    at_sea = inside & (labels != _LAND)
    return without_specks(labels, at_sea, (pixels_covering(min_area_km2, grid),))


@njit()
def _smooth(regions: np.ndarray, side: int, sea: np.ndarray, labels: np.ndarray) -> None:
    """Write into ``labels`` the region of each pixel at sea: the one with most weight around it.

    The cells around a pixel weigh by a quadratic B-spline, so that borders between regions are smooth curves in place
    of the stairs of cells.
    """
    rows, columns = regions.shape
    for y in range(sea.shape[0]):
        r = y // side
        v = (y + 0.5) / side - r
        down = (0.5 * (1 - v) ** 2, 0.75 - (v - 0.5) ** 2, 0.5 * v**2)
        for x in range(sea.shape[1]):
            if not sea[y, x]:
                continue
            c = x // side
            own = regions[r, c]
            u = (x + 0.5) / side - c
            along = (0.5 * (1 - u) ** 2, 0.75 - (u - 0.5) ** 2, 0.5 * u**2)
            best, most = own, -1.0
            for i in range(3):
                for j in range(3):
                    a, b = r + i - 1, c + j - 1
                    if a < 0 or b < 0 or a >= rows or b >= columns or regions[a, b] < 0:
                        continue
                    total = 0.0
                    for k in range(3):
                        for m in range(3):
                            e, f = r + k - 1, c + m - 1
                            if 0 <= e < rows and 0 <= f < columns and regions[e, f] == regions[a, b]:
                                total += down[k] * along[m]
                    if total > most + 1e-12 or (total > most - 1e-12 and regions[a, b] == own):
                        best, most = regions[a, b], total
            labels[y, x] = best


def _means(ice_map: xr.Dataset, labels: np.ndarray, areas: PixelAreas) -> np.ndarray:
    """Float64 (region, value): km² that tell what is there, and sums over them: of each class, undecided, confidence.

    Sums, so that those of regions that are joined add up.
    """
    n = int(labels.max(initial=-1)) + 1
    codes, flags = ice_map["ice_class"].values, ice_map["quality_flags"].values
    percent, confidence = ice_map["probability"].values, ice_map["confidence"].values
    out = np.zeros((len(percent) + 3, n))
    for rows, area in areas.blocks():
        at = labels[rows]
        tells = (at >= 0) & (codes[rows] < CLASS_LAND) & ((flags[rows] & SILENT_BITS) == 0)
        at, weight = at[tells], area[tells]
        planes = [*(plane[rows][tells] for plane in percent), 100 * (codes[rows][tells] == UNDECIDED)]
        for k, plane in enumerate([np.float64(100), *planes, confidence[rows][tells]]):
            out[k] += np.bincount(at, weights=weight * plane / 100, minlength=n)
    return out.T


def _joined_alike(
    labels: np.ndarray, sums: np.ndarray, scheme: ClassScheme
) -> tuple[np.ndarray, np.ndarray, list[Egg]]:
    """Regions whose neighbours all differ from them: labels, sums and eggs, numbered anew.

    Two neighbours are one where they have the same egg, or where less than a tenth of the area would have to change to
    make them alike: charts tell no less. The most alike are joined first.
    """
    pairs = neighbours(np.maximum(labels, -1))
    owner = np.arange(len(sums))
    while len(pairs):
        one, other = pairs.T
        means = sums[:, 1:-1] / np.maximum(sums[:, :1], 1e-9)
        apart = np.abs(means[one] - means[other])
        distance = np.maximum(apart[:, :-1].sum(axis=1) / 2, apart[:, -1])
        eggs = [_egg(row, scheme) for row in sums]
        distance[[eggs[i] == eggs[j] for i, j in pairs]] = 0.0
        first = int(np.argmin(distance))
        if distance[first] >= _ALIKE:
            break
        i, j = pairs[first]
        sums[i] += sums[j]
        sums[j] = 0.0
        owner[owner == j] = i
        pairs = np.sort(np.where(pairs == j, i, pairs), axis=1)
        pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    kept, number = np.unique(owner, return_inverse=True)
    table = np.append(number.astype(np.int32), np.array([_OUTSIDE, _LAND, _NO_DATA], np.int32))
    return table[labels], sums[kept], [_egg(row, scheme) for row in sums[kept]]


def _egg(sums: np.ndarray, scheme: ClassScheme) -> Egg:
    if not sums[0] > 0:
        return NO_DATA
    return egg_of(sums[1:-2] / sums[1:-2].sum(), scheme, sums[-2] / sums[0])


def _frame(
    ice_map: xr.Dataset,
    labels: np.ndarray,
    sums: np.ndarray,
    eggs: list[Egg],
    scheme: ClassScheme,
    simplify_m: float | None,
) -> gpd.GeoDataFrame:
    import shapely

    grid = MapGrid.of(ice_map)
    outlines = Outlines.of(labels, labels != _OUTSIDE)
    areas = PixelAreas(grid)
    (area,) = outlines.sums(lambda rows: (areas.rows(rows.start, rows.stop),), labels.shape)
    shapes = _simplified(outlines.polygons(), 1.5 if simplify_m is None else simplify_m / grid.spacing_m)
    shapes = shapely.transform(
        shapes, lambda c: np.column_stack([grid.left + c[:, 0] * grid.spacing_m, grid.top - c[:, 1] * grid.spacing_m])
    )
    code = outlines.codes
    rows = [(LAND if k == _LAND else NO_DATA if k == _NO_DATA else eggs[k]).columns() for k in code]
    columns: dict[str, object] = {
        name: np.array([row[name] for row in rows], dtype=object) for name in ("POLY_TYPE", *EGG_COLUMNS)
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        percent = np.round(100 * sums[:, 1:] / sums[:, :1], 1)
    percent = np.vstack([percent, np.full((3, percent.shape[1]), np.nan)])[np.where(code < 0, -1, code)]
    columns |= {
        "region": np.where(code < 0, -1, code),
        "area_km2": np.round(area, 6),
        "ice_percent": np.round(100 - percent[:, 0], 1),
        "undecided_percent": percent[:, -2],
        "confidence_percent": percent[:, -1],
        **{f"share_{c.name}": percent[:, k] for k, c in enumerate(scheme.classes)},
    }
    frame = framed(shapes, grid, ice_map, columns, sort_by="area_km2")
    frame.attrs.update({name: str(ice_map.attrs[name]) for name in _KEPT if name in ice_map.attrs}, dialect="2010")
    return frame


def _simplified(shapes: np.ndarray, tolerance: float) -> np.ndarray:
    """A coverage simplified as far as it stays one: the tolerance is halved where polygons would not be valid."""
    import shapely

    while tolerance > 0.1:
        simple = shapely.coverage_simplify(shapes, tolerance)
        if shapely.is_valid(simple).all() and shapely.coverage_is_valid(simple):
            return np.asarray(simple)
        tolerance /= 2
    return shapes
