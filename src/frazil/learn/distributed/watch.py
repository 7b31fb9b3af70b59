"""What lies in an exchange folder: who is there, how fresh, how good; and which model to use in the end."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NotRequired, TypedDict

from torch import nn

from frazil.errors import OptionError
from frazil.files import refuse_existing
from frazil.learn.checkpoint import Model, ModelCard, load_model, model_id, save_model
from frazil.learn.config import run_config
from frazil.learn.data.learning_data import HeldOut
from frazil.learn.data.load import load_data
from frazil.learn.distributed.manifest import (
    MANIFEST,
    MANIFEST_BYTES,
    NAME,
    Manifest,
    checked_weights,
    parse_manifest,
)
from frazil.learn.distributed.store import Store
from frazil.learn.infer.device import usable_device
from frazil.learn.models import create_model
from frazil.learn.models.ensemble import ENSEMBLE, Ensemble
from frazil.learn.models.output import output_of
from frazil.learn.run_folder import MODEL, read_run

_MOST_READ = 200  # manifests of one worker
_PATIENCE_S = 60.0  # a worker whose next publication is late by less is not called late


class SeenJson(TypedDict):
    """A `Seen` as printed."""

    run: str
    worker: str
    state: str
    method: str
    step: int
    steps: int
    samples: int
    score: float | None
    age_s: float
    interval_s: float
    start: int
    bytes_written: int
    bytes_read: int
    failures: int
    model: str
    publications: int


class _Figures(TypedDict):
    accuracy: float
    macro_f1: float


class Candidate(_Figures):
    """A network, or the ensemble, and its scores on validation data."""

    model: str
    step: int | None


class Choice(TypedDict):
    """See `choose`; `cost` is the number of networks that have to be applied."""

    candidates: list[Candidate]
    chosen: str
    members: list[str]
    cost: int
    test: NotRequired[_Figures]
    output: NotRequired[str]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A worker as it stands in the folder.

    Attributes:
        manifest: its last.
        age_s: since that was published, by its clock and this one's.
        state: ``"alive"``, ``"late"`` (its next publication is overdue), ``"gone"`` or ``"done"``.
    """

    manifest: Manifest
    age_s: float
    state: str

    def to_json(self) -> SeenJson:
        """As printed."""
        m = self.manifest
        return {
            "run": m.run,
            "worker": m.worker,
            "state": self.state,
            "method": m.method,
            "step": m.step,
            "steps": m.steps,
            "samples": m.samples,
            "score": m.score,
            "age_s": round(self.age_s, 1),
            "interval_s": m.every_s,
            "start": m.incarnation,
            "bytes_written": m.written,
            "bytes_read": m.read,
            "failures": m.failures,
            "model": m.model_text,
            "publications": m.sequence + 1,
        }


def workers(path: str | os.PathLike[str], run: str | None = None, *, expiry_s: float = 3600.0) -> list[Seen]:
    """All workers of an exchange folder.

    Args:
        path: the folder or bucket.
        run: one run alone.
        expiry_s: see `frazil.learn.config.PeersConfig`.

    Raises:
        OptionError: the store cannot be read, or holds no worker.
    """
    store, found = Store(path), []
    try:
        runs = [run] if run else [name for name in store.names("") if NAME.fullmatch(name)]
    except OSError as error:
        raise OptionError(f"Cannot read {path}: {error.strerror or error}. Is it mounted?") from error
    for name in runs:
        for worker in _names(store, f"{name}/workers"):
            manifest = last_manifest(store, name, worker) if NAME.fullmatch(worker) else None
            if manifest is not None:
                found.append(_seen(manifest, expiry_s))
    if not found:
        where = f"for run {run!r} in" if run else "in"
        raise OptionError(f"No worker has published {where} {path}. Start some with `frazil train … --peers {path}`.")
    return found


def last_manifest(store: Store, run: str, worker: str) -> Manifest | None:
    """The last manifest of a worker that can be used; whatever else lies there is passed over."""
    names = [n for n in _names(store, f"{run}/workers/{worker}") if MANIFEST.fullmatch(n)]
    for name in reversed(names[-_MOST_READ:]):
        try:
            data = store.read(f"{run}/workers/{worker}/{name}", MANIFEST_BYTES)
        except OSError:
            continue
        manifest = parse_manifest(data, run, worker)
        if manifest is not None:
            return manifest
    return None


def _names(store: Store, folder: str) -> list[str]:
    try:
        return store.names(folder)
    except OSError:
        return []


def _seen(manifest: Manifest, expiry_s: float) -> Seen:
    age = time.time() - manifest.published
    if manifest.done:
        state = "done"
    elif age > manifest.lasts_s(expiry_s):
        state = "gone"
    else:
        state = "late" if age > 1.5 * manifest.every_s + _PATIENCE_S else "alive"
    return Seen(manifest=manifest, age_s=age, state=state)


