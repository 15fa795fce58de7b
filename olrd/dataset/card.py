"""The dataset card: README.md with YAML front matter, statistics, sample pictures, licences, hashes and a datasheet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from olrd.arrays import Image
from olrd.dataset import seen_words
from olrd.dataset.datasheet import datasheet
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE, BuildRecord
from olrd.dataset.responsible import Facts, is_refused
from olrd.dataset.sampling import pick_evenly, rows_at
from olrd.dataset.schema import features
from olrd.errors import ALL_REASONS
from olrd.licenses import is_permissive
from olrd.progress import size_text
from olrd.sources import SEEN
from olrd.storage.files import atomic_path, children, write_atomic
from olrd.storage.remote import Remote
from olrd.trust import counted, escape_markdown, one_line, printable

CARD_FILE = "README.md"
SAMPLE_FILE = "sample.png"
SAMPLES = 8
_LONGEST_CARD = 1 << 24
_DATA_KEY = re.compile(r"\b(configs|dataset_info)\b|<<")
_YAML_WORDS = ("true", "false", "yes", "no", "on", "off", "y", "n", "null")
_INNER = re.compile(r"(?<=[^\W_])\\_(?=[^\W_])")
_LICENSE_TAG = re.compile(r"[A-Za-z0-9.-]{1,40}")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_PASTED_WORDS = (
    "an object was cut out, moved onto a background region of a photo and blended in, so the untouched photo is the exact "
    "ground truth. Outside `{0}`, `image` equals `background` bit for bit."
)
_SHADED_WORDS = " `effect` is the mask with the drawn shadow of the object."
_BOTH_PHOTOS = (
    "A triplet has two photos here, that of the background and that of the object. If their licences or URLs differ, it is in "
    "two rows, so the counts can add up to more than the number of triplets."
)
_STATISTICS = [
    "split",
    "category",
    "background_labels",
    "license",
    "license_url",
    "donor_license",
    "donor_license_url",
    "image_id",
    "donor_image_id",
]


def write_card(out: Path | Remote, record: BuildRecord) -> None:
    """Write README.md, and sample.png where there are pixels, for the shards in `out/data`."""
    write_card_of(Dataset(out, record), out)


def write_card_of(dataset: Dataset, out: Path | Remote) -> None:
    """Write the card of a dataset into any folder."""
    if SAMPLE_FILE in card_files(dataset):
        with atomic_path(out / SAMPLE_FILE) as temporary:
            Pillow.fromarray(sample_sheet(dataset)).save(temporary, "PNG")
    write_atomic(out / CARD_FILE, card_text(dataset))


def sample_sheet(dataset: Dataset) -> Image:
    """The picture of the card, from a few rows."""
    from olrd.dataset.sheet import contact_sheet

    rows = rows_at(dataset, pick_evenly(len(dataset), SAMPLES))
    return contact_sheet(rows, max_pixels=dataset.record.settings().source.max_pixels)


def card_files(dataset: Dataset) -> list[str]:
    """The names of the files that `write_card` writes."""
    return [*([SAMPLE_FILE] if dataset.form == "full" and len(dataset) else []), CARD_FILE]


def changed_card_files(dataset: Dataset) -> list[str]:
    """The names of `card_files` that are not as `write_card` would write them, or are links."""
    changed = []
    for name in card_files(dataset):
        path = dataset.folder / name
        link = isinstance(path, Path) and path.is_symlink()
        same = not link and path.is_file() and path.stat().st_size <= _LONGEST_CARD
        if same and name == CARD_FILE:
            same = path.read_bytes().decode(errors="replace") in _card_texts(dataset)
        elif same:
            same = _shows(path.read_bytes(), sample_sheet(dataset))
        if not same:
            changed.append(name)
    return changed


def _card_texts(dataset: Dataset) -> Iterator[str]:
    """The card, and the card as `olrd caption` wrote it in 0.1: with the libraries by name."""
    yield card_text(dataset)
    by_name = dict(sorted(dataset.record.versions.items()))
    yield card_text(Dataset(dataset.folder, replace(dataset.record, versions=by_name)))


def _shows(data: bytes, pixels: Image) -> bool:
    """Whether a picture file has exactly these pixels, and nothing else such as a text in its metadata."""
    with BytesIO() as written:
        Pillow.fromarray(pixels).save(written, "PNG")
        return written.getvalue() == data


def card_problems(dataset: Dataset) -> Iterator[str]:
    """Where the card and the files of a folder lead readers such as `load_dataset` to other data than build.json.

    The rest of the card is not compared: an earlier version of olrd words it in another way.
    """
    path = dataset.folder / CARD_FILE
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST_CARD:
            raise OSError(f"expected a file of at most {_LONGEST_CARD:,} bytes")
        lines = _without_sizes(path.read_bytes().decode().split("\n"))
        end = lines.index("---", 1)
    except (OSError, ValueError) as error:
        yield f"{path} is not the card of this dataset: {printable(str(error))}"
        return
    expected = _without_sizes(_data_matter(dataset))
    start = end - len(expected)
    other = [line for line in lines[1 : max(start, 1)] if _DATA_KEY.search(line)]
    if lines[0] != "---" or start < 1 or lines[start:end] != expected or other:
        yield (
            f"{path}: its front matter (configs, features, splits) is not that of {BUILD_FILE}: `load_dataset` would "
            "read other data"
        )


def _without_sizes(lines: list[str]) -> list[str]:
    """The lines without those that lead nowhere: the sizes change when captions are written."""
    return [line for line in lines if not line.startswith("    num_bytes: ")]


def stray_files(dataset: Dataset) -> Iterator[str]:
    """Names in a folder that no build writes. Hidden ones (`.git`, `.cache`) and licence files are not read as data."""
    listed = {dataset.folder / shard.file for shard in dataset.record.shards}
    for path in children(dataset.folder):
        known = path.name in (CARD_FILE, BUILD_FILE, SAMPLE_FILE, "data", "parts")  # parts: left by a killed build
        harmless = path.name.startswith((".", "LICENSE", "CITATION")) and path.name != ".huggingface.yaml"
        if not known and not harmless:
            yield f"{path} is not part of the build"
    for path in children(dataset.folder / "data"):
        if path not in listed:
            yield f"{path} is not part of the build"


def card_text(dataset: Dataset) -> str:
    """The whole card as Markdown."""
    facts = _facts(dataset)
    return "\n".join([_front_matter(dataset, facts), _body(dataset, facts)])


def _facts(dataset: Dataset) -> dict[str, Counter[Any]]:
    """Counts over all rows. Licences are counted for both photos of a row. moved: whether the object is of another photo."""
    names = ("category", "label", "license", "split", "refused", "moved")
    facts: dict[str, Counter[Any]] = {name: Counter() for name in names}
    pasted = dataset.record.source.background_kind != SEEN
    photos: set[tuple[str, str]] = set()
    for row in dataset.rows(_STATISTICS):
        facts["category"][row["category"]] += 1
        facts["label"].update(row["background_labels"])
        facts["split"][row["split"]] += 1
        facts["license"].update(
            {(row["license"], row["license_url"]), (row["donor_license"], row["donor_license_url"])}
        )
        facts["refused"][is_refused(row)] += 1
        facts["moved"][pasted and row["donor_image_id"] != row["image_id"]] += 1
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
    ]
    return "\n".join([*lines, *_data_matter(dataset), "---", ""])


def _data_matter(dataset: Dataset) -> list[str]:
    """The end of the front matter, which says what is read: files, features and splits."""
    lines = ["configs:", "- config_name: default", "  data_files:"]
    splits = list(dataset.record.splits)
    for split in splits:
        lines += [f"  - split: {_yaml_word(split)}", f"    path: data/{split}-*.parquet"]
    lines += ["dataset_info:", "  features:"]
    for name, feature in features(dataset.form, dataset.optional).items():
        lines += [f"  - name: {name}", *_yaml_feature(feature)]
    lines.append("  splits:")
    for split in splits:
        shards = [shard for shard in dataset.record.shards if shard.split == split]
        lines += [
            f"  - name: {_yaml_word(split)}",
            f"    num_bytes: {sum(shard.bytes for shard in shards)}",
            f"    num_examples: {sum(shard.rows for shard in shards)}",
        ]
    return lines


def _yaml_word(name: str) -> str:
    """A split's name, quoted if YAML takes it for another value."""
    return f'"{name}"' if name.lower() in _YAML_WORDS else name


