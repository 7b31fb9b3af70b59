"""Stores of Zarr that are being written when something interrupts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frazil.files import whole_output
from frazil.zarr_writing import writable_store


@pytest.mark.parametrize("interrupted", [True, False])
def test_nothing_is_written_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool) -> None:
    """Zarr's threads made the work folder anew after it was removed."""
    import zarr
    import zarr.storage._local as local

    put = local._put

    def slow_put(*a: Any, **k: Any) -> None:
        time.sleep(0.05)
        put(*a, **k)

    monkeypatch.setattr(local, "_put", slow_put)

    def write() -> None:
        with whole_output(tmp_path / "a.zarr") as part, writable_store(part) as store:
            array = zarr.create_array(store, shape=(100, 4), chunks=(1, 4), dtype="f4")
            if interrupted:
                _interrupt_in(0.2)
            array[:] = np.ones((100, 4))

    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            write()
        time.sleep(0.5)
        assert not any(tmp_path.iterdir())
    else:
        write()
        values: Any = zarr.open_array(tmp_path / "a.zarr")
        assert values[:].sum() == 400


def _interrupt_in(seconds: float) -> None:
    import signal

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
