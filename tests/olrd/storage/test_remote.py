"""Folders at URLs, in fsspec's own memory: the bytes of a local build whatever fails on the way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from built_folders import digest
from drawn_sets import DrawnSets
from fsspec.implementations.memory import MemoryFileSystem

import olrd.storage.locks
from olrd.builder.build import build
from olrd.builder.merge import merge
from olrd.builder.units import Share
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.errors import MissingExtraError, OutputError, SourceError, UsageError
from olrd.sources import SourceSpec, open_source
from olrd.storage.locks import locked
from olrd.storage.remote import Remote, location
from olrd.storage.roots import local_copy
from olrd.tools.rebuild import rebuild
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets", "empty_store")
OUT = "memory://out"


@pytest.fixture
def empty_store() -> Iterator[None]:
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("olrd.storage.remote.PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("olrd.storage.locks.BEAT", 0.05)
    monkeypatch.setattr("olrd.storage.locks.STALE", 0.4)


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(12)


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    """Joined shards and shards of one part."""
    return BuildConfig(SourceSpec("coco", str(root)), shard_bytes=500_000, per_object=1)


@pytest.fixture(scope="module")
def reference(config: BuildConfig, drawn: DrawnSets) -> dict[str, str]:
    return digest(drawn.built(config))


def stored(out: str = OUT) -> dict[str, str]:
    """The sha256 of every object below `out`, past any listing."""
    folder = f"/{out.removeprefix('memory://')}/"
    return {
        name.removeprefix(folder): hashlib.sha256(file.getvalue()).hexdigest()
        for name, file in sorted(MemoryFileSystem.store.items())
        if name.startswith(folder)
    }


def upload(folder: Path, url: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            (location(url) / path.relative_to(folder).as_posix()).upload(path)  # type: ignore[union-attr]
    return url


def test_the_bytes_are_those_of_a_local_build(config: BuildConfig, reference: dict[str, str]) -> None:
    first = build(config, OUT)
    assert stored() == reference
    assert build(config, OUT) == first
    assert stored() == reference
    assert verify(OUT)["problems"] == []


def test_photos_and_annotations_at_a_url(config: BuildConfig, root: Path, reference: dict[str, str]) -> None:
    own = replace(config, source=SourceSpec("coco", upload(root, "memory://photos")))
    build(own, OUT)
    assert stored() == reference


def test_a_fetched_file_is_fetched_again_when_it_changes() -> None:
    there = location("memory://a/b.json")
    assert isinstance(there, Remote)
    there.write_bytes(b"1")
    copy = local_copy(there)
    assert copy.read_bytes() == b"1" and local_copy(there) == copy
    there.write_bytes(b"2")
    assert local_copy(there).read_bytes() == b"2"


def test_recipes_and_photos_at_urls_are_rebuilt(config: BuildConfig, root: Path, reference: dict[str, str]) -> None:
    build(replace(config, form="recipes"), "memory://recipes")
    rebuild("memory://recipes", upload(root, "memory://photos"), OUT)
    assert stored() == reference


@pytest.mark.slow
@pytest.mark.parametrize("shares_at", ["memory", "local"])
@pytest.mark.parametrize("out_at", ["memory", "local"])
def test_shares_merge_from_and_to_anywhere(
    config: BuildConfig, reference: dict[str, str], tmp_path: Path, shares_at: str, out_at: str
) -> None:
    where = {"memory": "memory://at", "local": str(tmp_path)}
    shares = [f"{where[shares_at]}/{part}" for part in range(2)]
    for part, share in enumerate(shares):
        build(config, share, share=Share(part, 2))
    merge(shares, f"{where[out_at]}/merged")
    assert (stored("memory://at/merged") or digest(tmp_path / "merged")) == reference
    with pytest.raises(UsageError, match="one of the shares"):
        merge(shares, shares[0])


class Killed(BaseException):
    """Stands for a kill: nothing may catch it and go on."""


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_stopped_at_any_write_and_resumed(
    config: BuildConfig, reference: dict[str, str], monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Each run dies at its k-th write, k growing: before it or after it. No half-made dataset is
    ever shown as finished, and the run that gets through gives the same bytes."""
    real = Remote._write
    left, deaths = 0, 0

    def dies(self: Remote, call: Callable[[], Any]) -> Any:
        nonlocal left
        left -= 1
        if left < 0 and not late:
            raise Killed
        result = real(self, call)
        if left < 0:
            raise Killed
        return result

    monkeypatch.setattr(Remote, "_write", dies)
    monkeypatch.setattr("olrd.storage.locks._beat", lambda *_: None)
    finished = False
    for limit in range(1, 400):
        left = limit
        try:
            build(config, OUT)
            break
        except Killed:
            deaths += 1
            MemoryFileSystem.store.pop("/out/.lock", None)  # that of a process which is no more
        if "build.json" in stored():
            finished = True
            kept = {n: s for n, s in stored().items() if not n.startswith("parts/")}
            assert kept == reference
    assert deaths > 7 and finished
    assert stored() == reference


