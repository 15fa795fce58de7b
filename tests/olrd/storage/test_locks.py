"""The lock on an output folder of this machine."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from olrd.errors import OutputError
from olrd.storage.locks import locked


def test_a_second_build_of_a_folder_is_refused_and_the_lock_is_given_back(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(OutputError, match="another process is building"), locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_builds_and_says_so(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path):
        assert "has no locks" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be used"), locked(tmp_path / "file" / "out"):
        pass


def test_a_file_of_the_users_with_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("4711")
    with pytest.raises(OutputError, match="no lock of ours"), locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "4711"


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with locked(out):
        assert out.is_dir()
    assert not out.exists() and out.parent.is_dir()
    with pytest.raises(KeyboardInterrupt), locked(out):
        raise KeyboardInterrupt
    assert not out.exists()


def test_a_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with locked(out):
        pass
    assert out.is_dir()
    (tmp_path / "link").symlink_to(out)
    with locked(tmp_path / "link"):
        pass
    assert out.is_dir() and (tmp_path / "link").is_symlink()


def test_a_new_folder_with_something_in_it_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="stop"), locked(out):
        (out / "parts").mkdir()
        raise ValueError("stop")
    assert [path.name for path in out.iterdir()] == ["parts"]
