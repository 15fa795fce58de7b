"""A full disk: said, nothing broken, and the rerun gives the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bad_folder import Folder, config_of
from built_folders import command, digest

from olrd.builder.build import build
from olrd.cli.build import main as olrd_build
from olrd.errors import OutputError
from olrd.tools.verify import verify


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 kB that `enlarge` enlarges; skips where mounting is forbidden."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def enlarge(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


def assert_nothing_broken(out: Path) -> None:
    """No half-written file under a final name, none left under a temporary one."""
    assert not (out / "build.json").exists()
    assert [str(p) for p in out.rglob("*.tmp")] == []
    for path in out.rglob("*.parquet"):
        pq.read_table(path)
    for path in out.rglob("*.json"):
        json.loads(path.read_text())


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_rerun_gives_the_same_bytes(
    pristine: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is enlarged a little after each failure, so it is full at many different moments."""
    words = ["--source", "coco", "--root", str(pristine), "--workers", "1"]
    assert olrd_build([*words, "--out", str(tmp_path / "roomy")]) == 0
    out, failures, kilobytes = small_disk / "out", 0, 8
    capsys.readouterr()
    while olrd_build([*words, "--out", str(out)]) != 0:
        said = capsys.readouterr().err
        assert "disk is full" in said
        assert "Traceback" not in said
        assert_nothing_broken(out)
        failures += 1
        kilobytes = int(kilobytes * 1.25) + 8
        enlarge(small_disk, kilobytes)
        assert kilobytes < 100_000
    assert failures >= 5
    assert digest(out) == digest(tmp_path / "roomy")


@pytest.mark.slow
def test_a_full_disk_in_a_worker_is_said(pristine: Path, small_disk: Path) -> None:
    enlarge(small_disk, 200)
    words = ["--source", "coco", "--root", pristine, "--workers", 2]
    done = command(*words, "--out", small_disk / "out")
    assert done.returncode == 1
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert_nothing_broken(small_disk / "out")


@pytest.mark.slow
def test_a_full_cache_disk_is_said(
    folder: Folder, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLRD_CACHE", str(small_disk / "cache"))
    with pytest.raises(OutputError, match="disk is full"):
        build(config_of(folder.save()), tmp_path / "out")
    enlarge(small_disk, 10_000)
    build(config_of(folder.root), tmp_path / "out")
    assert verify(tmp_path / "out")["problems"] == []


@pytest.mark.parametrize(
    "where",
    [
        "olrd.dataset.shards.pq.ParquetWriter.write_table",
        "olrd.storage.files.os.replace",
        "olrd.storage.files.os.fsync",
    ],
)
@pytest.mark.slow
def test_no_space_left_is_an_output_error(
    where: str, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where no file system can be mounted: the call fails as on a full disk."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    build(config_of(pristine), tmp_path / "roomy")
    monkeypatch.setattr(where, full)
    with pytest.raises(OutputError, match="disk is full"):
        build(config_of(pristine), tmp_path / "out")
    monkeypatch.undo()
    assert_nothing_broken(tmp_path / "out")
    build(config_of(pristine), tmp_path / "out")
    assert digest(tmp_path / "out") == digest(tmp_path / "roomy")
