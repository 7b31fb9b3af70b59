"""A batch from Python in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from frazil.archive.batch import BatchResult, BatchSettings, Progress, run_batch
from frazil.archive.engine import ClusterSettings, Engine
from frazil.archive.folder import begin_archive, describe_archive
from frazil.archive.sources import find_products, remember_sources
from frazil.conventions import Check
from frazil.files import sweep
from frazil.learn.checkpoint import load_model
from frazil.learn.predict.mapping import MapOptions


def batch(
    sources: Sequence[str | os.PathLike[str]],
    archive: str | os.PathLike[str],
    model: str = "ice-measured",
    *,
    options: MapOptions | None = None,
    cluster: ClusterSettings | None = None,
    settings: BatchSettings | None = None,
    check: Check = "full",
    attributes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> BatchResult:
    """Map many products into an archive; scenes that have a map are left as they are.

    In a program of its own, call it below ``if __name__ == "__main__":``, for workers import that program.

    Args:
        sources: products, folders in which they lie, lists of them (.txt), see `frazil.archive.sources.find_products`.
        archive: folder; one that is there is gone on with.
        model: folder of a model, or name of a bundled one, of ice or of phenomena.
        options: how products are mapped.
        cluster: where workers run, how many, with how much memory; by default one on this machine.
        settings: tries, time-out, shard.
        check: of products, see `frazil.open_product`.
        attributes: of the files, see `frazil.scene.discovery.own_attrs`.
        progress: called as scenes end.

    Returns:
        What was mapped, what had been, what was quarantined and why.

    Raises:
        ProductNotFoundError: a source without a product.
        OptionError: the archive is of another model or other options.
        OutputExistsError, OutputError, ServerError, MissingDependencyError: see `frazil.archive.batch.run_batch` and
            `frazil.archive.engine.Engine`.
    """
    tasks, _ = find_products(sources)
    wanted = describe_archive(
        archive, model, load_model(model), options or MapOptions(), check=check, attributes=attributes
    )
    made = begin_archive(wanted)
    remember_sources(made.root, sources)
    engine = Engine(cluster or ClusterSettings(), str(made.root), made.token)
    try:
        return run_batch(made, tasks, engine, settings, progress=progress)
    finally:
        engine.close()
        sweep(made.maps)  # what workers were writing when they were ended
