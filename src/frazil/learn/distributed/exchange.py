"""Workers that tell each other what they have learnt, through files and nothing else.

Layout below the exchange folder, for every run::

    RUN/weights/WORKER/SHA256.safetensors                           weights, named by their content
    RUN/workers/WORKER/INCARNATION-SEQUENCE.json                    what a worker has published

Both are immutable. Weights are written first; the small manifest, which names them with size and hash, publishes them.
A reader takes the manifest of the highest incarnation and sequence, so that a worker that was killed and started again
outranks its former self at once. Weights whose size, hash, names, shapes or numbers are not as they should be are not
used. A peer that publishes nothing new for long counts as gone; so does what a finished run, or one of long ago, has
left in the folder.

Other workers are not trusted: files are read by safetensors and json alone, up to the size that is expected, and names
are checked before they become part of a path.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from frazil.errors import OptionError
from frazil.learn.distributed.store import Store

_LOG = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MANIFEST = re.compile(r"(\d{10})-(\d{10})\.json")
_MANIFEST_BYTES = 65_536
_LISTINGS = 5  # a busy worker may outlive all of its manifests between the listing and the reading
_KEEP = 2  # a reader may still be on the one before the last
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a worker published.

    Attributes:
        run, worker: names.
        incarnation: 1 for a worker's first start, one more for every further one.
        sequence: of its publications since that start.
        token: drawn at that start, by which two workers of one name are told apart.
        model: fingerprint of network and classes, and in words.
        model_text: see `model`.
        step, samples: how far it was.
        sha256, size: of the weights.
        published: seconds since 1970, by its own clock; for people.
        every_s: seconds since its last publication.
        score: on its validation scenes, None without.
        written, read: bytes it has moved so far.
        failures: exchanges that the store has cost it.
        method: how it learns from others.
        steps: that its run will have.
        done: whether this is its last word.
    """

    run: str
    worker: str
    incarnation: int
    sequence: int
    token: str
    model: str
    model_text: str
    step: int
    samples: int
    sha256: str
    size: int
    published: float
    every_s: float = 0.0
    score: float | None = None
    written: int = 0
    read: int = 0
    failures: int = 0
    method: str = ""
    steps: int = 0
    done: bool = False
    format: int = FORMAT

    def lasts_s(self, expiry_s: float) -> float:
        """Seconds without news after which the worker counts as gone: three of its intervals, or more."""
        return max(expiry_s, 3 * self.every_s)

    @property
    def rank(self) -> tuple[int, int]:
        """By which the later of two manifests of a worker is known."""
        return self.incarnation, self.sequence


@dataclass
class Peer:
    """What is known of another worker.

    Attributes:
        manifest: its latest.
        seen: when that was first seen, by this worker's own clock.
        weights: of `manifest`, once they were read and found good.
    """

    manifest: Manifest
    seen: float
    weights: dict[str, Tensor] | None = None


@dataclass
class Traffic:
    """Bytes moved through the store, and what went wrong."""

    written: int = 0
    read: int = 0
    published: int = 0
    fetched: int = 0
    failures: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def check_names(**names: str) -> None:
    """Refuse what cannot be the name of a run or worker, since it becomes part of a path.

    Raises:
        OptionError: a name that is none.
    """
    for what, name in names.items():
        if not NAME.fullmatch(name):
            raise OptionError(f"{what} {name!r} is no name: letters, digits, dots, dashes and underscores, at most 64.")


