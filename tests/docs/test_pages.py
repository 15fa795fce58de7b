"""The pages agree with the repository: paths, modules, links, commands, and the Python that they show."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from places import REPOSITORY
from shell_blocks import blocks

from baselines import ERASERS
from benchmark.datasets import DATASETS
from benchmark.metrics import METRICS
from olrd.config import BLENDS, PLACEMENTS
from olrd.engines import ENGINES
from olrd.sources import SOURCES
from tools.commands_page import commands, page

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
PACKAGES = ("olrd", "baselines", "magiceraser_ref", "benchmark", "perf", "tools", "tests")
FOLDERS = (*PACKAGES, "docs", "leaderboards")
GROUPS = {registry.group for registry in (SOURCES, BLENDS, PLACEMENTS, ENGINES, ERASERS, METRICS, DATASETS)}
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./*-]*[\w/]")
MODULE = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+(?![\w/])")
PARSERS = commands()
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")


each_page = pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(REPOSITORY)) for path in PAGES])


@each_page
def test_every_path_on_a_page_exists(path: Path) -> None:
    absent = [
        found
        for found in PATH.findall(path.read_text("utf-8"))
        if not (list(REPOSITORY.glob(found)) if "*" in found else (REPOSITORY / found).exists())
    ]
    assert absent == []


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name that its module defines or hands on."""
    if dotted in GROUPS:
        return True
    place, names = REPOSITORY, dotted.split(".")
    while names and (place / names[0]).is_dir():
        place /= names.pop(0)
    is_module = bool(names) and (place / f"{names[0]}.py").is_file()
    module = place / (f"{names.pop(0)}.py" if is_module else "__init__.py")
    text = module.read_text("utf-8") if module.is_file() else ""
    return all(re.search(rf"\b{name}\b", text) for name in names) and bool(text or not names)


@each_page
def test_every_module_on_a_page_exists(path: Path) -> None:
    named = {found for found in MODULE.findall(path.read_text("utf-8")) if not found.endswith((".py", ".md", ".toml"))}
    assert sorted(name for name in named if not is_there(name)) == []


def test_new_import_paths_of_the_changelog_exist() -> None:
    rows = re.findall(r"^\| `[^|]+\| ([^|]+)\|$", (REPOSITORY / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 10
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert [name for name in named if not is_there(name)] == []


@each_page
def test_every_link_leads_somewhere(path: Path) -> None:
    assert [link for link in LINK.findall(path.read_text("utf-8")) if not (path.parent / link).exists()] == []


@each_page
def test_python_on_a_page_compiles_and_imports_what_exists(path: Path) -> None:
    for block in blocks(path.read_text("utf-8"), "python"):
        imports = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
        named = [f"{node.module}.{alias.name}" for node in imports for alias in node.names]
        assert [name for name in named if name.startswith(PACKAGES) and not is_there(name)] == []


def typed(page: str) -> list[list[str]]:
    """The commands of ours that a page tells its reader to type, as words. Lines with variables or dots are left
    out."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.split(" ")[0] in PARSERS and not re.search(r"\$|\.\.\.", line)]
    return [shlex.split(line.partition(";")[0], comments=True) for line in lines]


@each_page
def test_commands_on_a_page_have_the_options_that_it_uses(path: Path) -> None:
    for command, *words in typed(path.read_text("utf-8")):
        try:
            PARSERS[command].parse_args(words)
        except SystemExit as error:
            pytest.fail(f"{command} {shlex.join(words)} ends with {error.code}")


def test_commands_are_found_on_pages() -> None:
    assert sum(len(typed(path.read_text("utf-8"))) for path in PAGES) > 30


def test_the_commands_page_is_what_the_parsers_say() -> None:
    written = (REPOSITORY / "docs" / "commands.md").read_text("utf-8")
    assert written == page(), "run: python -m tools.commands_page docs/commands.md"


def test_the_site_lists_every_page() -> None:
    listed = re.findall(r":\s*([\w/-]+\.md)$", (REPOSITORY / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    there = {str(path.relative_to(REPOSITORY / "docs")) for path in (REPOSITORY / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(there)
