"""A run: one method, one data set, one protocol. Decoding and scoring overlap with the eraser.

Rows are written a few at a time, so a run that was cut off goes on where it stopped and ends with the
same rows, times apart.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baselines import open_eraser
from baselines.eraser import Eraser, Hints, WeightsUnusableError
from baselines.folder import file_name_of
from benchmark.datasets import DataSet, Sample, check_file_names, open_dataset
from benchmark.protocol import Protocol, load_protocol
from benchmark.results import FIXED, read_rows, write_rows
from benchmark.scoring import Metrics, open_metrics, prepared, score, score_columns
from benchmark.summary import summarise
from olrd.arrays import Image, encode_image, resize_ids
from olrd.errors import MissingExtraError, OutputError, UsageError
from olrd.files import atomic_path, sha256, to_json, write_atomic
from olrd.locks import locked
from olrd.panoptic import PanopticMap
from olrd.progress import progress_bar

PART = 16
"""Rows that are written together; at most so many are erased again after a kill."""
HOPELESS = (UsageError, MissingExtraError, WeightsUnusableError)
"""What an eraser raises for every sample alike: it ends the run."""


@dataclass(frozen=True)
class Request:
    """What to run. limit: only so many samples, from the first. batch: samples per call of the eraser;
    it changes speed, not results. save: keep the method's pictures."""

    method: str
    dataset: str = "olrd"
    root: str | None = None
    protocol: str = "native"
    options: dict[str, str] = field(default_factory=dict)
    data_options: dict[str, str] = field(default_factory=dict)
    device: str = "auto"
    batch: int = 1
    limit: int | None = None
    save: bool = False
    seed: int | None = None


class Opened(NamedTuple):
    """Everything a run needs, opened and checked before any work."""

    eraser: Eraser
    metrics: Metrics
    data: DataSet
    protocol: Protocol
    ids: list[str]
    identity: dict[str, Any]


