"""The loop of a run: read samples, erase, score, write rows.

`Evaluator` goes through samples in one process. Nothing else runs while the eraser does, so its measured time is the
eraser's alone. The next photos are read while outputs are scored. With an engine, every process has a `ChunkEvaluator`, which opens
everything once and handles one chunk of samples after the other.
"""

from __future__ import annotations

import faulthandler
import io
import json
import platform
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.datasets import AlteredError, Sample
from benchmark.disturbances import Both, EmptiedMaskError, disturbed
from benchmark.runner.erasing import HOPELESS, Erased, Meter, doubt_of, erase, wants_maps
from benchmark.runner.inputs import Inputs, open_inputs
from benchmark.runner.request import Request
from benchmark.runner.results import FIXED, write_rows
from benchmark.runner.summary import AGAIN, RunIdentity
from benchmark.runner.threads import limit_threads
from benchmark.scoring import prepared, score
from olrd.arrays import encode_image
from olrd.engines import EngineError
from olrd.errors import IntegrityError, OutputError
from olrd.storage.files import atomic_path, file_name_of, read_regular, sha256, write_atomic

PART = 16
"""Number of rows that are written together. After a kill, at most this number of samples is erased again."""
Row = dict[str, Any]
"""A row of samples.parquet by column."""


@dataclass
class ChunkEvaluator:
    """Erases, scores and writes chunks of samples in a worker process (see `olrd.engines.Worker`).

    threads: how many the libraries of the process may use; None leaves them as they are.
    """

    request: Request
    out: str
    identity: RunIdentity
    threads: int | None = None
    _evaluator: Evaluator = field(init=False, repr=False)

    def start(self) -> None:
        """Open the inputs. Raises if this machine would make another run than the driver."""
        if not faulthandler.is_enabled():
            faulthandler.enable(2)  # stderr: a method that crashes in a library of C ends with a word on where
        if self.threads is not None:
            limit_threads(self.threads)
        if not (Path(self.out) / "parts").is_dir():
            raise OutputError(
                f"{self.out} does not exist on {platform.node()}: all machines must see --out under the same path"
            )
        inputs = open_inputs(self.request)
        if inputs.identity != self.identity:
            here, there = inputs.identity.to_json(), self.identity.to_json()
            differ = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
            here, there = ({key: values.get(key) for key in differ} for values in (here, there))
            raise EngineError(
                f"{platform.node()} would make another run than this machine: {here} instead of {there}. "
                "Install the same versions on all machines, or name the --device"
            )
        self._evaluator = Evaluator(inputs, Path(self.out), self.request.save)

    def __call__(self, task: tuple[Sequence[int], int]) -> list[Row]:
        """Handle samples, `batch` per call of the eraser. task: (their indices, batch). Returns their rows."""
        indices, batch = task
        return [row for part in self._evaluator.parts(indices, batch) for row in part]


