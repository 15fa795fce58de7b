"""The live line of a run: running means of the first scores, and how many samples failed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seven_pairs import STEMS, Scripted, raising, request, samples, use
from tqdm import tqdm

from benchmark.protocol import Protocol
from benchmark.runner import run as runner
from benchmark.runner.live import LiveLine
from benchmark.runner.run import run

COLUMNS = ["psnr/full/raw", "psnr/mask/raw", "whole/full/raw", "change/outside/raw"]


def test_means_are_those_of_the_rows_so_far() -> None:
    bar = tqdm(total=4, file=io.StringIO())
    live = LiveLine(bar, Protocol("p", 1, metrics=("psnr", "fid", "whole")), COLUMNS)
    live.start([{"status": "ok", "psnr/mask/raw": 20.0, "psnr/full/raw": 1.0, "whole/full/raw": None}])
    assert bar.postfix == "psnr/mask 20" and bar.n == 0
    live.add({"status": "ok", "psnr/mask/raw": 25.5, "whole/full/raw": 0.25})
    live.add({"status": "ok", "psnr/mask/raw": float("nan"), "whole/full/raw": 0.5})
    live.add({"status": "failed", "id": "a", "reason": "E: no"})
    assert bar.postfix == "psnr/mask 22.75, whole/full 0.375, 1 failed" and bar.n == 3


def test_a_run_ends_with_the_means_of_all_samples_on_the_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def bar(label: str, total: int, initial: int = 0) -> Any:
        made = tqdm(total=total, desc=label, initial=initial, file=io.StringIO())
        update = made.update
        made.update = lambda n=1: said.append(made.postfix) or update(n)
        return made

    monkeypatch.setattr(runner, "progress_bar", bar)
    use(monkeypatch, Scripted({STEMS[0]: raising(ValueError("no"))}))
    run(request(root), tmp_path / "out")
    rows = samples(tmp_path / "out")
    means = [float(np.nanmean(rows[f"{name}/mask/raw"])) for name in ("psnr", "ssim")]
    assert said[0] == "1 failed" and len(said) == 7
    assert said[-1] == f"psnr/mask {means[0]:.4g}, ssim/mask {means[1]:.4g}, 1 failed"
