"""A model of phenomena in an archive: the same task, maps of another kind."""

from __future__ import annotations

from pathlib import Path

from frazil import __version__
from frazil.archive.catalogue import open_catalogue, write_catalogue
from frazil.archive.folder import begin_archive, describe_archive
from frazil.archive.layers import maps_in
from frazil.archive.sources import find_products
from frazil.archive.task import map_task
from frazil.learn.checkpoint import load_model, save_model
from frazil.learn.predict.mapping import MapOptions
from frazil.maps.netcdf import open_map
from tests.learn.predict.test_phenomena import iw, model, open_sea  # noqa: F401 - fixtures


def test_phenomena_are_mapped_into_an_archive(iw: Path, tmp_path: Path) -> None:  # noqa: F811
    made = model()
    save_model(made.network, made.card, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    options = MapOptions(drop=("iceberg:55",), coast_m=500.0)
    archive = begin_archive(describe_archive(tmp_path / "a", str(tmp_path / "model"), loaded, options, check="quick"))
    (task,), _ = find_products([iw])
    done = map_task(task, str(archive.root), archive.token, __version__)
    assert (done.ending, done.error) == ("done", "")
    assert archive.kind == "multilabel"
    assert open_map(archive.folder_of(task.id))["dominant"].size > 1000
    write_catalogue(archive)
    assert list(open_catalogue(archive.root)["folder"]) == [task.id]
    assert [m.kind for m in maps_in([archive.root])] == ["multilabel"]
