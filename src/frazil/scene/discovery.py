"""Attributes by which catalogues find a NetCDF file.

What is not known is left out. Who makes or publishes a file frazil does not know: whoever runs it may say so, by
attributes of the scene or the map with the names of `OWN` (`--attribute` on the command line), which files then bear.

References:
    Attribute Convention for Data Discovery 1.3. https://wiki.esipfed.org/Attribute_Convention_for_Data_Discovery_1-3
    OGC 06-103r4, Simple feature access, 7 (WKT). EPSG:4326 has latitude first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from frazil.dates import date_made
from frazil.errors import OptionError
from frazil.geojson import to_lonlat

#: Attributes of ACDD 1.3 and CF that whoever runs frazil may set.
OWN = (
    "institution",
    "creator_name",
    "creator_type",
    "creator_email",
    "creator_url",
    "creator_institution",
    "publisher_name",
    "publisher_type",
    "publisher_email",
    "publisher_url",
    "publisher_institution",
    "naming_authority",
    "project",
    "program",
    "license",
    "references",
    "comment",
)
#: Attributes that say whose the data are, and who made what was made from them: results made from a map keep them.
WHOSE = ("attribution", "contributor_name", "contributor_role", *OWN)

#: Names of what `discovery_attrs` gives, beside those of the Dataset.
DISCOVERY = (
    "summary",
    "keywords",
    "id",
    "date_created",
    "processing_level",
    "acknowledgement",
    "standard_name_vocabulary",
    "time_coverage_start",
    "time_coverage_end",
    "time_coverage_duration",
    "geospatial_lat_min",
    "geospatial_lat_max",
    "geospatial_lon_min",
    "geospatial_lon_max",
    "geospatial_lat_units",
    "geospatial_lon_units",
    "geospatial_bounds",
    "geospatial_bounds_crs",
)
_TYPES = ("person", "group", "institution", "position")


def discovery_attrs(
    attrs: Mapping[str, object], place: tuple[np.ndarray, np.ndarray], *, summary: str, keywords: str, level: str
) -> dict[str, object]:
    """Global attributes of ACDD 1.3 that are known of a scene or a map.

    Args:
        attrs: with ``product``, ``start_time``, and where known ``stop_time`` and ``attribution``.
        place: longitude and latitude, degrees, once round along the border.
        summary: a sentence or two.
        keywords: commas between.
        level: of processing.
    """
    start, stop = str(attrs["start_time"]), str(attrs.get("stop_time", attrs["start_time"]))
    west, east, south, north = _extent(*place)
    seconds = _seconds(start, stop)
    found: dict[str, object] = {
        "summary": summary,
        "keywords": keywords,
        "id": str(attrs["product"]),
        "date_created": f"{date_made():%Y-%m-%dT%H:%M:%SZ}",
        "processing_level": level,
        "standard_name_vocabulary": "CF Standard Name Table",
        "time_coverage_start": start,
        "time_coverage_end": stop,
        "geospatial_lat_min": south,
        "geospatial_lat_max": north,
        "geospatial_lon_min": west,
        "geospatial_lon_max": east,
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_units": "degrees_east",
    }
    outline = _outline(*place)
    if outline:
        found |= {"geospatial_bounds": outline, "geospatial_bounds_crs": "EPSG:4326"}
    if seconds is not None:
        found["time_coverage_duration"] = f"PT{seconds:.0f}S"
    if attrs.get("attribution"):
        found["acknowledgement"] = str(attrs["attribution"])
    return found


def own_attrs(pairs: Sequence[str]) -> dict[str, str]:
    """What ``NAME=VALUE`` say, of the names in `OWN`.

    Raises:
        OptionError: another form or name, no value, a name twice, or a type that is none of ACDD 1.3.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = (part.strip() for part in pair.partition("="))
        if name not in OWN or not sign or not value:
            raise OptionError(f"Attribute {pair!r} is not NAME=VALUE with a name of {', '.join(OWN)}.")
        if name in found:
            raise OptionError(f"Attribute {name!r} is given twice. Give it once.")
        if name.endswith("_type") and value not in _TYPES:
            raise OptionError(f"Attribute {pair!r}: a type is one of {', '.join(_TYPES)}.")
        found[name] = value
    return found


def with_own(attrs: Mapping[Any, Any], own: Mapping[str, str]) -> dict[Any, Any]:
    """Attributes of a scene or a map with those of `own_attrs`; terms of the data stay beside one's own licence."""
    terms = attrs.get("license")
    both = {"license": f"{own['license']} Radar data: {terms}"} if own.get("license") and terms else {}
    return {**attrs, **own, **both}


def _outline(longitude: np.ndarray, latitude: np.ndarray) -> str | None:
    """What a ring holds as WKT, latitude first, cut at 180° and closed over a pole; None where that is no area."""
    import shapely
    from pyproj import Transformer

    known = np.isfinite(longitude) & np.isfinite(latitude)
    if known.sum() < 3:
        return None
    polar = f"+proj=laea +lat_0={90 if latitude[known].mean() > 0 else -90} +lon_0=0 +datum=WGS84 +units=m"
    ring = np.column_stack(
        Transformer.from_crs("OGC:CRS84", polar, always_xy=True).transform(longitude[known], latitude[known])
    )
    shape = shapely.make_valid(shapely.polygons(ring), method="structure")
    if shapely.get_dimensions(shape) != 2 or shapely.is_empty(shape):
        return None
    lonlat = shapely.simplify(to_lonlat(np.array([shape], dtype=object), polar)[0], 1e-3)
    return str(shapely.to_wkt(shapely.transform(lonlat, lambda xy: xy[:, ::-1]), rounding_precision=5))


def _seconds(start: str, stop: str) -> float | None:
    """Between two times as ISO texts, UTC unless they say otherwise; None where they are none, or reversed."""
    try:
        times = [datetime.fromisoformat(text) for text in (start, stop)]
    except ValueError:
        return None
    first, last = (t if t.tzinfo else t.replace(tzinfo=UTC) for t in times)
    seconds = (last - first).total_seconds()
    return seconds if seconds >= 0 else None


def _extent(longitude: np.ndarray, latitude: np.ndarray) -> tuple[float, float, float, float]:
    """West, east, south, north of what a ring holds; west above east across 180°, all longitudes where a pole is in."""
    known = np.isfinite(longitude) & np.isfinite(latitude)
    longitude, latitude = longitude[known], latitude[known]
    south, north = (round(float(v), 6) for v in (latitude.min(), latitude.max()))
    steps = (np.diff(longitude, append=longitude[:1]) + 180) % 360 - 180
    if abs(steps.sum()) > 180:  # once round the Earth
        return (-180.0, 180.0, south, 90.0) if latitude.mean() > 0 else (-180.0, 180.0, -90.0, north)
    walked = longitude[0] + np.concatenate([[0.0], np.cumsum(steps)])
    west, east = (round((float(v) + 180) % 360 - 180, 6) for v in (walked.min(), walked.max()))
    return west, east, south, north


def border(values: np.ndarray) -> np.ndarray:
    """The border of an array (row, column), once round."""
    return np.concatenate([values[0, :-1], values[:-1, -1], values[-1, :0:-1], values[:0:-1, 0]])
