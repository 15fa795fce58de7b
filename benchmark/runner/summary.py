"""What the JSON files of a run hold: `run.json` describes what is run, `summary.json` the results.

`Run.read` and the leaderboard read these types back. Their field names are the keys of the JSON; `FORMAT`
changes when a field changes its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmark.disturbances import in_words
from benchmark.protocol import Protocol, json_in, parsed
from benchmark.statistics import EARLIER, KINDS
from olrd.errors import IntegrityError, UsageError
from olrd.storage.typed_json import DAMAGED, typed
from olrd.trust import check_values, shown

FORMAT = 1
AGAIN = "make the run again with another --out"


def read_json(file: Path) -> Any:
    """The JSON in a file of a run. Raises `IntegrityError` if it cannot be read."""
    try:
        return json_in(file)
    except IntegrityError as error:
        raise IntegrityError(f"{error}; {AGAIN}") from error


@dataclass(frozen=True)
class MethodIdentity:
    """The eraser. revision: of code and weights together. options: as resolved. device: where it ran."""

    name: str
    revision: str
    device: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetIdentity:
    """The dataset. n: samples that the run was asked for. total: samples that the set has."""

    name: str
    fingerprint: str
    n: int
    total: int


@dataclass(frozen=True)
class RunIdentity:
    """The content of `run.json`: everything that decides the scores of a run. A folder with another one is refused.

    Attributes:
        protocol: id of the protocol.
        metrics: revision of each metric by name.
        saved: whether the pictures are kept.
        hints: what the dataset offers and the eraser uses, e.g. `panoptic`; None if nothing.
        disturbance: what the eraser gets instead of the exact mask or map, e.g. `erode:4`; empty for nothing.
    """

    method: MethodIdentity
    dataset: DatasetIdentity
    protocol: str
    seed: int
    metrics: Mapping[str, str]
    saved: bool
    hints: tuple[str, ...] | None = None
    disturbance: str = ""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read `run.json`. Raises `IntegrityError` if it is damaged."""
        return typed(cls, read_json(file), file)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        if self.hints is None:
            del values["hints"]
        else:
            values["hints"] = list(self.hints)
        if not self.disturbance:
            del values["disturbance"]
        return values


@dataclass(frozen=True, kw_only=True)
class MethodSummary(MethodIdentity):
    """The eraser, with what a table must say about it: its licence, and whether it is a control."""

    control: bool
    license: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetSummary(DatasetIdentity):
    """The dataset, with the warnings that every table of its results shows."""

    warnings: tuple[str, ...]


@dataclass(frozen=True)
class MetricSummary:
    """What a metric said of itself when the run was made (see `benchmark.metrics.MetricInfo`)."""

    revision: str
    higher_is_better: bool
    unit: str = ""
    definition: str = ""


@dataclass(frozen=True)
class ScoreSummary:
    """A score per sample, over the samples.

    Attributes:
        mean: over the samples that have a value; None if there are none.
        low, high: its 95 % interval; None below ten source photos.
        n: samples with a value.
        clusters: source photos among them.
        without: number of samples without a value, by reason.
        no_interval: why a mean has no interval (`benchmark.statistics.why_no_interval` has the words). The file has it
            only if there is a reason.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    without: Mapping[str, int] = field(default_factory=dict)
    no_interval: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return without_empty_reason(asdict(self))


@dataclass(frozen=True)
class SetSummary:
    """A score of the whole set, as `ScoreSummary`. reason: why there is no value, or what limits it.

    Runs from before set scores had intervals lack `low`, `high` and `clusters`; clusters is None for them.
    """

    value: float | None
    n: int
    reason: str
    low: float | None = None
    high: float | None = None
    clusters: int | None = None
    no_interval: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; those of an old run have no interval."""
        values = without_empty_reason(asdict(self))
        if self.clusters is None:
            for name in ("low", "high", "clusters"):
                del values[name]
        return values