class Exchange:
    """One worker's side of an exchange.

    Args:
        store: the shared folder or bucket.
        run: name of the run, the same for all workers.
        worker: name of this worker, of its own.
        like: weights of this worker, by which those of others are checked: same names, shapes and types.
        model_text: network and classes in words, the same for all workers.
        expiry_s: a peer that has published nothing new for so long, and for three of its own intervals, by this
            worker's clock, counts as gone.
        method, steps: see `Manifest`; for people.

    Raises:
        OptionError: names that are none, or a folder in which another model is being trained.
    """

    def __init__(
        self, store: Store, *, run: str, worker: str, like: Mapping[str, Tensor], model_text: str,
        expiry_s: float = 3600.0, method: str = "", steps: int = 0,
    ) -> None:  # fmt: skip
        check_names(run=run, worker=worker)
        if not expiry_s > 0:
            raise OptionError(f"expiry_s {expiry_s} must be above 0.")
        self.store, self.run, self.worker, self.expiry_s = store, run, worker, expiry_s
        self.like = {name: (tuple(t.shape), t.dtype) for name, t in like.items()}
        self.limit = sum(t.numel() * t.element_size() for t in like.values()) + 200 * len(self.like) + 65_536
        self.model_text, self.model = model_text, fingerprint(like, model_text)
        self.token = uuid.uuid4().hex
        self.traffic = Traffic()
        self.peers: dict[str, Peer] = {}
        self.method, self.steps = method, steps
        self.incarnation = 0  # not known before the store has been seen
        self._sequence, self._mine, self._last = 0, list[Manifest](), time.monotonic()
        self._left: dict[str, tuple[int, int]] = {}  # what others left here long ago
        self._begin()

    def _begin(self) -> bool:
        """Learn who this worker was before, and who else is here; whether the store could be seen."""
        failures = self.traffic.failures
        former = self._latest(self.worker)
        there = {name: m for name in self._workers() if name != self.worker and (m := self._latest(name))}
        if self.traffic.failures > failures:
            return False
        for name, manifest in there.items():
            past = time.time() - manifest.published > manifest.lasts_s(self.expiry_s)
            if past or manifest.done:
                self._left[name] = manifest.rank
            elif manifest.model != self.model:
                raise OptionError(
                    f"In {self.store.url} worker {name} trains another model for run {self.run!r} "
                    f"({manifest.model_text}, here {self.model_text}). Choose another run name or another folder."
                )
        before = [int(n.split("-")[0]) for n in self._manifests(self.worker)]  # damaged ones count too
        if self.traffic.failures > failures:
            return False
        self.incarnation = max([former.incarnation if former else 0, *before]) + 1
        if former:
            self._mine = [former]  # outlived with the publications to come
            self.traffic.written += former.written
            self.traffic.read += former.read
        return True

    def publish(
        self, weights: Mapping[str, Tensor], *, step: int, samples: int, score: float | None = None, done: bool = False
    ) -> bool:
        """Let others have the weights; whether that worked. A store that is full or away costs this exchange, no more.

        Raises:
            OptionError: another worker goes by this worker's name.
        """
        from safetensors.torch import save

        if not self.incarnation and not self._begin():
            return False
        self._check_name()
        data = save({k: v.detach().cpu().contiguous() for k, v in weights.items()})
        digest = hashlib.sha256(data).hexdigest()
        now = time.monotonic()
        manifest = Manifest(
            run=self.run, worker=self.worker, incarnation=self.incarnation, sequence=self._sequence, token=self.token,
            model=self.model, model_text=self.model_text, step=step, samples=samples, sha256=digest, size=len(data),
            published=time.time(), every_s=round(now - self._last, 3), score=score, written=self.traffic.written,
            read=self.traffic.read, failures=self.traffic.failures, method=self.method, steps=self.steps, done=done,
        )  # fmt: skip
        text = json.dumps(asdict(manifest)).encode()
        try:
            self.store.write(self._weights(self.worker, digest), data)
            self.store.write(self._manifest(manifest), text)
        except OSError as error:
            self._failed(f"Cannot publish to {self.store.url}: {error.strerror or error}")
            return False
        self.traffic.written += len(data) + len(text)
        self.traffic.published += 1
        self._sequence += 1
        self._last = now
        self._mine.append(manifest)
        self._tidy()
        if self._sequence == _KEEP:
            self._sweep()
        return True

    def fetch(self, at_step: int | None = None) -> dict[str, Peer]:
        """The freshest good weights of every other worker that is alive, by name.

        Args:
            at_step: only those of exactly this step, alive or not.
        """
        for name in self._workers():
            if name == self.worker:
                continue
            manifest = self._latest(name, at_step)
            if manifest is None:
                continue
            known = self.peers.get(name)
            if known is not None and known.manifest.rank >= manifest.rank:
                continue
            if at_step is None and manifest.rank <= self._left.get(name, (0, 0)):
                continue
            if manifest.model != self.model:
                self._refuse(name, f"it trains another model ({manifest.model_text})")
                continue
            weights = self._read(manifest)
            if weights is not None:
                self.traffic.refused.pop(name, None)
                self.peers[name] = Peer(manifest, time.monotonic(), weights)
        now, found = time.monotonic(), sorted(self.peers.items())
        if at_step is not None:
            return {name: peer for name, peer in found if peer.manifest.step == at_step}
        return {name: peer for name, peer in found if now - peer.seen < peer.manifest.lasts_s(self.expiry_s)}

    def _read(self, manifest: Manifest) -> dict[str, Tensor] | None:
        if manifest.size > self.limit:
            self._refuse(manifest.worker, f"its weights have {manifest.size} bytes, expected at most {self.limit}")
            return None
        try:
            data = self.store.read(self._weights(manifest.worker, manifest.sha256), manifest.size)
        except OSError as error:  # removed meanwhile, or the store is away: next time
            self._failed(f"Cannot read the weights of {manifest.worker}: {error.strerror or error}")
            return None
        self.traffic.read += len(data)
        why = None
        if len(data) != manifest.size or hashlib.sha256(data).hexdigest() != manifest.sha256:
            why = "its weights are damaged"
        else:
            weights, why = checked_weights(data, self.like)
            if why is None:
                self.traffic.fetched += 1
                return weights
        self._refuse(manifest.worker, why)
        return None

    def _latest(self, worker: str, at_step: int | None = None) -> Manifest | None:
        """The last valid manifest of a worker, or the last one of a step."""
        for _ in range(_LISTINGS):
            names = self._manifests(worker)[-5:]
            gone = 0
            for name in reversed(names):
                try:
                    data = self.store.read(f"{self.run}/workers/{worker}/{name}", _MANIFEST_BYTES)
                except FileNotFoundError:  # outlived since it was listed
                    gone += 1
                    continue
                except OSError:
                    continue
                self.traffic.read += len(data)
                manifest = parse_manifest(data, self.run, worker)
                if manifest is None:
                    self._refuse(worker, f"its manifest {name} is damaged or of another version of frazil")
                elif at_step is None or manifest.step == at_step:
                    return manifest
            if not names or gone < len(names):
                return None
        return None

    def _manifests(self, worker: str) -> list[str]:
        """Names of a worker's manifests, the earliest first."""
        try:
            return [n for n in self.store.names(f"{self.run}/workers/{worker}") if MANIFEST.fullmatch(n)]
        except OSError as error:
            self._failed(f"Cannot list {self.store.url}: {error.strerror or error}")
            return []

    def _workers(self) -> list[str]:
        try:
            return [name for name in self.store.names(f"{self.run}/workers") if NAME.fullmatch(name)]
        except OSError as error:
            self._failed(f"Cannot list {self.store.url}: {error.strerror or error}")
            return []

    def _check_name(self) -> None:
        latest = self._latest(self.worker)
        if latest is not None and latest.token != self.token and latest.incarnation >= self.incarnation:
            raise OptionError(
                f"Another worker named {self.worker!r} has started in run {self.run!r} of {self.store.url}. Give each "
                "worker a name of its own."
            )

    def _tidy(self) -> None:
        """Remove what this worker has outlived: its own manifests but the last two, and weights that none names."""
        while len(self._mine) > _KEEP:
            old = self._mine.pop(0)
            try:
                self.store.remove(self._manifest(old))
                if old.sha256 not in {m.sha256 for m in self._mine}:
                    self.store.remove(self._weights(self.worker, old.sha256))
            except OSError as error:
                self._failed(f"Cannot remove an old file of {self.store.url}: {error.strerror or error}")

    def _sweep(self) -> None:
        """Remove, once, what former selves left that were killed before they could."""
        try:
            weights = self.store.names(f"{self.run}/weights/{self.worker}")
            manifests = self._manifests(self.worker)
            if any(int(name.split("-")[0]) > self.incarnation for name in manifests):
                return  # these are a newer self's
            kept = {self._manifest(m) for m in self._mine} | {self._weights(self.worker, m.sha256) for m in self._mine}
            found = [f"{self.run}/workers/{self.worker}/{name}" for name in manifests]
            found += [f"{self.run}/weights/{self.worker}/{name}" for name in weights]
            for path in set(found) - kept:
                self.store.remove(path)
        except OSError as error:
            self._failed(f"Cannot remove files of a former {self.worker}: {error.strerror or error}")

    def _weights(self, worker: str, digest: str) -> str:
        return f"{self.run}/weights/{worker}/{digest}.safetensors"

    def _manifest(self, m: Manifest) -> str:
        return f"{self.run}/workers/{m.worker}/{m.incarnation:010d}-{m.sequence:010d}.json"

    def _failed(self, message: str) -> None:
        self.traffic.failures += 1
        _LOG.warning("%s", message)

    def _refuse(self, worker: str, why: str) -> None:
        if self.traffic.refused.get(worker) != why:
            _LOG.warning("Worker %s is left out: %s.", worker, why)
        self.traffic.refused[worker] = why


