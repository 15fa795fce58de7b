"""A run: one method, one data set, one protocol, on any engine.

Rows are written a few at a time, so a run that was cut off goes on where it stopped and ends with the
same rows, times apart.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.runner.aggregate import summarise
from benchmark.runner.evaluator import PART, Evaluator, erase_chunk, start_worker
from benchmark.runner.request import Request, open_inputs
from benchmark.runner.results import read_rows, write_rows
from benchmark.scoring import score_columns
from olrd.engines import EngineSpec, open_engine
from olrd.errors import OutputError
from olrd.progress import progress_bar
from olrd.storage.files import to_json, write_atomic
from olrd.storage.locks import locked


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do."""
    found = open_inputs(request)
    return found.identity | {"columns": score_columns(found.metrics)}


def run(request: Request, out: Path | str, engine: EngineSpec | None = None) -> dict[str, Any]:
    """Run, or finish running; returns the summary. Raises before any work if something is missing.

    engine: what erases; without it, this process. With more workers each opens the eraser anew.
    """
    out, engine = Path(out), engine or EngineSpec()
    found = open_inputs(request)
    eraser, metrics, data, protocol, ids, identity = found
    crew = open_engine(replace(engine, gpu=eraser.info.device.startswith("cuda")))
    with locked(out):
        done = _begun(out, identity)
        if (out / "summary.json").is_file():
            shutil.rmtree(out / "parts", ignore_errors=True)
            summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
            return summary
        rows = {row["id"]: row for row in done}
        todo = [index for index, name in enumerate(ids) if name not in rows]
        work, batch = Evaluator(found, out, request.save), max(1, request.batch)
        if engine == EngineSpec():
            parts = work.parts(todo, batch)  # one loop over all: nothing waits between chunks
        else:
            size = max(PART, batch)
            tasks = [(todo[k : k + size], batch) for k in range(0, len(todo), size)]
            parts = crew.run(erase_chunk, tasks, start_worker, (request, str(out), identity))
        started = time.perf_counter()
        with progress_bar(f"{eraser.info.name} on {data.name}", len(ids), initial=len(rows)) as bar:
            for part in parts:
                rows |= {row["id"]: row for row in part}
                bar.update(len(part))
        write_rows(out / "samples.parquet", [rows[name] for name in ids], score_columns(metrics))
        features = work.all_features(ids)
        summary = summarise(out, eraser.info, data, protocol, metrics, features, identity, request)
        summary["times"]["wall_seconds"] = round(time.perf_counter() - started, 3)
        write_atomic(out / "summary.json", to_json(summary))
        shutil.rmtree(out / "parts", ignore_errors=True)
    return summary


def _begun(out: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an earlier, cut-off run of the same thing; refuses a folder of another one."""
    mark = out / "run.json"
    if mark.is_file():
        if json.loads(mark.read_text()) != identity:
            raise OutputError(
                f"{out} holds another run (method, options, device, data or protocol differ): give another --out"
            )
    else:
        # Hidden files are the lock, and what a kill leaves of a file half written.
        strangers = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
        if strangers:
            raise OutputError(f"{out} is not empty and holds no run: {strangers[:3]}")
        write_atomic(mark, to_json(identity))
    (out / "parts").mkdir(exist_ok=True)
    return [row for path in sorted((out / "parts").glob("*.parquet")) for row in read_rows(path)]
