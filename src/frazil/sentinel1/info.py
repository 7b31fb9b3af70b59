"""What a product is, from its metadata alone."""

from __future__ import annotations

from typing import Any

from frazil.sentinel1.geolocation import Geolocation
from frazil.sentinel1.product import Band, Product

_RESOLUTIONS = {"F": "full", "H": "high", "M": "medium"}


def describe(product: Product) -> dict[str, Any]:
    """A JSON-ready description of a product; works where measurements are missing or empty.

    Keys: product, mission, mode, type, resolution, polarizations, start_time, stop_time, orbit, relative_orbit, pass,
    ipf_version, composition, slices, images (lines, pixels, spacing and state of each measurement), noise, footprint
    (longitude, latitude, closed ring), centre.

    Raises:
        ProductError: metadata is missing or damaged.
    """
    first = product.bands[0]
    a, header = first.annotation, first.header
    geo = Geolocation.of_ties(a.ties)
    lon, lat = geo.lonlat((a.n_lines - 1) / 2, (a.n_pixels - 1) / 2)
    return {
        "product": product.name,
        "path": str(product.path),
        "mission": header.mission,
        "mode": header.mode,
        "type": header.product_type,
        "resolution": _resolution(product.name),
        "polarizations": list(product.polarizations),
        "start_time": str(header.start_time),
        "stop_time": str(max(b.header.stop_time for b in product.bands)),
        "orbit": header.orbit,
        "relative_orbit": product.relative_orbit,
        "pass": a.orbit_pass,
        "ipf_version": product.ipf_version,
        "composition": a.composition,
        "slices": a.n_slices,
        "images": [_image(b) for b in _listed(product.bands)],
        "image_count": len(product.bands),
        "noise": _noise(first),
        "centre": {"longitude": round(float(lon), 4), "latitude": round(float(lat), 4)},
        "footprint": [[round(x, 4), round(y, 4)] for x, y in geo.footprint()],
    }


def _resolution(name: str) -> str | None:
    parts = name.split("_")
    letter = parts[2][3:4] if len(parts) > 2 and len(parts[2]) == 4 else ""
    return _RESOLUTIONS.get(letter)


def _listed(bands: tuple[Band, ...]) -> tuple[Band, ...]:
    """Wave-mode products hold over a hundred imagettes: the first ones stand for all."""
    return bands if len(bands) <= 12 else bands[:12]


def _image(band: Band) -> dict[str, Any]:
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
    sizes = [
        band.product.files[name]
        for name in (f"measurement/{band.stem}.tiff", f"measurement/{band.stem}-cog.tiff")
        if name in band.product.files
    ]
    if not sizes:
        return "missing"
    return "empty (0 bytes)" if sizes[0] == 0 else f"{sizes[0] / 1e6:.1f} MB"


def _noise(band: Band) -> str:
    if band.annotation.noise_removed:
        return "removed by the processor"
    if f"annotation/calibration/noise-{band.stem}.xml" not in band.product.files:
        return "no noise file"
    noise = band.noise
    if not noise.known:
        return "all look-up tables are zero: cannot be removed"
    if noise.azimuth:
        return f"{len(noise.range)} range vectors, {len(noise.azimuth)} azimuth blocks"
    return f"{len(noise.range)} range vectors" + (" (layout before IPF 2.9)" if noise.legacy else "")
