"""What `verify` finds in whole shards and in the record; and the command."""

from __future__ import annotations

import inspect
import json
import os
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cases import every
from row_damages import ROW_DAMAGES, composite_changed_outside, mask_gained_a_pixel, mask_is_empty
from sealed_copy import Copy, Rows, problems

from olrd import load as olrd_load
from olrd.arrays import MAX_PIXELS
from olrd.cli.main import main as olrd
from olrd.dataset.folder import Dataset
from olrd.dataset.schema import PICTURES
from olrd.errors import IntegrityError, OlrdError, SourceError
from olrd.tools.verify import verify

pytestmark = pytest.mark.slow


def test_a_flipped_byte_anywhere_is_found(copy: Copy) -> None:
    """Headers, pictures, text, footer: always reported, never an exception."""
    path = copy.shard(1)
    data = path.read_bytes()
    moments = random.Random(5)
    places = [*range(0, 40, 9), *range(len(data) - 60, len(data), 13)]
    places += [moments.randrange(len(data)) for _ in range(4)]
    places += [moments.randrange(len(data) - 20_000, len(data)) for _ in range(4)]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << moments.randrange(8)
        path.write_bytes(damaged)
        found = problems(copy.folder)
        assert any(path.name in p for p in found), place
    path.write_bytes(data)
    assert problems(copy.folder) == []


def test_a_footer_that_contradicts_itself_is_found(copy: Copy) -> None:
    """A histogram of two numbers for a column that has one: pyarrow aborts when asked how the column is stored."""

    def make_twenty(rows: Rows) -> None:
        rows[:] = (rows * 20)[:20]

    copy.edit(make_twenty)
    path = copy.shard()
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    place = data.index(b"\x06\x19&\x00(", footer)
    path.write_bytes(data[:place] + b"\x26" + data[place + 1 :])
    copy.seal()
    assert any(path.name in p and "histogram size mismatch" in p for p in problems(copy.folder))


