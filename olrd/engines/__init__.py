"""Engines run tasks: on processes of this machine, or on the actors of a Ray cluster.

Tasks are independent of each other. If a worker dies, its tasks run again from their start. So the engine
and the number of workers change the speed of a build or a run, never its bytes.

To add an engine, write a class with the members of `Engine` that is made from an `EngineSpec`, and add one line to
`ENGINES`, or an entry point in the group `olrd.engines`. tests/olrd/engines/test_engines.py runs on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from olrd.errors import OlrdError, UsageError
from olrd.options import fitted
from olrd.registry import Registry

Task = TypeVar("Task")
TaskIn = TypeVar("TaskIn", contravariant=True)
Result = TypeVar("Result")
ResultOut = TypeVar("ResultOut", covariant=True)
RETRIES = 3
"""Number of times in a row that workers may die without a result before the engine gives up."""

ENGINES = Registry(
    "engine", "olrd.engines", {"local": "olrd.engines.local:LocalEngine", "ray": "olrd.engines.ray:RayEngine"}
)


class EngineError(OlrdError):
    """The engine cannot be started or reached, or its machines differ."""


class WorkerDiedError(OlrdError):
    """Workers died several times in a row, most often because memory ran out."""


@dataclass(frozen=True)
class EngineSpec:
    """Which engine to open, and how large.

    Attributes:
        name: as registered.
        workers: number of processes or actors; None for as many as the engine has room for.
        address: of a running cluster, for engines that use one.
        gpu: each worker gets one GPU, if the engine assigns GPUs.
    """

    name: str = "local"
    workers: int | None = 1
    address: str | None = None
    gpu: bool = False


class Worker(Protocol[TaskIn, ResultOut]):
    """What runs in each process. It is pickled and sent there before it is started.

    A worker class may have `IMPORTS`, the name of a module that imports all that its processes need and starts no
    threads. The local engine then imports it once and forks the processes from there; see `olrd.engines.local`.
    """

    def start(self) -> None:
        """Open what the tasks need. Called once per process, before any task."""

    def __call__(self, task: TaskIn, /) -> ResultOut:
        """Do one task."""


class Engine(Protocol):
    """Runs tasks on workers. Opening an engine starts nothing, but raises if it cannot work.

    workers: how many there will be at most; None if that is known only once they run.
    """

    workers: int | None

    def run(self, worker: Worker[Task, Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Do every task; yield the results in the order in which the tasks end.

        Closing the iterator ends all workers.

        Args:
            worker: sent to every process and started there once.
            tasks: what it is called with, one at a time. The tasks of a process that dies run again in another one.

        Raises:
            WorkerDiedError: processes died again and again.
            Exception: whatever `worker` raises, as the same type.
        """


def open_engine(spec: EngineSpec) -> Engine:
    """Open the engine that `spec` names.

    Raises:
        UsageError: there is no such engine, or a value does not fit.
        MissingExtraError: its package is not installed.
        EngineError: its cluster cannot be reached.
    """
    workers = fitted(int | None, spec.workers, "--workers")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers is a whole number from 1, not {workers}")
    engine: Engine = ENGINES.get(spec.name)(spec)
    return engine
