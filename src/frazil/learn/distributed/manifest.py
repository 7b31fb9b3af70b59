"""What workers publish: manifests and weights, and how those of strangers are read.

A manifest is small JSON that names weights by size and hash. Nothing of it is believed before it was checked: names,
which become part of a path, by their letters; numbers by bounds that no training reaches; words for what a terminal
would obey; weights by names, shapes, types and whether they are finite.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from frazil.untrusted import parse_json

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MANIFEST = re.compile(r"(\d{10})-(\d{10})\.json")
WEIGHTS = re.compile(r"[0-9a-f]{64}\.safetensors")
MOST_STARTS = 10**9  # of a worker
_MOST_STEPS = 10**15
_MOST_SECONDS = 10**12
_MOST_LETTERS = 2000
FORMAT = 1
MANIFEST_BYTES = 65_536


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


def started(name: str) -> int:
    """The incarnation that the name of a manifest tells."""
    return int(name[:10])


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
        values = parse_json(data)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            return None
        manifest = Manifest(**values)
        starts = ("incarnation", "sequence")
        whole = ("step", "samples", "size", "written", "read", "failures", "steps")
        most = dict.fromkeys(starts, MOST_STARTS) | dict.fromkeys(whole, _MOST_STEPS)
        if any(type(values.get(name, 0)) is not int or not 0 <= values.get(name, 0) <= most[name] for name in most):
            return None
        words = ("run", "worker", "token", "model", "model_text", "sha256", "method")
        texts = [values.get(name, "") for name in words]
        if any(not isinstance(t, str) or len(t) > _MOST_LETTERS or not t.isprintable() for t in texts):
            return None
        numbers = [manifest.published, manifest.every_s]
        if any(type(v) not in (int, float) or not 0 <= v <= _MOST_SECONDS for v in numbers):  # so not NaN
            return None
        score = manifest.score
        if score is not None and (type(score) not in (int, float) or not 0 <= score <= 1):
            return None
        if type(manifest.done) is not bool:
            return None
    except (ValueError, TypeError, KeyError):
        return None
    fits = manifest.run == run and manifest.worker == worker and re.fullmatch(r"[0-9a-f]{64}", manifest.sha256)
    return manifest if fits else None
