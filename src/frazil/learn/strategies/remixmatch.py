"""ReMixMatch: guesses whose classes come as often as those of the labels, taught for strongly changed patches.

A step (algorithm 1): the network names a slightly changed view of each unlabelled patch; its guess q is aligned,
q ∝ q · p(y) / p̃(y), where p(y) is the share of each class among the labels and p̃(y) that among its own guesses of the
last 128 batches, and sharpened, q ∝ q^(1/T). That guess is the anchor of K strongly changed views. Labelled patches,
these views and the slightly changed one are mixed with each other (MixUp, λ' = max(λ, 1 − λ), drawn pair by pair). The
loss is H(p, X') + λ_U H(q, U') + λ_Û₁ H(q, Û₁) + λ_r H(r, rotated Û₁): cross-entropies, in the mean over patches, on
mixed labelled and mixed unlabelled patches, on the first strongly changed view before it is mixed, and on whether that
view was turned by 0, 90, 180 or 270 degrees, which a layer of its own tells from the descriptors. That layer is not
part of the result.

Not as published: the strong changes are those that keep the physics of a radar image, drawn evenly, in place of
CTAugment, whose colour operations make patches that no radar gives, and whose magnitudes are learnt. p(y) is of all
labels, not of those seen so far. Guesses are made in training mode, as in the published code, and leave the statistics
of batch norm alone; so do the unmixed and the turned views.

References:
    Berthelot, D. et al. (2020), ReMixMatch: semi-supervised learning with distribution alignment and augmentation
    anchoring. ICLR 2020. doi:10.48550/arXiv.1911.09785.
    Gidaris, S., Singh, P., Komodakis, N. (2018), Unsupervised representation learning by predicting image rotations.
    ICLR 2018. doi:10.48550/arXiv.1803.07728.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.config import ReMixMatchConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.average import Averaged, risen
from frazil.learn.strategies.batch_norm import statistics_kept
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan

_LITTLE = 1e-6  # as in the published code: a class that is never guessed


class ReMixMatch(Averaged):
    """Four cross-entropies, see the file.

    Args:
        network: a patch classifier.
        rotation: from its descriptors to four logits.
        batches: the slightly changed view, then the strongly changed ones; of labelled patches the second is used.
        label: int64 of the labelled patches.
        n_classes: how many classes there are.
        plan: how long the run is.
        settings: of the strategy.
        seed: of mixing and turning.
    """

    def __init__(
        self,
        network: PatchClassifier,
        rotation: nn.Module,
        batches: PoolBatches,
        label: Tensor,
        n_classes: int,
        plan: Plan,
        settings: ReMixMatchConfig,
        *,
        seed: int,
    ) -> None:
        super().__init__(network, settings.ema)
        self.networks = {"network": network, "rotation": rotation}
        self.classifier, self.rotation = network, rotation
        self.batches, self.label, self.n_classes, self.seed = batches, label, n_classes, seed
        self.plan, self.settings = plan, settings
        self.of_labels = torch.bincount(label, minlength=n_classes).float() / len(label)
        self.guessed = torch.zeros(settings.window, n_classes)  # mean guess of each of the last batches
        self.n_guessed = 0  # batches so far
        self._now = torch.zeros(n_classes)

    def losses(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, float]]:
        """Losses on labelled, on unlabelled, on unmixed and on turned patches, before they are weighed, and logs."""
        (weak, *strong), places = self.batches(step)
        n, settings = self.settings.labelled, self.settings
        label = self.label[places[:n]].to(weak.device)
        guess = self._guess(weak[n:])
        image = torch.cat([strong[0][:n], *(view[n:] for view in strong), weak[n:]])
        target = torch.cat([nn.functional.one_hot(label, self.n_classes).float(), *[guess] * (len(strong) + 1)])
        rng = np.random.default_rng([self.seed, 51, step])
        share = rng.beta(settings.alpha, settings.alpha, len(image))
        share_t = torch.from_numpy(np.maximum(share, 1 - share).astype(np.float32)).to(image.device)
        partner = torch.from_numpy(rng.permutation(len(image))).to(image.device)
        turn = rng.integers(0, 4, len(weak) - n)
        first = strong[0][n:]
        with statistics_kept(self.network):
            unmixed = _cross_entropy(self.network(first), guess)
            turned = unmixed.new_zeros(())
            if settings.rotation_weight:
                said = self.rotation(self.classifier.describe(rotated(first, turn))).float()
                turned = nn.functional.cross_entropy(said, torch.from_numpy(turn).to(said.device))
        logits = self.network(torch.lerp(image[partner], image, share_t[:, None, None, None])).float()
        target = torch.lerp(target[partner], target, share_t[:, None])
        labelled, unlabelled = _cross_entropy(logits[:n], target[:n]), _cross_entropy(logits[n:], target[n:])
        logs = {"accuracy": hits(logits[:n], label), "confidence": float(guess.max(1).values.mean())}
        return labelled, unlabelled, unmixed, turned, logs

    @torch.no_grad()
    def _guess(self, weak: Tensor) -> Tensor:
        """Probabilities of the slightly changed view, aligned and sharpened."""
        with statistics_kept(self.network):
            p = self.network(weak).float().softmax(1)
        self._now = p.mean(0).cpu()
        n = min(self.n_guessed, self.settings.window - 1)
        before = [(self.n_guessed - 1 - i) % self.settings.window for i in range(n)]
        own = (self.guessed[before].sum(0) + self._now) / (n + 1)
        return sharpened(aligned(p, self.of_labels.to(p.device), own.to(p.device)), self.settings.temperature)

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        labelled, unlabelled, unmixed, turned, logs = self.losses(step)
        settings = self.settings
        weight = settings.weight * risen(step, self.plan.steps, settings.ramp)
        loss = labelled + weight * unlabelled + settings.strong_weight * unmixed + settings.rotation_weight * turned
        parts = {
            "loss": loss,
            "loss_labelled": labelled,
            "loss_unlabelled": unlabelled,
            "loss_unmixed": unmixed,
            "loss_rotation": turned,
        }
        return loss, {**{k: float(v.detach()) for k, v in parts.items()}, "weight_unlabelled": weight, **logs}

    def after_step(self, step: int) -> None:
        """Let the average follow, and remember which classes were guessed."""
        super().after_step(step)
        self.guessed[self.n_guessed % self.settings.window] = self._now
        self.n_guessed += 1

    def tensors(self) -> dict[str, Tensor]:
        """The average, and the guesses of the last batches."""
        return {**super().tensors(), "guessed": self.guessed, "n_guessed": torch.tensor(self.n_guessed)}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        kept = dict(tensors)
        guessed = kept.pop("guessed")
        if guessed.shape != self.guessed.shape:
            raise ValueError(f"it remembers guesses of {len(guessed)} batches, not {len(self.guessed)}")
        self.guessed, self.n_guessed = guessed.clone(), int(kept.pop("n_guessed"))
        super().load_tensors(kept)


def aligned(p: Tensor, of_labels: Tensor, own: Tensor) -> Tensor:
    """Probabilities (batch, class) times the share of each class among labels over that among one's own guesses."""
    ratio = p * (of_labels + _LITTLE) / (own + _LITTLE)
    return ratio / ratio.sum(1, keepdim=True)


def sharpened(p: Tensor, temperature: float) -> Tensor:
    """Probabilities (batch, class) to the power of 1/T, summing to one."""
    sharp = p ** (1 / temperature)
    out: Tensor = sharp / sharp.sum(1, keepdim=True)
    return out


def rotated(images: Tensor, turns: np.ndarray) -> Tensor:
    """Images (batch, channel, height, width) turned by so many quarters, against the clock."""
    out = images.clone()
    for turn in (1, 2, 3):
        which = torch.from_numpy(turns == turn).to(images.device)
        out[which] = torch.rot90(images[which], turn, (2, 3))
    return out


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return -(target * logits.float().log_softmax(1)).sum(1).mean()


def build(settings: ReMixMatchConfig, parts: Parts) -> ReMixMatch:
    """See `frazil.learn.strategies.make_strategy`."""
    network: PatchClassifier = parts.network  # type: ignore[assignment] # checked before anything is read
    rotation = nn.Linear(network.n_features, 4).to(parts.device)
    views = parts.views(settings.labelled, parts.weak, *[settings.strong] * settings.views)
    label, seed = parts.pool.label, parts.config.seed
    return ReMixMatch(network, rotation, views, label, parts.n_classes, parts.plan, settings, seed=seed)
