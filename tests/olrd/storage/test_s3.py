"""Against a real S3 API: the same bytes as locally, after kills, dead connections and late listings."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from built_folders import command, digest, stored
from drawn_sets import DrawnSets

import olrd
from olrd.builder.build import build
from olrd.builder.units import Share
from olrd.cli.build import main as olrd_build
from olrd.cli.main import main as olrd_main
from olrd.config import BuildConfig
from olrd.errors import OutputError
from olrd.sources import SourceSpec
from olrd.storage.locks import locked
from olrd.storage.remote import Remote, location

s3fs = pytest.importorskip("s3fs", reason="s3fs speaks to S3: pip install '.[s3]'")
pytest.importorskip("moto.server", reason="moto is the S3 API of these tests")

from s3_server import BUCKET, Proxy, environment, s3_server  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with s3_server() as found, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(found).items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield found
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(24)


@pytest.fixture(scope="module")
def s3_root(root: Path, port: int) -> str:
    """The same photos in the bucket, zipped or not as people have them: PNGs in an archive."""
    import shutil

    there = location(f"s3://{BUCKET}/coco")
    for path in sorted(root.glob("train2017/*")) + sorted(root.glob("annotations/*.json")):
        (there / path.relative_to(root).as_posix()).upload(path)  # type: ignore[union-attr]
    pngs = root / "annotations" / "panoptic_train2017"
    packed = Path(shutil.make_archive(str(root / "pngs"), "zip", root_dir=pngs))
    (there / "annotations/panoptic_train2017.zip").upload(packed)  # type: ignore[union-attr]
    packed.unlink()
    return str(there)


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(root)), shard_bytes=400_000, per_object=1)


@pytest.fixture(scope="module")
def reference(config: BuildConfig, drawn: DrawnSets) -> dict[str, str]:
    return digest(drawn.built(config))


def words(root: str, out: str, *more: object) -> list[object]:
    """The command line of the same build."""
    return ["--source", "coco", "--root", root, "--out", out, "--shard-bytes", 400_000, "--per-object", 1, *more]


@pytest.fixture(scope="module")
def plain(s3_root: str) -> str:
    """From S3 to S3 with two workers, by the command that a user has."""
    out = f"s3://{BUCKET}/plain"
    done = command(*words(s3_root, out, "--workers", 2))
    assert done.returncode == 0, done.stderr
    assert f"written to {out}" in done.stdout
    return out


def test_from_s3_to_s3_gives_the_bytes_of_a_local_build(plain: str, reference: dict[str, str]) -> None:
    assert stored(plain) == reference
    assert olrd_main(["verify", plain, "--workers", "1"]) == 0


def test_ray_builds_from_s3_to_s3_with_the_same_bytes(
    s3_root: str, reference: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers of a Ray on this machine; nothing but the bucket is shared between them."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    out = f"s3://{BUCKET}/ray"
    done = command(*words(s3_root, out, "--engine", "ray", "--workers", 2))
    assert done.returncode == 0, done.stderr
    assert stored(out) == reference
    assert olrd_main(["verify", out, "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_a_dataset_at_s3_opens_with_datasets(plain: str) -> None:
    rows = olrd.load(plain, split="train")
    assert len(rows) > 10 and rows[0]["image"].size == rows[0]["mask"].size


def test_killed_and_resumed_gives_the_same_bytes(s3_root: str, reference: dict[str, str]) -> None:
    """SIGKILL once the lock is there, and again once a unit is done; then one run to the end."""
    out = f"s3://{BUCKET}/killed"
    argv = [sys.executable, "-m", "olrd.cli.build", *map(str, words(s3_root, out, "--workers", 1))]
    for sign in (".lock", "parts/train-00001.json"):
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (location(out) / sign).exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert ".lock" in stored(out) and "build.json" not in stored(out)
    assert olrd_build([str(word) for word in words(s3_root, out, "--workers", 1)]) == 0
    assert stored(out) == reference


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One try of the libraries below, so that ours are what is tested."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr("olrd.storage.remote.PAUSES", (0.0, 0.0, 0.0))


def through(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process speaks to S3 through the proxy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(autouse=True)
def _own_connections() -> Iterator[None]:
    yield
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_connection_that_dies_in_the_middle_of_an_upload(
    config: BuildConfig, reference: dict[str, str], port: int, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the uploads of a Parquet file every other dies after some kilobytes, and is repeated."""
    moments, seen = random.Random(1), [0]

    def cuts(line: str) -> int | None:
        if not (line.startswith("PUT") and ".parquet" in line):
            return None
        seen[0] += 1
        return moments.randrange(0, 20_000) if seen[0] % 2 else None

    proxy = Proxy(port, cuts)
    through(proxy, monkeypatch)
    build(config, f"s3://{BUCKET}/cut")
    assert proxy.cut > 4
    assert stored(f"s3://{BUCKET}/cut") == reference
    proxy.close()


