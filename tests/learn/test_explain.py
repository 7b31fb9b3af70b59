"""Which labels a run would take, as a picture: its numbers are those of the draw, and its dots lie where patches do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frazil.conventions import FIVE_CLASSES
from frazil.errors import LabelError, OptionError, OutputExistsError
from frazil.learn.config import LabelsConfig
from frazil.learn.data.load import load_data
from frazil.learn.explain import explain_labels
from frazil.recipes import find_recipe
from tests.learn.data.test_labels import run_of, store  # noqa: F401 (a fixture)


@pytest.mark.parametrize("count", [4, 15])
def test_what_is_explained_is_what_would_be_drawn(count: int, store: Path, tmp_path: Path) -> None:  # noqa: F811
    config = run_of(store, count)
    said = explain_labels(config, tmp_path / "a.png")
    data = load_data(config)
    patches = data.train.patches  # type: ignore[attr-defined]
    assert sum(said["labels"].values()) == len(patches) == count
    for code, name in enumerate(FIVE_CLASSES.names):
        assert said["labels"].get(name, 0) == int((patches.label == code).sum())
    for name, n in said["scenes"].items():
        assert n == int((patches.scene == name).sum())
    assert said["text"].startswith(f"{count} labels of ")
    assert f"in {sum(n > 0 for n in said['scenes'].values())} of {len(said['scenes'])} scenes" in said["text"]
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    for code in np.unique(patches.label):
        colour = np.array(FIVE_CLASSES.classes[code].colour)
        assert (picture == colour).all(-1).sum() > 10, "a dot for a label, in the colour of its class"


def test_more_labels_hold_the_fewer_ones(store: Path, tmp_path: Path) -> None:  # noqa: F811
    few, many = (explain_labels(run_of(store, n), tmp_path / f"{n}.png")["scenes"] for n in (4, 20))
    assert all(many[name] >= n for name, n in few.items())


def test_what_cannot_be_explained(store: Path, tmp_path: Path) -> None:  # noqa: F811
    config = run_of(store)
    for name in ("a.jpg", "a", "a.png.txt"):
        with pytest.raises(OptionError, match=r"should end in \.png"):
            explain_labels(config, tmp_path / name)
    with pytest.raises(OptionError, match="drawn from patch sets alone"):
        explain_labels(find_recipe("scenes:unet"), tmp_path / "a.png")
    with pytest.raises(LabelError) as caught:
        explain_labels(replace(config, labels=LabelsConfig(count=10**6)), tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    (tmp_path / "b.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        explain_labels(config, tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["b.png"]
