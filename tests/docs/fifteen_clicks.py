"""The tutorial "Fifteen clicks", walked through in a browser as its page says.

    python -m tests.docs.fifteen_clicks out/sample/….SAFE [--pictures docs/images]

makes the pictures of the page.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

from pyproj import Transformer

from tests.desk.test_browser import CHROMIUM, FLAGS, Desk, opened, pixel, settled, until

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial" / "fifteen-clicks.md"


def places() -> list[tuple[str, str, float, float]]:
    """Class, key, latitude and longitude of the page's table."""
    found = re.findall(
        r"^\| ([A-Z][^|]+) \| (\d) \| ([\d.]+)° \| ([\d.]+)° \|$", PAGE.read_text(encoding="utf-8"), re.M
    )
    return [(name, key, float(north), float(east)) for name, key, north, east in found]


def picture(page: Any, folder: Path | None, name: str) -> None:
    """Keep what is on the screen, where a folder is given."""
    if folder is not None:
        settled(page)
        page.screenshot(path=folder / f"desk-{name}.png")


def walk(page: Any, pictures: Path | None = None) -> dict[str, Any]:
    """Do what the page says; what is found on the way."""
    told: dict[str, Any] = {}
    picture(page, pictures, "opens")
    page.keyboard.press("v")
    page.keyboard.press("v")
    told["radar"] = page.evaluate("() => document.getElementById('radar').value")
    page.keyboard.down("f")
    told["hidden"] = not page.evaluate("() => desk.view.over.getVisible()")
    page.keyboard.up("f")
    to_map = Transformer.from_crs("OGC:CRS84", page.evaluate("() => desk.view.state.crs"), always_xy=True)
    page.keyboard.press("c")
    for n, (_, key, north, east) in enumerate(places()):
        page.keyboard.press(key)
        page.mouse.click(*pixel(page, *to_map.transform(east, north)))
        until(page, f"desk.drawing.labels.size === {n + 1}")
    settled(page)
    page.keyboard.press("l")
    until(page, "document.getElementById('learnt').textContent.includes('taught by')")
    told["learnt"] = page.text_content("#learnt")
    picture(page, pictures, "clicks")
    page.keyboard.press("n")
    until(page, "document.getElementById('asked').textContent.includes('which class')")
    page.wait_for_timeout(600)  # the map moves there
    picture(page, pictures, "asks")
    page.keyboard.press("4")
    until(page, f"desk.drawing.labels.size === {len(places()) + 1}")
    settled(page)
    return told


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("product", type=Path)
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        desk = Desk(args.product.resolve(), Path(folder))
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = opened(browser, desk.address)
        if page.evaluate("() => document.documentElement.dataset.theme") == "dark":
            page.keyboard.press("d")
        page.wait_for_timeout(1000)
        walk(page, args.pictures)
        browser.close()
        desk.end()


if __name__ == "__main__":
    main()
