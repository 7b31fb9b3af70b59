"""Labels of the desk: what was drawn, kept so that nothing that was acknowledged is ever lost.

Every command (put a label, take one away) is one line of a journal, which is on the disk before the page is told so;
a killed desk reads it again. Now and then all labels are written as a GeoPackage, which QGIS edits and `frazil patches`
reads, and the journal begins anew. Each command names the revision it was made on: of two tabs the slower one is told
that its picture is old, and nothing is mixed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from frazil.conventions import ClassScheme
from frazil.errors import FrazilError, LabelError, OutputError
from frazil.files import replaced_file, whole_output
from frazil.labels.polygons import find_crs, read_polygons
from frazil.marks import WRITTEN_BY, why_not_output

if TYPE_CHECKING:
    import geopandas as gpd

LAYER = "labels"
MOST_VERTICES, MOST_LABELS = 20_000, 20_000
_WORDS = 2000  # letters of a comment
#: What a label is for: to learn from, or to test the map on places that were drawn by lot.
PURPOSES = ("learn", "test")


class StaleError(FrazilError):
    """A command was made on an older revision than the journal's."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """One label.

    Attributes:
        id: of at most 64 letters, given by the page.
        scene: name of the scene that it was drawn on.
        code: of its class.
        rings: of a polygon, the outer one first, each of x and y in metres of the map's CRS, closed.
        purpose: one of `PURPOSES`.
        origin: how it was drawn: polygon, brush, click, segment, queue, review, file.
        author, created, modified, product, note: who, when (UTC), on what, and what was remarked.
    """

    id: str
    scene: str
    code: int
    rings: tuple[tuple[tuple[float, float], ...], ...]
    purpose: str = "learn"
    origin: str = "polygon"
    author: str = ""
    created: str = ""
    modified: str = ""
    product: str = ""
    note: str = ""

    @property
    def shape(self) -> Any:
        """As a shapely polygon."""
        from shapely import Polygon

        return Polygon(self.rings[0], self.rings[1:])


def read_label(told: Mapping[str, Any], scheme: ClassScheme, scenes: Sequence[str]) -> Label:
    """A label from what a page or a journal says.

    Raises:
        LabelError: naming what is wrong: words for numbers, an unknown class or scene, too many vertices, a ring that
            crosses itself and where.
    """
    import shapely

    if not isinstance(told, Mapping):
        raise LabelError("A label must be an object.")
    known = {f.name for f in fields(Label)}
    texts = {k: told.get(k, "") for k in known - {"code", "rings"}}
    if unknown := sorted(set(told) - known):
        raise LabelError(f"A label has no {unknown[0]!r:.40}.")
    if not all(isinstance(v, str) and len(v) <= _WORDS for v in texts.values()):
        raise LabelError(f"Words of a label must be text of at most {_WORDS} letters.")
    if not 0 < len(texts["id"]) <= 64 or not texts["id"].isascii():
        raise LabelError("A label needs an id of 1 to 64 letters.")
    if texts["scene"] not in scenes:
        raise LabelError(f"Scene {texts['scene']!r:.80} is not on this desk: {list(scenes)}.")
    code = told.get("code")
    if not isinstance(code, int) or isinstance(code, bool) or not 0 <= code < len(scheme.classes):
        raise LabelError(f"Class {code!r:.20} is not one of 0 to {len(scheme.classes) - 1}.")
    texts["purpose"] = texts["purpose"] or "learn"
    if texts["purpose"] not in PURPOSES:
        raise LabelError(f"Purpose {texts['purpose']!r:.20} is not one of {list(PURPOSES)}.")
    rings = read_rings(told.get("rings"))
    label = Label(code=code, rings=rings, **texts)
    shape = label.shape
    if not shape.is_valid:
        raise LabelError(f"The outline is no polygon: {shapely.is_valid_reason(shape)}.")
    return label


def read_rings(told: Any) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Rings of an outline from what a page says.

    Raises:
        LabelError: naming what is wrong.
    """
    if not isinstance(told, (list, tuple)) or not told:
        raise LabelError("A label needs an outline.")
    rings, vertices = [], 0
    for ring in told:
        if not isinstance(ring, (list, tuple)) or len(ring) < 4:
            raise LabelError("A ring needs three corners, and ends where it begins.")
        vertices += len(ring)
        if vertices > MOST_VERTICES:
            raise LabelError(f"An outline may have {MOST_VERTICES} corners at most.")
        corners = []
        for corner in ring:
            if not (isinstance(corner, (list, tuple)) and len(corner) == 2):
                raise LabelError("A corner is a pair of numbers.")
            x, y = corner
            if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e8 for v in (x, y)):
                raise LabelError("A corner is a pair of numbers in metres.")
            corners.append((float(x), float(y)))
        if corners[0] != corners[-1]:
            raise LabelError("A ring must end where it begins.")
        rings.append(tuple(corners))
    return tuple(rings)


