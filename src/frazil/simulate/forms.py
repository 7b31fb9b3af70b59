"""The large forms of a world of ice: its edge, its wind, its provinces, its coast, on a coarse grid.

References:
    Johannessen et al. (1987), Mesoscale eddies in the Fram Strait marginal ice zone, JGR 92: eddies stir the edge.
    Voss (1985), Random fractal forgeries: spectral synthesis, see `frazil.simulate.noise`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from frazil.simulate.noise import power_law_noise

COARSE = 4  #: pixels of the world per pixel of the large forms, along each side


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Every scene-wide number of a world of ice; lengths in metres on a scene of full size."""

    season: str
    ice_fraction: float
    wind_ms: float
    wind_towards_rad: float
    wind_look_deg: float
    edge_rad: float
    edge_meander: float
    eddies_m: float
    miz_m: float
    floe_exponent: float
    largest_floe_m: float
    floe_cover: float
    cracks: int
    ridges: int
    crack_heading_rad: float
    widest_crack_m: float
    band_m: float
    band_reach_m: float
    fast_ice_m: float
    rim: float
    frost: float
    leads_open: float
    old: float
    young: float
    deformed: float
    brash: float
    closed: float
    wet: float
    young_edge: float
    melt_ponds: float
    fetch: float
    pancake_belt_m: float
    rubble: float
    grey: float
    polynya: bool
    land_fraction: float


class LargeForms:
    """Fields on the coarse grid, stacked as float32 (field, row, column), and the scale of the world."""

    def __init__(
        self,
        rng: np.random.Generator,
        p: Parameters,
        shape: tuple[int, int],
        spacing_m: float,
        land: np.ndarray | None,
    ) -> None:
        grid = (shape[0] // COARSE + 2, shape[1] // COARSE + 2)
        step = spacing_m * COARSE
        extent = max(shape) * spacing_m
        self.step_m, self.grid = step, grid
        self.scale = s = float(np.clip(extent / 300e3, 0.04, 1.0))

        def noise(longest: float, shortest: float, exponent: float = 3.0, **more: Any) -> np.ndarray:
            low = max(shortest * s, 2 * step)
            return power_law_noise(
                rng,
                grid,
                spacing_m=step,
                longest_m=max(longest * s, 1.5 * low),
                shortest_m=low,
                exponent=exponent,
                **more,
            )

        edge = _edge_distance(p, grid, step, s, noise)
        coast = _coast_distance(p, grid, step, noise, land)
        wind = _wind(p, noise, edge, s)
        polynya = _polynya(rng, p, grid, step, s, noise, edge)
        self.fields = np.stack(
            [
                edge,
                noise(25e3, 1.2e3, 2.6),  # concentration
                noise(60e3, 3e3, 3.6),  # provinces of young ice
                noise(60e3, 1.5e3, 2.8, stretch=3.5, direction_rad=p.crack_heading_rad),  # shear zones
                wind,
                noise(120e3, 3e3, 2.8),  # regional backscatter
                polynya,
                coast,
                noise(30e3, 2.5e3, 3.0, stretch=3.0, direction_rad=p.edge_rad + np.pi / 2),  # bands along the edge
                noise(20e3, 1e3, 2.6),  # frost flowers
            ]
        ).astype(np.float32)


def _edge_distance(p: Parameters, grid: tuple[int, int], step: float, s: float, noise: Any) -> np.ndarray:
    """Metres inside the ice edge (negative outside), coarse grid; the edge meanders, is fractal and shows eddies."""
    fraction = p.ice_fraction
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in grid), indexing="ij")
    ramp = (x * np.cos(p.edge_rad) + y * np.sin(p.edge_rad)) / np.float32(0.58)
    score = ramp + p.edge_meander * noise(300e3, 5e3, 3.6) + 0.10 * noise(30e3, 1.5e3, 2.8)
    stream = noise(60e3, 14e3, 4.0)
    # Stirred by eddies: three short steps along the closed streamlines draw out filaments.
    v, u = -np.gradient(stream, axis=1), np.gradient(stream, axis=0)
    speed = np.float32(p.eddies_m * s / step / 3) / max(float(np.sqrt(np.mean(u * u + v * v))), 1e-9)
    rows, columns = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in grid), indexing="ij")
    for _ in range(3):
        at = np.stack([rows, columns])
        rows = rows + speed * ndimage.map_coordinates(v, at, order=1, mode="nearest")
        columns = columns + speed * ndimage.map_coordinates(u, at, order=1, mode="nearest")
    score = ndimage.map_coordinates(score, np.stack([rows, columns]), order=1, mode="nearest")
    far = 1e6
    if fraction >= 1 or fraction <= 0:
        return np.full(grid, far if fraction >= 1 else -far, np.float32)
    inside = score > np.quantile(score[::4, ::4], 1 - fraction)
    depth = np.full(grid, far) if inside.all() else ndimage.distance_transform_edt(inside)
    gap = np.full(grid, far) if not inside.any() else ndimage.distance_transform_edt(~inside)
    return np.asarray((depth - gap) * step, dtype=np.float32)


