"""Score the pictures of a submission again, and compare with its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from benchmark.board.record_rows import read_rows_of
from benchmark.datasets import DataSet
from benchmark.runner.aggregate import set_scores
from benchmark.runner.summary import SetSummary
from benchmark.scoring import Metrics, open_metrics, prepared, score
from benchmark.submissions.folder import OUTPUTS, ROWS, Submission
from olrd.arrays import decode_photo
from olrd.errors import IntegrityError, UsageError
from olrd.progress import progress_bar
from olrd.storage.files import file_name_of, read_regular
from olrd.trust import shown

RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Differences up to which two scores of one picture are equal. Networks sum in another order on another processor; the
scores of all other metrics are equal to about 1e-9."""


def rescore(submission: Submission, data: DataSet, device: str = "cpu") -> Iterator[str]:
    """Score every picture of a submission again, also those of the whole set.

    Args:
        submission: one whose files and hashes were checked.
        data: the dataset of the run.
        device: for metrics that run a network.

    Yields:
        Scores that differ from the rows or from the record, each with both values.

    Raises:
        UsageError: the submission has no pictures, or the dataset is another one.
        OlrdError: a metric lacks its weights.
    """
    record = submission.record
    if not submission.outputs:
        raise UsageError(f"{submission.folder} has no pictures to score again: they are packed with --outputs")
    if data.fingerprint != record.dataset.fingerprint:
        raise UsageError(
            f"the dataset {data.name} has the fingerprint {data.fingerprint}, {submission.folder} was made on "
            f"{shown(record.dataset.fingerprint)}: give --dataset, --root and --data-option of that run"
        )
    metrics = open_metrics(record.protocol, device)
    revisions = {info.name: info.revision for info in metrics.infos()}
    if revisions != record.metric_revisions:
        raise UsageError(
            f"{submission.folder} was scored with {record.metric_revisions}, this version has {revisions}: use the "
            f"revision of the code that made it ({record.git or 'not recorded'})"
        )
    frame = read_rows_of(record, submission.folder / ROWS)
    yield from _rows(submission, data, metrics, frame)


def _rows(submission: Submission, data: DataSet, metrics: Metrics, frame: pd.DataFrame) -> Iterator[str]:
    record, numbers = submission.record, {name: k for k, name in enumerate(data.ids())}
    features: dict[str, list[np.ndarray]] = {}
    good = frame[frame.status == "ok"]
    with progress_bar(f"scoring {record.method.name} again", len(good)) as bar:
        for row in good.to_dict("records"):
            if row["id"] not in numbers:
                yield f"the sample {shown(row['id'])} is not in the dataset"
                continue
            sample = prepared(data.sample(numbers[row["id"]]), record.protocol)
            name = f"{OUTPUTS}/{file_name_of(row['id'])}.webp"
            try:
                pixels = decode_photo(read_regular(submission.folder / name, submission.folder), name).pixels
            except OSError as error:
                raise IntegrityError(f"{submission.folder / name} cannot be read: {error.strerror}") from error
            scored = score(sample, pixels, metrics, record.protocol)
            if sample.cluster != row["cluster"]:
                yield f"the sample {shown(row['id'])} is of the source photo {shown(sample.cluster)}, the row says " + (
                    shown(row["cluster"])
                )
            for column, value in scored.values.items():
                if not same_score(row.get(column), value):
                    yield f"{column} of {shown(row['id'])} is {row.get(column)}, scored again {value}"
            for key, values in scored.features.items():
                features.setdefault(key, []).append(values)
            bar.update()
    if metrics.sets:
        yield from _sets(record.sets, set_scores(metrics, features, good, record.protocol.seed))


def _sets(said: Mapping[str, SetSummary], found: Mapping[str, SetSummary]) -> Iterator[str]:
    for name, computed in found.items():
        if name not in said:
            yield f"sets lacks {name}"
            continue
        for part in ("value", "low", "high"):
            old, new = getattr(said[name], part), getattr(computed, part)
            if not same_score(old, new):
                yield f"sets.{name}.{part} is {old}, scored again {new}"


def same_score(said: float | None, found: float | None) -> bool:
    """Whether two scores of one picture are equal, up to what networks differ between processors. NaN is no score."""
    left, right = (None if one is None or math.isnan(one) else one for one in (said, found))
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
