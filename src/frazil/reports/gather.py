"""Reading a run folder for a report, and looking again with its model: the torch side of `frazil report`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from frazil.errors import OptionError
from frazil.learn.checkpoint import CARD
from frazil.learn.log import read_log
from frazil.learn.run_folder import MODEL, SCORES, STATE, read_run
from frazil.reports.examples import examples_of
from frazil.reports.record import SIDES, Kind, RunRecord, kind_of, record_of
from frazil.reports.scores import ClassScores, MaskScores
from frazil.untrusted import parse_json, read_json

_SCORES: dict[Kind, type[ClassScores | MaskScores]] = {"exclusive": ClassScores, "multilabel": MaskScores}


def read_record(folder: str | os.PathLike[str], *, worst: int = 24, device: str | None = None) -> RunRecord:
    """What there is to say of a run, finished or not, with examples to look at.

    Args:
        folder: of the run.
        worst: how many of the worst examples to show; 0 leaves all out, and needs no data and no network.
        device: ``"cpu"`` or ``"cuda"``, for these.

    Raises:
        OptionError: no run there, or files in it that are damaged; an impossible number.
    """
    if worst < 0:
        raise OptionError(f"worst is {worst}; it must be 0 or more.")
    place = Path(folder)
    run = read_run(place)
    card = _json(place / MODEL / CARD) if (place / MODEL / CARD).is_file() else {}
    found = record_of(
        str(folder),
        place.name,
        run,
        _numbers(read_log(place)),
        finished=(place / SCORES).is_file() and bool(card),
        scores=_scores(place / SCORES, kind_of(run)),
        card=card,
        seconds=_seconds(place),
    )
    if not found.finished:
        return replace(found, no_examples="The run has not ended; there is no model yet.")
    if worst == 0:
        return replace(found, no_examples="None were requested.")
    return examples_of(found, run, place, worst=worst, device=device)


def _json(path: Path) -> dict[str, object]:
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} is damaged ({error}). Run `frazil train` again into that folder.") from error
    if not isinstance(values, dict):
        raise OptionError(f"{path} is damaged (it is not a JSON object). Run `frazil train` again into that folder.")
    return values


def _scores(path: Path, kind: Kind) -> dict[str, ClassScores | MaskScores]:
    """Scores by side."""
    from pydantic import TypeAdapter, ValidationError

    if not path.is_file():
        return {}
    values = _json(path)
    read: TypeAdapter[ClassScores | MaskScores] = TypeAdapter(_SCORES[kind])
    try:
        return {side: read.validate_python(values[side]) for side in SIDES[1:] if side in values}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OptionError(
            f"{path} holds no scores of a run ({where or 'scores'}: {first['msg']}). Run `frazil train` again."
        ) from error


def _numbers(log: Sequence[Mapping[str, object]]) -> list[dict[str, float]]:
    """The lines whose step is a number, and of these the numbers."""
    rows = [{k: float(v) for k, v in row.items() if type(v) is int or type(v) is float} for row in log]
    return [row for row in rows if math.isfinite(row.get("step", math.nan)) and row["step"] >= 0]


def _seconds(place: Path) -> float | None:
    """Spent on training until the state of an unfinished run was last saved."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(place / STATE, framework="np") as file:
            return float(parse_json(file.metadata()["progress"])["seconds"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None
