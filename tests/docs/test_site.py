"""The site: pages hang together, generated ones follow from the code, recipes beside it agree with the package."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import frazil
from frazil.cli import cli

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS.rglob("*.md")])
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LINK = re.compile(r"\]\(([^)\s]+)\)")
with (ROOT / "pyproject.toml").open("rb") as _file:
    PROJECT: dict[str, Any] = tomllib.load(_file)["project"]


def writer(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`", lambda found: found[0].replace("[", "").replace("]", ""), text)


def anchors(page: Path) -> set[str]:
    """What links may lead to on a page, by the rule of forges: lower case, without punctuation, hyphens for spaces."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} (.*)$", text, flags=re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-1")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_anchors_are_there(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        path, hash_, anchor = target.partition("#")
        there = page if not path else page.parent / path
        if hash_ and not target.startswith(("http:", "https:")):
            assert anchor in anchors(there), f"{page.name} links to {target}"


def test_every_page_is_reached_from_the_index() -> None:
    known, row = {DOCS / "index.md"}, [DOCS / "index.md"]
    while row:
        page = row.pop()
        for target in LINK.findall(prose(page)):
            there = Path(os.path.normpath(page.parent / target.partition("#")[0]))
            if there.suffix == ".md" and there.is_relative_to(DOCS) and there.exists() and there not in known:
                known.add(there)
                row.append(there)
    lost = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {
        page.relative_to(DOCS).as_posix() for page in known
    }
    assert not lost, "no way from docs/index.md leads to these"


@pytest.mark.parametrize("name", ["write_api", "write_models"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    module = writer(name)
    pages: dict[Path, str] = module.pages()
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}: run `make docs`"
    assert {*module.FOLDER.glob("*.md")} == {path for path in pages if path.parent == module.FOLDER}


def test_every_public_name_is_described_once() -> None:
    module = writer("write_api")
    told = [
        name
        for group in module.GROUPS
        for name in re.findall(r"autofunction:: frazil\.(\w+)", module.described(group, ""))
    ]
    assert sorted(told) == [name for name in frazil.__all__ if name != "__version__"]
    for group in module.GROUPS:
        page = (module.FOLDER / f"{group}.md").read_text(encoding="utf-8")
        assert re.findall(r"^\| `frazil\.(\w+)` \|", page, flags=re.MULTILINE) == module.names()[group]
    assert "frazil.archive.engine.ClusterSettings" in module.companions()["archive"]


def test_a_name_without_a_page_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = writer("write_api")
    monkeypatch.setitem(frazil._HOME, "sing", "frazil.opera")
    monkeypatch.setattr(frazil, "__all__", [*frazil.__all__, "sing"])
    with pytest.raises(LookupError, match=r"frazil\.sing of frazil\.opera belongs to no page"):
        module.names()


def test_cards_of_all_bundled_models_have_a_page() -> None:
    bundled = {path.parent.name for path in (ROOT / "src" / "frazil" / "data" / "models").glob("*/card.json")}
    assert {page.stem for page in (DOCS / "reference" / "models").glob("*.md")} == bundled


def test_every_picture_is_in_the_gallery() -> None:
    pictures = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.png")}
    assert set(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (DOCS / "gallery.md").read_text(encoding="utf-8"))) == pictures


