"""`frazil.report`: where what the networks found out and the drawing of maps meet."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frazil.errors import OptionError
from frazil.files import refuse_existing

if TYPE_CHECKING:
    from frazil.labels.classes import LabelOptions

PathLike = str | os.PathLike[str]


def report(
    runs: PathLike | Sequence[PathLike],
    directory: PathLike,
    *,
    maps: PathLike | Sequence[PathLike] = (),
    truths: PathLike | Sequence[PathLike] = (),
    kind: str | None = None,
    labels: LabelOptions | None = None,
    worst: int = 24,
    device: str | None = None,
    overwrite: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Path]:
    """Write a report on training runs as a folder of web pages that open without a network.

    Args:
        runs: run folders of `frazil.train`, finished or not.
        directory: the folder to write.
        maps: map folders to show.
        truths: what each map is compared with, as `frazil.compare` takes it: one for all, or one each; ``{scene}``
            stands for the product of a map.
        kind: of the truths; None to find out.
        labels: how the truths are read.
        worst: how many of the most confident mistakes to show for each run; for these the patch sets must be there.
        device: ``"cpu"`` or ``"cuda"``, for the mistakes.
        overwrite: replace the folder if it exists.
        progress: called with the fraction done and what is being done.

    Returns:
        The pages: ``"report"``, and with several runs ``"run_1"``, ``"run_2"`` …

    Raises:
        OptionError: no run there, damaged files, truths that do not match the maps in number.
        ProductNotFoundError, ContractError, LabelNotFoundError, LabelError: as `frazil.compare`.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    from frazil.reports.gather import read_record
    from frazil.reports.maps import pair_maps
    from frazil.reports.pages import write_report

    folders, shown, against = _listed(runs), _listed(maps), _listed(truths)
    step = progress or (lambda _fraction, _what: None)
    refuse_existing(directory, overwrite=overwrite, inputs=[*folders, *shown, *against])
    if not folders:
        raise OptionError("There is no run to report on. Pass the folder of one.")
    pairs = pair_maps(shown, against, kind=kind, labels=labels)
    found = []
    for n, folder in enumerate(folders):
        step(0.7 * n / len(folders), f"reading run {n + 1} of {len(folders)}")
        found.append(read_record(folder, worst=worst, device=device))
    step(0.7, "writing")
    return write_report(found, directory, maps=pairs, overwrite=overwrite)


def _listed(paths: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
