"""A track: one undisturbed run and one run per disturbance, and what each disturbance changes.

    OUT/none/               the undisturbed run
    OUT/erode-4/            the run with the disturbance erode:4
    OUT/robustness.html     curves and tables (`benchmark.robustness.page`), with .md and .csv beside it

Every folder holds an ordinary run: a track that was interrupted continues, and a finished run is opened and not made
again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.board.compare import compare
from benchmark.board.ranking import Cell, Column, cell_of, columns_of
from benchmark.disturbances import AGREEMENT, KINDS, OVERLAP, Disturbance, EmptiedMaskError, parsed
from benchmark.runner.inputs import Inputs, open_inputs, with_disturbance
from benchmark.runner.request import Request
from benchmark.runner.results import Run, read_samples
from benchmark.runner.run import AllFailedError, run
from benchmark.runner.summary import Summary
from olrd.engines import EngineSpec
from olrd.errors import OutputError, UsageError
from olrd.progress import say
from olrd.storage.files import file_name_of

PLAIN = "none"
"""The folder of the undisturbed run, and its name in tables."""


class Change(NamedTuple):
    """A score of a disturbed run, and its difference to the undisturbed run.

    Attributes:
        score: over all samples that have a value.
        mean, low, high: the mean difference, disturbed - undisturbed, over the samples that have a value in both runs,
            with its 95 % interval over source photos. None for scores of whole sets.
        n, photos: samples and source photos of the difference.
    """

    score: Cell
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    photos: int = 0


class Point(NamedTuple):
    """What one disturbance does.

    Attributes:
        disturbance: None for the undisturbed run.
        n: samples that were scored.
        emptied: samples whose mask lost its last pixel. They have no score.
        failed: samples that failed for another reason.
        likeness: how much the given mask or map resembles the exact one, on average: intersection over union of the
            masks, or the share of equal pixels of the maps; None if there is nothing to compare.
        changes: by column, e.g. `psnr/mask/raw`.
    """

    disturbance: Disturbance | None
    n: int
    emptied: int
    failed: int
    likeness: float | None
    changes: dict[str, Change]

    @property
    def name(self) -> str:
        """`none` or `erode:4`."""
        return self.disturbance.spelled if self.disturbance else PLAIN


@dataclass(frozen=True)
class Track:
    """The results of a track.

    Attributes:
        plain: summary of the undisturbed run.
        columns: the scores, in the order of a leaderboard.
        points: the undisturbed run, then the disturbances.
        left_out: what the track does not hold, and why, as sentences.
    """

    plain: Summary
    columns: tuple[Column, ...]
    points: tuple[Point, ...]
    left_out: tuple[str, ...]

    @property
    def changed(self) -> list[Column]:
        """The scores that have a change in some point."""
        return [one for one in self.columns if any(p.changes[one.name].mean is not None for p in self.points)]


def folder_of(request: Request) -> Path:
    """Where a track goes unless a folder is named."""
    usual = request.folder
    return usual.with_name(f"{usual.name}-robustness")


def chosen(texts: Sequence[str]) -> list[Disturbance]:
    """The disturbances that `--disturb` names: `erode:4`, or `erode` for all its usual levels. All kinds without one.

    Raises:
        UsageError: one is unknown, or named twice.
    """
    found: list[Disturbance] = []
    for text in texts or KINDS:
        usual = KINDS[text].levels if text in KINDS else ()
        found += [Disturbance(text, level) for level in usual] or [parsed(text)]
    twice = [one.spelled for one, count in Counter(found).items() if count > 1]
    if twice:
        raise UsageError(f"the disturbance {twice[0]} is named twice")
    return found


class Plan(NamedTuple):
    """What a track will run. wanted: the disturbances. left_out: why others are not run, as sentences."""

    inputs: Inputs
    wanted: list[Disturbance]
    left_out: list[str]


def plan(request: Request, texts: Sequence[str] = ()) -> Plan:
    """Open everything and choose the disturbances.

    Disturbances of the panoptic map are left out for methods and data without maps, unless they are asked for by name.

    Raises:
        UsageError: a disturbance is unknown, or does not fit the method or the data.
    """
    wanted = chosen(texts)
    if request.disturbance:
        raise UsageError("a track makes its own disturbances: name them with --disturb")
    inputs = open_inputs(request)
    left_out = []
    if not texts and "panoptic" not in (inputs.identity.hints or ()):
        taken = "panoptic" in inputs.eraser.info.wants
        why = f"{inputs.data.name} has no maps" if taken else f"{inputs.eraser.info.name} takes no map"
        left_out.append(f"Disturbed panoptic maps are left out: {why}.")
        wanted = [one for one in wanted if not one.of_map]
    for one in wanted:
        with_disturbance(inputs, one)  # refused before anything is run
    return Plan(inputs, wanted, left_out)


def track(
    request: Request, texts: Sequence[str] = (), out: Path | None = None, engine: EngineSpec | None = None
) -> Track:
    """Make a track, or continue an interrupted one.

    Args:
        request: what to run, without a disturbance.
        texts: the disturbances, as `chosen` reads them.
        out: the folder; by default `folder_of(request)`.
        engine: where to erase; by default in this process.

    Raises:
        OlrdError: what `benchmark.runner.run.run` raises.
        OutputError: `out` is the folder of a run.
    """
    out = folder_of(request) if out is None else out
    planned = plan(request, texts)
    if (out / "run.json").exists():
        raise OutputError(f"{out} is the folder of a run; a track needs another folder: give another --out")
    total = len(planned.wanted) + 1
    say(f"1 of {total}: undisturbed")
    plain = run(request, out / PLAIN, engine, planned.inputs)
    columns = columns_of(plain.summary)[0]
    points = [_plain_point(plain.summary, columns)]
    for number, one in enumerate(planned.wanted, start=2):
        say(f"{number} of {total}: {one.text}")
        disturbed = replace(request, disturbance=one.spelled)
        folder = out / file_name_of(one.spelled.replace(":", "-"))
        try:
            done = run(disturbed, folder, engine, with_disturbance(planned.inputs, one))
        except AllFailedError as error:
            points.append(_nothing(one, folder, columns))
            say(str(error))
            continue
        points.append(_point(one, done, plain, columns))
    return Track(plain.summary, columns, tuple(points), tuple(planned.left_out))


def _plain_point(summary: Summary, columns: Sequence[Column]) -> Point:
    changes = {column.name: Change(cell_of(summary, column.name)) for column in columns}
    return Point(None, summary.n, 0, summary.n_failed, None, changes)


def _point(one: Disturbance, done: Run, plain: Run, columns: Sequence[Column]) -> Point:
    summary = done.summary
    per_sample = [column.name for column in columns if column.name in summary.scores]
    table = compare(done, plain, per_sample).set_index("score")
    changes = {}
    for column in columns:
        cell = cell_of(summary, column.name)
        if column.name not in table.index:
            changes[column.name] = Change(cell)
            continue
        row = table.loc[column.name]
        mean, low, high = (_number(row[name]) for name in ("mean", "low", "high"))
        changes[column.name] = Change(cell, mean, low, high, int(row["n"]), int(row["clusters"]))
    emptied = _emptied(summary.failures)
    likeness = summary.facts.get(AGREEMENT if one.of_map else OVERLAP)
    return Point(one, summary.n, emptied, summary.n_failed - emptied, likeness, changes)


def _nothing(one: Disturbance, folder: Path, columns: Sequence[Column]) -> Point:
    """The point of a run in which every sample failed."""
    reasons = Counter(read_samples(folder).reason)
    emptied = _emptied(reasons)
    changes = {column.name: Change(Cell(None, note="every sample failed")) for column in columns}
    return Point(one, 0, emptied, reasons.total() - emptied, None, changes)


def _emptied(reasons: Mapping[str, int]) -> int:
    return sum(count for reason, count in reasons.items() if reason.startswith(f"{EmptiedMaskError.__name__}:"))


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
