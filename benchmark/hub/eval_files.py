"""The Hub's files of a benchmark: `eval.yaml` for the dataset's repository, `.eval_results/` for those of models.

    DIR/dataset/eval.yaml                        the tasks: one per protocol and headline score
    DIR/models/<model>/.eval_results/<set>.yaml  the values of one method, with their intervals as notes

The Hub describes the files at https://huggingface.co/docs/hub/eval-results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.board.ranking import Column, cell_of, columns_of, group_key, sections, settings_of
from benchmark.board.records import key_of, read_records, safe_name
from benchmark.hub.yaml_text import to_yaml
from benchmark.runner.summary import Summary
from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.sources.seen.hub_pictures import HUB_ID
from olrd.storage.files import write_atomic
from olrd.trust import counted, shown

FRAMEWORK = "olrd-bench"
DIGITS = 6


@dataclass(frozen=True)
class HubNames:
    """What things are called on the Hub.

    Attributes:
        dataset: repository of the dataset, `NAME/SET`.
        config, split: of the dataset.
        revision: commit of the dataset's repository; empty if it is not pinned.
        source: address that the results link to, e.g. of the board's Space; empty for none.
        models: repository by method. With some, only their results are written.
    """

    dataset: str
    config: str = "default"
    split: str = "test"
    revision: str = ""
    source: str = ""
    models: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for a name that no repository has."""
        for of, repository in {"the dataset": self.dataset, **(self.models or {})}.items():
            if not re.fullmatch(HUB_ID, repository):
                raise UsageError(f"the repository of {of} on the Hub: expected OWNER/NAME, got {shown(repository)}")


def write_eval_files(board: Path, dataset: str, names: HubNames, out: Path) -> list[Path]:
    """Write `eval.yaml` and the results of all complete methods of one dataset; returns the paths.

    Args:
        board: the folder of the board.
        dataset: its name on the board.
        names: what things are called on the Hub.
        out: the folder to write to.

    Raises:
        SourceError: the board has no records.
        UsageError: the board has no such dataset or method, or two sections would give a task two meanings.
    """
    records = read_records(board)
    if not records:
        raise SourceError(f"{board} holds no records")
    known = {record.dataset.name for record in records}
    if dataset not in known:
        raise did_you_mean("dataset of this board", dataset, known)
    records = [record for record in records if record.dataset.name == dataset and not record.disturbance]
    if not records:
        raise SourceError(f"{board} holds only disturbed runs on {dataset}, which are no results of the benchmark")
    _check_sections(records, board)
    written = [out / "dataset" / "eval.yaml"]
    _write(written[0], eval_yaml(records, names))
    complete = [record for record in records if _is_ranked(record, records)]
    wanted = names.models or {record.method.name: safe_name(record.method.name) for record in complete}
    if len(set(wanted.values())) < len(wanted):
        raise UsageError(f"two methods have one repository ({wanted}): both would write the same file")
    for method, model in sorted(wanted.items()):
        mine = [record for record in complete if record.method.name == method]
        if not mine:
            raise did_you_mean(f"complete method on {dataset}", method, {one.method.name for one in complete})
        folder = out.joinpath("models", *map(safe_name, model.split("/"))) / ".eval_results"
        for settings, variants in _by_settings(mine).items():
            suffix = f"-{key_of(variants[0])}" if settings else ""
            written.append(folder / f"{safe_name(dataset)}{suffix}.yaml")
            _write(written[-1], [entry for record in variants for entry in entries(record, names)])
    return written


def eval_yaml(records: Sequence[Summary], names: HubNames) -> dict[str, Any]:
    """The content of `eval.yaml`: one task per protocol and headline score."""
    tasks: dict[str, Column] = {}
    for record in records:
        tasks |= {task_id(record, column.name): column for column in columns_of(record)[0]}
    lines = [f"{name}: {_direction(column)}" for name, column in sorted(tasks.items())]
    one = records[0]
    return {
        "name": one.dataset.name,
        "description": (
            f"Object removal on {counted(one.dataset.total, 'sample')} with a known truth, fingerprint {one.dataset.fingerprint}. "
            f"Tasks: {'; '.join(lines)}."
        ),
        "evaluation_framework": FRAMEWORK,
        "tasks": [{"id": name, "config": names.config, "split": names.split} for name in sorted(tasks)],
    }


def entries(record: Summary, names: HubNames) -> list[dict[str, Any]]:
    """The results of a record, one per headline score that has a value."""
    found = []
    for column in columns_of(record)[0]:
        cell = cell_of(record, column.name)
        if cell.value is None:
            continue
        dataset = {"id": names.dataset, "task_id": task_id(record, column.name)}
        entry: dict[str, Any] = {"dataset": dataset | ({"revision": names.revision} if names.revision else {})}
        entry["value"] = round(cell.value, DIGITS)
        if names.source:
            entry["source"] = {"url": names.source, "name": FRAMEWORK}
        entry["notes"] = _notes(record, cell.n, cell.low, cell.high)
        found.append(entry)
    return found


def task_id(record: Summary, column: str) -> str:
    """The name of a task, e.g. `native-1-lpips-alex-mask-raw`."""
    protocol = record.protocol
    return safe_name(f"{protocol.name}-{protocol.version}-{column.replace('/', '-').replace(':', '-')}")


def _notes(record: Summary, n: int, low: float | None, high: float | None) -> str:
    parts = [f"n = {n}"]
    if low is not None and high is not None:
        parts.append(f"95 % interval {low:.4g} to {high:.4g}")
    parts.append(f"{record.label}, protocol {record.protocol_id}")
    if settings := settings_of(record):
        parts.append(settings)
    return "; ".join(parts)


def _direction(column: Column) -> str:
    better = f"{'higher' if column.higher_is_better else 'lower'} is better"
    return f"{column.unit}, {better}" if column.unit else better


def _by_settings(records: Sequence[Summary]) -> dict[str, list[Summary]]:
    """The records by revision, device and settings. The first group has an empty name: its file gets no suffix."""
    groups: dict[str, list[Summary]] = {}
    for record in records:
        groups.setdefault(f"{record.method.revision} {record.method.device} {settings_of(record)}", []).append(record)
    return {name if number else "": group for number, (name, group) in enumerate(sorted(groups.items()))}


def _is_ranked(record: Summary, records: Sequence[Summary]) -> bool:
    """Whether a record is complete and no control."""
    if record.method.control:
        return False
    (section,) = sections([record])
    return bool(section.ranked)


def _check_sections(records: Sequence[Summary], board: Path) -> None:
    groups: dict[tuple[str, int], set[tuple[str, ...]]] = {}
    for record in records:
        groups.setdefault((record.protocol.name, record.protocol.version), set()).add(group_key(record))
    for (name, version), keys in groups.items():
        if len(keys) > 1:
            raise UsageError(
                f"{board} has {len(keys)} sections of {records[0].dataset.name} under the protocol {name}-{version} (other "
                "data or metric revisions): a task of the Hub would mean several things. Export a board with one of them"
            )


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, to_yaml(values))
