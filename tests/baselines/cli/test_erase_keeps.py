"""`olrd-erase` loses nothing of a user's: inputs, and files that it did not make, stay, and it says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from baselines.cli.erase import main
from olrd.arrays import encode_mask, encode_png

TELEA = ["--method", "opencv-telea"]
BOTH = [*TELEA, "--method", "opencv-ns"]
FILES = ("photo.png", "mask.png", "P/a.png", "P/b.png", "M/a.png", "M/b.png")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The photo and mask photo.png, mask.png, and two of each in P and M."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 32), bool)
    mask[8:16, 10:20] = True
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        is_mask = name.startswith("m") or name.startswith("M/")
        path.write_bytes(encode_mask(mask) if is_mask else encode_png(rng.integers(0, 255, (24, 32, 3), np.uint8)))
    return tmp_path


def all_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        ("out/index.html", ["photo.png", "mask.png", "--out", "out", *BOTH]),
        ("out/compared/photo.png", ["photo.png", "mask.png", "--out", "out", *BOTH]),
        ("out/opencv-ns.png", ["photo.png", "mask.png", "--out", "out", *BOTH]),
        ("out-effects.png", ["photo.png", "mask.png", "--out", "out.png", "--effects", *TELEA]),
        ("out/index.html", ["P", "M", "--out", "out", *BOTH]),
        ("out/a.png", ["P", "M", "--out", "out", *TELEA]),
        ("out/b-effects.png", ["P", "M", "--out", "out", "--effects", *TELEA]),
    ],
)
def test_files_that_are_there_stay_unless_forced(
    here: Path, capsys: pytest.CaptureFixture[str], mine: str, words: list[str]
) -> None:
    (here / mine).parent.mkdir(parents=True, exist_ok=True)
    (here / mine).write_text("mine")
    before = all_files(here)
    assert main(words) == 1
    assert f"{mine} exists already" in capsys.readouterr().err
    assert all_files(here) == before
    assert main([*words, "--force"]) == 0


def test_a_proposal_that_serves_as_a_mask_is_not_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "out-effects.png").write_bytes((here / "mask.png").read_bytes())
    before = all_files(here)
    words = ["photo.png", "mask.png", "out-effects.png", "--out", "out.png", "--force", *TELEA]
    assert main([*words, "--effects", "erase"]) == 2
    assert "same file as the input out-effects.png" in capsys.readouterr().err
    assert all_files(here) == before
    assert main(words) == 0


@pytest.mark.parametrize(
    ("words", "moves"),
    [
        (["P", "M/a.png", "--out", "M", *TELEA], {}),  # the one mask lies in the folder of the results
        (["opencv-ns", "M", "--out", ".", *BOTH], {"P": "opencv-ns"}),  # the photos lie where a method's results go
        (["P", "opencv-ns", "--out", ".", *BOTH], {"M": "opencv-ns"}),
        (["opencv-ns", "M", "--out", "linked", *BOTH], {"P": "opencv-ns"}),
    ],
)
def test_a_folder_run_removes_no_input_even_if_forced(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], moves: dict[str, str]
) -> None:
    for old, new in moves.items():
        Path(old).rename(new)
    Path("linked").symlink_to(".")
    before = all_files(here)
    assert main([*words, "--force"]) == 2
    assert "so that " in capsys.readouterr().err
    assert all_files(here) == before


def test_the_effects_of_one_photo_are_not_the_result_of_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "P/a-effects.png").write_bytes((here / "P/a.png").read_bytes())
    words = ["P", "mask.png", "--out", "out", *TELEA]
    assert main([*words, "--effects"]) == 1
    assert "out/a-effects.png would be written twice" in capsys.readouterr().err
    assert main(words) == 0


def test_the_mask_of_all_photos_may_lie_among_them(here: Path) -> None:
    (here / "P/mask.png").write_bytes((here / "mask.png").read_bytes())
    assert main(["P", "P/mask.png", "--out", "out", *TELEA]) == 0
    assert sorted(path.name for path in (here / "out").iterdir()) == ["a.png", "b.png", "erased.json"]


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"{", b""])
def test_a_damaged_record_is_said(here: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (here / "out").mkdir()
    (here / "out/erased.json").write_bytes(content)
    assert main(["P", "M", "--out", "out", *TELEA]) == 1
    assert "erased.json cannot be read: give another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{}", b'{"size": [1e400, 1], "box": []}', b'{"size": [], "box": []}']
)
def test_a_damaged_view_of_a_photo_is_said(here: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    words = ["P", "M", "--out", "out", *BOTH]
    assert main(words) == 0
    (here / "out/compared/a.json").write_bytes(content)
    assert main(words) == 1
    assert "a.json is damaged" in capsys.readouterr().err


def test_photos_that_all_fail_have_no_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (here / f"P/{name}.png").write_bytes(b"no photo")
    assert main(["P", "M", "--out", "out", *BOTH]) == 1
    said = capsys.readouterr()
    assert "failed: 2" in said.out and "error" not in said.err


def test_results_are_those_of_the_photos_alone(here: Path) -> None:
    assert main(["P", "M", "--out", "out", "--grow", "0", *TELEA]) == 0
    mask = np.asarray(Pillow.open("M/a.png"))
    photo, result = (np.asarray(Pillow.open(name)) for name in ("P/a.png", "out/a.png"))
    assert (photo[~mask] == result[~mask]).all() and (photo[mask] != result[mask]).any()
