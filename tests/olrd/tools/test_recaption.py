"""Captions into a finished dataset: hashes stay true, whenever it is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import olrd.tools.captions
from olrd.arrays import Image
from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.dataset.card import changed_card_files
from olrd.dataset.folder import Dataset
from olrd.errors import IntegrityError, UsageError
from olrd.sources import SourceSpec
from olrd.tools.captions import caption_folder
from olrd.tools.verify import verify


class Stub:
    """Says what it was shown: the photo's size and the tags."""

    commit = "0" * 40

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def caption(self, photos: Sequence[Image], tags: Sequence[Sequence[str]]) -> list[str]:
        return [f"{p.shape[1]} x {p.shape[0]}: {', '.join(t)}" for p, t in zip(photos, tags, strict=True)]


@pytest.fixture
def folder(coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("olrd.tools.captions.Captioner", Stub)
    config = BuildConfig(SourceSpec("coco", str(coco_root)), splits=(("a", 0.5), ("b", 0.5)))
    build(config, tmp_path / "out")
    return tmp_path / "out"


def captions(folder: Path) -> dict[str, str | None]:
    return {row["id"]: row["caption"] for row in Dataset(folder).rows(["id", "caption"])}


def test_every_row_gets_the_caption_of_its_background(folder: Path) -> None:
    before = Dataset(folder).record.to_json()
    caption_folder(folder, "some/checkpoint")
    for row in Dataset(folder).rows():
        labels = ", ".join(row["background_labels"])
        assert row["caption"] == f"{row['width']} x {row['height']}: {labels}"
    assert verify(folder)["problems"] == []
    after = Dataset(folder).record.to_json()
    assert after["captions"]["checkpoint"] == "some/checkpoint"
    assert after["identity"] == before["identity"]
    assert after["shards"][0]["sha256"] in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("replaced", [0, 1])
def test_cut_off_in_the_middle_is_completed_by_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, replaced: int
) -> None:
    """Cut off between naming a shard's hash and putting the shard in place."""
    real, calls = olrd.tools.captions.os.replace, []

    def cut(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > replaced and Path(target).suffix == ".parquet":
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(olrd.tools.captions.os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        caption_folder(folder, "some/checkpoint")
    monkeypatch.setattr(olrd.tools.captions.os, "replace", real)
    caption_folder(folder, "some/checkpoint")
    assert None not in captions(folder).values()
    assert verify(folder)["problems"] == []
    assert not list((folder / "data").glob(".*"))


def test_recipes_cannot_be_captioned(coco_root: Path, tmp_path: Path) -> None:
    build(BuildConfig(SourceSpec("coco", str(coco_root)), form="recipes", limit=2), tmp_path / "out")
    with pytest.raises(UsageError, match="rebuild"):
        caption_folder(tmp_path / "out", "some/checkpoint")


@pytest.mark.slow
def test_a_checkpoint_that_wrote_nothing_is_not_noted(folder: Path) -> None:
    caption_folder(folder, "some/checkpoint")
    before = Dataset(folder).record
    caption_folder(folder, "another/checkpoint")
    assert Dataset(folder).record == before
    assert before.captions is not None and before.captions["checkpoint"] == "some/checkpoint"


@pytest.mark.slow
def test_the_record_holds_no_folders_of_this_machine(folder: Path) -> None:
    caption_folder(folder, "/home/somebody/My models/llava-1.5", revision=None)
    captions = Dataset(folder).record.captions
    assert captions is not None and captions["checkpoint"] == "llava-1.5"
    assert "somebody" not in (folder / "build.json").read_text() + (folder / "README.md").read_text()


@pytest.mark.slow
def test_a_captioned_folder_is_as_built(folder: Path) -> None:
    """Its card may be published, and `--repair` leaves it as it is."""
    caption_folder(folder, "some/checkpoint")
    assert changed_card_files(Dataset(folder)) == []


@pytest.mark.slow
def test_a_shard_that_is_not_listed_is_named(folder: Path) -> None:
    shard = Dataset(folder).shards[0]
    (folder / "data" / "a-99999-of-99999.parquet").write_bytes(Path(str(shard)).read_bytes())
    with pytest.raises(IntegrityError, match=r"a-99999-of-99999.parquet is not part of the build"):
        caption_folder(folder, "some/checkpoint")
    (folder / "data" / "a-99999-of-99999.parquet").unlink()
    Path(str(shard)).write_bytes(b"PAR1")
    with pytest.raises(IntegrityError, match=r"missing or damaged"):
        caption_folder(folder, "some/checkpoint")
