"""The command `olrd-erase`: one photo, folders, several methods, objects by name; what it refuses; that it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from baselines.cli.erase import main
from baselines.photos.choosing import PREFERRED, best_ready
from baselines.registry import State, open_eraser
from olrd.arrays import Mask, encode_ids, encode_mask, encode_png

TELEA = ["--method", "opencv-telea"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photo.png, mask.png, map.png and map.json of one drawn photo, 60 x 44."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    mask = np.zeros((44, 60), np.bool_)
    mask[12:30, 20:41] = True
    (tmp_path / "photo.png").write_bytes(encode_png(rng.integers(0, 255, (44, 60, 3), dtype=np.uint8)))
    (tmp_path / "mask.png").write_bytes(encode_mask(mask))
    ids = np.where(mask, 5, 9).astype(np.uint32)
    ids[2:8, 2:8] = 6
    (tmp_path / "map.png").write_bytes(encode_ids(ids))
    listed = [{"id": 5, "category_id": 21}, {"id": 6, "category_id": 21}, {"id": 9, "category_id": 193}]
    (tmp_path / "map.json").write_text(json.dumps({"segments_info": listed}))
    return tmp_path


def pixels(path: Path) -> Any:
    return np.asarray(Pillow.open(path).convert("RGB"))


def changed(folder: Path, result: str = "out.png") -> Mask:
    return (pixels(folder / "photo.png") != pixels(folder / result)).any(axis=2)


def test_grow_0_changes_the_mask_alone_as_the_eraser_does(here: Path) -> None:
    assert main(["photo.png", "mask.png", "-o", "out.png", "--grow", "0", *TELEA]) == 0
    mask = np.asarray(Pillow.open("mask.png"))
    expected = open_eraser("opencv-telea", device="cpu").erase(pixels(here / "photo.png"), mask)
    assert (pixels(here / "out.png")[mask] == expected[mask]).all()
    assert not changed(here)[~mask].any()


def test_the_mask_grows_and_the_rest_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["photo.png", "mask.png", "-o", "out.png", "--grow", "3", *TELEA]) == 0
    assert "grows by 3 pixels" in capsys.readouterr().err
    found = changed(here)
    assert found[12:30, 17:20].mean() > 0.8 and not found[:, :17].any() and not found[:9].any()


def test_without_a_method_the_best_one_that_is_ready_is_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["photo.png", "mask.png"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == "photo-clean.png" and "no --out" in said.err
    assert "the best that is ready on this machine" in said.err
    ready = {"lama", "patchmatch", "opencv-telea"}

    def state(name: str) -> State:
        return State("ready" if name in ready else "weights missing", "")

    assert best_ready(state).name == "lama"
    ready.remove("lama")
    choice = best_ready(state)
    assert choice.name == "patchmatch" and "lama (weights missing)" in choice.why
    ready.clear()
    assert best_ready(state).name == PREFERRED[-1] == "opencv-telea"


def test_several_methods_make_a_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "photo.png",
        "mask.png",
        "--out",
        "cmp",
        *TELEA,
        "--method",
        "mean-fill",
        "--option",
        "opencv-telea.radius=3",
    ]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["page"] == "cmp/index.html" and set(result["results"]) == {"opencv-telea", "mean-fill"}
    page = (here / "cmp" / "index.html").read_text()
    assert "opencv-telea.png" in page and str(here) not in page
    names = {path.relative_to(here / "cmp").as_posix() for path in (here / "cmp").rglob("*.*")}
    assert names == {"index.html", "mean-fill.png", "opencv-telea.png"} | {
        f"compared/photo{end}" for end in (".json", ".png", "-outline.png")
    }


def test_objects_are_listed_and_erased_by_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--panoptic", "map.png", "--segments", "map.json"]
    assert main(["photo.png", "--object", *given, "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["cow:1", "cow:2"]
    assert main(["photo.png", "--object", "cow:2", *given, "-o", "out.png", "--grow", "0", *TELEA]) == 0
    found = changed(here)
    assert found[2:8, 2:8].mean() > 0.8 and found.sum() <= 36


def test_several_masks_are_united_and_effects_are_written_beside(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from baselines.photos.effects import Effects

    other = np.zeros((44, 60), bool)
    other[35:40, 50:55] = True
    (here / "other.png").write_bytes(encode_mask(other))
    shadow = np.zeros((44, 60), bool)
    shadow[30:33, 20:30] = True
    monkeypatch.setattr("baselines.photos.erasing.propose_effects", lambda *_: Effects(shadow, np.zeros_like(shadow)))
    words = ["photo.png", "mask.png", "other.png", "-o", "out.png", "--grow", "0", "--force", *TELEA]
    assert main([*words, "--effects"]) == 0
    assert "a shadow (1.1 % of the photo)" in capsys.readouterr().err
    assert (np.asarray(Pillow.open("out-effects.png")) == shadow).all()
    assert changed(here)[35:40, 50:55].mean() > 0.8 and not changed(here)[shadow].any()
    assert main([*words, "--effects", "erase"]) == 0
    assert changed(here)[shadow].mean() > 0.8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected PHOTO"),
        (["photo.png"], "give a MASK, or --object"),
        (["photo.png", "mask.png", "--object", "cow"], "not both"),
        (["photo.png", "mask.png", "--method", "telea"], "Did you mean 'opencv-telea'"),
        (["photo.png", "mask.png", "--grow", "-1"], "--grow is a number of pixels from 0"),
        (["photo.png", "mask.png", "--quality", "0"], "--quality"),
        (["photo.png", "mask.png", "--max-pixels", "0"], "--max-pixels is a number of pixels from 1"),
        (["photo.png", "mask.png", "--option", "radius=3", *TELEA, "--method", "mean-fill"], "NAME.KEY=VALUE"),
        (["photo.png", "mask.png", "--limit", "2", *TELEA], "for folders"),
        (["photo.png", "photo.png", "-o", "photo.png", "--force", *TELEA], "same file as the input"),
        (["photo.png", "--object", "cw", "--panoptic", "map.png", "--segments", "map.json", *TELEA], "'cow'"),
    ],
)
def test_what_does_not_fit_is_an_error_of_usage(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    before = sorted(path.name for path in here.iterdir())
    assert main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err and not captured.out
    assert sorted(path.name for path in here.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.png", "mask.png"], "nowhere.png does not exist"),
        (["photo.png", "nowhere.png"], "nowhere.png cannot be read"),
        (["photo.png", "empty.png"], "nothing is marked to be erased"),
        (["photo.png", "mask.png", "-o", "photo.png/x.png"], "photo.png is not a folder"),
        (["photo.png", "mask.png", "-o", "empty.png"], "empty.png exists already"),
        (["photo.png", "mask.png", "--method", "lama"], "benchmark fetch lama"),
    ],
)
def test_work_that_cannot_be_done_is_a_failure(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setenv("OLRD_WEIGHTS", str(here / "weights"))
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    (here / "empty.png").write_bytes(encode_mask(np.zeros((44, 60), bool)))
    before = sorted(path.name for path in here.iterdir())
    assert main(words if "lama" in words else [*words, *TELEA]) == 1
    captured = capsys.readouterr()
    assert message in captured.err and not captured.out
    assert sorted(path.name for path in here.iterdir()) == before


@pytest.fixture
def folders(here: Path) -> Path:
    """photos/a.jpg, photos/deep/b.png, photos/c.png and masks for a (two) and b."""
    rng = np.random.default_rng(1)
    for name in ("a.jpg", "deep/b.png", "c.png"):
        path = here / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(path)
    for name, corner in (("a_mask0.png", 2), ("a_mask1.png", 20), ("deep/b.png", 10)):
        mask = np.zeros((30, 40), bool)
        mask[corner : corner + 6, corner : corner + 6] = True
        path = here / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_mask(mask))
    return here


def test_a_folder_is_erased_and_the_second_run_goes_on(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["photos", "masks", "--out", "clean", "--grow", "0", "--json", *TELEA]
    assert main(words) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["erased"], result["without_mask"], result["failed"]) == (2, ["c.png"], {})
    assert "photos without a mask, which are left out: 1" in said.err
    different = (pixels(folders / "photos/a.jpg") != pixels(folders / "clean/a.png")).any(axis=2)
    assert different[2:8, 2:8].mean() > 0.8 and different[20:26, 20:26].mean() > 0.8 and different.sum() <= 72
    (folders / "clean/deep/b.png").unlink()
    kept = (folders / "clean/a.png").stat().st_mtime_ns
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["erased"], result["there_already"]) == (1, 1)
    assert (folders / "clean/a.png").stat().st_mtime_ns == kept
    assert main([*words, "--grow", "2"]) == 1
    assert "made with grow = 0" in capsys.readouterr().err
    assert main([*words, "--grow", "2", "--force"]) == 0


def test_a_photo_that_fails_costs_one_line(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "photos/a.jpg").write_bytes(b"no photo")
    assert main(["photos", "masks", "--out", "clean", *TELEA]) == 1
    said = capsys.readouterr()
    assert "failed: a.jpg: " in said.err and "erased: 1, there already: 0, failed: 1" in said.out
    assert (folders / "clean/deep/b.png").is_file()


def test_one_mask_serves_all_photos_and_several_methods_have_folders(folders: Path) -> None:
    mask = np.zeros((30, 40), bool)
    mask[4:9, 4:9] = True
    (folders / "one.png").write_bytes(encode_mask(mask))
    words = ["photos", "one.png", "--out", "clean", "--format", "jpg", *TELEA, "--method", "mean-fill"]
    assert main([*words, "--dry-run"]) == 0
    assert not (folders / "clean").exists()
    assert main(words) == 0
    page = (folders / "clean" / "index.html").read_text()
    assert "compared/deep/b.png" in page and "opencv-telea/deep/b.jpg" in page
    (folders / "clean/mean-fill/c.jpg").unlink()
    assert main(words) == 0
    assert page == (folders / "clean" / "index.html").read_text()
    names = {path.relative_to(folders / "clean").as_posix() for path in (folders / "clean").rglob("*.jpg")}
    assert names == {f"{m}/{n}.jpg" for m in ("opencv-telea", "mean-fill") for n in ("a", "deep/b", "c")}


def test_photos_and_masks_may_share_a_folder_and_results_are_no_photos(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "both").mkdir()
    (here / "both/a.png").write_bytes((here / "photo.png").read_bytes())
    (here / "both/a_mask.png").write_bytes((here / "mask.png").read_bytes())
    words = ["both", "both", "--out", "both/clean", "--json", *TELEA]
    for erased, there in ((1, 0), (0, 1)):
        assert main(words) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["erased"], result["there_already"], result["failed"]) == (erased, there, {})


def test_a_limit_of_pixels_holds_for_photos_and_masks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["photo.png", "mask.png", "-o", "out.png", "--max-pixels", "2639", *TELEA]) == 1
    assert "more than the allowed 2639 pixels" in capsys.readouterr().err
    assert main(["photo.png", "mask.png", "-o", "out.png", "--max-pixels", "2640", *TELEA]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "masks", "--limit", "0"], "--limit is a number of photos from 1"),
        (["photos", "masks", "masks"], "expected one MASK"),
        (["photos", "masks", "--out", "photos"], "is the folder of the photos or masks"),
        (["photos", "masks", "--out", "masks"], "is the folder of the photos or masks"),
    ],
)
def test_folders_that_do_not_fit_are_errors_of_usage(
    folders: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main([*words, *TELEA]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "nowhere"], "nowhere does not exist"),
        (["masks", "photos/deep"], "no mask in photos/deep has the name of a photo"),
        (["photos", "masks", "--out", "photo.png"], "is a file"),
    ],
)
def test_folders_that_cannot_be_used_are_a_failure(
    folders: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main([*words, *TELEA]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_without_networks_imports_no_torch(here: Path) -> None:
    code = (
        "import sys; from baselines.cli.erase import main; "
        "main(['photo.png', 'mask.png', '-o', 'out.png', '--method', 'patchmatch']); "
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_help_is_light() -> None:
    code = (
        "import sys\nfrom baselines.cli.erase import main\n"
        "try: main(['--help'])\nexcept SystemExit as done: assert done.code == 0\n"
        "print([name for name in ('torch', 'cv2', 'pyarrow', 'gradio', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
