"""Check a submission: compute again what can be computed, and name what does not follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.board.record_rows import check_identity, check_size, read_rows_of, rows_beside
from benchmark.board.records import interval_of_time, portable, read_record, safe_name
from benchmark.datasets import DataSet
from benchmark.metrics import METRICS, open_metric
from benchmark.protocol import json_in
from benchmark.runner.follows import contradictions
from benchmark.runner.summary import Summary
from benchmark.submissions.folder import MANIFEST, OUTPUTS, RECORD, ROWS, Submission
from benchmark.submissions.rescore import rescore
from olrd.arrays import decode_photo
from olrd.errors import IntegrityError, OlrdError, Rejected, SourceError, UsageError
from olrd.storage.files import file_name_of, read_regular, sha256
from olrd.trust import counted, one_line, shown

SAME = ("cluster", "width", "height", "mask_share", "category", "background")
"""Columns that the dataset decides: equal in all rows of one sample under one protocol."""


@dataclass
class Findings:
    """What the check of one submission found.

    Attributes:
        folder: the submission.
        problems: what does not follow; empty if everything holds.
        notes: what could not be checked, and why.
    """

    folder: Path
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"folder": str(self.folder), "problems": self.problems, "notes": self.notes}


def verify(folder: Path, board: Path | None = None, data: DataSet | None = None, device: str = "cpu") -> Findings:
    """Check a submission.

    Args:
        folder: the submission.
        board: compare the samples with those of this board's records too.
        data: the dataset of the run; the pictures are scored again.
        device: for metrics that run a network.

    Raises:
        SourceError: the folder holds no submission.
        UsageError: it cannot be scored again on `data`: it has no pictures, or was made on other data.
    """
    findings = Findings(folder)
    try:
        submission = Submission(folder)
        findings.problems += _files(submission)
        if not findings.problems:
            _check(submission, board, findings)
        if data is not None and not findings.problems:
            findings.problems += rescore(submission, data, device)
        findings.notes += _notes(submission, scored_again=data is not None)
    except (SourceError, UsageError):
        raise
    except OlrdError as error:
        findings.problems.append(str(error))
    return findings


def _check(submission: Submission, board: Path | None, findings: Findings) -> None:
    """Everything about the content, once the files are those of the manifest."""
    record, rows = submission.record, submission.folder / ROWS
    check_size(rows)
    check_identity(record, rows)
    frame = read_rows_of(record, rows)
    findings.problems += contradictions(record, frame)
    findings.problems += _record(submission)
    if not findings.problems:
        findings.problems += _interval(record, frame)
    findings.problems += _hashes(frame)
    findings.problems += _pictures(submission, frame)
    if board is not None:
        findings.problems += against(record, frame, board)


def _files(submission: Submission) -> Iterator[str]:
    """Files that are missing, changed or not listed."""
    folder, listed = submission.folder, submission.manifest.files
    for name, entry in listed.items():
        try:
            data = read_regular(folder / name, folder)
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
            continue
        if sha256(data) != entry.sha256 or len(data) != entry.bytes:
            yield f"{name} is not the file that {MANIFEST} lists: its sha256 is {sha256(data)[:12]}..., expected " + (
                f"{shown(entry.sha256[:12])}..."
            )
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted(there - listed.keys() - {MANIFEST}):
        yield f"{shown(name)} is not listed in {MANIFEST}"


def _record(submission: Submission) -> Iterator[str]:
    """What the record says of itself, of its protocol and of its metrics."""
    record = submission.record
    if portable(record) != record.__class__.from_json(record.to_json(), RECORD):
        yield f"{RECORD} names a folder of a machine: pack the run again with `benchmark submit`"
    raw = json_in(submission.folder / RECORD)["protocol"]
    settings = {name: value for name, value in raw.items() if name != "id"}
    digest = sha256(json.dumps(settings, sort_keys=True).encode())[:8]
    expected = f"{record.protocol.name}-{record.protocol.version}-{digest}"
    if record.protocol_id != expected:
        yield f"protocol.id is {shown(record.protocol_id)}, its settings give {expected}"
    environment = submission.manifest.environment
    for name, said, found in (
        ("git", environment.git, record.git),
        ("device", environment.device, record.method.device),
        ("versions", dict(environment.versions), dict(record.versions)),
    ):
        if said != found:
            yield f"environment.{name} in {MANIFEST} is {shown(said)}, {RECORD} has {shown(found)}"
    for name, said_of in record.metrics.items():
        if name not in METRICS.names():
            continue
        try:
            info = open_metric(name, "cpu").info
        except OlrdError:
            continue
        if info.revision != said_of.revision:
            continue
        for part in (
            "higher_is_better",
            "unit",
        ):  # the definition is a text; the revision says whether it is another one
            if getattr(info, part) != getattr(said_of, part):
                yield f"metrics.{name}.{part} is {shown(getattr(said_of, part))}, revision {info.revision} has " + (
                    shown(getattr(info, part))
                )


def _interval(record: Summary, frame: pd.DataFrame) -> Iterator[str]:
    """The interval of the median time."""
    found = interval_of_time(record, frame)
    said = None if record.times.interval is None else list(record.times.interval)
    if (said is None) != (found is None) or not np.allclose(said or [], found or [], rtol=1e-6, atol=2e-6):
        yield f"times.interval is {shown(said)}, the rows give {shown(found)}"


def _hashes(frame: pd.DataFrame) -> Iterator[str]:
    for row in frame[frame.status == "ok"].itertuples():
        if not isinstance(row.output_sha256, str) or len(row.output_sha256) != 64:
            yield f"the row {shown(row.id)} has no sha256 of its output"


def _pictures(submission: Submission, frame: pd.DataFrame) -> Iterator[str]:
    """Saved outputs that are missing, or are not those that were scored."""
    if not submission.outputs:
        return
    good = frame[frame.status == "ok"]
    expected = {f"{OUTPUTS}/{file_name_of(row.id)}.webp": row for row in good.itertuples()}
    for name in sorted(set(submission.outputs) - expected.keys()):
        yield f"{shown(name)} is the picture of no row"
    for name, row in expected.items():
        if name not in submission.manifest.files:
            yield f"{shown(name)} is missing: either all pictures are in a submission, or none"
            continue
        try:
            pixels = decode_photo(read_regular(submission.folder / name, submission.folder), name).pixels
        except (OSError, Rejected, IntegrityError) as error:
            yield f"{shown(name)} cannot be read: {one_line(str(error))}"
            continue
        if sha256(np.ascontiguousarray(pixels).data) != row.output_sha256:
            yield f"{shown(name)} is not the picture that was scored: the sha256 of its pixels is another"


def against(record: Summary, frame: pd.DataFrame, board: Path) -> Iterator[str]:
    """Where the samples differ from those of a board's records.

    A board that knows the dataset refuses another fingerprint of it, and rows whose samples, source photos, sizes or
    masks are not those that others had.
    """
    known: dict[str, list[Path]] = {}
    for path in sorted((board / "results" / safe_name(record.dataset.name)).glob("*/*/*.json")):
        other = read_record(path)
        if other.dataset.name == record.dataset.name:
            known.setdefault(other.dataset.fingerprint, [])
            if other.protocol_id == record.protocol_id and rows_beside(path).is_file():
                known[other.dataset.fingerprint].append(path)
    if known and record.dataset.fingerprint not in known:
        yield (
            f"{record.dataset.name} has the fingerprint {shown(record.dataset.fingerprint)}, this board has "
            f"{', '.join(sorted(known))}: its samples are not the board's. Build the dataset from the board's recipes"
        )
        return
    for path in known.get(record.dataset.fingerprint, [])[:1]:
        other = read_record(path)
        yield from _same_samples(frame, read_rows_of(other, rows_beside(path)), path, record, other)


def _same_samples(
    ours: pd.DataFrame, theirs: pd.DataFrame, path: Path, record: Summary, other: Summary
) -> Iterator[str]:
    left, right = ours.set_index("id"), theirs.set_index("id")
    complete = other.dataset.n == other.dataset.total
    if complete and (unknown := [name for name in left.index if name not in right.index]):
        yield f"the sample {shown(unknown[0])} is not one of {path} ({counted(len(unknown), 'such sample')})"
    if record.dataset.n == record.dataset.total and (lost := [name for name in right.index if name not in left.index]):
        yield f"the sample {shown(lost[0])} of {path} has no row ({counted(len(lost), 'such sample')})"
    shared = left.index.intersection(right.index)
    left, right = left.loc[shared], right.loc[shared]
    read = left.mask_share.notna() & right.mask_share.notna()  # rows of samples that could not be read have no sizes
    for name in SAME:
        one, two = left.loc[read, name], right.loc[read, name]
        same = (
            np.isclose(one, two, rtol=1e-9) if name == "mask_share" else (one.fillna("") == two.fillna("")).to_numpy()
        )
        if not same.all():
            first = one.index[~same][0]
            yield (
                f"{name} of the sample {shown(first)} is {shown(one[first])}, in {path} {shown(two[first])} "
                f"({counted(int((~same).sum()), 'such sample')})"
            )


def _notes(submission: Submission, scored_again: bool) -> Iterator[str]:
    """What cannot be checked."""
    record = submission.record
    if not submission.outputs:
        yield "the hashes of the outputs: the pictures are not in the submission (`benchmark submit --outputs`)"
    if not scored_again:
        yield "that the scores are those of the pictures: it takes the pictures and the dataset (--dataset, --root)"
    if record.sets and not scored_again:
        names = ", ".join(sorted({name.partition("/")[0] for name in record.sets}))
        yield f"the scores of the whole set ({names}), for the same reason"
    if not record.git:
        yield "the code: the record has no git revision"