def opened(request: Request) -> Opened:
    """Open method, metrics and data; raises the error that says what is missing."""
    protocol = load_protocol(request.protocol)
    seed = protocol.seed if request.seed is None else request.seed
    eraser = open_eraser(request.method, request.options, request.device, seed)
    metrics = open_metrics(protocol, request.device)
    info = eraser.info
    data = open_dataset(request.dataset, request.root, request.data_options)
    ids = data.ids()[: request.limit]
    if request.save:
        check_file_names(ids)
    method = {"name": info.name, "revision": info.revision, "options": dict(info.options or {}),
              "device": info.device}  # fmt: skip
    identity = {
        "method": method,
        "dataset": {"name": data.name, "fingerprint": data.fingerprint, "n": len(ids),
                    "total": len(data.ids())},
        "protocol": protocol.id,
        "seed": seed,
        "metrics": {m.name: m.revision for m in metrics.infos()},
        "saved": request.save,
    }  # fmt: skip
    if hinted := sorted(info.wants & getattr(data, "offers", frozenset())):
        identity["hints"] = hinted  # with and without maps are two runs
    return Opened(eraser, metrics, data, protocol, ids, identity)


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do."""
    found = opened(request)
    return found.identity | {"columns": score_columns(found.metrics)}


def run(request: Request, out: Path | str) -> dict[str, Any]:
    """Run, or finish running; returns the summary. Raises before any work if something is missing."""
    out = Path(out)
    eraser, metrics, data, protocol, ids, identity = opened(request)
    with locked(out):
        done = _begun(out, identity)
        if (out / "summary.json").is_file():
            shutil.rmtree(out / "parts", ignore_errors=True)
            summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
            return summary
        rows = {row["id"]: row for row in done}
        todo = [index for index, name in enumerate(ids) if name not in rows]
        work = _Work(out, data, eraser, metrics, protocol, request.save)
        started = time.perf_counter()
        with progress_bar(f"{eraser.info.name} on {data.name}", len(ids), initial=len(rows)) as bar:
            for part in work.parts(todo, max(1, request.batch)):
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


class _Work:
    """The loop of one run. Features of set metrics lie beside the parts, under a hash of the sample's id."""

    def __init__(self, out: Path, data: DataSet, eraser: Eraser, metrics: Metrics,
                 protocol: Protocol, save: bool) -> None:  # fmt: skip
        self.out, self.data, self.eraser, self.metrics = out, data, eraser, metrics
        self.protocol, self.save = protocol, save
        self.annotated = "panoptic" in eraser.info.wants
        self.columns = score_columns(metrics)
        if save:
            (out / "outputs").mkdir(exist_ok=True)

    def parts(self, todo: Sequence[int], batch: int) -> Iterator[list[dict[str, Any]]]:
        """Erase, score and write; yields rows that are on the disk."""
        number = 1 + max((int(p.stem) for p in (self.out / "parts").glob("*.parquet")), default=-1)
        with ThreadPoolExecutor(1) as loader, ThreadPoolExecutor(1) as scorer:
            chunks = [todo[k : k + batch] for k in range(0, len(todo), batch)]
            loading: deque[Future[list[Sample | dict[str, Any]]]] = deque()
            scoring: deque[Future[dict[str, Any]]] = deque()
            ahead = iter(chunks)
            for chunk in islice(ahead, 2):
                loading.append(loader.submit(self._load, chunk))
            waiting: list[dict[str, Any]] = []
            while loading:
                loaded = loading.popleft().result()
                for chunk in islice(ahead, 1):
                    loading.append(loader.submit(self._load, chunk))
                good = [sample for sample in loaded if isinstance(sample, Sample)]
                waiting += [row for row in loaded if isinstance(row, dict)]
                for sample, output, seconds, peak in self._erased(good):
                    scoring.append(scorer.submit(self._row, sample, output, seconds, peak))
                while scoring and (scoring[0].done() or len(scoring) > 2 * batch or not loading):
                    waiting.append(scoring.popleft().result())
                while len(waiting) >= PART or (waiting and not loading and not scoring):
                    part, waiting = waiting[:PART], waiting[PART:]
                    write_rows(self.out / "parts" / f"{number:05d}.parquet", part, self.columns)
                    number += 1
                    yield part

    def _load(self, chunk: Sequence[int]) -> list[Sample | dict[str, Any]]:
        """Samples at the protocol's size; a row of status `failed` for one that cannot be read."""
        ids, loaded = self.data.ids(), list[Sample | dict[str, Any]]()
        for index in chunk:
            try:
                sample = prepared(self.data.sample(index), self.protocol)
                if self.annotated and sample.annotated:
                    sample.annotated()  # read here, not on the eraser's time; it keeps its answer
                loaded.append(sample)
            except Exception as error:  # a damaged file must not end a long run
                loaded.append(_failed(ids[index], ids[index], error))
        return loaded

    def _erased(
        self, samples: list[Sample]
    ) -> Iterator[tuple[Sample, Image | Exception, float, float]]:
        """Each sample with its output or what went wrong, seconds per image and peak memory in MiB. A
        batch that fails is tried again one by one."""
        if not samples:
            return
        clock = _Clock(self.eraser.info.device)
        try:
            outputs: list[Image] = self._call(samples)
        except HOPELESS:
            raise
        except Exception as error:
            if len(samples) > 1:
                for sample in samples:
                    yield from self._erased([sample])
            else:
                yield samples[0], error, clock.seconds(), clock.peak_mb()
            return
        seconds, peak = clock.seconds() / len(samples), clock.peak_mb()
        for sample, output in zip(samples, outputs, strict=True):
            yield sample, output, seconds, peak

    def _call(self, samples: list[Sample]) -> list[Image]:
        hints = [self._hints(sample) for sample in samples]
        outputs = self.eraser.erase([s.image for s in samples], [s.mask for s in samples], hints)
        if len(outputs) != len(samples):
            raise ValueError(f"expected {len(samples)} pictures, got {len(outputs)}")
        for sample, output in zip(samples, outputs, strict=True):
            if output.shape != sample.image.shape or output.dtype != np.uint8:
                raise ValueError(
                    f"expected uint8 {sample.image.shape}, got {output.dtype} {output.shape}"
                )
        return outputs

    def _hints(self, sample: Sample) -> Hints:
        """What the eraser may know. The map is that of the photo without the object."""
        found = sample.annotated() if self.annotated and sample.annotated else None
        panoptic = None
        if found is not None:
            height, width = sample.mask.shape
            ids, segments = found.panoptic
            same = ids.shape == sample.mask.shape
            panoptic = PanopticMap(ids if same else resize_ids(ids, (width, height)), segments)
        return Hints(
            sample.id, sample.prompt, sample.caption, panoptic, sample.twin,
            sample.truth if self.eraser.info.control else None,
            found.categories if found else None, sample.category or None,
        )  # fmt: skip

    def _row(
        self, sample: Sample, output: Image | Exception, seconds: float, peak: float
    ) -> dict[str, Any]:
        if isinstance(output, Exception):
            row = _failed(sample.id, sample.cluster, output)
        else:
            scored = score(sample, output, self.metrics, self.protocol)
            row = {"id": sample.id, "cluster": sample.cluster, "status": "ok", "reason": ""}
            row |= scored.values | {"output_sha256": scored.output_sha256}
            row["reasons"] = json.dumps(scored.reasons, sort_keys=True)
            if scored.features:
                with atomic_path(self._features(sample.id)) as path, path.open("wb") as file:
                    np.savez(file, **scored.features)  # type: ignore[arg-type]
            if self.save:
                name = f"{file_name_of(sample.id)}.webp"
                write_atomic(self.out / "outputs" / name, encode_image(output), durable=False)
        height, width = sample.mask.shape
        return row | {
            "category": sample.category,
            "background": sample.background,
            "width": width,
            "height": height,
            "mask_share": np.count_nonzero(sample.mask) / sample.mask.size,
            "facts": json.dumps(dict(sample.facts), sort_keys=True),
            "seconds": seconds,
            "peak_mb": peak,
        }

    def _features(self, sample_id: str) -> Path:
        return self.out / "parts" / f"{sha256(sample_id.encode())[:32]}.npz"

    def all_features(self, ids: Sequence[str]) -> dict[str, list[np.ndarray]]:
        """Per set metric and picture the features of all samples that have them, in order."""
        gathered: dict[str, list[np.ndarray]] = {}
        if self.metrics.sets:
            for name in ids:
                if (path := self._features(name)).is_file():
                    with np.load(path) as stored:
                        for key in stored.files:
                            gathered.setdefault(key, []).append(stored[key])
        return gathered


def _failed(name: str, cluster: str, error: Exception) -> dict[str, Any]:
    row = dict.fromkeys(FIXED, None) | {"id": name, "cluster": cluster, "status": "failed"}
    return row | {"reason": f"{type(error).__name__}: {error}", "reasons": "{}", "facts": "{}"}


class _Clock:
    """Time and peak memory of one call: of the GPU where it runs there, else of this process."""

    def __init__(self, device: str) -> None:
        self._cuda = device if device.startswith("cuda") else ""
        if self._cuda:
            import torch

            torch.cuda.synchronize(self._cuda)
            torch.cuda.reset_peak_memory_stats(self._cuda)
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds since the start."""
        if self._cuda:
            import torch

            torch.cuda.synchronize(self._cuda)
        return time.perf_counter() - self._started

    def peak_mb(self) -> float:
        """MiB: the GPU's peak since the start, or the process's largest resident size so far; NaN where
        the system does not say."""
        if self._cuda:
            import torch

            return torch.cuda.max_memory_allocated(self._cuda) / (1 << 20)
        status = Path("/proc/self/status")  # Linux alone has it
        for line in status.read_text().splitlines() if status.is_file() else ():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return float("nan")
