"""Runs over several seeds, and their spread."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from seven_pairs import request

from baselines.eraser import EraserInfo, Hints
from benchmark.board.ranking import sections
from benchmark.board.tables import OVER_SEEDS, tables_of
from benchmark.cli import main
from benchmark.runner.results import Run
from benchmark.runner.seeds import run_seeds, spread, spreads
from olrd.arrays import Image, Mask
from olrd.draws import draw_integer
from olrd.errors import UsageError


class Drawing:
    """Fills with a grey level drawn from (seed, key)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.info = EraserInfo("drawing", "1", "MIT", options={"seed": str(seed)})

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        assert hints is not None
        levels = [np.uint8(draw_integer(256, self.seed, hint.key)) for hint in hints]
        return [np.where(m[..., None], g, i) for i, m, g in zip(images, masks, levels, strict=True)]


def use_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    from baselines.checked import CheckedEraser

    monkeypatch.setattr("benchmark.runner.inputs.open_eraser", lambda *given: CheckedEraser(Drawing(given[3])))


@pytest.mark.slow
def test_the_spread_is_that_of_the_means_of_the_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_drawing(monkeypatch)
    runs = run_seeds(request(root), [0, 4, 7], tmp_path)
    assert [run.folder.name for run in runs] == ["seed-0", "seed-4", "seed-7"]
    means = [run.summary.scores["psnr/mask/raw"].mean for run in runs]
    found = spreads([run.summary for run in runs])["psnr/mask/raw"]
    assert found is not None
    known = [mean for mean in means if mean is not None]
    assert found == pytest.approx((statistics.mean(known), np.std(known, ddof=1), min(known), max(known), 3))
    # On a board every seed is a row; each says how far the seeds lie apart.
    (section,) = sections([run.summary for run in runs])
    deviations = [row.over_seeds.deviation for row in section.ranked if row.over_seeds]
    assert deviations == pytest.approx([found.deviation] * 3)
    table = tables_of(section)[0]
    at = table.head.index(OVER_SEEDS)
    assert {row[at].small for row in table.rows} == {"3 seeds"}
    # One row alone has no spread, and a row of another revision is another method.
    other = replace(runs[1].summary, method=replace(runs[1].summary.method, revision="2"))
    (section,) = sections([runs[0].summary, other])
    assert OVER_SEEDS not in tables_of(section)[0].head
    data = ["--dataset", "pairs", "--root", str(root), "--data-option", "cluster=prefix", "--device", "cpu"]
    words = ["run", "--method", "drawing", *data, "--protocol", str(root / "small.json"), "--out", str(tmp_path)]
    assert main([*words, "--seeds", "0,4,7", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["scores"]["psnr/mask/raw"]["deviation"] == pytest.approx(found.deviation)
    assert main([*words, "--seeds", "0,4,7"]) == 0
    assert "over seeds" in capsys.readouterr().out


def test_a_method_that_does_not_draw_runs_once_and_has_no_spread(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = run_seeds(request(root), [0, 1, 2], tmp_path)
    assert [run.folder.name for run in runs] == ["seed-0"]
    assert "opencv-telea draws no random numbers" in capsys.readouterr().err
    assert set(spreads([run.summary for run in runs]).values()) == {None}
    twice = Run(runs[0].folder).summary
    (section,) = sections([twice, replace(twice, seed=1)])
    assert OVER_SEEDS not in tables_of(section)[0].head


@pytest.mark.parametrize("seeds", [[], [1], [1, 1]])
def test_seeds_must_be_several_and_different(seeds: list[int], root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least two different seeds"):
        run_seeds(request(root), seeds, tmp_path)
    with pytest.raises(UsageError, match="exclude each other"):
        run_seeds(request(root, seed=3), [0, 1], tmp_path)


def test_values_that_are_missing_do_not_count() -> None:
    assert spread([1.0, None]) is None
    assert spread([1.0, None, 3.0, float("inf")]) == (2, pytest.approx(2**0.5), 1, 3, 2)
