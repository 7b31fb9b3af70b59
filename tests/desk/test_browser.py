"""The page in a real browser: see, draw by mouse and keys, learn, undo, two windows, a killed desk, take away."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from PIL import Image

from frazil.conventions import CLASS_LAND, UNDECIDED, UNDECIDED_COLOUR
from frazil.desk.scenes import DeskScene
from tests.desk.conftest import new_store

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = ROOT / "out" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; `make browser` installs it")


class Desk:
    """`frazil desk` as a program of its own."""

    def __init__(self, product: Path, folder: Path) -> None:
        self.product, self.folder, self.address = product, folder, ""
        self.start()

    def start(self) -> None:
        words = [
            sys.executable,
            "-m",
            "frazil",
            "desk",
            str(self.product),
            "-o",
            str(self.folder),
            "--no-browser",
            "--author",
            "Ada",
        ]
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://127.0.0.1:" in line, line
        self.address = line.split()[-1]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture
def desk(prepared: tuple[Path, DeskScene], small_safe: Path, tmp_path: Path) -> Iterator[Desk]:
    shutil.copytree(prepared[0], tmp_path / "desk")
    (tmp_path / "desk" / "desk.json").write_text('{"frazil": "desk"}')
    running = Desk(small_safe, tmp_path / "desk")
    yield running
    running.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def opened(browser: Any, address: str, width: int = 1280, context: Any = None) -> Any:
    page = (context or browser.new_context(viewport={"width": width, "height": 800})).new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("body[data-ready=yes]", timeout=60_000)
    settled(page)
    return page


def until(page: Any, what: str) -> None:
    """Wait for an expression to be true; the page's policy forbids what Playwright waits by."""
    for _ in range(600):
        if page.evaluate(f"() => Boolean({what})"):
            return
        time.sleep(0.1)
    raise AssertionError(f"waited in vain: {what}")


def settled(page: Any) -> None:
    """Wait until the map is drawn and all labels are kept."""
    page.evaluate(
        "() => new Promise((done) => { desk.view.map.once('rendercomplete', () => done()); desk.view.map.render(); })"
    )
    until(page, "document.getElementById('kept').textContent === 'all kept'")


