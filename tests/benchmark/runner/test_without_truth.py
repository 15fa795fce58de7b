"""Photos and masks without a truth: scored by what needs none, compared, tabulated and shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_pairs import three, write_pairs

from benchmark.board.compare import compare
from benchmark.board.leaderboard import leaderboard
from benchmark.board.ranking import sections
from benchmark.board.records import add_record
from benchmark.cli.screen import result
from benchmark.datasets import open_dataset
from benchmark.page.report import report
from benchmark.runner.request import Request
from benchmark.runner.results import Run
from benchmark.runner.run import run
from olrd.storage.files import to_json

METHODS = ("blur-fill", "identity")


def runs(root: Path, *metrics: str) -> list[Run]:
    write_pairs(root, three(truth=""))
    protocol = root / "small.json"
    protocol.write_text(to_json({"name": "small", "version": 1, "metrics": list(metrics), "bootstrap": 20}))
    given = {"dataset": "pairs", "root": str(root), "protocol": str(protocol), "save": True, "device": "cpu"}
    return [run(Request(method=name, **given), root / "runs" / name) for name in METHODS]  # type: ignore[arg-type]


def test_full_reference_scores_say_no_truth_and_the_change_outside_is_scored(tmp_path: Path) -> None:
    blur, same = (found.summary for found in runs(tmp_path, "psnr", "ssim"))
    assert (blur.n, blur.n_failed) == (3, 0)
    for name, found in blur.scores.items():
        assert (found.without == {"no_truth": 3}) == (not name.startswith("change"))
    assert blur.scores["change/outside/raw"].mean == 0.0
    assert blur.dataset.warnings == ("there is no truth (no folder gt): scores that compare with it are empty",)
    assert same.warnings == ()  # a control may do nothing


def test_screens_tables_and_the_page_show_a_set_without_truth(tmp_path: Path) -> None:
    found = runs(tmp_path, "psnr")
    assert "no value for 3 samples: there is no truth to compare with" in result(found[0])
    assert len(compare(found[0], found[1], ["change/outside/raw"])) == 1
    for one in found:
        add_record(one, tmp_path / "board")
    leaderboard(tmp_path / "board")
    table = (tmp_path / "board" / "pairs.md").read_text()
    assert "there is no truth (no folder gt)" in table and "no psnr/mask/raw: 3 no\\_truth" in table
    page = report(found, open_dataset("pairs", str(tmp_path)), tmp_path / "page")
    assert "no_truth" in page.read_text()
    crops = {"1-blur-fill.webp", "2-identity.webp", "input.webp"}
    assert {p.name for p in (page.parent / "pictures" / "s-1").iterdir()} >= crops
    assert not (page.parent / "pictures" / "s-1" / "truth.webp").exists()


@pytest.mark.slow
def test_rows_are_ranked_by_a_metric_that_needs_no_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="pip install '.[models]'")
    from small_encoders import sam_folder

    monkeypatch.setenv("REMOVE_MODEL", str(sam_folder(tmp_path / "sam")))
    found = [one.summary for one in runs(tmp_path / "set", "psnr", "remove")]
    (section,) = sections(found)
    assert section.first.name == "remove/full/raw" and section.partial == ()
    assert {row.method for row in section.ranked} == set(METHODS)
