"""Reads of weights while their writers are being killed: none may be torn, mixed or out of order.

    python benchmarks/exchange_fire.py [--reads 100000] [--writers 4] [--folder FOLDER]

Writers publish as fast as they can, and at random moments one is killed by SIGKILL and started again. Every number of
what is read must be the step that its manifest names. Counted are weights read and verified, not looks at the folder.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time

import numpy as np
import torch

from frazil.learn.distributed.exchange import Exchange
from frazil.learn.distributed.store import Store

SIZE = 4000


def weights(value: float) -> dict[str, torch.Tensor]:
    """All of one number."""
    return {"w": torch.full((SIZE,), float(value)), "n": torch.tensor(int(value))}


def exchange(folder: str, name: str) -> Exchange:
    """A worker of the toy run."""
    return Exchange(Store(folder), run="fire", worker=name, like=weights(0), model_text="toy", expiry_s=1e6)


def publish(folder: str, name: str) -> None:
    """For ever."""
    torch.set_num_threads(1)
    mine = exchange(folder, name)
    for step in range(10**9):
        mine.publish(weights(step % 1000), step=step % 1000, samples=0)


def main() -> None:
    """Read until there is enough, or something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    folder = arguments.folder or tempfile.mkdtemp()
    context, rng, torn, kills = multiprocessing.get_context("fork"), np.random.default_rng(0), 0, 0
    reader, running, ranks = exchange(folder, "reader"), {}, {}
    began = time.monotonic()
    while reader.traffic.fetched < arguments.reads:
        for name in (f"w{i}" for i in range(arguments.writers)):
            if name not in running:
                running[name] = context.Process(target=publish, args=(folder, name), daemon=True)
                running[name].start()
        for name, peer in reader.fetch().items():
            assert peer.weights is not None
            step, rank = peer.manifest.step, peer.manifest.rank
            torn += not bool((peer.weights["w"] == step).all()) or int(peer.weights["n"]) != step
            torn += ranks.get(name, (0, 0)) > rank
            ranks[name] = rank
        if rng.random() < 0.01 and ranks:
            name = str(rng.choice(list(running)))
            os.kill(running[name].pid, signal.SIGKILL)
            running.pop(name).join()
            kills += 1
    for process in running.values():
        process.kill()
    damaged = [why for why in reader.traffic.refused.values() if "damaged" in why]
    print(
        f"{reader.traffic.fetched} reads in {time.monotonic() - began:.0f} s, {kills} kills, {torn} torn, "
        f"{reader.traffic.failures} files gone before they were read, {len(damaged)} workers refused at the end"
    )
    sys.exit(1 if torn else 0)


if __name__ == "__main__":
    main()
