"""Engines run units of work: on processes of this machine, or on the actors of a Ray cluster.

A unit is independent of all others, is run again whole if its worker dies, and leaves a done-mark. So
the engine and the number of workers change the speed of a build or a run, never its bytes.

To add an engine: one file with a class that has the members of `Engine` and is made from an
`EngineSpec`, and one line in `ENGINES`, or an entry point in the group `olrd.engines`.
tests/olrd/engines/test_engines.py runs on everything registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from olrd.errors import OlrdError, UsageError
from olrd.registry import Registry

Task = TypeVar("Task")
Result = TypeVar("Result")
RETRIES = 3
"""So often in a row may workers die without a result before the engine gives up."""

ENGINES = Registry(
    "engine", "olrd.engines", {"local": "olrd.engines.local:LocalEngine", "ray": "olrd.engines.ray:RayEngine"}
)


class EngineError(OlrdError):
    """The engine cannot be started or reached, or its machines do not fit together."""


class WorkerDiedError(OlrdError):
    """Workers were killed again and again, most often because memory ran out."""


@dataclass(frozen=True)
class EngineSpec:
    """Which engine, and how large.

    workers: processes or actors; None for as many as the engine has room for. address: of a running
    cluster, for engines that have one. gpu: each worker needs a GPU of its own, where the engine
    hands out GPUs.
    """

    name: str = "local"
    workers: int | None = 1
    address: str | None = None
    gpu: bool = False


class Engine(Protocol):
    """Runs tasks on workers. Opening one starts nothing; it raises what will not work."""

    def run(
        self,
        work: Callable[[Task], Result],
        tasks: Sequence[Task],
        start: Callable[..., None],
        start_args: tuple[Any, ...],
    ) -> Iterator[Result]:
        """Yield `work(task)` for every task, in the order of completion.

        Each worker is prepared once by `start(*start_args)`. The tasks of a worker that dies run
        again whole on another one; `WorkerDiedError` when that does not help. What `work` or
        `start` raises is raised here, as the same type. Closing the iterator ends all workers.
        """


def open_engine(spec: EngineSpec) -> Engine:
    """The engine that `spec` names. Raises `UsageError` (no such engine or value),
    `MissingExtraError` or `EngineError` (a cluster that cannot be reached)."""
    if spec.workers is not None and spec.workers < 1:
        raise UsageError(f"--workers is a whole number from 1, not {spec.workers}")
    engine: Engine = ENGINES.get(spec.name)(spec)
    return engine
