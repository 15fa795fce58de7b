"""Thumbnails of a board: the same samples for all methods, squares around the mask, and no file that is not a strip."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import every
from PIL import Image as Pillow
from synthetic_runs import World, make_world

from benchmark.board.leaderboard import leaderboard
from benchmark.board.records import add_record
from benchmark.board.strips import MAX_BYTES, SIDE, WIDTH, add_all_strips, add_strips, chosen, thumbnail
from benchmark.cli import main
from benchmark.cli.options import LeaderboardOptions
from benchmark.datasets import open_dataset
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.panoptic import Box

GAP = (WIDTH - 3 * SIDE) // 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("strips"))


@pytest.fixture
def board(world: World, tmp_path: Path) -> Path:
    for run in world.runs:
        add_record(run, tmp_path / "board")
    return tmp_path / "board"


def strips_in(board: Path) -> dict[str, Path]:
    return {re.sub(r"-[0-9a-f]{8}$", "", path.stem): path for path in board.glob("pictures/*/*/*.webp")}


def test_the_samples_are_spread_over_the_areas() -> None:
    shares = {f"s{k}": (k * 7 % 12) / 100 for k in range(12)}  # s0 has an empty mask
    found = chosen(pd.DataFrame({"mask_share": shares}))
    assert [round(100 * shares[name]) for name in found] == [2, 6, 10]
    assert chosen(pd.DataFrame({"mask_share": {"b": 0.2, "a": 0.1}})) == ["a", "b"]


def test_a_thumbnail_of_a_box_that_is_no_square_repeats_the_edge_of_the_photo() -> None:
    """The mask is longer than the photo is wide, so the photo is in the middle, 40 of 100 columns wide."""
    pixels = np.zeros((200, 40, 3), np.uint8)
    pixels[:, :20], pixels[:, 20:] = 50, 200
    found = thumbnail(pixels, Box(0, 30, 40, 100))
    assert found.shape == (SIDE, SIDE, 3)
    assert (found[:, : SIDE // 2 - 2] == 50).all() and (found[:, SIDE // 2 + 2 :] == 200).all()


def test_a_board_shows_the_photo_the_truth_and_every_run(world: World, board: Path) -> None:
    written = add_all_strips([run.folder for run in world.runs], board, LeaderboardOptions(root=str(world.root)))
    found = strips_in(board)
    assert sorted(written) == sorted(found.values()) and len(found) == 5
    pictures = {name: np.asarray(Pillow.open(path).convert("RGB")).astype(int) for name, path in found.items()}
    assert {picture.shape for picture in pictures.values()} == {(SIDE, WIDTH, 3)}
    middle = slice(SIDE // 2 - 8, SIDE // 2 + 8)
    red, grey = (pictures[name][middle, middle].mean(axis=(0, 1)) for name in ("input", "truth"))
    assert red[0] - red[1] > 150 and abs(grey[0] - grey[1]) < 25
    flat = pictures["mean-fill"][middle, middle]
    assert flat.std(axis=(0, 1)).max() < 8
    leaderboard(board)
    page = next(board.glob("*.html")).read_text()
    uris = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    ranked = {path.read_bytes() for name, path in found.items() if "made" not in name}  # a part failed: not ranked
    assert {base64.b64decode(uri) for uri in uris} == ranked and len(ranked) == 4
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions[:2] == ["the photo, with the outline of what is erased", "ground truth"]
    assert "1. opencv-telea" in captions and "mean-fill (control)" in captions


def test_without_the_option_no_picture_leaves_the_run(world: World, board: Path) -> None:
    leaderboard(board)
    assert not (board / "pictures").exists() and "data:image" not in next(board.glob("*.html")).read_text()


def test_what_cannot_be_shown_says_why(world: World, board: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one run that was made with --save"):
        add_all_strips([tmp_path], board, LeaderboardOptions())
    run = world.runs[0]
    (tmp_path / "set").mkdir()
    for part in ("image", "mask", "gt"):
        (tmp_path / "set" / part).mkdir()
        name = "photo 0.png"
        (tmp_path / "set" / part / name).write_bytes((world.root / part / name).read_bytes())
    with pytest.raises(UsageError, match=r"fingerprint.*give --dataset, --root"):
        add_strips(run, open_dataset("pairs", str(tmp_path / "set")), board)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("summary.json", "samples.parquet", "run.json"):
        (copy / name).write_bytes((run.folder / name).read_bytes())
    with pytest.raises(SourceError, match="run again with `benchmark run --save`"):
        add_strips(type(run)(copy), world.data, board)
    (copy / "outputs").mkdir()
    for path in (run.folder / "outputs").iterdir():
        Pillow.new("RGB", (96, 64)).save(copy / "outputs" / path.name, lossless=True)
    with pytest.raises(IntegrityError, match="not the picture that was scored"):
        add_strips(type(run)(copy), world.data, board)
    for path in (run.folder / "outputs").iterdir():
        (copy / "outputs" / path.name).unlink()
        (copy / "outputs" / path.name).symlink_to(path)
    with pytest.raises(SourceError, match="symbolic link that leaves its folder"):
        add_strips(type(run)(copy), world.data, board)


def picture(kind: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", size).save(buffer, kind)
    return buffer.getvalue()


STRANGE: dict[str, Callable[[], bytes]] = {
    "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "png": lambda: picture("PNG", (WIDTH, SIDE)),
    "huge": lambda: picture("WEBP", (2000, 2000)),
    "height": lambda: picture("WEBP", (WIDTH, SIDE + 1)),
    "empty": lambda: b"",
    "long": lambda: b"RIFF" + bytes(MAX_BYTES),
}


@pytest.mark.parametrize("data", every(3, STRANGE))
def test_a_strangers_file_is_not_put_on_the_page(data: Callable[[], bytes], world: World, board: Path) -> None:
    add_strips(world.runs[0], world.data, board)
    path = strips_in(board)["opencv-telea"]
    path.write_bytes(data())
    with pytest.raises(IntegrityError, match="no strip of thumbnails") as caught:
        leaderboard(board)
    assert str(path) in str(caught.value) and not list(board.glob("*.html"))


def test_a_link_that_leaves_the_board_is_refused(world: World, board: Path, tmp_path: Path) -> None:
    add_strips(world.runs[0], world.data, board)
    path = strips_in(board)["opencv-telea"]
    (tmp_path / "secret.webp").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "secret.webp")
    with pytest.raises(IntegrityError, match="link"):
        leaderboard(board)


def test_the_command_adds_thumbnails_on_request(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--board", str(tmp_path / "b"), "--root", str(world.root), "--thumbnails"]
    assert main(["leaderboard", str(world.runs[0].folder), *given]) == 0
    assert "input.webp" in capsys.readouterr().out
    assert main(["leaderboard", *given]) == 2
    assert "--thumbnails needs" in capsys.readouterr().err
