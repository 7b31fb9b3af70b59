"""Imagettes cut from products: wave-mode images one by one, wide scenes in squares of 20 km."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from frazil.errors import FrazilError, LabelError, OptionError, ProductError, UnsupportedProductError, printable
from frazil.labels.imagettes import SIDE_M, Imagette, make_imagettes, resample, scaled, sizes_for
from frazil.products import Product, open_product
from frazil.scene.geolocation import Geolocation
from frazil.scene.land import add_land
from frazil.scene.ocean import detrend

if TYPE_CHECKING:
    import xarray as xr


def cut_imagettes(
    path: str | os.PathLike[str] | Product,
    *,
    resolution_m: float = 100.0,
    side_m: float = SIDE_M,
    max_land: float = 0.1,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """The imagettes of a product: VV σ0, de-trended in incidence angle, averaged, in dB, scaled to [0, 1].

    Args:
        path: WV, IW, EW or stripmap product with VV.
        resolution_m: of the set.
        side_m: of a square of a wide scene.
        max_land: squares with a larger share of land are left out, and counted in ``attrs["left_out_land"]``.
            Imagettes that cannot be read are named in ``attrs["left_out_broken"]``.
        progress: called with the fraction done.

    Raises:
        UnsupportedProductError: no VV. LabelError: nothing but land, or nothing observed. ProductError: no imagette
            can be read. OptionError: max_land outside [0, 1].
    """
    if not 0 <= max_land <= 1:
        raise OptionError(f"max_land {max_land} must lie in [0, 1].")
    product = open_product(path) if isinstance(path, (str, os.PathLike)) else path
    if "VV" not in product.polarizations:
        raise UnsupportedProductError(
            f"{product.name} holds {list(product.polarizations)}; imagettes of the sea are made from VV."
        )
    size, cell = sizes_for(resolution_m, side_m)
    land, broken = [0], list[str]()
    wave_mode = product.mode == "WV"
    made = (
        _wave_mode(product, resolution_m, max_land, land, broken)
        if wave_mode
        else _wide(product, size, resolution_m, max_land, land)
    )
    report = progress or (lambda _fraction: None)

    def counted() -> Iterator[Imagette]:
        for done, item in made:
            report(done)
            yield item

    try:
        ds = make_imagettes(
            counted(), size=size, cell=cell, spacing_m=resolution_m, source=product.name, scaling="roughness"
        )
    except LabelError as error:
        if broken and not land[0]:
            raise ProductError(f"{product.name}: none of {len(broken)} imagettes can be read ({broken[0]}).") from error
        if land[0]:
            raise LabelError(
                f"{product.name} lies over land: {land[0]} squares hold more than {100 * max_land:g} % of it, no other "
                "one holds any signal."
            ) from error
        raise
    return ds.assign_attrs(left_out_land=land[0], left_out_broken=broken)


def _wave_mode(
    product: Product, resolution_m: float, max_land: float, land: list[int], broken: list[str]
) -> Iterator[tuple[float, Imagette]]:
    numbers = list(dict.fromkeys(b.image for b in product.images))
    for i, number in enumerate(numbers):
        band = next(b for b in product.images if b.image == number)
        try:
            scene = product.open_scene(image=number, polarizations=("VV",))
            angle = scene["incidence_angle"].values
            rough = detrend(scene["sigma0"].values[0], angle)
        except FrazilError as error:
            if len(numbers) == 1:
                raise
            broken.append(f"{band.name}: {printable(str(error))}")
            continue
        centre = float(np.nanmean(angle))
        across = band.range_spacing_m / (np.sin(np.radians(centre)) if band.slant_range else 1.0)
        shape = tuple(
            max(round(n * d / resolution_m), 1)
            for n, d in zip(rough.shape, (band.azimuth_spacing_m, across), strict=True)
        )
        lon, lat, share = _place(scene)
        if share > max_land:
            land[0] += 1
            continue
        yield (
            (i + 1) / len(numbers),
            Imagette(
                name=band.name,
                group=f"{product.name} {number}",
                image=scaled(resample(rough, shape)),  # type: ignore[arg-type]
                incidence_angle=centre,
                longitude=lon,
                latitude=lat,
            ),
        )


def _wide(
    product: Product, size: int, resolution_m: float, max_land: float, land: list[int]
) -> Iterator[tuple[float, Imagette]]:
    spacing = product.spacing_m
    looks = max(int(resolution_m // spacing), 1)
    scene = product.open_scene(polarizations=("VV",), looks=looks)
    step = max(round(size * resolution_m / (spacing * looks)), 1)
    lines, pixels = (range(0, max(scene.sizes[d] - step // 2, 1), step) for d in ("line", "pixel"))
    for i, line in enumerate(lines):
        strip = scene.isel(line=slice(line, line + step))
        sigma0, angle = strip["sigma0"].values[0], strip["incidence_angle"].values
        for pixel in pixels:
            part = slice(pixel, pixel + step)
            rough = detrend(sigma0[:, part], angle[:, part])
            lon, lat, share = _place(strip.isel(pixel=part))
            if share > max_land:
                land[0] += 1
                continue
            shape = tuple(max(round(n * spacing * looks / resolution_m), 1) for n in rough.shape)
            yield (
                (i + 1) / len(lines),
                Imagette(
                    name=f"{product.name} line {line * looks} pixel {pixel * looks}",
                    group=product.name,
                    image=scaled(resample(rough, shape)),
                    incidence_angle=float(np.nanmean(angle[:, part])),  # type: ignore[arg-type]
                    longitude=lon,
                    latitude=lat,
                ),
            )


def _place(scene: xr.Dataset) -> tuple[float, float, float]:
    """Longitude and latitude of the centre, and the share of land."""
    line, pixel = (float(scene[d].values.mean()) for d in ("line", "pixel"))
    lon, lat = Geolocation.of(scene).lonlat(line, pixel)
    return float(lon), float(lat), float(add_land(scene)["land_mask"].values.mean())