def fingerprint(weights: Mapping[str, Tensor], model_text: str) -> str:
    """By which workers know that they train the same thing: parameters' names, shapes and types, and words."""
    shapes = [(name, list(t.shape), str(t.dtype)) for name, t in sorted(weights.items())]
    return hashlib.sha256(json.dumps([FORMAT, model_text, shapes]).encode()).hexdigest()


def checked_weights(
    data: bytes, like: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
) -> tuple[dict[str, Tensor], str | None]:
    """Weights from bytes of a stranger, and why they cannot be used, if they cannot."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError, TypeError) as error:
        return {}, f"its weights cannot be read ({str(error).splitlines()[0]})"
    if set(weights) != set(like):
        return {}, "its weights have other names"
    for name, (shape, dtype) in like.items():
        if tuple(weights[name].shape) != shape or weights[name].dtype != dtype:
            return {}, f"its {name} is {weights[name].dtype} {tuple(weights[name].shape)}, expected {dtype} {shape}"
        if weights[name].is_floating_point() and not bool(torch.isfinite(weights[name]).all()):
            return {}, f"its {name} is not finite"
    return weights, None


def parse_manifest(data: bytes, run: str, worker: str) -> Manifest | None:
    """A manifest from bytes of a stranger; None where it is none, or not of this run and worker."""
    try:
        values = json.loads(data)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            return None
        manifest = Manifest(**values)
        whole = ("incarnation", "sequence", "step", "samples", "size", "written", "read", "failures", "steps")
        if any(type(values.get(name, 0)) is not int or values.get(name, 0) < 0 for name in whole):
            return None
        words = ("run", "worker", "token", "model", "model_text", "sha256", "method")
        if any(not isinstance(values.get(n, ""), str) for n in words) or not isinstance(manifest.done, bool):
            return None
        numbers = [manifest.published, manifest.every_s, *([] if manifest.score is None else [manifest.score])]
        if any(type(v) not in (int, float) for v in numbers):
            return None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    fits = manifest.run == run and manifest.worker == worker and re.fullmatch(r"[0-9a-f]{64}", manifest.sha256)
    return manifest if fits else None