def pixel(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a place of the map lies in the window."""
    at = page.evaluate(
        "([x, y]) => { const p = desk.view.map.getPixelFromCoordinate([x, y]), r = document.getElementById('map')"
        ".getBoundingClientRect(); return [p[0] + r.left, p[1] + r.top]; }",
        [x, y],
    )
    return float(at[0]), float(at[1])


def shown(page: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))


def sea_places(scene: DeskScene, n: int) -> list[tuple[float, float]]:
    """Places well inside the sea of the scene."""
    inner = np.flatnonzero(~scene.cells.rim)
    x, y = scene.cells.places()
    chosen = inner[(np.linspace(0.1, 0.9, n) * len(inner)).astype(int)]
    return [(float(x[k]), float(y[k])) for k in chosen]


def labels_of(page: Any) -> list[dict[str, Any]]:
    return list(page.evaluate("() => [...desk.drawing.labels.values()]"))


def test_what_is_shown_is_the_map(browser: Any, desk: Desk, prepared: tuple[Path, DeskScene]) -> None:
    scene = prepared[1]
    page = opened(browser, desk.address)
    page.evaluate(
        "() => { const o = document.getElementById('opacity'); o.value = 100; o.dispatchEvent(new Event('input')); }"
    )
    page.uncheck("#show-grid")
    settled(page)
    picture, colours = shown(page), {c.code: c.colour for c in scene.scheme.classes} | {UNDECIDED: UNDECIDED_COLOUR}
    codes = scene.first["ice_class"].values
    wide = np.ones(codes.shape, bool)
    for dy in range(-3, 4):  # far from borders: a pixel of the screen is not one of the map
        for dx in range(-3, 4):
            wide &= np.roll(codes, (dy, dx), (0, 1)) == codes
    places = [p for p in np.argwhere(wide & (codes < CLASS_LAND)) if 8 < p[0] < codes.shape[0] - 8]
    compared = 0
    for row, column in places[:: max(len(places) // 40, 1)]:
        x, y = float(scene.grid.x[column]), float(scene.grid.y[row])
        left, top = pixel(page, x, y)
        if 70 < left < 950 and 60 < top < 700:
            assert tuple(picture[round(top), round(left)]) == colours[int(codes[row, column])]
            compared += 1
    assert compared > 20
    page.mouse.move(*pixel(page, *sea_places(scene, 1)[0]))
    until(page, "document.getElementById('value').textContent.includes('dB')")
    told = page.text_content("#value")
    assert "NESZ" in told
    assert "°" in told
    assert "N," in page.text_content("#place")
    assert page.faults == []


def test_draw_learn_undo_take_away(browser: Any, desk: Desk, prepared: tuple[Path, DeskScene]) -> None:
    page, scene = opened(browser, desk.address), prepared[1]
    first, second, third, fourth = sea_places(scene, 4)
    page.keyboard.press("c")
    page.keyboard.press("3")
    page.mouse.click(*pixel(page, *first))
    page.wait_for_timeout(400)
    page.keyboard.press("5")
    page.mouse.click(*pixel(page, *second))
    page.wait_for_timeout(400)
    settled(page)
    assert sorted((one["code"], one["origin"]) for one in labels_of(page)) == [(2, "click"), (4, "click")]
    page.keyboard.press("p")  # a polygon by its corners, closed at the first one
    left, top = pixel(page, *third)
    for dx, dy in ((-40, -30), (40, -30), (40, 30), (-40, 30), (-40, -30)):
        page.mouse.click(left + dx, top + dy)
        page.wait_for_timeout(60)
    settled(page)
    assert len(labels_of(page)) == 3
    page.keyboard.press("b")  # the brush
    left, top = pixel(page, *fourth)
    page.mouse.move(left - 30, top)
    page.mouse.down()
    page.mouse.move(left, top + 5, steps=5)
    page.mouse.move(left + 30, top, steps=5)
    page.mouse.up()
    until(page, "desk.drawing.labels.size === 4")
    settled(page)
    page.keyboard.press("Control+z")
    settled(page)
    assert len(labels_of(page)) == 3
    page.keyboard.press("Control+y")
    settled(page)
    assert len(labels_of(page)) == 4
    page.keyboard.press("l")
    until(page, "document.getElementById('learnt').textContent.includes('taught by')")
    assert page.evaluate("() => desk.view.scene.version") == 1
    page.click("#export")
    until(page, "document.getElementById('taken').textContent.startsWith('Written')")
    page.screenshot(path=desk.folder / "drawn.png")
    out = desk.folder / "out" / scene.name
    assert (out / "map" / "map.nc").is_file()
    assert list(out.glob("chart/sigrid3/*.shp"))
    frame = gpd.read_file(desk.folder / "labels.gpkg", layer="labels")
    assert sorted(frame["origin"]) == ["brush", "click", "click", "polygon"]
    assert set(frame["author"]) == {"Ada"}
    assert page.faults == []
    assert desk.end() == 0


def test_corners_snap_to_the_outlines_of_classes(browser: Any, desk: Desk) -> None:
    page = opened(browser, desk.address)
    assert page.evaluate("() => desk.view.outlines.getFeatures().length") == 0
    page.keyboard.press("p")
    until(page, "desk.view.outlines.getFeatures().length > 0")
    corner = page.evaluate(
        "() => { const size = desk.view.map.getSize(); const far = ([x, y]) => { const p = desk.view.map"
        ".getPixelFromCoordinate([x, y]); return Math.hypot(p[0] - size[0] / 2, p[1] - size[1] / 2); };"
        "const all = desk.view.outlines.getFeatures().flatMap((f) => f.getGeometry().getCoordinates().flat(9));"
        "const places = []; for (let k = 0; k < all.length; k += 2) places.push([all[k], all[k + 1]]);"
        "return places.sort((a, b) => far(a) - far(b))[0]; }"
    )
    left, top = pixel(page, *corner)
    for dx, dy in ((4, 3), (90, 5), (60, 90), (0, 0)):
        page.mouse.move(left + dx, top + dy)
        page.mouse.click(left + dx, top + dy)
        page.wait_for_timeout(60)
    until(page, "desk.drawing.labels.size === 1")
    ring = page.evaluate("() => [...desk.drawing.labels.values()][0].rings[0]")
    assert ring[0] == pytest.approx(corner, abs=0.06)
    assert page.faults == []


def test_segment_hole_split_edit_remove(browser: Any, desk: Desk, prepared: tuple[Path, DeskScene]) -> None:
    page, (_, place, _) = opened(browser, desk.address), sea_places(prepared[1], 3)
    for _ in range(12):
        page.keyboard.press("]")
    page.keyboard.press("c")
    page.mouse.click(*pixel(page, *place))
    until(page, "desk.drawing.labels.size === 1")
    settled(page)
    (one,) = labels_of(page)
    (x0, y0), _, (x1, y1), *_ = one["rings"][0]
    half = (x1 - x0) / 2
    page.keyboard.press("x")
    page.mouse.click(*pixel(page, place[0], y0 - half))
    page.mouse.dblclick(*pixel(page, place[0], y1 + half))
    until(page, "desk.drawing.labels.size === 2")
    settled(page)
    page.keyboard.press("Control+z")
    until(page, "desk.drawing.labels.size === 1")
    page.keyboard.press("h")
    for dx, dy in ((-0.4, -0.4), (0.4, -0.4), (0.4, 0.4), (-0.4, -0.4)):
        page.mouse.click(*pixel(page, place[0] + dx * half, place[1] + dy * half))
        page.wait_for_timeout(60)
    until(page, "[...desk.drawing.labels.values()][0].rings.length === 2")
    settled(page)
    page.keyboard.press("e")
    page.mouse.move(*pixel(page, x1, y1))
    page.mouse.down()
    page.mouse.move(*pixel(page, x1 + half, y1 + half), steps=6)
    page.mouse.up()
    until(page, f"Math.max(...[...desk.drawing.labels.values()][0].rings[0].map((c) => c[0])) > {x1 + half / 2}")
    settled(page)
    page.keyboard.press("m")
    page.mouse.click(*pixel(page, place[0] - 0.7 * half, place[1] - 0.7 * half))
    until(page, "desk.drawing.chosen !== null")
    page.keyboard.press("4")
    until(page, "[...desk.drawing.labels.values()][0].code === 3")
    page.keyboard.press("Delete")
    until(page, "desk.drawing.labels.size === 0")
    page.keyboard.press("s")
    page.mouse.click(*pixel(page, *place))
    until(page, "desk.drawing.labels.size === 1")
    assert labels_of(page)[0]["origin"] == "segment"
    assert page.faults == []


def test_places_are_asked_about_and_lots_are_kept_to_test(browser: Any, desk: Desk) -> None:
    page = opened(browser, desk.address)
    page.keyboard.press("n")
    for k in range(8):
        until(page, "document.getElementById('asked').textContent.includes('which class')")
        page.keyboard.press(str(k % 5 + 1))
        until(page, f"desk.drawing.labels.size === {k + 1}")
    settled(page)
    purposes = [one["purpose"] for one in labels_of(page)]
    assert (purposes.count("learn"), purposes.count("test")) == (6, 2)
    page.keyboard.press("l")
    until(page, "document.getElementById('learnt').textContent.includes('taught by')")
    assert "of 2 places drawn by lot" in page.text_content("#score")
    assert page.faults == []


def test_two_windows_lose_nothing(browser: Any, desk: Desk, prepared: tuple[Path, DeskScene]) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    first = opened(browser, desk.address, context=context)
    second = opened(browser, desk.address, context=context)  # the cookie opens it
    a, b = sea_places(prepared[1], 2)
    for page, place in ((first, a), (second, b)):
        page.keyboard.press("c")
        page.evaluate(f"() => desk.drawing.put(desk.drawing.square({place[0]}, {place[1]}, 500))")  # before it heard
    for page in (first, second):
        until(page, "desk.drawing.labels.size === 2 && document.getElementById('kept').textContent === 'all kept'")
    assert "another window" in (second.text_content("#notice") + first.text_content("#notice"))
    assert len(new_store(desk.folder, (prepared[1].name,)).labels) == 2


def test_a_killed_desk_has_all_that_it_acknowledged(browser: Any, desk: Desk, prepared: tuple[Path, DeskScene]) -> None:
    rng, expected = np.random.default_rng(0), 0
    for _ in range(3):
        page = opened(browser, desk.address)
        assert len(labels_of(page)) >= expected
        page.evaluate(
            "() => { (async () => { for (let k = 0; k < 400; k++) { desk.drawing.put(desk.drawing.square(k, k, 500)); "
            "await new Promise((done) => setTimeout(done, 10)); } })(); }"
        )
        time.sleep(0.3 + rng.uniform(0, 1.0))
        desk.kill()
        unsent = page.evaluate("() => desk.outbox.waiting.length")
        acknowledged = page.evaluate("() => desk.drawing.labels.size - desk.outbox.waiting.flat().length")
        assert unsent >= 0
        until(page, "document.getElementById('kept').classList.contains('bad')")
        assert "not kept yet" in page.text_content("#kept")
        page.context.close()
        found = len(new_store(desk.folder, (prepared[1].name,)).labels)
        assert found >= acknowledged
        expected = found
        desk.start()
    assert expected > 10


@pytest.mark.parametrize(("width", "dark"), [(1024, True), (1280, False)])
def test_it_can_be_used_by_everybody(browser: Any, desk: Desk, width: int, dark: bool) -> None:
    page = opened(browser, desk.address, width)
    if dark != (page.evaluate("() => document.documentElement.dataset.theme") == "dark"):
        page.keyboard.press("d")
    assert page.evaluate("() => document.body.scrollWidth <= window.innerWidth")
    page.screenshot(path=desk.folder / f"page-{width}-{'dark' if dark else 'light'}.png")
    if not AXE.is_file():
        pytest.skip(f"no axe-core at {AXE}; `make browser` installs it")
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in serious] == []
