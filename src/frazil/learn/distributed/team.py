"""Processes of one server that train one network in step, as ``torchrun`` starts them; alone, a team of one.

References:
    https://docs.pytorch.org/docs/stable/elastic/run.html (environment variables).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch

from frazil.errors import OptionError
from frazil.learn.config import DDPConfig

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process's place among those that train in step.

    Attributes:
        rank: 0 for the one that writes.
        world: how many there are.
        local: place on this machine, by which GPUs are dealt out.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes and talks for all."""
        return self.rank == 0

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> Team:
        """As torchrun's environment variables say; a team of one where they are not set.

        Raises:
            OptionError: variables that are no numbers.
        """
        env = os.environ if environment is None else environment
        if "RANK" not in env or "MASTER_ADDR" not in env:
            return cls()
        try:
            rank, world = int(env["RANK"]), int(env.get("WORLD_SIZE", "1"))
            local = int(env.get("LOCAL_RANK", "0"))
        except ValueError as error:
            raise OptionError(
                f"RANK, WORLD_SIZE and LOCAL_RANK must be numbers ({error}). Start by torchrun."
            ) from error
        return cls(rank, world, local) if world > 1 else cls()

    def join(self, settings: DDPConfig, device: torch.device) -> None:
        """Meet the others.

        Raises:
            OptionError: a backend that this machine does not have; a way to send gradients or weights, and nobody to
                send them to.
        """
        alone = "ddp.hook" if settings.hook != "none" else "ddp.average_every" if settings.average_every else ""
        if self.world == 1 and alone:
            raise OptionError(
                f"{alone} is for several processes in step; this is one. Start by torchrun, or leave it out."
            )
        if self.world == 1 or torch.distributed.is_initialized():
            return
        backend = settings.backend
        if backend == "auto":
            backend = "nccl" if device.type == "cuda" and torch.distributed.is_nccl_available() else "gloo"
        if backend == "nccl" and (device.type != "cuda" or not torch.distributed.is_nccl_available()):
            raise OptionError("ddp.backend nccl needs CUDA devices. Pass --set ddp.backend=gloo.")
        if backend == "gloo" and settings.hook == "bf16":
            raise OptionError("ddp.hook bf16 needs CUDA devices and NCCL. Pass --set ddp.hook=fp16.")
        torch.distributed.init_process_group(backend, timeout=timedelta(seconds=settings.timeout_s))

    def share(self, value: T) -> T:
        """What the first process has, for all. Pickled: a team trusts its own processes."""
        if self.world == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def leave(self) -> None:
        """Part from the others."""
        if self.world > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
