"""Choosing k and α of label propagation: which judge can be trusted, and what choosing is worth.

    python benchmarks/choose_propagation.py SET.zarr --split SPLIT.json [--labels 15,60] [--draws 20]
                                            [--channels hh,hv] [--page docs/results/choosing.md --name "simulated ice"]

For every draw of labels each pair of a grid is tried over the patches themselves (less their mean, as the control "raw
propagation" of the study of few labels). What counts is the mean recall on the patches of the training scenes whose
label was hidden. Compared are: the papers' pair, a middle pair, the pair that validation scenes choose, the pair that
labels left out in turn choose (by recall alone, and with ties broken by how sure of the truth ψ is), and the best pair,
which only the hidden labels can tell.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from frazil.learn.checkpoint import git_commit
from frazil.learn.config import ChoiceConfig, LabelsConfig, PatchData, PropagationConfig
from frazil.learn.data.load import draw, read_sides
from frazil.learn.propagation.choose import Choice, choose_propagation, mean_recall
from frazil.learn.propagation.graph import graph_of, propagate_labels
from frazil.learn.propagation.neighbours import nearest_neighbours
from frazil.metrics import student_interval

GRID = ChoiceConfig(by="labels", k=(5, 10, 20, 50), alpha=(0.5, 0.9, 0.99))
PAPER, MIDDLE = (50, 0.99), (10, 0.9)
WAYS = (
    "k = 50, α = 0.99 (papers)",
    "k = 10, α = 0.9",
    "validation",
    "labels, recall alone",
    "labels",
    "best of the grid",
)

_read = functools.lru_cache(maxsize=1)(read_sides)


def pair_of(chosen: Choice) -> tuple[int, float]:
    """The pair that was chosen."""
    return chosen.k, chosen.alpha


def one_draw(data: PatchData, labels: LabelsConfig) -> tuple[dict[str, float], dict[str, tuple[int, float]]]:
    """Mean recall in percent on hidden labels of each way to choose, and the pairs chosen."""
    sides, _, _, table = _read(data)
    train, chosen, _ = draw(data, labels, sides, table)
    judges = sides["validation"]
    images = np.concatenate([train.image, judges.image]).astype(np.float32)
    features = (images - train.image.mean(axis=0, dtype=np.float64)).reshape(len(images), -1).astype(np.float32)
    truth = train.label.astype(int)
    known = np.full(len(features), -1)
    known[chosen] = truth[chosen]
    held_out = np.full(len(features), -1)
    held_out[len(train) :] = judges.label
    config, n = PropagationConfig(), len(train.scheme.classes)
    own, mine = features[: len(train)], known[: len(train)]
    near = nearest_neighbours(own, max(GRID.k))
    hidden = mine < 0
    found = {}
    for k in GRID.k:
        graph = graph_of(near[0][:, :k], near[1][:, :k], config.gamma)
        for alpha in GRID.alpha:
            settings = replace(config, k=k, alpha=alpha)
            score = propagate_labels(own, mine, n_classes=n, config=settings, graph=graph).score
            found[k, alpha] = 100 * mean_recall(truth[hidden], score[hidden])
    by_labels = choose_propagation(own, mine, GRID, config, n_classes=n)
    by_validation = choose_propagation(
        features, known, replace(GRID, by="validation"), config, held_out=held_out, n_classes=n
    )
    plain = max(by_labels.tried, key=lambda one: round(one.recall, 6))
    pairs = dict(
        zip(
            WAYS,
            (
                PAPER,
                MIDDLE,
                pair_of(by_validation),
                (plain.k, plain.alpha),
                pair_of(by_labels),
                max(found, key=lambda p: found[p]),
            ),
            strict=True,
        )
    )
    return {way: found[pair] for way, pair in pairs.items()}, pairs


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--channels", default="")
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--limit", type=int, default=1500)
    parser.add_argument("--labels", default="15,60")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=100, help="first draw: others than those of the studies")
    parser.add_argument("--name", default="")
    parser.add_argument("--page", type=Path, help="table to add to this file")
    given = parser.parse_args()
    data = PatchData(
        patches=(str(given.store),),
        split=str(given.split),
        size=given.size,
        limit=given.limit,
        class_scheme="binary",
        channels=tuple(given.channels.split(",")) if given.channels else PatchData().channels,
    )
    counts = [int(word) for word in given.labels.split(",")]
    columns, started = [], time.perf_counter()
    for count in counts:
        rows = [one_draw(data, LabelsConfig(count=count, seed=given.first + i)) for i in range(given.draws)]
        cells = []
        for way in WAYS:
            value = np.array([scores[way] for scores, _ in rows])
            lost = np.array([scores[WAYS[-1]] - scores[way] for scores, _ in rows])
            common = {pair: sum(pairs[way] == pair for _, pairs in rows) for pair in {p[way] for _, p in rows}}
            most = max(common, key=lambda pair: common[pair])
            cells.append(
                f"{value.mean():.1f} ± {student_interval(value):.1f}, lost {lost.mean():.1f} (at most "
                f"{lost.max():.1f}), "
                f"{most[0]}/{most[1]:g} in {common[most]}"
            )
        columns.append(cells)
    head = "| chosen by | " + " | ".join(f"{c} labels" for c in counts) + " |"
    lines = [head, "|" + "---|" * (len(counts) + 1)]
    lines += [f"| {way} | " + " | ".join(c[i] for c in columns) + " |" for i, way in enumerate(WAYS)]
    text = (
        f"## {given.name or given.store.name}\n\n" + "\n".join(lines) + "\n\n"
        f"{given.draws} draws, {given.size} × {given.size} pixels; {datetime.now(UTC):%d %B %Y}, commit "
        f"{git_commit()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, shared, {time.perf_counter() - started:.0f} s. Command: "
        f"`python benchmarks/choose_propagation.py {given.store.name} --split {given.split.name} --channels "
        f"{given.channels} --labels {given.labels} --draws {given.draws}`.\n"
    )
    print(text)
    if given.page:
        old = given.page.read_text(encoding="utf-8") + "\n" if given.page.exists() else ""
        given.page.write_text(old + text, encoding="utf-8")


if __name__ == "__main__":
    main()
