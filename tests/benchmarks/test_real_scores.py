"""The measure on real ice: its counts against plain loops, its noise, and a scene of the real data where they are."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.real_ice.scenes import (
    ICE,
    UNKNOWN,
    WATER,
    QuickLook,
    lacking,
    nesz,
    pictures,
    read,
    scene_of,
    truth_of,
)
from benchmarks.real_ice.scores import Tally, decide
from benchmarks.real_scores import at_spacing, page, pooled

from frazil import predict
from frazil.conventions import QUALITY_FLAGS, UNDECIDED, check_scene
from frazil.errors import ModelError
from frazil.learn.checkpoint import Model, load_model
from frazil.sentinel1.product import Product
from frazil.simulate.instrument import band_radiometry
from frazil.simulate.scene import incidence_angle
from frazil.testing import make_map

ROOT = Path(__file__).parents[2]
BINS = 15


def made_up(n: int = 3000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "truth": rng.choice(np.array([WATER, ICE, UNKNOWN], np.int8), n),
        "answer": rng.integers(0, 4, n).astype(np.uint8),
        "percent": rng.integers(0, 101, n).astype(np.uint8),
        "flags": (rng.integers(0, 1024, n) * (rng.random(n) < 0.5)).astype(np.uint16),
    }


def test_scores_are_those_of_plain_loops() -> None:
    a = made_up()
    known = [i for i in range(a["truth"].size) if a["truth"][i] != UNKNOWN and a["answer"][i] != 3]
    decided = [i for i in known if a["answer"][i] != 2]
    percent = a["percent"].astype(int)
    wrong = [i for i in known if (percent[i] >= 50) != (a["truth"][i] == ICE)]
    right = [i for i in known if i not in set(wrong)]
    sure = np.maximum(percent, 100 - percent) / 100
    pack, sea = ([i for i in known if a["truth"][i] == c] for c in (ICE, WATER))
    off = 0.0
    for k in range(BINS):
        there = [i for i in known if k <= percent[i] * BINS / 100 < k + 1 or (k == BINS - 1 and percent[i] == 100)]
        if there:
            share = np.mean([a["truth"][i] == ICE for i in there])
            off += len(there) * abs(np.mean([percent[i] / 100 for i in there]) - share)
    expected = {
        "known_ice": len(pack),
        "known_water": len(sea),
        "undecided": 1 - len(decided) / len(known),
        "ice_called_water_of_decided": sum(a["answer"][i] == 0 for i in pack) / sum(a["answer"][i] != 2 for i in pack),
        "ice_found": sum(a["answer"][i] == 1 for i in pack) / len(pack),
        "water_found": sum(a["answer"][i] == 0 for i in sea) / len(sea),
        "water_called_ice_of_decided": sum(a["answer"][i] == 1 for i in sea) / sum(a["answer"][i] != 2 for i in sea),
        "likelier_wrong": len(wrong) / len(known),
        "likelier_confidence_wrong": np.mean([sure[i] for i in wrong]),
        "likelier_confidence_right": np.mean([sure[i] for i in right]),
        "likelier_ece": off / len(known),
    }
    scores = Tally.of(**a).scores()
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value), name
    for name, mask in (("coast", QUALITY_FLAGS["coast"][0]), ("any", 0xFFFF)):
        inside = [i for i in known if a["flags"][i] & mask]
        found = scores["flags"][name]
        assert found["share"] == pytest.approx(len(inside) / len(known))
        assert found["wrong_inside"] == pytest.approx(np.mean([i in set(wrong) for i in inside]))
        outside = set(known) - set(inside)
        assert found["wrong_outside"] == pytest.approx(np.mean([i in set(wrong) for i in outside]))
    for trade in scores["trade"]:
        told = [i for i in known if sure[i] * 100 >= trade["confidence_percent"] - 1e-9]
        assert trade["undecided"] == pytest.approx(1 - len(told) / len(known))
        assert trade["wrong"] == pytest.approx(np.mean([i in set(wrong) for i in told]))
    mapped = [scores[f"mapped_{what}"] for what in ("water", "ice", "undecided")]
    assert sum(mapped) == pytest.approx(1)
    assert scores["pixels"] == np.count_nonzero(a["answer"] != 3)


def test_tallies_of_parts_add_up_to_that_of_the_whole() -> None:
    a = made_up()
    parts = [Tally.of(**{k: v[part] for k, v in a.items()}) for part in (slice(0, 900), slice(900, None))]
    whole = Tally.of(**a).scores()
    assert sum(parts, Tally()).scores() == whole


def test_what_was_not_there_has_no_share() -> None:
    scores = Tally().scores()
    assert scores["likelier_ece"] is None
    assert scores["water_found"] is None
    assert scores["pixels"] == 0


def test_a_map_says_water_ice_neither_or_nothing() -> None:
    made = make_map(shape=(1, 8))
    made["ice_class"].values[0] = [0, 1, 2, 3, 4, UNDECIDED, 254, 255]
    assert decide(made)[0].tolist() == [0, 1, 1, 1, 1, 2, 3, 3]


def test_noise_by_angle_is_that_of_the_product(ew_metadata: Product) -> None:
    """At any place within what differs from line to line, over the whole swath, and HV below HH."""
    a = ew_metadata.bands[0].annotation
    lines, pixels = np.array([3000.0]), np.arange(200.0, a.n_pixels - 200, 97)
    angle = incidence_angle(a, np.array([3000.0, 3100.0]), pixels)[0]
    assert angle[0] < 20
    assert angle[-1] > 45
    for k, band in enumerate(ew_metadata.bands):
        stated = band_radiometry(band).nesz(lines, pixels)[0]
        off = 10 * np.log10(nesz(angle)[k] / stated)
        assert np.quantile(np.abs(off), 0.95) < 0.5, band.polarization  # dB; bursts differ by so much
    hh, hv = nesz(np.linspace(15, 50, 200))
    assert np.isfinite(hh).all()
    assert (hv < hh).all()


def test_certain_truth_is_dark_or_bright_and_far_out() -> None:
    grey = np.repeat([[20.0, 85.0, 150.0]], 20, axis=1) * np.ones((20, 1))
    angle = np.repeat([[30.0], [40.0]], 10, axis=0) * np.ones((1, 60))
    valid = np.ones(grey.shape, bool)
    valid[:, 0] = False
    truth = truth_of("edge", grey, angle, valid)
    assert (truth[:10] == UNKNOWN).all()
    assert truth[15, [0, 5, 30, 55]].tolist() == [UNKNOWN, WATER, UNKNOWN, ICE]
    assert (truth_of("pack", grey, angle, valid) == np.where(valid, ICE, UNKNOWN)).all()
    assert (truth_of("unknown", grey, angle, valid) == UNKNOWN).all()


@pytest.fixture
def flat() -> QuickLook:
    """Even ice of -14 and -29 dB under the noise of its angle."""
    angle = np.linspace(20, 45, 60, dtype=np.float32)[None].repeat(50, axis=0)
    valid = np.ones(angle.shape, bool)
    valid[:5] = False
    power = 10 ** (np.array([-14.0, -29.0], np.float32) / 10)[:, None, None] + nesz(angle)
    power[:, ~valid] = 9.0  # land beside it must not bleed into it
    return QuickLook("20240101T000000", "pack", power, angle, valid, truth_of("pack", angle, angle, valid), power)


def test_scenes_have_the_power_less_the_noise_believed(flat: QuickLook) -> None:
    right, less = (scene_of(flat, noise=noise) for noise in (1.0, 0.8))
    check_scene(right)
    power = 10 * np.log10(right["sigma0"].values[:, flat.valid])
    np.testing.assert_allclose(power.T, np.broadcast_to([-14.0, -29.0], power.T.shape), atol=0.01)
    more = (less["sigma0"] - right["sigma0"]).values[:, flat.valid]
    np.testing.assert_allclose(more, 0.2 * nesz(flat.angle)[:, flat.valid], rtol=1e-2)
    assert np.isnan(right["sigma0"].values[:, ~flat.valid]).all()


def test_finer_scenes_get_speckle_and_keep_their_mean(flat: QuickLook) -> None:
    one, again, less = (scene_of(flat, spacing_m=120.0, noise=noise) for noise in (1.0, 1.0, 0.8))
    check_scene(one)
    assert one.sizes["line"] == int(50 * 650 / 120)
    valid = one["valid"].values
    assert valid.mean() == pytest.approx(flat.valid.mean(), abs=0.01)
    assert set(np.unique(one["truth"].values[valid])) == {ICE}
    np.testing.assert_array_equal(one["sigma0"], again["sigma0"])
    hh, hv = one["sigma0"].values[:, valid]
    assert 10 * np.log10(hh.mean()) == pytest.approx(-14, abs=0.1)  # dB
    assert 10 * np.log10(hv.mean()) == pytest.approx(-29, abs=0.3)
    whole = (one["sigma0"] + one["nesz"]).values[0, valid]
    assert 1 / np.var(whole / whole.mean()) == pytest.approx(19, rel=0.2)  # looks of 3 × 3 averages
    same = (less["sigma0"] + less["nesz"]).values[0, valid]
    np.testing.assert_allclose(same, whole, rtol=1e-4)


def test_models_of_other_pixels_are_refused_at_120_m() -> None:
    model = load_model()
    assert at_spacing(model, 120.0) is model
    assert at_spacing(model, 650.0).card.spacing_m == 650
    other = Model(model.network, replace(model.card, spacing_m=240.0))
    with pytest.raises(ModelError, match="pixels of 240 m"):
        at_spacing(other, 120.0)


def test_pages_keep_what_was_written_by_hand() -> None:
    a, b = made_up(), made_up(500)
    rows = [
        {
            "model": "m",
            "scene": name,
            "kind": kind,
            "spacing_m": 650.0,
            "noise": 1.0,
            "tally": Tally.of(**given),
            "outside_training": "",
            "water_clipped": 0.5,
            **Tally.of(**given).scores(),
        }
        for name, kind, given in (("x", "pack", a), ("y", "pack", b), ("z", "edge", a), ("u", "unknown", a))
    ]
    pools = pooled(rows)
    assert [(p["kind"], p["scenes"]) for p in pools] == [("pack", 2), ("edge", 1)]
    old = "# T\n\n## By kind of scene\n\nold figures\n\n## What it shows\n\nBy hand.\n\n## How it was made\n\nSo.\n"
    text = page(rows, pools, "command", old)
    assert text.count("By hand.") == 1
    assert "old figures" not in text
    assert "What it shows" not in page(rows, pools, "command", "")


def test_without_data_it_says_what_it_looked_for(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "real_scores.py"), "--data", str(tmp_path), "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Skipped: no {tmp_path / 'real-ice' / 'quicklook.py'}.")
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())
    (tmp_path / "real-ice").mkdir()
    (tmp_path / "real-ice" / "quicklook.py").touch()
    assert "no S1*.png in" in lacking(tmp_path)


@pytest.mark.data
def test_a_real_scene_of_pack(one_thread: None) -> None:
    data = Path(os.environ.get("FRAZIL_TEST_DATA", ROOT.parent / "shared" / "data"))
    if missing := lacking(data):
        pytest.skip(f"real ice not found: {missing}; set FRAZIL_TEST_DATA to a folder with real-ice/")
    looks = {look.kind: look for look in map(read, pictures(data)[1:3])}
    edge = looks["edge"]
    assert min(np.count_nonzero(edge.truth == c) for c in (WATER, ICE)) > 5000
    pack = looks["pack"]
    scene = scene_of(pack)
    made = predict(scene, at_spacing(load_model(), 650.0), crs=None)
    scores = Tally.of_map(made, scene).scores()
    assert scores["known_ice"] == scores["pixels"] == np.count_nonzero(pack.valid)
    assert sum(scores[f"mapped_{what}"] for what in ("water", "ice", "undecided")) == pytest.approx(1)
    known = ("ice_found", "likelier_confidence_right", "likelier_confidence_wrong", "likelier_ece")
    assert all(0 < scores[name] < 1 for name in known)
    assert scores["water_found"] is None
