"""What a parameter server costs: bytes and milliseconds a step, and what waiting for the slow costs in each mode.

    python benchmarks/server.py

Workers here learn nothing: they send zeros as fast as they can, or sleep as long as a step would take.
"""

from __future__ import annotations

import logging
import socket
import threading
import time

import torch

from frazil import __version__
from frazil.learn.config import OptimConfig, ServerConfig
from frazil.learn.distributed.center import Center
from frazil.learn.distributed.frames import Channel, Kind, network_digest
from frazil.learn.distributed.server import Server
from frazil.learn.models import create_model

STEPS = 10**6


def start(architecture: str, mode: str, workers: int) -> Server:
    network = create_model(architecture, n_channels=3, n_classes=5, settings={"patch": 32})
    settings = ServerConfig(address="127.0.0.1:0", mode=mode, workers=workers, staleness=4)  # type: ignore[arg-type]
    return Server(Center(network, OptimConfig(optimiser="adam"), settings, STEPS), settings, {}, {})


def work(server: Server, name: str, step_s: float, until_s: float, steps: dict[str, int]) -> None:
    host, port = server.address.split(":")
    channel = Channel(socket.create_connection((host, int(port))))
    channel.receive({Kind.CHALLENGE: 0}, idle_s=10)
    digest = network_digest(server.center.network)
    said = {"worker": name, "shard": None, "identity": name, "version": __version__, "digest": digest, "settings": {}}
    channel.send(Kind.HELLO, meta=said)
    clock = channel.receive({Kind.WELCOME: server.layouts.both}, idle_s=None).clock
    body, end = bytearray(server.layouts.both), time.monotonic() + until_s
    while time.monotonic() < end:
        time.sleep(step_s)
        channel.send(Kind.PUSH, clock, {"rates": [1e-3]}, body)
        clock = channel.receive({Kind.WEIGHTS: server.layouts.parameters.size}, idle_s=None).clock
        steps[name] = clock
    channel.close()


def measured(architecture: str, mode: str, paces: list[float], seconds: float) -> tuple[dict[str, int], Server]:
    server, steps = start(architecture, mode, len(paces)), dict[str, int]()
    threads = [
        threading.Thread(target=work, args=(server, f"w{i}", pace, seconds, steps)) for i, pace in enumerate(paces)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.close()
    return steps, server


def main() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # that workers leave in the middle is meant
    print("network          parameters  up, MB  down, MB  ms a step with nothing to compute")
    for name in ("adhoc", "resnet20", "mobilenet_v2", "resnet50"):
        steps, server = measured(name, "asynchronous", [0.0], 3.0)
        n = sum(p.numel() for p in server.center.parameters)
        up, down = server.layouts.both / 1e6, server.layouts.parameters.size / 1e6
        print(f"{name:<16} {n:>10,}  {up:>6.2f}  {down:>8.2f}  {3000 / steps['w0']:>6.1f}")
    print("\nsteps in 5 s of three workers at 20, 20 and 60 ms a step (resnet20)")
    for mode in ("synchronous", "stale", "asynchronous"):
        steps, server = measured("resnet20", mode, [0.02, 0.02, 0.06], 5.0)
        print(f"{mode:<13} {[steps[name] for name in sorted(steps)]}, updates {server.center.updates}")


if __name__ == "__main__":
    main()
