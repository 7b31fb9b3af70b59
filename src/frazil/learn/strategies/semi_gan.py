"""Semi-supervised GAN: a classifier that must also tell patches from those that a generator makes.

The K + 1st class, "made", has a logit fixed at 0, so that the classifier keeps its K logits: a patch is real with
probability Z / (Z + 1), Z = Σ exp(logit). The generator matches the mean descriptors of real patches. Both losses are
descended together; each network gets the gradient of its own alone. Batch norm remembers real patches only: made ones
would spoil the statistics that scenes are mapped by.

The paper's Adam has β₁ = 0.5; here it is PyTorch's 0.9, as for all networks.

References:
    Salimans, T. et al. (2016), Improved techniques for training GANs. NIPS 2016. doi:10.48550/arXiv.1606.03498.
    Sections 3.1 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.config import SemiGANConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.average import weighed
from frazil.learn.strategies.batch_norm import statistics_kept
from frazil.learn.strategies.building import Parts
from frazil.learn.train import Strategy


class Generator(nn.Module):
    """Patches in [0, 1] from random numbers: doubled from 4 × 4 pixels until they cover a patch, then cut to it.

    Args:
        patch: side, pixels.
        n_channels: of the patches.
        latent: random numbers of a patch.
        width: channels of the last layer but one.
    """

    def __init__(self, patch: int, n_channels: int, latent: int, width: int) -> None:
        super().__init__()
        self.patch, self.latent = patch, latent
        doublings = max(math.ceil(math.log2(patch / 4)), 1)
        n_in = width * 2 ** min(doublings, 3)
        layers: list[nn.Module] = [nn.Linear(latent, n_in * 16), nn.Unflatten(1, (n_in, 4, 4))]
        layers += [nn.BatchNorm2d(n_in), nn.ReLU(inplace=True)]
        for _ in range(doublings):
            n_out = max(n_in // 2, width)
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(n_in, n_out, 3, padding=1)]
            layers += [nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
            n_in = n_out
        self.layers = nn.Sequential(*layers, nn.Conv2d(n_in, n_channels, 3, padding=1), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        """Patches (batch, channel, patch, patch) of numbers (batch, latent)."""
        whole: Tensor = self.layers(z)
        low = (whole.shape[-1] - self.patch) // 2
        return whole[:, :, low : low + self.patch, low : low + self.patch]


class SemiGAN(Strategy):
    """Classifier and generator.

    Args:
        network: a patch classifier.
        generator: of patches of the same size and channels.
        batches: one view of labelled and unlabelled patches.
        label: int64 of the labelled patches.
        settings: of the strategy.
        seed: of the random numbers.
    """

    def __init__(
        self,
        network: PatchClassifier,
        generator: Generator,
        batches: PoolBatches,
        label: Tensor,
        settings: SemiGANConfig,
        seed: int,
    ) -> None:
        generator.lr_scale = settings.generator_rate  # type: ignore[assignment]
        self.networks, self.result = {"network": network, "generator": generator}, network
        self.network, self.generator = network, generator
        self.batches, self.label, self.settings, self.seed = batches, label, settings, seed

    def losses(self, step: int) -> tuple[Tensor, Tensor, Tensor, dict[str, float]]:
        """Losses of the classifier on labelled and on unlabelled patches, that of the generator, and logs."""
        (image,), places = self.batches(step)
        n = self.settings.labelled
        label = self.label[places[:n]].to(image.device)
        real = image[n:]
        # Random numbers of the step alone, so that a run that goes on draws the same.
        rng = np.random.default_rng([self.seed, 60, step])
        latent = torch.from_numpy(rng.standard_normal((len(real), self.generator.latent), np.float32))
        made = self.generator(latent.to(image.device))
        logits = self.network(image).float()
        with statistics_kept(self.network):
            z_real, z_made = logits[n:].logsumexp(1), self.network(made.detach()).float().logsumexp(1)
        softplus = nn.functional.softplus
        unlabelled = 0.5 * ((softplus(z_real) - z_real).mean() + softplus(z_made).mean())
        with _fixed(self.network), statistics_kept(self.network):
            apart = self.network.describe(real).float().mean(0) - self.network.describe(made).float().mean(0)
        of_generator = apart.square().mean()
        told = 0.5 * float((z_real > 0).float().mean() + (z_made < 0).float().mean())
        logs = {"accuracy": hits(logits[:n], label), "real_or_made": told}
        return nn.functional.cross_entropy(logits[:n], label), unlabelled, of_generator, logs

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        labelled, unlabelled, of_generator, logs = self.losses(step)
        loss, parts = weighed(labelled, unlabelled, self.settings.weight)
        return loss + of_generator, {**parts, "loss_generator": float(of_generator.detach()), **logs}


@contextmanager
def _fixed(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without reaching its weights."""
    needed = [p for p in network.parameters() if p.requires_grad]
    for p in needed:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in needed:
            p.requires_grad_(True)


def build(settings: SemiGANConfig, parts: Parts) -> SemiGAN:
    """See `frazil.learn.strategies.make_strategy`."""
    network: PatchClassifier = parts.network  # type: ignore[assignment] # checked before anything is read
    generator = Generator(network.patch, len(parts.data.channels), settings.latent, settings.width)
    generator = generator.to(parts.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    views = parts.views(settings.labelled, parts.weak)
    return SemiGAN(network, generator, views, parts.pool.label, settings, parts.config.seed)