def refusals() -> list[str]:
    """Texts of the rooms that refuse inputs, as they stand in code, with … for what is put in."""
    source, found = ROOT / "src" / "frazil", []
    rooms = ("learn/predict", "sentinel1", "labels", "archive", "motion")
    for path in [source / "conventions.py", *(path for room in rooms for path in (source / room).glob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
                found.append("".join(map(str, parts)))
    return found


def test_quoted_refusals_are_those_of_the_code() -> None:
    page = (DOCS / "reference" / "inputs.md").read_text(encoding="utf-8")
    quoted = [text for text in re.findall(r"`([^`]+)`", page) if (" " in text and "…" in text) or "DO NOT" in text]
    assert len(quoted) >= 7
    known = refusals()
    for text in quoted:
        assert any(text in message for message in known), text


def scripts(page: str) -> list[str]:
    """Lines of frazil in the blocks of a page, wherever in a line they begin."""
    text = (DOCS / "how-to" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|yaml)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [found for block in blocks for found in re.findall(r"(?<![\w./~-])frazil (?=[a-z]+ )([^\n|&;#]*)", block)]


def test_lines_in_recipes_have_commands_and_options_that_exist() -> None:
    lines = scripts("clusters.md")
    assert len(lines) > 10
    for line in lines:
        name, *words = line.split()
        known = {option for parameter in cli.commands[name].params for option in parameter.opts}
        for word in words:
            if re.fullmatch(r"--?[a-z][a-z-]*", word):
                assert word in known, line


def test_shards_of_the_recipes_are_all_of_them() -> None:
    text = (DOCS / "how-to" / "clusters.md").read_text(encoding="utf-8")
    documents = [
        yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    ]
    job, cron = documents
    assert (job["kind"], cron["kind"]) == ("Job", "CronJob")
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 8
    (line,) = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "$((JOB_COMPLETION_INDEX + 1))/8" in line  # indices begin at 0, shards at 1
    assert "--array=1-8" in text
    assert '"$SLURM_ARRAY_TASK_ID/8"' in text
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(f":{frazil.__version__}")


def requirement(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"([\w.-]+?)\s*([<>=!~].*)?", text.strip())
    assert found is not None, text
    return found[1].lower(), found[2] or ""


def test_the_conda_recipe_agrees_with_the_package() -> None:
    path = ROOT / "conda" / "recipe" / "meta.yaml"
    text = path.read_text(encoding="utf-8")
    recipe = yaml.safe_load(text)
    assert text.startswith("# UNTESTED")
    assert recipe["package"] == {"name": PROJECT["name"], "version": frazil.__version__}
    assert recipe["build"]["entry_points"] == [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert recipe["about"]["license"] == PROJECT["license"]
    names = {"dask": "dask-core", "matplotlib": "matplotlib-base"}
    wanted = {(names.get(name, name), bound) for name, bound in map(requirement, PROJECT["dependencies"])}
    assert {requirement(line) for line in recipe["requirements"]["run"]} == wanted | {
        ("python", PROJECT["requires-python"])
    }
    extras = dict(map(requirement, chain.from_iterable(PROJECT["optional-dependencies"].values())))
    for name, bound in map(requirement, recipe["requirements"]["run_constrained"]):
        assert extras[{"pytorch": "torch"}.get(name, name)] == bound


def test_the_dockerfile_agrees_with_the_package() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert text.startswith("# UNTESTED")
    torch = re.search(r"^TORCH \?= (torch==\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert torch is not None
    assert torch[1] in text
    extras = re.search(r"'\.\[([\w,]+)\]'", text)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])
    (entry,) = PROJECT["scripts"]
    assert f'ENTRYPOINT ["{entry}"]' in text
    python = re.search(r"^FROM python:(3\.\d+)", text, flags=re.MULTILINE)
    assert python is not None
    assert f"Programming Language :: Python :: {python[1]}" in PROJECT["classifiers"]
    assert f"frazil:{frazil.__version__}" in text
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in re.findall(r"^COPY (.*) \S+$", text, flags=re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name
            assert f"!{name}" in allowed, name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built; a warning fails."""
    for package in ("furo", "myst_parser"):
        pytest.importorskip(package, reason="pip install --requirement requirements-docs.txt")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    done = subprocess.run(
        [*command, "-d", str(folder / "kept"), str(DOCS), str(folder / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "site"


@pytest.mark.slow
def test_the_site_holds_every_page_and_asks_no_network(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS)).with_suffix(".html").exists(), page
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', text), page
    described = (site / "reference" / "api" / "archive.html").read_text(encoding="utf-8")
    assert 'id="frazil.batch"' in described
    assert 'id="frazil.archive.engine.ClusterSettings"' in described
    assert "&lt;factory&gt;" not in "".join(p.read_text(encoding="utf-8") for p in (site / "reference").rglob("*.html"))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: `make browser`")
def test_search_works_from_a_disk(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"{(site / 'search.html').as_uri()}?q=undecided")
        page.wait_for_function("document.querySelectorAll('#search-results li').length > 5")
        assert "Ice, water, or undecided" in page.locator("#search-results li a").all_inner_texts()
        assert not said
        browser.close()
