"""A page that shows runs side by side: input, truth and every output of each sample, cropped around the mask.

OUT/report.html      the page; it opens from disk and loads only the pictures beside it
OUT/pictures/...     the pictures (`benchmark.page.pictures`)
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from benchmark.board.ranking import sections
from benchmark.board.records import portable
from benchmark.board.tables import Table, tables_of
from benchmark.datasets import AlteredError, DataSet, Sample
from benchmark.groups import AREAS
from benchmark.page.pictures import LOSSLESS, Keep, Pictures
from benchmark.protocol import Protocol
from benchmark.runner.outputs import check_saved, saved_output
from benchmark.runner.results import Run
from benchmark.scoring import prepared
from olrd.arrays import Image
from olrd.dataset.sampling import pick_evenly
from olrd.errors import IntegrityError, UsageError
from olrd.progress import progress_bar
from olrd.storage.files import file_name_of, sha256, write_atomic
from olrd.trust import parse_json, without_folders
from olrd.trust import shown as quoted


@dataclass(frozen=True)
class Shown:
    """A run on the page. key: the stem of its files. rows: the rows of samples.parquet by sample id."""

    run: Run
    label: str
    key: str
    columns: list[str]
    rows: dict[str, dict[str, Any]]


def report(runs: list[Run], data: DataSet, out: Path, limit: int = 200, keep: Keep | None = None) -> Path:
    """Write the page and its pictures.

    Args:
        runs: finished runs, all on `data` with one protocol. They need saved pictures unless none are kept.
        data: the dataset of the runs.
        out: folder to write to.
        limit: number of samples on the page: failed ones first, the others evenly spread over the dataset.
        keep: how much of the pictures is kept; by default crops.

    Returns:
        The path of the page.

    Raises:
        UsageError: datasets or protocols differ, or no sample is in all runs.
        SourceError: a run has no saved pictures.
        IntegrityError: a saved picture is not the one that was scored.
    """
    keep = keep or Keep()
    protocol = shared_protocol(runs, data)
    shown = [_shown(run, label, k, keep) for k, (run, label) in enumerate(labelled(runs))]
    ids = data.ids()
    numbers = picked(ids, shown, limit)
    if not numbers:
        raise UsageError("the runs have no sample in common, so there is nothing to show")
    out.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(out, keep)
    entries = []
    with progress_bar("report", len(numbers)) as bar:
        for number in numbers:
            entry = _words(ids[number], shown)
            if keep.pictures != "none":
                entry |= _pictures(data, number, protocol, shown, pictures, entry)
            entries.append(entry)
            bar.update()
    path = out / "report.html"
    write_atomic(path, _page(_head(runs, shown, data, protocol, keep) | {"samples": entries}))
    pictures.finish()
    return path


def shared_protocol(runs: Sequence[Run], data: DataSet) -> Protocol:
    """The protocol of all runs. Raises `UsageError` unless all ran on `data` with one protocol."""
    if not runs:
        raise UsageError("a report needs at least one run's folder")
    first = runs[0].summary
    hint = "; --root and --data-option must be those of its `benchmark run`"
    for run in runs:
        for what, found, expected, advice in (
            ("dataset", run.summary.dataset.fingerprint, data.fingerprint, hint),
            ("protocol", run.summary.protocol_id, first.protocol_id, ""),
        ):
            if found != expected:
                raise UsageError(
                    f"{run.folder} cannot be shown here: another {what} ({found}, expected {expected}){advice}"
                )
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
    plain = [names.count(run.summary.method.name) < 2 and not run.summary.disturbance for run in runs]
    labels = [name if short else long for name, long, short in zip(names, longer, plain, strict=True)]
    again = Counter(labels)
    return [
        (run, f"{label} #{k + 1}" if again[label] > 1 else label)
        for k, (run, label) in enumerate(zip(runs, labels, strict=True))
    ]


def _shown(run: Run, label: str, number: int, keep: Keep) -> Shown:
    if keep.pictures != "none":
        check_saved(run, ", or make a report of the scores alone with --pictures none")
    frame = run.samples()
    columns = [name for name in frame.columns if "/" in name]
    rows = {str(row["id"]): {str(k): v for k, v in row.items()} for row in frame.to_dict("records")}
    return Shown(run, label, f"{number + 1}-{_plain_ascii(label)[:60]}", columns, rows)


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
        "placement": row["placement"] or "",
        "share": _number(row["mask_share"]),
        "width": _number(row["width"]),
        "height": _number(row["height"]),
        "scores": [_scores(run, run.rows[name]) for run in shown],
        "failed": [
            "" if run.rows[name]["status"] == "ok" else without_folders(run.rows[name]["reason"]) for run in shown
        ],
    }


def _scores(run: Shown, row: dict[str, Any]) -> list[float | str | None]:
    file = run.run.folder / "samples.parquet"
    reasons = without_folders(parse_json(row["reasons"] or "{}", f"{file}, reasons"))
    if not isinstance(reasons, dict):
        raise IntegrityError(f"{file}: the reasons of {quoted(row['id'])} are {quoted(reasons)}, expected an object")
    found: list[float | str | None] = []
    for column in run.columns:
        value = _number(row[column])
        found.append(reasons.get(column) if value is None else value)
    return found


def _number(value: Any) -> float | None:
    """A number with six digits; None for NaN and infinity, which JSON does not have."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def anchor(name: str) -> str:
    """The URL fragment of a sample. It is unique, and safe in a URL and as the name of a folder."""
    plain = _plain_ascii(name)[:80]
    return f"s-{plain}" if plain == name else f"s-{plain}-{sha256(name.encode())[:6]}"


