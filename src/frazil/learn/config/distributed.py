"""Settings of training on several machines, and of several processes of one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from frazil.errors import OptionError
from frazil.learn.config.base import Settings, check_choice, check_least

METHODS = ("afsd", "codistillation", "independent")
HOOKS = ("none", "fp16", "bf16", "powersgd", "topk", "threshold", "levels", "qsgd", "sign")


@dataclass(frozen=True, kw_only=True)
class PeersConfig(Settings):
    """Learning from stale copies of other workers' networks, see `frazil.learn.distributed.peers`.

    Attributes:
        path: shared folder or bucket through which workers exchange weights; without one the run stands alone.
        worker: name of this worker, of its own.
        run: name that the workers of one run share; that of the recipe by default. One folder may hold several runs.
        method: ``"afsd"`` compares feature spaces, ``"codistillation"`` compares probabilities, ``"independent"``
            publishes and watches, but learns nothing from others: the control.
        every: steps from one exchange to the next.
        alpha: weight of the distillation loss. The paper does not state its own.
        loss: of AFSD: ``"normalised"``, which depends neither on batch size nor on the scale of features, or ``"raw"``,
            the paper's equation 3 to the letter, for which an `alpha` of 1 is far too much.
        distance: between two samples in a feature space, of AFSD: ``"euclidean"`` as in the paper, or ``"cosine"``, one
            minus the cosine of the angle between them, which knows no length (the paper leaves the choice open).
        features: layers whose features AFSD compares, by name (``"layer1"``, …), and ``"head"`` for what goes into the
            head; the mean of their losses counts. By default the head alone, as in the paper.
        same_batches: all workers see the same samples in the same order, as the paper's do; else each its own.
        begin: steps before which nothing is learnt from others; the paper waits for its four epochs of warm-up.
        teachers: others that are asked in one step, drawn anew each time; 0 asks them all. Each costs a forward pass,
            about a third of a step.
        loss_every: ask them in every n-th step only.
        log_every: steps from one log of both distillation losses to the next, whatever the method; 0 logs only what is
            learnt from. Those that are not learnt from cost forward passes.
        expiry_s: a worker that has published nothing new for so long, and for three of its own intervals, is gone.
        seed: of this worker. By default one made from the run's and the worker's name: equal first weights would
            leave little to learn from each other.
        lockstep: wait at every exchange until so many workers stand at the same step, and take exactly these. For
            tests and studies, which must give the same numbers twice; otherwise nobody waits (0).
    """

    path: str | None = None
    worker: str = ""
    run: str = ""
    method: Literal["afsd", "codistillation", "independent"] = "afsd"
    every: int = 9000
    alpha: float = 1.0
    loss: Literal["normalised", "raw"] = "normalised"
    distance: Literal["euclidean", "cosine"] = "euclidean"
    features: tuple[str, ...] = ("head",)
    same_batches: bool = False
    begin: int = 0
    teachers: int = 0
    loss_every: int = 1
    log_every: int = 50
    expiry_s: float = 3600.0
    seed: int | None = None
    lockstep: int = 0

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("loss", self.loss, ("normalised", "raw"))
        check_choice("distance", self.distance, ("euclidean", "cosine"))
        if not self.features or len(set(self.features)) < len(self.features):
            raise OptionError(f"features {self.features} names no layer, or one of them twice. Name each once.")
        check_least(1, every=self.every, loss_every=self.loss_every)
        check_least(
            0,
            alpha=self.alpha,
            begin=self.begin,
            teachers=self.teachers,
            log_every=self.log_every,
            lockstep=self.lockstep,
        )
        check_least(1e-3, expiry_s=self.expiry_s)


@dataclass(frozen=True, kw_only=True)
class DDPConfig(Settings):
    """Several processes in step with each other, started by ``torchrun``, see `frazil.learn.distributed.allreduce`.

    Attributes:
        backend: ``"nccl"`` on GPUs, ``"gloo"`` on CPUs; by default as the device wants it.
        scale_lr: multiply the learning rate by the number of processes, as each step sees so many times more samples,
            and, where the run is counted in epochs, divide the steps of warm-up by it.
        hook: how gradients travel: as they are, as ``"fp16"`` or ``"bf16"``, by ``"powersgd"`` in low rank, or in few
            bytes, see `frazil.learn.distributed.compression`: the largest (``"topk"``), those above a size
            (``"threshold"``), in few bits (``"levels"``, at random ``"qsgd"``), or the ``"sign"`` alone.
        share: of the values that travel by ``"topk"``, above 0 and at most 1.
        threshold: size from which values travel by that hook, in the units of the gradient.
        bits: of a value by ``"levels"`` and ``"qsgd"``: 8 or 4.
        error_feedback: add what compression lost to the next gradient; a run that goes on after a kill begins without.
            QSGD has none.
        powersgd_rank: rank of these.
        powersgd_start: steps before PowerSGD begins.
        average_every: average weights every so many steps in place of gradients at every step (local SGD); 0 does not.
        average_with: ``"all"``, or a ``"pair"``: two by two, drawn anew each time (gossip), and all at the end.
        timeout_s: a process that has not been heard of for so long ends the run of all.
    """

    backend: Literal["auto", "gloo", "nccl"] = "auto"
    scale_lr: bool = True
    hook: Literal["none", "fp16", "bf16", "powersgd", "topk", "threshold", "levels", "qsgd", "sign"] = "none"
    share: float = 0.01
    threshold: float = 1e-3
    bits: Literal[4, 8] = 8
    error_feedback: bool = True
    powersgd_rank: int = 1
    powersgd_start: int = 100
    average_every: int = 0
    average_with: Literal["all", "pair"] = "all"
    timeout_s: float = 1800.0

    def __post_init__(self) -> None:
        check_choice("hook", self.hook, HOOKS)
        check_choice("backend", self.backend, ("auto", "gloo", "nccl"))
        check_choice("average_with", self.average_with, ("all", "pair"))
        if not 0 < self.share <= 1:
            raise OptionError(f"share is {self.share}; it lies above 0 and at most at 1, all of a gradient.")
        if self.threshold <= 0:
            raise OptionError(f"threshold is {self.threshold}; it is a size above 0.")
        if self.bits not in (4, 8):
            raise OptionError(f"bits is {self.bits}; choose 4 or 8.")
        if self.hook != "none" and self.average_every:
            raise OptionError(f"hook {self.hook!r} packs gradients; average_every sends none. Choose one of the two.")
        if self.average_with == "pair" and not self.average_every:
            raise OptionError("average_with 'pair' needs average_every: steps from one average of weights to the next.")
        check_least(1, powersgd_rank=self.powersgd_rank)
        check_least(2, powersgd_start=self.powersgd_start)
        check_least(0, average_every=self.average_every)
        check_least(1, timeout_s=self.timeout_s)

    @property
    def remembers(self) -> bool:
        """Whether what packing loses of a gradient is added to the next: QSGD, right on average, needs no memory."""
        return self.error_feedback and self.hook != "qsgd"
