"""Whatever somebody lays into a shared exchange folder costs at most the worker in whose name it lies."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from frazil.errors import OptionError
from frazil.learn.distributed.exchange import Exchange
from frazil.learn.distributed.manifest import MANIFEST_BYTES, Manifest
from frazil.learn.distributed.store import Store
from frazil.learn.distributed.watch import workers

TOP = "0000000009-0000000000.json"
LIKE = {"layer.weight": torch.ones(3, 4), "norm.num_batches_tracked": torch.tensor(3)}


def exchange(folder: Path, worker: str) -> Exchange:
    return Exchange(Store(folder), run="run", worker=worker, like=LIKE, model_text="net of hh for a,b")


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((3, 4), value), "norm.num_batches_tracked": torch.tensor(1)}


def publish(peer: Exchange, value: float, step: int = 1) -> None:
    assert peer.publish(weights(value), step=step, samples=step)


def places(folder: Path, worker: str) -> tuple[Path, Path]:
    made = folder / "run" / "workers" / worker, folder / "run" / "weights" / worker
    for place in made:
        place.mkdir(parents=True, exist_ok=True)
    return made


def lay(folder: Path, who: str, data: bytes | None = None, *, name: str | None = None, **changes: Any) -> Path:
    """A manifest as a stranger makes one, with weights that it names if there are any."""
    manifests, stored = places(folder, who)
    whole = save(weights(7.0)) if data is None else data
    genuine = exchange(folder / ".." / "elsewhere", "x")
    values = (
        asdict(
            Manifest(
                run="run",
                worker=who,
                incarnation=5,
                sequence=0,
                token="f" * 32,
                model=genuine.model,
                model_text="net of hh for a,b",
                step=3,
                samples=3,
                sha256=hashlib.sha256(whole).hexdigest(),
                size=len(whole),
                published=time.time(),
            )
        )
        | changes
    )
    if not (stored / f"{values['sha256']}.safetensors").exists() and str(values["sha256"]).isalnum():
        (stored / f"{values['sha256']}.safetensors").write_bytes(whole)
    place = manifests / (name or f"{values['incarnation']:010d}-{values['sequence']:010d}.json")
    place.write_text(json.dumps(values))
    return place


def raw(folder: Path, worker: str, data: bytes, name: str = TOP) -> None:
    (places(folder, worker)[0] / name).write_bytes(data)


def many(folder: Path, worker: str, data: bytes) -> None:
    for i in range(300):
        raw(folder, worker, data, f"{9:010d}-{i:010d}.json")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def named_weights(folder: Path) -> Path:
    """The file of weights that a laid manifest names."""
    lay(folder, "bad")
    return next(places(folder, "bad")[1].iterdir())


BIG = 10**4000
HOSTILE: dict[str, Callable[[Path], object]] = {
    "empty manifest": lambda f: raw(f, "bad", b""),
    "manifest of nulls": lambda f: raw(f, "bad", bytes(1000)),
    "manifest not UTF-8": lambda f: raw(f, "bad", b'{"format": 1, "run": "\xff\xfe"}'),
    "manifest deep as a well": lambda f: raw(f, "bad", b"[" * 60_000),
    "manifest of a list": lambda f: raw(f, "bad", b"[1, 2]"),
    "manifest of 70 kB": lambda f: raw(f, "bad", b" " * (MANIFEST_BYTES + 5000)),
    "manifest with an endless number": lambda f: raw(f, "bad", b'{"format": 1, "step": ' + b"9" * 50_000 + b"}"),
    "manifest with an unknown key": lambda f: lay(f, "bad", extra=1),
    "manifest is a pipe": lambda f: fifo(places(f, "bad")[0] / TOP),
    "manifest is a folder": lambda f: (places(f, "bad")[0] / TOP).mkdir(),
    "manifest is a link to a device": lambda f: (places(f, "bad")[0] / TOP).symlink_to("/dev/zero"),
    "manifest is a link to itself": lambda f: (places(f, "bad")[0] / TOP).symlink_to(TOP),
    "many bad manifests on top": lambda f: many(f, "bad", b"{}"),
    "another run's manifest": lambda f: lay(f, "bad", run="other"),
    "another worker's manifest": lambda f: lay(f, "bad", worker="good", name="0000000005-0000000000.json"),
    "manifest under a higher name": lambda f: lay(f, "bad", name="0000000900-0000000000.json"),
    "steps without end": lambda f: lay(f, "bad", step=BIG),
    "negative steps": lambda f: lay(f, "bad", step=-1),
    "steps as words": lambda f: lay(f, "bad", step="many"),
    "steps that are true": lambda f: lay(f, "bad", step=True),
    "published never": lambda f: lay(f, "bad", published=float("nan")),
    "published in eternity": lambda f: lay(f, "bad", published=float("inf")),
    "an interval without end": lambda f: lay(f, "bad", every_s=float("inf")),
    "a score of NaN": lambda f: lay(f, "bad", score=float("nan")),
    "a score of a thousand": lambda f: lay(f, "bad", score=1000.0),
    "words that a terminal obeys": lambda f: lay(f, "bad", model_text="\x1b]0;owned\x07\x1b[2J"),
    "words of a novel": lambda f: lay(f, "bad", model_text="a" * 50_000),
    "a hash that climbs": lambda f: lay(f, "bad", sha256="../../../../etc/passwd"),
    "another model": lambda f: lay(f, "bad", model="0" * 64, model_text="another"),
    "weights of a terabyte": lambda f: lay(f, "bad", size=10**12),
    "weights that are not there": lambda f: named_weights(f).unlink(),
    "weights are a pipe": lambda f: instead(named_weights(f), fifo),
    "weights are a folder": lambda f: instead(named_weights(f), lambda p: p.mkdir()),
    "weights are a link": lambda f: instead(named_weights(f), lambda p: p.symlink_to(f.parent / "precious" / "a")),
    "weights of another hash": lambda f: named_weights(f).write_bytes(save(weights(8.0))),
    "weights that are no weights": lambda f: lay(f, "bad", b"\xff" * 500),
    "weights with a header of a terabyte": lambda f: lay(f, "bad", (2**40).to_bytes(8, "little") + b"{}"),
    "weights that are a pickle": lambda f: lay(f, "bad", b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."),
    "weights of other names": lambda f: lay(f, "bad", save({"a": torch.ones(3)})),
    "weights of other shapes": lambda f: lay(f, "bad", save(weights(1.0) | {"layer.weight": torch.ones(4, 3)})),
    "weights of other types": lambda f: lay(f, "bad", save(weights(1.0) | {"layer.weight": torch.ones(3, 4).double()})),
    "weights of NaN": lambda f: lay(f, "bad", save(weights(float("nan")))),
    "weights of infinity": lambda f: lay(f, "bad", save(weights(float("-inf")))),
    "a worker who is a file": lambda f: (f / "run" / "workers" / "bad").write_text("x"),
    "a worker who is a link": lambda f: (f / "run" / "workers" / "bad").symlink_to(f.parent / "precious"),
    "a worker of a strange name": lambda f: (f / "run" / "workers" / "..bad\x1b[2J\n").mkdir(),
    "a run that is a file": lambda f: (f / "also").write_text("x"),
    "a run of strange names": lambda f: (f / "-rf \x1b[2J").mkdir(),
    "a hundred workers": lambda f: [lay(f, f"bad{i}", sequence=i) for i in range(100)],
    # in this worker's own name
    "my manifests of a great number": lambda f: lay(f, "me", incarnation=999_999_999),
    "my manifests of the greatest number": lambda f: raw(f, "me", b"{}", "9999999999-9999999999.json"),
    "my manifest is a pipe": lambda f: fifo(places(f, "me")[0] / "0000000999-0000000000.json"),
    "my manifest is a folder": lambda f: (places(f, "me")[0] / "0000000999-0000000000.json").mkdir(),
    "my weights folder holds somebody's files": lambda f: (places(f, "me")[1] / "thesis.txt").write_text("x"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a").write_text("precious")
    (tmp_path / "precious" / ("0" * 64 + ".safetensors")).write_text("precious")
    (tmp_path / "store").mkdir()
    yield tmp_path / "store"
    assert (tmp_path / "precious" / "a").read_text() == "precious"
    assert (tmp_path / "precious" / ("0" * 64 + ".safetensors")).read_text() == "precious"


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("when", ["before", "during"])
def test_it_costs_at_most_that_worker(folder: Path, kind: str, when: str) -> None:
    good = exchange(folder, "good")
    publish(good, 1.0)
    if when == "before":
        HOSTILE[kind](folder)
    me = exchange(folder, "me")
    publish(me, 2.0)
    if when == "during":
        HOSTILE[kind](folder)
    for step in (2, 3, 4):
        publish(me, float(step), step)
        publish(good, 10.0 + step, step)
        found, others = me.fetch(), good.fetch()
        assert "good" in found, me.traffic.refused
        assert float(found["good"].weights["layer.weight"][0, 0]) == 10.0 + step  # type: ignore[index]
        assert "me" in others, good.traffic.refused
        assert others["me"].manifest.step == step
        assert set(found) - {"good"} <= {"bad"} | {f"bad{i}" for i in range(100)}
        if "bad" in found:
            assert torch.isfinite(found["bad"].weights["layer.weight"]).all()  # type: ignore[index]
    seen = {w.manifest.worker for w in workers(folder)}
    assert {"good", "me"} <= seen
    assert all(text.isprintable() for w in workers(folder) for text in map(str, w.to_json().values()))


def test_a_peer_outlives_bad_manifests_on_top_of_its_own(folder: Path) -> None:
    """Forged manifests of a high number, whose weights are no good, do not hide the worker's own."""
    me, peer = exchange(folder, "me"), exchange(folder, "peer")
    publish(peer, 1.0)
    lay(folder, "peer", save(weights(float("nan"))))
    for i in range(5):
        raw(folder, "peer", b"{}", f"{9:010d}-{i:010d}.json")
    found = me.fetch()
    assert float(found["peer"].weights["layer.weight"][0, 0]) == 1.0  # type: ignore[index]
    assert "cannot be used" in me.traffic.refused.get("peer", "cannot be used")


