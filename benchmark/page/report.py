"""A page that shows runs side by side: the input, the mask, every output and the truth of each sample.

OUT/report.html      the page, with small copies of the pictures; it opens from disk and is under 10 MB
OUT/full/<id>/...    the pictures in full size, which the page loads on demand
"""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.board.ranking import sections
from benchmark.board.records import portable
from benchmark.board.tables import Table, tables_of
from benchmark.datasets import AlteredError, DataSet, Sample
from benchmark.page.thumbnails import Thumbnails
from benchmark.protocol import Protocol
from benchmark.runner.results import Run
from benchmark.scoring import prepared
from olrd.arrays import Image, decode_photo, encode_image, encode_mask
from olrd.dataset.sampling import pick_evenly
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.progress import progress_bar
from olrd.storage.files import file_name_of, sha256, write_atomic
from olrd.trust import parse_json, shown, without_folders

PAGE_BYTES = 10_000_000
"""Largest size of the page."""


@dataclass(frozen=True)
class Shown:
    """A run on the page. key: the stem of its files. rows: the rows of samples.parquet by sample id."""

    run: Run
    label: str
    key: str
    columns: list[str]
    rows: dict[str, dict[str, Any]]


def report(runs: list[Run], data: DataSet, out: Path, limit: int = 200, page_bytes: int = PAGE_BYTES) -> Path:
    """Write the page and the pictures in full size.

    Args:
        runs: finished runs with saved pictures, all on `data` with one protocol.
        data: the dataset of the runs.
        out: folder to write to.
        limit: number of samples on the page: failed ones first, the others evenly spread over the dataset.
        page_bytes: largest size of the page.

    Returns:
        The path of the page.

    Raises:
        UsageError: datasets or protocols differ, or the page becomes too large.
        SourceError: a run has no saved pictures.
        IntegrityError: a saved picture is not the one that was scored.
    """
    protocol = shared_protocol(runs, data)
    shown = [_shown(run, label, k) for k, (run, label) in enumerate(labelled(runs))]
    ids = data.ids()
    numbers = picked(ids, shown, limit)
    if not numbers:
        raise UsageError("the runs have no sample in common, so there is nothing to show")
    out.mkdir(parents=True, exist_ok=True)
    entries = [_words(ids[number], shown) for number in numbers]
    template = resources.files("benchmark.page").joinpath("report.html").read_text(encoding="utf-8")
    head = _head(runs, shown, data, protocol, len(numbers))
    words = len(template) + len(_payload(head, entries))
    thumbnails = Thumbnails(page_bytes - words, len(numbers))
    with progress_bar("report", len(numbers)) as bar:
        for number, entry in zip(numbers, entries, strict=True):
            pictures, mask = _pictures(data, number, protocol, shown, out, entry)
            entry["small"], entry["mask"] = thumbnails.of(pictures, mask)
            bar.update()
    page = template.replace("__DATA__", _payload(head, entries))
    if len(page) >= page_bytes:
        fitting = max(1, int(len(numbers) * page_bytes / len(page) * 0.9))
        raise UsageError(
            f"{len(numbers)} samples of {len(runs)} runs do not fit into a page of "
            f"{page_bytes / 1e6:g} MB: use --limit {fitting} or less"
        )
    path = out / "report.html"
    write_atomic(path, page)
    return path


def shared_protocol(runs: Sequence[Run], data: DataSet) -> Protocol:
    """The protocol of all runs. Raises `UsageError` unless all ran on `data` with one protocol."""
    if not runs:
        raise UsageError("a report needs at least one run's folder")
    first = runs[0].summary
    for run in runs:
        for what, found, expected in (
            ("dataset", run.summary.dataset.fingerprint, data.fingerprint),
            ("protocol", run.summary.protocol_id, first.protocol_id),
        ):
            if found != expected:
                raise UsageError(f"{run.folder} cannot be shown here: another {what} ({found}, expected {expected})")
    if first.protocol.id != first.protocol_id:
        raise IntegrityError(
            f"{runs[0].folder}: the stored protocol has the id {first.protocol_id}, but its settings give "
            f"{first.protocol.id}: it was edited, or written by another version"
        )
    return first.protocol


