"""Training a network in the background from all labels of a desk: `frazil patches cut`, `frazil train`, `frazil map`.

What is run are the commands that anybody could type; they and what they print stand in a log beside the run. A run that
was stopped, or whose desk was killed, goes on where it was when it is begun again with the same labels.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import numpy as np

from frazil.conventions import CLASS_LAND, ClassScheme
from frazil.desk.labels import Label, write_labels
from frazil.desk.scenes import DeskScene
from frazil.errors import LabelError, OptionError
from frazil.files import whole_output

#: What the page offers: name -> recipe, and whether it learns from patches without labels.
METHODS: dict[str, tuple[str, bool]] = {
    "supervised": ("patches:adhoc", False),
    "label propagation": ("few_labels:lp", True),
    "teacher and student": ("few_labels:tslp", True),
}
_SIZE = 32  # pixels of a patch
_UNLABELLED = 200  # patches without labels, of each class of the map and scene
_ENOUGH_SCENES = 3  # to train, validate and test on scenes of their own


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a training.

    Attributes:
        title: for the page.
        words: of the command, without the program.
        made: what it leaves; a command whose result is there is not run again.
    """

    title: str
    words: tuple[str, ...]
    made: Path


def plan(
    folder: Path, scenes: Sequence[DeskScene], labels: Sequence[Label], scheme: ClassScheme, method: str, epochs: int
) -> tuple[Step, ...]:
    """The commands of a training, in a folder that is there; writes the labels that they read.

    Args:
        folder: of the training.
        scenes: those with labels are learnt from.
        labels: of the desk; those that are kept to test are left out.
        scheme: of their classes.
        method: one of `METHODS`.
        epochs: passes through the patches.

    Raises:
        OptionError: an unknown method, or a scene whose product is not at hand.
        LabelError: labels of fewer than two classes.
    """
    if method not in METHODS:
        raise OptionError(f"Method {method!r:.40} is not one of {list(METHODS)}.")
    if not 1 <= epochs <= 10_000:
        raise OptionError(f"epochs is {epochs}; it must lie between 1 and 10000.")
    recipe, pool = METHODS[method]
    taught = [one for one in labels if one.purpose == "learn"]
    if len({one.code for one in taught}) < 2:
        raise LabelError("A network needs labels of two classes at least.")
    named = {one.scene for one in taught}
    used = [scene for scene in scenes if scene.name in named]
    for scene in used:
        if (Path(scene.source) / "map.nc").exists() or Path(scene.source).name == "map.nc":
            raise OptionError(f"{scene.source} is a map. Open its product on the desk to train on it.")
    file = folder / "labels.gpkg"
    if not file.exists():
        write_labels(taught, file, used[0].grid.crs, scheme)
    products = tuple(scene.source for scene in used)
    cut = ("patches", "cut", *products, "--size", str(_SIZE), "--boxcar", "--scheme", scheme.name)
    own = ("--labels", str(file), "--layer", "labels", "--class-column", "class", "--scene-column", "product")
    patches, others, run = folder / "labelled.zarr", folder / "others.zarr", folder / "run"
    steps = [Step(title="cutting patches", words=(*cut, *own, "-o", str(patches)), made=patches)]
    settings = [f"data.patches={patches}", f"optim.epochs={epochs}", "data.allow_missing=true"]
    if len(used) < _ENOUGH_SCENES:
        settings.append("data.split=patch")
    if pool:
        rasters = [word for scene in used for word in ("--labels", str(_class_raster(scene, folder)))]
        words = (*cut, *rasters, "--limit", str(_UNLABELLED), "-o", str(others))
        steps.append(Step(title="cutting patches without labels", words=words, made=others))
        settings += [f'data.unlabelled=["{others}"]', "labels.count=null"]
    chosen = [word for setting in settings for word in ("--set", setting)]
    steps.append(Step(title="training", words=("train", recipe, *chosen, "-o", str(run)), made=run / "model"))
    for scene in scenes:
        if not (Path(scene.source) / "map.nc").exists():
            made = folder / f"map-{scene.name}"
            words = ("map", scene.source, "--model", str(run / "model"), "-o", str(made))
            steps.append(Step(title=f"mapping {scene.name}", words=words, made=made))
    return tuple(steps)


