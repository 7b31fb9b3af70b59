"""Settings of training through a parameter server, of the server and of its workers."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal

from frazil.errors import OptionError
from frazil.learn.config.base import Settings, check_choice, check_least

MODES = ("synchronous", "stale", "asynchronous")


@dataclass(frozen=True, kw_only=True)
class ServerConfig(Settings):
    """A server that holds the weights, and workers that send it gradients, see `frazil.learn.distributed.center`.

    Workers need `address`, `worker` and `token_file`, and may have `shard` and `patience_s`; the rest is the server's,
    which tells them. What the batch of a step is, all must agree on: `scale_lr` is the server's, too.

    Attributes:
        address: HOST:PORT of the server; without one the run stands alone.
        worker: name of this worker, of its own.
        shard: which of the shares of the samples is this worker's, from 0; by default the order of the names says.
        workers: how many workers begin together, and share the samples.
        mode: ``"synchronous"`` makes one update of the mean gradient of all, ``"stale"`` applies gradients as they come
            and lets nobody run ahead by more than `staleness`, ``"asynchronous"`` lets everybody run.
        staleness: steps that a worker may be ahead of the slowest.
        scale_lr: where updates are synchronous, multiply the learning rate by the number of workers, as
            `DDPConfig.scale_lr` does.
        token_file: file that holds the words by which server and workers know each other; needed for addresses that
            other machines reach.
        timeout_s: a worker that has not been heard of for so long, and is not being kept waiting, is dropped.
        patience_s: how long a worker looks for a server that does not answer.
        save_s: seconds from one saved state of the server to the next.
        save_every: updates from one to the next; 0 goes by the seconds alone.
    """

    address: str | None = None
    worker: str = ""
    shard: int | None = None
    workers: int = 1
    mode: Literal["synchronous", "stale", "asynchronous"] = "synchronous"
    staleness: int = 4
    scale_lr: bool = True
    token_file: str | None = None
    timeout_s: float = 120.0
    patience_s: float = 300.0
    save_s: float = 60.0
    save_every: int = 0

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_least(1, workers=self.workers)
        check_least(0, staleness=self.staleness, save_every=self.save_every, shard=self.shard or 0)
        check_least(1e-3, timeout_s=self.timeout_s, patience_s=self.patience_s, save_s=self.save_s)
        if self.address is not None:
            host_and_port(self.address)


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of an address.

    Raises:
        OptionError: it has others.

    >>> host_and_port("[::1]:5000"), host_and_port("localhost:0")
    (('::1', 5000), ('localhost', 0))
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise OptionError(f"address {address!r} is not HOST:PORT. Write for instance 127.0.0.1:5000 or [::1]:5000.")
    return host, int(port)


def stays_inside(host: str) -> bool:
    """Whether nobody but this machine reaches a host by this name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
