"""Runs what a page tells its reader to type."""

from __future__ import annotations

import importlib
import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
import traceback
from contextlib import redirect_stdout

from places import REPOSITORY


def scripts() -> dict[str, str]:
    """The commands of the distribution with their "module:function", from pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return dict(project["scripts"])


def run_typed(block: str) -> None:
    """Run what a reader types, in the current folder. Commands of the distribution and `python -c` run in this process,
    which starts no interpreter and loads libraries once; all other lines in bash.

    Raises `CommandError` if one fails.
    """
    ours = scripts()
    for line in block.splitlines():
        command, *words = shlex.split(line, comments=True)
        if command in ours:
            module, _, function = ours[command].partition(":")
            code = getattr(importlib.import_module(module), function)(words)
        elif command == "python" and words[0] == "-c":
            exec(words[1], {"__name__": "__main__"})
            code = 0
        else:
            code = subprocess.run(["bash", "-eu", "-c", line], check=False).returncode
        if code:
            raise CommandError(f"{line} ended with {code}")


class CommandError(Exception):
    """A command that a page tells its reader to type fails."""


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language in a Markdown page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def main() -> None:
    """From a JSON object of blocks on stdin to one of what they print."""
    printed = {}
    for name, block in json.load(sys.stdin).items():
        with redirect_stdout(io.StringIO()) as out:
            try:
                run_typed(block)
            except Exception:
                print(f"FAILED: {traceback.format_exc()}")
        printed[name] = out.getvalue()
    print(json.dumps(printed))


if __name__ == "__main__":
    main()