class Evaluator:
    """Erases and scores samples, and writes their rows to OUT/parts.

    Features of set metrics are written beside the rows, one file per sample.
    """

    def __init__(self, inputs: Inputs, out: Path, save: bool) -> None:
        self.inputs, self.out, self.save = inputs, out, save
        self.columns = inputs.columns
        self._meter = Meter(inputs.eraser.info.device)
        if save:
            (out / "outputs").mkdir(exist_ok=True)

    def parts(
        self, todo: Sequence[int], batch: int, watch: Callable[[Row], None] = lambda row: None
    ) -> Iterator[list[Row]]:
        """Erase, score and write samples.

        Args:
            todo: indices of the samples.
            batch: samples per call of the eraser.
            watch: called with every row as soon as it is known.

        Yields:
            Rows that are on the disk, at most `PART` at a time.
        """
        batches = [todo[k : k + batch] for k in range(0, len(todo), batch)]
        reader = ThreadPoolExecutor(1)
        try:
            rows: list[Row] = []
            reading = [reader.submit(self._read, indices) for indices in batches[:1]]
            for k in range(len(batches)):
                read = reading.pop().result()
                samples = [both for both in read if isinstance(both, Both)]
                erased = list(erase(self.inputs.eraser, [both.given for both in samples], self._meter))
                # Read only now: a thread that decodes photos beside the eraser would lengthen its time.
                reading = [reader.submit(self._read, indices) for indices in batches[k + 1 : k + 2]]
                pairs = zip(samples, erased, strict=True)
                scored = (self._row(one._replace(sample=both.scored)) for both, one in pairs)
                for row in (*(row for row in read if isinstance(row, dict)), *scored):
                    watch(row)
                    rows.append(row)
                while len(rows) >= PART or (rows and k + 1 == len(batches)):
                    part, rows = rows[:PART], rows[PART:]
                    self._write(part)
                    yield part
        finally:
            reader.shutdown(wait=False, cancel_futures=True)

    def holds(self, row: Row) -> bool:
        """Whether everything that belongs to a row of an interrupted run is on the disk: its features, with `save` its
        picture."""
        if row["status"] != "ok":
            return True
        if self.save and not (self.out / "outputs" / f"{file_name_of(row['id'])}.webp").is_file():
            return False
        reasons = json.loads(row["reasons"])
        if all(metric.info.name in reasons for metric in self.inputs.metrics.sets):
            return True
        try:
            self._stored(row["id"])
        except IntegrityError:
            return False
        return True

    def _stored(self, sample_id: str) -> dict[str, np.ndarray]:
        """The features of a sample. Raises `IntegrityError` if their file is missing or damaged."""
        path = self._features(sample_id)
        try:
            with np.load(io.BytesIO(read_regular(path))) as stored:
                return {key: stored[key] for key in stored.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{path} is missing or damaged: {error}; {AGAIN}") from error

    def features(self) -> dict[str, list[np.ndarray]]:
        """The features of all samples that have them, in order, by set metric and picture."""
        gathered: dict[str, list[np.ndarray]] = {}
        if self.inputs.metrics.sets:
            for name in self.inputs.ids:
                if self._features(name).is_file():
                    for key, values in self._stored(name).items():
                        gathered.setdefault(key, []).append(values)
        return gathered

    def _read(self, indices: Sequence[int]) -> list[Both | Row]:
        """Samples at the protocol's size, or a row of status `failed` for one that cannot be read, or whose mask the
        disturbance empties."""
        ids, read = self.inputs.data.ids(), list[Both | Row]()
        for index in indices:
            try:
                sample = prepared(self.inputs.data.sample(index), self.inputs.protocol)
            except AlteredError:
                raise
            except Exception as error:  # a damaged file must not end a long run
                read.append(_failed(ids[index], ids[index], error))
                continue
            try:
                both = disturbed(sample, self.inputs.disturbance, self.inputs.identity.seed)
                if wants_maps(self.inputs.eraser) and both.given.annotated:
                    both.given.annotated()  # reads and keeps the map now: the time of the eraser does not count it
                read.append(both)
            except EmptiedMaskError as error:
                read.append(_failed(sample.id, sample.cluster, error) | _about(sample))
            except HOPELESS:
                raise
            except Exception as error:
                read.append(_failed(ids[index], ids[index], error))
        return read

    def _row(self, erased: Erased) -> Row:
        """Score an output, and write what is kept of it."""
        sample, output, facts = erased.sample, erased.output, dict(erased.sample.facts)
        if isinstance(output, Exception):
            row = _failed(sample.id, sample.cluster, output)
        else:
            scored = score(sample, output, self.inputs.metrics, self.inputs.protocol)
            row = {"id": sample.id, "cluster": sample.cluster, "status": "ok", "reason": ""}
            row |= scored.values | {"output_sha256": scored.output_sha256}
            if not self.inputs.eraser.info.control and (doubt := doubt_of(sample, output)):
                facts[doubt] = 1.0
            row["reasons"] = json.dumps(scored.reasons, sort_keys=True)
            if scored.features:
                with atomic_path(self._features(sample.id)) as path, path.open("wb") as file:
                    np.savez(file, **scored.features)  # type: ignore[arg-type]
            if self.save:
                name = f"{file_name_of(sample.id)}.webp"
                write_atomic(self.out / "outputs" / name, encode_image(output), durable=False)
        return row | {
            **_about(sample),
            "facts": json.dumps(facts, sort_keys=True),
            "seconds": erased.seconds,
            "peak_mb": erased.peak_mb,
        }

    def _write(self, part: list[Row]) -> None:
        # The name follows from the samples: two workers that handle the same ones write the same file.
        name = sha256("\n".join(row["id"] for row in part).encode())[:32]
        write_rows(self.out / "parts" / f"{name}.parquet", part, self.columns)

    def _features(self, sample_id: str) -> Path:
        return self.out / "parts" / f"{sha256(sample_id.encode())[:32]}.npz"


def _about(sample: Sample) -> Row:
    """The columns that describe a sample."""
    height, width = sample.mask.shape
    return {
        "category": sample.category,
        "background": sample.background,
        "placement": sample.placement,
        "width": width,
        "height": height,
        "mask_share": np.count_nonzero(sample.mask) / sample.mask.size,
    }


def _failed(sample_id: str, cluster: str, error: Exception) -> Row:
    row = dict.fromkeys(FIXED, None) | {"id": sample_id, "cluster": cluster, "status": "failed"}
    return row | {"reason": f"{type(error).__name__}: {error}", "reasons": "{}", "facts": "{}"}
