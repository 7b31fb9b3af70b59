"""The real archives, where somebody wants to know: FRAZIL_LIVE=1, and an account for what is fetched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import frazil

LIVE = os.environ.get("FRAZIL_LIVE") == "1"
pytestmark = pytest.mark.skipif(not LIVE, reason="asks the real archives; set FRAZIL_LIVE=1")
WORDS = {k: v for k, v in os.environ.items() if k.startswith("FRAZIL_") or k in ("HOME", "NETRC")}


@pytest.fixture(autouse=True)
def _as_the_user_has_it(_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in [w for w in os.environ if w.startswith("FRAZIL_")]:
        monkeypatch.delenv(word)
    for word, value in WORDS.items():
        monkeypatch.setenv(word, value)


@pytest.mark.parametrize("source", ["cdse", "asf", "planetary"])
def test_svalbard_on_a_day(source: str) -> None:
    found = frazil.find("@svalbard", "2025-02-01", polarization="HH+HV", source=source)
    assert found.products
    assert all(one.mode == "EW" for one in found.products)


def test_across_180_degrees() -> None:
    found = frazil.find("@chukchi", "2025-02-01/03", polarization="HH+HV")
    assert len({one.name for one in found.products}) == len(found.products) > 0


def test_a_product_comes_and_opens(tmp_path: Path) -> None:
    found = frazil.find("@svalbard", "2025-02-01", polarization="HH+HV", limit=1)
    done = frazil.get(found.products, tmp_path)[0]
    assert done.verified == "MD5"
    assert frazil.open_product(done.path, check="full").describe()["mode"] == "EW"
