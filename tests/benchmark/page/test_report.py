"""The report: what is on the page, how large it is, what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from synthetic_runs import World

from benchmark.datasets import open_dataset
from benchmark.page.pictures import Keep
from benchmark.page.report import anchor, labelled, picked, report
from benchmark.protocol import load_protocol
from benchmark.runner.request import Request
from benchmark.runner.results import Run
from benchmark.runner.run import run
from benchmark.scoring import prepared
from olrd.arrays import decode_photo
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.storage.files import file_name_of, sha256


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
        x, y, w, h = entry["box"]
        assert (y, w, h) == (0, 64, 64) and sample.mask[:, x : x + w].sum() == sample.mask.sum()
        folder = page.parent / "pictures" / entry["anchor"]
        for k, table in enumerate(tables):
            row = table.loc[entry["id"]]
            if row.status != "ok":
                assert entry["files"][2 + k] is None and "holds no" in entry["failed"][k]
                assert str(world.root) not in entry["failed"][k]
                continue
            for column, found in zip(data["columns"][k], entry["scores"][k], strict=True):
                if isinstance(found, str):
                    assert json.loads(row.reasons)[column] == found
                else:
                    assert found == pytest.approx(row[column], rel=1e-5)
            saved = world.runs[k].folder / "outputs" / f"{file_name_of(entry['id'])}.webp"
            expected = decode_photo(saved.read_bytes()).pixels[:, x : x + w]
            assert near(folder / entry["files"][2 + k], expected)
        assert near(folder / entry["files"][0], sample.image[:, x : x + w])
        assert sample.truth is not None
        assert near(folder / entry["files"][1], sample.truth[:, x : x + w])
        # The made outputs differ from the input everywhere; the others and the truth in the mask only.
        made = "whole-3-_i_made__i_.webp" if number not in (1, 2, 4) else None
        assert entry["wholes"] == ["whole-input.webp", None, None, None, made]
    assert [k for k, s in enumerate(data["samples"]) if any(s["failed"])] == [1, 4]
    assert "identical" in data["samples"][2]["scores"][2]


def near(path: Path, expected: np.ndarray) -> bool:
    """Whether a lossy picture shows `expected`."""
    found = decode_photo(path.read_bytes()).pixels
    return found.shape == expected.shape and bool(np.abs(found.astype(int) - expected).mean() < 12)


def test_the_page_is_self_contained_and_the_same_each_time(world: World, page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    assert "default-src 'none'" in text and not re.search(r'(src|href)="[^#"]', text)
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "") and "https:" not in text
    assert "__STYLE__" not in text and "__SCRIPT__" not in text and "__DATA__" not in text
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
    with pytest.raises(UsageError, match=r"another dataset.*--root"):
        report(world.runs, moved, tmp_path / "out")
    with pytest.raises(UsageError, match="at least one run"):
        report([], world.data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_pictures_says_how_to_get_them(world: World, tmp_path: Path) -> None:
    request = Request(method="mean-fill", dataset="pairs", root=str(world.root), protocol=str(world.protocol), limit=2)
    run(request, tmp_path / "bare")
    with pytest.raises(SourceError, match=r"--save.*--pictures none"):
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


def test_a_report_of_scores_alone_needs_no_pictures(world: World, tmp_path: Path) -> None:
    request = Request(method="mean-fill", dataset="pairs", root=str(world.root), protocol=str(world.protocol), limit=2)
    run(request, tmp_path / "bare")
    page = report([Run(tmp_path / "bare")], world.data, tmp_path / "out", keep=Keep("none"))
    assert [p.name for p in page.parent.iterdir()] == ["report.html"]
    entry = payload(page)["samples"][0]
    assert "files" not in entry and (entry["width"], entry["height"]) == (96, 64)
    assert entry["scores"][0][0] is not None


def test_the_same_report_with_fewer_runs_leaves_no_old_pictures(world: World, tmp_path: Path) -> None:
    report(world.runs, world.data, tmp_path / "out", limit=3)
    page = report(world.runs[:1], world.data, tmp_path / "out", limit=1)
    (entry,) = payload(page)["samples"]
    folder = page.parent / "pictures" / entry["anchor"]
    assert [p.name for p in (page.parent / "pictures").iterdir() if p.is_dir()] == [entry["anchor"]]
    assert {p.name for p in folder.iterdir()} == {*entry["files"], "whole-input.webp"}


def test_an_infinite_score_leaves_the_page_readable(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(world.runs[0].folder)
    frame = run.samples()
    frame["psnr/mask/raw"] = float("inf")
    monkeypatch.setattr(run, "samples", lambda: frame)
    page = report([run], world.data, tmp_path / "out", keep=Keep("none"))
    assert "Infinity" not in page.read_text().split('id="data">')[1].split("</script>")[0]
    data = payload(page)
    assert data["samples"][0]["scores"][0][data["columns"][0].index("psnr/mask/raw")] is None


def test_pictures_of_another_size_than_the_photo_are_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(world.runs[0].folder, tmp_path / "run")
    run = Run(folder)
    large = np.zeros((10, 20, 3), np.uint8)
    frame = run.samples()
    for name in frame.id:
        Pillow.fromarray(large).save(folder / "outputs" / f"{file_name_of(name)}.webp", lossless=True)
    monkeypatch.setattr(run, "samples", lambda: frame.assign(output_sha256=sha256(large.tobytes())))
    with pytest.raises(IntegrityError, match="different sizes"):
        report([run], world.data, tmp_path / "out")
