"""Bytes and wall time of ways to train on two workers over a slow network.

    python benchmarks/traffic.py [--rates 1000,100,10] [--intervals 50,500] [--page FILE.md]

Two network namespaces, joined by a pair of virtual cards that ``tc`` slows down (needs root and iproute2); where that
is not permitted it says so and measures nothing. Measured in them, a few times each: one Allreduce of all gradients of
ResNet20 through gloo, as they are, in half precision and packed, and one exchange of files, up and down, with a small
HTTP server beside the other worker. Bytes are those that the cards counted, headers and all.

A thousand steps are reckoned from these and from the processor time of a step, so that other work on the machine counts
little: Allreduce waits for each of its messages and their packing (PyTorch hides part of the former behind the backward
pass; this is its upper limit), local SGD for one every N steps, and files travel beside the training.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import distributed as dist
from torch import nn

from frazil.learn.checkpoint import git_commit
from frazil.learn.config import DDPConfig
from frazil.learn.distributed.allreduce import codec_of
from frazil.learn.distributed.compression import CompressedMean
from frazil.learn.models import create_model

SPACES, ADDRESSES = ("frazil-a", "frazil-b"), ("10.98.0.1", "10.98.0.2")
BATCH, TIMES = 128, 3
#: Ways to pack gradients: method -> title and settings.
PACKED: dict[str, tuple[str, dict[str, object]]] = {
    "levels8": ("8 bits", {"hook": "levels", "bits": 8}),
    "levels4": ("4 bits", {"hook": "levels", "bits": 4}),
    "sign": ("1 bit", {"hook": "sign"}),
    "topk": ("largest 1 %", {"hook": "topk", "share": 0.01}),
}


def sh(*words: str) -> None:
    """Run, or raise."""
    subprocess.run(words, check=True, capture_output=True)


def lay(rate: str) -> None:
    """Two namespaces with a slow wire between them."""
    for space in SPACES:
        sh("ip", "netns", "add", space)
    sh("ip", "link", "add", "va", "netns", SPACES[0], "type", "veth", "peer", "name", "va", "netns", SPACES[1])
    for space, address in zip(SPACES, ADDRESSES, strict=True):
        inside = ("ip", "netns", "exec", space)
        sh(*inside, "ip", "address", "add", f"{address}/24", "dev", "va")
        sh(*inside, "ip", "link", "set", "va", "up")
        sh(*inside, "ip", "link", "set", "lo", "up")
        sh(
            *inside,
            "tc",
            "qdisc",
            "add",
            "dev",
            "va",
            "root",
            "tbf",
            "rate",
            f"{rate}mbit",
            "burst",
            "64kb",
            "latency",
            "400ms",
        )


def clear() -> None:
    """Remove the namespaces."""
    for space in SPACES:
        subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)


def counted() -> int:
    """Bytes that the card of this namespace has sent and got."""
    card = Path("/sys/class/net/va/statistics")
    rows = [line.split() for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("va:")]
    assert rows, card
    return int(rows[0][1]) + int(rows[0][9])


def network() -> nn.Module:
    """ResNet20."""
    torch.manual_seed(0)
    return create_model("resnet20", n_channels=3, n_classes=10)


def worker(method: str, rank: int) -> None:
    """Print seconds and bytes of a message of gradients, or of an exchange of files."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": "29533", "GLOO_SOCKET_IFNAME": "va"}
    if method == "files":
        files(rank, network())
        return
    dist.init_process_group("gloo", rank=rank, world_size=2)
    size = sum(p.numel() for p in network().parameters())
    message = torch.randn(size).to(torch.float16 if method.endswith("fp16") else torch.float32)
    if method in PACKED:
        packed = CompressedMean(codec_of(DDPConfig(**PACKED[method][1])), feedback=True)  # type: ignore[arg-type]

        def send() -> None:
            mean, own = packed.exchange(message)
            mean -= message - own  # what remembering costs
    else:

        def send() -> None:
            dist.all_reduce(message)

    send()
    dist.barrier()
    before, began = counted(), time.perf_counter()
    for _ in range(TIMES):
        send()
    seconds, moved = time.perf_counter() - began, counted() - before
    if rank == 0:
        print(f"{seconds / TIMES} {moved / TIMES}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


def files(rank: int, net: nn.Module) -> None:
    """One exchange of files: the second worker publishes to, and reads from, a store beside the first one."""
    import http.server
    import threading
    import urllib.request

    from safetensors.torch import save

    data = save(net.state_dict())
    if rank == 0:
        kept = {"/first": data}

        class Store(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(kept[self.path])))
                self.end_headers()
                self.wfile.write(kept[self.path])

            def log_message(self, *_: object) -> None: ...

        server = http.server.ThreadingHTTPServer((ADDRESSES[0], 8099), Store)
        threading.Timer(300, server.shutdown).start()
        server.serve_forever()
        return
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://{ADDRESSES[0]}:8099/first").read()
            break
        except OSError:
            time.sleep(0.1)
    before, began = counted(), time.perf_counter()
    for _ in range(3):
        request = urllib.request.Request(f"http://{ADDRESSES[0]}:8099/second", data=data, method="PUT")
        urllib.request.urlopen(request).read()
        got = urllib.request.urlopen(f"http://{ADDRESSES[0]}:8099/first").read()
        assert len(got) == len(data)
    print(f"{(time.perf_counter() - began) / 3} {(counted() - before) / 3}", flush=True)


