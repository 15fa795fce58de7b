"""`olrd publish` against a stand-in of the Hub: what arrives, what is refused, what is sent again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from built_folders import digest
from drawn_sets import DrawnSets
from fake_hub import TOKEN, Hub, Repo, fake_hub

from olrd.builder.build import build
from olrd.cli.main import main as olrd_main
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.sources import SourceSpec
from olrd.storage.files import to_json, write_atomic
from olrd.tools.publish import HubError, LicenseError, publish
from olrd.tools.rebuild import rebuild, strip_pixels
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")

REPO = "somebody/triplets"
RENEW = """
import sys
from olrd.dataset.card import write_card
from olrd.dataset.folder import Dataset
write_card(Dataset(sys.argv[1]).folder, Dataset(sys.argv[1]).record)
"""


@pytest.fixture(scope="module")
def config(drawn: DrawnSets) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(drawn.photos(16))), shard_bytes=400_000, per_object=1)


@pytest.fixture(scope="module")
def mixed(config: BuildConfig, drawn: DrawnSets) -> Path:
    """A full dataset of photos under all of COCO's licences."""
    return drawn.built(config)


@pytest.fixture(scope="module")
def free(config: BuildConfig, drawn: DrawnSets) -> Path:
    """A full dataset of photos whose derivatives may be published."""
    return drawn.built(replace(config, licenses="permissive"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants", reason="the Hub's library")
    with fake_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.mark.slow
def test_recipes_of_a_full_dataset_are_those_of_a_build(config: BuildConfig, mixed: Path, tmp_path: Path) -> None:
    build(replace(config, form="recipes"), tmp_path / "built")
    (tmp_path / "stripped").mkdir()
    strip_pixels(Dataset(mixed), tmp_path / "stripped")
    assert digest(tmp_path / "stripped") == digest(tmp_path / "built")


def test_captions_and_versions_are_taken_over(mixed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(mixed, tmp_path / "copy"))
    record = Dataset(copy).record.to_json() | {"captions": {"checkpoint": "some/model"}, "olrd": "0.0.1"}
    write_atomic(copy / BUILD_FILE, to_json(record))
    (tmp_path / "out").mkdir()
    stripped = strip_pixels(Dataset(copy), tmp_path / "out").record.to_json()
    assert stripped["captions"] == {"checkpoint": "some/model"}
    assert stripped["olrd"] == "0.0.1"
    assert "olrd 0.0.1" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_what_arrives_is_recipes_that_can_be_rebuilt(
    hub: Hub, config: BuildConfig, mixed: Path, tmp_path: Path
) -> None:
    before = digest(mixed)
    result = publish(mixed, REPO)
    assert result["form"] == "recipes" and result["sent"]
    arrived = hub.download(REPO, tmp_path / "arrived")
    assert sorted(result["files"]) == sorted(digest(arrived))
    assert not list(arrived.rglob("*.png"))
    assert verify(arrived)["problems"] == []
    rebuild(arrived, str(config.source.root), tmp_path / "full")
    assert digest(tmp_path / "full") == digest(mixed) == before
    assert not hub.repos[REPO].private


def test_pixels_arrive_where_they_may(hub: Hub, free: Path, tmp_path: Path) -> None:
    result = publish(free, REPO, pixels=True, private=True)
    assert digest(hub.download(REPO, tmp_path / "arrived")) == digest(free)
    assert hub.repos[REPO].private
    assert result["bytes"] == sum(p.stat().st_size for p in free.rglob("*") if p.is_file())
    assert BUILD_FILE in hub.commits[-1]


def test_pixels_of_other_licences_are_refused(hub: Hub, mixed: Path) -> None:
    with pytest.raises(LicenseError, match=r"CC-BY-NC-SA-2.0 \(\d+ triplets\)") as caught:
        publish(mixed, REPO, pixels=True)
    assert "CC-BY-2.0 (" not in str(caught.value)
    assert hub.repos == {}


@pytest.mark.slow
def test_a_second_time_sends_nothing_and_another_build_replaces(
    hub: Hub, config: BuildConfig, free: Path, tmp_path: Path
) -> None:
    publish(free, REPO, pixels=True)
    commits, received = len(hub.commits), dict(hub.received)
    publish(free, REPO, pixels=True)
    assert len(hub.commits) == commits
    assert hub.received == received
    hub.repos[REPO].branches["main"]["LICENSE"] = b"added by hand"
    publish(free, REPO)
    arrived = hub.download(REPO, tmp_path / "arrived")
    assert (arrived / "LICENSE").read_bytes() == b"added by hand"
    assert verify(arrived)["problems"] == []  # shards of the other form would be strangers
    assert not (arrived / "sample.png").exists()


def test_files_are_committed_in_batches_the_record_last(
    hub: Hub, free: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olrd.tools.publish.COMMIT_FILES", 2)
    publish(free, REPO, pixels=True, revision="v2")
    assert len(hub.commits) >= 2
    assert [BUILD_FILE in names for names in hub.commits] == [False] * (len(hub.commits) - 1) + [True]
    assert digest(hub.download(REPO, tmp_path / "arrived", "v2")) == digest(free)
    assert hub.repos[REPO].branches["main"] == {}


@pytest.mark.slow
def test_a_killed_upload_goes_on(hub: Hub, free: Path, tmp_path: Path) -> None:
    """The real command, killed while the second large file is on its way, then run again."""
    # The command runs in another process, which compares the sheet with the real one.
    whole = Path(shutil.copytree(free, tmp_path / "whole"))
    subprocess.run([sys.executable, "-c", RENEW, str(whole)], check=True)
    hub.pass_first = 1
    argv = [
        sys.executable,
        "-m",
        "olrd.cli.main",
        "publish",
        str(whole),
        "--repo",
        REPO,
        "--i-may-redistribute",
        "--json",
    ]
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE) as process:
        assert hub.held.wait(timeout=120)
        process.kill()
    hub.pass_first = None
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent"]
    assert set(hub.received.values()) == {1}  # nothing was sent twice
    assert digest(hub.download(REPO, tmp_path / "arrived")) == digest(whole)


def test_dry_run_sends_nothing(hub: Hub, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert olrd_main(["publish", str(mixed), "--repo", REPO, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"would be sent to {REPO} (main)" in said
    assert "data/train-00000-of-" in said and "CC-BY-NC-SA-2.0" in said
    assert hub.repos == {}


def test_unfinished_and_damaged_folders_are_refused(
    hub: Hub, config: BuildConfig, free: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olrd.builder.build.finish", lambda *_: Dataset(free).record)
    build(config, tmp_path / "unfinished")
    with pytest.raises(SourceError, match="run the same olrd-build command again to finish it"):
        publish(tmp_path / "unfinished", REPO)
    damaged = Path(shutil.copytree(free, tmp_path / "damaged"))
    shard = sorted((damaged / "data").glob("*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=rf"{shard.name} not as built.*--repair"):
        publish(damaged, REPO)
    assert hub.repos == {}


@pytest.mark.slow
def test_the_hub_says_no(hub: Hub, free: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--repo expects NAME/SET"):
        publish(free, "a/b/c")
    hub.repos[REPO] = Repo(private=False)
    with pytest.raises(HubError, match="already and is public"):
        publish(free, REPO, private=True)
    hub.repos[REPO].branches["main"]["data/other.parquet"] = b"not ours"
    with pytest.raises(HubError, match=r"holds other data \(data/other.parquet\)"):
        publish(free, REPO)
    name = Dataset(free).record.to_json()["shards"][0]["file"]
    hub.repos[REPO].branches["main"] = {name: b"not ours", "README.md": b"nor this"}
    with pytest.raises(HubError, match=rf"holds other data \({name}\)"):
        publish(free, REPO, pixels=True)
    assert hub.commits == []
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match="hf auth login"):
        publish(free, "somebody/new")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="run the same command again"):
        publish(free, REPO)


def test_recipes_have_no_pixels_to_redistribute(hub: Hub, config: BuildConfig, tmp_path: Path) -> None:
    build(replace(config, form="recipes"), tmp_path / "out")
    with pytest.raises(UsageError, match="no pixels to redistribute"):
        publish(tmp_path / "out", REPO, pixels=True)
    publish(tmp_path / "out", REPO)
    assert digest(hub.download(REPO, tmp_path / "arrived")) == digest(tmp_path / "out")


# --- a folder that is not as built ----------------------------------------------------------------


def sample_is_a_link(folder: Path) -> None:
    secret = folder.parent / "secret.txt"
    secret.write_text("a password")
    (folder / "sample.png").unlink()
    (folder / "sample.png").symlink_to(secret)


def sample_is_another_picture(folder: Path) -> None:
    data = (folder / "sample.png").read_bytes()
    (folder / "sample.png").write_bytes(data + b"hidden")


def card_is_edited(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    (folder / "README.md").write_text(text.replace("Object-removal", "Perfect object-removal"))


def card_is_gone(folder: Path) -> None:
    (folder / "README.md").unlink()


def record_edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        record = json.loads((folder / BUILD_FILE).read_text())
        change(record)
        (folder / BUILD_FILE).write_text(to_json(record))

    return edit


def shard_is_a_link(folder: Path) -> None:
    shard = sorted((folder / "data").iterdir())[0]
    shard.rename(folder.parent / shard.name)
    shard.symlink_to(folder.parent / shard.name)


REMEDY = "with --repair first"


@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (sample_is_a_link, f"sample.png not as built.*{REMEDY}"),
        (sample_is_another_picture, f"sample.png not as built.*{REMEDY}"),
        (card_is_edited, f"README.md not as built.*{REMEDY}"),
        (card_is_gone, f"README.md not as built.*{REMEDY}"),
        (shard_is_a_link, "is a link"),
        (record_edit(lambda record: record["totals"].update(photos_read=10**9)), "README.md not as built"),
        (record_edit(lambda record: record["units"][0].update(rows=1)), "do not add up"),
        (record_edit(lambda record: record["config"].update(seed=99)), "is not that of its identity"),
        (record_edit(lambda record: record.update(command="olrd-build; rm")), "README.md not as built"),
    ],
)
def test_what_is_not_as_built_is_refused(
    change: Callable[[Path], None], said: str, pixels: bool, hub: Hub, free: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(free, tmp_path / "copy"))
    change(copy)
    with pytest.raises(IntegrityError, match=said):
        publish(copy, REPO, pixels=pixels)
    assert hub.repos == {}


def test_only_what_the_build_wrote_is_sent(hub: Hub, free: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(free, tmp_path / "copy"))
    (copy / "notes.txt").write_text("private")
    (copy / "data" / "train-notes.parquet").write_bytes(b"private")
    publish(copy, REPO, pixels=True)
    assert digest(hub.download(REPO, tmp_path / "arrived")) == digest(free)


def test_the_card_of_another_version_is_made_anew(hub: Hub, free: Path, tmp_path: Path) -> None:
    """It cannot be compared, so what is in the folder is not sent."""
    copy = Path(shutil.copytree(free, tmp_path / "copy"))
    record_edit(lambda record: record.update(olrd="0.0.1"))(copy)
    sample_is_a_link(copy)
    (copy / "README.md").write_text("any words")
    publish(copy, REPO, pixels=True)
    arrived = hub.download(REPO, tmp_path / "arrived")
    assert "olrd 0.0.1" in (arrived / "README.md").read_text()
    assert (arrived / "sample.png").read_bytes() == (free / "sample.png").read_bytes()


def test_repair_writes_the_card_anew(config: BuildConfig, free: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(free, tmp_path / "copy"))
    card_is_edited(copy)
    sample_is_a_link(copy)
    build(replace(config, licenses="permissive"), copy, repair=True)
    assert digest(copy) == digest(free) and not (copy / "sample.png").is_symlink()
    assert (tmp_path / "secret.txt").read_text() == "a password"
