"""What a worker does: one product to one folder of a map, and a word on how it went. Nothing large is sent."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from frazil import __version__
from frazil.archive.folder import ARCHIVE_FILE, PRODUCTS, Archive, open_archive
from frazil.archive.sources import MapTask
from frazil.errors import (
    ArchiveError,
    CredentialsError,
    FrazilError,
    OutputError,
    OutputExistsError,
    ProductNotFoundError,
    ServerError,
)
from frazil.learn.checkpoint import Model, load_model

if TYPE_CHECKING:
    from frazil.products import Product

#: done; refused: it would be again; failed: it may go better; unwritable: no scene can be mapped, whichever it is:
#: the disk is full, an archive of products takes no password.
Ending = Literal["done", "refused", "failed", "unwritable"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task went.

    Attributes:
        id: of the task.
        ending: see `Ending`.
        error: in one line; empty of a map that was made.
        details: the traceback of what nobody expected.
        seconds: that it took.
        peak_mb: most memory of the worker so far.
        worker: ``host:process``.
        made: whether the map was made now; False of one that was there.
    """

    id: str
    ending: Ending
    error: str = ""
    details: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0
    worker: str = ""
    made: bool = False


def map_task(task: MapTask, root: str, token: str, version: str) -> Outcome:
    """Map a product into an archive; every error becomes words, for one bad file must not end a batch.

    Args:
        task: the product.
        root: of the archive, as this machine sees it.
        token: of the archive.
        version: of the frazil that asks.
    """
    started, me = time.perf_counter(), f"{socket.gethostname()}:{os.getpid()}"

    def told(ending: Ending, error: str = "", details: str = "", made: bool = False) -> Outcome:
        return Outcome(
            id=task.id,
            ending=ending,
            error=error,
            details=details,
            seconds=round(time.perf_counter() - started, 3),
            peak_mb=_peak_mb(),
            worker=me,
            made=made,
        )

    try:
        if version != __version__:
            return told("failed", f"The worker {me} has frazil {__version__}, and {version} asks. Install one version.")
        archive = open_archive(root)
        if archive.token != token:
            return told("failed", f"The worker {me} sees another {root}/{ARCHIVE_FILE}. All machines need one folder.")
        if archive.holds(task.id):
            return told("done")
        _make(task, archive)
        gc.collect()  # figures and datasets hold each other; of hundreds of scenes it adds up
        return told("done", made=True)
    except OutputExistsError as error:
        return told("done") if open_archive(root).holds(task.id) else told("refused", str(error))
    except OutputError as error:
        return told("unwritable", str(error))
    except CredentialsError as error:  # of all products
        return told("unwritable", str(error))
    except (ServerError, ArchiveError) as error:
        return told("failed", str(error))
    except FrazilError as error:
        return told("refused", str(error))
    except Exception as error:
        words = " ".join(str(error).split())[:500]
        return told("failed", f"{type(error).__name__}: {words}", traceback.format_exc()[-8000:])


def _peak_mb() -> float:
    """Most memory of this process so far; macOS counts bytes, Linux KiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _make(task: MapTask, archive: Archive) -> None:
    from frazil.products import open_product

    started = time.perf_counter()
    model = _model(archive.model)
    if model.card.weights_sha256 != archive.weights_sha256:
        raise OutputError(f"The model {archive.model} is not the one that this archive was begun with. Put it back.")
    ice_model = _model(archive.options.ice_model) if archive.options.ice_model else None
    with _at_hand(task, archive.root) as place:
        product = open_product(place, check=archive.check)
        _write(product, archive, model, ice_model, task, started)


@contextmanager
def _at_hand(task: MapTask, root: Path) -> Iterator[str]:
    """Where the product of a task lies; one of a search is fetched, and removed when the map is there."""
    if task.search is None:
        yield task.source
        return
    from frazil.providers.get import get_product
    from frazil.providers.search import load_search
    from frazil.providers.shipments import Archive as Provider

    file, name = task.search
    found = next((one for one in load_search(file) if one.name == name), None)
    if found is None:
        raise ProductNotFoundError(f"{file} does not list {name} any more. Search again.")
    fetched = get_product(found, root / PRODUCTS, archive=Provider(), connections=task.connections)
    yield str(fetched.path)
    if not task.keep:
        if fetched.path.is_dir():
            shutil.rmtree(fetched.path, ignore_errors=True)
        else:
            fetched.path.unlink(missing_ok=True)


def _write(
    product: Product, archive: Archive, model: Model, ice_model: Model | None, task: MapTask, started: float
) -> None:
    from frazil.learn.predict.mapping import map_product
    from frazil.maps.export import export
    from frazil.scene.discovery import with_own

    made = map_product(product, model, archive.options, ice_model=ice_model)
    made.attrs = with_own(made.attrs, archive.attributes)
    timings = {"predict_s": round(time.perf_counter() - started, 2)}
    export(made, archive.folder_of(task.id), timings=timings)


@lru_cache(maxsize=4)
def _model(name: str) -> Model:
    """A model, loaded once a worker."""
    return load_model(name)
