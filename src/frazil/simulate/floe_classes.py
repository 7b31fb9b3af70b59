"""Floes and leads of a world, each of a class: drawn on the scene's own grid, where its large forms let them lie.

References:
    Dumont, Kohout & Bertino (2011), A wave-based model for the marginal ice zone, JGR 116: floes broken near the edge.
    Stern et al. (2018), floe sizes; Hutter et al. (2019), leads: see `frazil.simulate.floes`.
"""

from __future__ import annotations

import numpy as np

from frazil.jit import njit
from frazil.simulate.floes import crack_network, floe_diameters, floe_outlines, place_floes
from frazil.simulate.forms import COARSE, LargeForms, Parameters

WATER, BRASH, YOUNG, LEVEL, DEFORMED = range(5)


def draw_floes(
    rng: np.random.Generator, p: Parameters, large: LargeForms, shape: tuple[int, int], spacing_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (int32) of floes, and a table (label, 3) of class, anomaly and frost; label 0 is no floe."""
    labels = np.zeros(shape, np.int32)
    edge, concentration = large.fields[0], large.fields[1]
    diameters = floe_diameters(
        rng,
        area_m2=shape[0] * shape[1] * spacing_m**2,
        cover=p.floe_cover * max(p.ice_fraction, 0.02),
        smallest_m=4 * spacing_m,
        largest_m=p.largest_floe_m * large.scale,
        exponent=p.floe_exponent,
    )
    # Inside the edge the floes close up over the width of the marginal zone; some stray outside.
    z = edge / (p.miz_m * large.scale)
    accept = np.clip(0.08 + 1.1 * z + 0.35 * concentration, 0, 1) * (z > -0.8)
    # Provinces of floes alternate with provinces of unbroken ice.
    accept *= np.clip(0.6 + 0.9 * large.fields[2] + 1.2 * np.exp(-np.maximum(z, 0)), 0, 1)
    accept *= (large.fields[6] <= 0) * (large.fields[7] > p.fast_ice_m * large.scale * (1 + 0.4 * large.fields[3]))
    # Where floes may lie, more places have to be tried if that is a small part of the scene.
    tries = rng.random((diameters.size, 12, 3), dtype=np.float32)
    outlines = floe_outlines(rng, diameters) / np.float32(spacing_m)
    count = place_floes(labels, outlines, tries, accept.astype(np.float32), float(COARSE), 0.12)
    # Old ice comes in tongues, not evenly spread: the large field of regional backscatter says where.
    place = np.zeros((count + 1, 2), np.int64)
    first_line, first_pixel = _first_seen(labels, count)
    place[:, 0], place[:, 1] = first_line // COARSE, first_pixel // COARSE
    tongue = large.fields[5][place[:, 0], place[:, 1]] + 0.9 * rng.standard_normal(count + 1)
    old = tongue > np.quantile(tongue, 1 - p.old)
    grey = rng.random(count + 1) < (p.young if p.season == "freeze_up" else 0.2 * p.young)
    cls = np.where(old, DEFORMED, np.where(grey, YOUNG, LEVEL))
    frost = np.clip(p.frost + 0.25 * rng.standard_normal(count + 1), 0, 1)
    return labels, np.stack([cls, rng.standard_normal(count + 1), frost], axis=1).astype(np.float32)


@njit(nogil=True)
def _first_seen(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Line and pixel of the first pixel of each label."""
    line, pixel = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    seen = np.zeros(count + 1, np.uint8)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            k = labels[i, j]
            if not seen[k]:
                seen[k] = 1
                line[k], pixel[k] = i, j
    return line, pixel


def draw_leads(
    rng: np.random.Generator, p: Parameters, s: float, shape: tuple[int, int], spacing_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (int32) of leads, and a table (label, 3) of class, anomaly and frost; label 0 is no lead."""
    labels = np.zeros(shape, np.int32)
    last = crack_network(
        rng,
        labels,
        count=p.cracks,
        longest=220e3 * s / spacing_m,
        widest=max(p.widest_crack_m * s**0.5 / spacing_m, 2.0),
        heading_rad=p.crack_heading_rad,
    )
    state = rng.random(last)
    cls = np.where(state < p.leads_open, WATER, np.where(state < 0.75 + 0.25 * p.leads_open, YOUNG, LEVEL))
    frost = np.clip(p.frost + 0.35 * rng.standard_normal(last), 0, 1)
    return labels, np.stack([cls, rng.standard_normal(last), frost], axis=1).astype(np.float32)
