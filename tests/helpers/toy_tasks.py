"""Small workers for engines. They stand in a module of their own, so that worker processes can import them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olrd.errors import MissingExtraError


@dataclass
class Square:
    """Squares numbers. Notes in `folder` every start, so that a test can count them."""

    folder: str
    started: bool = False

    def start(self) -> None:
        self.started = True
        Path(self.folder, f"start-{os.getpid()}-{time.time_ns()}").touch()

    def __call__(self, number: int) -> Any:
        assert self.started
        return number * number


class Forked(Square):
    """Its processes are forked by a server. Tasks wait for a file `go`."""

    IMPORTS = "olrd.progress"

    def __call__(self, number: int) -> Any:
        while not Path(self.folder, "go").exists():
            time.sleep(0.01)
        return super().__call__(number)


class Blocked(Forked):
    """Tasks give whether SIGINT is blocked in their process."""

    def __call__(self, number: int) -> Any:
        return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


class DieOnce(Square):
    """Task 3 kills its process, the first time that it runs."""

    def __call__(self, number: int) -> Any:
        mark = Path(self.folder, "died")
        if number == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(number)


class DieAlways(Square):
    """Task 3 kills its process, every time."""

    def __call__(self, number: int) -> Any:
        if number == 3:
            with Path(self.folder, "deaths").open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(number)


class Refuse(Square):
    """Task 2 raises an error of ours."""

    def __call__(self, number: int) -> Any:
        if number == 2:
            raise MissingExtraError("a toy", "toys")
        return number


class Note(Square):
    """Slow tasks that leave a file each."""

    def __call__(self, number: int) -> Any:
        time.sleep(0.02)
        Path(self.folder, f"done-{number}").touch()
        return number


class Visible(Square):
    """Says which GPUs the process sees."""

    def __call__(self, number: int) -> Any:
        return os.environ["CUDA_VISIBLE_DEVICES"]


class Other:
    """Takes a place in a Ray cluster."""

    def here(self) -> bool:
        return True
