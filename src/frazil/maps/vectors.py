"""Lines and polygons as one vector file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from frazil.errors import OptionError, OutputError
from frazil.files import whole_output
from frazil.geojson import write_geojson
from frazil.marks import WRITTEN_BY

if TYPE_CHECKING:
    import geopandas as gpd

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf"}


def write_vector(frame: gpd.GeoDataFrame, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a table of shapes; the file appears whole or not at all.

    Args:
        frame: with a CRS.
        path: ending in ``.gpkg``, ``.geojson`` (longitude and latitude, as RFC 7946 asks) or ``.fgb``.
        overwrite: replace what is there.

    Raises:
        OptionError: another suffix.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    target = Path(path)
    if target.suffix not in DRIVERS:
        raise OptionError(f"Output {target} should end in one of {list(DRIVERS)}, which choose the format.")
    with whole_output(target, overwrite=overwrite) as part:
        if target.suffix == ".geojson":
            write_geojson(frame, part)
            return target
        options: dict[str, dict[str, object]] = {
            ".gpkg": {"layer_metadata": {"WRITTEN_BY": WRITTEN_BY}},
            ".fgb": {"DESCRIPTION": WRITTEN_BY},
        }
        try:
            frame.to_file(
                part, driver=DRIVERS[target.suffix], engine="pyogrio", layer=target.stem, **options[target.suffix]
            )
            _read_back(part, frame)
        except (DataSourceError, DataLayerError, FeatureError) as error:
            raise OutputError(f"Cannot write {target}: {error}. Free the space or choose another folder.") from error
    return target


def _read_back(path: Path, frame: gpd.GeoDataFrame) -> None:
    """GDAL's vector drivers report success on a full disk: every shape is read again and compared.

    Raises:
        OutputError: not all is there. DataSourceError: it cannot be read.
    """
    import numpy as np
    import pyogrio
    from shapely import to_wkb

    found = pyogrio.read_dataframe(path).geometry.values
    wanted = frame.geometry.values
    if len(found) != len(wanted) or not np.array_equal(np.sort(to_wkb(found)), np.sort(to_wkb(wanted))):
        raise OutputError(f"Cannot write {path.name}: what was written cannot be read back. Is the disk full?")
