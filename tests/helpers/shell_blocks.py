"""Runs what a page tells its reader to type."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from places import REPOSITORY

SCRIPT = """#!{python}
import sys
from {module} import {function}
if __name__ == "__main__":  # worker processes import this file too
    sys.exit({function}())
"""


def scripts() -> dict[str, str]:
    """The commands of the distribution with their "module:function", from pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return dict(project["scripts"])


def command_folder(where: Path) -> Path:
    """A folder for PATH with the distribution's commands and `python`, which run this checkout."""
    folder = where / "bin"
    folder.mkdir()
    for name, target in scripts().items():
        module, _, function = target.partition(":")
        script = folder / name
        _executable(script, SCRIPT.format(python=sys.executable, module=module, function=function))
    _executable(folder / "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    return folder


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language in a Markdown page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
