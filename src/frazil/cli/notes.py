"""What a user must know of a map, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frazil.cli.say import say

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr


def say_notes(attrs: dict[Any, Any], codes: np.ndarray) -> None:
    """Say a map's own note, and whether it is empty.

    Args:
        attrs: of the map.
        codes: classes or dominant phenomena, uint8; `CLASS_LAND` and above are no sea.
    """
    from frazil.conventions import CLASS_LAND

    if attrs.get("note"):
        say(f"Note: {attrs['note']}", err=True)
    if not (codes < CLASS_LAND).any():
        say("Note: no sea was observed in this product, only land or nothing: the map is empty.", err=True)


def say_crs(ds: xr.Dataset) -> None:
    """Say which CRS was chosen for a map or a scene, where it is not a polar one."""
    from frazil.scene.geolocation import Geolocation
    from frazil.scene.grid import MapGrid

    crs = MapGrid.of(ds).crs if "spatial_ref" in ds.variables else Geolocation.of(ds).default_crs()
    if crs not in ("EPSG:3413", "EPSG:3031"):
        say(f"Note: the map is in {crs}, the UTM zone of the scene; --crs chooses another.", err=True)
