"""Where networks compute, and code that is compiled with and without a place to keep it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frazil.errors import OptionError
from frazil.jit import njit
from frazil.learn.infer.device import usable_device


def test_a_device_that_is_there_and_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert usable_device(None) == torch.device("cpu")
    for name in ("cuda", "cuda:0", "cuda:7"):
        with pytest.raises(OptionError, match=f"Device '{name}' is not available on this machine; use device='cpu'"):
            usable_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert usable_device(None) == torch.device("cuda")
    assert usable_device("cpu") == torch.device("cpu"), "what was asked for"


@pytest.mark.parametrize("name", ["gpu", "cpu:cuda", "fish", "cuda:x", "cuda:-1"])
def test_names_that_are_no_device_get_one_line(name: str) -> None:
    """In Python anybody may pass a word; PyTorch answers with a list of its own backends."""
    with pytest.raises(OptionError) as caught:
        usable_device(name)
    assert "\n" not in str(caught.value)
    assert repr(name) in str(caught.value)
    assert len(str(caught.value)) < 200


def test_compiled_code_computes_what_is_written() -> None:
    """With and without the interpreter's lock, in double precision."""

    @njit(nogil=True, error_model="numpy")
    def total(values: np.ndarray) -> float:
        out = 0.0
        for v in values:
            out += v / 0.5
        return out

    values = np.random.default_rng(0).random(100)
    assert total(values) == pytest.approx(2 * values.sum(), rel=1e-12)


def test_errors_of_numpy_are_infinities_not_exceptions() -> None:
    @njit(error_model="numpy")
    def over(x: float) -> float:
        return 1.0 / x

    assert over(0.0) == np.inf
