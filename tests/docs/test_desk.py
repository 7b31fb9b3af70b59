"""The page on the desk: its lines of Python run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from frazil import open_map

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "desk.md"


def test_the_lines_of_python_run(small_safe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code is not None
    text = re.sub(r'look_at\("[^"]+"', f"look_at({str(small_safe)!r}", code.group(1))
    first, _, rest = text.partition("where =")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(first, "desk.md", "exec"), names)
    x, y = names["cells"].places()  # type: ignore[attr-defined]
    names |= {"x": x[::500], "y": y[::500], "codes": np.arange(len(x[::500])) % 5}
    exec(compile("where =" + rest, "desk.md", "exec"), names)
    assert open_map("map").attrs["taught"] == len(x[::500])