@pytest.mark.parametrize("part", ["run", "run/weights", "run/weights/me", "run/workers/me"])
def test_a_link_in_the_way_empties_no_folder(folder: Path, part: str) -> None:
    """CASES 1.5: the sweep of old weights followed a link and emptied whatever it pointed at."""
    precious = folder.parent / "precious"
    (precious / "0000000001-0000000000.json").write_text("precious")
    (folder / part).parent.mkdir(parents=True, exist_ok=True)
    (folder / part).symlink_to(precious)
    before = sorted(p.name for p in precious.iterdir())
    me = exchange(folder, "me")
    for step in range(4):
        me.publish(weights(step), step=step, samples=step)
    me.fetch()
    assert me.traffic.failures > 0  # it costs the exchange, and is told
    assert sorted(p.name for p in precious.iterdir()) == before


def test_only_what_workers_write_is_swept(folder: Path) -> None:
    _, stored = places(folder, "me")
    for name in ("thesis.txt", "A" * 64 + ".safetensors", "0" * 63 + ".safetensors"):
        (stored / name).write_text("somebody's")
    old = stored / ("1" * 64 + ".safetensors")
    old.write_text("of a former self")
    part = stored / f".{'2' * 32}.part"
    part.write_text("half")
    me = exchange(folder, "me")
    for step in range(3):
        publish(me, step, step)
    assert not old.exists()
    assert not part.exists()
    assert {"thesis.txt", "A" * 64 + ".safetensors", "0" * 63 + ".safetensors"} <= {p.name for p in stored.iterdir()}


def test_two_workers_of_one_name_both_go_on_and_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two = exchange(folder, "same"), exchange(folder, "same")
    other = exchange(folder, "other")
    for step in range(3):
        publish(one, 1.0, step)
        publish(two, 2.0, step)
        assert float(other.fetch()["same"].weights["layer.weight"][0, 0]) in (1.0, 2.0)  # type: ignore[index]
    assert "give each a name of its own" in caplog.text


def test_an_empty_folder_is_told(folder: Path) -> None:
    with pytest.raises(OptionError, match="No worker has published"):
        workers(folder)
