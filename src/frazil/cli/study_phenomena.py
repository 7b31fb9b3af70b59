"""`frazil study weak-vs-full`, `annotations` and `resolution`: the source's comparisons of methods."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from frazil.cli.options import pairs
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json

_COUNTS = {"train": 100, "validation": 10, "test": 25}
_METRES = (50.0, 100.0, 200.0, 340.0)
_SIDE_M = 25_600.0  # as the source's images of 512 pixels: at 340 m they have the 75 that InceptionV3 needs


def phenomena_study(
    name: str,
    stores: tuple[str, ...],
    output: str,
    *,
    seeds: int,
    changes: tuple[str, ...],
    page: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Run a metocean study on three sets (train, validation, test), or on simulated ones.

    Raises:
        click.BadParameter: another number of sets.
        MissingDependencyError: the study of resolutions without scikit-learn.
    """
    from frazil.files import refuse_existing
    from frazil.labels.imagettes import open_imagettes
    from frazil.studies.phenomena import PhenomenaStudy, changed, run_study
    from frazil.studies.phenomena_page import tables, write_phenomena_page
    from frazil.studies.texture import require_sklearn

    if page:
        refuse_existing(page, overwrite=overwrite)
    if name == "resolution":
        require_sklearn()  # before hours of simulation
    folder, given = Path(output), stores
    if stores == ("simulated",):
        stores = _simulated(folder, name)
    if len(stores) != 3:
        raise click.BadParameter(
            "give three sets of imagettes (train, validation, test), or 'simulated'.", param_hint="--data"
        )
    study = PhenomenaStudy(train=(stores[0],), validation=(stores[1],), test=(stores[2],), seeds=seeds, annotated=30)
    study = changed(study, pairs(changes, "--set", "KEY=VALUE"))
    if name == "resolution":
        study = replace(study, resolutions=_resolutions(folder, stores))
    with progress_bar(name) as progress:
        rows = run_study(name, study, folder, progress=progress)
    if page:
        words = [f"frazil study {name}", *(f"--data {store}" for store in given), f"-o {output} --seeds {seeds}"]
        command = " ".join([*words, *(f"--set {shlex.quote(change)}" for change in changes)])
        simulated = str(open_imagettes(stores[0]).attrs["source"]).startswith("simulated")
        write_phenomena_page(name, rows, page, command=command, simulated=simulated, overwrite=overwrite)
    if as_json:
        say_json(rows)
    else:
        say("\n\n".join(tables(name, rows)))


def _simulated(folder: Path, name: str) -> tuple[str, ...]:
    from frazil.labels.imagettes import save_imagettes
    from frazil.simulate.imagettes import simulated_imagettes
    from frazil.simulate.wave_mode import WaveModeConfig

    fine = name == "resolution"
    config = WaveModeConfig(side_m=_SIDE_M) if fine else None
    made = []
    for number, (side, count) in enumerate(_COUNTS.items()):
        path = folder / f"{side}-{'50' if fine else '100'}m.zarr"
        if not path.exists():
            with progress_bar(f"simulating {side}") as progress:
                ds = simulated_imagettes(
                    count,
                    seed=1_000_000 * number,
                    resolution_m=50.0 if fine else 100.0,
                    config=config,
                    progress=progress,
                )
                save_imagettes(ds, path)
        made.append(str(path))
    return tuple(made)


def _resolutions(folder: Path, stores: tuple[str, ...]) -> dict[float, tuple[str, str]]:
    """Sets at the resolutions of the source that are not finer than what is there."""
    from frazil.labels.imagettes import coarser, open_imagettes, save_imagettes

    out: dict[float, tuple[str, str]] = {}
    sets = {
        side: open_imagettes(path).drop_vars("mask", errors="ignore")
        for side, path in (("train", stores[0]), ("test", stores[2]))
    }
    for metres in _METRES:
        if metres < float(sets["train"].attrs["spacing_m"]):
            continue
        pair = []
        for side, ds in sets.items():
            path = folder / f"{side}-{metres:g}m-coarse.zarr"
            if not path.exists():
                save_imagettes(coarser(ds, metres), path)
            pair.append(str(path))
        out[metres] = (pair[0], pair[1])
    return out
