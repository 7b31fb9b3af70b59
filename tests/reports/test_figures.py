"""Figures of a report: what is drawn is what was logged, checked on the axes themselves and in the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from frazil.conventions import CLASS_LAND, CLASS_NODATA, FIVE_CLASSES
from frazil.maps.compare import compare
from frazil.reports import figures
from frazil.reports.class_sections import ALONE
from frazil.reports.figures import draw_curves, draw_map_and_truth, draw_reliability, write_picture
from frazil.reports.html import write_html
from frazil.reports.record import Mistake, RunRecord
from frazil.reports.scores import Bins
from frazil.testing import make_map


def record(log: list[dict[str, float]], **more: Any) -> RunRecord:
    return RunRecord(name="run", folder="run", finished=True, log=log, **more)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they were when they were saved."""
    kept: list[Figure] = []
    real = Figure.savefig

    def saved(self: Figure, *a: Any, **k: Any) -> None:
        kept.append(self)
        real(self, *a, **k)

    monkeypatch.setattr(Figure, "savefig", saved)
    return kept


LOG = [{"step": float(i), "loss": 2.0 - 0.01 * i, "accuracy": 0.3 + 0.005 * i} for i in range(100)]
LOG[49] |= {"validation_macro_f1": 0.5, "validation_accuracy": 0.6, "validation_nll": 1.0}
LOG[99] |= {"validation_macro_f1": 0.7, "validation_accuracy": 0.8, "validation_nll": 0.9}


def line(axes: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    found = [made for made in axes.lines if made.get_label() == label]
    assert len(found) == 1, [made.get_label() for made in axes.lines]
    return np.asarray(found[0].get_xdata(), float), np.asarray(found[0].get_ydata(), float)


def test_curves_are_those_of_the_log(tmp_path: Path, drawn: list[Figure]) -> None:
    assert draw_curves([record(LOG)], tmp_path / "a.png", ALONE)
    loss, accuracy, f1 = drawn[0].axes
    assert [a.get_title(loc="left") for a in drawn[0].axes] == ["Loss", "Accuracy", "Macro-F1"]
    x, y = line(loss, "validation")
    assert (x.tolist(), y.tolist()) == ([50.0, 100.0], [1.0, 0.9])
    x, y = line(accuracy, "training, smoothed")
    assert x.tolist() == [i + 1.0 for i in range(100)]
    np.testing.assert_allclose(y[5:-5], [row["accuracy"] for row in LOG][5:-5], atol=1e-9)
    assert line(f1, "validation")[1].tolist() == [0.5, 0.7]
    assert loss.get_ylim()[0] == 0
    assert Image.open(tmp_path / "a.png").size[0] > 1000


def test_several_runs_are_told_apart_by_their_numbers(tmp_path: Path, drawn: list[Figure]) -> None:
    """More runs than colours have dashes: no two look the same."""
    runs = [record(LOG) for _ in range(9)]
    assert draw_curves(runs, tmp_path / "a.png", ALONE, numbers=range(11, 20))
    lines = [made for made in drawn[0].axes[2].lines if str(made.get_label()).startswith("run ")]
    assert [made.get_label() for made in lines] == [f"run {n}" for n in range(11, 20)]
    looks = {(made.get_color(), made.get_linestyle()) for made in lines}
    assert len(looks) == 9


def test_nothing_logged_is_no_figure(tmp_path: Path, drawn: list[Figure]) -> None:
    assert not draw_curves([record([]), record([])], tmp_path / "a.png", ALONE)
    assert not (tmp_path / "a.png").exists()
    strange = [{"step": 0.0, "loss": float("nan")}, {"step": 1.0, "loss": float("inf")}]
    assert draw_curves([record(strange)], tmp_path / "b.png", ALONE)
    assert not drawn[0].axes[0].lines
    assert "not looked at" in [t.get_text() for t in drawn[0].axes[0].texts]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=200))
