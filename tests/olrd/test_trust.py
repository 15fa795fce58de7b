"""What may be trusted: names, JSON, pictures, texts."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.errors import IntegrityError, Rejected, SourceError
from olrd.trust import (
    MAX_DEPTH,
    MAX_JSON_BYTES,
    MAX_NAME_BYTES,
    DepthGuard,
    counted,
    decoding,
    escape_csv,
    escape_markdown,
    parse_json,
    plain_name,
    printable,
    reading,
    shown,
    without_folders,
)


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("photo",), "0 photos"),
        (1, ("photo",), "1 photo"),
        (2, ("photo",), "2 photos"),
        (1200, ("photo",), "1,200 photos"),
        (1, ("category", "categories"), "1 category"),
        (3, ("category", "categories"), "3 categories"),
        (1, ("mask has", "masks have"), "1 mask has"),
    ],
)
def test_a_number_and_its_noun_agree(number: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(number, *words) == expected


@pytest.mark.parametrize("name", ["train-00000.parquet", "a", "Ä b.json", "x" * MAX_NAME_BYTES])
def test_a_plain_name_passes(name: str) -> None:
    assert plain_name(name, "build.json") == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "C:x", ".bashrc", "a\nb", "a\0b", " a"),
        *(None, 5, ["a"], "x" * (MAX_NAME_BYTES + 1), "ä" * MAX_NAME_BYTES),
    ],
)
def test_a_name_that_is_not_plain_is_an_error_that_names_the_file(name: object) -> None:
    with pytest.raises(SourceError, match=r"^build\.json: .* is not a plain file name"):
        plain_name(name, "build.json", SourceError)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe", "[" * 100_000, "1" * 5000, b'{"a": 1e}', b"\xef\xbb\xbf[", "nul"]
)
def test_what_is_no_json_is_an_error_that_names_the_file(data: bytes | str) -> None:
    with pytest.raises(IntegrityError, match=r"^x\.json"):
        parse_json(data, "x.json")


def test_json_with_a_byte_order_mark_is_read() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', "x") == {"a": 1}


def test_json_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(IntegrityError, match="expected at most"):
        parse_json(" " * (MAX_JSON_BYTES + 1), "x")


def depth_of(text: str) -> int:
    """The deepest nesting, one character at a time."""
    depth = deepest = 0
    in_string = escaped = False
    for c in text:
        if in_string:
            in_string = escaped or c != '"'
            escaped = c == "\\" and not escaped
        elif c == '"':
            in_string = True
        elif c in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in "]}":
            depth -= 1
    return deepest


def guarded(text: str, size: int) -> bool:
    """Whether the guard lets a text pass that comes in pieces."""
    guard, data = DepthGuard("x.json"), text.encode()
    try:
        for start in range(0, len(data), size):
            guard.feed(data[start : start + size])
    except IntegrityError:
        return False
    return True


VALUES = st.recursive(
    st.text(alphabet='[]{}"\\' + string.ascii_letters) | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='[]{}"\\a'), inner),
)


@given(VALUES, st.integers(0, MAX_DEPTH + 5), st.integers(1, 9))
def test_the_guard_counts_the_depth_as_a_plain_loop_does(value: object, around: int, size: int) -> None:
    text = '{"a":[' * (around // 2) + "[" * (around % 2) + json.dumps(value)
    assert guarded(text, size) == (depth_of(text) <= MAX_DEPTH)


def test_whatever_a_decoder_raises_is_a_rejection_but_lack_of_memory_is_not() -> None:
    with pytest.raises(Rejected, match=r"a\.jpg: truncated or corrupt \(x y\)"), decoding("photo_unreadable", "a.jpg"):
        raise RuntimeError("x\n  y")
    with pytest.raises(MemoryError), decoding("photo_unreadable", "a.jpg"):
        raise MemoryError
    with pytest.raises(Rejected, match="inner"), decoding("photo_unreadable", "a.jpg"):
        raise Rejected("photo_mode", "inner")


def test_whatever_a_reader_raises_is_typed_but_errors_of_the_disk_pass() -> None:
    with pytest.raises(SourceError, match=r"^f is not a thing: KeyError 'a'"), reading("f", "a thing", SourceError):
        raise KeyError("a")
    with pytest.raises(PermissionError), reading("f", "a thing"):
        raise PermissionError


@pytest.mark.parametrize(
    "text",
    ["<script>x</script>", "![x](http://h/t.png)", "a\n# Heading", "`a`", "a | b", "[x](javascript:y)", "<img src=x>"],
)
def test_escaped_markdown_holds_no_markup(text: str) -> None:
    escaped = escape_markdown(text)
    assert "\n" not in escaped and "<" not in escaped and ">" not in escaped
    for mark in "![]`|#":
        assert mark == "!" or f"{mark}" not in escaped.replace(f"\\{mark}", "")


@pytest.mark.parametrize(
    "text", ['=HYPERLINK("http://evil")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u00a0@A1"]
)
def test_a_formula_becomes_text(text: str) -> None:
    assert escape_csv(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.5", "+3", "lama", "1e-3", "", "a=b", "-inf"])
def test_numbers_and_words_stay_in_a_csv(text: str) -> None:
    assert escape_csv(text) == text


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("/home/a/My Docs/client/small", "small"),
        ("/data/a (1)/x y.png", "x y.png"),
        ("file:///home/a/small", "small"),
        ("C:\\Users\\a\\My Docs\\small", "small"),
        ("\\\\server\\share\\small", "small"),
        ("~/secret/small", "small"),
        ("text:/home/a/small", "text:small"),
        ("model=/home/a/b c/small", "model=small"),
        ("/home/a/b: it is not there", "b: it is not there"),
        ("one of /home/a/x, /home/b/y", "one of x, y"),
        ("https://host/a/b", "https://host/a/b"),
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("and/or", "and/or"),
        ("photos/a.jpg", "photos/a.jpg"),
        ("", ""),
    ],
)
def test_absolute_paths_are_cut_to_their_last_name(text: str, cut: str) -> None:
    assert without_folders(text) == cut
    assert without_folders({"a": [text]}) == {"a": [cut]}


def test_counts_of_reasons_that_become_equal_are_added() -> None:
    assert without_folders({"/home/a/x: gone": 1, "/home/b/x: gone": 2}) == {"x: gone": 3}


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert printable("a\x1b[2Jb\u202ec\n") == "a?[2Jb?c\n"
    assert "\x1b" not in shown("\x1b]0;title\x07") and len(shown("x" * 1000)) < 100
