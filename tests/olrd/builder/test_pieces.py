"""Pieces of units: every worker has work to the end, and the bytes are those of whole units."""

from __future__ import annotations

from pathlib import Path

import pytest
from built_folders import digest
from drawn_sets import DrawnSets
from hypothesis import given
from hypothesis import strategies as st

from olrd.builder import build as build_module
from olrd.builder import join, units
from olrd.builder.build import build
from olrd.builder.merge import merge
from olrd.builder.parts import mark_path, read_mark
from olrd.builder.units import LARGEST_UNIT, SMALLEST_UNIT, UNITS_PER_SPLIT, Piece, Share, Task, Unit, in_pieces
from olrd.builder.worker import UnitBuilder
from olrd.config import BuildConfig
from olrd.engines import EngineSpec
from olrd.engines.local import LocalEngine
from olrd.errors import OutputError, SourceError
from olrd.sources import SourceSpec
from perf.scale import longest

pytestmark = pytest.mark.usefixtures("no_sample_sheets")

COCO = 118_287


def planned(photos: int) -> list[Unit]:
    """The units of a source with that many photos, in the default splits."""
    found, first = [], 0
    for split, count in (("train", photos * 8 // 10), ("validation", photos // 10), ("test", photos // 10)):
        size = min(LARGEST_UNIT, max(SMALLEST_UNIT, -(-count // UNITS_PER_SPLIT)))
        starts = range(first, first + count, size)
        found += [Unit(split, k, range(at, min(at + size, first + count))) for k, at in enumerate(starts)]
        first += count
    return found


@given(photos=st.integers(0, 9_000), workers=st.none() | st.integers(1, 40))
def test_tasks_are_all_photos_in_order(photos: int, workers: int | None) -> None:
    whole = planned(photos)
    tasks = in_pieces(whole, workers)
    assert [photo for task in tasks for photo in task.photos] == [photo for unit in whole for photo in unit.photos]
    assert all(len(task.photos) <= units.LARGEST_PIECE for task in tasks if isinstance(task, Piece))
    assert workers != 1 or tasks == whole


@pytest.mark.parametrize("workers", [2, 3, 4, 8, 16, 64, 500])
@pytest.mark.parametrize("photos", [200, 400, 1_000, 5_000, COCO])
def test_no_worker_waits_longer_than_a_piece(photos: int, workers: int) -> None:
    """The last one ends at most one piece after the time that a perfect division would give."""
    tasks = in_pieces(planned(photos), workers)
    assert longest(tasks, workers) <= photos / workers + units.LARGEST_PIECE


def test_a_cluster_of_500_cores_is_fed_at_the_size_of_coco() -> None:
    whole = planned(COCO)
    assert len(whole) < 500  # so units alone do not reach all cores
    assert longest([*whole], 500) > 1.05 * COCO / 500
    assert len(in_pieces(whole, 500)) > 7 * 500
    share = sum(len(task.photos) for task in Share(499, 500).take(whole))
    tasks = Share(0, 500).all_tasks(whole)
    shares = [sum(len(task.photos) for task in tasks[part::500]) for part in range(500)]
    assert share == shares[499] and sum(shares) == sum(len(unit.photos) for unit in whole)
    assert min(shares) > 0.8 * COCO / 500 and max(shares) < 1.1 * COCO / 500


def test_large_builds_are_mostly_whole_units() -> None:
    """Pieces are written twice, which costs some percent."""
    tasks = in_pieces(planned(COCO), 8)
    assert sum(len(task.photos) for task in tasks if isinstance(task, Piece)) < 0.05 * COCO


@pytest.fixture(scope="module")
def config(drawn: DrawnSets) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(drawn.photos(44))), shard_bytes=400_000, per_object=1, max_per_photo=1)


@pytest.fixture(scope="module")
def reference(config: BuildConfig, drawn: DrawnSets) -> dict[str, str]:
    return digest(drawn.built(config))


@pytest.fixture
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every unit is built in pieces of so many photos."""
    monkeypatch.setattr(units, "LARGEST_PIECE", getattr(request, "param", 3))
    monkeypatch.setattr(build_module, "in_pieces", lambda whole, workers: in_pieces(whole, None))


@pytest.mark.parametrize("cut", [1, 3, 5], indirect=True)
@pytest.mark.usefixtures("cut")
@pytest.mark.slow
def test_stopped_and_resumed_with_other_pieces(
    config: BuildConfig, reference: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped twice; the last run has whole units where nothing was begun, and does nothing twice."""
    call, done = UnitBuilder.__call__, list[str]()

    def stops(builder: UnitBuilder, task: Task) -> object:
        if len(done) in (4, 11):
            done.append("stopped")
            raise KeyboardInterrupt
        done.append(task.name)
        return call(builder, task)

    monkeypatch.setattr(UnitBuilder, "__call__", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            build(config, tmp_path / "out")
    monkeypatch.setattr(build_module, "in_pieces", in_pieces)
    build(config, tmp_path / "out")
    assert len({*done}) == len(done) - 1
    assert digest(tmp_path / "out") == reference


@pytest.mark.usefixtures("cut")
@pytest.mark.slow
def test_a_build_that_is_killed_before_a_unit_is_joined(
    config: BuildConfig, reference: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(join, "join", stops)
        with pytest.raises(KeyboardInterrupt):
            build(config, tmp_path / "out")
    (piece, *_) = sorted((tmp_path / "out" / "parts").glob("*of*.parquet"))
    build(config, tmp_path / "out")
    assert digest(tmp_path / "out") == reference
    assert not piece.exists()


@pytest.mark.usefixtures("cut")
@pytest.mark.slow
def test_two_workers_and_pieces(config: BuildConfig, reference: dict[str, str], tmp_path: Path) -> None:
    build(config, tmp_path / "out", engine=EngineSpec(workers=2))
    assert digest(tmp_path / "out") == reference


@pytest.mark.usefixtures("cut")
@pytest.mark.slow
def test_two_that_end_in_the_same_moment(
    config: BuildConfig, reference: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both join. The one that is slower finds that the pieces are gone."""
    write, before = join.join, []

    def twice(found: object, parts: Path, unit: Unit, *more: object) -> None:
        if unit not in before:
            before.append(unit)
            join.join_if_complete(parts, Piece(unit, 0, len(unit.pieces())), *more)  # type: ignore[arg-type]
            assert read_mark(parts, unit) is not None
        write(found, parts, unit, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(join, "join", twice)
    build(config, tmp_path / "out")
    assert before and digest(tmp_path / "out") == reference


@pytest.mark.usefixtures("cut")
@pytest.mark.slow
def test_a_damaged_piece_is_built_again(
    config: BuildConfig, reference: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(build_module, "join_if_complete", lambda *args: None)
        patch.setattr("olrd.builder.worker.join_if_complete", lambda *args: None)
        with pytest.raises(OutputError, match="finished parts are missing"):
            build(config, tmp_path / "out")
    (piece, *_) = sorted((tmp_path / "out" / "parts").glob("*of*.parquet"))
    damage(piece)
    with pytest.raises(OutputError, match=rf"{piece.name} was damaged .* run the same command once more"):
        build(config, tmp_path / "out")
    build(config, tmp_path / "out")
    assert digest(tmp_path / "out") == reference


@pytest.mark.usefixtures("cut")
@pytest.mark.slow
def test_shares_of_pieces(config: BuildConfig, reference: dict[str, str], tmp_path: Path) -> None:
    """Five shares of nine units: the pieces of a unit lie in several folders."""
    shares = [tmp_path / str(part) for part in range(5)]
    for part, share in enumerate(shares):
        found = build(config, share, share=Share(part, 5))
        assert found == build(config, share, share=Share(part, 5))
        assert 0 < found["units_done"] < found["units"] / 3
    (piece, *_) = sorted((shares[3] / "parts").glob("*of*.parquet"))
    damage(piece)
    with pytest.raises(SourceError, match=rf"{piece.name} was damaged .* build that share once more"):
        merge(shares, tmp_path / "out")
    build(config, shares[3], share=Share(3, 5))
    merge(shares, tmp_path / "out")
    assert digest(tmp_path / "out") == reference
    build(config, shares[0])  # alone: from its own pieces and the rest
    assert digest(shares[0]) == reference


def damage(path: Path) -> None:
    """Change a bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_names_and_marks() -> None:
    piece = Unit("train", 3, range(100)).pieces()[2]
    assert (piece.name, mark_path(Path("parts"), piece)) == ("train-00003-2of4", Path("parts/train-00003-2of4.json"))
    assert [list(piece.photos), piece.siblings()[2]] == [list(range(50, 75)), piece]


def test_the_local_engine_says_its_workers() -> None:
    assert LocalEngine(EngineSpec(workers=3)).workers == 3
