"""The reference of codes is what the tables say, and what the schema of S-411 allows."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from frazil.charts.sigrid3 import written
from frazil.errors import LabelError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_codes", ROOT / "docs" / "write_codes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(writer: ModuleType) -> None:
    assert writer.TARGET.read_text(encoding="utf-8") == writer.page(), "run `make docs`"


def test_known_codes_are_on_the_page(writer: ModuleType) -> None:
    page = writer.page()
    assert "| 92 | 92 | 92 | 92 | 10/10 | 145 0 0 |" in page
    assert "| 86 | 86 | 86 | 86 | first-year ice | 255 255 0 |" in page
    assert "| 55 | 55 | 98 | 01 | ice free | 0 100 255 |" in page


@pytest.mark.parametrize("code", ["14", "18", "47"])
def test_ranges_that_s_411_does_not_have_are_refused(code: str) -> None:
    assert written("CT", code, "3.1") == code
    with pytest.raises(LabelError, match="S-411"):
        written("CT", code, "S-411")


def test_every_number_of_s_411_on_the_page_is_in_its_schema(writer: ModuleType, real_data: Path) -> None:
    schema = real_data / "s411" / "Schemas" / "S411.xsd"
    if not schema.is_file():
        pytest.skip(f"no schema at {schema}")
    text = schema.read_text(encoding="utf-8", errors="replace")
    page = writer.page()
    for title, kind in (("## Total", "iceactType"), ("## Stage", "icesodType"), ("## Form", "iceflzType")):
        start = text.index(f'name="{kind}"')
        allowed = set(re.findall(r'enumeration value="(\w+)"', text[start : text.index("</xsd:simpleType>", start)]))
        part = page[page.index(title) :].partition("\n## ")[0]
        told = {row.split("|")[4].strip() for row in part.splitlines() if re.match(r"\| \d\d \|", row)}
        assert told - {"–"} <= allowed, kind
