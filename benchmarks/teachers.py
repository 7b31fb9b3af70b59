"""What teachers cost: a step with stale copies of others against the same step without.

    python benchmarks/teachers.py [--rounds 5] [--steps 6] [--page docs/results/teachers.md]

Times are those of the processor, on one thread, so that other work on the machine counts little; methods take turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import torch

from frazil.learn.checkpoint import git_commit
from frazil.learn.config import PeersConfig
from frazil.learn.distributed.exchange import Traffic
from frazil.learn.distributed.peers import WithPeers
from frazil.learn.models import create_model
from frazil.learn.strategies.supervised import Supervised

CASES = (("resnet20", 32, {}), ("adhoc", 50, {}))
CAPS = (
    ("all others, every step", {}),
    ("one, drawn anew", {"teachers": 1}),
    ("all others, every third step", {"loss_every": 3}),
    ("one, every third step", {"teachers": 1, "loss_every": 3}),
)


class Told:
    """A courier that brings so many teachers at once and goes nowhere."""

    def __init__(self, networks) -> None:
        self.found = {str(i): SimpleNamespace(weights=n.state_dict()) for i, n in enumerate(networks)}
        self.exchange, self.left_out = SimpleNamespace(traffic=Traffic()), 0

    def go(self, *_, **__) -> None: ...

    def news(self):
        found, self.found = self.found, None
        return found


def strategy(architecture: str, batch: int, teachers: int, caps: dict, method: str = "afsd"):
    """A network with teachers, and its optimiser."""
    torch.manual_seed(0)
    networks = [create_model(architecture, n_channels=3, n_classes=10) for _ in range(teachers + 1)]
    image, label = torch.rand(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    image = image.contiguous(memory_format=torch.channels_last)
    me = networks[0].to(memory_format=torch.channels_last).train()
    inner = Supervised(me, lambda _: (image, label))
    if not teachers:
        return inner, torch.optim.SGD(me.parameters(), 0.01)
    settings = PeersConfig(method=method, log_every=0, **caps)
    return WithPeers(inner, settings, Told(networks[1:]), seed=0, samples=batch), torch.optim.SGD(me.parameters(), 0.01)


def seconds(made, first: int, steps: int) -> float:
    """Processor seconds of a step."""
    learner, optimiser = made
    began = time.process_time()
    for step in range(first, first + steps):
        loss, _ = learner.step(step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (time.process_time() - began) / steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="of a round; a multiple of 3")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| network | asked | 2 workers | 3 workers | 4 workers |", "|---|---|---|---|---|"]
    for architecture, batch, _ in CASES:
        made = {(0, ""): strategy(architecture, batch, 0, {})}
        made |= {(n, name): strategy(architecture, batch, n, caps) for n in (1, 2, 3) for name, caps in CAPS}
        ratios: dict = {key: [] for key in made}
        for learner in made.values():
            seconds(learner, 0, 1)
        for turn in range(arguments.rounds):
            first = 3 + arguments.steps * turn
            alone = seconds(made[0, ""], first, arguments.steps)
            for key, learner in made.items():
                ratios[key].append(seconds(learner, first, arguments.steps) / alone)
        for name, _ in CAPS:
            cells = [f"{statistics.median(ratios[n, name]):.2f}" for n in (1, 2, 3)]
            lines.append(f"| {architecture} | {name} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    if arguments.page:
        table = "\n".join(lines)
        arguments.page.write_text(
            "# What teachers cost\n\nTime of a training step with AFSD as a multiple of the same step without, for so "
            "many workers (one fewer teachers). `peers.teachers=1` asks one, `peers.loss_every=3` asks in every third "
            f"step. Processor time on one thread, median of {arguments.rounds} rounds in turns of {arguments.steps} "
            "steps; batches of 32 (ResNet20) and 50 (ad hoc) images of 3 × 32 × 32.\n\n"
            f"{table}\n\n{datetime.now(UTC):%d %B %Y}, commit {git_commit()}, {platform.machine()}, {os.cpu_count()} "
            f"cores, shared; torch {torch.__version__}. Command: `python benchmarks/teachers.py --page "
            f"{arguments.page}`.\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
