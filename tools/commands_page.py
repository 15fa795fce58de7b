"""Write docs/commands.md from the commands' own parsers.

    python -m tools.commands_page docs/commands.md

Every command in pyproject.toml's `[project.scripts]` has a function `parser()` in its module. The page is the same on
every machine and Python version: it is made from the parsers' options, not from the text of `--help`.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
HEAD = """# Commands

Generated from the parsers by `python -m tools.commands_page docs/commands.md`. Every command prints the same with `--help`.
Results go to stdout (with `--json` as JSON), progress to stderr.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | failed: a file, a folder, weights or a library is missing or cannot be used, the output is taken or cannot be written, a check found a problem, or a photo could not be erased |
| 2 | wrong usage: an option, a name or an argument does not exist, is missing, has a value that is not allowed, or does not fit the others. Change the command |
| 130, 143 | interrupted by Ctrl-C or by SIGTERM. The same command goes on |

`olrd diff` uses the exit codes of `diff`: 0 the same, 1 different, 2 failed or wrong usage.
"""
UNTITLED = (None, "options", "positional arguments")
"""Titles that argparse gives by itself."""


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command, by name. A second name of the same command is left out."""
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    by_module = {target.partition(":")[0]: name for name, target in reversed(scripts.items())}
    return {name: import_module(module).parser() for module, name in reversed(by_module.items())}


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for name, parser in commands().items():
        parts += section(name, parser, "##")
    return "\n".join(parts)


def section(name: str, parser: argparse.ArgumentParser, mark: str) -> Iterator[str]:
    """A command: its heading, description and options, then its subcommands."""
    yield f"{mark} `{name}`\n"
    if parser.description:
        yield f"{escaped(parser.description)}\n"
    tables: dict[str, list[str]] = {}
    for group in parser._action_groups:
        title = "" if group.title in UNTITLED else group.title or ""
        tables.setdefault(title, []).extend(row for action in group._group_actions if (row := line(action, parser)))
    for title, rows in tables.items():
        if rows:
            yield f"| {title or 'option'} | |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    if parser.epilog:
        yield epilog(parser.epilog)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from section(f"{name} {word}", below, mark + "#")


def line(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """A row of the table: how an argument is written, and its help. Empty for what needs no row."""
    if isinstance(action, argparse._SubParsersAction | argparse._HelpAction | argparse._VersionAction):
        return ""
    if action.help == argparse.SUPPRESS:
        return ""
    value = "" if action.nargs == 0 else metavar(action)
    words = [f"{word} {value}".strip() for word in action.option_strings] or [value]
    written = ", ".join(f"`{word}`" for word in words)
    needed = " (required)" if action.required and action.option_strings else ""
    explained = (action.help or "") % (vars(action) | {"prog": parser.prog})
    return f"| {written}{needed} | {escaped(explained)} |"


def metavar(action: argparse.Action) -> str:
    """How the argument's value is named in its help."""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    name = action.metavar or choices or (action.dest.upper() if action.option_strings else action.dest)
    return f"{name} ..." if action.nargs in ("*", "+") or (isinstance(action.nargs, int) and action.nargs > 1) else name


def escaped(text: str) -> str:
    """One line of Markdown: pipes and stars are shown, not interpreted."""
    return re.sub(r"([|*<])", r"\\\1", " ".join(text.split()))


def epilog(text: str) -> str:
    """The end of a command's help: a paragraph, or a block where its lines matter."""
    return f"```text\n{text.strip()}\n```\n" if "\n" in text.strip() else f"{escaped(text)}\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the page to write")
    parser.parse_args().out.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
