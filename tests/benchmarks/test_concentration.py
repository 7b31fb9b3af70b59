"""The fit of standard errors finds the ones that were put in, and the page says what the squares hold."""

import numpy as np
import pytest
from benchmarks.concentration import CELLS_KM, fitted, page


def scene_of(random: np.random.Generator, length_km: float, common: float, n: int = 400) -> dict[str, np.ndarray]:
    """Squares of every size whose errors have the variance of the formula, p being a half everywhere."""
    out: dict[str, np.ndarray] = {}
    for km in CELLS_KM:
        area = np.full(n, float(km) ** 2)
        independent = np.maximum(1, area / (2 * np.pi * length_km**2))
        sigma = np.sqrt(0.25 * (common + (1 - common) / independent))
        pixels = area / 0.12**2
        truth = np.clip(0.5 - sigma * random.standard_normal(n), -9, 9)
        share = {"all": 1.0, "sea": 1.0, "ice": 0.5, "doubt": 0.25, "low": 0.0, "undecided": 1.0}
        out |= {f"{km}_{name}": pixels * value for name, value in share.items()}
        out[f"{km}_truth"] = pixels * truth
    return out


@pytest.mark.parametrize(("length_km", "common"), [(0.8, 0.2), (2.0, 0.05)])
def test_the_fit_finds_what_was_put_in(length_km: float, common: float) -> None:
    random = np.random.default_rng(0)
    scenes = [scene_of(random, length_km, common) for _ in range(20)]
    length_m, share = fitted(scenes, 120.0, 0.5)
    assert length_m / 1000 == pytest.approx(length_km, rel=0.15)
    assert share == pytest.approx(common, abs=0.02)


def test_the_page_counts_and_names() -> None:
    random = np.random.default_rng(1)
    scenes = [scene_of(random, 1.3, 0.31, 50) for _ in range(4)]
    text = page(
        scenes[:2],
        {7: scenes[2], 8: scenes[3]},
        model="m",
        spacing_m=120.0,
        seeds=("0:2", "7:9"),
        command="python benchmarks/concentration.py",
    )
    assert "| 10 km | 100 |" in text
    assert text.startswith("# Concentration on simulated scenes\n\nHow big this is: 2 simulated")
    assert "| 8 | 50 |" in text
