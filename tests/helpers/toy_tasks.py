"""Small tasks for engines. They stand in a module of their own, so that worker processes can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from olrd.errors import MissingExtraError

_state: dict[str, Path] = {}


def start(folder: str) -> None:
    """Notes every start, so that a test can count them."""
    _state["folder"] = Path(folder)
    (Path(folder) / f"start-{os.getpid()}-{time.time_ns()}").touch()


def square(number: int) -> int:
    assert _state["folder"].is_dir()
    return number * number


def die_once(number: int) -> int:
    """Task 3 kills its process, the first time that it runs."""
    mark = _state["folder"] / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def die_always(number: int) -> int:
    if number == 3:
        with (_state["folder"] / "deaths").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def refuse(number: int) -> int:
    if number == 2:
        raise MissingExtraError("a toy", "toys")
    return number


def note(task: tuple[str, int]) -> int:
    folder, number = task
    time.sleep(0.02)
    (Path(folder) / f"done-{number}").touch()
    return number


def visible(number: int) -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


class _Other:
    def here(self) -> bool:
        return True
