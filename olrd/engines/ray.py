"""The Ray engine: tasks on actors of a Ray cluster. If an actor dies, its task runs again.

Each worker is a plain actor of Ray Core that does one task at a time. When an actor or its node is lost, its task goes
to the end of the queue, and a new actor is requested; Ray starts it when there is room. All nodes need the same
installation, and must see input and output under the same paths.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

import olrd
from olrd.engines import RETRIES, EngineError, EngineSpec, Result, Task, Worker, WorkerDiedError
from olrd.errors import MissingExtraError, UsageError
from olrd.progress import say

PATIENCE = 30
"""Seconds until a silent cluster counts as unreachable, and until the user is told that a cluster is full."""
OBJECT_STORE = 100_000_000
"""Size of the object store of a Ray that is started here, in bytes. Results are small."""
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
PROBE = f"import ray, sys; ray.init(sys.argv[1], **{QUIET}); ray.shutdown()"


class RayEngine:
    """See `Engine`. Without an address, Ray is started on this machine and stopped at the end. If this process is
    connected to Ray already, that connection is used."""

    def __init__(self, spec: EngineSpec) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("the engine ray", "ray") from error
        if spec.address is not None and not ray.is_initialized():
            _check_address(spec.address)
        self.spec, self.workers = spec, spec.workers

    def run(self, worker: Worker[Task, Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See `Engine`."""
        if not tasks:
            return
        # Ray prints messages about its nodes on stdout, which is for data.
        with redirect_stdout(sys.stderr), _connected(self.spec) as ray:
            room = ray.cluster_resources()
            gpus = int(room.get("GPU", 0)) if self.spec.gpu else 0
            size = self.spec.workers or gpus or int(room.get("CPU", 0)) or 1
            kind = ray.remote(num_cpus=1, num_gpus=min(gpus, 1), max_restarts=0)(_Actor)
            setup = olrd.__version__, os.getcwd(), worker  # noqa: PTH109
            yield from _on_actors(tasks, kind, setup, size)


def _on_actors(tasks: Sequence[Any], kind: Any, setup: tuple[Any, ...], size: int) -> Iterator[Any]:
    """Do all tasks on at most `size` actors of this kind, one task at a time on each."""
    import ray

    doing: dict[Any, tuple[Any, int | None]] = {}
    """By promise: the actor, and the number of its task; None while the actor is prepared."""
    idle: list[Any] = []
    waiting = deque(range(len(tasks)))
    deaths: Counter[int | None] = Counter()
    left, told = len(tasks), False

    def hire() -> None:
        actor = kind.remote()
        doing[actor.prepare.remote(*setup)] = actor, None

    try:
        for _ in range(min(size, len(tasks))):
            hire()
        while left:
            while idle and waiting:
                actor, number = idle.pop(), waiting.popleft()
                doing[actor.work.remote(tasks[number])] = actor, number
            done, _ = ray.wait(list(doing), timeout=PATIENCE)
            if not done:
                if not told and all(task is None for _, task in doing.values()):
                    say(f"waiting for room in the Ray cluster ({_room(ray)})")
                    told = True
                continue
            actor, found = doing.pop(done[0])
            try:
                result = ray.get(done[0])
            except ray.exceptions.RayTaskError as error:  # an error of the task, as it was raised there
                raise error.cause from error
            except ray.exceptions.RayError as error:  # the actor, its node or the result is lost
                ray.kill(actor)
                deaths[found] += 1
                if deaths[found] >= RETRIES * (size if found is None else 1):
                    raise WorkerDiedError(
                        f"Ray workers died {RETRIES} times at the same work. Memory may have run out: "
                        f"use fewer --workers. Run again to go on from here. The last one: {error}"
                    ) from error
                if found is not None:
                    waiting.append(found)
                hire()
                continue
            idle.append(actor)
            if found is None:
                deaths[None] = 0
            else:
                left -= 1
                yield result
    finally:
        for actor in [*idle, *(actor for actor, _ in doing.values())]:
            ray.kill(actor)


class _Actor:
    """Holds a worker in a process on some node."""

    def prepare(self, version: str, folder: str, worker: Worker[Any, Any]) -> None:
        """Start the worker. Relative paths mean what they mean to the driver."""
        if olrd.__version__ != version:
            raise EngineError(
                f"node {platform.node()} has olrd {olrd.__version__}, this process {version}: "
                "install the same version on all nodes"
            )
        with suppress(OSError):  # the folder may not exist here: absolute paths still work
            os.chdir(folder)
        worker.start()
        self._worker = worker

    def work(self, task: Any) -> Any:
        return self._worker(task)


def _room(ray: Any) -> str:
    total = ray.cluster_resources()
    return ", ".join(f"{total.get(what, 0):g} {what}s in all" for what in ("CPU", "GPU"))


@contextmanager
def _connected(spec: EngineSpec) -> Iterator[Any]:
    """Ray, connected. A connection that is made here is closed at the end."""
    import ray

    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = {"num_cpus": spec.workers, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    try:
        ray.init(spec.address or "local", **QUIET, **({} if spec.address else own))
    except Exception as error:  # Ray raises errors of many kinds
        where = f"at {spec.address}" if spec.address else "on this machine"
        raise EngineError(f"Ray {where} cannot be used: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise `EngineError` if no cluster answers. Ray tries for minutes and cannot be interrupted, so the first attempt
    is made in another process."""
    host, _, port = address.rpartition(":")
    if address != "auto":
        if not host or "/" in host or not port.isdigit():
            raise UsageError(f"--ray-address expects 'auto' or HOST:PORT, got '{address}'")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            raise EngineError(
                f"no Ray cluster answers at {address} ({error}): start one with `ray start --head`, "
                "or leave --ray-address out to use this machine alone"
            ) from error
    argv = [sys.executable, "-c", PROBE, address]
    try:
        subprocess.run(argv, timeout=PATIENCE, check=True, capture_output=True, text=True)
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"what answers at {address} is no Ray cluster that this machine can join: no connection "
            f"within {PATIENCE} seconds. It must be the head's port (6379 by default), and Ray must run "
            "on this machine too (`ray start --address`)"
        ) from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or "no message").splitlines()[-1]
        raise EngineError(f"the Ray cluster at {address} cannot be joined: {last}") from error
