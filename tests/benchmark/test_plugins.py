"""A third party's eraser, metric and dataset, found by entry point and run by the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plugin.install import install

import benchmark
from baselines import ERASERS, open_eraser, state_of
from benchmark.datasets import open_dataset
from benchmark.metrics import open_metric
from olrd.draws import draw_integer
from olrd.errors import PluginError, UsageError
from olrd.sources import SourceSpec, open_source


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def done(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], pd.DataFrame]:
    """The summary and the rows of a run of nothing but toys."""
    folder = tmp_path_factory.mktemp("toys")
    protocol = {"name": "toys", "version": 1, "metrics": ["toy-darkness", "psnr"], "bootstrap": 20}
    (folder / "p.json").write_text(json.dumps(protocol | {"seed": 3}))
    words = [
        "run",
        "--method",
        "toy-stamp",
        "--option",
        "top=100",
        "--dataset",
        "toy-noise",
        "--data-option",
        "count=5",
        "--protocol",
        str(folder / "p.json"),
        "--out",
        str(folder / "out"),
        "--device",
        "cpu",
        "--json",
    ]
    argv = [sys.executable, "-m", "benchmark.cli", *words]
    result = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout), pd.read_parquet(folder / "out" / "samples.parquet")


@pytest.mark.slow
def test_a_run_of_toys_has_the_toys_scores(done: tuple[dict[str, Any], pd.DataFrame]) -> None:
    summary, rows = done
    assert list(rows.id) == [f"noise-{k}" for k in range(5)]
    assert list(rows.cluster) == ["photo-0", "photo-0", "photo-1", "photo-1", "photo-2"]
    expected = [255.0 - draw_integer(100, 3, name) for name in rows.id]
    assert list(rows["toy-darkness/full/raw"]) == expected
    assert list(rows["toy-darkness/full/composited"]) == expected
    found = summary["scores"]["toy-darkness/full/raw"]
    assert found["mean"] == pytest.approx(np.mean(expected))
    assert (found["n"], found["clusters"]) == (5, 3)


@pytest.mark.slow
def test_what_the_toys_say_of_themselves_is_kept(done: tuple[dict[str, Any], Any]) -> None:
    summary, _ = done
    method = {"name": "toy-stamp", "revision": "toy-1", "options": {"top": "100"}}
    assert summary["method"].items() >= (method | {"license": "MIT", "control": False}).items()
    assert summary["dataset"]["fingerprint"] == "noise-5"
    assert summary["dataset"]["warnings"] == ["noise"]
    assert summary["metrics"]["toy-darkness"]["higher_is_better"] is False
    assert summary["metrics"]["toy-darkness"]["unit"] == "levels"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toys in this process."""
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "toy_bench", raising=False)
    monkeypatch.setattr(ERASERS, "_loaded", {})


@pytest.mark.usefixtures("installed")
def test_toys_are_listed_beside_what_ships_and_cannot_replace_it() -> None:
    assert {"toy-stamp", "toy-absent", "identity", "lama"} <= set(ERASERS.names())
    assert open_eraser("identity").info.revision == "1"
    assert state_of("toy-stamp").word == "ready"
    with pytest.raises(UsageError, match=r"Did you mean 'top'\?"):
        open_eraser("toy-stamp", {"tap": "3"})


@pytest.mark.usefixtures("installed")
def test_a_broken_toy_spoils_nothing_but_itself() -> None:
    state = state_of("toy-absent")
    assert state.word == "broken"
    assert "no_such_module_at_all:open_it" in state.advice


@pytest.mark.usefixtures("installed")
def test_a_toy_that_opens_nothing_is_named() -> None:
    for kind, lacking, open_it in (
        ("eraser", "`info` is missing or no EraserInfo", open_eraser),
        ("metric", "`info` is missing or no MetricInfo", open_metric),
        ("dataset", "`name` is missing or no str", open_dataset),
        ("source", "`name` is missing or no str", lambda name: open_source(SourceSpec(name))),
    ):
        said = f"the {kind} 'toy-nothing' opens an object of type object, whose {lacking}"
        with pytest.raises(PluginError, match=f"^{said}$"):
            open_it("toy-nothing")
        assert state_of("toy-nothing", open_it).word == "broken"


@pytest.mark.usefixtures("installed")
def test_a_toy_that_carries_another_name_is_refused_when_it_is_opened() -> None:
    for kind, said, open_it in (
        ("eraser", "its EraserInfo is called 'toy-stamp'", open_eraser),
        ("metric", "its MetricInfo is called 'toy-darkness'", open_metric),
        ("source", "its `name` is 'coco'", lambda name: open_source(SourceSpec(name))),
    ):
        with pytest.raises(PluginError, match=f"^the {kind} is registered as toy-misnamed, but {said}: give both"):
            open_it("toy-misnamed")
        assert state_of("toy-misnamed", open_it).word == "broken"


@pytest.mark.usefixtures("installed")
def test_a_run_with_a_misnamed_metric_ends_before_anything_runs(tmp_path: Path) -> None:
    protocol = tmp_path / "p.json"
    protocol.write_text(json.dumps({"name": "toys", "version": 1, "metrics": ["psnr", "toy-misnamed"]}))
    with pytest.raises(PluginError, match="the metric is registered as toy-misnamed"):
        benchmark.run("toy-stamp", dataset="toy-noise", protocol=str(protocol), out=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_without_the_distribution_they_are_unknown() -> None:
    with pytest.raises(UsageError, match="no eraser is called 'toy-stamp'"):
        open_eraser("toy-stamp")
    with pytest.raises(UsageError, match="no dataset is called 'toy-noise'"):
        open_dataset("toy-noise")
