"""Workers that tell each other what they have learnt, through files and nothing else.

Layout below the exchange folder, for every run::

    RUN/weights/WORKER/SHA256.safetensors                           weights, named by their content
    RUN/workers/WORKER/INCARNATION-SEQUENCE.json                    what a worker has published

Both are immutable. Weights are written first; the small manifest, which names them with size and hash, publishes them.
A reader takes the manifest of the highest incarnation and sequence, so that a worker that was killed and started again
outranks its former self at once. Weights whose size, hash, names, shapes or numbers are not as they should be are not
used. A peer that publishes nothing new for long counts as gone; so does what a finished run, or one of long ago, has
left in the folder.

Other workers are not trusted: files are read by safetensors and json alone, up to the size that is expected; names are
checked before they become part of a path; numbers are bounded. Whatever lies in the folder costs at most the worker in
whose name it lies, never this one's run: what cannot be used is passed over for the next best, and named.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from torch import Tensor

from frazil.errors import OptionError
from frazil.learn.distributed.manifest import (
    MANIFEST,
    MANIFEST_BYTES,
    MOST_STARTS,
    NAME,
    WEIGHTS,
    Manifest,
    checked_weights,
    fingerprint,
    parse_manifest,
    started,
)
from frazil.learn.distributed.store import Store

_LOG = logging.getLogger(__name__)
_LISTINGS = 5  # a busy worker may outlive all of its manifests between the listing and the reading
_MOST_READ = 200  # manifests of one worker in one look
_LEAST_PEERS, _MOST_PEERS, _PEERS_BYTES = 8, 1000, 4 * 2**30  # whose networks are kept in memory
_KEEP = 2  # a reader may still be on the one before the last


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
        OptionError: names that are none.
    """

    def __init__(
        self,
        store: Store,
        *,
        run: str,
        worker: str,
        like: Mapping[str, Tensor],
        model_text: str,
        expiry_s: float = 3600.0,
        method: str = "",
        steps: int = 0,
    ) -> None:
        check_names(run=run, worker=worker)
        if not expiry_s > 0:
            raise OptionError(f"expiry_s {expiry_s} must be above 0.")
        self.store, self.run, self.worker, self.expiry_s = store, run, worker, expiry_s
        self.like = {name: (tuple(t.shape), t.dtype) for name, t in like.items()}
        self.limit = sum(t.numel() * t.element_size() for t in like.values()) + 200 * len(self.like) + 65_536
        self.most = min(max(_PEERS_BYTES // self.limit, _LEAST_PEERS), _MOST_PEERS)
        self.model_text, self.model = model_text, fingerprint(like, model_text)
        self.token = uuid.uuid4().hex
        self.traffic = Traffic()
        self.peers: dict[str, Peer] = {}
        self.method, self.steps = method, steps
        self.incarnation = 0  # not known before the store has been seen
        self._sequence, self._mine, self._last = 0, list[Manifest](), time.monotonic()
        self._left: dict[str, tuple[int, int]] = {}  # what others left here long ago
        self._bad: set[tuple[str, str]] = set()  # manifests that cannot be used
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
                self._refuse(name, f"it trains another model ({manifest.model_text}, here {self.model_text})")
        before = [started(n) for n in self._manifests(self.worker)]  # damaged ones count too
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
        """Let others have the weights; whether that worked. A store that is full or away costs this exchange alone."""
        from safetensors.torch import save

        if not self.incarnation and not self._begin():
            return False
        self._claim_name()
        data = save({k: v.detach().cpu().contiguous() for k, v in weights.items()})
        digest = hashlib.sha256(data).hexdigest()
        now = time.monotonic()
        manifest = Manifest(
            run=self.run,
            worker=self.worker,
            incarnation=self.incarnation,
            sequence=self._sequence,
            token=self.token,
            model=self.model,
            model_text=self.model_text,
            step=step,
            samples=samples,
            sha256=digest,
            size=len(data),
            published=time.time(),
            every_s=round(now - self._last, 3),
            score=score,
            written=self.traffic.written,
            read=self.traffic.read,
            failures=self.traffic.failures,
            method=self.method,
            steps=self.steps,
            done=done,
        )
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
            if name != self.worker:
                self._fetch_one(name, at_step)
        now, found = time.monotonic(), sorted(self.peers.items())
        if at_step is not None:
            return {name: peer for name, peer in found if peer.manifest.step == at_step}
        return {name: peer for name, peer in found if now - peer.seen < peer.manifest.lasts_s(self.expiry_s)}

    def _fetch_one(self, name: str, at_step: int | None) -> None:
        """Take a worker's best manifest whose weights can be used, if it is news."""
        known, tried = self.peers.get(name), 0
        if known is None and len(self.peers) >= self.most:
            self._refuse(name, f"{self.most} workers are as many as are kept in memory")
            return
        for manifest in self._good(name, at_step):
            if known is not None and known.manifest.rank >= manifest.rank:
                return
            if at_step is None and manifest.rank <= self._left.get(name, (0, 0)):
                return
            if manifest.model != self.model:
                self._refuse(name, f"it trains another model ({manifest.model_text})")
                continue
            weights = self._read(manifest)
            if weights is not None:
                self.traffic.refused.pop(name, None)
                self.peers[name] = Peer(manifest, time.monotonic(), weights)
                return
            tried += 1
            if tried == _KEEP:
                return

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
        self._bad.add((manifest.worker, self._manifest(manifest).rpartition("/")[2]))
        self._refuse(manifest.worker, why)
        return None

    def _latest(self, worker: str, at_step: int | None = None) -> Manifest | None:
        """The last valid manifest of a worker, or the last one of a step."""
        return next(self._good(worker, at_step), None)

    def _good(self, worker: str, at_step: int | None = None) -> Iterator[Manifest]:
        """The valid manifests of a worker, the last first; those of a step, if one is named."""
        for _ in range(_LISTINGS):
            names = self._manifests(worker)[-_MOST_READ:]
            gone, found = 0, False
            for name in reversed(names):
                if (worker, name) in self._bad:
                    continue
                try:
                    data = self.store.read(f"{self.run}/workers/{worker}/{name}", MANIFEST_BYTES)
                except FileNotFoundError:  # outlived since it was listed
                    gone += 1
                    continue
                except OSError as error:
                    self._bad_file(worker, name, error.strerror or str(error))
                    continue
                self.traffic.read += len(data)
                manifest = parse_manifest(data, self.run, worker)
                if manifest is None or manifest.rank != (started(name), int(name[11:21])):
                    self._bad_file(worker, name, "damaged, or of another version of frazil")
                elif at_step is None or manifest.step == at_step:
                    found = True
                    yield manifest
            if found or not gone or gone < len(names):
                return

    def _bad_file(self, worker: str, name: str, why: str) -> None:
        """Manifests do not change: one that cannot be used is not read again."""
        if len(self._bad) < _MOST_READ * _MOST_PEERS:
            self._bad.add((worker, name))
        self._refuse(worker, f"its manifest {name} cannot be used ({why})")

    def _manifests(self, worker: str) -> list[str]:
        """Names of a worker's manifests, the earliest first."""
        try:
            names = self.store.names(f"{self.run}/workers/{worker}")
            return [n for n in names if MANIFEST.fullmatch(n) and started(n) <= MOST_STARTS]
        except OSError as error:
            self._failed(f"Cannot list {self.store.url}: {error.strerror or error}")
            return []

    def _workers(self) -> list[str]:
        try:
            return [name for name in self.store.names(f"{self.run}/workers") if NAME.fullmatch(name)]
        except OSError as error:
            self._failed(f"Cannot list {self.store.url}: {error.strerror or error}")
            return []

    def _claim_name(self) -> None:
        """Outrank what somebody else has published in this worker's name since it started.

        That may be a second worker of this name, by mistake, or somebody who wants this one to be silent: it is said,
        their manifests are removed, and where that is not allowed, outranked. It does not end the run.
        """
        mine = {self._manifest(m) for m in self._mine}
        for name in self._manifests(self.worker):
            path = f"{self.run}/workers/{self.worker}/{name}"
            if started(name) < self.incarnation or path in mine:
                continue
            self._refuse(self.worker, "another process publishes under this worker's name; give each a name of its own")
            try:
                self.store.remove(path)
            except OSError:
                if started(name) < MOST_STARTS:
                    self.incarnation, self._sequence = started(name) + 1, 0

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
            if any(started(name) > self.incarnation for name in manifests):
                return  # these are a newer self's
            kept = {self._manifest(m) for m in self._mine} | {self._weights(self.worker, m.sha256) for m in self._mine}
            found = [f"{self.run}/workers/{self.worker}/{name}" for name in manifests]
            found += [f"{self.run}/weights/{self.worker}/{name}" for name in weights if WEIGHTS.fullmatch(name)]
            for path in sorted(set(found) - kept):
                self.store.remove(path)
            for folder in ("workers", "weights"):
                self.store.sweep(f"{self.run}/{folder}/{self.worker}")
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
            who = "This worker" if worker == self.worker else f"Worker {worker} is left out"
            _LOG.warning("%s: %s.", who, why)
        if len(self.traffic.refused) < 10 * _MOST_PEERS:
            self.traffic.refused[worker] = why
