"""`benchmark list`: everything that is registered, whether it can run here, and what to do if not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines import ERASERS
from benchmark.cli import main
from benchmark.datasets import DATASETS
from benchmark.metrics import METRICS
from benchmark.protocol import FOLDER

WORDS = {"ready", "weights missing", "extra not installed", "needs an option", "broken"}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any weights."""
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    for name in ("LAMA_MODEL", "MAT_MODEL", "COMODGAN_MODEL", "FID_INCEPTION", "LPIPS_VGG_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("bare")
def test_everything_is_listed_with_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert sorted(listed["erasers"]) == ERASERS.names()
    assert sorted(listed["metrics"]) == METRICS.names()
    assert listed["datasets"] == DATASETS.names()
    assert listed["protocols"] == sorted(path.stem for path in FOLDER.glob("*.json"))
    for kind in ("erasers", "metrics"):
        for name, state in listed[kind].items():
            assert state["word"] in WORDS
            assert (state["word"] == "ready") == (state["advice"] == ""), name
    for kind, name, word, advice in (
        ("erasers", "opencv-telea", "ready", ""),
        ("erasers", "lama", "weights missing", "benchmark fetch lama"),
        ("erasers", "mat", "weights missing", "MAT_MODEL"),
        ("erasers", "folder", "needs an option", "--option path=FOLDER"),
        ("metrics", "lpips-alex", "ready", ""),
        ("metrics", "fid", "weights missing", "benchmark fetch fid-inception"),
    ):
        assert listed[kind][name]["word"] == word
        assert advice in listed[kind][name]["advice"]


@pytest.mark.usefixtures("bare")
def test_at_the_terminal_each_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = ["erasers", "metrics", "datasets", "protocols"]
    assert [line for line in lines if not line.startswith("  ")] == heads
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    protocols = sorted(path.stem for path in FOLDER.glob("*.json"))
    assert names == [*ERASERS.names(), *METRICS.names(), *DATASETS.names(), *protocols]
