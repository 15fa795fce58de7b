"""`olrd pq`: panoptic quality of one set of annotations against another, computed by panopticapi."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from PIL.Image import DecompressionBombError

from olrd.errors import MissingExtraError, OlrdError, SourceError, UsageError
from olrd.progress import progress_bar
from olrd.sources.panoptic.index import image_key
from olrd.sources.panoptic.json_file import Json, read_json
from olrd.sources.things import Declared, decide_things, read_isthing
from olrd.trust import counted

_CHUNK = 50


class MissingPanopticApiError(MissingExtraError):
    """panopticapi is not installed. PyPI does not have it under its name, so no extra can install it."""

    def __init__(self) -> None:
        OlrdError.__init__(
            self,
            "panoptic quality needs panopticapi, which is not on PyPI: "
            "pip install --no-deps panopticapi-lite (a copy of it that is)",
        )


class _Job(NamedTuple):
    """Pairs of (truth, prediction) annotations to score in one process."""

    pairs: list[tuple[Json, Json]]
    truth_folder: str
    predicted_folder: str
    categories: dict[int, Json]


def panoptic_quality(
    predicted_json: Path,
    truth_json: Path,
    predicted_folder: Path | None = None,
    truth_folder: Path | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """PQ, SQ and RQ of predictions against the truth, both in COCO panoptic format.

    As in panopticapi, every image of the truth needs a prediction, and predictions of other images are ignored.

    Args:
        predicted_json: the predictions.
        truth_json: the truth.
        predicted_folder: the PNGs of the predictions; by default the path of the JSON without `.json`.
        truth_folder: the PNGs of the truth; by default the same.
        workers: number of processes.

    Returns:
        `All`, `Things` and `Stuff`, each {"pq", "sq", "rq", "n"} with n the number of classes that occur, and
        `per_class`: {"pq", "sq", "rq"} by class name. Values are from 0 to 1, or None if the class, or every class of
        the group, occurs on neither side.

    Raises:
        SourceError: the files do not fit each other.
        MissingPanopticApiError: panopticapi is not installed.
    """
    if workers < 1:
        raise UsageError(f"workers: expected 1 or more, got {workers}")
    evaluation = _evaluation()
    truth, predicted = read_json(truth_json), read_json(predicted_json)
    try:
        categories = _kinds(truth_json, truth)
        pairs = list(_pairs(truth, predicted, truth_json, predicted_json))
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{truth_json} or {predicted_json} is not a COCO panoptic JSON with 'annotations' and "
            f"'categories' ({error!r})"
        ) from error
    jobs = [
        _Job(
            pairs[start : start + _CHUNK],
            str(_folder(truth_json, truth_folder)),
            str(_folder(predicted_json, predicted_folder)),
            categories,
        )
        for start in range(0, len(pairs), _CHUNK)
    ]
    total = evaluation.PQStat()
    with progress_bar("panoptic quality", len(pairs), unit="photo") as bar:
        for job, part in zip(jobs, _scores(jobs, workers), strict=True):
            total += part
            bar.update(len(job.pairs))
    return _summary(total, categories)


def _evaluation() -> Any:
    try:
        return import_module("panopticapi.evaluation")
    except ImportError as error:
        raise MissingPanopticApiError from error


def _kinds(truth_json: Path, truth: Json) -> dict[int, Json]:
    """The categories by id, each with `isthing` as a number, as panopticapi needs it."""
    kinds = {kind["id"]: kind for kind in truth["categories"]}
    told: dict[int, bool] = {}
    for note in truth["annotations"]:
        for segment in note["segments_info"]:
            if (isthing := read_isthing(segment.get("isthing"))) is not None:
                told.setdefault(segment["category_id"], isthing)
    declared = []
    for number, kind in kinds.items():
        isthing = read_isthing(kind.get("isthing"))
        declared.append(Declared(number, str(kind["name"]), "", told.get(number) if isthing is None else isthing))
    found = decide_things(truth_json, declared, need_both=False)
    return {number: kind | {"isthing": int(found[number].isthing)} for number, kind in kinds.items()}


def _pairs(truth: Json, predicted: Json, truth_json: Path, predicted_json: Path) -> Iterator[tuple[Json, Json]]:
    answers = {image_key(note["image_id"]): note for note in predicted["annotations"]}
    asked = [image_key(note["image_id"]) for note in truth["annotations"]]
    if missing := [number for number in asked if number not in answers]:
        raise SourceError(
            f"{predicted_json} has no prediction for {len(missing):,} of the {counted(len(asked), 'image')} of "
            f"{truth_json} (first: image {missing[0]}): predict them, or leave them out there"
        )
    for note in truth["annotations"]:
        yield note, answers[image_key(note["image_id"])]


def _folder(json_path: Path, folder: Path | None) -> Path:
    folder = folder or json_path.with_suffix("")
    if not folder.is_dir():
        raise SourceError(f"expected the panoptic PNGs of {json_path} in {folder}: no such folder")
    return folder


def _scores(jobs: list[_Job], workers: int) -> Iterator[Any]:
    """The statistics of each job, in `workers` processes; panopticapi would start one per core."""
    if workers == 1 or len(jobs) < 2:
        yield from map(_score, jobs)
        return
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn")) as pool:
        yield from pool.map(_score, jobs)


def _score(job: _Job) -> Any:
    """Call panopticapi's function for one core, with its messages on stderr and typed errors."""
    with redirect_stdout(sys.stderr):
        try:
            # The function without its decorator, which prints the traceback of every error.
            score = _evaluation().pq_compute_single_core.__wrapped__
            return score(0, job.pairs, job.truth_folder, job.predicted_folder, job.categories)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, OSError, DecompressionBombError) as error:
            raise SourceError(
                f"the annotations in {job.predicted_folder} cannot be scored against those in "
                f"{job.truth_folder}: {error}"
            ) from error


def _summary(total: Any, categories: dict[int, Json]) -> dict[str, Any]:
    """The averages of panopticapi, with None where it divides by zero or reports an absent class as 0."""
    seen = {
        number: kind
        for number, kind in categories.items()
        if any((total[number].tp, total[number].fp, total[number].fn))
    }
    result: dict[str, Any] = {"per_class": {}}
    for name, isthing in (("All", None), ("Things", True), ("Stuff", False)):
        group = [k for k in seen.values() if isthing is None or bool(k["isthing"]) == isthing]
        if not group:
            result[name] = {"pq": None, "sq": None, "rq": None, "n": 0}
            continue
        result[name], per_class = total.pq_average(seen, isthing=isthing)
        if isthing is None:
            result["per_class"] = {
                kind["name"]: per_class.get(number, {"pq": None, "sq": None, "rq": None})
                for number, kind in categories.items()
            }
    return result


def format_quality(quality: dict[str, Any]) -> str:
    """The three averages as a table, in per cent."""
    lines = [f"{'':<8}{'PQ':>7}{'SQ':>7}{'RQ':>7}{'classes':>9}"]
    for name in ("All", "Things", "Stuff"):
        row = quality[name]
        cells = "".join(f"{'-' if row[k] is None else f'{100 * row[k]:.1f}':>7}" for k in ("pq", "sq", "rq"))
        lines.append(f"{name:<8}{cells}{row['n']:>9}")
    return "\n".join(lines)