def test_a_smoothed_curve_is_a_mean_about_each_step(values: list[float]) -> None:
    """By slices; constant curves stay, and none leaves the range of its values."""
    y = np.array(values)
    found = figures._smoothed(y)
    half = max(len(y) // 40 // 2, 1)
    expected = [y[max(i - half, 0) : i + half + 1].mean() for i in range(len(y))]
    np.testing.assert_allclose(found, expected, atol=1e-9 * (1 + np.abs(y).max()) * len(y))
    assert found.min() >= y.min() - 1e-6
    assert found.max() <= y.max() + 1e-6


def test_reliability_is_right_over_stated(tmp_path: Path, drawn: list[Figure]) -> None:
    bins = Bins(total=(0, 10, 0, 40), confidence=(0.0, 3.5, 0.0, 36.0), correct=(0, 4, 0, 30))
    assert draw_reliability(bins, tmp_path / "a.png", "patches")
    above, below = drawn[0].axes
    points = above.containers[0].lines[0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(points.get_xdata(), [0.35, 0.9])
    np.testing.assert_allclose(points.get_ydata(), [0.4, 0.75])
    bars: list[Any] = list(below.patches)
    assert [bar.get_height() for bar in bars] == [0, 10, 0, 40]
    assert [bar.get_x() for bar in bars] == [0, 0.25, 0.5, 0.75]
    assert not draw_reliability(Bins(total=(0, 0), confidence=(0, 0), correct=(0, 0)), tmp_path / "b.png", "patches")
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("size", [(4, 4), (32, 32), (46, 46), (300, 200)])
def test_pictures_of_patches_are_their_pixels(size: tuple[int, int], tmp_path: Path) -> None:
    """Each a square of whole pixels, and no patch smaller than it was."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    mistake = Mistake(picture=picture, truth=0, said=1, confidence=0.9, scene="s", line=1.0, pixel=2.0)
    write_picture(mistake, tmp_path / "a.png")
    again = np.asarray(Image.open(tmp_path / "a.png"))
    factor = again.shape[0] // size[0]
    assert again.shape == (size[0] * factor, size[1] * factor, 3)
    assert factor == max(128 // max(size), 1)
    np.testing.assert_array_equal(again[factor // 2 :: factor, factor // 2 :: factor], picture)


def test_a_map_and_its_truth_show_the_same_colours(tmp_path: Path) -> None:
    """Water left and ice right in both; what the truth does not tell is ice of no kind, and stands in the legend."""
    codes = np.zeros((60, 80), np.uint8)
    codes[:, 40:] = 3
    codes[:, 75:] = CLASS_LAND
    ours = make_map(codes=codes)
    truth = codes.copy()
    truth[:30, 60:75] = 1
    comparison = compare(ours, make_map(codes=truth))
    legend = draw_map_and_truth(ours, FIVE_CLASSES, comparison, None, tmp_path / "a.png")
    titles = [title for title, _ in legend]
    assert "Ice, kind not told" in titles
    assert "Land" in titles
    told = np.where(truth == CLASS_LAND, CLASS_NODATA, truth).astype(np.uint8)
    legend = draw_map_and_truth(ours, FIVE_CLASSES, comparison, told, tmp_path / "b.png")
    titles = [title for title, _ in legend]
    assert titles == [FIVE_CLASSES.classes[i].title for i in (0, 1, 3)] + ["Land"]
    picture = np.asarray(Image.open(tmp_path / "b.png").convert("RGB"))
    half = picture.shape[1] // 2
    young, first_year = ((picture == np.array(FIVE_CLASSES.classes[i].colour)).all(-1) for i in (1, 3))
    assert not young[:, :half].any(), "the map has none of it"
    assert young[:, half:].sum() > 1000
    ratio = first_year[:, half:].sum() / first_year[:, :half].sum()
    assert ratio == pytest.approx((35 * 60 - 15 * 30) / (35 * 60), abs=0.05)


def test_texts_of_others_are_escaped_and_missing_ones_are_an_error(tmp_path: Path) -> None:
    import jinja2

    name = next(p.name for p in (Path(figures.__file__).parents[1] / "data").glob("*.html*"))
    with pytest.raises(jinja2.UndefinedError):
        write_html(tmp_path / "a.html", name)
    assert not (tmp_path / "a.html").exists()