def _coast_distance(
    p: Parameters, grid: tuple[int, int], step: float, noise: Any, land: np.ndarray | None
) -> np.ndarray:
    """Metres from the coast (negative on land), coarse grid; 1e6 if there is none."""
    if land is not None:
        small = np.zeros(grid, dtype=bool)
        part = land[::COARSE, ::COARSE]
        small[: part.shape[0], : part.shape[1]] = part
    elif p.land_fraction > 0:
        height = noise(200e3, 2e3, 3.2)
        small = height > np.quantile(height, 1 - p.land_fraction)
    else:
        small = np.zeros(grid, dtype=bool)
    if not small.any():
        return np.full(grid, 1e6, np.float32)
    sea = ndimage.distance_transform_edt(~small)
    return np.asarray((sea - ndimage.distance_transform_edt(small)) * step, dtype=np.float32)


def _wind(p: Parameters, noise: Any, edge: np.ndarray, s: float) -> np.ndarray:
    """Wind speed, m/s: gradients over the scene, roll vortices along the wind, gusts, fronts, calm patches."""
    towards = p.wind_towards_rad
    speed = p.wind_ms * (
        1.0
        + 0.15 * noise(350e3, 40e3, 4.0)
        + 0.05 * noise(5e3, 1.5e3, 2.0, stretch=6.0, direction_rad=towards)
        + 0.05 * noise(25e3, 2e3, 2.7, stretch=1.5, direction_rad=towards)
    )
    # A front: within a few km the wind changes by up to a third.
    front = np.tanh(4.0 * noise(350e3, 25e3, 4.0))
    speed *= 1 + 0.12 * front
    # Calm patches open where a light wind sinks below about 3 m/s, streaky along the wind.
    lull = noise(35e3, 1.5e3, 3.0, stretch=2.5, direction_rad=towards) + 0.6 * (4.5 - speed)
    speed *= 1 - 0.75 / (1 + np.exp(np.minimum(-2.5 * (lull - 1.3), 80)))  # e⁸⁹ is no float32
    # Cold, stable air off the ice: weaker wind within some 20 km downwind of the edge.
    speed *= 1 - 0.25 * np.exp(np.minimum(edge, 0) / (20e3 * s))
    return np.asarray(np.clip(speed, 0.3, 30.0), dtype=np.float32)


def _polynya(
    rng: np.random.Generator,
    p: Parameters,
    grid: tuple[int, int],
    step: float,
    s: float,
    noise: Any,
    edge: np.ndarray,
) -> np.ndarray:
    """0 outside a polynya, rising to 1 at its windward side, coarse grid."""
    if not p.polynya:
        return np.zeros(grid, np.float32)
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) * step for n in grid), indexing="ij")
    inside = np.argwhere(edge > 0.3 * edge.max())
    cy, cx = inside[rng.integers(len(inside))] * step if len(inside) else (0.0, 0.0)
    c, t = np.cos(p.wind_towards_rad), np.sin(p.wind_towards_rad)
    along, across = (x - cx) * c + (y - cy) * t, (y - cy) * c - (x - cx) * t
    length, width = rng.uniform(15e3, 50e3) * s, rng.uniform(20e3, 60e3) * s
    bent = along / length + 0.35 * (across / width) ** 2 + 0.22 * noise(30e3, 1.5e3, 2.8)
    reach = np.clip(1.3 - (across / width) ** 2 + 0.2 * noise(30e3, 1.5e3, 2.8), 0, 1)
    inner = np.where((bent > 0) & (bent < 1), 1 - bent, 0) * np.minimum(1, 3 * reach)
    return np.where(edge > 0, inner, 0).astype(np.float32)
