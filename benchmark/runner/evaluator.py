"""The loop of a run, in the process that runs it: decoding and scoring overlap with the eraser.

`Evaluator` goes through any samples and writes their rows a few at a time. With an engine, every process has a
`ChunkEvaluator`, which opens everything once and takes one chunk of samples after the other.
"""

from __future__ import annotations

import json
import platform
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from baselines.eraser import Hints, WeightsUnusableError
from benchmark.datasets import Sample
from benchmark.runner.inputs import Inputs, open_inputs
from benchmark.runner.request import Request
from benchmark.runner.results import FIXED, write_rows
from benchmark.runner.summary import RunIdentity
from benchmark.scoring import prepared, score, score_columns
from olrd.arrays import Image, encode_image, resize_ids
from olrd.engines import EngineError
from olrd.errors import MissingExtraError, OutputError, UsageError
from olrd.panoptic import PanopticMap
from olrd.storage.files import atomic_path, file_name_of, sha256, write_atomic

PART = 16
"""Rows that are written together; at most so many are erased again after a kill."""
HOPELESS = (UsageError, MissingExtraError, WeightsUnusableError)
"""What an eraser raises for every sample alike: it ends the run."""


@dataclass
class ChunkEvaluator:
    """Erases, scores and writes chunks of samples in a worker process (see `olrd.engines.Worker`)."""

    request: Request
    out: str
    identity: RunIdentity
    _evaluator: Evaluator = field(init=False, repr=False)

    def start(self) -> None:
        """Open the inputs. Raises if this machine would make another run than the driver."""
        if not (Path(self.out) / "parts").is_dir():
            raise OutputError(
                f"{self.out} is not there on {platform.node()}: all machines must see --out under one path"
            )
        found = open_inputs(self.request)
        if found.identity != self.identity:
            here, there = found.identity.to_json(), self.identity.to_json()
            differ = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
            here, there = ({key: values.get(key) for key in differ} for values in (here, there))
            raise EngineError(
                f"{platform.node()} would make another run than this machine: {here} instead of {there}. "
                "Install the same versions on all machines, or name the --device"
            )
        self._evaluator = Evaluator(found, Path(self.out), self.request.save)

    def __call__(self, task: tuple[Sequence[int], int]) -> list[dict[str, Any]]:
        """Handle samples, `batch` per call of the eraser. task: (their indices, batch). Returns their rows."""
        indices, batch = task
        return [row for part in self._evaluator.parts(indices, batch) for row in part]


class Evaluator:
    """The loop of one run. Features of set metrics lie beside the parts, under a hash of the sample's id."""

    def __init__(self, found: Inputs, out: Path, save: bool) -> None:
        self.out, self.data, self.eraser, self.metrics = (out, found.data, found.eraser, found.metrics)
        self.protocol, self.save = found.protocol, save
        self.annotated = "panoptic" in self.eraser.info.wants
        self.columns = score_columns(self.metrics)
        if save:
            (out / "outputs").mkdir(exist_ok=True)

    def parts(self, todo: Sequence[int], batch: int) -> Iterator[list[dict[str, Any]]]:
        """Erase, score and write; yields rows that are on the disk."""
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
                    self._write(part)
                    yield part

    def _write(self, part: list[dict[str, Any]]) -> None:
        """Under a name that is the samples': two workers with the same samples replace each other's."""
        name = sha256("\n".join(row["id"] for row in part).encode())[:32]
        write_rows(self.out / "parts" / f"{name}.parquet", part, self.columns)

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

    def _erased(self, samples: list[Sample]) -> Iterator[tuple[Sample, Image | Exception, float, float]]:
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
                raise ValueError(f"expected uint8 {sample.image.shape}, got {output.dtype} {output.shape}")
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
            sample.id,
            sample.prompt,
            sample.caption,
            panoptic,
            sample.twin,
            sample.truth if self.eraser.info.control else None,
            found.categories if found else None,
            sample.category or None,
        )

    def _row(self, sample: Sample, output: Image | Exception, seconds: float, peak: float) -> dict[str, Any]:
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
