"""What the desk knows while it is open: scenes, labels, what is being worked on, and what somebody should hear of."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import RLock, Timer
from typing import TYPE_CHECKING, Any

from frazil.conventions import LAND_COLOUR, UNDECIDED_COLOUR
from frazil.desk.labels import LabelStore, labels_from
from frazil.desk.review import judge
from frazil.desk.scenes import DeskScene
from frazil.desk.training import METHODS, Training, new_folder, plan, right_at_lots
from frazil.errors import FrazilError, OptionError
from frazil.files import refuse_existing
from frazil.maps.panels import DOUBTS

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)
_SAVE_AFTER_S = 20.0
_NOTES = 20


class Session:
    """See the module.

    Args:
        folder: of the desk.
        scenes: of one scheme and one CRS.
        author: of labels.
        chart: to review the maps against.

    Attributes:
        labels: the store.

    Raises:
        OptionError: scenes of several schemes, or of several projections.
    """

    def __init__(
        self, folder: Path, scenes: Sequence[DeskScene], *, author: str = "", chart: str | None = None
    ) -> None:
        schemes = sorted({scene.cells.class_scheme for scene in scenes})
        crs = sorted({scene.grid.crs for scene in scenes})
        if len(schemes) != 1 or len(crs) != 1:
            several = f"class schemes {schemes}" if len(schemes) != 1 else f"projections {crs}"
            raise OptionError(f"The scenes have {several}, and labels can be of one alone. Open a desk for each.")
        names = [scene.name for scene in scenes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise OptionError(f"{twice[0]} was given twice. Name each scene once.")
        self.folder, self.author, self.chart = folder, author, chart
        self.scenes = {scene.name: scene for scene in scenes}
        self.scheme, self.crs = scenes[0].scheme, crs[0]
        self.labels = LabelStore(folder, crs=self.crs, scheme=self.scheme, scenes=list(self.scenes))
        self.disagreements: dict[str, gpd.GeoDataFrame] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._lock = RLock()
        self._job: dict[str, Any] = {}
        self._results: dict[int, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._notes: list[str] = []
        self._timer: Timer | None = None
        self.training: Training | None = None

    def add_labels(self, frame: gpd.GeoDataFrame) -> int:
        """Take labels of a file that are not there yet; returns how many.

        Raises:
            LabelError: see `frazil.desk.labels.labels_from`.
        """
        revision, there = self.labels.snapshot()
        known = {label.id for label in there}
        found = labels_from(frame, self.crs, self.scheme, list(self.scenes))
        new = [{"put": asdict(label)} for label in found if label.id not in known]
        if new:
            self.labels.apply(new, revision, author=self.author)
        return len(new)

    def state(self) -> dict[str, Any]:
        """Everything that the page needs to know beside tiles and labels."""
        revision, labels = self.labels.snapshot()
        with self._lock:
            job, notes = dict(self._job), [*self.labels.notes, *self._notes][-_NOTES:]
        return {
            "crs": self.crs,
            "revision": revision,
            "saved": self.labels.saved_revision == revision,
            "labels": len(labels),
            "author": self.author,
            "classes": [
                {"code": c.code, "name": c.name, "title": c.title, "colour": list(c.colour)}
                for c in self.scheme.classes
            ],
            "undecided": list(UNDECIDED_COLOUR),
            "land": list(LAND_COLOUR),
            "doubts": [
                {"name": name, "title": title, "colour": list(colour)} for name, (title, colour) in DOUBTS.items()
            ],
            "chart": self.chart is not None,
            "methods": list(METHODS),
            "training": self.training is not None and self.training.running,
            "scenes": [_about(scene) for scene in self.scenes.values()],
            "job": job,
            "notes": notes,
        }

    def scene(self, name: str) -> DeskScene:
        """A scene by its name.

        Raises:
            OptionError: there is none.
        """
        if name not in self.scenes:
            raise OptionError(f"Scene {name!r:.80} is not on this desk.")
        return self.scenes[name]

    def command(self, commands: Sequence[Any], revision: int) -> int:
        """See `frazil.desk.labels.LabelStore.apply`; the GeoPackage follows some seconds after the last one."""
        after = self.labels.apply(commands, revision, author=self.author)
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = Timer(_SAVE_AFTER_S, self.save)
            self._timer.daemon = True
            self._timer.start()
        return after

    def save(self) -> None:
        """Write the GeoPackage; what goes wrong is noted, for the journal has the labels still."""
        try:
            self.labels.save()
        except FrazilError as error:
            self.note(str(error))

    def note(self, text: str) -> None:
        """Say something on the page."""
        log.warning("%s", text)
        with self._lock:
            if text not in self._notes:
                self._notes.append(text)

    def start(self, what: str, work: Callable[[Callable[[float, str], None]], dict[str, Any]]) -> int:
        """Begin something long; its number, by which `result` gives what it found. One thing at a time is worked on."""
        number = next(self._numbers)

        def run() -> None:
            began = time.monotonic()
            with self._lock:
                self._job = {"number": number, "what": what, "fraction": 0.0, "doing": what}

            def progress(fraction: float, doing: str) -> None:
                with self._lock:
                    self._job.update(fraction=round(fraction, 3), doing=doing)

            try:
                found = {"ok": True, **work(progress)}
            except FrazilError as error:
                found = {"ok": False, "error": str(error)}
            except Exception as error:  # the page has to hear of faults, too
                log.exception("%s failed", what)
                found = {"ok": False, "error": f"{what} failed: {type(error).__name__}: {error}"}
            found["seconds"] = round(time.monotonic() - began, 2)
            with self._lock:
                self._results[number] = found
                for old in [n for n in self._results if n < number - 50]:
                    del self._results[old]
                self._job = {}

        self._pool.submit(run)
        return number

    def result(self, number: int) -> dict[str, Any] | None:
        """What a job found; None while it is not done."""
        with self._lock:
            return self._results.get(number)

    def learn(self, name: str) -> int:
        """Map a scene anew from its labels."""
        scene = self.scene(name)

        def work(progress: Callable[[float, str], None]) -> dict[str, Any]:
            progress(0.1, "learning")
            return {"scene": name, **scene.learn(self.labels.labels), "version": scene.version}

        return self.start("learning", work)

    def review(self, name: str) -> int:
        """Find where map and chart differ."""
        scene, chart = self.scene(name), self.chart
        if chart is None:
            raise OptionError("This desk has no chart to compare with. Open it with --chart FILE.")

        def work(progress: Callable[[float, str], None]) -> dict[str, Any]:
            from frazil.desk.shapes import disagreements

            progress(0.1, "comparing with the chart")
            found, notes = disagreements(scene.now, chart)
            for note in notes:
                self.note(note)
            self.disagreements[name] = found
            return {"scene": name, "disagreements": len(found)}

        return self.start("comparing", work)

    def judge(self, name: str, number: Any, verdict: Any, comment: Any) -> Mapping[str, int]:
        """Keep what somebody says of a disagreement, see `frazil.desk.review.judge`.

        Raises:
            OptionError: the map was not compared with the chart.
        """
        scene = self.scene(name)
        if name not in self.disagreements:
            raise OptionError("The map was not compared with the chart yet.")
        with self._lock:
            file = self.folder / scene.name / "review.gpkg"
            return judge(file, self.disagreements[name], number, verdict, comment, self.author)

    def take_away(self, name: str, *, approved: bool = False) -> int:
        """Write map folder, chart and labels of a scene as they are now into the folder of the desk."""
        scene = self.scene(name)

        def work(progress: Callable[[float, str], None]) -> dict[str, Any]:
            from frazil.charts.chart import make_chart
            from frazil.charts.export import NOT_FOR_NAVIGATION, ChartFiles, export_chart
            from frazil.maps.edges import ice_edge
            from frazil.maps.export import export

            target = self.folder / "out" / name
            for folder in (target / "map", target / "chart"):
                refuse_existing(folder, overwrite=True)
            target.mkdir(parents=True, exist_ok=True)
            progress(0.1, "writing the map")
            export(scene.now, target / "map", overwrite=True, progress=lambda file: progress(0.3, f"wrote {file}"))
            progress(0.6, "making the chart")
            files = ChartFiles(warning="" if approved else NOT_FOR_NAVIGATION)
            export_chart(make_chart(scene.now), target / "chart", files=files, edge=ice_edge(scene.now), overwrite=True)
            progress(0.95, "writing the labels")
            self.labels.save()
            return {"map": str(target / "map"), "chart": str(target / "chart"), "labels": str(self.labels.file)}

        return self.start("writing", work)

    def train(self, method: str, epochs: int) -> None:
        """Begin to train a network on all labels, or go on with it.

        Raises:
            OptionError: one is being trained; see `frazil.desk.training.plan` for others.
        """
        with self._lock:
            if self.training is not None and self.training.running:
                raise OptionError("A network is being trained already. Stop it, or wait.")
            labels = self.labels.labels
            folder = new_folder(self.folder, method, labels, epochs)
            steps = plan(folder, list(self.scenes.values()), labels, self.scheme, method, epochs)
            self.training = Training(folder, steps, method)

    def stop_training(self) -> None:
        """End what is being trained; begun again with the same labels it goes on."""
        if self.training is not None:
            self.training.stop()

    def trained(self) -> dict[str, Any]:
        """What is known of the training; once it is done, how right its maps are at the places drawn by lot."""
        if self.training is None:
            return {}
        told = self.training.state()
        if told["done"]:
            labels = self.labels.labels
            told["scores"] = {
                name: right_at_lots(Path(made), self.scenes[name], labels) for name, made in told["maps"].items()
            }
        return told

    def close(self) -> None:
        """Save what is not saved, and end."""
        self.stop_training()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self.labels.saved_revision != self.labels.revision:
            self.save()


def _about(scene: DeskScene) -> dict[str, Any]:
    attrs = scene.first.attrs
    return {
        "name": scene.name,
        "title": str(attrs.get("product", scene.name)),
        "time": str(attrs.get("start_time", "")),
        "model": str(attrs.get("model", "")),
        "note": str(attrs.get("note", "")),
        "version": scene.version,
        "taught": 0 if scene.taught is None else len(scene.taught.labelled),
        "left": scene.grid.left,
        "top": scene.grid.top,
        "spacing": scene.grid.spacing_m,
        "shape": list(scene.grid.shape),
        "levels": scene.levels,
        "cell": scene.cells.grid.spacing_m,
        "layers": scene.layers,
        "bands": [
            {"name": band.name, "low": band.low_db, "high": band.high_db, "shown": list(scene.contrast(band))}
            for band in scene.bands
        ],
    }
