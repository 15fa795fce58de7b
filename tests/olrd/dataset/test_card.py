"""The dataset card: what it says is what is in the folder, by somebody else's parser."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from built_folders import digest, emptied
from datasets.utils.metadata import MetadataConfigs
from drawn_sets import DrawnSets
from huggingface_hub import DatasetCard
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.cli.build import parser
from olrd.config import BuildConfig, CandidateRules
from olrd.dataset import card
from olrd.dataset.folder import Dataset
from olrd.errors import ALL_REASONS
from olrd.licenses import is_permissive
from olrd.options import from_arguments
from olrd.sources import SourceSpec


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(12)


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    return BuildConfig(
        SourceSpec("coco", str(root), "train2017"),
        seed=3,
        per_object=1,
        donor="other",
        blend="feather",
        match=("noise", "sharpness"),
        scale=(0.8, 1.25),
        flip=True,
        rules=CandidateRules(min_area=0.001, categories=("dog", "sports ball", "suitcase")),
        splits=(("train", 0.7), ("held_out", 0.3)),
        shard_bytes=300_000,
    )


@pytest.fixture(scope="module", params=["full", "recipes"])
def folder(request: pytest.FixtureRequest, config: BuildConfig, drawn: DrawnSets) -> Path:
    return drawn.built(replace(config, form=request.param))


def front_matter(folder: Path) -> dict[str, Any]:
    text = (folder / "README.md").read_text()
    values: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return values


def table(folder: Path, heading: str) -> list[list[str]]:
    """The cells of the table whose first line starts with that heading."""
    lines = (folder / "README.md").read_text().splitlines()
    start = lines.index(next(line for line in lines if line.startswith(f"| {heading} |")))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip(" `") for cell in line.strip("|").split(" | ")])
    return rows


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    names = [
        "split",
        "category",
        "background_labels",
        "image_id",
        "license",
        "license_url",
        "donor_license",
        "donor_license_url",
    ]
    return list(Dataset(folder).rows(names))


def test_the_hub_accepts_the_front_matter(folder: Path) -> None:
    card = DatasetCard.load(folder / "README.md")
    values = front_matter(folder)
    assert card.data.task_categories == ["image-to-image"]
    assert card.data.to_dict()["dataset_info"] == values["dataset_info"]
    assert card.data.size_categories == ["n<1K"]
    assert values["license"] == "other"
    assert card.text.lstrip().startswith("# Object-removal triplets")


def test_the_features_are_the_real_ones(folder: Path) -> None:
    """By the reader of `datasets` itself, against the schema of the shards."""
    import pyarrow.parquet as pq

    info = datasets.DatasetInfo._from_yaml_dict(front_matter(folder)["dataset_info"])
    for shard in Dataset(folder).shards:
        real = datasets.Features.from_arrow_schema(pq.read_schema(shard))
        assert info.features == real
        assert list(info.features) == list(real)


@pytest.mark.slow
def test_loading_with_and_without_the_card_gives_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    bare = tmp_path / "bare"
    shutil.copytree(folder / "data", bare / "data")
    one = datasets.load_dataset(str(folder))
    assert {split: len(part) for split, part in one.items()} == {
        part["name"]: part["num_examples"] for part in front_matter(folder)["dataset_info"]["splits"]
    }
    # Without the card the shards still say what they hold; only known split names are found then.
    other = datasets.load_dataset(str(bare))
    assert other["train"].features == one["train"].features


def test_splits_and_sizes_are_those_of_the_files(folder: Path) -> None:
    values = front_matter(folder)
    counts = Counter(row["split"] for row in rows_of(folder))
    assert set(counts) == {"train", "held_out"}
    for part in values["dataset_info"]["splits"]:
        files = list((folder / "data").glob(f"{part['name']}-*.parquet"))
        assert part["num_bytes"] == sum(file.stat().st_size for file in files)
        assert part["num_examples"] == counts.pop(part["name"])
    assert not counts
    (configs,) = MetadataConfigs.from_dataset_card_data(DatasetCard.load(folder / "README.md").data).values()
    assert [entry["split"] for entry in configs["data_files"]] == ["train", "held_out"]
    for entry in configs["data_files"]:
        assert sorted(folder.glob(entry["path"])) == sorted((folder / "data").glob(f"{entry['split']}-*.parquet"))


def test_the_tables_count_what_is_there(folder: Path) -> None:
    rows = rows_of(folder)
    splits = Counter(row["split"] for row in rows)
    photos = Counter(split for split, _ in {(row["split"], row["image_id"]) for row in rows})
    assert {(name, number(p), number(n)) for name, p, n in table(folder, "split")} == {
        (name, photos[name], splits[name]) for name in splits
    }
    classes = Counter(row["category"] for row in rows)
    assert {name: number(n) for name, n in table(folder, "class")} == classes
    labels = Counter(label for row in rows for label in row["background_labels"])
    assert {name: number(n) for name, n in table(folder, "label")} == labels


def test_the_licence_table_counts_both_photos_of_a_triplet(folder: Path) -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for row in rows_of(folder):
        expected.update({(row["license"], row["license_url"]), (row["donor_license"], row["donor_license_url"])})
    shown = {(code, url): (free, number(n)) for code, url, free, n in table(folder, "licence")}
    assert {key: n for key, (_, n) in shown.items()} == expected
    for (code, _), (free, _) in shown.items():
        assert free == ("yes" if is_permissive(code) else "no")
    text = (folder / "README.md").read_text()
    assert "--form recipes" in text
    assert f"Photos read 12, used for their objects {Dataset(folder).record.totals.photos_used}, without" in text
    assert (
        "## Licences of the photos\n\nA triplet has two photos here, that of the background and that of the object."
        in text
    )


def test_one_licence_is_the_tag(config: BuildConfig, root: Path, tmp_path: Path) -> None:
    build(replace(config, licenses="4", donor="same", form="recipes"), tmp_path / "out")
    assert front_matter(tmp_path / "out")["license"] == "cc-by-2.0"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "Not every photo here allows" not in text
    assert "two photos" not in text  # every object is of its background's photo


def test_the_reasons_are_those_of_the_record(folder: Path) -> None:
    totals = Dataset(folder).record.to_json()["totals"]
    expected = totals["photos_rejected"] | totals["objects_rejected"]
    shown = table(folder, "reason")
    assert {code: number(n) for code, _, n in shown} == expected
    assert all(meaning == ALL_REASONS[code] for code, meaning, _ in shown)


def test_the_datasheet_is_answered_from_the_record(folder: Path) -> None:
    dataset = Dataset(folder)
    record, text = dataset.record, (folder / "README.md").read_text()
    sheet = text[text.index("## Datasheet") :]
    parts = ["Motivation", "Composition", "Collection", "Processing", "Uses", "Distribution", "Maintenance"]
    assert re.findall(r"^### (.*)$", sheet, re.M) == parts
    photos = len({row["image_id"] for row in rows_of(folder)})
    assert f"{len(dataset):,} rows of {photos:,} photos: train " in sheet
    assert f"{record.totals.photos_read:,} read, {record.totals.photos_used:,} used" in sheet
    assert f"placement {record.settings().placement}" in sheet and record.identity[:16] in sheet
    assert ("every row holds its pictures" in sheet) == (dataset.form == "full")
    answers = re.findall(r"^\*\*(.+?\?)\*\* (.+)$", sheet, re.M)
    assert len(answers) == 19 and all(len(answer) > 20 for _, answer in answers)


def test_the_hashes_are_those_of_the_files(folder: Path) -> None:
    files = digest(folder)
    listed = {name: sha for name, _, sha in table(folder, "file")}
    assert listed == {name: sha for name, sha in files.items() if name.startswith("data/")}
    assert sum(number(n) for _, n, _ in table(folder, "file")) == len(Dataset(folder))


def test_the_command_gives_the_configuration_back(folder: Path, config: BuildConfig, root: Path) -> None:
    text = (folder / "README.md").read_text()
    found = re.search(r"```sh\n(.*)\n```", text)
    assert found
    words = shlex.split(found[1].replace("ROOT", shlex.quote(str(root))))
    assert words[0] == "olrd-build"
    form = Dataset(folder).form
    assert from_arguments(BuildConfig, parser().parse_args(words[1:])) == replace(config, form=form)


def test_nothing_private_is_in_the_folder(folder: Path, root: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert str(root).encode() not in path.read_bytes()
            assert str(folder).encode() not in path.read_bytes()


def test_there_is_a_picture_where_there_are_pixels(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    if Dataset(folder).form == "full":
        assert "![Sample triplets](sample.png)" in text
        with Pillow.open(folder / "sample.png") as sheet:
            sheet.load()
            assert min(sheet.size) > 300
            assert len(sheet.convert("RGB").getcolors(1 << 24) or []) > 1000
    else:
        assert "sample.png" not in text
        assert "olrd rebuild" in text


@pytest.mark.slow
def test_a_card_without_any_triplet_is_valid(config: BuildConfig, root: Path, tmp_path: Path) -> None:
    build(config, tmp_path / "out")
    emptied(tmp_path / "out")
    values = front_matter(tmp_path / "out")
    assert values["dataset_info"]["splits"] in (None, [])
    info = datasets.DatasetInfo._from_yaml_dict({"features": values["dataset_info"]["features"], "splits": []})
    assert "image" in info.features
    DatasetCard.load(tmp_path / "out" / "README.md")


# --- texts of a stranger --------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script> ![x](http://evil/t.png) | a\n# New heading\n`code` [l](javascript:1)"


def test_texts_from_data_are_no_markup(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of classes and licences are a stranger's; the Hub renders the card."""
    dataset = Dataset(folder)
    hostile = dict.fromkeys(("category", "license", "license_url", "split"), HOSTILE)
    rows = [row | hostile | {"background_labels": [HOSTILE]} for row in dataset.rows(card._STATISTICS)]
    record = dataset.record
    record = replace(
        record,
        olrd=HOSTILE,
        source=record.source._replace(name=HOSTILE, fingerprint=HOSTILE, background_kind=HOSTILE),
        versions={HOSTILE: HOSTILE},
        command="olrd-build\n```\n# Another heading\n<img src=x>",
    )
    broken = Dataset(folder, record)
    monkeypatch.setattr(broken, "rows", lambda columns: iter(rows))
    text = card.card_text(broken)
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "other"
    body = text.split("---\n", 2)[2]
    fenced = re.search(r"^(`{3,})sh\n(.*?)\n\1$", body, re.S | re.M)
    assert fenced is not None and fenced[2] == record.command
    prose = re.sub(r"`[^`\n]*`", "", body.replace(fenced[0], ""))
    assert "<script" not in prose and "<img" not in prose
    assert not re.search(r"(?<!\\)\[", prose.replace("![Sample triplets](sample.png)", ""))
    assert not re.search(r"^# (?!Object-removal triplets$)", body.replace(fenced[0], ""), re.M)
    for table in re.findall(r"(?:^\|.*\n)+", body, re.M):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table


def test_names_of_honest_data_stay_as_they_are() -> None:
    for name in ("sky-other-merged", "traffic_light", "held_out", "Tree (in a pot)", "http://a.b/c_d/by-nc/2.0/"):
        assert card._cell(name) == name
    assert card._cell("_emphasis_") == "\\_emphasis\\_"


def test_a_split_with_a_name_that_yaml_knows_is_quoted() -> None:
    assert [yaml.safe_load(card._yaml_word(name)) for name in ("no", "On", "null", "train")] == [
        "no",
        "On",
        "null",
        "train",
    ]
