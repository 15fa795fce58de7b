"""A run: one method, one dataset, one protocol, on any engine.

Rows are written a few at a time. A run that was interrupted continues from the rows on the disk and ends with the same
rows as an undisturbed one; only times differ. A run in which no sample was scored is not finished: it is made again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.runner.aggregate import summarise
from benchmark.runner.evaluator import PART, ChunkEvaluator, Evaluator, Row
from benchmark.runner.inputs import Inputs, open_inputs
from benchmark.runner.live import LiveLine
from benchmark.runner.request import Request
from benchmark.runner.results import Run, read_samples, write_rows
from benchmark.runner.run_folder import begun, clean_up, finished, has_failed, keep_only, rows_on_disk, unseal
from benchmark.runner.threads import Crew, crew_of, inherited
from olrd.engines import Engine, EngineSpec, open_engine
from olrd.errors import OlrdError, SourceError
from olrd.progress import progress_bar
from olrd.storage.files import to_json, write_atomic
from olrd.storage.locks import locked
from olrd.trust import counted, one_line, printable

REASONS = 3
"""Reasons of failure that an error lists."""
LONGEST = 200
"""Characters of a reason that an error shows."""


class AllFailedError(OlrdError):
    """Every sample of a run failed: there is nothing to score."""


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do, as plain JSON values: the identity of the run and its score columns."""
    inputs = open_inputs(request)
    return inputs.identity.to_json() | {"columns": inputs.columns}


def run(
    request: Request, out: Path | str | None = None, engine: EngineSpec | None = None, inputs: Inputs | None = None
) -> Run:
    """Make a run, or continue an interrupted one. A finished run is opened and not made again.

    Args:
        request: what to run.
        out: folder of the run; by default `request.folder`.
        engine: where to erase; by default in this process. Every worker opens its own eraser.
        inputs: those of the request, if they are open already.

    Raises:
        OlrdError: something is missing or does not fit; raised before anything is erased.
        OutputError: `out` holds another run, or other files.
        AllFailedError: every sample failed. The same call tries all of them again.
    """
    out, engine = Path(request.folder if out is None else out), engine or EngineSpec()
    inputs = inputs or open_inputs(request)
    if not inputs.ids:
        raise SourceError(f"the dataset {inputs.data.name} holds no sample, so there is nothing to run")
    crew = open_engine(replace(engine, gpu=inputs.eraser.info.device.startswith("cuda")))
    if not request.retry_failed and (done := finished(out, inputs.identity)):
        return done  # needs no lock: the folder may be one that only others write
    with locked(out):
        begun(out, inputs.identity)
        if (done := finished(out, inputs.identity)) and not (request.retry_failed and done.has_failures()):
            clean_up(out, done.has_failures())
            return done
        if not done:
            unseal(out)  # what a power cut left empty, or what an older version finished although all samples failed
        evaluator = Evaluator(inputs, out, request.save)
        rows = _kept(out, request, evaluator)
        started = time.perf_counter()
        team = _fill(rows, request, out, engine, crew, evaluator)
        write_rows(out / "samples.parquet", [rows[name] for name in inputs.ids], evaluator.columns)
        _check_some_scored(list(rows.values()), inputs, out)
        summary = summarise(read_samples(out), inputs, request, evaluator.features(), started, team)
        write_atomic(out / "summary.json", to_json(summary.to_json()))
        clean_up(out, any(map(has_failed, rows.values())))
    return Run(out)


def _kept(out: Path, request: Request, evaluator: Evaluator) -> dict[str, Row]:
    """The rows of an earlier attempt that stay, by sample id."""
    rows = [row for row in rows_on_disk(out) if evaluator.holds(row)]
    if request.retry_failed:
        rows = [row for row in rows if not has_failed(row)]
        keep_only(out, rows, evaluator.columns)
    return {row["id"]: row for row in rows}


def _fill(
    rows: dict[str, Row], request: Request, out: Path, engine: EngineSpec, crew: Engine, evaluator: Evaluator
) -> Crew:
    """Erase and score the samples that have no row yet, and add their rows.

    Args:
        rows: by sample id; new ones are added.
        request: what to run.
        out: folder of the run.
        engine, crew: where to erase, and the same opened.
        evaluator: of this process.

    Returns:
        How many processes and threads there were.
    """
    inputs = evaluator.inputs
    todo = [index for index, name in enumerate(inputs.ids) if name not in rows]
    size = max(PART, request.batch)
    tasks = [(todo[k : k + size], request.batch) for k in range(0, len(todo), size)]
    team = crew_of(engine, len(tasks))
    threads = None if team.workers == 1 else team.threads  # one process takes what there is
    label = f"{inputs.eraser.info.name} on {inputs.data.name}"
    with (
        progress_bar(label, len(inputs.ids), initial=len(rows)) as bar,
        inherited(threads) if threads else nullcontext(),
    ):
        live = LiveLine(bar, inputs.protocol, evaluator.columns)
        live.start(list(rows.values()))
        if engine == EngineSpec():  # one loop over all samples: no wait between chunks
            parts = evaluator.parts(todo, request.batch, live.add)
        else:
            parts = _watched(crew.run(ChunkEvaluator(request, str(out), inputs.identity, threads), tasks), live)
        for part in parts:
            rows |= {row["id"]: row for row in part}
    return team


def _watched(parts: Iterator[list[Row]], live: LiveLine) -> Iterator[list[Row]]:
    for part in parts:
        for row in part:
            live.add(row)
        yield part


def _check_some_scored(rows: Sequence[Row], inputs: Inputs, out: Path) -> None:
    """Raise `AllFailedError` if every sample failed. Then the run is not marked as finished, and the next one keeps no
    row."""
    if any(row["status"] == "ok" for row in rows):
        return
    unseal(out)
    clean_up(out, keep_features=False)
    reasons = Counter(printable(one_line(row["reason"]))[:LONGEST] for row in rows).most_common()
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons[:REASONS])
    more = f"; {counted(len(reasons) - REASONS, 'more reason')}" if len(reasons) > REASONS else ""
    raise AllFailedError(
        f"{inputs.eraser.info.name} failed on {'the only sample' if len(rows) == 1 else f'all {len(rows):,} samples'} of "
        f"{inputs.data.name}: {listed}{more}. All reasons are in {out / 'samples.parquet'}. The run is "
        "not finished: correct the cause and run the same command again"
    )
