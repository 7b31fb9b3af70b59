"""Semi-supervised variational autoencoder, M1 + M2: latents of all patches first, then their classes.

M1 learns from all patches, labels aside. Its bound is log p(x | z₁) − KL(q(z₁ | x) ‖ N(0, 1)), z₁ drawn from q. Then M2
learns from what q(z₁ | x) gives, which stays as it is. With a label the bound is

    −L(z₁, y) = log p(z₁ | y, z₂) + log p(y) − KL(q(z₂ | z₁, y) ‖ N(0, 1)), z₂ drawn from q(z₂ | z₁, y),

where p(y) is the same for all classes; without one it is −U(z₁) = Σ_y q(y | z₁) (−L(z₁, y)) + H(q(y | z₁)). Descended
is, over all N patches of which M have a label (equation 9),

    J = Σ_labelled L + Σ_unlabelled U + α Σ_labelled −log q(y | z₁) / M, α = 0.1 · N,

here divided by N: M/N and 1 − M/N of the mean L and U of a batch, and 0.1 of the mean cross-entropy. The patches of
M1's bound are weighed likewise, so that labelled ones, which come oftener, count once.

The result is the inference network alone: descriptors are the mean of q(z₁ | x), and the head is q(y | z₁), asked about
that mean. Any patch classifier can be it, but descriptors behind a rectifier, which are never negative, are no mean of
a normal distribution: in trials M1 learnt nothing by them. The recipe takes the architecture ``encoder``, which has 50
descriptors without one. Networks are convolutional where the paper's are not; p(x | z₁) is normal, with one variance
for each channel; the variance of q(z₁ | x) is made from its mean.

References:
    Kingma, D. P., Rezende, D. J., Mohamed, S., Welling, M. (2014), Semi-supervised learning with deep generative
    models. NIPS 2014. doi:10.48550/arXiv.1406.5298. Equations 5 to 9.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import OptionError
from frazil.learn.config import M1M2Config, OptimConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.models.patch import PatchClassifier
from frazil.learn.propagation.pseudo import hits
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan
from frazil.learn.strategies.semi_gan import Generator
from frazil.learn.train import Strategy, scheduled

_LOG_VARIANCE = 10.0  # at most so far from 0: a channel that is constant would be told ever more exactly
_OF_PIXELS = -4.0  # the first log variance of pixels in [0, 1]; from 0, the latents die before they say anything


def log_normal(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density (batch,) of numbers (batch, …) that are independent and normal."""
    each = math.log(2 * math.pi) + log_variance + (x - mean).square() * torch.exp(-log_variance)
    return -0.5 * each.flatten(1).sum(1)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL (batch,) of such a distribution from the standard normal one."""
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(1)


def drawn(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Numbers of a normal distribution, made from those of the standard one."""
    return mean + torch.exp(0.5 * log_variance) * noise


def bounded(log_variance: Tensor) -> Tensor:
    """A log variance that is one."""
    return log_variance.float().clamp(-_LOG_VARIANCE, _LOG_VARIANCE)


class M1(nn.Module):
    """What M1 has beside the mean of q(z₁ | x).

    Args:
        network: that gives the mean, as its descriptors.
        n_channels: of patches.
        width: see `Generator`.
    """

    def __init__(self, network: PatchClassifier, n_channels: int, width: int) -> None:
        super().__init__()
        n = network.n_features
        self.decoder = Generator(network.patch, n_channels, n, width)
        self.log_variance = nn.Parameter(torch.full((n_channels,), _OF_PIXELS))
        self.spread = nn.Sequential(nn.Linear(n, n), nn.Softplus(), nn.Linear(n, n))

    def bound(self, image: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
        """Lower bound (batch,) of log p(x)."""
        log_variance = bounded(self.spread(mean))
        made = self.decoder(drawn(mean, log_variance, noise)).float()
        of_pixels = bounded(self.log_variance)[:, None, None].expand_as(made)
        return log_normal(image, made, of_pixels) - divergence(mean, log_variance)


class M2(nn.Module):
    """q(z₂ | z₁, y) and p(z₁ | y, z₂).

    Args:
        n_features: length of z₁.
        n_classes: how many classes there are.
        settings: of the strategy.
    """

    def __init__(self, n_features: int, n_classes: int, settings: M1M2Config) -> None:
        super().__init__()
        hidden, latent = settings.hidden, settings.latent
        self.n_classes, self.latent = n_classes, latent
        self.encoder = _perceptron(n_features + n_classes, hidden, 2 * latent)
        self.decoder = _perceptron(latent + n_classes, hidden, 2 * n_features)

    def bound(self, z1: Tensor, label: Tensor, noise: Tensor) -> Tensor:
        """−L(z₁, y), lower bound (batch,) of log p(z₁, y)."""
        y = nn.functional.one_hot(label, self.n_classes).float()
        mean, log_variance = self.encoder(torch.cat([z1, y], 1)).float().chunk(2, 1)
        log_variance = bounded(log_variance)
        z2 = drawn(mean, log_variance, noise)
        again, spread = self.decoder(torch.cat([z2, y], 1)).float().chunk(2, 1)
        return log_normal(z1, again, bounded(spread)) - math.log(self.n_classes) - divergence(mean, log_variance)

    def bound_without_label(self, z1: Tensor, logits: Tensor, noise: Tensor) -> Tensor:
        """−U(z₁), lower bound (batch,) of log p(z₁).

        Args:
            z1: (batch, feature).
            logits: of q(y | z₁), (batch, class).
            noise: (batch, class, latent).
        """
        n = len(z1)
        every = torch.arange(self.n_classes, device=z1.device).repeat(n)
        each = self.bound(z1.repeat_interleave(self.n_classes, 0), every, noise.flatten(0, 1)).reshape(n, -1)
        log_q = logits.log_softmax(1)
        return (log_q.exp() * (each - log_q)).sum(1)


def _perceptron(n_in: int, hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, hidden), nn.Softplus(), nn.Linear(hidden, n_out))