def both(method: str) -> tuple[float, float]:
    """Seconds and bytes of a message or of an exchange."""
    inside = [("ip", "netns", "exec", space) for space in SPACES]
    processes = [
        subprocess.Popen(
            [*words, sys.executable, __file__, "--worker", method, "--rank", str(rank)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, words in enumerate(inside)
    ]
    told = 1 if method == "files" else 0
    out, _ = processes[told].communicate(timeout=600)
    if method == "files":
        processes[0].kill()
    for process in processes:
        process.wait()
    seconds, moved = out.split()[-2:]
    return float(seconds), float(moved)


def computing() -> float:
    """Processor seconds of a step on one thread."""
    torch.set_num_threads(1)
    net, image, label = network(), torch.rand(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,))
    optimiser, each = torch.optim.SGD(net.parameters(), 0.01), []
    for _ in range(8):
        began = time.process_time()
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(image), label).backward()
        optimiser.step()
        each.append(time.process_time() - began)
    return statistics.median(each)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="1000,100,10", help="Mb/s")
    parser.add_argument("--intervals", default="50,500,1500,5000,15000")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--worker")
    parser.add_argument("--rank", type=int)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.rank)
        return
    clear()
    try:
        lay("1000")
    except (subprocess.CalledProcessError, OSError) as error:
        clear()
        sys.exit(f"Network namespaces are not permitted here ({error}). Run as root on Linux with iproute2.")
    clear()
    alone = computing()
    lines = [
        "| network | method | MB a 1000 steps and worker | seconds a 1000 steps | of these, waiting |",
        "|---|---|---|---|---|",
    ]
    print(f"a step of computing: {alone:.3f} s", flush=True)
    for rate in arguments.rates.split(","):
        try:
            lay(rate)
            found = {method: both(method) for method in ("allreduce", "allreduce-fp16", *PACKED, "files")}
        finally:
            clear()
        name = f"{int(rate) / 1000:g} Gb/s" if int(rate) >= 1000 else f"{rate} Mb/s"
        packed = tuple((method, f"Allreduce, {title}") for method, (title, _) in PACKED.items())
        for method, title in (("allreduce", "Allreduce"), ("allreduce-fp16", "Allreduce, fp16"), *packed):
            seconds, moved = found[method]
            wait = 1000 * seconds
            lines.append(f"| {name} | {title} | {moved / 1e3:,.1f} | {1000 * alone + wait:,.0f} | {wait:,.0f} |")
            print(lines[-1], flush=True)
        for every in map(int, arguments.intervals.split(",")):
            for method, title in (("allreduce", "local SGD"), ("files", "AFSD or codistillation")):
                seconds, moved = found[method]
                # Local SGD waits for every exchange; files travel beside the training, and what takes longer than the
                # interval leaves exchanges out, not steps.
                wait = 1000 * seconds / every if method == "allreduce" else 0.0
                skips = " (an exchange takes longer than the interval)" if seconds > every * alone else ""
                lines.append(
                    f"| {name} | {title}, N = {every}{skips} | {moved / 1e3 / every:,.2f} | {1000 * alone + wait:,.0f} "
                    f"| {wait:,.1f} |"
                )
                print(lines[-1], flush=True)
    if arguments.page:
        arguments.page.write_text(
            "# Traffic of ways to train on two workers\n\n"
            f"ResNet20 (269,722 parameters), batches of {BATCH}, two workers in network namespaces of one machine, "
            "joined by virtual cards that `tc` slows down (token bucket; real packets, no added delay). Bytes are what "
            "a worker's card counted, sent and got. Measured: one Allreduce through gloo, whole and packed (packing "
            "and unpacking counted in, on one thread), one exchange of files, and "
            f"the processor time of a step ({1000 * alone:.0f} ms on one thread); a thousand steps are reckoned from "
            "these. Allreduce waits for every message (PyTorch hides part of that behind the backward pass: this is "
            "the upper limit), local SGD for one every N steps. Files (AFSD and codistillation: the same bytes) travel "
            "beside the training and are not waited for. Teachers' forward passes are not in this table, see "
            "[What teachers cost](teachers.md).\n\n"
            + "\n".join(lines)
            + f"\n\n{datetime.now(UTC):%d %B %Y}, commit {git_commit()}, {platform.machine()}, {os.cpu_count()} cores, "
            f"shared; torch {torch.__version__}. Command: `python benchmarks/traffic.py --page "
            f"{arguments.page}`.\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
