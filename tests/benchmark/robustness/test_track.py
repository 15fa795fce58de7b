"""A track on squares, for which the score under a shift is known in closed form."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from seven_pairs import use

from baselines.eraser import EraserInfo, Hints
from benchmark.board.ranking import sections
from benchmark.board.record_rows import identity_of
from benchmark.board.records import key_of
from benchmark.cli import main
from benchmark.disturbances.masks import direction
from benchmark.robustness.table import what_is_shown
from benchmark.robustness.track import PLAIN, Track, track
from benchmark.runner.follows import contradictions
from benchmark.runner.request import Request
from benchmark.runner.results import Run
from benchmark.runner.run import run
from olrd.arrays import Image, Mask, encode_mask
from olrd.errors import OutputError, UsageError

SIDE, STEP = 20, 10
COUNT = 12
"""One square per photo; the last one has a side of 4 pixels only."""


class Exact:
    """Knows the truth and paints it, but only inside the mask that it is given."""

    info = EraserInfo("exact", "1", "MIT", options={}, control=True)

    def __init__(self) -> None:
        self.given: list[Mask] = []

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        assert hints is not None
        self.given += masks
        truths = [hint.truth for hint in hints]
        return [np.where(m[..., None], t, i) for i, m, t in zip(images, masks, truths, strict=True) if t is not None]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    for part in ("image", "mask", "gt"):
        (folder / part).mkdir()
    for k in range(COUNT):
        side = 4 if k == COUNT - 1 else SIDE
        mask = np.zeros((64, 64), bool)
        mask[20 : 20 + side, 20 : 20 + side] = True
        truth = np.full((64, 64, 3), 100 + k, np.uint8)
        Pillow.fromarray(truth).save(folder / "gt" / f"p{k:02}.png")
        Pillow.fromarray(np.where(mask[..., None], truth + STEP, truth).astype(np.uint8)).save(
            folder / "image" / f"p{k:02}.png"
        )
        (folder / "mask" / f"p{k:02}.png").write_bytes(encode_mask(mask))
    protocol = {"name": "small", "version": 1, "metrics": ["psnr"], "bootstrap": 30}
    (folder / "small.json").write_text(json.dumps(protocol))
    return folder


def request(root: Path, **more: object) -> Request:
    settings = {"method": "mean-fill", "dataset": "pairs", "root": str(root), "device": "cpu"}
    return Request(**settings | {"protocol": str(root / "small.json")} | more)  # type: ignore[arg-type]


def psnr(wrong_share: float) -> float:
    """Of a mask in which this share of the pixels still shows the object, which differs by `STEP` grey levels."""
    return 10 * math.log10(255**2 / (STEP**2 * wrong_share))


def test_a_shift_costs_what_the_overlap_of_two_squares_says(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Exact())
    done = run(request(root, disturbance="shift:3"), tmp_path / "run")
    rows = done.samples()
    for name, value, facts in zip(rows.id, rows["psnr/mask/raw"], rows.facts, strict=True):
        side = 4 if name == f"p{COUNT - 1:02}" else SIDE
        right, down = map(abs, direction(3, (0, name)))
        common = (side - right) * (side - down) / side**2
        assert value == pytest.approx(psnr(1 - common), abs=1e-4)
        assert json.loads(facts)["mask_iou"] == pytest.approx(common / (2 - common))
    assert done.summary.facts["mask_iou"] < 1


def test_an_erosion_leaves_a_frame_and_counts_masks_that_it_empties(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eraser = Exact()
    use(monkeypatch, eraser)
    done = run(request(root, disturbance="erode:2"), tmp_path / "run")
    assert done.summary.failures == {"EmptiedMaskError: erode:2 leaves no pixel of the mask": 1}
    assert done.summary.n == COUNT - 1
    assert len(eraser.given) == COUNT - 1  # no call for the emptied one
    expected = psnr(1 - (SIDE - 4) ** 2 / SIDE**2)
    assert done.summary.scores["psnr/mask/raw"].mean == pytest.approx(expected, abs=1e-4)
    rows = done.samples().set_index("id")
    assert rows.loc[f"p{COUNT - 1:02}", "mask_share"] == pytest.approx(16 / 64**2)
    # Dilation covers the true mask, so nothing is lost in it.
    dilated = run(request(root, disturbance="dilate:2"), tmp_path / "dilated").summary
    assert dilated.scores["psnr/mask/raw"].without == {"identical": COUNT}


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Track]:
    out = tmp_path_factory.mktemp("track")
    return out, track(request(root), ["erode", "shift:3", "dilate:2"], out)


def test_a_track_is_a_folder_of_ordinary_runs(made: tuple[Path, Track], root: Path, tmp_path: Path) -> None:
    out, found = made
    assert sorted(path.name for path in out.iterdir()) == [
        "dilate-2", "erode-1", "erode-2", "erode-4", "erode-8", "none", "shift-3"
    ]  # fmt: skip
    assert [point.name for point in found.points] == [
        "none", "erode:1", "erode:2", "erode:4", "erode:8", "shift:3", "dilate:2"
    ]  # fmt: skip
    alone = run(request(root, disturbance="erode:1"), tmp_path / "alone")
    left, right = (r.samples().drop(columns=["seconds", "peak_mb"]) for r in (alone, Run(out / "erode-1")))
    assert left.equals(right)
    assert [point.emptied for point in found.points] == [0, 0, 1, 1, 1, 0, 0]


def test_mean_fill_loses_by_erosion_and_nothing_by_dilation(made: tuple[Path, Track]) -> None:
    changes = {point.name: point.changes["psnr/mask/raw"] for point in made[1].points}
    assert changes["none"].score.value is None  # mean-fill equals the truth on flat photos
    assert changes["none"].score.same == COUNT
    values = [changes[f"erode:{level}"].score.value for level in (1, 2, 4, 8)]
    assert values == sorted(values, key=lambda v: -(v or 0))


def test_changes_are_differences_on_the_samples_of_both_runs(root: Path, tmp_path: Path) -> None:
    found = track(request(root, method="identity"), ["erode:2"], tmp_path / "out")
    change = found.points[1].changes["psnr/mask/raw"]
    assert (change.mean, change.n) == (0, COUNT - 1)  # identity does nothing, whatever mask it gets
    assert change.score.n == COUNT - 1
    assert found.points[1].likeness == pytest.approx((SIDE - 4) ** 2 / SIDE**2)
    assert found.points[0].likeness is None


def test_the_page_says_whether_there_are_intervals(made: tuple[Path, Track]) -> None:
    found = made[1]
    assert what_is_shown(found).endswith("same samples, with the 95 % interval.")
    few = [
        point._replace(changes={name: change._replace(low=None, high=None) for name, change in point.changes.items()})
        for point in found.points
    ]
    assert what_is_shown(replace(found, points=tuple(few))).endswith(
        "same samples. An interval takes at least 10 source photos."
    )


def test_a_track_continues_and_opens_what_is_finished(
    made: tuple[Path, Track], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, found = made
    monkeypatch.setattr("benchmark.runner.run._fill", lambda *_: pytest.fail("a finished run was made again"))
    again = track(request(root), ["erode", "shift:3", "dilate:2"], out)
    assert again.points == found.points


@pytest.mark.slow
def test_a_level_that_empties_every_mask_is_counted_and_the_track_goes_on(root: Path, tmp_path: Path) -> None:
    found = track(request(root, method="identity"), ["erode:30", "erode:1"], tmp_path / "out")
    gone, left = found.points[1:]
    assert (gone.n, gone.emptied, gone.failed) == (0, COUNT, 0)
    assert gone.changes["psnr/mask/raw"].mean is None
    assert left.n == COUNT


def test_a_disturbed_run_is_never_ranked_with_an_undisturbed_one(made: tuple[Path, Track]) -> None:
    plain, eroded = (Run(made[0] / name).summary for name in (PLAIN, "erode-1"))
    assert json.loads((made[0] / "erode-1" / "run.json").read_text())["disturbance"] == "erode:1"
    assert "disturbance" not in json.loads((made[0] / PLAIN / "run.json").read_text())
    assert "disturbance" not in json.loads((made[0] / PLAIN / "summary.json").read_text())
    assert (plain.disturbance, eroded.disturbance) == ("", "erode:1")
    assert eroded.label == "mean-fill (1), mask eroded by 1 px"
    assert key_of(plain) != key_of(eroded)
    assert identity_of(eroded) == identity_of(plain) | {"disturbance": "erode:1"}
    found = sections([eroded, plain])
    assert [one.disturbance for one in found] == ["", "erode:1"]
    assert found[1].title.endswith(", mask eroded by 1 px")


def test_an_edited_summary_that_hides_its_disturbance_is_found(made: tuple[Path, Track]) -> None:
    done = Run(made[0] / "erode-1")
    edited = type(done.summary)(**vars(done.summary) | {"disturbance": ""})
    assert contradictions(done.summary, done.samples()) == []
    assert "disturbance is empty" in contradictions(edited, done.samples())[0]


def test_the_folder_of_a_run_is_no_place_for_a_track(made: tuple[Path, Track], root: Path) -> None:
    with pytest.raises(OutputError, match="is the folder of a run; a track needs another folder"):
        track(request(root), ["erode:1"], made[0] / PLAIN)


@pytest.mark.parametrize(
    ("texts", "message"),
    (
        (["erode", "erode:2"], "the disturbance erode:2 is named twice"),
        (["eroded"], "Did you mean 'erode'"),
        (["map-none"], "map-none disturbs the panoptic map, but mean-fill takes no map"),
    ),
)
def test_what_does_not_fit_is_refused_before_anything_is_run(
    texts: list[str], message: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        track(request(root), texts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_writes_a_page_and_tables(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--dataset", "pairs", "--root", str(root), "--protocol", str(root / "small.json"), "--device", "cpu"]
    words = ["robustness", "--method", "identity", *data, "--out", str(tmp_path / "out"), "--disturb", "shift"]
    assert main([*words, "--dry-run"]) == 0
    assert "shift:8         mask shifted by 8 px" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["points"]) == 5 * 2  # psnr/mask/raw and change/outside/raw
    page, table, rows = ((tmp_path / "out" / f"robustness.{kind}").read_text() for kind in ("html", "md", "csv"))
    assert page.count("<svg") == 2
    assert page.count("<circle") == 2 * 5
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "| mask shifted by 8 px | 12 | 0 | 0 |" in table
    listed = list(csv.DictReader(rows.splitlines()))
    assert [row["disturbance"] for row in listed][::2] == ["none", "shift:1", "shift:2", "shift:4", "shift:8"]
    assert main(words) == 0
    assert "mask shifted by 4 px" in capsys.readouterr().out
