"""What `benchmark run` prints: one screen, nothing twice, every missing value explained, and what to type next."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from seven_pairs import request
from synthetic_records import TOTAL, record, run_of, score

from benchmark.cli import main
from benchmark.cli.screen import comparison, next_steps, result
from benchmark.metrics import REASONS
from benchmark.runner.request import Request
from benchmark.runner.run import run

PACKAGE = Path(__file__).parents[3] / "benchmark"


def lines_of(summary: dict[str, Any], folder: Path, every: bool = False) -> dict[str, str]:
    """The printed lines by their first word."""
    text = result(run_of(summary, folder), every)
    return {line.split()[0]: line for line in text.splitlines() if line}


def test_the_headline_has_interval_counts_unit_and_direction(tmp_path: Path) -> None:
    lines = lines_of(record("a", 20.0, sets={}), tmp_path)
    assert lines["psnr/mask/raw"].split(maxsplit=6)[1:] == [
        "20.00",
        "19.50",
        "to",
        "20.50",
        "10",
        "10   dB, higher is better",
    ]
    assert lines["lpips-alex/mask/raw"].endswith("lower is better")
    assert lines["change/outside/raw"].endswith("grey levels, lower is better")
    assert not {"psnr/ring/raw", "psnr/full/raw"} & lines.keys()


def test_rows_that_repeat_are_printed_once(tmp_path: Path) -> None:
    summary = record("a", 20.0, sets={})
    text = result(run_of(summary, tmp_path / "same"), every=True)
    assert "raw = composited in every score; each is printed once" in text
    assert "/composited" not in text
    summary["scores"]["change-max/outside/raw"] = score(0.0, 0.0)
    assert "because the method changes nothing outside the mask" in result(run_of(summary, tmp_path / "kept"))
    summary["scores"]["psnr/mask/composited"] = score(21.0)
    lines = lines_of(summary, tmp_path / "other")
    assert "21.00" in lines["psnr/mask/composited"] and "=" not in lines["psnr/mask/raw"]
    assert lines["lpips-alex/mask/raw"].startswith("lpips-alex/mask/raw = composited")
    assert "raw" not in lines


def test_all_prints_every_score(tmp_path: Path) -> None:
    summary = record("a", 20.0)
    short, whole = (result(run_of(summary, tmp_path), every) for every in (False, True))
    for name in ("psnr/ring/raw", "lpips-alex/box/raw", "psnr/full/raw"):
        assert name in whole and name not in short
    assert "add --all" in short and "--all" not in whole
    more = re.search(r"(\d+) more scores", short)
    assert more and len(whole.splitlines()) == len(short.splitlines()) + int(more[1]) - 1


def test_a_missing_value_is_explained_in_words(tmp_path: Path) -> None:
    summary = record("a", 20.0, facts={"drift": 1.5}, n=8, n_failed=2, failures={"ValueError: no": 2})
    summary["dataset"]["warnings"] = ["careful"]
    summary["scores"]["psnr/mask/raw"] = score(None, same=TOTAL)
    summary["scores"]["psnr/mask/composited"] = score(20.0, empty_region=1, **{"failed: E: no": 2})
    summary["sets"]["fid/raw"] = {"value": None, "n": 1, "reason": "too_few; 1 failed: E: no"}
    text = result(run_of(summary, tmp_path), every=True)
    for words in (
        "no value for 10 samples: the output equals the truth",
        "no value for 1 sample: the region is empty; no value for 2 samples: failed: E: no",
        "fewer than two samples have features; 1 failed: E: no",
        "warning: careful",
        "drift: 1.5000 on average",
        "failed: 2 x ValueError: no",
        "2 failed",
    ):
        assert words in text


@pytest.mark.parametrize("stored", [{}, {"no_interval": "too_few_photos"}])
def test_few_photos_have_no_interval_and_the_reason_is_given(stored: dict[str, str], tmp_path: Path) -> None:
    """Also for a run of an earlier version, which stores no reason."""
    summary = record("a", 20.0)
    for found in summary["scores"].values():
        found |= {"low": None, "high": None, "clusters": 6} | stored
    text = result(run_of(summary, tmp_path / "few"))
    assert re.search(r"^psnr/mask/raw .* 20.00   too few photos \(6\) +10 +6   dB", text, re.MULTILINE)
    assert "an interval takes at least 10 source photos" in text
    assert "an interval takes" not in result(run_of(record("a"), tmp_path / "enough"))


def test_many_reasons_of_failure_do_not_fill_the_screen(tmp_path: Path) -> None:
    summary = record("a", n=0, n_failed=TOTAL, failures={f"E: {k}": 1 for k in range(TOTAL)})
    run = run_of(summary, tmp_path)
    text = result(run)
    assert text.count("failed: 1 x") == 5 and "failed: 5 more reasons in summary.json" in text
    first = next_steps(run, Request(method="a", batch=2)).splitlines()[0]
    assert first == f"next   benchmark run --method a --batch 2 --retry-failed --out {tmp_path}"


def test_the_next_command_names_the_newest_run_that_compares(tmp_path: Path) -> None:
    run = run_of(record("a"), tmp_path / "my run")
    again = Request(method="a", root="x y")
    assert next_steps(run, again).splitlines()[0] == "next   benchmark run --method blur-fill --root 'x y'"
    run_of(record("other", protocol__id="q"), tmp_path / "other")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "summary.json").write_text("{")
    assert "benchmark compare" not in next_steps(run, again)
    run_of(record("b"), tmp_path / "b")
    first, second = next_steps(run, again).splitlines()
    assert first == f"next   benchmark compare '{tmp_path}/my run' {tmp_path}/b"
    assert second.split() == ["benchmark", "leaderboard", f"'{tmp_path}/my", "run'"]
    (run.folder / "outputs").mkdir()
    assert f"--root 'x y' --out '{tmp_path}/my run/report'" in next_steps(run, again)


def test_a_comparison_has_interval_p_values_unit_and_direction(tmp_path: Path) -> None:
    a, b = (run_of(record(name), tmp_path / name) for name in ("a", "b"))
    row = {"mean": 1.25, "low": 0.5, "high": 2.0, "p": 0.03125, "n": 10, "clusters": 15, "p_holm": 0.0625}
    row |= {"no_interval": "", "photos_needed": 31.0, "verdict": "not told apart"}
    none = dict.fromkeys(("mean", "low", "high", "p", "p_holm", "photos_needed"))
    none |= {"n": 0, "clusters": 0, "no_interval": "", "verdict": "no value in both"}
    single = row | dict.fromkeys(("low", "high", "p", "p_holm", "photos_needed")) | {"clusters": 1}
    scores = {"psnr/mask/raw": row, "lpips-alex/mask/raw": none, "change/outside/raw": single}
    table = pd.DataFrame([{"score": name} | values for name, values in scores.items()])
    text = comparison(a, b, table)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["A"][1:3] == ["a", "(1),"] and lines["B"][1] == "b"
    shown = ["1.250", "0.500", "to", "2.000", "10", "15", "0.0312", "0.0625", "31"]
    assert lines["psnr/mask/raw"][1:] == [*shown, "not", "told", "apart", "(dB,", "higher", "is", "better)"]
    assert "no sample has a value in both runs" in text
    assert lines["change/outside/raw"][1:11] == ["1.250", "too", "few", "photos", "(1)", "10", "1", "-", "-", "-"]


@pytest.mark.parametrize("words", [[], ["--all"], ["--json"]])
def test_the_command_prints_the_result_of_a_finished_run(
    words: list[str], root: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(plain, tmp_path / "out")
    line = ["run", "--method", "opencv-telea", "--dataset", "pairs", "--root", str(root), "--device", "cpu"]
    line += ["--data-option", "cluster=prefix"] if request(root).data_options else []
    line += ["--protocol", str(root / "small.json"), "--out", str(out), *words]
    assert main(line) == 0
    printed = capsys.readouterr().out
    if words == ["--json"]:
        assert json.loads(printed) == json.loads((plain / "summary.json").read_text())
    else:
        assert len(printed.splitlines()) <= 24 or words == ["--all"]
        assert "next   benchmark run --method blur-fill --dataset pairs --root" in printed
        assert run(request(root), out).summary.label in printed


def test_every_reason_in_the_code_has_words() -> None:
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r'Score\(None, "(\w+)"', text)) | {"not_finite", "empty_region", "full_region"}
    assert named - {"failed"} <= REASONS.keys()
