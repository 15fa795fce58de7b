"""Shares of a build, built apart and merged: the same bytes as one build, and every refusal."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from built_folders import digest
from drawn_sets import DrawnSets

from olrd.builder.build import build
from olrd.builder.merge import merge
from olrd.builder.units import Share, plan_units
from olrd.cli.build import main as build_main
from olrd.cli.main import main as olrd_main
from olrd.config import BuildConfig
from olrd.errors import SourceError, UsageError
from olrd.sources import SourceSpec, open_source

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_sample_sheets")]

SHARES = 3


@pytest.fixture(scope="module")
def config(drawn: DrawnSets) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(drawn.photos(44))), shard_bytes=100_000, per_object=1, max_per_photo=1)


@pytest.fixture(scope="module")
def shares(config: BuildConfig, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shares")
    for part in range(SHARES):
        build(config, folder / str(part), share=Share(part, SHARES))
    return [folder / str(part) for part in range(SHARES)]


@pytest.fixture
def copies(shares: list[Path], tmp_path: Path) -> list[Path]:
    """To be damaged."""
    return [Path(shutil.copytree(share, tmp_path / share.name)) for share in shares]


def test_shares_are_disjoint_and_complete(config: BuildConfig) -> None:
    units = plan_units(open_source(config.source), config)
    taken = [unit for part in range(5) for unit in Share(part, 5).take(units)]
    assert len(units) > 5 and sorted(u.name for u in taken) == sorted(u.name for u in units)


def test_merged_shares_are_the_build(config: BuildConfig, shares: list[Path], tmp_path: Path) -> None:
    build(config, tmp_path / "whole")
    before = [digest(share) for share in shares]
    merge(shares, tmp_path / "merged")
    assert digest(tmp_path / "merged") == digest(tmp_path / "whole")
    assert [digest(share) for share in shares] == before
    merge(shares[::-1], tmp_path / "merged")  # complete already
    assert digest(tmp_path / "merged") == digest(tmp_path / "whole")
    merge([*shares[::-1], shares[0]], tmp_path / "turned")
    assert digest(tmp_path / "turned") == digest(tmp_path / "whole")


def test_a_stopped_merge_goes_on(shares: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merge(shares, tmp_path / "whole")
    from olrd.builder import merge as module

    bring, done = module._bring, []

    def stops(*args: object) -> None:
        if len(done) == 4:
            raise KeyboardInterrupt
        bring(*args)  # type: ignore[arg-type]
        done.append(args[0])

    monkeypatch.setattr(module, "_bring", stops)
    with pytest.raises(KeyboardInterrupt):
        merge(shares, tmp_path / "out")
    assert not (tmp_path / "out" / "build.json").exists()
    monkeypatch.setattr(module, "_bring", bring)
    merge(shares, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_missing_units_are_counted(shares: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"units are in none of the folders as a whole \(2 folders; first: train-0000"):
        merge(shares[1:], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_share_goes_on_and_can_be_finished_alone(config: BuildConfig, copies: list[Path], tmp_path: Path) -> None:
    found = build(config, copies[0], share=Share(0, SHARES))
    assert found["units_done"] < found["units"]
    assert build(config, copies[0], share=Share(1, SHARES))["units_done"] > found["units_done"]
    build(config, copies[0])  # without a share: the rest
    merge([*copies[1:], _share_again(config, tmp_path)], tmp_path / "merged")
    assert digest(copies[0]) == digest(tmp_path / "merged")
    with pytest.raises(SourceError, match="is a finished dataset"):
        merge(copies, tmp_path / "other")


def _share_again(config: BuildConfig, tmp_path: Path) -> Path:
    build(config, tmp_path / "again", share=Share(0, SHARES))
    return tmp_path / "again"


def test_what_is_no_share_or_another_builds_is_refused(config: BuildConfig, copies: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="is no share of a build"):
        merge([copies[0], tmp_path / "empty"], tmp_path / "out")
    build(replace(config, seed=9), tmp_path / "seed", share=Share(0, 2))
    with pytest.raises(SourceError, match="is a share of another build"):
        merge([*copies, tmp_path / "seed"], tmp_path / "out")
    with pytest.raises(UsageError, match="is one of the shares"):
        merge(copies, copies[1])


def test_a_damaged_part_is_named_and_built_again(config: BuildConfig, copies: list[Path], tmp_path: Path) -> None:
    part = sorted((copies[1] / "parts").glob("*.parquet"))[0]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(SourceError, match=rf"{part.name} was damaged .* build that share once more"):
        merge(copies, tmp_path / "out")
    build(config, copies[1], share=Share(1, SHARES))
    merge(copies, tmp_path / "out")
    build(config, tmp_path / "whole")
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


@pytest.mark.parametrize("text", ["3", "3/3", "-1/4", "a/b", "0/0", "1/2/3"])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--shards expects PART/OF"):
        Share.parse(text)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = ["--source", "demo", "--workers", "1"]
    for part in range(2):
        out = str(tmp_path / str(part))
        assert build_main([*demo, "--out", out, "--shards", f"{part}/2", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["share"] == [part, 2] and 0 < found["units_done"] < found["units"]
    out = str(tmp_path / "out")
    assert olrd_main(["merge", str(tmp_path / "0"), str(tmp_path / "1"), "--out", out]) == 0
    assert f"written to {out}" in capsys.readouterr().out
    assert olrd_main(["verify", out, "--workers", "1"]) == 0


def test_a_mark_that_names_a_file_elsewhere_is_refused(copies: list[Path], tmp_path: Path) -> None:
    """A share from a stranger must not overwrite a file of the user's."""
    (tmp_path / ".bashrc").write_text("theirs")
    (home := tmp_path / "home").mkdir()
    (home / ".bashrc").write_text("mine")
    mark = min((copies[0] / "parts").glob("train-*.json"))
    content = json.loads(mark.read_text())
    for name in ("../../.bashrc", str(home / ".bashrc"), "..", "shards.json", ".hidden", "a\\b"):
        content["files"][0]["file"] = name
        mark.write_text(json.dumps(content))
        with pytest.raises(SourceError, match=r"plain file name|not a part of the unit"):
            merge(copies, home / "out")
        assert (home / ".bashrc").read_text() == "mine"
        assert {path.name for path in home.iterdir()} <= {".bashrc", "out"}


PLANS = [
    *("", "[]", "{}", "[" * 100_000, '{"identity": 1}'),
    '{"identity": "a", "config": {}, "source": {}, "units": []}',
    '{"identity": "a", "config": null, "source": [], "units": 5}',
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_that_is_damaged_is_named(plan: str, copies: list[Path], tmp_path: Path) -> None:
    (copies[0] / "parts" / "plan.json").write_text(plan)
    with pytest.raises(SourceError, match=r"plan\.json"):
        merge(copies, tmp_path / "out")