def labelled(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Each run with a unique label: the method, and where needed its revision and a number."""
    names = [run.summary.method.name for run in runs]
    longer = [run.summary.label for run in runs]
    labels = [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
    again = Counter(labels)
    return [
        (run, f"{label} #{k + 1}" if again[label] > 1 else label)
        for k, (run, label) in enumerate(zip(runs, labels, strict=True))
    ]


def _shown(run: Run, label: str, number: int) -> Shown:
    if not (run.folder / "outputs").is_dir():
        raise SourceError(
            f"{run.folder} holds no pictures (it has no folder outputs): make the run again with "
            "`benchmark run --save` and another --out"
        )
    frame = run.samples()
    columns = [name for name in frame.columns if "/" in name]
    rows = {str(row["id"]): {str(k): v for k, v in row.items()} for row in frame.to_dict("records")}
    return Shown(run, label, f"{number + 1}-{file_name_of(label)[:60]}", columns, rows)


def picked(ids: Sequence[str], shown: Sequence[Shown], limit: int) -> list[int]:
    """The indices of the samples to show, ascending. Only samples of all runs are used, failed ones first."""
    if limit < 1:
        raise UsageError(f"--limit must be at least 1, got {limit}")
    common = [k for k, name in enumerate(ids) if all(name in run.rows for run in shown)]
    failed = [k for k in common if any(run.rows[ids[k]]["status"] != "ok" for run in shown)]
    failed = [failed[k] for k in pick_evenly(len(failed), limit)]
    others = sorted(set(common) - set(failed)) if limit > len(failed) else []
    return sorted([*failed, *(others[k] for k in pick_evenly(len(others), limit - len(failed)))])


def _words(name: str, shown: Sequence[Shown]) -> dict[str, Any]:
    """The entry of a sample without its pictures.

    `scores` holds one list per run, in the order of its columns: numbers, or the reason why there is none. `failed`
    holds one text per run: what went wrong, or empty.
    """
    row = next((r.rows[name] for r in shown if r.rows[name]["status"] == "ok"), None)
    row = row or shown[0].rows[name]
    return {
        "id": name,
        "anchor": anchor(name),
        "category": row["category"] or "",
        "background": row["background"] or "",
        "share": _number(row["mask_share"]),
        "scores": [_scores(run, run.rows[name]) for run in shown],
        "failed": [
            "" if run.rows[name]["status"] == "ok" else without_folders(run.rows[name]["reason"]) for run in shown
        ],
    }


def _scores(run: Shown, row: dict[str, Any]) -> list[float | str | None]:
    file = run.run.folder / "samples.parquet"
    reasons = without_folders(parse_json(row["reasons"] or "{}", f"{file}, reasons"))
    if not isinstance(reasons, dict):
        raise IntegrityError(f"{file}: the reasons of {shown(row['id'])} are {shown(reasons)}, expected an object")
    found: list[float | str | None] = []
    for column in run.columns:
        value = _number(row[column])
        found.append(reasons.get(column) if value is None else value)
    return found


def _number(value: Any) -> float | None:
    """A number with six digits; None for NaN."""
    return None if value is None or math.isnan(value) else float(f"{value:.6g}")


def anchor(name: str) -> str:
    """The URL fragment of a sample. It is unique, and safe in a URL and as the name of a folder."""
    plain = "".join(c if c.isascii() else "_" for c in file_name_of(name))[:80]
    return f"s-{plain}" if plain == name else f"s-{plain}-{sha256(name.encode())[:6]}"


def _pictures(
    data: DataSet, number: int, protocol: Protocol, shown: Sequence[Shown], out: Path, entry: dict[str, Any]
) -> tuple[list[Image | None], np.ndarray | None]:
    """Write the full pictures of a sample and add their file names to its entry.

    Returns:
        The input, the truth and the output of each run (None where there is none), and the mask.
    """
    folder = out / "full" / entry["anchor"]
    folder.mkdir(parents=True, exist_ok=True)
    sample: Sample | None = None
    try:
        sample = prepared(data.sample(number), protocol)
    except AlteredError:
        raise
    except Exception as error:  # the run counted the sample as failed, and the page shows the reason
        entry["unreadable"] = without_folders(f"{type(error).__name__}: {error}")
    files: list[str | None] = []
    pictures: list[Image | None] = []
    for name, pixels in (("input", sample.image if sample else None), ("truth", sample.truth if sample else None)):
        pictures.append(pixels)
        files.append(None if pixels is None else f"{name}.webp")
        if pixels is not None:
            write_atomic(folder / f"{name}.webp", encode_image(pixels), durable=False)
    for run in shown:
        row = run.rows[entry["id"]]
        if row["status"] != "ok":
            pictures.append(None)
            files.append(None)
            continue
        source = run.run.folder / "outputs" / f"{file_name_of(entry['id'])}.webp"
        pictures.append(_output(source, row["output_sha256"]))
        files.append(f"{run.key}.webp")
        shutil.copyfile(source, folder / f"{run.key}.webp")
    if sample is not None:
        write_atomic(folder / "mask.png", encode_mask(sample.mask), durable=False)
    shape = next((p.shape for p in pictures if p is not None), (3, 4))
    entry |= {"files": files, "width": shape[1], "height": shape[0]}
    entry["centre"] = 50.0 if sample is None else _centre(sample.mask)
    return pictures, None if sample is None else sample.mask


def _output(path: Path, scored: str) -> Image:
    """Read a saved output and check that it is the one that was scored."""
    if not path.is_file():
        raise SourceError(f"{path} is missing: make the run again with --save and another --out")
    pixels = decode_photo(path.read_bytes(), str(path)).pixels
    if sha256(np.ascontiguousarray(pixels).data) != scored:
        raise IntegrityError(f"{path} is not the picture that was scored: it was changed afterwards")
    return pixels


def _centre(mask: np.ndarray) -> float:
    """The middle column of the mask in per cent of the width; 50 for an empty mask."""
    columns = np.flatnonzero(mask.any(axis=0))
    return round(50.0 * (columns[0] + columns[-1] + 1) / mask.shape[1], 2) if len(columns) else 50.0


def _head(runs: Sequence[Run], shown: Sequence[Shown], data: DataSet, protocol: Protocol, count: int) -> dict[str, Any]:
    """The data of the page that does not belong to a sample: tables, methods, columns."""
    summary = runs[0].summary
    found = sections([portable(run.summary) for run in runs])
    higher = {name: info.higher_is_better for run in runs for name, info in run.summary.metrics.items()}
    every = list(dict.fromkeys(column for run in shown for column in run.columns))
    headline = [c.name for s in found for c in s.main if c.name in every]
    return {
        "dataset": summary.dataset.name,
        "protocol": protocol.id,
        "fingerprint": data.fingerprint,
        "total": len(data.ids()),
        "count": count,
        "warnings": list(dict.fromkeys(t for r in runs for t in r.summary.every_warning)),
        "methods": [run.label for run in shown],
        "controls": [run.run.summary.method.control for run in shown],
        "columns": [run.columns for run in shown],
        "sortable": list(dict.fromkeys([*headline, *every])),
        "headline": list(dict.fromkeys(headline)),
        "higher": {c: bool(higher.get(c.partition("/")[0], False)) for c in every},
        "tables": [_plain(table) for section in found for table in tables_of(section)],
    }


def _plain(table: Table) -> dict[str, Any]:
    return {"title": table.title, "head": table.head, "rows": table.rows, "words": table.words}


def _payload(head: dict[str, Any], entries: Sequence[dict[str, Any]]) -> str:
    """The data as JSON. It cannot close the script element around it."""
    values = head | {"samples": list(entries)}
    return json.dumps(values, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
