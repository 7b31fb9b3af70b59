"""What a product is, from its metadata alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pyproj import CRS

from frazil.geojson import to_lonlat
from frazil.scene.geolocation import Geolocation
from frazil.sentinel1.annotation import Annotation
from frazil.sentinel1.product import Band, Product

_LISTED = 12  # wave-mode products hold over a hundred imagettes: the first ones stand for all
_RESOLUTIONS = {"F": "full", "H": "high", "M": "medium"}


def describe(product: Product) -> dict[str, Any]:
    """A JSON-ready description of a product; works where measurements are missing or empty.

    Keys: product, path, mission, mode, type, resolution, polarizations, start_time and stop_time (of all images),
    orbit, relative_orbit, pass, ipf_version, composition, slice (which one of how many of the data take, or how many
    are assembled), images (lines, pixels, spacing, noise and state of each measurement; of more than 12 the first 12),
    image_count, noise (of all images), centre, footprint (of all images: GeoJSON Polygon or MultiPolygon, cut at the
    antimeridian and closed over a pole).

    Raises:
        ProductError: metadata is missing or damaged, or files of different products are mixed.
    """
    first, bands = product.bands[0], product.bands
    a, header = first.annotation, first.header
    noise = {f"{b.header.image_number} {b.header.swath} {b.polarization}": _noise(b) for b in bands}
    shape, (lon, lat) = _footprint([b.annotation for b in bands])
    return {
        "product": product.name,
        "path": product.source.shown,
        "mission": header.mission,
        "mode": header.mode,
        "type": header.product_type,
        "resolution": _resolution(product.name),
        "polarizations": list(product.polarizations),
        "start_time": str(min(b.header.start_time for b in bands)),
        "stop_time": str(max(b.header.stop_time for b in bands)),
        "orbit": header.orbit,
        "relative_orbit": product.relative_orbit,
        "pass": a.orbit_pass,
        "ipf_version": product.ipf_version,
        "composition": a.composition,
        "slice": _slice(a),
        "images": [{**_image(b), "noise": n} for b, n in zip(bands[:_LISTED], noise.values(), strict=False)],
        "image_count": len(bands),
        "noise": noise.popitem()[1] if len(set(noise.values())) == 1 else _each(noise),
        "centre": {"longitude": round(lon, 4), "latitude": round(lat, 4)},
        "footprint": shape,
    }


def _slice(a: Annotation) -> str | None:
    if a.composition == "Slice" and a.slice_number is not None:
        return f"{a.slice_number} of {a.n_slices}"
    return f"{a.n_slices} assembled" if a.composition == "Assembled" else None


def _each(noise: dict[str, str]) -> str:
    """Which images have which noise; the most frequent one without naming them."""
    usual = max(set(noise.values()), key=list(noise.values()).count)
    return "; ".join([usual, *(f"{image}: {state}" for image, state in noise.items() if state != usual)])


def _footprint(annotations: list[Annotation]) -> tuple[dict[str, object], tuple[float, float]]:
    """The area of all images as GeoJSON, and longitude and latitude of its middle.

    The images are put together in a plane around their middle, where neither pole nor antimeridian is in the way.
    """
    import shapely

    ties = {(a.ties.latitude.tobytes(), a.ties.longitude.tobytes()): a for a in annotations}  # HH lies where HV does
    places = [(Geolocation.of_ties(a.ties), a) for a in ties.values()]
    centres = [geo.lonlat((a.n_lines - 1) / 2, (a.n_pixels - 1) / 2) for geo, a in places]
    lon, lat = (np.radians([float(c[k]) for c in centres]) for k in (0, 1))
    x, y, z = (np.cos(lat) * np.cos(lon)).mean(), (np.cos(lat) * np.sin(lon)).mean(), np.sin(lat).mean()
    middle = float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))
    if len(centres) == 1:
        middle = float(centres[0][0]), float(centres[0][1])
    plane = CRS.from_user_input(f"+proj=laea +lat_0={middle[1]} +lon_0={middle[0]} +datum=WGS84")
    shapes = [shapely.Polygon(np.column_stack(geo.outline(plane, 12))).buffer(0) for geo, _ in places]
    (whole,) = to_lonlat(np.array([shapely.union_all(shapes)], dtype=object), plane)
    return json.loads(shapely.to_geojson(shapely.set_precision(whole, 1e-4))), middle


def _resolution(name: str) -> str | None:
    parts = name.split("_")
    letter = parts[2][3:4] if len(parts) > 2 and len(parts[2]) == 4 else ""
    return _RESOLUTIONS.get(letter)


def _image(band: Band) -> dict[str, object]:
    a = band.annotation
    return {
        "image": band.header.image_number,
        "swath": band.header.swath,
        "polarization": band.polarization,
        "lines": a.n_lines,
        "pixels": a.n_pixels,
        "range_spacing_m": round(a.range_spacing_m, 3),
        "azimuth_spacing_m": round(a.azimuth_spacing_m, 3),
        "incidence_angle": [round(float(v), 2) for v in (a.ties.incidence_angle.min(), a.ties.incidence_angle.max())],
        "bursts": a.n_bursts,
        "measurement": _measurement_state(band),
    }


def _measurement_state(band: Band) -> str:
    name = band.measurement_name
    if name is None:
        return "missing"
    size = band.product.files[name]
    told = band.product.manifest.files.get(name, (size, ""))[0]
    if size and told not in (-1, size):
        return f"{size} bytes, but {told} in manifest.safe: truncated, damaged or exchanged"
    return "empty (0 bytes)" if size == 0 else f"{size / 1e6:.1f} MB"


def _noise(band: Band) -> str:
    if band.annotation.noise_removed:
        return "removed by the processor"
    if not band.has_noise:
        return "no noise file"
    noise = band.noise
    if not noise.range:
        return "no range vector that can be read: cannot be removed"
    if not noise.known:
        return "all look-up tables are zero: cannot be removed"
    text = f"{len(noise.range)} range vectors"
    if noise.azimuth:
        text += f", {len(noise.azimuth)} azimuth blocks"
    if noise.legacy:
        text += " (layout before IPF 2.9)"
    return text + (f", {noise.damaged} damaged tables left out" if noise.damaged else "")
