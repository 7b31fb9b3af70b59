"""A moving average of a network, which is steadier than the network itself.

References:
    Tarvainen, A., Valpola, H. (2017), Mean teachers are better role models. NIPS 2017. doi:10.48550/arXiv.1703.01780.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from frazil.learn.train import Strategy


class Average:
    """The moving average of a network's weights and batch-norm statistics.

    Args:
        network: that is trained.
        keep: share of itself that the average keeps at each step; less in the first steps, (1 + s) / (10 + s) at step
            s, so that the random weights of the beginning are soon forgotten.

    Attributes:
        network: the average, in evaluation mode, without gradients.
    """

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.source, self.keep = network, keep
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the network."""
        keep = min(self.keep, (1 + step) / (10 + step))
        for mine, its in zip(self.network.state_dict().values(), self.source.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(its, 1 - keep)
            else:
                mine.copy_(its)

    def tensors(self) -> dict[str, Tensor]:
        """For the state of the run."""
        return {f"average/{k}": v for k, v in self.network.state_dict().items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.network.load_state_dict({k.removeprefix("average/"): v for k, v in tensors.items()})


def risen(step: int, steps: int, ramp: float) -> float:
    """Weight of the unlabelled loss, 0…1: it rises along a straight line over the first `ramp` of the run."""
    return min(step / (ramp * steps), 1.0) if ramp > 0 else 1.0


def risen_smoothly(step: int, steps: int, ramp: float) -> float:
    """The same, but as exp(−5 (1 − t)²), where t goes from 0 to 1 over the first `ramp` of the run."""
    return math.exp(-5 * (1 - risen(step, steps, ramp)) ** 2)


def weighed(labelled: Tensor, unlabelled: Tensor, weight: float) -> tuple[Tensor, dict[str, float]]:
    """The sum of both losses, and each of them for the log; the unlabelled one before it is weighed."""
    loss = labelled + weight * unlabelled
    parts = {"loss": loss, "loss_labelled": labelled, "loss_unlabelled": unlabelled}
    return loss, {**{k: float(v.detach()) for k, v in parts.items()}, "weight_unlabelled": weight}


class Averaged(Strategy):
    """A strategy whose result is the moving average of its network; `step` is still to be written.

    Args:
        network: a patch classifier.
        keep: see `Average`.
    """

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.networks, self.network = {"network": network}, network
        self.average = Average(network, keep)
        self.result = self.average.network

    def after_step(self, step: int) -> None:
        """Let the average follow."""
        self.average.update(step)

    def tensors(self) -> dict[str, Tensor]:
        """The average."""
        return self.average.tensors()

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.average.load_tensors(tensors)
