"""`olrd diff`: which triplets came, went and changed between two datasets, by their recipes, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from olrd.dataset.folder import Dataset
from olrd.dataset.record import BuildRecord
from olrd.errors import IntegrityError
from olrd.storage.files import sha256, to_json
from olrd.triplets.recipe import MAX_TEXT
from olrd.trust import counted, one_line, parse_json, printable, shown

COLUMNS = ("split", "category", "supercategory", "background_labels", "prompt", "caption", "license", "donor_license")
"""Columns that a recipe does not decide. A change in one of them is a change of the triplet."""
PHOTOS = ("source", "image_id", "donor_image_id", "segment_id")
REASONS = {
    "photo": "its photo has no triplet in the other",
    "object": "its photo has triplets in the other, its object has none",
    "triplet": "its object has other triplets in the other",
}
EXAMPLES = 10
"""Triplets of each kind that the text lists."""


class _Row(NamedTuple):
    """What is remembered of a row: hashes of recipe and columns, and the photo and the object for the reasons."""

    recipe: str
    columns: str
    photo: str
    object: str


def diff(old: Path | str, new: Path | str) -> dict[str, Any]:
    """Compare two datasets, folders or URLs, in full form or recipes.

    Triplets are matched by id, and by recipe where the id is another. Recipes hold the sha256 of the pixels, so no
    picture is read; `olrd verify` compares pixels and recipes.

    Returns:
        JSON values: `same`, a number; `came` and `went`, {id, reason} in order of the rows (see `REASONS`); `changed`,
        {id, fields}, where fields are keys of the recipe or columns; `renamed`, {old, new}; `settings`, `versions` and
        `left_out`, [old, new] by name for what differs.

    Raises:
        SourceError: a folder holds no build.
        IntegrityError: a row has no id, or one that another row has, or its recipe is none.
    """
    a, b = Dataset(old), Dataset(new)
    rows_a, rows_b = _read(a), _read(b)
    both = [name for name in rows_b if name in rows_a]
    changed = [name for name in both if rows_a[name][:2] != rows_b[name][:2]]
    gone = [name for name in rows_a if name not in rows_b]
    added = [name for name in rows_b if name not in rows_a]
    renamed = _renamed(gone, added, rows_a, rows_b)
    moved = set(renamed) | set(renamed.values())
    fields = _fields(a, b, set(changed))
    return {
        "old": str(old),
        "new": str(new),
        "same": len(both) - len(changed),
        "came": _with_reasons([name for name in added if name not in moved], rows_b, rows_a),
        "went": _with_reasons([name for name in gone if name not in moved], rows_a, rows_b),
        "changed": [{"id": name, "fields": fields[name]} for name in changed],
        "renamed": [{"old": was, "new": name} for was, name in renamed.items()],
        "settings": _settings(a.record, b.record),
        "versions": _different(_versions(a.record), _versions(b.record)),
        "left_out": _different(_left_out(a.record), _left_out(b.record)),
    }


def differs(result: Mapping[str, Any]) -> bool:
    """Whether a triplet came, went, changed, or has another id."""
    return any(result[kind] for kind in ("came", "went", "changed", "renamed"))


def _read(dataset: Dataset) -> dict[str, _Row]:
    """The rows by id."""
    found: dict[str, _Row] = {}
    for row in dataset.rows(["id", *PHOTOS, *COLUMNS, "recipe"]):
        name = row["id"]
        if not isinstance(name, str) or name in found:
            what = "no id" if not isinstance(name, str) else f"the id {shown(name)}, which another row has too"
            raise IntegrityError(f"{dataset.folder}: a row has {what}; `olrd verify` lists all problems")
        values = _recipe(row)
        values.pop("id", None)
        place = f"{row['source']}/{row['image_id']}"
        piece = f"{place}/{row['donor_image_id']}/{row['segment_id']}"
        columns = {column: row[column] for column in COLUMNS}
        found[name] = _Row(_hash(values), _hash(columns), _hash(place), _hash(piece))
    return found


def _recipe(row: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a row as JSON values, of any version."""
    text, where = row["recipe"], f"the recipe of {shown(row['id'])}"
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise IntegrityError(f"{where}: expected a text of at most {MAX_TEXT:,} characters, got {shown(text)}")
    values = parse_json(text, where)
    if not isinstance(values, dict):
        raise IntegrityError(f"{where}: expected an object, got {shown(values)}")
    return values


def _hash(value: Any) -> str:
    return sha256(to_json(value).encode(errors="surrogatepass"))


