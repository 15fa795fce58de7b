"""The folder of a run on the disk: whether it is finished, whose it is, and which rows an earlier attempt left.

`run.json` says what is run, and no other run is written into its folder. `summary.json` marks a run as finished. Until
then its rows are in `parts/`. If samples failed, the features of the others stay there: `--retry-failed` then erases only
the failed ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.runner.results import Run, read_rows, write_rows
from benchmark.runner.summary import RunIdentity
from olrd.errors import IntegrityError, OutputError
from olrd.progress import say
from olrd.storage.files import sha256, to_json, write_atomic
from olrd.trust import printable, shown

MOST = 4
"""Differences between two requests that an error lists."""


def finished(out: Path, identity: RunIdentity) -> Run | None:
    """The run in `out`, if it is finished and some sample was scored. Raises `OutputError` if it is another run."""
    if any(not (out / name).is_file() or is_empty(out / name) for name in ("run.json", "summary.json")):
        return None
    check_same(out, identity)
    found = Run(out)
    return found if found.summary.n else None  # older versions finished a run in which all failed


def begun(out: Path, identity: RunIdentity) -> None:
    """Begin a run in `out`, or see that it is the same one. Raises `OutputError` if `out` holds something else."""
    mark = out / "run.json"
    if mark.exists() and not is_empty(mark):
        check_same(out, identity)
    else:
        # Hidden files are the lock, and half-written files that a kill leaves.
        ours = {"parts", "run.json"}
        strangers = sorted(p.name for p in out.iterdir() if not p.name.startswith(".") and p.name not in ours)
        strangers += sorted(f"parts/{p.name}" for p in (out / "parts").glob("[!.]*"))
        if strangers:
            raise OutputError(f"{out} is not empty and holds no run: {strangers[:3]}")
        write_atomic(mark, to_json(identity.to_json()))
    (out / "parts").mkdir(exist_ok=True)


def check_same(out: Path, identity: RunIdentity) -> None:
    """Raise `OutputError` if `out` holds the run of another request. The message names what differs."""
    found = RunIdentity.read(out / "run.json")
    if found != identity:
        differing = list(_differences(found.to_json(), identity.to_json()))
        more = f"; {len(differing) - MOST} more" if len(differing) > MOST else ""
        advice = f"Add --out {_free(out)} to keep both runs"
        if found == replace(identity, saved=True):
            advice = f"Add --save to open that run, or --out {_free(out)} to make another"
        raise OutputError(f"{out} holds another run: {'; '.join(differing[:MOST])}{more}. {advice}")


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """The fields in which two identities differ, e.g. `method.options.radius is '5' there and '3' here`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        there, here = ("not set" if value is None else shown(value) for value in (old, new))
        yield f"{name} is {there} there and {here} here"


def _free(out: Path) -> Path:
    """A path beside `out` at which there is nothing."""
    number = 2
    while (path := out.with_name(f"{out.name}-{number}")).exists():
        number += 1
    return path


def rows_on_disk(out: Path) -> list[dict[str, Any]]:
    """The rows that an interrupted run left, or those of a finished one. Damaged files are removed with a message."""
    if (out / "summary.json").is_file() and not is_empty(out / "summary.json"):
        return read_rows(out / "samples.parquet")
    rows: list[dict[str, Any]] = []
    for path in sorted((out / "parts").glob("*.parquet")):
        try:
            rows += read_rows(path)
        except IntegrityError as error:
            say(f"{printable(str(error))}; its samples are erased again")
            path.unlink()
    return rows


def has_failed(row: dict[str, Any]) -> bool:
    """Whether a sample failed, or a metric failed on it."""
    if row["status"] != "ok":
        return True
    return any(str(why).startswith("failed:") for why in json.loads(row["reasons"]).values())


def keep_only(out: Path, rows: Sequence[dict[str, Any]], columns: list[str]) -> None:
    """Make `out` an unfinished run that holds these rows and no others. A kill in between loses none of them."""
    name = sha256("\n".join(row["id"] for row in rows).encode())[:32] + ".parquet"
    write_rows(out / "parts" / name, list(rows), columns)
    unseal(out)
    for path in (out / "parts").glob("*.parquet"):
        if path.name != name:
            path.unlink()


def unseal(out: Path) -> None:
    """Make a finished run an unfinished one."""
    (out / "summary.json").unlink(missing_ok=True)


def clean_up(out: Path, keep_features: bool) -> None:
    """Remove the parts of a run, except its features if they are to be kept."""
    parts = out / "parts"
    if not keep_features or not any(parts.glob("*.npz")):
        shutil.rmtree(parts, ignore_errors=True)
        return
    for path in parts.iterdir():
        if path.suffix != ".npz":
            path.unlink()


def is_empty(path: Path) -> bool:
    """Whether a file was created and never filled: a power cut can leave one."""
    return path.is_file() and path.stat().st_size == 0