def without_empty_reason(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out `no_interval` if it is empty, as in files from before it."""
    return {name: value for name, value in values.items() if name != "no_interval" or value}


@dataclass(frozen=True)
class RequestSummary:
    """What the run was asked for, where the identity does not say it."""

    limit: int | None = None
    batch: int = 1
    dataset: str = ""
    protocol: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Times:
    """Seconds per image, the wall time in seconds, the peak memory in MiB, and what they were measured with.

    Attributes:
        peak_mb: largest memory that the eraser needed in a call; None on a CPU, where it is not known.
        wall_seconds: of the last start; a run that was interrupted took longer.
        interval: of the median; only the records of a leaderboard have it.
        workers, threads: processes, and threads of the libraries in each; None if not known.
    """

    median_seconds: float | None
    mean_seconds: float | None = None
    peak_mb: float | None = None
    wall_seconds: float | None = None
    interval: tuple[float, ...] | None = None
    workers: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Summary:
    """The content of `summary.json` (docs/benchmark.md and docs/comparing.md define the numbers).

    Attributes:
        protocol_id: as stored. The id of `protocol` differs from it if the file was edited.
        n: samples that were scored.
        failures: number of failed samples by reason.
        scores: by column, e.g. `psnr/mask/raw`.
        sets: scores of the whole set by column, e.g. `fid/raw`.
        facts: means of the numbers that the samples carry.
        warnings: signs that the eraser did not work, e.g. flat outputs. The file has them only if there are some.
        disturbance: what the eraser got instead of the exact mask or map, e.g. `erode:4`; empty for nothing. Only
            disturbed runs have it in the file.
        versions: Python and the packages that decide the numbers.
        intervals: the kind of the intervals of the scores, one of `benchmark.statistics.KINDS`. Files from before it have
            the earlier kind.
        git: commit of the code; empty if not known.
    """

    method: MethodSummary
    dataset: DatasetSummary
    protocol: Protocol
    protocol_id: str
    metrics: Mapping[str, MetricSummary]
    seed: int
    n: int
    n_failed: int
    scores: Mapping[str, ScoreSummary]
    sets: Mapping[str, SetSummary]
    times: Times
    failures: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    disturbance: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    intervals: str = EARLIER
    git: str = ""
    request: RequestSummary = field(default_factory=RequestSummary)

    @classmethod
    def from_json(cls, values: Any, file: Path | str) -> Self:
        """Read the JSON of a summary or of a leaderboard's record.

        Raises:
            IntegrityError: another format, or a field is missing or wrong. The message names `file` and the field.
        """
        _check_format(values, file)
        check_values(values, file)
        protocol = values.get("protocol")
        if not isinstance(protocol, dict) or not isinstance(protocol.get("id"), str):
            raise IntegrityError(f"{file} lacks protocol.id: {DAMAGED}")
        try:
            settings = parsed(protocol, str(file))
        except UsageError as error:
            raise IntegrityError(f"{error} ({DAMAGED})") from error
        found = typed(cls, values, file, {"protocol": settings, "protocol_id": protocol["id"]})
        if len(found.times.interval or (0, 0)) != 2:
            raise IntegrityError(f"{file}: times.interval holds {len(found.times.interval or ())} numbers, expected 2")
        if found.intervals not in KINDS:
            raise IntegrityError(
                f"{file}: intervals is {shown(found.intervals)}, this version knows {', '.join(KINDS)}: the file was "
                "written by a newer version (update this package), or it is damaged"
            )
        intervals = {name: (one.low, one.high) for name, one in found.scores.items()}
        intervals |= {name: (one.low, one.high) for name, one in found.sets.items()}
        for name, (low, high) in intervals.items():
            if (low is None) != (high is None) or (low is not None and high is not None and low > high):
                raise IntegrityError(f"{file}: {shown(name)} has the interval {low} to {high}: {DAMAGED}")
        counts = {"n": found.n, "n_failed": found.n_failed}
        counts |= {"dataset.n": found.dataset.n, "dataset.total": found.dataset.total}
        for name, count in counts.items():
            if count < 0:
                raise IntegrityError(f"{file}: {name} is {count}, expected at least 0: {DAMAGED}")
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `summary.json` holds them."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        del values["protocol_id"], values["times"]["interval"]
        for name in ("workers", "threads"):
            if values["times"][name] is None:  # runs of older versions do not say it
                del values["times"][name]
        for name in ("warnings", "disturbance"):
            if not values[name]:
                del values[name]
        values["format"] = FORMAT
        values["protocol"]["id"] = self.protocol_id
        values["scores"] = {name: found.to_json() for name, found in self.scores.items()}
        values["sets"] = {name: found.to_json() for name, found in self.sets.items()}
        if self.intervals == EARLIER:
            del values["intervals"]
        return values

    @property
    def every_warning(self) -> tuple[str, ...]:
        """The warnings of the dataset, and those of this run with the method's name."""
        return (*self.dataset.warnings, *(f"{self.label}: {text}" for text in self.warnings))

    @property
    def label(self) -> str:
        """Method and revision, for tables; of a disturbed run also the disturbance."""
        disturbance = f", {in_words(self.disturbance)}" if self.disturbance else ""
        return f"{self.method.name} ({self.method.revision}){disturbance}"

    @property
    def metric_revisions(self) -> dict[str, str]:
        """The definition and weights of each metric, by name."""
        return {name: info.revision for name, info in sorted(self.metrics.items())}


def _check_format(values: Any, file: Path | str) -> None:
    if not isinstance(values, dict):
        raise IntegrityError(f"{file} is {shown(values)}, expected an object: it is damaged or was edited")
    found = values.get("format")
    if type(found) is int and found == FORMAT:
        return
    newer = isinstance(found, int) and found > FORMAT
    raise IntegrityError(
        f"{file} has format {shown(found)}, this version reads format {FORMAT}: "
        + (
            "it was written by a newer version, update this package"
            if newer
            else "run `benchmark run` again with the same request and add the new run"
        )
    )