def choose(
    path: str | os.PathLike[str],
    run_folder: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    device: str | None = None,
    overwrite: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> Choice:
    """Which of the workers' last networks to use, or their ensemble: judged on validation data, told on test data.

    Args:
        path: the exchange folder.
        run_folder: of one of the workers, ended: it says what data judges.
        output: folder for the chosen model; an ensemble is one model, too.
        device: ``"cpu"`` or ``"cuda"``.
        overwrite: replace what is at ``output``.
        progress: called with the fraction done and what is being done.

    Returns:
        ``"candidates"`` with their validation scores, the ``"chosen"`` one, and its ``"test"`` scores.

    Raises:
        OptionError: a run without validation data, or no worker whose network fits it.
    """
    target = None if output is None else refuse_existing(output, overwrite=overwrite)
    report, device = progress or (lambda _fraction, _what: None), usable_device(device).type
    config = run_config(read_run(run_folder)["config"])
    card, data = load_model(Path(run_folder) / MODEL).card, load_data(config)
    if data.validation is None:
        raise OptionError(f"The run in {run_folder} holds out no validation data. Set data.validation above 0.")
    found, store = workers(path, config.peers.run or config.name), Store(path)
    n, networks = len(data.scheme.classes), dict[str, nn.Module]()
    for seen in found:
        network = create_model(card.architecture, n_channels=len(card.channels), n_classes=n, settings=card.settings)
        m, like = seen.manifest, {k: (tuple(v.shape), v.dtype) for k, v in network.state_dict().items()}
        limit = sum(v.numel() * v.element_size() for v in network.state_dict().values()) + 200 * len(like) + 65_536
        try:
            data_of = store.read(f"{m.run}/weights/{m.worker}/{m.sha256}.safetensors", min(m.size, limit))
            weights, why = checked_weights(data_of, like)
            if hashlib.sha256(data_of).hexdigest() != m.sha256:
                weights, why = {}, "its weights are damaged"
        except OSError as error:
            weights, why = {}, f"its weights cannot be read ({error.strerror or error})"
        if why is None:
            network.load_state_dict(weights)
            networks[m.worker] = network.to(device).eval()
    if not networks:
        raise OptionError(f"No worker in {path} has published a network that fits the run in {run_folder}.")
    report(0.2, "judging")
    steps = {seen.manifest.worker: seen.manifest.step for seen in found}
    candidates: list[Candidate] = [
        {"model": name, "step": steps[name], **_figures(network, data.validation, device)}
        for name, network in networks.items()
    ]
    together = len(networks) > 1 and output_of(next(iter(networks.values()))) == "softmax"
    if together:
        both = Ensemble(list(networks.values())).eval()
        candidates.append({"model": "ensemble", "step": None, **_figures(both, data.validation, device)})
    best = max(candidates, key=lambda c: c["macro_f1"])
    members = list(networks) if best["model"] == "ensemble" else [best["model"]]
    result: Choice = {
        "candidates": candidates,
        "chosen": best["model"],
        "members": members,
        "cost": len(members),
    }
    chosen: nn.Module = networks[members[0]] if len(members) == 1 else Ensemble([networks[m] for m in members]).eval()
    if data.test is not None:
        report(0.6, "scoring the chosen")
        result["test"] = _figures(chosen, data.test, device)
    if target is not None:
        of_chosen = card
        if len(members) > 1:
            settings = {"members": len(members), "architecture": card.architecture, "settings": card.settings}
            of_chosen = replace(card, architecture=ENSEMBLE, settings=settings)
        model = _model(chosen, of_chosen, config.name, members, data.validation, data.test, device)
        save_model(model.network, model.card, target, overwrite=overwrite)
        result["output"] = str(target)
    return result


def _figures(network: nn.Module, held_out: HeldOut, device: str) -> _Figures:
    found = held_out.score(network, device=device).figures()
    return {"accuracy": round(found["accuracy"], 4), "macro_f1": round(found["macro_f1"], 4)}


def _model(
    network: nn.Module,
    card: ModelCard,
    name: str,
    workers: list[str],
    validation: HeldOut,
    test: HeldOut | None,
    device: str | None,
) -> Model:
    temperature = validation.temperature(network, device)
    found = (test or validation).score(network, temperature=temperature, device=device).to_json()
    kept = {k: v for k, v in found.items() if k not in ("confusion_per_scene", "reliability")}
    new = replace(
        card,
        id=model_id(f"{name}-{'-'.join(workers)}", network),
        temperature=round(temperature, 4),
        scores={**kept, "data": card.scores.get("data", "")},
        training={**card.training, "workers": workers},
    )
    return Model(network.cpu(), new)
