"""MixMatch: guessed and sharpened labels, and all patches mixed with each other.

Guesses are made in training mode, as in the published code: with the moving statistics of batch norm, which lag in the
beginning, they come out as one class for all patches, and the network learns that. The guessing pass leaves those
statistics alone.

References:
    Berthelot, D. et al. (2019), MixMatch: a holistic approach to semi-supervised learning. NeurIPS 2019.
    doi:10.48550/arXiv.1905.02249.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.config import MixMatchConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.average import Averaged, risen, weighed
from frazil.learn.strategies.batch_norm import statistics_kept
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan


class MixMatch(Averaged):
    """Cross-entropy on mixed labelled patches, mean squared difference on mixed unlabelled ones.

    Args:
        network: a patch classifier.
        batches: as many views as guesses; of labelled patches the first is used.
        label: int64 of the labelled patches.
        n_classes: how many classes there are.
        plan: how long the run is.
        settings: of the strategy.
        seed: of the mixing.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: PoolBatches,
        label: Tensor,
        n_classes: int,
        plan: Plan,
        settings: MixMatchConfig,
        seed: int,
    ) -> None:
        super().__init__(network, settings.ema)
        self.batches, self.label, self.n_classes, self.seed = batches, label, n_classes, seed
        self.plan, self.settings = plan, settings

    def losses(self, step: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Losses on labelled and on unlabelled patches, and logs."""
        views, places = self.batches(step)
        n = self.settings.labelled
        label = self.label[places[:n]].to(views[0].device)
        guess = self._guess([view[n:] for view in views])
        image = torch.cat([views[0][:n], *(view[n:] for view in views)])
        target = torch.cat([nn.functional.one_hot(label, self.n_classes).float(), *[guess] * len(views)])
        # λ' = max(λ, 1 − λ): a mixed patch stays closest to the one it stands for.
        rng = np.random.default_rng([self.seed, 50, step])
        share = rng.beta(self.settings.alpha, self.settings.alpha)
        share = max(share, 1 - share)
        partner = torch.from_numpy(rng.permutation(len(image))).to(image.device)
        logits = self.network(torch.lerp(image[partner], image, share)).float()
        target = torch.lerp(target[partner], target, share)
        labelled = -(target[:n] * logits[:n].log_softmax(1)).sum(1).mean()
        unlabelled = (logits[n:].softmax(1) - target[n:]).square().mean()
        return labelled, unlabelled, {"accuracy": hits(logits[:n], label)}

    @torch.no_grad()
    def _guess(self, views: list[Tensor]) -> Tensor:
        """Mean probabilities over the views, sharpened."""
        with statistics_kept(self.network):
            p = self.network(torch.cat(views)).float().softmax(1).reshape(len(views), -1, self.n_classes).mean(0)
        sharp = p ** (1 / self.settings.temperature)
        out: Tensor = sharp / sharp.sum(1, keepdim=True)
        return out

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        labelled, unlabelled, logs = self.losses(step)
        weight = self.settings.weight * risen(step, self.plan.steps, self.settings.ramp)
        loss, parts = weighed(labelled, unlabelled, weight)
        return loss, {**parts, **logs}


def build(settings: MixMatchConfig, parts: Parts) -> MixMatch:
    """See `frazil.learn.strategies.make_strategy`."""
    views = parts.views(settings.labelled, *[parts.weak] * settings.guesses)
    label, seed = parts.pool.label, parts.config.seed
    return MixMatch(parts.network, views, label, parts.n_classes, parts.plan, settings, seed)