def _license_tag(licenses: Counter[Any]) -> str:
    """The Hub's tag if one licence covers all photos, else `other`; the table lists all licences."""
    codes = {code for code, _ in licenses}
    code = str(next(iter(codes))) if len(codes) == 1 else "unknown"
    return code.lower() if code != "unknown" and _LICENSE_TAG.fullmatch(code) else "other"


def _yaml_feature(feature: Mapping[str, Any]) -> list[str]:
    """A feature in the Hub's YAML dialect."""
    if feature["_type"] == "Image":
        if "mode" not in feature:
            return ["    dtype: image"]
        return ["    dtype:", "      image:", f"        mode: {feature['mode']}"]
    if feature["_type"] == "List":
        inner = feature["feature"].get("dtype", "image")
        if "length" in feature:
            return ["    list:", f"      dtype: {inner}", f"    length: {feature['length']}"]
        return [f"    list: {inner}"]
    return [f"    dtype: {feature['dtype']}"]


def _pasted_words(record: BuildRecord) -> str:
    shaded = record.settings().shadow != "none"
    return _PASTED_WORDS.format("effect" if shaded else "mask") + _SHADED_WORDS * shaded


def _body(dataset: Dataset, facts: Mapping[str, Counter[Any]]) -> str:
    record = dataset.record
    totals = record.totals
    size = size_text(record.bytes)
    used = "used for their objects" if facts["moved"][True] else "used"
    # A block of code ends at a run of as many backticks as it began with.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", record.command)), default=0))
    sections = [
        "# Object-removal triplets",
        "",
        f"{counted(totals.triplets, 'triplet')} ({size}) from the source {_code(record.source.name)}: "
        + (seen_words.CARD if record.source.background_kind == SEEN else _pasted_words(record)),
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
        f"{fence}sh",
        printable(record.command),
        fence,
        "",
        f"olrd {escape_markdown(record.olrd)}, annotations {_code(record.source.fingerprint)} (sha256), background "
        f"kind: {escape_markdown(record.source.background_kind)}. Libraries: "
        + ", ".join(escape_markdown(f"{name} {version}") for name, version in record.versions.items())
        + ".",
        "",
        *_table(
            "Splits (by source photo)",
            ("split", "photos", "triplets"),
            [(_word(s), facts["photos"][s], n) for s, n in facts["split"].items()],
        ),
        *_table("Object classes", ("class", "triplets"), facts["category"].most_common(20)),
        *_table("Background under the objects", ("label", "triplets"), facts["label"].most_common(20)),
        *_license_section(facts["license"], _BOTH_PHOTOS if facts["moved"][True] else ""),
        f"## What was left out\n\nPhotos read {totals.photos_read:,}, {used} {totals.photos_used:,}, "
        f"{seen_words.without(record.source.background_kind)} {totals.photos_without_triplet:,}. Segments read "
        f"{totals.objects_read:,}, used {totals.objects_used:,}.",
        "",
        *_table(
            "",
            ("reason", "meaning", "count"),
            [
                (_Markdown(code), _Markdown(ALL_REASONS[code].replace("|", "\\|")), count)
                for counts in ("photos_rejected", "objects_rejected")
                for code, count in sorted(getattr(totals, counts).items(), key=lambda c: (-c[1], c[0]))
            ],
        ),
        *_table(
            "Files",
            ("file", "rows", "sha256"),
            [(_code(shard.file), shard.rows, _code(shard.sha256)) for shard in record.shards],
        ),
        *_datasheet(record, facts),
    ]
    return "\n".join(sections)