def test_a_truncated_shard_is_found(copy: Copy) -> None:
    data = copy.shard().read_bytes()
    copy.shard().write_bytes(data[: len(data) // 2])
    assert any(copy.shard().name in p for p in problems(copy.folder))


def test_a_missing_shard_is_found(copy: Copy) -> None:
    copy.shard(1).unlink()
    found = problems(copy.folder)
    assert any(copy.shard(1).name in p for p in found)
    assert any("build.json counts" in p for p in found)


def test_a_file_that_does_not_belong_is_found(copy: Copy) -> None:
    """load_dataset would read it as data."""
    shutil.copy(copy.shard(), copy.folder / "data" / "train-99999-of-99999.parquet")
    (found,) = problems(copy.folder)
    assert "train-99999-of-99999.parquet" in found
    assert "not part of the build" in found


def test_an_id_that_is_there_twice_is_found(copy: Copy) -> None:
    def change(rows: Rows) -> None:
        rows[1] = rows[0]

    copy.edit(change)
    (found,) = problems(copy.folder)
    assert "twice" in found


def test_an_id_that_is_in_two_shards_is_found(copy: Copy) -> None:
    stolen: Rows = []
    copy.edit(lambda rows: stolen.append(dict(rows[0])))
    other = next(k for k, s in enumerate(copy.build["shards"]) if k and s["split"] == "train")

    def change(rows: Rows) -> None:
        rows[0] = stolen[0]

    copy.edit(change, other)
    (found,) = problems(copy.folder)
    assert stolen[0]["id"] in found
    assert "twice" in found


def test_a_photo_in_two_splits_is_found(copy: Copy) -> None:
    """One of two triplets of a photo moves to another split, and the counts with it."""
    build = copy.build
    other = next(k for k, shard in enumerate(build["shards"]) if shard["split"] != "train")
    split = build["shards"][other]["split"]
    moved: Rows = []

    def take(rows: Rows) -> None:
        photos = [row["image_id"] for row in rows]
        row = next(row for row in rows if photos.count(row["image_id"]) > 1)
        rows.remove(row)
        moved.append(dict(row, split=split))

    copy.edit(take)
    copy.edit(lambda rows: rows.extend(moved), other)
    build = copy.build
    build["shards"][0]["rows"] -= 1
    build["shards"][other]["rows"] += 1
    copy.save(build)
    (found,) = (problem for problem in problems(copy.folder) if "README.md" not in problem)  # its counts differ too
    assert f"photo {moved[0]['image_id']} is in the splits" in found


def test_a_row_in_the_wrong_shard_is_found(copy: Copy) -> None:
    copy.edit(lambda rows: [row.update(split="test") for row in rows] and None)
    found = problems(copy.folder)
    assert any("split test in" in p for p in found)


def test_missing_rows_are_found(copy: Copy) -> None:
    copy.edit(lambda rows: rows.pop() and None)
    found = problems(copy.folder)
    assert any("rows, build.json says" in p for p in found)
    assert any("build.json counts" in p for p in found)


def test_missing_rows_with_the_shards_count_corrected_are_found(copy: Copy) -> None:
    copy.edit(lambda rows: rows.pop() and None)
    build = copy.build
    build["shards"][0]["rows"] -= 1
    copy.save(build)
    (found,) = (problem for problem in problems(copy.folder) if "README.md" not in problem)  # its counts differ too
    assert "build.json counts" in found


COUNTS = {
    "photos_read": "add up",
    "photos_used": "add up",
    "photos_without_triplet": "add up",
    "objects_read": "add up",
    "objects_used": "add up",
    "triplets": "counts",
}


@pytest.mark.parametrize(("key", "said"), every(5, {key: (key, said) for key, said in COUNTS.items()}))
def test_edited_counts_are_found(key: str, said: str, copy: Copy) -> None:
    build = copy.build
    build["totals"][key] += 1
    copy.save(build)
    (found,) = problems(copy.folder)
    assert said in found


def test_an_edited_reject_histogram_is_found(copy: Copy) -> None:
    build = copy.build
    build["totals"]["objects_rejected"]["stuff"] -= 1
    copy.save(build)
    (found,) = problems(copy.folder)
    assert "add up" in found


def test_counts_of_a_unit_that_do_not_fit_are_found(copy: Copy) -> None:
    build = copy.build
    build["units"][0]["rows"] += 1
    copy.save(build)
    assert problems(copy.folder) != []


def test_other_columns_are_found(copy: Copy) -> None:
    path = copy.shard()
    table = pq.read_table(path).drop_columns(["prompt"])
    pq.write_table(table, path)
    copy.seal()
    assert any("columns" in p for p in problems(copy.folder))


def test_features_lost_from_the_schema_are_found(copy: Copy) -> None:
    """Without them `load_dataset` gives structs instead of pictures."""
    path = copy.shard()
    table = pq.read_table(path).replace_schema_metadata(None)
    pq.write_table(table, path)
    copy.seal()
    assert problems(copy.folder) != []


def test_columns_of_another_type_are_found(copy: Copy) -> None:
    path = copy.shard()
    table = pq.read_table(path)
    place = table.schema.get_field_index("segment_id")
    table = table.set_column(place, "segment_id", table["segment_id"].cast("int32"))
    pq.write_table(table, path)
    copy.seal()
    assert problems(copy.folder) != []


@pytest.mark.parametrize("name", ["recipe_position", "recipe_is_no_json", "id", "shift"])
def test_damaged_recipes_are_found_without_pixels(name: str, recipes: Path, tmp_path: Path) -> None:
    copy = Copy(Path(shutil.copytree(recipes, tmp_path / "out")))
    copy.edit(lambda rows: ROW_DAMAGES[name][0](rows[0]))
    assert problems(copy.folder) != []


def test_one_and_two_workers_agree(copy: Copy) -> None:
    copy.edit(lambda rows: composite_changed_outside(rows[0]))
    copy.edit(lambda rows: mask_gained_a_pixel(rows[-1]), 1)
    copy.shard(2).unlink()
    one, two = verify(copy.folder, workers=1), verify(copy.folder, workers=2)
    assert len(one["problems"]) >= 4
    assert one == two


# --- the command ---------------------------------------------------------------------------------


def test_the_command_says_that_all_is_well(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert olrd(["verify", str(full), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert f"{len(Dataset(full))} triplets" in printed.out
    assert "every invariant" in printed.out
    assert printed.err == ""


def test_the_command_fails_with_the_problem(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    copy.edit(lambda rows: composite_changed_outside(rows[0]))
    assert olrd(["verify", str(copy.folder), "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert "1 PROBLEM\n" in printed.out
    assert "differs from the background" in printed.out
    assert "Traceback" not in printed.err


def test_the_command_speaks_json(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", str(copy.folder), "--workers", "1", "--json"]
    assert olrd(words) == 0
    assert json.loads(capsys.readouterr().out) == verify(copy.folder)
    copy.edit(lambda rows: mask_is_empty(rows[0]))
    assert olrd(words) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1


def test_what_is_no_dataset_is_an_error(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no finished build"):
        verify(tmp_path / "nowhere")
    (copy.folder / "build.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"build\.json"):
        verify(copy.folder)


def test_a_record_without_totals_is_an_error_and_no_crash(copy: Copy) -> None:
    build = copy.build
    del build["totals"]
    copy.save(build)
    with pytest.raises(OlrdError):
        verify(copy.folder)


# --- what a stranger may have put in --------------------------------------------------------------


def test_a_card_that_names_other_files_is_found(copy: Copy) -> None:
    """`load_dataset` reads what the card names, and verify would have checked other rows."""
    card = copy.folder / "README.md"
    honest = card.read_text()
    start = "---\n"
    for changed in (
        honest.replace("path: data/train-", "path: extra/train-"),
        honest.replace(start, start + "configs:\n- config_name: a\n  data_files: extra/*\n", 1),
        honest.replace(start, start + '"dataset_info": {}\n', 1),
        honest.replace("configs:", "configs: # all\n- config_name: first\n  data_files: extra/*", 1),
        honest.replace("  - name: caption\n", "  - name: title\n"),
        honest.replace("    num_examples: ", "    num_examples: 1"),
        honest.removeprefix(start),
        "",
        "---\n---\n",
    ):
        assert changed != honest
        card.write_text(changed)
        (found,) = problems(copy.folder)
        assert "README.md" in found
    card.write_bytes(b"---\n\xff\n---\n")
    assert len(problems(copy.folder)) == 1
    card.unlink()
    assert len(problems(copy.folder)) == 1
    card.write_text(honest.replace("Object-removal", "My own object-removal"))  # words lead nowhere
    assert problems(copy.folder) == []


def test_a_stray_file_is_found(copy: Copy) -> None:
    (copy.folder / ".git").mkdir()
    (copy.folder / ".gitattributes").write_text("*.parquet filter=lfs")
    assert problems(copy.folder) == []
    (copy.folder / "extra").mkdir()
    (copy.folder / ".huggingface.yaml").write_text("configs: []")
    assert [Path(p.split(" is not part of")[0]).name for p in problems(copy.folder)] == [".huggingface.yaml", "extra"]


MANDATORY = ("id", "recipe", "width", "bbox", "category", "image_id", "split", "mask_area", *PICTURES)


@pytest.mark.parametrize("name", every(4, {name: name for name in MANDATORY}))
def test_null_is_a_problem_and_no_crash(name: str, copy: Copy) -> None:
    def change(rows: Rows) -> None:
        rows[0][name] = {"bytes": None, "path": None} if name in PICTURES else None

    copy.edit(change)
    assert problems(copy.folder)


@pytest.mark.parametrize("value", [-5, 0, 2_000_000_000])
def test_a_size_that_no_picture_has_is_a_problem(copy: Copy, value: int) -> None:
    copy.edit(lambda rows: rows[0].update(width=value))
    assert problems(copy.folder)


def test_a_picture_larger_than_the_limit_is_not_decoded(copy: Copy) -> None:
    """A row may say any size; the limit is the reader's."""
    count = len(Dataset(copy.folder))
    found = verify(copy.folder, max_pixels=100)["problems"]
    assert len(found) == count and all("more than the allowed 100 pixels" in p for p in found)


def test_rows_from_few_bytes_are_a_problem(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another codec makes gigabytes of a few bytes; a row group may claim any number of rows and bytes."""
    table = pq.read_table(copy.shard())
    pq.write_table(table, copy.shard(), compression="zstd")
    copy.seal()
    assert any("which no build writes" in p for p in problems(copy.folder))
    pq.write_table(table, copy.shard(), compression="none")
    copy.seal()
    monkeypatch.setattr("olrd.dataset.folder.MAX_GROUP_BYTES", 1000)
    assert any("expected at most" in p for p in problems(copy.folder))


def test_a_named_pipe_is_no_shard(copy: Copy) -> None:
    copy.shard().unlink()
    os.mkfifo(copy.shard())
    assert any("is missing" in p for p in problems(copy.folder))


def test_the_commands_take_a_limit_of_pixels(full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect.signature(olrd_load).parameters["max_pixels"].default == MAX_PIXELS
    assert olrd(["verify", str(full), "--workers", "1", "--max-pixels", "100"]) == 1
    assert "more than the allowed 100 pixels" in capsys.readouterr().out
    assert olrd(["show", str(full), "--out", str(tmp_path / "show"), "--max-pixels", "100"]) != 0
    assert "more than the allowed 100 pixels" in capsys.readouterr().err