def _renamed(
    gone: Iterable[str], added: Iterable[str], rows_a: Mapping[str, _Row], rows_b: Mapping[str, _Row]
) -> dict[str, str]:
    """New ids by old ids of triplets with the same recipe. Each is used once."""
    waiting: dict[str, list[str]] = {}
    for name in added:
        waiting.setdefault(rows_b[name].recipe, []).append(name)
    return {name: same.pop(0) for name in gone if (same := waiting.get(rows_a[name].recipe))}


def _with_reasons(names: Iterable[str], own: Mapping[str, _Row], other: Mapping[str, _Row]) -> list[dict[str, str]]:
    photos, objects = ({getattr(row, kind) for row in other.values()} for kind in ("photo", "object"))
    return [
        {
            "id": name,
            "reason": "photo"
            if own[name].photo not in photos
            else "triplet"
            if own[name].object in objects
            else "object",
        }
        for name in names
    ]


def _fields(a: Dataset, b: Dataset, changed: set[str]) -> dict[str, list[str]]:
    """The recipe keys and columns that differ, by id. Only the changed rows are remembered."""
    names = ["id", *COLUMNS, "recipe"]
    old = {row["id"]: row for row in a.rows(names) if row["id"] in changed}
    found: dict[str, list[str]] = {}
    for row in b.rows(names):
        if (name := row["id"]) in changed:
            before, after = _recipe(old[name]), _recipe(row)
            keys = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
            found[name] = keys + [column for column in COLUMNS if old[name][column] != row[column]]
    return found


def _settings(a: BuildRecord, b: BuildRecord) -> dict[str, list[Any]]:
    """The options that differ, with dots for those inside others, and the annotations."""
    old, new = (dict(_flat(one.config)) | {"annotations": one.source.fingerprint} for one in (a, b))
    return _different(old, new)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _versions(record: BuildRecord) -> dict[str, str]:
    return {"olrd": record.olrd, **record.versions}


def _left_out(record: BuildRecord) -> dict[str, int]:
    """Counts of what was read, used and left out by reason."""
    totals = record.totals
    whole = ("photos_read", "photos_used", "photos_without_triplet", "objects_read", "objects_used")
    return {name: getattr(totals, name) for name in whole} | dict(totals.photos_rejected + totals.objects_rejected)


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """[old, new] of every name whose values differ; None for a name that is not there."""
    names = dict.fromkeys([*old, *new])
    return {name: [old.get(name), new.get(name)] for name in names if old.get(name) != new.get(name)}


def diff_text(result: Mapping[str, Any]) -> str:
    """The comparison as text."""
    if not differs(result):
        lines = [f"the same {counted(result['same'], 'triplet')}"]
    else:
        parts = [f"{len(result[kind]):,} {kind}" for kind in ("came", "went", "changed", "renamed")]
        lines = [f"{result['same']:,} the same, {', '.join(parts)}"]
    for kind, sign in (("came", "+"), ("went", "-")):
        for reason, count in Counter(one["reason"] for one in result[kind]).most_common():
            lines.append(f"  {sign} {count:>8,}  {REASONS[reason]}")
    for name, count in Counter(name for one in result["changed"] for name in one["fields"]).most_common():
        lines.append(f"  ~ {count:>8,}  {_line(name)} differs")
    for kind, sign in (("came", "+"), ("went", "-"), ("changed", "~"), ("renamed", ">")):
        lines += _listed(sign, [_entry(one) for one in result[kind]])
    for title, name in (("settings", "settings"), ("versions", "versions"), ("read and left out", "left_out")):
        if result[name]:
            lines += [
                "",
                title,
                *(f"  {_line(key)}: {_line(old)} -> {_line(new)}" for key, (old, new) in result[name].items()),
            ]
    return "\n".join(lines)


def _entry(one: Mapping[str, Any]) -> str:
    if "old" in one:
        return f"{_line(one['old'])} is now {_line(one['new'])}"
    return _line(one["id"]) + (f"  ({', '.join(map(_line, one['fields']))})" if "fields" in one else "")


def _listed(sign: str, entries: list[str]) -> list[str]:
    more = [f"{sign} ... and {len(entries) - EXAMPLES:,} more: --json lists all"] if len(entries) > EXAMPLES else []
    return ["", *(f"{sign} {one}" for one in entries[:EXAMPLES]), *more] if entries else []


def _line(value: object) -> str:
    """A value from a dataset as one short line."""
    text = printable(one_line(str(value)))
    return text if len(text) <= 120 else f"{text[:117]}..."
