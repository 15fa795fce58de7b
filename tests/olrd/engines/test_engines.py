"""Every registered engine gives what a plain loop gives, also when workers and nodes die; and every refusal."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from built_folders import command, digest
from toy_tasks import DieAlways, DieOnce, Note, Other, Refuse, Square, Visible

from olrd.builder.build import build
from olrd.builder.worker import UnitBuilder
from olrd.cli.build import main as build_main
from olrd.config import BuildConfig
from olrd.engines import ENGINES, EngineError, EngineSpec, WorkerDiedError, open_engine
from olrd.engines.ray import _Actor
from olrd.errors import MissingExtraError, OlrdError, OutputError, Rejected, UsageError
from olrd.sources import SourceSpec

STORE = {"object_store_memory": 80_000_000}
SIZE = {"width": "240", "height": "180"}
LIMIT = 96


class Nodes(NamedTuple):
    """A cluster with one CPU a node; `lost` is the node that is to die."""

    cluster: Any
    lost: Any

    def joined(self) -> list[str]:
        return ["--engine", "ray", "--ray-address", self.cluster.address]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """One real cluster of two nodes for the module: starting it takes seconds. The GPU is pretended."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Ray's workers find this module where spawned processes do.
        patch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False} | STORE
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield Nodes(cluster, cluster.add_node(num_cpus=1, **STORE))
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def ray_here(nodes: Nodes) -> Iterator[None]:
    """This process is connected to the cluster."""
    import ray

    ray.init(nodes.cluster.address, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(params=ENGINES.names())
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return str(request.param)


# --- what all engines do ---------------------------------------------------------------------------


@pytest.mark.slow
def test_results_are_those_of_a_plain_loop(name: str, tmp_path: Path) -> None:
    engine = open_engine(EngineSpec(name, 2))
    found = list(engine.run(Square(str(tmp_path)), range(20)))
    assert sorted(found) == [n * n for n in range(20)]
    assert 1 <= len(list(tmp_path.glob("start-*"))) <= 2
    assert list(engine.run(Square(str(tmp_path)), [])) == []
    assert list(engine.run(Square(str(tmp_path)), [7])) == [49]


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(name: str, tmp_path: Path) -> None:
    engine = open_engine(EngineSpec(name, 2))
    found = list(engine.run(DieOnce(str(tmp_path)), range(8)))
    assert sorted(found) == [n * n for n in range(8)]
    assert (tmp_path / "died").exists() and len(list(tmp_path.glob("start-*"))) >= 2


@pytest.mark.slow
def test_a_task_that_kills_every_worker_ends_the_work(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = open_engine(EngineSpec(name, 2))
    found = []
    how = r"the last one by SIGKILL \(Killed\).*" if name == "local" else ""
    with pytest.raises(WorkerDiedError, match=rf"died 3 times .*{how}use fewer --workers"):
        for result in engine.run(DieAlways(str(tmp_path)), range(6)):
            found.append(result)
    if name == "local":
        assert "a worker process ended by SIGKILL (Killed); what it was doing is done again" in capsys.readouterr().err
    assert set(found) <= {0, 1, 4, 16, 25}
    assert 3 <= len((tmp_path / "deaths").read_text()) <= 3 + len(found)


@pytest.mark.slow
def test_errors_arrive_as_they_were_raised(name: str, tmp_path: Path) -> None:
    engine = open_engine(EngineSpec(name, 2))
    with pytest.raises(MissingExtraError, match=r"a toy needs the extra 'toys': pip install"):
        list(engine.run(Refuse(str(tmp_path)), range(5)))


@pytest.mark.slow
def test_a_worker_that_is_left_stops(name: str, tmp_path: Path) -> None:
    """The iterator is closed in the middle: what was not begun is never done."""
    engine = open_engine(EngineSpec(name, 2))
    running = engine.run(Note(str(tmp_path)), range(400))
    next(running)
    running.close()  # type: ignore[attr-defined]
    time.sleep(0.5)
    done = len(list(tmp_path.glob("done-*")))
    time.sleep(0.3)
    assert done == len(list(tmp_path.glob("done-*"))) < 100


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_a_build_has_the_same_bytes(name: str, tmp_path: Path) -> None:
    config = BuildConfig(SourceSpec("synthetic", options={"width": "160", "height": "120"}), limit=20)
    build(config, tmp_path / "plain")
    build(config, tmp_path / "out", engine=EngineSpec(name, 2))
    assert digest(tmp_path / "out") == digest(tmp_path / "plain")


# --- Ray's own ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_here")
@pytest.mark.slow
def test_each_worker_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    """One (pretended) GPU: one worker, however many are allowed."""
    engine = open_engine(EngineSpec("ray", 2, gpu=True))
    assert list(engine.run(Visible(str(tmp_path)), range(4))) == ["0"] * 4
    assert len(list(tmp_path.glob("start-*"))) == 1
    assert open_engine(EngineSpec("ray", None, gpu=True)).run(Visible(str(tmp_path)), [])


@pytest.mark.usefixtures("ray_here")
@pytest.mark.slow
def test_a_full_cluster_is_told_of_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    holders = [ray.remote(num_cpus=1)(Other).remote() for _ in range(2)]
    ray.get([holder.here.remote() for holder in holders])
    said: list[str] = []

    def say(message: str) -> None:
        said.append(message)
        for holder in holders:
            ray.kill(holder)

    monkeypatch.setattr("olrd.engines.ray.PATIENCE", 1)
    monkeypatch.setattr("olrd.engines.ray.say", say)
    engine = open_engine(EngineSpec("ray", 1))
    assert list(engine.run(Square(str(tmp_path)), [2, 3])) == [4, 9]
    assert said == ["waiting for room in the Ray cluster (2 CPUs in all, 1 GPUs in all)"]


def test_another_version_on_a_node_is_refused() -> None:
    with pytest.raises(EngineError, match=r"has olrd .*, this process 0\.0: install the same"):
        _Actor().prepare("0.0", "/", Square("/"))


def test_an_output_folder_that_a_node_does_not_see_is_named(tmp_path: Path) -> None:
    config = BuildConfig(SourceSpec("synthetic"))
    with pytest.raises(OutputError, match=r"parts is not there on .*under one path"):
        UnitBuilder(config, str(tmp_path / "parts")).start()


# --- a node is lost ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build of one process."""
    out = tmp_path_factory.mktemp("plain") / "out"
    build(BuildConfig(SourceSpec("synthetic", options=SIZE), limit=LIMIT), out)
    return out


@pytest.mark.slow
def test_a_node_dies_in_the_middle_of_a_build(nodes: Nodes, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--source", "synthetic", "--limit", str(LIMIT), "--out", str(out), "--json"]
    words += [word for pair in SIZE.items() for word in ("--source-option", "=".join(pair))]
    argv = [sys.executable, "-m", "olrd.cli.build", *words, *nodes.joined()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (_marks(out) and _works(nodes.lost)):
            time.sleep(0.005)
        before = _marks(out)
        nodes.cluster.remove_node(nodes.lost, allow_graceful=False)
        assert process.poll() is None, process.stderr and process.stderr.read()
        stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["totals"]["photos_read"] == LIMIT  # nothing else is on stdout
    assert 0 < before < len(json.loads(stdout)["units"])
    assert digest(out) == digest(plain)


def _marks(out: Path) -> int:
    return len(list(out.glob("parts/*-*.json")))


def _works(node: Any) -> bool:
    """Whether an actor of ours is at work on this node: Ray titles its processes."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    return any("_Actor.work" in _title(child) for child in children)


def _title(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("protocol") / "small.json"
    settings = {"name": "small", "version": 1, "metrics": ["psnr", "ssim"], "bootstrap": 30}
    path.write_text(json.dumps(settings))
    return path


@pytest.mark.slow
def test_a_run_goes_on_in_the_cluster_with_the_same_rows(
    nodes: Nodes, plain: Path, protocol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun by one process, which stopped after two parts; those are not erased again."""
    import pandas as pd
    from seven_pairs import same

    import benchmark.runner.run as runner
    from benchmark.runner.request import Request
    from benchmark.runner.results import Run, read_rows
    from benchmark.runner.run import run

    request = Request(method="opencv-telea", root=str(plain), protocol=str(protocol), limit=80)
    run(request, tmp_path / "plain")
    with monkeypatch.context() as patch:
        patch.setattr(runner, "summarise", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(request, tmp_path / "out")
    parts = sorted((tmp_path / "out" / "parts").glob("*.parquet"))
    assert len(parts) == 5
    kept = {row["id"]: row["seconds"] for path in parts[:2] for row in read_rows(path)}
    for path in parts[2:]:
        path.unlink()
    (tmp_path / "out" / "samples.parquet").unlink()
    words = [
        "run",
        "--method",
        "opencv-telea",
        "--root",
        plain,
        "--protocol",
        protocol,
        "--limit",
        80,
        "--json",
        "--out",
        tmp_path / "out",
        *nodes.joined(),
    ]
    done = command(*words, module="benchmark.cli")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 80
    same(tmp_path / "out", tmp_path / "plain")
    seconds = pd.read_parquet(tmp_path / "out" / "samples.parquet").set_index("id").seconds
    assert dict(seconds[list(kept)]) == kept
    first, second = (Run(tmp_path / name).summary for name in ("out", "plain"))
    assert replace(first, times=second.times) == second


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


# --- refusals --------------------------------------------------------------------------------------


def test_an_unknown_engine_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no engine is called 'rya'\. Did you mean 'ray'\?"):
        open_engine(EngineSpec("rya"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "lokal"], "Did you mean 'local'?"),
        (["--workers", "0"], "--workers is a whole number from 1, not 0"),
        (["--ray-address", "auto"], "--ray-address is for --engine ray, not for --engine local"),
    ],
)
def test_options_that_do_not_fit(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_main(["--source", "demo", "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_ray_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'olrd\[ray\]'"):
        open_engine(EngineSpec("ray"))


@pytest.fixture
def no_ray_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has no connection."""
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.usefixtures("no_ray_yet")
@pytest.mark.parametrize("address", ["cluster", "ray://head:10001", "head:", ":6379"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UsageError, match="--ray-address expects 'auto' or HOST:PORT"):
        open_engine(EngineSpec("ray", address=address))


@pytest.mark.usefixtures("no_ray_yet")
def test_an_address_where_nothing_listens_fails_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 .*ray start"):
        open_engine(EngineSpec("ray", address="127.0.0.1:1"))
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("no_ray_yet")
@pytest.mark.slow
def test_an_address_of_something_else_fails_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself would try for minutes."""
    monkeypatch.setattr("olrd.engines.ray.PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(EngineError, match="is no Ray cluster that this machine can join"):
            open_engine(EngineSpec("ray", address=address))


def test_errors_of_ours_survive_a_pickle() -> None:
    for error in (Rejected("gone", "no photo"), MissingExtraError("a", "b"), OlrdError("c")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
