"""The folder of a training: whose it is, what a killed run leaves, and damaged files in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from magiceraser_ref.training.log import COLUMNS, LossLog, read_losses
from magiceraser_ref.training.state import Checkpoints, begin, check_owner, finish
from olrd.errors import IntegrityError, OutputError

IDENTITY = {"config": {"steps": 2}, "base": "micro", "data": "abc"}
SUMMARY = {"steps": 2, "fixed_loss": {"before": 1.0, "after": 0.5}, "model": "model"}


def checkpoint(**changes: Any) -> dict[str, Any]:
    state = {"trained": [torch.ones(2)], "optimizer": {}, "scaler": None, "ema": None, "fixed_before": 1.0}
    return state | changes


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("mine", ["thesis.txt", "run.json", "checkpoints/step-1.txt"])
def test_a_folder_of_someone_else_is_refused_untouched(tmp_path: Path, mine: str) -> None:
    for name in (
        mine,
        ".session.tmp",
        ".run.json.0f.tmp",
        ".model.12.tmp/weights",
        "checkpoints/.step-00000001.pt.1.tmp",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("precious")
    before = content(tmp_path)
    for refusing in (check_owner, begin):
        with pytest.raises(OutputError):
            refusing(tmp_path, IDENTITY)
    assert content(tmp_path) == before


def test_only_the_leftovers_of_a_training_are_removed(tmp_path: Path) -> None:
    begin(tmp_path, IDENTITY)
    ours = (
        ".run.json.0f.tmp",
        ".model.12.tmp/unet/weights",
        ".model.12.old/weights",
        "checkpoints/.step-00000001.pt.1.tmp",
    )
    others = (".session.tmp", ".notes.0f.tmp", "checkpoints/.mine.tmp", ".models.1.tmp/weights")
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("x")
    assert begin(tmp_path, IDENTITY) is None
    assert set(content(tmp_path)) == {"run.json", *others}


def test_an_empty_record_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    assert begin(tmp_path, IDENTITY) is None
    check_owner(tmp_path, IDENTITY)
    with pytest.raises(OutputError, match="base differ"):
        check_owner(tmp_path, IDENTITY | {"base": "other"})


@pytest.mark.parametrize("text", ["{", "[]", "{}", "3", "\x00", '{"format": 1}', "[" * 100_000])
def test_a_record_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(OutputError, match=r"run\.json"):
        begin(tmp_path, IDENTITY)
    assert (tmp_path / "run.json").read_text() == text


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"steps": 2, "fixed_loss": 3, "model": "model"}', "whole, no model"]
)
def test_a_damaged_summary_is_done_again(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    begin(tmp_path, IDENTITY)
    (tmp_path / "model").mkdir()
    finish(tmp_path, SUMMARY)
    if text != "whole, no model":
        (tmp_path / "model" / "magiceraser.json").write_text("{}")
        assert begin(tmp_path, IDENTITY) == SUMMARY
        (tmp_path / "done.json").write_text(text)
    assert begin(tmp_path, IDENTITY) is None
    assert "again" in capsys.readouterr().err


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints(tmp_path, 5)
    for step in range(1, 6):
        checkpoints.save(step, checkpoint())
    paths = checkpoints.all()
    whole = paths[1].read_bytes()
    paths[4].write_bytes(whole[: len(whole) // 2])
    paths[3].write_bytes(b"")
    torch.save({"step": 3, **checkpoint(trained=[torch.tensor([float("nan")])])}, paths[2])
    found = checkpoints.latest()
    assert found is not None and found["step"] == 2
    said = capsys.readouterr().err
    assert all(path.name in said for path in paths[2:])
    assert checkpoints.all() == paths
    torch.save({"step": 2}, paths[1])
    torch.save([1], paths[0])
    with pytest.raises(IntegrityError, match="every checkpoint is damaged"):
        checkpoints.latest()


def test_a_damaged_log_keeps_its_good_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = "1,0.5,1,0.1,0.1,,2"
    head = ",".join(COLUMNS)
    (tmp_path / "losses.csv").write_bytes(f"{head}\n{good}\nx,\0\n\n2,3\n1,a,1,1,1,1,1\n".encode() + b"\xff\xfe\n3,0.")
    with LossLog(tmp_path, 1, tensorboard=False) as log:
        log.add(2, loss=0.25)
    assert "5 of its lines" in capsys.readouterr().err
    assert (tmp_path / "losses.csv").read_text().splitlines() == [head, good, "2,0.25,,,,,"]
    (tmp_path / "losses.csv").write_text("")
    assert read_losses(tmp_path / "losses.csv") == []
