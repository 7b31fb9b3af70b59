"""Attributes by which catalogues find a NetCDF file.

What is not known is left out, and so is who made or publishes it: frazil does not know who runs it.

References:
    Attribute Convention for Data Discovery 1.3. https://wiki.esipfed.org/Attribute_Convention_for_Data_Discovery_1-3
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

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
)


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
        "date_created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
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
    if seconds is not None:
        found["time_coverage_duration"] = f"PT{seconds:.0f}S"
    if attrs.get("attribution"):
        found["acknowledgement"] = str(attrs["attribution"])
    return found


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
