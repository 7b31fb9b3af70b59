"""Write a page of the study of few labels anew from its rows, without data and without training.

    python benchmarks/few_labels_page.py docs/results/studies/few-labels.jsonl docs/results/few-labels.md [--simulated]
                                         [--labels 15] [--seeds 1] [--command "frazil study few-labels …"]

The title, "The data" and "What it shows" of the page stay; so does its last command, unless another is given.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import cast

from frazil.studies.few_labels_page import write_few_labels_page
from frazil.studies.few_labels_table import CEILING, CONTROLS, Row, count_of, summarise_few_labels
from frazil.studies.runner import read_rows


def main() -> int:
    """Read, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--command", help="that made the rows; by default what the page says")
    parser.add_argument("--labels", type=int, help="rows of this number of labels alone")
    parser.add_argument("--seeds", type=int, help="rows of so many seeds alone")
    given = parser.parse_args()
    rows = [cast(Row, row) for line in read_rows(given.rows).values() for row in line["rows"]]
    rows = [row for row in rows if given.labels in (None, count_of(row))]
    rows = [r for r in rows if r["method"] == CEILING or given.seeds is None or r["config"]["seed"] < given.seeds]
    old = given.page.read_text(encoding="utf-8") if given.page.exists() else ""
    command = given.command or re.findall(r"^Command: `(.*)`$", old, flags=re.MULTILINE)[-1]
    # Methods stay in the page's order: that of the file is that in which they were run.
    known = re.findall(r"^\| ([^|]+?) \|", old.partition("## Accuracy on held-out")[2], flags=re.MULTILINE)
    order = dict.fromkeys([*known, *(row["method"] for row in rows)])
    rows.sort(key=lambda row: (row["method"] in (*CONTROLS, CEILING), list(order).index(row["method"])))
    table = summarise_few_labels(rows)
    write_few_labels_page(rows, table, given.page, command=command, simulated=given.simulated, overwrite=True)
    print(len(rows), "rows of", ", ".join(dict.fromkeys(row["method"] for row in rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