class M1M2(Strategy):
    """Both, one after the other.

    Args:
        network: whose descriptors are the mean of q(z₁ | x), and whose head is q(y | z₁).
        m1: the rest of M1.
        m2: the rest of M2.
        batches: one view of labelled and unlabelled patches.
        label: int64 of the labelled patches.
        plan: how long the run is.
        settings: of the strategy.
        share: of patches that have a label, M/N.
        seed: of the random numbers.
    """

    def __init__(
        self,
        network: PatchClassifier,
        m1: M1,
        m2: M2,
        batches: PoolBatches,
        label: Tensor,
        plan: Plan,
        settings: M1M2Config,
        *,
        share: float,
        seed: int,
    ) -> None:
        self.networks, self.result = {"network": network, "m1": m1, "m2": m2}, network
        self.network, self.m1, self.m2 = network, m1, m2
        self.batches, self.label, self.plan, self.settings = batches, label, plan, settings
        self.share, self.seed = share, seed
        self.begins = min(max(round(settings.first * plan.steps), 1), plan.steps - 1)  # M2 does, at this step

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        (image,), places = self.batches(step)
        rng = np.random.default_rng([self.seed, 53, step])  # a run that goes on draws the same
        if step < self.begins:
            mean = self.network.describe(image).float()
            bound = self.m1.bound(image, mean, self._noise(rng, mean.shape, mean))
            loss = -self._over_all(bound[: self.settings.labelled], bound[self.settings.labelled :])
            return loss, {"loss": float(loss.detach()), "bound_m1": -float(loss.detach())}
        labelled, unlabelled, named, logs = self._losses(image, places, rng)
        loss = self._over_all(labelled, unlabelled) + self.settings.alpha * named
        told = {"loss": loss, "loss_labelled": named, "bound_labelled": -labelled.mean()}
        told["bound_unlabelled"] = -unlabelled.mean()
        return loss, {**{k: float(v.detach()) for k, v in told.items()}, **logs}

    def _losses(
        self, image: Tensor, places: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, float]]:
        """L of the labelled patches, U of the others, the mean cross-entropy, and logs."""
        n = self.settings.labelled
        label = self.label[places[:n]].to(image.device)
        z1 = self.latents(image, rng)
        logits = self.network.head(z1).float()
        noise = self._noise(rng, (n, self.m2.latent), z1)
        labelled = -self.m2.bound(z1[:n], label, noise)
        noise = self._noise(rng, (len(z1) - n, self.m2.n_classes, self.m2.latent), z1)
        unlabelled = -self.m2.bound_without_label(z1[n:], logits[n:], noise)
        named = nn.functional.cross_entropy(logits[:n], label)
        return labelled, unlabelled, named, {"accuracy": hits(logits[:n], label)}

    @torch.no_grad()
    def latents(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """z₁ drawn from q(z₁ | x), which learns no more: in evaluation mode."""
        training = self.network.training
        mean = self.network.eval().describe(image).float()
        self.network.train(training)
        return drawn(mean, bounded(self.m1.spread(mean)), self._noise(rng, mean.shape, mean))

    def _over_all(self, labelled: Tensor, unlabelled: Tensor) -> Tensor:
        """The mean over all patches, of which a batch holds too many labelled ones."""
        return self.share * labelled.mean() + (1 - self.share) * unlabelled.mean()

    @staticmethod
    def _noise(rng: np.random.Generator, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.from_numpy(rng.standard_normal(tuple(shape), np.float32)).to(like.device)

    def rates(self, step: int, config: OptimConfig) -> dict[str, float]:
        """M1 and M2 each on a schedule of its own."""
        begin, end = (0, self.begins) if step < self.begins else (self.begins, config.steps)
        return dict.fromkeys(self.networks, scheduled(config, config.lr, step - begin, end - begin))


def build(settings: M1M2Config, parts: Parts) -> M1M2:
    """See `frazil.learn.strategies.make_strategy`."""
    for name in ("patience", "target"):
        if getattr(parts.config.optim, name):
            raise OptionError(f"optim.{name} would end the run while M1 learns, which names nothing. Set it to 0.")
    if parts.config.peers.path is not None:
        raise OptionError("strategy 'm1_m2' does not learn with others: its descriptors stand still. Leave out peers.")
    if parts.plan.steps < 2:
        raise OptionError("strategy 'm1_m2' needs 2 steps or more, for M1 and for M2. Raise optim.steps.")
    network: PatchClassifier = parts.network  # type: ignore[assignment] # checked before anything is read
    m1 = M1(network, len(parts.data.channels), settings.width)
    m1 = m1.to(parts.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    m2 = M2(network.n_features, parts.n_classes, settings).to(parts.device)
    views, pool = parts.views(settings.labelled, parts.weak), parts.pool
    share = len(pool.labelled) / len(pool)
    return M1M2(network, m1, m2, views, pool.label, parts.plan, settings, share=share, seed=parts.config.seed)