class LabelStore:
    """Labels in a folder: ``labels.gpkg`` and the journal beside it.

    Args:
        folder: is there.
        crs: of the maps, of all labels.
        scheme: of the classes.
        scenes: names of the scenes.
        file: of the labels; by default in the folder.

    Attributes:
        revision: grows with every command.
        notes: what was found at the start that somebody should know.

    Raises:
        LabelError: a GeoPackage with other columns, or a journal of something else.
    """

    def __init__(
        self, folder: Path, *, crs: str, scheme: ClassScheme, scenes: Sequence[str], file: Path | None = None
    ) -> None:
        self.file = folder / "labels.gpkg" if file is None else file
        self._journal = folder / "journal.jsonl"
        self._crs, self._scheme, self._scenes = crs, scheme, tuple(scenes)
        self._lock = RLock()
        self._labels: dict[str, Label] = {}
        self.revision, self.saved_revision = 0, 0
        self.notes: list[str] = []
        self._open()

    @property
    def labels(self) -> list[Label]:
        """All labels, in the order in which they were made."""
        with self._lock:
            return list(self._labels.values())

    def snapshot(self) -> tuple[int, list[Label]]:
        """The revision and the labels, of one moment."""
        with self._lock:
            return self.revision, list(self._labels.values())

    def apply(self, commands: Sequence[Mapping[str, Any]], revision: int, *, author: str = "") -> int:
        """Carry out commands, all or none, and return the new revision once they are on the disk.

        Args:
            commands: ``{"put": label}`` or ``{"remove": id}``.
            revision: on which they were made.
            author: of labels that are new.

        Raises:
            StaleError: the revision is not the newest.
            LabelError: a command that is none, or a label that is none.
            OutputError: the disk is full; nothing has changed.
        """
        with self._lock:
            if revision != self.revision:
                raise StaleError(
                    f"These labels were changed elsewhere (revision {self.revision}, yours {revision}). "
                    "They were loaded anew; draw the last one again."
                )
            after, told = dict(self._labels), []
            for command in commands:
                told.append(self._carry_out(command, after, author))
            if len(after) > MOST_LABELS:
                raise LabelError(f"A desk holds {MOST_LABELS} labels at most.")
            self._append({"revision": self.revision + 1, "commands": told})
            self._labels = after
            self.revision += 1
            return self.revision

    def _carry_out(self, command: Mapping[str, Any], labels: dict[str, Label], author: str) -> dict[str, Any]:
        if not isinstance(command, Mapping) or len(command) != 1 or not set(command) <= {"put", "remove"}:
            raise LabelError('A command is {"put": label} or {"remove": id}.')
        if "remove" in command:
            if not isinstance(command["remove"], str) or labels.pop(command["remove"], None) is None:
                raise LabelError(f"There is no label {command['remove']!r:.80}.")
            return dict(command)
        label = read_label(command["put"], self._scheme, self._scenes)
        old, now = labels.get(label.id), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        label = replace(
            label,
            author=label.author or (old.author if old else author),
            created=label.created or (old.created if old else now),
            modified=now,
        )
        labels[label.id] = label
        return {"put": asdict(label)}

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
        size = self._journal.stat().st_size
        try:
            with self._journal.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with self._journal.open("r+b") as file:  # a half-written line would spoil the next one
                file.truncate(size)
            raise OutputError(f"Labels cannot be kept: {error.strerror}. Free the disk; nothing is lost.") from error

    def save(self) -> Path:
        """Write the GeoPackage and begin the journal anew; returns the file.

        Raises:
            OutputError: it could not be written; the journal holds everything still.
        """
        with self._lock:
            self._check_unchanged()
            write_labels(self.labels, self.file, self._crs, self._scheme)
            self._begin()
            self.saved_revision = self.revision
            return self.file

    def _check_unchanged(self) -> None:
        """Keep what somebody else has written meanwhile beside."""
        if self.file.exists() and (digest(self.file) != self._digest or why_not_output(self.file) is not None):
            aside = _free_name(self.file, "edited")
            self.file.rename(aside)
            self.notes.append(f"{self.file.name} was written elsewhere: it is kept as {aside.name}.")

    def _begin(self) -> None:
        self._digest = digest(self.file) if self.file.exists() else ""
        base = {"frazil": "labels", "revision": self.revision, "gpkg": self._digest, "labels": _told(self.labels)}
        with replaced_file(self._journal) as part:
            part.write_text(json.dumps(base, separators=(",", ":")) + "\n")

    def _open(self) -> None:
        """Read what is there: the journal if it is the newer one, the GeoPackage if somebody edited it."""
        there = digest(self.file) if self.file.exists() else ""
        base, entries = _read_journal(self._journal)
        self._digest = there
        if base is None:
            self._labels = {label.id: label for label in self._from_file()} if there else {}
            self._begin()
            return
        self.revision = int(entries[-1]["revision"] if entries else base["revision"])
        *_, replayed = self._replayed(base, entries)
        edited = {label.id: label for label in self._from_file()} if there and there != base["gpkg"] else None
        if edited is not None and not any(state == edited for state in self._replayed(base, entries)):
            if entries:
                aside = _free_name(self.file, "journal")
                write_labels(list(replayed.values()), aside, self._crs, self._scheme)
                self.notes.append(
                    f"{self.file.name} was edited elsewhere, and labels of the desk were not in it yet: those are kept "
                    f"in {aside.name}, and the desk goes on with {self.file.name}."
                )
            self._labels = edited
            self.revision += 1
            self._begin()
            return
        self._labels = replayed  # a file that is as the journal once was is the desk's own, of a save that was cut off
        self.saved_revision = -1 if entries else self.revision

    def _replayed(self, base: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Label]]:
        """The labels as they were at the beginning of the journal, and after each of its entries."""
        labels = {told["id"]: read_label(told, self._scheme, self._scenes) for told in base["labels"]}
        yield labels
        for entry in entries:
            for command in entry["commands"]:
                if "remove" in command:
                    labels.pop(command["remove"], None)
                else:
                    label = read_label(command["put"], self._scheme, self._scenes)
                    labels[label.id] = label
            yield labels

    def _from_file(self) -> list[Label]:
        return labels_from(read_polygons(self.file, layer=None), self._crs, self._scheme, self._scenes)


