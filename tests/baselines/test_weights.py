"""Weights files: where they are found, and that a download is either complete and correct or leaves no file."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from baselines import open_eraser, state_of
from baselines.eraser import WeightsMissingError, WeightsUnknownError, WeightsUnusableError
from baselines.weights import (
    PINNED,
    TRUST,
    Pinned,
    check_unchanged,
    fetch,
    hash_of_ends,
    locate,
    pinned,
    revision_of,
    trust,
    trusted,
    weights_folder,
)
from olrd.errors import IntegrityError, SourceError, UsageError

BODY = b"weights " * 50_000
SHA = hashlib.sha256(BODY).hexdigest()
HEX = set("0123456789abcdef")


class Handler(BaseHTTPRequestHandler):
    """whole/: the file. cut/: half of it, then the line breaks. chunks/: the same, chunked. Else 404."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        if kind not in ("whole", "cut", "chunks"):
            self.send_error(404)
            return
        self.send_response(200)
        if kind == "chunks":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        half = BODY[: len(BODY) // 2]
        if kind == "chunks":
            self.wfile.write(f"{len(BODY):x}\r\n".encode() + half)
        else:
            self.wfile.write(BODY if kind == "whole" else half)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder, and no proxy between us and the server."""
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TOY_MODEL", raising=False)
    return tmp_path / "weights"


def toy(url: str, sha256: str = SHA) -> Pinned:
    return Pinned("toy", "toy.bin", url, sha256, len(BODY), "MIT")


# --- where --------------------------------------------------------------------------------------


def test_the_option_wins_over_the_variable_and_that_over_the_fetched_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    paths = [home / "toy.bin", tmp_path / "by-variable", tmp_path / "by-option"]
    for path in paths:
        path.write_bytes(BODY)
    assert locate(toy("http://x"), "", "TOY_MODEL") == paths[0]
    monkeypatch.setenv("TOY_MODEL", str(paths[1]))
    assert locate(toy("http://x"), "", "TOY_MODEL") == paths[1]
    assert locate(toy("http://x"), str(paths[2]), "TOY_MODEL") == paths[2]


def test_missing_weights_are_named_with_address_place_size_and_command(home: Path) -> None:
    with pytest.raises(WeightsMissingError) as caught:
        locate(toy("https://example.org/toy.bin"), "", "TOY_MODEL")
    said = str(caught.value)
    for part in (
        "toy.bin",
        "(0 MB, MIT)",
        "`benchmark fetch toy`",
        "https://example.org/toy.bin",
        str(home / "toy.bin"),
        "set TOY_MODEL",
    ):
        assert part in said


def test_a_path_that_is_no_file_is_not_passed_over(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fetched file is not used in its place, because the user named another one."""
    home.mkdir()
    (home / "toy.bin").write_bytes(BODY)
    with pytest.raises(WeightsMissingError, match=r"the option names .*gone, which is not a file"):
        locate(toy("http://x"), str(tmp_path / "gone"), "TOY_MODEL")
    monkeypatch.setenv("TOY_MODEL", str(tmp_path))
    with pytest.raises(WeightsMissingError, match=r"TOY_MODEL names .* expected toy\.bin"):
        locate(toy("http://x"), "", "TOY_MODEL")


def test_missing_weights_are_no_wrong_use_so_that_the_command_exits_with_1() -> None:
    assert not issubclass(WeightsMissingError, UsageError)


def test_the_weights_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path / "w"))
    assert weights_folder() == tmp_path / "w"
    monkeypatch.delenv("OLRD_WEIGHTS")
    assert weights_folder() == Path(os.environ["OLRD_CACHE"]) / "weights"
    monkeypatch.delenv("OLRD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert weights_folder() == tmp_path / "c" / "olrd" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_folder() == tmp_path / ".cache" / "olrd" / "weights"


def test_the_state_of_an_eraser_says_how_to_get_its_weights(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    state = state_of("lama")
    assert state.word == "weights missing"
    assert "benchmark fetch lama" in state.advice
    with pytest.raises(WeightsMissingError, match="LAMA_MODEL"):
        open_eraser("lama")


@pytest.mark.parametrize("name", sorted(PINNED))
def test_what_is_published_is_described_in_full(name: str) -> None:
    found = pinned(name)
    assert found.eraser == name
    assert found.url.startswith("https://")
    assert "/" not in found.file_name
    assert found.license
    assert found.size > 1_000_000
    assert found.sha256 == "" or (len(found.sha256) == 64 and set(found.sha256) <= HEX)
    assert found.md5 == "" or (len(found.md5) == 32 and set(found.md5) <= HEX)


def test_a_file_with_an_md5_alone_is_checked_by_it(server: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = toy(f"{server}/whole/toy.bin", sha256="")._replace(md5=hashlib.md5(BODY).hexdigest())
    with pytest.raises(IntegrityError, match=r"expected md5 00.*nothing was kept"):
        fetch(right._replace(md5="00" * 16))
    assert not (home / "toy.bin").exists()
    assert fetch(right).read_bytes() == BODY
    assert "no checksum is published" not in capsys.readouterr().err
    assert locate(right) == home / "toy.bin"
    (home / "toy.bin").write_bytes(BODY + b"!")
    with pytest.raises(WeightsUnknownError, match=f"md5 {right.md5}"):
        locate(right)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'lama'\?"):
        pinned("lamma")


# --- unknown files -------------------------------------------------------------------------------

OTHER = b"other weights"
OTHER_SHA = hashlib.sha256(OTHER).hexdigest()


@pytest.mark.parametrize("code", [False, True])
def test_another_file_in_the_weights_folder_is_refused_unless_its_bytes_are_trusted(
    code: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "toy.bin").write_bytes(OTHER)
    wanted = toy("http://x")._replace(code=code)
    with pytest.raises(WeightsUnknownError) as caught:
        locate(wanted)
    for part in (SHA, OTHER_SHA, str(home / "toy.bin"), "`benchmark fetch toy`", f"{TRUST}={OTHER_SHA}"):
        assert part in str(caught.value)
    assert ("can contain code" in str(caught.value)) == code
    monkeypatch.setenv(TRUST, f"{SHA}, {OTHER_SHA.upper()}")
    assert locate(wanted) == home / "toy.bin"
    (home / "toy.bin").write_bytes(OTHER + b"!")  # these bytes are not trusted
    with pytest.raises(WeightsUnknownError):
        locate(wanted)


def test_a_file_that_the_user_names_is_taken_unless_its_format_can_contain_code(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(OTHER)
    monkeypatch.setenv("TOY_MODEL", str(mine))
    for option, variable in ((str(mine), ""), ("", "TOY_MODEL")):
        assert locate(toy("http://x"), option, variable) == mine
        with pytest.raises(WeightsUnknownError, match="can contain code"):
            locate(toy("http://x")._replace(code=True), option, variable)


def test_trust_is_added_and_is_of_a_sha256_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUST, SHA)
    trust([OTHER_SHA])
    assert trusted(SHA) and trusted(OTHER_SHA) and not trusted("0" * 64) and not trusted("")
    for wrong in ("all", SHA[:12], f"{SHA}\n{SHA}"):
        with pytest.raises(UsageError, match="64 hexadecimal digits"):
            trust([wrong])
    monkeypatch.setenv(TRUST, "all")
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        trusted(SHA)


def test_a_file_that_changes_after_its_revision_was_taken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.bin"
    path.write_bytes(BODY)
    check_unchanged(path, revision_of(path))
    before = revision_of(path)
    path.write_bytes(OTHER)
    with pytest.raises(WeightsUnusableError, match=f"changed during the run: expected sha256 {SHA[:12]}"):
        check_unchanged(path, before)


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "toy.bin"
    path.write_bytes(BODY)
    first = revision_of(path)
    monkeypatch.setattr("baselines.weights.sha256_file", None)
    assert revision_of(path) == first


def test_lama_whose_file_is_another_is_listed_as_unknown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    home.mkdir()
    (home / "big-lama.pt").write_bytes(OTHER)
    state = state_of("lama")
    assert state.word == "unknown file"
    assert OTHER_SHA in state.advice


# --- fetching -----------------------------------------------------------------------------------


def test_a_file_is_fetched_once_and_found_afterwards(server: str, home: Path) -> None:
    path = fetch(toy(f"{server}/whole/toy.bin"))
    assert path == home / "toy.bin"
    assert path.read_bytes() == BODY
    assert [p.name for p in home.iterdir()] == ["toy.bin"]
    assert locate(toy("")) == path
    assert revision_of(path) == SHA[:12]
    assert fetch(toy(f"{server}/gone/toy.bin")) == path  # it is there: the server is not asked


def test_another_file_than_the_published_one_is_not_kept(server: str, home: Path) -> None:
    with pytest.raises(IntegrityError, match=f"expected sha256 {'0' * 64}, got {SHA}"):
        fetch(toy(f"{server}/whole/toy.bin", "0" * 64))
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("sha256", [SHA, ""], ids=["checksum", "no-checksum"])
@pytest.mark.parametrize("where", ["cut", "chunks"])
def test_a_broken_line_leaves_nothing_behind(where: str, sha256: str, server: str, home: Path) -> None:
    """Half a file is not accepted, even if no checksum is known."""
    with pytest.raises(SourceError, match=f"{server}/{where}"):
        fetch(toy(f"{server}/{where}/toy.bin", sha256))
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("url", ["/gone/toy.bin", "nonsense/toy.bin", "http://127.0.0.1:1/toy.bin"])
def test_an_address_that_gives_nothing_is_named(url: str, server: str, home: Path) -> None:
    url = server + url if url.startswith("/") else url
    with pytest.raises(SourceError, match=f"{url} cannot be downloaded"):
        fetch(toy(url))
    assert list(home.iterdir()) == []


def test_a_page_that_only_links_the_file_is_not_downloaded_in_its_place(server: str, home: Path) -> None:
    with pytest.raises(WeightsMissingError, match=f"by hand from {server}/whole and put it at"):
        fetch(toy(f"{server}/whole", ""))
    assert not home.exists()


def test_a_damaged_file_that_is_there_is_named_and_kept(server: str, home: Path) -> None:
    home.mkdir()
    (home / "toy.bin").write_bytes(BODY[:-1])
    with pytest.raises(IntegrityError, match=r"toy\.bin is not the published .* delete it"):
        fetch(toy(f"{server}/whole/toy.bin"))
    assert (home / "toy.bin").read_bytes() == BODY[:-1]


def test_without_a_checksum_the_one_that_came_is_said_once(
    server: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(toy(f"{server}/whole/toy.bin", "")) == home / "toy.bin"
    assert capsys.readouterr().err.count(SHA) == 1


# --- revisions of checkpoints -------------------------------------------------------------------


def test_the_revision_of_a_checkpoint_is_that_of_names_sizes_and_ends(tmp_path: Path) -> None:
    """Every byte of a small file counts; of a large one the first and the last MiB."""
    folder, block = tmp_path / "net", bytes(1 << 20)

    def written(small: bytes = b"{}", large: bytes = 3 * block, name: str = "a/big.bin") -> str:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "a").mkdir(parents=True)
        (folder / "config.json").write_bytes(small)
        (folder / name).write_bytes(large)
        return hash_of_ends(folder, [folder / name, folder / "config.json"])

    plain = written()
    assert plain == "99cb810825ae"  # results hold it: it must not change with the code
    changed = [
        written(small=b"[]"),
        written(large=b"1" + 3 * block),
        written(large=b"1" + block[1:] + 2 * block),
        written(large=3 * block[:-1] + b"123"),
        written(name="a/other.bin"),
        written(name="big.bin"),
    ]
    assert len({plain, *changed}) == 7
    assert written(large=block + b"1" + block[1:] + block) == plain  # not looked at
    assert hash_of_ends(folder, sorted(folder.rglob("*.*"))) == plain  # in any order
