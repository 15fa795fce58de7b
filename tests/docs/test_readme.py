"""The README's quickstarts run as typed in an empty folder, and print what the README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import REPOSITORY
from shell_blocks import command_folder

README = (REPOSITORY / "README.md").read_text("utf-8")
SECTION = README[README.index("## Quickstarts") : README.index("## What is in it")]
BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 180


def test_quickstarts_are_three_of_at_most_ten_lines() -> None:
    parts = re.split(r"^### ", SECTION, flags=re.MULTILINE)[1:]
    assert len(parts) == 3
    for part in parts:
        typed = [block for language, block in BLOCK.findall(part) if language != "text"]
        assert 1 <= sum(len(block.splitlines()) for block in typed) <= 10


def run(language: str, block: str, folder: Path, environment: dict[str, str]) -> str:
    """What a block prints on stdout when its reader types it."""
    words = ["bash", "-eu", "-c", block] if language == "sh" else [sys.executable, "-c", block]
    result = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{block}\n{result.stderr}"
    return result.stdout


def assert_shown(shown: str, printed: str) -> None:
    """Every line that the README shows was printed, in any order; numbers may differ, `...` stands for anything."""
    lines = {re.sub(r"[\d.]+", "#", " ".join(line.split())) for line in printed.splitlines()}
    for line in shown.splitlines():
        parts = [re.escape(re.sub(r"[\d.]+", "#", " ".join(part.split()))) for part in line.split("...")]
        pattern = re.compile(r"\s*.*\s*".join(parts))
        assert any(pattern.fullmatch(found) for found in lines), f"not printed: {line}\n{printed}"


@pytest.mark.slow
def test_the_quickstarts_run_as_typed_and_print_what_is_shown(tmp_path: Path) -> None:
    for library in ("torch", "diffusers", "peft"):
        pytest.importorskip(library, reason="pip install 'olrd[benchmark,magiceraser]'")
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    environment["PATH"] = f"{command_folder(tmp_path)}{os.pathsep}{environment['PATH']}"
    printed = ""
    for language, block in BLOCK.findall(SECTION):
        if language == "text":
            assert_shown(block, printed)
        else:
            printed = run(language, block, folder, environment)
    assert (folder / "clean.png").is_file()