def _read_journal(path: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """First line and entries; a last line that was not finished is left out, for nobody was told of it."""
    if not path.exists():
        return None, []
    lines = path.read_bytes().split(b"\n")
    whole, rest = lines[:-1], lines[-1]
    try:
        found = [json.loads(line) for line in whole]
        base, entries = found[0], found[1:]
        if base["frazil"] != "labels":
            raise ValueError("of something else")
        if [e["revision"] for e in entries] != list(range(base["revision"] + 1, base["revision"] + 1 + len(entries))):
            raise ValueError("entries are missing")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise LabelError(f"{path} is no journal of labels ({error}). Move it away to begin anew.") from error
    if rest:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - len(rest))
    return base, entries


def labels_from(
    frame: gpd.GeoDataFrame, crs: str, scheme: ClassScheme, scenes: Sequence[str], *, scene: str | None = None
) -> list[Label]:
    """Labels from a table of polygons with a column ``class`` (name) or ``code``; other columns where they are there.

    Args:
        frame: with a CRS.
        crs: of the maps.
        scheme: of the classes.
        scenes: names; labels of others are refused.
        scene: of polygons that do not say theirs; by default the only one.

    Raises:
        LabelError: no such column, an unknown class, or polygons that do not say their scene where there are several.
    """
    import shapely

    if not {"code", "class"} & set(frame.columns):
        raise LabelError(f"These labels have no column 'class' or 'code', but {[c for c in frame if c != 'geometry']}.")
    codes = {c.name: c.code for c in scheme.classes}
    usual = scene or (scenes[0] if len(scenes) == 1 else "")
    found = []
    for number, row in enumerate(frame.to_crs(find_crs(crs)).to_dict("records")):
        name = row.get("class")
        if isinstance(name, str) and name not in codes:
            raise LabelError(f"Class {name!r:.40} is not one of {list(codes)}.")
        code = codes[name] if isinstance(name, str) else int(row["code"])
        texts = {k: row[k] for k in _TEXTS if isinstance(row.get(k), str)}
        parts = shapely.get_parts(row["geometry"])
        for k, part in enumerate(parts):
            label_id = texts.get("id") or f"file-{number}"
            told = {
                **texts,
                "id": label_id if len(parts) == 1 else f"{label_id[:56]}-{k}",
                "scene": texts.get("scene") or usual,
                "origin": texts.get("origin", "file"),
                "code": code,
                "rings": [list(map(list, ring.coords)) for ring in (part.exterior, *part.interiors)],
            }
            found.append(read_label(told, scheme, scenes))
    return found


