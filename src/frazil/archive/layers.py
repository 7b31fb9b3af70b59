"""Maps as they lie in their folders, opened to be read window by window on a common grid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.conventions import CLASS_NODATA, PERCENT_NODATA, SCHEMES, ClassScheme
from frazil.errors import OptionError, ProductError, ProductNotFoundError
from frazil.maps.layers import LAYERS, Kind
from frazil.maps.stac import COLLECTIONS, ITEM_FILE
from frazil.maps.times import moment_of
from frazil.scene.grid import MapGrid
from frazil.untrusted import read_json

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_BYTES = 16 * 2**20
_ALIGNED = 1e-3  # of a pixel
#: Of each kind: its codes, percents of each class, and bits; a variable of `LAYERS` each.
CODES: dict[Kind, str] = {"exclusive": "ice_class", "multilabel": "dominant"}
PERCENTS: dict[Kind, str] = {"exclusive": "probability", "multilabel": "score"}
BITS = "phenomena"
ICE = "ice_probability"


@dataclass(frozen=True, kw_only=True)
class MapFiles:
    """The folder of a map.

    Attributes:
        folder: of it.
        name: the product's.
        time: when the scene was taken, UTC.
        scheme: of its classes.
        grid: of its rasters.
        model: id.
    """

    folder: Path
    name: str
    time: datetime
    scheme: ClassScheme
    grid: MapGrid
    model: str

    @property
    def kind(self) -> Kind:
        """Of its classes."""
        return self.scheme.kind

    def raster(self, variable: str) -> Path:
        """The GeoTIFF of a variable."""
        return self.folder / next(layer.file for layer in LAYERS[self.kind] if layer.variable == variable)


def map_files(folder: str | os.PathLike[str]) -> MapFiles:
    """What a map's folder holds, by its item and the tags of its rasters.

    Raises:
        ProductNotFoundError: no such folder.
        ProductError: files that do not belong together, or of another version.
    """
    import rasterio
    from rasterio.errors import RasterioError

    place = Path(folder)
    try:
        item = read_json(place / ITEM_FILE, _BYTES)
        kind: Kind = next(kind for kind, name in COLLECTIONS.items() if name == item["collection"])
        time = moment_of(str(item["properties"]["datetime"]))
        file = next(layer.file for layer in LAYERS[kind] if layer.variable == CODES[kind])
        with rasterio.open(place / file, driver="GTiff") as raster:
            tags = raster.tags()
            scheme = SCHEMES[tags["class_scheme"]]
            transform, crs = raster.transform, raster.crs
            if raster.dtypes != ("uint8",) or transform.b or transform.d or transform.a != -transform.e:
                raise ValueError(f"{file} is no raster of codes on a north-up grid of square pixels")
            authority = crs.to_authority()
            grid = MapGrid(
                crs=":".join(authority) if authority else crs.to_wkt(),
                left=transform.c,
                top=transform.f,
                spacing_m=transform.a,
                shape=raster.shape,
            )
    except FileNotFoundError:
        raise ProductNotFoundError(
            f"{place} is no folder of a map (no {ITEM_FILE}). Make one by `frazil map`."
        ) from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        StopIteration,
        RasterioError,
        OptionError,
    ) as error:
        words = " ".join(str(error).split())[:200]
        raise ProductError(
            f"{place} is no map that can be read ({type(error).__name__}: {words}). Make it anew."
        ) from error
    if scheme.kind != kind:
        raise ProductError(f"{place}: its item tells of {kind}, its rasters of {scheme.kind}. Make the map anew.")
    return MapFiles(
        folder=place,
        name=str(tags.get("product", place.name)),
        time=time,
        scheme=scheme,
        grid=grid,
        model=str(tags.get("model", "")),
    )


def maps_in(places: Sequence[str | os.PathLike[str]]) -> list[MapFiles]:
    """The maps of folders: each a map's, an archive's, or one in which folders of maps lie; by time.

    Raises:
        ProductNotFoundError: a folder without maps. ProductError: as `map_files`.
    """
    found: dict[Path, MapFiles] = {}
    for given in places:
        place = Path(given)
        inner = place / "maps" if (place / "archive.json").is_file() else place
        own = [place] if (place / ITEM_FILE).is_file() else []
        folders = own or sorted(p.parent for p in inner.glob(f"*/{ITEM_FILE}") if _is_ours(p))
        if not folders:
            raise ProductNotFoundError(
                f"{place} holds no maps. Give an archive, folders of maps, or one that holds them."
            )
        found |= {folder.resolve(): map_files(folder) for folder in folders if folder.resolve() not in found}
    return sorted(found.values(), key=lambda m: (m.time, m.name))


def _is_ours(path: Path) -> bool:
    """Whether an item is not another program's, or another collection's: those in an archive are passed over."""
    try:
        return read_json(path, _BYTES).get("collection") in COLLECTIONS.values()
    except (OSError, ValueError, AttributeError):
        return True  # told by whoever reads it


def common_grid(
    maps: Sequence[MapFiles], *, crs: str | None = None, spacing_m: float | None = None, bbox: Any = None
) -> MapGrid:
    """The grid that holds maps: pixels are those of all maps of that projection and spacing, wherever they lie.

    Args:
        maps: at least one.
        crs: by default that of most maps.
        spacing_m: by default that of most maps in that projection.
        bbox: west, south, east, north, degrees: only this.

    Raises:
        OptionError: maps of the north and of the south together, a box without a map, or a projection that tears them.
    """
    from frazil.scene.box import Box

    chosen = crs or _commonest([m.grid.crs for m in maps])
    there = [m.grid for m in maps if m.grid.crs == chosen]
    spacing = spacing_m or (
        _commonest([g.spacing_m for g in there]) if there else _commonest([m.grid.spacing_m for m in maps])
    )
    bounds = np.array([_bounds_in(m.grid, chosen) for m in maps])
    if bbox is not None:
        box = _projected(Box.of(bbox), chosen)
        bounds = np.array([_overlap(b, box) for b in bounds if _meets(b, box)])
        if not len(bounds):
            raise OptionError(f"No map meets the box {bbox}.")
    if not np.isfinite(bounds).all() or np.abs(bounds).max() > 1.2e7:
        raise OptionError(
            f"CRS {chosen} does not hold all of these maps: north and south? Choose those of one, or --crs."
        )
    like = next((g for g in there if g.spacing_m == spacing), None)  # frazil's grids begin at multiples of the spacing
    phase = np.array([like.left % spacing, like.top % spacing]) if like is not None else np.zeros(2)
    left, bottom = np.floor((bounds[:, :2].min(axis=0) - phase) / spacing + _ALIGNED)
    right, top = np.ceil((bounds[:, 2:].max(axis=0) - phase) / spacing - _ALIGNED)
    return MapGrid(
        crs=chosen,
        left=float(left * spacing + phase[0]),
        top=float(top * spacing + phase[1]),
        spacing_m=float(spacing),
        shape=(int(top - bottom), int(right - left)),
    )


class Layers:
    """Rasters of maps on one grid; files are opened when they are asked for, and closed together.

    Pixels of maps on this grid are taken as they are; others take the value of the nearest pixel, codes and percents
    alike, so that they stay those of one place.

    Args:
        grid: on which to read.
    """

    def __init__(self, grid: MapGrid) -> None:
        self.grid = grid
        self._open: dict[tuple[Path, str], Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Layers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._open.clear()

    def meets(self, files: MapFiles, part: MapGrid) -> bool:
        """Whether a map may have pixels in a part of the grid."""
        return _meets(np.array(_bounds_in(files.grid, self.grid.crs)), np.array(part.bounds))

    def read(self, files: MapFiles, variable: str, part: MapGrid) -> np.ndarray:
        """A variable on a part of the grid, ``(band, y, x)``; its nodata value where the map has none.

        Raises:
            ProductError: a damaged file.
        """
        from rasterio.errors import RasterioError

        nodata = {BITS: 0}.get(variable, CLASS_NODATA if variable in CODES.values() else PERCENT_NODATA)
        try:
            source = self._source(files, variable)
            row, column = _offset(_grid_of(source, self.grid), part)
            height, width = part.shape
            top, left = max(row, 0), max(column, 0)
            bottom, right = min(row + height, source.height), min(column + width, source.width)
            out = np.full((source.count, height, width), nodata, source.dtypes[0])
            if bottom > top and right > left:
                window = ((top, bottom), (left, right))
                out[:, top - row : bottom - row, left - column : right - column] = source.read(window=window)
        except (RasterioError, OSError) as error:
            words = " ".join(str(error).split())[:200]
            raise ProductError(f"{files.raster(variable)} cannot be read ({words}). Make the map anew.") from error
        return out

    def _source(self, files: MapFiles, variable: str) -> Any:
        import rasterio
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT

        key = (files.folder, variable)
        if key not in self._open:
            if len(self._open) > 400:  # a process may open about a thousand files
                self._stack.close()
                self._open.clear()
            plain: DatasetReader = self._stack.enter_context(rasterio.open(files.raster(variable), driver="GTiff"))
            if aligned(files.grid, self.grid):
                self._open[key] = plain
            else:
                grid = common_grid([files], crs=self.grid.crs, spacing_m=self.grid.spacing_m)
                warped = WarpedVRT(
                    plain,
                    crs=grid.crs,
                    transform=grid.transform,
                    height=grid.shape[0],
                    width=grid.shape[1],
                    resampling=Resampling.nearest,
                    src_nodata=plain.nodata,
                    nodata=plain.nodata if plain.nodata is not None else 0,
                )
                self._open[key] = self._stack.enter_context(warped)
        return self._open[key]


def aligned(one: MapGrid, other: MapGrid) -> bool:
    """Whether pixels of two grids are the same wherever both are."""
    if one.crs != other.crs or abs(one.spacing_m - other.spacing_m) > 1e-9 * other.spacing_m:
        return False
    offsets = np.array([one.left - other.left, one.top - other.top]) / other.spacing_m
    return bool(np.abs(offsets - np.rint(offsets)).max() < _ALIGNED)


def _grid_of(source: Any, like: MapGrid) -> MapGrid:
    return replace(like, left=source.transform.c, top=source.transform.f, shape=source.shape)


def _offset(of: MapGrid, part: MapGrid) -> tuple[int, int]:
    """Row and column of a grid at which a part of the common grid begins."""
    return (
        round((of.top - part.top) / part.spacing_m),
        round((part.left - of.left) / part.spacing_m),
    )


def _bounds_in(grid: MapGrid, crs: str) -> tuple[float, float, float, float]:
    if grid.crs == crs:
        return grid.bounds
    from rasterio.warp import transform_bounds

    found = transform_bounds(grid.crs, crs, *grid.bounds, densify_pts=21)
    return tuple(float(v) for v in found)  # type: ignore[return-value]


def _projected(box: Any, crs: str) -> np.ndarray:
    """Bounds of a box of degrees in a projection."""
    from pyproj import Transformer

    east = box.east + (360 if box.east < box.west else 0)
    longitude, latitude = np.meshgrid(np.linspace(box.west, east, 181), np.linspace(box.south, box.north, 91))
    x, y = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(longitude, latitude)
    return np.array([x.min(), y.min(), x.max(), y.max()])


def _meets(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])])


def _commonest(values: Sequence[Any]) -> Any:
    return max(sorted(set(values), key=str), key=values.count)
