"""From a store to the same store at gs:// and hf://, against stand-ins; S3, in depth: test_s3.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from built_folders import command, digest, stored
from fake_hub import TOKEN, Repo, fake_hub
from s3_server import free_port
from synthetic_coco import write_coco

from olrd.builder.build import build
from olrd.cli.build import main as olrd_build
from olrd.cli.main import main as olrd_main
from olrd.config import BuildConfig
from olrd.sources import SourceSpec
from olrd.storage.locks import locked
from olrd.storage.remote import location

pytestmark = pytest.mark.slow


@pytest.fixture
def gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An emulator of Google's storage."""
    pytest.importorskip("gcsfs", reason="gcsfs speaks to gs://: pip install '.[gs]'")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="the emulator is not installed")
    port = free_port()
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    yield "gs://bucket"
    server.stop()


@pytest.fixture
def hf(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A stand-in of the Hub, for this process and those that it starts."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the Hub's library")
    with fake_hub() as hub:
        hub.repos["me/photos"] = Repo(private=True)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        # What the library read from the environment when it was imported:
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        storage_options = {"endpoint": hub.url, "token": TOKEN, "skip_instance_cache": True}
        monkeypatch.setitem(fsspec.config.conf, "hf", storage_options)
        yield "hf://datasets/me/photos"


@pytest.mark.parametrize("store", ["gs", "hf"])
def test_from_the_store_to_the_store_gives_the_bytes_of_a_local_build(
    store: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("olrd.storage.locks.BEAT", 0.5)
    base = request.getfixturevalue(store)
    local = write_coco(tmp_path / "photos", count=6, seed=5)
    build(BuildConfig(SourceSpec("coco", str(local)), per_object=1), tmp_path / "out")
    there = location(f"{base}/coco")
    for path in sorted(path for path in local.rglob("*") if path.is_file()):
        (there / path.relative_to(local).as_posix()).upload(path)  # type: ignore[union-attr]
    out = location(f"{base}/out")
    words = ("--source", "coco", "--root", there, "--out", out, "--per-object", 1, "--workers", 2)

    if store != "gs":  # the emulator ignores "only if it is not there", which the lock relies on
        with locked(out):
            assert olrd_build([str(word) for word in words]) == 1
        assert "another process is building" in capsys.readouterr().err

    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert stored(str(out)) == digest(tmp_path / "out")
    assert olrd_main(["verify", str(out), "--workers", "1"]) == 0
