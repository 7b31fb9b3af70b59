"""Sets of simulated imagettes: `frazil.simulate.wave_mode` behind the same door as products and published folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from frazil.conventions import METOCEAN
from frazil.errors import OptionError
from frazil.labels.imagettes import Imagette, make_imagettes, resample, scaled, sizes_for
from frazil.scene.ocean import detrend
from frazil.seeds import check_seed
from frazil.simulate.wave_mode import WaveModeConfig, simulate_imagette

if TYPE_CHECKING:
    import xarray as xr


def simulated_imagettes(
    counts: int | Mapping[str, int],
    *,
    seed: int = 0,
    resolution_m: float = 100.0,
    config: WaveModeConfig | None = None,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """A set with masks of simulated imagettes.

    Args:
        counts: images of each category: one number for all, or class name -> number.
        seed: of the first image; image number i of a category has seed + i, so sets of seeds far apart share none.
        resolution_m: of the set.
        config: of the simulator.
        workers: processes.
        progress: called with the fraction done.

    Raises:
        OptionError: an unknown category, or nothing to simulate.
    """
    each = dict.fromkeys(METOCEAN.names, counts) if isinstance(counts, int) else dict(counts)
    unknown = sorted(set(each) - set(METOCEAN.names))
    if unknown or sum(each.values()) < 1 or min(each.values()) < 0:
        raise OptionError(f"Images of {unknown[0] if unknown else 'no category'} cannot be simulated: {each}.")
    check_seed(seed)
    settings = config or WaveModeConfig()
    size, cell = sizes_for(resolution_m, settings.side_m)
    todo = [(name, seed + i) for name, n in each.items() for i in range(n)]

    def items() -> Iterator[Imagette]:
        make = partial(_one, settings=settings, resolution_m=resolution_m)
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else _Here() as pool:
            for done, item in enumerate(pool.map(make, todo)):
                if progress:
                    progress((done + 1) / len(todo))
                yield item

    return make_imagettes(
        items(),
        size=size,
        cell=cell,
        spacing_m=resolution_m,
        source=f"simulated, seed {seed}",
        scaling="roughness",
        attrs={"simulated": 1},
    )


def _one(what: tuple[str, int], settings: WaveModeConfig, resolution_m: float) -> Imagette:
    name, seed = what
    made = simulate_imagette(name, seed=seed, config=settings)
    rough = detrend(made["sigma0"].values, made["incidence_angle"].values)
    n = max(round(settings.side_m / resolution_m), 1)
    return Imagette(
        name=f"{name} {seed}",
        group=f"{name} {seed}",
        image=scaled(resample(rough, (n, n))),
        mask=made["mask"].values,
        category=METOCEAN.names.index(name),
        incidence_angle=float(np.mean(made["incidence_angle"].values)),
    )


class _Here:
    """A pool of this process."""

    map = staticmethod(map)

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        return