def _class_raster(scene: DeskScene, folder: Path) -> Path:
    """The classes of the map, as places to cut patches without labels from: none may be where nothing is told."""
    import rasterio

    path = folder / f"{scene.name}-classes.tif"
    if path.exists():
        return path
    codes = scene.now["probability"].values.argmax(axis=0).astype(np.uint8)
    codes[scene.now["ice_class"].values >= CLASS_LAND] = 255
    codes[scene.now["probability"].values[0] > 100] = 255
    grid = scene.grid
    with (
        whole_output(path) as part,
        rasterio.open(
            part,
            "w",
            driver="GTiff",
            dtype="uint8",
            count=1,
            height=grid.shape[0],
            width=grid.shape[1],
            crs=grid.crs,
            transform=grid.transform,
            nodata=255,
            compress="deflate",
        ) as raster,
    ):
        raster.write(codes, 1)
    return path


class Training:
    """A training that runs beside the desk.

    Args:
        folder: of it.
        steps: of `plan`.
        method: for the page.
    """

    def __init__(self, folder: Path, steps: Sequence[Step], method: str) -> None:
        self.folder, self.method = folder, method
        self._steps, self._lock = tuple(steps), RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped, self._doing, self._error = False, steps[0].title, ""
        self._done = False
        self._thread = Thread(target=self._run, name="training", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        log = self.folder / "log.txt"
        for step in self._steps:
            with self._lock:
                if self._stopped:
                    return
                self._doing = step.title
            if step.made.exists():
                continue
            command = [sys.executable, "-m", "frazil", *step.words]
            with log.open("ab") as out:
                out.write(f"$ frazil {shlex.join(step.words)}\n".encode())
                out.flush()
                with self._lock:
                    if self._stopped:
                        return
                    self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
                status = self._process.wait()
            if status:
                with self._lock:
                    self._error = "" if self._stopped else _last_line(log)
                return
        with self._lock:
            self._done = True

    def stop(self) -> None:
        """End it; begun again it goes on from its last checkpoint."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGTERM)
        self._thread.join(30)

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._thread.is_alive()

    def state(self) -> dict[str, Any]:
        """For the page."""
        with self._lock:
            told: dict[str, Any] = {
                "method": self.method,
                "running": self.running,
                "doing": self._doing,
                "done": self._done,
                "stopped": self._stopped,
                "error": self._error,
                "folder": str(self.folder),
                "line": _last_line(self.folder / "log.txt"),
            }
        if self._done:
            told["maps"] = {s.title.removeprefix("mapping "): str(s.made) for s in self._steps if "mapping" in s.title}
        return told


def right_at_lots(map_folder: Path, scene: DeskScene, labels: Sequence[Label]) -> Mapping[str, Any]:
    """How many of the places drawn by lot a map has right; they were never learnt from.

    Args:
        map_folder: of a map of the scene, on any grid.
        scene: on the desk.
        labels: of the desk.
    """
    from frazil.learn.cells.places import share_right
    from frazil.maps.netcdf import open_map

    answers = {int(c): one.code for one in labels if one.purpose == "test" for c in scene.cells_in(one)[:1]}
    if not answers:
        return {"tests": 0}
    x, y = (values[list(answers)] for values in scene.cells.places())
    made = open_map(map_folder)
    right = int((_at(made, x, y).argmax(axis=0) == np.array(list(answers.values()))).sum())
    share, low, high = share_right(right, len(answers))
    return {"tests": len(answers), "right": round(share, 3), "interval": [round(low, 3), round(high, 3)]}


def _at(made: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Probabilities (class, place) of a map at places of its CRS."""
    import xarray as xr

    picked = made["probability"].sel(x=xr.DataArray(x, dims="place"), y=xr.DataArray(y, dims="place"), method="nearest")
    return np.asarray(picked.transpose("category", "place").values)


def new_folder(desk: Path, method: str, labels: Sequence[Label], epochs: int) -> Path:
    """The folder of a training: that of the last one with the same method, labels and epochs, or a new one."""
    told = {
        "method": method,
        "epochs": epochs,
        "labels": sorted((one.id, one.code, one.modified) for one in labels if one.purpose == "learn"),
    }
    asked = json.loads(json.dumps(told))
    for number in range(1, 1000):
        folder = desk / "train" / f"{number:03d}"
        file = folder / "asked.json"
        if not folder.exists():
            folder.mkdir(parents=True)
            file.write_text(json.dumps(asked))
            return folder
        if file.is_file() and json.loads(file.read_text()) == asked:
            if not (folder / "labels.gpkg").exists():  # ended before it began
                shutil.rmtree(folder)
                folder.mkdir()
                file.write_text(json.dumps(asked))
            return folder
    raise OptionError(f"{desk / 'train'} holds a thousand trainings. Remove some.")


def _last_line(log: Path) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 4000, 0))
        text = file.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
