"""docs/results/archive.md from the rows of `benchmarks/archive.py`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from frazil.files import replaced_file
from frazil.learn.checkpoint import git_commit

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
#: A whole Extra Wide scene, from docs/results/stages.md: processor seconds of a map, GB of memory, GB of its folder.
SCENES_A_YEAR = 40 * 365
PAGE = """# What an archive costs

How big this is: two cores of a shared machine. Batches are of {scenes} simulated products of 800 × 800 pixels
(one in 175 of an Extra Wide scene), the table of 100,000 made-up items, the mosaic of {maps} made-up maps of
Extra Wide size, 3400 × 3600 pixels of 120 m. More than two workers could not be tried. There is no source to
compare with: neither the thesis nor the paper processes an archive.

| | |
| --- | --- |
{rows}

## Kills

{kills}

## A year of the Arctic, on paper

Taking forty Extra Wide scenes of HH and HV a day for the Arctic, a year has {year:,}. A whole scene takes {cpu:.0f}
processor seconds from product to folder (`frazil map` on the bundled sample, every file, start included), and its
folder {mb:.0f} MB: {hours:,.0f} processor hours and {tb:.1f} TB of maps. One machine of two cores maps a year in
{days:.1f} days, ten such machines in {tendays:.1f}. What a map needs of a product is 0.45 GB: {intb:.1f} TB to fetch,
at the 20 MB/s and four connections that the Copernicus Data Space allows a general user {fetch:.1f} days, within its 12
TB in 30 days. The first limit is therefore the processor up to three such machines, and the download beyond; journal
and table come far behind, with {overhead:.0f} ms a scene and a third of a second for a hundred thousand maps.

Commands: `python benchmarks/archive.py kills`, `workers --scenes 24`, `overhead`, `memory --scenes 100`,
`catalogue`, `mosaic`, then `--page`; commit {commit}
"""

KILLS = """A batch of {scenes} scenes by two workers was killed {kills} times at random: {of_the_whole_batch} times
the whole batch, else one of its workers. In the end there were {maps} maps, and {quarantined} scenes
quarantined; of {files} files {files_that_differ} differed from those of an undisturbed run, {files_too_many}
were too many, {leftovers} half-written folders were left, and {torn_lines} lines of the journal were
unreadable. Undisturbed it took {undisturbed_s:.0f} s, with kills {killed_s:.0f} s. Whenever the batch
was done before its time, a quarter of the maps were removed, and it began anew."""


def write_page(rows: list[Row]) -> None:
    """Write the page from the last row of each part."""
    last = {row["part"]: row for row in rows}
    kills, work, over = last["kills"], last["workers"], last["overhead"]
    memory, table, day = last["memory"], last["catalogue"], last["mosaic"]
    peaks = memory["peak_mb_after"]
    first, *_, end = peaks.items()
    lines = [
        ("small scenes an hour: one by one (`frazil map`), one worker, two", " · ".join(
            str(work["per_hour"][k]) for k in ("one by one", "1", "2"))),
        ("efficiency: seconds of a worker on one core over twice those of two (goal 0.9)", f"{work['efficiency']:.2f}"),
        ("two workers against one that has both cores", f"{work['gain']:.2f} times"),
        ("what a task costs beside its work (goal 50 ms)", f"{over['ms_a_task']:.0f} ms"),
        (f"memory of one worker after {first[0]} and {end[0]} scenes",
         f"{first[1] / 1024:.2f} and {end[1] / 1024:.2f} GiB (" + ", ".join(
             f"{k}: {v / 1024:.2f}" for k, v in peaks.items()) + ")"),
        ("100,000 maps: opened; of a day; of a month and place (goal 1 s)",
         (f"{table['s']['all']:.2f} · {table['s']['a day']:.2f} · {table['s']['a month and place']:.2f} s, "
          f"{table['mb']:.0f} MB")),
        *((f"mosaic of {day['maps']} maps, {rule} (goal 4 GB)",
           f"{day[rule]['s']:.0f} s, {day[rule]['peak_gb']:.2f} GB") for rule in ("latest", "confident", "fused")),
        ("series of that day", f"{day['series']['s']:.0f} s, {day['series']['peak_gb']:.2f} GB"),
    ]  # fmt: skip
    cpu, gb, product = 38.0, 0.145, 0.45  # processor s and GB of a map, GB of what it needs of a product
    text = PAGE.format(
        scenes=kills["scenes"],
        maps=day["maps"],
        rows="\n".join(f"| {name} | {value} |" for name, value in lines),
        kills=KILLS.format(**kills),
        year=SCENES_A_YEAR,
        cpu=cpu,
        mb=1000 * gb,
        hours=SCENES_A_YEAR * cpu / 3600,
        tb=SCENES_A_YEAR * gb / 1000,
        days=SCENES_A_YEAR * cpu / 2 / 86400,
        tendays=SCENES_A_YEAR * cpu / 20 / 86400,
        intb=SCENES_A_YEAR * product / 1000,
        fetch=SCENES_A_YEAR * product * 1000 / 80 / 86400,
        overhead=over["ms_a_task"],
        commit=git_commit(),
    )
    text = "\n\n".join(part if part[:1] in "#|" else _wrapped(part) for part in text.split("\n\n"))
    with replaced_file(ROOT / "docs" / "results" / "archive.md") as file:
        file.write_text(text.rstrip() + "\n", encoding="utf-8")


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), 120, break_long_words=False, break_on_hyphens=False)
