"""The README's quickstarts run as typed in an empty folder, and print what the README shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from places import REPOSITORY
from shell_blocks import run_typed

from benchmark.datasets import open_dataset

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


def assert_shown(shown: str, printed: str) -> None:
    """Every line that the README shows was printed, in any order; numbers may differ, `...` stands for anything."""
    lines = {re.sub(r"[\d.]+", "#", " ".join(line.split())) for line in printed.splitlines()}
    for line in shown.splitlines():
        parts = [re.escape(re.sub(r"[\d.]+", "#", " ".join(part.split()))) for part in line.split("...")]
        pattern = re.compile(r"\s*.*\s*".join(parts))
        assert any(pattern.fullmatch(found) for found in lines), f"not printed: {line}\n{printed}"


@pytest.mark.slow
def test_the_quickstarts_run_as_typed_and_print_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for library in ("torch", "diffusers", "peft"):
        pytest.importorskip(library, reason="pip install '.[benchmark,magiceraser]'")
    monkeypatch.chdir(tmp_path)
    data = open_dataset("olrd")
    some = data.ids()[:9]  # of the 26 that a reader's run scores
    monkeypatch.setattr(data, "ids", lambda: some)
    monkeypatch.setattr("benchmark.runner.inputs.open_dataset", lambda *_: data)
    printed = ""
    for language, block in BLOCK.findall(SECTION):
        if language == "text":
            assert_shown(block, printed)
            continue
        if language == "sh":
            run_typed(block)
        else:
            exec(block, {"__name__": "__main__"})
        printed = capsys.readouterr().out
    assert (tmp_path / "clean.png").is_file()
