"""Triplets that were changed after the build: their fingerprint is the honest one, so no score may come of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_dataset import write_dataset

from benchmark.cli.commands import main
from benchmark.datasets import AlteredError, open_dataset
from benchmark.export import export
from benchmark.protocol import Protocol
from benchmark.runner.results import Run
from olrd.errors import IntegrityError, UsageError


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("honest") / "set", photos=2, per_photo=1, splits=("test",))


def changed(honest: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy in which the last row is another one."""
    shutil.copytree(honest, folder)
    path = next((folder / "data").iterdir())
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows[-1])
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    return folder


def truth_is_the_photo(row: dict[str, Any]) -> None:
    row["background"] = row["image"]


def other_photo(row: dict[str, Any]) -> None:
    row["image_id"] = "another"


def other_box(row: dict[str, Any]) -> None:
    row["source_bbox"] = [0, 0, 1, 1]


@pytest.mark.parametrize(
    "change", [truth_is_the_photo, *(pytest.param(one, marks=pytest.mark.slow) for one in (other_photo, other_box))]
)
def test_a_run_of_changed_triplets_stops_and_has_no_scores(
    change: Callable[[dict[str, Any]], None], honest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(honest, tmp_path / "set", change)
    data = open_dataset("olrd", str(folder))
    assert data.fingerprint == open_dataset("olrd", str(honest)).fingerprint
    with pytest.raises(AlteredError, match=r"the recipe says .* changed after it was built"):
        data.sample(1)
    assert main(["run", "--method", "identity", "--root", str(folder), "--out", str(tmp_path / "run")]) == 1
    assert "was changed after it was built" in capsys.readouterr().err
    assert not (tmp_path / "run" / "summary.json").exists()
    with pytest.raises(AlteredError):
        export(data, Protocol("p", 1), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("column", ["id", "image_id", "source_bbox"])
def test_a_null_where_no_triplet_has_one_is_named(column: str, honest: Path, tmp_path: Path) -> None:
    folder = changed(honest, tmp_path / "set", lambda row: row.update({column: None}))
    with pytest.raises(IntegrityError, match=rf"row 1: {column} is None"):
        open_dataset("olrd", str(folder))


def test_the_rows_are_those_of_build_json_whatever_the_card_says(honest: Path, tmp_path: Path) -> None:
    folder = changed(honest, tmp_path / "set", lambda row: None)
    (folder / "extra").mkdir()
    other = changed(honest, tmp_path / "other", lambda row: row.update(id="other"))
    (shard,) = (other / "data").iterdir()
    shutil.copy(shard, folder / "extra" / shard.name)
    front = "configs:\n- config_name: default\n  data_files:\n  - split: test\n    path: extra/test-*.parquet\n"
    (folder / "README.md").write_text(f"---\n{front}---\n")
    assert open_dataset("olrd", str(folder)).ids() == open_dataset("olrd", str(honest)).ids()


def test_a_missing_shard_ends_the_command_with_its_name(
    honest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(honest, tmp_path / "set")
    (shard,) = (folder / "data").iterdir()
    shard.unlink()
    assert main(["run", "--method", "identity", "--root", str(folder), "--out", str(tmp_path / "run")]) == 1
    assert shard.name in capsys.readouterr().err


@pytest.mark.slow
def test_ids_that_are_long_or_have_lines_give_rows_pictures_and_pages(honest: Path, tmp_path: Path) -> None:
    name = "x" * 400 + "\n# a heading\n<b>"

    def renamed(row: dict[str, Any]) -> None:
        row["id"], row["recipe"] = name, json.dumps({"made": "by hand"})

    folder = changed(honest, tmp_path / "set", renamed)
    words = ["--method", "mean-fill", "--root", str(folder), "--device", "cpu", "--save"]
    assert main(["run", *words, "--out", str(tmp_path / "run")]) == 0
    assert name in set(Run(tmp_path / "run").samples().id)
    assert main(["report", str(tmp_path / "run"), "--root", str(folder), "--out", str(tmp_path / "page")]) == 0
    assert "<b>" not in (tmp_path / "page" / "report.html").read_text().split('"samples":')[1].split("</script>")[0]
    export(open_dataset("olrd", str(folder)), Protocol("p", 1), tmp_path / "files")
    assert len(list((tmp_path / "files" / "image").iterdir())) == 2


def test_a_set_of_another_tool_without_hashes_is_read_as_it_is(honest: Path, tmp_path: Path) -> None:
    def without_hash(row: dict[str, Any]) -> None:
        row["recipe"] = json.dumps({"made": "by hand"})
        truth_is_the_photo(row)

    data = open_dataset("olrd", str(changed(honest, tmp_path / "set", without_hash)))
    assert data.sample(1).id and data.fingerprint != open_dataset("olrd", str(honest)).fingerprint


def test_per_photo_keeps_some_triplets_of_every_photo(tmp_path: Path) -> None:
    root = str(write_dataset(tmp_path / "set", photos=3, per_photo=4, splits=("test",)))
    ids = {most: open_dataset("olrd", root, {"per_photo": most}).ids() for most in ("0", "1", "3", "9")}
    assert [len(ids[most]) for most in ids] == [12, 3, 9, 12]
    assert set(ids["1"]) < set(ids["3"]) < set(ids["0"])  # more triplets add to those that fewer kept
    one = open_dataset("olrd", root, {"per_photo": "1"})
    clusters = [one.sample(index).cluster for index in range(3)]
    assert len(set(clusters)) == 3
    assert one.fingerprint != open_dataset("olrd", root, {}).fingerprint


@pytest.mark.parametrize("text", ["-1", "x", "1.5"])
def test_per_photo_is_a_whole_number(text: str) -> None:
    with pytest.raises(UsageError, match="per_photo expects a whole number"):
        open_dataset("olrd", None, {"per_photo": text})