def test_a_put_that_fails_or_loses_its_tail_is_repeated(
    config: BuildConfig, reference: dict[str, str], monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    real, calls = MemoryFileSystem.put_file, [0]

    def flaky(self: Any, local: str, path: str, **more: Any) -> None:
        calls[0] += 1
        if calls[0] % 4 == 1:
            raise ConnectionResetError("the line went dead")
        if calls[0] % 4 == 2:
            self.pipe_file(path, Path(local).read_bytes()[:-1])
            return
        real(self, local, path, **more)

    monkeypatch.setattr(MemoryFileSystem, "put_file", flaky)
    build(config, OUT)
    assert calls[0] > 8
    assert stored() == reference


def test_what_keeps_failing_is_said_and_the_next_run_goes_on(
    config: BuildConfig, reference: dict[str, str], monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    def dead(self: Any, *_: Any, **__: Any) -> None:
        raise RuntimeError("no route to host")  # libraries have errors of their own kinds

    build(config, OUT, share=Share(0, 2))
    done = {name for name in stored() if name.endswith(".json")}
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", dead)
        with pytest.raises(OutputError, match=r"parquet cannot be written.*run the same command"):
            build(config, OUT)
    assert done <= set(stored())
    build(config, OUT)
    assert stored() == reference


def test_a_photo_that_cannot_be_fetched_is_not_a_missing_photo(
    config: BuildConfig, root: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """It would be counted and left out: another dataset, because of a bad line."""
    own = replace(config, source=SourceSpec("coco", upload(root, "memory://photos")))
    real = MemoryFileSystem.cat_file

    def dead(self: Any, path: str, *args: Any, **more: Any) -> bytes:
        if path.endswith(".jpg"):
            raise PermissionError("the token has expired")
        return real(self, path, *args, **more)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", dead)
    with pytest.raises(SourceError, match="token has expired"):
        build(own, OUT)


@pytest.mark.slow
def test_a_listing_that_lags_changes_nothing(
    config: BuildConfig, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build with a missing photo, then again with it: other shards. The listing shows the past."""
    import shutil

    copy = shutil.copytree(root, tmp_path / "photos")
    own = replace(config, source=SourceSpec("coco", str(copy)), shard_bytes=100_000)
    whole = build(own, tmp_path / "whole")
    used = next(iter(Dataset(tmp_path / "whole").rows(["recipe"])))
    photo = copy / "train2017" / json.loads(used["recipe"])["background"]["file_name"]
    photo.rename(tmp_path / "away.jpg")
    _lag(monkeypatch)
    first = build(own, OUT)
    assert first["totals"]["photos_rejected"] == {"photo_missing": 1}
    assert {s["file"] for s in first["shards"]} - {s["file"] for s in whole["shards"]}
    (tmp_path / "away.jpg").rename(photo)
    build(own, OUT, retry_failed=True)
    shown = {name: sha for name, sha in stored().items() if not name.startswith("parts/")}
    assert shown == digest(tmp_path / "whole")


def _lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every folder looks as it did before anything was written."""
    for name in ("ls", "find"):
        monkeypatch.setattr(MemoryFileSystem, name, lambda *_, **__: [])


def test_another_build_and_strangers_are_refused(config: BuildConfig) -> None:
    location("memory://taken/thesis.txt").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        build(config, "memory://taken")
    assert set(stored("memory://taken")) == {"thesis.txt"}
    build(replace(config, limit=4), OUT, share=Share(0, 2))
    with pytest.raises(OutputError, match=f"{OUT} holds an unfinished build"):
        build(config, OUT)
    build(replace(config, limit=4), OUT)
    with pytest.raises(OutputError, match="another build"):
        build(config, OUT)


def test_only_one_holds_the_lock(quick: None) -> None:
    out = location(OUT)
    with locked(out):
        with pytest.raises(OutputError, match="another process"), locked(out):
            pass
        assert list(stored()) == [".lock"]
    assert stored() == {}


def _lock_of(host: str, pid: int, count: int = 0) -> bytes:
    return json.dumps({"host": host, "pid": pid, "token": "other", "count": count}).encode()


def test_the_lock_of_a_live_builder_elsewhere_is_respected(quick: None) -> None:
    lock, ended = location(f"{OUT}/.lock"), threading.Event()

    def beats() -> None:
        count = 0
        while not ended.wait(0.05):
            count += 1
            lock.write_bytes(_lock_of("elsewhere", 1, count))

    lock.write_bytes(_lock_of("elsewhere", 1))
    builder = threading.Thread(target=beats)
    builder.start()
    try:
        with pytest.raises(OutputError, match="process 1 on elsewhere"), locked(location(OUT)):
            pass
    finally:
        ended.set()
        builder.join()
    assert json.loads(lock.read_bytes())["host"] == "elsewhere"


@pytest.mark.parametrize("content", [_lock_of("elsewhere", 1), b"", b"[]"])
@pytest.mark.slow
def test_a_dead_lock_is_taken_over_after_a_while(quick: None, content: bytes) -> None:
    lock = location(f"{OUT}/.lock")
    lock.write_bytes(content)
    started = time.monotonic()
    with locked(location(OUT)):
        assert time.monotonic() - started >= 0.3
        first = lock.read_bytes()
        time.sleep(0.3)
        assert lock.read_bytes() != first  # it counts
    assert stored() == {}


def test_the_lock_of_a_dead_process_here_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import platform

    monkeypatch.setattr(olrd.storage.locks, "BEAT", 0.05)
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    for pid in (int(ended.stdout), os.getpid()):  # in a container numbers repeat
        location(f"{OUT}/.lock").write_bytes(_lock_of(platform.node(), pid))
        started = time.monotonic()
        with locked(location(OUT)):
            assert time.monotonic() - started < 5


def test_a_store_without_exclusive_writes_is_locked_too(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = MemoryFileSystem.pipe_file

    def plain(self: Any, path: str, value: bytes) -> None:
        real(self, path, value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", plain)
    refused = pytest.raises(OutputError, match="another process")
    with locked(location(OUT)), refused, locked(location(OUT)):
        pass


def test_urls_that_cannot_be_opened_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Did you mean 's3'"):
        location("s3x://bucket/a")
    assert location("file:///a/b") == Path("/a/b") and location("a/b") == Path("a/b")
    for scheme, module, said in (("s3", "s3fs", r"olrd\[s3\]"), ("gs", "gcsfs", r"olrd\[gs\]")):
        monkeypatch.setitem(sys.modules, module, None)
        opened_before = vars(sys.modules["fsspec.registry"])["_registry"]
        monkeypatch.delitem(opened_before, scheme, raising=False)
        with pytest.raises(MissingExtraError, match=said):
            location(f"{scheme}://bucket/a")


def test_output_where_files_can_be_seen_half_written_is_refused(config: BuildConfig) -> None:
    pytest.importorskip("aiohttp", reason="fsspec opens http:// with aiohttp")
    with pytest.raises(UsageError, match="half-written"):
        build(config, "http://example.org/out")


def test_a_url_without_a_source_is_said(config: BuildConfig) -> None:
    with pytest.raises(SourceError, match="is not a folder"):
        open_source(SourceSpec("coco", "memory://nowhere"))
    with pytest.raises(SourceError, match="holds no finished build"):
        verify("memory://nowhere")
