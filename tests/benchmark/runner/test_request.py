"""The default folder of a run follows from the request: what gives other rows has another folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from seven_pairs import write_seven

from benchmark.cli import main
from benchmark.runner.request import Request

PLAIN = {"method": "opencv-telea"}


def test_the_plain_request_has_the_short_path() -> None:
    assert Request(method="opencv-telea").folder == Path("runs/olrd/native/opencv-telea")
    same = Request(method="opencv-telea", device="cpu", batch=8, save=True, retry_failed=True)
    assert same.folder == Path("runs/olrd/native/opencv-telea"), "these do not change a row"


def test_every_setting_that_changes_rows_has_a_folder_of_its_own(tmp_path: Path) -> None:
    one, other = ({"name": "mine", "version": 1, "metrics": [name]} for name in ("psnr", "ssim"))
    for folder, protocol in (("a", one), ("b", other)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.json").write_text(json.dumps(protocol))
    changes: list[dict[str, Any]] = [
        {},
        {"options": {"radius": "3"}},
        {"options": {"radius": "4"}},
        {"root": "triplets/coco"},
        {"root": "other/coco"},
        {"data_options": {"split": "test"}},
        {"limit": 2},
        {"limit": 20},
        {"seed": 1},
        {"protocol": "short512"},
        {"protocol": str(tmp_path / "a" / "mine.json")},
        {"protocol": str(tmp_path / "b" / "mine.json")},
        {"method": "folder", "options": {"path": "products/a", "name": "x"}},
        {"method": "folder", "options": {"path": "products/b", "name": "x"}},
        {"method": "folder", "options": {"path": "others/b", "name": "x"}},
    ]
    folders = [Request(**PLAIN | change).folder for change in changes]
    assert len(set(folders)) == len(folders)
    assert all(len(folder.parts) == 4 for folder in folders), "runs that compare lie beside each other"


@pytest.mark.parametrize(
    ("change", "folder"),
    [
        ({"options": {"radius": "3"}}, r"runs/olrd/native/opencv-telea-radius_3-[0-9a-f]{6}"),
        ({"root": "triplets/coco", "limit": 5}, r"runs/olrd-coco-[0-9a-f]{6}-first5/native/opencv-telea"),
        ({"root": "../a b/..", "seed": 4}, r"runs/olrd-[0-9a-f]{6}/native/opencv-telea-seed4"),
        ({"options": {"path": "/x/" + "y" * 300}}, r"runs/olrd/native/opencv-telea-path_y{35}-[0-9a-f]{6}"),
        ({"options": {"path": "../../é ü"}}, r"runs/olrd/native/opencv-telea-path_é_ü-[0-9a-f]{6}"),
    ],
)
def test_the_folder_has_words_for_people(change: dict[str, Any], folder: str) -> None:

    assert re.fullmatch(folder, Request(**PLAIN | change).folder.as_posix())


def test_one_folder_of_data_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    names = {Request(**PLAIN, root=root).folder for root in ("data", "data/", "./data", str(tmp_path / "data"))}
    assert len(names) == 1


@pytest.mark.slow
def test_two_requests_without_out_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They ended in an error: the second one found the first one's folder."""
    monkeypatch.chdir(tmp_path)
    Path("pairs").mkdir()
    write_seven(Path("pairs"))
    words = ["run", "--method", "opencv-telea", "--dataset", "pairs", "--root", "pairs", "--device", "cpu"]
    words += ["--protocol", "pairs/small.json"]
    for more in ([], ["--option", "radius=3"], ["--limit", "2"], ["--seed", "3"]):
        assert main([*words, *more]) == 0, capsys.readouterr().err
    assert len(list(Path("runs").rglob("summary.json"))) == 4
