"""The comparison of simulated with real pack: what it measures, on fields whose answer is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.simulator_real import EDGES, statistics, texture, window_slopes  # noqa: E402


def field(spread_db: float, slope: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """White noise in decibels about lines that fall with the angle; a corner was not observed."""
    rng = np.random.default_rng(seed)
    angle = np.broadcast_to(np.linspace(20, 45, 600, dtype=np.float32), (400, 600)).copy()
    hh = -12 + slope * (angle - 30) + spread_db * rng.standard_normal(angle.shape)
    hv = hh - 15
    valid = np.ones(angle.shape, bool)
    valid[:50, :50] = False
    return (10 ** (np.stack([hh, hv]) / 10)).astype(np.float32), angle, valid


@pytest.mark.parametrize(("spread", "slope"), [(2.0, -0.3), (1.0, -0.8)])
def test_what_is_put_in_comes_out(spread: float, slope: float) -> None:
    found = statistics(*field(spread, slope), 640.0)
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    np.testing.assert_allclose(found["HH by angle"], -12 + slope * (middle - 30), atol=0.12)
    np.testing.assert_allclose(found["HH-HV by angle"], 15, atol=1e-3)
    assert found["HH slope over the swath, dB/°"] == pytest.approx(slope, abs=0.01)
    assert found["HH slope in 130 km, 50 %, dB/°"] == pytest.approx(slope, abs=0.02)
    assert found["HH spread, dB"] == pytest.approx(spread, rel=0.06)
    assert found["HH spread of 3 km means, dB"] == pytest.approx(spread / 5, rel=0.2)  # means of 5 × 5
    assert abs(found["HH correlation of neighbours"]) < 0.1


def test_windows_that_were_not_observed_are_left_out() -> None:
    sigma0, angle, valid = field(0.1, -0.5)
    hh = np.where(valid, 10 * np.log10(sigma0[0]), np.nan)
    whole = window_slopes(hh, angle, 200)
    hh[:, 300:] = np.nan
    half = window_slopes(hh, angle, 200)
    assert 0 < half.size < whole.size
    np.testing.assert_allclose(half, -0.5, atol=0.01)


def test_texture_of_white_noise_and_of_blocks() -> None:
    """White noise has no neighbours and a fifth of its spread in means of 5 × 5; blocks of 5 × 5 keep all of it."""
    rng = np.random.default_rng(1)
    white = texture(10 ** ((-20 + 0.5 * rng.standard_normal((333, 333))) / 10))
    assert white["HV spread, at 120 m, dB"] == pytest.approx(0.5, rel=0.05)
    assert white["HV spread, means over 600 m, dB"] == pytest.approx(0.1, rel=0.1)
    assert abs(white["HV correlation of neighbours, at 120 m"]) < 0.05
    blocks = np.repeat(np.repeat(10 ** (rng.standard_normal((67, 67)) / 10), 5, axis=0), 5, axis=1)[:333, :333]
    coarse = texture(blocks)
    assert coarse["HV correlation of neighbours, at 120 m"] == pytest.approx(0.8, abs=0.03)
    assert coarse["HV spread, means over 600 m, dB"] == pytest.approx(coarse["HV spread, every fifth, dB"], rel=0.05)


def test_it_says_what_it_looked_for(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/simulator_real.py", "--data", str(tmp_path), "-o", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Skipped:")
    assert not (tmp_path / "out").exists()
