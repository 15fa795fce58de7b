"""Which output folders belong to a build.

A build changes nothing in a folder before it knows that the folder belongs to a build. It removes only files with names
that a build writes. `parts/plan.json` and `build.json` mark the folder of a build.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

from olrd.builder.parts import PLAN_FILE
from olrd.dataset.record import BUILD_FILE
from olrd.errors import OlrdError, OutputError
from olrd.storage.files import children
from olrd.storage.remote import Remote, many
from olrd.trust import parse_json

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_PART = re.compile(r"(?:plan|shards)\.json|.+-\d{5,}(?:-\d+of\d+)?(?:\.json|\.\d+\.parquet)", re.DOTALL)
_FINISHED = ("data", "README.md", "sample.png")
"""What a build writes beside `parts/` before `build.json`."""


def check_ours(out: Path | Remote) -> None:
    """Raise `OutputError` if the folder `out` holds anything that no build wrote. A finished build is ours.

    Nothing is changed, so a wrong `--out` costs nothing.
    """
    if (out / BUILD_FILE).exists() or not out.exists():
        return
    if isinstance(out, Path) and not out.is_dir():
        raise OutputError(f"{out} is a file; expected a folder to write to")
    begun = begun_identity(out / "parts") is not None
    if strangers := sorted(path.name for path in children(out) if not _is_ours(path, begun)):
        raise OutputError(
            f"{out} is not empty and holds no build of ours: {', '.join(strangers[:3])}. Nothing in it was changed; "
            "give another --out"
        )


def _is_ours(path: Path | Remote, begun: bool) -> bool:
    if isinstance(path, Path) and path.is_symlink():
        return False
    if path.name == ".lock":
        return isinstance(path, Remote) or (path.is_file() and path.stat().st_size == 0)
    if path.name == "parts":
        return begun or all(_is_temporary(inside) for inside in children(path))
    return _is_temporary(path) or (begun and path.name in _FINISHED)


def _is_temporary(path: Path | Remote) -> bool:
    """Whether this is a file that a killed process had not finished."""
    return _TEMPORARY.fullmatch(path.name) is not None and path.is_file()


def begun_identity(parts: Path | Remote) -> str | None:
    """The identity of the build that `parts/` belongs to; None if it is no build's."""
    try:
        plan = parse_json((parts / PLAN_FILE).read_text(), PLAN_FILE)
    except (OSError, OlrdError, UnicodeDecodeError):
        return None
    found = plan.get("identity") if isinstance(plan, dict) else None
    return found if isinstance(found, str) else None


def remove_leftovers(out: Path | Remote) -> None:
    """Remove the unfinished files that a killed process of a build left in its folder `out`."""
    if isinstance(out, Path):  # at a URL, unfinished files lie on the machine that writes them
        for folder in (out, out / "data", out / "parts"):
            for path in children(folder):
                if _is_temporary(path):
                    path.unlink(missing_ok=True)


def remove_parts(parts: Path | Remote) -> None:
    """Remove `parts/` of a build: the files with the names of parts, and the folder if nothing else is in it."""
    names = [path for path in children(parts) if _PART.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)]
    # The plan goes last: with it, a killed removal still leaves a folder that is known to be ours.
    names.sort(key=lambda path: path.name == PLAN_FILE)
    if isinstance(parts, Remote):
        many(lambda path: path.unlink(missing_ok=True), [path for path in names if path.name != PLAN_FILE])
        names = [path for path in names if path.name == PLAN_FILE]
    for path in names:
        if isinstance(path, Remote) or stat.S_ISREG(path.lstat().st_mode):
            path.unlink(missing_ok=True)
    if isinstance(parts, Path) and parts.is_dir() and not any(parts.iterdir()):
        parts.rmdir()
