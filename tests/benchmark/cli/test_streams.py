"""stdout holds the result only, whatever a method prints, and a command that is interrupted ends at once."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from plugin.install import install, install_module
from seven_pairs import STEMS, Scripted, use

from benchmark.cli import main
from benchmark.cli.streams import stdout_for_results

LOUD = """
import os
from pathlib import Path

import cv2

import toy_bench


class Loud(toy_bench.Stamp):
    def erase(self, images, masks, hints=None):
        print("a model says hello")
        os.write(1, b"a library says hello\\n")
        Path(os.environ["LOUD_LOG"]).open("a").write(f"{os.environ.get('OMP_NUM_THREADS')} {cv2.getNumThreads()}\\n")
        return super().erase(images, masks, hints)


def open_loud(spec):
    from olrd.registry import checked_options

    return Loud(spec, checked_options(spec, {"top": "256"}))
"""
POINTS = '[project.entry-points."baselines.erasers"]\nloud = "loud_eraser:open_loud"\n'


def test_what_a_method_prints_is_not_among_the_results(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    library = ctypes.CDLL(None)

    def loud(output: Any) -> Any:
        print("Python says hello")
        os.write(1, b"a descriptor says hello\n")
        library.printf(b"C says hello\n")  # which C holds back
        return output

    use(monkeypatch, Scripted({STEMS[0]: loud}))
    words = ["--dataset", "pairs", "--root", str(root), "--protocol", str(root / "small.json"), "--device", "cpu"]
    assert main(["run", "--method", "opencv-telea", *words, "--out", str(tmp_path / "out"), "--json"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["n"] == 7
    for who in ("Python", "a descriptor", "C"):
        assert f"{who} says hello" in captured.err


def test_a_closed_stdout_is_no_error() -> None:
    code = (
        "import os, sys\nfrom benchmark.cli.streams import stdout_for_results\nos.close(1)\n"
        "with stdout_for_results():\n    print('to stderr')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "to stderr\n"
    with stdout_for_results(), stdout_for_results():
        pass


@pytest.mark.slow
def test_two_workers_print_nothing_leave_nothing_behind_and_share_the_cores(root: Path, tmp_path: Path) -> None:
    install(tmp_path / "site")
    environment = install_module(tmp_path / "site", "loud_eraser", LOUD, POINTS) | {"LOUD_LOG": str(tmp_path / "log")}
    environment.pop("OMP_NUM_THREADS", None)
    words = ["run", "--method", "loud", "--dataset", "toy-noise", "--data-option", "count=18", "--device", "cpu"]
    words += ["--protocol", str(root / "small.json"), "--out", str(tmp_path / "out"), "--workers", "2", "--json"]
    argv = [sys.executable, "-m", "benchmark.cli", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert (summary["n"], summary["times"]["workers"], summary["times"]["threads"]) == (18, 2, threads)
    assert set((tmp_path / "log").read_text().splitlines()) == {f"{threads} {threads}"}
    assert "a model says hello" in done.stderr and "a library says hello" in done.stderr
    assert "leaked" not in done.stderr


def command(step: str) -> list[str]:
    """A command line whose subcommand does this. It loads nothing heavy."""
    code = f"import ctypes, sys\nfrom benchmark.cli import commands\ndef step(args):\n    {step}\n"
    code += "commands.run_fetch = step\nraise SystemExit(commands.main(['fetch', 'lama']))\n"
    return [sys.executable, "-c", code]


def test_ctrl_c_ends_a_command_within_two_seconds_while_a_library_works() -> None:
    """It waits in C for a lock that it holds itself, where no signal handler of Python runs."""
    lock = "lock, take = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock"
    step = f"{lock}; take(lock); print('stuck', file=sys.stderr, flush=True); take(lock)"
    # A test run in the background ignores Ctrl-C, and what it starts would, too.
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None}
    with subprocess.Popen(command(step), stderr=subprocess.PIPE, text=True, **heeding) as child:  # type: ignore[call-overload]
        try:
            assert child.stderr is not None and child.stderr.readline() == "stuck\n"
            time.sleep(0.2)  # until it is in C
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=8)  # 2, and some for a busy machine
        finally:
            child.kill()
    assert child.returncode == 130
    assert "interrupted; run the same command again to go on from here" in said


def test_a_method_that_crashes_is_named_with_its_signal() -> None:
    done = subprocess.run(command("ctypes.string_at(0)"), capture_output=True, text=True)
    assert done.returncode == -signal.SIGSEGV
    assert "Segmentation fault" in done.stderr and "in step" in done.stderr
