"""Output folders that are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bad_folder import config_of
from built_folders import digest

from olrd.builder.build import build
from olrd.builder.merge import merge
from olrd.builder.nothing import NothingBuiltError
from olrd.builder.units import Share
from olrd.cli.build import main as olrd_build
from olrd.config import CandidateRules
from olrd.errors import OlrdError, OutputError, UsageError
from olrd.tools.rebuild import rebuild

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


def test_a_folder_with_another_build_is_left_alone(pristine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(config_of(pristine), out)
    before = digest(out)
    words = ["--source", "coco", "--root", str(pristine), "--out", str(out), "--per-object", "1"]
    assert olrd_build([*words, "--seed", "1"]) == 1
    assert digest(out) == before
    assert olrd_build(words) == 0
    assert digest(out) == before


def test_a_file_in_the_place_of_the_output_folder_is_refused(pristine: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(OlrdError):
        build(config_of(pristine), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "precious"


def test_a_build_record_that_is_damaged_is_refused(pristine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(config_of(pristine), out)
    for text in ("", "[]", "{}", '{"config": {"form": "full"}, "shards": []}'):
        (out / "build.json").write_text(text)
        with pytest.raises(OlrdError):
            build(config_of(pristine), out)


def held(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder: files with their content, folders and links without."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


def users_parts_and_readme(out: Path) -> None:
    (out / "parts").mkdir()
    (out / "parts" / "wheel.step").write_text("drawing")
    (out / "README.md").write_text("notes")


def users_hidden_files(out: Path) -> None:
    (out / ".session.tmp").write_text("precious")
    (out / "thesis.txt").write_text("x")


def users_plan(out: Path) -> None:
    (out / "parts").mkdir()
    (out / "parts" / "plan.json").write_text('{"title": "holidays"}')


def users_lock(out: Path) -> None:
    (out / ".lock").write_text("4711")


def users_data(out: Path) -> None:
    (out / "data").mkdir()
    (out / "data" / "train-00000-of-00001.parquet").write_text("mine")


def a_link_to_parts(out: Path) -> None:
    (elsewhere := out.parent / "elsewhere").mkdir()
    (elsewhere / "train-00000.json").write_text("mine")
    (out / "parts").symlink_to(elsewhere)


USERS = [users_parts_and_readme, users_hidden_files, users_plan, users_lock, users_data, a_link_to_parts]


@pytest.fixture(scope="module")
def share(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("share") / "share"
    build(config_of(pristine), out, share=Share(0, 1))
    return out


@pytest.fixture(scope="module")
def recipes(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipes") / "recipes"
    build(config_of(pristine, form="recipes"), out)
    return out


@pytest.mark.parametrize("write", USERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("command", ["build", "merge", "rebuild"])
def test_a_users_own_files_are_refused_and_left_as_they_are(
    write: Callable[[Path], None], command: str, pristine: Path, share: Path, recipes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(out)
    before = held(tmp_path)
    with pytest.raises(OutputError, match="no build of ours"):
        if command == "build":
            build(config_of(pristine), out)
        elif command == "merge":
            merge([share], out)
        else:
            rebuild(recipes, pristine / "train2017", out)
    assert held(tmp_path) == before


def test_what_a_killed_build_left_is_taken_away_and_nothing_else(pristine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    expected = build(config_of(pristine), tmp_path / "expected")
    stopped = build(config_of(pristine), out, share=Share(0, 1))
    assert stopped["units_done"] == stopped["units"]
    random = "0" * 32
    for name in (f".README.md.{random}.tmp", f"parts/.train-00000.0.parquet.{random}.tmp"):
        (out / name).write_text("half")
    for name in ("parts/my notes.txt", "parts/.session.tmp"):
        (out / name).write_text("precious")
    assert build(config_of(pristine), out) == expected
    assert sorted(path.name for path in (out / "parts").iterdir()) == [".session.tmp", "my notes.txt"]
    assert not list(out.rglob(f"*{random}*"))


@pytest.mark.parametrize("there", [False, True])
def test_a_build_without_a_triplet_removes_only_the_folder_that_it_made(
    there: bool, pristine: Path, tmp_path: Path
) -> None:
    config = replace(config_of(pristine), rules=CandidateRules(min_area=0.99, max_area=1.0))
    if there:
        (tmp_path / "out").mkdir()
    with pytest.raises(NothingBuiltError):
        build(config, tmp_path / "out")
    assert (tmp_path / "out").exists() == there
    build(config, tmp_path / "share", share=Share(0, 1))
    with pytest.raises(NothingBuiltError):
        merge([tmp_path / "share"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists() and (tmp_path / "share" / "parts").is_dir()


def test_a_wrong_option_leaves_no_folder(pristine: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no object class"):
        build(replace(config_of(pristine), rules=CandidateRules(categories=("dgo",))), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_build_without_a_triplet_that_was_killed_goes_on_in_its_folder(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config_of(pristine), rules=CandidateRules(min_area=0.99, max_area=1.0))

    def stops(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("olrd.builder.build.finish", stops)
        with pytest.raises(KeyboardInterrupt):
            build(config, tmp_path / "out")
    marks = sorted(path.name for path in (tmp_path / "out" / "parts").iterdir())
    assert "plan.json" in marks and len(marks) > 1
    with pytest.raises(NothingBuiltError):
        build(config, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []  # this process did not make it