_TEXTS = ("id", "scene", "purpose", "origin", "author", "created", "modified", "product", "note")


def write_labels(labels: Sequence[Label], path: Path, crs: str, scheme: ClassScheme) -> None:
    """Write labels as a GeoPackage with one layer, which QGIS opens in the colours of the classes.

    Raises:
        OutputError: the file could not be written.
    """
    import geopandas as gpd
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    from frazil.maps.qgis_vectors import LayerStyle, coloured_by, write_layer_styles

    columns: dict[str, list[Any]] = {
        "class": [scheme.names[label.code] for label in labels],
        "code": [label.code for label in labels],
        "sigrid3": [",".join(scheme.classes[label.code].sigrid3) for label in labels],
        "colour": ["#{:02x}{:02x}{:02x}".format(*scheme.classes[label.code].colour) for label in labels],
        **{name: [getattr(label, name) for label in labels] for name in _TEXTS},
    }
    frame = gpd.GeoDataFrame(columns, geometry=[label.shape for label in labels], crs=find_crs(crs))
    try:
        with whole_output(path, overwrite=True) as part:
            frame.to_file(
                part,
                layer=LAYER,
                engine="pyogrio",
                geometry_type="Polygon",
                layer_metadata={"WRITTEN_BY": WRITTEN_BY},
            )
            style = LayerStyle(
                layer=LAYER, name="Classes", description="Classes", renderer=coloured_by("colour"), default=True
            )
            write_layer_styles(part, [style])
    except (DataSourceError, DataLayerError, FeatureError, OSError) as error:
        if isinstance(error, FrazilError):
            raise
        raise OutputError(f"Cannot write {path}: {error}. Free the space; the journal keeps the labels.") from error


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _told(labels: Sequence[Label]) -> list[dict[str, Any]]:
    return [asdict(label) for label in labels]


def _free_name(path: Path, word: str) -> Path:
    for n in range(1, 1000):
        candidate = path.with_name(f"{path.stem}-{word}-{n}{path.suffix}")
        if not candidate.exists():
            return candidate
    raise OutputError(f"There are too many files {path.stem}-{word}-… beside {path}.")
