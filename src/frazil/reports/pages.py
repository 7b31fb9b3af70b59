"""A report on training runs as a folder of web pages that open without a network, and print.

``index.html`` holds one run whole, or the runs side by side with a page for each; ``figures/`` the pictures. There is
no script in it, every text of others is escaped, and a content-security policy keeps the pages from asking for anything
that is not in the folder. What differs by the kind of a run's classes stands in `frazil.reports.class_sections` and
`frazil.reports.mask_sections`, and in the template of each.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from frazil import __version__
from frazil.errors import OptionError
from frazil.files import refuse_existing, whole_output
from frazil.maps.export import as_output_error
from frazil.reports import class_sections, figures, mask_sections
from frazil.reports.html import FIGURES, write_html
from frazil.reports.maps import MapWithTruth, read_map
from frazil.reports.record import Kind, RunRecord
from frazil.reports.tables import differing_settings, duration, number

PAGE, TEMPLATE = "index.html", "report.html.j2"
_SECTIONS: dict[Kind, ModuleType] = {"exclusive": class_sections, "multilabel": mask_sections}


def write_report(
    runs: Sequence[RunRecord],
    directory: str | os.PathLike[str],
    *,
    maps: Sequence[MapWithTruth] = (),
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write the report; the folder appears whole or not at all.

    Args:
        runs: one run, or several side by side.
        directory: the folder; made with its parents.
        maps: to show with their truth.
        overwrite: replace the folder if it exists.

    Returns:
        The pages: ``"report"``, and with several runs ``"run_1"``, ``"run_2"`` …

    Raises:
        OptionError: no run.
        ProductNotFoundError, ContractError, LabelError and others: maps or truths that cannot be read.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    if not runs:
        raise OptionError("There is no run to report on. Pass the folder of one.")
    target = refuse_existing(directory, overwrite=overwrite)
    shown = [read_map(one, n, runs) for n, one in enumerate(maps, start=1)]
    pages = {"report": PAGE}
    several = len(runs) > 1
    if several:
        pages |= {f"run_{n}": f"run-{n}.html" for n in range(1, len(runs) + 1)}
    with whole_output(target, overwrite=overwrite) as part, as_output_error(target):
        (part / FIGURES).mkdir(parents=True)
        common = {
            "version": __version__,
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "maps": [one.draw(part) for one in shown],
        }
        described = [_run(run, n, part) for n, run in enumerate(runs, start=1)]
        overview = _overview(runs, part) if several else None
        first: dict[str, object] = {"overview": overview, "run": None if several else described[0]}
        write_html(part / PAGE, TEMPLATE, title=title_of(runs), back=False, **first, **common)
        if several:
            for n, one in enumerate(described, start=1):
                title = f"Run {n}: {runs[n - 1].name}"
                write_html(
                    part / f"run-{n}.html",
                    TEMPLATE,
                    title=title,
                    back=True,
                    overview=None,
                    run=one,
                    **common | {"maps": []},
                )
    return {name: target / page for name, page in pages.items()}


def title_of(runs: Sequence[RunRecord]) -> str:
    """Of the first page."""
    return f"Training run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} training runs side by side"


def _run(run: RunRecord, n: int, folder: Path) -> dict[str, object]:
    """What the page says of a run; its figures are written."""
    sections, curves = _SECTIONS[run.kind], f"{FIGURES}/run-{n}-curves.png"
    return {
        "number": n,
        "kind": run.kind,
        "name": run.name,
        "folder": run.folder,
        "unit": run.unit,
        "finished": run.finished,
        "state": state_of(run),
        "statement": run.card.statement if run.card else "",
        "facts": facts_of(run),
        "curves": curves if figures.draw_curves([run], folder / curves, sections.panels(run)) else None,
        "kept_step": run.kept_step,
        "no_examples": run.no_examples,
        "settings": run.settings,
        **sections.described(run, n, folder),
    }


def _overview(runs: Sequence[RunRecord], folder: Path) -> dict[str, object]:
    """Runs side by side, those of a kind in one table."""
    tables: dict[str, object] = {}
    for kind, sections in _SECTIONS.items():
        numbers = [n for n, run in enumerate(runs, start=1) if run.kind == kind]
        if numbers:
            tables[kind] = sections.overview([runs[n - 1] for n in numbers], numbers, folder)
    return {
        "tables": tables,
        "runs": [{"number": n, "name": run.name} for n, run in enumerate(runs, start=1)],
        "differences": differing_settings(runs),
    }


def state_of(run: RunRecord) -> str:
    """Whether the run has ended, and how, in words."""
    of = "" if run.planned is None else f" of {number(run.planned)}"
    if not run.finished:
        return (
            f"This run has not ended: {number(run.steps)}{of} steps are in its log. It was killed or is still going "
            "on. The same command goes on where it stopped. There are no scores yet."
        )
    if run.reached_target:
        return f"This run stopped after {number(run.steps)}{of} steps: it reached its target (`optim.target`)."
    if run.stopped_early:
        return f"This run stopped early after {number(run.steps)}{of} steps: it no longer got better."
    return f"This run ended after {number(run.steps)} steps."


def facts_of(run: RunRecord) -> list[tuple[str, str]]:
    """What the run is, a line a fact."""
    settings = run.settings
    data = next((v for v in (_named(settings, k) for k in ("patches", "labels", "train")) if v), None)
    facts = [
        ("Network", settings.get("model.architecture", "–")),
        ("Weights at the start", settings.get("model.pretrained", "null").replace("null", "drawn at random")),
        ("Way of learning", settings.get("strategy.name", "–")),
        ("Seed", settings.get("seed", "–")),
        ("Classes", ", ".join(run.scheme.titles) if run.scheme else "not told"),
        ("Data", data or settings.get("data.kind", "–")),
    ]
    if run.card:
        facts.append(("Channels", ", ".join(run.card.channels) or "–"))
        facts.append(("Pixel spacing", f"{run.card.spacing_m} m"))
        facts.append(("Noise removal", run.card.denoise))
        facts.append(("Temperature", run.card.temperature))
    facts += [
        ("Time spent on training", "not told" if run.seconds is None else duration(run.seconds)),
        ("Commit of frazil", run.commit),
        ("Versions", ", ".join(f"{k} {v}" for k, v in run.versions.items()) or "not told"),
        ("Command", run.command),
        ("Run folder", run.folder),
    ]
    return facts


def _named(settings: dict[str, str], key: str) -> str:
    """A setting of the data without the marks of JSON."""
    return settings.get(f"data.{key}", "").strip("[]").replace('"', "")
