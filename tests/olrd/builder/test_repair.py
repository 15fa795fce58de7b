"""`olrd-build --repair`: damaged shards of a finished build are built again, and nothing else is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from built_folders import digest
from drawn_sets import DrawnSets

from olrd.builder.build import build
from olrd.builder.repair import damaged_shards, unit_rows, units_in
from olrd.builder.units import Unit
from olrd.cli.build import main as olrd_build
from olrd.cli.main import main as olrd_main
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.engines.local import LocalEngine
from olrd.errors import OutputError
from olrd.sources import SourceSpec

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


@pytest.fixture(scope="module")
def config(drawn: DrawnSets) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(drawn.photos(24))), shard_bytes=200_000, per_object=1)


@pytest.fixture(scope="module")
def whole(config: BuildConfig, drawn: DrawnSets) -> Path:
    return drawn.built(config)


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the units that are built again."""
    names: list[str] = []
    run = LocalEngine.run

    def counted(engine: LocalEngine, work: Any, tasks: list[Unit], *more: Any) -> object:
        names.extend(unit.name for unit in tasks)
        return run(engine, work, tasks, *more)

    monkeypatch.setattr(LocalEngine, "run", counted)
    return names


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.slow
def test_only_the_units_of_the_damaged_shard_are_built_again(
    config: BuildConfig, whole: Path, out: Path, built: list[str]
) -> None:
    shards = sorted((out / "data").glob("*.parquet"))
    flip(shards[1])
    rows = Dataset(whole).record.shards[1].rows
    build(config, out, repair=True)
    assert digest(out) == digest(whole)
    sizes = {unit.name: unit.rows for unit in Dataset(whole).record.units}
    assert 0 < len(built) < len(sizes)
    assert sum(sizes[name] for name in built) >= rows


@pytest.mark.slow
def test_a_missing_shard_and_all_shards(config: BuildConfig, whole: Path, out: Path) -> None:
    sorted((out / "data").glob("*.parquet"))[0].unlink()
    build(config, out, repair=True)
    assert digest(out) == digest(whole)
    for shard in (out / "data").glob("*.parquet"):
        shard.write_bytes(b"")
    build(config, out, repair=True)
    assert digest(out) == digest(whole)


def test_a_whole_build_is_left_alone(config: BuildConfig, out: Path, built: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    build(config, out, repair=True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert built == []


def test_without_the_option_nothing_is_hashed(config: BuildConfig, out: Path) -> None:
    shard = sorted((out / "data").glob("*.parquet"))[0]
    flip(shard)
    damaged = shard.read_bytes()
    build(config, out)
    assert shard.read_bytes() == damaged


@pytest.mark.slow
def test_retry_failed_takes_no_row_from_a_damaged_shard(config: BuildConfig, tmp_path: Path) -> None:
    """A reopened build writes its rows under new hashes: damage must not be sealed by that."""
    root = Path(shutil.copytree(str(config.source.root), tmp_path / "photos"))
    own = replace(config, source=SourceSpec("coco", str(root)))
    build(own, tmp_path / "whole")
    photo = sorted((root / "train2017").iterdir())[0]
    photo.rename(tmp_path / "away.jpg")
    build(own, tmp_path / "out")
    (tmp_path / "away.jpg").rename(photo)
    for shard in sorted((tmp_path / "out" / "data").glob("*.parquet")):
        flip(shard)
    build(own, tmp_path / "out", retry_failed=True)
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_units_and_rows_agree_with_the_dataset(whole: Path) -> None:
    dataset = Dataset(whole)
    found = {record.name: [row["id"] for row in rows] for record, rows in unit_rows(dataset, ())}
    assert [i for ids in found.values() for i in ids] == [r["id"] for r in dataset.rows(["id"])]
    for shard in dataset.record.shards:
        ids = {row["id"] for row in Dataset(whole, replace(dataset.record, shards=(shard,))).rows(["id"])}
        expected = {name for name, mine in found.items() if ids & set(mine)}
        assert units_in(dataset, [shard]) == expected
    assert damaged_shards(dataset) == []


@pytest.mark.slow
def test_the_commands(config: BuildConfig, whole: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = sorted((out / "data").glob("*.parquet"))[0]
    flip(shard)
    assert olrd_main(["verify", str(out), "--workers", "1"]) == 1
    said = capsys.readouterr().out
    assert shard.name in said and "--repair" in said
    words = ["--source", "coco", "--root", str(config.source.root), "--shard-bytes", "200000", "--per-object", "1"]
    assert olrd_build([*words, "--out", str(out), "--workers", "1", "--repair"]) == 0
    assert f"damaged: data/{shard.name}; building" in capsys.readouterr().err
    assert digest(out) == digest(whole)


@pytest.mark.slow
def test_a_lock_file_taken_away_guards_nothing(
    config: BuildConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first build ends, and removes its lock file, just before the second locks that file. A
    third could lock a new one: so the second has to give up."""
    import fcntl

    real = fcntl.flock

    def late(file: object, how: int) -> None:
        (tmp_path / ".lock").unlink()
        real(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr("olrd.storage.locks.fcntl.flock", late)
    with pytest.raises(OutputError, match="another process"):
        build(config, tmp_path)
    monkeypatch.undo()
    build(config, tmp_path)
