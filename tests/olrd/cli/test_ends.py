"""How commands end: readers that went away, errors as one line, full disks and signals."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import every
from drawn_sets import DrawnSets

from olrd.cli.shell import guarded
from olrd.config import BuildConfig
from olrd.errors import UsageError
from olrd.sources import SourceSpec

BUILD, MAIN = "olrd.cli.build", "olrd.cli.main"


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(6, 1)


@pytest.fixture(scope="module")
def full(root: Path, drawn: DrawnSets) -> Path:
    return drawn.built(BuildConfig(SourceSpec("coco", str(root))))


READERS = {
    "olrd-help": (MAIN, ["--help"]),
    "sources": (MAIN, ["sources"]),
    "build-help": (BUILD, ["--help"]),
    "verify": (MAIN, ["verify", "FULL"]),
}


@pytest.mark.parametrize(("module", "argv"), every(4, READERS))
def test_a_reader_that_went_away_is_no_error(module: str, argv: list[str], full: Path) -> None:
    """`olrd ... | head`: the pipe is closed before anything is printed."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [str(full) if word == "FULL" else word for word in argv]
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr
    assert "BrokenPipeError" not in done.stderr
    said = done.stderr.replace("\r", "\n").splitlines()
    assert [line for line in said if line and not line.startswith("verifying:")] == []  # slow machines show progress


@pytest.mark.slow
def test_a_build_for_a_reader_that_went_away_is_finished(root: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", BUILD, "--source", "coco", "--root", str(root), "--out", str(tmp_path / "out")]
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert "BrokenPipeError" not in done.stderr
    assert (tmp_path / "out" / "build.json").exists()


@pytest.mark.slow
def test_the_work_goes_on_if_nobody_reads_its_messages(tmp_path: Path) -> None:
    """`olrd-build ... 2>&1 | head`: the command ended with exit code 0 at its first message, and nothing was done."""
    code = (
        "from olrd.cli.shell import guarded\nfrom olrd.progress import progress_bar, say\n"
        "def work():\n say('begun')\n bar = progress_bar('working', 2)\n bar.delay = 0\n bar.update()\n bar.close()\n"
        " open('done', 'w').close()\n return 0\n"
        "raise SystemExit(guarded(work))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, stderr=writing, timeout=60
    )
    os.close(writing)
    assert (tmp_path / "done").exists()
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (MemoryError(), 1, "not enough memory"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "/x/y: Permission denied"),
        (IsADirectoryError(21, "Is a directory", "/x"), 1, "/x: Is a directory"),
        (UsageError("no \x1b[2J"), 2, "no ?[2J"),
        (BrokenPipeError(32, "Broken pipe"), 1, "error: Broken pipe"),  # of a connection: stdout has a reader
    ],
)
def test_every_end_is_one_line(error: Exception, status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> int:
        raise error

    assert guarded(fails) == status
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_a_plug_in_that_leaves_python_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`sys.exit(0)` in an eraser, a metric or a source ended a command with exit code 0 and nothing done."""
    assert guarded(lambda: sys.exit(0)) == 1
    assert capsys.readouterr().err == "error: a plug-in or a library called sys.exit(0)\n"
    with pytest.raises(SystemExit):  # the help text is all that was asked for
        guarded(lambda: int(bool(argparse.ArgumentParser().parse_args(["--help"]))))


@pytest.mark.slow
def test_a_full_standard_output_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "olrd.cli.main", "sources"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr.splitlines() == ["error: No space left on device"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status", "workers"), [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 1)])
def test_a_signal_ends_a_build_soon_and_cleanly(number: int, status: int, workers: int, tmp_path: Path) -> None:
    """No worker stays, no unfinished file, no lock, no warning of a semaphore."""
    out = tmp_path / "out"
    options = [word for pair in ("count=4000", "width=240", "height=180") for word in ("--source-option", pair)]
    words = ["--source", "synthetic", *options, "--out", str(out), "--workers", str(workers)]
    build = subprocess.Popen(
        [sys.executable, "-m", "olrd.cli.build", *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    wait_for(lambda: any((out / "parts").glob("*.parquet")) or any((out / "parts").glob(".*.tmp")))
    os.killpg(build.pid, number)
    start = time.monotonic()
    _, err = build.communicate(timeout=60)
    # Twice the promise of three seconds, because the machine of a test run is busy.
    assert time.monotonic() - start < 6
    assert build.returncode == status
    assert err.splitlines()[-1].endswith("run the same command again to go on from here")
    assert "Traceback" not in err and "semaphore" not in err
    wait_for(lambda: not group_lives(build.pid))
    assert not (out / ".lock").exists() and not list(out.rglob(".*.tmp"))


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
