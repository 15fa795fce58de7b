"""The report: what is on the page, how large it is, what it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from synthetic_runs import World

from benchmark.datasets import open_dataset
from benchmark.page.report import anchor, labelled, picked, report
from benchmark.page.thumbnails import Thumbnails
from benchmark.protocol import load_protocol
from benchmark.runner.request import Request
from benchmark.runner.results import Run
from benchmark.runner.run import run
from benchmark.scoring import prepared
from olrd.arrays import decode_photo
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.storage.files import file_name_of


def payload(path: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', path.read_text(), re.S)
    assert found
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_the_page_holds_every_picture_and_score(world: World, page: Path) -> None:
    data = payload(page)
    assert data["methods"] == ["opencv-telea", "mean-fill", "<i>made</i>"]
    assert data["controls"] == [False, True, False]
    assert [s["id"] for s in data["samples"]] == world.data.ids()
    protocol = load_protocol(str(world.protocol))
    tables = [r.samples().set_index("id") for r in world.runs]
    for number, entry in enumerate(data["samples"]):
        sample = prepared(world.data.sample(number), protocol)
        assert (entry["width"], entry["height"]) == (96, 64)
        for k, table in enumerate(tables):
            row = table.loc[entry["id"]]
            if row.status != "ok":
                assert entry["small"][2 + k] is None and "holds no" in entry["failed"][k]
                assert str(world.root) not in entry["failed"][k]
                continue
            for column, found in zip(data["columns"][k], entry["scores"][k], strict=True):
                if isinstance(found, str):
                    assert json.loads(row.reasons)[column] == found
                else:
                    assert found == pytest.approx(row[column], rel=1e-5)
            full = page.parent / "full" / entry["anchor"] / entry["files"][2 + k]
            saved = world.runs[k].folder / "outputs" / f"{file_name_of(entry['id'])}.webp"
            assert full.read_bytes() == saved.read_bytes()
        for k, expected in ((0, sample.image), (1, sample.truth)):
            small = Pillow.open(io.BytesIO(base64.b64decode(entry["small"][k].partition(",")[2])))
            assert small.size == (96, 64)
            assert np.abs(np.asarray(small).astype(int) - expected).mean() < 12
            full = page.parent / "full" / entry["anchor"] / entry["files"][k]
            assert np.array_equal(decode_photo(full.read_bytes()).pixels, expected)
        mask = Pillow.open(io.BytesIO(base64.b64decode(entry["mask"][0].partition(",")[2])))
        assert np.array_equal(np.asarray(mask), sample.mask)
        assert entry["centre"] == pytest.approx(100 * 85 / 120, abs=1.5)
    assert [k for k, s in enumerate(data["samples"]) if any(s["failed"])] == [1, 4]
    assert "identical" in data["samples"][2]["scores"][2]


def test_the_page_is_self_contained_and_the_same_each_time(world: World, page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    assert "default-src 'none'" in text and not re.search(r'(src|href)="[^#"]', text)
    assert "http:" not in text and "https:" not in text
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    assert report(world.runs, world.data, tmp_path / "again").read_bytes() == page.read_bytes()


def test_failed_samples_come_first_when_there_are_too_many(world: World, tmp_path: Path) -> None:
    three = payload(report(world.runs, world.data, tmp_path / "3", limit=3))
    numbers = [world.data.ids().index(s["id"]) for s in three["samples"]]
    assert len(numbers) == 3 and {1, 4} < set(numbers) and numbers == sorted(numbers)
    one = payload(report(world.runs, world.data, tmp_path / "1", limit=1))
    assert world.data.ids().index(one["samples"][0]["id"]) in (1, 4)
    with pytest.raises(UsageError, match="--limit"):
        picked(world.data.ids(), [], 0)


def test_runs_that_do_not_belong_together_are_refused(world: World, tmp_path: Path) -> None:
    other = tmp_path / "p.json"
    other.write_text(json.dumps({"name": "other", "version": 1, "metrics": ["psnr"]}))
    request = Request(
        method="mean-fill", dataset="pairs", root=str(world.root), protocol=str(other), save=True, limit=1
    )
    run(request, tmp_path / "other")
    stranger = Run(tmp_path / "other")
    with pytest.raises(UsageError, match="another protocol"):
        report([world.runs[0], stranger], world.data, tmp_path / "out")
    moved = open_dataset("pairs", str(world.root), {"threshold": "99"})
    with pytest.raises(UsageError, match="another dataset"):
        report(world.runs, moved, tmp_path / "out")
    with pytest.raises(UsageError, match="at least one run"):
        report([], world.data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_pictures_says_how_to_get_them(world: World, tmp_path: Path) -> None:
    request = Request(method="mean-fill", dataset="pairs", root=str(world.root), protocol=str(world.protocol), limit=2)
    run(request, tmp_path / "bare")
    with pytest.raises(SourceError, match="--save"):
        report([Run(tmp_path / "bare")], world.data, tmp_path / "out")


def test_a_picture_that_was_not_scored_is_refused(world: World, tmp_path: Path) -> None:
    request = Request(
        method="mean-fill", dataset="pairs", root=str(world.root), protocol=str(world.protocol), save=True, limit=2
    )
    run(request, tmp_path / "run")
    path = sorted((tmp_path / "run" / "outputs").iterdir())[0]
    Pillow.new("RGB", (96, 64)).save(path, lossless=True)
    with pytest.raises(IntegrityError, match="not the picture that was scored"):
        report([Run(tmp_path / "run")], world.data, tmp_path / "out")
    path.unlink()
    with pytest.raises(SourceError, match="missing"):
        report([Run(tmp_path / "run")], world.data, tmp_path / "out")


def test_folders_of_this_machine_are_not_on_the_page(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(world.runs[0].folder)
    method = replace(run.summary.method, options={"checkpoint": "/srv/nets/mine"})
    run.summary = replace(run.summary, method=method)
    why = json.dumps({"psnr/mask/raw": "failed: OSError: /srv/data/x.png"})
    frame = run.samples().assign(reasons=why)
    frame["psnr/mask/raw"] = float("nan")
    monkeypatch.setattr(run, "samples", lambda: frame)
    text = report([run], world.data, tmp_path / "out").read_text()
    assert "/srv/" not in text
    assert "checkpoint=mine" in text and "failed: OSError: x.png" in text


def test_two_runs_of_one_method_have_two_labels(world: World) -> None:
    telea, fill, _ = world.runs
    assert [label for _, label in labelled([telea, fill])] == ["opencv-telea", "mean-fill"]
    twice = [label for _, label in labelled([telea, fill, telea])]
    assert twice == [f"{telea.summary.label} #1", "mean-fill", f"{telea.summary.label} #3"]


def test_anchors_are_unique_and_plain() -> None:
    names = ["a b", "a_b", "a/b", "é", "è", "x" * 300, "x" * 301, "..", ""]
    found = [anchor(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"s-[\w.-]{0,100}", name, re.ASCII) for name in found)


@pytest.mark.slow
def test_the_budget_holds_for_the_worst_photos(world: World, tmp_path: Path) -> None:
    """Noise, the hardest to compress: 4 samples of 4 methods in a tenth of the page's bytes."""
    generator = np.random.Generator(np.random.Philox(0))
    budget, samples = 200_000, 4
    noise = [generator.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(6)]
    mask = generator.random((240, 320)) < 0.5
    thumbnails, used = Thumbnails(budget, samples), 0
    for _ in range(samples):
        small, masks = thumbnails.of([*noise], mask)
        used += sum(map(len, [*(s or "" for s in small), *(masks or [])]))
    assert 0.5 * budget < used < budget
    page = report(world.runs, world.data, tmp_path / "small", page_bytes=60_000)
    assert page.stat().st_size < 60_000
    with pytest.raises(UsageError, match=r"do not fit.*--limit"):
        report(world.runs, world.data, tmp_path / "tiny", page_bytes=25_000)


def test_easy_photos_leave_room_for_hard_ones() -> None:
    plain = np.full((480, 640, 3), 99, np.uint8)
    hard = np.random.Generator(np.random.Philox(0)).integers(0, 256, (480, 640, 3), np.uint8)
    thumbnails = Thumbnails(300_000, 4)

    def side(pictures: list[np.ndarray]) -> int:
        uri = thumbnails.of(pictures, None)[0][0]  # type: ignore[arg-type]
        assert uri
        return Pillow.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).width

    assert side([plain] * 3) == 640
    first = side([hard] * 3)
    assert first < 640
    assert side([plain] * 3) >= first and side([hard] * 3) > first
