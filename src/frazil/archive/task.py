"""What a worker does: one product to one folder of a map, and a word on how it went. Nothing large is sent."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from frazil import __version__
from frazil.archive.folder import ARCHIVE_FILE, open_archive
from frazil.archive.sources import MapTask
from frazil.errors import FrazilError, OutputError, OutputExistsError, ServerError
from frazil.learn.checkpoint import Model, load_model

#: done; refused: it would be again; failed: it may go better; unwritable: nothing can be written, whatever the product.
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
        _make(task, root)
        return told("done", made=True)
    except OutputExistsError as error:
        return told("done") if open_archive(root).holds(task.id) else told("refused", str(error))
    except OutputError as error:
        return told("unwritable", str(error))
    except ServerError as error:
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


def _make(task: MapTask, root: str) -> None:
    from frazil.learn.predict.mapping import map_product
    from frazil.maps.export import export
    from frazil.products import open_product
    from frazil.scene.discovery import with_own

    archive = open_archive(root)
    started = time.perf_counter()
    model = _model(archive.model, archive.weights_sha256)
    ice_model = load_model(archive.options.ice_model) if archive.options.ice_model else None
    product = open_product(task.source, check=archive.check)
    made = map_product(product, model, archive.options, ice_model=ice_model)
    made.attrs = with_own(made.attrs, archive.attributes)
    timings = {"predict_s": round(time.perf_counter() - started, 2)}
    export(made, archive.folder_of(task.id), timings=timings)


@lru_cache(maxsize=2)
def _model(name: str, digest: str) -> Model:
    """A model, loaded once a worker.

    Raises:
        OutputError: it is another than the archive's: no product can be mapped.
    """
    model = load_model(name)
    if model.card.weights_sha256 != digest:
        raise OutputError(f"The model {name} is not the one that this archive was begun with. Put that one back.")
    return model
