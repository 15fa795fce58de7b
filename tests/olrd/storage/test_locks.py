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
