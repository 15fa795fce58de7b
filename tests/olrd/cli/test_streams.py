"""What commands print when stdout or stderr is closed, or cannot encode a file name."""

from __future__ import annotations

import io
import json
import sys

import pytest

from olrd.cli.shell import emit, guarded
from olrd.errors import UsageError
from olrd.progress import say


def of_encoding(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding, "strict", newline="\n")


def bytes_of(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "name", "shown"),
    [
        ("utf-8", "o\udcff.png", b"o\\udcff.png\n"),
        ("ascii", "\u4e16.png", b"\\u4e16.png\n"),
        ("latin-1", "\xe9.png", b"\xe9.png\n"),
        ("utf-8", "\u4e16.png", "\u4e16.png\n".encode()),
    ],
)
def test_a_name_that_cannot_be_encoded_is_escaped(
    monkeypatch: pytest.MonkeyPatch, encoding: str, name: str, shown: bytes
) -> None:
    stream = of_encoding(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    emit(name, name, as_json=False)
    assert bytes_of(stream) == shown
    emit(name, name, as_json=True)
    assert json.loads(bytes_of(stream)[len(shown) :]) == name


def test_messages_for_a_closed_stderr_do_not_go_to_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = of_encoding("utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)

    def command() -> int:
        say("a message")
        raise UsageError("wrong")

    assert guarded(command) == 2
    assert bytes_of(stream) == b""


def test_a_closed_stdout_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)

    def command() -> int:
        emit({}, "done", as_json=False)
        return 0

    assert guarded(command) == 0
