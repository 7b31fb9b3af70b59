"""Learning from others through files: any strategy, with a distillation loss from stale copies of other workers.

Every so many steps a worker publishes its network and takes the freshest copies of the others. Their batch-norm
statistics come with them; they stay in evaluation mode and see the worker's own batch, so that no data travels. Which
loss compares them is `frazil.learn.distributed.losses`; how copies travel, `frazil.learn.distributed.exchange`.

References:
    Khaleghian (2022), paper 3, equations 1 to 3.
    Anil, R. et al. (2018), Large scale distributed neural network training through online distillation. ICLR 2018.
    doi:10.48550/arXiv.1804.03235.
"""

from __future__ import annotations

import copy
import logging
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frazil.learn.config import OptimConfig, PeersConfig
from frazil.learn.distributed.courier import Courier
from frazil.learn.distributed.ear import Ear, ask
from frazil.learn.distributed.losses import layers_distillation, output_distillation
from frazil.learn.distributed.team import Team
from frazil.learn.models.output import output_of
from frazil.learn.train import Strategy

_LOG = logging.getLogger(__name__)
_SECONDS = "peers/seconds"
_MOST = 1e12  # of features and logits: their squared differences, added up, must stay below 3e38
_POLL = 50  # steps from one question for news to the next, where several processes must hear it together


class WithPeers(Strategy):
    """A strategy whose result also learns from other workers.

    Args:
        inner: the strategy.
        settings: of the exchange.
        courier: to the store; None in processes of a team that do not go there themselves.
        seed: of the draw of teachers.
        samples: that a step of all processes of this worker sees.
        team: of processes that train this worker's network in step.
    """

    def __init__(
        self,
        inner: Strategy,
        settings: PeersConfig,
        courier: Courier | None,
        *,
        seed: int,
        samples: int,
        team: Team | None = None,
    ) -> None:
        self.inner, self.networks, self.result = inner, inner.networks, inner.result
        self.settings, self.courier, self.seed, self.samples = settings, courier, seed, samples
        self.team = team or Team()
        # The average of a network is published, but it is the network that learns.
        self.student = inner.result if inner.result in inner.networks.values() else inner.networks["network"]
        self.blank = copy.deepcopy(self.student).eval().requires_grad_(False)
        self.ear = Ear(self.student, settings.features)
        self.teachers: dict[str, nn.Module] = {}
        self.score: float | None = None
        self._unsound: set[str] = set()  # that were named
        self._began = self._learnt = False
        self._before, self._since = 0.0, time.monotonic()

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step: those of the inner strategy, and what is learnt from others."""
        if not self._began:
            self._began = True
            self._look(step)
        with self.ear.listening():
            loss, logs = self.inner.step(step)
        own, s = self.ear, self.settings
        listening = bool(s.log_every) and step % s.log_every == 0
        if own.image is None or own.logits is None:  # its student has not begun to learn
            return loss, logs
        self._learnt = True
        learning = s.method != "independent" and step >= s.begin and step % s.loss_every == 0
        asked = self._asked(step) if learning or listening else {}
        if asked:
            answers = self._answers(asked, own.image)
            distilled = {
                "feature": _loss(
                    learning and s.method == "afsd",
                    layers_distillation,
                    own.features,
                    [a for a, _ in answers],
                    normalised=s.loss == "normalised",
                    distance=s.distance,
                ),
                "output": _loss(
                    learning and s.method == "codistillation",
                    output_distillation,
                    own.logits,
                    [b for _, b in answers],
                    output=output_of(self.student),
                ),
            }
            if learning:
                loss = loss + s.alpha * distilled["feature" if s.method == "afsd" else "output"]
            logs |= {f"loss_{name}": float(value.detach()) for name, value in distilled.items()}
        if listening:
            logs |= {**self._counts(), "samples": float(step * self.samples), "seconds": self._seconds()}
        return loss, logs

    def after_step(self, step: int) -> None:
        """Exchange when it is time, and take what has come."""
        self.inner.after_step(step)
        done = step + 1
        if done % self.settings.every == 0 and self.courier is not None:
            self.courier.go(done, self._weights() if self._learnt else None, **self._facts(done))
            self._learnt = False
        if self.team.world == 1 or done % min(_POLL, self.settings.every) == 0:
            self._take()

    def rates(self, step: int, config: OptimConfig) -> dict[str, float]:
        """Those of the inner strategy."""
        return self.inner.rates(step, config)

    def tensors(self) -> dict[str, Tensor]:
        """Those of the inner strategy, and the time so far; teachers are fetched anew."""
        return {**self.inner.tensors(), _SECONDS: torch.tensor(self._seconds())}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self._before = float(tensors[_SECONDS])
        self.inner.load_tensors({k: v for k, v in tensors.items() if k != _SECONDS})

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._since

    def finish(self, step: int) -> None:
        """Publish the end of the run."""
        if self.courier is not None:
            self.courier.last(step, self._weights(), **self._facts(step))

    def _look(self, step: int) -> None:
        """A first look at the others: those of the last exchange, where this worker goes on."""
        if self.courier is not None and (step >= self.settings.every or not self.settings.lockstep):
            self.courier.go(step - step % self.settings.every, None)
        self._take()

    def _take(self) -> None:
        news = self.courier.news() if self.courier is not None else None
        found = None if news is None else {name: peer.weights for name, peer in news.items()}
        found = self.team.share(found)
        if found is None:
            return
        known, self.teachers = self.teachers, {}
        for name, weights in found.items():
            assert weights is not None
            teacher = known[name] if name in known else copy.deepcopy(self.blank)
            teacher.load_state_dict(weights)
            self.teachers[name] = teacher

    def _answers(self, asked: dict[str, nn.Module], image: Tensor) -> list[tuple[list[Tensor], Tensor]]:
        """What teachers say of a batch; one whose numbers nobody could learn from is left out and named.

        Weights may be finite and still be nonsense: the answers of a network whose training has failed, or that
        somebody made up, overflow in the distances between them.
        """
        found = []
        for name, teacher in asked.items():
            with torch.no_grad():
                features, logits = ask(teacher, image, self.settings.features)
            if all(bool((v.float().abs() < _MOST).all()) for v in (*features, logits)):  # NaN is not below anything
                found.append((features, logits))
            elif name not in self._unsound:
                self._unsound.add(name)
                _LOG.warning("Worker %s is left out: its network answers with numbers that are not finite.", name)
        return found

    def _asked(self, step: int) -> dict[str, nn.Module]:
        names, n = sorted(self.teachers), self.settings.teachers
        if n and n < len(names):
            drawn = np.random.default_rng([self.seed, 70, step]).choice(len(names), n, replace=False)
            names = [names[i] for i in sorted(drawn)]
        return {name: self.teachers[name] for name in names}

    def _weights(self) -> dict[str, Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self.result.state_dict().items()}

    def _facts(self, step: int) -> dict[str, object]:
        return {"samples": step * self.samples, "score": self.score}

    def _counts(self) -> dict[str, float]:
        counts = {"peers": float(len(self.teachers))}
        if self.courier is not None:
            traffic = self.courier.exchange.traffic
            failures = traffic.failures + self.courier.left_out
            counts |= {"exchange_bytes": float(traffic.written + traffic.read), "exchange_failures": float(failures)}
        return counts


def _loss(taught: bool, function: Any, *arguments: Any, **options: Any) -> Tensor:
    """A distillation loss; without gradient where it is only logged."""
    with torch.set_grad_enabled(taught):
        loss: Tensor = function(*arguments, **options)
    return loss