def _plain_ascii(name: str) -> str:
    """The name as a part of a file's name, of ASCII letters, digits, `.`, `-` and `_`."""
    return "".join(c if c.isascii() else "_" for c in file_name_of(name))


def _pictures(
    data: DataSet, number: int, protocol: Protocol, shown: Sequence[Shown], written: Pictures, entry: dict[str, Any]
) -> dict[str, Any]:
    """Write the pictures of a sample: the input, the truth and the output of each run.

    Returns:
        What is added to the entry of the sample.
    """
    found: dict[str, Any] = {}
    sample: Sample | None = None
    try:
        sample = prepared(data.sample(number), protocol)
    except AlteredError:
        raise
    except Exception as error:  # the run counted the sample as failed, and the page shows the reason
        found["unreadable"] = without_folders(f"{type(error).__name__}: {error}")
    pictures: list[Image | None] = [sample.image if sample else None, sample.truth if sample else None]
    for run in shown:
        row = run.rows[entry["id"]]
        pictures.append(saved_output(run.run, entry["id"], row["output_sha256"]) if row["status"] == "ok" else None)
    sizes = {pixels.shape for pixels in pictures if pixels is not None}
    if len(sizes) > 1:
        raise IntegrityError(f"the pictures of the sample {quoted(entry['id'])} have different sizes: {sorted(sizes)}")
    stems = ["input", "truth", *(run.key for run in shown)]
    found |= written.add(entry["anchor"], stems, pictures, None if sample is None else sample.mask)
    for height, width, _ in sizes:
        found |= {"width": width, "height": height}
    return found


def _head(runs: Sequence[Run], shown: Sequence[Shown], data: DataSet, protocol: Protocol, keep: Keep) -> dict[str, Any]:
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
        "pictures": keep.pictures,
        "lossless": keep.quality == LOSSLESS,
        "warnings": list(dict.fromkeys(t for r in runs for t in r.summary.every_warning)),
        "areas": [[area.low, None if math.isinf(area.high) else area.high, area.name] for area in AREAS],
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


def _page(values: dict[str, Any]) -> str:
    """The page: the template with its style, its script, and the data as JSON that cannot close its element."""
    folder = resources.files("benchmark.page")
    payload = json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    page = folder.joinpath("report.html").read_text(encoding="utf-8")
    for mark, text in (
        ("__STYLE__", folder.joinpath("report.css").read_text(encoding="utf-8")),
        ("__SCRIPT__", folder.joinpath("report.js").read_text(encoding="utf-8")),
        ("__DATA__", payload),  # last: nothing in the data is replaced
    ):
        page = page.replace(mark, text)
    return page
