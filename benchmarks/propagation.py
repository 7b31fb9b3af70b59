"""Label propagation against what one would use otherwise, side by side in one run.

    python benchmarks/propagation.py [--sizes 15000,100000] [--classes 2,10] [--spreading 5000,10000,20000]
                                     [--approximate 15000,100000,1000000] [--rounds 3] [--solve-only]
                                     [--processor-time] [--page docs/results/propagation.md]

- conjugate gradients for all classes as one block, against SciPy's cg class by class, to the same tolerance;
- propagation against scikit-learn's LabelSpreading with the same affinity: once both are handed it, once frazil has to
  find the neighbours first;
- exact neighbours in blocks, against one matrix product and topk (memory permitting);
- approximate neighbours against exact ones, with the share of neighbours that are found, the labels that come out, and
  the memory that it takes; of more than 100,000 samples, exact neighbours of some are looked for.

Descriptors are random clusters of 128 features on the unit sphere. The two sides of a comparison take turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import cg

from frazil.learn.checkpoint import git_commit
from frazil.learn.config import PropagationConfig
from frazil.learn.propagation.graph import _gradients as as_they_come
from frazil.learn.propagation.graph import affinity_graph, propagate_labels, solve
from frazil.learn.propagation.neighbours import nearest_neighbours, normalised
from frazil.learn.propagation.order import breadth_first, permuted

CONFIG = PropagationConfig(iterations=200)
#: On a machine that others load, `--processor-time` takes this for `time.process_time`.
CLOCK: Callable[[], float] = time.perf_counter
_WHOLE_MATRIX = 30_000  # samples of which all similarities at once fit into memory
_EXACTLY, _LOOKED_AT = (
    100_000,
    2000,
)  # up to here exact labels are made too; samples whose exact neighbours are looked for


def clusters(n: int, classes: int, seed: int = 0, noise: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    centre = rng.normal(0, 1, (classes * 5, 128))
    member = truth + classes * rng.integers(0, 5, n)
    return (centre[member] + rng.normal(0, noise, (n, 128))).astype(np.float32), truth


def few(truth: np.ndarray, per_class: int = 30) -> np.ndarray:
    labels = np.full(truth.size, -1)
    for code in np.unique(truth):
        labels[np.flatnonzero(truth == code)[:per_class]] = code
    return labels


def in_turns(rounds: int, *functions: Callable[[], object]) -> tuple[list[float], list[object]]:
    """Median seconds and last result of each; by processor time the least, of one thread."""
    if CLOCK is not time.perf_counter:
        torch.set_num_threads(1)
    seconds: list[list[float]] = [[] for _ in functions]
    results: list[object] = [None] * len(functions)
    for _ in range(rounds):
        for i, function in enumerate(functions):
            started = CLOCK()
            results[i] = function()
            seconds[i].append(CLOCK() - started)
    taken = statistics.median if CLOCK is time.perf_counter else min
    return [taken(s) for s in seconds], results


def row(what: str, n: int, ours: float, theirs: float, results: str) -> str:
    return f"| {what} | {n} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.3g} × | {results} |"


def gradients(n: int, classes: int, rounds: int, graph: sparse.csr_array) -> str:
    _, truth = clusters(n, classes)
    labels = few(truth)
    seeds = np.zeros((n, classes), np.float32)
    given = labels >= 0
    seeds[np.flatnonzero(given), labels[given]] = 1
    seeds /= seeds.sum(axis=0)
    system = (sparse.eye_array(n, format="csr", dtype=np.float32) - CONFIG.alpha * graph).tocsr()

    def theirs() -> np.ndarray:
        return np.stack(
            [cg(system, seeds[:, c], rtol=CONFIG.tolerance, maxiter=CONFIG.iterations)[0] for c in range(classes)], 1
        )

    breadth_first(graph[:2, :2])  # compile
    (block, plain, single), (ours, _, other) = in_turns(
        rounds, lambda: solve(graph, seeds, CONFIG), lambda: as_they_come(graph, seeds, CONFIG), theirs
    )
    apart = np.abs(ours[0] - other).max() / np.abs(other).max()
    said = f"differ by {apart:.0e}, {ours[1]} iterations; {plain:.3f} s with samples as they come"
    return row(f"conjugate gradients, {classes} classes", n, block, single, said)


def account(n: int, classes: int, rounds: int, graph: sparse.csr_array) -> str:
    """What a product of the graph with all classes waits for: seconds as samples come and in order, and the least.

    The least is what the memory takes to hand over graph and columns once; the rows that are gathered come on top, from
    a cache where they fit.
    """
    ordered = permuted(graph, breadth_first(graph))  # compiles, too
    columns = torch.from_numpy(np.random.default_rng(0).random((n, classes), np.float32))
    out, long = torch.empty_like(columns), np.ones(20_000_000)
    one, other = (
        torch.sparse_csr_tensor(*map(torch.from_numpy, (g.indptr, g.indices, g.data)), g.shape)  # type: ignore[arg-type]
        for g in (graph, ordered)
    )
    column = columns[:, 0].numpy().copy()
    (plain, walked, single, ordering, read), _ = in_turns(
        2 * rounds + 1,
        lambda: torch.addmm(columns, one, columns, alpha=-CONFIG.alpha, out=out),
        lambda: torch.addmm(columns, other, columns, alpha=-CONFIG.alpha, out=out),
        lambda: graph @ column,
        lambda: permuted(graph, breadth_first(graph)),
        lambda: long.sum(),
    )
    bandwidth = long.nbytes / read
    moved = graph.nnz * 8 + 3 * n * classes * 4
    cells = [
        n,
        classes,
        graph.nnz,
        f"{bandwidth / 1e9:.0f}",
        *(f"{1000 * s:.1f}" for s in (moved / bandwidth, plain, walked)),
    ]
    cells += [f"{1000 * single * classes:.1f}", f"{1000 * ordering:.0f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def spreading(n: int, rounds: int) -> tuple[str, str]:
    from sklearn.semi_supervised import LabelSpreading

    x, truth = clusters(n, 2)
    labels = few(truth)
    neighbour, cosine = nearest_neighbours(x, CONFIG.k)
    rows = np.repeat(np.arange(n), CONFIG.k)
    affinity = np.zeros((n, n), np.float32)
    affinity[rows, neighbour.ravel()] = np.maximum(cosine, 0).ravel() ** CONFIG.gamma
    affinity += affinity.T
    model = LabelSpreading(kernel=lambda _a, _b: affinity, alpha=CONFIG.alpha, max_iter=1000, tol=1e-3)
    graph = affinity_graph(x, CONFIG)
    (alone, ours, theirs), (_, found, fitted) = in_turns(
        rounds,
        lambda: propagate_labels(x, labels, config=CONFIG, graph=graph),
        lambda: propagate_labels(x, labels, config=CONFIG),
        lambda: model.fit(x, labels),
    )
    same = f"{100 * (found.label == fitted.transduction_).mean():.1f} % same"
    return (
        row("propagation of a given affinity against LabelSpreading", n, alone, theirs, same),
        row("search for neighbours and propagation against LabelSpreading", n, ours, theirs, same),
    )


def neighbours(n: int, rounds: int) -> str:
    x, _ = clusters(n, 10)
    if n > _WHOLE_MATRIX:
        (ours,), _ = in_turns(1, lambda: nearest_neighbours(x, CONFIG.k))
        return f"| exact neighbours, k = {CONFIG.k} | {n} | {ours:.2f} | does not fit into memory | | |"
    y = torch.from_numpy(normalised(x))

    def theirs() -> torch.Tensor:
        similar = y @ y.T
        similar.fill_diagonal_(-torch.inf)
        return similar.topk(CONFIG.k, dim=1).indices

    (ours, other), (found, index) = in_turns(rounds, lambda: nearest_neighbours(x, CONFIG.k), theirs)
    same = (np.sort(found[0], 1) == np.sort(index.numpy(), 1)).mean()
    return row(f"exact neighbours, k = {CONFIG.k}", n, ours, other, f"{100 * same:.2f} % same")


def approximate(n: int) -> str:
    x, truth = clusters(n, 10, noise=2.0)  # they overlap
    labels = few(truth)
    some = x[np.random.default_rng(0).choice(n, min(n, _LOOKED_AT), replace=False)]
    started = time.perf_counter()
    exact, _ = nearest_neighbours(some, CONFIG.k, among=x)
    theirs = (time.perf_counter() - started) * n / len(some)
    near, _ = nearest_neighbours(some, CONFIG.k, among=x, search="approximate")
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(exact, near, strict=True)])
    started = time.perf_counter()
    graph = affinity_graph(x, replace(CONFIG, search="approximate"))
    ours = time.perf_counter() - started
    found = propagate_labels(x, labels, config=CONFIG, graph=graph)
    right = f"{100 * recall:.1f} % of the neighbours found, {100 * (found.label == truth).mean():.1f} % of labels right"
    if n <= _EXACTLY:
        same = propagate_labels(x, labels, config=CONFIG)
        right += f" ({100 * (same.label == truth).mean():.1f} % by exact search)"
    return row(
        "graph of approximate neighbours against exact neighbours", n, ours, theirs, f"{right}; {peak():.1f} GB at most"
    )


def peak() -> float:
    """Largest memory of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=numbers, default=[15_000, 100_000])
    parser.add_argument("--classes", type=numbers, default=[2, 10])
    parser.add_argument("--spreading", type=numbers, default=[5000, 10_000, 20_000])
    parser.add_argument("--approximate", type=numbers, default=[15_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--solve-only", action="store_true", help="of --sizes: conjugate gradients, no neighbours")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--processor-time", action="store_true", help="least processor time of one thread, not seconds")
    arguments = parser.parse_args()
    if arguments.processor_time:
        global CLOCK
        CLOCK = time.process_time
    lines = ["| what | samples | frazil, s | other, s | times faster | results |", "|---|---|---|---|---|---|"]
    print(*lines, sep="\n")

    def note(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    waits = [
        "| samples | classes | entries | memory, GB/s | least | as they come | ordered | SciPy | order |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for n in arguments.approximate:
        note(approximate(n))
    for n in arguments.sizes:
        if not arguments.solve_only:
            note(neighbours(n, arguments.rounds))
        graph = affinity_graph(clusters(n, max(arguments.classes))[0], CONFIG)
        for classes in arguments.classes:
            note(gradients(n, classes, arguments.rounds, graph))
        waits.append(account(n, max(arguments.classes), arguments.rounds, graph))
    for n in arguments.spreading:
        for line in spreading(n, 1):
            note(line)
    print(*waits, sep="\n")
    if arguments.page:
        arguments.page.write_text(
            "# Speed of label propagation\n\nBoth sides of a comparison in turns, in one process; medians of "
            f"{arguments.rounds} rounds (LabelSpreading: one). 128 features, k = {CONFIG.k}, α = {CONFIG.alpha}, "
            f"tolerance {CONFIG.tolerance:g}. LabelSpreading is handed its affinity ready-made, as a dense matrix. "
            "*Results*: largest difference relative to the largest value, or share of equal neighbours or labels. "
            "Approximate neighbours (faiss, inverted file) stand against exact ones of "
            f"{_LOOKED_AT} samples, in proportion.\n\n" + "\n".join(lines) + "\n\n"
            "One product of the graph with all classes, and the least that the memory allows: graph and columns handed "
            "over once; milliseconds.\n\n" + "\n".join(waits) + "\n\n"
            f"{datetime.now(UTC):%d %B %Y}, commit {git_commit()}, {platform.machine()}, {os.cpu_count()} cores, "
            f"shared; torch {torch.__version__}; largest memory of the process {peak():.1f} GB. Command: "
            f"`python benchmarks/propagation.py --page {arguments.page}`.\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
