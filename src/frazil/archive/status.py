"""How an archive stands: counts, speed, what is under way and what was quarantined; in words, JSON, and as a page."""

from __future__ import annotations

import html
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from frazil.archive.folder import JOURNAL, Archive, now
from frazil.archive.journal import Entry, entries, read_events
from frazil.files import replaced_file
from frazil.marks import WRITTEN_BY

STATUS_PAGE = "status.html"
_SPEED_OF = timedelta(hours=1)
_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a running batch knows and the journal does not.

    Attributes:
        scenes: of the batch.
        shard: its name.
    """

    scenes: int
    shard: str = "all"


@dataclass(frozen=True, kw_only=True)
class Status:
    """How an archive stands.

    Attributes:
        archive: its folder.
        model: of its maps.
        time: of this status, UTC.
        running: whether a batch is at work, as far as is known.
        scenes: known of: mapped, under way, quarantined or waiting.
        mapped: maps that are there.
        under_way: begun and not ended, by id.
        quarantined: quarantined, by id.
        failed: failed and to be tried again.
        scenes_per_hour: that ended in the last hour before the last event; None without any.
        left_s: seconds until the rest is done at that speed; None where nobody can tell.
        median_s: of a scene's seconds.
        peak_mb: most memory of a worker.
        workers: that were at work in that hour.
    """

    archive: str
    model: str
    time: str
    running: bool
    scenes: int
    mapped: int
    under_way: tuple[Entry, ...]
    quarantined: tuple[Entry, ...]
    failed: int
    scenes_per_hour: float | None
    left_s: float | None
    median_s: float | None
    peak_mb: float | None
    workers: int

    @property
    def waiting(self) -> int:
        """Neither mapped, under way, nor quarantined."""
        return max(self.scenes - self.mapped - len(self.under_way) - len(self.quarantined), 0)


def status_of(archive: Archive, totals: Totals | None = None, *, running: bool = False) -> Status:
    """The status of an archive, from its journal and the folders of maps.

    Args:
        archive: see `frazil.archive.folder.open_archive`.
        totals: of a batch at work; else the journal's last session tells.
        running: whether it is at work: what was begun and did not end is then under way, else it was given up.
    """
    events = read_events(archive.root / JOURNAL)
    known = entries(events)
    mapped = sum(1 for place in archive.maps.glob("*/summary.json")) if archive.maps.is_dir() else 0
    done = [e for e in events if e["event"] == "done" and e.get("made")]
    recent: list[str] = []
    if done:
        last = _time(done[-1]["time"])
        recent = [e["time"] for e in done if last - _time(e["time"]) <= _SPEED_OF]
    speed = _speed(recent, events)
    seconds = [float(e["seconds"]) for e in done if isinstance(e.get("seconds"), (int, float))]
    peaks = [float(e["peak_mb"]) for e in events if isinstance(e.get("peak_mb"), (int, float))]
    under_way = tuple(e for e in known.values() if e.state == "running") if running else ()
    aside = tuple(e for e in known.values() if e.state == "quarantined")
    sessions = [int(e["scenes"]) for e in events if e["event"] == "session" and isinstance(e.get("scenes"), int)]
    scenes = max(totals.scenes if totals else (sessions[-1] if sessions else 0), mapped + len(under_way) + len(aside))
    rest = scenes - mapped - len(aside)
    return Status(
        archive=str(archive.root),
        model=archive.model_id,
        time=now(),
        running=running,
        scenes=scenes,
        mapped=mapped,
        under_way=under_way,
        quarantined=aside,
        failed=sum(e.state == "failed" for e in known.values()),
        scenes_per_hour=speed,
        left_s=round(3600 * rest / speed, 0) if speed and rest > 0 else None,
        median_s=round(statistics.median(seconds), 2) if seconds else None,
        peak_mb=max(peaks) if peaks else None,
        workers=len({e.get("worker") for e in done if e["time"] in set(recent)}),
    )


def lines_of(status: Status) -> list[str]:
    """A status in lines for a terminal."""
    out = [
        f"archive      {status.archive}",
        f"model        {status.model}",
        f"mapped       {status.mapped} of {status.scenes} scenes",
    ]
    if status.under_way:
        out.append(f"under way    {len(status.under_way)}: {', '.join(e.id for e in status.under_way[:4])}")
    if status.waiting:
        out.append(f"waiting      {status.waiting}")
    if status.scenes_per_hour:
        left = f", about {duration(status.left_s)} left" if status.left_s else ""
        out.append(f"speed        {status.scenes_per_hour:.0f} scenes an hour{left}")
    if status.median_s is not None:
        peak = f", at most {status.peak_mb / 1024:.2f} GiB a worker" if status.peak_mb else ""
        out.append(f"a scene      {status.median_s:.1f} s (median){peak}")
    out.append(f"quarantined  {len(status.quarantined)}")
    out += [f"  {e.id}: {e.error}" for e in status.quarantined[:_SHOWN]]
    return out


def write_status_page(status: Status, folder: Path) -> Path:
    """``status.html``: one page without scripts that loads itself anew while a batch is at work."""
    share = 100 * status.mapped / status.scenes if status.scenes else 0.0
    anew = '<meta http-equiv="refresh" content="15">' if status.running else ""
    rows = [
        ("Mapped", f"{status.mapped} of {status.scenes}"),
        ("Under way", str(len(status.under_way))),
        ("Waiting", str(status.waiting)),
        ("Quarantined", str(len(status.quarantined))),
        ("Speed", "–" if status.scenes_per_hour is None else f"{status.scenes_per_hour:.0f} scenes an hour"),
        ("Left", "–" if status.left_s is None else duration(status.left_s)),
        ("A scene", "–" if status.median_s is None else f"{status.median_s:.1f} s (median)"),
        ("Memory", "–" if status.peak_mb is None else f"at most {status.peak_mb / 1024:.2f} GiB a worker"),
    ]
    facts = "".join(f"<div><dt>{name}</dt><dd>{html.escape(value)}</dd></div>" for name, value in rows)
    page = _PAGE.format(
        anew=anew,
        written=WRITTEN_BY,
        title=html.escape(Path(status.archive).name),
        model=html.escape(status.model),
        at="at work" if status.running else "at rest",
        time=html.escape(status.time[:19].replace("T", " ")),
        share=f"{share:.1f}",
        facts=facts,
        under_way=_table(
            "Under way", ("scene", "worker", "since"), status.under_way, lambda e: (e.id, e.worker, e.time)
        ),
        aside=_table(
            "Quarantined (frazil batch --retry tries them again)",
            ("scene", "why", "tries"),
            status.quarantined,
            lambda e: (e.id, e.error, str(e.tries)),
        ),
    )
    target = folder / STATUS_PAGE
    with replaced_file(target) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return target


def duration(seconds: float | None) -> str:
    """``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    if seconds is None:
        return "–"
    for limit, unit, name in ((100, 1, "s"), (6000, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            digits = 1 if name == "h" and seconds < 36000 else 0
            return f"{seconds / unit:.{digits}f} {name}"
    return f"{seconds / 86400:.1f} days"


def _speed(times: Sequence[str], events: Sequence[dict[str, str]]) -> float | None:
    """Scenes an hour, from when the session of the first of them began."""
    if not times:
        return None
    first, last = _time(times[0]), _time(times[-1])
    starts = [_time(e["time"]) for e in events if e["event"] == "session" and _time(e["time"]) <= first]
    since = max(starts[-1], last - _SPEED_OF) if starts else first
    span = (last - since).total_seconds()
    return round(3600 * len(times) / span, 1) if span > 0 else None


def _table(title: str, heads: Sequence[str], found: Sequence[Entry], row: object) -> str:
    if not found:
        return ""
    assert callable(row)
    head = "".join(f"<th>{h}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row(e)) + "</tr>" for e in found[:_SHOWN])
    more = f"<p>{len(found) - _SHOWN} more: see the journal.</p>" if len(found) > _SHOWN else ""
    return f"<h2>{html.escape(title)}: {len(found)}</h2><table><tr>{head}</tr>{body}</table>{more}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="{written}">
<meta name="viewport" content="width=device-width, initial-scale=1">{anew}
<title>{title}: batch</title><style>
:root {{ color-scheme: light dark; --line: #8884; --bar: #1f6f8b; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin: 0; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
.bar {{ height: 14px; border: 1px solid var(--line); border-radius: 7px; overflow: hidden; margin: 1rem 0; }}
.bar div {{ height: 100%; background: var(--bar); }}
dl {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .8rem; }}
dt {{ font-size: .85rem; opacity: .75; }} dd {{ margin: 0; font-size: 1.15rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: .88rem; }}
th, td {{ text-align: left; border-bottom: 1px solid var(--line); padding: .3rem .5rem; vertical-align: top; }}
th {{ white-space: nowrap; }} td {{ overflow-wrap: anywhere; }} td:first-child {{ min-width: 15rem; }}
</style></head><body>
<h1>{title}</h1><p>Model {model}; {at}, {time} UTC</p>
<div class="bar" role="progressbar" aria-label="Scenes mapped" aria-valuenow="{share}" aria-valuemin="0"
aria-valuemax="100"><div style="width: {share}%"></div></div>
<dl>{facts}</dl>{under_way}{aside}
</body></html>
"""
