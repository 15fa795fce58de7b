"""A run: one method, one dataset, one protocol, on any engine.

Rows are written a few at a time. A run that was interrupted continues from the rows on the disk and ends with the same
rows as an undisturbed one; only times differ.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.runner.aggregate import summarise
from benchmark.runner.evaluator import PART, ChunkEvaluator, Evaluator
from benchmark.runner.inputs import open_inputs
from benchmark.runner.request import Request
from benchmark.runner.results import Run, read_rows, read_samples, write_rows
from benchmark.runner.summary import RunIdentity
from benchmark.scoring import score_columns
from olrd.engines import EngineSpec, open_engine
from olrd.errors import IntegrityError, OutputError
from olrd.progress import progress_bar, say
from olrd.storage.files import to_json, write_atomic
from olrd.storage.locks import locked
from olrd.trust import printable


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do, as plain JSON values: the identity of the run and its score columns."""
    inputs = open_inputs(request)
    return inputs.identity.to_json() | {"columns": score_columns(inputs.metrics)}


def run(request: Request, out: Path | str, engine: EngineSpec | None = None) -> Run:
    """Make a run, or continue an interrupted one. A finished run is opened and not made again.

    Args:
        request: what to run.
        out: folder of the run.
        engine: where to erase; by default in this process. Every worker opens its own eraser.

    Raises:
        OlrdError: something is missing or does not fit; raised before anything is erased.
        OutputError: `out` holds another run, or other files.
    """
    out, engine = Path(out), engine or EngineSpec()
    inputs = open_inputs(request)
    info, columns = inputs.eraser.info, score_columns(inputs.metrics)
    crew = open_engine(replace(engine, gpu=info.device.startswith("cuda")))
    with locked(out):
        rows = {row["id"]: row for row in _begun(out, inputs.identity)}
        if (out / "summary.json").is_file() and not is_empty(out / "summary.json"):
            shutil.rmtree(out / "parts", ignore_errors=True)
            return Run(out)
        evaluator = Evaluator(inputs, out, request.save)
        rows = {name: row for name, row in rows.items() if evaluator.holds(row)}
        todo = [index for index, name in enumerate(inputs.ids) if name not in rows]
        if engine == EngineSpec():
            parts = evaluator.parts(todo, request.batch)  # one loop over all samples: no wait between chunks
        else:
            size = max(PART, request.batch)
            tasks = [(todo[k : k + size], request.batch) for k in range(0, len(todo), size)]
            parts = crew.run(ChunkEvaluator(request, str(out), inputs.identity), tasks)
        started = time.perf_counter()
        with progress_bar(f"{info.name} on {inputs.data.name}", len(inputs.ids), initial=len(rows)) as bar:
            for part in parts:
                rows |= {row["id"]: row for row in part}
                bar.update(len(part))
        write_rows(out / "samples.parquet", [rows[name] for name in inputs.ids], columns)
        summary = summarise(read_samples(out), inputs, request, evaluator.features(), started)
        write_atomic(out / "summary.json", to_json(summary.to_json()))
        shutil.rmtree(out / "parts", ignore_errors=True)
    return Run(out)


def _begun(out: Path, identity: RunIdentity) -> list[dict[str, Any]]:
    """Begin a run in `out`, or find the rows of an interrupted one. Raises `OutputError` if `out` holds another run."""
    mark = out / "run.json"
    if mark.exists() and not is_empty(mark):
        if RunIdentity.read(mark) != identity:
            raise OutputError(
                f"{out} holds another run (method, options, device, data or protocol differ): give another --out"
            )
    else:
        # Hidden files are the lock, and half-written files that a kill leaves.
        ours = {"parts", "run.json"}
        strangers = sorted(p.name for p in out.iterdir() if not p.name.startswith(".") and p.name not in ours)
        strangers += sorted(f"parts/{p.name}" for p in (out / "parts").glob("[!.]*"))
        if strangers:
            raise OutputError(f"{out} is not empty and holds no run: {strangers[:3]}")
        write_atomic(mark, to_json(identity.to_json()))
    (out / "parts").mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    for path in sorted((out / "parts").glob("*.parquet")):
        try:
            rows += read_rows(path)
        except IntegrityError as error:
            say(f"{printable(str(error))}; its samples are erased again")
            path.unlink()
    return rows


def is_empty(path: Path) -> bool:
    """Whether a file was created and never filled: a power cut can leave one."""
    return path.is_file() and path.stat().st_size == 0
