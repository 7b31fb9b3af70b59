"""What a user must know of a map goes to standard error, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frazil.cli.notes import say_crs, say_notes
from frazil.testing import make_map


@pytest.mark.parametrize(
    ("codes", "empty"),
    [([[254, 255], [255, 254]], True), ([[255]], True), ([[254, 253]], False), ([[0, 255]], False), ([[4]], False)],
)
def test_a_map_without_sea_says_so_and_undecided_sea_is_sea(
    codes: list[list[int]], empty: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    say_notes({}, np.array(codes, np.uint8))
    out, err = capsys.readouterr()
    assert out == ""
    assert ("no sea was observed" in err) == empty


@pytest.mark.parametrize("note", ["Simulated: no real ice.", "", None])
def test_the_note_of_a_map_is_said_if_there_is_one(note: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    say_notes({"note": note}, np.zeros((2, 2), np.uint8))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip() == (f"Note: {note}" if note else "")


def test_a_note_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A map of strangers may hold escapes, which could clear the screen or hide what follows."""
    say_notes({"note": "fine\x1b[2J\x1b]0;owned\x07"}, np.zeros((2, 2), np.uint8))
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("crs", "centre", "said"),
    [
        ("EPSG:3413", (0.0, 80.0), False),
        ("EPSG:3031", (0.0, -75.0), False),
        ("EPSG:32633", (15.0, 60.0), True),
        ("EPSG:32733", (15.0, -60.0), True),
        ("EPSG:6931", (0.0, 80.0), True),
    ],
)
def test_a_crs_that_is_not_a_polar_one_is_told(
    crs: str, centre: tuple[float, float], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    say_crs(make_map(shape=(4, 5), crs=crs, centre=centre))
    out, err = capsys.readouterr()
    assert out == ""
    assert (crs in err) == said


def test_the_crs_that_a_scene_would_be_mapped_in_is_the_one_that_is_told(
    small_safe: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    from frazil import open_scene

    say_crs(open_scene(small_safe, looks=10))
    assert capsys.readouterr().err == ""  # the Kara Sea
