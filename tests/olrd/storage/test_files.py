"""Files: names made from ids, and regular files of strangers."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.storage.files import atomic_path, file_name_of, link_or_copy, read_regular
from olrd.trust import MAX_NAME_BYTES, plain_name


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_name_of_an_id_is_short_and_stays_in_its_folder(one: str, other: str) -> None:
    for key in (one, one * 300, "ä" * 300 + one):
        name = file_name_of(key)
        assert len(name.encode()) <= MAX_NAME_BYTES
        assert "/" not in name and "\0" not in name
    assert (file_name_of("x" * 300 + one) == file_name_of("x" * 300 + other)) == (one == other)


def test_short_ids_keep_their_names() -> None:
    assert file_name_of("demo/1-2_a.b é") == "demo_1-2_a.b_é"
    assert plain_name(file_name_of("y" * 200), "x") == "y" * 200


def test_a_regular_file_is_read_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (plain := tmp_path / "a").write_bytes(b"abc")
    assert read_regular(plain, tmp_path) == b"abc"
    with pytest.raises(OSError, match="at most 2"):
        read_regular(plain, tmp_path, limit=2)
    os.mkfifo(pipe := tmp_path / "pipe")
    for path, said in ((pipe, "a pipe or a device"), (Path("/dev/zero"), "a pipe or a device"), (tmp_path, "a folder")):
        with pytest.raises(OSError, match=said):
            read_regular(path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "gone", tmp_path)


def test_a_link_may_not_leave_its_folder(tmp_path: Path) -> None:
    (root := tmp_path / "root").mkdir()
    (outside := tmp_path / "secret").write_bytes(b"s")
    (root / "link").symlink_to(outside)
    (root / "inside").write_bytes(b"i")
    (root / "near").symlink_to("inside")
    (alias := tmp_path / "alias").symlink_to(root)
    assert read_regular(alias / "near", alias) == b"i"
    with pytest.raises(OSError, match="leaves its folder"):
        read_regular(root / "link", root)
    (root / "folder").symlink_to(tmp_path)
    with pytest.raises(OSError, match="leaves its folder"):
        read_regular(root / "folder" / "secret", root)


def test_reading_takes_the_memory_of_the_file_only(tmp_path: Path) -> None:
    """A build reads every photo with it."""
    (tmp_path / "a").write_bytes(b"abc")
    tracemalloc.start()
    try:
        assert read_regular(tmp_path / "a", tmp_path) == b"abc"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_linking_a_file_twice_leaves_no_temporary_name(tmp_path: Path) -> None:
    (source := tmp_path / "a").write_bytes(b"abc")
    for _ in range(2):
        link_or_copy(source, tmp_path / "b")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_that_its_writer_made_private_gets_the_mode_of_the_umask(
    tmp_path: Path, umask: int, expected: int
) -> None:
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_bytes(b"a")
            temporary.chmod(0o600)
        with atomic_path(tmp_path / "b") as temporary:
            temporary.write_bytes(b"b")
            temporary.chmod(0o640)  # a choice, not safetensors' habit
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == expected
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
