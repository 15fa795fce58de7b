"""Output folders that are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_folder import config_of
from built_folders import digest

from olrd.builder.build import build
from olrd.cli.build import main as olrd_build
from olrd.errors import OlrdError

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
