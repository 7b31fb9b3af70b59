"""One look of a network at a scene: its map, and the cells from which few labels are spread."""

from __future__ import annotations

from dataclasses import dataclass, field

import xarray as xr

from frazil.conventions import CLASS_SCHEMES
from frazil.errors import ModelError
from frazil.learn.cells.cells import SIDE, Cells, cells_of
from frazil.learn.cells.watched import Watched, can_be_watched
from frazil.learn.checkpoint import DEFAULT_MODEL, Model, load_model
from frazil.learn.infer.engine import Engine
from frazil.learn.infer.torch_engine import TorchEngine
from frazil.learn.predict.ice import IceAnswers
from frazil.learn.predict.scene import PathOrScene, Progress, map_scene, open_for


@dataclass(frozen=True, kw_only=True)
class _WatchedAnswers(IceAnswers):
    """A map of sea ice, during which the network is watched where it can be."""

    shape: tuple[int, int]
    watched: list[Watched] = field(default_factory=list)

    def engine(self, model: Model) -> Engine:
        """See `IceAnswers`."""
        made = super().engine(model)
        if isinstance(made, TorchEngine) and can_be_watched(made.network):
            self.watched.append(Watched(made, self.shape))
            return self.watched[0]
        return made


def look_at(
    scene: PathOrScene,
    model: Model | str = DEFAULT_MODEL,
    *,
    crs: str = "auto",
    spacing_m: float | None = None,
    side: int = SIDE,
    progress: Progress | None = None,
) -> tuple[xr.Dataset, Cells]:
    """The ice map of a scene, as `frazil.predict` makes it with PyTorch, and its cells.

    Args:
        scene: see `frazil.predict`.
        model: likewise, of a scheme of sea ice. Networks that classify patches are not watched: their cells have the
            features of backscatter and of what the network says.
        crs: see `frazil.predict`.
        spacing_m: likewise.
        side: pixels of the map along a side of a cell.
        progress: see `frazil.predict`.

    Raises:
        ModelError: a model of phenomena: of each place several may hold, and labels say what one place is.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    if loaded.card.class_scheme not in CLASS_SCHEMES:
        raise ModelError(
            f"Model {loaded.card.id} finds phenomena, several at a place; labels of a scene say which one class a "
            "place is of. Take a model of sea ice."
        )
    opened = scene if isinstance(scene, xr.Dataset) else open_for(scene, loaded.card)
    answers = _WatchedAnswers(shape=(opened.sizes["line"], opened.sizes["pixel"]), run={"engine": "torch"})
    made = map_scene(opened, loaded, answers, crs=crs, spacing_m=spacing_m, progress=progress)
    seen = answers.watched[0].features if answers.watched else None
    return made, cells_of(made, opened, seen, side=side)
