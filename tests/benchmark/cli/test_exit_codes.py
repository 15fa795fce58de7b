"""Exit codes of all commands: 2 if the words of the command are wrong, 1 if the work cannot be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from baselines.cli.erase import main as olrd_erase
from benchmark.cli import main as benchmark
from magiceraser_ref.cli.main import main as magiceraser
from olrd.cli.build import main as olrd_build
from olrd.cli.main import main as olrd

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "olrd": olrd,
    "olrd-build": olrd_build,
    "olrd-erase": olrd_erase,
    "magiceraser": magiceraser,
    "benchmark": benchmark,
}
WRONG = [
    "olrd-build --source nosource",
    "olrd-build --source coco --root photos --blend noblend --out out",
    "olrd-build --source coco --root photos --seed one --out out",
    "olrd-build --source images --out out",
    "olrd-build --source instances --out out",
    "olrd-build --source coco --shards 9 --out out",
    "olrd-build --source coco --nooption",
    "olrd",
    "olrd verify",
    "olrd verify taken --workers",
    "olrd show none --count 0",
    "olrd show none --page-limit -1",
    "olrd export none --to noform --out out",
    "olrd-erase",
    "olrd-erase file",
    "olrd-erase file file --quality 0",
    "olrd-erase file file --method nomethod --out out.png",
    "olrd-erase file file --method mean-fill --out out.gif",
    "olrd-erase file file --method mean-fill --effects none",
    "olrd-erase --app --port 0",
    "magiceraser",
    "magiceraser erase",
    "magiceraser erase file file --segmenter sam",
    "magiceraser train --triplets taken",
    "magiceraser ablate --out out --rows norows",
    "magiceraser export-lora small --out out.pt",
    "benchmark",
    "benchmark run",
    "benchmark run --method nomethod --out out",
    "benchmark run --method mean-fill --protocol noprotocol --out out",
    "benchmark run --method mean-fill --dataset pairs --out out",
    "benchmark run --method mean-fill --batch 0 --out out",
    "benchmark fetch noweights",
    "benchmark export --dataset nodataset --out out",
]
FAILED = [
    "olrd-build --source coco --root none --out out",
    "olrd-build --source images --root none --out out",
    "olrd-build --source demo --out taken",
    "olrd-build --source demo --out file",
    "olrd verify none",
    "olrd show none",
    "olrd rebuild none --root none --out out",
    "olrd merge none --out out",
    "olrd pq none none",
    "olrd-erase none file",
    "olrd-erase file none --method mean-fill",
    "olrd-erase file file --method mean-fill",
    "olrd-erase file file --method mean-fill --out none/out.png",
    "olrd-erase file file --method mean-fill --out picture.png",
    "olrd-erase file file --method lama",
    "olrd-erase taken file --method mean-fill",
    "magiceraser erase none file",
    "magiceraser train --triplets taken --base none --out out",
    "magiceraser export-lora none --out out.safetensors",
    "benchmark run --method mean-fill --dataset pairs --root none --out out",
    "benchmark run --method lama --dataset pairs --root taken --out out",
    "benchmark run --method folder --option path=none --out out",
    "benchmark compare none none",
    "benchmark leaderboard --board none",
    "benchmark submit none --to out",
    "benchmark verify none",
    "benchmark report none --out out",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a text file, a file with the name of a picture, a folder with a file, and no weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    for name in ("file", "picture.png", "taken/file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    return tmp_path


def code_of(line: str) -> int:
    """The exit code of a command line."""
    name, *words = line.split()
    try:
        return COMMANDS[name](words)
    except SystemExit as end:  # of argparse
        assert isinstance(end.code, int)
        return end.code


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_is_2(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(line) == 2, capsys.readouterr().err
    assert "error: " in capsys.readouterr().err
    assert not (here / "out").exists()


@pytest.mark.parametrize("line", FAILED)
def test_work_that_fails_is_1(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    assert code_of(line) == 1, capsys.readouterr().err
    assert "error: " in capsys.readouterr().err
    assert not (here / "out").exists()
