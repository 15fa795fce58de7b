"""What the benchmark reads: protocols, runs, records, submissions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import numpy as np

from olrd.storage.files import sha256
from perf.fuzz.harness import Example
from perf.fuzz.mutate import damaged_bytes, damaged_json
from perf.fuzz.targets.register import NotCleanError, copied, target


@target("protocol")
def protocol(honest: Path, scratch: Path) -> Example:
    """Protocols of the benchmark."""
    from benchmark.protocol import load_protocol
    from benchmark.regions import regions_of

    values = load_protocol(str(honest / "protocol.json")).to_dict()
    bits = np.zeros((40, 50), np.bool_)
    bits[10:20, 10:30] = True

    def example(random: Random) -> None:
        file = scratch / "protocol.json"
        file.write_bytes(damaged_json(values, random))
        found = load_protocol(str(file))
        json.dumps([found.id, found.to_dict()])
        regions_of(bits, found)

    return example


@target("record")
def record(honest: Path, scratch: Path) -> Example:
    """Records of a leaderboard, and the pages that are made from them."""
    from benchmark.board.leaderboard import leaderboard

    board = copied(honest, scratch, "board")
    (file,) = (board / "results").rglob("*.json")
    values = json.loads(file.read_text())

    def example(random: Random) -> None:
        file.write_bytes(damaged_json(values, random))
        for page in leaderboard(board):
            if b"<script>alert" in page.read_bytes() and page.suffix not in (".csv", ".tex"):
                raise NotCleanError(f"{page.suffix}: markup of a record is in the page")

    return example


@target("summary")
def summary(honest: Path, scratch: Path) -> Example:
    """Summaries of runs: printed, compared and added to a board."""
    from benchmark.board.compare import compare
    from benchmark.board.records import add_record
    from benchmark.cli.screen import comparison, result
    from benchmark.runner.results import Run

    folder, sound = copied(honest, scratch, "run"), Run(honest / "run")
    file = folder / "summary.json"
    values = json.loads(file.read_text())

    def example(random: Random) -> None:
        file.write_bytes(damaged_json(values, random))
        run = Run(folder)
        result(run, every=True)
        shutil.rmtree(scratch / "board", ignore_errors=True)
        add_record(run, scratch / "board")
        comparison(sound, run, compare(sound, run))

    return example


@target("run-table")
def run_table(honest: Path, scratch: Path) -> Example:
    """The Parquet file of a run."""
    from benchmark.board.compare import compare
    from benchmark.runner.results import Run

    folder, sound = copied(honest, scratch, "run"), Run(honest / "run")
    file = folder / "samples.parquet"
    data = file.read_bytes()

    def example(random: Random) -> None:
        file.write_bytes(damaged_bytes(data, random))
        run = Run(folder)
        run.samples()
        compare(sound, run)

    return example


@target("submission")
def submission(honest: Path, scratch: Path) -> Example:
    """Submissions: one file is damaged, and listed as it is, as a careful forger does."""
    from benchmark.runner.results import Run
    from benchmark.submissions.folder import MANIFEST, RECORD, ROWS
    from benchmark.submissions.submit import submit
    from benchmark.submissions.verify import verify

    folder = submit(Run(honest / "run"), scratch)
    sound = {name: (folder / name).read_bytes() for name in (MANIFEST, RECORD, ROWS)}

    def example(random: Random) -> None:
        for name, data in sound.items():
            (folder / name).write_bytes(data)
        name = random.choice(list(sound))
        data = sound[name]
        damaged = damaged_bytes(data, random) if name == ROWS else damaged_json(json.loads(data), random)
        (folder / name).write_bytes(damaged)
        if name != MANIFEST:
            manifest = json.loads(sound[MANIFEST])
            manifest["files"][name] = {"sha256": sha256(damaged), "bytes": len(damaged)}
            (folder / MANIFEST).write_text(json.dumps(manifest))
        verify(folder)

    return example
