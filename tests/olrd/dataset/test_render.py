"""Photos of a recipe are read like those of a source: a file that is no photo is an error that names it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from olrd.dataset.render import Renderer
from olrd.errors import IntegrityError, SourceError
from olrd.storage.files import sha256
from olrd.triplets.recipe import PhotoRef

DATA = b"pixels"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    outside = path.parents[1] / "outside.jpg"
    outside.write_bytes(DATA)
    path.symlink_to(outside)


@pytest.mark.parametrize("damage", [pipe, link, Path.mkdir])
def test_a_pipe_a_link_that_leaves_and_a_folder_are_no_photos(damage: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    damage(tmp_path / "photos" / "a.jpg")
    with pytest.raises(SourceError, match=r"a\.jpg"):
        Renderer(tmp_path / "photos").photo(PhotoRef("a", "a.jpg", sha256(DATA)), None)


def test_a_name_that_no_file_can_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="xxx"):
        Renderer(tmp_path).photo(PhotoRef("a", "x" * 300, sha256(DATA)), None)


def test_a_name_that_leaves_the_folder_and_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"other")
    for name, words in (("../a.jpg", "leaves"), ("a.jpg", "not the photo")):
        with pytest.raises(IntegrityError, match=words):
            Renderer(tmp_path).photo(PhotoRef("a", name, sha256(DATA)), None)
