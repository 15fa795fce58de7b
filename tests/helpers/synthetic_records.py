"""Records of a leaderboard made by hand, and runs and boards that hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmark.board.ranking import Section, sections
from benchmark.board.records import add_record
from benchmark.protocol import Protocol
from benchmark.runner.results import Run, write_rows
from benchmark.runner.summary import Summary

TOTAL = 10


def score(mean: float | None, half: float = 0.5, same: int = 0, **without: int) -> dict[str, Any]:
    """A score as in summary.json; `same` samples equal the truth."""
    reasons = without | ({"identical": same} if same else {})
    bounds = (None, None) if mean is None else (mean - half, mean + half)
    n = TOTAL - sum(reasons.values()) if mean is not None else 0
    return {"mean": mean, "low": bounds[0], "high": bounds[1], "n": n, "clusters": n, "without": reasons}


def record(name: str, psnr: float | None = 20.0, **changes: Any) -> dict[str, Any]:
    """A record with psnr (higher is better), lpips-alex (lower) and fid. `changes`: dotted paths with
    `__` for the dot, e.g. dataset__n=5."""
    same = TOTAL if psnr is None else 0
    scores = {}
    for region in ("full", "mask", "ring", "box", "outside"):
        for mode in ("raw", "composited"):
            scores[f"psnr/{region}/{mode}"] = score(psnr, same=same)
            scores[f"lpips-alex/{region}/{mode}"] = score(0.0 if psnr is None else 1 / psnr, 0.01)
    scores["change/outside/raw"] = score(0.0, 0.0)
    made: dict[str, Any] = {
        "format": 1,
        "method": {"name": name, "revision": "1", "options": {}, "license": "x", "control": False, "device": "cpu"},
        "dataset": {"name": "toy", "fingerprint": "f00d", "n": TOTAL, "total": TOTAL, "warnings": []},
        "protocol": Protocol("p", 1, metrics=("psnr", "lpips-alex", "fid"), bootstrap=100).to_dict()
        | {"id": "p-1-cafe"},
        "metrics": {
            "psnr": {"higher_is_better": True, "unit": "dB", "definition": "d", "revision": "1"},
            "lpips-alex": {"higher_is_better": False, "unit": "", "definition": "d", "revision": "1"},
            "fid": {"higher_is_better": False, "unit": "", "definition": "d", "revision": "1"},
        },
        "seed": 0,
        "n": TOTAL,
        "n_failed": 0,
        "failures": {},
        "scores": scores,
        "sets": {
            "fid/raw": {"value": 31.5, "n": TOTAL, "reason": ""},
            "fid/composited": {"value": 30.5, "n": TOTAL, "reason": ""},
        },
        "facts": {},
        "versions": {},
        "git": "abc",
        "request": {"limit": None, "batch": 1, "dataset": "toy", "options": {}, "protocol": "p"},
        "times": {
            "median_seconds": 0.5,
            "mean_seconds": 0.6,
            "peak_mb": 1.0,
            "wall_seconds": 2.0,
            "interval": [0.4, 0.6],
        },
    }
    for path, value in changes.items():
        *way, last = path.split("__")
        inner = made
        for step in way:
            inner = inner[step]
        inner[last] = value
    return made


def run_of(summary: dict[str, Any], folder: Path) -> Run:
    """A run's folder with this summary."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"{k}", "cluster": f"{k // 2}", "status": "ok", "seconds": 0.1 * (k + 1)} for k in range(TOTAL)]
    write_rows(folder / "samples.parquet", rows, [])
    (folder / "summary.json").write_text(json.dumps(summary))
    return Run(folder)


def summary_of(record: dict[str, Any]) -> Summary:
    """A record as read from its file."""
    return Summary.from_json(record, "made by hand")


def sections_of(*records: dict[str, Any]) -> list[Section]:
    """The sections of records made by hand."""
    return sections(map(summary_of, records))


def board_of(folder: Path, *records: dict[str, Any]) -> Path:
    for k, summary in enumerate(records):
        add_record(run_of(summary, folder / "runs" / str(k)), folder / "board")
    return folder / "board"