def _datasheet(record: BuildRecord, facts: Mapping[str, Counter[Any]]) -> Iterator[str]:
    """The questions of a datasheet with their answers. Every text is escaped."""
    known = Facts(facts["license"], facts["category"], sum(facts["photos"].values()), facts["refused"][True])
    yield from ("## Datasheet", "")
    for part, answers in datasheet(record, known):
        yield from (f"### {part}", "")
        for question, texts in answers:
            yield from (f"**{question}** " + _prose(" ".join(texts)), "")


def _prose(text: str) -> str:
    """A text as Markdown without markup."""
    return _INNER.sub("_", escape_markdown(printable(text.replace("`", "'"))))


def _license_section(licenses: Counter[Any], note: str) -> list[str]:
    rows = [
        (code, url or "-", "yes" if is_permissive(str(code)) else "no", count)
        for (code, url), count in sorted(licenses.items(), key=lambda item: (-item[1], *map(str, item[0])))
    ]
    heading = ("licence", "URL", "derivatives may be published", "triplets")
    table = _table("Licences of the photos", heading, rows, note)
    if all(row[2] == "yes" for row in rows):
        return table
    return [
        *table,
        "Not every photo here allows derivatives to be published: share the recipes "
        "instead (`--form recipes`), or build with `--licenses permissive`.",
        "",
    ]


def _table(title: str, heading: tuple[str, ...], rows: list[tuple[Any, ...]], note: str = "") -> list[str]:
    """A Markdown table under a second-level heading; empty if there are no rows.

    Texts in the cells come from data and are escaped, except `_Markdown`. note: a sentence above the table.
    """
    if not rows:
        return []
    cells = [[_cell(value) for value in row] for row in rows]
    lines = [f"## {title}", ""] if title else []
    lines += [note, ""] if note else []
    lines += ["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in cells), ""]


class _Markdown(str):
    """A text that is Markdown already."""


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, _Markdown):
        return value
    # A `_` between letters or digits is never markup, and many names have one.
    return _INNER.sub("_", escape_markdown(printable(str(value))))


def _code(text: str) -> _Markdown:
    """A text from data as code in a line or in a table."""
    return _Markdown(f"`{printable(one_line(text)).replace('`', chr(39)).replace('|', chr(92) + '|')}`")


def _word(name: object) -> object:
    """The name of a split as it is; whatever else the column holds is escaped."""
    return _Markdown(name) if isinstance(name, str) and name.isidentifier() else name
