"""The build that a fault is applied to: its photos, its undisturbed bytes, and the commands to build and verify it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from olrd.dataset.folder import Dataset
from perf.faults.photos import write_photos

PHOTOS = 100
SHARD_BYTES = 3_000_000
PATIENCE = 600
"""Seconds after which a command is considered to hang."""


class FaultError(Exception):
    """A build did not recover, or did not print what it must. The text says which."""


class NotPossibleError(Exception):
    """This machine does not allow the fault (no root, no mounting). The text says why."""


@dataclass(frozen=True)
class Scene:
    """One build to disturb.

    Attributes:
        root: Folder of its photos.
        environment: Environment variables of every command.
        undisturbed: Folder of the undisturbed build.
        whole: sha256 of every file of the undisturbed build.
        rows: Ids of its triplets.
        seconds: Duration of the undisturbed build.
    """

    root: Path
    environment: dict[str, str]
    undisturbed: Path
    whole: dict[str, str]
    rows: frozenset[str]
    seconds: float

    def start(self, out: Path, *more: object, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start `olrd-build` into `out` with two workers. before: words of a command under which it runs."""
        words = ["--source", "coco", "--root", self.root, "--shard-bytes", SHARD_BYTES]
        words += ["--out", out, "--workers", 2, *more]
        return self._start("olrd.cli.build", words, before)

    def build(self, out: Path, *more: object, before: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run `olrd-build` and return its exit code and stderr."""
        return ended(self.start(out, *more, before=before))

    def must_build(self, out: Path, *more: object, before: tuple[str, ...] = ()) -> None:
        """Run `olrd-build`. Raises `FaultError` if it fails."""
        code, said = self.build(out, *more, before=before)
        if code != 0:
            raise FaultError(f"olrd-build ended with code {code}: {said[-500:]}")

    def problems(self, out: Path) -> list[str]:
        """Return the problems that `olrd verify` finds."""
        process = self._start("olrd.cli.main", ["verify", out, "--workers", 1, "--json"], ())
        result, said = process.communicate(timeout=PATIENCE)
        try:
            problems: list[str] = json.loads(result)["problems"]
        except ValueError:
            return [said[-500:]]
        return problems

    def check(self, out: Path) -> None:
        """Raise `FaultError` unless every file of the folder has the bytes of the undisturbed build."""
        found = digest(out)
        if found != self.whole:
            differ = {name for name, _ in found.items() ^ self.whole.items()}
            raise FaultError(f"other bytes than the undisturbed build: {sorted(differ)}")

    def lost(self, out: Path) -> int:
        """Count the rows of the undisturbed build that cannot be read from the folder."""
        try:
            return len(self.rows - {row["id"] for row in Dataset(out).rows(["id"])})
        except Exception:  # the folder may be damaged in any way
            return len(self.rows)

    def _start(self, module: str, words: list[object], before: tuple[str, ...]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*before, sys.executable, "-m", module, *map(str, words)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command and return its exit code and stderr. Raises `FaultError` if it hangs."""
    try:
        _, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise FaultError(f"the command hangs: no end after {PATIENCE} seconds") from error
    return process.returncode, said


def prepare(folder: Path, photos: int = PHOTOS) -> Scene:
    """Draw the photos, build without disturbance, and measure the time."""
    root, out = write_photos(folder / "photos", photos), folder / "undisturbed"
    environment = dict(os.environ) | {"OLRD_CACHE": str(folder / "cache")}
    scene = Scene(root, environment, out, {}, frozenset(), 0.0)
    started = time.monotonic()
    scene.must_build(out)
    seconds = time.monotonic() - started
    if problems := scene.problems(out):
        raise FaultError(f"verify found in the undisturbed build: {problems[:3]}")
    ids = frozenset(row["id"] for row in Dataset(out).rows(["id"]))
    return replace(scene, whole=digest(out), rows=ids, seconds=seconds)


def digest(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file under a folder, by relative name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
