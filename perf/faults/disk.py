"""Disks that fail: full when writing, unreadable when reading."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from olrd.dataset.folder import Dataset
from perf.faults.scene import FaultError, NotPossibleError, Scene

FAILING = """
import errno, os
_names = {names!r}
_fdopen = os.fdopen
class _Bad:
    def __init__(self, file): self._file = file
    def __enter__(self): return self
    def __exit__(self, *_): self._file.close()
    def read(self, *_): raise OSError(errno.EIO, os.strerror(errno.EIO))
def fdopen(number, *rest, **options):
    file = _fdopen(number, *rest, **options)
    return _Bad(file) if os.path.basename(os.readlink(f"/proc/self/fd/{{number}}")) in _names else file
os.fdopen = fdopen
"""
"""Text of a sitecustomize.py with which some files can be opened, but fail with EIO when they are read, as files on a bad
sector do."""


def full_disk(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """The disk is full at a random point. It is enlarged and the same command runs again."""
    whole = sum((scene.undisturbed / name).stat().st_size for name in scene.whole)
    while True:
        kilobytes = draw.randrange(8, whole // 1000)
        with small_disk(folder / "disk", kilobytes) as disk:
            code, said = scene.build(disk / "out")
            if code == 0:
                continue  # the build fitted
            if "disk is full" not in said or "Traceback" in said:
                raise FaultError(f"the build did not report the full disk: {said[-500:]}")
            _mount("-o", f"remount,size={whole * 4}", str(disk))
            scene.must_build(disk / "out")
            return shutil.copytree(disk / "out", folder / "out")


def read_errors(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """One photo in a hundred cannot be read. The build counts and names each of them.

    When the photos are readable again, `--retry-failed` completes the build.
    """
    root = shutil.copytree(scene.root, folder / "photos")
    photos = sorted((root / "train2017").iterdir())
    used = {row["image_id"] for row in Dataset(scene.undisturbed).rows(["image_id"])}
    failing = draw.sample([p for p in photos if str(int(p.stem)) in used], max(1, len(photos) // 100))
    (folder / "bad").mkdir()
    (folder / "bad" / "sitecustomize.py").write_text(FAILING.format(names={photo.name for photo in failing}))
    paths = [str(folder / "bad"), *filter(None, [scene.environment.get("PYTHONPATH")])]
    environment = scene.environment | {"PYTHONPATH": os.pathsep.join(paths)}
    here, out = replace(scene, root=root), folder / "out"
    replace(here, environment=environment).must_build(out)
    counted = Dataset(out).record.to_json()["totals"]
    named = {
        name
        for name in (p.name for p in failing)
        if any(name in f["message"] and "Input/output error" in f["message"] for f in counted["failures"])
    }
    if counted["photos_rejected"] != {"photo_unreadable": len(failing)} or len(named) < len(failing):
        raise FaultError(f"{len(failing)} photos could not be read, counted: {counted['photos_rejected']}")
    here.must_build(out, "--retry-failed")
    return out


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of a given size. Raises `NotPossibleError` if mounting is forbidden."""
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*words: str) -> None:
    if os.geteuid() != 0:
        raise NotPossibleError("mounting a small file system needs root")
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossibleError(f"a small file system cannot be mounted: {done.stderr.strip()}")
