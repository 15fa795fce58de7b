"""Whole builds: the same bytes whatever happens on the way, and every refusal with its reason."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from built_folders import command, digest
from drawn_sets import DrawnSets

from olrd.builder.build import build
from olrd.builder.nothing import NothingBuiltError
from olrd.builder.units import SMALLEST_UNIT
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.errors import OutputError, Rejected
from olrd.sources import SourceSpec
from olrd.tools.verify import verify
from perf.faults.processes import workers_of


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    """Enough photos for many units."""
    return drawn.photos(42)


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(root)), shard_bytes=250_000)


@pytest.fixture(scope="module")
def few(drawn: DrawnSets) -> BuildConfig:
    """For what a handful of photos shows as well."""
    return BuildConfig(SourceSpec("coco", str(drawn.photos())), shard_bytes=400_000)


@pytest.fixture(scope="module")
def some(drawn: DrawnSets) -> BuildConfig:
    """For what needs all splits and several units."""
    return BuildConfig(SourceSpec("coco", str(drawn.photos(24))), shard_bytes=150_000)


@pytest.fixture(scope="module")
def reference(config: BuildConfig, drawn: DrawnSets) -> dict[str, str]:
    """The undisturbed build with one worker."""
    out = drawn.built(config)
    assert verify(out)["problems"] == []
    return digest(out)


def words(root: Path, out: Path, *more: object) -> list[object]:
    """The command line of the same build."""
    return ["--source", "coco", "--root", root, "--out", out, "--shard-bytes", 250_000, *more]


@pytest.mark.slow
def test_reference_has_several_shards_and_splits(reference: dict[str, str]) -> None:
    shards = [name for name in reference if name.endswith(".parquet")]
    assert len(shards) >= 4
    assert {name.split("/")[1].split("-")[0] for name in shards} == {"train", "validation", "test"}
    assert {"README.md", "build.json", "sample.png"} <= set(reference)


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(root: Path, reference: dict[str, str], tmp_path: Path) -> None:
    done = command(*words(root, tmp_path / "out", "--workers", 2))
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "out") == reference


@pytest.mark.slow
def test_killed_three_times_and_resumed_gives_the_same_bytes(
    root: Path, reference: dict[str, str], tmp_path: Path
) -> None:
    """SIGKILL of the whole process group at three random moments, then one run to the end."""
    moments = random.Random(17)
    out, kills = tmp_path / "out", 0
    argv = [sys.executable, "-m", "olrd.cli.build", *map(str, words(root, out, "--workers", 2))]
    longest = 1.0
    while kills < 3:
        started = time.monotonic()
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=moments.uniform(0.2, longest))
            assert process.returncode == 0
            longest = max(0.4, (time.monotonic() - started) * 0.9)
            assert digest(out) == reference
            shutil.rmtree(out)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            longest = min(longest + 0.3, 1.8)
    assert command(*words(root, out)).returncode == 0
    assert digest(out) == reference


@pytest.mark.slow
def test_killed_worker_is_replaced(root: Path, reference: dict[str, str], tmp_path: Path) -> None:
    """One worker process dies by SIGKILL; the build goes on by itself to the same bytes."""
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "olrd.cli.build", *map(str, words(root, out, "--workers", 2))]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    killed = 0
    while process.poll() is None and not killed:
        marks = list(out.glob("parts/*-*.json"))
        workers = workers_of(process.pid)
        if marks and workers:
            os.kill(workers[-1], signal.SIGKILL)
            killed += 1
        time.sleep(0.005)
    _, stderr = process.communicate(timeout=120)
    assert killed, "the build was over before a worker could be killed"
    assert process.returncode == 0, stderr
    assert digest(out) == reference


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_complete_build_is_left_alone(few: BuildConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = build(few, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert build(few, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_seed_changes_positions_but_not_splits(some: BuildConfig, drawn: DrawnSets, tmp_path: Path) -> None:
    columns = ["id", "split", "shift"]
    build(replace(some, seed=1), tmp_path / "b")
    a = {r["id"]: r for r in Dataset(drawn.built(some)).rows(columns)}
    b = {r["id"]: r for r in Dataset(tmp_path / "b").rows(columns)}
    both = set(a) & set(b)
    assert len(both) > 50
    assert all(a[k]["split"] == b[k]["split"] for k in both)
    assert sum(a[k]["shift"] != b[k]["shift"] for k in both) > 0.9 * len(both)


@pytest.mark.usefixtures("no_sample_sheet")
def test_limit_is_a_prefix_of_the_photos(few: BuildConfig, tmp_path: Path) -> None:
    result = build(replace(few, limit=10), tmp_path / "out")
    assert result["totals"]["photos_read"] == 10


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_shards_stay_below_the_byte_limit(some: BuildConfig, tmp_path: Path) -> None:
    for limit in (150_000, 1_000_000):
        result = build(replace(some, shard_bytes=limit, limit=10), tmp_path / str(limit))
        assert all(shard["bytes"] <= limit for shard in result["shards"])
        assert verify(tmp_path / str(limit))["problems"] == []


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_a_background_is_stored_once_per_row_group(some: BuildConfig, tmp_path: Path) -> None:
    """Triplets of one photo have the same background; composites and masks are all different."""
    build(replace(some, shard_bytes=100_000_000, limit=12), tmp_path / "out")
    for path in sorted((tmp_path / "out" / "data").glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            rows = file.read(["image_id", "background", "image"]).to_pylist()
            group = file.metadata.row_group(0)
        sizes = {group.column(k).path_in_schema: group.column(k) for k in range(group.num_columns)}
        first = rows[: group.num_rows]
        once = sum(map(len, {row["background"]["bytes"] for row in first}))
        assert once < 0.7 * sum(len(row["background"]["bytes"]) for row in first)
        assert once < sizes["background.bytes"].total_compressed_size < once + 4096
        images = sum(len(row["image"]["bytes"]) for row in first)
        assert images < sizes["image.bytes"].total_compressed_size
        assert "RLE_DICTIONARY" not in sizes["image.bytes"].encodings


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.parametrize(
    "change",
    [
        {"placement": "centroid", "blend": "hard"},
        {"placement": "uniform", "blend": "feather", "match": ("noise", "sharpness")},
        {"donor": "other", "scale": (0.7, 1.3), "flip": True, "size": 96},
        {"blend": "poisson", "per_object": 1, "margin": 0},
        {"size": 200, "form": "recipes"},
    ],
)
@pytest.mark.slow
def test_every_option_gives_a_verified_dataset(some: BuildConfig, tmp_path: Path, change: dict[str, object]) -> None:
    result = build(replace(some, limit=8, **change), tmp_path / "out")  # type: ignore[arg-type]
    assert result["totals"]["triplets"] > 10
    assert verify(tmp_path / "out")["problems"] == []


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_donor_other_never_mixes_photos_or_splits(some: BuildConfig, tmp_path: Path) -> None:
    build(replace(some, donor="other"), tmp_path / "out")
    split: dict[str, str] = {}
    for row in Dataset(tmp_path / "out").rows(["image_id", "donor_image_id", "split"]):
        assert row["image_id"] != row["donor_image_id"]
        for photo in (row["image_id"], row["donor_image_id"]):
            assert split.setdefault(photo, row["split"]) == row["split"]


@pytest.mark.usefixtures("no_sample_sheet")
def test_another_build_is_refused(few: BuildConfig, tmp_path: Path) -> None:
    build(replace(few, limit=4), tmp_path / "out")
    with pytest.raises(OutputError, match="another build"):
        build(replace(few, limit=5), tmp_path / "out")


def test_unfinished_other_build_is_refused(few: BuildConfig, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "plan.json").write_text(json.dumps({"identity": "0" * 64}))
    with pytest.raises(OutputError, match="unfinished build with other options"):
        build(few, tmp_path)


def test_folder_with_other_files_is_refused(few: BuildConfig, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        build(few, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_second_build_of_one_folder_is_refused(few: BuildConfig, tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process"):
            build(few, tmp_path)


@pytest.mark.slow
def test_damaged_part_is_found_and_built_again(
    some: BuildConfig, drawn: DrawnSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before finishing, flip one byte of a part: refused, then repaired by the next run."""
    finished = Dataset(drawn.built(some)).record
    monkeypatch.setattr("olrd.builder.build.finish", lambda *_: finished)
    build(some, tmp_path / "out")
    monkeypatch.undo()
    part = sorted((tmp_path / "out" / "parts").glob("*.parquet"))[1]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(OutputError, match="damaged"):
        build(some, tmp_path / "out")
    build(some, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(drawn.built(some))


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_retry_failed_builds_what_was_missing(few: BuildConfig, tmp_path: Path) -> None:
    """A photo is missing at first; once it is there, only --retry-failed picks it up, and the
    result equals a build that never missed it."""
    copy = shutil.copytree(str(few.source.root), tmp_path / "photos")
    own = replace(few, source=SourceSpec("coco", str(copy)))
    build(own, tmp_path / "whole")
    used = next(iter(Dataset(tmp_path / "whole").rows(["recipe"])))
    name = json.loads(used["recipe"])["background"]["file_name"]
    photo = copy / "train2017" / name
    photo.rename(tmp_path / "away.jpg")
    first = build(own, tmp_path / "out")
    assert first["totals"]["photos_rejected"] == {"photo_missing": 1}
    assert name in first["totals"]["failures"][0]["message"]
    (tmp_path / "away.jpg").rename(photo)
    assert build(own, tmp_path / "out") == first
    build(own, tmp_path / "out", retry_failed=True)
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_retry_failed_also_for_objects_that_went_elsewhere(drawn: DrawnSets, tmp_path: Path) -> None:
    """With --donor other, photos of other units would have gone to the missing one."""
    copy = shutil.copytree(drawn.photos(24), tmp_path / "photos")
    own = BuildConfig(SourceSpec("coco", str(copy)), donor="other", splits=(("all", 1.0),))
    build(own, tmp_path / "whole")
    names = sorted(photo.name for photo in (copy / "train2017").iterdir())
    unit = {name: number // SMALLEST_UNIT for number, name in enumerate(names)}
    recipes = [json.loads(row["recipe"]) for row in Dataset(tmp_path / "whole").rows(["recipe"])]
    pairs = [(one["background"]["file_name"], one["donor"]["file_name"]) for one in recipes]
    away = next(there for there, own_photo in pairs if unit[there] != unit[own_photo])
    (copy / "train2017" / away).rename(tmp_path / "away.jpg")
    build(own, tmp_path / "out")
    (tmp_path / "away.jpg").rename(copy / "train2017" / away)
    build(own, tmp_path / "out", retry_failed=True)
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


@pytest.mark.usefixtures("no_sample_sheet")
def test_on_error_stop(few: BuildConfig, tmp_path: Path) -> None:
    copy = shutil.copytree(str(few.source.root), tmp_path / "photos")
    for photo in (copy / "train2017").iterdir():
        photo.write_bytes(b"no photo")
    own = replace(few, source=SourceSpec("coco", str(copy)), on_error="stop")
    with pytest.raises(Rejected, match="not a readable image"):
        build(own, tmp_path / "out")
    with pytest.raises(NothingBuiltError, match=r"photo_unreadable.*not a readable image"):
        build(replace(own, on_error="skip"), tmp_path / "out2")
    assert not (tmp_path / "out2").exists()