def test_a_connection_that_always_dies_is_said_and_loses_nothing(
    config: BuildConfig, reference: dict[str, str], port: int, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No part of a file is ever shown. Once the line is good again, the same call goes on."""
    out, seen = f"s3://{BUCKET}/dead", [0]

    def cuts(line: str) -> int | None:
        seen[0] += line.startswith("PUT") and ".parquet" in line
        return 3000 if seen[0] > 5 and line.startswith("PUT") else None

    proxy = Proxy(port, cuts)
    with monkeypatch.context() as patch:
        through(proxy, patch)
        with pytest.raises(OutputError, match="run the same command again"):
            build(config, out)
        proxy.close()
    s3fs.S3FileSystem.clear_instance_cache()
    kept = stored(out)
    assert 0 < sum(name.endswith(".parquet") for name in kept) <= 5
    done = sum(name.startswith("parts/t") and name.endswith(".json") for name in kept)
    assert build(config, out, share=Share(0, 1000))["units_done"] >= done > 0
    build(config, out)
    assert stored(out) == reference


def test_a_listing_that_lags_changes_nothing(
    config: BuildConfig, reference: dict[str, str], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every folder always looks as it did when it was first listed: empty."""
    out, seen = f"s3://{BUCKET}/late", {}
    for name in ("_lsdir", "_find"):
        real = getattr(s3fs.S3FileSystem, name)

        async def late(self: Any, path: str, *args: Any, real: Any = real, **more: Any) -> Any:
            key = real.__name__, path, str(args), str(sorted(more.items()))
            if key not in seen:
                seen[key] = await real(self, path, *args, **more)
            return seen[key]

        monkeypatch.setattr(s3fs.S3FileSystem, name, late)
    build(config, out, share=Share(0, 2))
    build(config, out)
    monkeypatch.undo()
    shown = stored(out)
    assert {n: s for n, s in shown.items() if not n.startswith("parts/")} == reference
    assert build(config, out)["identity"]
    assert stored(out) == reference  # the next look removes what the listing hid


def test_a_second_build_is_refused_while_the_first_lives(
    s3_root: str, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("olrd.storage.locks.BEAT", 0.5)
    out = f"s3://{BUCKET}/held"
    with locked(location(out)):
        assert olrd_build([str(word) for word in words(s3_root, out, "--workers", 1)]) == 1
    assert "another process is building" in capsys.readouterr().err
    assert stored(out) == {}


def test_a_large_file_goes_in_pieces_and_appears_whole(port: int, tmp_path: Path) -> None:
    data = random.Random(0).randbytes(11 << 20)
    (tmp_path / "large").write_bytes(data)
    there = location(f"s3://{BUCKET}/large")
    assert isinstance(there, Remote)
    there.fs.default_block_size, before = 5 << 20, there.fs.default_block_size
    there.upload(tmp_path / "large")
    there.fs.default_block_size = before
    assert there.read_bytes() == data
    with there.open() as file:
        file.seek(6 << 20)
        assert file.read(100) == data[6 << 20 :][:100]


def test_a_bucket_that_is_not_there_is_said(config: BuildConfig, port: int) -> None:
    with pytest.raises(OutputError, match=r"s3://nobucket/out/.* cannot be written"):
        build(config, "s3://nobucket/out")
