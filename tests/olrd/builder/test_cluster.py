"""A real Ray cluster of two nodes on this machine: a node dies, and the bytes are the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from built_folders import command, digest
from seven_pairs import same

import benchmark.runner.run as runner
from benchmark.runner.request import Request
from benchmark.runner.results import Run, read_rows
from benchmark.runner.run import run
from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.sources import SourceSpec

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason="the extra 'ray' is not installed")
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
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 1, "include_dashboard": False} | STORE
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield Nodes(cluster, cluster.add_node(num_cpus=1, **STORE))
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build of one process."""
    out = tmp_path_factory.mktemp("plain") / "out"
    build(BuildConfig(SourceSpec("synthetic", options=SIZE), limit=LIMIT), out)
    return out


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


def test_a_run_goes_on_in_the_cluster_with_the_same_rows(
    nodes: Nodes, plain: Path, protocol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun by one process, which stopped after two parts; those are not erased again."""
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
