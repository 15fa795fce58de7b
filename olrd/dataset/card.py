"""The dataset card: README.md with YAML front matter, statistics, sample pictures, licences and hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from olrd.dataset.folder import Dataset
from olrd.dataset.record import BuildRecord
from olrd.dataset.sampling import pick_evenly, rows_at
from olrd.dataset.schema import features
from olrd.licenses import is_permissive
from olrd.reasons import ALL_REASONS
from olrd.storage.files import atomic_path, write_atomic
from olrd.storage.remote import Remote
from olrd.texts import size_text

SAMPLES = 8
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_STATISTICS = [
    "split",
    "category",
    "background_labels",
    "license",
    "license_url",
    "donor_license",
    "donor_license_url",
    "image_id",
]


def write_card(out: Path | Remote, record: BuildRecord) -> None:
    """Write README.md, and sample.png where there are pixels, for the shards in `out/data`."""
    dataset = Dataset(out, record)
    if dataset.form == "full" and len(dataset):
        from olrd.dataset.sheet import contact_sheet

        sheet = contact_sheet(rows_at(dataset, pick_evenly(len(dataset), SAMPLES)))
        with atomic_path(out / "sample.png") as temporary:
            Pillow.fromarray(sheet).save(temporary, "PNG")
    write_atomic(out / "README.md", card_text(dataset))


def card_text(dataset: Dataset) -> str:
    """The whole card as Markdown."""
    facts = _facts(dataset)
    return "\n".join([_front_matter(dataset, facts), _body(dataset, facts)])


def _facts(dataset: Dataset) -> dict[str, Counter[Any]]:
    """Counts over all rows. Licences are counted for both photos of a row."""
    facts: dict[str, Counter[Any]] = {name: Counter() for name in ("category", "label", "license", "split")}
    photos: set[tuple[str, str]] = set()
    for row in dataset.rows(_STATISTICS):
        facts["category"][row["category"]] += 1
        facts["label"].update(row["background_labels"])
        facts["split"][row["split"]] += 1
        facts["license"].update(
            {(row["license"], row["license_url"]), (row["donor_license"], row["donor_license_url"])}
        )
        photos.add((row["split"], row["image_id"]))
    facts["photos"] = Counter(split for split, _ in photos)
    return facts


def _front_matter(dataset: Dataset, facts: Mapping[str, Counter[Any]]) -> str:
    """YAML that the Hub reads: licence, task, size, features and splits."""
    total = len(dataset)
    size = next((name for limit, name in _SIZES if total < limit), "1M<n<10M")
    lines = [
        "---",
        f"license: {_license_tag(facts['license'])}",
        "task_categories:",
        "- image-to-image",
        "tags:",
        "- object-removal",
        "- inpainting",
        "size_categories:",
        f"- {size}",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    splits = list(dict.fromkeys(shard.split for shard in dataset.record.shards))
    for split in splits:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    lines += ["dataset_info:", "  features:"]
    for name, feature in features(dataset.form).items():
        lines += [f"  - name: {name}", *_yaml_feature(feature)]
    lines.append("  splits:")
    for split in splits:
        shards = [shard for shard in dataset.record.shards if shard.split == split]
        lines += [
            f"  - name: {split}",
            f"    num_bytes: {sum(shard.bytes for shard in shards)}",
            f"    num_examples: {sum(shard.rows for shard in shards)}",
        ]
    return "\n".join([*lines, "---", ""])


def _license_tag(licenses: Counter[Any]) -> str:
    """The Hub's tag if one licence covers all photos, else `other`; the table lists all licences."""
    codes = {code for code, _ in licenses}
    return next(iter(codes)).lower() if len(codes) == 1 and "unknown" not in codes else "other"


def _yaml_feature(feature: Mapping[str, Any]) -> list[str]:
    """A feature in the Hub's YAML dialect."""
    if feature["_type"] == "Image":
        if "mode" not in feature:
            return ["    dtype: image"]
        return ["    dtype:", "      image:", f"        mode: {feature['mode']}"]
    if feature["_type"] == "List":
        inner = feature["feature"]["dtype"]
        if "length" in feature:
            return ["    list:", f"      dtype: {inner}", f"    length: {feature['length']}"]
        return [f"    list: {inner}"]
    return [f"    dtype: {feature['dtype']}"]


def _body(dataset: Dataset, facts: Mapping[str, Counter[Any]]) -> str:
    record = dataset.record
    totals = record.totals
    size = size_text(record.bytes)
    sections = [
        "# Object-removal triplets",
        "",
        f"{totals.triplets:,} triplets ({size}) from the source `{record.source.name}`: an "
        "object was cut out, moved onto a background region of a photo and blended in, so the "
        "untouched photo is the exact ground truth. Outside `mask`, `image` equals `background` bit "
        "for bit.",
        "",
    ]
    if dataset.form == "full":
        sections += ["![Sample triplets](sample.png)", ""]
    else:
        sections += [
            "This folder holds recipes without pixels. `olrd rebuild THIS --root PHOTOS --out OUT` makes the pictures "
            "from the photos and proves them by hash.",
            "",
        ]
    sections += [
        "## How it was made",
        "",
        "```sh",
        record.command,
        "```",
        "",
        f"olrd {record.olrd}, annotations `{record.source.fingerprint}` (sha256), background "
        f"kind: {record.source.background_kind}. Libraries: "
        + ", ".join(f"{name} {version}" for name, version in record.versions.items())
        + ".",
        "",
        *_table(
            "Splits (by source photo)",
            ("split", "photos", "triplets"),
            [(s, facts["photos"][s], n) for s, n in facts["split"].items()],
        ),
        *_table("Object classes", ("class", "triplets"), facts["category"].most_common(20)),
        *_table("Background under the objects", ("label", "triplets"), facts["label"].most_common(20)),
        *_license_section(facts["license"]),
        f"## What was left out\n\nPhotos read {totals.photos_read:,}, used {totals.photos_used:,}, "
        f"without a movable object {totals.photos_without_triplet:,}. Segments read "
        f"{totals.objects_read:,}, used {totals.objects_used:,}.",
        "",
        *_table(
            "",
            ("reason", "meaning", "count"),
            [
                (code, ALL_REASONS[code], count)
                for counts in ("photos_rejected", "objects_rejected")
                for code, count in sorted(getattr(totals, counts).items(), key=lambda c: (-c[1], c[0]))
            ],
        ),
        *_table(
            "Files",
            ("file", "rows", "sha256"),
            [(f"`{shard.file}`", shard.rows, f"`{shard.sha256}`") for shard in record.shards],
        ),
    ]
    return "\n".join(sections)


def _license_section(licenses: Counter[Any]) -> list[str]:
    rows = [
        (code, url or "-", "yes" if is_permissive(code) else "no", count)
        for (code, url), count in sorted(licenses.items(), key=lambda item: (-item[1], item[0]))
    ]
    heading = ("licence", "URL", "derivatives may be published", "triplets")
    table = _table("Licences of the photos", heading, rows)
    if all(row[2] == "yes" for row in rows):
        return table
    return [
        *table,
        "Not every photo here allows derivatives to be published: share the recipes "
        "instead (`--form recipes`), or build with `--licenses permissive`.",
        "",
    ]


def _table(title: str, heading: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    """A Markdown table under a second-level heading; empty if there are no rows."""
    if not rows:
        return []
    cells = [[f"{v:,}" if isinstance(v, int) else str(v).replace("|", "\\|") for v in row] for row in rows]
    lines = [f"## {title}", ""] if title else []
    lines += ["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in cells), ""]
