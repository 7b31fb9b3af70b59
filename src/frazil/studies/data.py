"""The patch set behind the studies on simulated scenes.

Every scene has a season, a wind, an ice edge and noise errors of its own, drawn from its seed. Patches are cut where
the true class is one, as large as the largest that is studied, so that studies of smaller ones see the same places.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from frazil.labels.patch_set import stream_patches
from frazil.labels.patches import cut_patches
from frazil.labels.splits import Split
from frazil.scene import averages
from frazil.simulate.scene import simulate_scene
from frazil.simulate.world import WorldConfig

CHANNELS = ("hh", "hv", "incidence_angle", "nesz_hh", "nesz_hv")
SIZE = 46  #: pixels, the largest patch of the first paper
LINES = (0, 4800)  #: half a scene in azimuth, all of it in range: every sub-swath border is there
TRAIN = tuple(range(5000, 5022))
VALIDATION = tuple(range(5100, 5103))
TEST = tuple(range(5200, 5210))
ELSEWHERE = tuple(range(6000, 6010))  #: in summer, to learn from without labels


def simulated_patches(
    path: str | os.PathLike[str],
    *,
    seeds: tuple[int, ...] = (*TRAIN, *VALIDATION, *TEST),
    season: str | None = None,
    signatures: str = "literature",
    lines: tuple[int, int] = LINES,
    limit: int = 80,
    size: int = SIZE,
    channels: tuple[str, ...] = CHANNELS,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Patches of simulated Extra Wide scenes at 40 m, 3 × 3 moving average, noise removed as the product states it.

    Args:
        path: ending in ``.zarr``.
        seeds: one scene each, named ``simulated-SEED``.
        signatures: of ice and water, see `frazil.simulate.world.WorldConfig`.
        season: of all scenes, see `frazil.simulate.world.WorldConfig`; by default each has one of its own.
        lines: of the template to simulate.
        limit: at most so many patches of a class from a scene, drawn evenly from a lattice of stride 10.
        size: height and width, pixels.
        channels: see `frazil.cut_patches`.
        overwrite: replace what is there.
        progress: called with the fraction done.
    """

    def parts() -> Iterator[xr.Dataset]:
        for i, seed in enumerate(seeds):
            world = WorldConfig(seed=seed, season=season, signatures=signatures)
            scene = simulate_scene("ew", seed=seed, spacing_m=40.0, lines=lines, world=world)
            truth = scene["ice_class"].values
            scene["sigma0"].values[:] = [moving_average(plane) for plane in scene["sigma0"].values]
            scene = scene.drop_vars("ice_class").assign_attrs(product=f"simulated-{seed}", boxcar=1)
            yield cut_patches(
                scene, truth, size=size, stride=10, channels=channels, limit=limit, seed=seed, mask_land=False
            )
            if progress:
                progress((i + 1) / len(seeds))

    return stream_patches(parts(), path, overwrite=overwrite, seeds=list(seeds), lines=list(lines), limit=limit)


def moving_average(power: np.ndarray) -> np.ndarray:
    """3 × 3 moving average of power (line, pixel), as `frazil.open_scene` with ``boxcar=True``."""
    out = np.empty_like(power)
    averages.boxcar(power, 0, out)
    return out


def simulated_split() -> Split:
    """The frozen split of the simulated scenes."""
    train, validation, test = (tuple(f"simulated-{s}" for s in seeds) for seeds in (TRAIN, VALIDATION, TEST))
    return Split(by="scene", train=train, validation=validation, test=test)
