"""Runs one target in a child process: limits of memory and time, and a crash of the interpreter is a finding too."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from types import FrameType, TracebackType
from typing import Any

from olrd.errors import OlrdError

Example = Callable[[Random], None]
"""Feeds a reader once. Everything that it raises is a finding, except `OlrdError`."""
Target = Callable[[Path, Path], Example]
"""Makes an `Example` from the folder with the honest inputs and an empty folder to write in."""

MEMORY = 3 << 30
"""Memory that an example may take beyond what the started process has."""
SLOW = 10
"""Seconds of processor time after which an example is a finding. Time in which other programs run does not count."""
STUCK = 60
"""Seconds after which the process is killed: it waits for something, or a library does not return."""
ENOUGH = 40
"""Number of different findings after which a target ends."""
PRELOADED = (
    "perf.fuzz.targets",
    "benchmark.board.compare",
    "benchmark.cli.screen",
    "benchmark.submissions.verify",
    "olrd.tools.rebuild",
    "olrd.tools.verify",
)
"""The modules that most targets import."""
_OURS = ("olrd", "baselines", "magiceraser_ref", "benchmark")


class TooSlowError(BaseException):
    """An example takes longer than `SLOW`. No handler for `Exception` may catch it."""


@dataclass
class Finding:
    """One fault. example: the number of the first example that shows it. count: how many do."""

    what: str
    where: str
    message: str
    example: int
    count: int = 1


@dataclass
class Outcome:
    """What a target gave. seconds: without making the honest inputs."""

    target: str
    examples: int = 0
    seconds: float = 0.0
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)

    def add(self, what: str, where: str, message: str, example: int) -> None:
        """Count a finding. Those of one type at one line are one."""
        if known := self.findings.get((what, where)):
            known.count += 1
        else:
            self.findings[what, where] = Finding(what, where, message, example)


def random_of(name: str, seed: int, number: int) -> Random:
    """The generator of one example."""
    return Random(f"{name} {seed} {number}")


def run_target(
    name: str,
    target: Target,
    honest: Path,
    scratch: Path,
    *,
    seconds: float,
    seed: int = 0,
    most: int | None = None,
    slow: float = SLOW,
    memory: int = MEMORY,
    stuck: int = STUCK,
) -> Outcome:
    """Feed a target with examples until the time is over.

    Args:
        name: of the target.
        target: picklable.
        honest: folder of the honest inputs.
        scratch: folder that examples may write in.
        seconds: length of the run.
        seed: of all draws.
        most: largest number of examples, for tests.
        slow: seconds of processor time that an example may take.
        memory: bytes that an example may take.
        stuck: seconds that an example may take by the clock.
    """
    outcome = Outcome(name)
    # Each child is forked from a small server process that has imported what the targets need, and nothing else.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    number = 0
    while outcome.seconds < seconds and (most is None or number < most) and len(outcome.findings) < ENOUGH:
        ours, theirs = context.Pipe(duplex=False)
        left = seconds - outcome.seconds
        limits = (left, most, slow, memory)
        process = context.Process(target=_child, args=(theirs, name, target, honest, scratch, seed, number, limits))
        process.start()
        theirs.close()
        following = _listen(ours, process, outcome, number, stuck)
        ours.close()
        if following == number:
            break  # no example was begun; `_listen` has noted why
        number = following
    return outcome


def _listen(pipe: Connection, process: Any, outcome: Outcome, number: int, stuck: int) -> int:
    """Note what the child says until it ends. Returns the number of the next example."""
    begun, started = False, time.monotonic()
    while True:
        patience = stuck if begun else 300
        if not wait([pipe], patience):
            process.kill()
            process.join()
            outcome.add("hang", "the process does not answer", f"no end after {patience} s", number)
            break
        try:
            word, *rest = pipe.recv()
        except EOFError:
            process.join()
            code = process.exitcode
            what = f"crash by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
            outcome.add(what, "the process ended", "", number)
            break
        if word == "start":
            begun, started = True, time.monotonic()
        elif word == "at":
            number, outcome.examples = rest[0], outcome.examples + 1
        elif word == "finding":
            what, where, message = rest
            outcome.add(what, where, message, number)
            if len(outcome.findings) >= ENOUGH:
                process.kill()
                process.join()
                break
        elif word == "end":
            process.join()
            break
    if begun:
        outcome.seconds += time.monotonic() - started
    return number + 1 if begun else number


def _child(
    pipe: Connection,
    name: str,
    target: Target,
    honest: Path,
    scratch: Path,
    seed: int,
    first: int,
    limits: tuple[float, int | None, float, int],
) -> None:
    """The child process: run examples from number `first` on, and say what happens."""
    seconds, most, slow, memory = limits
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.environ["OLRD_CACHE"] = str(scratch / "cache")
    try:
        example = target(honest, scratch)
    except BaseException as error:
        pipe.send(("finding", *described(error)))
        pipe.send(("end",))
        return
    pipe.send(("start",))
    number, end = first, time.monotonic() + seconds
    with limited(memory):
        while time.monotonic() < end and (most is None or number < most):
            pipe.send(("at", number))
            if found := attempt(example, random_of(name, seed, number), slow):
                pipe.send(("finding", *described(found)))
            number += 1
    pipe.send(("end",))


@contextmanager
def limited(memory: int) -> Any:
    """Limit the address space to what is taken now and `memory` bytes more."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def attempt(example: Example, random: Random, slow: float = SLOW) -> BaseException | None:
    """Run an example under the time limit. Returns what it raised, unless it is an error of ours."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError(f"takes more than {slow} s of processor time")

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, slow)
    try:
        example(random)
    except OlrdError as error:
        try:
            str(error)
        except Exception as broken:
            return broken
        return None
    except BaseException as error:
        return error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def described(error: BaseException) -> tuple[str, str, str]:
    """Type, innermost line of our code, and the message in one line."""
    return type(error).__name__, _our_line(error.__traceback__), " ".join(str(error).split())[:200]


def _our_line(trace: TracebackType | None) -> str:
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(trace)]
    home = Path(__file__).resolve().parents[2]
    inside = [(path.relative_to(home), line) for path, line in frames if path.is_relative_to(home)]
    ours = [(path, line) for path, line in inside if path.parts[0] in _OURS] or inside
    return f"{ours[-1][0]}:{ours[-1][1]}" if ours else "outside this repository"


def repeat(name: str, target: Target, honest: Path, scratch: Path, seed: int, number: int) -> None:
    """Run one example in this process and print the traceback of what it raises."""
    os.environ["OLRD_CACHE"] = str(scratch / "cache")
    example = target(honest, scratch)
    with limited(MEMORY):
        error = attempt(example, random_of(name, seed, number))
    if error is None:
        print("no finding")
    else:
        traceback.print_exception(error, file=sys.stdout)
