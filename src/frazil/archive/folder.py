"""An archive of maps: a folder in which all maps were made by one model with the same options, so that they compare.

``archive.json`` says which; ``maps/`` holds a folder for each product, as `frazil map` makes it; ``journal/`` what was
done when (`frazil.archive.journal`); ``status.html`` how it stands; ``items.parquet`` and a STAC collection what there
is (`frazil.archive.catalogue`).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from frazil.conventions import Check
from frazil.errors import OptionError, OutputError, OutputExistsError, ProductNotFoundError
from frazil.files import refuse_unwritable, replaced_file
from frazil.learn.predict.mapping import MapOptions
from frazil.maps.layers import Kind
from frazil.marks import WRITTEN_BY
from frazil.untrusted import read_json

if TYPE_CHECKING:
    from frazil.learn.checkpoint import Model

ARCHIVE_FILE, MAPS, JOURNAL, PRODUCTS = "archive.json", "maps", "journal", "products"
_BYTES = 2**20
#: Options that do not change a map.
_ANY = ("device",)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What an archive is.

    Attributes:
        root: the folder.
        kind: of its maps.
        model: name or folder of the model, as it was given.
        model_id: of its card.
        weights_sha256: of its card.
        options: how products are mapped.
        check: of products, see `frazil.open_product`.
        attributes: who makes the maps, see `frazil.scene.discovery.own_attrs`.
        token: of this archive alone: by it workers on other machines know that they see the same folder.
    """

    root: Path
    kind: Kind
    model: str
    model_id: str
    weights_sha256: str
    options: MapOptions
    check: Check = "full"
    attributes: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def maps(self) -> Path:
        """The folder of the folders of maps."""
        return self.root / MAPS

    def folder_of(self, name: str) -> Path:
        """Of one map."""
        return self.maps / name

    def holds(self, name: str) -> bool:
        """Whether a map is there; folders of maps appear whole."""
        return (self.folder_of(name) / "summary.json").is_file()

    def told(self) -> dict[str, Any]:
        """The content of ``archive.json``."""
        values = asdict(self)
        del values["root"]
        return {"written_by": WRITTEN_BY, "frazil": "archive", **values}

    def difference(self, other: Archive) -> str | None:
        """The first thing by which maps of two archives would differ, in words; None where they would not."""
        for name in ("kind", "model_id", "weights_sha256", "check", "attributes"):
            if getattr(self, name) != getattr(other, name):
                return f"{name} {_short(getattr(self, name))}, not {_short(getattr(other, name))}"
        for name, value in asdict(self.options).items():
            wanted = getattr(other.options, name)
            if name not in _ANY and value != wanted:
                return f"{name} {_short(value)}, not {_short(wanted)}"
        return None


def describe_archive(
    root: str | os.PathLike[str],
    model: str,
    loaded: Model,
    options: MapOptions,
    *,
    check: Check = "full",
    attributes: Mapping[str, str] | None = None,
) -> Archive:
    """The archive that maps by a model and options would be; nothing is written.

    Args:
        root: its folder.
        model: as it was given; folders become absolute, for workers start elsewhere.
        loaded: the model.
        options: how products are mapped.
        check: of products.
        attributes: of the files, see `frazil.scene.discovery.own_attrs`.
    """
    if options.bbox is not None:
        _ = options.box
    return Archive(
        root=Path(root).absolute(),
        kind=loaded.card.scheme.kind,
        model=str(Path(model).absolute()) if Path(model).is_dir() else model,
        model_id=loaded.card.id,
        weights_sha256=loaded.card.weights_sha256,
        options=options,
        check=check,
        attributes=dict(attributes or {}),
    )


def begin_archive(wanted: Archive) -> Archive:
    """Make an archive's folder, or go on with the one that is there.

    Raises:
        OutputExistsError: a folder that is no archive.
        OptionError: an archive of maps by another model, or with other options.
        OutputError: it cannot be written.
    """
    root = wanted.root
    if (root / ARCHIVE_FILE).exists():
        there = open_archive(root)
        other = there.difference(wanted)
        if other is not None and not any(there.maps.glob("*/summary.json")):  # holds nothing yet
            return _written(wanted)
        if other is not None:
            raise OptionError(
                f"The maps of {root} have {other}: an archive holds maps that compare. Give the same options, or "
                "another folder (-o)."
            )
        return there
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise OutputExistsError(f"{root} is there and no archive of maps. Name another folder with -o.")
    refuse_unwritable(root, inside=True)
    return _written(wanted)


def _written(wanted: Archive) -> Archive:
    root = wanted.root
    try:
        wanted.maps.mkdir(parents=True, exist_ok=True)
        (root / JOURNAL).mkdir(exist_ok=True)
        with replaced_file(root / ARCHIVE_FILE) as part:
            part.write_text(json.dumps(wanted.told(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"Cannot make the archive {root}: {error.strerror or error}. Choose another folder."
        ) from error
    return wanted


def open_archive(root: str | os.PathLike[str]) -> Archive:
    """An archive that is there.

    Raises:
        ProductNotFoundError: there is none, or its ``archive.json`` is damaged.
    """
    place = Path(root)
    try:
        told = read_json(place / ARCHIVE_FILE, _BYTES)
        options = MapOptions(**{**told["options"], **{n: tuple(told["options"][n]) for n in ("drop", "scales")}})
        if told["frazil"] != "archive" or told["kind"] not in ("exclusive", "multilabel"):
            raise ValueError("it is of something else")
        return Archive(
            root=place.absolute(),
            kind=cast("Kind", told["kind"]),
            model=str(told["model"]),
            model_id=str(told["model_id"]),
            weights_sha256=str(told["weights_sha256"]),
            options=options,
            check=cast("Check", str(told["check"])),
            attributes={str(k): str(v) for k, v in told["attributes"].items()},
            token=str(told["token"]),
        )
    except FileNotFoundError:
        raise ProductNotFoundError(
            f"{place} is no archive of maps (no {ARCHIVE_FILE}). Give the folder that `frazil batch` filled."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProductNotFoundError(
            f"{place / ARCHIVE_FILE} cannot be read ({type(error).__name__}: {error}). Put it back, or begin another "
            "archive."
        ) from error


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"
